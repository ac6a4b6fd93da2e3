"""DNA windows round transcription starts: cut from a genome when they are asked for, or given as sequences.

A window of `length` bases has the first transcribed base at index `upstream` (half of the length unless said
otherwise) and is read on the transcript's strand. Positions beyond a chromosome's end, or beyond a given
sequence, are N. One row is one distinct start; several transcripts may use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import BASE_N, reverse_complement

IntArray = npt.NDArray[np.integer]


@runtime_checkable
class DnaSource(Protocol):
    """Rows of DNA that can be read at any window length."""

    def __len__(self) -> int: ...

    def window(
        self, rows: IntArray, length: int, shift: IntArray | int = 0, upstream: int | None = None
    ) -> npt.NDArray[np.uint8]:
        """Base codes `(len(rows), length)`.

        Args:
            rows: Rows of this source.
            length: Bases of each window.
            shift: Bases by which each window moves downstream; its start is then at `upstream - shift`.
            upstream: Bases before the first transcribed base; None = `length // 2`.
        """
        ...


@dataclass(frozen=True)
class GenomeWindows:
    """Windows cut from chromosomes that lie end to end in one array (on disk or in memory).

    Attributes:
        codes: Base codes of all chromosomes, forward strand.
        position: Index in `codes` of the first transcribed base of each row.
        minus: Whether a row is on the reverse strand.
        chrom_start: Index in `codes` at which the row's chromosome begins.
        chrom_end: Index in `codes` at which it ends, exclusive.
    """

    codes: npt.NDArray[np.uint8]
    position: npt.NDArray[np.int64]
    minus: npt.NDArray[np.bool_]
    chrom_start: npt.NDArray[np.int64]
    chrom_end: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.position)

    def window(
        self, rows: IntArray, length: int, shift: IntArray | int = 0, upstream: int | None = None
    ) -> npt.NDArray[np.uint8]:
        """See `DnaSource.window`."""
        upstream = length // 2 if upstream is None else upstream
        moved = np.broadcast_to(np.asarray(shift), (len(rows),)) - upstream
        minus = self.minus[rows]
        # Leftmost base on the forward strand; index i of a minus-strand window is at `position - moved - i`.
        starts = self.position[rows] + np.where(minus, -moved - length + 1, moved)
        low, high = self.chrom_start[rows], self.chrom_end[rows]
        windows = np.full((len(rows), length), BASE_N, dtype=np.uint8)
        begins, ends = np.maximum(starts, low), np.minimum(starts + length, high)
        for out, start, begin, end in zip(
            windows, starts.tolist(), begins.tolist(), ends.tolist(), strict=True
        ):
            if begin < end:
                out[begin - start : end - start] = self.codes[begin:end]
        windows[minus] = reverse_complement(windows[minus])
        return windows


@dataclass(frozen=True)
class GivenWindows:
    """DNA given as sequences on the transcript's strand, with the start at index `length // 2` of each."""

    sequences: Ragged

    def __len__(self) -> int:
        return len(self.sequences)

    def window(
        self, rows: IntArray, length: int, shift: IntArray | int = 0, upstream: int | None = None
    ) -> npt.NDArray[np.uint8]:
        """See `DnaSource.window`."""
        upstream = length // 2 if upstream is None else upstream
        shifts = np.broadcast_to(np.asarray(shift), (len(rows),)).tolist()
        windows = np.full((len(rows), length), BASE_N, dtype=np.uint8)
        for out, row, moved in zip(windows, rows.tolist(), shifts, strict=True):
            sequence = self.sequences[row]
            start = len(sequence) // 2 - upstream + moved
            begin, end = max(start, 0), min(start + length, len(sequence))
            if begin < end:
                out[begin - start : end - start] = sequence[begin:end]
        return windows
