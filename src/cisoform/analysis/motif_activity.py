"""Activity of transcription factors in cells, from their motifs: by what peaks do to predictions, or by openness alone.

`closing_effects` asks the model: to first order, how much would all predictions of a group change if a peak closed?
`motif_activity` explains these effects by the motifs in the peaks (ridge regression over peaks, all factors at once, so
that motifs of the same peaks are told apart). The weight of a factor that represses is negative; its activity is the
weight times the sign of its mean weight over the groups.

`motif_deviations` is the baseline without a model, after chromVAR (Schep et al. 2017): accessibility of the peaks with
a motif beside what is expected from depth, as a z-score over background peaks alike in accessibility and GC.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree
from torch import Tensor

from cisoform.analysis.inputs import PeakInputs, predict
from cisoform.analysis.reader import Reader
from cisoform.features.states import Update
from cisoform.models.creformer import CREformer

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

RIDGE_SHARE = 0.05
"""Penalty as a share of the mean variance of the motifs (ours): weights of motifs in few peaks shrink most."""
BACKGROUNDS = 50
_NEAR = 50


def first_order_effect(model: CREformer, link: str, inputs: PeakInputs, closed: Tensor) -> Tensor:
    """Prediction minus that with the peak's signal at zero, to first order: gradient x (vector - closed vector).

    One backward pass for all peaks, where `scores.ablation` takes a pass for each. 0 at padding and closed peaks.
    """
    vectors = inputs.vectors.detach().clone().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(predict(model, link, inputs.with_vectors(vectors)).sum(), vectors)
    effect: Tensor = (found * (vectors.detach() - closed)).sum(dim=-1)
    return effect.masked_fill(~inputs.mask, 0.0)


def closing_effects(
    reader: Reader, groups: Ints, genes: Ints, slots_at_once: int, update: Update | None = None
) -> Numbers:
    """(groups, peaks of the data set): first-order effect of every peak, summed over the genes it reaches."""
    found = np.zeros((len(groups), reader.dataset.n_peaks))
    done, total = 0, len(groups) * len(genes)
    for inputs in reader.batches(groups, genes, slots_at_once):
        effect = first_order_effect(reader.model, reader.link, inputs, reader.closed(inputs))
        row = torch.from_numpy(np.searchsorted(groups, inputs.group.cpu().numpy()))
        rows = row[:, None].expand(-1, inputs.n_slots)[inputs.mask.cpu()].numpy()
        np.add.at(found, (rows, inputs.peak[inputs.mask].cpu().numpy()), effect[inputs.mask].cpu().numpy())
        done += len(inputs)
        if update is not None:
            update(done, total)
    return found


def motif_weights(effects: Numbers, has: Flags, share: float = RIDGE_SHARE) -> Numbers:
    """Weights (groups, factors) of a ridge regression of the effects of peaks on the motifs in them, with an intercept.

    Args:
        effects: (groups, peaks).
        has: Whether a motif of each factor lies in each peak (peaks, factors).
        share: Penalty as a share of the mean of the diagonal of the motifs' scatter.
    """
    design = has - has.mean(axis=0)
    scatter = design.T @ design
    gram = scatter + np.eye(len(scatter)) * max(share * float(np.diag(scatter).mean()), 1e-9)
    answer = effects - effects.mean(axis=1, keepdims=True)
    found: Numbers = np.linalg.solve(gram, design.T @ answer.T).T
    return found


def motif_activity(effects: Numbers, has: Flags, share: float = RIDGE_SHARE) -> Numbers:
    """Weights of `motif_weights`, turned so that each factor's mean over the groups is not negative."""
    weights = motif_weights(effects, has, share)
    sign = np.where(weights.mean(axis=0) < 0, -1.0, 1.0)
    return weights * sign


def motif_deviations(
    signal: Numbers, has: Flags, gc: Numbers, seed: int = 0, n_backgrounds: int = BACKGROUNDS
) -> Numbers:
    """Accessibility of the peaks with a motif beside expectation, as z-scores (groups, factors) over backgrounds.

    Args:
        signal: Accessibility (groups, peaks).
        has: (peaks, factors).
        gc: Share of G and C of every peak.
        seed: Of the draw of the backgrounds.
        n_backgrounds: How many.
    """
    total = signal.sum()
    expected = np.outer(signal.sum(axis=1), signal.sum(axis=0)) / total if total else np.zeros_like(signal)
    rng = np.random.default_rng(seed)
    near = near_peaks(signal.mean(axis=0), gc)
    order = (stand_ins(near, rng) for _ in range(n_backgrounds))
    count = csr_matrix(has.astype(np.float64))
    own = _deviation(signal, expected, count)
    others = np.stack([_deviation(signal[:, rows], expected[:, rows], count) for rows in order])
    spread = others.std(axis=0)
    found: Numbers = np.divide(
        own - others.mean(axis=0), spread, out=np.zeros_like(own), where=spread > 1e-12
    )
    return found


def _deviation(signal: Numbers, expected: Numbers, count: csr_matrix) -> Numbers:
    hope = np.asarray(expected @ count)
    found: Numbers = np.divide(signal @ count - hope, hope, out=np.zeros_like(hope), where=hope > 1e-12)
    return found


def near_peaks(mean: Numbers, gc: Numbers) -> Ints:
    """The 50 peaks nearest each one in rank of accessibility and GC, itself included (peaks, 50)."""
    rank = np.stack([np.argsort(np.argsort(column, kind="stable")) for column in (mean, gc)], axis=1)
    _, found = cKDTree(rank).query(rank, k=np.arange(1, min(_NEAR, len(mean)) + 1), p=1)
    return np.asarray(found, dtype=np.int64)


def stand_ins(near: Ints, rng: np.random.Generator) -> Ints:
    """One of the near peaks for each peak, by chance."""
    return np.asarray(near[np.arange(len(near)), rng.integers(near.shape[1], size=len(near))])
