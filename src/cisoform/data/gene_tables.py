"""Tables and base windows of a data set of genes in cells."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.gene_index import GenePeaks
from cisoform.data.gene_pools import Groups
from cisoform.data.genes import GENES, GROUPS, PEAKS
from cisoform.data.isoform_dataset import save_in_pieces
from cisoform.data.partial import PartialFolder
from cisoform.genome.fasta import Genome
from cisoform.genome.interval import Interval
from cisoform.genome.peaks import PEAK_WINDOW, Peaks

Numbers = npt.NDArray[np.float64]
_WINDOW_ROWS = 4096


def write_windows(folder: PartialFolder, peaks: Peaks, genome: Genome) -> None:
    """Base codes of every peak's window, a chromosome at a time; what lies beyond its ends is N."""

    def pieces() -> Iterator[npt.NDArray[np.uint8]]:
        for number in np.unique(peaks.chrom).tolist():
            name = peaks.chroms[number]
            codes = genome.fetch(Interval(name, -PEAK_WINDOW, genome.chroms[name] + PEAK_WINDOW))
            starts = peaks.window_start[peaks.chrom == number] + PEAK_WINDOW
            for first in range(0, len(starts), _WINDOW_ROWS):
                part = starts[first : first + _WINDOW_ROWS]
                yield codes[part[:, None] + np.arange(PEAK_WINDOW)]

    save_in_pieces(folder.path / "windows.npy", np.uint8, (len(peaks), PEAK_WINDOW), pieces())


def write_tables(
    folder: PartialFolder, genes: pl.DataFrame, index: GenePeaks, peaks: Peaks, groups: pl.DataFrame
) -> None:
    """Genes with the range of their peaks, peaks, and groups (`groups_table`)."""
    gene_table = genes.select(
        "gene_id", "gene_name", "biotype", "chrom", "strand", "tss", "split"
    ).with_columns(
        pl.Series("first_peak", index.first),
        pl.Series("n_peaks", index.count),
        pl.Series("tss_peak", index.tss_peak),
        pl.Series("promoter", index.promoter),
    )
    names = [peaks.chroms[number] for number in peaks.chrom.tolist()]
    _write(folder.path / GENES, gene_table)
    _write(folder.path / PEAKS, pl.DataFrame({"chrom": names, "start": peaks.start, "end": peaks.end}))
    _write(folder.path / GROUPS, groups)


def groups_table(groups: Groups, types: list[str], pool: str, depth: Numbers, umi: Numbers) -> pl.DataFrame:
    """A line for every group.

    Args:
        groups: Cells or pools.
        types: Cell type of every cell.
        pool: Kind of pooling.
        depth: Counts or cuts of accessibility of every group.
        umi: Molecules of RNA of every group.
    """
    return pl.DataFrame(
        {
            "name": groups.names,
            "cell_type": _types_of(groups, types, pool == "pseudobulk"),
            "split": groups.part,
            "n_cells": groups.members.lengths.astype(np.int32),
            "depth": depth,
            "umi": umi,
        }
    )


def _types_of(groups: Groups, types: list[str], pseudobulk: bool) -> list[str]:
    """Cell type of each group: of the cell, of the centre of a pool, or the one that a pseudobulk's cells share."""
    found = []
    for number in range(len(groups.names)):
        cells = groups.members[number].tolist()
        several = pseudobulk and len({types[cell] for cell in cells}) > 1
        found.append("mixed" if several else types[cells[0]])
    return found


def _write(path: Path, table: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    path.write_bytes(buffer.getbuffer())
