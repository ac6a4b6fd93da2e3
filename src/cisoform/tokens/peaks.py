"""DNA and signal of a window to the two token rows that CREformer reads: one token a base pair.

A window of L + 5 bases gives L tokens: token i is the 6-mer of bases i..i+5, and the level of the mean signal of
the same six bases. Ids are small integers for embedding tables:

    DNA      0 pad or a 6-mer with N, 1 [CLS], 2 [SEP], 3 [MASK], 4 + sum(code_j * 4^(5-j)) for the 4,096 6-mers
             in alphabetical order (AAAAAA = 4), by arithmetic. The released model numbers the 6-mers in a shuffled
             order; its embedding rows are permuted to this order once, when its weights are converted.
    signal   0 not measured, 1 exactly zero, 2 + number of edges <= mean otherwise (2..36), 37 [MASK]

Edges, the mean over six bases and NaN read as 0 are the released code's (`data_processing.pre_pro`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError

K = 6
DNA_PAD, DNA_CLS, DNA_SEP, DNA_MASK = 0, 1, 2, 3
DNA_FIRST_KMER = 4
DNA_VOCABULARY = DNA_FIRST_KMER + 4**K
SIGNAL_ABSENT, SIGNAL_ZERO, SIGNAL_FIRST_LEVEL, SIGNAL_MASK = 0, 1, 2, 37
SIGNAL_VOCABULARY = 38
RELEASED_EDGES = (
    *(0.001, 0.01, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0),
    *(20.0, 25.0, 35.0, 55.0, 100.0, 200.0),
)
N_EDGES = len(RELEASED_EDGES)
_BIN_SHIFT, _MOST_BINS = 44, 2**16
_SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")

EdgeTable = tuple[int, npt.NDArray[np.uint8], npt.NDArray[np.float64]]


def dna_tokens(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """Stride-1 6-mer ids along the last axis: (..., L + 5) base codes (A0 C1 G2 T3 N4) to (..., L) ids.

    A 6-mer that contains N is `DNA_PAD`.
    """
    length = codes.shape[-1] - K + 1
    if length < 1:
        raise ValueError(f"{codes.shape[-1]} bases are fewer than one {K}-mer")
    bases = codes & 3
    ids = bases[..., :length].astype(np.uint16)
    for offset in range(1, K):
        ids *= 4
        ids += bases[..., offset : offset + length]
    ids += DNA_FIRST_KMER
    unknown = codes > 3
    if unknown.any():
        ids[_any_of_window(unknown, length)] = DNA_PAD
    return ids


def _any_of_window(flags: npt.NDArray[np.bool_], length: int) -> npt.NDArray[np.bool_]:
    found = flags[..., :length].copy()
    for offset in range(1, K):
        found |= flags[..., offset : offset + length]
    return found


def mean_signal(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Mean of each run of six bases along the last axis: (..., L + 5) values to (..., L); NaN counts as 0.

    Summed term by term in double precision, so that a run of zeros is exactly zero.
    """
    length = values.shape[-1] - K + 1
    if length < 1:
        raise ValueError(f"{values.shape[-1]} values are fewer than one {K}-mer")
    missing = np.isnan(values)
    clean = (np.where(missing, 0.0, values) if missing.any() else values).astype(np.float64, copy=False)
    total: npt.NDArray[np.float64] = clean[..., :length] + clean[..., 1 : 1 + length]
    for offset in range(2, K):
        total += clean[..., offset : offset + length]
    total /= K
    return total


def signal_levels(
    means: npt.NDArray[np.floating[Any]], edges: Sequence[float] = RELEASED_EDGES
) -> npt.NDArray[np.uint8]:
    """Level of each mean: 1 where it is exactly 0, else 2 + number of edges that are <= it. More signal never
    lowers a level.

    Raises:
        ValueError: If a mean is negative or infinite: such a track needs a transform first.
    """
    if means.size and (means.min() < 0 or not np.isfinite(means.max())):
        raise ValueError(f"signal of {means.min()} to {means.max()}: levels need finite values of at least 0")
    levels = _edges_below(np.ascontiguousarray(means, dtype=np.float64), tuple(edges))
    levels += SIGNAL_FIRST_LEVEL
    levels[means == 0] = SIGNAL_ZERO
    return levels


def _edges_below(values: npt.NDArray[np.float64], edges: tuple[float, ...]) -> npt.NDArray[np.uint8]:
    """Number of edges <= each value: `np.searchsorted(edges, values, side="right")`, several times as fast.

    The leading bits of a positive double place it in a bin 1/256 of a power of two wide; where no bin holds two
    edges, the bin says how many edges lie below it and one comparison the rest.
    """
    table = _edge_table(edges)
    if table is None:
        return np.searchsorted(np.asarray(edges), values, side="right").astype(np.uint8)
    first, below, following = table
    place = values.view(np.int64) >> _BIN_SHIFT
    place -= first
    np.clip(place, 0, len(below) - 1, out=place)
    found: npt.NDArray[np.uint8] = below.take(place)
    found += values >= following.take(place)
    return found


@lru_cache(maxsize=64)
def _edge_table(edges: tuple[float, ...]) -> EdgeTable | None:
    """First bin, edges below each bin, and the first edge not below it; None where a bin holds two or they are many."""
    values = np.array(edges, dtype=np.float64)
    if not len(values) or values[0] <= 0 or (np.diff(values) <= 0).any():
        return None
    place = values.view(np.int64) >> _BIN_SHIFT
    first, n_bins = int(place[0]) - 1, int(place[-1] - place[0]) + 3
    if (np.diff(place) == 0).any() or n_bins > _MOST_BINS:
        return None
    starts = (np.arange(first, first + n_bins, dtype=np.int64) << _BIN_SHIFT).view(np.float64)
    below = np.searchsorted(values, starts, side="left").astype(np.uint8)
    return first, below, np.append(values, np.inf)[below]


def signal_tokens(
    values: npt.NDArray[np.floating[Any]], edges: Sequence[float] = RELEASED_EDGES
) -> npt.NDArray[np.uint8]:
    """Signal of (..., L + 5) bases to (..., L) level ids."""
    return signal_levels(mean_signal(values), edges)


def check_edges(edges: Sequence[float]) -> tuple[float, ...]:
    """The edges as a tuple, after checking that they are 34 positive, increasing numbers.

    Raises:
        ValueError: Otherwise.
    """
    values = tuple(float(edge) for edge in edges)
    if len(values) != N_EDGES:
        raise ValueError(f"{len(values)} edges: {N_EDGES} are needed for {N_EDGES + 2} levels")
    if values[0] <= 0 or any(low >= high for low, high in zip(values, values[1:], strict=False)):
        raise ValueError("edges must be positive and increasing")
    return values


def quantile_edges(positive_means: npt.NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """34 edges that put equal shares of the given positive 6-bp means on each level.

    Our option: the published edges saturate for depth-normalised single-cell signal, where one read of a small
    cell is already at the top. Ties are spread upwards by the smallest representable steps, so that the edges
    stay increasing. Values of 0 keep their own level and do not count.

    Raises:
        ValueError: If no value is positive.
    """
    values = positive_means[(positive_means > 0) & np.isfinite(positive_means)]
    if not values.size:
        raise ValueError("no positive signal to take quantiles of")
    # Level 2 + i begins at quantile i / 35: the first of the 35 non-zero levels lies below the first edge.
    shares = np.arange(1, N_EDGES + 1) / (N_EDGES + 1)
    edges = [float(value) for value in np.quantile(values.astype(np.float64), shares)]
    for index in range(1, N_EDGES):
        if edges[index] <= edges[index - 1]:
            edges[index] = float(np.nextafter(edges[index - 1], np.inf))
    return tuple(edges)


def released_rows(vocabulary: Sequence[str], source: str = "vocabulary") -> npt.NDArray[np.int64]:
    """Row of the released embedding table for each of our DNA ids, given the released vocabulary in id order.

    `table[released_rows(vocabulary)]` is the table in our order.

    Raises:
        InputError: If the vocabulary is not the four special tokens and every 6-mer once.
    """
    position = {token.upper(): row for row, token in enumerate(vocabulary)}
    ours = [*_SPECIAL, *("".join(kmer) for kmer in product("ACGT", repeat=K))]
    if len(vocabulary) != len(ours):
        raise InputError(
            f"{source}: {len(vocabulary)} tokens, expected {len(ours)}: [PAD] [CLS] [SEP] [MASK] and 6-mers"
        )
    missing = [token for token in ours if token not in position]
    if missing:
        raise InputError(f"{source}: lacks {len(missing)} of the expected tokens, first {missing[0]!r}")
    return np.array([position[token] for token in ours], dtype=np.int64)
