"""What each 6-mer says about the tracks, by one linear regression: where the table of DNA embeddings starts.

Ours. A transformer that starts from random embeddings has to find out by small steps which of 4,096 6-mers matter;
on some megabases it does not get there. Ridge regression of the signal of bins on how often they hold each 6-mer has
a closed form, takes seconds, and its coefficients, as coordinates of the 6-mers, hand that to the first layer.
Both strands count as one. Training regions alone are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from cisoform.data.regions import BIN_SIZE, RegionDataset
from cisoform.tokens.peaks import DNA_FIRST_KMER, K, dna_tokens

N_KMERS = 4**K
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class KmerStartConfig:
    """How embeddings of 6-mers start.

    Attributes:
        bins: Most bins that are read; 0 = start at random.
        columns: Most signals (sample and track) that are regressed.
        ridge: Penalty, in units of the mean variance of a 6-mer's count.
        scale: Standard deviation of a coordinate, beside 0.02 of all other embeddings: how much louder DNA is.
        frozen: Whether the table stays as it is.
    """

    bins: int = 50_000
    columns: int = 64
    ridge: float = 1.0
    scale: float = 0.2
    frozen: bool = False

    def __post_init__(self) -> None:
        if self.bins < 0 or self.columns < 1 or self.ridge <= 0 or self.scale <= 0:
            raise ValueError(
                f"bins={self.bins} must be at least 0, columns={self.columns} at least 1, ridge={self.ridge} and "
                f"scale={self.scale} more than 0"
            )


def canonical_kmers() -> Ints:
    """For every 6-mer (0..4095, base 4) the smaller of itself and its reverse complement."""
    code = np.arange(N_KMERS)
    digits = [(code // 4 ** (K - 1 - place)) % 4 for place in range(K)]
    reverse = sum((3 - digit) * 4**place for place, digit in enumerate(digits))
    found: Ints = np.minimum(code, np.asarray(reverse))
    return found


def kmer_coordinates(dataset: RegionDataset, config: KmerStartConfig, seed: int, dim: int) -> Floats:
    """Coordinates (4,096, k) of the 6-mers, mean 0 and variance 1 each, the most telling direction first.

    Args:
        dataset: Regions of tracks.
        config: See `KmerStartConfig`.
        seed: Chooses the bins and the signals where there are more than are read.
        dim: Most coordinates. There are no more than signals.
    """
    rng = np.random.default_rng([seed, 7])
    counts, signals = _read(dataset, config, rng)
    names, column = np.unique(canonical_kmers(), return_inverse=True)
    mean = np.asarray(counts.mean(axis=0)).reshape(-1)
    gram = (counts.T @ counts).toarray() - len(signals) * np.outer(mean, mean)
    cross = counts.T @ signals - np.outer(mean, signals.sum(axis=0))
    penalty = config.ridge * max(float(np.trace(gram)) / len(names), 1e-9)
    found = np.linalg.solve(gram + penalty * np.eye(len(names)), cross)[column]
    found -= found.mean(axis=0)
    left, size, _ = np.linalg.svd(found, full_matrices=False)
    kept = min(dim, int((size > 1e-6 * max(float(size[0]), 1e-30)).sum()))
    return np.asarray(left[:, :kept] * np.sqrt(N_KMERS))


def _read(
    dataset: RegionDataset, config: KmerStartConfig, rng: np.random.Generator
) -> tuple[csr_matrix, Floats]:
    """Counts (bins, canonical 6-mers) and standardised log signals (bins, columns); not measured = the mean."""
    rows = dataset.rows("train")
    starts = dataset.first_base[rows]
    places, place = np.unique(starts, return_inverse=True)
    per_region = dataset.window // BIN_SIZE
    wanted = min(len(places), max(1, config.bins // per_region))
    chosen = np.sort(rng.choice(len(places), wanted, replace=False))
    number = np.full(len(places), -1)
    number[chosen] = np.arange(wanted)
    samples = np.array(dataset.regions["sample"].to_list())[rows]
    names = np.unique(samples)
    n_tracks = len(dataset.tracks)
    columns = np.arange(len(names) * n_tracks)
    if len(columns) > config.columns:
        columns = np.sort(rng.choice(columns, config.columns, replace=False))
    signals = np.full((wanted, per_region, len(names), n_tracks), np.nan, dtype=np.float32)
    first: dict[int, int] = {}
    for row, at, sample in zip(
        rows.tolist(), number[place].tolist(), np.searchsorted(names, samples).tolist(), strict=True
    ):
        if at < 0:
            continue
        first.setdefault(at, row)
        means = np.log1p(np.maximum(dataset.means(row, 0, dataset.window), 0.0)).T
        signals[at, :, sample] = np.where(dataset.measured[row], means, np.nan)
    table = signals.reshape(wanted * per_region, -1)[:, columns].astype(np.float64)
    del signals
    known = np.isfinite(table)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, table, 0.0).sum(axis=0) / count
    table = np.where(known, table - mean, 0.0)
    deviation = np.sqrt((table**2).sum(axis=0) / count)
    return _counts(dataset, [first[at] for at in range(wanted)]), table / np.where(
        deviation > 0, deviation, 1.0
    )


def _counts(dataset: RegionDataset, rows: list[int]) -> csr_matrix:
    """How often each bin of the regions holds each canonical 6-mer."""
    names, column = np.unique(canonical_kmers(), return_inverse=True)
    per_region = dataset.window // BIN_SIZE
    codes = np.stack([dataset.dna(row, 0, dataset.window) for row in rows])
    ids = dna_tokens(codes).astype(np.int64).reshape(len(rows) * per_region, BIN_SIZE) - DNA_FIRST_KMER
    bins = np.repeat(np.arange(len(ids)), BIN_SIZE)
    flat = ids.reshape(-1)
    real = flat >= 0
    shape = (len(ids), len(names))
    return csr_matrix((np.ones(int(real.sum())), (bins[real], column[flat[real]])), shape=shape)
