"""Knock-outs and knock-ins of a data set or a locus: choose peaks, edit, predict, and stand beside the controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.special import stdtrit

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import PeakInputs, predict, predict_edits
from cisoform.analysis.knockin import insert_peaks
from cisoform.analysis.perturbation import EditedPeaks, Effect, SignalEdit, apply_edit, matched_slots
from cisoform.analysis.reader import SLOTS_AT_ONCE, LocusReader, Reader
from cisoform.data.locus_text import read_locus_text
from cisoform.errors import InputError
from cisoform.features.states import Update
from cisoform.genome.motifs import P_VALUE, MotifHits, motifs_of, read_motifs, scan
from cisoform.genome.peaks import PEAK_WINDOW, read_peaks

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
AnyReader = Reader | LocusReader

MOTIF_FLANK_BP = 75
"""Half width of what `around-motif` edits (reference 7.6)."""
MOST_CELLS = 50_000_000
"""Numbers (genes x groups x controls) that are held at a time: 400 MB."""
_SCANNED = 4096


@dataclass(frozen=True)
class ChosenPeaks:
    """Peaks that a perturbation edits.

    Attributes:
        peaks: Their numbers, ascending.
        table: chrom, start, end and how often which motif lies in them (`hits`; null where peaks were not chosen by
            motif).
        near: Bases (n, 1029) within 75 bp of a motif; None where peaks were not chosen by motif.
    """

    peaks: Ints
    table: pl.DataFrame
    near: Flags | None = None

    @classmethod
    def of_ids(cls, ids: Sequence[str]) -> ChosenPeaks:
        """Peaks that are in no data set, by their ids."""
        return cls(np.arange(len(ids)), pl.DataFrame({"peak_id": list(ids)}, schema={"peak_id": pl.String}))

    def subset(self, chosen: Callable[[int], Flags]) -> ChosenPeaks:
        """Some of them, chosen by a function of their number."""
        kept = chosen(len(self.peaks))
        near = None if self.near is None else self.near[kept]
        return ChosenPeaks(self.peaks[kept], self.table.filter(pl.Series(kept)), near)


def peaks_of_genes(reader: AnyReader, genes: Ints) -> Ints:
    """Numbers of the peaks in reach of some genes, ascending."""
    if isinstance(reader, LocusReader):
        return np.arange(len(reader.locus.ids))
    index, used = reader.dataset.index, np.zeros(reader.dataset.n_peaks, dtype=bool)
    for gene in genes.tolist():
        used[index.first[gene] : index.first[gene] + index.count[gene]] = True
    return np.flatnonzero(used)


def choose_by_intervals(reader: AnyReader, path: Path, within: Ints) -> ChosenPeaks:
    """Peaks that overlap an interval of a BED file.

    Raises:
        InputError: A damaged file; an interval that overlaps no peak in reach of the chosen genes, with its line and
            the nearest peak.
    """
    wanted = read_peaks(path)
    peaks = reader.peaks[within.tolist()]
    if peaks["start"].null_count():
        raise InputError(
            f"--intervals {path}: the peaks of the text have no coordinates (ids chr_start_end are needed)"
        )
    start, end = peaks["start"].to_numpy(), peaks["end"].to_numpy()
    on = {name: (peaks["chrom"] == name).to_numpy() for name in wanted.chroms}
    found = np.zeros(len(within), dtype=bool)
    for row in range(len(wanted)):
        name = wanted.chroms[int(wanted.chrom[row])]
        low, high = int(wanted.start[row]), int(wanted.end[row])
        hit = on[name] & (start < high) & (end > low)
        if not hit.any():
            raise InputError(
                f"{path}: {name}:{low}-{high} overlaps no peak{_nearest(on[name], start, end, low)}"
            )
        found |= hit
    rows = within[found]
    return ChosenPeaks(rows, _peak_table(reader, rows))


def _nearest(on: Flags, start: Ints, end: Ints, at: int) -> str:
    if not on.any():
        return " in reach of the chosen genes: none of their peaks is on that chromosome"
    rows = np.flatnonzero(on)
    best = rows[np.argmin(np.abs((start[rows] + end[rows]) // 2 - at))]
    return f" in reach of the chosen genes; the nearest is {start[best]}-{end[best]}"


def choose_by_motif(
    reader: AnyReader, tfs: Sequence[str], path: Path, within: Ints, p_value: float = P_VALUE
) -> ChosenPeaks:
    """Peaks in whose window (1,029 bp) a motif of a factor lies, on either strand.

    Raises:
        InputError: A damaged motif file; a factor without a motif in it (near matches), or whose motifs match no
            peak.
    """
    motifs = read_motifs(path)
    groups = [motifs_of(motifs, tf, str(path)) for tf in tfs]
    wanted = sorted({index for group in groups for index in group})
    hits = scan_peaks(reader, within, [motifs[index] for index in wanted], p_value)
    for tf, group in zip(tfs, groups, strict=True):
        if not np.isin(hits.motif, [wanted.index(index) for index in group]).any():
            raise InputError(
                f"--tf {tf}: its motif matches none of the {len(within):,} peaks at p <= {p_value:g}; "
                "raise --motif-p, or choose more genes"
            )
    window, count = np.unique(hits.window, return_counts=True)
    table = _peak_table(reader, within[window], count)
    return ChosenPeaks(within[window], table, hits.near(window, PEAK_WINDOW, MOTIF_FLANK_BP))


def scan_peaks(reader: AnyReader, peaks: Ints, motifs: Sequence[Any], p_value: float) -> MotifHits:
    """Hits in windows of peaks; window numbers are places in `peaks`."""
    parts = []
    for first in range(0, len(peaks), _SCANNED):
        part = peaks[first : first + _SCANNED]
        bases = reader.locus.dna[part] if isinstance(reader, LocusReader) else reader.dataset.windows(part)
        parts.append((first, scan(motifs, bases, p_value)))
    joined = {
        name: np.concatenate([getattr(hits, name) for _, hits in parts])
        for name in ("motif", "start", "strand", "score")
    }
    window = np.concatenate([hits.window + first for first, hits in parts])
    return MotifHits(window=window, widths=parts[0][1].widths, **joined)


def choose_of_gene(reader: AnyReader, genes: Ints) -> ChosenPeaks:
    """All peaks in reach of some genes."""
    rows = peaks_of_genes(reader, genes)
    return ChosenPeaks(rows, _peak_table(reader, rows))


def _peak_table(reader: AnyReader, rows: Ints, hits: Ints | None = None) -> pl.DataFrame:
    table = reader.peaks[rows.tolist()].select("chrom", "start", "end")
    column = pl.Series("hits", [None] * len(rows) if hits is None else hits, dtype=pl.Int64)
    number = pl.Series("peak", rows, dtype=pl.Int64)
    return pl.DataFrame([number, *table.get_columns(), column])


def mean_signal(reader: AnyReader, groups: Ints) -> Numbers:
    """Mean measured signal of every peak over groups."""
    if isinstance(reader, LocusReader):
        found: Numbers = np.nan_to_num(reader.locus.signal).mean(axis=1).astype(np.float64)
        return found
    total = np.zeros(reader.dataset.n_peaks)
    for group in groups.tolist():
        total += reader.dataset.state_signal(reader.dataset.group_states(group))
    return total / max(len(groups), 1)


@dataclass
class Totals:
    """Sums over the groups of a label, for every gene, label (and control)."""

    n: Ints
    before: Numbers
    after: Numbers
    square: Numbers
    edited: Numbers
    accessibility: Numbers
    controls: Numbers
    has_controls: Flags = field(repr=False)

    @classmethod
    def empty(cls, genes: int, labels: int, controls: int) -> Totals:
        """Nothing yet.

        Raises:
            InputError: If they do not fit into memory.
        """
        if genes * labels * max(controls, 1) > MOST_CELLS:
            raise InputError(
                f"{genes:,} genes in {labels:,} groups with {controls} controls are too many at a time; give "
                "--group-by COLUMN, fewer --genes, or fewer --controls"
            )
        shape = (genes, labels)
        names = ("before", "after", "square", "edited", "accessibility")
        return cls(
            n=np.zeros(shape, dtype=np.int64),
            **{name: np.zeros(shape) for name in names},
            controls=np.zeros((*shape, controls)),
            has_controls=np.zeros(genes, dtype=bool),
        )

    def add(self, gene: Ints, label: Ints, effect: Effect, controls: Numbers) -> None:
        """Take in a batch."""
        at = (gene, label)
        change = effect.after - effect.before
        np.add.at(self.n, at, 1)
        for total, value in (
            (self.before, effect.before),
            (self.after, effect.after),
            (self.square, change**2),
            (self.edited, effect.n_changed),
            (self.accessibility, effect.accessibility),
            (self.controls, controls),
        ):
            np.add.at(total, at, value)


@dataclass(frozen=True)
class Perturbation:
    """What came out.

    Attributes:
        table: A row for every gene with a chosen peak in reach and every group (or label).
        groups: A row for every group: genes, mean absolute difference, that of the controls, p.
    """

    table: pl.DataFrame
    groups: pl.DataFrame


def perturb(
    reader: AnyReader,
    grouping: Grouping,
    genes: Ints,
    edit: SignalEdit,
    *,
    n_controls: int = 20,
    seed: int = 0,
    update: Update | None = None,
) -> Perturbation:
    """Predict genes before and after an edit, and after its matched controls.

    Args:
        reader: Model and data.
        grouping: Groups that take part.
        genes: Genes; those without an edited peak in reach are left out.
        edit: What is edited.
        n_controls: Controls of every gene; 0 = none.
        seed: Of their draw.
        update: Is told how far it is.

    Raises:
        InputError: If no gene has an edited peak in reach.
    """
    genes = touched_genes(reader, genes, edit.peaks)
    totals = Totals.empty(len(genes), len(grouping.labels), n_controls)
    signal = mean_signal(reader, grouping.groups)
    edited, stand_ins = EditedPeaks(reader, edit), _StandIns(edit, signal, n_controls, seed)
    done, total = 0, len(genes) * len(grouping.groups)
    for inputs in _batches(reader, grouping, genes):
        row = np.searchsorted(genes, inputs.gene.cpu().numpy())
        where, place = edited_slots(inputs, edit.peaks)
        effect = apply_edit(edited, inputs, where, place)
        controls = np.zeros((len(inputs), n_controls))
        found = stand_ins.of(inputs, where)
        totals.has_controls[row] = found is not None and found.known
        for number in range(n_controls):
            slots, places = found.edit(number)
            other = apply_edit(edited, inputs, slots, places, effect.before)
            controls[:, number] = other.after - other.before
        totals.add(row, grouping.of(inputs.group.cpu().numpy()), effect, controls)
        done += len(inputs)
        if update is not None:
            update(done, total)
    table = _table(reader, grouping, genes, totals)
    return Perturbation(table, _by_group(grouping, totals))


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

    def __init__(self, edit: SignalEdit, signal: Numbers, n_controls: int, seed: int) -> None:
        self.edit, self.signal, self.n_controls, self.seed = edit, signal, n_controls, seed
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
        rng = np.random.default_rng([self.seed, gene])
        return matched_slots(chosen, mask, signal, distance, self.n_controls, rng)


def _table(reader: AnyReader, grouping: Grouping, genes: Ints, totals: Totals) -> pl.DataFrame:
    seen = totals.n > 0
    gene, label = np.nonzero(seen)
    n = totals.n[seen]
    mean = {name: getattr(totals, name)[seen] / n for name in ("before", "after", "edited", "accessibility")}
    difference = mean["after"] - mean["before"]
    half = _half_width(n, difference, totals.square[seen])
    controls = totals.controls[seen] / n[:, None]
    known = totals.has_controls[gene] & (controls.shape[1] > 0)
    shift = np.array([difference[label == one].mean() for one in range(len(grouping.labels))])[label]
    about = reader.genes[genes[gene].tolist()]
    columns: dict[str, Any] = {
        "gene_id": about["gene_id"],
        "gene_name": about["gene_name"],
        grouping.column: [grouping.labels[one] for one in label.tolist()],
        "n_groups": n,
        "before": mean["before"],
        "after": mean["after"],
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "edited_peaks": mean["edited"],
        "accessibility_change": mean["accessibility"],
        "mean_shift": shift,
        "control_mean": _or_null(controls, known, "mean"),
        "control_sd": _or_null(controls, known, "std"),
        "p": [
            _p_value(value, row) if there else None
            for value, row, there in zip(difference.tolist(), controls, known.tolist(), strict=True)
        ],
    }
    table = pl.DataFrame(columns)
    return table.with_columns(pl.col("low", "high").fill_nan(None))


def _or_null(values: Numbers, known: Flags, what: str) -> pl.Series:
    found = getattr(np, what)(values, axis=1) if values.shape[1] else np.zeros(len(values))
    kept = [value if there else None for value, there in zip(found.tolist(), known.tolist(), strict=True)]
    return pl.Series(kept, dtype=pl.Float64)


def _half_width(n: Ints, mean: Numbers, square: Numbers) -> Numbers:
    """Half of the 95 % interval of a mean over groups (Student's t); NaN for a single group."""
    found = np.full(len(n), np.nan)
    many = n > 1
    count = n[many]
    variance = np.maximum(square[many] / count - mean[many] ** 2, 0.0) * count / (count - 1)
    found[many] = stdtrit(count - 1, 0.975) * np.sqrt(variance / count)
    return found


def _p_value(value: float, controls: Numbers) -> float:
    """Share of controls that move at least as far, the edit itself counted among them."""
    return float((1 + (np.abs(controls) >= abs(value)).sum()) / (1 + len(controls)))


def _by_group(grouping: Grouping, totals: Totals) -> pl.DataFrame:
    rows = []
    for label, name in enumerate(grouping.labels):
        n = np.maximum(totals.n[:, label], 1)
        change = np.abs(totals.after[:, label] - totals.before[:, label]) / n
        known = totals.has_controls & (totals.n[:, label] > 0)
        there = bool(known.any()) and totals.controls.shape[2] > 0
        controls = np.abs(totals.controls[known, label] / n[known, None]).sum(axis=0) / max(known.sum(), 1)
        rows.append(
            {
                grouping.column: name,
                "genes": int((totals.n[:, label] > 0).sum()),
                "genes_with_controls": int(known.sum()),
                "mean_absolute_difference": float(change.mean()),
                "control_mean_absolute_difference": float(controls.mean()) if there else None,
                "p": _p_value(float(change[known].mean()), controls) if there else None,
            }
        )
    return pl.DataFrame(rows)


def screen(
    reader: AnyReader, grouping: Grouping, genes: Ints, edit: SignalEdit, update: Update | None = None
) -> pl.DataFrame:
    """Edit every chosen peak by itself: a row for every gene, peak in its reach and group (or label).

    Raises:
        InputError: If no gene has an edited peak in reach.
    """
    genes = touched_genes(reader, genes, edit.peaks)
    edited = EditedPeaks(reader, edit)
    parts = []
    done, total = 0, len(genes) * len(grouping.groups)
    for inputs in _batches(reader, grouping, genes):
        parts.append(_screen_batch(reader, grouping, edited, inputs))
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
