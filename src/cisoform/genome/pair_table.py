"""Tables whose lines are tested element-gene pairs (TSV, gzip or not): typed columns that name the line of a mistake.

Nothing is known here of what the columns mean; `data.tested_pairs` knows the columns of the CRISPR benchmark.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_text

MISSING = frozenset(("", "NA", "NaN", "nan", "N/A", "null", "."))
_TRUTH = {"TRUE": True, "True": True, "true": True, "T": True, "1": True}
_TRUTH |= {"FALSE": False, "False": False, "false": False, "F": False, "0": False}


@dataclass(frozen=True)
class PairTable:
    """Cells of a table, and readers of its columns.

    Attributes:
        path: The file, for messages.
        header: Names of the columns.
        rows: Cells of each line that is not blank.
        lines: Its number in the file, from 1.
    """

    path: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    @classmethod
    def read(cls, path: PathLike, what: str) -> PairTable:
        """Read all cells; a `#` before the first name of the header is dropped.

        Raises:
            InputError: The file is missing, empty or damaged; a line of another length than the header; a column
                that stands twice; no line beside the header.
        """
        rows: list[list[str]] = []
        lines: list[int] = []
        with open_text(path, what) as handle:
            header = [cell.strip().strip('"') for cell in handle.readline().rstrip("\n").split("\t")]
            header[0] = header[0].removeprefix("#")
            for number, line in enumerate(handle, start=2):
                if not line.strip():
                    continue
                cells = line.rstrip("\n").split("\t")
                if len(cells) != len(header):
                    raise InputError(
                        f"{path}: line {number}: has {len(cells)} tab-separated cells, the header {len(header)}"
                    )
                rows.append(cells)
                lines.append(number)
        twice = [name for name in header if header.count(name) > 1]
        if twice:
            raise InputError(f"{path}: line 1: column {twice[0]!r} stands twice; name every column once")
        if not rows:
            raise InputError(f"{path}: has a header and no line of values ({what})")
        return cls(str(path), header, rows, lines)

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self.header

    def text(self, name: str) -> list[str]:
        """Cells of a column without blanks and quotes.

        Raises:
            InputError: There is no such column; near names are shown.
        """
        if name not in self.header:
            near = difflib.get_close_matches(name, self.header, n=2, cutoff=0.6)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {self._some()}"
            raise InputError(f"{self.path}: has no column {name!r}; {hint}")
        place = self.header.index(name)
        return [row[place].strip().strip('"') for row in self.rows]

    def _some(self) -> str:
        shown = ", ".join(self.header[:8])
        return f"{shown} ..." if len(self.header) > 8 else shown

    def names(self, name: str, fallback: Sequence[str] | None = None) -> npt.NDArray[Any]:
        """Names; one that is missing is taken from `fallback`.

        Raises:
            InputError: A name is missing, with its line.
        """
        values = self.text(name)
        for row, value in enumerate(values):
            if value in MISSING:
                if fallback is None or fallback[row] in MISSING:
                    raise self.error(row, name, value, "a name is needed")
                values[row] = fallback[row]
        return np.array(values, dtype=np.str_)

    def integers(self, name: str, missing: int | None = None) -> npt.NDArray[np.int64]:
        """Whole numbers from 0 (positions); `missing` stands for a missing one.

        Raises:
            InputError: Another value, or a missing one where `missing` is None, with its line.
        """
        found = np.empty(len(self.rows), dtype=np.int64)
        for row, value in enumerate(self.text(name)):
            if value in MISSING and missing is not None:
                found[row] = missing
                continue
            try:
                number = float(value)  # R writes 1e+05
            except ValueError:
                number = float("nan")
            if not (number.is_integer() and 0 <= number < 2**53):
                raise self.error(row, name, value, "a whole number of at least 0 is needed")
            found[row] = int(number)
        return found

    def numbers(self, name: str, least: float = 0.0) -> npt.NDArray[np.float64]:
        """Finite numbers of at least `least`; NaN where missing.

        Raises:
            InputError: Another value, with its line.
        """
        found = np.empty(len(self.rows))
        for row, value in enumerate(self.text(name)):
            if value in MISSING:
                found[row] = np.nan
                continue
            try:
                found[row] = float(value)
            except ValueError:
                raise self.error(row, name, value, "a number is needed") from None
            if not (np.isfinite(found[row]) and found[row] >= least):
                raise self.error(row, name, value, f"a number of at least {least:g} is needed")
        return found

    def truths(self, name: str, optional: bool = False) -> npt.NDArray[np.float64]:
        """1 for TRUE, 0 for FALSE; NaN where missing, if that is allowed.

        Raises:
            InputError: Another value, or a missing one that is not allowed, with its line.
        """
        found = np.full(len(self.rows), np.nan)
        for row, value in enumerate(self.text(name)):
            if value in _TRUTH:
                found[row] = _TRUTH[value]
            elif not (optional and value in MISSING):
                raise self.error(row, name, value, "TRUE or FALSE is needed")
        return found

    def error(self, row: int, name: str, value: str, mend: str) -> InputError:
        """What to raise about a cell: file, line, column, value, mend."""
        said = "is missing" if value in MISSING else f"is {value[:40]!r}"
        return InputError(f"{self.path}: line {self.lines[row]}: {name} {said}; {mend}")
