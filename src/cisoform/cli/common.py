"""What the commands share: option types, results on stdout, notes and progress on stderr, the device line.

Results (tables, `--json`) go to stdout and nothing else does, so that they can be piped. Notes go to stderr.
torch is imported inside functions only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.errors import InputError

if TYPE_CHECKING:
    import torch

GenomeOption = Annotated[
    Path, typer.Option("--genome", metavar="FASTA", help="Genome: FASTA, plain, bgzip or gzip.")
]
AnnotationOption = Annotated[
    Path, typer.Option("--annotation", metavar="GTF", help="Transcripts: GTF or GFF3, gzip or not.")
]
DataOption = Annotated[
    Path, typer.Option("--data", metavar="DATASET", help="Folder written by `cisoform isoform build`.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="PATH", help="Where the result goes.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same result.")]
DeviceOption = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue the run at OUT.")]
SettingsOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the recipe.")
]
OverwriteDataOption = Annotated[bool, typer.Option("--overwrite", help="Replace a data set at OUT.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]

PROGRESS_AFTER_SECONDS = 2.0
Number = int | float  # spelled out for the run-time checks of the tests, where 1 is no float


def note(text: str) -> None:
    """Say something beside the result: one line on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """Print a result as strict JSON on stdout; NaN and infinities become null."""
    sys.stdout.write(json.dumps(to_plain(value), indent=2, allow_nan=False) + "\n")


def to_plain(value: Any) -> Any:
    """Dataclasses, paths, numpy numbers and arrays as what JSON knows.

    Raises:
        TypeError: a value that has no plain form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, tensors
        return to_plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as aligned columns on stdout: numbers to the right, three decimals, `-` for None and NaN."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(header, *cells, strict=True)]
    numeric = [bool(rows) and all(not isinstance(row[i], str) for row in rows) for i in range(len(header))]
    for row in [list(header), *cells]:
        texts = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        sys.stdout.write("  ".join(texts).rstrip() + "\n")


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


def split_list(text: str | None, flag: str | None = None) -> list[str] | None:
    """`"A, B"` as `["A", "B"]`; None stays None. The flag is named in errors.

    Raises:
        InputError: an empty item or one given twice.
    """
    if text is None:
        return None
    items = [item.strip() for item in text.split(",")]
    said = repr(text) if flag is None else f"{flag} {text!r}"
    if "" in items:
        raise InputError(f"{said} has an empty item; write names with single commas between them")
    twice = sorted({item for item in items if items.count(item) > 1})
    if twice:
        raise InputError(f"{said} names {twice[0]!r} twice; name it once")
    return items


def resolve_device(name: str, *, quiet: bool = False) -> torch.device:
    """The device called `name` (auto, cpu, cuda, cuda:N); says on stderr which it is.

    Raises:
        InputError: another name, or a device that is not there.
    """
    from cisoform.training.device import resolve_device as resolve

    device = resolve(name)
    if not quiet:
        note(f"device: {device_text(device)}")
    return device


def device_text(device: torch.device) -> str:
    """`cpu (2 threads)` or `cuda:0 (NAME, 85 GB)`."""
    import torch

    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        return f"{device} ({about.name}, {bytes_text(about.total_memory)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def estimate_line(
    *, seconds: Number | None = None, memory_bytes: Number | None = None, disk_bytes: Number | None = None
) -> str:
    """`estimate: about 12 min, 1.5 GB of memory, 300 MB of disk`, from what is known."""
    parts = []
    if seconds is not None:
        parts.append(f"about {duration_text(seconds)}")
    if memory_bytes is not None:
        parts.append(f"{bytes_text(memory_bytes)} of memory")
    if disk_bytes is not None:
        parts.append(f"{bytes_text(disk_bytes)} of disk")
    return "estimate: " + ", ".join(parts)


def bytes_text(count: Number) -> str:
    """A number of bytes in powers of 1,000 with two digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration_text(seconds: Number) -> str:
    """`3 s`, `12 min` or `2.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def progress(description: str) -> Iterator[Callable[..., None]]:
    """A bar on stderr for work longer than two seconds; silent where stderr is no terminal.

    Yields `update(done, total=None, text="")`: how much of how much is done (any unit) and a short remark.
    """
    if not sys.stderr.isatty():
        yield _no_update
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(description, total=None, text="")
    begun = time.monotonic()
    started = False

    def update(done: Number, total: Number | None = None, text: str = "") -> None:
        nonlocal started
        bar.update(task, completed=done, total=total, text=text)
        if not started and time.monotonic() - begun > PROGRESS_AFTER_SECONDS:
            bar.start()
            started = True

    try:
        yield update
    finally:
        bar.stop()


def _no_update(done: Number, total: Number | None = None, text: str = "") -> None:
    """Stands in for `update` where nobody watches."""
