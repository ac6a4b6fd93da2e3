"""Converting the released form, and the authors' example as a command; wrong checkpoints are one clear line."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import cisoform

Cli = Callable[..., Any]
pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def converted(cli: Cli, golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "model"
    words = (
        "creformer",
        golden_dir / "creformer_small_pkl",
        out,
        "--vocab",
        golden_dir / "creformer_vocab.txt",
    )
    result = cli("weights", "convert", *words, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["sizes"] == {
        **{"dim": 32, "heads": 4, "ffn": 128, "layers": [2, 2, 2]},
        "max_peaks": 150,
    }
    return out


@pytest.mark.parametrize("strand, prefix", [("+", "out"), ("-", "out_other_strand")])
def test_the_authors_example_runs_as_it_is(
    cli: Cli, golden_dir: Path, converted: Path, strand: str, prefix: str
) -> None:
    words = ("--locus-text", golden_dir / "gata1_wild_type.txt.gz", "--tss-peak", 20, "--strand", strand)
    result = cli("regulation", "predict", converted, *words, "--json", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    with safe_open(str(golden_dir / "creformer_small.safetensors"), "pt") as file:
        expected = float(file.get_tensor(f"{prefix}.expression")[0])
        ids = json.loads(file.metadata()["peak_ids"])
    assert found["expression"] == pytest.approx(expected, rel=1e-5)
    assert found["peaks"] == ids


def test_both_released_forms_convert_to_the_same_model(
    cli: Cli, golden_dir: Path, converted: Path, tmp_path: Path
) -> None:
    words = ("creformer", golden_dir / "creformer_small.safetensors", tmp_path / "m")
    result = cli("weights", "convert", *words, "--vocab", golden_dir / "creformer_vocab.txt", "--heads", 4)
    assert result.exit_code == 0, result.stderr
    first, second = (load_file(str(folder / "model.safetensors")) for folder in (converted, tmp_path / "m"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_facade_saves_and_predicts_alike(golden_dir: Path, converted: Path, tmp_path: Path) -> None:
    model = cisoform.CREformer.from_pretrained(converted, device="cpu")
    model.save_pretrained(tmp_path / "again")
    again = cisoform.CREformer.from_pretrained(tmp_path / "again", device="cpu")
    locus = golden_dir / "gata1_enhancer_knockout.txt.gz"
    first, second = (m.predict_locus(locus, tss_peak=20, strand="+") for m in (model, again))
    assert first == second
    wild = model.predict_locus(golden_dir / "gata1_wild_type.txt.gz", tss_peak=20, strand="+")
    assert wild.expression != first.expression


def test_inspect_lists_tensors_and_names_without_running(cli: Cli, golden_dir: Path) -> None:
    result = cli("weights", "inspect", golden_dir / "creformer_small_pkl", "--json")
    assert result.exit_code == 0, result.stderr
    files = {Path(part["path"]).name: part for part in json.loads(result.stdout)}
    assert len(files) == 11
    assert [t["shape"] for t in files["dna_embed.pkl"]["tensors"]] == [[4100, 32]]
    assert "models.DNA_Embedding" in files["dna_embed.pkl"]["refused"]


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch evil-was-here",)


def spoil(golden_dir: Path, folder: Path, name: str, content: bytes | None) -> Path:
    source = folder / "released"
    shutil.copytree(golden_dir / "creformer_small_pkl", source)
    source.chmod(0o755)
    (source / name).chmod(0o644)
    if content is None:
        (source / name).unlink()
    else:
        (source / name).write_bytes(content)
    return source


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("pad_embed.pkl", None, ["pad_embed.pkl", "11 .pkl files"]),
        ("pad_embed.pkl", b"", ["pad_embed.pkl", "empty"]),
        ("dna_embed.pkl", b"hello", ["dna_embed.pkl", "not a zip file"]),
        ("transformer_2.pkl", pickle.dumps(Evil()), ["transformer_2.pkl"]),
    ],
)
def test_spoiled_releases(
    cli_error: Callable[..., str],
    golden_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes | None,
    said: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    source = spoil(golden_dir, tmp_path, name, content)
    vocab = golden_dir / "creformer_vocab.txt"
    error = cli_error("weights", "convert", "creformer", source, tmp_path / "out", "--vocab", vocab)
    assert all(text in error for text in said), error
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "evil-was-here").exists()


def test_wrong_words_and_wrong_files(
    cli_error: Callable[..., str], golden_dir: Path, converted: Path, tmp_path: Path
) -> None:
    whole = golden_dir / "creformer_small.safetensors"
    vocab = golden_dir / "creformer_vocab.txt"
    short = tmp_path / "short.txt"
    short.write_text("\n".join(vocab.read_text().splitlines()[:-1]))
    missing = {k: v for k, v in load_file(str(whole)).items() if "transformer_2" not in k}
    save_file(missing, tmp_path / "missing.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:1000])
    convert = ("weights", "convert")
    cases: list[tuple[tuple[object, ...], list[str]]] = [
        ((*convert, "creformerr", whole, tmp_path / "o", "--vocab", vocab), ["creformerr"]),
        ((*convert, "creformer", whole, tmp_path / "o"), ["--vocab"]),
        ((*convert, "creformer", whole, tmp_path / "o", "--vocab", vocab), ["--heads"]),
        ((*convert, "creformer", whole, tmp_path / "o", "--vocab", vocab, "--heads", 5), ["32", "5 heads"]),
        ((*convert, "creformer", whole, tmp_path / "o", "--vocab", short, "--heads", 4), ["4099 tokens"]),
        ((*convert, "creformer", tmp_path / "nowhere", tmp_path / "o", "--vocab", vocab), ["nowhere"]),
        ((*convert, "creformer", cut, tmp_path / "o", "--vocab", vocab, "--heads", 4), ["cut.safetensors"]),
        (
            (
                *convert,
                "creformer",
                tmp_path / "missing.safetensors",
                tmp_path / "o",
                "--vocab",
                vocab,
                "--heads",
                4,
            ),
            ["window_encoder", "missing"],
        ),
        ((*convert, "creformer", whole, converted, "--vocab", vocab, "--heads", 4), ["already exists"]),
        (("weights", "inspect", tmp_path), ["short.txt", "missing"][:0] + ["cut.safetensors"]),
        (("weights", "inspect", short), ["short.txt"]),
    ]
    for words, said in cases:
        error = cli_error(*words)
        assert all(text in error for text in said), (words, error)
        assert not (tmp_path / "o").exists()


def spoiled_locus(golden_dir: Path, out: Path, change: Callable[[list[str]], list[str]]) -> Path:
    with gzip.open(golden_dir / "gata1_wild_type.txt.gz", "rt") as handle:
        lines = handle.read().splitlines()
    out.write_text("\n".join(change(lines)) + "\n")
    return out


def moved(lines: list[str], number: int) -> list[str]:
    """The peaks some megabases downstream."""

    def name(line: str) -> str:
        chrom, start, end = line.split("_")
        return f"{chrom}_{int(start) + number * 1_000_000}_{int(end) + number * 1_000_000}"

    return [name(line) if row % 3 == 0 else line for row, line in enumerate(lines)]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda lines: lines[:-1], ["incomplete"]),
        (lambda lines: [lines[0][1:], *lines[1:]], ["line 1", "'>'"]),
        (lambda lines: [lines[0], lines[1][:-1], *lines[2:]], ["line 2", "1028 bases"]),
        (lambda lines: [lines[0], "!" + lines[1][1:], *lines[2:]], ["line 2", "!"]),
        (lambda lines: [*lines[:2], "x" + lines[2], *lines[3:]], ["line 3", "not a number"]),
        (
            lambda lines: [*lines[:2], "-" + lines[2].replace("0.0", "1.0"), *lines[3:]],
            ["line 3", "at least 0"],
        ),
        (lambda lines: lines * 2, ["line 133", "stands already at line 1"]),
        (
            lambda lines: [line for number in range(4) for line in moved(lines, number)],
            ["176 peaks", "at most 150"],
        ),
    ],
)
def test_spoiled_loci(
    cli_error: Callable[..., str],
    golden_dir: Path,
    converted: Path,
    tmp_path: Path,
    change: Callable[[list[str]], list[str]],
    said: list[str],
) -> None:
    locus = spoiled_locus(golden_dir, tmp_path / "locus.txt", change)
    error = cli_error(
        "regulation", "predict", converted, "--locus-text", locus, "--tss-peak", 20, "--strand", "+"
    )
    assert all(text in error for text in said), error


@pytest.mark.parametrize(
    "peak, strand, said", [(44, "+", "numbered 0 to 43"), (-1, "+", "-1"), (20, "plus", "plus")]
)
def test_wrong_places(
    cli_error: Callable[..., str], golden_dir: Path, converted: Path, peak: int, strand: str, said: str
) -> None:
    locus = golden_dir / "gata1_wild_type.txt.gz"
    error = cli_error(
        "regulation", "predict", converted, "--locus-text", locus, "--tss-peak", peak, "--strand", strand
    )
    assert said in error
