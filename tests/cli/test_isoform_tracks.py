"""Tracks and Elementary through the command line of `isoform`: every wrong input is one line that names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.mini import MiniProject, write_mini_project

Cli = Callable[..., Any]
CliError = Callable[..., str]
SHORT = ("--set", "train.max_steps=2", "--device", "cpu")
DNA = (
    "--set",
    "model.dna.kind=elementary",
    "--set",
    "loader.dna_window=128",
    "--set",
    "loader.dna_upstream=null",
)
SMALL = ("--set", "model.dna.elementary.dim=16")


@dataclass
class Tracked:
    """A project with tracks of Brain and Whole Blood, its data set, a run on it, and an Elementary of another track."""

    project: MiniProject
    tracks: Path
    data: Path
    run: Path
    stage1: Path
    plain: Path

    def build(self, out: str = "built", **changes: Any) -> list[str]:
        words: dict[str, Any] = {"tracks": self.tracks, **changes}
        return self.project.build_words(out, **words)

    def train(self, *words: str, data: Path | None = None) -> list[str]:
        return [
            "isoform",
            "train",
            str(data or self.data),
            "--recipe",
            "tiny",
            *words,
            *SHORT,
            "--out",
            "new",
        ]

    def predict(self, *words: str, run: Path | None = None) -> list[str]:
        given = ["--genome", str(self.project.genome), "--annotation", str(self.project.annotation)]
        return [
            "isoform",
            "predict",
            str(run or self.run),
            *given,
            *words,
            "--out",
            "new.tsv",
            "--device",
            "cpu",
        ]


def write_tracks(project: MiniProject, track: str = "atac", value: str = "3") -> Path:
    folder = project.root / track
    folder.mkdir()
    rows = ["sample\ttrack\tpath"]
    for sample in ("Brain", "Whole_Blood"):
        spans = [f"{chrom}\t0\t{len(bases)}\t{value}" for chrom, bases in project.chromosomes.items()]
        (folder / f"{sample}.bedgraph").write_text("\n".join(spans) + "\n")
        rows.append(f"{sample}\t{track}\t{sample}.bedgraph")
    (folder / "tracks.tsv").write_text("\n".join(rows) + "\n")
    return folder / "tracks.tsv"


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Tracked:
    root = tmp_path_factory.mktemp("tracked")
    project = write_mini_project(root / "project")
    tracked = Tracked(
        project, write_tracks(project), root / "data", root / "run", root / "stage1", root / "plain"
    )
    other = write_tracks(project, "dnase")
    regions = ["--genome", str(project.genome), "--window", "128", "--out", str(root / "regions")]
    stage1 = ("--set", "loader.lengths=[128]", "--set", "loader.valid_length=128", "--set", "model.dim=16")
    for words in (
        tracked.build(str(tracked.data)),
        project.build_words(root / "bare"),
        [*tracked.train(*DNA, *SMALL)[:-1], str(tracked.run)],
        [*tracked.train(data=root / "bare")[:-1], str(tracked.plain)],
        ["regulation", "build-regions", "--tracks", str(other), *regions],
        ["regulation", "pretrain", str(root / "regions"), "--recipe", "tiny", *stage1, *SHORT, "--out", str(tracked.stage1)],
    ):  # fmt: skip
        result = cli(*words)
        assert result.exit_code == 0, result.stderr
    return tracked


@pytest.fixture
def tracked(valid: Tracked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracked:
    """A copy that a test may spoil; the current folder is empty."""
    source, copy = valid.project.root.parent, tmp_path / "copy"
    shutil.copytree(source, copy)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    project = MiniProject(copy / "project", valid.project.chromosomes, valid.project.transcripts)
    moved = [
        copy / path.relative_to(source)
        for path in (valid.tracks, valid.data, valid.run, valid.stage1, valid.plain)
    ]
    return Tracked(project, *moved)


Case = Callable[[Tracked], tuple[list[str], list[str]]]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def register(function: Case) -> Case:
        assert name not in CASES
        CASES[name] = function
        return function

    return register


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@case("a sample that is no column")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    edit(t.tracks, "Brain\t", "Brian\t")
    return t.build(), ["tracks.tsv", "sample 'Brian'", "did you mean 'Brain'"]


@case("a track file that is not there")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    (t.tracks.parent / "Brain.bedgraph").unlink()
    return t.build(), ["tracks.tsv: line 2", "Brain.bedgraph", "no such file"]


@case("a track file that is no signal")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    (t.tracks.parent / "Brain.bedgraph").write_bytes(b"\0\1\2\3" * 9)
    return t.build(), ["Brain.bedgraph", "neither bigWig nor bedGraph"]


@case("a track of another assembly")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    (t.tracks.parent / "Brain.bedgraph").write_text("chr1\t0\t9000000\t3\n")
    return t.build(), ["Brain.bedgraph", "9,000,000", "different assemblies"]


@case("a track without a chromosome of the genome")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    (t.tracks.parent / "Brain.bedgraph").write_text("scaffold9\t0\t10\t3\n")
    return t.build(), ["Brain.bedgraph", "scaffold9"]


@case("negative signal")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    edit(t.tracks.parent / "Brain.bedgraph", "\t3\n", "\t-2\n")
    return t.build(), ["Brain.bedgraph", "is -2", "at least 0"]


@case("a track listed twice")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    edit(t.tracks, "Whole_Blood\t", "Brain\t")
    return t.build(), ["tracks.tsv: line 3", "'Brain'", "line 2"]


@case("a window that is not whole bins")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.build(window="200"), ["--window 200", "multiple of 128", "256"]


@case("edges without tracks")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.build(tracks=None, edges="released"), ["--edges released", "--tracks"]


@case("edges of a run of another kind")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.build(edges=t.run), [str(t.run), "not a pre-trained Elementary", "isoformer"]


@case("edges of a run with other tracks")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.build(edges=t.stage1), ["tracks.tsv", "'atac'", "dnase"]


@case("a half-written signal")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    file = t.data / "signal.npy"
    file.write_bytes(file.read_bytes()[:-100])
    return t.train(*DNA, *SMALL), ["signal.npy", "bytes", "build the data set again"]


@case("a run of another kind to start from")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.train("--elementary", str(t.run)), [str(t.run), "not a pre-trained Elementary"]


@case("no run to start from")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.train("--elementary", "nowhere"), ["nowhere", "no such folder"]


@case("a run with other tracks")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    words = t.train("--elementary", str(t.stage1), *DNA[2:])
    return words, [str(t.stage1), "does not know the track 'atac'", "dnase"]


@case("a run whose levels are cut elsewhere")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    import hashlib

    file, manifest = (t.stage1 / "model" / name for name in ("tokens.json", "manifest.json"))
    content = json.loads(file.read_text())
    content["edges"] = {"atac": [edge * 2 for edge in content["edges"]["dnase"]]}
    file.write_text(json.dumps(content))
    hashes = json.loads(manifest.read_text())
    hashes["sha256"]["tokens.json"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(hashes))
    return t.train("--elementary", str(t.stage1), *DNA[2:]), ["'atac'", "other edges", "--edges"]


@case("a window of the recipe that is not whole bins")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    words = t.train(*DNA[:2], *DNA[4:], "--set", "loader.dna_window=200")
    return words, ["loader.dna_window=200", "multiple of the 128", "loader.dna_window=256"]


@case("a window beyond the stored tracks")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.train(*DNA[:2], "--set", "loader.dna_window=384"), [
        str(t.data),
        "tracks for 64 bases",
        "--window",
    ]


@case("a track that the data lack")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.train(*DNA, "--set", 'loader.tracks=["h3k27ac"]'), ["no track 'h3k27ac'", "atac"]


@case("frozen from nothing")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.train(*DNA, "--set", "model.dna.learn=frozen"), ["model.dna.learn=frozen", "--elementary"]


@case("another encoder on the 6-mers of an Elementary")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.train("--set", "loader.dna_tokens=sixmers"), ["model.dna.kind=tiny", "bases", "sixmers"]


@case("a width that the heads do not divide")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    words = ("--set", "model.dna.elementary.dim=18", "--set", "model.dna.elementary.heads=3")
    return t.train(*DNA, *words), ["recipe 'tiny'", "dim=18"]


@case("tracks for a run that reads none")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    return t.predict("--tracks", str(t.tracks), run=t.plain), ["tracks.tsv", "reads no tracks"]


@case("tracks that the run does not know")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    edit(t.tracks, "\tatac\t", "\th3k27ac\t")
    return t.predict("--tracks", str(t.tracks)), ["tracks.tsv", "'h3k27ac'", "atac"]


@case("tracks of a sample that the run does not predict")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    edit(t.tracks, "Brain\t", "Lung\t")
    return t.predict("--tracks", str(t.tracks)), ["tracks.tsv", "'Lung'"]


@case("tracks with bare sequences")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    words = ["--sequences", "x.jsonl", "--tracks", str(t.tracks), "--out", "new.tsv"]
    return ["isoform", "predict", str(t.run), *words], ["--tracks", "--sequences"]


@case("a damaged list of tracks in a model")
def _(t: Tracked) -> tuple[list[str], list[str]]:
    edit(t.run / "model" / "tracks.json", "Brain", "Lung")
    return t.predict(), ["tracks.json", "damaged or was changed"]


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_line(name: str, tracked: Tracked, cli_error: CliError) -> None:
    words, needles = CASES[name](tracked)
    line = cli_error(*words)
    missing = [needle for needle in needles if needle not in line]
    assert not missing, f"{missing} not in: {line}"
    assert list(Path().iterdir()) == [], "something was left behind"


def test_what_is_odd_but_not_wrong_is_said(cli: Cli, tracked: Tracked) -> None:
    without = tracked.predict()
    result = cli(*without)
    assert result.exit_code == 0 and "from the sequence alone" in result.stderr
    rows = tracked.tracks.read_text().splitlines()
    tracked.tracks.write_text("\n".join(rows[:2]) + "\n")
    (tracked.tracks.parent / "Brain.bedgraph").write_text("chr1\t0\t300\t3\n")
    result = cli(*tracked.predict("--tracks", str(tracked.tracks)))
    assert result.exit_code == 0
    assert "chr2, lacking in 1 files" in result.stderr
    assert "1 of 2 cell types" in result.stderr and "Whole_Blood" in result.stderr
    built = cli(*tracked.build(), "--json")
    assert built.exit_code == 0, built.stderr
    told = json.loads(built.stdout)
    assert (told["track_samples"], told["tracks"], told["columns_with_tracks"]) == (
        ["Brain"],
        ["atac"],
        ["Brain"],
    )
