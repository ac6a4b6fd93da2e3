"""Ctrl-C and SIGTERM as a request to stop at the next safe place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_requests(stop: threading.Event) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into `stop.set()` for the time of the block; a second Ctrl-C stops at once.

    SIGTERM is what batch systems send before they end a job. Outside the main thread, where Python allows no
    handlers, nothing changes.
    """

    def request(number: int, _frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt("stopped at once; the last checkpoint is intact: continue with --resume")
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
