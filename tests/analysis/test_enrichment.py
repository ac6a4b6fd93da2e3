"""Stratified rank tests: exact moments, matched background, and the null at chance."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from cisoform.analysis.enrichment import (
    benjamini_hochberg,
    exchanged,
    permutation_z,
    ranked,
    strata,
    two_sided,
)


def test_z_has_the_moments_of_all_exchanges() -> None:
    # One stratum of five, two chosen: the sum over all ten choices gives mean and variance by counting.
    ranks, block = np.array([0.3, -0.1, 0.5, -0.4, 0.0]), np.zeros(5, dtype=np.int64)
    sums = np.array([ranks[list(pair)].sum() for pair in combinations(range(5), 2)])
    found = permutation_z(ranks, np.array([0, 2]), block)
    assert found == pytest.approx((0.8 - sums.mean()) / sums.std())


def test_what_separates_strata_is_no_evidence() -> None:
    """Sites in all high-GC peaks, whose values are all high: within strata there is nothing to see."""
    block = np.repeat([0, 1], 20)
    values = np.where(block == 1, 10.0, 0.0) + np.tile(np.arange(20), 2) * 0.01
    assert np.isnan(permutation_z(ranked(values, block), np.arange(20, 40), block))
    half = np.arange(20, 40, 2)
    assert abs(permutation_z(ranked(values, block), half, block)) < 0.5


def test_exchanged_peaks_are_at_chance_and_stay_in_their_stratum() -> None:
    rng = np.random.default_rng(0)
    block = np.repeat([0, 1, 2], [20, 31, 7])
    values = ranked(rng.normal(size=58), block)
    z = []
    for _ in range(400):
        order = exchanged(block, rng)
        assert (block[order] == block).all()
        z.append(permutation_z(values, order[:11], block))
    assert abs(np.mean(two_sided(np.array(z)) < 0.05) - 0.05) < 0.035


def test_strata_are_quantiles_and_fewer_for_few_peaks() -> None:
    rng = np.random.default_rng(1)
    gc, length = rng.random(600), rng.integers(200, 900, 600)
    found = strata(gc, length)
    assert len(np.unique(found)) == 15 and np.bincount(found).min() > 20
    assert gc[found < 3].max() <= gc[found >= 12].min()
    assert (strata(gc[:20], length[:20]) == 0).all()
    assert (strata(np.full(600, 0.5), np.full(600, 500)) == 0).all()


def test_false_discovery_rates_of_a_hand_worked_case() -> None:
    # Sorted 0.01, 0.02, 0.5 of three tests: 0.03, 0.03, 0.5; the untested one stays out of the count.
    found = benjamini_hochberg(np.array([0.5, np.nan, 0.01, 0.02]))
    np.testing.assert_allclose(found, [0.5, np.nan, 0.03, 0.03])
