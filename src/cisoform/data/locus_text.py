"""The authors' text form of one gene's peaks: three lines a peak (`>id`, bases, signal values)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import open_text
from cisoform.genome.sequence import encode_dna

_COORDINATES = re.compile(r"(?P<chrom>.+)[:_](?P<start>\d+)[-_](?P<end>\d+)")


@dataclass(frozen=True)
class Locus:
    """Peaks of one gene in genomic order, all of one width: base codes (peaks, bases) and signal of the same shape."""

    ids: list[str]
    dna: npt.NDArray[np.uint8]
    signal: npt.NDArray[np.floating[Any]]


def read_locus_text(path: Path, width: int = 1029) -> Locus:
    """Read the three-lines-a-peak form of the released example, gzip or not.

    Args:
        path: The text file. Blank lines are skipped.
        width: Bases of every peak; 1,029 give the 1,024 tokens of the released model.

    Returns:
        The peaks; a signal of nan is one that was not measured.

    Raises:
        InputError: With the line number, if a line is not what it should be, a peak stands twice, or peaks whose ids
            are coordinates are not on one chromosome in ascending order (their places are what the model reads).
    """
    with open_text(path, "locus text") as handle:
        lines = [(number, line.strip()) for number, line in enumerate(handle, 1) if line.strip()]
    if not lines:
        raise InputError(f"{path}: holds no peak; three lines a peak are needed (>id, bases, signal)")
    if len(lines) % 3:
        raise InputError(
            f"{path}: has {len(lines)} lines, not three a peak (>id, bases, signal); the last is incomplete"
        )
    ids, dna, signal = [], [], []
    where: list[int] = []
    for (name_line, name), (dna_line, bases), (signal_line, numbers) in zip(*[iter(lines)] * 3, strict=True):
        if not name.startswith(">"):
            raise InputError(f"{path}: line {name_line}: {name[:30]!r} does not begin a peak with '>'")
        if len(bases) != width:
            raise InputError(
                f"{path}: line {dna_line}: peak {name[1:]!r} has {len(bases)} bases, expected {width}"
            )
        try:
            dna.append(encode_dna(bases))
        except InputError as error:
            raise InputError(f"{path}: line {dna_line}: peak {name[1:]!r}: {error}") from None
        signal.append(_numbers(path, signal_line, name[1:], numbers, width))
        ids.append(name[1:])
        where.append(name_line)
    _check_places(path, where, ids)
    return Locus(ids, np.stack(dna), np.stack(signal))


def place_of(name: str) -> tuple[str, int, int] | None:
    """Chromosome, start and end of an id like `chr1_900_1100` or `chr1:900-1100`; None where it is something else."""
    match = _COORDINATES.fullmatch(name)
    return None if match is None else (match["chrom"], int(match["start"]), int(match["end"]))


def _check_places(path: Path, lines: list[int], ids: list[str]) -> None:
    for row, (line, name) in enumerate(zip(lines, ids, strict=True)):
        if ids.index(name) < row:
            raise InputError(
                f"{path}: line {line}: peak {name!r} stands already at line {lines[ids.index(name)]}; keep it once"
            )
        place, before = place_of(name), place_of(ids[row - 1]) if row else None
        if place is None:
            continue
        if place[1] >= place[2]:
            raise InputError(f"{path}: line {line}: peak {name!r} ends before it starts")
        if before is not None and before[0] != place[0]:
            raise InputError(
                f"{path}: line {line}: peak {name!r} is not on {before[0]}; a locus is on one chromosome"
            )
        if before is not None and sum(before[1:]) > sum(place[1:]):
            raise InputError(
                f"{path}: line {line}: peak {name!r} lies before the one above it, {ids[row - 1]!r}; sort the peaks by "
                "place, also those of a gene on the minus strand"
            )


def _numbers(path: Path, line: int, peak: str, text: str, width: int) -> npt.NDArray[np.float64]:
    fields = text.split()
    try:
        values = np.array(fields, dtype=np.float64)
    except ValueError:
        wrong = next(field for field in fields if not _is_number(field))
        raise InputError(
            f"{path}: line {line}: peak {peak!r}: signal {wrong[:20]!r} is not a number"
        ) from None
    if len(values) != width:
        raise InputError(
            f"{path}: line {line}: peak {peak!r} has {len(values)} signal values, expected {width}"
        )
    if (values < 0).any() or np.isinf(values).any():
        wrong = str(values[(values < 0) | np.isinf(values)][0])
        raise InputError(f"{path}: line {line}: peak {peak!r}: signal {wrong} must be finite and at least 0")
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
