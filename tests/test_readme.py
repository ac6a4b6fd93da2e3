"""The README's commands and its Python example, run in order on generated files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.documents import REPOSITORY, commands, fenced

# Added to keep the test short; the commands are otherwise as written.
SHORT = {
    "simulate": ["--genes", "40", "--tissues", "3"],
    "train": ["--set", "train.max_steps=6", "--set", "train.epochs=1"],
    "attention": ["--permutations", "3", "--transcripts", "10"],
    "pretrain": ["--set", "train.max_steps=6", "--set", "train.epochs=1", "--draws", "10"],
    "evaluate": ["--draws", "10"],
    "ablate": ["--set", "train.max_steps=2", "--seeds", "1", "--fast-baselines", "--draws", "10"],
    "regulation pretrain": ["--set", "train.max_steps=6", "--set", "train.epochs=1", "--device", "cpu"],
    "regulation evaluate elementary": ["--tokens", "2048", "--device", "cpu"],
    "regulation report": ["--genes", "SIMTF01", "--tfs", "SIMTF04", "--device", "cpu"],
    "regulation score": ["--samples", "5", "--device", "cpu"],
    "regulation links": ["--draws", "20", "--device", "cpu"],
    "regulation knockout": ["--controls", "1", "--genes", "SIMTF04", "--device", "cpu"],
    "regulation knockin": ["--controls", "1", "--genes", "SIMTF04", "--device", "cpu"],
    "regulation grn": ["--bags", "1", "--nulls", "1", "--no-knockout", "--device", "cpu"],
    "regulation variants": ["--controls", "0", "--split", "test", "--device", "cpu"],
    "regulation features": ["--device", "cpu"],
    "regulation masters": ["--bootstrap", "2", "--effect-genes", "10", "--device", "cpu"],
    "regulation transition": ["--tfs", "SIMTF04", "--cells", "1", "--top-genes", "10", "--device", "cpu"],
    "regulation targets": ["--most", "1", "--cells", "1", "--top-genes", "10", "--device", "cpu"],
    "regulation fit": ["--set", "train.max_steps=6", "--set", "train.epochs=1", "--device", "cpu"],
}


def added(words: list[str]) -> list[str]:
    """What is added to a command: by its words, the more of them that match the better."""
    start = [word for word in words[1:] if word not in ("isoform", "pack")]
    keys = [" ".join(start[:length]) for length in (3, 2, 1)]
    return next((SHORT[key] for key in keys if key in SHORT), [])


def test_every_block_runs(
    cli: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = []
    for words in commands("README.md"):
        if words[0] == "make":
            continue
        assert words[0] == "cisoform", words
        result = cli(*words[1:], *added(words))
        assert result.exit_code == 0, f"{' '.join(words)}\n{result.stderr}"
        ran.append(" ".join(words[1:3]))
    for stage in ("build", "pretrain", "train", "evaluate", "attention", "ablate", "predict", "variants"):
        assert ran.count(f"isoform {stage}") == 1 + (stage in ("train", "evaluate")), stage
    regulation = [name.removeprefix("regulation ") for name in ran if name.startswith("regulation")]
    assert regulation == [
        "build-regions",
        "pretrain",
        "evaluate",
        "build-genes",
        "fit",
        "evaluate",
        "predict",
        *("report", "score", "links", "knockout", "knockin", "grn", "variants"),
        *("build-genes", "features", "masters", "transition", "targets"),
    ]
    header = (tmp_path / "expression.tsv").read_text().splitlines()[0].split("\t")
    assert header == ["gene_id", "gene_name", "group", "cell_type", "predicted", "observed"]
    assert "log1p" in (tmp_path / "predictions.tsv").read_text().split("transcript_id")[0]
    (example,) = fenced("README.md", "python")
    assert len(example.splitlines()) <= 10
    exec(compile(example, "README.md", "exec"), {})
    assert "transcript_id" in capsys.readouterr().out


def test_the_make_targets_exist() -> None:
    targets = [words[1] for words in commands("README.md") if words[0] == "make"]
    assert targets == ["demo", "test"]
    makefile = (REPOSITORY / "Makefile").read_text()
    assert all(f"\n{target}: setup" in makefile for target in targets)
