"""A table is printed whole or not at all, and its number of rows and its file are always told."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cisoform.cli.json_tables import MOST_ROWS, json_tables


@pytest.mark.parametrize("n_rows", [0, 1, MOST_ROWS, MOST_ROWS + 1])
@pytest.mark.parametrize("out", [None, Path("folder")])
def test_whole_or_not_at_all(n_rows: int, out: Path | None) -> None:
    table = pl.DataFrame({"value": list(range(n_rows))})
    found = json_tables({"rows": table, "more": table.head(1)}, out, {"rows": "effects.parquet"})
    told = found["tables"]["rows"]
    assert told["n_rows"] == n_rows and told["printed"] == ("rows" in found)
    assert told["file"] == (None if out is None else "folder/effects.parquet")
    assert told["printed"] == (out is None or n_rows <= MOST_ROWS)
    if told["printed"]:
        assert found["rows"] == [{"value": value} for value in range(n_rows)]
    assert found["more"] == table.head(1).to_dicts()
    assert found["tables"]["more"]["file"] == (None if out is None else "folder/more.parquet")
