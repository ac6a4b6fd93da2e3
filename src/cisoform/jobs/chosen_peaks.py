"""Which peaks a perturbation edits: those with a motif, in an interval, or in reach of a gene."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.reader import LocusReader, Reader
from cisoform.errors import InputError
from cisoform.genome.motifs import P_VALUE, Motif, MotifHits, motifs_of, read_motifs, scan
from cisoform.genome.peaks import PEAK_WINDOW, read_peaks

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
AnyReader = Reader | LocusReader

MOTIF_FLANK_BP = 75
"""Half width of what `around-motif` edits (reference 7.6)."""
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
    of = {tf: [motifs[index] for index in motifs_of(motifs, tf, str(path))] for tf in tfs}
    return choose_by_motifs(reader, of, within, p_value, require=True)


def choose_by_motifs(
    reader: AnyReader,
    motifs_of_tf: Mapping[str, Sequence[Motif]],
    within: Ints,
    p_value: float = P_VALUE,
    require: bool = False,
) -> ChosenPeaks:
    """As `choose_by_motif`, of motifs that are there already.

    Args:
        reader: Model and data.
        motifs_of_tf: Motifs of each factor.
        within: Peaks to choose from.
        p_value: Chance of a hit at one place of random sequence.
        require: Refuse a factor whose motifs match no peak.

    Raises:
        InputError: See `require`.
    """
    wanted = list({motif.name: motif for group in motifs_of_tf.values() for motif in group}.values())
    hits = scan_peaks(reader, within, wanted, p_value)
    found = {wanted[index].name for index in np.unique(hits.motif).tolist()}
    for tf, group in motifs_of_tf.items():
        if require and not found & {motif.name for motif in group}:
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
