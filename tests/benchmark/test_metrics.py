"""Scores against scipy and by hand; the bootstrap against resampling row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from cisoform.benchmark import metrics
from cisoform.benchmark.metrics import Contrast, GroupBootstrap
from cisoform.errors import InputError


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def test_r2_of_a_hand_worked_column():
    # Mean 2, SST = 1 + 0 + 1 = 2, SSE = 0 + 0 + 1 = 1.
    np.testing.assert_allclose(metrics.r2(column(1, 2, 3), column(1, 2, 4)), [0.5])


def test_the_mean_scores_zero_and_the_truth_scores_one():
    truth = np.random.default_rng(0).normal(3, 1, (23, 3))
    np.testing.assert_allclose(metrics.r2(truth, truth), 1.0)
    np.testing.assert_allclose(metrics.r2(truth, np.tile(truth.mean(axis=0), (23, 1))), 0.0, atol=1e-12)


def test_missing_labels_score_as_if_the_rows_were_cut_out():
    rng = np.random.default_rng(1)
    truth, predicted = rng.normal(size=(31, 2)), rng.normal(size=(31, 2))
    holes = truth.copy()
    holes[:7, 1] = np.nan
    for score in (metrics.r2, metrics.spearman):
        assert score(holes, predicted)[0] == score(truth, predicted)[0]
        np.testing.assert_allclose(score(holes, predicted)[1], score(truth[7:], predicted[7:])[1])


def test_spearman_equals_scipy_with_ties():
    rng = np.random.default_rng(2)
    truth, predicted = rng.integers(0, 5, (41, 3)).astype(float), rng.integers(0, 4, (41, 3)).astype(float)
    expected = [spearmanr(truth[:, i], predicted[:, i]).statistic for i in range(3)]
    np.testing.assert_allclose(metrics.spearman(truth, predicted), expected)


@pytest.mark.parametrize(
    ("truth", "predicted"),
    [
        (column(2, 2, 2), column(1, 2, 3)),
        (column(1, np.nan, np.nan), column(1, 2, 3)),
        (column(np.nan, np.nan, np.nan), column(1, 2, 3)),
        (column(0.1, 0.1, 0.1), column(1, 2, 3)),
    ],
    ids=["constant", "one label", "no label", "constant with rounding"],
)
def test_scores_without_spread_are_undefined_and_silent(truth, predicted):
    boot = GroupBootstrap.draw(np.arange(3), 11)
    for scores in (metrics.r2(truth, predicted), metrics.spearman(truth, predicted)):
        assert np.isnan(scores).all()
    assert np.isnan(boot.r2(truth, predicted)).all() and np.isnan(boot.spearman(truth, predicted)).all()
    assert np.isnan(metrics.interval(boot.r2(truth, predicted))).all()


def test_a_constant_prediction_has_r2_but_no_rank_correlation():
    rounded = np.nextafter(np.full((5, 1), 0.3), [[1], [0], [1], [0], [1]])
    truth = column(1, 2, 3, 4, 5)
    assert np.isnan(metrics.spearman(truth, rounded)[0])
    assert metrics.r2(truth, rounded)[0] < 0


def test_empty_arrays_give_undefined_scores():
    empty = np.empty((0, 3))
    assert np.isnan(metrics.r2(empty, empty)).all() and np.isnan(metrics.spearman(empty, empty)).all()


def test_tissue_centring_ignores_anything_shared_by_the_tissues():
    rng = np.random.default_rng(3)
    truth, predicted = rng.normal(size=(29, 5)), rng.normal(size=(29, 5))
    shared = rng.normal(0, 10, (29, 1))
    np.testing.assert_allclose(
        metrics.r2_centred(truth, predicted), metrics.r2_centred(truth, predicted + shared)
    )
    np.testing.assert_allclose(
        metrics.r2_centred(truth, np.tile(truth.mean(axis=0), (29, 1))), 0.0, atol=1e-12
    )


def test_with_two_tissues_the_centred_r2_is_that_of_the_fold_change():
    rng = np.random.default_rng(4)
    truth, predicted = rng.normal(size=(37, 2)), rng.normal(size=(37, 2))
    contrast = Contrast.parse("b:a", ["a", "b"])
    expected = metrics.r2(contrast.of(truth), contrast.of(predicted))[0]
    np.testing.assert_allclose(metrics.r2_centred(truth, predicted), [expected, expected])


def test_centring_uses_the_measured_tissues_and_needs_two():
    values = np.array([[1.0, 3.0, 100.0], [1.0, 7.0, 9.0]])
    measured = np.array([[True, True, False], [True, False, False]])
    np.testing.assert_array_equal(
        metrics.centre_tissues(values, measured), [[-1.0, 1.0, np.nan], [np.nan, np.nan, np.nan]]
    )
    assert np.isnan(metrics.r2_centred(column(1, 2, 3), column(1, 2, 3))).all()


def test_a_contrast_is_a_log2_fold_change_of_one_plus_tpm():
    # TPM 7 against 1: log2(8 / 2) = 2.
    contrast = Contrast.parse("x:y:z", ["z", "x:y"])
    np.testing.assert_allclose(contrast.of(np.log1p([[1.0, 7.0]])), [[2.0]])


@pytest.mark.parametrize("text", ["WT", "WT:", "WT:WT", "heat:WT", ""])
def test_a_contrast_of_unknown_columns_is_refused(text):
    with pytest.raises(InputError, match=f"contrast '{text}'.*WT, diamide"):
        Contrast.parse(text, ["WT", "diamide"])


def test_gene_means_skip_missing_values():
    values = np.array([[1.0, np.nan], [5.0, np.nan], [3.0, np.nan], [np.nan, 2.0]])
    means = metrics.gene_means(values, np.array([1, 0, 1, 0]))
    np.testing.assert_array_equal(means, [[5.0, 2.0], [2.0, np.nan]])


@given(st.lists(st.text(max_size=2), max_size=30))
def test_group_codes_number_labels_by_first_appearance(labels):
    codes = metrics.group_codes(labels)
    assert [labels.index(label) for label in labels] == [codes.tolist().index(code) for code in codes]
    assert set(codes.tolist()) == set(range(len(set(labels))))


# --------------------------------------------------------------------------------------------------- bootstrap


@pytest.mark.parametrize("discrete", [False, True])
def test_every_draw_equals_the_score_of_the_resampled_rows(discrete):
    rng = np.random.default_rng(5)
    n, group = 47, np.repeat(np.arange(13), [1, 2, 3, 4, 5, 6, 7, 5, 4, 3, 2, 2, 3])
    truth, predicted = rng.normal(2, 1, (n, 3)), rng.normal(2, 1, (n, 3))
    if discrete:
        truth, predicted = np.round(truth), np.round(predicted)
    truth[rng.random((n, 3)) < 0.1] = np.nan
    boot = GroupBootstrap.draw(group, 17, seed=7)
    r2, rho = boot.r2(truth, predicted), boot.spearman(truth, predicted)
    for draw in range(17):
        rows = np.repeat(np.arange(n), boot.counts[draw][group].astype(int))
        np.testing.assert_allclose(r2[draw], metrics.r2(truth[rows], predicted[rows]), rtol=1e-9)
        np.testing.assert_allclose(rho[draw], metrics.spearman(truth[rows], predicted[rows]), rtol=1e-9)


def test_draws_are_chosen_by_the_seed_and_hold_as_many_groups_as_there_are():
    first, again, other = (GroupBootstrap.draw(np.arange(19), 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.counts, again.counts)
    assert (first.counts != other.counts).any()
    assert (first.counts.sum(axis=1) == 19).all()


def test_families_widen_the_interval_when_their_members_agree():
    rng = np.random.default_rng(6)
    family = np.repeat(np.arange(20), 10)
    truth = (rng.normal(size=20)[family] + rng.normal(0, 0.1, 200))[:, None]
    predicted = truth + rng.normal(size=20)[family][:, None]

    def width(group):
        low, high = metrics.interval(GroupBootstrap.draw(group, 400).r2(truth, predicted))[0]
        return high - low

    assert width(family) > 2 * width(np.arange(200))


def test_a_single_group_gives_an_interval_of_one_point():
    truth, predicted = column(1, 2, 3), column(1, 2, 4)
    boot = GroupBootstrap.draw(np.zeros(3, dtype=np.int64), 10)
    np.testing.assert_allclose(metrics.interval(boot.r2(truth, predicted)), [[0.5, 0.5]])


def test_paired_differences_are_narrower_than_the_intervals_of_either():
    rng = np.random.default_rng(8)
    truth = rng.normal(size=(200, 1))
    noise = rng.normal(size=(200, 1))
    good, slightly_worse = truth + noise, truth + 1.05 * noise
    boot = GroupBootstrap.draw(np.arange(200), 500)
    ours, theirs = boot.r2(truth, good), boot.r2(truth, slightly_worse)
    result = metrics.paired_difference(0.3, 0.2, ours[:, 0], theirs[:, 0])
    (low, high) = metrics.interval(ours)[0]
    assert result.difference == pytest.approx(0.1)
    assert 0 < result.low < result.high and result.high - result.low < (high - low) / 3
    assert result.p_not_better == pytest.approx(1 / 501)


def test_a_predictor_is_not_better_than_itself():
    draws = np.random.default_rng(9).normal(size=100)
    result = metrics.paired_difference(0.5, 0.5, draws, draws)
    assert (result.difference, result.low, result.high, result.p_not_better) == (0, 0, 0, 1)


def test_undefined_draws_leave_the_interval_undefined():
    draws = np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 1.0]])
    bounds = metrics.interval(draws)
    np.testing.assert_allclose(bounds[0], [1.05, 2.95])
    assert np.isnan(bounds[1]).all()


def test_the_mean_over_columns_skips_undefined_ones():
    np.testing.assert_array_equal(
        metrics.mean_over_columns(np.array([[1.0, np.nan], [np.nan, np.nan]])), [1.0, np.nan]
    )
