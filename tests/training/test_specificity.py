"""The term on differences between tissues: by hand, blind to the level, blind to missing labels."""

from __future__ import annotations

import math

import numpy as np
import torch

from cisoform.training.specificity import Specificity


def test_two_tissues_by_hand() -> None:
    # centred labels are +-1 and +-2, so their mean square is (1 + 1 + 4 + 4) / 4 = 2.5.
    labels = np.array([[3.0, 1.0, 7.0], [0.0, 4.0, np.nan]])
    scale = Specificity.fit(labels, [2.0, 1.0, 9.0], [0, 1])
    assert scale is not None
    assert math.isclose(scale.spread**2, 2.5)
    # errors on the log1p scale: 0.5 * 2 = 1 and -1 * 1 = -1; centred they stay +-1: mean square 1, over 2.5.
    mean, targets = torch.tensor([[0.5, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 5.0]])
    found = scale.loss(mean, targets, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(found, torch.tensor(1 / 2.5))


def test_an_error_in_the_level_alone_costs_nothing() -> None:
    scale = Specificity((0, 1, 2), (2.0, 4.0, 1.0), 1.0)
    level = torch.tensor([[1 / 2.0, 1 / 4.0, 1.0]])  # one unit of log1p in every tissue
    assert float(scale.loss(level, torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool))) < 1e-12


def test_missing_labels_cannot_change_the_term() -> None:
    scale = Specificity((0, 1, 2), (1.0, 1.0, 1.0), 0.7)
    present = torch.tensor([[True, True, False], [True, False, False]])
    mean, targets = torch.randn(2, 3), torch.randn(2, 3)
    other = targets.clone()
    other[~present] = 1e6
    first = scale.loss(mean, targets, present)
    torch.testing.assert_close(first, scale.loss(mean, other, present))
    torch.testing.assert_close(first, scale.loss(mean[:1], targets[:1], present[:1]))


def test_nothing_to_compare_gives_no_term() -> None:
    assert Specificity.fit(np.array([[1.0, 2.0]]), [1.0, 1.0], [0]) is None
    assert Specificity.fit(np.array([[1.0, np.nan]]), [1.0, 1.0], [0, 1]) is None
    assert Specificity.fit(np.array([[1.0, 1.0]]), [1.0, 1.0], [0, 1]) is None
