"""Sites of motifs in peaks: how many each peak holds, how good the best one is, and its false discovery rate.

In: motifs, windows of peaks as base codes, and which bases of each window are looked at. Out: one entry for every
(motif, peak) with a site. A site's p-value is the chance that random sequence scores as high at one place on one strand
(computed here: the scanner's own is rounded, far too small for matrices of certain bases); its q-value is that of
Benjamini and Hochberg over all places that were scanned (both strands), as FIMO's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.genome.motifs import P_VALUE, Motif, scan

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Windows = Callable[[Ints], Codes]
Update = Callable[[int, int], None]

_PEAKS_AT_ONCE = 4096
_MOTIFS_AT_ONCE = 64
_STEP_BITS = 0.01


@dataclass(frozen=True)
class Sites:
    """Entries (motif, peak), sorted by motif and peak; all arrays of one length.

    Attributes:
        motif: Index of the motif.
        peak: Number of the peak.
        count: Sites.
        score: Log-odds of the best one, bits.
        p: Its p-value.
        q: Its q-value over all scanned places.
        limit: Largest p-value of a site of each motif (motifs,).
    """

    motif: Ints
    peak: Ints
    count: Ints
    score: Numbers
    p: Numbers
    q: Numbers
    limit: Numbers

    def __len__(self) -> int:
        return len(self.motif)


def find_sites(
    motifs: Sequence[Motif],
    windows: Windows,
    peaks: Ints,
    first: Ints,
    last: Ints,
    *,
    p_value: float | Numbers | None = None,
    fdr: float | None = None,
    update: Update | None = None,
) -> Sites:
    """Scan peaks on both strands.

    Args:
        motifs: What to look for.
        windows: Gives base codes (n, bases) of peaks.
        peaks: Numbers of the peaks.
        first: First base of each window that may lie in a site's middle.
        last: Base behind the last.
        p_value: Sites up to this p-value, or that of each motif.
        fdr: Instead, sites up to this q-value (of the places with p up to 1e-4).
        update: Is told how far it is.

    Raises:
        ValueError: If neither or both limits are given.
    """
    if (p_value is None) == (fdr is None):
        raise ValueError("give p_value or fdr")
    n_places = 2 * int((last - first).sum())
    limit = np.broadcast_to(np.asarray(P_VALUE if p_value is None else p_value), len(motifs))
    parts = []
    for at in range(0, len(motifs), _MOTIFS_AT_ONCE):
        some = motifs[at : at + _MOTIFS_AT_ONCE]
        hits = _scan(some, windows, peaks, first, last, float(limit[at : at + len(some)].max()))
        for index, motif in enumerate(some):
            rows = hits[0] == index
            parts.append(
                _of_motif(motif, at + index, hits[1][rows], hits[2][rows], n_places, limit[at + index], fdr)
            )
        if update is not None:
            update(min(at + _MOTIFS_AT_ONCE, len(motifs)), len(motifs))
    return _joined(parts)


def _scan(
    motifs: Sequence[Motif], windows: Windows, peaks: Ints, first: Ints, last: Ints, p_value: float
) -> tuple[Ints, Ints, Numbers]:
    """Motif, peak and score of hits whose middle lies in the part of the window that is looked at."""
    found: list[tuple[Any, Any, Any]] = []
    for at in range(0, len(peaks), _PEAKS_AT_ONCE):
        part = slice(at, at + _PEAKS_AT_ONCE)
        hits = scan(motifs, windows(peaks[part]), p_value)
        middle = (hits.start + hits.end) // 2
        inside = (middle >= first[part][hits.window]) & (middle < last[part][hits.window])
        found.append((hits.motif[inside], peaks[part][hits.window[inside]], hits.score[inside]))
    motif, peak, score = (np.concatenate(column) for column in zip(*found, strict=True))
    return motif, peak, score.astype(np.float64)


def _of_motif(
    motif: Motif, number: int, peak: Ints, score: Numbers, n_places: int, limit: float, fdr: float | None
) -> Sites:
    p = p_values(motif, score)
    q = q_values(p, n_places)
    kept = p <= limit if fdr is None else q <= fdr
    peak, score, p, q = peak[kept], score[kept], p[kept], q[kept]
    distinct, place = np.unique(peak, return_inverse=True)
    n = len(distinct)
    best = np.full(n, -np.inf)
    np.maximum.at(best, place, score)
    least_p, least_q = np.ones(n), np.ones(n)
    np.minimum.at(least_p, place, p)
    np.minimum.at(least_q, place, q)
    count = np.bincount(place, minlength=n).astype(np.int64)
    largest = np.array([p.max(initial=0.0)])
    return Sites(np.full(n, number), distinct.astype(np.int64), count, best, least_p, least_q, largest)


def p_values(motif: Motif, score: Numbers) -> Numbers:
    """Chance that random sequence of the motif's background scores at least as high at one place.

    The distribution of sums of columns, each rounded to 0.01 bits; scores are taken lower by the most that rounding
    can do, so that no p-value is too small.
    """
    odds = np.round(motif.log_odds() / _STEP_BITS).astype(np.int64)
    low = odds.min(axis=1)
    chance = np.ones(1)
    for column, least in zip(odds, low.tolist(), strict=True):
        wider = np.zeros(len(chance) + int(column.max() - least))
        for base, value in enumerate(column.tolist()):
            wider[value - least : value - least + len(chance)] += chance * motif.background[base]
        chance = wider
    tail = np.cumsum(chance[::-1])[::-1]
    place = np.floor(score / _STEP_BITS - 0.5 * motif.width + 1e-6) - low.sum()
    found: Numbers = tail[np.clip(place, 0, len(tail) - 1).astype(np.int64)]
    return found


def q_values(p: Numbers, n_tests: int) -> Numbers:
    """False discovery rates (Benjamini and Hochberg) of the smallest of `n_tests` p-values."""
    order = np.argsort(p, kind="stable")
    raw = p[order] * n_tests / np.arange(1, len(p) + 1)
    found = np.empty(len(p))
    found[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return found


def _joined(parts: Sequence[Sites]) -> Sites:
    def column(name: str, kind: type) -> npt.NDArray[Any]:
        return np.concatenate([np.empty(0, kind), *(getattr(part, name) for part in parts)]).astype(kind)

    whole = {name: column(name, np.int64) for name in ("motif", "peak", "count")}
    return Sites(**whole, **{name: column(name, np.float64) for name in ("score", "p", "q", "limit")})


def shuffled(motif: Motif, rng: np.random.Generator) -> Motif:
    """The motif with its positions in another order: same composition and information, another word."""
    return replace(motif, probability=motif.probability[rng.permutation(motif.width)])


def inner_part(start: Ints, end: Ints, width: int, whole: bool) -> tuple[Ints, Ints]:
    """First and last base of each peak within its window of `width` bases round the midpoint.

    Args:
        start: Of the called peaks.
        end: Likewise.
        width: Of a window.
        whole: Look at the whole window instead.
    """
    if whole:
        return np.zeros(len(start), dtype=np.int64), np.full(len(start), width, dtype=np.int64)
    offset = (start + end) // 2 - width // 2
    return np.maximum(start - offset, 0), np.minimum(end - offset, width)
