"""Figure of two models by tissue (IsoFormer, Fig. 3 left), with the paired difference beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.report.style import BASELINES, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THEIRS = BASELINES[0]
_LABELS = {"r2": "R²", "spearman": "Spearman correlation"}
_ZERO = "#c5ccd4"


def comparison_figure(table: pl.DataFrame, names: tuple[str, str], metric: str = "r2") -> Figure:
    """A row per tissue, the best of the other model on top: both scores with intervals, and ours - theirs with its own.

    Args:
        table: `jobs.isoform_compare.Comparison.table`; its last row, the mean, is drawn at the bottom.
        names: What ours and theirs are called.
        metric: "r2" or "spearman".
    """
    tissues = table.head(table.height - 1).sort(f"{metric}_theirs", descending=True, nulls_last=True)
    rows = pl.concat([tissues, table.tail(1)])
    figure, (scores, difference) = new_figure(8.6, 1.5 + 0.3 * rows.height, 2, [1.5, 1.0])
    height = np.arange(rows.height)[::-1].astype(float)
    for who, label, shift, colour in (
        ("theirs", names[1], -0.14, THEIRS),
        ("ours", names[0], 0.14, OURS),
    ):
        _dots(scores, rows, f"{metric}_{who}", f"{metric}_{who}_", height + shift, colour, label)
    scores.set_yticks(height, rows["tissue"].to_list())
    scores.set_xlabel(_LABELS[metric])
    scores.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)
    _dots(difference, rows, f"{metric}_difference", f"{metric}_", height, OURS, "")
    difference.axvline(0, color=_ZERO, linewidth=1, zorder=1)
    difference.set_yticks(height, [""] * rows.height)
    difference.set_xlabel(f"difference of {_LABELS[metric]}, paired")
    for axes in (scores, difference):
        axes.axhline(0.5, color=_ZERO, linewidth=0.8)
        axes.set_ylim(-0.7, rows.height - 0.3)
        clean(axes, grid="x")
    return figure


def _dots(
    axes: Axes,
    rows: pl.DataFrame,
    value: str,
    interval: str,
    height: npt.NDArray[np.float64],
    colour: str,
    label: str,
) -> None:
    low, high = (_numbers(rows, f"{interval}{end}") for end in ("low", "high"))
    for place in np.flatnonzero(np.isfinite(low) & np.isfinite(high)).tolist():
        ends = [low[place], high[place]]
        axes.plot(ends, [height[place]] * 2, color=colour, linewidth=1.8, solid_capstyle="round", zorder=2)
    axes.scatter(_numbers(rows, value), height, s=26, color=colour, label=label, zorder=3)


def _numbers(rows: pl.DataFrame, column: str) -> npt.NDArray[np.float64]:
    return rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
