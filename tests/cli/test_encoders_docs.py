"""docs/encoders.md: every command on small checkpoints; bad weights are one line; runs outlive their checkpoints."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from tests.cli.mini import write_mini_project
from tests.cli.test_weights_rotary import evil
from tests.documents import REPOSITORY, commands, fenced
from tests.weights.public_rotary import esm2_config, nt_config, tensors, write

PAGE = "docs/encoders.md"
ESM, NT = "esm2_t30_150M_UR50D", "nucleotide-transformer-v2-250m-multi-species"
# Added to keep the test short; the commands are otherwise as written.
TRAIN = ["--recipe", "tiny", "--set", "train.max_steps=2", "--set", "train.epochs=1", "--device", "cpu"]
SMALL = [*TRAIN, "--set", "model.dna=null", "--set", "model.aggregator.heads=2"]
SHORT = {"build": ["--window", "128", "--splits", "splits.tsv"], "train": SMALL, "evaluate": ["--draws", "5"]}


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the page in the current folder, and a cache of their own."""
    torch.set_num_threads(1)
    write_mini_project(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    write(Path(ESM), esm2_config())
    write(Path(NT), nt_config())
    return tmp_path / "work"


def test_every_command_runs_and_the_run_outlives_its_checkpoints(
    cli: Callable[..., Any], downloads: Path
) -> None:
    ran = []
    for words in commands(PAGE):
        assert words[0] == "cisoform"
        if words[2] == "evaluate":  # all checkpoints go
            for name in (ESM, NT, "esm2", "nt"):
                shutil.rmtree(name)
        result = cli(*words[1:], *SHORT.get(words[2], []))
        assert result.exit_code == 0, f"{words}\n{result.stderr}"
        if words[2] == "train" and words[words.index("--out") + 1] == "run":
            assert "rna by nt_v2 (2 layers of width 12), frozen: sequences are encoded once" in result.stderr
        ran.append(words[2])
    assert ran == ["inspect", "convert", "convert", "build", "train", "train", "train", "evaluate", "predict"]
    learn = {
        run: json.loads(Path(run, "model", "config.json").read_text())["protein"]["learn"]
        for run in ("run", "lora", "last")
    }
    assert learn == {"run": "frozen", "lora": "lora", "last": "last"}
    about = json.loads(Path("run", "model", "about.json").read_text())["encoders"]
    assert about["rna"]["source"] == NT and len(about["protein"]["sha256"]) == 64
    assert Path("scores", "report.html").is_file()
    table = pl.read_csv("predictions.tsv", separator="\t", comment_prefix="#")
    assert table.select(pl.col("Brain").is_finite().all()).item()


def test_long_sequences_are_counted_by_train_and_predict(cli: Callable[..., Any], downloads: Path) -> None:
    words = next(w for w in commands(PAGE) if w[2] == "build")
    assert cli(*words[1:], *SHORT["build"]).exit_code == 0
    caps = ["--set", "loader.rna_max=120", "--set", "loader.protein_max=35"]
    kinds = ["--set", "model.rna.kind=nt_v2", "--set", f"model.rna.weights={NT}"]
    result = cli("isoform", "train", "data", "--out", "run", *kinds, *caps, *SMALL)
    assert result.exit_code == 0, result.stderr
    rna, protein = lengths(downloads)
    n_shown = sum(n > 120 for name, n in rna.items() if name not in held_out(downloads))
    assert 0 < n_shown < sum(n > 120 for n in rna.values())
    assert f"{n_shown} RNAs are over 120 nt (loader.rna_max): of each its 3' end is read" in (result.stderr)
    assert "proteins are over 35 residues (loader.protein_max)" in result.stderr
    result = cli(
        "isoform",
        "predict",
        "run",
        "--genome",
        "genome.fa",
        "--annotation",
        "annotation.gtf",
        "--out",
        "p.tsv",
    )
    assert (
        f"{sum(n > 120 for n in rna.values())} transcripts have a rna over 120: of each its 3' end was read"
        in result.stderr
    )
    assert (
        f"{sum(n > 35 for n in protein.values())} transcripts have a protein over 35: of each its N-terminal"
        in result.stderr
    )


def lengths(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Spliced lengths and residues of every transcript, from the annotation's lines alone."""
    rna: dict[str, int] = {}
    cds: dict[str, int] = {}
    for line in (folder / "annotation.gtf").read_text().splitlines():
        cells = line.split("\t")
        if len(cells) < 9:
            continue
        name = cells[8].split('transcript_id "')[1].split('"')[0]
        size = int(cells[4]) - int(cells[3]) + 1
        if cells[2] == "exon":
            rna[name] = rna.get(name, 0) + size
        if cells[2] == "CDS":
            cds[name] = cds.get(name, 0) + size
    return rna, {name: size // 3 for name, size in cds.items()}


def held_out(folder: Path) -> set[str]:
    """Transcripts of the genes that splits.tsv holds out for the test."""
    rows = [line.split("\t") for line in (folder / "splits.tsv").read_text().splitlines()]
    genes = {gene for gene, part in rows if part == "test"}
    lines = [
        line for line in (folder / "annotation.gtf").read_text().splitlines() if "\ttranscript\t" in line
    ]
    return {
        line.split('transcript_id "')[1].split('"')[0]
        for line in lines
        if line.split('gene_id "')[1].split('"')[0] in genes
    }


def test_the_page_is_listed_and_its_shell_is_shell() -> None:
    assert "encoders.md" in (REPOSITORY / "docs/index.md").read_text()
    for block in fenced(PAGE, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def spoil_text(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def without(path: Path, name: str) -> None:
    from safetensors.torch import save_file

    save_file({n: value for n, value in tensors(esm2_config()).items() if n != name}, path)


def pickled(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    torch.save(tensors(esm2_config()), folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def hostile(folder: Path) -> None:
    evil(pickled(folder), folder / "marker")


ESM_SET = ["model.protein.kind=esm2", f"model.protein.weights={ESM}"]
Spoil = Callable[[Path], object]
CASES: dict[str, tuple[Spoil, list[str], list[str]]] = {
    "nothing there": (shutil.rmtree, ESM_SET, [ESM, "no such folder"]),
    "not on this machine": (bool, ["model.protein.kind=esm2", "model.protein.weights=hf://a/b"],
                            ["hf://a/b", "nothing is fetched unasked", "config.json and model.safetensors", "hub/a/b"]),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ESM_SET, [ESM, "lacks model.safetensors or"]),
    "no config": (lambda f: (f / "config.json").unlink(), ESM_SET, [ESM, "lacks config.json"]),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), ESM_SET, ["config.json", "line 1"]),
    "BERT": (lambda f: spoil_text(f / "config.json", model_type="bert"), ESM_SET, ["config.json", "'bert'"]),
    "ESM-1": (lambda f: spoil_text(f / "config.json", position_embedding_type="absolute"), ESM_SET, ["'absolute'"]),
    "an NT-v2": (bool, ["model.protein.kind=esm2", f"model.protein.weights={NT}"], [NT, "4107", "ESM-2 has 33"]),
    "more layers": (lambda f: spoil_text(f / "config.json", num_hidden_layers=3), ESM_SET,
                    ["layers.2.", "is missing", "more differences"]),
    "wider": (lambda f: spoil_text(f / "config.json", intermediate_size=24), ESM_SET,
              ["layers.0.ffn_in.weight has shape (20, 12), expected (24, 12)"]),
    "a tensor is missing": (lambda f: without(f / "model.safetensors", "esm.encoder.layer.1.LayerNorm.bias"), ESM_SET,
                            ["layers.1.ffn_norm.bias is missing"]),
    "truncated": (lambda f: cut(f / "model.safetensors"), ESM_SET, ["model.safetensors", "damaged"]),
    "truncated pickle": (lambda f: cut(pickled(f)), ESM_SET, ["pytorch_model.bin"]),
    "hostile pickle": (hostile, ESM_SET, ["pytorch_model.bin", "posix.mkdir"]),
    "another vocabulary": (lambda f: (f / "vocab.txt").write_text("<cls>\n<pad>\n<unk>\n"), ESM_SET,
                           ["vocab.txt", "line 3", "'<unk>'", "'<eos>'"]),
    "another size": (bool, [*ESM_SET, "model.protein.size=8M"], ["model.protein.size=8M", "width 12 and 2 layers"]),
    "a size that is none": (bool, ["model.protein.kind=esm2", "model.protein.size=9M"], ["size='9M'", "8M, 35M"]),
    "frozen without weights": (bool, ["model.protein.kind=esm2", "model.protein.learn=frozen"],
                               ["model.protein.learn=frozen needs weights"]),
    "rank": (bool, [*ESM_SET, "model.protein.learn=lora", "model.protein.lora_rank=0"], ["lora_rank=0"]),
    "targets": (bool, [*ESM_SET, "model.protein.learn=lora", 'model.protein.lora_targets=["q"]'], ["['q']", "query"]),
    "layers": (bool, [*ESM_SET, "model.protein.learn=last", "model.protein.last_layers=3"], ["last_layers=3"]),
    "how it learns": (bool, [*ESM_SET, "model.protein.learn=some"], ["model.protein.learn", '"some"']),
    "for another modality": (bool, ["model.rna.kind=esm2"], ["model.rna.kind", '"esm2"', "nt_v2"]),
    "tokens": (bool, [*ESM_SET, "loader.protein_tokens=residues"], ["loader.protein_tokens=esm, not residues"]),
}  # fmt: skip


def test_train_refuses_wrong_weights_and_settings_in_one_line(
    cli: Callable[..., Any], cli_error: Callable[..., str], downloads: Path
) -> None:
    words = next(w for w in commands(PAGE) if w[2] == "build")
    assert cli(*words[1:], *SHORT["build"]).exit_code == 0
    shutil.copytree(ESM, "whole")
    for name, (spoil, settings, needles) in CASES.items():
        shutil.rmtree(ESM, ignore_errors=True)
        shutil.copytree("whole", ESM)
        spoil(Path(ESM))
        error = cli_error(
            "isoform", "train", "data", "--out", "new", *TRAIN, *(w for s in settings for w in ("--set", s))
        )
        missing = [needle for needle in needles if needle not in error]
        assert not missing, f"{name}: {missing} not in: {error}"
        assert not Path("new").exists() and not Path(ESM, "marker").exists(), name


def test_a_converted_folder_that_was_changed_is_refused(
    cli: Callable[..., Any], cli_error: Callable[..., str], downloads: Path
) -> None:
    for words in commands(PAGE):
        if words[2] in ("convert", "build"):
            assert cli(*words[1:], *SHORT.get(words[2], [])).exit_code == 0
    settings = ("--set", "model.protein.kind=esm2", "--set", "model.protein.weights=esm2")
    flip(Path("esm2", "model.safetensors"))
    assert "damaged or was changed" in cli_error(
        "isoform", "train", "data", "--out", "new", *TRAIN, *settings
    )
    other = ("--set", "model.protein.kind=esm2", "--set", "model.protein.weights=nt")
    error = cli_error("isoform", "train", "data", "--out", "new", *TRAIN, *other)
    assert "is Nucleotide Transformer v2, but ESM-2 is asked for" in error
