"""Every command of docs/joining.md, run in order on a smaller simulation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.documents import REPOSITORY, commands

PAGE = "docs/joining.md"
# Added to keep the test short; the commands are otherwise as written.
SHORT = {
    "simulate": ["--genes", "30"],
    "pretrain": ["--set", "train.max_steps=2"],
    "train": ["--set", "train.max_steps=2"],
    "evaluate": ["--draws", "5", "--no-baselines"],
}


def test_every_command_of_the_page_runs(
    cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for words in commands(PAGE):
        assert words[0] == "cisoform"
        name = words[2] if words[1] in ("isoform", "regulation") else words[1]
        result = cli(*words[1:], *SHORT.get(name, []))
        assert result.exit_code == 0, f"{words}\n{result.stderr}"
        assert name != "evaluate" or "centred R2" in result.stdout
        ran.append(name)
    assert set(SHORT) <= set(ran) and ran.count("train") == 4
    learn = {
        run: json.loads((tmp_path / run / "model" / "config.json").read_text())["dna"]["learn"]
        for run in ("frozen", "tuned", "scratch", "sequence")
    }
    assert learn == {"frozen": "frozen", "tuned": "full", "scratch": "full", "sequence": "full"}
    assert not (tmp_path / "sequence" / "model" / "tracks.json").exists()
    tables = [pl.read_csv(tmp_path / name, separator="\t", comment_prefix="#") for name in ("predictions.tsv", "without_tracks.tsv")]  # fmt: skip
    assert tables[0].columns == tables[1].columns
    assert not tables[0].equals(tables[1])


def test_the_page_is_listed_and_its_decision_is_there() -> None:
    assert "joining.md" in (REPOSITORY / "docs/index.md").read_text()
    assert (REPOSITORY / "docs/decisions/0009-tracks-by-tissue.md").is_file()
