"""Build a data set of genes in cells from multiome files: streamed, in bounded memory, and resumable after a kill.

The counts are brought into the build's order on disk (`gene_counts`), cells are grouped (`gene_pools`), and signal and
expression of the groups are written block by block (`gene_signal`). The folder appears under its final name when it is
whole. The same inputs and settings give the same bytes, resumed or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

import cisoform
from cisoform.data.gene_counts import counts_of_fragments, import_matrix, imported, scan_fragments
from cisoform.data.gene_index import GenePeaks, index_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs, MatchedInputs, match_inputs
from cisoform.data.gene_pools import Groups, SparseRows, group_cells
from cisoform.data.gene_signal import (
    PER_CELL_COUNTS,
    Bins,
    collect_coverage,
    fragment_bins,
    level_edges,
    level_states,
    track_bins,
    write_coverage,
    write_expression,
    write_levels,
)
from cisoform.data.gene_tables import groups_table, write_tables, write_windows
from cisoform.data.genes import FORMAT, FORMAT_VERSION, MANIFEST, SPLITS, content_hash
from cisoform.data.partial import WORK, PartialFolder, partial_folder, release
from cisoform.errors import InputError
from cisoform.genome.files import PathLike, sha256_file, write_json
from cisoform.genome.fragments import FragmentScan
from cisoform.genome.peaks import Peaks, check_assembly
from cisoform.genome.ragged import Ragged

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class GeneBuildSummary:
    """What was built, for the caller to show.

    Attributes:
        path: The data set.
        hash: SHA-256 of its content.
        n_cells: Cells that take part.
        n_groups: Cells or pools of the data set.
        n_genes: Genes with peaks.
        n_peaks: Peaks.
        peaks_per_gene: Mean number of peaks of a gene.
        n_samples: (group, gene) pairs with expression.
        n_open: (group, peak) pairs with signal.
        n_states: Distinct states with signal.
        signal: "levels" (a count per peak) or "coverage" (per-base, from fragments).
        splits: Genes and groups of each split.
        tss_enrichment: Accessibility of starts over their surroundings; None = too few genes to tell.
        resumed: Whether work of an earlier process was taken up.
        notes: What was noticed, a line each.
    """

    path: Path
    hash: str
    n_cells: int
    n_groups: int
    n_genes: int
    n_peaks: int
    peaks_per_gene: float
    n_samples: int
    n_open: int
    n_states: int
    signal: str
    splits: dict[str, dict[str, int]]
    tss_enrichment: float | None
    resumed: bool
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {**asdict(self), "path": str(self.path)}


def build_genes(
    inputs: GeneInputs,
    out: PathLike,
    config: GeneBuildConfig | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> GeneBuildSummary:
    """Build a data set folder.

    Args:
        inputs: The files.
        out: Folder to write; it must not exist, or be empty.
        config: What is built; None = defaults.
        resume: Refuse to begin anew where an earlier process left work of other inputs or settings. Work of the same
            is always taken up.
        overwrite: Replace what stands there.
        progress: Called with what is being done and the share done.

    Raises:
        InputError: At the first thing that does not fit; nothing is then left.
    """
    config = config or GeneBuildConfig()
    say = progress or _silent
    matched = match_inputs(inputs, config)
    fingerprints = {
        what: {"name": Path(path).name, "sha256": sha256_file(path)} for what, path in inputs.named().items()
    }
    settings = {"inputs": fingerprints, "config": asdict(config), "version": cisoform.__version__}
    with partial_folder(out, settings, resume, overwrite) as folder:
        build = _Build(folder, inputs, config, matched, say)
        summary = build.run(fingerprints)
        folder.publish(overwrite)
    say("done", 1.0)
    return summary


def _silent(text: str, share: float) -> None:
    """Progress of a caller who wants none."""


class _Build:
    """One build; each method is a stage."""

    def __init__(
        self,
        folder: PartialFolder,
        inputs: GeneInputs,
        config: GeneBuildConfig,
        matched: MatchedInputs,
        say: Progress,
    ) -> None:
        self.folder, self.inputs, self.config, self.matched, self.say = folder, inputs, config, matched, say
        self.peaks: Peaks = matched.peaks
        self.n_cells = len(matched.cells)
        self.notes = list(matched.notes)

    def run(self, fingerprints: dict[str, Any]) -> GeneBuildSummary:
        resumed = self.folder.resumed
        genes, index = self._genes()
        rna, umi = self._rna(genes)
        atac, depth, peak_totals = self._atac()
        self._check_assembly(genes, peak_totals)
        groups = self._groups(atac, umi, depth)
        group_depth = _sums(groups.members, depth)
        group_umi = _sums(groups.members, umi)
        edges = self._signal(groups, atac, group_depth)
        write_expression(self.folder, rna, groups.members, self._scale(groups, group_umi), self.say)
        _offsets(self.folder, "expressed")
        write_windows(self.folder, self.peaks, self.matched.genome)
        types = self.matched.cell_type
        write_tables(
            self.folder,
            genes,
            index,
            self.peaks,
            groups_table(groups, types, self.config.pool.kind, group_depth, group_umi),
        )
        return self._finish(genes, index, groups, edges, fingerprints, resumed)

    # --- genes and peaks --------------------------------------------------------------------------------------------

    def _genes(self) -> tuple[pl.DataFrame, GenePeaks]:
        """Genes that have peaks, sorted by split and place, and their peaks."""
        matched, config = self.matched, self.config
        table = matched.genes.with_columns(
            pl.when(pl.col("chrom").is_in(matched.test_chromosomes))
            .then(pl.lit("test"))
            .when(pl.col("chrom").is_in(matched.valid_chromosomes))
            .then(pl.lit("valid"))
            .otherwise(pl.lit("train"))
            .alias("split")
        )
        order = {name: rank for rank, name in enumerate(SPLITS)}
        table = table.with_row_index("place").with_columns(
            pl.col("split").replace_strict(order, return_dtype=pl.Int8).alias("rank")
        )
        table = table.sort(["rank", "place"]).drop("rank", "place")
        index = self._index(table)
        without = int((index.count == 0).sum())
        if without == table.height:
            raise InputError(
                f"{self.inputs.annotation}: none of its {without:,} genes has a peak within {config.reach_bp:,} bp of "
                "its TSS; are annotation and peaks of the same assembly? (--reach widens the window)"
            )
        if without:
            self.notes.append(
                f"{without:,} of {table.height:,} genes have no peak within {config.reach_bp:,} bp and are left out"
            )
            table = table.filter(pl.Series(index.count > 0))
            index = self._index(table)
        return table, index

    def _index(self, table: pl.DataFrame) -> GenePeaks:
        rank = {name: number for number, name in enumerate(self.peaks.chroms)}
        chrom = np.array([rank[name] for name in table["chrom"].to_list()], dtype=np.int64)
        minus = (table["strand"] == "-").to_numpy()
        return index_genes(
            self.peaks, chrom, table["tss"].to_numpy(), minus, self.config.reach_bp, self.config.max_peaks
        )

    def _check_assembly(self, genes: pl.DataFrame, totals: npt.NDArray[np.float64]) -> None:
        rank = {name: number for number, name in enumerate(self.peaks.chroms)}
        chrom = np.array([rank[name] for name in genes["chrom"].to_list()], dtype=np.int64)
        where = self.inputs.peaks or self.inputs.atac or self.inputs.multiome or ""
        self.enrichment = check_assembly(
            self.peaks, totals, chrom, genes["tss"].to_numpy(), self.config.min_tss_enrichment, str(where)
        )

    # --- counts -----------------------------------------------------------------------------------------------------

    @property
    def expression(self) -> str:
        """What the expression values are."""
        if self.matched.bulk is not None:
            return "log1p of the table"
        return "as given" if self.config.allow_normalised else "log1p of counts per 10,000"

    def _scale(
        self, groups: Groups, umi: npt.NDArray[np.float64]
    ) -> Callable[[npt.NDArray[np.float64], int], npt.NDArray[np.float64]]:
        """From summed values of a group to the stored scale."""
        if self.matched.bulk is not None:
            return lambda values, _: np.log1p(values)
        if self.config.allow_normalised:
            sizes = groups.members.lengths
            return lambda values, group: values / sizes[group]
        return lambda values, group: np.log1p(values * (PER_CELL_COUNTS / umi[group]))

    def _rna(self, genes: pl.DataFrame) -> tuple[SparseRows, npt.NDArray[np.float64]]:
        if self.matched.bulk is not None:
            values = self.matched.bulk.values[:, genes["feature"].to_numpy()]
            row, gene = np.nonzero(values)
            ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(values)))]).astype(np.int64)
            counts = SparseRows(
                ends, gene.astype(np.int32), values[row, gene].astype(np.float32), genes.height
            )
            return counts, values.sum(axis=1, dtype=np.float64)
        assert self.matched.rna is not None
        column = np.full(len(self.matched.rna.feature_ids), -1, dtype=np.int64)
        column[genes["feature"].to_numpy()] = np.arange(genes.height)
        import_matrix(
            self.folder,
            "rna",
            self.matched.rna,
            self.matched.rna_cell,
            column,
            self.config.allow_normalised,
            self.say,
        )
        return imported(self.folder, "rna", self.n_cells, genes.height)

    def _atac(self) -> tuple[SparseRows | None, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Counts per peak where needed, depth of each cell, and counts of each peak over all cells."""
        matched = self.matched
        if matched.bulk is not None:
            return None, np.ones(self.n_cells), (self.peaks.end - self.peaks.start).astype(np.float64)
        if self.inputs.fragments is not None:
            scan = FragmentScan(self.inputs.fragments, matched.cells, matched.genome.chroms)
            found = scan_fragments(self.folder, scan, self.peaks, self.say)
            self.notes.append(f"fragments: {found['text']}")
            counts = counts_of_fragments(self.folder, self.n_cells, len(self.peaks))
            depth = np.array(found["per_cell"], dtype=np.float64)
        else:
            assert (
                matched.atac is not None and matched.atac_cell is not None and matched.atac_peak is not None
            )
            import_matrix(
                self.folder,
                "atac",
                matched.atac,
                matched.atac_cell,
                matched.atac_peak,
                self.config.allow_normalised,
                self.say,
            )
            counts, depth = imported(self.folder, "atac", self.n_cells, len(self.peaks))
        totals = np.zeros(len(self.peaks))
        for first in range(0, len(counts.columns), 1 << 22):
            part = slice(first, first + (1 << 22))
            totals += np.bincount(counts.columns[part], weights=counts.values[part], minlength=len(totals))
            release(counts.columns, counts.values)
        return counts, depth, totals

    # --- groups, signal ---------------------------------------------------------------------------------------------

    def _groups(
        self, atac: SparseRows | None, umi: npt.NDArray[np.float64], depth: npt.NDArray[np.float64]
    ) -> Groups:
        matched, config = self.matched, self.config
        counted = (umi > 0) & (depth > 0)
        if not counted.any():
            raise InputError(
                "no cell has counts of both genes and peaks; is the ATAC side of other cells or assembly?"
            )
        if not counted.all():
            self.notes.append(
                f"{(~counted).sum():,} of {self.n_cells:,} cells have no RNA or no ATAC counts and are left out"
            )
        placed = np.array(matched.part) != ""
        if not placed.all():
            self.notes.append(
                f"{(~placed).sum():,} of {self.n_cells:,} cells have no cell type and are left out: they may be of a "
                "held-out one"
            )
        kept = np.flatnonzero(counted & placed)
        if not (np.array(matched.part)[kept] == "train").any():
            raise InputError("no cell with counts of both genes and peaks is left to train on")
        rows = kept.tolist()
        own = None if atac is None else _some_rows(atac, kept)
        labels = None if matched.label is None else [matched.label[row] for row in rows]
        groups = group_cells(
            config.pool,
            [matched.cells[row] for row in rows],
            [matched.part[row] for row in rows],
            own,
            labels,
            config.max_groups,
            config.seed,
        )
        self.notes.extend(groups.notes)
        self.n_cells_kept = len(kept)
        members = Ragged(kept[groups.members.data], groups.members.offsets)
        return Groups(groups.names, groups.part, members, [])

    def _signal(
        self, groups: Groups, atac: SparseRows | None, depth: npt.NDArray[np.float64]
    ) -> tuple[float, ...]:
        config, folder = self.config, self.folder
        train = np.flatnonzero(np.array(groups.part) == "train")
        bulk = self.matched.bulk
        held_out = {*self.matched.test_chromosomes, *self.matched.valid_chromosomes}
        used = np.array([name not in held_out for name in self.peaks.chroms])[self.peaks.chrom]
        if bulk is not None or self.inputs.fragments is not None:

            def pieces() -> Iterator[Bins]:
                if bulk is not None:
                    return track_bins(bulk.tracks, self.peaks, self.matched.genome.chroms)
                return fragment_bins(folder, self.n_cells, groups.members, depth)

            edges = write_coverage(
                folder, pieces, len(self.peaks), len(groups.names), config.edges, train, used, self.say
            )
            collect_coverage(folder, len(groups.names))
            return edges
        assert atac is not None
        edges = level_edges(
            config.edges, atac, groups.members, depth, self.peaks, train, config.allow_normalised, used
        )
        write_levels(
            folder, atac, groups.members, depth, self.peaks, edges, config.allow_normalised, self.say
        )
        _offsets(folder, "open")
        peak, level = level_states(folder, len(self.peaks))
        np.save(folder.path / "state_peak.npy", peak)
        np.save(folder.path / "state_level.npy", level)
        return edges

    # --- writing ----------------------------------------------------------------------------------------------------

    def _finish(
        self,
        genes: pl.DataFrame,
        index: GenePeaks,
        groups: Groups,
        edges: tuple[float, ...],
        fingerprints: dict[str, Any],
        resumed: bool,
    ) -> GeneBuildSummary:
        path, config = self.folder.path, self.config
        signal = "coverage" if self.inputs.fragments or self.matched.bulk else "levels"
        counts = {
            "cells": self.n_cells_kept,
            "groups": len(groups.names),
            "genes": genes.height,
            "peaks": len(self.peaks),
            "samples": len(np.load(path / "expressed_gene.npy", mmap_mode="r")),
            "open": len(np.load(path / "open_peak.npy", mmap_mode="r")),
            "states": len(np.load(path / "state_peak.npy", mmap_mode="r")),
        }
        files = sorted(file for file in path.iterdir() if file.suffix in (".npy", ".parquet"))
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "signal": signal,
            "edges": list(edges),
            "expression": self.expression,
            "counts": counts,
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)} for file in files
            },
        }
        scale = "counts in peaks" if signal == "levels" else "cuts"
        scale = f"per 10 bp and a million of the group's {scale}"
        if self.matched.bulk is not None or (config.allow_normalised and signal == "levels"):
            scale = "as given"
        digest = content_hash(manifest)
        splits = {
            part: {"genes": int((genes["split"] == part).sum()), "groups": groups.part.count(part)}
            for part in SPLITS
        }
        write_json(
            path / MANIFEST,
            {
                **manifest,
                "hash": digest,
                "depth_normalisation": scale,
                "splits": splits,
                "tss_enrichment": self.enrichment,
                "settings": asdict(config),
                "inputs": fingerprints,
                "notes": [_without_folders(note, self.inputs) for note in self.notes],
                "cisoform_version": cisoform.__version__,
            },
        )
        return GeneBuildSummary(
            path=self.folder.final,
            hash=digest,
            n_cells=counts["cells"],
            n_groups=counts["groups"],
            n_genes=counts["genes"],
            n_peaks=counts["peaks"],
            peaks_per_gene=float(index.count.mean()),
            n_samples=counts["samples"],
            n_open=counts["open"],
            n_states=counts["states"],
            signal=signal,
            splits=splits,
            tss_enrichment=self.enrichment,
            resumed=resumed,
            notes=self.notes,
        )


def _sums(members: Ragged, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum of the values of the members of each group."""
    return np.add.reduceat(values[members.data], members.offsets[:-1])


def _some_rows(matrix: SparseRows, rows: npt.NDArray[np.int64]) -> SparseRows:
    """The matrix with rows renumbered to the given ones."""
    stored = rows if matrix.stored is None else matrix.stored[rows]
    return SparseRows(matrix.offsets, matrix.columns, matrix.values, matrix.width, stored)


def _offsets(folder: PartialFolder, name: str) -> None:
    counts = np.load(folder.path / WORK / f"{name}_count.npy")
    np.save(folder.path / f"{name}_offsets.npy", np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))


def _without_folders(note: str, inputs: GeneInputs) -> str:
    for path in inputs.named().values():
        note = note.replace(str(path), Path(path).name)
    return note
