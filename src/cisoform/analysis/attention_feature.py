"""Attention feature of genes in cells: how alike the scores of a gene's peaks are to those of a reference cell, times
how open its window is.

CREformer: AF(g, c) = cos(AS(g, c), AS(g, c*)) x sum of the accessibility of the gene's peaks in c. The text leaves c*
open; here it is the group with the largest window sum ("cell"), or the mean over the label with the largest mean window
sum ("label"). Scores are all positive and nearly even, so that the plain cosine hardly moves (reference 7.2: 0.90 for
peaks in random order); the centred cosine takes the mean over the peaks away first and can be negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import PeakInputs
from cisoform.analysis.reader import Reader
from cisoform.features.states import Update

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Scorer = Callable[[PeakInputs], Tensor]
Form = Literal["cosine", "centred", "window"]
FORMS: tuple[Form, ...] = get_args(Form)
Reference = Literal["cell", "label"]
REFERENCES: tuple[Reference, ...] = get_args(Reference)


@dataclass(frozen=True)
class GeneScores:
    """Scores of one gene's peaks in all groups, in the order of the groups.

    Attributes:
        gene: Its number.
        scores: (groups, peaks).
        accessibility: Mean signal of the same peaks.
    """

    gene: int
    scores: Numbers
    accessibility: Numbers


@dataclass(frozen=True)
class AttentionFeatures:
    """Matrices (groups, genes).

    Attributes:
        groups: Numbers of the groups.
        genes: Numbers of the genes.
        cosine: Cosine with the scores of the reference; 0 where one of them is zero all over.
        centred: The same of scores minus their mean over the peaks.
        window: Sum of the mean signal of the gene's peaks.
        reference: Of every gene the group ("cell") or the label ("label") that it was compared with.
        kind: Which of the two.
    """

    groups: Ints
    genes: Ints
    cosine: Numbers
    centred: Numbers
    window: Numbers
    reference: Ints
    kind: Reference

    def feature(self, form: Form = "cosine") -> Numbers:
        """The attention feature: window sum times cosine or centred cosine, or the window sum alone."""
        if form == "window":
            return self.window
        return (self.cosine if form == "cosine" else self.centred) * self.window


def cosines(scores: Numbers, reference: Numbers) -> Numbers:
    """Cosine of every row with a vector; 0 where one of them is zero.

    Args:
        scores: (rows, peaks).
        reference: (peaks,).
    """
    size = np.linalg.norm(scores, axis=1) * np.linalg.norm(reference)
    found: Numbers = np.divide(scores @ reference, size, out=np.zeros(len(scores)), where=size > 1e-12)
    return found


def gene_scores(
    reader: Reader, groups: Ints, genes: Ints, scorer: Scorer, slots_at_once: int
) -> Iterator[GeneScores]:
    """Scores gene by gene: what is held at a time is one batch and one gene in all groups."""
    rows: list[tuple[Numbers, Numbers]] = []
    now = -1
    for inputs in reader.batches(groups, genes, slots_at_once):
        found = scorer(inputs).detach().cpu().numpy().astype(np.float64)
        signal = inputs.accessibility.cpu().numpy().astype(np.float64)
        count = inputs.mask.sum(dim=1).tolist()
        for row, gene in enumerate(inputs.gene.tolist()):
            if gene != now and rows:
                yield _joined(now, rows)
                rows = []
            now = gene
            rows.append((found[row, : count[row]], signal[row, : count[row]]))
    if rows:
        yield _joined(now, rows)


def _joined(gene: int, rows: list[tuple[Numbers, Numbers]]) -> GeneScores:
    return GeneScores(gene, np.stack([one for one, _ in rows]), np.stack([other for _, other in rows]))


def attention_features(
    reader: Reader,
    grouping: Grouping,
    genes: Ints,
    scorer: Scorer,
    slots_at_once: int,
    reference: Reference = "cell",
    update: Update | None = None,
) -> AttentionFeatures:
    """The attention feature of genes in groups.

    Args:
        reader: Model and data.
        grouping: Groups that take part; their labels matter for `reference="label"` alone.
        genes: Numbers of genes, ascending.
        scorer: Gives the score of every slot of a batch.
        slots_at_once: Slots of a batch, so that memory is bounded.
        reference: See the module.
        update: Is told how many genes are done.
    """
    groups = grouping.groups
    shape = (len(groups), len(genes))
    cosine, centred, window = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    chosen = np.zeros(len(genes), dtype=np.int64)
    for done, one in enumerate(gene_scores(reader, groups, genes, scorer, slots_at_once), start=1):
        at = int(np.searchsorted(genes, one.gene))
        window[:, at] = one.accessibility.sum(axis=1)
        best = reference_of(window[:, at], grouping, reference)
        rows = np.array([best]) if reference == "cell" else np.flatnonzero(grouping.label == best)
        chosen[at] = groups[best] if reference == "cell" else best
        cosine[:, at] = cosines(one.scores, one.scores[rows].mean(axis=0))
        moved = one.scores - one.scores.mean(axis=1, keepdims=True)
        centred[:, at] = cosines(moved, moved[rows].mean(axis=0))
        if update is not None:
            update(done, len(genes))
    return AttentionFeatures(groups, genes, cosine, centred, window, chosen, reference)


def reference_of(window: Numbers, grouping: Grouping, reference: Reference) -> int:
    """Row of the group, or index of the label, with the largest (mean) window sum; the first of equals."""
    if reference == "cell":
        return int(window.argmax())
    count = np.bincount(grouping.label, minlength=len(grouping.labels))
    total = np.bincount(grouping.label, weights=window, minlength=len(grouping.labels))
    return int((total / np.maximum(count, 1)).argmax())
