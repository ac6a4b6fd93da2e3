"""Figures as files: the same figure gives the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cisoform.genome.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write `PATH.png` and `PATH.svg` (without dates or random ids) and close the figure.

    Raises:
        InputError: If they cannot be written.
    """
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    metadata: dict[str, dict[str, Any]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    for suffix, about in metadata.items():
        with (
            mpl.rc_context({"svg.hashsalt": path.name}),
            atomic_write(path.with_name(f"{path.name}.{suffix}"), "wb") as handle,
        ):
            figure.savefig(handle, format=suffix, dpi=dpi, metadata=about)
    plt.close(figure)
