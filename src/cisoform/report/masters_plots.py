"""Dot plot of master factors: colour is the mean of the reading over a label's cells, size how stable the place is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cisoform.report.style import OBSERVED, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BIGGEST = 150.0
_MOST_COLUMNS = 60


def dot_plot(table: pl.DataFrame, k: int, title: str) -> Figure:
    """Labels as rows, the first k factors of each as columns.

    Args:
        table: Rows of one reading (`analysis.masters.master_table`).
        k: Factors of each label that are shown; rings mark them.
        title: Above the figure.
    """
    labels = table["label"].unique(maintain_order=True).to_list()
    head = table.filter(pl.col("rank") <= k)
    factors = head["tf"].unique(maintain_order=True).to_list()[:_MOST_COLUMNS]
    shown = table.filter(pl.col("tf").is_in(factors))
    x = np.array([factors.index(name) for name in shown["tf"].to_list()])
    y = np.array([labels.index(name) for name in shown["label"].to_list()])
    mean = shown["mean"].to_numpy()
    size = shown["stability"].fill_null(0.0).to_numpy()
    limit = float(np.abs(mean).max(initial=1e-9))
    figure, (axes,) = new_figure(2.6 + 0.32 * len(factors), 1.6 + 0.34 * len(labels))
    first = shown["rank"].to_numpy() <= k
    dots = axes.scatter(
        x,
        y,
        s=8 + _BIGGEST * size,
        c=mean,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        edgecolors=[OBSERVED if one else "none" for one in first.tolist()],
        linewidths=0.9,
    )
    axes.set_xticks(range(len(factors)), factors, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_xlim(-0.7, len(factors) - 0.3)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_title(title, loc="left")
    axes.set_xlabel(f"size: share of bootstraps in the first {k}; ring: in the first {k}", fontsize=8)
    clean(axes)
    figure.colorbar(dots, ax=axes, label="mean, scaled", shrink=0.8)
    return figure
