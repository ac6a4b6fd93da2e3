"""`regulation features` and `masters` through the command line: tables, layers of AnnData, one line for mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cisoform.data.genes import GenesDataset
from cisoform.genome.sequence import decode_dna
from tests.cli.test_regulation_perturb import meme
from tests.data.gene_sets import build_small, save_creformer

Cli = Callable[..., Any]
CliError = Callable[..., str]


def write_adata(folder: Path, dataset: GenesDataset) -> None:
    """The cells and genes of a data set in another order, with some more, as AnnData and as MuData."""
    import anndata
    import mudata

    rng = np.random.default_rng(0)
    cells = [*dataset.groups["name"].to_list()[::-1], "other"]
    genes = ["OTHER", *dataset.genes["gene_id"].to_list()[::-1]]
    data = anndata.AnnData(rng.poisson(1.0, (len(cells), len(genes))).astype(np.float32))
    data.obs_names, data.var_names = cells, genes
    data.write_h5ad(folder / "rna.h5ad")
    peaks = data[:, :2].copy()
    peaks.var_names = ["peak0", "peak1"]
    with mudata.set_options(pull_on_update=False):
        mudata.MuData({"rna": data, "atac": peaks}).write(folder / "both.h5mu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 44 cells of four types, a model, and motifs of three genes that are words of peaks."""
    folder = tmp_path_factory.mktemp("masters")
    dataset = build_small(folder, n_cells=44)
    save_creformer(folder / "model")
    write_adata(folder, dataset)
    words = [decode_dna(row[500:510]) for row in dataset.windows(np.array([1, 6, 9]))]
    (folder / "motifs.meme").write_text(
        meme(*((f"SYM{number}", word) for number, word in enumerate(words, 3)), ("NOGENE", "ACGTACGTAC"))
    )
    absent = meme(("SYM3", "ACGTACGTACGTACGTACGT"), ("SYM4", "TTGACCAATTGGCCAATTGG"))
    (folder / "absent.meme").write_text(absent)
    (folder / "tfs.txt").write_text("SYM3\nSYM4\nSYM5\nNOGENE\nSYM7\n")
    (folder / "one.txt").write_text("SYM3\nNOGENE\n")
    (folder / "known.tsv").write_text("label\ttf\nB\tSYM3\nT\tSYM4\nT\tSYM9\n")
    (folder / "header.tsv").write_text("type\tfactor\nB\tSYM3\n")
    (folder / "label.tsv").write_text("label\ttf\nMona\tSYM3\n")
    (folder / "empty.tsv").write_text("label\ttf\nB\n")
    (folder / "other.tsv").write_text("label\ttf\nB\tSYM9\n")
    rows = dataset.groups.select("name", "cell_type").rows()
    split = [f"{name}\t{'few' if at < 9 else 'many'}\tall" for at, (name, _) in enumerate(rows)]
    (folder / "labels.tsv").write_text("\n".join(["cell\tsize\tsame", *split]) + "\n")
    (folder / "types.tsv").write_text("\n".join(["cell\tcell_type\tsame", *split]) + "\n")
    (folder / "twice.tsv").write_text("\n".join(["cell\tsize\tsize", *split]) + "\n")
    return folder


def words(root: Path, command: str, *more: object) -> list[object]:
    base = ["regulation", command, root / "model", "--data", root / "genes", "--cache", root / "cache"]
    return [*base, "--device", "cpu", *more]


def test_features_as_tables_and_as_a_layer(root: Path, cli: Cli, tmp_path: Path) -> None:
    import anndata

    line = ("--genes", "SYM3,SYM4", "--form", "centred", "--variant", "gradient", "--out", tmp_path / "o")
    made = cli(*words(root, "features", *line, "--adata", root / "rna.h5ad", "--json"))
    assert made.exit_code == 0, made.stderr
    said = json.loads(made.stdout)
    assert said["adata"] == {"cells": 44, "genes": 2} and said["reference"] == "cell" and said["model"]
    table = pl.read_parquet(tmp_path / "o" / "features.parquet")
    assert table.height == 2 * 44
    np.testing.assert_allclose(
        table["attention_feature"], table["centred_cosine"] * table["window_accessibility"], atol=1e-9
    )
    written = anndata.read_h5ad(tmp_path / "o" / "rna.h5ad")
    source = anndata.read_h5ad(root / "rna.h5ad")
    assert (written.X != source.X).sum() == 0 and written.var["attention_feature"].sum() == 2
    row = table.row(table["attention_feature"].arg_max() or 0, named=True)
    cell, gene = written.obs_names.get_loc(row["group"]), written.var_names.get_loc(row["gene_id"])
    assert written.layers["attention_feature"][cell, gene] == pytest.approx(
        row["attention_feature"], rel=1e-5
    )
    assert json.loads(written.uns["attention_feature"])["form"] == "centred"
    references = pl.read_parquet(tmp_path / "o" / "references.parquet")
    best = table.sort("window_accessibility").group_by("gene_id").last()
    joined = references.join(best, on="gene_id")
    assert (joined["reference"] == joined["group"]).all() and (joined["centred_cosine"] > 0.999).all()


def test_features_go_into_the_rna_of_a_mudata_file(root: Path, cli: Cli, tmp_path: Path) -> None:
    import mudata

    line = ("--genes", "SYM3", "--form", "window", "--reference", "label", "--group-by", "cell_type")
    out = ("--out", tmp_path / "o", "--adata", root / "both.h5mu")
    made = cli(*words(root, "features", *line, *out))
    assert made.exit_code == 0 and "layer attention_feature of 44 cells" in made.stdout, made.stderr
    with mudata.set_options(pull_on_update=False):
        written = mudata.read_h5mu(tmp_path / "o" / "both.h5mu")
    table = pl.read_parquet(tmp_path / "o" / "features.parquet")
    total = written.mod["rna"].layers["attention_feature"].sum()
    assert total == pytest.approx(table["window_accessibility"].sum(), rel=1e-5)
    references = pl.read_parquet(tmp_path / "o" / "references.parquet")
    assert references["reference"][0] in ("B", "Mono", "NK", "T")


def test_a_table_of_labels_comes_before_the_labels_of_the_data(root: Path, cli: Cli, tmp_path: Path) -> None:
    more = ("--group-by", "cell_type", "--labels", root / "types.tsv", "--out", tmp_path / "o")
    made = cli(*words(root, "features", "--genes", "SYM3,SYM4", *more))
    assert made.exit_code == 0 and "2 genes in 44 groups" in made.stdout and "seed 0" in made.stdout, (
        made.stderr
    )
    means = pl.read_parquet(tmp_path / "o" / "labels.parquet")
    assert means.select("gene_name", "label", "n_groups").rows() == [
        ("SYM3", "few", 9),
        ("SYM3", "many", 35),
        ("SYM4", "few", 9),
        ("SYM4", "many", 35),
    ]
    table = pl.read_parquet(tmp_path / "o" / "features.parquet").filter(pl.col("gene_name") == "SYM4")
    few = table.head(9)  # in the order of the groups, of which the first nine are few
    for column in ("window_accessibility", "cosine", "attention_feature"):
        assert means[column][2] == pytest.approx(few[column].mean(), rel=1e-12)


def masters(root: Path, out: Path, *more: object) -> list[object]:
    quick = ("--bootstrap", 5, "--permutations", 4, "--effect-genes", 12, "--out", out)
    return words(root, "masters", "--group-by", "cell_type", *quick, *more)


def test_masters_with_and_without_motifs(root: Path, cli: Cli, cli_error: CliError, tmp_path: Path) -> None:
    tfs = ("--tfs", f"@{root / 'tfs.txt'}")
    made = cli(*masters(root, tmp_path / "a", *tfs, "--k", 2))
    assert made.exit_code == 0 and "4 factors in 4 labels, by attention_feature" in made.stdout, made.stderr
    assert "1 names are left out" in made.stderr and "NOGENE" in made.stderr
    assert "by expression alone  by window accessibility alone" in made.stdout
    plain = pl.read_parquet(tmp_path / "a" / "masters.parquet")
    assert set(plain["reading"]) == {"attention_feature", "expression", "window_accessibility"}
    assert plain.height == 3 * 4 * 4 and (tmp_path / "a" / "masters.svg").is_file()
    more = ("--motifs", root / "motifs.meme", "--known", root / "known.tsv", "--k", 1, "--json")
    line = masters(root, tmp_path / "b", *tfs, *more)
    made = cli(*line)
    said = json.loads(made.stdout)
    assert said["primary"] == "activity_and_accessibility" and said["n_factors"] == 3
    assert len(said["masters"]) == 4 and said["seed"] == 0 and said["dataset_hash"]
    assert sum(said["n_groups"]) == 44
    first = said["other_readings"]["motif_accessibility"]
    table = pl.read_parquet(tmp_path / "b" / "masters.parquet")
    best = table.filter((pl.col("reading") == "motif_accessibility") & (pl.col("rank") == 1))
    assert first == {label: [tf] for label, tf in best.select("label", "tf").rows()}
    assert set(said["known"]) == {
        "attention_feature",
        "motif_activity",
        "expression",
        "window_accessibility",
        "motif_accessibility",
        "activity_and_accessibility",
    }
    assert said["known"]["expression"]["n_labels"] == 2 and "'SYM9'" in made.stderr
    assert (tmp_path / "b" / "masters.png").is_file()
    assert "already exists" in cli_error(*line)
    again = cli(*masters(root, tmp_path / "c", *tfs, *more))
    assert json.loads(again.stdout)["known"] == said["known"]


def of_tfs(text: str, *more: object) -> Callable[[Path], list[object]]:
    return lambda root: masters(root, root / "out", "--tfs", text, *more)


def of_features(*more: object) -> Callable[[Path], list[object]]:
    return lambda root: words(root, "features", "--genes", "SYM3", "--out", root / "out", *more)


TWO = "SYM3,SYM4"
BAD: dict[str, tuple[Callable[[Path], list[object]], list[str]]] = {
    "an unknown factor": (of_tfs("SYM3,SYN4"), ["--tfs 'SYN4' is not in", "did you mean SYM4"]),
    "no list of factors": (of_tfs("@no.txt"), ["no.txt", "no such file"]),
    "one factor": (of_tfs("SYM3"), ["--tfs: 1 of 1", "at least two"]),
    "one factor with a gene": (of_tfs("@one.txt"), ["--tfs: 1 of 2", "at least two"]),
    "a factor without a motif": (
        of_tfs("SYM3,SYM8", "--motifs", "motifs.meme"),
        ["--tfs 'SYM8' has no motif in motifs.meme"],
    ),
    "no such column": (
        lambda r: words(r, "masters", "--tfs", TWO, "--group-by", "donor", "--out", "out"),
        ["--group-by 'donor' is no column", "cell_type"],
    ),
    "a label with few cells": (
        lambda r: words(
            r, "masters", "--tfs", TWO, "--group-by", "size", "--labels", "labels.tsv", "--out", "out"
        ),
        ["'few' has 9 cells", "at least 10"],
    ),
    "a column that is there twice": (
        lambda r: words(
            r, "masters", "--tfs", TWO, "--group-by", "size", "--labels", "twice.tsv", "--out", "out"
        ),
        ["twice.tsv: the header names 'size' twice"],
    ),
    "one label": (
        lambda r: words(
            r, "masters", "--tfs", TWO, "--group-by", "same", "--labels", "labels.tsv", "--out", "out"
        ),
        ["all cells are 'all'", "two labels"],
    ),
    "a list with another header": (
        of_tfs(TWO, "--known", "header.tsv"),
        ["header.tsv: line 1", "label and tf"],
    ),
    "a list with an unknown label": (
        of_tfs(TWO, "--known", "label.tsv"),
        ["label.tsv: line 2: 'Mona' is no label", "did you mean Mono"],
    ),
    "a list that is cut short": (of_tfs(TWO, "--known", "empty.tsv"), ["empty.tsv: line 2", "has no tf"]),
    "a list of others": (of_tfs(TWO, "--known", "other.tsv"), ["other.tsv: names none of the 2"]),
    "a p-value of 0": (of_tfs(TWO, "--motif-p", "0"), ["--motif-p 0"]),
    "a penalty of 0": (of_tfs(TWO, "--c", "0"), ["--c 0"]),
    "motifs that match nothing": (
        of_tfs(TWO, "--motifs", "absent.meme", "--motif-p", "1e-9"),
        ["no motif matches any", "raise --motif-p"],
    ),
    "an unknown variant": (of_features("--variant", "attention"), ["--variant 'attention'", "exact"]),
    "an unknown form": (of_features("--form", "dot"), ["--form 'dot'", "centred"]),
    "a reference without labels": (
        of_features("--reference", "label"),
        ["--reference label needs --group-by"],
    ),
    "an unknown gene": (
        lambda r: words(r, "features", "--genes", "SYN3", "--out", "out"),
        ["--genes 'SYN3' is not in", "did you mean"],
    ),
    "no AnnData": (of_features("--adata", "cells.csv"), ["--adata cells.csv", ".h5ad or .h5mu"]),
    "a missing AnnData": (of_features("--adata", "no.h5ad"), ["no.h5ad", "no such file"]),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_line(
    name: str, root: Path, cli_error: CliError, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, needles = BAD[name]
    monkeypatch.chdir(root)
    said = cli_error(*make(root))
    for needle in needles:
        assert needle in said
    assert not (root / "out").exists()


def test_an_anndata_of_other_cells_is_refused(root: Path, cli_error: CliError, tmp_path: Path) -> None:
    import anndata

    data = anndata.read_h5ad(root / "rna.h5ad")
    data.obs_names = [f"other{row}" for row in range(data.n_obs)]
    data.write_h5ad(tmp_path / "other.h5ad")
    line = ("--genes", "SYM3", "--out", tmp_path / "o", "--adata", tmp_path / "other.h5ad")
    said = cli_error(*words(root, "features", *line))
    assert "shares no cell" in said and "'other0'" in said
    (tmp_path / "broken.h5ad").write_bytes(b"no hdf5")
    line = ("--genes", "SYM3", "--out", tmp_path / "o", "--adata", tmp_path / "broken.h5ad")
    assert "broken.h5ad: cannot be read" in cli_error(*words(root, "features", *line))
