"""Figures of knock-outs and knock-ins: differences of genes beside matched controls, and a screen along the locus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cisoform.report.style import CEILING, OBSERVED, OURS, clean, new_figure, new_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_GENES, MOST_GROUPS, MOST_ROWS = 20, 4, 6
"""Of each the strongest, as many as a figure shows readably."""
_ROW, _FOOT = 1.15, 0.5


def effects_figure(table: pl.DataFrame, column: str, title: str) -> Figure:
    """The genes that move most, a panel for every group: difference with its interval, matched controls beside.

    Args:
        table: A row for every gene and group, as `perturb` and `insert_into` give it; interval, controls and groups
            may be missing.
        column: Of the groups.
        title: Above the figure.
    """
    table = _named(table, column)
    groups, n_groups = _strongest(table, "group", MOST_GROUPS)
    table = table.filter(pl.col("group").is_in(groups))
    genes, n_genes = _strongest(table, "gene", MOST_GENES)
    table = table.filter(pl.col("gene").is_in(genes))
    width = 2.0 + 2.6 * max(len(groups), 1.7)
    figure, axes = new_figure(width, 1.7 + 0.24 * max(len(genes), 2), len(groups))
    for axis, group in zip(axes, groups, strict=True):
        _differences(axis, table.filter(pl.col("group") == group), genes)
        axis.set_title(group if len(groups) > 1 or n_groups > 1 else "", fontsize=10)
        axis.tick_params(labelleft=axis is axes[0])
        if axis is not axes[0]:
            axis.sharex(axes[0])
    cut = [
        f"{shown} of {known:,} {what}"
        for shown, known, what in ((len(genes), n_genes, "genes"), (len(groups), n_groups, "groups"))
        if known > shown
    ]
    more = f"; the strongest {' in '.join(cut)}" if cut else ""
    figure.suptitle(f"{title}{more}", fontsize=11)
    handles, labels = axes[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8
        )
    return figure


def _differences(axis: Axes, part: pl.DataFrame, genes: list[str]) -> None:
    """One panel: a row for every gene."""
    place = {gene: row for row, gene in enumerate(genes)}
    y = np.array([place[gene] for gene in part["gene"].to_list()], dtype=np.float64)
    axis.axvline(0, color=OBSERVED, linewidth=0.8)
    if "control_mean" in part.columns and part["control_mean"].null_count() < part.height:
        mean, spread = (part[name].cast(pl.Float64).to_numpy() for name in ("control_mean", "control_sd"))
        label = "matched controls, mean and sd"
        axis.errorbar(
            mean, y + 0.2, xerr=spread, fmt="s", color=CEILING, markersize=3.5, linewidth=1.2, label=label
        )
    if "low" in part.columns and part["low"].null_count() < part.height:
        low, high = (part[name].cast(pl.Float64).to_numpy() for name in ("low", "high"))
        axis.hlines(y - 0.12, low, high, color=OURS, linewidth=1.6, label="95 % over cells or pools")
    axis.plot(part["difference"].to_numpy(), y - 0.12, "o", color=OURS, markersize=5, label="chosen peaks")
    axis.set_yticks(np.arange(len(genes)), genes, fontsize=8)
    axis.set_ylim(len(genes) - 0.4, -0.6)
    axis.set_xlabel("after - before", fontsize=9)
    clean(axis, "x")


def screen_figure(table: pl.DataFrame, column: str, title: str) -> Figure:
    """What the edit of every peak by itself does, along the locus: a row for every gene, or every group of one gene.

    Args:
        table: A row for every gene, peak and group, as `screen` gives it.
        column: Of the groups.
        title: Above the figure.
    """
    table = _rows_of(_named(table, column))
    placed = bool(table["distance_bp"].is_finite().all())
    place = pl.col("distance_bp") / 1000 if placed else pl.col("peak").cast(pl.Float64)
    table = table.with_columns(place=place)
    rows, n_rows = _strongest(table, "row", MOST_ROWS)
    heights = [_ROW] * len(rows)
    heights[-1] += _FOOT
    figure, axes = new_rows(8.0, heights)
    for axis, row in zip(axes, rows, strict=True):
        _stems(axis, table.filter(pl.col("row") == row), placed)
        axis.set_ylabel(row, rotation=0, ha="right", va="center", fontsize=9)
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    more = f"; the {len(rows)} strongest of {n_rows:,}" if n_rows > len(rows) else ""
    if table["gene"].n_unique() == 1:
        title = f"{title}, {table['gene'][0]}"
        for axis in axes[1:]:
            axis.sharey(axes[0])
    axes[0].set_title(f"{title}: after - before, by peak{more}", loc="left", fontsize=11)
    axes[-1].set_xlabel(
        "kb from the TSS, on the gene's strand (hollow: nothing changed)"
        if placed
        else "number of the peak, in genomic order (hollow: nothing changed)"
    )
    return figure


def _rows_of(table: pl.DataFrame) -> pl.DataFrame:
    """Adds `row`: the group, of one gene; else the gene, in the group where one of its peaks does most."""
    if table["gene"].n_unique() == 1:
        alone = table["group"].n_unique() == 1
        return table.with_columns(row=pl.col("gene") if alone else pl.col("group"))
    keys = ("gene", "group")
    best = (
        table.sort(pl.col("difference").abs(), descending=True, maintain_order=True)
        .group_by("gene", maintain_order=True)
        .agg(pl.col("group").first())
    )
    named = pl.when(pl.col("group") == "").then(pl.col("gene")).otherwise(pl.format("{}\n{}", *keys))
    return table.join(best, on=keys, how="semi", maintain_order="left").with_columns(row=named)


def _stems(axis: Axes, part: pl.DataFrame, placed: bool) -> None:
    clean(axis, "y")
    place, change = part["place"].to_numpy(), part["difference"].to_numpy()
    if placed:
        axis.axvline(0, color=OBSERVED, linewidth=0.8, linestyle=":")
    axis.axhline(0, color=OBSERVED, linewidth=0.6)
    axis.vlines(place, 0, change, color=OURS, linewidth=1.4)
    for some, face in ((change != 0, OURS), (change == 0, "white")):
        axis.plot(
            place[some],
            change[some],
            "o",
            markersize=3.5,
            markerfacecolor=face,
            markeredgecolor=OURS,
            linestyle="",
        )
    axis.margins(x=0.02, y=0.15)
    axis.locator_params(axis="y", nbins=4)


def _named(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """Adds `gene` (its name, with the id where two share it) and `group`."""
    group = pl.col(column).cast(pl.String) if column in table.columns else pl.lit("")
    if "gene_id" not in table.columns:
        return table.with_columns(gene=pl.col("gene_name"), group=group)
    shared = pl.col("gene_id").n_unique().over("gene_name") > 1
    symbol = pl.coalesce("gene_name", "gene_id")
    both = pl.format("{} {}", symbol, "gene_id")
    return table.with_columns(
        gene=pl.when(shared & pl.col("gene_name").is_not_null()).then(both).otherwise(symbol), group=group
    )


def _strongest(table: pl.DataFrame, by: str, most: int) -> tuple[list[str], int]:
    """Names with the largest absolute difference, the strongest first, and how many there are."""
    order = (
        table.group_by(by, maintain_order=True)
        .agg(pl.col("difference").abs().max().alias("size"))
        .sort("size", descending=True, maintain_order=True)
    )
    return order[by].head(most).to_list(), order.height
