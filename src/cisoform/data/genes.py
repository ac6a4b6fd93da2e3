"""A data set of genes in cells: which peaks surround each gene, what each peak shows in each cell, and the expression.

Built by `gene_build`. On disk, all indices 32-bit:

    manifest.json        format, inputs with SHA-256, settings, counts, notes, hash
    genes.parquet        gene_id, gene_name, biotype, chrom, strand, tss, split, first_peak, n_peaks, tss_peak, promoter
    peaks.parquet        chrom, start, end, in genomic order; windows.npy: base codes of their 1,029-bp windows
    groups.parquet       name, cell_type, split, n_cells, depth (counts in peaks, or cuts), umi (RNA counts)
    open_*.npy           per group the peaks with signal: open_offsets, open_peak, and open_code (level 0-34 of a
                         count-level set) or open_state (of a per-base set)
    state_*.npy          the distinct states: state_peak, and state_level or state_offsets, state_bin, state_value
    expressed_*.npy      per group the genes with expression: expressed_offsets, expressed_gene, expressed_value

Genes are sorted by split, then by place. A sample is a (group, gene) pair: a gene without an entry has expression 0,
a peak without an entry shows the all-zero state. Ids of states are explained in `gene_states`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.gene_index import GenePeaks
from cisoform.data.gene_states import (
    N_LEVELS,
    CoverageStates,
    LevelStates,
    PeakPlaces,
    ragged_positions,
    tokens_of,
)
from cisoform.errors import InputError
from cisoform.genome.files import PathLike, read_json, sha256_file
from cisoform.genome.ragged import Ragged

FORMAT, FORMAT_VERSION = "cisoform-genes", 1
MANIFEST, GENES, PEAKS, GROUPS = "manifest.json", "genes.parquet", "peaks.parquet", "groups.parquet"
SPLITS = ("train", "valid", "test")
_HASHED_KEYS = ("format", "format_version", "signal", "edges", "expression", "counts", "files")
_HASHED_UP_TO = 1 << 26
"""Files up to 64 MiB are hashed when a data set is opened; of larger ones the size alone is checked."""

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]


def content_hash(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over what a model trained on the data depends on."""
    content = {key: manifest[key] for key in _HASHED_KEYS}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def find_in_rows(offsets: Array, columns: Array, rows: Array, keys: Array) -> IntArray:
    """In each given row of a CSR (columns ascending), the position of the first entry with column >= key."""
    low, high = offsets[rows].astype(np.int64), offsets[rows + 1].astype(np.int64)
    last = max(len(columns) - 1, 0)
    while (open_ := low < high).any():
        middle = (low + high) >> 1
        below = open_ & (columns[np.minimum(middle, last)] < keys)
        low = np.where(below, middle + 1, low)
        high = np.where(open_ & ~below, middle, high)
    return low


@dataclass(frozen=True)
class GenesDataset:
    """An opened data set.

    Attributes:
        path: The folder.
        manifest: As read.
        hash: SHA-256 of the content.
        genes: Table of genes, in the order of gene numbers.
        groups: Table of cells or pools, in the order of group numbers.
        peaks: Table of peaks, in the order of peak numbers.
        index: Peaks of each gene.
        observed: The states that occur.
        edges: Edges of the signal levels.
    """

    path: Path
    manifest: dict[str, Any]
    hash: str
    genes: pl.DataFrame
    groups: pl.DataFrame
    peaks: pl.DataFrame
    index: GenePeaks
    observed: LevelStates | CoverageStates
    edges: tuple[float, ...]
    _arrays: dict[str, Array] = field(repr=False)

    @classmethod
    def open(cls, path: PathLike) -> GenesDataset:
        """Open a data set for reading; large arrays are memory-mapped.

        Raises:
            InputError: If it is no data set, of another format version, or a file is missing or changed.
        """
        return _open(Path(path))

    @property
    def n_peaks(self) -> int:
        """Number of peaks."""
        return self.peaks.height

    @property
    def n_states(self) -> int:
        """Number of state ids: all-zero and not-measured of every peak, and the observed ones."""
        return 2 * self.n_peaks + len(self.observed)

    @property
    def n_open(self) -> int:
        """Number of (group, peak) pairs with signal."""
        return int(self._arrays["open_offsets"][-1])

    @property
    def n_expressed(self) -> int:
        """Number of (group, gene) pairs with expression."""
        return int(self._arrays["expressed_offsets"][-1])

    @cached_property
    def gene_split(self) -> Array:
        """Split of every gene (by chromosome)."""
        return np.array(self.genes["split"].to_list(), dtype="U5")

    @cached_property
    def group_split(self) -> Array:
        """Split of every group (by cell type)."""
        return np.array(self.groups["split"].to_list(), dtype="U5")

    def gene_rows(self, split: str) -> IntArray:
        """Numbers of the genes of a split, or of "all", ascending.

        Raises:
            InputError: If there is no such split.
        """
        return _rows_of(self.gene_split, split)

    def group_rows(self, split: str) -> IntArray:
        """Numbers of the groups of a split, or of "all", ascending.

        Raises:
            InputError: If there is no such split.
        """
        return _rows_of(self.group_split, split)

    def part(self, split: str) -> tuple[IntArray, IntArray]:
        """Genes and groups of a split: both held out where both are, else the genes alone (or the groups alone).

        "train" is training genes in training groups.

        Raises:
            InputError: If there is no such split, or nothing is held out for it.
        """
        genes, groups = self.gene_rows(split), self.group_rows(split)
        if not len(genes) and not len(groups):
            raise InputError(
                f"{self.path}: holds out neither chromosomes nor cell types for {split!r}; build it with some"
            )
        return (
            genes if len(genes) else self.gene_rows("train"),
            groups if len(groups) else self.group_rows("train"),
        )

    def four_way(self, split: str = "test") -> dict[str, tuple[IntArray, IntArray]]:
        """Genes and groups of each combination of seen and unseen chromosomes and cell types; empty ones left out."""
        found = {}
        for gene_name, gene_split in (("seen", "train"), ("unseen", split)):
            for group_name, group_split in (("seen", "train"), ("unseen", split)):
                genes, groups = self.gene_rows(gene_split), self.group_rows(group_split)
                if len(genes) and len(groups):
                    found[f"{gene_name} chromosomes, {group_name} cell types"] = (genes, groups)
        return found

    def states(self, groups: Array, genes: Array, absent: bool = False) -> Ragged:
        """State ids (int32) of the peaks of each sample (group, gene), in genomic order.

        Args:
            groups: Group of each sample.
            genes: Gene of each sample.
            absent: Give the ids of sequence alone instead.
        """
        first, count = self.index.first[genes], self.index.count[genes]
        offsets = np.concatenate([[0], np.cumsum(count, dtype=np.int64)])
        ids = ragged_positions(first, count).astype(np.int32)
        if absent:
            ids += np.int32(self.n_peaks)
        else:
            sample, peak, state = self.open_states(groups, first, count)
            ids[offsets[sample] + (peak - first[sample])] = state
        return Ragged(ids, offsets)

    def open_states(
        self, groups: Array, first: Array, count: Array
    ) -> tuple[IntArray, Int32Array, Int32Array]:
        """Peaks with signal among `first` to `first + count` in each group: sample, peak and state id of each.

        Args:
            groups: Group of each sample.
            first: First peak of each sample.
            count: Number of its peaks.
        """
        offsets, peaks = self._arrays["open_offsets"], self._arrays["open_peak"]
        low = find_in_rows(offsets, peaks, groups, first)
        high = find_in_rows(offsets, peaks, groups, first + count)
        found = high - low
        entry = ragged_positions(low, found)
        sample = np.repeat(np.arange(len(groups)), found)
        peak = np.asarray(peaks[entry])
        return sample, peak, self.state_of_entries(entry, peak)

    def state_of_entries(self, entry: IntArray, peak: Array) -> Int32Array:
        """State ids of entries of the open peaks."""
        if self._level_table is None:
            observed = self._arrays["open_state"][entry]
        else:
            observed = self._level_table[peak.astype(np.int64) * N_LEVELS + self._arrays["open_code"][entry]]
        return np.asarray(observed + np.int32(2 * self.n_peaks), dtype=np.int32)

    @cached_property
    def _level_table(self) -> Int32Array | None:
        return self.observed.table(self.n_peaks) if isinstance(self.observed, LevelStates) else None

    def group_states(self, group: int) -> Int32Array:
        """State id of every peak in one group."""
        ids = np.arange(self.n_peaks, dtype=np.int32)
        offsets = self._arrays["open_offsets"]
        entry = np.arange(int(offsets[group]), int(offsets[group + 1]))
        peak = np.asarray(self._arrays["open_peak"][entry])
        ids[peak] = self.state_of_entries(entry, peak)
        return ids

    def states_in_use(self, groups: Array, genes: Array) -> Int32Array:
        """Distinct state ids of the genes' peaks in the groups, all-zero ones included, ascending."""
        wanted = np.zeros(self.n_peaks, dtype=bool)
        wanted[ragged_positions(self.index.first[genes], self.index.count[genes])] = True
        used = np.zeros(self.n_states, dtype=bool)
        used[: self.n_peaks] = wanted
        offsets = self._arrays["open_offsets"]
        for group in np.asarray(groups).tolist():
            entry = np.arange(int(offsets[group]), int(offsets[group + 1]))
            peak = np.asarray(self._arrays["open_peak"][entry])
            keep = wanted[peak]
            used[self.state_of_entries(entry[keep], peak[keep])] = True
        return np.flatnonzero(used).astype(np.int32)

    def state_peaks(self, ids: Array) -> Int32Array:
        """Peak of each state id."""
        ids = np.asarray(ids, dtype=np.int64)
        n = self.n_peaks
        seen = np.clip(ids - 2 * n, 0, None)
        observed = (
            self.observed.peak[np.minimum(seen, max(len(self.observed) - 1, 0))] if len(self.observed) else 0
        )
        return np.where(ids < 2 * n, ids % n, observed).astype(np.int32)

    def state_tokens(self, ids: Array, factor: float = 1.0) -> npt.NDArray[np.uint8]:
        """Signal tokens (n, 1024) of states; `factor` scales the signal before the levels are cut."""
        return tokens_of(self.observed, ids, self.n_peaks, factor)

    def state_signal(self, ids: Array) -> npt.NDArray[np.float32]:
        """Mean signal of the 1,029-bp window of each state; 0 where all zero or not measured."""
        ids = np.asarray(ids, dtype=np.int64)
        signal = np.zeros(len(ids), dtype=np.float32)
        seen = np.flatnonzero(ids >= 2 * self.n_peaks)
        signal[seen] = self.observed.mean(ids[seen] - 2 * self.n_peaks)
        return signal

    def windows(self, peaks: Array) -> npt.NDArray[np.uint8]:
        """Base codes (n, 1029) of the windows of peaks; N beyond the ends of a chromosome."""
        return np.asarray(self._arrays["windows"][peaks])

    def targets(self, groups: Array, genes: Array) -> npt.NDArray[np.float32]:
        """Expression of each sample (group, gene)."""
        offsets, columns = self._arrays["expressed_offsets"], self._arrays["expressed_gene"]
        position = find_in_rows(offsets, columns, groups, genes)
        return self.expression_at(position, groups, genes)

    def expression_at(self, position: IntArray, groups: Array, genes: Array) -> npt.NDArray[np.float32]:
        """Expression of samples whose place among the entries was found (`find_in_rows`); 0 where there is none."""
        offsets, columns = self._arrays["expressed_offsets"], self._arrays["expressed_gene"]
        values = np.zeros(len(position), dtype=np.float32)
        inside = position < offsets[np.asarray(groups) + 1]
        inside[inside] = columns[position[inside]] == np.asarray(genes)[inside]
        values[inside] = self._arrays["expressed_value"][position[inside]]
        return values

    def expressed(self) -> tuple[IntArray, Int32Array, npt.NDArray[np.float32]]:
        """Expression as CSR over groups: offsets, genes, values."""
        return (
            self._arrays["expressed_offsets"],
            self._arrays["expressed_gene"],
            self._arrays["expressed_value"],
        )

    def expression_matrix(self, groups: Array, genes: Array) -> npt.NDArray[np.float32]:
        """Expression (groups, genes), dense."""
        groups, genes = np.asarray(groups), np.asarray(genes)
        column = np.full(self.genes.height, -1, dtype=np.int64)
        column[genes] = np.arange(len(genes))
        dense = np.zeros((len(groups), len(genes)), dtype=np.float32)
        offsets, of, values = self.expressed()
        for row, group in enumerate(groups.tolist()):
            part = slice(int(offsets[group]), int(offsets[group + 1]))
            place = column[of[part]]
            dense[row, place[place >= 0]] = values[part][place >= 0]
        return dense


def _rows_of(splits: Array, split: str) -> IntArray:
    if split == "all":
        return np.arange(len(splits))
    if split not in SPLITS:
        raise InputError(f"split {split!r} is none of {', '.join(SPLITS)}, all")
    return np.flatnonzero(splits == split)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a data set folder, after checking that this package can read it.

    Raises:
        InputError: If the folder is no such data set, of another format version, or the manifest was edited.
    """
    if not (folder / MANIFEST).is_file():
        what = "is not a data set of genes (no manifest.json)" if folder.exists() else "no such data set"
        raise InputError(f"{folder}: {what}; make one with `cisoform regulation build-genes`")
    manifest = read_json(folder / MANIFEST, "data set manifest")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise InputError(f"{folder}: manifest.json has format {found!r}, expected {FORMAT!r} (build-genes)")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{folder}: data set format {manifest.get('format_version')!r} was written by another version of "
            f"cisoform; this one reads format {FORMAT_VERSION}: build the data set again"
        )
    missing = [key for key in (*_HASHED_KEYS, "hash") if key not in manifest]
    if missing or content_hash(manifest) != manifest["hash"]:
        raise InputError(f"{folder}: manifest.json does not fit its own hash; build the data set again")
    return manifest


def _open(folder: Path) -> GenesDataset:
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise InputError(f"{file}: missing from the data set; build the data set again")
        size = file.stat().st_size
        changed = size != expected["bytes"]
        if changed or (size <= _HASHED_UP_TO and sha256_file(file) != expected["sha256"]):
            raise InputError(f"{file}: changed since it was written; build the data set again")
    arrays = {Path(name).stem: _map(folder / name) for name in manifest["files"] if name.endswith(".npy")}
    genes, peaks = pl.read_parquet(folder / GENES), pl.read_parquet(folder / PEAKS)
    start, end = peaks["start"].to_numpy(), peaks["end"].to_numpy()
    edges = tuple(manifest["edges"])
    observed: LevelStates | CoverageStates
    if manifest["signal"] == "levels":
        observed = LevelStates(arrays["state_peak"], arrays["state_level"], edges, PeakPlaces.of(start, end))
    else:
        observed = CoverageStates(
            arrays["state_peak"], arrays["state_offsets"], arrays["state_bin"], arrays["state_value"], edges
        )
    index = GenePeaks(
        first=genes["first_peak"].to_numpy(),
        count=genes["n_peaks"].to_numpy(),
        tss_peak=genes["tss_peak"].to_numpy(),
        promoter=genes["promoter"].to_numpy(),
        tss=genes["tss"].to_numpy(),
        sign=np.where((genes["strand"] == "-").to_numpy(), -1, 1).astype(np.int8),
        mid=(start + end) // 2,
    )
    return GenesDataset(
        path=folder,
        manifest=manifest,
        hash=manifest["hash"],
        genes=genes,
        groups=pl.read_parquet(folder / GROUPS),
        peaks=peaks,
        index=index,
        observed=observed,
        edges=edges,
        _arrays=arrays,
    )


def _map(path: Path) -> Array:
    """A read-only memory map, as a plain array (slices of `np.memmap` are slow); small files are read."""
    if path.stat().st_size < 4096:
        return np.asarray(np.load(path, allow_pickle=False))
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
