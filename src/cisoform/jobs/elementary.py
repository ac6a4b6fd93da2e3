"""Pre-train an Elementary on regions, load it again, and score it beside baselines. All settings are in the recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cisoform import __version__
from cisoform.benchmark.elementary import EvaluationConfig, Update, evaluate_elementary
from cisoform.configs import config_from_json, config_to_json, override
from cisoform.data.kmer_tracks import kmer_coordinates
from cisoform.data.region_loader import RegionLoaderConfig, RegionSource
from cisoform.data.regions import RegionDataset
from cisoform.errors import InputError
from cisoform.models.creformer.elementary import Elementary, ElementaryConfig
from cisoform.models.creformer.pretraining import ElementaryPretraining
from cisoform.recipes_regulation import ElementaryRecipe, elementary_recipe
from cisoform.tokens.peaks import check_edges
from cisoform.training.device import resolve_device
from cisoform.training.elementary import ElementaryTask, start_biases
from cisoform.training.loop import fit
from cisoform.training.protocols import FitResult, Progress
from cisoform.weights.store import load_model

KIND = "elementary"
LOADER_FILE, TOKENS_FILE, LOSS_FILE, ABOUT_FILE = "loader.json", "tokens.json", "loss.json", "about.json"


def choose_recipe(name: str, settings: Sequence[str] = (), seed: int = 0) -> ElementaryRecipe:
    """The named recipe with `key=value` overrides; the seed governs weights, windows and what is hidden.

    Raises:
        InputError: For an unknown recipe, key or value; near names are given.
    """
    recipe = override(elementary_recipe(name), settings)
    return replace(recipe, train=replace(recipe.train, seed=seed))


@dataclass(frozen=True)
class PreparedPretraining:
    """A recipe made ready for a data set, for a look before it starts.

    Attributes:
        recipe: With the data set's tracks, and the anchor by its name.
        name: Name of the recipe, for the record.
        dataset: What it learns from.
        task: The untrained model and its losses.
        source: Training batches.
        valid_source: Batches that choose the weights; None without validation regions.
    """

    recipe: ElementaryRecipe
    name: str
    dataset: RegionDataset
    task: ElementaryTask
    source: RegionSource
    valid_source: RegionSource | None

    @property
    def n_parameters(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.task.model.parameters() if p.requires_grad)

    @property
    def n_steps(self) -> int:
        """Updates of the weights in all."""
        train = self.recipe.train
        per_epoch = -(-self.source.n_batches(0) // train.accumulate)
        by_epochs = None if train.epochs is None else per_epoch * train.epochs
        return min(n for n in (by_epochs, train.max_steps) if n is not None)


def prepare(dataset: RegionDataset, recipe: ElementaryRecipe, name: str = "custom") -> PreparedPretraining:
    """Build model, task and sources; level frequencies are those of the training regions.

    Raises:
        InputError: If there is no training region, the anchor is not in the data, or no window length fits.
    """
    seed = recipe.train.seed
    source = RegionSource(dataset, dataset.rows("train"), recipe.loader, seed)
    loader = replace(recipe.loader, anchor=source.anchor)
    valid_rows = dataset.rows("valid")
    valid = RegionSource(dataset, valid_rows, loader, seed, fixed=True) if len(valid_rows) else None
    longest = max(source.lengths) // recipe.model.bin_size
    if longest > recipe.model.max_bins:
        raise InputError(
            f"windows of {max(source.lengths):,} tokens have {longest} bins, more than model.max_bins="
            f"{recipe.model.max_bins}; leave them out of loader.lengths or raise model.max_bins"
        )
    try:
        config = replace(recipe.model, tracks=dataset.tracks)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = ElementaryPretraining(config)
            if recipe.kmers.bins:
                found = kmer_coordinates(dataset, recipe.kmers, seed, config.dim) * recipe.kmers.scale
                model.start_kmers_at(torch.from_numpy(found.astype(np.float32)), recipe.kmers.frozen)
    except ValueError as error:
        raise InputError(f"the model of recipe {name!r} cannot be built: {error}") from None
    recipe = replace(recipe, model=config, loader=loader)
    about = {"kind": KIND, "recipe": name, "seed": seed, "dataset_hash": dataset.hash}
    files = {
        LOADER_FILE: json.loads(config_to_json(loader)),
        LOSS_FILE: json.loads(config_to_json(recipe.loss)),
        TOKENS_FILE: {"edges": dataset.edges, "level_counts": dataset.level_counts},
        ABOUT_FILE: {
            **about,
            "train_samples": list(dataset.train_samples),
            "train_chromosomes": dataset.train_chromosomes,
        },
    }
    task = ElementaryTask(
        model,
        dataset.level_counts,
        config=json.loads(config_to_json(config)),
        files=files,
        loss=recipe.loss,
    )
    model.start_heads_at(
        {n: start_biases(c["tokens"], task.token_weights[n]) for n, c in dataset.level_counts.items()},
        {n: start_biases(c["bins"], task.bin_weights[n]) for n, c in dataset.level_counts.items()},
    )
    return PreparedPretraining(recipe, name, dataset, task, source, valid)


def pretrain(
    run: PreparedPretraining,
    out: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> FitResult:
    """Train in the folder `out`; see `training.loop.fit`."""
    description: dict[str, Any] = {
        "kind": KIND,
        "recipe": run.name,
        "settings": json.loads(config_to_json(run.recipe)),
        "dataset_hash": run.dataset.hash,
        "seed": run.recipe.train.seed,
    }
    return fit(
        run.task,
        run.source,
        run.valid_source,
        run.recipe.train,
        out,
        resume=resume,
        description=description,
        device=device,
        progress=progress,
    )


@dataclass(frozen=True)
class ElementaryModel:
    """A pre-trained Elementary with what belongs to it.

    Attributes:
        task: The model with its heads, in evaluation mode, and the weights of its levels.
        loader: How windows were shown.
        edges: Edges of each track's levels; data of later stages must be cut at the same.
        about: Recipe, seed, data set hash, training samples.
        folder: Where it was read from.
    """

    task: ElementaryTask
    loader: RegionLoaderConfig
    edges: dict[str, tuple[float, ...]]
    about: dict[str, Any]
    folder: Path

    @property
    def elementary(self) -> Elementary:
        """The encoder without heads: what the second stage uses."""
        return self.task.pretraining.elementary

    @property
    def tracks(self) -> tuple[str, ...]:
        """Tracks that the model knows."""
        return self.task.pretraining.config.tracks


def is_elementary(path: str | Path) -> bool:
    """Whether a run or model folder holds a pre-trained Elementary.

    Raises:
        InputError: If there is no model or it is damaged.
    """
    return bool(load_model(path).files.get(ABOUT_FILE, {}).get("kind") == KIND)


def load(path: str | Path, device: str = "cpu") -> ElementaryModel:
    """Read a run of `pretrain` or its model.

    Raises:
        InputError: If there is no model, it is damaged, or it is one of another kind.
    """
    stored = load_model(path)
    about = stored.files.get(ABOUT_FILE, {})
    if about.get("kind") != KIND:
        raise InputError(
            f"{stored.folder}: is not a pre-trained Elementary but {about.get('kind')!r}; give a run of "
            "`cisoform regulation pretrain`"
        )
    missing = [name for name in (LOADER_FILE, TOKENS_FILE, LOSS_FILE) if name not in stored.files]
    if missing:
        raise InputError(f"{stored.folder}: lacks {missing[0]}; copy the model again")
    config = config_from_json(ElementaryConfig, json.dumps(stored.config), str(stored.folder / "config.json"))
    model = ElementaryPretraining(config)
    expected = model.state_dict()
    wrong = sorted({*expected} ^ {*stored.state}) or [
        name for name, value in expected.items() if value.shape != stored.state[name].shape
    ]
    if wrong:
        raise InputError(f"{stored.folder}: {wrong[0]} does not fit config.json; the folder mixes two models")
    model.load_state_dict(stored.state)
    tokens = stored.files[TOKENS_FILE]
    where = str(stored.folder / LOSS_FILE)
    loss = config_from_json(type(elementary_recipe("tiny").loss), json.dumps(stored.files[LOSS_FILE]), where)
    loader = config_from_json(
        RegionLoaderConfig, json.dumps(stored.files[LOADER_FILE]), str(stored.folder / LOADER_FILE)
    )
    task = ElementaryTask(
        model.eval().to(resolve_device(device)),
        tokens["level_counts"],
        config=stored.config,
        files=stored.files,
        loss=loss,
    )
    edges = {name: check_edges(values) for name, values in tokens["edges"].items()}
    return ElementaryModel(task, loader, edges, about, stored.folder)


def evaluate(
    model: ElementaryModel,
    dataset: RegionDataset,
    split: str = "test",
    config: EvaluationConfig | None = None,
    update: Update | None = None,
) -> dict[str, Any]:
    """Scores on a split, beside baselines: hidden bases and levels, and preserved tracks.

    Args:
        model: A pre-trained Elementary.
        dataset: With tracks that the model knows, cut at the same edges.
        split: "test" gives the four-way report (seen and unseen chromosomes and samples); "train", "valid" or
            "all" one part.
        config: Windows and amounts.
        update: Called as `update(done, total)`.

    Raises:
        InputError: If the data do not fit the model, or the split is empty.
    """
    _check_fit(model, dataset)
    config = config or EvaluationConfig(hiding=model.loader.hiding, anchor=model.loader.anchor)
    result = evaluate_elementary(model.task, dataset, split, config, update)
    warnings = []
    if model.about.get("dataset_hash") != dataset.hash:
        warnings.append(
            "the run was trained on another data set than the one it is scored on: make sure that the regions "
            "scored as unseen were not among its training regions"
        )
    return {
        **result,
        "run": {key: model.about.get(key) for key in ("recipe", "seed", "dataset_hash")},
        "dataset_hash": dataset.hash,
        "cisoform": __version__,
        "warnings": warnings,
    }


def _check_fit(model: ElementaryModel, dataset: RegionDataset) -> None:
    unknown = [name for name in dataset.tracks if name not in model.tracks]
    if unknown:
        raise InputError(
            f"{dataset.path}: has the track {unknown[0]!r} that the run does not know (it has "
            f"{', '.join(model.tracks)}); build the data from the same tracks or pre-train on these"
        )
    different = [name for name in dataset.tracks if dataset.edges[name] != model.edges[name]]
    if different:
        raise InputError(
            f"{dataset.path}: the levels of {different[0]!r} are cut at other edges than those the run was trained "
            "with; build the data with the edges of the run"
        )
