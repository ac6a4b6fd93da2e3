"""Figures of a transition: states with arrows in principal components, and every factor beside random peak sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.report.style import BASELINES, CEILING, OBSERVED, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = npt.NDArray[np.floating[Any]]
_MOST_ROWS = 25


def arrow_figure(
    source: Points, target: Points, before: Points, after: Points, title: str, axis: str
) -> Figure:
    """Source and target cells, and an arrow from every perturbed cell to where it goes.

    Args:
        source: Coordinates (cells, 2 or more) of source cells.
        target: Of target cells.
        before: Of the cells that were perturbed.
        after: Of the same cells afterwards.
        title: Above the figure.
        axis: Name of the coordinates.
    """
    figure, (axes,) = new_figure(5.4, 4.6)
    for points, colour, name in ((source, CEILING, "source"), (target, BASELINES[0], "target")):
        axes.scatter(points[:, 0], points[:, 1], s=14, color=colour, alpha=0.6, linewidths=0, label=name)
    for start, end in zip(before, after, strict=True):
        _arrow(axes, start, end, OURS, 0.8)
    _arrow(axes, before.mean(axis=0), after.mean(axis=0), OBSERVED, 2.2)
    every = np.concatenate([source, target, after])[:, :2]
    low, high = every.min(axis=0), every.max(axis=0)
    pad = 0.06 * np.maximum(high - low, 1e-6)
    axes.set_xlim(low[0] - pad[0], high[0] + pad[0])
    axes.set_ylim(low[1] - pad[1], high[1] + pad[1])
    axes.set_xlabel(f"{axis} 1")
    axes.set_ylabel(f"{axis} 2")
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, fontsize=8)
    clean(axes)
    return figure


def _arrow(axes: Axes, start: Points, end: Points, colour: str, width: float) -> None:
    axes.annotate(
        "",
        xy=(float(end[0]), float(end[1])),
        xytext=(float(start[0]), float(start[1])),
        arrowprops={"arrowstyle": "->", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0},
    )


def rank_figure(table: pl.DataFrame, null: Points, column: str, title: str) -> Figure:
    """The best factors by a score, above the middle 95 % of random peak sets.

    Args:
        table: tf and the score, best first.
        null: The score of the random sets.
        column: Name of the score.
        title: Above the figure.
    """
    shown = table.drop_nulls(column).head(_MOST_ROWS)
    figure, (axes,) = new_figure(5.6, 1.4 + 0.24 * shown.height)
    low, high = np.quantile(null, (0.025, 0.975))
    axes.axvspan(low, high, color="#e3e7ec", label="95 % of random peak sets")
    axes.axvline(0, color=OBSERVED, linewidth=0.8)
    y = np.arange(shown.height)
    values = shown[column].to_numpy()
    axes.hlines(y, 0, values, color=OURS, linewidth=1.6)
    axes.plot(values, y, "o", color=OURS, markersize=5)
    axes.set_yticks(y, shown["tf"].to_list(), fontsize=8)
    axes.set_ylim(shown.height - 0.4, -0.6)
    axes.set_xlabel(column.replace("_", " "))
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    clean(axes, "x")
    return figure
