"""Tables of ablations: train every row of a table with some seeds, score them on one split, write the results.

The folder holds `ablation.json` (which data set it belongs to), `runs/` and, for each table, TABLE.json, .tsv, .md,
.png and .svg. A run is named by all that defines it (data, recipe, weights that it starts from, seed), so a run that is
done is not done again, and tables share those they have in common.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cisoform import __version__
from cisoform.benchmark.ablation import MEAN, PAPER, PAPER_SOURCE, compare_rows, reading
from cisoform.benchmark.baselines import BaselineConfig
from cisoform.benchmark.evaluation import EvaluationConfig, Truth, dataset_baselines
from cisoform.benchmark.metrics import Contrast
from cisoform.configs import config_to_json, override
from cisoform.data.isoform_dataset import Column, IsoformDataset
from cisoform.data.samples import MODALITIES
from cisoform.errors import InputError
from cisoform.genome.files import atomic_write, read_json, write_json
from cisoform.jobs.ablation_rows import Row, Table, choose_table
from cisoform.jobs.isoform_encoders import use_tables
from cisoform.jobs.isoform_model import FloatArray, IsoformModel, predict
from cisoform.jobs.isoform_train import choose_recipe, encode_once, prepare, train
from cisoform.models.encoders import PretrainedConfig
from cisoform.recipes import IsoformRecipe
from cisoform.report.ablation import draw_table, markdown, tsv_table
from cisoform.report.files import save_figure
from cisoform.training.protocols import Interrupted, Progress
from cisoform.weights.pretrained import read_pretrained

MARKER, RUNS, FINISHED = "ablation.json", "runs", "finished.json"
BASELINES = ("mean_per_tissue", "four_lengths", "kmer_ridge", "boosted_trees_all")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """What to run.

    Attributes:
        table: One of `ablation_rows.TABLES`.
        recipe: Name of the recipe that rows change.
        settings: `key=value` overrides of it, for all rows.
        pretrained: Runs to start from, by modality.
        seeds: How many seeds of every row.
        first_seed: The first of them; the others follow.
        split: Scored part, "valid" or "test".
        contrasts: Texts `A:B`.
        fast_baselines: Smaller baselines, for a look.
        draws: Bootstrap draws of the intervals.
    """

    table: str
    recipe: str = "ablate"
    settings: tuple[str, ...] = ()
    pretrained: Mapping[str, str] | None = None
    seeds: int = 3
    first_seed: int = 0
    split: str = "test"
    contrasts: tuple[str, ...] = ()
    fast_baselines: bool = False
    draws: int = 1000

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"--seeds {self.seeds}: at least one is needed")
        if self.split not in ("valid", "test"):
            raise InputError(f"--split {self.split!r} is none of valid, test")


@dataclass(frozen=True)
class Run:
    """One row with one seed, and where its run is."""

    row: Row
    seed: int
    recipe: IsoformRecipe
    folder: Path

    @property
    def result(self) -> dict[str, Any] | None:
        """What is known of it once it is done."""
        marker = self.folder / FINISHED
        if not marker.is_file():
            return None
        found: dict[str, Any] = read_json(marker, "run of an ablation")
        return found


@dataclass(frozen=True)
class Ablation:
    """A table made ready, for a look before it is run."""

    dataset: IsoformDataset
    config: AblationConfig
    table: Table
    runs: tuple[Run, ...]
    out: Path

    @property
    def n_left(self) -> int:
        """Runs that are not done yet; two rows may share one."""
        return len({run.folder for run in self.runs if run.result is None})


def plan_ablation(dataset: IsoformDataset, config: AblationConfig, out: Path) -> Ablation:
    """Check a table against the data and the folder, and build the recipe of every row.

    Raises:
        InputError: For an unknown table, recipe, setting or contrast; a modality that the data or the recipe lack; a
            split without transcripts; a folder that belongs to another data set or holds other things.
    """
    table = choose_table(config.table, config.pretrained)
    base = choose_recipe(config.recipe, config.settings, config.first_seed)
    _check_modalities(dataset, base, table, config)
    if not len(dataset.rows(config.split)):
        raise InputError(f"{dataset.path}: no transcript is in split {config.split!r}; choose another split")
    for text in config.contrasts:
        Contrast.parse(text, _scored_columns(dataset.columns))
    _check_folder(dataset, out)
    hashes: dict[tuple[str, str], str] = {}
    runs = []
    for row in table.rows:
        recipe = override(base, row.settings)
        digest = _digest(dataset, recipe, hashes)
        for seed in range(config.first_seed, config.first_seed + config.seeds):
            seeded = replace(recipe, train=replace(recipe.train, seed=seed))
            runs.append(Run(row, seed, seeded, out / RUNS / f"{digest[:12]}-seed{seed}"))
    return Ablation(dataset, config, table, tuple(runs), out)


def _check_modalities(
    dataset: IsoformDataset, recipe: IsoformRecipe, table: Table, config: AblationConfig
) -> None:
    """Refuse a table of which the data or the recipe have too few modalities."""
    train_rows = dataset.rows("train")
    known = [name for name in MODALITIES if dataset.samples.has(name)[train_rows].any()]
    for name in table.needs:
        if name not in known:
            raise InputError(
                f"--table {table.name} needs {name}, which no training transcript of {dataset.path} has; "
                "choose another table or build the data set with it"
            )
    read = [n for n in known if n in recipe.loader.modalities and getattr(recipe.model, n) is not None]
    for name in table.needs:
        if name not in read:
            raise InputError(
                f"--table {table.name} needs {name}, which recipe {config.recipe} with these settings does not read"
            )
    if len(read) < table.n_needed:
        raise InputError(
            f"--table {table.name} needs {table.n_needed} modalities; {dataset.path} and the recipe share "
            f"{', '.join(read) or 'none'}"
        )


def _check_folder(dataset: IsoformDataset, out: Path) -> None:
    """Refuse a folder that is not ours, or of another data set."""
    if out.is_file():
        raise InputError(f"--out {out}: is a file, but a folder is to be written there; choose another name")
    marker = out / MARKER
    if not marker.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"--out {out}: holds something else than ablations; choose another folder")
        return
    found = read_json(marker, "ablation").get("dataset_hash")
    if found != dataset.hash:
        raise InputError(
            f"--out {out}: holds runs of another data set ({str(found)[:12]}, not {dataset.hash[:12]}); "
            "choose another folder"
        )


def _digest(dataset: IsoformDataset, recipe: IsoformRecipe, hashes: dict[tuple[str, str], str]) -> str:
    """Hash of the data, of a recipe whatever its seed, and of the weights that it starts from."""
    plain: dict[str, Any] = json.loads(config_to_json(replace(recipe, train=replace(recipe.train, seed=0))))
    for name in MODALITIES:
        part = getattr(recipe.model, name)
        if isinstance(part, PretrainedConfig) and part.weights is not None:
            key = (part.kind, part.weights)
            if key not in hashes:
                hashes[key] = _weights_hash(*key)
            plain["model"][name]["weights"] = hashes[key]
    return hashlib.sha256(f"{dataset.hash}\n{json.dumps(plain)}".encode()).hexdigest()


def _weights_hash(kind: str, source: str) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(read_pretrained(kind, source).body.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(np.ascontiguousarray(value.numpy()).tobytes())
    return f"sha256:{digest.hexdigest()}"


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
    begun = time.monotonic()
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
            columns = [number for number, column in enumerate(model.columns) if column.level == "transcript"]
            columns = columns or list(range(len(model.columns)))
            names = [model.columns[number].name for number in columns]
            known[run.folder] = predict([model], plan.dataset.samples, rows, strict=False)[0][:, columns]
        found[run.row.name].append(known[run.folder])
    return {name: np.stack(values) for name, values in found.items()}, names


def _scored_columns(columns: Sequence[Column]) -> list[str]:
    """Names of the transcript-level columns, or of all if there are none."""
    names = [column.name for column in columns if column.level == "transcript"]
    return names or [column.name for column in columns]


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
    return {
        "name": row.name,
        "label": row.label,
        "settings": list(row.settings),
        "runs": [str(run.folder.relative_to(plan.out)) for run in runs],
        "n_parameters": results[0]["n_parameters"],
        "n_trained": results[0]["n_trained"],
        "seconds": float(np.mean([result["seconds"] for result in results])),
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
