"""Scores of (gene, peak) pairs as the gene network reads them: by label, and in bags of cells.

A bag is a draw of groups (cells or pools) with replacement; the score of a label in a bag is the mean over its drawn
groups. What the network needs of a bag is little: the strongest rise and fall over labels of every pair, and the sum
over genes of every peak. So chunks of genes can be written away and read again, and memory stays bounded.

The score is signed: what the open peak adds to the prediction (`ablation`). Scores of other readings have no sign of
their own and take that of the ablation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PairChunk:
    """Pairs of some genes; rows are sorted by gene, then peak. Bag 0 is all groups, each once.

    Attributes:
        gene: Number of the gene.
        peak: Number of the peak.
        distance_bp: Peak's midpoint from the TSS on the gene's strand.
        by_label: Signed score (pairs, labels); NaN where a label has no group.
        rise: Highest positive score over labels (pairs, bags), 0 where none is positive.
        fall: Likewise of negative scores, as a positive number.
        peaks: Distinct peaks, ascending.
        peak_sum: Sum of the signed scores over the genes of the chunk (peaks, labels, bags).
    """

    gene: Ints
    peak: Ints
    distance_bp: Floats
    by_label: Floats
    rise: Floats
    fall: Floats
    peaks: Ints
    peak_sum: Floats

    def genes(self) -> Iterable[tuple[int, slice]]:
        """Every gene and its rows."""
        distinct, first = np.unique(self.gene, return_index=True)
        last = [*first[1:].tolist(), len(self.gene)]
        for gene, low, high in zip(distinct.tolist(), first.tolist(), last, strict=True):
            yield gene, slice(low, high)


def draw_bags(n_groups: int, n_bags: int, seed: int) -> Ints:
    """How often each bag holds each group (groups, 1 + bags); column 0 holds each once."""
    rng = np.random.default_rng([seed, 1])
    drawn = [np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups) for _ in range(n_bags)]
    return np.stack([np.ones(n_groups, dtype=np.int64), *drawn], axis=1)


def label_means(values: Numbers | Floats, label: Ints, n_labels: int, bags: Ints) -> Numbers:
    """Mean over the groups of each label in each bag (labels, columns, bags); NaN where a bag has none.

    Args:
        values: (groups, columns).
        label: Of each group.
        n_labels: How many there are.
        bags: As `draw_bags` gives them.
    """
    total = np.zeros((n_labels, values.shape[1], bags.shape[1]))
    for group, one in enumerate(label.tolist()):
        total[one] += values[group][:, None] * bags[group]
    return divided(total, weight_of(label, n_labels, bags)[:, None, :])


def weight_of(label: Ints, n_labels: int, bags: Ints) -> Numbers:
    """Groups of each label in each bag (labels, bags)."""
    found = np.zeros((n_labels, bags.shape[1]))
    np.add.at(found, label, bags)
    return found


def divided(total: Numbers, count: Numbers) -> Numbers:
    """The quotient; NaN where the count is 0."""
    there = np.broadcast_to(count > 0, total.shape)
    found: Numbers = np.divide(total, count, out=np.full(total.shape, np.nan), where=there)
    return found


class PairSums:
    """Sums of signed scores over the groups of labels in bags, for the pairs of some genes."""

    def __init__(self, genes: Ints, first: Ints, count: Ints, n_labels: int, bags: Ints) -> None:
        """Make room.

        Args:
            genes: Numbers of the genes, ascending.
            first: First peak of each.
            count: Number of peaks of each.
            n_labels: Labels of groups.
            bags: As `draw_bags` gives them.
        """
        self.genes, self.bags = genes, bags
        self.offset = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        self.gene = np.repeat(genes, count)
        place = np.arange(self.offset[-1]) - np.repeat(self.offset[:-1], count)
        self.peak = np.repeat(first, count) + place
        self.total = np.zeros((len(self.gene), n_labels, bags.shape[1]))
        self.distance = np.zeros(len(self.gene), dtype=np.float32)

    def add(self, gene: Ints, slot: Ints, label: Ints, group: Ints, value: Floats, distance: Floats) -> None:
        """Take in scores; `group` is the row of the group in `bags`."""
        row = self.offset[np.searchsorted(self.genes, gene)] + slot
        self.distance[row] = distance
        np.add.at(self.total, (row, label), value[:, None].astype(np.float64) * self.bags[group])

    def chunk(self, weight: Numbers) -> PairChunk:
        """Means, and what follows from them.

        Args:
            weight: As `weight_of` gives it.
        """
        mean = divided(self.total, weight[None])
        return make_chunk(self.gene, self.peak, self.distance, mean)


def make_chunk(gene: Ints, peak: Ints, distance: Floats, mean: Numbers) -> PairChunk:
    """A chunk of mean scores (pairs, labels, bags); NaN where a label is not in a bag."""
    filled = np.nan_to_num(mean, nan=0.0)
    peaks, place = np.unique(peak, return_inverse=True)
    summed = np.zeros((len(peaks), *mean.shape[1:]))
    np.add.at(summed, place.reshape(-1), mean)
    return PairChunk(
        gene=gene,
        peak=peak,
        distance_bp=distance,
        by_label=mean[:, :, 0].astype(np.float32),
        rise=np.maximum(filled.max(axis=1), 0.0).astype(np.float32),
        fall=np.maximum(-filled.min(axis=1), 0.0).astype(np.float32),
        peaks=peaks.astype(np.int64),
        peak_sum=summed.astype(np.float32),
    )


def sum_of_peaks(chunks: Iterable[PairChunk], n_peaks: int, n_labels: int, n_bags: int) -> Floats:
    """Sum over all genes of the signed scores (peaks, labels, bags); NaN in peaks that no gene reads."""
    total = np.zeros((n_peaks, n_labels, n_bags))
    seen = np.zeros(n_peaks, dtype=bool)
    for chunk in chunks:
        total[chunk.peaks] += chunk.peak_sum
        seen[chunk.peaks] = True
    total[~seen] = np.nan
    return total.astype(np.float32)
