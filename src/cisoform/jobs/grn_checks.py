"""Beside a gene network: knock-outs of whole factors, what was measured, and what the user must be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from cisoform.analysis.grn import LEAST_LABELS, LEAST_PEAKS, Evidence
from cisoform.analysis.grn_baselines import Measured
from cisoform.analysis.grn_scores import divided, label_means
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import predict
from cisoform.analysis.perturbation import EditedPeaks, SignalEdit, apply_edit
from cisoform.analysis.reader import SLOTS_AT_ONCE, Reader
from cisoform.jobs.grn_sites import FactorSites, MotifSet, few_sites
from cisoform.jobs.perturbation import edited_slots

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Update = Callable[[int, int], None]

LEAST_GROUPS = 3
"""Groups from which on bags are drawn."""


@torch.no_grad()
def knock_out(
    reader: Reader, grouping: Grouping, genes: Ints, sites: FactorSites, called: Flags, update: Update
) -> Floats:
    """Close all peaks with a site of each factor that acts; change of every gene at the label where it is largest."""
    table = sites.factors.sites.tocsc()
    rows = np.flatnonzero(called).tolist()
    edits = []
    for factor in rows:
        peaks = np.sort(table.indices[table.indptr[factor] : table.indptr[factor + 1]]).astype(np.int64)
        edits.append(EditedPeaks(reader, SignalEdit(peaks)))
    total = np.zeros((len(rows), len(genes), len(grouping.labels)))
    count = np.zeros(total.shape[1:])
    done = 0
    for inputs in reader.batches(grouping.groups, genes, SLOTS_AT_ONCE // 2):
        before = predict(reader.model, reader.link, inputs).cpu().numpy().astype(np.float64)
        at = (np.searchsorted(genes, inputs.gene.cpu().numpy()), grouping.of(inputs.group.cpu().numpy()))
        np.add.at(count, at, 1)
        for number, edited in enumerate(edits):
            where, place = edited_slots(inputs, edited.edit.peaks)
            effect = apply_edit(edited, inputs, where, place, before)
            np.add.at(total[number], at, effect.after - before)
        done += len(inputs)
        update(done, len(genes) * len(grouping.groups))
    mean = np.nan_to_num(divided(total, count[None]))
    most = np.abs(mean).argmax(axis=2)
    found = np.full((len(called), len(genes)), np.nan, dtype=np.float32)
    found[rows] = np.take_along_axis(mean, most[:, :, None], axis=2)[:, :, 0]
    return found


def measure(reader: Reader, grouping: Grouping) -> Measured:
    """Accessibility of all peaks and expression of all genes, means by label."""
    dataset, n_labels = reader.dataset, len(grouping.labels)
    opened = np.zeros((n_labels, dataset.n_peaks))
    for group, label in zip(grouping.groups.tolist(), grouping.label.tolist(), strict=True):
        opened[label] += dataset.state_signal(dataset.group_states(group))
    count = np.maximum(np.bincount(grouping.label, minlength=n_labels), 1)
    every = np.arange(dataset.genes.height)
    levels = dataset.expression_matrix(grouping.groups, every).astype(np.float64)
    alone = np.ones((len(grouping.groups), 1), dtype=np.int64)
    return Measured(opened / count[:, None], label_means(levels, grouping.label, n_labels, alone)[:, :, 0])


def warnings_of(
    chosen: MotifSet,
    sites: FactorSites,
    found: Evidence,
    called: Flags,
    n_labels: int,
    n_bags: int,
    *,
    wanted_bags: int,
    strict: bool,
    tf_fdr: float,
    null_calls: Sequence[int],
) -> list[str]:
    """Sentences, none of them where all is well.

    Args:
        chosen: Motifs and factors.
        sites: Where their sites are.
        found: Tests of factors.
        called: Factors that act.
        n_labels: Labels of groups.
        n_bags: Bags that were drawn.
        wanted_bags: Bags that were asked for.
        strict: Whether sites were cut by false discovery rate.
        tf_fdr: Cut of factors.
        null_calls: Factors that networks of permuted peaks call.
    """
    texts = []
    if chosen.left_out:
        texts.append(f"{chosen.left_out:,} motifs were left out: their factor is no gene of the data set")
    few = few_sites(sites, LEAST_PEAKS)
    if few:
        mend = " (--motif-p 1e-4 is less strict)" if strict else ""
        shown = ", ".join(few[:5]) + (" ..." if len(few) > 5 else "")
        texts.append(
            f"{len(few):,} factors have sites in fewer than {LEAST_PEAKS} peaks and were not tested{mend}: {shown}"
        )
    if n_labels < LEAST_LABELS:
        texts.append(
            f"{n_labels} group(s): how scores follow the expression of factors cannot be asked; give more groups"
        )
    if wanted_bags and not n_bags:
        texts.append(f"fewer than {LEAST_GROUPS} groups: no bags were drawn, so edges have no stability")
    if not called.any():
        texts.append(
            f"no factor acts at --tf-fdr {tf_fdr:g}: the network is empty (least q {_least(found):.2g})"
        )
    if null_calls and np.mean(null_calls) > 0.2 * max(int(called.sum()), 1):
        texts.append(
            f"networks of permuted peaks call {np.mean(null_calls):.1f} factors where the real one calls "
            f"{called.sum()}: the scores do not tell factors apart"
        )
    return texts


def _least(found: Evidence) -> float:
    known = found.q[np.isfinite(found.q)]
    return float(known.min()) if len(known) else float("nan")
