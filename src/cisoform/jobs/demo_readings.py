"""The readings of the demo: scores, links and knock-outs of the model that it fitted, with the planted truth beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cisoform.data.genes import GenesDataset
from cisoform.jobs import regulation_benchmark
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.demo_stage import Stage
from cisoform.jobs.planted import Planted
from cisoform.jobs.planted_readings import choose_readings
from cisoform.report.page import Page
from cisoform.report.readings_page import add_knockout_scatter, add_truth_section
from cisoform.report.score_plots import LocusScores, locus_figure

SMOKE_FACTORS = 2


@dataclass(frozen=True)
class Readings:
    """What the section shows.

    Attributes:
        content: As `benchmark regulation` writes it.
        locus: A held-out gene with its planted effects; None = no planted effect acts on a gene that was read.
        knockout: Rows of the test chromosomes: tf, gene_id, group, predicted, delta_log1p_cp10k.
        commands: That would do the same by hand.
    """

    content: dict[str, Any]
    locus: LocusScores | None
    knockout: pl.DataFrame
    commands: tuple[str, ...]


def read(stage: Stage, folder: Path, seed: int) -> Readings:
    """Score the readings of `folder/fitted` on `folder/genes` against the simulation in `folder/input`.

    Raises:
        InputError: If a reading cannot be done.
    """
    planted = Planted.open(
        CREformerModel.load(folder / "fitted", stage.device),
        GenesDataset.open(folder / "genes"),
        folder / "input",
        cache=folder / "cache",
        variants=("ablation", "exact"),
        edits=("around motif, p 1e-5",),
        most_factors=SMOKE_FACTORS if stage.smoke else None,
        n_controls=0,
        seed=seed,
    )
    with stage.timed("readings", "reading links and knock-outs, beside the planted truth"):
        measures, seconds = regulation_benchmark.run_readings(planted, choose_readings(("links", "knockout")))
    return Readings(
        regulation_benchmark.content_of(planted, measures, seconds),
        _locus(planted),
        planted.kept["knockout"],
        _commands(),
    )


def _locus(planted: Planted) -> LocusScores | None:
    """The gene of the test chromosomes with the largest planted effect of one peak, in the group where it acts."""
    table, names = planted.kept["links"], planted.dataset.groups["name"].to_list()
    effects = planted.table("links").unpivot(
        [f"effect.{name}" for name in names],
        index=["peak", "gene_id"],
        variable_name="group",
        value_name="effect",
    )
    shown = table.with_columns(
        id=planted.peak_ids().gather(table["peak"].to_list()),
        gene_id=planted.dataset.genes["gene_id"].gather(table["gene"].to_list()),
        name=pl.Series(planted.grouping.labels).gather(table["label"].to_list()),
    ).join(
        effects.with_columns(pl.col("group").str.strip_prefix("effect.")),
        left_on=["id", "gene_id", "name"],
        right_on=["peak", "gene_id", "group"],
        how="left",
        maintain_order="left",
    )
    effect = shown["effect"].fill_null(0.0)
    if float(np.abs(effect.to_numpy()).max(initial=0.0)) == 0:
        return None
    best = shown.row(int(effect.abs().arg_max() or 0), named=True)
    part = shown.filter((pl.col("gene") == best["gene"]) & (pl.col("label") == best["label"]))
    about = planted.dataset.genes.row(best["gene"], named=True)
    return LocusScores(
        title=f"{about['gene_name'] or about['gene_id']}, {best['name']}: {part.height} peaks",
        distance_bp=part["distance_bp"].to_numpy(),
        tss_peak=int(planted.dataset.index.tss_peak[best["gene"]]),
        accessibility=part["accessibility"].to_numpy(),
        scores={"ablation": part["score_ablation"].to_numpy(), "exact": part["score_exact"].to_numpy()},
        marked={"planted effect": part["effect"].fill_null(0.0).to_numpy()},
    )


def _commands() -> tuple[str, ...]:
    return (
        "cisoform regulation score fitted --data genes --split test --variant ablation,exact --out scores",
        "cisoform regulation links fitted --data genes --split test --out links",
        "cisoform regulation knockout fitted --data genes --split test --tf SIMTF01 \\",
        "    --motifs sim/regulation/motifs.meme --mode around-motif --motif-p 1e-5 --out knockout",
        "cisoform regulation report fitted --data genes --motifs sim/regulation/motifs.meme --out page",
        "cisoform benchmark regulation fitted --data genes --simulation sim/regulation --out readings",
    )


def add_section(page: Page, title: str, readings: Readings) -> None:
    """Append the table, a locus, the knock-outs, and the commands."""
    rows = regulation_benchmark.table_rows(readings.content)
    keep = [place for place, name in enumerate(regulation_benchmark.HEADER) if name != "rule off"]
    header = [regulation_benchmark.HEADER[place] for place in keep]
    lost = regulation_benchmark.lost(readings.content)
    add_truth_section(page, title, header, [[row[place] for place in keep] for row in rows], lost)
    if readings.locus is not None:
        page.figure(
            locus_figure(readings.locus),
            "A gene of an unseen chromosome, in the group in which one of its peaks acts most. Below: what each peak "
            "adds to the log of the gene's rate by the planted rules. `ablation` should have its pattern and signs; "
            "attention (`exact`) has no sign. Hollow: closed peaks.",
            "Accessibility, two scores and the planted effect of the peaks round one gene",
        )
    add_knockout_scatter(
        page,
        readings.knockout["delta_log1p_cp10k"].to_numpy(),
        readings.knockout["predicted"].to_numpy(),
        "Every factor that binds, knocked out by its motif: a point is a gene of an unseen chromosome in a group. "
        "Points in the upper right and lower left have the right direction.",
    )
    page.code("\n".join(readings.commands))
