"""Which variants lie in or near which transcripts, and roughly where, for many of both at once.

In: intervals of both on their chromosomes; out: index pairs, and per pair whether the variant lies upstream,
downstream, deep in an intron, or where a closer look is due. Vectorised: 10,000 variants and 250,000 transcripts take
a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

BIN_BP = 1 << 16
UPSTREAM, DOWNSTREAM, INTRON, CLOSE = range(4)
"""Kinds of places; CLOSE is everything at an exon, a splice site or a border of a transcript."""
SPLICE_REGION_BP = 8
"""Bases of an intron that still belong to the region of a splice site (Sequence Ontology, SO:0001630)."""


@dataclass(frozen=True)
class Spans:
    """Half-open spans on numbered chromosomes; empty ones (insertions) lie between two bases."""

    chrom: Ints
    start: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.start)


def find_pairs(first: Spans, second: Spans) -> tuple[Ints, Ints]:
    """Indices of every pair of spans that share a base; an empty span pairs where it lies strictly inside or touches.

    Returns:
        Indices into `first` and into `second`, sorted by the first, then the second.
    """
    key_a, row_a = _binned(first)
    key_b, row_b = _binned(second)
    order = np.argsort(key_b, kind="stable")
    key_b, row_b = key_b[order], row_b[order]
    low, high = np.searchsorted(key_b, key_a, "left"), np.searchsorted(key_b, key_a, "right")
    n = high - low
    a = np.repeat(row_a, n)
    b = row_b[np.repeat(low, n) + np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)]
    empty = first.start[a] == first.end[a]
    near = (first.start[a] < second.end[b] + empty) & (first.end[a] > second.start[b] - empty)
    pairs = np.unique(a[near] * max(len(second), 1) + b[near])
    return pairs // max(len(second), 1), pairs % max(len(second), 1)


def _binned(spans: Spans) -> tuple[Ints, Ints]:
    """Key of every bin that a span (one base wider on either side) lies in, and the row of the span."""
    low = np.maximum(spans.start - 1, 0) // BIN_BP
    high = np.maximum(spans.end, 0) // BIN_BP
    n = high - low + 1
    row = np.repeat(np.arange(len(spans)), n)
    bins = np.repeat(low, n) + np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return (spans.chrom[row] << 32) + bins, row


@dataclass(frozen=True)
class Exons:
    """Exons of many transcripts end to end, each transcript's by position.

    Attributes:
        offsets: Exons of transcript i are `offsets[i]:offsets[i + 1]`.
        starts: Lowest base of every exon.
        ends: End of every exon.
        minus: Whether each transcript is on the reverse strand.
    """

    offsets: Ints
    starts: Ints
    ends: Ints
    minus: npt.NDArray[np.bool_]


def places(start: Ints, end: Ints, transcript: Ints, exons: Exons) -> tuple[Ints, Ints]:
    """Kind of place of every pair, and the number of the intron (from 1, as transcribed; 0 = none).

    Args:
        start: First changed base of the variant of every pair.
        end: End of its changed bases; equal to `start` for an insertion.
        transcript: Transcript of every pair.
        exons: Of the transcripts.
    """
    first, last = exons.offsets[transcript], exons.offsets[transcript + 1] - 1
    minus = exons.minus[transcript]
    kind = np.full(len(start), CLOSE, dtype=np.int64)
    below, above = end <= exons.starts[first], start >= exons.ends[last]
    kind[(below & ~minus) | (above & minus)] = UPSTREAM
    kind[(below & minus) | (above & ~minus)] = DOWNSTREAM
    # Exons are sorted by (transcript, start): one search finds the last exon that begins at or before each variant.
    span = int(max(exons.ends.max(initial=0), end.max(initial=0))) + 2
    owner = np.repeat(np.arange(len(exons.offsets) - 1), np.diff(exons.offsets))
    exon = np.searchsorted(owner * span + exons.starts, transcript * span + start, "right") - 1
    inner = (kind == CLOSE) & (exon >= first) & (exon < last)
    here, following = np.clip(exon, 0, len(exons.ends) - 1), np.clip(exon + 1, 0, len(exons.starts) - 1)
    deep = inner & (start >= exons.ends[here] + SPLICE_REGION_BP)
    deep &= end <= exons.starts[following] - SPLICE_REGION_BP
    kind[deep] = INTRON
    number = np.where(minus, last - exon, exon - first + 1)
    return kind, np.where(deep, number, 0)
