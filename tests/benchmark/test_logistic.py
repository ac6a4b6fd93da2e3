"""Ridge logistic regression against scikit-learn, and calibration worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cisoform.benchmark.logistic import calibration, fit_logistic, wilson


def test_it_finds_what_scikit_learn_finds() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 3))
    truth = rng.random(300) < 1 / (1 + np.exp(-(values @ np.array([2.0, -1.0, 0.0]) - 1)))
    ours = fit_logistic(values, truth, penalty=2.5)
    theirs = LogisticRegression(C=1 / 2.5, tol=1e-10, max_iter=1000).fit(values, truth)
    np.testing.assert_allclose(ours.coefficients, theirs.coef_[0], atol=1e-5)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-5)
    np.testing.assert_allclose(ours.logit(values), theirs.decision_function(values), atol=1e-4)


def test_separable_data_stay_finite_under_a_penalty() -> None:
    values = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    fit = fit_logistic(values, np.array([False, False, True, True]), penalty=0.1)
    assert np.isfinite(fit.coefficients).all() and fit.coefficients[0] > 0


def test_answers_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="0 of 2 answers"):
        fit_logistic(np.zeros((2, 1)), np.array([False, False]), 1.0)


def test_calibration_of_a_hand_worked_table() -> None:
    truth = np.array([False, False, False, True, True, False, True, True])
    chance = np.array([0.25] * 4 + [0.75] * 4)
    found = calibration(truth, chance, edges=(0.0, 0.5, 1.0))
    # 1 of 4 at 0.25 and 3 of 4 at 0.75: what was predicted. Brier = (6 x 0.0625 + 2 x 0.5625) / 8 = 0.1875.
    assert found["brier"] == pytest.approx(0.1875) and found["brier_of_prevalence"] == pytest.approx(0.25)
    assert found["expected_calibration_error"] == pytest.approx(0.0, abs=1e-12)
    assert found["slope"] == pytest.approx(1.0, abs=1e-6) and found["intercept"] == pytest.approx(0, abs=1e-6)
    assert [row["observed"] for row in found["reliability"]] == [0.25, 0.75]
    sure = calibration(truth, np.where(chance > 0.5, 0.99, 0.01), edges=(0.0, 0.5, 1.0))
    assert sure["slope"] < 0.5 and sure["expected_calibration_error"] == pytest.approx(0.24)


def test_the_wilson_interval_of_none_in_ten() -> None:
    low, high = wilson(0.0, 10)
    # z^2 / (n + z^2) = 3.8416 / 13.8416
    assert low == 0.0 and high == pytest.approx(0.2775, abs=1e-3)
