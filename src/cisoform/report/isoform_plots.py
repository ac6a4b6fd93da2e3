"""Figures of an isoform evaluation. Each function draws on the axes it is given and returns them.

Expression is log1p TPM throughout; scores are those of `benchmark.evaluation`.
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


def learning_curve(
    axes: Axes,
    steps: Sequence[float],
    train_loss: Sequence[float],
    valid_steps: Sequence[float],
    valid_score: Sequence[float],
    *,
    score: str = "R²",
    label: str = "validation R², mean over tissues",
    kept: int | None = None,
) -> Axes:
    """Training loss on the left scale and the validation score on the right one, over steps.

    Args:
        axes: Where to draw.
        steps: Of the losses.
        train_loss: Losses.
        valid_steps: Of the scores.
        valid_score: Scores of the validation part.
        score: What they are, for the title.
        label: Of their axis.
        kept: Which validation chose the weights; None = the one with the highest score.
    """
    axes.plot(steps, train_loss, color=CEILING, linewidth=1.4, label="training loss")
    axes.set_xlabel("step")
    axes.set_ylabel("training loss", color=CEILING)
    right = axes.twinx()
    right.plot(
        valid_steps,
        valid_score,
        color=OURS,
        marker="o",
        markersize=3.5,
        linewidth=1.6,
        label=f"validation {score}",
    )
    right.set_ylabel(label, color=OURS)
    right.spines["top"].set_visible(False)
    if np.isfinite(valid_score).any():
        best = int(np.nanargmax(valid_score)) if kept is None else kept
        right.plot(
            valid_steps[best], valid_score[best], marker="o", markersize=9, fillstyle="none", color=OURS
        )
        axes.set_title(
            f"kept: step {valid_steps[best]:,.0f}, validation {score} {valid_score[best]:.3f}", color=OURS
        )
    return clean(axes)


def observed_against_predicted(axes: Axes, observed: FloatArray, predicted: FloatArray, title: str) -> Axes:
    """One point a transcript, with the line of equality; points without a label are left out."""
    known = np.isfinite(observed) & np.isfinite(predicted)
    axes.plot(predicted[known], observed[known], ".", color=OURS, alpha=0.35, markersize=4, rasterized=False)
    low = float(min(observed[known].min(), predicted[known].min())) if known.any() else 0.0
    high = float(max(observed[known].max(), predicted[known].max())) if known.any() else 1.0
    axes.plot([low, high], [low, high], color=CEILING, linewidth=1, linestyle="--")
    axes.set_xlabel("predicted, log1p TPM")
    axes.set_ylabel("observed, log1p TPM")
    axes.set_title(title)
    return clean(axes)


def tissue_scores(
    axes: Axes,
    ours: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Mapping[str, Mapping[str, Any]]],
    metric: str = "r2",
) -> Axes:
    """A row per tissue: our score with its interval, each baseline as a mark, the replicate ceiling as a bar.

    `ours` is the `tissues` part of an evaluation, `baselines` its `baselines` part; a baseline whose name
    begins with "ceiling" is drawn as a limit.
    """
    names = list(ours)
    rows = np.arange(len(names))[::-1]
    drawn = 0
    for name, scores in baselines.items():
        values = np.array([_value(scores.get(tissue), metric) for tissue in names])
        if not np.isfinite(values).any():
            continue
        if name.startswith("ceiling"):
            axes.scatter(values, rows, marker="|", s=220, color=CEILING, linewidths=2.5, label=name, zorder=2)
            continue
        axes.scatter(
            values, rows, marker="D", s=22, color=BASELINES[drawn % len(BASELINES)], label=name, zorder=3
        )
        drawn += 1
    values = np.array([_value(ours[tissue], metric) for tissue in names])
    for row, tissue in zip(rows, names, strict=True):
        low_high = ours[tissue].get(f"{metric}_ci")
        if low_high and all(bound is not None for bound in low_high):
            axes.plot(low_high, [row, row], color=OURS, linewidth=2.2, solid_capstyle="round", zorder=4)
    axes.scatter(values, rows, s=46, color=OURS, label="this model, 95 % interval", zorder=5)
    axes.set_yticks(rows, names)
    axes.set_xlabel({"r2": "R²", "spearman": "Spearman correlation"}.get(metric, metric))
    axes.axvline(0, color="#c5ccd4", linewidth=1, zorder=1)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    return clean(axes, grid="x")


def _value(scores: Mapping[str, Any] | None, metric: str) -> float:
    value = None if scores is None else scores.get(metric)
    return float("nan") if value is None else float(value)


def score_bars(axes: Axes, rows: Sequence[tuple[str, float, float | None]], label: str) -> Axes:
    """Horizontal bars `(name, value, chance level or None)`; the chance level is a tick across the bar."""
    heights = np.arange(len(rows))[::-1]
    for height, (name, value, chance) in zip(heights, rows, strict=True):
        colour = OURS if name.startswith("this model") else BASELINES[0]
        axes.barh(height, value, height=0.55, color=colour)
        axes.annotate(f"{value:.3f}", (value, height), xytext=(4, 0), textcoords="offset points", va="center")
        if chance is not None and np.isfinite(chance):
            axes.plot([chance, chance], [height - 0.38, height + 0.38], color=OBSERVED, linewidth=2)
    axes.set_yticks(heights, [name for name, _, _ in rows])
    axes.set_xlabel(label)
    axes.set_xlim(0, 1.0)
    return clean(axes)


@dataclass(frozen=True)
class IsoformDrawing:
    """What is drawn of one transcript: genomic coordinates, 0-based half-open, and expression per tissue."""

    transcript_id: str
    strand: str
    exons: Sequence[tuple[int, int]]
    cds: tuple[int, int] | None
    observed: FloatArray
    predicted: FloatArray


def gene_structure(axes: Axes, isoforms: Sequence[IsoformDrawing]) -> Axes:
    """Exons as boxes (coding part taller), introns as lines, an arrow at each start site."""
    low = min(start for item in isoforms for start, _ in item.exons)
    high = max(end for item in isoforms for _, end in item.exons)
    for lane, item in enumerate(isoforms):
        height = len(isoforms) - 1 - lane
        starts, ends = [s for s, _ in item.exons], [e for _, e in item.exons]
        axes.plot([min(starts), max(ends)], [height, height], color=CEILING, linewidth=1, zorder=1)
        for start, end in item.exons:
            axes.barh(height, end - start, left=start, height=0.26, color="#9fc3cf", zorder=2)
            if item.cds:
                left, right = max(start, item.cds[0]), min(end, item.cds[1])
                if left < right:
                    axes.barh(height, right - left, left=left, height=0.5, color=OURS, zorder=3)
        forward = item.strand != "-"
        tss = min(starts) if forward else max(ends)
        reach = (high - low) * 0.035 * (1 if forward else -1)
        axes.annotate(
            "",
            (tss + reach, height + 0.36),
            (tss, height + 0.36),
            arrowprops={"arrowstyle": "->", "color": OBSERVED},
        )
        axes.plot([tss, tss], [height, height + 0.36], color=OBSERVED, linewidth=1)
    axes.set_yticks(range(len(isoforms)), [item.transcript_id for item in reversed(isoforms)])
    margin = (high - low) * 0.05
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(-0.6, len(isoforms) - 0.3)
    axes.set_xlabel("position on the chromosome, bp")
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.locator_params(axis="x", nbins=4)
    return clean(axes)


def gene_expression(axes: Axes, isoforms: Sequence[IsoformDrawing], tissues: Sequence[str]) -> Axes:
    """Per isoform a row, per tissue a pair of bars: observed (dark) and predicted (ours), log1p TPM."""
    n_tissues = len(tissues)
    for lane, item in enumerate(isoforms):
        base = len(isoforms) - 1 - lane
        top = float(np.nanmax([np.nanmax(np.r_[i.observed, i.predicted, 1e-6]) for i in isoforms]))
        for column in range(n_tissues):
            for offset, values, colour in ((-0.2, item.observed, OBSERVED), (0.2, item.predicted, OURS)):
                value = values[column]
                if np.isfinite(value):
                    axes.bar(
                        column + offset,
                        0.72 * max(value, 0) / top,
                        bottom=base - 0.3,
                        width=0.38,
                        color=colour,
                    )
        axes.plot([-0.5, n_tissues - 0.5], [base - 0.3, base - 0.3], color="#c5ccd4", linewidth=0.8)
    axes.set_xticks(range(n_tissues), tissues, rotation=90 if n_tissues > 6 else 0)
    axes.set_yticks([])
    axes.set_ylim(-0.6, len(isoforms) - 0.3)
    axes.set_xlim(-0.6, n_tissues - 0.4)
    axes.plot([], [], color=OBSERVED, linewidth=6, label="observed")
    axes.plot([], [], color=OURS, linewidth=6, label="predicted")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=9)
    axes.spines["left"].set_visible(False)
    return clean(axes)
