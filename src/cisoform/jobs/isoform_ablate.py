"""Tables of ablations: train every row of a table with some seeds, score them on one split, write the results.

The folder holds `ablation.json` (which data set it belongs to), `runs/` and, for each table, TABLE.json, .tsv, .md,
.png and .svg.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cisoform import __version__
from cisoform.benchmark.ablation import MEAN, PAPER, PAPER_SOURCE, compare_rows, reading
from cisoform.benchmark.baselines import BaselineConfig
from cisoform.benchmark.evaluation import EvaluationConfig, Truth, dataset_baselines
from cisoform.configs import config_to_json
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.genome.files import atomic_write, write_json
from cisoform.jobs.ablation_plan import FINISHED, MARKER, Ablation, Run, scored_columns
from cisoform.jobs.ablation_rows import Row
from cisoform.jobs.isoform_encoders import use_tables
from cisoform.jobs.isoform_model import FloatArray, IsoformModel, predict
from cisoform.jobs.isoform_train import encode_once, prepare, train
from cisoform.report.ablation import draw_table, markdown, tsv_table
from cisoform.report.files import save_figure
from cisoform.training.protocols import Interrupted, Progress

BASELINES = ("mean_per_tissue", "four_lengths", "kmer_ridge", "boosted_trees_all")

Say = Callable[[str], None]


def run_ablation(
    plan: Ablation,
    device: str = "auto",
    say: Say | None = None,
    progress: Callable[[], Progress] | None = None,
) -> dict[str, Any]:
    """Train what is missing, score every row, write the results.

    Args:
        plan: Of `plan_ablation`.
        device: As everywhere.
        say: Is told what is done.
        progress: Makes what shows one training.

    Returns:
        What TABLE.json then holds.

    Raises:
        InputError: If a row cannot be trained.
        Interrupted: After Ctrl-C in a training; its checkpoint is kept.
    """
    say = say or (lambda text: None)
    plan.out.mkdir(parents=True, exist_ok=True)
    write_json(plan.out / MARKER, {"dataset_hash": plan.dataset.hash, "dataset": str(plan.dataset.path)})
    total, done, seconds = plan.n_left, 0, 0.0
    for run in plan.runs:
        if run.result is None:
            minutes = max(1, round(seconds / done * (total - done) / 60)) if done else 0
            left = f", about {minutes} min to go" if done else ""
            say(f"{done + 1}/{total}: {run.row.label}, seed {run.seed}{left}")
            begun = time.monotonic()
            _train(plan, run, device, say, progress)
            done, seconds = done + 1, seconds + time.monotonic() - begun
    say("scoring beside the baselines")
    content = _score(plan, device)
    _write(content, plan.out)
    return content


def _train(plan: Ablation, run: Run, device: str, say: Say, progress: Callable[[], Progress] | None) -> None:
    prepared = prepare(
        plan.dataset, run.recipe, plan.config.recipe, device=device, progress=progress, say=say
    )
    begun, core = time.monotonic(), time.process_time()
    encode_once(prepared, device)
    encoding = time.monotonic() - begun
    resume = (run.folder / "config.json").exists()
    try:
        fitted = train(
            prepared, run.folder, resume=resume, device=device, progress=progress() if progress else None
        )
    except Interrupted as stop:
        text = str(stop).split(";")[0]
        raise Interrupted(f"{run.row.label}, seed {run.seed}: {text}; the same command goes on") from None
    model = prepared.task.model
    result = {
        "dataset_hash": plan.dataset.hash,
        "seed": run.seed,
        "n_parameters": sum(value.numel() for value in model.parameters()),
        "n_trained": prepared.n_parameters,
        "steps": fitted.step,
        "kept_step": fitted.best_step,
        "valid": {name: float(value) for name, value in fitted.best.items()},
        "seconds": fitted.seconds + encoding,
        "core_seconds": None if resume else time.process_time() - core,
        "device": fitted.device,
        "cisoform": __version__,
        "recipe": json.loads(config_to_json(run.recipe)),
    }
    write_json(run.folder / FINISHED, result)


def _score(plan: Ablation, device: str) -> dict[str, Any]:
    config, dataset = plan.config, plan.dataset
    rows = dataset.rows(config.split)
    predicted, names = _predictions(plan, rows, device)
    baselines = dataset_baselines(
        dataset,
        rows,
        names,
        BaselineConfig.fast() if config.fast_baselines else BaselineConfig(),
        names=BASELINES,
    )
    evaluation = EvaluationConfig(contrasts=config.contrasts, n_draws=config.draws, seed=config.first_seed)
    truth = _truth(dataset, rows, names, evaluation)
    values = {**predicted, **{f"baseline {one.name}": one.predicted[None] for one in baselines}}
    compared = compare_rows(truth, values, plan.table.reference, config.first_seed)
    n_genes = int(truth.gene.max()) + 1
    content: dict[str, Any] = {
        "table": plan.table.name,
        "recipe": config.recipe,
        "settings": list(config.settings),
        "pretrained": dict(config.pretrained or {}),
        "seeds": sorted({run.seed for run in plan.runs}),
        "split": config.split,
        "dataset": str(dataset.path),
        "dataset_hash": dataset.hash,
        "n_transcripts": len(rows),
        "n_genes": n_genes,
        "columns": names,
        "keys": [*truth.keys, MEAN],
        "reference": plan.table.reference,
        "bootstrap": {
            "unit": "family" if truth.bootstrap.n_groups < n_genes else "gene",
            "n_groups": truth.bootstrap.n_groups,
            "draws": config.draws,
            "seed": config.first_seed,
            "level": evaluation.level,
        },
        "rows": [_row(plan, row, compared[row.name]) for row in plan.table.rows],
        "baselines": [
            {"name": one.name, "label": one.label, **compared[f"baseline {one.name}"]} for one in baselines
        ],
        "paper_source": PAPER_SOURCE,
        "cisoform": __version__,
    }
    content["notes"] = reading(content)
    return content


def _predictions(plan: Ablation, rows: Any, device: str) -> tuple[dict[str, FloatArray], list[str]]:
    """What every seed of every row predicts of the scored columns, and their names."""
    found: dict[str, list[FloatArray]] = {row.name: [] for row in plan.table.rows}
    known: dict[Path, FloatArray] = {}
    names: list[str] = []
    for run in plan.runs:
        if run.folder not in known:
            model = IsoformModel.load(run.folder, device)
            use_tables(model.model, plan.dataset.samples, rows, model.loader)
            names = scored_columns(model.columns)
            columns = [number for number, column in enumerate(model.columns) if column.name in names]
            known[run.folder] = predict([model], plan.dataset.samples, rows, strict=False)[0][:, columns]
        found[run.row.name].append(known[run.folder])
    return {name: np.stack(values) for name, values in found.items()}, names


def _truth(dataset: IsoformDataset, rows: Any, names: Sequence[str], config: EvaluationConfig) -> Truth:
    index = [dataset.column_index(name) for name in names]
    gene_level = np.array([dataset.columns[place].level == "gene" for place in index])
    picked = rows.tolist()
    return Truth.build(
        names,
        np.log1p(dataset.expression[rows][:, index].astype(np.float64)),
        gene_level,
        [dataset.samples.gene_ids[row] for row in picked],
        [dataset.family[row] for row in picked],
        config,
    )


def _row(plan: Ablation, row: Row, compared: Mapping[str, Any]) -> dict[str, Any]:
    runs = [run for run in plan.runs if run.row.name == row.name]
    results = [run.result or {} for run in runs]
    paper = PAPER[plan.table.name].get(row.name)
    # Not known of a run that was cut and resumed.
    core = [result["core_seconds"] for result in results if result["core_seconds"] is not None]
    return {
        "name": row.name,
        "label": row.label,
        "settings": list(row.settings),
        "runs": [str(run.folder.relative_to(plan.out)) for run in runs],
        "n_parameters": results[0]["n_parameters"],
        "n_trained": results[0]["n_trained"],
        "seconds": float(np.mean([result["seconds"] for result in results])),
        "core_seconds": float(np.mean(core)) if core else None,
        "device": results[0]["device"],
        **compared,
        "paper": None if paper is None else vars(paper),
    }


def _write(content: dict[str, Any], out: Path) -> None:
    name = content["table"]
    with atomic_write(out / f"{name}.tsv") as handle:
        handle.write(tsv_table(content))
    with atomic_write(out / f"{name}.md") as handle:
        handle.write(markdown(content))
    save_figure(draw_table(content), out / name)
    write_json(out / f"{name}.json", content)
