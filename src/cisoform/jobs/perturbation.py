"""Knock-outs and knock-ins of a data set or a locus: edit, predict, and stand beside the controls.

Peaks are chosen by `chosen_peaks`, the tables are those of `perturbation_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import PeakInputs, predict, predict_edits
from cisoform.analysis.knockin import insert_peaks
from cisoform.analysis.perturbation import NEAREST, EditedPeaks, Effect, SignalEdit, apply_edit, matched_slots
from cisoform.analysis.reader import SLOTS_AT_ONCE, LocusReader, Reader
from cisoform.data.locus_text import read_locus_text
from cisoform.errors import InputError
from cisoform.features.states import Update
from cisoform.genome.files import atomic_write
from cisoform.jobs.chosen_peaks import peaks_of_genes, scan_peaks
from cisoform.jobs.perturbation_tables import Perturbation, Totals, gene_table, group_table

__all__ = ["insert_into", "peaks_of_genes", "perturb", "scan_peaks", "screen", "touched_genes"]

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
AnyReader = Reader | LocusReader


def mean_signal(reader: AnyReader, groups: Ints) -> Numbers:
    """Mean measured signal of every peak over groups."""
    if isinstance(reader, LocusReader):
        found: Numbers = np.nan_to_num(reader.locus.signal).mean(axis=1).astype(np.float64)
        return found
    total = np.zeros(reader.dataset.n_peaks)
    for group in groups.tolist():
        total += reader.dataset.state_signal(reader.dataset.group_states(group))
    return total / max(len(groups), 1)


def perturb(
    reader: AnyReader,
    grouping: Grouping,
    genes: Ints,
    edit: SignalEdit,
    *,
    n_controls: int = 20,
    n_draws: int | None = None,
    seed: int = 0,
    update: Update | None = None,
) -> Perturbation:
    """Predict genes before and after an edit, and after its matched controls.

    Args:
        reader: Model and data.
        grouping: Groups that take part.
        genes: Genes; those without an edited peak in reach are left out.
        edit: What is edited.
        n_controls: Controls of every gene (at most 5, as many as there are peaks to choose from for an edited one);
            0 = none.
        n_draws: Draws behind every p-value; None = `n_controls`, 0 = no p-values, which halves the time.
        seed: Of their draw.
        update: Is told how far it is.

    Raises:
        InputError: If no gene has an edited peak in reach.
    """
    genes = touched_genes(reader, genes, edit.peaks)
    n_others = min(n_controls, NEAREST)
    n_draws = n_controls if n_draws is None else n_draws
    totals = Totals.empty(len(genes), len(grouping.labels), n_others, n_draws)
    signal = mean_signal(reader, grouping.groups)
    edited = EditedPeaks(reader, edit)
    others, draws = (_StandIns(edit, signal, n, seed, own) for n, own in ((n_others, False), (n_draws, True)))
    done, total = 0, len(genes) * len(grouping.groups)
    for inputs in _batches(reader, grouping, genes):
        row = np.searchsorted(genes, inputs.gene.cpu().numpy())
        where, place = edited_slots(inputs, edit.peaks)
        effect = apply_edit(edited, inputs, where, place)
        found = others.of(inputs, where)
        totals.has_controls[row] = found.known
        changes = [_changes(edited, inputs, one, effect) for one in (found, draws.of(inputs, where))]
        totals.add(row, grouping.of(inputs.group.cpu().numpy()), effect, *changes)
        done += len(inputs)
        if update is not None:
            update(done, total)
    table = gene_table(reader, grouping, genes, totals)
    return Perturbation(table, group_table(grouping, totals))


def _changes(edited: EditedPeaks, inputs: PeakInputs, controls: _Controls, effect: Effect) -> Numbers:
    """Difference of every sample under every control (batch, controls)."""
    found = np.zeros((len(inputs), len(controls.slot)))
    for number in range(len(controls.slot)):
        other = apply_edit(edited, inputs, *controls.edit(number), effect.before)
        found[:, number] = other.after - other.before
    return found


def _batches(reader: AnyReader, grouping: Grouping, genes: Ints) -> Iterator[PeakInputs]:
    # Half the slots at a time: the edited copy stands beside the original.
    return reader.batches(grouping.groups, genes, SLOTS_AT_ONCE // 2)


def touched_genes(reader: AnyReader, genes: Ints, peaks: Ints) -> Ints:
    """Genes with one of the peaks in reach, ascending.

    Raises:
        InputError: If there is none.
    """
    if isinstance(reader, LocusReader):
        return genes
    index = reader.dataset.index
    first = index.first[genes]
    near = np.searchsorted(peaks, first + index.count[genes]) > np.searchsorted(peaks, first)
    if not near.any():
        raise InputError(
            "none of the chosen genes has one of the chosen peaks in reach; choose other --genes"
        )
    return np.sort(genes[near])


def edited_slots(inputs: PeakInputs, peaks: Ints) -> tuple[torch.Tensor, Ints]:
    """Slots (batch, slots) that show one of the peaks, and which of the peaks each of them is."""
    shown = inputs.peak.cpu().numpy()
    place = np.minimum(np.searchsorted(peaks, shown), len(peaks) - 1)
    where = (peaks[place] == shown) & inputs.mask.cpu().numpy()
    return torch.from_numpy(where).to(inputs.mask.device), place[where]


@dataclass(frozen=True)
class _Controls:
    """Edits of the controls of a batch: slot (controls, edited slots of the batch), -1 where there is none."""

    slot: Ints
    row: Ints
    place: Ints
    shape: tuple[int, int]
    known: Flags
    device: torch.device

    def edit(self, number: int) -> tuple[torch.Tensor, Ints]:
        """Slots to edit and the peaks that they stand in for, in the order of `where.nonzero()`."""
        found = np.full(self.shape, -1, dtype=np.int64)
        there = self.slot[number] >= 0
        found[self.row[there], self.slot[number][there]] = self.place[there]
        where = found >= 0
        return torch.from_numpy(where).to(self.device), found[where]


class _StandIns:
    """Draws the controls of every gene once, the same in all groups."""

    def __init__(self, edit: SignalEdit, signal: Numbers, n_controls: int, seed: int, own: bool) -> None:
        self.edit, self.signal, self.n_controls, self.seed, self.own = edit, signal, n_controls, seed, own
        self._drawn: dict[int, Ints | None] = {}

    def of(self, inputs: PeakInputs, where: torch.Tensor) -> _Controls:
        """Controls of the samples of a batch."""
        chosen = where.cpu().numpy()
        row, slot = np.nonzero(chosen)
        found = np.full((self.n_controls, len(row)), -1, dtype=np.int64)
        known = np.zeros(len(inputs), dtype=bool)
        first = np.searchsorted(row, np.arange(len(inputs) + 1))
        for sample, gene in enumerate(inputs.gene.tolist()):
            if gene not in self._drawn:
                self._drawn[gene] = self._draw(inputs, sample, gene, chosen[sample])
            drawn = self._drawn[gene]
            if drawn is not None:
                found[:, first[sample] : first[sample + 1]] = drawn
                known[sample] = True
        peak = inputs.peak.cpu().numpy()[row, slot]
        place = np.searchsorted(self.edit.peaks, peak)
        return _Controls(found, row, place, chosen.shape, known, where.device)

    def _draw(self, inputs: PeakInputs, sample: int, gene: int, chosen: Flags) -> Ints | None:
        mask = inputs.mask[sample].cpu().numpy()
        distance = inputs.distance_bp[sample].cpu().numpy()
        if np.isnan(distance).any():
            distance = np.arange(len(mask)) - float(inputs.tss_peak[sample])
        signal = np.where(mask, self.signal[inputs.peak[sample].cpu().numpy()], 0.0)
        rng = np.random.default_rng([self.seed, gene, 1] if self.own else [self.seed, gene])
        return matched_slots(chosen, mask, signal, distance, self.n_controls, rng, self.own)


def screen(
    reader: AnyReader,
    grouping: Grouping,
    genes: Ints,
    edit: SignalEdit,
    update: Update | None = None,
    keep: Path | None = None,
) -> pl.DataFrame:
    """Edit every chosen peak by itself: a row for every gene, peak in its reach and group (or label).

    Args:
        reader: Model and data.
        grouping: Groups that take part.
        genes: Genes; those without an edited peak in reach are left out.
        edit: What is edited.
        update: Is told how far it is.
        keep: Folder for finished batches: a screen that is run again with the same arguments goes on behind them.

    Raises:
        InputError: If no gene has an edited peak in reach.
    """
    genes = touched_genes(reader, genes, edit.peaks)
    edited = EditedPeaks(reader, edit)
    parts = []
    done, total = 0, len(genes) * len(grouping.groups)
    for number, inputs in enumerate(_batches(reader, grouping, genes)):
        path = None if keep is None else keep / f"batch-{number:06d}.parquet"
        if path is not None and path.exists():
            parts.append(pl.read_parquet(path))
        else:
            parts.append(_screen_batch(reader, grouping, edited, inputs))
            if path is not None:
                path.parent.mkdir(exist_ok=True)
                with atomic_write(path, "wb") as handle:
                    parts[-1].write_parquet(handle)
        done += len(inputs)
        if update is not None:
            update(done, total)
    table = pl.concat(parts).group_by("gene", "peak", "label", maintain_order=True).mean()
    labels = pl.Series([grouping.labels[one] for one in table["label"].to_list()], dtype=pl.String)
    about = reader.genes[table["gene"].to_list()].select("gene_id", "gene_name")
    peaks = reader.peaks[table["peak"].to_list()].select("chrom", "start", "end")
    numbers = table.select(
        "peak", "distance_bp", "before", "after", difference=pl.col("after") - pl.col("before")
    )
    return about.with_columns(labels.alias(grouping.column)).hstack(peaks).hstack(numbers)


@torch.no_grad()
def _screen_batch(
    reader: AnyReader, grouping: Grouping, edited: EditedPeaks, inputs: PeakInputs
) -> pl.DataFrame:
    before = predict(reader.model, reader.link, inputs)
    where, place = edited_slots(inputs, edited.edit.peaks)
    vectors, _, _ = edited.of(inputs, where, place)
    slots = where.nonzero()
    single = torch.zeros(len(slots), inputs.n_slots, dtype=torch.bool, device=where.device)
    single[torch.arange(len(slots)), slots[:, 1]] = True
    after = predict_edits(reader.model, reader.link, inputs, slots[:, 0], single, vectors)
    rows = slots[:, 0]
    return pl.DataFrame(
        {
            "gene": inputs.gene[rows].cpu().numpy(),
            "peak": inputs.peak[where].cpu().numpy(),
            "label": grouping.of(inputs.group[rows].cpu().numpy()),
            "distance_bp": inputs.distance_bp[where].cpu().numpy().astype(np.float64),
            "before": before[rows].cpu().numpy().astype(np.float64),
            "after": after.cpu().numpy().astype(np.float64),
        }
    )


@torch.no_grad()
def insert_into(reader: LocusReader, path: Path) -> tuple[pl.DataFrame, list[str], list[str]]:
    """Add the peaks of a file to a locus: the gene before and after, ids that were added, ids that were dropped.

    Raises:
        InputError: A damaged file, or a peak that cannot be added.
    """
    added = read_locus_text(path)
    try:
        locus, tss_peak = insert_peaks(reader.locus, added, reader.tss_peak, reader.model.config.max_peaks)
    except InputError as error:
        raise InputError(f"--insert {path}: {error}") from None
    after = replace(reader, locus=locus, tss_peak=tss_peak, _encoded={})
    values = [float(predict(one.model, one.link, one.inputs())[0]) for one in (reader, after)]
    table = pl.DataFrame(
        {
            "gene_name": [reader.name],
            "peaks_before": [len(reader.locus.ids)],
            "peaks_after": [len(locus.ids)],
            "tss_peak": [tss_peak],
            "before": values[:1],
            "after": values[1:],
            "difference": [values[1] - values[0]],
        }
    )
    kept = [name for name in added.ids if name in locus.ids]
    dropped = [name for name in (*reader.locus.ids, *added.ids) if name not in locus.ids]
    return table, kept, dropped
