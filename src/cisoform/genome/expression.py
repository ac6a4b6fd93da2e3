"""Expression tables: transcripts (or genes) by tissues, read as such or averaged from samples while streaming.

A table of samples is never held in memory: each block of rows is reduced to tissue means at once, so that GTEx
(199,324 transcripts x 17,382 samples, `.gct.gz`) needs a few hundred MB.
"""

from __future__ import annotations

import csv
import difflib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_text
from cisoform.genome.matrix import MISSING, Matrix, open_matrix

SAMPLES_WHAT = "sample table"
_SAMPLE_COLUMNS = ("sample", "sample_id", "sampid", "run", "column")
_TISSUE_COLUMNS = ("tissue", "smts", "condition", "group", "cell_type")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpressionTable:
    """Expression on the linear scale of the file (TPM, counts per million ...).

    Attributes:
        ids: Row ids, unique, in file order: transcript ids, or gene ids of a gene table.
        gene_ids: Gene id of each row, if the table has a column of them beside transcript ids.
        columns: Tissues, or whatever the columns of the table are.
        values: One row per id, one column per tissue; NaN where there is no measurement.
        n_samples: How many columns of the file each column is the mean of.
    """

    ids: list[str]
    gene_ids: list[str] | None
    columns: list[str]
    values: Float[np.ndarray, "rows tissues"]
    n_samples: list[int]

    def __len__(self) -> int:
        return len(self.ids)


def read_expression(
    path: PathLike, samples: PathLike | None = None, tissues: Sequence[str] | None = None
) -> ExpressionTable:
    """Read an expression table: TSV, CSV or GCT (gzip or not), or parquet.

    Ids are taken from `transcript_id` (or `target_id`, `Name`, ...), else `gene_id`, else the first column. Names
    and descriptions (`Description`, `gene_name`, `length` ...) are no values. An empty cell, NA or NaN is missing.

    Args:
        path: The table.
        samples: Table that says which tissue each sample column is of (GTEx SampleAttributes: SAMPID and SMTS; or
            `sample` and `tissue`; or any two columns). Values become means over the samples of a tissue that are
            not missing; tissues are in alphabetical order; columns without tissue are left out. None: columns are
            read as they are.
        tissues: Which tissues (or columns), in this order. None for all.

    Raises:
        InputError: If a file is missing, empty or damaged; at text, a negative or infinite value (with line and
            column); at an id that appears twice; at a column with nothing but zeros or missing values; at an
            unknown tissue; if no sample is a column of the table.
    """
    path = Path(path)
    with open_matrix(path) as matrix:
        if samples is None:
            wanted = _chosen(path, matrix.columns.values, tissues)
            return _read(matrix, wanted, wanted)
        tissue_of = read_samples(samples)
        known = [name for name in matrix.columns.values if name in tissue_of]
        if not known:
            raise InputError(
                f"{samples}: no sample ({_some(tissue_of)}) is a column of {path} ({_some(matrix.columns.values)})"
            )
        present = sorted({tissue_of[name] for name in known})
        chosen = set(_chosen(Path(samples), present, tissues))
        used = [name for name in known if tissue_of[name] in chosen]
        n_without = len(matrix.columns.values) - len(known)
        _log.info(
            "%s: %d samples give %d tissues, %d have no tissue", path, len(used), len(chosen), n_without
        )
        columns = list(tissues) if tissues is not None else present
        return _read(matrix, used, [tissue_of[name] for name in used], columns)


def read_samples(path: PathLike) -> dict[str, str]:
    """Tissue of every sample, from a TSV or CSV; samples without tissue are left out.

    Raises:
        InputError: If the columns cannot be told, or a sample has two tissues.
    """
    with open_text(path, SAMPLES_WHAT) as handle:
        header = handle.readline().rstrip("\n")
        separator = "\t" if "\t" in header else ","
        # GTEx writes free text in further columns of its TSV; quotes mean nothing there.
        plain = separator == "\t" and '"' not in header
        names = next(_csv_rows([header], separator, plain), [])
        lower = [name.lower() for name in names]
        sample = next((lower.index(name) for name in _SAMPLE_COLUMNS if name in lower), None)
        tissue = next((lower.index(name) for name in _TISSUE_COLUMNS if name in lower), None)
        if (sample is None or tissue is None) and len(names) == 2:
            sample, tissue = 0, 1
        if sample is None or tissue is None:
            raise InputError(
                f"{path}: line 1: needs the columns 'sample' and 'tissue' (GTEx: SAMPID and SMTS), has {_some(names)}"
            )
        tissue_of: dict[str, str] = {}
        for number, fields in enumerate(_csv_rows(handle, separator, plain), 2):
            if not fields:
                continue
            if len(fields) <= max(sample, tissue):
                raise InputError(
                    f"{path}: line {number}: has {len(fields)} fields, the header has {len(names)}"
                )
            name, value = fields[sample], fields[tissue]
            if value in MISSING:
                continue
            if tissue_of.setdefault(name, value) != value:
                raise InputError(
                    f"{path}: line {number}: sample {name!r} is of {value!r}, above of {tissue_of[name]!r}; keep one"
                )
    if not tissue_of:
        raise InputError(f"{path}: names no sample with a tissue ({SAMPLES_WHAT})")
    return tissue_of


def _csv_rows(lines: Iterable[str], separator: str, plain: bool) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL)


def _chosen(path: Path, names: Sequence[str], tissues: Sequence[str] | None) -> list[str]:
    """The columns asked for, all of them known."""
    if tissues is None:
        return list(names)
    for index, tissue in enumerate(tissues):
        if tissue not in names:
            near = difflib.get_close_matches(tissue, names, n=3) or list(names)[:5]
            raise InputError(f"{path}: has no tissue {tissue!r}; did you mean {', '.join(near)}?")
        if tissue in tissues[:index]:
            raise InputError(f"tissue {tissue!r} is asked for twice")
    if not tissues:
        raise InputError("the list of tissues is empty")
    return list(tissues)


def _some(names: Sequence[str] | Mapping[str, str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _read(
    matrix: Matrix, used: list[str], tissue_of_used: list[str], columns: list[str] | None = None
) -> ExpressionTable:
    """Read the used columns and average those of the same tissue; `columns` None: each stands for itself."""
    ids: dict[str, int] = {}
    genes: list[str] = []
    parts: list[npt.NDArray[np.float32]] = []
    measured = np.zeros(len(used), dtype=bool)
    positive = np.zeros(len(used), dtype=bool)
    number = {name: index for index, name in enumerate(columns or [])}
    member = np.zeros((len(used), len(number)))
    if columns is not None:
        member[np.arange(len(used)), [number[name] for name in tissue_of_used]] = 1
    for block in matrix.blocks(used):
        for name, line in zip(block.ids, block.numbers, strict=True):
            if ids.setdefault(name, line) != line:
                raise InputError(
                    f"{matrix.path}: {matrix.unit} {line}: id {name!r} stands already at {matrix.unit} {ids[name]}; "
                    "ids must be unique"
                )
        genes += block.gene_ids or []
        measured |= ~np.isnan(block.values).all(axis=0)
        positive |= (block.values > 0).any(axis=0)
        parts.append(block.values if columns is None else _means(block.values, member))
        del block
    _refuse_empty_columns(matrix, used, measured, positive)
    return ExpressionTable(
        ids=list(ids),
        gene_ids=genes if genes else None,
        columns=used if columns is None else columns,
        values=np.concatenate(parts),
        n_samples=[1] * len(used) if columns is None else [int(count) for count in member.sum(axis=0)],
    )


def _means(values: npt.NDArray[np.float32], member: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Mean of the values of each group of columns that are not missing; NaN if all are."""
    missing = np.isnan(values)
    if not missing.any():
        whole: npt.NDArray[np.float64] = values.astype(np.float64) @ member / member.sum(axis=0)
        return whole.astype(np.float32)
    counts = (~missing).astype(np.float64) @ member
    sums = np.where(missing, 0, values).astype(np.float64) @ member
    means = np.full(sums.shape, np.nan, dtype=np.float32)
    np.divide(sums, counts, out=means, where=counts > 0, casting="unsafe")
    return means


def _refuse_empty_columns(
    matrix: Matrix, used: Sequence[str], measured: npt.NDArray[np.bool_], positive: npt.NDArray[np.bool_]
) -> None:
    for good, what in ((measured, "has no value at all"), (positive, "holds only zeros")):
        if not good.all():
            name = used[int(np.argmin(good))]
            raise InputError(
                f"{matrix.path}: column {name!r} {what}; remove it or choose other columns with tissues"
            )
