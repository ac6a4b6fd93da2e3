"""Pieces of HDF5 files of single-cell data: text, columns of an annotation table, sparse matrices in slices.

h5py is imported on use. Nothing is read whole but names and pointers: counts come a block of cells at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, require_file

BLOCK_ENTRIES = 4_000_000
_CSC_ENTRIES = 50_000_000
"""A matrix stored by feature is turned in memory up to this size (about 1 GB), refused beyond."""
_INTEGER_TOLERANCE = 1e-3
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def open_hdf5(path: PathLike, what: str) -> Any:
    """An HDF5 file opened for reading.

    Raises:
        InputError: If it is missing, no HDF5, truncated, or h5py is not installed.
    """
    path = require_file(path, what)
    with path.open("rb") as handle:
        if not _is_hdf5(handle):
            raise InputError(f"{path}: is not an HDF5 file ({what}); is it compressed, or another format?")
    try:
        import h5py
    except ImportError:
        raise InputError(f"{path}: reading it needs h5py: pip install 'cisoform[multiome]'") from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read as HDF5 ({what}): {' '.join(str(error).split())}; is it truncated? copy it again"
        ) from None


def _is_hdf5(handle: IO[bytes]) -> bool:
    """Whether the signature stands where it may: at 0, or after a user block (MuData writes one of 512 bytes)."""
    for offset in (0, *(512 << power for power in range(8))):
        handle.seek(offset)
        if handle.read(8) == HDF5_MAGIC:
            return True
    return False


def texts(dataset: Any) -> list[str]:
    """The strings of a dataset; numbers as their text."""
    values = dataset[()]
    return [
        value.decode() if isinstance(value, bytes) else str(value)
        for value in np.asarray(values).ravel().tolist()
    ]


def index_of(table: Any, where: str) -> list[str]:
    """The row names of an annotation table (`obs` or `var` of an AnnData file).

    Raises:
        InputError: If the table is of a form that anndata no longer writes, or has no index.
    """
    if not hasattr(table, "keys"):
        raise InputError(
            f"{where}: is stored in an old form; read and write the file once with anndata >= 0.7"
        )
    name = table.attrs.get("_index", "_index")
    name = name.decode() if isinstance(name, bytes) else str(name)
    if name not in table:
        raise InputError(f"{where}: has no index {name!r}; write the file again with anndata")
    return texts(table[name])


def column_of(table: Any, name: str) -> list[str] | None:
    """A column of an annotation table as text ("" where missing), or None if there is none of this name."""
    if not hasattr(table, "keys") or name not in table:
        return None
    column = table[name]
    if hasattr(column, "keys"):
        if "categories" in column:
            return _decode(np.asarray(column["codes"][()]), texts(column["categories"]))
        values, mask = texts(column["values"]), np.asarray(column["mask"][()])
        return ["" if hidden else value for value, hidden in zip(values, mask.tolist(), strict=True)]
    if "categories" in column.attrs:
        return _decode(np.asarray(column[()]), texts(table.file[column.attrs["categories"]]))
    if "__categories" in table and name in table["__categories"]:
        return _decode(np.asarray(column[()]), texts(table["__categories"][name]))
    return texts(column)


def _decode(codes: npt.NDArray[Any], categories: list[str]) -> list[str]:
    return ["" if code < 0 else categories[code] for code in codes.tolist()]


@dataclass(frozen=True)
class Block:
    """Counts of consecutive cells: CSR with sorted, distinct columns.

    Attributes:
        first: Number of the first cell.
        indptr: Entries of cell `first + i` are `indptr[i]:indptr[i + 1]`.
        indices: Feature of each entry, in the matrix' own numbering after selection.
        values: Counts; whole numbers unless normalised values are allowed.
    """

    first: int
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]

    @property
    def n_cells(self) -> int:
        """Number of cells of the block."""
        return len(self.indptr) - 1


@dataclass(frozen=True)
class CountMatrix:
    """Counts of one assay, cells x features, on disk.

    Attributes:
        path: The file.
        group: Where in the file.
        layout: How it is stored: by cell, by feature, or dense.
        shape: Cells and features as stored.
        cells: Barcodes.
        feature_ids: Ids of the selected features.
        feature_names: Their names (symbols), or the ids again.
        columns: Stored column of each selected feature; None = all in order.
    """

    path: Path
    group: str
    layout: Literal["csr", "csc", "dense"]
    shape: tuple[int, int]
    cells: list[str]
    feature_ids: list[str]
    feature_names: list[str]
    columns: npt.NDArray[np.int64] | None = None

    @property
    def where(self) -> str:
        """File and place in it, for messages."""
        return f"{self.path} ({self.group})"

    def blocks(
        self, start: int = 0, max_entries: int = BLOCK_ENTRIES, normalised: bool = False
    ) -> Iterator[Block]:
        """All cells from number `start` on, in blocks of at most about `max_entries` stored entries.

        Args:
            start: First cell.
            max_entries: Upper limit of a block (one cell is the least).
            normalised: Allow values that are no whole numbers.

        Raises:
            InputError: At an index outside the matrix, a negative or infinite value, or, unless allowed, one that
                is no whole number (with cell and feature).
        """
        file = open_hdf5(self.path, "single-cell matrix")
        with file:
            node = file[self.group]
            if self.layout == "dense":
                raw = self._dense(node, start, max_entries)
            elif self.layout == "csr":
                raw = self._slices(node, start, max_entries)
            else:
                raw = self._turned(node, start, max_entries)
            for first, indptr, indices, values in raw:
                yield self._clean(first, indptr, indices, values, normalised)

    def _slices(self, node: Any, start: int, max_entries: int) -> Iterator[tuple[int, Any, Any, Any]]:
        indptr = np.asarray(node["indptr"][()], dtype=np.int64)
        self._check_pointers(indptr, self.shape[0], node)
        for first, last in cut_rows(indptr, start, max_entries):
            low, high = int(indptr[first]), int(indptr[last])
            try:
                indices, values = node["indices"][low:high], node["data"][low:high]
            except OSError as error:
                raise self._damaged(error) from None
            yield first, indptr[first : last + 1] - low, indices, values

    def _dense(self, node: Any, start: int, max_entries: int) -> Iterator[tuple[int, Any, Any, Any]]:
        step = max(1, max_entries // max(1, self.shape[1]))
        for first in range(start, self.shape[0], step):
            values = np.asarray(node[first : min(first + step, self.shape[0])])
            row, column = np.nonzero(values)
            indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(values)))])
            yield first, indptr.astype(np.int64), column, values[row, column]

    def _turned(self, node: Any, start: int, max_entries: int) -> Iterator[tuple[int, Any, Any, Any]]:
        from scipy.sparse import csc_matrix

        indptr = np.asarray(node["indptr"][()], dtype=np.int64)
        self._check_pointers(indptr, self.shape[1], node)
        if indptr[-1] > _CSC_ENTRIES:
            raise InputError(
                f"{self.where}: {indptr[-1]:,} entries are stored by feature (CSC); store them by cell: "
                "adata.X = adata.X.tocsr()"
            )
        parts = (node["data"][()], np.asarray(node["indices"][()], dtype=np.int64), indptr)
        self._check_range(parts[1], self.shape[0])
        turned = csc_matrix(parts, shape=self.shape).tocsr()
        for first, last in cut_rows(turned.indptr, start, max_entries):
            low, high = int(turned.indptr[first]), int(turned.indptr[last])
            yield (
                first,
                turned.indptr[first : last + 1].astype(np.int64) - low,
                turned.indices[low:high],
                turned.data[low:high],
            )

    def _clean(self, first: int, indptr: Any, indices: Any, values: Any, normalised: bool) -> Block:
        from scipy.sparse import csr_matrix

        self._check_range(indices, self.shape[1])
        indices = np.asarray(indices, dtype=np.int32)
        self._check_values(first, indptr, indices, values, normalised)
        counts = np.asarray(values, dtype=np.float32)
        if not normalised and values.dtype.kind == "f":
            counts = np.rint(counts)
        if self.columns is not None:
            place = np.full(self.shape[1], -1, dtype=np.int32)
            place[self.columns] = np.arange(len(self.columns), dtype=np.int32)
            indices = place[indices]
        keep = (indices >= 0) & (counts != 0)
        if not keep.all():
            kept = np.concatenate([[0], np.cumsum(keep)])
            indptr, indices, counts = kept[indptr], indices[keep], counts[keep]
        width = self.shape[1] if self.columns is None else len(self.columns)
        block = csr_matrix((counts, indices, indptr), shape=(len(indptr) - 1, width))
        block.sum_duplicates()
        return Block(
            first, block.indptr.astype(np.int64), block.indices.astype(np.int32, copy=False), block.data
        )

    def _check_pointers(self, indptr: npt.NDArray[np.int64], rows: int, node: Any) -> None:
        sound = len(indptr) == rows + 1 and indptr[0] == 0 and bool((np.diff(indptr) >= 0).all())
        if not sound or indptr[-1] != len(node["indices"]) or indptr[-1] != len(node["data"]):
            raise self._damaged("row pointers do not fit the entries")

    def _check_range(self, indices: npt.NDArray[Any], limit: int) -> None:
        if len(indices) and (int(indices.max()) >= limit or int(indices.min()) < 0):
            raise self._damaged(f"an index of {int(indices.max())} where {limit} are there")

    def _check_values(self, first: int, indptr: Any, indices: Any, values: Any, normalised: bool) -> None:
        if not len(values) or (values.dtype.kind in "ub"):
            return
        bad = np.asarray(values < 0)
        mend = "counts cannot be negative"
        if values.dtype.kind == "f":
            bad = ~np.isfinite(values) | bad
            mend = "counts must be finite and at least 0; scaled (z-scored) data cannot be used"
            if not bad.any() and not normalised:
                bad = np.abs(values - np.rint(values)) > _INTEGER_TOLERANCE
                mend = (
                    "whole counts are expected; give the raw counts (--layer counts, if the file has them), "
                    "or allow normalised values with --allow-normalised"
                )
        if bad.any():
            entry = int(np.flatnonzero(bad)[0])
            cell = first + int(np.searchsorted(indptr, entry, side="right")) - 1
            column = int(indices[entry])
            raise InputError(
                f"{self.where}: cell {self.cells[cell]!r}, feature {self._stored_name(column)!r}: value "
                f"{values[entry]:g}; {mend}"
            )

    def _stored_name(self, column: int) -> str:
        if self.columns is None:
            return self.feature_ids[column]
        found = np.flatnonzero(self.columns == column)
        return self.feature_ids[int(found[0])] if len(found) else f"number {column + 1}"

    def _damaged(self, reason: object) -> InputError:
        return InputError(f"{self.where}: the matrix is damaged: {reason}; copy or write the file again")


def cut_rows(indptr: npt.NDArray[Any], start: int, max_entries: int) -> Iterator[tuple[int, int]]:
    """Consecutive rows from `start` on in runs of at most `max_entries` entries (or one row)."""
    first, n_rows = start, len(indptr) - 1
    while first < n_rows:
        last = int(np.searchsorted(indptr, indptr[first] + max_entries, side="right")) - 1
        last = min(max(last, first + 1), n_rows)
        yield first, last
        first = last


def matrix_layout(node: Any, where: str) -> tuple[Literal["csr", "csc", "dense"], tuple[int, int]]:
    """How a matrix of an AnnData file is stored, and its shape.

    Raises:
        InputError: If it is of another kind.
    """
    if not hasattr(node, "keys"):
        if len(node.shape) != 2:
            raise InputError(f"{where}: has {len(node.shape)} axes where a matrix has 2")
        return "dense", (int(node.shape[0]), int(node.shape[1]))
    kind = node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", ""))
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    if kind[:3] not in ("csr", "csc") or shape is None:
        raise InputError(f"{where}: is stored as {kind!r}; a CSR matrix is expected")
    return ("csr" if kind[:3] == "csr" else "csc"), (int(shape[0]), int(shape[1]))
