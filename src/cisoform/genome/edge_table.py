"""Tables of factor -> gene edges from elsewhere: CollecTRI, SCENIC+ eRegulons, CellOracle links, planted truth.

Read are TSV and CSV (gzip or not), parquet, and the truth.json of `cisoform simulate`. Columns are known by name, in
any case: factor `tf`, `source` or `regulator`; gene `gene`, `target`, `gene_id` or `gene_name`; and where there are
such, region `region` or `peak` (chrom:start-end), sign `sign`, `regulation`, `mor`, `coef_mean` or `weight` (below 0 =
represses), strength `importance_x_abs_rho`, `coef_abs`, `score`, `importance` or `weight`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.errors import InputError
from cisoform.genome.files import open_text, read_json, require_file

FACTOR = ("tf", "source", "regulator", "source_genesymbol")
GENE = ("gene", "target", "gene_id", "gene_name", "target_genesymbol")
REGION = ("region", "peak")
SIGN = ("sign", "regulation", "mor", "coef_mean", "weight")
STRENGTH = ("importance_x_abs_rho", "coef_abs", "score", "importance", "weight")
_PLACE = re.compile(r"(?P<chrom>.+)[:](?P<start>\d+)-(?P<end>\d+)")


@dataclass(frozen=True)
class EdgeTable:
    """Edges, one a row of the file.

    Attributes:
        path: Where they are from.
        factor: Names of factors.
        gene: Names or ids of genes.
        region: chrom, start, end of each; None = the file has none.
        sign: 1, -1 or 0 (not known); None = the file has none.
        strength: None = the file has none.
    """

    path: Path
    factor: tuple[str, ...]
    gene: tuple[str, ...]
    region: tuple[tuple[str, int, int], ...] | None
    sign: npt.NDArray[np.int64] | None
    strength: npt.NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.factor)


def read_edges(path: Path) -> EdgeTable:
    """Read a table of edges.

    Raises:
        InputError: No such file, no known columns (those that are there are named), no row, a region that is not
            chrom:start-end or a sign that is no number, with its row.
    """
    table = _table(require_file(path, "table of edges"))
    columns = {name.lower(): name for name in table.columns}
    factor, gene = (_first(columns, names) for names in (FACTOR, GENE))
    if factor is None or gene is None:
        missing, names = ("factor", FACTOR[:3]) if factor is None else ("gene", GENE[:4])
        raise InputError(
            f"{path}: no column of the {missing} ({', '.join(names)}) among {', '.join(table.columns[:12])}; rename one"
        )
    if not table.height:
        raise InputError(f"{path}: holds no edge, only a header")
    for name in (factor, gene):
        empty = table[name].cast(pl.String).fill_null("").str.strip_chars() == ""
        if empty.any():
            raise InputError(f"{path}: row {_row(empty.to_numpy())}: {name} is empty")
    region, sign = _first(columns, REGION), _first(columns, SIGN)
    strength = _first(columns, STRENGTH)
    signs = None if sign is None else np.sign(_numbers(path, table, sign)).astype(np.int64)
    if sign == columns.get("weight") and signs is not None and (signs >= 0).all():
        signs = None  # weights without a negative one are strengths
    return EdgeTable(
        path,
        tuple(text.strip() for text in table[factor].cast(pl.String).to_list()),
        tuple(text.strip() for text in table[gene].cast(pl.String).to_list()),
        None if region is None else tuple(_places(path, table[region].cast(pl.String).to_list())),
        signs,
        None if strength is None else _numbers(path, table, strength),
    )


def _first(columns: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _table(path: Path) -> pl.DataFrame:
    """Columns as they are, text where the file is text."""
    if path.suffix == ".parquet":
        try:
            return pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"{path}: is not a parquet file that can be read: {_short(error)}") from None
    if path.suffix == ".json":
        return _truth(path)
    with open_text(path, "table of edges") as handle:
        text = handle.read()
    header = text.split("\n", 1)[0]
    separator = "\t" if "\t" in header else ","
    try:
        return pl.read_csv(StringIO(text), separator=separator, infer_schema=False, comment_prefix="#")
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{path}: is not a table with a header: {_short(error)}") from None


def _truth(path: Path) -> pl.DataFrame:
    content: Any = read_json(path, "planted truth")
    rows = content.get("tf_enhancer_gene") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError(
            f"{path}: holds no edges under 'tf_enhancer_gene'; give the truth.json of `cisoform simulate`"
        )
    return pl.DataFrame(rows)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _row(wrong: npt.NDArray[np.bool_]) -> int:
    """Row of the file, the header being row 1."""
    return int(np.flatnonzero(wrong)[0]) + 2


def _numbers(path: Path, table: pl.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """A column as numbers; `+` and `-` are 1 and -1."""
    text = table[name].cast(pl.String).fill_null("")
    plain = text.str.strip_chars().replace({"+": "1", "-": "-1"})
    values = plain.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = _row(wrong)
        raise InputError(f"{path}: row {row}: {name} is {text[row - 2]!r}, not a number (nor + or -)")
    return values


def _places(path: Path, texts: Sequence[str | None]) -> list[tuple[str, int, int]]:
    found = []
    for row, text in enumerate(texts, 2):
        match = _PLACE.fullmatch(text or "")
        if match is None or int(match["start"]) >= int(match["end"]):
            raise InputError(f"{path}: row {row}: region {text!r} is not chrom:start-end")
        found.append((match["chrom"], int(match["start"]), int(match["end"])))
    return found
