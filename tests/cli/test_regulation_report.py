"""The page of readings: its sections hold what the JSON says, and warnings follow from the data."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from cisoform.data.genes import GenesDataset
from cisoform.jobs.regulation_report import GENES, _coverage, _mean_control, choose_for_page
from cisoform.report.compare import number
from cisoform.report.readings_page import warnings_of
from tests.data.gene_sets import build_small, save_creformer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, GenesDataset]:
    root = tmp_path_factory.mktemp("report")
    dataset = build_small(root, n_cells=40)
    return root, save_creformer(root / "model"), dataset


def words(made: tuple[Path, Path, GenesDataset], *more: Any) -> list[Any]:
    root, model, dataset = made
    start = ["regulation", "report", model, "--data", dataset.path, "--device", "cpu"]
    return [*start, "--cache", root / "cache", *more]


def test_the_page_has_every_section_and_its_numbers(
    cli: Any, made: tuple[Path, Path, GenesDataset], tmp_path: Path
) -> None:
    result = cli(*words(made, "--out", tmp_path / "page", "--json"))
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    text = (tmp_path / "page" / "report.html").read_text()
    titles = re.findall(r'<h2 id="s\d+">([^<]+)</h2>', text)
    wanted = [
        "How to read this page",
        "Coverage",
        "Scores of peaks",
        "Links",
        "Knock-outs of factors",
        "By hand",
    ]
    assert [title for title in titles if title in wanted] == wanted
    value = number(found["agreement"]["with"]["ablation"]["accessibility"]["spearman"])
    assert value != value or f"{value:.3f}" in text
    assert made[2].hash in text and "--motifs FILE" in text and found["knockout"] is None
    assert all(warning.split("`")[0][:40] in text for warning in found["warnings"])
    assert "already exists" in cli(*words(made, "--out", tmp_path / "page")).stderr
    assert (
        found["report"] == str(tmp_path / "page" / "report.html")
        and found["facts"]["data set hash"] == made[2].hash
    )
    assert {**json.loads((tmp_path / "page" / "report.json").read_text()), "report": found["report"]} == found
    headline = found["expression"]["parts"][found["expression"]["headline"]]["scores"]["model"]
    assert f"{number(headline['pearson']):.3f}" in text
    for name in ("peaks", "links"):
        assert found[name] and all(row["gene"] in text and row["peak"] in text for row in found[name])
    strongest = [abs(row["ablation"]) for row in found["peaks"]]
    assert strongest == sorted(strongest, reverse=True)
    lost = [one for one in found["expression"]["verdicts"] if one["decided"] and not one["won"]]
    assert len([text for text in found["warnings"] if "loses to a baseline" in text]) == len(lost) > 0
    assert len(found["commands"]) > 3
    moved = found["agreement"]["faithfulness"]["deletion"]
    for name in ("accessibility", "nearness"):
        (row,) = re.findall(rf"<td[^>]*>{name} \(baseline\)</td>.*?</tr>", text, re.DOTALL)
        assert f"{moved[name]['above_random']:.3f}" in row


def test_controls_that_cancel_out_still_count() -> None:
    groups = {"genes_with_controls": [3, 1, 0], "control_mean_absolute_difference": [0.5, 0.1, None]}
    assert _mean_control(pl.DataFrame(groups)) == pytest.approx((3 * 0.5 + 0.1) / 4)
    none = pl.DataFrame({"genes_with_controls": [0], "control_mean_absolute_difference": [None]})
    assert np.isnan(_mean_control(none))


def test_low_coverage_few_groups_and_no_held_out_genes_are_warned_of(
    made: tuple[Path, Path, GenesDataset],
) -> None:
    dataset = made[2]
    shallow = replace(dataset, groups=dataset.groups.with_columns(depth=dataset.groups["depth"] * 0 + 12.0))
    assert any("Coverage is low" in text and "depth is 12" in text for text in _coverage(shallow)[1])
    deep = replace(dataset, groups=dataset.groups.with_columns(depth=dataset.groups["depth"] * 0 + 1e6))
    share = dataset.n_open / (dataset.groups.height * dataset.n_peaks)
    assert share > 0.05 and not any("Coverage" in text for text in _coverage(deep)[1])
    few = replace(dataset, groups=deep.groups.head(4))
    assert any("There are 4 groups" in text for text in _coverage(few)[1])
    assert "hold out no chromosomes" in warnings_of(None)[0]


def test_held_out_genes_that_vary_most_are_chosen(made: tuple[Path, Path, GenesDataset]) -> None:
    dataset = made[2]
    groups = dataset.group_rows("all")
    genes, some = choose_for_page(dataset, None, groups)
    assert set(genes.tolist()) <= set(dataset.gene_rows("test").tolist()) and 0 < len(genes) <= GENES
    assert len(some) == min(30, len(groups)) and some[0] == groups[0] and some[-1] == groups[-1]
    named, _ = choose_for_page(dataset, dataset.gene_rows("train")[:2], groups)
    assert named.tolist() == dataset.gene_rows("train")[:2].tolist()


def test_bad_input(cli_error: Any, made: tuple[Path, Path, GenesDataset], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "x")
    assert "needs --motifs" in cli_error(*words(made, *out, "--tfs", "GATA1"))
    assert "'NOGENE'" in cli_error(*words(made, *out, "--genes", "NOGENE"))
    assert "nothing.meme" in cli_error(*words(made, *out, "--motifs", tmp_path / "nothing.meme"))
    other = tmp_path / "other.meme"
    other.write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF M1 ZZZ9\nletter-probability matrix: alength= 4 w= 4\n"
        + "0.97 0.01 0.01 0.01\n" * 4
    )
    assert "none of its factors" in cli_error(*words(made, *out, "--motifs", other))
    assert not (tmp_path / "x").exists()
