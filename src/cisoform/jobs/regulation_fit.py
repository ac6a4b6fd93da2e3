"""Fit the second stage on a data set of genes. All settings are in the recipe.

A fitted model is a CREformer as `jobs.creformer_model` saves it, so whatever reads a converted release reads it too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cisoform.configs import config_to_json, override
from cisoform.data.gene_loader import GeneLoaderConfig, GeneSource
from cisoform.data.gene_states import ragged_positions
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.features.states import (
    EncodingPlan,
    FeatureConfig,
    FeatureTable,
    Update,
    build_table,
    config_json,
    weights_hash,
)
from cisoform.jobs import elementary as stage_one
from cisoform.jobs.creformer_model import KIND, CREformerModel
from cisoform.models.creformer import CREformer, Elementary
from cisoform.models.creformer.frozen import adapt, freeze
from cisoform.recipes_regulation import RegulatoryRecipe, regulatory_recipe
from cisoform.tokens.peaks import RELEASED_EDGES
from cisoform.training.device import resolve_device
from cisoform.training.gene_metrics import LEAST_GROUPS
from cisoform.training.loop import fit as run_loop
from cisoform.training.protocols import FitResult, Progress
from cisoform.training.regulatory import RegulatoryTask
from cisoform.weights.store import load_model

Ints = npt.NDArray[np.int64]
Planned = Callable[[EncodingPlan], None]
SEEN = ("train_chromosomes", "train_samples")
"""What stage 1 records of the data that it learnt from."""


def choose_recipe(name: str, settings: Sequence[str] = (), seed: int = 0) -> RegulatoryRecipe:
    """The named recipe with `key=value` overrides; the seed governs weights and the order of samples.

    Raises:
        InputError: For an unknown recipe, key or value; near names are given.
    """
    recipe = override(regulatory_recipe(name), settings)
    return replace(recipe, train=replace(recipe.train, seed=seed))


@dataclass(frozen=True)
class FirstStage:
    """An Elementary to build on.

    Attributes:
        elementary: The encoder.
        edges: Edges of each of its tracks' levels.
        about: Where it is from.
    """

    elementary: Elementary
    edges: dict[str, tuple[float, ...]]
    about: dict[str, Any]

    @property
    def trained_on(self) -> dict[str, Any]:
        """What is known of its training data: of itself, or of the Elementary that it was fitted on."""
        both = {**(self.about.get("elementary") or {}), **self.about}
        return {key: both[key] for key in SEEN if key in both}


def load_first_stage(path: str | Path) -> FirstStage:
    """The Elementary of a run of `pretrain`, or of a CREformer (converted or fitted).

    Raises:
        InputError: If there is no model, it is damaged, or of another kind.
    """
    kind = load_model(path).files.get("about.json", {}).get("kind")
    if kind == KIND:
        whole = CREformerModel.load(path)
        return FirstStage(whole.model.elementary, dict(whole.edges), whole.about)
    found = stage_one.load(path)
    return FirstStage(found.elementary, found.edges, found.about)


@dataclass(frozen=True)
class PreparedFit:
    """A recipe made ready for a data set and an Elementary, for a look before it starts.

    Attributes:
        recipe: With the Elementary's sizes.
        name: Name of the recipe, for the record.
        dataset: What it learns from.
        model: Untrained but for its Elementary.
        about: What is saved with it.
        edges: Edges of the tracks' levels.
        source: Training batches.
        valid_source: Batches that choose the weights; None where nothing is held out for it.
        states: Ids of the states that either may show.
    """

    recipe: RegulatoryRecipe
    name: str
    dataset: GenesDataset
    model: CREformer
    about: dict[str, Any]
    edges: dict[str, tuple[float, ...]]
    source: GeneSource
    valid_source: GeneSource | None
    states: npt.NDArray[np.integer[Any]]

    @property
    def n_parameters(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    @property
    def n_steps(self) -> int:
        """Updates of the weights in all."""
        train = self.recipe.train
        per_epoch = -(-self.source.n_batches(0) // train.accumulate)
        by_epochs = None if train.epochs is None else per_epoch * train.epochs
        return min(n for n in (by_epochs, train.max_steps) if n is not None)


def prepare(
    dataset: GenesDataset, elementary: str | Path, recipe: RegulatoryRecipe, name: str = "custom"
) -> PreparedFit:
    """Build model and sources.

    Raises:
        InputError: If there is nothing to learn from, or data, recipe and Elementary do not fit each other.
    """
    seed = recipe.train.seed
    first = load_first_stage(elementary)
    config = replace(recipe.model, elementary=first.elementary.config)
    recipe = replace(recipe, model=config)
    edges = _common_edges(dataset, first.edges, recipe.features.track)
    check_data(dataset, config.max_peaks, edges, recipe.features.track)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CREformer(config)
    model.elementary.load_state_dict(first.elementary.state_dict())
    elementary_hash = weights_hash(model, FeatureConfig(track=recipe.features.track))
    _choose_what_learns(model.elementary, recipe.features, seed)
    model.pool.requires_grad_(recipe.features.form == "bins")
    genes, groups = dataset.gene_rows("train"), dataset.group_rows("train")
    try:
        source = GeneSource(dataset, genes, groups, recipe.loader, seed)
    except ValueError as error:
        raise InputError(f"{dataset.path}: nothing to learn from: {error}") from None
    valid_source = _valid_source(dataset, recipe.loader, seed)
    states: list[npt.NDArray[Any]] = [dataset.states_in_use(groups, genes)]
    if recipe.loader.drop_atac:
        states.append(_peaks_of(dataset, genes) + dataset.n_peaks)
    if valid_source is not None:
        states.append(dataset.states_in_use(valid_source.groups, valid_source.genes))
    _start_at_mean(model, source, recipe.loss.link)
    about = {
        "kind": KIND,
        "recipe": name,
        "seed": seed,
        "dataset_hash": dataset.hash,
        "expression": dataset.manifest["expression"],
        "link": recipe.loss.link,
        "features": config_json(recipe.features),
        "elementary": {
            **{key: first.about.get(key) for key in ("recipe", "seed", "dataset_hash", "source")},
            **first.trained_on,
            "sha256": elementary_hash,
        },
    }
    return PreparedFit(
        recipe,
        name,
        dataset,
        model,
        about,
        edges,
        source,
        valid_source,
        np.unique(np.concatenate(states)),
    )


def _common_edges(
    dataset: GenesDataset, edges: dict[str, tuple[float, ...]], track: str
) -> dict[str, tuple[float, ...]]:
    """Edges of the fitted model: the Elementary's, but the data's own where both are quantiles.

    A level is then the same share of the positive signal of either assay, so the data's is read as it is.
    """
    quantile = dataset.manifest.get("settings", {}).get("edges") == "quantile"
    if quantile and edges.get(track, RELEASED_EDGES) != RELEASED_EDGES:
        return {**edges, track: dataset.edges}
    return edges


def _choose_what_learns(elementary: Elementary, features: FeatureConfig, seed: int) -> None:
    """Nothing of Elementary, its last layers, or low-rank corrections of these."""
    try:
        if not features.lora_rank:
            freeze(elementary, features.tuned_layers)
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapt(elementary, features.tuned_layers, features.lora_rank, features.lora_alpha)
    except ValueError as error:
        name = "lora_" if str(error).startswith("rank") else ""
        raise InputError(f"--set features.{name}{error}") from None


def check_data(
    dataset: GenesDataset, max_peaks: int, edges: dict[str, tuple[float, ...]], track: str
) -> None:
    """Refuse data that a model cannot read.

    Raises:
        InputError: If the model has no such track, its levels are cut elsewhere, or a gene has too many peaks.
    """
    if track not in edges:
        raise InputError(
            f"the model knows no track {track!r} for the accessibility of the data (it has "
            f"{', '.join(edges) or 'none'}); use one that was pre-trained on it, or name the track to read it as: "
            "--set features.track=NAME"
        )
    if edges[track] != dataset.edges:
        raise InputError(
            f"{dataset.path}: signal levels are cut at other edges than the model's {track!r}; build the data with "
            "`--edges RUN` of the Elementary's run (or both stages with `--edges quantile`)"
        )
    most = int(dataset.index.count.max())
    if most > max_peaks:
        raise InputError(
            f"{dataset.path}: a gene has {most} peaks, the model reads at most {max_peaks}; build the data with "
            f"--max-peaks {max_peaks}, or fit with --set model.max_peaks={most}"
        )


def _valid_source(dataset: GenesDataset, loader: GeneLoaderConfig, seed: int) -> GeneSource | None:
    """Genes and groups held out for choosing weights.

    Unseen genes are read in the unseen groups if these are enough for a correlation across them, else in the
    training groups as well.
    """
    genes, groups = dataset.gene_rows("valid"), dataset.group_rows("valid")
    if not len(genes) and not len(groups):
        return None
    if not len(genes):
        genes = dataset.gene_rows("train")
    elif len(groups) < LEAST_GROUPS:
        groups = np.union1d(groups, dataset.group_rows("train"))
    return GeneSource(dataset, genes, groups, loader, seed, training=False)


def _peaks_of(dataset: GenesDataset, genes: Ints) -> Ints:
    return np.unique(ragged_positions(dataset.index.first[genes], dataset.index.count[genes]))


def _start_at_mean(model: CREformer, source: GeneSource, link: str) -> None:
    """The last bias starts at the mean target: no step is spent on finding it."""
    batches = [source.batch(0, number).targets for number in range(min(4, source.n_batches(0)))]
    mean = float(torch.cat([targets for targets in batches if targets is not None]).mean())
    start = math.log(math.expm1(max(mean, 1e-3))) if link == "softplus" else mean
    with torch.no_grad():
        model.head.second.bias.fill_(start)


def monitor_of(run: PreparedFit) -> str:
    """The validation score that chooses the weights."""
    asked = run.recipe.loss.monitor
    if asked != "auto":
        return asked
    valid = run.valid_source
    sampled = valid is not None and valid.n_samples < len(valid.genes) * len(valid.groups)
    across = valid is not None and len(valid.groups) >= LEAST_GROUPS and not sampled
    return "gene_pearson" if across else "loss"


def fit(
    run: PreparedFit,
    out: str | Path,
    *,
    cache: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    planned: Planned | None = None,
    update: Update | None = None,
) -> FitResult:
    """Encode what the cache lacks, then train in the folder `out`; see `training.loop.fit`.

    Args:
        run: Of `prepare`.
        out: Folder of the run.
        cache: Folder of feature caches; None = the user's.
        resume: Continue the run at `out`.
        device: As everywhere.
        progress: Is told of every step.
        planned: Is told what will be encoded.
        update: Is told how much of it is done.

    Raises:
        InputError: As `training.loop.fit`; and if the cache cannot be used.
    """
    where = resolve_device(device)
    run.model.to(where)
    features = run.recipe.features
    table, *others = (
        build_table(
            run.model, run.dataset, run.states, features, cache, factor=factor, planned=planned, update=update
        )
        for factor in (1.0, *features.depths)
    )
    config, files = CREformerModel(run.model, run.edges, run.about).export()
    task = RegulatoryTask(
        run.model,
        place_table(table, where),
        run.recipe.loss,
        at_depths=[place_table(other, where) for other in others],
        tuned_layers=features.tuned_layers,
        monitor=monitor_of(run),
        config=config,
        files=files,
    )
    settings = json.loads(config_to_json(run.recipe))
    del settings["train"]  # stands beside the description, where a time budget may change
    description: dict[str, Any] = {
        "kind": KIND,
        "recipe": run.name,
        "settings": settings,
        "dataset_hash": run.dataset.hash,
        "elementary": run.about["elementary"]["sha256"],
        "seed": run.recipe.train.seed,
    }
    return run_loop(
        task,
        run.source,
        run.valid_source,
        run.recipe.train,
        out,
        resume=resume,
        description=description,
        device=device,
        progress=progress,
    )


def place_table(table: FeatureTable, device: torch.device) -> FeatureTable:
    """The table on a GPU if it fits into half of what is free there; else where it is."""
    if device.type == "cuda" and table.n_bytes < torch.cuda.mem_get_info(device)[0] // 2:
        return table.to(device)
    return table
