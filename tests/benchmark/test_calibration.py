"""Intervals on data whose noise is known: what is claimed, what calibration makes of it, and what a constant gives."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from cisoform.benchmark.calibration import (
    LEVELS,
    MIN_LABELS,
    Calibration,
    Predictive,
    calibration_report,
    claimed_interval,
    combine,
    interval_scores,
)
from cisoform.benchmark.metrics import GroupBootstrap
from cisoform.errors import InputError

N = 4000
# Four standard deviations of a share of N labels, and of a share of N labels bounded by a quantile of N others.
FAR = {level: 4 * np.sqrt(2 * level * (1 - level) / N) for level in LEVELS}


def noisy(
    seed: int, heavy: bool = False
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Labels, their true means (far from 0) and true standard deviations, which spread over a factor of ten."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(30, 2, size=(N, 2))
    sd = np.exp(rng.uniform(np.log(0.2), np.log(2.0), size=(N, 2)))
    draws = rng.laplace(scale=np.sqrt(0.5), size=(N, 2)) if heavy else rng.standard_normal((N, 2))
    return mean + sd * draws, mean, sd


def coverage(observed: Any, ends: Any, rows: Any = slice(None)) -> float:
    low, high = ends
    return float(((observed >= low) & (observed <= high))[rows].mean())


def test_members_combine_by_the_law_of_total_variance() -> None:
    means = np.array([[[1.0, 5.0]], [[3.0, 5.0]]])
    variances = np.array([[[0.5, 1.0]], [[1.5, 3.0]]])
    found = combine(means, variances)
    assert found.mean.tolist() == [[2.0, 5.0]]
    assert found.variance.tolist() == [[1.0 + 2.0, 2.0]]  # between: ((1 - 2)^2 + (3 - 2)^2) / (2 - 1)
    assert combine(means).variance.tolist() == [[2.0, 0.0]] and combine(means).claims
    assert not combine(means[:1]).claims and combine(means[:1], variances[:1]).variance.tolist() == [
        [0.5, 1.0]
    ]


def test_a_claim_that_is_true_covers_what_it_says() -> None:
    observed, mean, sd = noisy(0)
    for level in LEVELS:
        low, high = claimed_interval(Predictive(mean, sd**2), level)
        assert coverage(observed, (low, high)) == pytest.approx(level, abs=FAR[level])
        half = norm.ppf(0.5 + level / 2)
        np.testing.assert_allclose(high - mean, half * sd)


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("factor", [0.1, 1.0, 3.0])
def test_false_claims_are_calibrated_also_for_small_and_large_noise(heavy: bool, factor: float) -> None:
    observed, mean, sd = noisy(1, heavy)
    claimed = Predictive(mean, (factor * sd) ** 2)
    fitted = Calibration.fit(("a", "b"), observed, claimed)
    fresh, mean, sd = noisy(2, heavy)
    claimed = Predictive(mean, (factor * sd) ** 2)
    quiet = sd[:, 0] < np.median(sd[:, 0])
    for level in LEVELS:
        ends = fitted.interval(claimed, level)
        assert coverage(fresh, ends) == pytest.approx(level, abs=FAR[level])
        for part in (quiet, ~quiet):
            assert coverage(fresh[:, :1], tuple(end[:, :1] for end in ends), part) == pytest.approx(
                level, abs=2.5 * FAR[level]
            )
    if factor == 0.1:
        assert coverage(fresh, claimed_interval(claimed, 0.95)) < 0.3
    np.testing.assert_allclose(fitted.sd(claimed.variance), sd, rtol=0.15)


def test_one_width_for_all_covers_as_much_on_the_whole_but_not_where_noise_is_large() -> None:
    observed, mean, sd = noisy(3)
    claimed = Predictive(mean, sd**2)
    fitted = Calibration.fit(("a", "b"), observed, claimed)
    constant = Calibration.fit(("a", "b"), observed, claimed, constant=True)
    fresh, mean, sd = noisy(4)
    claimed = Predictive(mean, sd**2)
    bootstrap = GroupBootstrap.draw(np.arange(N) // 4, 200, 0)
    report = calibration_report(fresh, claimed, ("a", "b"), fitted, constant, bootstrap)
    for way in ("claimed", "calibrated", "constant"):
        for level in LEVELS:
            found = report[way][str(level)]
            assert found["coverage"] == pytest.approx(level, abs=FAR[level])
            assert found["coverage_low"] < found["coverage"] < found["coverage_high"]
            assert report["tissues"]["b"][way][str(level)]["n"] == N
    loud = sd[:, 0] > 1.5
    ends = tuple(end[:, :1] for end in constant.interval(claimed, 0.95))
    assert coverage(fresh[:, :1], ends, loud) < 0.9
    assert report["calibrated"]["0.95"]["score"] < 0.9 * report["constant"]["0.95"]["score"]
    assert report["rank"] > 0.4


def test_a_variance_that_says_nothing_is_not_used() -> None:
    rng = np.random.default_rng(5)
    mean = np.full((N, 1), 30.0)
    observed = mean + rng.standard_normal((N, 1))
    claimed = Predictive(mean, rng.gamma(0.5, size=(N, 1)) * 4)
    fitted = Calibration.fit(("a",), observed, claimed)
    assert fitted.share[0] >= 0.95
    np.testing.assert_allclose(fitted.sd(claimed.variance), 1.0, rtol=0.15)
    silent = Calibration.fit(("a",), observed, Predictive(mean, np.zeros((N, 1))))
    assert silent.share[0] == 1 and silent.sd(np.zeros((1, 1)))[0, 0] == pytest.approx(1.0, rel=0.05)


def test_interval_scores_of_a_hand_worked_case() -> None:
    observed = np.array([[1.0], [5.0], [np.nan], [0.0]])
    low, high = np.array([[0.0], [1.0], [0.0], [0.5]]), np.array([[2.0], [4.0], [1.0], [1.5]])
    found = interval_scores(observed, low, high, 0.8)
    # Widths 2, 3, 1; misses 0, 1, 0.5; 2 / 0.2 = 10.
    assert found == pytest.approx({"n": 3, "coverage": 1 / 3, "width": 2.0, "score": 2.0 + 10 * 1.5 / 3})
    assert interval_scores(observed[2:3], low[2:3], high[2:3], 0.8)["coverage"] is None


def test_quantiles_are_those_of_split_conformal_prediction() -> None:
    observed = np.arange(1.0, 21.0)[:, None]  # errors 1 to 20 round 0
    fitted = Calibration.fit(("a",), observed, Predictive(np.zeros((20, 1)), np.zeros((20, 1))))
    halves = [
        fitted.interval(Predictive(np.zeros((1, 1)), np.zeros((1, 1))), level)[1][0, 0] for level in LEVELS
    ]
    # The ceil(21 level)-th smallest.
    np.testing.assert_allclose(halves, [11, 17, 20])
    assert fitted.interval(Predictive(np.ones((1, 1)), np.zeros((1, 1))), 0.95)[0][0, 0] == 0, (
        "expression is not < 0"
    )


def test_few_labels_are_not_calibrated_and_files_read_back() -> None:
    rng = np.random.default_rng(0)
    observed = rng.normal(3, 1, size=(MIN_LABELS, 2))
    observed[0, 1] = np.nan
    claimed = Predictive(np.full((MIN_LABELS, 2), 3.0), rng.random((MIN_LABELS, 2)))
    fitted = Calibration.fit(("a", "b"), observed, claimed)
    assert fitted.fits.tolist() == [True, False] and fitted.n.tolist() == [20, 19]
    low, high = fitted.interval(claimed, 0.5)
    assert np.isfinite(low[:, 0]).all() and np.isnan(low[:, 1]).all() and np.isnan(high[:, 1]).all()
    again = Calibration.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)), "file")
    np.testing.assert_array_equal(again.interval(claimed, 0.95)[1], fitted.interval(claimed, 0.95)[1])
    assert again.columns == ("a", "b")
    for spoilt in (
        {},
        {**fitted.to_json(), "scale": [1.0]},
        {**fitted.to_json(), "quantiles": {"0.5": [1, 1]}},
    ):
        with pytest.raises(InputError, match="calib.json"):
            Calibration.from_json(spoilt, "calib.json")
