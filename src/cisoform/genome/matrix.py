"""Tables of numbers with an id column (TSV, CSV, GCT, each gzip or not, and parquet), read in blocks of rows.

Memory holds one block, however wide or long the table is. Every value is checked: it must be a finite number from
0, or missing (an empty cell, NA or NaN), which reads as NaN.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from jaxtyping import Float

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_binary, require_file

WHAT = "expression table"
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None", ".")
# polars spends some time on each column of each block: blocks of 100 rows of GTEx cost half as much again.
_BLOCK_BYTES = 16 << 20
_BLOCK_VALUES = 8 << 20
# Names are compared in lower case.
_TRANSCRIPT_COLUMNS = (
    "transcript_id",
    "transcript",
    "target_id",
    "isoform_id",
    "tx_id",
    "name",
    "id",
    "feature_id",
)
_GENE_COLUMNS = ("gene_id", "gene")
_OTHER_COLUMNS = (
    "description", "gene_name", "gene_symbol", "symbol", "biotype", "gene_type", "gene_biotype", "transcript_type",
    "transcript_biotype", "transcript_name", "chrom", "chromosome", "chr", "strand", "start", "end", "length",
    "eff_length", "effective_length",
)  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are.

    Attributes:
        names: All of them, in file order.
        id: Position of the row ids: transcript ids, else gene ids, else the first column.
        gene: Position of the gene ids beside transcript ids, or None.
        values: Names of the columns that hold values.
    """

    names: tuple[str, ...]
    id: int
    gene: int | None
    values: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """Some rows: their ids, the gene ids if the table has them, and values of the columns asked for."""

    ids: list[str]
    gene_ids: list[str] | None
    values: Float[np.ndarray, "rows columns"]
    numbers: range  # Line (text) or row (parquet) of each, counted from 1.


class Matrix:
    """An open table; made by `open_matrix`."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self.columns = _classify(path, names)
        self.unit = "line"

    def blocks(self, wanted: Sequence[str]) -> Iterator[Block]:
        """The rows, in blocks, with the values of the wanted columns in that order.

        Raises:
            InputError: At a value that is not a number, negative or infinite; at a line with another number of
                fields than the header; at an empty id (each with line and column).
        """
        columns = self.columns
        for rows, numbers in self._frames([*wanted]):
            ids = rows[columns.names[columns.id]]
            if ids.null_count() or (ids == "").any():
                empty = int((ids.is_null() | (ids == "")).arg_true()[0])
                raise InputError(f"{self.path}: {self.unit} {numbers[empty]}: the id is empty")
            values = rows.select(wanted).to_numpy().astype(np.float32, copy=False)
            self._check(values, wanted, numbers)
            genes = (
                None if columns.gene is None else rows[columns.names[columns.gene]].fill_null("").to_list()
            )
            block = Block(ids.to_list(), genes, values, numbers)
            del rows, ids, values  # Nothing of this block may be held while the next one is read.
            yield block
            del block

    def _frames(self, wanted: list[str]) -> Iterator[tuple[pl.DataFrame, range]]:
        raise NotImplementedError

    def _schema(self, wanted: Sequence[str]) -> dict[str, Any]:
        chosen = set(wanted)
        return {name: pl.Float32 if name in chosen else pl.String for name in self.columns.names}

    def _needed(self, wanted: Sequence[str]) -> list[int]:
        chosen = set(wanted)
        also = {self.columns.id, self.columns.gene}
        return [index for index, name in enumerate(self.columns.names) if name in chosen or index in also]

    def _check(self, values: npt.NDArray[np.float32], wanted: Sequence[str], numbers: range) -> None:
        for bad, what in ((np.isinf(values), "infinite"), (values < 0, "negative")):
            if bad.any():
                row, column = (int(index) for index in np.argwhere(bad)[0])
                raise InputError(
                    f"{self.path}: {self.unit} {numbers[row]}, column {wanted[column]!r}: value "
                    f"{values[row, column]:g} is {what}; expression is a finite number from 0, on a linear scale"
                )


@contextlib.contextmanager
def open_matrix(path: PathLike) -> Iterator[Matrix]:
    """Open a table of numbers; the format is told by the content.

    Raises:
        InputError: If the file is missing, empty, damaged (also while it is read) or has no usable header.
    """
    path = require_file(path, WHAT)
    with path.open("rb") as handle:
        magic = handle.read(4)
    if magic == b"PAR1":
        yield _ParquetMatrix(path)
    elif magic == b"PK\x03\x04":
        raise InputError(f"{path}: is a zip archive or Excel workbook; export the table as TSV or CSV")
    else:
        with open_binary(path, WHAT) as handle:
            yield _TextMatrix(path, handle)


def _classify(path: Path, names: Sequence[str]) -> Columns:
    repeated = (
        [name for index, name in enumerate(names) if name in names[:index]]
        if len({*names}) < len(names)
        else []
    )
    if repeated:
        raise InputError(f"{path}: the header has column {repeated[0]!r} twice")
    lower = [name.lower() for name in names]
    transcript = next((lower.index(name) for name in _TRANSCRIPT_COLUMNS if name in lower), None)
    gene = next((lower.index(name) for name in _GENE_COLUMNS if name in lower), None)
    first = transcript if transcript is not None else gene if gene is not None else 0
    gene = gene if gene != first else None
    values = [
        name
        for index, name in enumerate(names)
        if index not in (first, gene) and lower[index] not in _OTHER_COLUMNS
    ]
    if not values:
        raise InputError(f"{path}: the header has no column of values: {', '.join(names)[:80]!r} ({WHAT})")
    return Columns(tuple(names), first, gene, tuple(values))


class _TextMatrix(Matrix):
    """TSV, CSV or GCT. GCT has two lines before the header: `#1.2`, and the numbers of rows and columns."""

    def __init__(self, path: Path, handle: io.BufferedIOBase) -> None:
        self._handle = handle
        self._declared_rows: int | None = None
        line, number = handle.readline().removeprefix(b"\xef\xbb\xbf"), 1
        if line.startswith((b"#1.2", b"#1.3")):
            self._declared_rows, number = _gct_rows(path, handle.readline()), 2
            line = handle.readline()
            number += 1
        while line.startswith(b"#") or (line and not line.strip()):
            line, number = handle.readline(), number + 1
        text = _decode(path, line, number)
        self._separator = "\t" if "\t" in text else ","
        names = next(csv.reader([text], delimiter=self._separator), [])
        self._pending = handle.readline()
        fields = next(csv.reader([_decode(path, self._pending, number + 1)], delimiter=self._separator), [])
        if len(fields) == len(names) + 1:  # R's write.table leaves out the name of the row names.
            names = ["id", *names]
        if len(names) < 2:
            raise InputError(
                f"{path}: line {number}: expected a header of tab- or comma-separated names, not {text[:40]!r}"
            )
        if not fields:
            raise InputError(f"{path}: has a header and no rows ({WHAT})")
        self._next_line = number + 1
        super().__init__(path, names)

    def _frames(self, wanted: list[str]) -> Iterator[tuple[pl.DataFrame, range]]:
        total = 0
        while block := self._pending + self._handle.read(_BLOCK_BYTES):
            self._pending = b""
            block += self._handle.readline()
            n_lines = block.count(b"\n")
            block = block.rstrip(b"\r\n")
            if not block:
                self._next_line += n_lines
                continue
            quoted = b'"' in block
            n_rows = block.count(b"\n") + 1
            self._check_fields(block, quoted)
            try:
                rows = pl.read_csv(
                    block,
                    separator=self._separator,
                    has_header=False,
                    quote_char='"' if quoted else None,
                    schema=self._schema(wanted),
                    columns=self._needed(wanted),
                    null_values=list(MISSING),
                )
            except (pl.exceptions.ComputeError, pl.exceptions.SchemaError):
                self._raise_at_bad_value(block, wanted)
                raise
            del block
            yield rows, range(self._next_line, self._next_line + n_rows)
            del rows
            total += n_rows
            self._next_line += n_lines
        if self._declared_rows is not None and total != self._declared_rows:
            raise InputError(
                f"{self.path}: line 2 declares {self._declared_rows} rows but there are {total}; is the file truncated?"
            )

    def _check_fields(self, block: bytes, quoted: bool) -> None:
        """Every line must have as many fields as the header."""
        expected = len(self.columns.names)
        if quoted:
            reader = csv.reader(
                io.StringIO(_decode(self.path, block, self._next_line)), delimiter=self._separator
            )
            counts = np.array([len(fields) for fields in reader])
        else:
            letters = np.frombuffer(block, dtype=np.uint8)
            starts = np.concatenate([[0], np.flatnonzero(letters == ord("\n")) + 1])
            counts = np.add.reduceat(letters == ord(self._separator), starts, dtype=np.int32) + 1
        wrong = np.flatnonzero(counts != expected)
        if len(wrong):
            line = self._next_line + int(wrong[0])
            raise InputError(
                f"{self.path}: line {line}: has {counts[wrong[0]]} fields, the header has {expected}"
            )

    def _raise_at_bad_value(self, block: bytes, wanted: Sequence[str]) -> None:
        positions = [self.columns.names.index(name) for name in wanted]
        text = _decode(self.path, block, self._next_line)
        for number, fields in enumerate(
            csv.reader(io.StringIO(text), delimiter=self._separator), self._next_line
        ):
            for position in positions:
                value = fields[position]
                if value not in MISSING and not _is_number(value):
                    raise InputError(
                        f"{self.path}: line {number}, column {self.columns.names[position]!r}: {value!r} is not a "
                        "number; leave a missing value empty"
                    )


class _ParquetMatrix(Matrix):
    """Parquet, read by slices of rows."""

    def __init__(self, path: Path) -> None:
        try:
            self._scan = pl.scan_parquet(path)
            self._dtypes = self._scan.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"{path}: cannot be read as parquet: {str(error).splitlines()[0]}") from None
        super().__init__(path, self._dtypes.names())
        self.unit = "row"

    def _frames(self, wanted: list[str]) -> Iterator[tuple[pl.DataFrame, range]]:
        for name in wanted:
            if not self._dtypes[name].is_numeric():
                raise InputError(f"{self.path}: column {name!r} holds {self._dtypes[name]}, not numbers")
        names = [self.columns.names[index] for index in self._needed(wanted)]
        casts = [pl.col(name).cast(pl.String) for name in names if name not in wanted]
        casts += [pl.col(name).cast(pl.Float32) for name in wanted]
        size = max(1, _BLOCK_VALUES // len(names))
        start = 0
        while True:
            try:
                rows = self._scan.slice(start, size).select(casts).collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise InputError(
                    f"{self.path}: cannot be read as parquet: {str(error).splitlines()[0]}"
                ) from None
            if not rows.height:
                break
            yield rows, range(start + 1, start + 1 + rows.height)
            start += rows.height
        if not start:
            raise InputError(f"{self.path}: has no rows ({WHAT})")


def _gct_rows(path: Path, line: bytes) -> int:
    fields = line.split()
    if len(fields) < 2 or not all(field.isdigit() for field in fields[:2]):
        raise InputError(
            f"{path}: line 2: a GCT file states its numbers of rows and columns here, not {line[:40]!r}"
        )
    return int(fields[0])


def _decode(path: Path, raw: bytes, line: int) -> str:
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        line += raw[: error.start].count(b"\n")
        raise InputError(f"{path}: line {line}: is not UTF-8 text ({WHAT})") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
