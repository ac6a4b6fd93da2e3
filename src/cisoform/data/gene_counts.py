"""Counts of cells brought into the order of a build, on disk: block by block from matrices, in one scan from fragments.

Every function fills growing arrays of a partial folder and can be continued there; nothing but a block is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.data.gene_pools import SparseRows
from cisoform.data.gene_states import BIN_BP, N_BINS, ragged_positions
from cisoform.data.partial import WORK, PartialFolder
from cisoform.genome.fragments import Cuts, FragmentScan
from cisoform.genome.hdf5 import CountMatrix
from cisoform.genome.peaks import PEAK_WINDOW, Peaks

_BUCKET_FILE_BYTES = 16 << 20
_MAX_BUCKETS = 256
"""Fragments are sorted on disk in parts that fit into memory: one for so many (compressed) bytes of the file."""

IntArray = npt.NDArray[np.int64]
Say = Callable[[str, float], None]


def import_matrix(
    folder: PartialFolder,
    stage: str,
    matrix: CountMatrix,
    cell_of: IntArray,
    column_of: IntArray,
    normalised: bool,
    say: Say,
) -> None:
    """Write the wanted cells and features of a matrix as a CSR in the folder's `work`, in the order of the file.

    Args:
        folder: Where to.
        stage: "rna" or "atac": the name of the arrays and of the stage.
        matrix: The counts.
        cell_of: Number in the build of each cell of the matrix, -1 = left out.
        column_of: Number in the build of each feature, -1 = left out (its counts still are part of the total).
        normalised: Allow values that are no counts.
        say: Told the share done.
    """
    if folder.finished(stage):
        return
    names = [
        (f"{WORK}/{stage}_cell", np.int32), (f"{WORK}/{stage}_count", np.int32), (f"{WORK}/{stage}_total", np.float64),
        (f"{WORK}/{stage}_column", np.int32), (f"{WORK}/{stage}_value", np.float32),
    ]  # fmt: skip
    arrays = folder.arrays(stage, names)
    cell, count, total, column, value = arrays.values()
    column_of = column_of.astype(np.int32)
    for block in matrix.blocks(folder.done(stage), normalised=normalised):
        cells = cell_of[block.first : block.first + block.n_cells]
        keep = cells >= 0
        row = np.repeat(np.arange(block.n_cells), np.diff(block.indptr))
        sums = np.bincount(row, weights=block.values, minlength=block.n_cells)
        placed = column_of[block.indices]
        wanted = (placed >= 0) & keep[row]
        row, placed, values = row[wanted], placed[wanted], block.values[wanted]
        order = np.argsort(row * np.int64(len(column_of) + 1) + placed, kind="stable")
        cell.append(cells[keep])
        count.append(np.bincount(row, minlength=block.n_cells)[keep])
        total.append(sums[keep])
        column.append(placed[order])
        value.append(values[order])
        done = block.first + block.n_cells
        folder.settle(stage, done, arrays)
        say(f"reading {stage.upper()}", done / max(1, matrix.shape[0]))
    folder.settle(stage, matrix.shape[0], arrays, last=True)


def imported(
    folder: PartialFolder, stage: str, n_cells: int, width: int
) -> tuple[SparseRows, npt.NDArray[np.float64]]:
    """The counts written by `import_matrix` with rows by cell number, and the total of each cell.

    Rows lie on disk in the order of the matrix file; `SparseRows.offsets` must be ascending, so cells in another
    order are reached through `order`.
    """
    load = _loader(folder.path / WORK)
    cell = load(f"{stage}_cell")
    ends = np.concatenate([[0], np.cumsum(load(f"{stage}_count"), dtype=np.int64)])
    total = np.zeros(n_cells)
    total[cell] = load(f"{stage}_total")
    row_of = np.empty(n_cells, dtype=np.int64)
    row_of[cell] = np.arange(n_cells)
    rows = SparseRows(ends, load(f"{stage}_column"), load(f"{stage}_value"), width, row_of)
    return rows, total


def _loader(folder: Path) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        path = folder / f"{name}.npy"
        return np.asarray(np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None))

    return load


def cuts_in_windows(cuts: Cuts, peaks: Peaks) -> tuple[IntArray, IntArray, IntArray]:
    """Peak, cell and 10-bp bin of every cut that lies in the 1,029-bp window of a peak (of each, if of several)."""
    spacing = 1 << 34
    line = peaks.chrom * spacing + peaks.window_start + (spacing >> 2)
    at = cuts.chrom.astype(np.int64) * spacing + cuts.position + (spacing >> 2)
    low = np.searchsorted(line, at - PEAK_WINDOW + 1, side="left")
    count = np.searchsorted(line, at, side="right") - low
    peak = ragged_positions(low, count)
    cut = np.repeat(np.arange(len(cuts)), count)
    return peak, cuts.cell[cut].astype(np.int64), (at[cut] - line[peak]) // BIN_BP


def scan_fragments(folder: PartialFolder, scan: FragmentScan, peaks: Peaks, say: Say) -> dict[str, Any]:
    """Sort the cuts round peaks into buckets of `work`, as keys (peak * cells + cell) * bins + bin; once.

    Returns:
        `per_cell`, the number of cuts of each cell anywhere, and `text`, what was found.
    """
    if folder.finished("fragments"):
        found: dict[str, Any] = folder.value("fragments")
        return found
    size = max(1, scan.path.stat().st_size)
    n_buckets = min(_MAX_BUCKETS, -(-size // _BUCKET_FILE_BYTES))
    # Bucket b takes the peaks from first_peak[b] on.
    first_key = (np.arange(n_buckets + 1) * len(peaks) // n_buckets) * len(scan.cells) * N_BINS
    names = [f"{WORK}/cuts_{bucket:03d}" for bucket in range(n_buckets)]
    arrays = folder.arrays("fragments", [(name, np.int64) for name in names])
    for block in scan.blocks():
        peak, cell, bins = cuts_in_windows(block, peaks)
        keys = (peak * len(scan.cells) + cell) * N_BINS + bins
        keys.sort()
        edges = np.searchsorted(keys, first_key)
        for bucket, array in enumerate(arrays.values()):
            array.append(keys[edges[bucket] : edges[bucket + 1]])
        say("reading fragments", min(1.0, scan.n_fragments * 12 / size))
    text = scan.check()
    value = {"per_cell": (2 * scan.per_cell).tolist(), "text": text, "buckets": n_buckets}
    folder.settle("fragments", 1, arrays, True, value)
    return value


def bucket_entries(
    folder: PartialFolder, n_cells: int
) -> Iterator[tuple[IntArray, IntArray, IntArray, IntArray]]:
    """Per bucket the distinct (peak, cell, bin) and the cuts there, sorted."""
    load = _loader(folder.path / WORK)
    for bucket in range(folder.value("fragments")["buckets"]):
        keys, counts = np.unique(load(f"cuts_{bucket:03d}"), return_counts=True)
        pair, bins = np.divmod(keys, N_BINS)
        peak, cell = np.divmod(pair, n_cells)
        yield peak, cell, bins, counts.astype(np.int64)


def counts_of_fragments(folder: PartialFolder, n_cells: int, n_peaks: int) -> SparseRows:
    """Cuts in each peak's window in each cell, as CSR over cells (for the search of neighbours)."""
    path = folder.path / WORK
    held = np.zeros(n_cells + 1, dtype=np.int64)
    parts = []
    for bucket, (peak, cell, _, count) in enumerate(bucket_entries(folder, n_cells)):
        pair, first = np.unique(peak * n_cells + cell, return_index=True)
        sums = np.add.reduceat(count, first) if len(first) else count
        part = path / f"pairs_{bucket:03d}.npy"
        np.save(part, np.stack([pair, sums]))
        parts.append(part)
        held[1:] += np.bincount(pair % n_cells, minlength=n_cells)
    offsets = np.cumsum(held)
    columns = np.lib.format.open_memmap(path / "cut_peak.npy", "w+", np.int32, (int(offsets[-1]),))
    values = np.lib.format.open_memmap(path / "cut_count.npy", "w+", np.float32, (int(offsets[-1]),))
    cursor = offsets[:-1].copy()
    for part in parts:
        pair, sums = np.load(part)
        peak, cell = np.divmod(pair, n_cells)
        place, order = fill_places(cell, cursor)
        columns[place], values[place] = peak[order], sums[order]
        part.unlink()
    return SparseRows(offsets, np.asarray(columns), np.asarray(values), n_peaks)


def fill_places(row: IntArray, cursor: IntArray) -> tuple[IntArray, IntArray]:
    """Where entries of rows go in a CSR that is filled in several passes.

    Args:
        row: Row of each entry.
        cursor: Next free place of each row; moved on.

    Returns:
        Places, ascending within a row, and the entries in that order (stable).
    """
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=len(cursor))
    used = np.flatnonzero(counts)
    place = ragged_positions(cursor[used], counts[used])
    cursor += counts
    return place, order
