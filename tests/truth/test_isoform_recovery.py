"""The recipe `tiny` on planted truth: what it recovers, and that it finds nothing where nothing was planted.

Ten trainings of about a minute each; run by `make truth`.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.truth.recovery import MODALITIES, make_truth, train_and_predict

pytestmark = [pytest.mark.truth, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All rules act: the truth, and predictions from all inputs."""
    folder = tmp_path_factory.mktemp("everything")
    truth = make_truth(folder)
    return truth, train_and_predict(truth, folder / "all")


def interval(draws):
    return np.quantile(draws, 0.025), np.quantile(draws, 0.975)


def gain(truth, full, part):
    """R2 of `full` above that of `part`, with a bootstrap interval over genes (paired)."""
    draws = [truth.r2(full, rows) - truth.r2(part, rows) for rows in truth.resampled()]
    return truth.r2(full) - truth.r2(part), *interval(draws)


def test_the_recipe_reaches_80_percent_of_the_plantable_r2(everything):
    truth, predicted = everything
    ceiling = truth.r2(truth.noise_free)
    assert 0.8 < ceiling < 0.95
    assert truth.r2(predicted) >= 0.8 * ceiling


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_predictions_follow_the_rules_of_each_modality(everything, modality):
    truth, predicted = everything
    draws = [truth.response(predicted, rows)[modality] for rows in truth.resampled()]
    low, high = interval(draws)
    assert truth.response(predicted)[modality] > 0.6
    assert low > 0.5 and high < 1.3


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_modality_whose_rules_act_raises_the_r2(everything, modality, tmp_path):
    truth, predicted = everything
    without = train_and_predict(truth, tmp_path / "run", without=modality)
    value, low, _ = gain(truth, predicted, without)
    # The RNA determines the protein, so the protein's gain is what its encoder makes easier to see.
    assert value > 0.03 and low > 0


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_modality_whose_rules_are_off_contributes_nothing(modality, tmp_path):
    truth = make_truth(tmp_path, silent=modality)
    predicted = train_and_predict(truth, tmp_path / "all")
    draws = [truth.response(predicted, rows)[modality] for rows in truth.resampled()]
    low, high = interval(draws)
    assert low - 0.05 <= 0 <= high + 0.05 and abs(truth.response(predicted)[modality]) < 0.15
    value, low, _ = gain(truth, predicted, train_and_predict(truth, tmp_path / "run", without=modality))
    assert value < 0.03 and low <= 0
