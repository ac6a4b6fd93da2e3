"""The regulation half of the demo: a simulated regulatory genome from files through both stages of CREformer.

How long it trains stands in `FULL` and `SMOKE`, and nowhere else. The page is put together from `SECTIONS`, in order:
a further reading of the fitted model is a step that fills `Outcome` and a function there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.benchmark.elementary import EvaluationConfig as RegionEvaluation
from cisoform.data.gene_build import build_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
from cisoform.data.gene_pools import Pooling
from cisoform.data.genes import GenesDataset
from cisoform.data.region_build import build_regions
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.regions import RegionDataset
from cisoform.data.simulate.regulation.config import preset
from cisoform.data.simulate.regulation.simulation import simulate_regulation
from cisoform.data.simulate.regulation.write import write_regulation
from cisoform.jobs import (
    demo_readings,
    elementary,
    elementary_report,
    regulation_fit,
    regulation_predict,
    regulatory_report,
)
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.demo_stage import Stage
from cisoform.jobs.landmarks import Landmarks
from cisoform.jobs.records import write_evaluation
from cisoform.report.compare import number
from cisoform.report.elementary_page import ElementaryResults, add_elementary_sections
from cisoform.report.page import Page
from cisoform.report.planted_page import add_planted_section, add_times
from cisoform.report.regulatory_page import RegulatoryResults, add_regulatory_sections

SEED = 0
TITLE = "Regulation"


@dataclass(frozen=True)
class RegulationPlan:
    """How large the genome is and how long each stage trains.

    Attributes:
        preset: Of the simulator.
        window: Tokens of a region.
        first: Recipe of pre-training.
        first_settings: Its overrides, as `--set` takes them.
        second: Recipe of the fit.
        second_settings: Its overrides.
        tokens: Most tokens of each part and pass when the first stage is scored.
    """

    preset: str
    window: int
    first: str
    first_settings: tuple[str, ...]
    second: str
    second_settings: tuple[str, ...]
    tokens: int


FULL = RegulationPlan(
    preset="small",
    window=32_768,
    first="xs",
    first_settings=(
        "model.dim=64",
        "model.ffn=256",
        "train.lr=6e-4",
        "train.max_steps=2500",
        "train.validate_every=2500",
    ),
    second="xs",
    second_settings=("features.depths=[]",),
    tokens=2**16,
)
SMOKE = RegulationPlan(
    preset="tiny",
    window=8192,
    first="tiny",
    first_settings=("train.epochs=null", "train.max_steps=60", "train.validate_every=30"),
    second="tiny",
    second_settings=("train.epochs=10",),
    tokens=2**13,
)


@dataclass(frozen=True)
class Outcome:
    """All that the sections of the page are made from.

    Attributes:
        plan: What was asked for.
        planted: Content of truth.json.
        held_out: Cell type and samples that training did not see.
        first: Of the first stage.
        second: Of the second.
        readings: Of the fitted model.
        seconds: Of each step.
    """

    plan: RegulationPlan
    planted: dict[str, Any]
    held_out: HeldOut
    first: ElementaryResults
    second: RegulatoryResults
    readings: demo_readings.Readings
    seconds: dict[str, float]


@dataclass(frozen=True)
class HeldOut:
    """What training does not see: chromosomes, a cell type, and the samples (groups) of that type."""

    test: tuple[str, ...]
    valid: tuple[str, ...]
    cell_type: str
    samples: tuple[str, ...]

    @classmethod
    def of(cls, planted: dict[str, Any]) -> HeldOut:
        """The simulator's chromosomes, and its last cell type."""
        splits, groups = planted["splits"], planted["groups"]
        cell_type = max(group["cell_type"] for group in groups)
        return cls(
            test=tuple(name for name, part in splits.items() if part == "test"),
            valid=tuple(name for name, part in splits.items() if part == "valid"),
            cell_type=cell_type,
            samples=tuple(group["name"] for group in groups if group["cell_type"] == cell_type),
        )


def run_regulation(stage: Stage) -> dict[str, Any]:
    """Simulate, build, pre-train, fit and score, and add the sections of the page.

    Returns:
        `regulation`: what the summary of the command shows.

    Raises:
        InputError: If a step cannot be done.
    """
    plan = SMOKE if stage.smoke else FULL
    folder = stage.out / "regulation"
    folder.mkdir()
    files = folder / "input"
    with stage.timed("simulate", f"simulating a regulatory genome with planted rules (preset {plan.preset})"):
        planted = write_regulation(simulate_regulation(preset(plan.preset, SEED)), files)
    held_out = HeldOut.of(planted)
    first = _first_stage(stage, folder, plan, held_out)
    second = _second_stage(stage, folder, plan, held_out, planted)
    readings = demo_readings.read(stage, folder, SEED)
    outcome = Outcome(plan, planted, held_out, first, second, readings, stage.seconds)
    for section in SECTIONS:
        section(stage.page, outcome)
    return {"regulation": _summary(outcome)}


def _first_stage(stage: Stage, folder: Path, plan: RegulationPlan, held_out: HeldOut) -> ElementaryResults:
    files = folder / "input"
    with stage.timed("build-regions", "cutting the tracks into regions"):
        build_regions(
            files / "genome.fa",
            files / "tracks.tsv",
            folder / "regions",
            RegionBuildConfig(
                window=plan.window,
                test_chromosomes=held_out.test,
                valid_chromosomes=held_out.valid,
                test_samples=held_out.samples,
                seed=SEED,
            ),
            blacklist=files / "blacklist.bed",
        )
    dataset = RegionDataset.open(folder / "regions")
    recipe = elementary.choose_recipe(plan.first, plan.first_settings, SEED)
    prepared = elementary.prepare(dataset, recipe, plan.first)
    what = (
        f"pre-training recipe {plan.first}, {prepared.n_parameters:,} parameters, {prepared.n_steps:,} steps"
    )
    with stage.timed("pretrain", what):
        elementary.pretrain(prepared, folder / "pretrained", device=stage.device, progress=stage.bar())
    model = elementary.load(folder / "pretrained", stage.device)
    with stage.timed("evaluate, first stage", "scoring hidden bases, hidden signal and preserved tracks"):
        config = RegionEvaluation(
            hiding=model.loader.hiding, anchor=model.loader.anchor, tokens=plan.tokens, seed=SEED
        )
        result = elementary.evaluate(model, dataset, "test", config)
        write_evaluation(folder / "scores_pretrained", result)
    return elementary_report.results_of(
        result,
        model,
        dataset,
        folder / "pretrained",
        Landmarks.read(elementary_report.lengths_of(dataset), files / "annotation.gtf", files / "peaks.bed"),
        briefly_trained=stage.smoke,
        commands=_first_commands(plan, held_out),
    )


def _second_stage(
    stage: Stage, folder: Path, plan: RegulationPlan, held_out: HeldOut, planted: dict[str, Any]
) -> RegulatoryResults:
    files, cache = folder / "input", folder / "cache"
    with stage.timed("build-genes", "turning the multiome into genes in pseudobulks"):
        build_genes(
            GeneInputs(
                genome=files / "genome.fa",
                annotation=files / "annotation.gtf",
                multiome=files / "filtered_feature_bc_matrix.h5",
                fragments=files / "atac_fragments.tsv.gz",
                cells=files / "cells.tsv",
            ),
            folder / "genes",
            GeneBuildConfig(
                pool=Pooling.parse("pseudobulk:group"),
                cell_types="cell_type",
                test_cell_types=(held_out.cell_type,),
                test_chromosomes=held_out.test,
                valid_chromosomes=held_out.valid,
                seed=SEED,
            ),
        )
    dataset = GenesDataset.open(folder / "genes")
    recipe = regulation_fit.choose_recipe(plan.second, plan.second_settings, SEED)
    prepared = regulation_fit.prepare(dataset, folder / "pretrained", recipe, plan.second)
    what = f"fitting recipe {plan.second}, {prepared.n_parameters:,} parameters, {prepared.n_steps:,} steps"
    with stage.timed("fit", what):
        regulation_fit.fit(
            prepared, folder / "fitted", cache=cache, device=stage.device, progress=stage.bar()
        )
    model = CREformerModel.load(folder / "fitted", stage.device)
    observer = regulatory_report.Observer(dataset, expected_expression(files, dataset))
    with stage.timed("evaluate, second stage", "scoring held-out genes and cell types beside baselines"):
        config = regulation_predict.EvaluationConfig(seed=SEED)
        result = regulation_predict.evaluate(model, dataset, "test", config, cache=cache, observe=observer)
        for part, found in observer.ceiling_scores.items():
            result["parts"][part]["scores"]["ceiling"] = found
        write_evaluation(folder / "scores_fitted", result)
        observer.write(folder / "scores_fitted" / "genes.tsv")
    attainable = planted["attainable"]
    return regulatory_report.results_of(
        result,
        observer,
        model,
        dataset,
        folder / "fitted",
        stated={key.replace("_", " "): float(value) for key, value in attainable.items()},
        briefly_trained=stage.smoke,
        commands=_second_commands(plan, held_out),
    )


def expected_expression(files: Path, dataset: GenesDataset) -> npt.NDArray[np.float64]:
    """Expected expression (groups, genes) of a simulation, in the order of a data set built from it.

    Args:
        files: Folder of the simulation.
        dataset: Pseudobulks of its groups.
    """
    table = pl.read_parquet(files / "truth" / "genes.parquet")
    place = {gene: row for row, gene in enumerate(table["gene_id"].to_list())}
    rows = [place[gene] for gene in dataset.genes["gene_id"].to_list()]
    columns = [f"expected_log1p_cp10k.{name}" for name in dataset.groups["name"].to_list()]
    return np.stack([table[name].to_numpy()[rows] for name in columns]).astype(np.float64)


def _first_commands(plan: RegulationPlan, held_out: HeldOut) -> tuple[str, ...]:
    """What does the first stage by hand."""
    test, valid, samples = (",".join(names) for names in (held_out.test, held_out.valid, held_out.samples))
    return (
        f"cisoform simulate sim --what regulation --preset {plan.preset} --seed {SEED}",
        "cisoform regulation build-regions --genome sim/regulation/genome.fa \\",
        "    --tracks sim/regulation/tracks.tsv --blacklist sim/regulation/blacklist.bed \\",
        f"    --window {plan.window} --test-chromosomes {test} --valid-chromosomes {valid} \\",
        f"    --test-samples {samples} --out regions",
        f"cisoform regulation pretrain regions --recipe {plan.first}{_changed(plan.first_settings)} --out pretrained",
        f"cisoform regulation evaluate pretrained --data regions --split test --tokens {plan.tokens} \\",
        "    --annotation sim/regulation/annotation.gtf --peaks sim/regulation/peaks.bed --out scores_pretrained",
    )


def _second_commands(plan: RegulationPlan, held_out: HeldOut) -> tuple[str, ...]:
    """What does the second stage by hand."""
    test, valid = ",".join(held_out.test), ",".join(held_out.valid)
    return (
        "cisoform regulation build-genes --genome sim/regulation/genome.fa \\",
        "    --annotation sim/regulation/annotation.gtf \\",
        "    --multiome sim/regulation/filtered_feature_bc_matrix.h5 \\",
        "    --fragments sim/regulation/atac_fragments.tsv.gz --cells sim/regulation/cells.tsv \\",
        f"    --pool pseudobulk:group --cell-types cell_type --test-cell-types {held_out.cell_type} \\",
        f"    --test-chromosomes {test} --valid-chromosomes {valid} --out genes",
        f"cisoform regulation fit genes --elementary pretrained --recipe {plan.second}"
        f"{_changed(plan.second_settings)} --out fitted",
        "cisoform regulation evaluate fitted --data genes --split test --out scores_fitted",
    )


def _changed(settings: tuple[str, ...]) -> str:
    return "".join(f" \\\n    --set {setting}" for setting in settings)


def planted_section(page: Page, outcome: Outcome) -> None:
    """What was planted, what is held out, and how long everything took."""
    plan, held_out = outcome.plan, outcome.held_out
    words = (
        f"chromosomes {', '.join(held_out.test)} (validation {', '.join(held_out.valid)}); cell type "
        f"{held_out.cell_type}, which is the samples {', '.join(held_out.samples)}"
    )
    add_planted_section(page, f"{TITLE}: What was planted", outcome.planted, words)
    changes = [", ".join(found) or "no change" for found in (plan.first_settings, plan.second_settings)]
    settings = f"Recipe {plan.first} with {changes[0]}; then {plan.second} with {changes[1]}; seed {SEED}."
    add_times(page, outcome.seconds, settings)


def first_section(page: Page, outcome: Outcome) -> None:
    """The first stage, as `evaluate --out` writes it."""
    add_elementary_sections(page, outcome.first, f"{TITLE}, stage 1: ")


def second_section(page: Page, outcome: Outcome) -> None:
    """The second stage, as `evaluate --out` writes it, with the ceiling."""
    add_regulatory_sections(page, outcome.second, f"{TITLE}, stage 2: ")


def readings_section(page: Page, outcome: Outcome) -> None:
    """Every reading beside the planted truth."""
    demo_readings.add_sections(page, f"{TITLE}, readings", outcome.readings)


SECTIONS: tuple[Callable[[Page, Outcome], None], ...] = (
    planted_section,
    first_section,
    second_section,
    readings_section,
)


def _summary(outcome: Outcome) -> dict[str, Any]:
    """The figures of the terminal: the deciding part of each stage."""
    second = outcome.second
    scores = second.evaluation["parts"][second.headline]["scores"]
    part, found = outcome.first.headline
    return {
        "part": second.headline,
        "gene_pearson": {name: number(score.get("gene_pearson")) for name, score in scores.items()},
        "first_stage": {
            "part": part,
            "hidden_bases": found["hidden"]["bases"]["accuracy"],
            "preserved": {
                track: {given: scores["pearson_where_mean"] for given, scores in by.items()}
                for track, by in found["preserved"].items()
            },
        },
        "readings": {
            f"{row['reading']}, {row['measure']}": row["value"] for row in outcome.readings.content["rows"]
        },
        "not_read": outcome.readings.failed,
        "seconds": outcome.seconds,
    }
