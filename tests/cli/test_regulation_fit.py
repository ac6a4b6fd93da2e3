"""Stage 2 through the command line: from both stages' files to predictions, and one line for what is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.cli.test_regulation_regions import build_words, pretrain_words
from tests.data import region_files
from tests.data.gene_sets import build_small, save_creformer

Cli = Callable[..., Any]
CliError = Callable[..., str]
SETTINGS = ("train.epochs=null", "train.max_steps=2", "loader.batch_size=16", "train.checkpoint_every=1")


def fit_words(root: Path, out: Path, *more: object, elementary: str = "pretrained") -> list[object]:
    settings = [word for text in SETTINGS for word in ("--set", text)]
    words = ["regulation", "fit", root / "genes", "--elementary", root / elementary, "--recipe", "tiny"]
    return [*words, "--out", out, "--cache", root / "cache", "--device", "cpu", *settings, *more]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """Regions and a pre-trained Elementary, genes and a fitted model, a CREformer without training."""
    root = tmp_path_factory.mktemp("stage2")
    region_files.write_genome(root)
    region_files.write_tracks(root)
    save_creformer(root / "converted")
    build_small(root, n_cells=12)
    for words in (
        build_words(root, root / "regions"),
        pretrain_words(root, root / "pretrained", "train.max_steps=1"),
        fit_words(root, root / "run"),
    ):
        result = cli(*words)
        assert result.exit_code == 0, result.stderr
    assert "to encode" in result.stderr and "2 steps" in result.stdout
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may spoil; the current folder is empty."""
    shutil.copytree(made, tmp_path / "copy")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "copy"


def test_evaluate_reads_runs_of_both_stages(made: Path, cli: Cli, tmp_path: Path) -> None:
    words = ["regulation", "evaluate", made / "run", "--data", made / "genes", "--cache", made / "cache"]
    result = cli(*words, "--no-depth", "--out", tmp_path / "scores", "--json", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert json.loads((tmp_path / "scores" / "evaluation.json").read_text()) == found
    assert "unseen chromosomes, all cell types" in found["parts"]
    result = cli(*words, "--split", "valid", "--device", "cpu")
    assert "ridge_delta" in result.stdout and "signal double" in result.stdout
    first = cli(
        *("regulation", "evaluate", made / "pretrained", "--data", made / "regions", "--split", "train"),
        *("--json", "--tokens", 2000, "--device", "cpu"),
    )
    assert first.exit_code == 0 and "hidden" in first.stdout, first.stderr


def test_predict_writes_the_chosen_genes(made: Path, cli: Cli, tmp_path: Path) -> None:
    words = ["regulation", "predict", made / "run", "--data", made / "genes", "--cache", made / "cache"]
    result = cli(*words, "--split", "test", "--out", tmp_path / "all.tsv", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    table = pl.read_csv(tmp_path / "all.tsv", separator="\t")
    gene, group = table["gene_name"][3], table["group"][0]
    chosen = cli(*words, "--genes", gene, "--groups", group, "--json", "--device", "cpu")
    (row,) = json.loads(chosen.stdout)["rows"]
    expected = table.filter((pl.col("gene_name") == gene) & (pl.col("group") == group))
    assert row["predicted"] == pytest.approx(expected["predicted"][0], abs=1e-5)


def test_a_fit_starts_from_a_converted_model_and_resumes(root: Path, cli: Cli, cli_error: CliError) -> None:
    words = fit_words(root, Path("new"), elementary="converted")
    assert cli(*words, "--json").exit_code == 0
    assert "--resume" in cli_error(*words)
    assert cli(*words, "--resume").exit_code == 0
    assert "run.elementary" in cli_error(*fit_words(root, Path("new"), "--resume", elementary="pretrained"))


# --- what is wrong -----------------------------------------------------------------------------------------------------


def _locus(root: Path) -> list[object]:
    return ["--locus-text", root / "genome.fa", "--tss-peak", 0]


def _spoil_weights(root: Path) -> None:
    file = root / "run" / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def _spoil_data(root: Path) -> None:
    values = np.load(root / "genes" / "expressed_value.npy")
    np.save(root / "genes" / "expressed_value.npy", values + 1)


def _file(root: Path) -> None:
    shutil.rmtree(root / "cache")
    (root / "cache").write_text("no folder")


EVALUATE = ["regulation", "evaluate"]
PREDICT = ["regulation", "predict"]
BAD: dict[str, Callable[[Path], tuple[list[object], list[str]]]] = {
    "no such data": lambda r: (
        ["regulation", "fit", r / "no", "--elementary", r / "run", "--out", "o"],
        ["build-genes"],
    ),
    "regions for genes": lambda r: (
        ["regulation", "fit", r / "regions", "--elementary", r / "pretrained", "--out", "o"],
        ["regions", "build-genes"],
    ),
    "no such elementary": lambda r: (fit_words(r, Path("o"), elementary="no"), ["no such folder"]),
    "data for elementary": lambda r: (
        fit_words(r, Path("o"), elementary="genes"),
        ["genes", "holds no model"],
    ),
    "unknown recipe": lambda r: (fit_words(r, Path("o"), "--recipe", "bse"), ["'bse'", "'base'"]),
    "unknown setting": lambda r: (
        fit_words(r, Path("o"), "--set", "loss.knd=mse"),
        ["loss.knd", "loss.kind"],
    ),
    "wrong value": lambda r: (fit_words(r, Path("o"), "--set", "loss.kind=l7"), ["loss.kind", "l7"]),
    "track not known": lambda r: (
        fit_words(r, Path("o"), "--set", "features.track=dnase"),
        ["'dnase'", "atac"],
    ),
    "too many tuned layers": lambda r: (
        fit_words(r, Path("o"), "--set", "features.tuned_layers=9"),
        ["tuned_layers=9"],
    ),
    "too few slots": lambda r: (
        fit_words(r, Path("o"), "--set", "model.max_peaks=1"),
        ["max_peaks=", "peaks"],
    ),
    "unknown device": lambda r: (fit_words(r, Path("o"), "--device", "tpu"), ["'tpu'"]),
    "run is there": lambda r: (fit_words(r, r / "run"), ["already holds a run", "--resume"]),
    "nothing to resume": lambda r: (fit_words(r, Path("o"), "--resume"), ["no run to resume"]),
    "evaluate without model": lambda r: ([*EVALUATE, r / "genes", "--data", r / "genes"], ["holds no model"]),
    "evaluate on regions": lambda r: ([*EVALUATE, r / "run", "--data", r / "regions"], ["build-genes"]),
    "evaluate elementary on genes": lambda r: (
        [*EVALUATE, r / "pretrained", "--data", r / "genes"],
        ["genes"],
    ),
    "unknown split": lambda r: ([*EVALUATE, r / "run", "--data", r / "genes", "--split", "dev"], ["'dev'"]),
    "option of the other stage": lambda r: (
        [*EVALUATE, r / "run", "--data", r / "genes", "--tokens", 9],
        ["--tokens"],
    ),
    "option of this stage": lambda r: (
        [*EVALUATE, r / "pretrained", "--data", r / "regions", "--max-groups", 9],
        ["--max-groups"],
    ),
    "predict from nothing": lambda r: ([*PREDICT, r / "run"], ["--data", "--locus-text"]),
    "predict to nowhere": lambda r: ([*PREDICT, r / "run", "--data", r / "genes"], ["--out"]),
    "strange table": lambda r: (
        [*PREDICT, r / "run", "--data", r / "genes", "--out", "a.xls"],
        ["a.xls", ".tsv"],
    ),
    "unknown gene": lambda r: (
        [*PREDICT, r / "run", "--data", r / "genes", "--out", "a.tsv", "--genes", "NOPE"],
        ["--genes", "'NOPE'"],
    ),
    "unknown group": lambda r: (
        [*PREDICT, r / "run", "--data", r / "genes", "--out", "a.tsv", "--groups", "NOPE"],
        ["--groups", "'NOPE'"],
    ),
    "locus without strand": lambda r: ([*PREDICT, r / "converted", *_locus(r)], ["--strand"]),
    "locus and split": lambda r: (
        [*PREDICT, r / "run", *_locus(r), "--split", "test"],
        ["--split", "--locus-text"],
    ),
    "elementary predicts": lambda r: (
        [*PREDICT, r / "pretrained", "--data", r / "genes", "--out", "a.tsv"],
        ["is not a CREformer"],
    ),
    "damaged weights": lambda r: (
        _spoil_weights(r) or [*EVALUATE, r / "run", "--data", r / "genes"],  # type: ignore[func-returns-value]
        ["model.safetensors", "damaged"],
    ),
    "changed data": lambda r: (_spoil_data(r) or fit_words(r, Path("o")), ["expressed_value.npy"]),  # type: ignore[func-returns-value]
    "cache is a file": lambda r: (_file(r) or fit_words(r, Path("o")), ["cache"]),  # type: ignore[func-returns-value]
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_one_line_and_nothing_left(name: str, root: Path, cli_error: CliError) -> None:
    words, needles = BAD[name](root)
    line = cli_error(*words)
    missing = [needle for needle in needles if needle not in line]
    assert not missing, f"{missing} not in: {line}"
    assert list(Path().rglob("*")) == [], "something was left behind"
