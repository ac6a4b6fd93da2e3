"""Groups of cells: single cells, pools of neighbours by ATAC alone, or pseudobulks of a label; never across parts.

Neighbours are found by latent semantic indexing (term frequency x inverse document frequency, truncated SVD) of the
ATAC counts of one part (train, valid or test) at a time, so that no held-out cell shapes a training pool. The counts
are read from disk in blocks; in memory stand only dense matrices of a few dozen columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.data.gene_states import ragged_positions
from cisoform.data.partial import release
from cisoform.errors import InputError
from cisoform.genome.hdf5 import BLOCK_ENTRIES, cut_rows
from cisoform.genome.ragged import Ragged

N_COMPONENTS = 30
_OVERSAMPLE = 10
_POWER_PASSES = 2
_SCALE = 1e4

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pooling:
    """How cells are joined.

    Attributes:
        kind: "cells", "knn" or "pseudobulk".
        k: Cells of a pool, its centre included (knn).
        column: Annotation column (pseudobulk).
    """

    kind: str = "cells"
    k: int = 0
    column: str = ""

    @classmethod
    def parse(cls, text: str) -> Pooling:
        """Read `cells`, `knn:K` or `pseudobulk:COLUMN`.

        Raises:
            InputError: If it is none of these.
        """
        kind, _, value = text.partition(":")
        if text == "cells":
            return cls()
        if kind == "knn" and value.isdigit() and int(value) >= 1:
            return cls("knn", k=int(value))
        if kind == "pseudobulk" and value:
            return cls("pseudobulk", column=value)
        raise InputError(f"--pool {text!r} is none of cells, knn:K (as knn:50), pseudobulk:COLUMN")


@dataclass(frozen=True)
class SparseRows:
    """Rows of a sparse matrix on disk or in memory: stored row i has entries `offsets[i]:offsets[i + 1]`.

    Rows are asked for by number; `stored` is the stored row of each, None = the same.
    """

    offsets: IntArray
    columns: npt.NDArray[np.int32]
    values: FloatArray
    width: int
    stored: IntArray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def bounds(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """First entry of each row, and how many it has."""
        at = rows if self.stored is None else self.stored[rows]
        return self.offsets[at], self.offsets[at + 1] - self.offsets[at]

    def row(self, row: int) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """Columns and values of a row."""
        start, count = self.bounds(np.array([row]))
        part = slice(int(start[0]), int(start[0] + count[0]))
        return np.asarray(self.columns[part]), np.asarray(self.values[part])

    def sum(self, rows: IntArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Sum of rows: the columns that are not zero, ascending, and their values."""
        if len(rows) == 1:
            columns, values = self.row(int(rows[0]))
            return columns, values.astype(np.float64)
        starts, counts = self.bounds(rows)
        total = np.zeros(self.width)
        for first, last in cut_rows(np.concatenate([[0], np.cumsum(counts)]), 0, BLOCK_ENTRIES):
            entry = ragged_positions(starts[first:last], counts[first:last])
            total += np.bincount(self.columns[entry], weights=self.values[entry], minlength=self.width)
        held = np.flatnonzero(total)
        return held.astype(np.int32), total[held]

    def blocks(self, rows: IntArray, max_entries: int = BLOCK_ENTRIES) -> Iterator[tuple[slice, SparseRows]]:
        """Some rows in pieces of at most `max_entries` entries, and which of the rows each piece is."""
        starts, counts = self.bounds(rows)
        for first, last in cut_rows(np.concatenate([[0], np.cumsum(counts)]), 0, max_entries):
            entry = ragged_positions(starts[first:last], counts[first:last])
            offsets = np.concatenate([[0], np.cumsum(counts[first:last])]).astype(np.int64)
            yield slice(first, last), SparseRows(offsets, self.columns[entry], self.values[entry], self.width)
            release(self.columns, self.values)


def lsi(matrix: SparseRows, rows: IntArray, n_components: int = N_COMPONENTS, seed: int = 0) -> FloatArray:
    """Unit vectors of cells by latent semantic indexing of their counts, the first (depth) component left out.

    Truncated SVD by random projection with two power passes (Halko et al. 2011, algorithm 4.4), a block of cells at
    a time.

    Args:
        matrix: Counts, cells x peaks.
        rows: The cells to use; nothing of others is read.
        n_components: Components kept.
        seed: Of the random projection.
    """
    from scipy.sparse import csr_matrix

    n_cells = len(rows)
    holders = np.zeros(matrix.width)
    for _, block in matrix.blocks(rows):
        holders += np.bincount(block.columns, minlength=matrix.width)
    rarity = np.log1p(n_cells / np.maximum(holders, 1)).astype(np.float32)

    def weighted() -> Iterator[tuple[slice, Any]]:
        for part, block in matrix.blocks(rows):
            totals = np.add.reduceat(np.append(block.values, 0), block.offsets[:-1])
            totals[block.offsets[1:] == block.offsets[:-1]] = 1
            share = block.values / np.repeat(totals, np.diff(block.offsets))
            data = (np.log1p(share * _SCALE) * rarity[block.columns]).astype(np.float32)
            yield part, csr_matrix((data, block.columns, block.offsets), shape=(len(block), matrix.width))

    rank = min(n_components + 1 + _OVERSAMPLE, n_cells, matrix.width)
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((matrix.width, rank)).astype(np.float32)
    for step in range(_POWER_PASSES + 1):
        left = np.empty((n_cells, rank), dtype=np.float32)
        for part, rows_of_part in weighted():
            left[part] = rows_of_part @ basis
        left, _ = np.linalg.qr(left)
        right = np.zeros((matrix.width, rank), dtype=np.float32)
        for part, rows_of_part in weighted():
            right += rows_of_part.T @ left[part]
        if step < _POWER_PASSES:
            basis, _ = np.linalg.qr(right)
    turn, strength, _ = np.linalg.svd(right.T, full_matrices=False)
    first = 1 if rank > 2 else 0
    vectors = (left @ turn)[:, first : n_components + first] * strength[first : n_components + first]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)


def nearest_cells(vectors: FloatArray, centres: IntArray, k: int, block: int = 128) -> IntArray:
    """The k cells nearest each centre by cosine, the centre first, the rest ascending: (centres, k)."""
    found = np.empty((len(centres), k), dtype=np.int64)
    for first in range(0, len(centres), block):
        part = centres[first : first + block]
        likeness = vectors[part] @ vectors.T
        likeness[np.arange(len(part)), part] = np.inf
        best = np.argpartition(-likeness, k - 1, axis=1)[:, :k] if k < len(vectors) else None
        for row, centre in enumerate(part.tolist()):
            cells = np.arange(len(vectors)) if best is None else np.sort(best[row])
            found[first + row] = np.concatenate([[centre], cells[cells != centre]])
    return found


@dataclass(frozen=True)
class Groups:
    """Groups of cells.

    Attributes:
        names: Barcode (cells, centre of a pool) or label of each.
        part: "train", "valid" or "test" of each.
        members: Cells of each.
        notes: What was noticed.
    """

    names: list[str]
    part: list[str]
    members: Ragged
    notes: list[str]


def group_cells(
    pooling: Pooling,
    cells: Sequence[str],
    part: Sequence[str],
    atac: SparseRows | None,
    labels: Sequence[str] | None = None,
    max_groups: int | None = None,
    seed: int = 0,
) -> Groups:
    """Join cells into groups within their parts.

    Args:
        pooling: How.
        cells: Barcodes.
        part: "train", "valid" or "test" of each.
        atac: Their counts (knn only).
        labels: Their label (pseudobulk only); "" leaves a cell out.
        max_groups: Most cells, or centres of pools, drawn evenly at random; None = all. Pseudobulks are all kept.
        seed: Of that draw and of the projection.

    Raises:
        InputError: If no cell has a label.
    """
    parts = np.array(part, dtype=object)
    if pooling.kind == "pseudobulk":
        assert labels is not None
        return _pseudobulks(parts, labels)
    chosen = np.arange(len(cells))
    if max_groups is not None and max_groups < len(cells):
        chosen = np.sort(np.random.default_rng(seed).permutation(len(cells))[:max_groups])
    if pooling.kind == "cells":
        members = Ragged(chosen, np.arange(len(chosen) + 1, dtype=np.int64))
        return Groups([cells[cell] for cell in chosen.tolist()], parts[chosen].tolist(), members, [])
    assert atac is not None
    rows: dict[int, IntArray] = {}
    notes = []
    for name in dict.fromkeys(part):
        own = np.flatnonzero(parts == name)
        k = min(pooling.k, len(own))
        if k < pooling.k:
            notes.append(
                f"the {name} part has {len(own)} cells: its pools hold all of them instead of {pooling.k}"
            )
        centres = np.flatnonzero(np.isin(own, chosen))
        if len(centres):
            near = nearest_cells(lsi(atac, own, seed=seed), centres, k)
            rows |= {
                int(own[centre]): own[cells_] for centre, cells_ in zip(centres.tolist(), near, strict=True)
            }
    members = Ragged.from_rows([rows[int(cell)] for cell in chosen], np.int64)
    return Groups([cells[cell] for cell in chosen.tolist()], parts[chosen].tolist(), members, notes)


def _pseudobulks(parts: npt.NDArray[np.object_], labels: Sequence[str]) -> Groups:
    held: dict[tuple[str, str], list[int]] = {}
    for cell, (name, label) in enumerate(zip(parts.tolist(), labels, strict=True)):
        if label:
            held.setdefault((label, name), []).append(cell)
    if not held:
        raise InputError("no cell has a label to make pseudobulks of")
    order = sorted(held)
    several = {label for label, _ in order if sum(label == other for other, _ in order) > 1}
    notes = []
    left_out = len(labels) - sum(len(cells) for cells in held.values())
    if left_out:
        notes.append(f"{left_out:,} cells without a label are left out")
    names = [f"{label} ({name})" if label in several else label for label, name in order]
    members = Ragged.from_rows([np.array(held[key], dtype=np.int64) for key in order], np.int64)
    return Groups(names, [name for _, name in order], members, notes)
