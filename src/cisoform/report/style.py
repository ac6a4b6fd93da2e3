"""Colours and small matplotlib helpers shared by the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS = "#1f6f8b"
OBSERVED = "#1c2430"
CEILING = "#7a8594"
BASELINES = ("#d98324", "#8f6bb1", "#5a9e5d", "#c05a6e", "#a58a3a", "#6b7c93", "#b07aa1", "#4f8f8f")


def new_figure(
    width: float, height: float, columns: int = 1, ratios: list[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure of one row of axes, without the global pyplot state of an interactive backend."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10})
    figure, axes = plt.subplots(
        1, columns, figsize=(width, height), squeeze=False, width_ratios=ratios, layout="constrained"
    )
    return figure, list(axes[0])


def new_rows(width: float, heights: list[float]) -> tuple[Figure, list[Axes]]:
    """A figure of axes above one another, of these heights in inches, that share their x axis."""
    figure, (first,) = new_figure(width, sum(heights))
    first.remove()
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    axes: list[Axes] = []
    for row in range(len(heights)):
        axes.append(figure.add_subplot(grid[row], sharex=axes[0] if axes else None))
    return figure, axes


def clean(axes: Axes, grid: str | None = None) -> Axes:
    """Take away the frame that carries no information; `grid` is 'x', 'y' or None."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if grid:
        axes.grid(axis=grid, color="#e3e7ec", linewidth=0.8)  # type: ignore[arg-type]
        axes.set_axisbelow(True)
    return axes
