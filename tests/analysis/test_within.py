from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from cisoform.analysis.within import auroc_within, block_ranks, partial_within, spearman_within, usable


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_ranks_of_blocks_worked_by_hand() -> None:
    # Block 0: 3, 1, 1 -> ranks 3, 1.5, 1.5 -> (1, -0.5, -0.5) / 2. Block 1 has one peak.
    found = block_ranks(np.array([3.0, 7.0, 1.0, 1.0]), np.array([0, 1, 0, 0]))
    np.testing.assert_allclose(found, [0.5, np.nan, -0.25, -0.25])


def test_one_block_gives_the_usual_statistics(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=23), rng.normal(size=23)
    block = np.zeros(23, dtype=np.int64)
    assert spearman_within(a, b, block) == pytest.approx(spearmanr(a, b).statistic)
    truth = b > 0.3
    assert auroc_within(a, truth, block) == pytest.approx(roc_auc_score(truth, a))


def test_levels_of_blocks_do_not_count(rng: np.random.Generator) -> None:
    block = np.repeat(np.arange(5), 8)
    a, b = rng.normal(size=40), rng.normal(size=40)
    level = 100 * block
    assert spearman_within(a + level, b - level, block) == pytest.approx(spearman_within(a, b, block))
    assert auroc_within(a + level, b > 0, block) == pytest.approx(auroc_within(a, b > 0, block))


def test_what_a_control_explains_is_gone_after_it_is_held_constant(rng: np.random.Generator) -> None:
    block = np.repeat(np.arange(6), 100)
    control = rng.normal(size=600)
    a, b = control + 0.3 * rng.normal(size=600), control + 0.3 * rng.normal(size=600)
    assert spearman_within(a, b, block) > 0.8
    assert abs(partial_within(a, b, [control], block)) < 0.15
    truth = control > 0
    assert auroc_within(a, truth, block) > 0.95
    assert abs(auroc_within(a, truth, block, [control]) - 0.5) < 0.2
    both = a + rng.normal(size=600)
    assert partial_within(both, a, [control], block) > partial_within(b, a, [control], block) + 0.1


def test_a_control_that_is_the_score_leaves_nothing(rng: np.random.Generator) -> None:
    block = np.zeros(9, dtype=np.int64)
    a = rng.normal(size=9)
    assert np.isnan(partial_within(a, rng.normal(size=9), [a], block))
    assert auroc_within(a, a > 0, block, [a]) == pytest.approx(0.5)


def test_small_blocks_and_missing_values_take_no_part() -> None:
    block = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    value = np.array([1.0, 2, 3, 4, 5, 6, 7, np.nan])
    assert usable(block, value).tolist() == [False] * 3 + [True] * 4 + [False]
    assert np.isnan(spearman_within(value[:3], value[:3], block[:3]))
    assert np.isnan(auroc_within(value, np.ones(8, dtype=bool), block))
    empty = np.empty(0)
    assert np.isnan(spearman_within(empty, empty, np.empty(0, dtype=np.int64)))
