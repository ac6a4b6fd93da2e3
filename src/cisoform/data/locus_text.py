"""The authors' text form of one gene's peaks: three lines a peak (`>id`, bases, signal values)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import open_text
from cisoform.genome.sequence import encode_dna


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

    Raises:
        InputError: With the line number, if a line is not what it should be.
    """
    with open_text(path, "locus text") as handle:
        lines = [(number, line.strip()) for number, line in enumerate(handle, 1) if line.strip()]
    if len(lines) % 3:
        raise InputError(
            f"{path}: has {len(lines)} lines, not three a peak (>id, bases, signal); the last is incomplete"
        )
    ids, dna, signal = [], [], []
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
    return Locus(ids, np.stack(dna), np.stack(signal))


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
