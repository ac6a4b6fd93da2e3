"""How well a score ranks tested element-gene pairs: over all pairs, and within genes; with gene-bootstrap intervals.

In: the truth (True = regulated), a score per pair (more = more likely; finite, with any number of ties) and the
gene of each pair as a code. Tied pairs have one rank: curves step over a group of ties at once, so no order among
them is assumed. Every function takes weights, the counts of a bootstrap draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from cisoform.benchmark.metrics import GroupBootstrap, interval

RECALL = 0.7
"""Precision is read at the threshold that recalls this share of the positives (as ENCODE-rE2G does)."""
METRICS = ("auprc", "auroc", "precision_at_70_recall", "mrr", "top1")
_CHUNK = 64
"""Draws that are scored at once: 64 x 10,000 pairs fit the cache."""


@dataclass(frozen=True)
class Curve:
    """Positives and pairs down to each distinct score, from the highest.

    Attributes:
        positives: Positives so far, per draw and threshold.
        pairs: Pairs so far.
    """

    positives: Float[np.ndarray, "draws thresholds"]
    pairs: Float[np.ndarray, "draws thresholds"]

    @property
    def recall(self) -> Float[np.ndarray, "draws thresholds"]:
        """Share of the positives that have been found."""
        return np.asarray(self.positives / np.maximum(self.positives[:, -1:], 1e-300))

    @property
    def precision(self) -> Float[np.ndarray, "draws thresholds"]:
        """Share of positives among the pairs so far."""
        return np.asarray(self.positives / np.maximum(self.pairs, 1e-300))

    @property
    def defined(self) -> Bool[np.ndarray, " draws"]:
        """Whether there are pairs of both kinds."""
        return np.asarray((self.positives[:, -1] > 0) & (self.pairs[:, -1] > self.positives[:, -1]))

    def average_precision(self) -> Float[np.ndarray, " draws"]:
        """Area under the precision-recall steps: sum of precision x gain of recall over distinct scores."""
        gain = np.diff(self.recall, axis=1, prepend=0.0)
        return np.where(self.defined, (gain * self.precision).sum(axis=1), np.nan)

    def auroc(self) -> Float[np.ndarray, " draws"]:
        """Chance that a positive is above a negative; a tie counts half."""
        negatives = self.pairs - self.positives
        gain = np.diff(negatives, axis=1, prepend=0.0)
        before = np.concatenate([np.zeros((len(gain), 1)), self.positives[:, :-1]], axis=1)
        area = (gain * (before + self.positives) / 2).sum(axis=1)
        total = self.positives[:, -1] * negatives[:, -1]
        return np.where(self.defined, area / np.where(self.defined, total, 1.0), np.nan)

    def precision_at(self, recall: float) -> Float[np.ndarray, " draws"]:
        """Precision at the highest score down to which at least this share of the positives is found."""
        at = np.argmax(self.recall >= recall - 1e-9, axis=1)
        return np.where(self.defined, self.precision[np.arange(len(at)), at], np.nan)


def curve(
    truth: Bool[np.ndarray, " pairs"],
    score: Float[np.ndarray, " pairs"],
    counts: Shaped[np.ndarray, "draws pairs"] | None = None,
) -> Curve:
    """The curve of a score; of every draw where `counts` says how often each holds a pair.

    Raises:
        ValueError: A score is not finite.
    """
    if not np.isfinite(score).all():
        raise ValueError(f"score {score[~np.isfinite(score)][0]} is not finite")
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    weight = np.ones((1, len(order))) if counts is None else counts[:, order]
    positives = np.cumsum(weight * truth[order], axis=1, dtype=np.float64)[:, last]
    return Curve(positives, np.cumsum(weight, axis=1, dtype=np.float64)[:, last])


def within_gene(
    truth: Bool[np.ndarray, " pairs"], score: Float[np.ndarray, " pairs"], gene: Int[np.ndarray, " pairs"]
) -> Float[np.ndarray, "genes 2"]:
    """Per gene: reciprocal rank of its best positive, and whether its highest pair is positive.

    With t tied pairs of which p are positive, the first positive is expected at place (t + 1) / (p + 1) among them,
    and the highest is positive with chance p / t. NaN for genes that have no positive or no negative.
    """
    n_genes = int(gene.max()) + 1 if len(gene) else 0
    best = np.full(n_genes, -np.inf)
    np.maximum.at(best, gene[truth], score[truth])
    above = np.bincount(gene[score > best[gene]], minlength=n_genes)
    tied = score == best[gene]
    n_tied = np.bincount(gene[tied], minlength=n_genes)
    p_tied = np.bincount(gene[tied & truth], minlength=n_genes)
    n_pairs = np.bincount(gene, minlength=n_genes)
    n_positive = np.bincount(gene[truth], minlength=n_genes)
    rank = above + (n_tied + 1) / (p_tied + 1)
    top = np.where(above == 0, p_tied / np.maximum(n_tied, 1), 0.0)
    judged = (n_positive > 0) & (n_positive < n_pairs)
    return np.where(judged[:, None], np.stack([1 / rank, top], axis=1), np.nan)


def link_scores(
    truth: Bool[np.ndarray, " pairs"], score: Float[np.ndarray, " pairs"], gene: Int[np.ndarray, " pairs"]
) -> dict[str, float]:
    """The metrics of `METRICS`; NaN where there is no positive or no negative."""
    line = curve(truth, score)
    genes = within_gene(truth, score, gene)
    judged = np.isfinite(genes[:, 0])
    mrr, top = genes[judged].mean(axis=0) if judged.any() else (np.nan, np.nan)
    values = (line.average_precision()[0], line.auroc()[0], line.precision_at(RECALL)[0], mrr, top)
    return {name: float(value) for name, value in zip(METRICS, values, strict=True)}


def link_draws(
    truth: Bool[np.ndarray, " pairs"],
    score: Float[np.ndarray, " pairs"],
    gene: Int[np.ndarray, " pairs"],
    bootstrap: GroupBootstrap,
) -> Float[np.ndarray, "draws metrics"]:
    """The metrics of every draw of whole groups (genes; a gene tested in several cell types is one group)."""
    found = np.full((len(bootstrap.counts), len(METRICS)), np.nan)
    genes = within_gene(truth, score, gene)
    judged = np.isfinite(genes[:, 0])
    group_of_gene = np.zeros(len(genes), dtype=np.int64)
    group_of_gene[gene] = bootstrap.group
    for low in range(0, len(found), _CHUNK):
        counts = bootstrap.counts[low : low + _CHUNK]
        line = curve(truth, score, counts[:, bootstrap.group])
        rows = slice(low, low + len(counts))
        found[rows, 0], found[rows, 1] = line.average_precision(), line.auroc()
        found[rows, 2] = line.precision_at(RECALL)
        weight = counts[:, group_of_gene[judged]]
        total = weight.sum(axis=1, keepdims=True)
        means = weight @ genes[judged] / np.maximum(total, 1)
        found[rows, 3:] = np.where(total > 0, means, np.nan)
    return found


def intervals(draws: Float[np.ndarray, "draws metrics"]) -> dict[str, list[float]]:
    """95 % percentile interval of each metric."""
    return {
        name: [float(low), float(high)] for name, (low, high) in zip(METRICS, interval(draws), strict=True)
    }


def permuted(
    truth: Bool[np.ndarray, " pairs"],
    score: Float[np.ndarray, " pairs"],
    group: Int[np.ndarray, " pairs"],
    n_draws: int,
    seed: int,
) -> dict[str, float]:
    """AUPRC when the answers are dealt anew within each group: mean and 95 % range; NaN without draws.

    One group for all pairs gives chance (the prevalence); the gene of each pair as its group keeps how many
    positives a gene has, so that what is left above it is what the score knows of a gene's elements.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(group, kind="stable")
    found = np.full(max(n_draws, 1), np.nan)
    for draw in range(n_draws):
        dealt = np.empty_like(truth)
        dealt[order] = truth[np.lexsort((rng.random(len(truth)), group))]
        found[draw] = curve(dealt, score).average_precision()[0]
    low, high = interval(found[:, None])[0]
    return {"auprc": float(found.mean()), "low": float(low), "high": float(high)}
