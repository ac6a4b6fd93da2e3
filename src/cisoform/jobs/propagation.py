"""Rounds of a perturbation: factors whose own genes change expression change the signal of the peaks they may bind.

Reference 9, item 5; the rule is ours, after the rounds of SCENIC+ and CellOracle. Round 1 is the perturbation. Before
each further round the ratio of every factor's predicted expression after the last round to before the perturbation
(of counts, at most 2) changes the peaks with its motif: each factor with a motif in a peak holds an equal share of its
signal, so signal x (1 + mean of ratio - 1 over them). The factors that are perturbed themselves stay as the
perturbation has them. A model that reads DNA and accessibility cannot say how a peak depends on a factor: this is an
assumption, and its rounds are to be read as one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import predict
from cisoform.analysis.perturbation import SignalEdit
from cisoform.analysis.reader import SLOTS_AT_ONCE, Reader
from cisoform.errors import InputError
from cisoform.features.states import Update
from cisoform.genome.motifs import Motif
from cisoform.jobs.chosen_peaks import peaks_of_genes, scan_peaks

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

MOST_RATIO = 2.0
"""More of a factor opens its peaks to at most this (ours)."""
LEAST_COUNT = 0.05
"""Counts per 10,000 added on both sides of a ratio, so that a factor that is off stays off (ours)."""
MOST_LOG = 20.0
"""Expression above which ratios no longer change: keeps exp of a wild prediction finite."""
MOST_VECTORS = 1_000_000
"""Groups x peaks whose edited vectors are held at a time."""


@dataclass(frozen=True)
class Binding:
    """Which factors of the data may bind which peaks.

    Attributes:
        names: Factors whose genes are among the chosen ones and that have a motif; perturbed ones are left out.
        genes: Number of the gene of each.
        peaks: Peaks in reach of the chosen genes, ascending.
        bound: Whether a motif of the factor lies in the peak (peaks, factors).
        n_bound: Factors with a motif in the peak, perturbed ones included.
    """

    names: tuple[str, ...]
    genes: Ints
    peaks: Ints
    bound: Flags
    n_bound: Ints

    @classmethod
    def of(
        cls, reader: Reader, genes: Ints, motifs: Sequence[Motif], perturbed: Collection[str], p_value: float
    ) -> Binding:
        """Scan the peaks of some genes for the motifs of the factors among them.

        Raises:
            InputError: If no factor but the perturbed ones has its gene among the chosen ones.
        """
        symbols = reader.genes["gene_name"].gather(genes.tolist()).to_list()
        gene_of = dict(zip(symbols, genes.tolist(), strict=True))
        used = [motif for motif in motifs if any(tf in gene_of or tf in perturbed for tf in motif.tfs)]
        names = sorted({tf for motif in used for tf in motif.tfs if tf in gene_of} - set(perturbed))
        if not names:
            raise InputError(
                "--rounds: no other factor with a motif is among the chosen genes, so nothing can propagate; leave "
                "--genes and --split out, or give motifs whose names are those of the genes"
            )
        peaks = peaks_of_genes(reader, genes)
        hits = scan_peaks(reader, peaks, used, p_value)
        every = [*names, *sorted(perturbed)]
        of = np.array([[tf in motif.tfs for tf in every] for motif in used])
        bound = np.zeros((len(peaks), len(every)), dtype=bool)
        np.logical_or.at(bound, hits.window, of[hits.motif])
        numbers = np.array([gene_of[name] for name in names])
        return cls(tuple(names), numbers, peaks, bound[:, : len(names)], bound.sum(axis=1))

    def factors(self, ratio: Numbers) -> Numbers:
        """What the signal of each peak is multiplied by (groups, peaks), for ratios (groups, factors)."""
        share = self.bound / np.maximum(self.n_bound, 1)[:, None]
        found: Numbers = 1 + (ratio - 1) @ share.T
        return found


def expression_ratio(before: Numbers, after: Numbers) -> Numbers:
    """Ratio of counts behind log1p expression, from 0 to 2."""
    counts = [np.expm1(np.clip(value, 0, MOST_LOG)) + LEAST_COUNT for value in (after, before)]
    found: Numbers = np.clip(counts[0] / counts[1], 0, MOST_RATIO)
    return found


def propagate(
    reader: Reader,
    grouping: Grouping,
    genes: Ints,
    edit: SignalEdit,
    binding: Binding,
    rounds: int,
    update: Update | None = None,
) -> pl.DataFrame:
    """Predicted expression of genes in every round: a row for every gene, group (or label) and round.

    Args:
        reader: Model and data.
        grouping: Groups that take part.
        genes: Genes, ascending; the factors are among them.
        edit: The perturbation.
        binding: Which factors may bind which peaks.
        rounds: How many; 1 is the perturbation alone.
        update: Is told how many rounds are done.

    Raises:
        InputError: If groups and peaks are too many to hold.
    """
    if len(grouping.groups) * len(binding.peaks) > MOST_VECTORS:
        raise InputError(
            f"--rounds: {len(grouping.groups):,} groups with {len(binding.peaks):,} peaks are too many to hold; build "
            "the data with pseudobulks, or give --groups"
        )
    before = _predicted(reader, grouping.groups, genes, None)
    at = np.searchsorted(genes, binding.genes)
    factors = np.ones((len(grouping.groups), len(binding.peaks)))
    tables = []
    for number in range(1, rounds + 1):
        edited = _edited(reader, grouping.groups, edit, binding.peaks, factors)
        after = _predicted(reader, grouping.groups, genes, edited)
        tables.append(_round_table(reader, grouping, genes, before, after, number))
        factors = binding.factors(expression_ratio(before[:, at], after[:, at]))
        if update is not None:
            update(number, rounds)
    return pl.concat(tables)


@dataclass(frozen=True)
class _Edited:
    """Vectors of edited peaks, and the row of each in every group; -1 where a peak stays as it is."""

    peaks: Ints
    row: Ints
    vectors: torch.Tensor


def _edited(reader: Reader, groups: Ints, edit: SignalEdit, peaks: Ints, factors: Numbers) -> _Edited:
    dataset, n = reader.dataset, reader.dataset.n_peaks
    row = np.full((len(groups), len(peaks)), -1, dtype=np.int64)
    chosen = np.flatnonzero(np.isin(peaks, edit.peaks))
    place = np.searchsorted(edit.peaks, peaks[chosen])
    parts, count = [], 0
    for number, group in enumerate(groups.tolist()):
        states = dataset.group_states(group)[peaks].astype(np.int64)
        signal = np.zeros((len(peaks), dataset.windows(peaks[:1]).shape[1]), dtype=np.float32)
        seen = np.flatnonzero(states >= 2 * n)
        signal[seen] = dataset.observed.signal(states[seen] - 2 * n)
        after = signal.copy()
        after[chosen] = edit.apply(signal[chosen], peaks[chosen], place)
        after *= factors[number, :, None].astype(np.float32)
        changed = np.flatnonzero((after != signal).any(axis=1))
        row[number, changed] = count + np.arange(len(changed))
        count += len(changed)
        if len(changed):
            parts.append(reader.encode(dataset.windows(peaks[changed]), reader.tokens(after[changed])).cpu())
    vectors = torch.cat(parts) if parts else torch.empty(0, reader.model.elementary.dim)
    return _Edited(peaks, row, vectors)


@torch.no_grad()
def _predicted(reader: Reader, groups: Ints, genes: Ints, edited: _Edited | None) -> Numbers:
    """Predictions (groups, genes)."""
    found = np.empty((len(groups), len(genes)))
    for inputs in reader.batches(groups, genes, SLOTS_AT_ONCE // 2):
        group = np.searchsorted(groups, inputs.group.cpu().numpy())
        if edited is not None:
            shown = np.searchsorted(edited.peaks, inputs.peak.cpu().numpy())
            row = edited.row[group[:, None], np.minimum(shown, len(edited.peaks) - 1)]
            row = np.where(inputs.mask.cpu().numpy(), row, -1)
            where = torch.from_numpy(row >= 0).to(inputs.mask.device)
            inputs = inputs.replaced(where, edited.vectors[row[row >= 0]].to(inputs.vectors.device))
        values = predict(reader.model, reader.link, inputs).cpu().numpy()
        found[group, np.searchsorted(genes, inputs.gene.cpu().numpy())] = values
    return found


def _round_table(
    reader: Reader, grouping: Grouping, genes: Ints, before: Numbers, after: Numbers, number: int
) -> pl.DataFrame:
    """Means over the groups of each label."""
    about = reader.genes[genes.tolist()].select("gene_id", "gene_name")
    parts = []
    for label, name in enumerate(grouping.labels):
        of = grouping.label == label
        columns = {
            grouping.column: [name] * len(genes),
            "round": [number] * len(genes),
            "before": before[of].mean(axis=0),
            "after": after[of].mean(axis=0),
        }
        parts.append(about.hstack(pl.DataFrame(columns)))
    table: pl.DataFrame = pl.concat(parts)
    found: pl.DataFrame = table.hstack([(table["after"] - table["before"]).alias("difference")])
    return found
