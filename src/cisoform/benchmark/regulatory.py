"""Scores of predicted expression of genes in cells, and predictors that need no network.

Matrices are (groups, genes) on the data set's scale. Baselines are fitted on training genes in training groups:

    gene_mean      mean of the gene over the training groups; of all training genes for a gene not seen
    window_sum     a line through the logarithm of the summed signal of the gene's peaks
    ridge          ridge on the promoter's signal and on sums over peaks that decay with distance
    ridge_delta    the gene's mean, and ridge on how those features differ from their mean over the training groups
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from cisoform.data.gene_states import ragged_positions
from cisoform.data.genes import GenesDataset
from cisoform.training.gene_metrics import gene_pearson, scores

Array = npt.NDArray[Any]
Matrix = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
DECAYS_BP = (1_000, 5_000, 20_000, 60_000)
ALPHAS = tuple(10.0**power for power in range(-2, 6))
BASELINES = ("gene_mean", "window_sum", "ridge", "ridge_delta")
FIT_GROUPS = 500
"""Most training groups that baselines are fitted on."""


@dataclass(frozen=True)
class Accessibility:
    """What the signal round genes says without sequence, (groups, genes, ...).

    Attributes:
        window: Logarithm of the summed signal of all peaks of the gene.
        features: Logarithm of the promoter peak's signal, and decaying sums of logarithms over the peaks.
    """

    window: Matrix
    features: Matrix


def accessibility(dataset: GenesDataset, groups: Ints, genes: Ints) -> Accessibility:
    """Features of every gene in every group from the mean signal of its peaks."""
    index = dataset.index
    count = index.count[genes].astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(count)])
    peaks = ragged_positions(index.first[genes], count)
    distance = np.abs(index.mid[peaks] - np.repeat(index.tss[genes], count))
    shape = (len(genes), dataset.n_peaks)
    sums = [csr_matrix((np.exp(-distance / decay), peaks, offsets), shape=shape) for decay in DECAYS_BP]
    whole = csr_matrix((np.ones(len(peaks)), peaks, offsets), shape=shape)
    promoter = index.first[genes] + index.tss_peak[genes]
    window = np.empty((len(groups), len(genes)))
    features = np.empty((len(groups), len(genes), 1 + len(DECAYS_BP)))
    for row, group in enumerate(groups.tolist()):
        signal = dataset.state_signal(dataset.group_states(group)).astype(np.float64)
        level = np.log1p(signal)
        window[row] = np.log1p(whole @ signal)
        features[row, :, 0] = level[promoter]
        for column, weights in enumerate(sums, start=1):
            features[row, :, column] = weights @ level
    return Accessibility(window, features)


@dataclass(frozen=True)
class Baselines:
    """Predictors fitted on the training part of a data set."""

    dataset: GenesDataset
    groups: Ints  # training groups that the regressions are fitted on
    gene_means: npt.NDArray[np.float64]  # NaN for a gene not seen
    overall: float
    line: tuple[float, float]
    ridge: Any
    ridge_delta: Any
    scale: tuple[Array, Array]
    scale_delta: Array

    @classmethod
    def fit(cls, dataset: GenesDataset, seed: int = 0) -> Baselines:
        """Fit on training genes in training groups: means on all of them, regressions on at most 500, drawn."""
        from sklearn.linear_model import RidgeCV

        genes, groups = dataset.gene_rows("train"), dataset.group_rows("train")
        if len(groups) > FIT_GROUPS:
            chosen = np.random.default_rng(seed).choice(len(groups), FIT_GROUPS, replace=False)
            groups = groups[np.sort(chosen)]
        truth = dataset.expression_matrix(groups, genes).astype(np.float64)
        means = np.full(dataset.genes.height, np.nan)
        means[genes] = _gene_means(dataset, dataset.group_rows("train"))[genes]
        found = accessibility(dataset, groups, genes)
        x, y = found.window.reshape(-1), truth.reshape(-1)
        slope = float(np.cov(x, y)[0, 1] / x.var(ddof=1)) if len(x) > 1 and np.ptp(x) > 0 else 0.0
        line = (slope, float(y.mean() - slope * x.mean()))
        flat = found.features.reshape(len(y), -1)
        mean, deviation = flat.mean(axis=0), flat.std(axis=0) + 1e-9
        delta = (found.features - found.features.mean(axis=0)).reshape(len(y), -1)
        scale_delta = delta.std(axis=0) + 1e-9
        y_delta = (truth - truth.mean(axis=0)).reshape(-1)
        return cls(
            dataset=dataset,
            groups=groups,
            gene_means=means,
            overall=float(means[genes].mean()),
            line=line,
            ridge=RidgeCV(ALPHAS).fit((flat - mean) / deviation, y),
            ridge_delta=RidgeCV(ALPHAS, fit_intercept=False).fit(delta / scale_delta, y_delta),
            scale=(mean, deviation),
            scale_delta=scale_delta,
        )

    def predict(self, groups: Ints, genes: Ints) -> dict[str, Matrix]:
        """Every baseline's (groups, genes)."""
        found = accessibility(self.dataset, groups, genes)
        shape = found.window.shape
        means = np.broadcast_to(np.nan_to_num(self.gene_means[genes], nan=self.overall), shape)
        flat = found.features.reshape(shape[0] * shape[1], -1)
        usual = accessibility(self.dataset, self.groups, genes).features.mean(axis=0)
        delta = (found.features - usual).reshape(len(flat), -1)
        mean, deviation = self.scale
        return {
            "gene_mean": means,
            "window_sum": self.line[0] * found.window + self.line[1],
            "ridge": self.ridge.predict((flat - mean) / deviation).reshape(shape),
            "ridge_delta": means + self.ridge_delta.predict(delta / self.scale_delta).reshape(shape),
        }


def _gene_means(dataset: GenesDataset, groups: Ints) -> npt.NDArray[np.float64]:
    """Mean expression of every gene over some groups."""
    offsets, genes, values = dataset.expressed()
    total = np.zeros(dataset.genes.height)
    for group in groups.tolist():
        part = slice(int(offsets[group]), int(offsets[group + 1]))
        total[genes[part]] += values[part]
    return total / len(groups)


def score_matrix(
    truth: Matrix, predicted: Matrix, cell_type: Array | None = None, draws: int = 1000
) -> dict[str, Any]:
    """Scores of one predictor on a part.

    Args:
        truth: (groups, genes).
        predicted: The same shape.
        cell_type: Of each group: adds `type_pearson`, the per-gene correlation across means of cell types, where
            there are more groups than types and three types or more.
        draws: Draws of genes for the 95 % interval of `gene_pearson`; 0 = none.
    """
    gene = np.tile(np.arange(truth.shape[1]), len(truth))
    found: dict[str, Any] = dict(scores(truth.reshape(-1), predicted.reshape(-1), gene))
    by_gene = gene_pearson(truth.reshape(-1), predicted.reshape(-1), gene)
    known = by_gene[np.isfinite(by_gene)]
    found["n_genes_scored"] = len(known)
    if draws and len(known) > 1:
        rng = np.random.default_rng(0)
        means = known[rng.integers(0, len(known), (draws, len(known)))].mean(axis=1)
        found["gene_pearson_interval"] = [float(value) for value in np.quantile(means, (0.025, 0.975))]
    if cell_type is not None:
        types = np.unique(cell_type)
        if 3 <= len(types) < len(truth):
            rows = [cell_type == name for name in types]
            pair = [np.stack([values[row].mean(axis=0) for row in rows]) for values in (truth, predicted)]
            gene = np.tile(np.arange(truth.shape[1]), len(types))
            across = gene_pearson(pair[0].reshape(-1), pair[1].reshape(-1), gene)
            found["type_pearson"] = float(np.nanmean(across)) if np.isfinite(across).any() else float("nan")
    return found


def depth_change(usual: Matrix, other: Matrix) -> dict[str, float]:
    """How predictions at another depth compare with the usual ones: correlation, mean and mean absolute change."""
    gene = np.tile(np.arange(usual.shape[1]), len(usual))
    found = scores(usual.reshape(-1), other.reshape(-1), gene)
    return {
        **{key: found[key] for key in ("pearson", "gene_pearson")},
        "mean_change": float((other - usual).mean()),
        "mean_absolute_change": float(np.abs(other - usual).mean()),
        "spread": float(usual.std()),
    }


@dataclass(frozen=True)
class PartPredictions:
    """All that is compared on one part; matrices are (groups, genes) on the data set's scale.

    Attributes:
        name: Of the part.
        groups: Numbers of its groups.
        genes: Numbers of its genes.
        truth: Observed expression.
        predictions: By predictor: the model and its ablations, then the baselines.
    """

    name: str
    groups: Ints
    genes: Ints
    truth: Matrix
    predictions: Mapping[str, Matrix]

    def per_gene(self) -> dict[str, npt.NDArray[np.float64]]:
        """Of every predictor, the correlation of each gene across the groups; NaN where it is not defined."""
        gene = np.tile(np.arange(len(self.genes)), len(self.groups))
        truth = self.truth.reshape(-1)
        return {
            name: gene_pearson(truth, values.reshape(-1), gene) for name, values in self.predictions.items()
        }


def compare_part(
    dataset: GenesDataset,
    name: str,
    groups: Ints,
    genes: Ints,
    predictions: Mapping[str, Matrix],
    baselines: Baselines | None,
) -> PartPredictions:
    """The given predictions and those of the baselines beside the truth.

    Args:
        dataset: The truth.
        name: Of the part.
        groups: Groups of the part.
        genes: Genes of the part.
        predictions: (groups, genes) by name.
        baselines: Fitted predictors to put beside them; None = none.
    """
    beside = {} if baselines is None else baselines.predict(groups, genes)
    truth = dataset.expression_matrix(groups, genes)
    return PartPredictions(name, groups, genes, truth, {**predictions, **beside})


def cell_types(dataset: GenesDataset, groups: Ints) -> Array | None:
    """Cell type of each group; None where one is not known."""
    if "cell_type" not in dataset.groups.columns:
        return None
    names = dataset.groups["cell_type"].to_list()
    if any(names[group] is None for group in groups.tolist()):
        return None
    return np.array([str(names[group]) for group in groups.tolist()])


def score_part(dataset: GenesDataset, part: PartPredictions) -> dict[str, Any]:
    """Scores of every predictor of a part."""
    types = cell_types(dataset, part.groups)
    return {
        "n_groups": len(part.groups),
        "n_genes": len(part.genes),
        "expressed_share": float((part.truth > 0).mean()),
        "scores": {
            name: score_matrix(part.truth, values, types) for name, values in part.predictions.items()
        },
    }
