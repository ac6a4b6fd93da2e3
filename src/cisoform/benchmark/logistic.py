"""Logistic regression with a ridge penalty by Newton's method, and whether predicted chances are what happens.

minimises  sum of log(1 + exp(-s (x b + a)))  +  penalty / 2 x |b|^2,  s = 1 for positives and -1 for the others;
the intercept a is free. In scikit-learn's words C = 1 / penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit
from scipy.special import logit as log_odds

EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Classes of predicted chance: few pairs are regulated, so they are finer near 0."""
_MOST_STEPS = 100
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Logistic:
    """A fitted regression: `logit = values @ coefficients + intercept`."""

    coefficients: Float[np.ndarray, " features"]
    intercept: float

    def logit(self, values: Float[np.ndarray, "rows features"]) -> Float[np.ndarray, " rows"]:
        """Log odds of every row."""
        return np.asarray(values @ self.coefficients + self.intercept)


def fit_logistic(
    values: Float[np.ndarray, "rows features"], truth: Bool[np.ndarray, " rows"], penalty: float
) -> Logistic:
    """Fit on rows with answers.

    Raises:
        ValueError: All answers are the same, or the penalty is negative.
    """
    if truth.all() or not truth.any() or penalty < 0:
        raise ValueError(f"{int(truth.sum())} of {len(truth)} answers are positive, penalty {penalty:g}")
    design = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    ridge = np.append(np.full(values.shape[1], float(penalty)), 0.0)
    weights = np.zeros(design.shape[1])
    weights[-1] = np.log(truth.mean() / (1 - truth.mean()))
    loss = _loss(design, truth, weights, ridge)
    for _ in range(_MOST_STEPS):
        chance = expit(design @ weights)
        slope = design.T @ (chance - truth) + ridge * weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(ridge + 1e-12)
        step = np.linalg.solve(curvature, slope)
        size = 1.0
        while (new := _loss(design, truth, weights - size * step, ridge)) > loss and size > 1e-6:
            size /= 2
        weights = weights - size * step
        gain, loss = loss - new, new
        if gain <= _TOLERANCE * max(abs(loss), 1.0):
            break
    return Logistic(weights[:-1], float(weights[-1]))


def _loss(
    design: Float[np.ndarray, "rows columns"],
    truth: Bool[np.ndarray, " rows"],
    weights: Float[np.ndarray, " columns"],
    ridge: Float[np.ndarray, " columns"],
) -> float:
    logit = design @ weights
    return float(np.logaddexp(0.0, np.where(truth, -logit, logit)).sum() + (ridge * weights**2).sum() / 2)


def calibration(
    truth: Bool[np.ndarray, " pairs"],
    chance: Float[np.ndarray, " pairs"],
    edges: Sequence[float] = EDGES,
) -> dict[str, Any]:
    """How well chances are calibrated.

    Args:
        truth: What happened; both kinds must occur.
        chance: What was predicted, from 0 to 1.
        edges: Of the classes of the reliability table; the last class takes its upper edge too.

    Returns:
        `brier` beside `brier_of_prevalence` (predicting the mean for all), `log_loss`, `expected_calibration_error`
        (mean gap of the classes, weighted by their pairs), `slope` and `intercept` of the logit (1 and 0 are
        perfect; a slope below 1 is over-confidence), and `reliability`: a row per class with its pairs, mean
        prediction, observed share and 95 % Wilson interval.
    """
    inside = np.clip(chance, 1e-6, 1 - 1e-6)
    line = fit_logistic(log_odds(inside)[:, None], truth, penalty=0.0)
    place = np.clip(np.searchsorted(edges, chance, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for number in range(len(edges) - 1):
        here = place == number
        if here.any():
            n, mean, share = int(here.sum()), float(chance[here].mean()), float(truth[here].mean())
            low, high = wilson(share, n)
            rows.append(
                {
                    "from": float(edges[number]),
                    "to": float(edges[number + 1]),
                    "pairs": n,
                    "predicted": mean,
                    "observed": share,
                    "low": low,
                    "high": high,
                }
            )
    gaps = sum(row["pairs"] * abs(row["predicted"] - row["observed"]) for row in rows)
    return {
        "brier": float(((chance - truth) ** 2).mean()),
        "brier_of_prevalence": float(truth.mean() * (1 - truth.mean())),
        "log_loss": float(-np.log(np.where(truth, inside, 1 - inside)).mean()),
        "expected_calibration_error": gaps / len(truth),
        "slope": float(line.coefficients[0]),
        "intercept": line.intercept,
        "reliability": rows,
    }


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson interval of a share seen in n trials."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))
