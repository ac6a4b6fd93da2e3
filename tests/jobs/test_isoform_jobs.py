"""Train, predict and evaluate as functions: what is saved is what was trained; what is asked twice is answered alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import cisoform
from cisoform.benchmark.evaluation import EvaluationConfig
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.jobs.isoform_benchmark import (
    BenchmarkConfig,
    held_out_chromosomes,
    run_benchmark,
    with_modalities,
)
from cisoform.jobs.isoform_evaluate import evaluate
from cisoform.jobs.isoform_model import IsoformModel, predict
from cisoform.jobs.isoform_train import choose_recipe, prepare, train
from tests.cli.mini import MiniProject, gtf_text, write_mini_project

SHORT = ("train.epochs=8",)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> MiniProject:
    return write_mini_project(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def dataset(project: MiniProject, tmp_path_factory: pytest.TempPathFactory) -> IsoformDataset:
    from cisoform.data.build import build_isoform_dataset

    out = tmp_path_factory.mktemp("built") / "data"
    build_isoform_dataset(
        project.genome, project.annotation, project.expression, splits=project.splits, window=128, out=out
    )
    return IsoformDataset.open(out)


@pytest.fixture(scope="module")
def runs(dataset: IsoformDataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folders = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("runs") / f"seed{seed}"
        train(prepare(dataset, choose_recipe("tiny", SHORT, seed), "tiny"), folder, device="cpu")
        folders.append(folder)
    return folders


def test_the_same_seed_gives_the_same_bytes(
    dataset: IsoformDataset, runs: list[Path], tmp_path: Path
) -> None:
    train(prepare(dataset, choose_recipe("tiny", SHORT, 0), "tiny"), tmp_path / "again", device="cpu")
    for name in ("model.safetensors", "config.json", "normaliser.json"):
        first, again = (folder / "model" / name for folder in (runs[0], tmp_path / "again"))
        assert first.read_bytes() == again.read_bytes(), name
    other = (runs[1] / "model" / "model.safetensors").read_bytes()
    assert other != (runs[0] / "model" / "model.safetensors").read_bytes()


def test_predictions_do_not_depend_on_batches_order_or_company(
    dataset: IsoformDataset, runs: list[Path]
) -> None:
    model = IsoformModel.load(runs[0])
    every = predict([model], dataset.samples)[0]
    assert every.std(axis=0).min() > 1e-3
    loader = replace(model.loader, limits=replace(model.loader.limits, batch_size=3))
    np.testing.assert_allclose(predict([replace(model, loader=loader)], dataset.samples)[0], every, atol=1e-5)
    order = np.random.default_rng(0).permutation(dataset.samples.n)
    np.testing.assert_allclose(predict([model], dataset.samples.take(order))[0], every[order], atol=1e-5)
    np.testing.assert_allclose(predict([model], dataset.samples, np.array([4]))[0], every[[4]], atol=1e-5)


def test_a_prediction_of_the_annotation_equals_that_of_the_data_set(
    project: MiniProject, dataset: IsoformDataset, runs: list[Path]
) -> None:
    model = cisoform.IsoFormer.from_pretrained(runs[0])
    table = model.predict(genome=project.genome, annotation=project.annotation)
    assert isinstance(table, pl.DataFrame)
    assert table.columns == ["transcript_id", "gene_id", *model.tissues]
    expected = predict([IsoformModel.load(runs[0])], dataset.samples)[0]
    by_id = dict(zip(table["transcript_id"], table.select(model.tissues).to_numpy(), strict=True))
    found = np.stack([by_id[name] for name in dataset.samples.transcript_ids])
    np.testing.assert_allclose(found, expected[:, : len(model.tissues)], atol=1e-5)


def test_renamed_and_shuffled_transcripts_get_equal_predictions(
    project: MiniProject, runs: list[Path], tmp_path: Path
) -> None:
    order = np.random.default_rng(1).permutation(len(project.transcripts))
    genes = {gene: f"G{number:03d}" for number, gene in enumerate(sorted(project.gene_ids, reverse=True))}
    renamed = [
        replace(project.transcripts[i], id=f"T{place:04d}", gene_id=genes[project.transcripts[i].gene_id])
        for place, i in enumerate(order.tolist())
    ]
    (tmp_path / "renamed.gtf").write_text(gtf_text(renamed))
    model = cisoform.IsoFormer.from_pretrained(runs[0])
    first = model.predict(genome=project.genome, annotation=project.annotation)
    second = model.predict(genome=project.genome, annotation=tmp_path / "renamed.gtf")
    assert isinstance(first, pl.DataFrame)
    assert isinstance(second, pl.DataFrame)
    by_id = dict(zip(first["transcript_id"], first.select(model.tissues).to_numpy(), strict=True))
    new_id = dict(zip(second["transcript_id"], second.select(model.tissues).to_numpy(), strict=True))
    for place, i in enumerate(order.tolist()):
        np.testing.assert_allclose(new_id[f"T{place:04d}"], by_id[project.transcripts[i].id], atol=1e-5)


def test_a_saved_model_predicts_as_the_run(runs: list[Path], tmp_path: Path) -> None:
    model = cisoform.IsoFormer.from_pretrained(runs[0])
    model.save_pretrained(tmp_path / "saved")
    again = cisoform.IsoFormer.from_pretrained(tmp_path / "saved")
    one = {"rna_sequence": "ACGU" * 40, "dna_sequence": "ACGT" * 32}
    first, second = model.predict(**one), again.predict(**one)
    assert first == second
    assert isinstance(first, dict)
    assert set(first) == set(model.tissues)


def test_any_subset_of_sequences_can_be_given_and_a_missing_one_is_neutral(runs: list[Path]) -> None:
    model = cisoform.IsoFormer.from_pretrained(runs[0])
    record = {"dna_sequence": "ACGT" * 32, "rna_sequence": "ACGU" * 40, "protein_sequence": "MAAKW"}
    subsets = [{k: v for i, (k, v) in enumerate(record.items()) if bits >> i & 1} for bits in range(1, 8)]
    together = model.predict_array(subsets)
    for subset, values in zip(subsets, together, strict=True):
        np.testing.assert_allclose(model.predict_array([subset])[0], values, atol=1e-5)
    with pytest.raises(InputError, match="needs one of"):
        model.predict()
    with pytest.raises(InputError, match="both genome= and annotation="):
        model.predict(genome="genome.fa")


def test_averaging_one_window_changes_nothing_and_several_do(
    dataset: IsoformDataset, runs: list[Path]
) -> None:
    model = IsoformModel.load(runs[0])
    plain = predict([model], dataset.samples)
    np.testing.assert_array_equal(predict([model], dataset.samples, average=1), plain)
    several = predict([model], dataset.samples, average=4)
    assert not np.allclose(several, plain)
    np.testing.assert_array_equal(predict([model], dataset.samples, average=4), several)


def test_the_ensemble_is_the_mean_of_its_runs(dataset: IsoformDataset, runs: list[Path]) -> None:
    models = [IsoformModel.load(run) for run in runs]
    config = EvaluationConfig(baselines=None, n_draws=0)
    found = evaluate(models, dataset, "all", config)
    each = [evaluate([model], dataset, "all", config) for model in models]
    np.testing.assert_allclose(found.predicted, (each[0].predicted + each[1].predicted) / 2, atol=1e-5)
    tissue = found.tissues[0]
    for number, one in enumerate(each, start=1):
        single = one.result["tissues"][tissue]["r2"]
        assert found.result["baselines"][f"run {number}"][tissue]["r2"] == pytest.approx(single)
    mean = np.mean([one.result["tissues"][tissue]["r2"] for one in each])
    assert found.result["runs_mean"][tissue]["r2"] == pytest.approx(mean)
    centred = [one.result["mean"]["r2_centred"] for one in each]
    assert found.result["runs_mean"]["mean"]["r2_centred"] == pytest.approx(np.mean(centred))
    assert found.result["runs_mean"]["mean"]["r2_centred_sd"] == pytest.approx(np.std(centred, ddof=1))
    assert any("training transcripts" in text for text in found.result["warnings"])


def test_a_single_input_recipe_reads_nothing_else(dataset: IsoformDataset, tmp_path: Path) -> None:
    recipe = with_modalities(choose_recipe("tiny", SHORT, 0), ("rna",))
    train(prepare(dataset, recipe, "tiny"), tmp_path / "rna", device="cpu")
    model = IsoformModel.load(tmp_path / "rna")
    whole = predict([model], dataset.samples)
    np.testing.assert_array_equal(predict([model], dataset.samples.without(["dna", "protein"])), whole)
    with pytest.raises(InputError, match="have none of rna"):
        predict([model], dataset.samples.without(["rna"]))


def test_whole_chromosomes_are_held_out(dataset: IsoformDataset) -> None:
    table = dataset.samples.table
    three = [f"chr{1 + i % 3}" for i in range(table.height)]
    spread = replace(
        dataset, samples=replace(dataset.samples, table=table.with_columns(pl.Series("chrom", three)))
    )
    other = held_out_chromosomes(spread)
    assert set(other.split) == {"train", "valid", "test"}
    for chrom in set(three):
        assert len({part for part, name in zip(other.split, three, strict=True) if name == chrom}) == 1
    assert other.hash != dataset.hash


def test_the_benchmark_resumes_and_its_rows_agree_with_the_evaluation(
    dataset: IsoformDataset, tmp_path: Path
) -> None:
    said: list[str] = []
    config = BenchmarkConfig(
        recipe="tiny", settings=SHORT, seeds=2, chromosomes=False, fast_baselines=True, draws=10, split="test"
    )
    content = run_benchmark(dataset, config, tmp_path, "cpu", said.append)
    assert sum(text.startswith("training") for text in said) == 8
    again: list[str] = []
    second = run_benchmark(dataset, config, tmp_path, "cpu", again.append)
    assert not any(text.startswith("training") for text in again)
    assert json.dumps(second["rows"]) == json.dumps(content["rows"])
    rows = {row["name"]: row["scores"] for row in content["rows"]}
    tissue = dataset.columns[0].name
    seeds = [content["evaluation"]["baselines"][f"seed {seed}"][tissue]["r2"] for seed in (0, 1)]
    assert rows["recipe, mean of the seeds"][tissue]["r2"] == pytest.approx(np.mean(seeds))
    text = (tmp_path / "benchmark.md").read_text()
    assert all(f"| {name} |" in text for name in rows)
    with pytest.raises(InputError, match="another data set or recipe"):
        run_benchmark(dataset, replace(config, settings=("train.epochs=2",)), tmp_path, "cpu")


def test_predictions_are_written_in_every_form(
    cli: Callable[..., Any], project: MiniProject, runs: list[Path], tmp_path: Path
) -> None:
    import anndata

    tables = {}
    for suffix in ("tsv", "parquet", "h5ad"):
        out = tmp_path / f"p.{suffix}"
        words = (
            "--genome",
            project.genome,
            "--annotation",
            project.annotation,
            "--out",
            out,
            "--device",
            "cpu",
        )
        result = cli("isoform", "predict", runs[0], *words)
        assert result.exit_code == 0, result.stderr
        tables[suffix] = out
    tsv = pl.read_csv(tables["tsv"], separator="\t", comment_prefix="#")
    parquet = pl.read_parquet(tables["parquet"])
    assert tsv.columns == parquet.columns
    np.testing.assert_allclose(tsv[:, 2:].to_numpy(), parquet[:, 2:].to_numpy(), atol=1e-5)
    assert tables["tsv"].read_text().startswith("# scale: log1p")
    assert "log1p" in pl.read_parquet_metadata(tables["parquet"])["scale"]
    data = anndata.read_h5ad(tables["h5ad"])
    assert list(data.obs_names) == parquet["transcript_id"].to_list()
    assert list(data.var_names) == parquet.columns[2:]
    np.testing.assert_allclose(np.asarray(data.X), parquet[:, 2:].to_numpy(), atol=1e-6)
    assert "log1p" in data.uns["cisoform"]["scale"]


def test_sequences_come_back_with_their_predictions(
    cli: Callable[..., Any], runs: list[Path], tmp_path: Path
) -> None:
    records = [{"rna_sequence": "ACGU" * 30}, {"dna_sequence": "ACGT" * 32, "protein_sequence": "MKW"}]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    for suffix in ("jsonl", "tsv", "parquet"):
        out = tmp_path / f"out.{suffix}"
        result = cli("isoform", "predict", runs[0], "--sequences", source, "--out", out, "--device", "cpu")
        assert result.exit_code == 0, result.stderr
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    table = pl.read_parquet(tmp_path / "out.parquet")
    model = cisoform.IsoFormer.from_pretrained(runs[0])
    for record, back, listed in zip(records, written, table["predicted_expression"], strict=True):
        expected = model.predict(**record)
        assert isinstance(expected, dict)
        assert {k: v for k, v in back.items() if k != "predicted_expression"} == record
        assert back["predicted_expression"] == pytest.approx(expected, abs=1e-5)
        assert list(listed) == pytest.approx(list(expected.values()), abs=1e-5)
    text = pl.read_csv(tmp_path / "out.tsv", separator="\t", comment_prefix="#", quote_char=None)
    assert json.loads(text["predicted_expression"][0]) == pytest.approx(
        list(table["predicted_expression"][0]), abs=1e-5
    )
