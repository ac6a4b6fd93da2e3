"""What a peak shows in a cell, as states: each distinct row of signal tokens of a peak once.

Ids of states, int32: `peak` = all zero, `n_peaks + peak` = not measured (sequence alone), and from `2 * n_peaks` on
those that occur, sorted by peak. Features of frozen models are computed once per state. Two kinds of signal:

- levels: one count per peak (no fragments). Its value, cuts per 10 bp of the peak and a million of depth, is cut
  at the edges, and the level's central value is spread over the bases of the peak: at most 35 states a peak.
- coverage: cuts in 10-bp bins of the window; states are nearly unique. Stored as their non-zero bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.genome.peaks import PEAK_WINDOW
from cisoform.tokens.peaks import (
    RELEASED_EDGES,
    SIGNAL_ABSENT,
    SIGNAL_FIRST_LEVEL,
    SIGNAL_ZERO,
    signal_tokens,
)

BIN_BP = 10
N_BINS = -(-PEAK_WINDOW // BIN_BP)
N_TOKENS = PEAK_WINDOW - 5
N_LEVELS = len(RELEASED_EDGES) + 1
"""Levels of a positive value: below the first edge up to above the last."""
_CHUNK = 1024

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def level_values(edges: Sequence[float]) -> npt.NDArray[np.float64]:
    """A central value of each level of positive signal: the geometric mean of its edges."""
    inner = [math.sqrt(low * high) for low, high in zip(edges, edges[1:], strict=False)]
    return np.array([edges[0] / 2, *inner, edges[-1] * math.sqrt(edges[-1] / edges[-2])])


@dataclass(frozen=True)
class PeakPlaces:
    """Where each peak lies in its own window: bases `first` to `last` (half-open) of the 1,029."""

    first: IntArray
    last: IntArray

    @classmethod
    def of(cls, start: IntArray, end: IntArray) -> PeakPlaces:
        """From the peaks' coordinates."""
        window = (start + end) // 2 - PEAK_WINDOW // 2
        return cls(np.maximum(start - window, 0), np.minimum(end - window, PEAK_WINDOW))


@dataclass(frozen=True)
class LevelStates:
    """Observed states of count-level signal.

    Attributes:
        peak: Peak of each state, ascending.
        level: 0 to 34, ascending within a peak.
        edges: Edges of the levels.
        places: Where peaks lie in their windows.
    """

    peak: npt.NDArray[np.int32]
    level: npt.NDArray[np.uint8]
    edges: tuple[float, ...]
    places: PeakPlaces

    def __len__(self) -> int:
        return len(self.peak)

    def signal(self, rows: IntArray, factor: float = 1.0) -> FloatArray:
        """Signal of the bases of the windows of some states, (n, 1029)."""
        value = level_values(self.edges)[self.level[rows]] * factor
        peak = self.peak[rows]
        base = np.arange(PEAK_WINDOW)
        inside = (base >= self.places.first[peak, None]) & (base < self.places.last[peak, None])
        return np.where(inside, value[:, None], 0.0).astype(np.float32)

    def mean(self, rows: IntArray) -> FloatArray:
        """Mean signal over the window."""
        peak = self.peak[rows]
        share = (self.places.last[peak] - self.places.first[peak]) / PEAK_WINDOW
        return np.asarray(level_values(self.edges)[self.level[rows]] * share, dtype=np.float32)

    def table(self, n_peaks: int) -> npt.NDArray[np.int32]:
        """Observed state of (peak, level) at `peak * N_LEVELS + level`; -1 where there is none."""
        table = np.full(n_peaks * N_LEVELS, -1, dtype=np.int32)
        table[self.peak.astype(np.int64) * N_LEVELS + self.level] = np.arange(len(self), dtype=np.int32)
        return table


@dataclass(frozen=True)
class CoverageStates:
    """Observed states of per-base signal: non-zero bins of each.

    Attributes:
        peak: Peak of each state, ascending.
        offsets: Bins of state i are `offsets[i]:offsets[i + 1]`.
        bins: 10-bp bin of the window.
        values: Depth-normalised signal of its bases.
        edges: Edges of the levels.
    """

    peak: npt.NDArray[np.int32]
    offsets: IntArray
    bins: npt.NDArray[np.uint8]
    values: FloatArray
    edges: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.peak)

    def signal(self, rows: IntArray, factor: float = 1.0) -> FloatArray:
        """Signal of the bases of the windows of some states, (n, 1029)."""
        counts = (self.offsets[rows + 1] - self.offsets[rows]).astype(np.int64)
        entry = ragged_positions(self.offsets[rows], counts)
        return spread_bins(
            np.repeat(np.arange(len(rows)), counts), self.bins[entry], self.values[entry] * factor, len(rows)
        )

    def mean(self, rows: IntArray) -> FloatArray:
        """Mean signal over the window."""
        counts = (self.offsets[rows + 1] - self.offsets[rows]).astype(np.int64)
        entry = ragged_positions(self.offsets[rows], counts)
        widths = np.minimum(BIN_BP, PEAK_WINDOW - self.bins[entry].astype(np.int64) * BIN_BP)
        of = np.repeat(np.arange(len(rows)), counts)
        total = np.bincount(of, weights=self.values[entry] * widths, minlength=len(rows))
        return np.asarray(total / PEAK_WINDOW, dtype=np.float32)


def spread_bins(row: IntArray, bins: npt.NDArray[Any], values: npt.NDArray[Any], n_rows: int) -> FloatArray:
    """Values of 10-bp bins as values of bases, (n_rows, 1029)."""
    dense = np.zeros((n_rows, N_BINS), dtype=np.float32)
    dense[row, bins] = values
    return np.repeat(dense, BIN_BP, axis=1)[:, :PEAK_WINDOW]


def ragged_positions(starts: npt.NDArray[Any], counts: npt.NDArray[Any]) -> IntArray:
    """`starts[0], starts[0] + 1, ...` for `counts[0]` positions, then those of the next, end to end."""
    counts = np.asarray(counts, dtype=np.int64)
    done = np.cumsum(counts)
    total = int(done[-1]) if len(done) else 0
    return np.repeat(np.asarray(starts, dtype=np.int64) - (done - counts), counts) + np.arange(total)


def tokens_of(
    states: LevelStates | CoverageStates, ids: npt.NDArray[np.integer], n_peaks: int, factor: float = 1.0
) -> npt.NDArray[np.uint8]:
    """Signal tokens of states by id, (n, 1024).

    Args:
        states: The observed ones.
        ids: Ids as defined above.
        n_peaks: Number of peaks.
        factor: Multiplies the signal before the levels are cut: the same cells at another depth.
    """
    ids = np.asarray(ids, dtype=np.int64)
    tokens = np.full((len(ids), N_TOKENS), SIGNAL_ZERO, dtype=np.uint8)
    tokens[(ids >= n_peaks) & (ids < 2 * n_peaks)] = SIGNAL_ABSENT
    observed = np.flatnonzero(ids >= 2 * n_peaks)
    for first in range(0, len(observed), _CHUNK):
        part = observed[first : first + _CHUNK]
        rows = np.asarray(ids[part] - 2 * n_peaks, dtype=np.int64)
        tokens[part] = signal_tokens(states.signal(rows, factor), states.edges)
    return tokens


def level_codes(values: npt.NDArray[np.floating[Any]], edges: Sequence[float]) -> npt.NDArray[np.uint8]:
    """Level (0 to 34) of positive values."""
    from cisoform.tokens.peaks import signal_levels

    return np.asarray(signal_levels(values, edges) - SIGNAL_FIRST_LEVEL, dtype=np.uint8)
