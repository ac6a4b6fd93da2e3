"""The CSV log of a run: one row per logged step, never two rows for the same step, whatever was killed when."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cisoform.genome.files import atomic_write, write_error

LOG_FILE = "log.csv"
COLUMNS = ("step", "epoch", "train_loss", "lr", "samples_per_s", "mfu", "seconds")


class CsvLog:
    """Rows appended to `log.csv`; each is on disk before the next step begins.

    A resumed run first drops the rows after its checkpoint (they come again) and any half-written last line.
    """

    def __init__(self, path: Path, metrics: Sequence[str]) -> None:
        self.path = path
        self.columns = (*COLUMNS, *(f"valid_{name}" for name in metrics))

    def begin(self, step: int) -> None:
        """Start a new log (step 0), or go on after `step`."""
        rows = [row for row in read_log(self.path) if int(row["step"]) <= step] if step else []
        with atomic_write(self.path) as handle:
            csv.DictWriter(handle, self.columns, lineterminator="\n").writeheader()
            handle.write(self._lines(rows))

    def append(self, row: Mapping[str, object]) -> None:
        """Add a row; missing values stay empty.

        Raises:
            InputError: If the disk is full; no part of the row is left in the file.
        """
        text = self._lines([{name: _text(row.get(name)) for name in self.columns}])
        try:
            with self.path.open("r+", encoding="utf-8", newline="") as handle:
                size = handle.seek(0, os.SEEK_END)
                try:
                    handle.write(text)
                    handle.flush()
                    os.fsync(handle.fileno())
                except OSError:
                    os.truncate(self.path, size)
                    raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.ENOENT):
                raise
            raise write_error(self.path, error) from None

    def _lines(self, rows: Sequence[Mapping[str, object]]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self.columns, lineterminator="\n", extrasaction="ignore").writerows(rows)
        return text.getvalue()


def read_log(path: Path) -> list[dict[str, str]]:
    """Complete rows of a log, as text by column name; an absent log has none, a cut last line is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]
    rows = csv.DictReader(io.StringIO(complete))
    return [row for row in rows if (row.get("step") or "").isdecimal() and None not in row.values()]


def _text(value: object) -> str:
    """Numbers as short as they can be read back exactly."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)
