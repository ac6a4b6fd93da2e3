"""Figures of a fitted CREformer: scores per gene beside baselines, and single genes across cell types.

Expression is on the data set's scale (log1p); matrices are (groups, genes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cisoform.report.style import BASELINES, CEILING, OBSERVED, OURS, clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.floating[Any]]
LABELS = {
    "model": "model",
    "promoter_alone": "model, promoter peak only",
    "gene_mean": "gene mean",
    "window_sum": "window sum",
    "ridge": "ridge on accessibility",
    "ridge_delta": "gene mean + ridge",
    "ceiling": "attainable ceiling",
    "model_half": "model, half the depth",
    "model_double": "model, double the depth",
}
"""Names of predictors as readers see them."""


def label(name: str) -> str:
    """The reader's name of a predictor."""
    return LABELS.get(name, name)


@dataclass(frozen=True)
class GenesDrawing:
    """Some genes across groups.

    Attributes:
        part: Which part they are of.
        names: Of the genes.
        groups: Cell types, pools or cells.
        observed: (groups, genes).
        predicted: By predictor, (groups, genes); "model" is the first.
        unit: Of the expression.
    """

    part: str
    names: Sequence[str]
    groups: Sequence[str]
    observed: FloatArray
    predicted: Mapping[str, FloatArray]
    unit: str = "log1p"

    def correlation(self, predictor: str, gene: int) -> float:
        """Pearson of a gene across the groups; NaN where truth or prediction is constant."""
        truth, guess = self.observed[:, gene], self.predicted[predictor][:, gene]
        if np.ptp(truth) < 1e-9 or np.ptp(guess) < 1e-9:
            return float("nan")
        return float(np.corrcoef(truth, guess)[0, 1])


def correlation_curves(axes: Axes, per_gene: Mapping[str, FloatArray]) -> Axes:
    """For every predictor the share of genes whose correlation is at least x; NaN genes are left out."""
    drawn = 0
    for name, values in per_gene.items():
        known = np.sort(values[np.isfinite(values)])
        if not len(known):
            continue
        share = 1 - np.arange(len(known) + 1) / len(known)
        x = np.concatenate([[-1.0], known])
        if name in ("model", "ceiling"):
            colour, width = (OURS, 2.4) if name == "model" else (CEILING, 1.6)
        else:
            colour, width = BASELINES[drawn % len(BASELINES)], 1.4
            drawn += 1
        style = "--" if name == "ceiling" else "-"
        axes.step(
            [*x, 1.0],
            [*share, 0.0],
            where="post",
            color=colour,
            linewidth=width,
            linestyle=style,
            label=f"{label(name)} (median {np.median(known):.2f})",
            zorder=5 if name == "model" else 3,
        )
    axes.axvline(0, color="#c5ccd4", linewidth=1, zorder=1)
    axes.set_xlim(-1, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("Pearson correlation of a gene across groups")
    axes.set_ylabel("share of genes with at least this")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9.5)
    return clean(axes, grid="y")


def centred(values: FloatArray) -> FloatArray:
    """Values minus the mean of their gene over the groups."""
    return np.asarray(values - values.mean(axis=0, keepdims=True))


def heat_maps(panels: Sequence[Axes], drawing: GenesDrawing, predictors: Sequence[str]) -> Any:
    """Observed, then each predictor: a row a gene, a column a group, differences to the gene's own mean.

    All share one colour scale, whose limit is the 98th percentile of the observed differences; returns the image
    that a colour bar can be made of.
    """
    matrices = [centred(drawing.observed), *(centred(drawing.predicted[name]) for name in predictors)]
    limit = max(float(np.quantile(np.abs(matrices[0]), 0.98)), 1e-3)
    image = None
    for axes, values, title in zip(panels, matrices, ["observed", *map(label, predictors)], strict=True):
        image = axes.imshow(
            values.T, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        axes.set_title(title)
        axes.set_xticks(range(len(drawing.groups)), drawing.groups, rotation=90, fontsize=9)
        axes.set_yticks(range(len(drawing.names)), drawing.names, fontsize=9)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
    for axes in list(panels)[1:]:
        axes.tick_params(axis="y", labelleft=False)
    return image


def gene_scatter(axes: Axes, drawing: GenesDrawing, gene: int) -> Axes:
    """One gene: a point per group, predicted against observed on one scale, with the line of equality."""
    truth, guess = drawing.observed[:, gene], drawing.predicted["model"][:, gene]
    low, high = float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))
    margin = 0.08 * max(high - low, 1e-3)
    axes.plot([low, high], [low, high], color=CEILING, linewidth=1, linestyle="--", zorder=1)
    axes.scatter(guess, truth, s=26, color=OURS, edgecolors="white", linewidths=0.6, zorder=3)
    if np.ptp(guess) > 1e-9:
        slope, offset = np.polyfit(guess, truth, 1)
        ends = np.array([guess.min(), guess.max()])
        axes.plot(ends, slope * ends + offset, color=OBSERVED, linewidth=1, zorder=2)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    found = drawing.correlation("model", gene)
    axes.set_title(f"{drawing.names[gene]}  r = {found:.2f}" if found == found else drawing.names[gene])
    axes.locator_params(nbins=4)
    axes.set_xlabel("predicted")
    return clean(axes)
