"""The page of a scaling grid: what it shows, the figure, every cell, the fit and its limits. Takes `scaling.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cisoform.benchmark.scaling import AXES, LOSS, SCORE, best_baseline, score_of
from cisoform.report.files import save_figure
from cisoform.report.page import Page
from cisoform.report.scale_plots import scaling_figure, short

CAPTION = (
    "Loss of pre-training on windows of the validation chromosomes (dashed: before the first step), and the downstream "
    "score on genes of unseen chromosomes (whiskers: 95 % intervals over genes; dashed: the best of four baselines "
    "fitted on the same share of the genes). Every cell takes the same number of steps."
)
NAMES = {LOSS: "log10 of the loss", SCORE: "downstream score"}


def write_page(result: Mapping[str, Any], page: Path, figure: Path) -> None:
    """Write the page, and the figure as `FIGURE.png` and `FIGURE.svg`.

    Raises:
        InputError: If they cannot be written.
    """
    cells = result["cells"]
    save_figure(scaling_figure(cells), figure)
    found = Page(
        "Scaling of CREformer",
        f"{len(cells)} trainings of both stages: widths, shares of the data, and what they reach.",
        f"Written by cisoform {result['cisoform']}.",
    )
    found.section("What it shows")
    first, *others = result["reading"]
    found.warning(_sentence(first))
    found.items([_sentence(line) for line in others])
    found.figure(scaling_figure(cells), CAPTION, "Loss and downstream score against parameters and data")
    _cells(found, result)
    _fit(found, result)
    _settings(found, result)
    found.write(page)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _cells(page: Page, result: Mapping[str, Any]) -> None:
    page.section("Every cell")
    rows = []
    for cell in result["cells"]:
        low_high = cell["test"]["scores"]["model"].get("gene_pearson_interval")
        rival, value = best_baseline(cell)
        rows.append(
            [
                cell["name"],
                short(cell["parameters"]["all"]),
                short(cell["data"]["tokens"]),
                cell["data"]["genes"],
                cell["pretraining"]["loss"],
                score_of(cell),
                "–" if low_high is None else f"{low_high[0]:.3f} to {low_high[1]:.3f}",
                score_of(cell, "promoter_alone"),
                value,
                rival,
                f"{cell['seconds']['all']:.0f} s",
            ]
        )
    columns = ("cell", "parameters", "tokens", "genes", "loss", "score", "95 % over genes")
    page.table(
        [*columns, "promoter alone", "best baseline", "which", "time"],
        rows,
        "Score: Pearson per gene across groups on unseen chromosomes, 0 = the mean of the gene. `scaling.tsv` has all "
        "baselines.",
    )


def _fit(page: Page, result: Mapping[str, Any]) -> None:
    page.section("Slopes")
    page.text(
        "A plane through all cells: log10 of the loss, or the score, over log10 of parameters and log10 of data. "
        "Intervals are a bootstrap of its residuals: they hold what the plane misses between the cells of this grid, "
        "not another genome, and other seeds only as far as cells were repeated."
    )
    rows = []
    for name, label in NAMES.items():
        for axis in AXES:
            found = result["slopes"][name][axis]
            interval = found["interval"]
            rows.append(
                [
                    label,
                    axis,
                    "–" if interval is None else f"{found['slope']:+.3f}",
                    found["why"] if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}",
                ]
            )
    page.table(["of", "per tenfold", "slope", "95 % interval"], rows)


def _settings(page: Page, result: Mapping[str, Any]) -> None:
    page.section("How it was made")
    grid, seconds = result["grid"], result["seconds"]
    page.facts(
        {
            "grid": f"{grid['name']}: widths {', '.join(map(str, grid['widths']))}; shares "
            f"{', '.join(f'{share:.3g}' for share in grid['shares'])}; {grid['repeats']} of each cell",
            "steps": f"{grid['steps']:,} of pre-training, {grid['fit_steps']:,} of the fit, in every cell",
            "rates at width 32": f"{grid['lr']:g} and {grid['fit_lr']:g}, falling with the square root of the width",
            "data": "simulated" if result["simulated"] else "given",
            "regions, SHA-256": result["regions_hash"],
            "genes, SHA-256": result["genes_hash"],
            "seed": result["seed"],
            "devices": ", ".join(sorted({cell["device"] for cell in result["cells"]})),
            "time of all cells": f"{seconds['all']:.0f} s, {seconds['cpu']:.0f} s of CPU",
        }
    )
