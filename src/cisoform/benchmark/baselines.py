"""Simple predictors that stand beside every score: what a number is worth.

In: hand-made features (`features.py`), log1p labels with NaN where missing, and which rows may be learned from.
Out: predictions of every baseline for the rows to be scored, on the log1p scale. Everything is fitted on train
rows. The strength of the ridge penalty is chosen on valid rows (on a tenth of the train genes if there are none);
the sizes of the trees are constants that were chosen on the valid rows of the yeast pack. Nothing looks at a label
of a scored row.

Trees know one output only. So the standardised labels of each level (transcript, gene) are turned onto
their principal components on the train rows and one ensemble is fitted per component: with two conditions these are
their mean and their difference, which helps the fold change; with thirty tissues the leading components stand
for all (`BaselineConfig.max_components`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from cisoform.benchmark.features import LENGTH_NAMES, FeatureTable

logger = logging.getLogger(__name__)

Kind = Literal["mean", "ridge", "trees"]


@dataclass(frozen=True)
class BaselineSpec:
    """One row of the table: its key, what it is in words, how it is fitted and what it sees."""

    name: str
    label: str
    kind: Kind
    sources: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    needs_isoform_count: bool = False


_DNA = ("dna_upstream", "dna_downstream")
_RNA = ("rna", "structure")

BASELINES: tuple[BaselineSpec, ...] = (
    BaselineSpec("mean_per_tissue", "mean of the train rows, per tissue", "mean"),
    BaselineSpec("four_lengths", "5'UTR, CDS, 3'UTR and RNA length alone", "trees", features=LENGTH_NAMES),
    BaselineSpec(
        "isoform_count",
        "number of isoforms of the gene (information that no model may see)",
        "trees",
        needs_isoform_count=True,
    ),
    BaselineSpec(
        "kmer_ridge", "ridge on k-mers, codons, lengths of all inputs", "ridge", (*_DNA, *_RNA, "protein")
    ),
    BaselineSpec("boosted_trees_all", "boosted trees on all inputs", "trees", (*_DNA, *_RNA, "protein")),
    BaselineSpec("boosted_trees_dna", "boosted trees on the DNA window", "trees", _DNA),
    BaselineSpec("boosted_trees_dna_upstream", "boosted trees on DNA upstream of the TSS", "trees", _DNA[:1]),
    BaselineSpec("boosted_trees_rna", "boosted trees on the RNA and its regions", "trees", _RNA),
    BaselineSpec("boosted_trees_protein", "boosted trees on the protein", "trees", ("protein",)),
)
BASELINE_NAMES = tuple(spec.name for spec in BASELINES)
TRACK_SOURCE = "tracks"
TRACK_BASELINES: tuple[BaselineSpec, ...] = (
    BaselineSpec("track_ridge", "ridge on the tracks at the promoter", "ridge", (TRACK_SOURCE,)),
    BaselineSpec(
        "kmer_track_ridge",
        "ridge on k-mers, codons, lengths of all inputs and on the tracks at the promoter",
        "ridge",
        (*_DNA, *_RNA, "protein", TRACK_SOURCE),
    ),
)
"""Beside the others where the data have tracks."""


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """Sizes. Defaults: chosen on the valid rows of the yeast pack, all fits there in about a minute on two cores.

    Attributes:
        max_fit_rows: More train rows than this are thinned to a fixed random choice of whole genes.
        max_components: Components of the transcript-level labels that get trees of their own.
        max_gene_components: The same for gene-level labels.
        max_tree_features: The features with the largest correlation with the component on the train rows.
        tree_members: Ensembles of trees with different seeds that are averaged.
        tree_members_all_inputs: The same for the row of all inputs, the one to beat: no luck of one seed.
        threads: Threads of the trees and of the linear algebra. 1 is often fastest when other work runs on the machine.
    """

    max_fit_rows: int = 20_000
    max_components: int = 8
    max_gene_components: int = 2
    max_tree_features: int = 300
    tree_members: int = 1
    tree_members_all_inputs: int = 2
    tree_iterations: int = 120
    tree_learning_rate: float = 0.06
    tree_leaves: int = 12
    tree_feature_share: float = 0.2
    tree_bins: int = 31
    min_samples_leaf: int = 20
    # Strongest first: it wins a tie, as when there is nothing to choose on.
    ridge_penalties: tuple[float, ...] = (1e5, 3e4, 1e4, 3e3, 1e3, 3e2, 1e2)
    threads: int = 1
    seed: int = 0

    @classmethod
    def fast(cls) -> BaselineConfig:
        """For demonstrations: about four times faster; on yeast R2 is lower by up to 0.04."""
        return cls(
            max_fit_rows=4_000,
            max_components=3,
            max_gene_components=1,
            max_tree_features=150,
            tree_members_all_inputs=1,
            tree_iterations=30,
            tree_learning_rate=0.2,
        )


@dataclass(frozen=True)
class BaselineData:
    """Rows to learn from and to score, side by side.

    Attributes:
        features: One row per transcript.
        isoform_count: Annotated isoforms of the row's gene, seen by the baseline of that name alone.
        labels: log1p expression, NaN = missing. Labels outside `train` and `valid` are never read.
        gene: Gene code of every row; a gene-level label counts once per gene however many isoforms carry it.
        gene_level: True for the columns whose label belongs to the gene.
        train, valid: Rows to fit on, rows to choose the ridge penalty on (may be empty).
        score: Row numbers to predict.
    """

    features: FeatureTable
    isoform_count: Int[np.ndarray, " rows"]
    labels: Float[np.ndarray, "rows columns"]
    gene: Int[np.ndarray, " rows"]
    gene_level: Bool[np.ndarray, " columns"]
    train: Bool[np.ndarray, " rows"]
    valid: Bool[np.ndarray, " rows"]
    score: Int[np.ndarray, " scored"]


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline's predictions for the scored rows, on the log1p scale (NaN: a column without train labels)."""

    name: str
    label: str
    predicted: Float[np.ndarray, "scored columns"]
    n_features: int
    seconds: float


def fit_baselines(
    data: BaselineData, config: BaselineConfig | None = None, names: Sequence[str] | None = None
) -> list[Baseline]:
    """Fit the named baselines (default: all) whose inputs are there, in the order of `BASELINES`, tracks last."""
    config = config or BaselineConfig()
    specs = (*BASELINES, *(TRACK_BASELINES if TRACK_SOURCE in data.features.source else ()))
    unknown = set(names or ()) - {spec.name for spec in specs}
    if unknown:
        raise KeyError(
            f"no baseline {sorted(unknown)[0]!r}; there are {', '.join(spec.name for spec in specs)}"
        )
    data = replace(data, train=thin_rows(data.train, data.gene, config.max_fit_rows, config.seed))
    fitted = []
    for spec in specs:
        if names is not None and spec.name not in names:
            continue
        features = _features_of(spec, data)
        if spec.kind != "mean" and not features.names:
            logger.info("baseline %s is left out: its input is not there", spec.name)
            continue
        started = time.perf_counter()
        members = config.tree_members_all_inputs if spec.name == "boosted_trees_all" else config.tree_members
        predicted = _fit_predict(spec.kind, features, data, replace(config, tree_members=members))
        seconds = time.perf_counter() - started
        fitted.append(Baseline(spec.name, spec.label, predicted, len(features.names), seconds))
    return fitted


def isoform_counts(gene: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """Rows of the same gene, for every row; give it all rows of the annotation, then take the rows needed."""
    return np.asarray(np.bincount(gene)[gene] if len(gene) else gene, dtype=np.int64)


def replicate_pairs(
    values: Float[np.ndarray, "rows all_columns"], all_columns: Sequence[str], columns: Sequence[str]
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]] | None:
    """First and second replicate of every column, from columns named `<column>_rep1` and `<column>_rep2`.

    Scoring one against the other is the ceiling: no predictor can be expected to agree with an experiment better
    than its own repeat does. NaN where a column has no replicates; None when no column has.
    """
    position = {name: index for index, name in enumerate(all_columns)}
    first, second = np.full((2, len(values), len(columns)), np.nan)
    found = False
    for index, name in enumerate(columns):
        one, two = position.get(f"{name}_rep1"), position.get(f"{name}_rep2")
        if one is not None and two is not None:
            first[:, index], second[:, index] = values[:, one], values[:, two]
            found = True
    return (first, second) if found else None


# --------------------------------------------------------------------------------------------------- the labels


@dataclass(frozen=True)
class _Target:
    """Labels of one level as few, uncorrelated, standardised outputs, with the way back."""

    columns: Int[np.ndarray, " columns"]
    mean: Float[np.ndarray, " columns"]
    scale: Float[np.ndarray, " columns"]
    axes: Float[np.ndarray, "columns components"]

    def components(self, labels: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows components"]:
        """Labels of rows with at least one label; a missing one takes the mean of the row's standardised others."""
        z = (labels - self.mean) / self.scale
        known = np.isfinite(z)
        row_mean = (
            np.where(known, z, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1), 1)[:, None]
        )
        return np.asarray(np.where(known, z, row_mean) @ self.axes)

    def labels(self, components: Float[np.ndarray, "rows components"]) -> Float[np.ndarray, "rows columns"]:
        """Back to the log1p scale."""
        return np.asarray(components @ self.axes.T * self.scale + self.mean)


def _fit_target(
    labels: Float[np.ndarray, "rows columns"],
    weights: Float[np.ndarray, " rows"],
    columns: Int[np.ndarray, " columns"],
    max_components: int,
) -> _Target:
    known = np.isfinite(labels)
    mass = np.where(known, weights[:, None], 0.0)
    total = np.maximum(mass.sum(axis=0), 1e-12)
    mean = (np.where(known, labels, 0.0) * mass).sum(axis=0) / total
    scale = np.sqrt((np.where(known, labels - mean, 0.0) ** 2 * mass).sum(axis=0) / total)
    # A constant column: its mean is its prediction, and rounding noise must not be blown up.
    scale = np.where(scale > 1e-6 * np.maximum(np.abs(mean), 1.0), scale, 1.0)
    target = _Target(columns, mean, scale, np.eye(len(columns)))
    if len(columns) > 1:
        z = target.components(labels)
        _, vectors = np.linalg.eigh((z * weights[:, None]).T @ z)
        target = replace(target, axes=vectors[:, ::-1][:, :max_components])
    return target


def _weights(data: BaselineData, level: bool, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """1 per row, or 1 per gene shared by its rows."""
    if not level:
        return np.ones(len(rows))
    _, inverse, count = np.unique(data.gene[rows], return_inverse=True, return_counts=True)
    return np.asarray(1.0 / count[inverse])


def _fit_predict(
    kind: Kind, features: FeatureTable, data: BaselineData, config: BaselineConfig
) -> Float[np.ndarray, "scored columns"]:
    """Fit each level of labels on its labelled train rows and predict the scored rows."""
    predicted = np.full((len(data.score), data.labels.shape[1]), np.nan)
    for level in (False, True):
        columns = np.flatnonzero(data.gene_level == level)
        labels = data.labels[:, columns].astype(np.float64)
        with_train_label = np.isfinite(labels[data.train]).any(axis=0)
        columns, labels = columns[with_train_label], labels[:, with_train_label]
        if not len(columns):
            continue
        labelled = np.isfinite(labels).any(axis=1)
        rows, valid = np.flatnonzero(data.train & labelled), np.flatnonzero(data.valid & labelled)
        weights = _weights(data, level, rows)
        keep = config.max_gene_components if level else config.max_components
        target = _fit_target(labels[rows], weights, columns, keep if kind == "trees" else len(columns))
        outputs = target.components(labels[rows])
        if kind == "mean":
            components = np.zeros((len(data.score), outputs.shape[1]))
        elif kind == "ridge":
            fit = np.ones(len(rows), dtype=bool)
            if not len(valid):
                # Every tenth train gene chooses the penalty and is left out of the fit.
                fit = data.gene[rows] % 10 != 0
                fit = fit if fit.any() else ~fit
                valid = rows[~fit]
            choice = (features.values[valid], target.components(labels[valid]), _weights(data, level, valid))
            components = _ridge(
                features.values[rows[fit]],
                outputs[fit],
                weights[fit],
                choice,
                features.values[data.score],
                config,
            )
        else:
            components = _trees(features.values[rows], outputs, weights, features.values[data.score], config)
        predicted[:, columns] = target.labels(components)
    return predicted


# ---------------------------------------------------------------------------------------------------- the models


def _ridge(
    x: Float[np.ndarray, "rows features"],
    y: Float[np.ndarray, "rows outputs"],
    weights: Float[np.ndarray, " rows"],
    choice: tuple[
        Float[np.ndarray, "valid features"], Float[np.ndarray, "valid outputs"], Float[np.ndarray, " valid"]
    ],
    x_new: Float[np.ndarray, "scored features"],
    config: BaselineConfig,
) -> Float[np.ndarray, "scored outputs"]:
    """Ridge on standardised features, a missing feature at its mean; the penalty with least error on `choice`."""
    from scipy.linalg import cho_factor, cho_solve

    mean, scale = _column_moments(x, weights)

    def standardise(values: Float[np.ndarray, "some features"]) -> Float[np.ndarray, "some features"]:
        return np.asarray(np.nan_to_num((values - mean) / scale).clip(-10, 10), dtype=np.float64)

    z = standardise(x)
    weighted = z * weights[:, None]
    intercept = weights @ y / weights.sum()
    with _limited_threads(config.threads):
        gram, moment = weighted.T @ z, weighted.T @ (y - intercept)
        fits = [
            cho_solve(cho_factor(gram + penalty * np.eye(len(gram))), moment)
            for penalty in config.ridge_penalties
        ]
    x_choice, y_choice, w_choice = choice
    z_choice = standardise(x_choice)
    losses = [float((w_choice[:, None] * (y_choice - intercept - z_choice @ fit) ** 2).sum()) for fit in fits]
    return np.asarray(standardise(x_new) @ fits[int(np.argmin(losses))] + intercept)


def _trees(
    x: Float[np.ndarray, "rows features"],
    y: Float[np.ndarray, "rows outputs"],
    weights: Float[np.ndarray, " rows"],
    x_new: Float[np.ndarray, "scored features"],
    config: BaselineConfig,
) -> Float[np.ndarray, "scored outputs"]:
    """Histogram gradient boosting per output, on the features that correlate most with it on the train rows."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    predicted = np.zeros((len(x_new), y.shape[1]))
    strength = _correlations(x, y, weights)
    with _limited_threads(config.threads):
        for output in range(y.shape[1]):
            chosen = np.argsort(-strength[:, output], kind="stable")[: config.max_tree_features]
            # A feature without spread (or never known) splits nothing, and scikit-learn cannot bin the latter.
            chosen = chosen[strength[chosen, output] > 0]
            if not len(chosen):
                predicted[:, output] = weights @ y[:, output] / weights.sum()
                continue
            for member in range(config.tree_members):
                model = HistGradientBoostingRegressor(
                    max_iter=config.tree_iterations,
                    learning_rate=config.tree_learning_rate,
                    max_leaf_nodes=config.tree_leaves,
                    max_bins=config.tree_bins,
                    # Few features need no sampling; with many it decorrelates the trees and saves time.
                    max_features=config.tree_feature_share if len(chosen) > 50 else 1.0,
                    min_samples_leaf=min(config.min_samples_leaf, max(len(x) // 10, 1)),
                    l2_regularization=1.0,
                    early_stopping=False,
                    random_state=config.seed + member,
                )
                model.fit(x[:, chosen], y[:, output], sample_weight=weights)
                predicted[:, output] += model.predict(x_new[:, chosen]) / config.tree_members
    return predicted


def _limited_threads(threads: int) -> AbstractContextManager[None]:
    """Threads of OpenMP and of the linear algebra; call it after scikit-learn is loaded."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[None] = threadpool_limits(threads)
    return limits


def _column_moments(
    x: Float[np.ndarray, "rows features"], weights: Float[np.ndarray, " rows"]
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, " features"]]:
    """Weighted mean and standard deviation of the known values; 0 and 1 where there are none or no spread."""
    known = np.isfinite(x)
    total = np.maximum(weights @ known, 1e-12)
    mean = weights @ np.where(known, x, 0.0) / total
    variance = weights @ np.where(known, x - mean, 0.0) ** 2 / total
    return mean, np.where(variance > 1e-14, np.sqrt(variance), 1.0)


def _correlations(
    x: Float[np.ndarray, "rows features"],
    y: Float[np.ndarray, "rows outputs"],
    weights: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, "features outputs"]:
    """Absolute weighted correlation of every feature with every output, missing features at their mean."""
    mean, scale = _column_moments(x, weights)
    z = np.nan_to_num((x - mean) / scale)
    centred = (y - weights @ y / weights.sum()) * weights[:, None]
    spread = np.sqrt((centred**2 / weights[:, None]).sum(axis=0))
    return np.asarray(np.abs(z.T @ centred) / np.where(spread > 0, spread, 1.0))


def _features_of(spec: BaselineSpec, data: BaselineData) -> FeatureTable:
    if spec.needs_isoform_count:
        return FeatureTable(
            data.isoform_count[:, None].astype(np.float32), ("isoform_count",), ("structure",)
        )
    if spec.features:
        return data.features.by_name([name for name in spec.features if name in data.features.names])
    return data.features.select(spec.sources)


def thin_rows(
    chosen: Bool[np.ndarray, " rows"], gene: Int[np.ndarray, " rows"], max_rows: int, seed: int
) -> Bool[np.ndarray, " rows"]:
    """At most `max_rows` of the chosen rows, as whole genes in a random order fixed by the seed."""
    if chosen.sum() <= max_rows:
        return chosen
    order = np.random.default_rng(seed).permutation(int(gene.max()) + 1)
    size = np.bincount(gene[chosen], minlength=len(order))
    kept = np.zeros(len(order), dtype=bool)
    kept[order[np.cumsum(size[order]) <= max_rows]] = True
    return np.asarray(chosen & kept[gene])
