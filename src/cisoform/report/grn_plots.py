"""Figures of a gene network: the strongest edges, the factors by evidence, precision and recall beside baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cisoform.report.style import BASELINES, CEILING, OBSERVED, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_EDGES = 80
RAISES, LOWERS = OURS, "#c05a6e"


@dataclass(frozen=True)
class DrawnEdge:
    """One edge: names, sign and score."""

    factor: str
    gene: str
    sign: int
    score: float


def network_figure(edges: Sequence[DrawnEdge], title: str) -> Figure:
    """The strongest edges: factors on the inner circle, targets outside, next to the factors that act on them.

    Places follow from the names and edges alone, so the same network is drawn the same.
    """
    shown = sorted(edges, key=lambda edge: (-edge.score, edge.factor, edge.gene))[:MOST_EDGES]
    figure, (axes,) = new_figure(8.0, 8.0)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(title, loc="left")
    factors = sorted({edge.factor for edge in shown})
    turn = {name: 2 * np.pi * row / max(len(factors), 1) for row, name in enumerate(factors)}
    place = {name: (0.45 * np.cos(angle), 0.45 * np.sin(angle)) for name, angle in turn.items()}
    outside = _outside(shown, turn)
    most = max((edge.score for edge in shown), default=1.0)
    for edge in shown:
        start, end = place[edge.factor], outside[edge.gene][:2]
        colour = RAISES if edge.sign > 0 else LOWERS
        width = 0.5 + 2.5 * edge.score / most
        axes.plot(*zip(start, end, strict=True), color=colour, linewidth=width, alpha=0.6, zorder=1)
    for name, (x, y) in place.items():
        axes.plot(x, y, "o", markersize=9, color=OBSERVED, zorder=2)
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
        axes.annotate(name, (x, y), (0, 8), textcoords="offset points", ha="center", fontsize=8, bbox=paper)
    for name, (x, y, angle) in outside.items():
        axes.plot(x, y, "o", markersize=4, color=CEILING, zorder=2)
        degrees = np.degrees(angle) % 360
        flip = 90 < degrees < 270
        axes.text(
            1.04 * np.cos(angle),
            1.04 * np.sin(angle),
            name,
            rotation=degrees + (180 if flip else 0),
            rotation_mode="anchor",
            ha="right" if flip else "left",
            va="center",
            fontsize=6,
        )
    for colour, label in ((RAISES, "raises"), (LOWERS, "lowers")):
        axes.plot([], [], color=colour, linewidth=2, label=label)
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    axes.set_xlim(-1.35, 1.35)
    axes.set_ylim(-1.35, 1.35)
    return figure


def _outside(shown: Sequence[DrawnEdge], turn: Mapping[str, float]) -> dict[str, tuple[float, float, float]]:
    """Targets on the unit circle, in the order of the mean direction of their factors: x, y, angle."""
    direction: dict[str, complex] = {}
    for edge in shown:
        direction[edge.gene] = direction.get(edge.gene, 0j) + np.exp(1j * turn[edge.factor])
    order = sorted(
        direction, key=lambda name: (round(float(np.angle(direction[name])) % (2 * np.pi), 6), name)
    )
    angles = {name: 2 * np.pi * row / max(len(order), 1) for row, name in enumerate(order)}
    return {name: (float(np.cos(a)), float(np.sin(a)), a) for name, a in angles.items()}


def factor_figure(names: Sequence[str], z: Sequence[float], called: Sequence[bool], most: int = 40) -> Figure:
    """z-scores of the factors that stand out most; those that act are filled."""
    known = [row for row in range(len(names)) if np.isfinite(z[row])]
    rows = sorted(known, key=lambda row: (-abs(z[row]), names[row]))[:most]
    rows.sort(key=lambda row: z[row])
    figure, (axes,) = new_figure(6.5, 1.0 + 0.2 * max(len(rows), 1))
    clean(axes, "x")
    for at, row in enumerate(rows):
        colour = RAISES if z[row] > 0 else LOWERS
        axes.barh(at, z[row], color=colour if called[row] else "white", edgecolor=colour, height=0.7)
    axes.set_yticks(range(len(rows)), [names[row] for row in rows], fontsize=8)
    axes.axvline(0, color=OBSERVED, linewidth=0.8)
    axes.set_xlabel("z: lowers expression < 0 < raises expression (filled: acts)")
    return figure


def precision_figure(
    curves: Mapping[str, Mapping[str, Sequence[float]]], chance: float, of: str = "listed edges"
) -> Figure:
    """Precision over recall, the model above its baselines; `of` says of what."""
    figure, (axes,) = new_figure(8.5, 4.5)
    clean(axes, "y")
    others = [name for name in curves if name != "model"]
    colours = {name: BASELINES[row % len(BASELINES)] for row, name in enumerate(others)}
    for name in (*others, "model"):
        line = curves[name]
        ours = name == "model"
        axes.plot(
            line["recall"],
            line["precision"],
            color=OURS if ours else colours[name],
            linewidth=2.2 if ours else 1.2,
            label=name,
        )
    axes.axhline(chance, color=CEILING, linestyle=":", label="chance")
    axes.set_xlabel(f"recall of {of}")
    axes.set_ylabel("precision")
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
