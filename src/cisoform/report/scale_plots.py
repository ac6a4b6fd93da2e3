"""The scaling figure: loss and downstream score of a grid of trainings against parameters and data, beside baselines.

Takes cells as `scaling.json` holds them. Lines join cells of one amount of data (left) or one width (right); with
repeats a line joins their means and every cell is a dot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cisoform.benchmark.scaling import Number, best_baseline, score_of
from cisoform.report.style import BASELINES, CEILING, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cell = Mapping[str, Any]
Value = Callable[[Cell], float]
SHADES = ("#a9cfdb", "#5ea3b8", "#1f6f8b", "#124a5e", "#0a2a36")
"""From little to much."""
LOSS_LABEL = "loss on validation chromosomes"
SCORE_LABEL = "Pearson per gene across groups,\nunseen chromosomes"


def scaling_figure(cells: Sequence[Cell]) -> Figure:
    """Two rows (loss, downstream score) of two panels (parameters, data)."""
    figure, (first,) = new_figure(10.0, 8.0)
    first.remove()
    grid = figure.add_gridspec(2, 2)
    panels = [[figure.add_subplot(grid[row, column]) for column in range(2)] for row in range(2)]
    by_share = {f"{share:.0%} of the data": _where(cells, "share", share) for share in _of(cells, "share")}
    by_width = {f"width {width}": _where(cells, "width", width) for width in _of(cells, "width")}
    _lines(panels[0][0], by_share, lambda c: float(c["parameters"]["elementary"]), _loss)
    _lines(panels[0][1], by_width, lambda c: float(c["data"]["tokens"]), _loss)
    _lines(panels[1][0], by_share, lambda c: float(c["parameters"]["all"]), score_of, intervals=True)
    _lines(panels[1][1], by_width, lambda c: float(c["data"]["pairs"]), score_of, intervals=True)
    _starts(panels[0], cells)
    _rivals(panels[1], cells)
    labels = (
        ("parameters of the first stage", "training tokens (bases x samples)"),
        ("parameters of both stages", "training pairs (genes x groups)"),
    )
    for row, label in enumerate((LOSS_LABEL, SCORE_LABEL)):
        panels[row][0].set_ylabel(label)
        for column in range(2):
            panels[row][column].set_xlabel(labels[row][column])
    for axes in (*panels[0], *panels[1]):
        axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    for row_of_axes in panels:
        _same_heights(row_of_axes)
    return figure


def _loss(cell: Cell) -> float:
    return float(cell["pretraining"]["loss"])


def _of(cells: Sequence[Cell], key: str) -> list[Any]:
    return sorted({cell[key] for cell in cells})


def _where(cells: Sequence[Cell], key: str, value: Any) -> list[Cell]:
    return [cell for cell in cells if cell[key] == value]


def _lines(
    axes: Axes, lines: Mapping[str, Sequence[Cell]], place: Value, value: Value, intervals: bool = False
) -> None:
    """A line a group of cells; whiskers are 95 % intervals over genes, drawn apart from one another."""
    clean(axes, "y").set_xscale("log")
    for number, (name, cells) in enumerate(lines.items()):
        shade = (
            SHADES[round(number * (len(SHADES) - 1) / max(len(lines) - 1, 1))]
            if len(lines) > 1
            else SHADES[2]
        )
        at = sorted({place(cell) for cell in cells})
        means = [float(np.mean([value(cell) for cell in cells if place(cell) == x])) for x in at]
        axes.plot(at, means, color=shade, linewidth=1.8, zorder=3, label=name)
        axes.plot(
            [place(c) for c in cells], [value(c) for c in cells], "o", markersize=5.5, color=shade, zorder=4
        )
        for cell in cells if intervals else ():
            found = cell["test"]["scores"]["model"].get("gene_pearson_interval")
            if found:
                beside = place(cell) * (1 + 0.02 * (number - (len(lines) - 1) / 2))
                axes.plot([beside, beside], found, color=shade, linewidth=1.0, alpha=0.7, zorder=2)
    axes.minorticks_off()
    at = sorted({place(cell) for cells in lines.values() for cell in cells})
    if len(at) <= 5:
        axes.set_xticks(at, [short(x) for x in at])


def _starts(panels: Sequence[Axes], cells: Sequence[Cell]) -> None:
    """Loss before the first step: what knowing how often each level occurs is worth."""
    start = float(np.mean([cell["pretraining"]["start_loss"] for cell in cells]))
    for axes in panels:
        axes.axhline(start, color=CEILING, linewidth=1.2, linestyle="--", zorder=1, label="before training")


def _rivals(panels: Sequence[Axes], cells: Sequence[Cell]) -> None:
    """Left the best baseline on the most data, right on each amount; 0 is the mean of the gene."""
    most = max(cell["share"] for cell in cells)
    top = [best_baseline(cell)[1] for cell in cells if cell["share"] == most]
    label = "best baseline"
    panels[0].axhline(
        float(np.mean(top)),
        color=BASELINES[0],
        linestyle="--",
        zorder=1,
        label=f"{label}, {most:.0%} of the data",
    )
    pairs = sorted({float(cell["data"]["pairs"]) for cell in cells})
    means = [float(np.mean([best_baseline(c)[1] for c in cells if c["data"]["pairs"] == x])) for x in pairs]
    panels[1].plot(
        pairs, means, color=BASELINES[0], linestyle="--", marker="D", markersize=4, label=label, zorder=1
    )
    for axes in panels:
        axes.axhline(0, color="#c5ccd4", linewidth=1, zorder=0)


def _same_heights(panels: Sequence[Axes]) -> None:
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)


def short(count: Number) -> str:
    """Three digits of a count: `183k`, `29.9M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"
