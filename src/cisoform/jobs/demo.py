"""The demo: a genome with planted rules from files to a trained, scored and explained model; then real yeast.

Each part writes its files under `out` with the same functions as the commands, and the page shows the commands
that would do it by hand.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
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
from cisoform.errors import InputError
from cisoform.jobs.isoform_evaluate import Evaluated, evaluate
from cisoform.jobs.isoform_model import IsoformModel
from cisoform.jobs.isoform_predict import predict_annotation
from cisoform.jobs.isoform_report import results_of
from cisoform.jobs.isoform_train import choose_recipe, prepare, train
from cisoform.report.isoform_page import add_isoform_sections
from cisoform.report.page import Page
from cisoform.training.protocols import Progress

Say = Callable[[str], None]
MARK = ".cisoform-demo"


@dataclass(frozen=True)
class DemoPlan:
    """How long each part trains: recipe, overrides, and whether its scores count as briefly trained."""

    simulated_recipe: str
    simulated_settings: tuple[str, ...]
    yeast_recipe: str
    yeast_settings: tuple[str, ...]
    draws: int


# Start scores are left out: learning them takes longer than the rest of the demo.
FULL = DemoPlan("tiny", (), "small", ("train.epochs=6", "model.dna.starts=null"), 500)
SMOKE = DemoPlan("tiny", ("train.epochs=2",), "small", ("train.epochs=1", "model.dna.starts=null"), 50)


def run_demo(
    out: Path,
    yeast: Path | None,
    smoke: bool = False,
    device: str = "auto",
    say: Say | None = None,
    progress: Callable[[], Progress | None] | None = None,
) -> dict[str, Any]:
    """Run the demo and write `out/report.html`.

    Args:
        out: Folder for everything; one that an earlier demo wrote is replaced, any other must be empty.
        yeast: The yeast pack, or None to leave it out.
        smoke: Train for seconds only, to show that every step works.
        device: As `resolve_device` takes it.
        say: Called with a line before each step.
        progress: Makes what shows a training run.

    Returns:
        Scores and seconds of each part, and where the page is.

    Raises:
        InputError: If `out` holds something else.
    """
    say = say or (lambda text: None)
    _empty(out)
    plan = SMOKE if smoke else FULL
    page = Page(
        "cisoform demo",
        "From a genome, an annotation and an expression table to a trained IsoFormer, scored beside simple baselines: "
        "first on a simulated genome whose rules are known, then on real yeast.",
    )
    summary: dict[str, Any] = {"report": str(out / "report.html"), "smoke": smoke}
    begun = time.monotonic()
    summary["simulated"] = _simulated(out, page, plan, device, say, progress)
    if yeast is None:
        page.section("Real data: yeast")
        page.text(
            "The yeast pack was not found, so this part was left out. `cisoform pack list` shows where packs are "
            "looked for; `cisoform pack get` fetches one."
        )
    else:
        summary["yeast"] = _yeast(out, yeast, page, plan, device, say, progress)
    summary["seconds"] = time.monotonic() - begun
    page.write(out / "report.html")
    return summary


def _empty(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARK).exists():
            raise InputError(f"{out}: is not empty and was not written by the demo; give another --out")
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MARK).write_text("written by cisoform demo; replaced by the next one\n")
    except FileExistsError:
        raise InputError(f"{out}: is a file; give the name of a folder with --out") from None


def _simulated(out: Path, page: Page, plan: DemoPlan, device: str, say: Say, progress: Any) -> dict[str, Any]:
    folder = out / "simulated"
    folder.mkdir()
    say("simulating a genome with planted rules")
    simulation = simulate(preset("tiny"))
    write_simulation(simulation, folder / "input")
    planted = truth(simulation)
    say("building the data set")
    files = folder / "input"
    build_isoform_dataset(
        files / "genome.fa",
        files / "annotation.gtf",
        files / "expression.tsv",
        splits=files / "splits.tsv",
        window=1024,
        out=folder / "dataset",
    )
    found = _train_and_score(
        folder, plan.simulated_recipe, plan.simulated_settings, (), plan, device, say, progress
    )
    say("predicting every transcript of the annotation, from sequence alone")
    model = IsoformModel.load(folder / "run", device)
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
    results = results_of(found, [folder / "run"], rows, briefly_trained=plan is SMOKE, commands=commands)
    add_isoform_sections(page, results, "Planted truth: ")
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


def _yeast(
    out: Path, pack: Path, page: Page, plan: DemoPlan, device: str, say: Say, progress: Any
) -> dict[str, Any]:
    folder = out / "yeast"
    folder.mkdir()
    say("building the yeast data set")
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
    found = _train_and_score(
        folder, plan.yeast_recipe, plan.yeast_settings, contrasts, plan, device, say, progress
    )
    commands = (
        "cisoform isoform build --genome yeast/genome.fa.gz --annotation yeast/isoforms.gtf.gz \\",
        "    --expression yeast/expression_isoform.tsv.gz --gene-expression yeast/expression_gene.tsv.gz \\",
        "    --tissues WT,diamide --splits yeast/splits.tsv.gz --window 2048 --out dataset",
        _train_command(plan.yeast_recipe, plan.yeast_settings),
        "cisoform isoform evaluate run --data dataset --split test --contrast diamide:WT --out scores",
    )
    results = results_of(found, [folder / "run"], briefly_trained=True, commands=commands)
    add_isoform_sections(page, results, "Yeast: ")
    return _scores(found)


def _train_and_score(
    folder: Path,
    recipe: str,
    settings: tuple[str, ...],
    contrasts: tuple[str, ...],
    plan: DemoPlan,
    device: str,
    say: Say,
    progress: Any,
) -> Evaluated:
    dataset = IsoformDataset.open(folder / "dataset")
    say(f"training recipe {recipe} on {int((dataset.split == 'train').sum()):,} transcripts")
    run = prepare(dataset, choose_recipe(recipe, settings), recipe, device=device, progress=progress, say=say)
    train(run, folder / "run", device=device, progress=progress() if progress else None)
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
