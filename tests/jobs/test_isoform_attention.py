"""`isoform attention` on trained runs: the states before, the files, and mistakes through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from cisoform.analysis.isoform_attention import REGIONS
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.jobs import isoform_pretrain
from cisoform.jobs.isoform_attention import encoder_before, read_attention
from cisoform.jobs.isoform_model import IsoformModel
from cisoform.jobs.isoform_train import choose_recipe, prepare, train
from cisoform.report.attention_plots import attention_figure
from tests.cli.mini import mini_dataset

SHORT = ("train.epochs=2", "model.dna=null", "model.protein=null")
SIZES = tuple(f"model.rna.network.{name}" for name in ("dim=32", "layers=2", "ffn=128"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IsoformDataset:
    return mini_dataset(tmp_path_factory.mktemp("mini"))


def run_of(dataset: IsoformDataset, out: Path, *settings: str, seed: int = 4) -> Path:
    run = prepare(dataset, choose_recipe("tiny", settings, seed), "tiny")
    train(run, out, device="cpu")
    return out


@pytest.fixture(scope="module")
def pretrained(dataset: IsoformDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained") / "rna"
    modality, recipe = isoform_pretrain.choose_recipe("tiny", "rna", ("train.epochs=1",))
    isoform_pretrain.pretrain(isoform_pretrain.prepare(dataset, modality, recipe), out, device="cpu")
    return out


@pytest.fixture(scope="module")
def runs(
    dataset: IsoformDataset, pretrained: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    nt = "model.rna.kind=nt_v2"
    weights = f"model.rna.weights={pretrained}"
    return {
        "scratch": run_of(dataset, root / "scratch", *SHORT, nt, *SIZES),
        "tuned": run_of(dataset, root / "tuned", *SHORT, nt, weights, "model.rna.learn=full"),
        "frozen": run_of(dataset, root / "frozen", *SHORT, nt, weights),
        "tiny": run_of(dataset, root / "tiny", *SHORT),
        "dna": run_of(dataset, root / "dna", SHORT[0], "model.rna=null", "model.protein=null"),
        "wide": run_of(dataset, root / "wide", *SHORT, nt),
    }


def test_the_seed_gives_the_initial_weights_again(dataset: IsoformDataset, runs: dict[str, Path]) -> None:
    run = prepare(dataset, choose_recipe("tiny", (*SHORT, "model.rna.kind=nt_v2", *SIZES), 4), "tiny")
    model = IsoformModel.load(runs["scratch"])
    encoder, source = encoder_before(model, runs["scratch"], None, "cpu")
    assert "seed 4" in source
    begun = run.task.model.encoders["rna"].state_dict()
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, begun[name]), name


def test_a_checkpoint_gives_the_weights_before(
    dataset: IsoformDataset, runs: dict[str, Path], pretrained: Path
) -> None:
    model = IsoformModel.load(runs["tuned"])
    encoder, _ = encoder_before(model, runs["tuned"], pretrained, "cpu")
    from cisoform.weights.rotary import read_rotary

    for name, value in read_rotary(pretrained).body.items():
        assert torch.equal(value, encoder.network.state_dict()[name])
    found = read_attention(runs["tuned"], dataset, before=pretrained, split="all", draws=3)
    assert found.table.height == 2 * 4 * 3
    figure = attention_figure(found.table)
    assert [axes.get_title() for axes in figure.axes] == list(REGIONS)
    sums = found.table.group_by("layer", "head").agg(
        pl.col("share_after").sum(), pl.col("share_before").sum()
    )
    assert sums["share_after"].to_list() == pytest.approx([1.0] * 8)
    assert sums["share_before"].to_list() == pytest.approx([1.0] * 8)


def test_the_command_writes_table_json_and_figure(
    cli: Callable[..., Any], dataset: IsoformDataset, runs: dict[str, Path], tmp_path: Path
) -> None:
    words = ["isoform", "attention", str(runs["scratch"]), "--data", str(dataset.path), "--split", "all"]
    words += ["--permutations", "5", "--device", "cpu"]
    result = cli(*words, "--out", str(tmp_path / "a"), "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["n_layers"] == 2 and found["n_heads"] == 4 and len(found["rows"]) == 24
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"attention.{end}" for end in ("json", "parquet", "png", "svg", "tsv")]
    stored = json.loads((tmp_path / "a" / "attention.json").read_text())
    assert stored["rows"] == found["rows"] and stored["seed"] == 0
    refused(cli(*words, "--out", str(tmp_path / "a")), ["already exists", "--overwrite"])
    again = cli(
        *words, "--out", str(tmp_path / "a"), "--overwrite", "--before", str(runs["scratch"].parent / "tuned")
    )
    assert again.exit_code == 0 and "run tuned" in again.stdout and "heads up" in again.stdout, again.stderr


def refused(result: Any, said: list[str]) -> None:
    assert result.exit_code == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if "error" in line]
    assert len(lines) == 1 and all(text in lines[0] for text in said), result.stderr


BAD: dict[str, tuple[str, list[str], list[str]]] = {
    "no attention": ("tiny", [], ["kind 'tiny'", "has no attention", "model.rna.kind=nt_v2"]),
    "no RNA": ("dna", [], ["reads no RNA"]),
    "weights not kept": ("tuned", [], ["started from weights", "--before"]),
    "frozen": ("frozen", ["--before", "PRETRAINED"], ["was frozen", "model.rna.learn=full"]),
    "checkpoint of another size": ("wide", ["--before", "PRETRAINED"], ["width 32", "width 64"]),
    "run of another size": ("wide", ["--before", "SCRATCH"], ["another form or size"]),
    "run without attention": ("scratch", ["--before", "TINY"], ["has no attention"]),
    "no such folder before": ("scratch", ["--before", "nowhere"], ["nowhere"]),
    "no such split": ("scratch", ["--split", "half"], ["'half'"]),
    "a file for a folder": ("scratch", ["--out", "FILE"], ["is a file"]),
    "no run": ("nowhere", [], ["nowhere"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line(
    cli: Callable[..., Any],
    dataset: IsoformDataset,
    runs: dict[str, Path],
    pretrained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    places = {"PRETRAINED": pretrained, "SCRATCH": runs["scratch"], "TINY": runs["tiny"], "FILE": "file"}
    run, more, said = BAD[name]
    words = ["isoform", "attention", str(runs.get(run, run)), "--data", str(dataset.path), "--device", "cpu"]
    words += [] if "--out" in more else ["--out", "new"]
    words += ["--split", "all"] if "--split" not in more else []
    refused(cli(*words, *(str(places.get(word, word)) for word in more)), said)
    assert not Path("new").exists()
