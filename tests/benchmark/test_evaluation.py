"""The result of an evaluation: its layout, its numbers, and that it depends on sequences alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cisoform.benchmark import metrics
from cisoform.benchmark.baselines import BASELINE_NAMES, BaselineConfig
from cisoform.benchmark.evaluation import (
    CEILING,
    EvaluationConfig,
    dataset_baselines,
    evaluate_isoforms,
    transcript_sequences,
)
from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import Column, IsoformDataset
from cisoform.data.samples import IsoformSamples
from cisoform.data.windows import GivenWindows
from cisoform.errors import InputError
from cisoform.genome.ragged import Ragged

QUICK = BaselineConfig(
    tree_iterations=5,
    tree_learning_rate=0.3,
    max_tree_features=20,
    tree_members_all_inputs=1,
    max_components=2,
)
COLUMNS = ("WT", "heat", "other_lab")


def dataset(n: int = 150, seed: int = 0) -> IsoformDataset:
    """Random transcripts, one to four per gene; families of two genes; replicates of WT; one gene-level column."""
    rng = np.random.default_rng(seed)
    gene = np.repeat(np.arange(n), rng.integers(1, 5, n))[:n]
    gene_id = [f"g{g}" for g in gene]
    rna = Ragged.from_rows([rng.integers(0, 4, 150) for _ in range(n)], np.uint8)
    protein = Ragged.from_rows([rng.integers(0, 20, 30) for _ in range(gene.max() + 1)], np.uint8)
    dna = Ragged.from_rows([rng.integers(0, 4, 1000) for _ in range(n)], np.uint8)
    samples = IsoformSamples(
        transcript_ids=[f"t{i}" for i in range(n)],
        gene_ids=gene_id,
        table=pl.DataFrame({"transcript_id": [f"t{i}" for i in range(n)]}),
        dna=GivenWindows(dna),
        dna_row=np.arange(n, dtype=np.int32),
        rna=rna,
        rna_row=np.arange(n, dtype=np.int32),
        junctions=Ragged.from_rows([np.array([60])] * n, np.int32),
        cds_start=np.full(n, 30),
        cds_end=np.full(n, 123),
        cds_phase=np.zeros(n, dtype=np.int64),
        protein=protein,
        protein_row=gene.astype(np.int32),
    )
    expression = rng.gamma(2, 20, (n, 3)).astype(np.float32)
    expression[:, 2] = expression[gene, 2]
    expression[gene == 3, 2] = np.nan
    family = np.array([f"f{g // 2}" for g in gene])
    part = np.array(["train", "train", "valid", "test", "test"])[(gene // 2) % 5]
    replicates = np.stack([expression[:, 0] * 1.1, expression[:, 0] * 0.9], axis=1)
    return IsoformDataset(
        path=Path("made-up"),
        samples=samples,
        expression=expression,
        columns=[Column("WT"), Column("heat"), Column("other_lab", "gene")],
        extra_expression=replicates,
        extra_columns=[Column("WT_rep1"), Column("WT_rep2")],
        split=part.astype("U5"),
        family=family.tolist(),
        chromosomes=[],
        window=1000,
        manifest={},
        hash="",
    )


@pytest.fixture(scope="module")
def data() -> IsoformDataset:
    return dataset()


def noisy(data: IsoformDataset, rows: np.ndarray, seed: int = 1) -> np.ndarray:
    truth = np.log1p(data.expression[rows])
    truth = np.where(np.isfinite(truth), truth, 1.0)
    return truth + np.random.default_rng(seed).normal(0, 0.4, truth.shape)


@pytest.fixture(scope="module")
def result(data):
    rows = data.rows("test")
    config = EvaluationConfig(contrasts=("heat:WT",), baselines=QUICK, n_draws=50)
    others = {"rna_alone": noisy(data, rows, 2) * 0.5}
    return evaluate_isoforms(data, rows, noisy(data, rows), COLUMNS, "test", config, others)


def test_the_layout_is_what_machines_read(result, data):
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert set(result) >= {
        *("split", "n_transcripts", "n_genes", "tissues", "mean", "contrasts", "within_gene", "baselines")
    }
    assert set(result["tissues"]) == set(COLUMNS)
    for scores in result["tissues"].values():
        low, high = scores["r2_ci"]
        assert low <= scores["r2"] <= high
    assert set(result["mean"]) >= {"r2", "spearman", "r2_centred"}
    assert set(result["contrasts"]["heat:WT"]) >= {"r2", "spearman", "r2_ci"}
    assert set(result["baselines"]) == {*BASELINE_NAMES, CEILING, "rna_alone"}
    for name in (*BASELINE_NAMES, "rna_alone"):
        assert set(result["baselines"][name]) == {*COLUMNS, "heat:WT"}
        assert set(result["comparisons"][name]) == {"mean", *COLUMNS, "heat:WT"}
    assert set(result["baselines"][CEILING]) == {"WT"}
    assert result["bootstrap"]["unit"] == "family"
    assert set(result["within_gene"]["tissues"]) == {"WT", "heat"}


def test_the_numbers_are_those_of_the_metrics(result, data):
    rows = data.rows("test")
    truth, predicted = np.log1p(data.expression[rows].astype(float)), noisy(data, rows)
    r2 = metrics.r2(truth, predicted)
    assert result["tissues"]["WT"]["r2"] == pytest.approx(r2[0])
    assert result["mean"]["r2"] == pytest.approx(r2[:2].mean())
    assert result["mean"]["spearman"] == pytest.approx(metrics.spearman(truth, predicted)[:2].mean())
    assert result["mean"]["r2_centred"] == pytest.approx(result["contrasts"]["heat:WT"]["r2"])
    gene = metrics.group_codes([data.samples.gene_ids[row] for row in rows])
    by_gene = metrics.r2(metrics.gene_means(truth, gene), metrics.gene_means(predicted, gene))
    assert result["tissues"]["other_lab"]["r2"] == pytest.approx(by_gene[2])
    assert result["tissues"]["other_lab"]["n"] <= result["n_genes"] == len(set(gene))
    first, second = np.log1p(data.extra_expression[rows].astype(float)).T
    assert result["baselines"][CEILING]["WT"]["r2"] == pytest.approx(
        metrics.r2(first[:, None], second[:, None])[0]
    )


def test_a_better_prediction_wins_its_comparison(result):
    comparison = result["comparisons"]["mean_per_tissue"]["mean"]["r2"]
    assert comparison["difference"] > 0 and comparison["ci"][0] > 0 and comparison["p_not_better"] < 0.05
    assert result["comparisons"]["mean_per_tissue"]["mean"]["spearman"]["difference"] is None


def test_names_and_order_of_rows_reach_no_score(data, result):
    order = np.random.default_rng(4).permutation(data.samples.n)
    renamed = {gene: f"x{i}" for i, gene in enumerate(sorted(set(data.samples.gene_ids), reverse=True))}
    samples = data.samples.take(order)
    samples = replace(
        samples,
        gene_ids=[renamed[gene] for gene in samples.gene_ids],
        transcript_ids=[f"y{i}" for i in range(len(order))],
    )
    shuffled = replace(
        data,
        samples=samples,
        expression=data.expression[order],
        extra_expression=data.extra_expression[order],
        split=data.split[order],
        family=[data.family[row] for row in order],
    )
    rows = shuffled.rows("test")
    place = {row: i for i, row in enumerate(data.rows("test").tolist())}
    predicted = noisy(data, data.rows("test"))[[place[order[row]] for row in rows]]
    config = EvaluationConfig(contrasts=("heat:WT",), baselines=QUICK, n_draws=0)
    again = evaluate_isoforms(shuffled, rows, predicted, COLUMNS, "test", config)
    for name in ("mean_per_tissue", "kmer_ridge", "four_lengths", "isoform_count", CEILING):
        for column, scores in again["baselines"][name].items():
            expected = result["baselines"][name][column]
            assert scores["r2"] == pytest.approx(expected["r2"], abs=1e-4), (name, column)
    assert again["mean"]["r2"] == pytest.approx(result["mean"]["r2"])


def test_without_baselines_and_draws_only_scores_remain(data):
    rows = data.rows("valid")
    config = EvaluationConfig(baselines=None, n_draws=0)
    result = evaluate_isoforms(data, rows, noisy(data, rows), COLUMNS, "valid", config)
    assert list(result["baselines"]) == [CEILING] and result["comparisons"] == {}
    assert "r2_ci" not in result["mean"] and "r2_ci" not in result["tissues"]["WT"]


def test_gene_level_columns_alone_and_one_transcript_are_scored(data):
    config = EvaluationConfig(baselines=None, n_draws=20)
    rows = data.rows("test")
    result = evaluate_isoforms(data, rows, noisy(data, rows)[:, 2:], COLUMNS[2:], "test", config)
    assert result["mean"]["r2"] == result["tissues"]["other_lab"]["r2"]
    assert result["within_gene"] == {} and result["mean"]["r2_centred"] is None
    one = evaluate_isoforms(data, rows[:1], noisy(data, rows[:1]), COLUMNS, "test", config)
    assert one["n_transcripts"] == 1 and one["mean"]["r2"] is None


def test_samples_without_some_inputs_are_scored(data):
    part = replace(data, samples=data.samples.without(["dna", "protein"]))
    rows = part.rows("test")
    config = EvaluationConfig(baselines=QUICK, n_draws=0)
    result = evaluate_isoforms(part, rows, noisy(part, rows), COLUMNS, "test", config)
    assert "boosted_trees_rna" in result["baselines"] and "boosted_trees_dna" not in result["baselines"]


def test_an_absent_sequence_of_one_transcript_is_empty(data):
    rna_row, dna_row = data.samples.rna_row.copy(), data.samples.dna_row.copy()
    rna_row[1] = dna_row[1] = -1
    got = transcript_sequences(replace(data.samples, rna_row=rna_row, dna_row=dna_row), np.array([2, 1]))
    assert got.rna.lengths.tolist() == [150, 0] and got.n_junctions.tolist() == [1, 0]
    assert (got.dna[1] == 4).all() and (got.dna[0] < 4).all()


def test_what_cannot_be_scored_is_refused(data):
    rows = data.rows("test")
    predicted = noisy(data, rows)
    config = EvaluationConfig(baselines=None)
    with pytest.raises(InputError, match="no transcripts"):
        evaluate_isoforms(data, rows[:0], predicted[:0], COLUMNS, "test", config)
    with pytest.raises(InputError, match="liver"):
        evaluate_isoforms(data, rows, predicted, ("WT", "heat", "liver"), "test", config)
    with pytest.raises(InputError, match="other_lab:WT.*gene-level"):
        mixed = replace(config, contrasts=("other_lab:WT",))
        evaluate_isoforms(data, rows, predicted, COLUMNS, "test", mixed)
    broken = predicted.copy()
    broken[2, 1] = np.inf
    with pytest.raises(InputError, match=f"{data.samples.transcript_ids[rows[2]]} in 'heat' is inf"):
        evaluate_isoforms(data, rows, broken, COLUMNS, "test", config)


def test_baselines_fitted_once_serve_several_predictions(data, result):
    rows = data.rows("test")
    fitted = dataset_baselines(data, rows, COLUMNS, QUICK)
    config = EvaluationConfig(contrasts=("heat:WT",), baselines=None, n_draws=0)
    again = evaluate_isoforms(data, rows, noisy(data, rows, 5), COLUMNS, "test", config, fitted=fitted)
    for name in BASELINE_NAMES:
        assert again["baselines"][name] == result["baselines"][name]


@pytest.mark.pack
def test_boosted_trees_reach_their_reference_on_yeast(yeast_pack, tmp_path):
    # The pack states 0.241 / 0.447 for boosted trees on all inputs; below 0.22 / 0.42 the baseline is broken.
    summary = build_isoform_dataset(
        yeast_pack / "genome.fa.gz",
        yeast_pack / "isoforms.gtf.gz",
        yeast_pack / "expression_isoform.tsv.gz",
        tissues=["WT", "diamide"],
        splits=yeast_pack / "splits.tsv.gz",
        window=1000,
        out=tmp_path / "yeast",
    )
    yeast = IsoformDataset.open(summary.path)
    rows = yeast.rows("test")
    (trees,) = dataset_baselines(yeast, rows, ["WT", "diamide"], names=["boosted_trees_all"])
    truth = np.log1p(yeast.expression[rows].astype(float))
    assert metrics.r2(truth, trees.predicted)[0] >= 0.22
    assert metrics.spearman(truth, trees.predicted)[0] >= 0.42
