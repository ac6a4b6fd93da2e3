"""Which bases to hide in pre-training: contiguous spans, because lone tokens are given away by their neighbours.

A stride-1 6-mer that is hidden alone can be read off the 6-mers on either side, and so can a mean over six bases.
Here spans of *bases* are hidden; every token that touches a hidden base is hidden at the input (`touched`), so no
visible token holds any of it, and only hidden bases count in the loss and the scores. Span shapes are our choice
(the paper gives 15 % alone): DNA 6 + a geometric number of bases, signals 32-256 bp and whole bins.

All arrays are (..., L + 5) bases or (..., L) tokens; token i covers bases i..i+5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.tokens.peaks import K

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class HidingConfig:
    """How much is hidden, and in spans of which length.

    Attributes:
        dna_share: Expected share of hidden bases of DNA (the paper's 15 %).
        dna_span_extra: A span of DNA has 6 plus a geometric number of bases with this mean.
        signal_share: Expected share of hidden bases of every shown track.
        signal_span_min: Shortest span of a signal, bp. Use at least three times the resolution of the data: 75 for
            tracks in steps of 25 bp, where a shorter span is read off its edges.
        signal_span_max: Longest span, bp.
        whole_bins: Share of a track's hidden bases that are whole bins.
        shared_spans: Probability that all tracks of a window are hidden at the same bases.
        bin_size: Bases of a bin.
    """

    dna_share: float = 0.15
    dna_span_extra: float = 12.0
    signal_share: float = 0.15
    signal_span_min: int = 32
    signal_span_max: int = 256
    whole_bins: float = 0.3
    shared_spans: float = 0.5
    bin_size: int = 128

    def __post_init__(self) -> None:
        for name in ("dna_share", "signal_share"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ValueError(f"{name}={getattr(self, name)} must be from 0 to 0.5")
        for name in ("whole_bins", "shared_spans"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} must be from 0 to 1")
        if self.dna_span_extra <= 0:
            raise ValueError(f"dna_span_extra={self.dna_span_extra} must be more than 0")
        if not K <= self.signal_span_min <= self.signal_span_max:
            raise ValueError(
                f"signal_span_min={self.signal_span_min} and signal_span_max={self.signal_span_max}: "
                f"need {K} <= min <= max"
            )


def hide_dna(rng: np.random.Generator, rows: int, tokens: int, config: HidingConfig) -> Mask:
    """Hidden bases (rows, tokens + 5) of DNA."""
    bases = tokens + K - 1
    mean = K + config.dna_span_extra
    count = _enough(bases, config.dna_share, mean)
    # numpy's geometric counts from 1; ours from 0 with mean `dna_span_extra`.
    spans = K + rng.geometric(1 / (1 + config.dna_span_extra), size=(rows, count)) - 1
    return _place(rng, spans, mean, bases, config.dna_share)


def hide_signals(rng: np.random.Generator, rows: int, tracks: int, tokens: int, config: HidingConfig) -> Mask:
    """Hidden bases (rows, tracks, tokens + 5) of signals: spans of uniform length, and whole bins."""
    own = _hide_signal(rng, rows * tracks, tokens, config).reshape(rows, tracks, -1)
    together = _hide_signal(rng, rows, tokens, config)
    shared = rng.random(rows) < config.shared_spans
    return np.where(shared[:, None, None], together[:, None, :], own)


def _hide_signal(rng: np.random.Generator, rows: int, tokens: int, config: HidingConfig) -> Mask:
    bases = tokens + K - 1
    low, high = config.signal_span_min, config.signal_span_max
    share = config.signal_share * (1 - config.whole_bins)
    mean = (low + high) / 2
    spans = rng.integers(low, high, size=(rows, _enough(bases, share, mean)), endpoint=True)
    hidden = _place(rng, spans, mean, bases, share)
    # Runs of bins no shorter than the shortest span.
    run = math.ceil(low / config.bin_size)
    n_bins = math.ceil(bases / config.bin_size)
    begins = rng.random((rows, n_bins)) < config.signal_share * config.whole_bins / run
    bins = begins.copy()
    for step in range(1, run):
        bins[:, step:] |= begins[:, :-step]
    hidden |= np.repeat(bins, config.bin_size, axis=1)[:, :bases]
    return hidden


def _enough(bases: int, share: float, mean: float) -> int:
    """Spans to draw so that they reach the end of a row all but surely."""
    if share == 0:
        return 0
    expected = bases * share / mean
    return int(expected + 6 * math.sqrt(expected) + 6)


def _place(
    rng: np.random.Generator, spans: npt.NDArray[np.int64], mean: float, bases: int, share: float
) -> Mask:
    """Spans in their order with visible gaps between; the last one may run off the end of its row.

    Gaps are 6 bases plus a geometric number, with the mean that gives the wanted share.
    """
    hidden = np.zeros((len(spans), bases), dtype=np.bool_)
    if not spans.size:
        return hidden
    mean_gap = mean * (1 - share) / share
    gaps = K + rng.geometric(1 / (1 + max(mean_gap - K, 1e-6)), size=spans.shape) - 1
    # A row begins anywhere in the cycle of span and gap, so that its ends are hidden as often as its middle.
    offset = rng.integers(0, max(1, round(mean + mean_gap)), size=(len(spans), 1))
    ends = np.cumsum(spans + gaps, axis=1) - offset
    starts = ends - spans
    step = np.zeros((len(spans), bases + 1), dtype=np.int32)
    row = np.broadcast_to(np.arange(len(spans))[:, None], spans.shape)
    np.add.at(step, (row, np.clip(starts, 0, bases)), 1)
    np.add.at(step, (row, np.clip(ends, 0, bases)), -1)
    np.greater(np.cumsum(step[:, :-1], axis=1), 0, out=hidden)
    return hidden


def touched(hidden: Mask) -> Mask:
    """Tokens (..., L) that cover at least one hidden base of (..., L + 5): all these are hidden at the input."""
    length = hidden.shape[-1] - K + 1
    out = hidden[..., :length].copy()
    for offset in range(1, K):
        out |= hidden[..., offset : offset + length]
    return out


def enclosed(hidden: Mask) -> Mask:
    """Tokens (..., L) all of whose six bases are hidden; those of a signal that count."""
    return ~touched(~hidden)


def first_hidden(hidden: Mask) -> Mask:
    """Tokens (..., L) whose first base is hidden: one a hidden base; those of DNA that count."""
    return hidden[..., : hidden.shape[-1] - K + 1]
