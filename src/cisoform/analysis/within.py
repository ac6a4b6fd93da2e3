"""Rank statistics within genes: how a score of peaks goes with another quantity of the same peaks of the same gene.

A block is the peaks of one gene in one group of cells. Values become ranks within their block, centred and scaled, so
that no gene counts for the level of its scores; blocks are then pooled (a block counts by its peaks). Values that are
NaN are left out with their peak.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LEAST_PEAKS = 4
"""Peaks that a block needs to take part."""


def block_ranks(values: npt.NDArray[np.floating], block: Ints) -> Floats:
    """Ranks within blocks, ties shared, from -0.5 to 0.5 around 0; NaN in blocks of one peak.

    Args:
        values: One a peak.
        block: Number of the block of each, from 0.
    """
    found = np.full(len(values), np.nan)
    for rows in split_blocks(block):
        if len(rows) > 1:
            found[rows] = (rankdata(values[rows]) - (len(rows) + 1) / 2) / (len(rows) - 1)
    return found


def split_blocks(block: Ints) -> list[Ints]:
    """Rows of each block."""
    order = np.argsort(block, kind="stable")
    _, first = np.unique(block[order], return_index=True)
    return [np.asarray(rows, dtype=np.int64) for rows in np.split(order, first[1:])] if len(block) else []


def usable(block: Ints, *values: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Peaks with finite values in blocks of at least four of them."""
    fine = np.all([np.isfinite(column) for column in values], axis=0)
    count = np.bincount(block[fine], minlength=int(block.max(initial=-1)) + 1)
    return np.asarray(fine & (count[block] >= LEAST_PEAKS))


def spearman_within(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating], block: Ints) -> float:
    """Pooled within-block Spearman correlation; NaN where there is nothing to correlate."""
    return partial_within(a, b, (), block)


def partial_within(
    a: npt.NDArray[np.floating],
    b: npt.NDArray[np.floating],
    controls: Sequence[npt.NDArray[np.floating]],
    block: Ints,
) -> float:
    """Pooled within-block Spearman correlation of what the controls leave of both (residuals of their ranks).

    Ranks of few peaks know a control only roughly, so something of it stays: two columns that follow one control
    (correlation 0.96 each) and are otherwise independent keep about 0.1 in blocks of 20, 0.03 in blocks of 100.
    """
    use = usable(block, a, b, *controls)
    if not use.any():
        return float("nan")
    left, right, *held = [block_ranks(column[use], block[use]) for column in (a, b, *controls)]
    return _correlation(_residual(left, held), _residual(right, held))


def auroc_within(
    score: npt.NDArray[np.floating],
    truth: npt.NDArray[np.bool_],
    block: Ints,
    controls: Sequence[npt.NDArray[np.floating]] = (),
) -> float:
    """Chance that a true peak scores above a false one of the same block (ties count half), over all such pairs.

    Args:
        score: One a peak.
        truth: Which peaks are true.
        block: Number of the block of each.
        controls: Score by what these leave of its ranks (residuals of a linear fit within blocks).
    """
    use = usable(block, score, *controls)
    if not use.any():
        return float("nan")
    values, truth, block = np.asarray(score[use], dtype=np.float64), truth[use], block[use]
    if controls:
        held = [block_ranks(column[use], block) for column in controls]
        values = np.round(_residual(block_ranks(values, block), held), 12)
    won = pairs = 0.0
    for rows in split_blocks(block):
        n_true = int(truth[rows].sum())
        n_false = len(rows) - n_true
        if n_true and n_false:
            rank = rankdata(values[rows])[truth[rows]].sum()
            won += rank - n_true * (n_true + 1) / 2
            pairs += n_true * n_false
    return won / pairs if pairs else float("nan")


def _residual(ranks: Floats, held: Sequence[Floats]) -> Floats:
    """What a linear fit on other ranks leaves; all are centred within blocks, so there is no intercept."""
    if not held:
        return ranks
    design = np.stack(held, axis=1)
    weights, *_ = np.linalg.lstsq(design, ranks, rcond=None)
    return np.asarray(ranks - design @ weights)


def _correlation(a: Floats, b: Floats) -> float:
    """Correlation of centred values; NaN where one is constant (up to rounding of a fit)."""
    size = np.sqrt((a @ a) * (b @ b))
    least = 1e-9 * len(a)
    return float(a @ b / size) if a @ a > least and b @ b > least else float("nan")
