"""The gene network through the command line: files, same bytes, stopped runs, and one line for what is wrong."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cisoform.jobs import grn_scoring
from tests.cli.test_regulation_perturb import meme
from tests.data.gene_sets import build_small, save_creformer

Cli = Callable[..., Any]
CliError = Callable[..., str]
LOOSE = ("--motif-p", 0.004, "--tf-fdr", 1, "--top-share", 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set and a model; three genes are factors with words of six bases."""
    folder = tmp_path_factory.mktemp("grn")
    dataset = build_small(folder, fragments=True, n_cells=6)
    save_creformer(folder / "model")
    (folder / "motifs.meme").write_text(meme(("SYM3", "ACGTC"), ("sym20", "GATAG"), ("SYM38", "TTACC")))
    (folder / "strange.meme").write_text(
        meme(
            ("SYMX", "ACGTCA"),
        )
    )
    lines = (folder / "motifs.meme").read_text().splitlines()
    (folder / "damaged.meme").write_text("\n".join(lines[:-2]))
    (folder / "edges.tsv").write_text(
        "tf\tgene\tsign\nSYM3\tSYM1\t1\nSYM3\tSYM5\t-1\nSYM20\tSYM16\t1\nZ\tSYM1\t1\n"
    )
    (folder / "columns.tsv").write_text("a\tb\nSYM3\tSYM1\n")
    (folder / "factors.tsv").write_text("tf\tgene\nSYM33\tSYM1\n")
    (folder / "genes.tsv").write_text("tf\tgene\nSYM3\tSYMM1\n")
    (folder / "far.tsv").write_text("tf\tgene\nSYM3\tSYM34\n")
    chrom, start, end = dataset.peaks.row(1)
    (folder / "regions.tsv").write_text(f"TF\tGene\tRegion\nSYM3\tSYM0\t{chrom}:{start}-{end}\n")
    return folder


def words(root: Path, *more: object) -> list[object]:
    base = ["regulation", "grn", root / "model", "--data", root / "genes", "--cache", root / "cache"]
    flags = ["--device", "cpu", "--bags", 2, "--nulls", 1]
    given = [] if "--motifs" in more else ["--motifs", root / "motifs.meme"]
    return [*base, *flags, *given, *more]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_files_and_the_same_bytes_with_the_same_seed(
    root: Path, cli: Cli, cli_error: CliError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = words(root, *LOOSE, "--group-by", "cell_type", "--seed", 5, "--evaluate", root / "edges.tsv")
    monkeypatch.setattr(grn_scoring, "MOST_NUMBERS", 800)
    first = cli(*line, "--compare", root / "regions.tsv", "--out", tmp_path / "a")
    assert first.exit_code == 0, first.stderr
    assert "already exists" in cli_error(*line, "--out", tmp_path / "a")
    edges, triplets = (pl.read_parquet(tmp_path / "a" / f"{name}.parquet") for name in ("edges", "triplets"))
    assert edges.height and set(edges["tf"]) <= {"SYM3", "SYM20", "SYM38"}
    assert triplets.select("tf", "gene_id").unique().height == edges.height
    best = triplets.group_by("tf", "gene_id").agg(pl.max("score").alias("best"))
    joined = edges.join(best, on=["tf", "gene_id"])
    np.testing.assert_allclose(joined["score"], joined["best"], rtol=1e-6)
    assert (triplets["change"].sign() == triplets["sign"]).all()
    assert edges["stability"].is_between(0, 1).all() and edges["knockout"].null_count() == 0
    tree = ElementTree.parse(tmp_path / "a" / "network.graphml").getroot()
    assert len(tree.findall(".//{*}edge")) == edges.height
    result = json.loads((tmp_path / "a" / "grn.json").read_text())
    assert result["counts"]["edges"] == edges.height and result["dataset_hash"] and result["seed"] == 5
    scores = result["evaluation"][0]["all factors"]
    assert {"model", "co-expression", "distance", "peak-gene correlation"} <= set(scores)
    assert scores["model"]["n_edges"] == 3 and result["compare"][0]["n_theirs"] == 1
    assert not (tmp_path / ".a.scores").exists()
    # What is written is read again: as eRegulons and as links.
    again = cli(
        *words(root, *LOOSE, "--group-by", "cell_type", "--seed", 5, "--no-knockout", "--json"),
        *(
            "--compare",
            tmp_path / "a" / "eregulons.tsv",
            "--compare",
            tmp_path / "a" / "celloracle_links.tsv",
        ),
    )
    for found in json.loads(again.stdout)["compare"]:
        assert found["n_shared"] == found["n_ours"] == found["n_theirs"] == edges.height
        assert found["sign_agreement"] == 1.0

    # Stopped after two chunks, then run again: it goes on, and every file has the same bytes.
    real, made = grn_scoring.write_chunk, []

    def stops(path: Path, chunk: Any) -> None:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(path)
        real(path, chunk)

    monkeypatch.setattr(grn_scoring, "write_chunk", stops)
    stopped = cli(*line, "--compare", root / "regions.tsv", "--out", tmp_path / "b")
    assert stopped.exit_code == 130 and not (tmp_path / "b").exists()
    monkeypatch.setattr(grn_scoring, "write_chunk", real)
    gone_on = cli(*line, "--compare", root / "regions.tsv", "--out", tmp_path / "b")
    assert "going on with 2 chunks" in gone_on.stderr
    assert digests(tmp_path / "a") == digests(tmp_path / "b") and len(digests(tmp_path / "b")) == 15


def test_a_strict_run_says_that_there_is_nothing(root: Path, cli: Cli, tmp_path: Path) -> None:
    some = ("--genes", "SYM1,SYM2", "--groups", _one_group(root), "--variant", "exact")
    result = cli(*words(root, *some, "--out", tmp_path / "o"))
    assert result.exit_code == 0, result.stderr
    assert "no factor acts" in result.stderr and "not tested (--motif-p" in result.stderr
    assert "no bags were drawn" in result.stderr
    assert pl.read_parquet(tmp_path / "o" / "edges.parquet").height == 0
    page = (tmp_path / "o" / "report.html").read_text()
    assert (
        "no factor acts" in page and "recipe none, seed 0" in page and "{" not in page.split("Provenance")[-1]
    )


def _one_group(root: Path) -> str:
    return str(pl.read_parquet(root / "genes" / "groups.parquet")["name"][0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--motifs", "strange.meme"), "none of its 1 factors .SYMX ....* near 'SYMX' are SYM"),
        (("--motifs", "damaged.meme"), "damaged.meme: line .*row"),
        (("--motifs", "edges.tsv"), "begins neither a MEME file"),
        (("--motifs", "none.meme"), "no such file"),
        (("--genes", "SYM100"), "--genes 'SYM100' is not in .*did you mean SYM10"),
        (("--variant", "best"), "--variant 'best' is none of released"),
        (("--variant", "exact,ablation"), "a network reads one score"),
        (("--motif-fdr", 0), "--motif-fdr 0 must be above 0"),
        (("--motif-p", 0.5), "--motif-p 0.5 would call most places"),
        (("--tf-fdr", 1.5), "--tf-fdr 1.5 must be above 0 and at most 1"),
        (("--top-share", -1), "--top-share -1 must be"),
        (("--evaluate", "columns.tsv"), "columns.tsv: no column of the factor"),
        (("--evaluate", "factors.tsv"), "none of its factors .'SYM33' ....*near 'SYM33' are SYM3"),
        (("--evaluate", "genes.tsv"), "none of its genes .'SYMM1'"),
        (("--evaluate", "far.tsv", "--evaluate-split", "train"), "none of its edges is among"),
        (("--compare", "columns.tsv"), "columns.tsv: no column of the factor"),
        (("--evaluate-split", "test"), "of use with --evaluate alone"),
        (("--evaluate", "edges.tsv", "--evaluate-split", "tests"), "split 'tests' is none of"),
        (
            ("--evaluate", "edges.tsv", "--evaluate-split", "test", "--split", "train"),
            "none of the chosen genes",
        ),
        (("--group-by", "tissue"), "--group-by 'tissue' is no column"),
    ],
)
def test_what_is_wrong_is_one_line(
    root: Path, cli_error: CliError, tmp_path: Path, more: tuple[object, ...], message: str
) -> None:
    import re

    given = [root / word if str(word).endswith((".meme", ".tsv")) else word for word in more]
    loose = [] if "--motif-p" in more or "--tf-fdr" in more or "--top-share" in more else LOOSE
    found = cli_error(*words(root, *given, *loose, "--no-knockout", "--out", tmp_path / "o"))
    assert re.search(message, found), found
    assert not (tmp_path / "o").exists()


def test_tables_need_a_place(root: Path, cli_error: CliError) -> None:
    assert "give --out DIR" in cli_error(*words(root))
