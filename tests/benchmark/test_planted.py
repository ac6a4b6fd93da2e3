"""Readings against planted answers: the way chosen, what counts as a sign, and what chance gives."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cisoform.benchmark import planted


def test_a_measure_says_whether_it_reaches_its_goal_and_beats_every_baseline():
    one = planted.Measure(
        reading="r", measure="m", value=0.8, goal=0.9, baselines={"near": 0.8, "far": float("nan")}
    )
    assert one.reached is False and one.wins is False and one.best_baseline == ("near", 0.8)
    plain = planted.Measure(reading="r", measure="m", value=0.8).plain()
    assert plain["reached"] is None and plain["wins"] is None and plain["value"] == 0.8


def test_the_best_way_on_validation_is_chosen_and_one_without_a_score_never():
    assert planted.choose({"a": float("nan"), "b": 0.2, "c": 0.7, "d": 0.7}) == "c"
    with pytest.raises(ValueError, match="no way"):
        planted.choose({"a": float("nan")})


def test_scores_of_pairs_by_variant_distance_and_group():
    table = pl.DataFrame(
        {
            "gene": [0, 0, 0, 0],
            "label": [0, 0, 1, 1],
            "peak": [3, 5, 3, 5],
            "distance_bp": [-100.0, 20_000.0, -100.0, 20_000.0],
            "accessibility": [1.0, 2.0, 3.0, 0.0],
            "score_ablation": [-0.4, 0.1, 0.2, 0.3],
        }
    )
    pairs = planted.pairs_of(table)
    assert pairs["peak"].to_list() == [3, 5] and pairs["accessibility"].to_list() == [2.0, 1.0]
    ways = planted.pair_ways(table, ("ablation",))
    np.testing.assert_allclose(ways["ablation, none, max"], [0.4, 0.3])
    np.testing.assert_allclose(ways["ablation, none, mean"], [0.3, 0.2])
    # Contact is flat up to 5 kb, then (20,000 / 5,000)^-0.87 of that.
    ratio = ways["ablation, powerlaw, max"][1] / ways["ablation, powerlaw, max"][0]
    assert ratio == pytest.approx(0.3 * 4**-0.87 / 0.4)
    simple = planted.pair_baselines(table, np.array([2.0, 0.0, 0.0, 0.0]), None)
    assert simple["distance"].tolist() == [-100.0, -20_000.0] and len(simple) == 8
    assert simple["accessibility, max"].tolist() == [3.0, 2.0]
    abc = simple["sqrt(accessibility x H3K27ac) x contact, max"]
    assert abc[0] == pytest.approx(np.sqrt(2.0) * 5_000**-0.87) and abc[1] == 0


def test_chance_is_the_share_of_true_pairs():
    rng = np.random.default_rng(0)
    truth, gene = rng.random(400) < 0.25, np.repeat(np.arange(20), 20)
    found = planted.chance(truth, truth.astype(float), gene, seed=1)
    assert found["answers dealt anew"] == pytest.approx(truth.mean(), abs=0.03)
    # A score that knows the gene alone keeps what genes differ by.
    share = np.repeat([truth[gene == one].mean() for one in range(20)], 20)
    assert planted.chance(truth, share, gene, seed=1)["dealt anew within genes"] > truth.mean() + 0.05
    assert planted.auprc(truth, truth.astype(float)) == 1.0


def test_the_sign_is_judged_above_noise_and_over_both_directions():
    truth = np.array([0.5, 0.2, 0.3, -0.4, 0.05, -0.05])
    # Two of three rises and the one fall are right: (2/3 + 1) / 2. What lies below 0.1 does not count.
    assert planted.balanced_sign(truth, np.array([1, 0, 1, -1, -9, 9.0])) == pytest.approx(5 / 6)
    assert planted.balanced_sign(truth, np.ones(6)) == 0.5
    assert np.isnan(planted.balanced_sign(np.array([0.5, 0.5]), np.ones(2)))
    assert planted.rank_agreement(truth, truth**3) == pytest.approx(1)
    assert np.isnan(planted.rank_agreement(truth, np.ones(6)))


def test_a_pooled_knock_out_is_one_slope_times_what_the_gene_loses():
    table = pl.DataFrame(
        {
            "tf": ["A", "A", "A", "B"],
            "gene_id": ["1", "2", "3", "1"],
            "group": ["x"] * 4,
            "difference": [-1.0, -3.0, 0.0, 0.5],
            "accessibility_change": [-1.0, -2.0, 0.0, -1.0],
        }
    )
    # Slope of A: (1 + 6) / (1 + 4) = 1.4; of B: -0.5.
    np.testing.assert_allclose(planted.knockout_way(table, "pooled"), [-1.4, -2.8, 0.0, 0.5])
    assert planted.knockout_way(table, "own").tolist() == [-1.0, -3.0, 0.0, 0.5]
    dealt = planted.other_factors(table, table["difference"].to_numpy(), seed=0)
    assert sorted(dealt[[0, 3]].tolist()) == [-1.0, 0.5] and dealt[1:3].tolist() == [-3.0, 0.0]
