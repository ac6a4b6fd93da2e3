"""Scores of predicted expression per tissue, and their bootstrap intervals.

In: truth and prediction as (rows, columns) arrays on the log1p scale; NaN in the truth is a missing label. Rows
are transcripts, or genes after `gene_means`. Out: one value per column, NaN where it is undefined (fewer than
two labels, a constant truth; for Spearman also a constant prediction). A row counts in a column when both
sides are finite there. Intervals resample whole groups (genes or families) with replacement; every predictor
that is scored with one `GroupBootstrap` sees the same draws, so the difference of two results is paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped
from scipy.stats import rankdata

from cisoform.errors import InputError

# Draws x rows ranked at once: what fits a core's cache takes half the time of what does not.
_CHUNK_ELEMENTS = 250_000


def r2(
    truth: Float[np.ndarray, "rows columns"], predicted: Float[np.ndarray, "rows columns"]
) -> Float[np.ndarray, " columns"]:
    """Coefficient of determination, 1 - SSE / SST, per column. Negative when the column's mean does better."""
    use = _usable(truth, predicted)
    n = use.sum(axis=0)
    centred = np.where(use, truth - _column_means(truth, use), 0.0)
    error = np.where(use, truth - predicted, 0.0)
    total = (centred**2).sum(axis=0)
    defined = (n >= 2) & ~_constant(truth, use)
    return np.where(defined, 1 - (error**2).sum(axis=0) / np.where(defined, total, 1.0), np.nan)


def spearman(
    truth: Float[np.ndarray, "rows columns"], predicted: Float[np.ndarray, "rows columns"]
) -> Float[np.ndarray, " columns"]:
    """Spearman's rank correlation per column; ties share their mean rank."""
    use = _usable(truth, predicted)
    varies = ~(_constant(truth, use) | _constant(predicted, use))
    scores = np.full(truth.shape[1], np.nan)
    for column in np.flatnonzero(varies):
        rows = use[:, column]
        if rows.sum() >= 2:
            scores[column] = _pearson(rankdata(truth[rows, column]), rankdata(predicted[rows, column]))
    return scores


def centre_tissues(
    values: Float[np.ndarray, "rows columns"], measured: Bool[np.ndarray, "rows columns"]
) -> Float[np.ndarray, "rows columns"]:
    """Each row minus its mean over the measured columns; NaN where unmeasured or measured in one column only."""
    use = measured & (measured.sum(axis=1) >= 2)[:, None]
    count = np.maximum(use.sum(axis=1, keepdims=True), 1)
    mean = np.where(use, values, 0.0).sum(axis=1, keepdims=True) / count
    return np.where(use, values - mean, np.nan)


def centred_pair(
    truth: Float[np.ndarray, "rows columns"], predicted: Float[np.ndarray, "rows columns"]
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]]:
    """Truth and prediction, each centred over the columns in which both are known."""
    use = _usable(truth, predicted)
    return centre_tissues(truth, use), centre_tissues(predicted, use)


def r2_centred(
    truth: Float[np.ndarray, "rows columns"], predicted: Float[np.ndarray, "rows columns"]
) -> Float[np.ndarray, " columns"]:
    """R2 per column of what is left when each row's mean over the columns is taken away on both sides.

    It asks for tissue specificity alone: the best constant per tissue scores 0. With two columns it is the R2
    of their difference. NaN throughout for a single column.
    """
    return r2(*centred_pair(truth, predicted))


@dataclass(frozen=True)
class Contrast:
    """`A:B`, the log2 fold change of column A over column B: (log1p A - log1p B) / ln 2."""

    name: str
    numerator: int
    denominator: int

    @classmethod
    def parse(cls, text: str, columns: Sequence[str]) -> Contrast:
        """Read `A:B`; a name may itself hold colons as long as one cut gives two known columns."""
        cuts = [i for i, letter in enumerate(text) if letter == ":"]
        for i in cuts:
            left, right = text[:i], text[i + 1 :]
            if left in columns and right in columns and left != right:
                return cls(text, list(columns).index(left), list(columns).index(right))
        raise InputError(
            f"contrast {text!r} does not name two different columns as A:B; the columns are {', '.join(columns[:20])}"
        )

    def of(self, values: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows 1"]:
        """The log2 fold change of every row, as one column."""
        difference = values[:, self.numerator] - values[:, self.denominator]
        return np.asarray(difference / np.log(2.0))[:, None]


def gene_means(
    values: Float[np.ndarray, "rows columns"], gene: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, "genes columns"]:
    """One row per gene code 0, 1, ...: the mean over its rows that are known, on the log1p scale.

    A gene-level label stands on each isoform of its gene, and a model trained with squared error on log1p values
    estimates the mean of that label on this scale; so the mean over isoforms is taken here, not in TPM.
    """
    n_genes = int(gene.max()) + 1 if len(gene) else 0
    means = np.full((n_genes, values.shape[1]), np.nan)
    for column in range(values.shape[1]):
        known = np.isfinite(values[:, column])
        count = np.bincount(gene[known], minlength=n_genes)
        total = np.bincount(gene[known], weights=values[known, column], minlength=n_genes)
        np.divide(total, count, out=means[:, column], where=count > 0)
    return means


def group_codes(labels: Sequence[Any] | Shaped[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """Labels as codes 0 ... n - 1 in order of first appearance (so codes do not depend on how labels sort)."""
    _, first, inverse = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


# --------------------------------------------------------------------------------------------------- bootstrap


@dataclass(frozen=True)
class GroupBootstrap:
    """Resampling of whole groups: `counts[d, g]` says how often draw d holds group g.

    Rows of one family are not independent, so a bootstrap over rows would give intervals that are too narrow.
    """

    group: Int[np.ndarray, " rows"]
    counts: Float32[np.ndarray, "draws groups"]

    @classmethod
    def draw(cls, group: Int[np.ndarray, " rows"], n_draws: int = 1000, seed: int = 0) -> GroupBootstrap:
        """Draws with replacement of as many groups as there are; `group` holds codes 0, 1, ..."""
        n_groups = int(group.max()) + 1 if len(group) else 0
        counts = np.zeros((n_draws, n_groups), dtype=np.float32)
        rng = np.random.default_rng(seed)
        for index in range(n_draws):
            if n_groups:
                counts[index] = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)
        return cls(group, counts)

    @property
    def n_groups(self) -> int:
        """Number of resampled groups."""
        return int(self.counts.shape[1])

    def sums(self, statistics: Float[np.ndarray, "rows statistics"]) -> Float[np.ndarray, "draws statistics"]:
        """Sum of each statistic over the rows of every draw."""
        by_group = np.zeros((self.n_groups, statistics.shape[1]))
        for column in range(statistics.shape[1]):
            by_group[:, column] = np.bincount(
                self.group, weights=statistics[:, column], minlength=self.n_groups
            )
        return np.asarray(self.counts @ by_group, dtype=np.float64)

    def r2(
        self, truth: Float[np.ndarray, "rows columns"], predicted: Float[np.ndarray, "rows columns"]
    ) -> Float[np.ndarray, "draws columns"]:
        """R2 of every draw, from four sums per group (exact, not an approximation)."""
        use = _usable(truth, predicted)
        centred = np.where(use, truth - _column_means(truth, use), 0.0)
        error = np.where(use, truth - predicted, 0.0)
        n_columns = truth.shape[1]
        sums = self.sums(np.concatenate([use, centred, centred**2, error**2], axis=1))
        n, first, second, sse = (sums[:, i * n_columns : (i + 1) * n_columns] for i in range(4))
        total = second - first**2 / np.maximum(n, 1)
        defined = (total > 1e-9 * np.maximum(second, 1e-300)) & ~_constant(truth, use)
        return np.where(defined, 1 - sse / np.where(defined, total, 1.0), np.nan)

    def spearman(
        self, truth: Float[np.ndarray, "rows columns"], predicted: Float[np.ndarray, "rows columns"]
    ) -> Float[np.ndarray, "draws columns"]:
        """Spearman of every draw, with the rows ranked anew in it.

        A draw repeats rows, so the rank of a value is the count of rows below it plus the middle of its ties;
        both follow from running sums of the counts in an order that is sorted once.
        """
        use = _usable(truth, predicted)
        varies = ~(_constant(truth, use) | _constant(predicted, use))
        scores = np.full((len(self.counts), truth.shape[1]), np.nan)
        for column in np.flatnonzero(varies):
            rows = np.flatnonzero(use[:, column])
            if len(rows) < 2:
                continue
            # Sorted by the truth, so that only the prediction needs a second order.
            rows = rows[np.argsort(truth[rows, column], kind="stable")]
            left, right = truth[rows, column], predicted[rows, column]
            chunk = max(1, _CHUNK_ELEMENTS // len(rows))
            for low in range(0, len(self.counts), chunk):
                counts = self.counts[low : low + chunk][:, self.group[rows]]
                scores[low : low + chunk, column] = _weighted_pearson(
                    _weighted_ranks(left, counts), _weighted_ranks(right, counts), counts
                )
        return scores


def interval(
    draws: Float[np.ndarray, "draws columns"], level: float = 0.95
) -> Float[np.ndarray, "columns 2"]:
    """Percentile interval per column; NaN when fewer than half of the draws are defined."""
    tail = (1 - level) / 2
    bounds = np.full((draws.shape[1], 2), np.nan)
    for column in range(draws.shape[1]):
        known = draws[np.isfinite(draws[:, column]), column]
        if len(known) * 2 >= max(len(draws), 1):
            bounds[column] = np.quantile(known, [tail, 1 - tail])
    return bounds


@dataclass(frozen=True)
class PairedDifference:
    """Ours minus theirs on the same draws: interval, and the share of draws in which ours is not better."""

    difference: float
    low: float
    high: float
    p_not_better: float


def paired_difference(
    ours: float,
    theirs: float,
    our_draws: Float[np.ndarray, " draws"],
    their_draws: Float[np.ndarray, " draws"],
) -> PairedDifference:
    """Compare one score of two predictors whose draws come from the same `GroupBootstrap`."""
    delta = our_draws - their_draws
    low, high = interval(delta[:, None])[0]
    known = delta[np.isfinite(delta)]
    # The observed data count as one more draw, so that the share is never 0.
    p = (np.sum(known <= 0) + 1) / (len(known) + 1) if len(known) else np.nan
    return PairedDifference(float(ours - theirs), float(low), float(high), float(p))


def mean_over_columns(values: Float[np.ndarray, "*rows columns"]) -> Float[np.ndarray, "*rows"]:
    """Mean over the defined columns; NaN where none is."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


# ----------------------------------------------------------------------------------------------------- helpers


def _usable(
    truth: Float[np.ndarray, "rows columns"], predicted: Float[np.ndarray, "rows columns"]
) -> Bool[np.ndarray, "rows columns"]:
    if truth.shape != predicted.shape:
        raise ValueError(f"truth has shape {truth.shape}, the prediction {predicted.shape}")
    return np.asarray(np.isfinite(truth) & np.isfinite(predicted))


def _column_means(
    values: Float[np.ndarray, "rows columns"], use: Bool[np.ndarray, "rows columns"]
) -> Float[np.ndarray, " columns"]:
    return np.asarray(np.where(use, values, 0.0).sum(axis=0) / np.maximum(use.sum(axis=0), 1))


def _constant(
    values: Float[np.ndarray, "rows columns"], use: Bool[np.ndarray, "rows columns"]
) -> Bool[np.ndarray, " columns"]:
    """Spread not above rounding error (a mean of equal numbers is not always equal to them)."""
    if not len(values):
        return np.ones(values.shape[1], dtype=bool)
    high = np.where(use, values, -np.inf).max(axis=0)
    low = np.where(use, values, np.inf).min(axis=0)
    scale = np.maximum(np.abs(high), np.abs(low))
    return np.asarray(~(high - low > 1e-6 * np.maximum(scale, 1e-6)))


def _pearson(left: Float[np.ndarray, " rows"], right: Float[np.ndarray, " rows"]) -> float:
    a, b = left - left.mean(), right - right.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def _weighted_ranks(
    values: Float[np.ndarray, " rows"], counts: Float32[np.ndarray, "draws rows"]
) -> Float[np.ndarray, "draws rows"]:
    """Centred mid-ranks of `values` in each draw; exact, since ranks stay below 2**23 halves."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    in_order = bool((order == np.arange(len(order))).all())
    running = np.cumsum(counts if in_order else counts[:, order], axis=1, dtype=np.float64)
    last = np.searchsorted(ordered, ordered, side="right") - 1
    first = np.searchsorted(ordered, ordered, side="left")
    below = np.concatenate([np.zeros((len(counts), 1)), running], axis=1)
    if (first == last).all():
        middle = (below[:, :-1] + below[:, 1:]) / 2
    else:
        middle = (below[:, first] + below[:, last + 1]) / 2
    middle -= running[:, -1:] / 2
    if in_order:
        return np.asarray(middle)
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return np.asarray(middle[:, back])


def _weighted_pearson(
    left: Float[np.ndarray, "draws rows"],
    right: Float[np.ndarray, "draws rows"],
    counts: Float32[np.ndarray, "draws rows"],
) -> Float[np.ndarray, " draws"]:
    """Correlation of two centred arrays, each row counted as often as the draw holds it."""
    weighted = left * counts
    across = np.einsum("dr,dr->d", weighted, right)
    spread = np.einsum("dr,dr->d", weighted, left) * np.einsum("dr,dr,dr->d", right, right, counts)
    defined = spread > 1e-9
    return np.where(defined, across / np.sqrt(np.where(defined, spread, 1.0)), np.nan)
