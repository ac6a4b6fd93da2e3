"""Figures of a pre-trained Elementary: scores of what was hidden and preserved, and tracks along a locus.

Scores are those of `benchmark.elementary`. Positions are 0-based and half-open; signals of bins are the inverse
hyperbolic sine of their means (as the scores read them) and their axes are labelled in units of the track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cisoform.report.compare import number
from cisoform.report.marks import Marks, rows_of_marks
from cisoform.report.style import BASELINES, OBSERVED, OURS, clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.floating[Any]]
GIVEN = {
    "anchor_alone": "model, from accessibility alone",
    "other_tracks": "model, from all other tracks",
    "dna_alone": "model, from DNA alone",
}
SHOWN_FILL, TRUE_FILL = "#7a8594", "#b9c2cc"
MOST_TICKS = 4


def hidden_marks(part: Mapping[str, Any], tracks: Sequence[str]) -> list[Marks]:
    """Marks of what was hidden in one part: share of bases right, then correlation of each track's level."""
    bases, levels = part["hidden"]["bases"]["accuracy"], part["hidden"]["tracks"]
    marks = []
    for name in ("model", "neighbour", "majority"):
        of_tracks = [
            number(levels[t]["correlation"].get(name)) if t in levels else float("nan") for t in tracks
        ]
        marks.append(Marks(name, [number(bases.get(name)), *of_tracks], ours=name == "model"))
    return marks


def bin_score(found: Mapping[str, Any]) -> tuple[float, float]:
    """Correlation of a preserved track's bins: the model's, and that of the mean of the training samples.

    Both are over the bins that have such a mean, where there are any; else the model's over all bins.
    """
    both = found["pearson_where_mean"] if found["n_bins_with_mean"] else found["pearson"]
    return number(both["model"]), number(found["pearson_where_mean"].get("training_mean"))


def preserved_marks(part: Mapping[str, Any], tracks: Sequence[str]) -> list[Marks]:
    """Marks of the bins of every track that was left out of the input, by what was shown instead."""
    preserved = part["preserved"]
    marks = []
    for given, label in GIVEN.items():
        values = [
            bin_score(preserved[name][given])[0] if given in preserved.get(name, {}) else float("nan")
            for name in tracks
        ]
        if np.isfinite(values).any():
            marks.append(Marks(label, values, ours=True))
    means = [training_mean(preserved.get(name, {})) for name in tracks]
    if np.isfinite(means).any():
        marks.append(Marks("mean of the training samples", means))
    return marks


def training_mean(by: Mapping[str, Any]) -> float:
    """Score of the mean of the training samples for a track, whatever was shown to the model."""
    return max((bin_score(found)[1] for found in by.values()), default=float("nan"))


def score_panels(
    panels: Sequence[Axes], titles: Sequence[str], rows: Sequence[str], marks: Sequence[Sequence[Marks]]
) -> None:
    """One panel of rows per part, the names of the rows at the first alone."""
    for index, (axes, title, of_part) in enumerate(zip(panels, titles, marks, strict=True)):
        rows_of_marks(axes, rows, of_part, "", title)
        if index:
            axes.tick_params(axis="y", labelleft=False, length=0)


@dataclass(frozen=True)
class TrackDrawing:
    """One track along a locus, per bin, arcsinh of the mean signal.

    Attributes:
        name: The track.
        observed: What was measured.
        predicted: What the model says without having seen it; None for a track that it was shown.
        training_mean: Mean of the training samples; None where there are none.
    """

    name: str
    observed: FloatArray
    predicted: FloatArray | None = None
    training_mean: FloatArray | None = None


@dataclass(frozen=True)
class GeneDrawing:
    """A gene: its name, strand and exons (start, end), any order."""

    name: str
    strand: str
    exons: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class LocusDrawing:
    """A stretch of one sample: tracks by bin, and what lies there.

    Attributes:
        chrom: Chromosome.
        start: First base.
        bin_bp: Width of a bin.
        sample: Of the signals.
        part: Which of the four parts it is from.
        tracks: The shown ones first.
        genes: That overlap it.
        peaks: That overlap it; None = not known.
    """

    chrom: str
    start: int
    bin_bp: int
    sample: str
    part: str
    tracks: Sequence[TrackDrawing]
    genes: Sequence[GeneDrawing] = field(default_factory=tuple)
    peaks: Sequence[tuple[int, int]] | None = None

    @property
    def end(self) -> int:
        """Past the last base."""
        return self.start + self.bin_bp * len(self.tracks[0].observed)


def locus_heights(drawing: LocusDrawing) -> list[float]:
    """Inches of the rows of `locus`: the tracks, genes where there are any, peaks where they are known."""
    heights = [0.95] * len(drawing.tracks)
    if drawing.genes:
        heights.append(0.22 + 0.34 * len(lanes(drawing.genes, 0.12 * (drawing.end - drawing.start))))
    if drawing.peaks is not None:
        heights.append(0.3)
    return heights


def locus(rows: Sequence[Axes], drawing: LocusDrawing) -> None:
    """Tracks above one another, genes and peaks beneath; `rows` as many as `locus_heights` says."""
    edges = drawing.start + drawing.bin_bp * np.arange(len(drawing.tracks[0].observed) + 1.0)
    for axes, track in zip(rows, drawing.tracks, strict=False):
        _track(axes, edges, track)
    rest = list(rows[len(drawing.tracks) :])
    if drawing.genes:
        _genes(rest.pop(0), drawing)
    if drawing.peaks is not None:
        _peaks(rest.pop(0), drawing)
    for axes in rows[:-1]:
        axes.tick_params(axis="x", labelbottom=False, length=0)
    rows[-1].set_xlim(drawing.start, drawing.end)
    rows[-1].set_xlabel(f"position on {drawing.chrom}, bp")
    rows[-1].ticklabel_format(axis="x", style="plain", useOffset=False)
    rows[-1].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    rows[-1].locator_params(axis="x", nbins=6)


def _track(axes: Axes, edges: FloatArray, track: TrackDrawing) -> None:
    shown = track.predicted is None
    axes.stairs(track.observed, edges, fill=True, color=SHOWN_FILL if shown else TRUE_FILL)
    if track.training_mean is not None and not shown:
        axes.stairs(track.training_mean, edges, color=BASELINES[0], linewidth=1.0, baseline=None)
    if track.predicted is not None:
        axes.stairs(track.predicted, edges, color=OURS, linewidth=1.5, baseline=None)
    drawn = [v for v in (track.observed, track.predicted, track.training_mean) if v is not None]
    top = max(float(np.nanmax(values)) for values in drawn)
    axes.set_ylim(0, max(top, 0.1) * 1.08)
    ticks = signal_ticks(max(top, 0.1))
    axes.set_yticks([np.arcsinh(value) for value in ticks], [f"{value:g}" for value in ticks])
    said = "shown to the model" if shown else "predicted"
    axes.set_ylabel(f"{track.name}\n({said})", rotation=0, ha="right", va="center", fontsize=9.5)
    clean(axes)


def signal_ticks(top: float) -> list[float]:
    """Round signal values, from 0, whose inverse hyperbolic sines reach up to `top`; at most four."""
    known = [0.0, *(factor * 10.0**power for power in range(-2, 7) for factor in (1, 2, 5))]
    inside = [value for value in known if np.arcsinh(value) <= top]
    picked = [0.0]
    for value in inside[::-1]:
        if len(picked) < MOST_TICKS and all(
            abs(np.arcsinh(value) - np.arcsinh(other)) >= 0.22 * top for other in picked
        ):
            picked.append(value)
    return sorted(picked)


def lanes(genes: Sequence[GeneDrawing], gap_bp: float) -> list[list[GeneDrawing]]:
    """Genes in as few rows as it takes for none to come nearer than `gap_bp` to the next of its row."""
    rows: list[list[GeneDrawing]] = []
    for gene in sorted(genes, key=lambda item: min(start for start, _ in item.exons)):
        start = min(start for start, _ in gene.exons)
        for row in rows:
            if max(end for _, end in row[-1].exons) + gap_bp <= start:
                row.append(gene)
                break
        else:
            rows.append([gene])
    return rows


def _genes(axes: Axes, drawing: LocusDrawing) -> None:
    width = drawing.end - drawing.start
    rows = lanes(drawing.genes, 0.12 * width)
    for lane, row in enumerate(rows):
        height = len(rows) - 1 - lane
        for gene in row:
            _gene(axes, gene, height, drawing, 0.012 * width)
    axes.set_ylim(-0.45, len(rows) - 0.15)
    axes.set_yticks([])
    axes.set_ylabel("genes", rotation=0, ha="right", va="center", fontsize=9.5)
    axes.spines["left"].set_visible(False)
    clean(axes)


def _gene(axes: Axes, gene: GeneDrawing, height: int, drawing: LocusDrawing, reach: float) -> None:
    start, end = min(s for s, _ in gene.exons), max(e for _, e in gene.exons)
    low, high = max(start, drawing.start), min(end, drawing.end)
    axes.plot([low, high], [height, height], color=OBSERVED, linewidth=1)
    for left, right in gene.exons:
        left, right = max(left, drawing.start), min(right, drawing.end)
        if left < right:
            axes.barh(height, right - left, left=left, height=0.32, color=OBSERVED)
    forward = gene.strand != "-"
    tss, way = (start, 1) if forward else (end, -1)
    if drawing.start <= tss <= drawing.end:
        axes.annotate(
            "",
            (tss + way * reach * 1.6, height + 0.36),
            (tss, height + 0.36),
            arrowprops={"arrowstyle": "->", "color": OBSERVED, "shrinkA": 0, "shrinkB": 0},
        )
        axes.plot([tss, tss], [height, height + 0.36], color=OBSERVED, linewidth=1)
    at_end = high < drawing.end - 0.1 * (drawing.end - drawing.start)
    axes.annotate(
        gene.name,
        (high if at_end else low, height),
        xytext=(4 if at_end else -4, 0),
        textcoords="offset points",
        ha="left" if at_end else "right",
        va="center",
        fontsize=9,
        fontstyle="italic",
        annotation_clip=False,
    )


def _peaks(axes: Axes, drawing: LocusDrawing) -> None:
    assert drawing.peaks is not None
    for start, end in drawing.peaks:
        axes.barh(0, end - start, left=start, height=0.7, color=SHOWN_FILL)
    axes.set_ylim(-0.7, 0.7)
    axes.set_yticks([])
    axes.set_ylabel("peaks", rotation=0, ha="right", va="center", fontsize=9.5)
    axes.spines["left"].set_visible(False)
    clean(axes)
