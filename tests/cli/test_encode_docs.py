"""docs/encode.md: its script on a listing of ENCODE's form, every command in order on small files, its figures."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.data import multiome_files, region_files
from tests.documents import REPOSITORY, commands, fenced

PAGE = "docs/encode.md"
FASTA = "GRCh38_no_alt_analysis_set_GCA_000001405.15.fasta.gz"
BLACKLIST = "ENCFF356LFX.bed.gz"
GTF = "gencode.v44.annotation.gtf.gz"
MATRIX = "pbmc_granulocyte_sorted_10k_filtered_feature_bc_matrix.h5"
CHROMS = {f"chr{name}": 11_000 for name in (*range(1, 23), "X")}
MARKS = ("H3K4me1", "H3K4me3", "H3K27ac", "H3K27me3", "H3K36me3", "H3K9me3")
SAMPLES = ("K562", "HepG2", "GM12878", "IMR-90", "liver, left lobe", "brain")
# Added to keep the test short: small windows, a narrow model and a few steps. The commands are otherwise as written.
WIDTH = ("model.dim=32", "model.heads=2", "model.ffn=64", "model.bin_layers=1", "model.window_layers=2")
STEPS = ("train.epochs=null", "train.max_steps=2", "train.bf16=false")
LENGTHS = (
    "loader.lengths=[256]",
    "loader.batch_tokens=1024",
    "loader.valid_length=256",
    "loader.valid_tokens=2048",
)


def settings(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--set", text)]


SHORT = {
    "build-regions": ["--window", "256", "--regions-per-sample", "150", "--workers", "1"],
    "pretrain": settings(*WIDTH, *STEPS, *LENGTHS),
    "evaluate elementary": ["--tokens", "512"],
    "build-genes": ["--pool", "knn:3", "--min-tss-enrichment", "0"],
    "fit": settings(*STEPS, "model.layers=1", "loader.batch_size=32", "features.bf16=false", "features.batch_tokens=65536"),
}  # fmt: skip


def listing(folder: Path) -> None:
    """A search result in the portal's form, and the bigWigs: a sample without ATAC, an older and a poorer file."""
    values = {name: region_values(name, length) for name, length in CHROMS.items()}
    track = region_files.write_bigwig(folder / "one.bw", values, CHROMS)
    digest = hashlib.md5(track.read_bytes()).hexdigest()
    graph = []

    def add(sample: str, mark: str | None, replicates: int = 2, date: str = "2020-11-01T00:00:00") -> str:
        accession = f"ENCFF{len(graph):03d}AAA"
        graph.append(
            {
                "accession": accession,
                "href": f"/files/{accession}/@@download/{accession}.bigWig",
                "file_size": track.stat().st_size,
                "md5sum": digest,
                "assay_title": "ATAC-seq" if mark is None else "Histone ChIP-seq",
                "biosample_ontology": {"term_name": sample},
                "biological_replicates": list(range(replicates)),
                "date_created": date,
                **({} if mark is None else {"target": {"label": mark}}),
            }
        )
        return accession

    for sample in SAMPLES:
        add(sample, None, 1, "2023-01-01T00:00:00")
        for mark in (*MARKS, "H3K9ac"):
            add(sample, mark)
        if sample != "brain":
            add(sample, None, 2, "2019-01-01T00:00:00")
            add(sample, None, 2)
    graph = [
        file
        for file in graph
        if (file["biosample_ontology"]["term_name"], "target" in file) != ("brain", False)
    ]
    (folder / "encode.json").write_text(json.dumps({"@graph": graph, "total": len(graph)}))


def region_values(name: str, length: int) -> Any:
    rng = np.random.default_rng(sum(map(ord, name)))
    steps = rng.gamma(0.5, 3.0, -(-length // 25)) * (rng.random(-(-length // 25)) > 0.4)
    return np.repeat(np.round(steps, 2), 25)[:length].astype(np.float32)


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the page under their names, on a genome of 23 short chromosomes."""
    monkeypatch.setattr(multiome_files, "CHROMS", CHROMS)
    mini = multiome_files.write_multiome(tmp_path / "mini", n_cells=24)
    folder = tmp_path / "downloads"
    (folder / "bigwig").mkdir(parents=True)
    (folder / FASTA).write_bytes(gzip.compress(mini.genome.read_bytes()))
    (folder / GTF).write_bytes(gzip.compress(mini.annotation.read_bytes()))
    (folder / BLACKLIST).write_bytes(gzip.compress(b"chr1\t500\t700\tHigh Signal Region\n"))
    shutil.copy(mini.h5, folder / MATRIX)
    shutil.copy(mini.cell_table, folder / "cells.tsv")
    listing(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    return folder


def choose(folder: Path) -> str:
    """Run the page's script, and do what its downloads would."""
    (script,) = fenced(PAGE, "python")
    exec(compile(script, PAGE, "exec"), {})
    for line in (folder / "urls.txt").read_text().split():
        shutil.copy(folder / "one.bw", folder / "bigwig" / line.rsplit("/", 1)[1])
    return (folder / "tracks.tsv").read_text()


def test_the_script_chooses_whole_samples_and_the_best_files(downloads: Path, capsys: Any) -> None:
    table = choose(downloads)
    rows = [line.split("\t") for line in table.splitlines()]
    assert rows[0] == ["sample", "track", "path"] and len(rows) == 1 + 5 * 7
    assert sorted({row[0] for row in rows[1:]}) == ["GM12878", "HepG2", "IMR-90", "K562", "liver_left_lobe"]
    assert [row[1] for row in rows[1:8]] == ["atac", *(mark.lower() for mark in MARKS)]
    # K562's files are the first: ATAC of one replicate, seven marks, ATAC of two replicates, old and new.
    assert rows[1 + 3 * 7] == ["K562", "atac", "bigwig/ENCFF009AAA.bigWig"]
    assert "5 samples" in capsys.readouterr().out
    for line in (downloads / "md5.txt").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.md5((downloads / name).read_bytes()).hexdigest() == digest
    assert len((downloads / "urls.txt").read_text().splitlines()) == 35


def test_every_command_runs_on_files_of_the_same_form(cli: Callable[..., Any], downloads: Path) -> None:
    choose(downloads)
    ran = []
    for words in commands(PAGE):
        assert words[0] == "cisoform", words
        more = SHORT.get(" ".join(words[2:4])) or SHORT.get(words[2], [])
        result = cli(*words[1:], *more)
        assert result.exit_code == 0, f"{' '.join(words)}\n{result.stderr}"
        ran.append(words[1] if words[1] == "plan" else words[2])
    assert ran == ["plan" if word == "plan" else word for word in
                   ("build-regions", "plan", "plan", "pretrain", "evaluate", "build-genes", "fit", "evaluate", "predict", "fit")]  # fmt: skip
    found = json.loads((downloads / "elementary-scores" / "evaluation.json").read_text())["parts"]
    assert all(found.values()) and len(found) == 4, "all four combinations of seen and unseen"
    assert pl.read_parquet(downloads / "predictions.parquet")["predicted"].is_finite().all()


def test_the_settings_of_the_papers_size_are_settings() -> None:
    from cisoform.jobs import elementary, regulation_fit

    (block,) = fenced(PAGE, "text")
    lines = [line.split() for line in block.replace("\\\n", " ").splitlines()]
    given = {
        words[2]: [b for a, b in zip(words, words[1:], strict=False) if a == "--set"]
        for words in lines
        if words
    }
    assert elementary.choose_recipe("paper", given["pretrain"]).loader.batch_tokens == 16_384
    recipe = regulation_fit.choose_recipe("paper", given["fit"])
    assert (
        recipe.loader.zeros_per_expressed == 0 and recipe.loader.batch_size * recipe.train.accumulate == 4096
    )


def test_the_shell_blocks_are_shell() -> None:
    blocks = fenced(PAGE, "sh")
    assert len(blocks) == 4
    for block in blocks:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
        assert "cisoform" not in block, "a command that a test should run belongs into a bash block"


def test_the_pages_figures_are_those_of_plan(cli: Callable[..., Any]) -> None:
    page = (REPOSITORY / PAGE).read_text()

    def planned(*words: object) -> dict[str, Any]:
        return json.loads(cli("plan", *words, "--json").stdout)

    base, paper = (planned(f"creformer-{name}", "--device", "h100") for name in ("base", "paper"))
    more = {
        name: planned(f"creformer-{name}", "--device", "h100", "--samples", 1.5e9)
        for name in ("base", "paper")
    }
    hours = [{row["what"]: row["seconds"] / 3600 for row in found["time"]} for found in (base, paper)]
    disk = base["disk"]["regions"]
    states = 37 * 150_000
    bins = [
        found["disk"]["feature_cache_per_state"]["bins"]["fp16"] * states / 1e9 for found in (base, paper)
    ]
    longer = [
        {row["what"]: row["seconds"] / 86_400 for row in more[name]["time"]} for name in ("base", "paper")
    ]
    for text in (
        f"{hours[0]['pre-training']:.1f} h on an H100",
        f"{hours[1]['pre-training'] / 24:.0f} days on an H100, 32 on an A100",
        f"{disk['total'] / 1e9:.0f} GB on disk ({disk['tokens'] / 1e9:.0f} tokens, {disk['bin means'] / 1e9:.0f} means",
        f"{bins[0]:.0f} GB (pooled: 4.3 GB)",
        f"{bins[1]:.0f} GB (pooled: 23 GB)",
        f"{states / 1e6 * hours[1]['encoding a million states of peaks']:.0f} h |",
        f"{hours[0]['fitting, features cached'] * 60 - 0.5:.0f} min on an H100",
        f"{longer[0]['fitting, features cached'] * 24:.1f} h on an H100",
        f"{longer[1]['fitting, features cached']:.0f} days on an H100",
        f"{longer[0]['fitting, every peak encoded anew']:.0f} days | {longer[1]['fitting, every peak encoded anew'] / 365.25:.1f} years",
    ):
        assert text in page, text
