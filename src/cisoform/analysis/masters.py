"""Master factors of cell types: which factors tell the cells of a label from all others, how surely, and how well that
agrees with a list.

Reference 7.3: columns of factors, scaled, one-vs-rest logistic regression (ridge penalty, as scanpy's
`rank_genes_groups(method="logreg")`), ranked by coefficient. Stability is over bootstraps that draw cells within their
label; chance is the same on permuted labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Step = Callable[[], None]

_MOST_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class MasterConfig:
    """How factors are ranked.

    Attributes:
        c: Inverse of the ridge penalty (scanpy's default is 1; cells that share neighbours want a stronger one).
        k: Factors at the head of a ranking that count as its masters.
        n_bootstrap: Draws for stability; 0 = none.
        n_permutations: Permutations of the labels for chance; 0 = none.
        seed: Of both.
    """

    c: float = 0.1
    k: int = 3
    n_bootstrap: int = 100
    n_permutations: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Ranking:
    """What one reading says.

    Attributes:
        coefficient: (labels, factors), higher = more of a master.
        draws: The same of every bootstrap (draws, labels, factors).
        permuted: The same of every permutation of the labels (permutations, labels, factors).
    """

    coefficient: Numbers
    draws: Numbers
    permuted: Numbers

    @property
    def rank(self) -> Ints:
        """Place of each factor in its label (labels, factors), from 1; equals in the order of the factors."""
        return ranks(self.coefficient)

    def stability(self, k: int) -> Numbers:
        """Share of the bootstraps in which each factor is among the first k; NaN without bootstraps."""
        if not len(self.draws):
            return np.full(self.coefficient.shape, np.nan)
        found: Numbers = (ranks(self.draws) <= k).mean(axis=0)
        return found

    def interval(self) -> tuple[Numbers, Numbers]:
        """95 % interval of the coefficients over the bootstraps; NaN without them."""
        if not len(self.draws):
            nothing = np.full(self.coefficient.shape, np.nan)
            return nothing, nothing
        low, high = np.quantile(self.draws, (0.025, 0.975), axis=0)
        return low, high


def ranks(values: Numbers) -> Ints:
    """Places from 1 along the last axis, the highest value first."""
    order = np.argsort(-values, axis=-1, kind="stable")
    found = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(
        found, order, np.broadcast_to(np.arange(1, values.shape[-1] + 1), values.shape), axis=-1
    )
    return found


def standardised(values: Numbers, common: bool = False) -> Numbers:
    """Columns with mean 0 and standard deviation 1; columns without variation become 0.

    Args:
        values: (cells, factors).
        common: Divide all columns by one number instead, the root of their mean variance: for columns of one unit,
            where little variation means that little happens (ours; scaled by itself, noise counts like the rest).
    """
    moved = values - values.mean(axis=0)
    spread = values.std(axis=0)
    if common:
        spread = np.full_like(spread, np.sqrt((spread**2).mean()))
    found: Numbers = np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 1e-12)
    return found


def one_vs_rest(values: Numbers, label: Ints, n_labels: int, c: float) -> Numbers:
    """Coefficients (labels, factors) of a logistic regression of each label against all others, classes balanced.

    Args:
        values: (cells, factors), scaled.
        label: Of every cell, from 0; each label occurs and none is alone.
        n_labels: How many there are.
        c: Inverse of the ridge penalty.
    """
    found = np.zeros((n_labels, values.shape[1]))
    design = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    for one in range(n_labels):
        own = label == one
        weight = np.where(own, len(own) / 2 / own.sum(), len(own) / 2 / (~own).sum())
        found[one] = _fit(design, own.astype(np.float64), weight, c)[:-1]
    return found


def _fit(design: Numbers, truth: Numbers, weight: Numbers, c: float) -> Numbers:
    """Ridge logistic regression by Newton's method with halved steps; the last column, the intercept, is free.

    A fit takes about ten small solves, several times faster than a call to scikit-learn, and there are thousands of
    them; a test holds both together.
    """
    ridge = np.full(design.shape[1], 1 / c)
    ridge[-1] = 1e-9
    now = np.zeros(design.shape[1])

    def loss(at: Numbers) -> float:
        line = design @ at
        return float(weight @ (np.logaddexp(0, line) - truth * line) + (ridge * at**2).sum() / 2)

    value = loss(now)
    for _ in range(_MOST_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ now, -500, 500)))
        slope = design.T @ (weight * (chance - truth)) + ridge * now
        curve = (design * (weight * chance * (1 - chance))[:, None]).T @ design
        curve[np.diag_indices_from(curve)] += ridge
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while (new := loss(now - size * step)) > value and size > 1e-6:
            size /= 2
        now = now - size * step
        gain, value = value - new, new
        if gain <= 1e-9 * max(abs(value), 1.0):
            break
    return now


def rank_masters(
    values: Numbers,
    label: Ints,
    n_labels: int,
    config: MasterConfig,
    common: bool = False,
    step: Step | None = None,
) -> Ranking:
    """Coefficients of all labels, of bootstraps within labels, and of permuted labels; all readings get the same draws.

    Args:
        values: (cells, factors); are scaled here.
        label: Of every cell, from 0.
        n_labels: How many.
        config: See `MasterConfig`.
        common: How columns are scaled (`standardised`).
        step: Called after every fit.
    """
    scaled = standardised(values, common)

    def fit(columns: Numbers, of: Ints) -> Numbers:
        found = one_vs_rest(columns, of, n_labels, config.c)
        if step is not None:
            step()
        return found

    draws = [fit(standardised(values[rows], common), label[rows]) for rows in bootstraps(label, config)]
    permuted = [fit(scaled, mixed) for mixed in permutations(label, config)]
    shape = (-1, n_labels, values.shape[1])
    return Ranking(
        one_vs_rest(scaled, label, n_labels, config.c),
        np.reshape(draws, shape) if draws else np.zeros((0, *shape[1:])),
        np.reshape(permuted, shape) if permuted else np.zeros((0, *shape[1:])),
    )


def permutations(label: Ints, config: MasterConfig) -> Iterator[Ints]:
    """Labels in random order."""
    rng = np.random.default_rng([config.seed, 2])
    for _ in range(config.n_permutations):
        yield rng.permutation(label)


def bootstraps(label: Ints, config: MasterConfig) -> Iterator[Ints]:
    """Rows of each draw: as many cells of every label as there are, with replacement."""
    rng = np.random.default_rng([config.seed, 1])
    members = [np.flatnonzero(label == one) for one in np.unique(label)]
    for _ in range(config.n_bootstrap):
        yield np.concatenate([rng.choice(rows, len(rows)) for rows in members])


def combined(rankings: Sequence[Ranking]) -> Ranking:
    """Mean of the coefficients of several readings, each scaled to mean square 1 over the factors of a label first.

    Signs stay what they are; a reading that is zero for all factors of a label says nothing there.
    """
    return Ranking(
        np.mean([_scaled(one.coefficient) for one in rankings], axis=0),
        np.mean([_scaled(one.draws) for one in rankings], axis=0),
        np.mean([_scaled(one.permuted) for one in rankings], axis=0),
    )


def _scaled(values: Numbers) -> Numbers:
    size = np.sqrt((values**2).mean(axis=-1, keepdims=True))
    found: Numbers = np.divide(values, size, out=np.zeros_like(values), where=size > 1e-12)
    return found


def master_table(
    reading: str, ranking: Ranking, labels: Sequence[str], factors: Sequence[str], mean: Numbers, k: int
) -> pl.DataFrame:
    """One row a label and factor: reading, label, tf, rank, coefficient, low, high, stability, mean; best first.

    Args:
        reading: Its name.
        ranking: The ranking.
        labels: Names of the labels.
        factors: Names of the factors.
        mean: Mean value over the cells of each label (labels, factors), scaled.
        k: Of the stability.
    """
    low, high = ranking.interval()
    shape = ranking.coefficient.shape
    row, column = (axis.reshape(-1) for axis in np.indices(shape))
    table = pl.DataFrame(
        {
            "reading": [reading] * len(row),
            "label": [labels[one] for one in row.tolist()],
            "tf": [factors[one] for one in column.tolist()],
            "rank": ranking.rank.reshape(-1),
            "coefficient": ranking.coefficient.reshape(-1),
            "low": low.reshape(-1),
            "high": high.reshape(-1),
            "stability": ranking.stability(k).reshape(-1),
            "mean": mean.reshape(-1),
        }
    )
    order = pl.Series("place", row)
    numbers = pl.col("low", "high", "stability").fill_nan(None)
    return table.with_columns(order, numbers).sort("place", "rank").drop("place")


def label_means(values: Numbers, label: Ints, n_labels: int, common: bool = False) -> Numbers:
    """Mean of the scaled values over the cells of each label (labels, factors)."""
    scaled = standardised(values, common)
    return np.stack([scaled[label == one].mean(axis=0) for one in range(n_labels)])
