"""HOCOMOCO's own matrices: `>id` and a row of four numbers (A, C, G, T) for every position; counts or frequencies.

The files *.pcm hold counts, *.pfm frequencies (rows that sum to 1). Those of scores (*.pwm) have negative numbers and
are refused: the background behind them is not in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike

Numbered = tuple[int, str]
Found = tuple[str, npt.NDArray[np.float64], float | None]
_ROUNDING = 0.02


def is_hocomoco(lines: Sequence[Numbered]) -> bool:
    """Whether the first matrix has a row for every position, where JASPAR has one for every base.

    A matrix of four rows and four columns is taken to be JASPAR's.
    """
    rows = []
    for _, line in lines[1:]:
        if line.startswith(">"):
            break
        rows.append(line.split())
    plain = all(len(row) == 4 and not row[0].isalpha() for row in rows)
    return bool(rows) and len(rows) != 4 and plain


def read_hocomoco(path: PathLike, lines: Sequence[Numbered]) -> Iterator[Found]:
    """Id, probabilities (width, 4) and number of sites (None for frequencies) of every matrix.

    Args:
        path: Their file, for messages.
        lines: Its lines with their numbers, none of them empty.

    Raises:
        InputError: With the line: a row that is not four numbers, a negative number, a position without counts.
    """
    starts = [row for row, (_, line) in enumerate(lines) if line.startswith(">")]
    for first, last in zip(starts, [*starts[1:], len(lines)], strict=True):
        number, header = lines[first]
        fields = header[1:].split()
        if not fields:
            raise InputError(f"{path}: line {number}: '>' without an id")
        name = fields[0]
        if last == first + 1:
            raise InputError(f"{path}: line {number}: motif {name!r} has no rows; the file is cut short")
        counts = np.array([_row(path, line, name) for line in lines[first + 1 : last]])
        total = counts.sum(axis=1)
        whole = bool((np.abs(total - 1) <= _ROUNDING).all())
        yield name, counts / total[:, None], None if whole else float(total.max())


def _row(path: PathLike, line: Numbered, name: str) -> list[float]:
    number, text = line
    try:
        found = [float(field) for field in text.split()]
    except ValueError:
        found = []
    where = f"{path}: line {number}: motif {name!r}"
    if len(found) != 4 or not np.isfinite(found).all():
        raise InputError(f"{where}: {text[:40]!r} is not a row of 4 numbers (A, C, G, T)")
    if min(found) < 0:
        raise InputError(
            f"{where}: {min(found):g} is negative: these are scores (pwm); give the pcm or pfm file"
        )
    if not sum(found):
        raise InputError(f"{where}: a position without counts")
    return found
