"""`regulation links` through the command line, and one line for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cisoform.benchmark.link_metrics import curve
from cisoform.data.tested_pairs import read_tested_pairs
from tests.data.pair_files import some_rows, write_pairs

Cli = Callable[..., Any]
CliError = Callable[..., str]
BASELINES = ("regulation", "links", "--baselines-only", "--evaluate")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.tsv")


def test_baselines_alone_need_no_model(cli: Cli, table: Path) -> None:
    result = cli(*BASELINES, table, "--json", "--draws", 20)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["baselines"]
    pairs = read_tested_pairs(table)
    by_hand = curve(pairs.truth(), -pairs.distance.astype(np.float64)).average_precision()[0]
    assert found["distance"]["auprc"] == pytest.approx(by_hand)
    assert {"distance", "accessibility", "accessibility_powerlaw", "abc_numerator"} == set(found)
    assert all(0 <= value["auroc"] <= 1 for value in found.values())
    assert cli(*BASELINES, table, "--json", "--draws", 20).stdout == result.stdout
    plain = cli(*BASELINES, table, "--draws", 0)
    assert "abc_numerator" in plain.stdout and "60 pairs" in plain.stdout


def test_baselines_as_files(cli: Cli, cli_error: CliError, table: Path, tmp_path: Path) -> None:
    line = (*BASELINES, table, "--out", tmp_path / "o", "--draws", 5)
    assert cli(*line).exit_code == 0
    assert "already exists" in cli_error(*line)
    assert cli(*line, "--overwrite").exit_code == 0
    scores = pl.read_parquet(tmp_path / "o" / "scores.parquet")
    assert set(scores["cell_type"]) == {"all", "K562", "HCT116"}
    about = json.loads((tmp_path / "o" / "links.json").read_text())
    assert about["table_sha256"] == read_tested_pairs(table).sha256 and about["seed"] == 0


def _spoiled(tmp_path: Path, kind: str) -> tuple[list[object], str]:
    rows = some_rows(12)
    path = tmp_path / "t.tsv"
    words: list[object] = [path]
    if kind == "duplicate":
        write_pairs(path, [*rows, rows[3]])
        return words, "line 14"
    if kind == "no distance":
        write_pairs(path, rows, drop=["distanceToTSS", "startTSS"])
        return words, "no column 'distanceToTSS'"
    if kind == "column":
        write_pairs(path, [{**row, "chromstart": row["chromStart"]} for row in rows], drop=["chromStart"])
        return words, "did you mean 'chromstart'"
    if kind == "one kind":
        write_pairs(path, [{**row, "Regulated": "TRUE"} for row in rows])
        return words, "holds no negative pair"
    if kind == "genome":
        write_pairs(path, rows)
        (tmp_path / "g.fa").write_text(">chr1\nACGT\n>chr2\nACGT\n>chr3\nACGT\n")
        return [*words, "--genome", tmp_path / "g.fa"], "different assemblies"
    if kind == "empty":
        path.write_text("")
        return words, "t.tsv"
    if kind == "header":
        path.write_text("chrom\tchromStart\n")
        return words, "a header and no line"
    if kind == "cells":
        write_pairs(path, rows)
        path.write_text(path.read_text() + "chr1\t5\n")
        return words, "line 14: has 2 tab-separated cells, the header 14"
    assert kind == "missing"
    return words, "t.tsv"


KINDS = ("duplicate", "no distance", "column", "one kind", "genome", "empty", "header", "cells", "missing")


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_table_is_one_line(kind: str, cli_error: CliError, tmp_path: Path) -> None:
    words, said = _spoiled(tmp_path, kind)
    assert said in cli_error(*BASELINES, *words, "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_flags_that_do_not_go_together(cli_error: CliError) -> None:
    assert "--evaluate" in cli_error("regulation", "links", "--baselines-only")
    assert "--baselines-only" in cli_error("regulation", "links")
