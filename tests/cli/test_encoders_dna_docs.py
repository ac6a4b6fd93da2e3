"""docs/encoders-dna.md: every command on small checkpoints, and what it says of the cache and of gamma densities."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from cisoform.data.normalisation_values import RELEASED_TISSUES
from tests.cli.mini import write_mini_project
from tests.documents import REPOSITORY, commands, fenced
from tests.weights.public_isoformer import write_isoformer
from tests.weights.public_trunks import write_trunk

PAGE = "docs/encoders-dna.md"
# Added to keep the test short; the commands are otherwise as written.
TRAIN = ["--recipe", "tiny", "--device", "cpu"]
for setting in ("train.max_steps=2", "train.epochs=1", "model.rna=null", "model.aggregator.heads=2"):
    TRAIN += ["--set", setting]
for setting in ("loader.dna_window=2048", "loader.dna_upstream=1024"):
    TRAIN += ["--set", setting]
SHORT = {
    "build": ["--window", "128", "--splits", "splits.tsv"],
    "train": TRAIN,
    "predict": ["--device", "cpu"],
}


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the page in the current folder, and a cache of their own."""
    torch.set_num_threads(1)
    write_mini_project(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    write_trunk(Path("enformer-official-rough"), "enformer")
    write_trunk(Path("borzoi-replicate-0"), "borzoi")
    write_isoformer(Path("isoformer"))


@pytest.mark.usefixtures("downloads")
def test_every_command_runs(cli: Callable[..., Any]) -> None:
    ran = []
    for words in commands(PAGE):
        assert words[0] == "cisoform"
        result = cli(*words[1:], *SHORT.get(words[2], []))
        assert result.exit_code == 0, f"{words}\n{result.stderr}"
        if words[2] == "inspect":
            assert "the tensors fit" in result.stdout
        ran.append(words[2])
    expected = ["inspect", "convert", "convert", "build", "train", "train", "inspect", "convert", "predict"]
    assert ran == expected
    configs = {
        run: json.loads(Path(run, "model", "config.json").read_text())["dna"] for run in ("run", "lora")
    }
    assert (configs["run"]["learn"], configs["lora"]["learn"]) == ("frozen", "lora")
    assert configs["run"]["network"]["gamma"] == "tensorflow" and configs["lora"]["batch_norm"] == "frozen"
    table = pl.read_csv("predictions.tsv", separator="\t", comment_prefix="#")
    assert table.select(pl.col(RELEASED_TISSUES[-1]).is_finite().all()).item()
    assert (
        "base and offset not published" in Path("predictions.tsv").read_text().partition("\ntranscript_id")[0]
    )


def test_the_page_is_listed_its_shell_is_shell_and_its_sizes_are_right() -> None:
    assert "encoders-dna.md" in (REPOSITORY / "docs/index.md").read_text()
    for block in fenced(PAGE, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
    text = (REPOSITORY / PAGE).read_text()
    for bins, width in ((896, 3072), (6144, 1920)):
        assert f"{4 * bins * width / 1e6:.0f} MB" in text
