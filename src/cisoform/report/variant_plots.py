"""Figure of variants: the alleles that move a gene most, beside random changes of the same peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cisoform.report.style import BASELINES, CEILING, OBSERVED, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 25
PREDICTED, CONTROL = "difference_accessibility_predicted", "control_mean_absolute"


def variants_figure(table: pl.DataFrame, column: str) -> Figure | None:
    """A row for every allele and gene, in the group where it does most; None where there is nothing to draw.

    Args:
        table: Effects as `variants` writes them; controls, intervals and predicted accessibility may be missing.
        column: Of the groups.
    """
    if not table.height:
        return None
    keys = ("variant", "ref", "alt", "gene_id")
    best = (
        table.sort(pl.col("difference").abs(), descending=True, maintain_order=True)
        .group_by(*keys, maintain_order=True)
        .first()
    )
    shown = best.head(MOST_ROWS)
    names = [
        f"{row['variant']} {_short(row['ref'])}>{_short(row['alt'])}  {row['gene_name'] or row['gene_id']}"
        + (f", {row[column]}" if row[column] else "")
        for row in shown.iter_rows(named=True)
    ]
    figure, (axes,) = new_figure(7.2, 1.5 + 0.24 * max(shown.height, 2))
    y = np.arange(shown.height, dtype=np.float64)
    axes.axvline(0, color=OBSERVED, linewidth=0.8)
    if CONTROL in shown.columns and shown[CONTROL].null_count() < shown.height:
        size = shown[CONTROL].cast(pl.Float64).to_numpy()
        label = "random changes of the peak, mean size"
        axes.barh(y, 2 * size, left=-size, height=0.7, color=CEILING, alpha=0.35, label=label)
    if "low" in shown.columns and shown["low"].null_count() < shown.height:
        low, high = (shown[name].cast(pl.Float64).to_numpy() for name in ("low", "high"))
        axes.hlines(y, low, high, color=OURS, linewidth=1.4, label="95 % over cells or pools")
    axes.plot(shown["difference"].to_numpy(), y, "o", color=OURS, markersize=5, label="accessibility fixed")
    if PREDICTED in shown.columns:
        values = shown[PREDICTED].cast(pl.Float64).to_numpy()
        axes.plot(values, y, "D", color=BASELINES[0], markersize=4, label="accessibility predicted anew")
    axes.set_yticks(y, names, fontsize=8)
    axes.set_ylim(shown.height - 0.4, -0.6)
    axes.set_xlabel("alternative - reference, predicted expression")
    more = f"; the strongest {shown.height} of {best.height:,}" if best.height > shown.height else ""
    figure.suptitle(f"alleles and genes in reach{more}", fontsize=11)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=8)
    clean(axes, "x")
    return figure


def _short(bases: str) -> str:
    """At most six bases of an allele."""
    return bases if len(bases) <= 6 else f"{bases[:4]}..{len(bases)}"
