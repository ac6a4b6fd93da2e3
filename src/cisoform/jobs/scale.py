"""A scaling grid: every cell, kept as soon as it is whole, then the table, the figure, the fit and a page.

The folder holds `inputs.json` (what the grid is trained on), the data where they were simulated, `cells/`, and the
results `scaling.json`, `scaling.tsv`, `scaling.png`, `scaling.svg` and `scaling.html`. Running a grid again continues
it; the results are those of the grid that was run last, cells of other settings stay beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cisoform import __version__
from cisoform.benchmark.scaling import BASELINES, SCORE, best_baseline, fit_grid, reading
from cisoform.genome.files import write_json
from cisoform.jobs.regulation_predict import save_table
from cisoform.jobs.scale_cell import cells_of, finished, folder_of, key_of, run_cell
from cisoform.jobs.scale_data import ScaleData
from cisoform.jobs.scale_grid import Grid
from cisoform.report.scale_page import write_page
from cisoform.training.protocols import Interrupted

Update = Callable[[float, float, str], None]
Told = Callable[[Mapping[str, Any], int, int, float], None]
RESULT, TABLE, FIGURE, PAGE = "scaling.json", "scaling.tsv", "scaling", "scaling.html"


def seconds_of(grid: Grid, width: int) -> float:
    """About how long a cell takes on one idle CPU core: measured at widths 16 to 64 on the simulation of `tiny`."""
    step, fit_step, rest = 0.02 + 0.0006 * width, 0.008 + 0.0004 * width, 5.0 + 0.06 * width
    return grid.steps * step + grid.fit_steps * fit_step + rest


def missing_seconds(grid: Grid, data: ScaleData, out: Path, seed: int) -> tuple[int, float]:
    """How many cells of a grid are not finished yet, and about how long they take on a CPU core."""
    left = [
        cell
        for cell in cells_of(grid, seed)
        if finished(folder_of(cell, key_of(cell, grid, data), out / "cells")) is None
    ]
    return len(left), sum((seconds_of(grid, cell.width) for cell in left), start=0.0)


def run_scale(
    grid: Grid, data: ScaleData, out: Path, seed: int, device: str, update: Update, told: Told
) -> dict[str, Any]:
    """Train and score every cell that is not finished, and write the results.

    Args:
        grid: Which cells.
        data: Checked.
        out: Folder of the grid.
        seed: Of weights, order and choice of data.
        device: As everywhere.
        update: Is told how much of how much is done (seconds of the estimate), and what is under way.
        told: Is told each result, its number, how many there are, and the seconds that are left.

    Returns:
        What `scaling.json` then holds.

    Raises:
        InputError: If a cell cannot be trained or scored.
        Interrupted: After Ctrl-C in a training; the cell's checkpoint is kept.
    """
    cells = cells_of(grid, seed)
    total = sum(seconds_of(grid, cell.width) for cell in cells)
    done, spent, new, results = 0.0, 0.0, 0.0, []
    for number, cell in enumerate(cells, start=1):
        folder = folder_of(cell, key_of(cell, grid, data), out / "cells")
        result, weight = finished(folder), seconds_of(grid, cell.width)
        if result is None:
            begun = time.monotonic()
            tell = _teller(update, done, total, weight, cell.name)
            try:
                result = run_cell(cell, grid, data, folder, device, tell)
            except Interrupted as stop:
                text = str(stop).split(";")[0]
                raise Interrupted(
                    f"cell {cell.name}, {number} of {len(cells)}: {text}; the same command goes on from there"
                ) from None
            spent, new = spent + time.monotonic() - begun, new + weight
        done += weight
        update(done, total, "")
        told(result, number, len(cells), (total - done) * (spent / new if new else 1.0))
        results.append(result)
    return write_results(grid, data, results, out, seed)


_PARTS = {"pre-training": (0.0, 0.6), "encoding": (0.6, 0.1), "fitting": (0.7, 0.25), "scoring": (0.95, 0.05)}
"""Where in a cell each of its parts begins, and how much of it that is."""


def _teller(
    update: Update, done: float, total: float, weight: float, name: str
) -> Callable[[str, float], None]:
    def tell(what: str, share: float) -> None:
        first, length = _PARTS[what]
        update(done + weight * (first + length * share), total, f"{name} {what}")

    return tell


def write_results(
    grid: Grid, data: ScaleData, cells: Sequence[dict[str, Any]], out: Path, seed: int
) -> dict[str, Any]:
    """Fit, and write table, figure, page and JSON.

    Raises:
        InputError: If they cannot be written.
    """
    planes = fit_grid(cells)
    settings = grid.settings
    if not data.simulated:
        del settings["simulation"], settings["window"]
    result = {
        "grid": settings,
        "seed": seed,
        "simulated": data.simulated,
        "regions_hash": data.regions.hash,
        "genes_hash": data.genes.hash,
        "cisoform": __version__,
        "slopes": planes,
        "reading": reading(cells, planes, data.simulated),
        "seconds": {key: sum(cell["seconds"][key] for cell in cells) for key in ("all", "cpu")},
        "cells": list(cells),
    }
    save_table(pl.DataFrame([row_of(cell) for cell in cells]), out / TABLE)
    write_page(result, out / PAGE, out / FIGURE)
    write_json(out / RESULT, result)
    return result


def row_of(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell as a row of the table; scores are correlations per gene across groups on unseen chromosomes."""
    scores, first = cell["test"]["scores"], cell["pretraining"]
    low, high = scores["model"].get("gene_pearson_interval") or (None, None)
    rival, value = best_baseline(cell)
    return {
        **{key: cell[key] for key in ("name", "width", "share", "repeat", "seed")},
        "elementary_parameters": cell["parameters"]["elementary"],
        "parameters": cell["parameters"]["all"],
        **cell["data"],
        "steps": first["steps"],
        "loss": first["loss"],
        "loss_before_training": first["start_loss"],
        "level_correlation": first["level_correlation"],
        "bin_correlation": first["bin_correlation"],
        "fit_steps": cell["fit"]["steps"],
        "kept_step": cell["fit"]["kept_step"],
        "test_genes": cell["test"]["n_genes"],
        "test_groups": cell["test"]["n_groups"],
        "score": scores["model"][SCORE],
        "score_low": low,
        "score_high": high,
        "promoter_alone": scores["promoter_alone"][SCORE],
        **{name: scores[name][SCORE] for name in BASELINES},
        "best_baseline": rival,
        "best_baseline_score": value,
        **{f"seconds_{key}": value for key, value in cell["seconds"].items()},
        "device": cell["device"],
    }
