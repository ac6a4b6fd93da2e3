"""Use a fitted or converted CREformer on a data set of genes: predict, and score beside baselines and ablations."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from cisoform import __version__
from cisoform.batches import GeneBatch
from cisoform.benchmark.regulatory import (
    Baselines,
    PartPredictions,
    compare_part,
    depth_change,
    score_part,
)
from cisoform.configs import config_from_json
from cisoform.data.gene_loader import GeneLoaderConfig, GeneSource
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.features.states import FeatureConfig, FeatureTable, Update, build_table
from cisoform.genome.files import atomic_write
from cisoform.jobs.creformer_model import KIND, CREformerModel
from cisoform.jobs.regulation_fit import Ints, Planned, check_data
from cisoform.models.creformer import CREformer
from cisoform.models.creformer.frozen import tuned_part
from cisoform.models.creformer.slots import expression_of
from cisoform.training.regulatory import read_batch
from cisoform.weights.store import load_model

Matrix = npt.NDArray[np.floating[Any]]
Observe = Callable[[PartPredictions], None]
_SLOTS_AT_ONCE = 65_536
_POOL_ROWS = 4096


def is_regulatory(path: str | Path) -> bool:
    """Whether a run or model folder holds a CREformer (fitted or converted).

    Raises:
        InputError: If there is no model or it is damaged.
    """
    return bool(load_model(path).files.get("about.json", {}).get("kind") == KIND)


def features_of(model: CREformerModel) -> FeatureConfig:
    """How a model's features are made: as it was fitted, or the defaults for a converted one.

    Raises:
        InputError: If it has no track for accessibility that can be told.
    """
    stored = model.about.get("features")
    if stored is not None:
        return config_from_json(FeatureConfig, json.dumps(stored), "about.json")
    if "atac" not in model.edges and len(model.edges) != 1:
        raise InputError(
            f"the model does not say which of its tracks is accessibility: {', '.join(model.edges)}"
        )
    return FeatureConfig(track="atac" if "atac" in model.edges else next(iter(model.edges)))


@torch.no_grad()
def pooled_table(model: CREformer, table: FeatureTable, tuned_layers: int) -> FeatureTable:
    """One vector for every row of a table: for reading a model whose pool no longer changes."""
    if table.values.ndim == 2:
        return table
    device = next(model.parameters()).device
    parts = [
        model.pool(tuned_part(model.elementary, rows.to(device, torch.float32), tuned_layers))
        for rows in torch.split(table.values, _POOL_ROWS)
    ]
    return FeatureTable(torch.cat(parts), table.row.to(device))


def promoter_alone(batch: GeneBatch) -> GeneBatch:
    """The batch with each gene's peak nearest the TSS and no other."""
    rows = torch.arange(len(batch), device=batch.state.device)
    at = batch.tss_peak

    def kept(values: torch.Tensor) -> torch.Tensor:
        return values[rows, at][:, None]

    return replace(
        batch,
        state=kept(batch.state),
        mask=kept(batch.mask),
        distance=kept(batch.distance),
        rank=kept(batch.rank),
        tss_peak=torch.zeros_like(at),
    )


@torch.no_grad()
def predict_matrix(
    model: CREformerModel,
    dataset: GenesDataset,
    table: FeatureTable,
    groups: Ints,
    genes: Ints,
    *,
    promoter_only: bool = False,
    update: Update | None = None,
) -> Matrix:
    """Predicted expression (groups, genes), on the data set's scale.

    Args:
        model: In evaluation mode.
        dataset: Whose genes and groups they are.
        table: Features of the states in use, of this model.
        groups: Numbers of groups, ascending.
        genes: Numbers of genes, ascending.
        promoter_only: Show each gene its peak nearest the TSS alone.
        update: Is told how many of how many batches are done.
    """
    device = next(model.model.parameters()).device
    size = max(1, _SLOTS_AT_ONCE // int(dataset.index.count[genes].max()))
    source = GeneSource(dataset, genes, groups, GeneLoaderConfig(batch_size=size), training=False)
    found = np.empty((len(groups), len(genes)), dtype=np.float32)
    link = model.about.get("link", "identity")
    total = source.n_batches(0)
    for number, batch in enumerate(source.epoch(0), start=1):
        shown = (promoter_alone(batch) if promoter_only else batch).to(device)
        values = expression_of(read_batch(model.model, table, shown).float(), link).cpu().numpy()
        row = np.searchsorted(groups, batch.group.numpy())
        found[row, np.searchsorted(genes, batch.gene.numpy())] = values
        if update is not None:
            update(number, total)
    return found


def feature_table(
    model: CREformerModel,
    dataset: GenesDataset,
    states: npt.NDArray[np.integer[Any]],
    cache: str | Path | None,
    factor: float = 1.0,
    planned: Planned | None = None,
    update: Update | None = None,
) -> FeatureTable:
    """Pooled vectors of states for a model, after checking that it can read the data.

    Args:
        model: Fitted or converted.
        dataset: Whose states they are.
        states: Their ids, each once.
        cache: Folder of feature caches; None = the user's.
        factor: Multiplies the signal before its levels are cut.
        planned: Is told what will be encoded.
        update: Is told how far it is.

    Raises:
        InputError: If the data do not fit the model, or the cache cannot be used.
    """
    features = features_of(model)
    check_data(dataset, model.model.config.max_peaks, dict(model.edges), features.track)
    table = build_table(
        model.model, dataset, states, features, cache, factor=factor, planned=planned, update=update
    )
    return pooled_table(model.model, table, features.tuned_layers)


def predict(
    model: CREformerModel,
    dataset: GenesDataset,
    groups: Ints,
    genes: Ints,
    *,
    cache: str | Path | None = None,
    planned: Planned | None = None,
    update: Update | None = None,
) -> pl.DataFrame:
    """Predicted expression as a table: gene_id, gene_name, group, cell_type, predicted, observed.

    Args:
        model: Fitted or converted.
        dataset: Genes in cells.
        groups: Numbers of groups, ascending.
        genes: Numbers of genes, ascending.
        cache: Folder of feature caches; None = the user's.
        planned: Is told what will be encoded.
        update: Is told how far encoding and then prediction is.

    Raises:
        InputError: If the data do not fit the model, or the cache cannot be used.
    """
    table = feature_table(
        model, dataset, dataset.states_in_use(groups, genes), cache, planned=planned, update=update
    )
    found = predict_matrix(model, dataset, table, groups, genes, update=update)
    names, of = dataset.genes[genes.tolist()], dataset.groups[groups.tolist()]
    repeated = np.repeat(np.arange(len(groups)), len(genes))
    tiled = np.tile(np.arange(len(genes)), len(groups))
    return pl.DataFrame(
        {
            "gene_id": names["gene_id"].gather(tiled),
            "gene_name": names["gene_name"].gather(tiled),
            "group": of["name"].gather(repeated),
            "cell_type": of["cell_type"].gather(repeated),
            "predicted": found.reshape(-1),
            "observed": dataset.expression_matrix(groups, genes).reshape(-1),
        }
    )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is scored.

    Attributes:
        max_groups: Most groups of a part, drawn.
        depth: Also predict with doubled and halved signal.
        baselines: Fit and score baselines.
        seed: Of the draw.
    """

    max_groups: int = 2000
    depth: bool = True
    baselines: bool = True
    seed: int = 0


def evaluate(
    model: CREformerModel,
    dataset: GenesDataset,
    split: str = "test",
    config: EvaluationConfig | None = None,
    *,
    cache: str | Path | None = None,
    planned: Planned | None = None,
    update: Update | None = None,
    observe: Observe | None = None,
) -> dict[str, Any]:
    """Scores on a split beside baselines, the promoter alone, and other depths.

    Args:
        model: Fitted or converted.
        dataset: Genes in cells.
        split: "test" or "valid" gives the combinations of seen and unseen chromosomes and cell types; "train" or
            "all" one part.
        config: See `EvaluationConfig`.
        cache: Folder of feature caches; None = the user's.
        planned: Is told what will be encoded.
        update: Is told how far encoding is.
        observe: Is shown the matrices of each part, which are not kept.

    Raises:
        InputError: If the data do not fit the model, or the split is empty.
    """
    config = config or EvaluationConfig()
    parts = {name: (genes, _some(groups, config)) for name, (genes, groups) in _parts(dataset, split).items()}
    pairs = parts.values()
    states = np.unique(np.concatenate([dataset.states_in_use(groups, genes) for genes, groups in pairs]))
    factors = {"usual": 1.0, **({"half": 0.5, "double": 2.0} if config.depth else {})}
    tables = {
        name: feature_table(
            model, dataset, states, cache, factor, planned if name == "usual" else None, update
        )
        for name, factor in factors.items()
    }
    baselines = None
    if config.baselines and len(dataset.gene_rows("train")) and len(dataset.group_rows("train")):
        baselines = Baselines.fit(dataset, config.seed)
    found: dict[str, Any] = {}
    for name, (genes, groups) in parts.items():
        by_depth = {
            depth: predict_matrix(model, dataset, table, groups, genes) for depth, table in tables.items()
        }
        alone = predict_matrix(model, dataset, tables["usual"], groups, genes, promoter_only=True)
        predictions = {"model": by_depth["usual"], "promoter_alone": alone}
        predictions |= {f"model_{depth}": by_depth[depth] for depth in list(factors)[1:]}
        part = compare_part(dataset, name, groups, genes, predictions, baselines)
        found[name] = score_part(dataset, part)
        if config.depth:
            usual = by_depth["usual"]
            found[name]["depth"] = {
                depth: depth_change(usual, by_depth[depth]) for depth in list(factors)[1:]
            }
        if observe is not None:
            observe(part)
    return {
        "split": split,
        "parts": found,
        "expression": dataset.manifest["expression"],
        "run": {key: model.about.get(key) for key in ("recipe", "seed", "dataset_hash", "elementary")},
        "dataset_hash": dataset.hash,
        "cisoform": __version__,
        "warnings": _warnings(model, dataset, split),
    }


def _parts(dataset: GenesDataset, split: str) -> dict[str, tuple[Ints, Ints]]:
    genes, groups = dataset.part(split)
    if not len(genes) or not len(groups):
        raise InputError(f"{dataset.path}: no gene or no group is labelled {split!r}; choose another --split")
    if split not in ("test", "valid"):
        return {split: (genes, groups)}
    parts = dict(dataset.four_way(split))
    unseen_genes, unseen_groups = dataset.gene_rows(split), dataset.group_rows(split)
    if len(unseen_genes) and len(unseen_groups):
        # Enough groups for a correlation across them, where few cell types are held out.
        every = np.union1d(dataset.group_rows("train"), unseen_groups)
        parts["unseen chromosomes, all cell types"] = (unseen_genes, every)
    return parts


def _some(groups: Ints, config: EvaluationConfig) -> Ints:
    if len(groups) <= config.max_groups:
        return groups
    chosen = np.random.default_rng(config.seed).choice(len(groups), config.max_groups, replace=False)
    return groups[np.sort(chosen)]


def _warnings(model: CREformerModel, dataset: GenesDataset, split: str) -> list[str]:
    warnings = []
    if model.about.get("dataset_hash") != dataset.hash:
        warnings.append(
            "the model was not fitted on this data set: make sure that what is scored as unseen was not among its "
            "training data"
        )
    warnings += _seen_by_elementary(model, dataset, split)
    unit = model.about.get("expression")
    if unit is None:
        warnings.append("the unit of the model's expression is not known: compare correlations, not errors")
    elif unit != dataset.manifest["expression"]:
        warnings.append(
            f"the model predicts {unit}, the data hold {dataset.manifest['expression']}: compare correlations"
        )
    return warnings


def _seen_by_elementary(model: CREformerModel, dataset: GenesDataset, split: str) -> list[str]:
    """What is scored as unseen, but was among the regions or samples that Elementary was pre-trained on."""
    if split not in ("test", "valid"):
        return []
    first = model.about.get("elementary") or {}
    unseen = {
        "chromosomes": (dataset.genes, "chrom", "train_chromosomes", "--test-chromosomes"),
        "cell types": (dataset.groups, "cell_type", "train_samples", "--test-samples"),
    }
    found = []
    for what, (table, column, key, option) in unseen.items():
        names = set(table.filter(pl.col("split") == split)[column].to_list()) & set(first.get(key) or ())
        if names:
            found.append(
                f"the first stage was pre-trained on tracks (not expression) of {what} that are scored as unseen "
                f"({', '.join(sorted(names)[:6])}); hold them out there too (build-regions {option})"
            )
    return found


def save_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table as .tsv, .csv or .parquet, under its final name only when it is whole.

    Raises:
        InputError: If it cannot be written.
    """
    with atomic_write(path, "wb") as handle:
        if path.suffix == ".parquet":
            table.write_parquet(handle)
        else:
            table.write_csv(handle, separator="," if path.suffix == ".csv" else "\t")
