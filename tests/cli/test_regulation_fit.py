"""Stage 2 through the command line: from both stages' files to predictions, and one line for what is wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file

from cisoform.data.locus_text import read_locus_text
from cisoform.jobs.creformer_model import CREformerModel, regulate_locus
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


def test_a_fit_by_low_rank_corrections_is_an_ordinary_model(root: Path, cli: Cli, tmp_path: Path) -> None:
    settings = ["features.tuned_layers=1", "features.lora_rank=2", "features.lora_alpha=4"]
    words = [word for text in settings for word in ("--set", text)]
    frozen, adapted = cli(*fit_words(root, root / "f")), cli(*fit_words(root, root / "lora", *words))
    assert adapted.exit_code == 0, adapted.stderr
    counts = [
        int(re.search(r"([\d,]+) parameters to learn", r.stderr)[1].replace(",", ""))
        for r in (frozen, adapted)
    ]
    # Two layers of 32 inputs: query, key and value together 96 outputs, the output projection 32; rank 2.
    assert counts[1] - counts[0] == 2 * (32 + 96) + 2 * (32 + 32)
    names = [set(load_file(root / name / "model" / "model.safetensors")) for name in ("f", "lora")]
    assert names[0] == names[1]
    words = ["regulation", "predict", root / "lora", "--data", root / "genes", "--cache", root / "cache"]
    result = cli(*words, "--split", "test", "--out", tmp_path / "t.tsv", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert np.isfinite(pl.read_csv(tmp_path / "t.tsv", separator="\t")["predicted"].to_numpy()).all()


SLOW = """
import sys, time, torch
torch.set_num_threads(1)
from cisoform.cli.main import main
from cisoform.data.gene_loader import GeneSource
from cisoform.features import states
batch, encode = GeneSource.batch, states.encode_states
def slow_batch(self, epoch, number):
    time.sleep(0.15)
    return batch(self, epoch, number)
def slow_encode(*arguments, **named):
    time.sleep(0.15)
    return encode(*arguments, **named)
GeneSource.batch, states.encode_states = slow_batch, slow_encode
main()
"""


def _killed_as_soon_as(found: Callable[[], bool], words: list[object]) -> None:
    """Run a command in a process of its own, slowed down, and kill -9 it once something is there."""
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 120
    while not found() and child.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    _, said = child.communicate()
    assert child.returncode == -signal.SIGKILL, said.decode()


def test_a_fit_killed_twice_ends_with_the_weights_of_the_uninterrupted_one(
    root: Path, cli: Cli, cli_error: CliError
) -> None:
    """Once while peaks are encoded and once while it trains; bit for bit, checkpoint and log included."""
    settings = [
        "train.max_steps=12",
        "train.checkpoint_every=2",
        "train.validate_every=4",
        "train.log_every=1",
    ]
    settings += ["features.shard_entries=9"]
    words = [word for text in settings for word in ("--set", text)]
    whole, killed = root / "whole", root / "killed"
    assert cli(*fit_words(root, whole, *words, "--cache", root / "cache1")).exit_code == 0
    again = fit_words(root, killed, *words, "--cache", root / "cache2")
    _killed_as_soon_as(lambda: len(list((root / "cache2").rglob("*.npy"))) > 1, again)
    assert not killed.exists() and "no run to resume" in cli_error(*again, "--resume")
    _killed_as_soon_as(lambda: bool(list(killed.glob("last/*.json"))), again)
    result = cli(*again, "--resume")
    assert result.exit_code == 0 and "12 steps" in result.stdout, result.stderr
    first = {path.relative_to(whole): path for path in whole.rglob("*") if path.is_file()}
    assert {str(name.parent) for name in first} == {".", "last", "model"}
    for name, path in first.items():
        if name.suffix in (".safetensors", ".npz"):
            assert path.read_bytes() == (killed / name).read_bytes(), name
    logs = [pl.read_csv(folder / "log.csv") for folder in (whole, killed)]
    numbers = [column for column in logs[0].columns if column not in ("seconds", "samples_per_s", "mfu")]
    assert logs[0].select(numbers).equals(logs[1].select(numbers)) and logs[0].height == 12


@pytest.mark.parametrize("stage", ["pretrain", "fit"])
def test_a_time_budget_may_change_on_resuming_and_nothing_else(
    stage: str, root: Path, cli: Cli, cli_error: CliError
) -> None:
    out = root / "timed"
    words = fit_words(root, out) if stage == "fit" else pretrain_words(root, out)
    result = cli(*words, "--set", "train.max_minutes=1e-9")
    assert result.exit_code == 0 and "(minutes)" in result.stdout, result.stderr
    said = cli_error(*words, "--resume", "--set", "train.max_minutes=5", "--set", "train.weight_decay=0.5")
    assert "train.weight_decay is 0.01 in the run and 0.5 now" in said and "max_minutes" not in said
    result = cli(*words, "--resume", "--set", "train.max_minutes=5")
    assert result.exit_code == 0 and "(finished)" in result.stdout, result.stderr


def test_a_locus_is_answered_through_the_link_of_the_model(root: Path, cli: Cli) -> None:
    """A model of the Poisson loss says softplus(output): never below zero, as for the genes of a data set."""
    settings = ["model.positions=rank", "model.max_peaks=20", "loss.kind=poisson"]
    words = [word for text in settings for word in ("--set", text)]
    assert cli(*fit_words(root, root / "poisson", *words)).exit_code == 0
    rng = np.random.default_rng(0)
    lines = []
    for peak in range(3):
        bases = "".join("ACGT"[code] for code in rng.integers(0, 4, 1029))
        lines += [f">p{peak}", bases, " ".join(["0.5"] * 1029)]
    (root / "locus.txt").write_text("".join(f"{line}\n" for line in lines))
    model = CREformerModel.load(root / "poisson")
    locus = read_locus_text(root / "locus.txt")
    hidden, mask, placed = regulate_locus(model, locus, 1, "-")
    output = model.model.read(hidden, mask, placed).item()
    result = cli(
        *("regulation", "predict", root / "poisson", "--locus-text", root / "locus.txt", "--tss-peak", 1),
        *("--strand", "-", "--json", "--device", "cpu"),
    )
    found = json.loads(result.stdout)["expression"]
    assert found == pytest.approx(np.log1p(np.exp(output)), rel=1e-5) and found - output > 0.01


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
    "low rank of nothing": lambda r: (
        fit_words(r, Path("o"), "--set", "features.lora_rank=4"),
        ["lora_rank=4", "tuned_layers"],
    ),
    "too high a rank": lambda r: (
        fit_words(r, Path("o"), "--set", "features.tuned_layers=1", "--set", "features.lora_rank=99"),
        ["features.lora_rank=99", "1 to 32"],
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
