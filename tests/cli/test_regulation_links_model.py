"""`regulation links` of a model on genes of a data set and on a locus, beside tested pairs; and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cisoform.data.genes import GenesDataset
from cisoform.jobs.links import not_better
from tests.data.gene_sets import build_small, save_creformer
from tests.data.pair_files import write_pairs

Cli = Callable[..., Any]
CliError = Callable[..., str]
Rows = list[dict[str, str]]


def imagined(dataset: GenesDataset, cell_type: str = "T") -> Rows:
    """Every peak within reach of a gene, tested by an imaginary screen; the nearest of each gene is regulated."""
    rows = []
    for number, gene in enumerate(dataset.genes.iter_rows(named=True)):
        first, count = int(dataset.index.first[number]), int(dataset.index.count[number])
        peaks = dataset.peaks[first : first + count]
        mids = ((peaks["start"] + peaks["end"]) // 2).to_numpy()
        nearest = int(np.argmin(np.abs(mids - gene["tss"])))
        for place, (chrom, start, end) in enumerate(peaks.select("chrom", "start", "end").rows()):
            rows.append(
                {
                    "chrom": chrom,
                    "chromStart": str(start + 5),
                    "chromEnd": str(end - 5),
                    "startTSS": str(gene["tss"]),
                    "measuredGeneSymbol": gene["gene_name"] or gene["gene_id"],
                    "measuredGeneEnsemblId": gene["gene_id"],
                    "CellType": cell_type,
                    "Regulated": str(place == nearest).upper(),
                    "distanceToTSS": str(abs(int(mids[place]) - gene["tss"])),
                }
            )
    return rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("links")
    dataset = build_small(folder, n_cells=8)
    save_creformer(folder / "model")
    write_pairs(folder / "pairs.tsv", imagined(dataset))
    return folder


def words(root: Path, *more: object) -> list[object]:
    base = ["regulation", "links", root / "model", "--data", root / "genes", "--cache", root / "cache"]
    return [*base, "--group-by", "cell_type", "--device", "cpu", *more]


def test_links_are_written_for_the_benchmark_and_for_browsers(root: Path, cli: Cli, tmp_path: Path) -> None:
    result = cli(*words(root, "--variant", "ablation,exact", "--out", tmp_path / "o"))
    assert result.exit_code == 0, result.stderr
    table = pl.read_parquet(tmp_path / "o" / "links.parquet")
    assert {"score_ablation", "score_exact", "accessibility"} <= set(table.columns)
    within = table.group_by("gene_id", "cell_type").agg(
        pl.col("score").mean(), pl.col("score").std(ddof=0).alias("s")
    )
    np.testing.assert_allclose(within["score"], 0, atol=1e-6)
    assert within.filter(pl.col("s") > 0.5).height > 0
    made = pl.read_csv(tmp_path / "o" / "predictions.tsv", separator="\t", null_values="NA")
    assert made.columns[:4] == ["chr", "start", "end", "name"] and made.height == table.height
    bed = pl.read_csv(tmp_path / "o" / "links.bed", separator="\t", has_header=False)
    assert bed.height == table.height and bed.to_series(4).is_between(0, 1000).all()
    again = cli(*words(root, "--variant", "ablation,exact", "--json"))
    assert len(json.loads(again.stdout)["rows"]) == table.height


def test_tested_pairs_are_scored_beside_baselines(root: Path, cli: Cli) -> None:
    result = cli(*words(root, "--evaluate", root / "pairs.tsv", "--json", "--draws", 20))
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert list(found["predictors"]) == ["ablation"] and found["predictors"]["ablation"]["covered"] == 1.0
    assert found["left_out"]["pairs"] == 0 and found["dataset_hash"]
    assert found["baselines"]["distance"]["mrr"] == 1.0  # the nearest is regulated by construction
    assert found["baselines"]["distance"]["auprc"] > found["predictors"]["ablation"]["auprc"]
    (lost,) = [
        text for text in found["notes"] if text.startswith("warning: ablation does not beat the baseline")
    ]
    assert lost in result.stderr
    null = found["predictors"]["ablation"]["permuted"]
    assert null["low"] <= found["counts"]["prevalence"] + 0.1


def test_a_predictor_that_loses_is_named_with_the_best_baseline() -> None:
    def scored(**values: float) -> dict[str, dict[str, float]]:
        return {name: {"auprc": value} for name, value in values.items()}

    found = {
        "baselines": scored(distance=0.4, contact=0.6),
        "predictors": scored(good=0.61, even=0.6, bad=0.2),
    }
    assert not_better(found) == [
        "warning: even does not beat the baseline contact: AUPRC 0.600 against 0.600",
        "warning: bad does not beat the baseline contact: AUPRC 0.200 against 0.600",
    ]
    assert not_better({**found, "predictors": {}}) == []


def test_scored_pairs_feed_the_combined_model(root: Path, cli: Cli, tmp_path: Path) -> None:
    line = words(root, "--variant", "ablation,exact", "--evaluate", root / "pairs.tsv", "--draws", 0)
    assert cli(*line, "--out", tmp_path / "o").exit_code == 0
    scored = pl.read_csv(tmp_path / "o" / "pairs.tsv", separator="\t", infer_schema_length=None)
    given = pl.read_csv(root / "pairs.tsv", separator="\t")
    assert scored.drop("link_ablation", "link_exact").equals(given)
    links = pl.read_parquet(tmp_path / "o" / "links.parquet").filter(pl.col("cell_type") == "T")
    both = scored.with_columns(start=pl.col("chromStart") - 5).join(
        links, left_on=["measuredGeneEnsemblId", "start"], right_on=["gene_id", "start"]
    )
    assert both.height >= scored.height
    learn = ("regulation", "links", "--combine", "--train", tmp_path / "o" / "pairs.tsv", "--draws", 0)
    made = cli(*learn, "--columns", "link_ablation,link_exact", "--out", tmp_path / "m", "--json")
    assert made.exit_code == 0, made.stderr
    assert "column:link_exact" in (tmp_path / "m" / "link_model.json").read_text()


def test_elements_out_of_reach_bound_what_can_be_recalled(root: Path, cli: Cli, tmp_path: Path) -> None:
    rows = imagined(GenesDataset.open(root / "genes"))
    far = {**rows[0], "chromStart": "3", "chromEnd": "4", "Regulated": "TRUE"}
    far["distanceToTSS"] = str(abs(3 - int(far["startTSS"])))
    path = write_pairs(tmp_path / "t.tsv", [*rows, far])
    result = cli(*words(root, "--evaluate", path, "--draws", 20))
    assert result.exit_code == 0, result.stderr
    assert "the most that can be recalled is 0." in result.stdout and "with permuted answers" in result.stdout
    found = json.loads(cli(*words(root, "--evaluate", path, "--draws", 0, "--json")).stdout)
    assert found["covered"]["pairs"] == len(rows) and found["covered"]["share_of_positives"] < 1
    assert set(found["predictors"]["ablation"]["on_covered"]) >= {"auprc", "auroc"}


def test_a_split_leaves_pairs_of_other_genes_out(root: Path, cli: Cli) -> None:
    line = words(root, "--evaluate", root / "pairs.tsv", "--draws", 0, "--json", "--split", "valid")
    result = cli(*line)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["left_out"]["pairs"] > 0 and found["left_out"]["positives"] > 0
    assert "left out" in result.stderr and found["counts"]["genes"] == found["n_genes"]


def _mapped(name: str, change: Callable[[str], str]) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, name: change(row[name])} for row in rows]


def _moved(rows: Rows) -> Rows:
    """Genes and elements of another assembly: all 400 kb further."""
    for name in ("chromStart", "chromEnd", "startTSS"):
        rows = _mapped(name, lambda value: str(int(value) + 400_000))(rows)
    return rows


def _near(rows: Rows) -> Rows:
    """Elements beside every peak, distances with them."""
    for name in ("chromStart", "chromEnd"):
        rows = _mapped(name, lambda value: str(int(value) + 400_000))(rows)
    return _mapped("distanceToTSS", lambda value: str(int(value) + 400_000))(rows)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_moved, "they are of different assemblies"),
        (_near, "no tested element of the chosen genes overlaps a peak"),
        (_mapped("CellType", lambda _: "liver"), "its cell types (liver) are none of the labels"),
        (_mapped("chrom", lambda _: "chrQ"), "chrQ"),
        (lambda rows: [*rows, rows[0]], "stands already at line 2"),
        (
            lambda rows: _mapped("measuredGeneEnsemblId", lambda _: "NA")(
                _mapped("measuredGeneSymbol", lambda name: "x" + name)(rows)
            ),
            "none of its genes",
        ),
        (lambda rows: [{k: v for k, v in row.items() if k != "Regulated"} for row in rows], "'Regulated'"),
        (lambda rows: [{k: v for k, v in row.items() if k != "chromEnd"} for row in rows], "'chromEnd'"),
    ],
)
def test_a_table_that_does_not_meet_the_data_is_one_line(
    spoil: Callable[[Rows], Rows], said: str, root: Path, cli_error: CliError, tmp_path: Path
) -> None:
    path = write_pairs(tmp_path / "t.tsv", spoil(imagined(GenesDataset.open(root / "genes"))))
    assert said in cli_error(*words(root, "--evaluate", path, "--draws", 0, "--out", tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--json", "--variant", "attention"), "--variant"),
        (("--json", "--normalise", "rank"), "--normalise 'rank' is none of none, share, z"),
        (("--json", "--adjust", "abc"), "--adjust 'abc'"),
        (("--json", "--gene", "GATA1"), "--gene GATA1"),
        (("--json", "--train", "t.tsv"), "give MODEL"),
        ((), "--out"),
        (("--combine", "--evaluate", "t.tsv"), "--data has no effect"),
        (("--json", "--evaluate", "missing.tsv"), "missing.tsv"),
        (("--json", "--genes", "NOSUCHGENE"), "NOSUCHGENE"),
        (("--json", "--tss-peak", 1), "--tss-peak"),
    ],
)
def test_wrong_flags_are_one_line(
    more: tuple[object, ...], said: str, root: Path, cli_error: CliError
) -> None:
    assert said in cli_error(*words(root, *more))


@pytest.mark.golden
@pytest.mark.pack
def test_the_gata1_locus_on_tested_pairs(golden_dir: Path, packs_dir: Path, cli: Cli, tmp_path: Path) -> None:
    table = packs_dir / "human_regulation" / "crispri" / "training_K562.GRCh38.tsv.gz"
    if not table.is_file():
        pytest.skip(f"no {table.name}")
    line = ("weights", "convert", "creformer", golden_dir / "creformer_small.safetensors", tmp_path / "m")
    assert cli(*line, "--vocab", golden_dir / "creformer_vocab.txt", "--heads", 4).exit_code == 0
    locus = ("--locus-text", golden_dir / "gata1_wild_type.txt.gz", "--tss-peak", 20, "--strand", "+")
    base = ("regulation", "links", tmp_path / "m", *locus, "--device", "cpu", "--evaluate", table, "--json")
    found = json.loads(cli(*base, "--gene", "GATA1", "--draws", 0).stdout)
    assert (found["covered"]["pairs"], found["covered"]["positives"]) == (23, 3)
    assert "name its gene" in cli(*base).stderr
