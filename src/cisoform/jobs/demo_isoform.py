"""The isoform half of the demo: a simulated genome with planted rules, then real yeast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cisoform.benchmark.baselines import BaselineConfig
from cisoform.benchmark.evaluation import EvaluationConfig
from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.simulate.config import preset
from cisoform.data.simulate.simulation import simulate
from cisoform.data.simulate.write import truth, write_simulation
from cisoform.jobs.demo_stage import Stage
from cisoform.jobs.isoform_evaluate import Evaluated, evaluate
from cisoform.jobs.isoform_model import IsoformModel
from cisoform.jobs.isoform_predict import predict_annotation
from cisoform.jobs.isoform_report import results_of
from cisoform.jobs.isoform_train import choose_recipe, prepare, train
from cisoform.report.isoform_page import add_isoform_sections


@dataclass(frozen=True)
class IsoformPlan:
    """How long each part trains: recipe, overrides, and draws of the bootstrap."""

    simulated_recipe: str
    simulated_settings: tuple[str, ...]
    yeast_recipe: str
    yeast_settings: tuple[str, ...]
    draws: int


# Start scores are left out: learning them takes longer than the rest of the demo.
FULL = IsoformPlan("tiny", (), "small", ("train.epochs=6", "model.dna.starts=null"), 500)
SMOKE = IsoformPlan("tiny", ("train.epochs=2",), "small", ("train.epochs=1", "model.dna.starts=null"), 50)


def run_isoform(stage: Stage, yeast: Path | None) -> dict[str, Any]:
    """Simulate, train and score; then yeast, where its pack is given.

    Args:
        stage: Where to work.
        yeast: The yeast pack, or None to leave it out.

    Returns:
        Scores of each part.
    """
    plan = SMOKE if stage.smoke else FULL
    summary = {"simulated": _simulated(stage, plan)}
    if yeast is None:
        stage.page.section("Real data: yeast")
        stage.page.text(
            "The yeast pack was not found, so this part was left out. `cisoform pack list` shows where packs are "
            "looked for; `cisoform pack get` fetches one."
        )
    else:
        summary["yeast"] = _yeast(stage, yeast, plan)
    return summary


def _simulated(stage: Stage, plan: IsoformPlan) -> dict[str, Any]:
    folder = stage.out / "simulated"
    folder.mkdir()
    stage.say("simulating a genome with planted rules")
    simulation = simulate(preset("tiny"))
    write_simulation(simulation, folder / "input")
    planted = truth(simulation)
    stage.say("building the data set")
    files = folder / "input"
    build_isoform_dataset(
        files / "genome.fa",
        files / "annotation.gtf",
        files / "expression.tsv",
        splits=files / "splits.tsv",
        window=1024,
        out=folder / "dataset",
    )
    found = _train_and_score(stage, folder, plan.simulated_recipe, plan.simulated_settings, (), plan)
    stage.say("predicting every transcript of the annotation, from sequence alone")
    model = IsoformModel.load(folder / "run", stage.device)
    predictions = predict_annotation([model], files / "genome.fa", files / "annotation.gtf")
    predictions.write(folder / "predictions.tsv")
    rows = _truth_rows(planted, found)
    commands = (
        "cisoform simulate input --preset tiny",
        "cisoform isoform build --genome input/genome.fa --annotation input/annotation.gtf \\",
        "    --expression input/expression.tsv --splits input/splits.tsv --window 1024 --out dataset",
        _train_command(plan.simulated_recipe, plan.simulated_settings),
        "cisoform isoform evaluate run --data dataset --split test --out scores",
        "cisoform isoform predict run --genome input/genome.fa --annotation input/annotation.gtf --out predictions.tsv",
    )
    results = results_of(found, [folder / "run"], rows, briefly_trained=stage.smoke, commands=commands)
    add_isoform_sections(stage.page, results, "Planted truth: ")
    return _scores(found)


def _truth_rows(planted: dict[str, Any], found: Evaluated) -> list[list[object]]:
    attainable = planted["ceiling_r2"]["attainable"]
    rows: list[list[object]] = []
    for tissue in found.tissues:
        reached = found.result["tissues"][tissue]["r2"]
        rows.append(
            [
                f"R² in {tissue}",
                float(attainable[tissue]),
                float("nan") if reached is None else float(reached),
            ]
        )
    return rows


def _train_command(recipe: str, settings: tuple[str, ...]) -> str:
    changed = "".join(f" --set {setting}" for setting in settings)
    return f"cisoform isoform train dataset --recipe {recipe}{changed} --out run"


def _yeast(stage: Stage, pack: Path, plan: IsoformPlan) -> dict[str, Any]:
    folder = stage.out / "yeast"
    folder.mkdir()
    stage.say("building the yeast data set")
    build_isoform_dataset(
        pack / "genome.fa.gz",
        pack / "isoforms.gtf.gz",
        pack / "expression_isoform.tsv.gz",
        gene_expression=pack / "expression_gene.tsv.gz",
        tissues=["WT", "diamide"],
        splits=pack / "splits.tsv.gz",
        window=2048,
        out=folder / "dataset",
    )
    contrasts = ("diamide:WT",)
    found = _train_and_score(stage, folder, plan.yeast_recipe, plan.yeast_settings, contrasts, plan)
    commands = (
        "cisoform isoform build --genome yeast/genome.fa.gz --annotation yeast/isoforms.gtf.gz \\",
        "    --expression yeast/expression_isoform.tsv.gz --gene-expression yeast/expression_gene.tsv.gz \\",
        "    --tissues WT,diamide --splits yeast/splits.tsv.gz --window 2048 --out dataset",
        _train_command(plan.yeast_recipe, plan.yeast_settings),
        "cisoform isoform evaluate run --data dataset --split test --contrast diamide:WT --out scores",
    )
    results = results_of(found, [folder / "run"], briefly_trained=True, commands=commands)
    add_isoform_sections(stage.page, results, "Yeast: ")
    return _scores(found)


def _train_and_score(
    stage: Stage,
    folder: Path,
    recipe: str,
    settings: tuple[str, ...],
    contrasts: tuple[str, ...],
    plan: IsoformPlan,
) -> Evaluated:
    device, say, progress = stage.device, stage.say, stage.progress
    dataset = IsoformDataset.open(folder / "dataset")
    say(f"training recipe {recipe} on {int((dataset.split == 'train').sum()):,} transcripts")
    run = prepare(dataset, choose_recipe(recipe, settings), recipe, device=device, progress=progress, say=say)
    train(run, folder / "run", device=device, progress=stage.bar())
    say("scoring held-out genes beside simple baselines")
    config = EvaluationConfig(contrasts=contrasts, baselines=BaselineConfig.fast(), n_draws=plan.draws)
    found = evaluate([IsoformModel.load(folder / "run", device)], dataset, "test", config)
    found.write(folder / "scores")
    return found


def _scores(found: Evaluated) -> dict[str, Any]:
    result = found.result
    return {
        "mean": result["mean"],
        "within_gene": {
            key: result["within_gene"].get(key) for key in ("pair_accuracy", "dominant_accuracy")
        },
        "baselines": {name: details["mean"]["r2"] for name, details in result["baseline_details"].items()},
    }
