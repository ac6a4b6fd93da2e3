"""Figure of the RNA encoder's attention by region, before and after fine-tuning (IsoFormer, Fig. 3 right)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cisoform.report.style import BASELINES, CEILING, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE = BASELINES[0]


def attention_figure(table: pl.DataFrame, fdr: float = 0.05) -> Figure:
    """A panel per region: share of above-mean attention by layer.

    A dot is a head (filled where it changed at the false discovery rate), the line their mean; before on the left of a
    layer, after on the right. The dashed line is the share of the region's bases.

    Args:
        table: `analysis.isoform_attention.attention_table`.
        fdr: Below it a head counts as changed.
    """
    regions = list(dict.fromkeys(table["region"].to_list()))
    figure, panels = new_figure(3.4 * len(regions), 3.6, len(regions))
    for axes, region in zip(panels, regions, strict=True):
        _panel(axes, table.filter(pl.col("region") == region), fdr)
        axes.set_title(region)
    panels[0].set_ylabel("share of above-mean attention")
    panels[-1].scatter([], [], s=22, color=CEILING, label=f"filled: head changed, rate < {fdr:g}")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, fdr: float) -> None:
    layers = sorted(set(rows["layer"].to_list()))
    sure = (rows["fdr"].fill_nan(1.0).fill_null(1.0) < fdr).to_numpy()
    place = rows["layer"].to_numpy().astype(float)
    for name, label, shift, colour in (
        ("share_before", "before fine-tuning", -0.12, BEFORE),
        ("share_after", "after fine-tuning", 0.12, OURS),
    ):
        values = rows[name].to_numpy()
        for chosen, face in ((sure, colour), (~sure, "white")):
            axes.scatter(
                place[chosen] + shift, values[chosen], s=22, facecolor=face, edgecolor=colour, zorder=3
            )
        means = [_mean(values[place == layer]) for layer in layers]
        axes.plot(np.array(layers) + shift, means, color=colour, linewidth=1.6, label=label, zorder=2)
    even = rows["share_of_bases"][0]
    axes.axhline(even, color=CEILING, linestyle="--", linewidth=1, label="share of the bases")
    axes.set_xticks(layers)
    axes.set_xlim(layers[0] - 0.5, layers[-1] + 0.5)
    axes.set_ylim(0, 1.04 * axes.get_ylim()[1])
    axes.set_xlabel("layer")
    clean(axes, grid="y")


def _mean(values: Any) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
