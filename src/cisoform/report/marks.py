"""Rows of marks: several predictors beside one another in several quantities, the form of most score figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cisoform.report.style import BASELINES, CEILING, OURS, clean

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Marks:
    """One predictor's values, one a row; NaN where it has none.

    Attributes:
        name: In the legend.
        values: One a row.
        ours: Drawn large and in the model's colour; several of ours differ by their form.
    """

    name: str
    values: Sequence[float]
    ours: bool = False


FORMS = ("o", "s", "^", "v")


def rows_of_marks(
    axes: Axes, rows: Sequence[str], marks: Sequence[Marks], label: str, title: str = ""
) -> Axes:
    """A row per quantity from top to bottom, a mark per predictor; no legend (`legend_below` draws it once)."""
    heights = np.arange(len(rows))[::-1]
    for height in heights[:-1]:
        axes.axhline(height - 0.5, color="#eef1f4", linewidth=1, zorder=0)
    n_ours = n_others = 0
    for item in marks:
        values = np.asarray(item.values, dtype=np.float64)
        if item.ours:
            filled = "none" if n_ours else OURS
            axes.scatter(
                values,
                heights,
                marker=FORMS[n_ours % len(FORMS)],
                s=52,
                facecolors=filled,
                edgecolors=OURS,
                linewidths=1.6,
                label=item.name,
                zorder=5,
            )
            n_ours += 1
        else:
            colour = BASELINES[n_others % len(BASELINES)]
            axes.scatter(values, heights, marker="D", s=26, color=colour, label=item.name, zorder=6)
            n_others += 1
    axes.set_yticks(heights, list(rows))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.axvline(0, color="#c5ccd4", linewidth=1, zorder=1)
    axes.set_xlabel(label)
    if title:
        axes.set_title(title)
    return clean(axes, grid="x")


def common_limits(panels: Sequence[Axes], low: float = 0.0, high: float = 1.0) -> None:
    """The same x limits for all panels: at least `low` to `high`, wider where a mark lies outside."""
    for axes in panels:
        for found in axes.collections:
            offsets = np.ma.getdata(found.get_offsets())
            known = np.isfinite(offsets[:, 0])
            if known.any():
                low = min(low, float(offsets[known, 0].min()))
                high = max(high, float(offsets[known, 0].max()))
    margin = 0.04 * (high - low)
    for axes in panels:
        axes.set_xlim(low - margin, high + margin)


def legend_below(panels: Sequence[Axes]) -> None:
    """One legend for all panels, under the figure, from the marks of the first that has any."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    figure = panels[0].figure
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=min(len(found), 5),
        frameon=False,
        fontsize=9.5,
    )


def score_bars_with_ceiling(
    axes: Axes,
    rows: Sequence[tuple[str, float, tuple[float, float] | None]],
    label: str,
    ceiling: tuple[str, float] | None = None,
    ours: Sequence[str] = ("model",),
) -> Axes:
    """Horizontal bars `(name, value, 95 % interval or None)` with their values; the ceiling is a line across.

    Args:
        axes: Where to draw.
        rows: From top to bottom; NaN draws no bar and says so.
        label: Of the x axis.
        ceiling: Name and value of what can be reached at all.
        ours: Names drawn in the model's colour.
    """
    heights = np.arange(len(rows))[::-1]
    for height, (name, value, interval) in zip(heights, rows, strict=True):
        if not np.isfinite(value):
            axes.annotate(
                "not defined", (0, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9
            )
            continue
        axes.barh(height, value, height=0.58, color=OURS if name in ours else BASELINES[0])
        end = value
        if interval is not None:
            axes.plot(interval, [height, height], color="#1c2430", linewidth=1.6, solid_capstyle="butt")
            end = interval[1]
        axes.annotate(
            f"{value:.3f}",
            (max(end, 0.0), height),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
        )
    if ceiling is not None:
        name, value = ceiling
        axes.axvline(value, color=CEILING, linewidth=2, linestyle="--", zorder=1)
        axes.annotate(
            f"{name} {value:.3f}",
            (value, len(rows) - 0.45),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=9.5,
            color="#4a5563",
        )
    axes.axvline(0, color="#c5ccd4", linewidth=1, zorder=0)
    axes.set_yticks(heights, [name for name, _, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4 + (0.35 if ceiling else 0.0))
    axes.set_xlim(min(0.0, *(_low(row) for row in rows)) * 1.15, 1.08)
    axes.set_xlabel(label)
    return clean(axes)


def _low(row: tuple[str, float, tuple[float, float] | None]) -> float:
    _, value, interval = row
    low = value if interval is None else interval[0]
    return low if np.isfinite(low) else 0.0
