"""What every part of the demo is given, and the clock that times its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cisoform.report.page import Page
from cisoform.training.protocols import Progress

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Stage:
    """Where a part of the demo works and to whom it speaks.

    Attributes:
        out: Folder of the demo.
        page: The page that sections are added to.
        smoke: Whether to train for seconds only.
        device: As `resolve_device` takes it.
        say: Called with a line before each step.
        progress: Makes what shows a training run; None = nothing does.
        seconds: Time of each step, filled by `timed`.
    """

    out: Path
    page: Page
    smoke: bool = False
    device: str = "auto"
    say: Say = silent
    progress: Callable[[], Progress] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def bar(self) -> Progress | None:
        """What shows one training run."""
        return self.progress() if self.progress else None

    @contextmanager
    def timed(self, name: str, text: str) -> Iterator[None]:
        """Say what begins, and keep how long it took under `name`."""
        self.say(text)
        begun = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begun
