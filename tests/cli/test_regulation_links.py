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


COMBINE = ("regulation", "links", "--combine")


def test_the_shipped_model_scores_a_table(cli: Cli, table: Path, tmp_path: Path) -> None:
    result = cli(*COMBINE, "--evaluate", table, "--out", tmp_path / "o", "--draws", 20, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found["predictors"]) == {"combined"}
    assert found["predictors"]["combined"]["auprc"] > found["counts"]["prevalence"]
    assert set(found["cell_types"]) == {"K562", "HCT116"}
    assert "form 'h3k27ac'" in result.stderr
    made = pl.read_csv(tmp_path / "o" / "predictions.tsv", separator="\t")
    assert {"chr", "start", "end", "name", "TargetGene", "CellType", "Score"} <= set(made.columns)
    assert made.height == 60 and made["Score"].is_between(0, 1).all()
    bedpe = pl.read_csv(tmp_path / "o" / "links.bedpe", separator="\t", has_header=False)
    start, end, score = (bedpe.to_series(column) for column in (4, 5, 7))
    assert bedpe.shape == (60, 10) and score.max() == 1000 and (end - start == 1).all()


def test_a_table_without_answers_gets_chances(
    cli: Cli, cli_error: CliError, table: Path, tmp_path: Path
) -> None:
    bare = write_pairs(tmp_path / "bare.tsv", drop=["Regulated", "EffectSize"])
    result = cli(*COMBINE, "--evaluate", bare, "--json")
    rows = json.loads(result.stdout)["rows"]
    assert cli(*COMBINE, "--evaluate", table, "--out", tmp_path / "o", "--draws", 0).exit_code == 0
    scored = pl.read_parquet(tmp_path / "o" / "links.parquet")
    np.testing.assert_allclose([row["score"] for row in rows], scored["score"])
    assert "'Regulated'" in cli_error(*COMBINE, "--evaluate", bare)
    assert "'Regulated'" in cli_error(*BASELINES, bare)


def test_a_model_of_ones_own_table(cli: Cli, cli_error: CliError, tmp_path: Path) -> None:
    rows = [{**row, "mine": row["DHS.RPM"]} for row in some_rows(150, seed=1)]
    path = write_pairs(tmp_path / "t.tsv", rows)
    line = (*COMBINE, "--train", path, "--columns", "mine", "--out", tmp_path / "m", "--draws", 20)
    result = cli(*line, "--json")
    assert result.exit_code == 0, result.stderr
    learned = json.loads(result.stdout)
    assert learned["model"]["columns"] == ["mine"] and learned["model"]["pairs"] == 150
    again = cli(
        "regulation", "links", tmp_path / "m", "--combine", "--evaluate", path, "--json", "--draws", 0
    )
    fair = json.loads(again.stdout)["predictors"]["combined"]["auprc"]
    assert fair == pytest.approx(learned["predictors"]["combined"]["auprc"])
    other = write_pairs(tmp_path / "u.tsv", some_rows(50))
    use = ("regulation", "links", tmp_path / "m", "--combine", "--evaluate")
    assert "no column 'mine'" in cli_error(*use, other)
    (tmp_path / "m" / "link_model.json").write_text("{}")
    assert "is no combined link model" in cli_error(*use, path)


@pytest.mark.parametrize(
    "name", ["EffectSize", "Regulated", "PowerAtEffectSize25", "Dataset", "direct_rate_negative"]
)
def test_columns_with_the_answer_or_the_design_are_refused(
    name: str, cli_error: CliError, tmp_path: Path
) -> None:
    path = write_pairs(tmp_path / "t.tsv", [{name: "1", **row} for row in some_rows(30)])
    said = cli_error(*COMBINE, "--train", path, "--columns", name, "--out", tmp_path / "new")
    assert repr(name) in said and "cannot be a feature" in said
    assert not (tmp_path / "new").exists()


def test_flags_that_do_not_go_together(cli_error: CliError, table: Path, tmp_path: Path) -> None:
    links = ("regulation", "links")
    assert "--evaluate" in cli_error(*links, "--baselines-only")
    assert "--evaluate" in cli_error(*COMBINE)
    assert "--baselines-only" in cli_error(*links)
    assert "give one of" in cli_error(*BASELINES, table, "--combine")
    assert "--columns a" in cli_error(*COMBINE, "--evaluate", table, "--columns", "a")
    assert "--out" in cli_error(*COMBINE, "--train", table)
    assert "left-out chromosomes" in cli_error(
        *COMBINE, "--train", table, "--evaluate", table, "--out", tmp_path / "m"
    )
    assert "leave them out" in cli_error(*links, tmp_path / "m", "--baselines-only", "--evaluate", table)
    assert "link_model.json" in cli_error(*links, tmp_path, "--combine", "--evaluate", table)
    assert "column 'x'" in cli_error(*COMBINE, "--train", table, "--columns", "x", "--out", tmp_path / "m")
