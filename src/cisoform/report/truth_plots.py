"""Figures of readings beside planted answers: predicted against planted changes, and masters by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cisoform.report.style import BASELINES, CEILING, OBSERVED, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = npt.NDArray[np.floating[Any]]
_MOST_POINTS = 4000


def change_scatter(planted: Values, predicted: Values, what: str = "change") -> Figure:
    """Predicted against planted change of genes in groups; points that are 0 in both are left out.

    Of very many points an even choice is drawn.
    """
    some = np.flatnonzero((planted != 0) | (predicted != 0))
    some = some[np.linspace(0, len(some) - 1, min(len(some), _MOST_POINTS)).round().astype(int)]
    planted, predicted = planted[some], predicted[some]
    figure, (axes,) = new_figure(4.8, 4.2)
    axes.axhline(0, color=CEILING, linewidth=0.8)
    axes.axvline(0, color=CEILING, linewidth=0.8)
    right = planted * predicted > 0
    for use, colour, name in ((right, OURS, "right direction"), (~right, BASELINES[0], "wrong, or none")):
        axes.plot(planted[use], predicted[use], "o", markersize=2.5, alpha=0.5, color=colour, label=name)
    axes.set_xlabel(f"planted {what}")
    axes.set_ylabel(f"predicted {what}")
    axes.legend(frameon=False, fontsize=8)
    clean(axes)
    return figure


def masters_figure(
    value: Values, labels: Sequence[str], factors: Sequence[str], planted: Mapping[str, Sequence[str]]
) -> Figure:
    """How much of a master each factor is in each label (labels, factors), with rings round the planted ones."""
    figure, (axes,) = new_figure(2.6 + 0.3 * len(factors), 1.7 + 0.3 * len(labels))
    limit = float(np.abs(value).max(initial=1e-9))
    image = axes.imshow(value, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for row, label in enumerate(labels):
        for name in planted.get(label, ()):
            if name in factors:
                axes.plot(
                    factors.index(name), row, "o", markersize=10, markerfacecolor="none", color=OBSERVED
                )
    axes.set_xticks(range(len(factors)), list(factors), rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), list(labels), fontsize=9)
    figure.colorbar(image, ax=axes, label="coefficient", shrink=0.8)
    return figure
