"""A table of ablations made ready: what is to be run, where each run is kept, and what is refused before any work.

A run is named by all that defines it (data, recipe, weights that it starts from, seed), so a run that is done is not
done again, and tables share those they have in common.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cisoform.benchmark.metrics import Contrast
from cisoform.configs import config_to_json, override
from cisoform.data.isoform_dataset import Column, IsoformDataset
from cisoform.data.samples import MODALITIES
from cisoform.errors import InputError
from cisoform.genome.files import read_json
from cisoform.jobs.ablation_rows import Row, Table, choose_table
from cisoform.jobs.isoform_train import choose_recipe
from cisoform.models.encoders import PretrainedConfig
from cisoform.recipes import IsoformRecipe
from cisoform.weights.pretrained import read_pretrained

MARKER, RUNS, FINISHED = "ablation.json", "runs", "finished.json"


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
            split without transcripts; kernel regression on encoders that it cannot read; a folder that belongs to
            another data set or holds other things.
    """
    table = choose_table(config.table, config.pretrained)
    base = choose_recipe(config.recipe, config.settings, config.first_seed)
    _check_modalities(dataset, base, table, config)
    if not len(dataset.rows(config.split)):
        raise InputError(f"{dataset.path}: no transcript is in split {config.split!r}; choose another split")
    for text in config.contrasts:
        Contrast.parse(text, scored_columns(dataset.columns))
    _check_folder(dataset, out)
    hashes: dict[tuple[str, str], str] = {}
    runs = []
    for row in table.rows:
        recipe = override(base, row.settings)
        _check_kernel(recipe, row, config)
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


def _check_kernel(recipe: IsoformRecipe, row: Row, config: AblationConfig) -> None:
    """Refuse kernel regression in a row of which an encoder has nothing for it to read."""
    parts = [getattr(recipe.model, name) for name in MODALITIES]
    others = [part.kind for part in parts if part is not None and not part.kind.startswith("landmark_")]
    if recipe.model.kernel is not None and others:
        raise InputError(
            f"--table {config.table}: recipe {config.recipe} has kernel regression, which reads landmark encoders, and "
            f"row {row.name!r} has {others[0]}; add --set model.kernel=null"
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


def scored_columns(columns: Sequence[Column]) -> list[str]:
    """Names of the transcript-level columns, or of all if there are none."""
    names = [column.name for column in columns if column.level == "transcript"]
    return names or [column.name for column in columns]
