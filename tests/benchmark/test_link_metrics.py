"""Ranking metrics of links, worked by hand, with ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from cisoform.benchmark.link_metrics import curve, link_draws, link_scores, permuted, within_gene
from cisoform.benchmark.metrics import GroupBootstrap

TRUTH = np.array([True, False, True, False, False])
SCORE = np.array([3.0, 2.0, 2.0, 2.0, 1.0])


def test_average_precision_steps_over_a_tie_at_once() -> None:
    # Score 3: 1 of 1, recall 1/2. Score 2: 2 of 4, recall 1. AP = 1/2 x 1 + 1/2 x 2/4 = 3/4.
    # In file order the tied positive would stand third: 1/2 + 1/2 x 2/3 = 0.833, and first among them 1.
    assert curve(TRUTH, SCORE).average_precision()[0] == pytest.approx(0.75)
    # 6 pairs of a positive and a negative: 3 of the first positive won; of the second 1 won and 2 tied = 2. 5 / 6.
    assert curve(TRUTH, SCORE).auroc()[0] == pytest.approx(5 / 6)
    assert curve(TRUTH, SCORE).precision_at(0.5)[0] == 1.0
    assert curve(TRUTH, SCORE).precision_at(0.7)[0] == 0.5


def test_a_constant_score_is_chance() -> None:
    line = curve(TRUTH, np.zeros(5))
    assert line.average_precision()[0] == pytest.approx(0.4)
    assert line.auroc()[0] == pytest.approx(0.5)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40), st.randoms())
def test_it_agrees_with_scikit_learn_and_order_does_not_matter(
    pairs: list[tuple[bool, int]], random: object
) -> None:
    truth = np.array([pair[0] for pair in pairs])
    score = np.array([float(pair[1]) for pair in pairs])
    if truth.all() or not truth.any():
        assert np.isnan(curve(truth, score).average_precision()[0])
        return
    line = curve(truth, score)
    assert line.average_precision()[0] == pytest.approx(average_precision_score(truth, score))
    assert line.auroc()[0] == pytest.approx(roc_auc_score(truth, score))
    other = curve(truth[::-1].copy(), score[::-1].copy())
    assert other.average_precision()[0] == pytest.approx(line.average_precision()[0])


def test_ranks_within_genes() -> None:
    truth = np.array([False, True, False, True, False, True, True])
    score = np.array([3.0, 2.0, 1.0, 5.0, 5.0, 4.0, 1.0])
    gene = np.array([0, 0, 0, 1, 1, 1, 2])
    # Gene 0: its positive is second. Gene 1: two tied at the top of which one is positive, expected place 3 / 2.
    # Gene 2 has no negative and is not judged.
    found = within_gene(truth, score, gene)
    np.testing.assert_allclose(found[:2], [[1 / 2, 0], [2 / 3, 1 / 2]])
    assert np.isnan(found[2]).all()
    assert link_scores(truth, score, gene)["mrr"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_draw_counts_pairs_as_often_as_it_holds_their_gene() -> None:
    rng = np.random.default_rng(3)
    gene = np.repeat(np.arange(5), 7)
    truth, score = rng.random(35) < 0.3, rng.integers(0, 6, 35).astype(float)
    bootstrap = GroupBootstrap.draw(gene, 3, seed=1)
    found = link_draws(truth, score, gene, bootstrap)
    for draw, counts in enumerate(bootstrap.counts):
        rows = np.concatenate([np.flatnonzero(gene == g) for g in range(5) for _ in range(int(counts[g]))])
        line = curve(truth[rows], score[rows])
        assert found[draw, 0] == pytest.approx(line.average_precision()[0])
        assert found[draw, 1] == pytest.approx(line.auroc()[0])


def test_permuted_answers_give_chance() -> None:
    rng = np.random.default_rng(0)
    score = rng.normal(size=800)
    truth = score + rng.normal(size=800) > 1.5
    real = curve(truth, score).average_precision()[0]
    null = permuted(truth, score, np.zeros(800, np.int64), 100, 0)
    assert null["low"] < truth.mean() < null["high"] < real
    assert abs(null["auprc"] - truth.mean()) < 0.02


def test_permuting_within_genes_keeps_what_a_gene_has() -> None:
    # Gene 0 has positives alone, gene 1 negatives alone: nothing changes, whatever is dealt.
    truth, gene = np.array([True, True, False, False]), np.array([0, 0, 1, 1])
    null = permuted(truth, np.array([4.0, 3.0, 2.0, 1.0]), gene, 20, 0)
    assert null["auprc"] == pytest.approx(1.0)


def test_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="score nan is not finite"):
        curve(np.array([True, False]), np.array([np.nan, 1.0]))
