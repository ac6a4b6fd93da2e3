"""How loss and downstream score change with parameters and data over a grid of trainings, and how sure that is.

CREformer claims that its loss falls as models and data grow and that its downstream score follows. Here a plane is
laid through a grid of cells: log10 of the loss (a power law is a plane), or the score itself, over log10 of parameters
and log10 of data. Intervals come from a bootstrap of the residuals. A grid too small for that is said to be so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Cells = Sequence[Mapping[str, Any]]
Number = int | float  # spelled out for the run-time checks of the tests, where 1 is no float
AXES = ("parameters", "data")
LEAST_POINTS = 6
"""Cells that an interval needs: twice the numbers that are fitted."""
LEAST_VALUES = 3
"""Different values of an axis that a slope along it needs: two are a line whatever the law is."""
LAW_DECADES = 3.0
"""Powers of ten below which nobody should speak of a law (published ones span five and more)."""
LOSS, SCORE = "loss", "gene_pearson"
BASELINES = ("gene_mean", "window_sum", "ridge", "ridge_delta")


def fit_plane(
    parameters: Sequence[Number], data: Sequence[Number], values: Sequence[Number], draws: int = 2000
) -> dict[str, Any]:
    """Least squares of values on log10 parameters and log10 data.

    Args:
        parameters: Of each cell.
        data: Of each cell.
        values: Of each cell; NaN is left out.
        draws: Of the bootstrap.

    Returns:
        `n_points`; `unexplained`, the standard deviation of the residuals; and for `parameters` and `data` each
        `slope` per power of ten, its 95 % `interval` (None = not enough points) and `why` one is missing.
    """
    known = np.isfinite(np.asarray(values, dtype=np.float64))
    x = np.log10(np.stack([np.asarray(parameters, float)[known], np.asarray(data, float)[known]], axis=1))
    y = np.asarray(values, dtype=np.float64)[known]
    varied = [len(np.unique(x[:, axis])) >= LEAST_VALUES for axis in range(2)]
    design = np.column_stack([np.ones(len(y)), *(x[:, axis] for axis in range(2) if varied[axis])])
    found: dict[str, Any] = {"n_points": len(y), "unexplained": None}
    enough = len(y) >= LEAST_POINTS and np.linalg.matrix_rank(design) == design.shape[1]
    slopes, intervals = _plane(design, y, draws) if enough else (None, None)
    if enough:
        residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        found["unexplained"] = float(residual.std(ddof=design.shape[1]))
    column = 1
    for axis, name in enumerate(AXES):
        if slopes is None or intervals is None:
            why = f"not enough points: {len(y)} of at least {LEAST_POINTS} that vary in both"
        elif not varied[axis]:
            why = (
                f"not enough points: {len(np.unique(x[:, axis]))} different values of at least {LEAST_VALUES}"
            )
        else:
            low, high = intervals[:, column]
            found[name] = {"slope": float(slopes[column]), "interval": [float(low), float(high)], "why": None}
            column += 1
            continue
        found[name] = {"slope": None, "interval": None, "why": why}
    return found


def _plane(design: Values, y: Values, draws: int) -> tuple[Values, Values]:
    """Coefficients and their 95 % intervals; residuals are centred, and made as large as n - p says they were."""
    solve = np.linalg.pinv(design)
    fitted = solve @ y
    residual = y - design @ fitted
    residual = (residual - residual.mean()) * np.sqrt(len(y) / (len(y) - design.shape[1]))
    rng = np.random.default_rng(0)
    drawn = residual[rng.integers(0, len(y), (draws, len(y)))]
    found = fitted + drawn @ solve.T
    return fitted, np.quantile(found, (0.025, 0.975), axis=0)


def score_of(cell: Mapping[str, Any], name: str = "model") -> float:
    """Correlation per gene across groups, on unseen chromosomes; NaN where it is not defined."""
    value = cell["test"]["scores"][name][SCORE]
    return float("nan") if value is None else float(value)


def best_baseline(cell: Mapping[str, Any]) -> tuple[str, float]:
    """The strongest predictor that needs no network, fitted on the cell's share of the data, and its score."""
    found = {name: score_of(cell, name) for name in BASELINES if name in cell["test"]["scores"]}
    name = max(found, key=lambda key: -np.inf if np.isnan(found[key]) else found[key])
    return name, found[name]


def fit_grid(cells: Cells) -> dict[str, Any]:
    """Planes of log10 loss over the first stage's parameters and tokens, and of the score over both stages'."""
    loss = np.log10([float(cell["pretraining"][LOSS]) for cell in cells])
    return {
        LOSS: fit_plane(
            [cell["parameters"]["elementary"] for cell in cells],
            [cell["data"]["tokens"] for cell in cells],
            loss.tolist(),
        ),
        SCORE: fit_plane(
            [cell["parameters"]["all"] for cell in cells],
            [cell["data"]["pairs"] for cell in cells],
            [score_of(cell) for cell in cells],
        ),
    }


def reading(cells: Cells, planes: Mapping[str, Any], simulated: bool) -> list[str]:
    """What the grid shows, in sentences made from the numbers alone; what it cannot show comes first."""
    sizes = [cell["parameters"]["all"] for cell in cells]
    tokens = [cell["data"]["tokens"] for cell in cells]
    repeats = len({cell["repeat"] for cell in cells})
    spans = [float(np.log10(max(values) / min(values))) for values in (sizes, tokens)]
    lines = [
        f"{len(cells)} trainings over {max(sizes) / min(sizes):.1f}-fold parameters and "
        f"{max(tokens) / min(tokens):.1f}-fold data"
        f"{' of a simulated genome' if simulated else ''}, {repeats} of each cell: "
        + (
            "this is no scaling law, which takes several powers of ten and repeats"
            if min(spans) < LAW_DECADES or repeats < 2
            else "a fit over this range says nothing beyond it"
        )
    ]
    lines += [_slope_text("log10 of the loss", planes[LOSS][axis], axis) for axis in AXES]
    lines += [_slope_text("the downstream score", planes[SCORE][axis], axis) for axis in AXES]
    below = sum(cell["pretraining"][LOSS] < cell["pretraining"]["start_loss"] for cell in cells)
    lines.append(f"The loss is below that before training in {below} of {len(cells)} cells")
    rivals = [best_baseline(cell)[1] for cell in cells]
    ahead = sum(score_of(cell) > rival for cell, rival in zip(cells, rivals, strict=True))
    clear = sum(_low(cell) > rival for cell, rival in zip(cells, rivals, strict=True))
    lines.append(
        f"The downstream score is above the best baseline on the same data in {ahead} of {len(cells)} cells, and its "
        f"95 % interval over genes lies above it in {clear}"
    )
    return lines


def _low(cell: Mapping[str, Any]) -> float:
    interval = cell["test"]["scores"]["model"].get("gene_pearson_interval")
    return float("nan") if interval is None else float(interval[0])


def _slope_text(what: str, found: Mapping[str, Any], axis: str) -> str:
    of = "parameters" if axis == "parameters" else "data"
    if found["interval"] is None:
        return f"No slope of {what} over {of}: {found['why']}"
    low, high = found["interval"]
    verdict = "includes 0: no slope is shown" if low <= 0 <= high else "does not include 0"
    return f"Tenfold {of} change {what} by {found['slope']:+.3f}; the 95 % interval [{low:+.3f}, {high:+.3f}] {verdict}"
