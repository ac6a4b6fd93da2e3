"""Gene networks: planted factors are found with their sign, bags and baselines, nulls empty, scores by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from cisoform.analysis.enrichment import exchanged
from cisoform.analysis.grn import Factors, edges, evidence, top_peaks, triplets
from cisoform.analysis.grn_baselines import Measured, baseline_edges, co_expression, peak_gene_chunks
from cisoform.analysis.grn_evaluate import (
    average_precision,
    early_precision,
    edge_scores,
    overlap,
    sign_score,
)
from cisoform.analysis.grn_scores import (
    PairSums,
    draw_bags,
    label_means,
    make_chunk,
    sum_of_peaks,
    weight_of,
)

N_GENES, PER_GENE, N_LABELS, N_FACTORS = 60, 11, 7, 5
N_PEAKS = N_GENES * PER_GENE


class Planted:
    """Factor 0 raises and 1 lowers through their peaks, by its expression; 2 opens peaks without effect; 3, 4 idle."""

    def __init__(self, seed: int = 0, acts: bool = True) -> None:
        rng = np.random.default_rng(seed)
        self.expression = rng.random((N_LABELS, N_FACTORS))
        sites = (rng.random((N_PEAKS, N_FACTORS)) < 0.12) * rng.integers(1, 4, (N_PEAKS, N_FACTORS))
        effect = np.array([0.5, -0.5, 0.0, 0.0, 0.0]) * acts
        noise = rng.normal(0, 0.15, (N_PEAKS, N_LABELS))
        self.by_label = noise + np.einsum("pf,f,lf->pl", sites, effect, self.expression)
        self.factors = Factors(tuple("ABCDE"), np.arange(5), csr_matrix(sites.astype(np.int64)))
        gene = np.repeat(np.arange(N_GENES), PER_GENE)
        distance = rng.uniform(-90_000, 90_000, N_PEAKS).astype(np.float32)
        self.chunk = make_chunk(gene, np.arange(N_PEAKS), distance, self.by_label[:, :, None])
        self.block = rng.integers(0, 3, N_PEAKS)
        self.column = np.arange(N_GENES)
        truth = np.zeros((N_FACTORS, N_GENES), dtype=bool)
        if acts:
            for factor in (0, 1):
                truth[factor] = (sites[:, factor].reshape(N_GENES, PER_GENE) > 0).any(axis=1)
        self.truth = truth

    def evidence(self, factors: Factors | None = None):
        total = sum_of_peaks([self.chunk], N_PEAKS, N_LABELS, 1)[:, :, 0]
        return evidence(factors or self.factors, total, self.expression, self.block)

    def edges(self, factors: Factors | None = None, fdr: float = 0.05):
        found = self.evidence(factors)
        some = factors or self.factors
        return edges(some, [self.chunk], self.column, N_GENES, found.called(fdr), found.sign, 0.3)


def test_planted_factors_are_found_with_their_signs() -> None:
    planted = Planted()
    found = planted.evidence()
    assert found.called(0.05).tolist() == [True, True, False, False, False]
    assert found.sign[:2].tolist() == [1, -1]
    assert (np.abs(found.z[:2]) > np.abs(found.z_score[:2])).all()  # the second rank adds
    score = planted.edges().score
    flat = average_precision(planted.truth.reshape(-1), score.reshape(-1))
    assert flat > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_permuted_peaks_and_a_rule_that_is_off_leave_no_network(seed: int) -> None:
    planted = Planted(seed)
    rng = np.random.default_rng(seed)
    null = planted.factors.permuted(exchanged(planted.block, rng))
    assert planted.edges(null).score.sum() == 0
    off = Planted(seed, acts=False)
    assert off.edges().score.sum() == 0
    # With every factor kept the ranking knows no factor: about chance over genes of a factor with a like count.
    kept = planted.edges(null, fdr=1.0).score
    truth = planted.truth[:2]
    assert average_precision(truth.reshape(-1), kept[:2].reshape(-1)) < truth.mean() + 0.12


def test_the_order_of_factors_and_other_genes_change_nothing() -> None:
    planted = Planted()
    turned = Factors(tuple("EDCBA"), np.arange(5)[::-1].copy(), csr_matrix(planted.factors.sites[:, ::-1]))
    other = Planted()
    other.expression = planted.expression[:, ::-1]
    np.testing.assert_allclose(other.edges(turned).score[::-1], planted.edges().score)
    found = planted.evidence()
    half = np.where(planted.column < 30, planted.column, -1)
    part = edges(planted.factors, [planted.chunk], half, 30, found.called(0.05), found.sign, 0.3)
    np.testing.assert_array_equal(part.score, planted.edges().score[:, :30])


def test_edges_and_triplets_of_a_hand_worked_gene() -> None:
    # Peaks add 1, -3 and 0.5 at the label where they add most; A (raises) has 1 and 2 sites in the first and third.
    mean = np.array([[1.0, 0.2], [-3.0, 1.0], [0.5, 0.1]])[:, :, None]
    chunk = make_chunk(np.zeros(3, np.int64), np.array([4, 5, 6]), np.zeros(3, np.float32), mean)
    sites = np.zeros((7, 2), dtype=np.int64)
    sites[4, 0], sites[6, 0], sites[5, 1] = 1, 2, 2
    factors = Factors(("A", "B"), np.arange(2), csr_matrix(sites))
    called, sign = np.array([True, True]), np.array([1, -1])
    found = edges(factors, [chunk], np.zeros(1, np.int64), 1, called, sign, 0.67)
    assert found.score[:, 0].tolist() == [1.0, 6.0]  # best of 1 x 1 and 2 x 0.5; 2 x 3
    rows = triplets(factors, [chunk], called, sign, 0.67)  # two of three peaks
    assert rows.factor.tolist() == [0, 1] and rows.peak.tolist() == [4, 5]
    assert rows.change.tolist() == [1.0, -3.0] and rows.place.tolist() == [1, 0]
    assert not edges(factors, [chunk], np.zeros(1, np.int64), 1, ~called, sign, 1.0).score.any()
    assert top_peaks(np.array([2.0, 2.0, 1.0]), 0.1).tolist() == [True, False, False]


def test_bags_are_means_over_drawn_groups() -> None:
    bags = draw_bags(5, 3, seed=1)
    assert (bags[:, 0] == 1).all() and (bags.sum(axis=0) == 5).all()
    label = np.array([0, 0, 1, 1, 1])
    sums = PairSums(np.array([7]), np.array([2]), np.array([3]), 2, bags)
    value = np.arange(15, dtype=np.float32).reshape(5, 3)
    for group in range(5):
        same = np.full(3, 7), np.arange(3), np.full(3, label[group]), np.full(3, group)
        sums.add(*same, value[group], np.array([-1, 0, 1], dtype=np.float32))
    chunk = sums.chunk(weight_of(label, 2, bags))
    np.testing.assert_allclose(chunk.by_label[:, 0], value[:2].mean(axis=0))
    np.testing.assert_allclose(chunk.by_label[:, 1], value[2:].mean(axis=0))
    for bag in range(4):
        means = label_means(value, label, 2, bags)[:, :, bag]
        there = ~np.isnan(means[:, 0])
        np.testing.assert_allclose(chunk.rise[:, bag], means[there].max(axis=0), rtol=1e-6)
        np.testing.assert_allclose(chunk.peak_sum[:, there, bag], means[there].T, rtol=1e-6)
    assert chunk.peak.tolist() == [2, 3, 4] and (chunk.fall == 0).all()


def test_baselines_of_a_hand_worked_gene() -> None:
    mean = np.zeros((2, 3, 1))
    chunk = make_chunk(np.zeros(2, np.int64), np.array([0, 1]), np.array([1000, 50_000], np.float32), mean)
    factors = Factors(("A",), np.array([1]), csr_matrix(np.array([[0], [2]])))
    opened = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    level = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])  # gene 1, the factor's own, falls as gene 0 rises
    measured = Measured(opened, level)
    found = baseline_edges(factors, [chunk], np.array([0, 1]), 2, measured)
    far = 10.0**-0.87  # 50 kb over the 5 kb floor
    assert found["distance"][0, 0] == pytest.approx(far)
    assert found["motif x accessibility"][0, 0] == pytest.approx(4.0)
    assert found["motif x accessibility x contact"][0, 0] == pytest.approx(4.0 * far)
    assert co_expression(factors, np.array([0, 1]), 2, measured).tolist() == [[pytest.approx(1.0), 0.0]]
    (rival,) = peak_gene_chunks([chunk], measured)
    np.testing.assert_allclose(
        rival.by_label[1], opened[:, 1] * far, rtol=1e-6
    )  # follows the gene: correlation 1
    assert (rival.by_label[0] == 0).all()  # accessibility does not vary


def test_scores_against_a_list() -> None:
    truth, score = np.array([True, False, True, False]), np.array([3.0, 2.0, 1.0, 1.0])
    # Precision 1 at recall 1/2, then 2/4 for the rest (the last two are tied).
    assert average_precision(truth, score) == pytest.approx(0.75)
    assert early_precision(truth, score) == pytest.approx(0.5)
    assert average_precision(truth, np.zeros(4)) == pytest.approx(0.5) == early_precision(truth, np.zeros(4))
    rng = np.random.default_rng(0)
    many = rng.random((5, 200)) < 0.2
    genes, factors = np.ones(200, bool), np.ones(5, bool)
    chance = edge_scores(rng.random((5, 200)), many, factors, genes)
    assert chance["interval"][0] < chance["auprc"] < chance["interval"][1]
    assert chance["auprc_ratio"] == pytest.approx(1.0, abs=0.15)
    assert edge_scores(many * 1.0, many, factors, genes)["auprc"] == 1.0
    assert edge_scores(many * 1.0, np.zeros_like(many), factors, genes)["auprc"] is None


def test_overlap_and_sign_of_two_networks() -> None:
    ours, theirs = np.zeros((2, 10), bool), np.zeros((2, 10), bool)
    ours[0, :4], theirs[0, 2:6] = True, True
    found = overlap(ours, theirs, np.ones((2, 10), bool))
    assert (found["n_shared"], found["expected"], found["jaccard"]) == (2, 0.8, pytest.approx(2 / 6))
    assert found["p"] == pytest.approx(0.1620, abs=1e-3)  # hypergeometric, 20 pairs, 4 and 4, at least 2
    sign = np.where(ours, 1.0, 0.0)
    listed = np.where(theirs, np.where(np.arange(10) > 2, -1.0, 1.0), 0.0)
    right = sign_score(sign, ours, listed, np.ones((2, 10), bool))
    assert (right["n"], right["balanced_accuracy"]) == (2, 0.5)
