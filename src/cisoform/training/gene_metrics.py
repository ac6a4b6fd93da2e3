"""Scores of predicted expression of genes in groups of cells, from pairs in any order.

The overall correlation is mostly that of genes' means. What differs between cells is seen per gene, and in the
differences to each gene's own mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
LEAST_GROUPS = 3
"""Groups a gene must have for a correlation across them."""


def pearson(truth: Values, predicted: Values) -> float:
    """Correlation over all pairs; NaN for fewer than two or a constant truth, 0 for a constant prediction."""
    truth, predicted = truth.astype(np.float64), predicted.astype(np.float64)
    if len(truth) < 2 or np.ptp(truth) == 0:
        return float("nan")
    if np.ptp(predicted) <= 1e-9 * max(1.0, float(np.abs(predicted).max())):
        return 0.0
    return float(np.corrcoef(truth, predicted)[0, 1])


def centre_genes(values: Values, gene: Ints) -> npt.NDArray[np.float64]:
    """Values minus the mean of their gene."""
    _, code = np.unique(gene, return_inverse=True)
    count = np.bincount(code)
    means = np.bincount(code, weights=values) / np.maximum(count, 1)
    return np.asarray(values - means[code], dtype=np.float64)


def gene_pearson(truth: Values, predicted: Values, gene: Ints) -> npt.NDArray[np.float64]:
    """Correlation across groups of every gene, in the order of their numbers.

    NaN where a gene has fewer than three groups or the same value in all; 0 where the prediction does not vary.
    """
    genes, code = np.unique(gene, return_inverse=True)
    t, p = centre_genes(truth, gene), centre_genes(predicted, gene)
    size = len(genes)
    count = np.bincount(code, minlength=size)
    tt, pp, tp = (np.bincount(code, weights=w, minlength=size) for w in (t * t, p * p, t * p))
    scale = np.bincount(code, weights=np.square(predicted.astype(np.float64)), minlength=size)
    defined = (count >= LEAST_GROUPS) & (tt > 1e-12)
    varies = pp > 1e-12 * np.maximum(scale, 1.0)
    found = np.where(varies, tp / np.sqrt(np.where(varies & defined, tt * pp, 1.0)), 0.0)
    return np.where(defined, found, np.nan)


def scores(truth: Values, predicted: Values, gene: Ints) -> dict[str, float]:
    """`mse`, `pearson`, `gene_pearson` (mean over genes), `delta_pearson` and `delta_r2`.

    The delta scores compare differences to each gene's mean over the pairs given, on both sides; R2 is the share of
    their variance that is explained, 0 for a model that knows the genes' means alone.
    """
    by_gene = gene_pearson(truth, predicted, gene)
    t, p = centre_genes(truth, gene), centre_genes(predicted, gene)
    variance = float(np.square(t).sum())
    return {
        "mse": float(np.square(truth.astype(np.float64) - predicted).mean()) if len(truth) else float("nan"),
        "pearson": pearson(truth, predicted),
        "gene_pearson": float(np.nanmean(by_gene)) if np.isfinite(by_gene).any() else float("nan"),
        "delta_pearson": pearson(t, p) if variance > 1e-12 else float("nan"),
        "delta_r2": 1.0 - float(np.square(t - p).sum()) / variance if variance > 1e-12 else float("nan"),
    }
