"""Tables written in parts are the whole table; a table that fails leaves nothing."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cisoform.errors import InputError
from cisoform.jobs.table_files import SUFFIXES, check_table_path, table_parts

WHOLE = pl.DataFrame(
    {"name": ["a", "", 'q"q', "d"], "n": [1, None, 3, 4], "x": [0.5, None, 1.25, -2.0]},
    schema={"name": pl.String, "n": pl.Int64, "x": pl.Float64},
)


@pytest.mark.parametrize("cuts", [(0, 4), (0, 0, 1, 1, 4), (0, 0)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parts_make_the_whole(tmp_path: Path, suffix: str, cuts: tuple[int, ...]) -> None:
    path = tmp_path / f"t{suffix}"
    with table_parts(path) as append:
        for low, high in zip(cuts, cuts[1:], strict=False):
            append(WHOLE[low:high])
        assert not path.exists()
    wanted = WHOLE[: cuts[-1]]
    if suffix == ".parquet":
        assert pl.read_parquet(path).equals(wanted)
    else:
        lines = ["name\tn\tx", "a\t1\t0.500000", "\t\t", 'q"q\t3\t1.250000', "d\t4\t-2.000000"]
        assert path.read_text() == "".join(f"{line}\n" for line in lines[: 1 + wanted.height])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_what_was_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_text("before")
    with pytest.raises(RuntimeError), table_parts(path) as append:
        append(WHOLE)
        raise RuntimeError
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_paths_are_checked_before_work(tmp_path: Path) -> None:
    (tmp_path / "there.tsv").write_text("x")
    (tmp_path / "folder.tsv").mkdir()
    check_table_path("--out", tmp_path / "there.tsv", overwrite=True)
    for name, overwrite, needle in (
        ("t.csv", False, "'.csv'"),
        ("no/t.tsv", False, "does not exist"),
        ("there.tsv", False, "--overwrite"),
        ("folder.tsv", True, "is a folder"),
    ):
        with pytest.raises(InputError, match=needle):
            check_table_path("--out", tmp_path / name, overwrite)
