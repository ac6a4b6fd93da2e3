"""Within-gene scores: a gene worked by hand, chance levels, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from cisoform.benchmark.metrics import GroupBootstrap
from cisoform.benchmark.within_gene import SCORES, isoform_pairs, ranks_within, within_gene

# Gene 0: TPM 1, 3, 4, predicted 2, 1, 5. Gene 1: TPM 9, 1, predicted 8, 4. Gene 2 has one isoform.
GENE = np.array([0, 0, 0, 1, 1, 2])
TRUTH = np.log1p(np.array([[1.0], [3.0], [4.0], [9.0], [1.0], [6.0]]))
PREDICTED = np.log1p(np.array([[2.0], [1.0], [5.0], [8.0], [4.0], [0.0]]))


def scores(truth=TRUTH, predicted=PREDICTED, gene=GENE):
    return {name: value[0] for name, value in within_gene(truth, predicted, gene).scores.items()}


def test_hand_worked_genes():
    result = within_gene(TRUTH, PREDICTED, GENE)
    assert (result.n_genes[0], result.n_transcripts[0], result.n_pairs[0]) == (2, 5, 4)
    got = scores()
    assert got["pair_accuracy"] == 3 / 4  # 1-3 wrong; 1-4, 3-4 and 9-1 right
    assert got["spearman"] == pytest.approx((0.5 + 1) / 2)  # ranks 1 2 3 against 2 1 3; 2 1 against 2 1
    assert got["dominant_accuracy"] == 1
    assert got["dominant_accuracy_chance"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    true = np.array([1, 3, 4, 0, 0]) / 8 + np.array([0, 0, 0, 9, 1]) / 10
    predicted = np.array([2, 1, 5, 0, 0]) / 8 + np.array([0, 0, 0, 8, 4]) / 12
    uniform = np.array([1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2])
    assert got["fraction_r"] == pytest.approx(np.corrcoef(true, predicted)[0, 1])
    assert got["fraction_r_chance"] == pytest.approx(np.corrcoef(true, uniform)[0, 1])


def test_the_level_of_a_gene_and_single_isoforms_cannot_change_ranking():
    shifted = PREDICTED + np.array([3.0, -1.0, 50.0])[GENE][:, None]
    for name in ("pair_accuracy", "spearman", "dominant_accuracy"):
        assert scores(predicted=shifted)[name] == pytest.approx(scores()[name])


def test_order_of_rows_and_names_of_genes_do_not_matter():
    order = np.random.default_rng(0).permutation(6)
    renamed = np.array([2, 0, 1])[GENE]
    for name, value in scores(TRUTH[order], PREDICTED[order], renamed[order]).items():
        assert value == pytest.approx(scores()[name]), name


def test_a_constant_prediction_is_at_chance():
    rng = np.random.default_rng(1)
    gene, truth = np.repeat(np.arange(30), 3), rng.normal(2, 1, (90, 1))
    got = scores(truth, np.full((90, 1), 1.3), gene)
    assert got["pair_accuracy"] == 0.5 and got["spearman"] == 0
    assert got["dominant_accuracy"] == pytest.approx(got["dominant_accuracy_chance"]) == pytest.approx(1 / 3)


def test_the_truth_itself_is_perfect():
    got = scores(TRUTH, TRUTH)
    assert got["pair_accuracy"] == got["dominant_accuracy"] == 1
    assert got["spearman"] == pytest.approx(1) and got["fraction_r"] == pytest.approx(1)


def test_a_missing_label_takes_the_isoform_out():
    truth = TRUTH.copy()
    truth[0] = np.nan
    for name, value in scores(truth).items():
        cut = scores(TRUTH[1:], PREDICTED[1:], GENE[1:])[name]
        assert value == pytest.approx(cut, nan_ok=True), name


@pytest.mark.parametrize(
    ("truth", "gene"),
    [
        (TRUTH, np.arange(6)),
        (np.full((6, 1), np.nan), GENE),
        (np.empty((0, 1)), np.empty(0, dtype=np.int64)),
    ],
    ids=["single isoforms", "no labels", "no rows"],
)
def test_without_genes_to_rank_every_score_is_undefined(truth, gene):
    result = within_gene(truth, truth, gene, GroupBootstrap.draw(gene, 3))
    assert all(np.isnan(result.scores[name]).all() for name in SCORES)
    assert result.mean()["n_genes"] == 0 and np.isnan(result.mean()["pair_accuracy_ci"]).all()


def test_equal_labels_are_no_pairs_and_unexpressed_genes_no_fractions():
    zero = np.zeros((6, 1))
    got = scores(zero, PREDICTED)
    assert np.isnan([got["pair_accuracy"], got["spearman"], got["fraction_r"]]).all()
    assert got["dominant_accuracy"] == 1 == got["dominant_accuracy_chance"]


def test_the_mean_of_spearman_equals_scipy_gene_by_gene():
    rng = np.random.default_rng(2)
    gene = np.repeat(np.arange(11), rng.integers(2, 7, 11))
    truth, predicted = rng.integers(0, 9, (2, len(gene), 1)).astype(float)
    expected = []
    for g in range(11):
        t, p = truth[gene == g, 0], predicted[gene == g, 0]
        if np.ptp(t):
            expected.append(spearmanr(t, p).statistic if np.ptp(p) else 0.0)
    assert scores(truth, predicted, gene)["spearman"] == pytest.approx(np.mean(expected))


def test_ranks_and_pairs_by_hand():
    values, gene = np.array([3.0, 1.0, 3.0, 5.0, 2.0]), np.array([0, 1, 0, 1, 0])
    np.testing.assert_array_equal(ranks_within(values, gene), [2.5, 1, 2.5, 2, 1])
    left, right = isoform_pairs(gene)
    assert {frozenset(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)} == {
        frozenset(pair) for pair in [(0, 2), (0, 4), (2, 4), (1, 3)]
    }


def test_draws_equal_the_scores_of_the_resampled_genes():
    rng = np.random.default_rng(3)
    gene = np.repeat(np.arange(13), 3)
    truth, predicted = rng.normal(2, 1, (39, 2)), rng.normal(2, 1, (39, 2))
    boot = GroupBootstrap.draw(gene // 2, 7)
    result = within_gene(truth, predicted, gene, boot)
    for draw in range(7):
        rows, names = [], []
        for copy in range(int(boot.counts[draw].max())):
            chosen = np.flatnonzero(boot.counts[draw][gene // 2] > copy)
            rows.append(chosen)
            names.append(gene[chosen] + 13 * copy)
        rows, names = np.concatenate(rows), np.unique(np.concatenate(names), return_inverse=True)[1]
        expected = within_gene(truth[rows], predicted[rows], names).scores
        for name in SCORES:
            np.testing.assert_allclose(result.draws[name][draw], expected[name], rtol=1e-7)


def test_groups_that_cut_a_gene_are_refused():
    with pytest.raises(ValueError, match="cut a gene in two"):
        within_gene(TRUTH, PREDICTED, GENE, GroupBootstrap.draw(np.arange(6), 3))
