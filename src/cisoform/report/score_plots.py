"""Figure of one gene's locus: accessibility and the score of every peak, variant above variant, round the TSS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cisoform.report.style import BASELINES, CEILING, OBSERVED, OURS, clean, new_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = npt.NDArray[np.floating[Any]]
RECEIVED = ("released", "exact", "rollout")
"""Attention received: 1 is what a peak gets when all look everywhere alike."""
_ROW, _FOOT = 1.05, 0.55


@dataclass(frozen=True)
class LocusScores:
    """What is drawn.

    Attributes:
        title: Gene and group.
        distance_bp: Of every peak to the TSS on the gene's strand; None = not known, peaks are numbered.
        tss_peak: Index of the peak nearest the TSS.
        accessibility: Mean signal of every peak.
        scores: By name of the variant.
        marked: Measured tracks or peaks, by name; drawn below.
    """

    title: str
    distance_bp: Values | None
    tss_peak: int
    accessibility: Values
    scores: Mapping[str, Values]
    marked: Mapping[str, Values]


def locus_figure(drawing: LocusScores) -> Figure:
    """Rows above one another: accessibility, every variant, every measurement."""
    rows = [("accessibility", drawing.accessibility, CEILING)]
    rows += [(name, values, OURS) for name, values in drawing.scores.items()]
    colours = cycle(BASELINES)
    rows += [(name, values, next(colours)) for name, values in drawing.marked.items()]
    heights = [_ROW] * len(rows)
    heights[-1] += _FOOT
    figure, axes = new_rows(8.0, heights)
    place: Values = np.arange(len(drawing.accessibility), dtype=np.float64)
    if drawing.distance_bp is not None:
        place = drawing.distance_bp / 1000
    for axis, (name, values, colour) in zip(axes, rows, strict=True):
        _stems(axis, place, values, colour, drawing, 1.0 if name in RECEIVED else 0.0)
        axis.set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center", fontsize=9)
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    axes[0].set_title(drawing.title, loc="left")
    axes[-1].set_xlabel(
        "peak, in genomic order (line: nearest the TSS)"
        if drawing.distance_bp is None
        else "kb from the TSS, on the gene's strand (hollow: closed peaks)"
    )
    return figure


def _stems(axes: Axes, place: Values, values: Values, colour: str, drawing: LocusScores, base: float) -> None:
    """One row; stems stand on `base`."""
    clean(axes, "y")
    known = np.isfinite(values)
    tss = float(place[drawing.tss_peak]) if drawing.distance_bp is None else 0.0
    axes.axvline(tss, color=OBSERVED, linewidth=0.8, linestyle=":")
    axes.axhline(base, color=OBSERVED, linewidth=0.6)
    axes.vlines(place[known], base, values[known], color=colour, linewidth=1.4)
    for open_ in (True, False):
        some = known & ((drawing.accessibility > 0) == open_)
        face = colour if open_ else "white"
        axes.plot(
            place[some],
            values[some],
            "o",
            markersize=3.2,
            markerfacecolor=face,
            markeredgecolor=colour,
            linestyle="",
        )
    axes.margins(x=0.02)
