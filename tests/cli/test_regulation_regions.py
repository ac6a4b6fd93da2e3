"""Stage 1 through the command line: from files to a four-way report, and one line for everything that is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.data import region_files as files

Cli = Callable[..., Any]
CliError = Callable[..., str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """Inputs, a data set and a run of four steps."""
    root = tmp_path_factory.mktemp("stage1")
    files.write_genome(root)
    files.write_tracks(root)
    result = cli(*build_words(root, root / "regions"))
    assert result.exit_code == 0, result.stderr
    assert "estimate:" in result.stderr and "1 of 4 chromosomes are lacking" in result.stderr
    assert "unseen chromosome, unseen sample" in result.stdout
    result = cli(*pretrain_words(root, root / "run"), "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["step"] == 4 and "anchor atac" in result.stderr
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def build_words(root: Path, out: Path, **changes: object) -> list[object]:
    options: dict[str, object] = {
        "genome": root / "genome.fa",
        "tracks": root / "tracks.tsv",
        "window": 512,
        "test-chromosomes": "c3",
        "test-samples": "skin",
        "out": out,
        **{key.replace("_", "-"): value for key, value in changes.items()},
    }
    return [
        "regulation",
        "build-regions",
        *(w for k, v in options.items() if v is not None for w in (f"--{k}", v)),
    ]


def pretrain_words(root: Path, out: Path, *more: str) -> list[object]:
    settings = ["train.epochs=null", "train.max_steps=4", *more]
    words = [word for text in settings for word in ("--set", text)]
    return [
        "regulation",
        "pretrain",
        root / "regions",
        "--recipe",
        "tiny",
        "--out",
        out,
        "--device",
        "cpu",
        *words,
    ]


def test_the_four_way_report(made: Path, cli: Cli, tmp_path: Path) -> None:
    words = ["regulation", "evaluate", made / "run", "--data", made / "regions", "--split", "test"]
    result = cli(*words, "--json", "--out", tmp_path / "scores", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert json.loads((tmp_path / "scores" / "evaluation.json").read_text()) == found
    assert list(found["parts"]) == [
        f"{chrom} chromosome, {sample} sample"
        for chrom in ("seen", "unseen")
        for sample in ("seen", "unseen")
    ]
    for part in found["parts"].values():
        assert set(part["hidden"]["bases"]["accuracy"]) == {"model", "neighbour", "majority"}
        for given in part["preserved"].values():
            assert set(given) <= {"other_tracks", "anchor_alone", "dna_alone"}
            assert set(given["dna_alone"]["pearson_where_mean"]) == {"model", "training_mean"}
    assert found["anchor"] == "atac" and found["warnings"] == []
    about = json.loads((made / "run/model/about.json").read_text())
    assert about["train_chromosomes"] and "c3" not in about["train_chromosomes"]
    shown = cli(*words, "--device", "cpu", "--tokens", 512)
    assert "preserved track, bins" in shown.stdout and "hidden bases: accuracy" in shown.stdout


def test_a_run_is_not_overwritten_but_resumed(root: Path, cli: Cli, cli_error: CliError) -> None:
    assert "already holds a run" in cli_error(*pretrain_words(root, root / "run"))
    again = cli(*pretrain_words(root, root / "run"), "--resume")
    assert again.exit_code == 0, again.stderr
    assert "lr is 0.003 in the run and 0.1 now" in cli_error(
        *pretrain_words(root, root / "run", "train.lr=0.1"), "--resume"
    )


def test_an_existing_data_set_is_replaced_only_when_asked(root: Path, cli: Cli, cli_error: CliError) -> None:
    assert "already exists" in cli_error(*build_words(root, root / "regions"))
    result = cli(*build_words(root, root / "regions"), "--overwrite", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["resumed"] == 0
    (root / "mine").mkdir()
    (root / "mine" / "notes.txt").write_text("keep")
    assert "is no data set, so --overwrite leaves it alone" in cli_error(
        *build_words(root, root / "mine"), "--overwrite"
    )


def add_track(root: Path, text: str) -> None:
    table = root / "tracks.tsv"
    table.write_text(table.read_text() + text)


def set_track(
    root: Path, records: list[tuple[str, int, int, float]], lengths: dict[str, int] | None = None
) -> None:
    import pybigtools

    path = root / "bw" / "liver.atac.bw"
    path.unlink()
    pybigtools.open(str(path), "w").write(lengths or {"c1": 5300, "c2": 4100, "c3": 2700}, iter(records))


def negative(root: Path) -> None:
    set_track(root, [("c1", 100, 125, -3.0)])


def infinite(root: Path) -> None:
    set_track(root, [("c1", 100, 125, float("inf"))])


def other_assembly(root: Path) -> None:
    set_track(root, [("c1", 100, 125, 3.0)], {"c1": 9999})


def other_names(root: Path) -> None:
    set_track(root, [("Z", 100, 125, 3.0)], {"Z": 200})


def truncated(root: Path) -> None:
    path = root / "bw" / "liver.atac.bw"
    path.write_bytes(path.read_bytes()[:300])


def text_file(root: Path) -> None:
    (root / "bw" / "liver.atac.bw").write_text("not a track at all\n")


def removed(root: Path) -> None:
    (root / "bw" / "liver.atac.bw").unlink()


BAD_BUILD: dict[str, tuple[Callable[[Path], object] | None, dict[str, object], list[str]]] = {
    "negative signal": (negative, {}, ["liver.atac.bw", "c1:101 is -3"]),
    "infinite signal": (infinite, {}, ["c1:101 is inf"]),
    "another assembly": (other_assembly, {}, ["liver.atac.bw", "9,999", "5,300", "different assemblies"]),
    "no common chromosome": (other_names, {}, ["liver.atac.bw", "(Z)"]),
    "truncated bigWig": (truncated, {}, ["liver.atac.bw", "cannot be read"]),
    "not a track": (text_file, {}, ["liver.atac.bw", "line 1", "not a track at all"]),
    "missing file": (removed, {}, ["tracks.tsv: line 2", "liver.atac.bw: no such file"]),
    "track twice": (lambda r: add_track(r, "liver\tatac\tbw/skin.atac.bw\n"), {}, ["line 8", "already on line 2"]),
    "unknown transform": (lambda r: (r / "tracks.tsv").write_text("sample\ttrack\tpath\ttransform\na\tb\tbw/liver.atac.bw\tlog\n"), {}, ["line 2", "'log' is unknown", "log1p"]),
    "no header": (lambda r: (r / "tracks.tsv").write_text("liver\tatac\tbw/liver.atac.bw\n"), {}, ["line 1", "lacks the column 'sample'"]),
    "bad blacklist": (lambda r: (r / "b.bed").write_text("c1\tx\t5\n"), {"blacklist": "b.bed"}, ["b.bed: line 1"]),
    "blacklist of another genome": (lambda r: (r / "b.bed").write_text("Z9\t1\t5\n"), {"blacklist": "b.bed"}, ["b.bed", "Z9"]),
    "all blacklisted": (lambda r: (r / "b.bed").write_text("c1\t0\t6000\nc2\t0\t6000\nc3\t0\t6000\n"), {"blacklist": "b.bed"}, ["no window of 517 bases is left"]),
    "window": (None, {"window": 500}, ["--window 500", "multiple of 128"]),
    "window too long": (None, {"window": 12_800}, ["no window of 12,805 bases is left", "shorter --window"]),
    "no regions": (None, {"regions_per_sample": 0}, ["--regions-per-sample 0"]),
    "unknown chromosome": (None, {"test_chromosomes": "chr8"}, ["no chromosome 'chr8'", "c1"]),
    "unknown sample": (None, {"test_samples": "lung"}, ["--test-samples 'lung'", "liver"]),
    "all samples held out": (None, {"test_samples": "liver,brain,skin"}, ["names every sample"]),
    "all chromosomes held out": (None, {"test_chromosomes": "c1,c2,c3"}, ["no region is left for training"]),
    "test and validation": (None, {"valid_chromosomes": "c3"}, ["'c3' is held out both"]),
    "edges": (None, {"edges": "fine"}, ["--edges 'fine'", "quantile"]),
    "genome missing": (None, {"genome": "none.fa"}, ["none.fa: no such file"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_BUILD)
def test_build_refuses(name: str, root: Path, cli_error: CliError, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, changes, needles = BAD_BUILD[name]
    monkeypatch.chdir(root)
    if spoil is not None:
        spoil(root)
    line = cli_error(*build_words(root, root / "out", **changes))
    assert [needle for needle in needles if needle not in line] == [], line
    assert not (root / "out").exists() and not (root / "out.partial").exists()


def half_shard(root: Path) -> None:
    path = root / "regions" / "shards" / "00000.tokens.npy"
    path.write_bytes(path.read_bytes()[:500])


def flipped_weights(root: Path) -> None:
    path = root / "run" / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


BAD_PRETRAIN: dict[str, tuple[Callable[[Path], object] | None, list[str], list[str]]] = {
    "half-written shard": (half_shard, [], ["00000.tokens.npy: has 500 bytes", "half-written"]),
    "no data set": (lambda r: shutil.rmtree(r / "regions"), [], ["regions: no such folder"]),
    "another kind of folder": (lambda r: (r / "regions" / "manifest.json").unlink(), [], ["manifest.json is missing"]),
    "unknown anchor": (None, ["loader.anchor=dnase"], ["anchor track 'dnase'", "atac, h3k4me3", "loader.anchor=NAME"]),
    "unknown setting": (None, ["model.width=3"], ["no key model.width"]),
    "impossible heads": (None, ["model.heads=5"], ["dim=32 is not divisible by heads=5"]),
    "impossible share": (None, ["loader.hiding.dna_share=0.9"], ["dna_share=0.9"]),
    "windows too long": (None, ["loader.lengths=[1024]"], ["512 tokens, fewer than the shortest window of 1024"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_PRETRAIN)
def test_pretrain_refuses(name: str, root: Path, cli_error: CliError) -> None:
    spoil, settings, needles = BAD_PRETRAIN[name]
    if spoil is not None:
        spoil(root)
    line = cli_error(*pretrain_words(root, root / "new", *settings))
    assert [needle for needle in needles if needle not in line] == [], line
    assert not (root / "new" / "model").exists()


def test_an_unknown_recipe(root: Path, cli_error: CliError) -> None:
    line = cli_error("regulation", "pretrain", root / "regions", "--recipe", "bas", "--out", root / "new")
    assert "recipe 'bas' is unknown; did you mean 'base'" in line


def test_evaluate_refuses(root: Path, cli: Cli, cli_error: CliError) -> None:
    words = ["regulation", "evaluate", root / "run", "--data", root / "regions"]
    assert "split 'dev' is none of" in cli_error(*words, "--split", "dev")
    assert "no such folder" in cli_error("regulation", "evaluate", root / "no", "--data", root / "regions")
    result = cli(
        *build_words(
            root, root / "strange", tracks=files.write_tracks(root, ("liver",), ("dnase",)), test_samples=None
        )
    )
    assert result.exit_code == 0, result.stderr
    assert "track 'dnase' that the run does not know" in cli_error(*words[:3], "--data", root / "strange")
    files.write_tracks(root)
    assert cli(*build_words(root, root / "cut", edges="quantile")).exit_code == 0
    assert "are cut at other edges" in cli_error(*words[:3], "--data", root / "cut")
    flipped_weights(root)
    assert "is damaged or was changed" in cli_error(*words)
