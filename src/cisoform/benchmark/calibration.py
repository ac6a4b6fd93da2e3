"""How sure a prediction is, and whether that is true: intervals, their calibration, and how both are scored.

A model gives a mean and, with a heteroscedastic head, a variance for every label; members of an ensemble also differ
from one another. Together they are a Gaussian of mean m and variance v: the mean of the members' variances plus the
variance between members (Lakshminarayanan et al. 2017, arXiv 1612.01474). What it *claims* need not hold: members agree
on what none of them can know. `Calibration` therefore learns, on labels that the model was not fitted to, how large
errors are where v is what it is, and from the errors' own quantiles how wide an interval must be (split conformal
prediction on normalised errors, Lei et al. 2018). All numbers are on the log1p scale, NaN = missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import norm

from cisoform.benchmark.metrics import GroupBootstrap, spearman
from cisoform.errors import InputError

LEVELS = (0.5, 0.8, 0.95)
"""Nominal coverage of the intervals."""
MIN_LABELS = 20
"""Fewest labels that a column is calibrated on: with fewer, no error is rare enough to bound 95 % of them."""
_SHARES = np.linspace(0.0, 1.0, 21)
_FLOOR = 1e-12

Values = Float[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class Predictive:
    """A Gaussian for every label; a variance of 0 says nothing of how sure it is."""

    mean: Values
    variance: Values

    @property
    def claims(self) -> bool:
        """Whether it says anything of how sure it is."""
        return bool((self.variance > 0).any())


def combine(
    means: Float[np.ndarray, "models rows columns"],
    variances: Float[np.ndarray, "models rows columns"] | None = None,
) -> Predictive:
    """The members of an ensemble as one: mean of the means; mean of the variances plus variance between the means.

    Args:
        means: Of each member; one is an ensemble of itself.
        variances: Of each member's labels; None = no member gives any.
    """
    means = means.astype(np.float64)
    own = np.zeros(means.shape[1:]) if variances is None else variances.astype(np.float64).mean(axis=0)
    between = means.var(axis=0, ddof=1) if len(means) > 1 else 0.0
    return Predictive(means.mean(axis=0), own + between)


def claimed_interval(predictive: Predictive, level: float) -> tuple[Values, Values]:
    """Ends of the interval that the Gaussian itself claims; expression is never below 0."""
    half = float(norm.ppf(0.5 + level / 2)) * np.sqrt(predictive.variance)
    return np.maximum(predictive.mean - half, 0.0), np.maximum(predictive.mean + half, 0.0)


@dataclass(frozen=True)
class Calibration:
    """How large errors are for a claimed variance v, per column: sd(v) = sqrt(scale (share base + (1 - share) v)).

    Attributes:
        columns: Names.
        share: How much of the variance is the same for all labels; 1 = v says nothing of the errors.
        base: Mean of v where it was fitted (1 if v is 0 everywhere).
        scale: Factor; NaN = too few labels to calibrate the column.
        quantiles: |error| / sd that `LEVELS` of the labels stay below.
        n: Labels that each column was fitted on.
    """

    columns: tuple[str, ...]
    share: Float[np.ndarray, " columns"]
    base: Float[np.ndarray, " columns"]
    scale: Float[np.ndarray, " columns"]
    quantiles: Float[np.ndarray, "levels columns"]
    n: Int[np.ndarray, " columns"]

    @classmethod
    def fit(
        cls, columns: Sequence[str], observed: Values, predictive: Predictive, constant: bool = False
    ) -> Calibration:
        """Fit each column by likelihood, then its quantiles.

        Args:
            columns: Names.
            observed: Labels that no weight was fitted to.
            predictive: What was predicted for them.
            constant: Give every label the same sd: the simple baseline.
        """
        errors = observed.astype(np.float64) - predictive.mean
        fitted = [_fit_column(errors[:, i], predictive.variance[:, i], constant) for i in range(len(columns))]
        share, base, scale = (np.array([one[i] for one in fitted]) for i in range(3))
        quantiles = np.array([one[3] for one in fitted]).reshape(len(columns), len(LEVELS)).T
        n = np.isfinite(errors).sum(axis=0)
        return cls(tuple(columns), share, base, scale, quantiles, n)

    @property
    def fits(self) -> Bool[np.ndarray, " columns"]:
        """Columns that are calibrated."""
        found: Bool[np.ndarray, " columns"] = np.isfinite(self.scale)
        return found

    def take(self, columns: Sequence[int]) -> Calibration:
        """Some of the columns, in that order."""
        index = list(columns)
        share, base, scale = (part[index] for part in (self.share, self.base, self.scale))
        names = tuple(self.columns[i] for i in index)
        return Calibration(names, share, base, scale, self.quantiles[:, index], self.n[index])

    def sd(self, variance: Values) -> Values:
        """Standard deviation of the error for a claimed variance; NaN in columns that are not calibrated."""
        found: Values = np.sqrt(self.scale * (self.share * self.base + (1 - self.share) * variance))
        return found

    def interval(self, predictive: Predictive, level: float) -> tuple[Values, Values]:
        """Ends of the interval of one of `LEVELS`; expression is never below 0."""
        half = self.quantiles[LEVELS.index(level)] * self.sd(predictive.variance)
        return np.maximum(predictive.mean - half, 0.0), np.maximum(predictive.mean + half, 0.0)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back without loss; NaN is null."""
        rows = {name: _plain(getattr(self, name)) for name in ("share", "base", "scale")}
        quantiles = {str(level): _plain(row) for level, row in zip(LEVELS, self.quantiles, strict=True)}
        return {"columns": list(self.columns), **rows, "quantiles": quantiles, "n": self.n.tolist()}

    @classmethod
    def from_json(cls, value: Any, source: str) -> Calibration:
        """Read `to_json`'s form.

        Raises:
            InputError: If a part is missing or of a wrong length.
        """
        try:
            columns = tuple(value["columns"])
            share, base, scale = (
                np.array(value[name], dtype=np.float64) for name in ("share", "base", "scale")
            )
            quantiles = np.array([value["quantiles"][str(level)] for level in LEVELS], dtype=np.float64)
            n = np.array(value["n"], dtype=np.int64)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{source}: not a calibration ({error!r}); train or evaluate again") from None
        if {share.shape, base.shape, scale.shape, n.shape, quantiles.shape[1:]} != {(len(columns),)}:
            raise InputError(f"{source}: {len(columns)} columns, but not as many values; the file is damaged")
        return cls(columns, share, base, scale, quantiles, n)


def _plain(values: Float[np.ndarray, " columns"]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _fit_column(
    errors: Float[np.ndarray, " rows"], variance: Float[np.ndarray, " rows"], constant: bool
) -> tuple[float, float, float, list[float]]:
    """Share, base, scale and quantiles of one column."""
    use = np.isfinite(errors)
    errors, variance = errors[use], variance[use]
    if len(errors) < MIN_LABELS:
        return 1.0, 1.0, float("nan"), [float("nan")] * len(LEVELS)
    base = float(variance.mean()) or 1.0
    best = (np.inf, 1.0, 1.0)
    for share in (1.0,) if constant or not variance.any() else _SHARES:
        form = np.maximum(share * base + (1 - share) * variance, _FLOOR)
        scale = max(float((errors**2 / form).mean()), _FLOOR)
        best = min(best, (float(np.log(scale * form).mean()), float(share), scale))
    _, share, scale = best
    sizes = np.sort(
        np.abs(errors) / np.sqrt(scale * np.maximum(share * base + (1 - share) * variance, _FLOOR))
    )
    places = [ceil((len(sizes) + 1) * level) - 1 for level in LEVELS]
    return share, base, scale, [float(sizes[place]) for place in places]


def interval_scores(
    observed: Values,
    low: Values,
    high: Values,
    level: float,
    bootstrap: GroupBootstrap | None = None,
    interval: float = 0.95,
) -> dict[str, Any]:
    """Coverage, width and interval score, over all labels that are there and have an interval.

    Args:
        observed: Labels.
        low: Lower ends.
        high: Upper ends.
        level: Nominal coverage.
        bootstrap: Over groups of rows, for the interval of the coverage. None = none.
        interval: Level of that interval.

    Returns:
        `coverage` (and `coverage_low`, `coverage_high`), mean `width`, and `score`: width plus 2 / (1 - level) times
        how far labels lie outside (Gneiting and Raftery 2007). Smaller is better; on average true quantiles win.
    """
    use = np.isfinite(observed) & np.isfinite(low) & np.isfinite(high)
    if not use.any():
        return {"n": 0, "coverage": None, "width": None, "score": None}
    filled = np.where(use, observed, 0.0)
    below, above = (np.where(use, x, 0.0) for x in (low - filled, filled - high))
    inside = use & (below <= 0) & (above <= 0)
    missed = np.maximum(below, 0) + np.maximum(above, 0)
    width = np.where(use, high - low, 0.0)
    n = int(use.sum())
    found: dict[str, Any] = {
        "n": n,
        "coverage": float(inside.sum() / n),
        "width": float(width.sum() / n),
        "score": float((width + 2 / (1 - level) * missed).sum() / n),
    }
    if bootstrap is not None and len(bootstrap.counts):
        sums = bootstrap.sums(np.stack([inside.sum(axis=1), use.sum(axis=1)], axis=1).astype(np.float64))
        shares = sums[:, 0] / np.maximum(sums[:, 1], 1)
        ends = np.quantile(shares[sums[:, 1] > 0], [(1 - interval) / 2, (1 + interval) / 2])
        found |= {"coverage_low": float(ends[0]), "coverage_high": float(ends[1])}
    return found


def calibration_report(
    observed: Values,
    predictive: Predictive,
    columns: Sequence[str],
    calibration: Calibration | None,
    constant: Calibration | None,
    bootstrap: GroupBootstrap | None = None,
) -> dict[str, Any]:
    """Coverage of the nominal intervals on labels, over all columns and for each.

    Args:
        observed: Labels to score on.
        predictive: What was predicted for them.
        columns: Their names.
        calibration: Fitted elsewhere, for the same columns. None = score what the prediction claims alone.
        constant: The same with one sd for all labels, the baseline.
        bootstrap: Over groups of rows.

    Returns:
        By way of making intervals ("claimed", "calibrated", "constant") and level, `interval_scores`; under "tissues"
        the same per column; under "rank" the mean over columns of Spearman's correlation of claimed sd and |error|.
    """
    ways: dict[str, list[tuple[Values, Values]]] = {}
    if predictive.claims:
        ways["claimed"] = [claimed_interval(predictive, level) for level in LEVELS]
    for name, fitted in (("calibrated", calibration), ("constant", constant)):
        if fitted is not None:
            ways[name] = [fitted.interval(predictive, level) for level in LEVELS]
    whole: dict[str, Any] = {}
    tissues: dict[str, dict[str, Any]] = {name: {} for name in columns}
    for way, ends in ways.items():
        whole[way] = {
            str(level): interval_scores(observed, low, high, level, bootstrap)
            for level, (low, high) in zip(LEVELS, ends, strict=True)
        }
        for i, name in enumerate(columns):
            part = slice(i, i + 1)
            tissues[name][way] = {
                str(level): interval_scores(observed[:, part], low[:, part], high[:, part], level)
                for level, (low, high) in zip(LEVELS, ends, strict=True)
            }
    ranks = spearman(np.abs(observed - predictive.mean), np.sqrt(predictive.variance))
    known = ranks[np.isfinite(ranks)]
    return {
        "levels": list(LEVELS),
        **whole,
        "tissues": tissues,
        "rank": float(known.mean()) if len(known) else None,
    }
