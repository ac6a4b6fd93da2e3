"""Regions: what is stored is what naive code computes; splits hold out; a killed build ends with the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal as signals
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cisoform.data.region_build import build_regions
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.regions import RegionDataset
from cisoform.errors import InputError
from cisoform.genome.fasta import Genome
from cisoform.genome.interval import Interval
from cisoform.tokens.peaks import RELEASED_EDGES
from tests.data import region_files as files

CONFIG = RegionBuildConfig(
    window=256,
    test_chromosomes=("c3",),
    valid_chromosomes=(),
    test_samples=("skin",),
    shard_rows=7,
    seed=3,
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regions")
    files.write_genome(folder)
    files.write_tracks(folder)
    return folder


@pytest.fixture(scope="module")
def dataset(inputs: Path) -> RegionDataset:
    build_regions(inputs / "genome.fa", inputs / "tracks.tsv", inputs / "regions", CONFIG)
    return RegionDataset.open(inputs / "regions")


def content(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def naive_level(values: np.ndarray) -> int:
    mean = sum(map(float, values)) / len(values)
    return 1 if mean == 0 else 2 + sum(edge <= mean for edge in RELEASED_EDGES)


def test_stored_levels_are_those_of_naive_code(inputs: Path, dataset: RegionDataset) -> None:
    genome = Genome.open(inputs / "genome.fa")
    for region in (0, 11, len(dataset) - 1):
        row = dataset.regions.row(region, named=True)
        codes = genome.fetch(Interval(row["chrom"], row["start"], row["start"] + 261))
        np.testing.assert_array_equal(dataset.dna(region, 0, 256), codes)
        np.testing.assert_array_equal(dataset.dna(region, 128, 64), codes[128 : 128 + 69])
        for index, track in enumerate(files.TRACKS):
            values = files.signal(row["sample"], track, row["chrom"])[row["start"] : row["start"] + 261]
            expected = [naive_level(values[i : i + 6]) for i in range(256)]
            assert dataset.levels(region, 0, 256)[index].tolist() == expected
            bins = [naive_level(values[i : i + 128]) for i in (0, 128)]
            assert dataset.bin_levels(region, 0, 256)[index].tolist() == bins
            np.testing.assert_allclose(
                dataset.means(region, 128, 128)[index], values[128:256].mean(), rtol=1e-6
            )


def test_what_is_held_out_is_held_out(dataset: RegionDataset) -> None:
    regions = dataset.regions
    train = regions.filter(pl.col("split") == "train")
    assert set(train["sample"]) == {"liver", "brain"} and set(train["chrom"]) == {"c1", "c2"}
    test = regions.filter(pl.col("split") == "test")
    cells = set(test.select("seen_chrom", "seen_sample").iter_rows())
    assert cells == {(True, False), (False, True), (False, False)}
    # A tile that chooses the weights is in no training sample and not in a held-out one.
    valid = set(regions.filter(pl.col("split") == "valid").select("chrom", "start").iter_rows())
    others = set(regions.filter(pl.col("split") != "valid").select("chrom", "start").iter_rows())
    assert valid and not valid & others
    assert dataset.train_samples == ("liver", "brain")
    assert dataset.train_chromosomes == [
        name for name in ("c1", "c2") if name in set(dataset.regions["chrom"])
    ]
    assert len(dataset.rows("train")) + len(dataset.rows("valid")) + len(dataset.rows("test")) == len(dataset)
    with pytest.raises(InputError, match="split 'dev' is none of"):
        dataset.rows("dev")


def test_tiles_do_not_overlap_and_avoid_n(inputs: Path, dataset: RegionDataset) -> None:
    one = dataset.regions.filter(pl.col("sample") == "liver")
    for _, part in one.group_by("chrom"):
        assert (np.diff(np.sort(part["start"].to_numpy())) >= 261).all()
    genome = Genome.open(inputs / "genome.fa")
    for chrom, start in one.select("chrom", "start").iter_rows():
        assert (genome.fetch(Interval(chrom, start, start + 261)) == 4).mean() <= 0.05
    assert (
        dataset.manifest["n_excluded"] == 2
    )  # bases 700..899 of c2 are N: tiles 2 (522..782) and 3 (783..1043)


def test_counts_of_levels_are_those_of_training(dataset: RegionDataset) -> None:
    rows = dataset.rows("train").tolist()
    for index, name in enumerate(dataset.tracks):
        tokens = np.concatenate([dataset.levels(r, 0, 256)[index] for r in rows])
        bins = np.concatenate([dataset.bin_levels(r, 0, 256)[index] for r in rows])
        assert np.bincount(tokens, minlength=38).tolist() == dataset.level_counts[name]["tokens"]
        assert np.bincount(bins, minlength=38).tolist() == dataset.level_counts[name]["bins"]


def test_a_blacklist_and_a_number_of_regions(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "black.bed").write_text("c1\t0\t2000\nnowhere\t1\t5\n")
    config = RegionBuildConfig(
        window=256, regions_per_sample=5, test_chromosomes=("c3",), valid_chromosomes=("c2",)
    )
    made = build_regions(
        inputs / "genome.fa",
        inputs / "tracks.tsv",
        tmp_path / "out",
        config,
        blacklist=tmp_path / "black.bed",
    )
    data = RegionDataset.open(tmp_path / "out")
    assert set(data.regions["sample"].value_counts()["count"]) == {5} and made.n_regions == 15
    on_c1 = data.regions.filter(pl.col("chrom") == "c1")["start"]
    assert min(on_c1) >= 2000 - 0.05 * 261
    # Held-out tiles are the same in all samples up to where each sample's draw ends.
    held = data.regions.filter(pl.col("chrom") != "c1")
    starts = [set(part.select("chrom", "start").iter_rows()) for _, part in held.group_by("sample")]
    shortest = min(starts, key=len)
    assert all(shortest <= other for other in starts)


def test_any_number_of_workers_and_another_folder_give_equal_bytes(inputs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(inputs, moved, ignore=shutil.ignore_patterns("regions*"))
    build_regions(moved / "genome.fa", moved / "tracks.tsv", tmp_path / "two", CONFIG, workers=2)
    build_regions(inputs / "genome.fa", inputs / "tracks.tsv", tmp_path / "one", CONFIG)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_killed_build_goes_on_and_ends_with_equal_bytes(inputs: Path, tmp_path: Path) -> None:
    code = f"""
import os, time
import cisoform.data.region_build as b
from cisoform.data.region_plan import RegionBuildConfig
write = b.write_shard
def slow(task):
    if task.number == 3:
        open({str(tmp_path / "three")!r}, "w").close()
        time.sleep(60)
    return write(task)
b.write_shard = slow
b.build_regions({str(inputs / "genome.fa")!r}, {str(inputs / "tracks.tsv")!r}, {str(tmp_path / "out")!r},
    RegionBuildConfig(**{ {**CONFIG.__dict__}!r}))
"""
    child = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 60
    while not (tmp_path / "three").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(child.pid, signals.SIGKILL)
    child.wait()
    assert not (tmp_path / "out").exists() and (tmp_path / "out.partial").is_dir()
    # One finished shard is damaged meanwhile: it is written again.
    damaged = tmp_path / "out.partial" / "shards" / "00001.tokens.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    made = build_regions(inputs / "genome.fa", inputs / "tracks.tsv", tmp_path / "out", CONFIG)
    assert made.resumed == 2 and not (tmp_path / "out.partial").exists()
    build_regions(inputs / "genome.fa", inputs / "tracks.tsv", tmp_path / "whole", CONFIG)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_leftovers_of_other_settings_are_not_used(inputs: Path, tmp_path: Path) -> None:
    first = build_regions(inputs / "genome.fa", inputs / "tracks.tsv", tmp_path / "a", CONFIG)
    shutil.copytree(tmp_path / "a", tmp_path / "b.partial")
    second = build_regions(inputs / "genome.fa", inputs / "tracks.tsv", tmp_path / "b", CONFIG)
    assert second.resumed == 0 and second.hash == first.hash


def test_quantile_edges_spread_the_levels(inputs: Path, tmp_path: Path) -> None:
    config = RegionBuildConfig(**{**CONFIG.__dict__, "edges": "quantile"})
    build_regions(inputs / "genome.fa", inputs / "tracks.tsv", tmp_path / "out", config)
    data = RegionDataset.open(tmp_path / "out")
    assert data.edges["atac"] != data.edges["h3k4me3"]
    counts = np.array(data.level_counts["atac"]["tokens"])[2:37]
    assert counts.min() > 0 and counts.max() < 8 * counts.min()


def test_absent_tracks_and_bare_chromosomes_are_said(inputs: Path, tmp_path: Path) -> None:
    lines = (inputs / "tracks.tsv").read_text().replace("\tbw/", f"\t{inputs}/bw/").splitlines()
    only = tmp_path / "only.bw"
    files.write_bigwig(only, {"c1": files.signal("brain", "atac", "c1")})
    lines = [line for line in lines if not line.startswith(("brain\tatac", "liver\th3k4me3"))]
    (tmp_path / "t.tsv").write_text("\n".join([*lines, f"brain\tatac\t{only}"]) + "\n")
    config = RegionBuildConfig(window=256, test_chromosomes=("c3",))
    made = build_regions(inputs / "genome.fa", tmp_path / "t.tsv", tmp_path / "out", config)
    said = " | ".join(made.warnings)
    assert "3 of 4 chromosomes are lacking in some track" in said and "1 of 6 pairs" in said
    data = RegionDataset.open(tmp_path / "out")
    assert set(data.regions.filter(pl.col("sample") == "brain")["chrom"]) == {"c1"}
    liver = int(np.flatnonzero((data.regions["sample"] == "liver").to_numpy())[0])
    assert data.measured[liver].tolist() == [True, False]
    assert not data.levels(liver, 0, 256)[1].any() and data.levels(liver, 0, 256)[0].all()
    assert not data.bin_levels(liver, 0, 256)[1].any()


def test_damaged_data_sets_are_refused(dataset: RegionDataset, tmp_path: Path) -> None:
    def damaged(name: str) -> Path:
        shutil.copytree(dataset.path, tmp_path / name)
        return tmp_path / name

    half = damaged("half") / "shards" / "00001.tokens.npy"
    half.write_bytes(half.read_bytes()[:900])
    with pytest.raises(InputError, match=r"00001.tokens.npy: has 900 bytes.*half-written"):
        RegionDataset.open(tmp_path / "half")
    gone = damaged("gone") / "shards" / "00000.means.npy"
    gone.unlink()
    with pytest.raises(InputError, match=r"00000.means.npy: no such file"):
        RegionDataset.open(tmp_path / "gone")
    table = damaged("table") / "regions.parquet"
    table.write_bytes(table.read_bytes()[:-8] + b"overwrit")
    with pytest.raises(InputError, match=r"regions.parquet: is damaged"):
        RegionDataset.open(tmp_path / "table")
    manifest = damaged("manifest") / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "window": 128}))
    with pytest.raises(InputError, match=r"was changed after it was written"):
        RegionDataset.open(tmp_path / "manifest")
    for text, said in (
        ('{"format": "cisoform-isoform"}', "is 'cisoform-isoform', not a data set of regions"),
    ):
        manifest.write_text(text)
        with pytest.raises(InputError, match=said):
            RegionDataset.open(tmp_path / "manifest")
    with pytest.raises(InputError, match="no such folder"):
        RegionDataset.open(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"manifest.json is missing"):
        RegionDataset.open(tmp_path / "empty")


def test_an_error_in_a_worker_arrives_whole(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs, tmp_path / "in", ignore=shutil.ignore_patterns("regions*"))
    wrong = {c: files.signal("brain", "atac", c) for c in ("c1", "c2", "c3")}
    wrong["c1"][300:325] = -4.0
    (tmp_path / "in" / "bw" / "brain.atac.bw").unlink()
    files.write_bigwig(tmp_path / "in" / "bw" / "brain.atac.bw", wrong)
    with pytest.raises(InputError, match=r"brain.atac.bw: signal at c1:301 is -4"):
        build_regions(
            tmp_path / "in" / "genome.fa", tmp_path / "in" / "tracks.tsv", tmp_path / "out", CONFIG, workers=2
        )
    assert not (tmp_path / "out").exists()


def test_a_second_build_of_the_same_folder_is_refused(inputs: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out.partial").mkdir()
    with (tmp_path / "out.partial" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another build is writing there"):
            build_regions(inputs / "genome.fa", inputs / "tracks.tsv", tmp_path / "out", CONFIG)


def test_a_full_disk_is_one_line_and_the_build_goes_on_later(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from cisoform.data import region_shards

    save = np.save
    calls = []

    def full(handle: object, array: np.ndarray, **options: object) -> None:
        calls.append(1)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(handle, array, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(region_shards.np, "save", full)
    with pytest.raises(
        InputError, match=r"00002.means.npy: cannot be written: No space left.*free some space"
    ):
        build_regions(inputs / "genome.fa", inputs / "tracks.tsv", tmp_path / "out", CONFIG)
    monkeypatch.undo()
    assert not (tmp_path / "out").exists()
    assert build_regions(inputs / "genome.fa", inputs / "tracks.tsv", tmp_path / "out", CONFIG).resumed == 2


@pytest.mark.pack
def test_real_marks_are_turned_back_before_they_are_cut(packs_dir: Path, tmp_path: Path) -> None:
    """Marks of the pack are arcsinh(-log10 p) on three of four contigs; the fourth is dropped and said."""
    pack = packs_dir / "human_regulation"
    if not pack.is_dir():
        pytest.skip(f"no pack named human_regulation in {packs_dir}")
    mark = pack / "tracks" / "E003.H3K4me3.bw"
    (tmp_path / "t.tsv").write_text(f"sample\ttrack\tpath\ttransform\nE003\tH3K4me3\t{mark}\tsinh\n")
    config = RegionBuildConfig(window=16_384, chromosomes=("ENm004s", "chr22_20M"), valid_chromosomes=())
    made = build_regions(pack / "sequence" / "contigs.fa.gz", tmp_path / "t.tsv", tmp_path / "out", config)
    assert any("1 of 2 chromosomes are lacking" in text and "chr22_20M" in text for text in made.warnings)
    data = RegionDataset.open(tmp_path / "out")
    assert made.n_regions == 300_000 // 16_389 and set(data.regions["chrom"]) == {"ENm004s"}
    # 25-bp steps: most neighbouring tokens are equal; the strongest peaks reach the upper published edges.
    levels = np.concatenate([data.levels(row, 0, 16_384)[0] for row in range(len(data))])
    assert (levels[1:] == levels[:-1]).mean() > 0.7 and levels.max() >= 30
    assert data.means(0, 0, 16_384).max() < 1000
