"""The isoform benchmark: a recipe with several seeds beside its ablations and baselines, on one data set.

Rows: the recipe (mean and spread over seeds), the ensemble of its seeds, the recipe on one modality at a time,
the simple baselines, and the recipe with whole chromosomes held out instead of the data set's own split. All rows of
one split share their bootstrap draws, so every comparison is paired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cisoform.benchmark.baselines import BaselineConfig
from cisoform.benchmark.evaluation import EvaluationConfig, evaluate_isoforms
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.samples import MODALITIES
from cisoform.data.splits import split_by_filling
from cisoform.errors import InputError
from cisoform.genome.files import atomic_write, read_json, write_json
from cisoform.jobs.isoform_model import FloatArray, IsoformModel, predict
from cisoform.jobs.isoform_train import choose_recipe, prepare, train
from cisoform.recipes import IsoformRecipe
from cisoform.training.protocols import Progress
from cisoform.weights.store import find_model

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What to run.

    Attributes:
        recipe: Name of the recipe.
        settings: Its `key=value` overrides.
        seeds: How many seeds of every row.
        split: Scored part.
        contrasts: Texts `A:B`.
        modalities: Whether to train on each modality alone.
        chromosomes: Whether to train with whole chromosomes held out.
        fast_baselines: Smaller baselines, for a look.
        draws: Bootstrap draws.
    """

    recipe: str
    settings: tuple[str, ...] = ()
    seeds: int = 3
    split: str = "test"
    contrasts: tuple[str, ...] = ()
    modalities: bool = True
    chromosomes: bool = True
    fast_baselines: bool = False
    draws: int = 1000

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"--seeds {self.seeds}: at least one is needed")


def run_benchmark(
    dataset: IsoformDataset,
    config: BenchmarkConfig,
    out: Path,
    device: str = "auto",
    say: Say | None = None,
    progress: Callable[[], Progress] | None = None,
) -> dict[str, Any]:
    """Train what is missing under `out/runs`, score everything, write `benchmark.json` and `benchmark.md`.

    A run that is already there is used; one that was cut is continued. So an interrupted benchmark goes on where it
    stopped, and more seeds can be added.
    """
    runner = _Runner(dataset, config, out, device, say or (lambda text: None), progress)
    whole = runner.runs("all", dataset, MODALITIES)
    rows = dataset.rows(config.split)
    names = [column.name for column in whole[0].columns]
    members = predict(whole, dataset.samples, rows)
    others: dict[str, FloatArray] = {f"seed {seed}": members[seed] for seed in range(config.seeds)}
    if config.modalities:
        for modality in MODALITIES:
            single = runner.runs(modality, dataset, (modality,))
            values = predict(single, dataset.samples, rows, strict=False)
            for seed in range(config.seeds):
                others[f"{modality} only, seed {seed}"] = values[seed]
            others[f"{modality} only, ensemble"] = values.mean(axis=0)
    runner.say("scoring beside the baselines")
    baselines = BaselineConfig.fast() if config.fast_baselines else BaselineConfig()
    evaluation = EvaluationConfig(contrasts=config.contrasts, baselines=baselines, n_draws=config.draws)
    result = evaluate_isoforms(dataset, rows, members.mean(axis=0), names, config.split, evaluation, others)
    table = _table(result, config)
    chromosome: dict[str, Any] | None = None
    if config.chromosomes:
        chromosome = _chromosomes_held_out(runner, dataset, config, evaluation)
        table += _chromosome_rows(chromosome)
    content = {
        "recipe": config.recipe,
        "settings": list(config.settings),
        "seeds": config.seeds,
        "split": config.split,
        "dataset_hash": dataset.hash,
        "rows": table,
        "evaluation": result,
        "chromosomes_held_out": chromosome,
    }
    write_json(out / "benchmark.json", content)
    with atomic_write(out / "benchmark.md") as handle:
        handle.write(markdown(content))
    return content


class _Runner:
    """Trains the runs that are not there yet."""

    def __init__(
        self,
        dataset: IsoformDataset,
        config: BenchmarkConfig,
        out: Path,
        device: str,
        say: Say,
        progress: Callable[[], Progress] | None,
    ) -> None:
        self.dataset, self.config, self.out, self.device, self.say = dataset, config, out, device, say
        self._progress = progress

    def runs(self, name: str, dataset: IsoformDataset, modalities: Sequence[str]) -> list[IsoformModel]:
        """The runs of all seeds of one row."""
        return [self._run(name, dataset, modalities, seed) for seed in range(self.config.seeds)]

    def _run(self, name: str, dataset: IsoformDataset, modalities: Sequence[str], seed: int) -> IsoformModel:
        folder = self.out / "runs" / f"{name}-seed{seed}"
        recipe = with_modalities(choose_recipe(self.config.recipe, self.config.settings, seed), modalities)
        if not _is_finished(folder, dataset, self.config, seed):
            self.say(f"training {name}, seed {seed}")
            run = prepare(
                dataset,
                recipe,
                self.config.recipe,
                device=self.device,
                progress=self._progress,
                say=self.say,
            )
            resume = (folder / "config.json").exists()
            progress = self._progress() if self._progress else None
            train(run, folder, resume=resume, device=self.device, progress=progress)
            write_json(folder / "finished.json", _identity(dataset, self.config, seed))
        return IsoformModel.load(folder, self.device)


def _identity(dataset: IsoformDataset, config: BenchmarkConfig, seed: int) -> dict[str, Any]:
    return {
        "dataset_hash": dataset.hash,
        "recipe": config.recipe,
        "settings": list(config.settings),
        "seed": seed,
    }


def _is_finished(folder: Path, dataset: IsoformDataset, config: BenchmarkConfig, seed: int) -> bool:
    marker = folder / "finished.json"
    if not marker.exists():
        return False
    if read_json(marker, "benchmark run") != _identity(dataset, config, seed):
        raise InputError(f"{folder}: holds a run of another data set or recipe; give another --out")
    find_model(folder)
    return True


def with_modalities(recipe: IsoformRecipe, modalities: Sequence[str]) -> IsoformRecipe:
    """The recipe with the other modalities' encoders taken out and their sequences not shown."""
    model = replace(
        recipe.model,
        dna=recipe.model.dna if "dna" in modalities else None,
        rna=recipe.model.rna if "rna" in modalities else None,
        protein=recipe.model.protein if "protein" in modalities else None,
    )
    shown = tuple(name for name in recipe.loader.modalities if name in modalities)
    return replace(recipe, model=model, loader=replace(recipe.loader, modalities=shown))


def held_out_chromosomes(dataset: IsoformDataset, seed: int = 0) -> IsoformDataset:
    """The same transcripts, split so that no chromosome is in two parts."""
    chroms = [str(name) for name in dataset.samples.table["chrom"].to_list()]
    digest = hashlib.sha256(f"{dataset.hash} by chromosome {seed}".encode()).hexdigest()
    return replace(dataset, split=split_by_filling(chroms, seed), hash=digest)


def _chromosomes_held_out(
    runner: _Runner, dataset: IsoformDataset, config: BenchmarkConfig, evaluation: EvaluationConfig
) -> dict[str, Any]:
    other = held_out_chromosomes(dataset)
    models = runner.runs("chromosomes-held-out", other, MODALITIES)
    rows = other.rows(config.split)
    members = predict(models, other.samples, rows)
    names = [column.name for column in models[0].columns]
    seeds = {f"seed {seed}": members[seed] for seed in range(config.seeds)}
    result = evaluate_isoforms(other, rows, members.mean(axis=0), names, config.split, evaluation, seeds)
    chroms = np.array(other.samples.table["chrom"].to_list())
    parts = {part: sorted(set(chroms[other.rows(part)].tolist())) for part in ("valid", "test")}
    return {"chromosomes": parts, "evaluation": result}


def _table(result: dict[str, Any], config: BenchmarkConfig) -> list[dict[str, Any]]:
    """Rows of the table: name, scores per key, and the paired difference of the ensemble to the row."""
    keys = [*(k for k, v in result["tissues"].items() if v["level"] == "transcript"), *result["contrasts"]]
    rows = [_mean_row("recipe, mean of the seeds", [f"seed {s}" for s in range(config.seeds)], keys, result)]
    ours: dict[str, Any] = {**result["tissues"], **result["contrasts"]}
    rows.append({"name": "recipe, ensemble of the seeds", "scores": {key: ours[key] for key in keys}})
    if config.modalities:
        for modality in MODALITIES:
            seeds = [f"{modality} only, seed {s}" for s in range(config.seeds)]
            rows.append(_mean_row(f"{modality} only, mean of the seeds", seeds, keys, result))
            rows.append(_point_row(f"{modality} only, ensemble", keys, result))
    for name in result["baselines"]:
        if "seed" not in name and "only" not in name:
            rows.append(_point_row(name, keys, result))
    return rows


def _mean_row(
    name: str, members: Sequence[str], keys: Sequence[str], result: dict[str, Any]
) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for key in keys:
        scores[key] = {}
        for metric in ("r2", "spearman"):
            values = [result["baselines"][member][key][metric] for member in members]
            known = [value for value in values if value is not None]
            scores[key][metric] = float(np.mean(known)) if known else None
            scores[key][f"{metric}_sd"] = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {"name": name, "scores": scores}


def _point_row(name: str, keys: Sequence[str], result: dict[str, Any]) -> dict[str, Any]:
    scores = {key: result["baselines"][name].get(key, {"r2": None, "spearman": None}) for key in keys}
    row: dict[str, Any] = {"name": name, "scores": scores}
    comparison = result["comparisons"].get(name)
    if comparison:
        row["ensemble_minus_row"] = {key: comparison[key]["r2"] for key in keys if key in comparison}
    return row


def _chromosome_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    result = found["evaluation"]
    keys = [*(k for k, v in result["tissues"].items() if v["level"] == "transcript"), *result["contrasts"]]
    ours: dict[str, Any] = {**result["tissues"], **result["contrasts"]}
    where = f"chromosomes {', '.join(found['chromosomes']['test'])} held out (n = {result['n_transcripts']})"
    rows = [{"name": f"{where}: ensemble of the seeds", "scores": {key: ours[key] for key in keys}}]
    rows.append(_point_row("boosted_trees_all", keys, result) | {"name": f"{where}: boosted_trees_all"})
    return rows


def markdown(content: dict[str, Any]) -> str:
    """The table for `docs/results`: R² / Spearman, and the paired difference in R² with its 95 % interval."""
    result = content["evaluation"]
    keys = list(content["rows"][0]["scores"])
    lines = [
        f"Recipe `{content['recipe']}`, {content['seeds']} seeds, split `{content['split']}`: "
        f"{result['n_transcripts']:,} transcripts of {result['n_genes']:,} genes. "
        f"Data set {content['dataset_hash'][:12]}.",
        "",
        "| predictor | "
        + " | ".join(f"{key} R² / Spearman" for key in keys)
        + " | ensemble minus this row, R² |",
        "|---|" + "---|" * (len(keys) + 1),
    ]
    for row in content["rows"]:
        cells = [_cell(row["scores"][key]) for key in keys]
        difference = row.get("ensemble_minus_row") or {}
        texts = [_difference(key, difference[key]) for key in keys if key in difference]
        lines.append(f"| {row['name']} | " + " | ".join(cells) + f" | {'; '.join(texts)} |")
    return "\n".join(lines) + "\n"


def _cell(scores: dict[str, Any]) -> str:
    r2, spearman = scores.get("r2"), scores.get("spearman")
    if r2 is None and spearman is None:
        return "–"
    spread = scores.get("r2_sd")
    text = f"{r2:.3f}" if r2 is not None else "–"
    if spread is not None:
        text += f" ± {spread:.3f}"
    elif scores.get("r2_ci"):
        low, high = scores["r2_ci"]
        text += f" [{low:.3f}, {high:.3f}]"
    return f"{text} / {spearman:.3f}" if spearman is not None else f"{text} / –"


def _difference(key: str, value: dict[str, Any]) -> str:
    low, high = value["ci"]
    if low is None or high is None or value["difference"] is None:
        return f"{key} –"
    return f"{key} {value['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
