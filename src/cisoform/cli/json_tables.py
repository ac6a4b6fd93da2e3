"""Tables in the JSON of a reading: a table stands there whole or not at all.

Without OUT every table is whole. With OUT a table of more than 1,000 rows is left out, since the file holds it; in
both cases `tables` says of each how many rows it has, where the file is, and whether they are printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS = 1_000
"""Longer tables are left to their files (our choice)."""


def json_tables(
    tables: Mapping[str, pl.DataFrame], out: Path | None, files: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Rows of tables by their names, and `tables`: of each `n_rows`, `file` (None without OUT) and `printed`.

    Args:
        tables: By the name that the rows have in the JSON.
        out: Folder with NAME.parquet of each table; None = nothing was written.
        files: Name of the file where it is not that in the JSON.
    """
    told: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    for name, table in tables.items():
        printed = out is None or table.height <= MOST_ROWS
        file = None if out is None else str(out / (files or {}).get(name, f"{name}.parquet"))
        told[name] = {"n_rows": table.height, "file": file, "printed": printed}
        if printed:
            rows[name] = table.to_dicts()
    return {"tables": told, **rows}
