"""Elementary inside IsoFormer, from files to predictions: what tracks add, what frozen means, what is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import cisoform
from cisoform.benchmark.evaluation import EvaluationConfig, dataset_baselines
from cisoform.benchmark.metrics import mean_over_columns, r2_centred
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.region_build import build_regions
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.regions import RegionDataset
from cisoform.data.simulate.config import Shares, SimulateConfig
from cisoform.data.simulate.simulation import simulate
from cisoform.data.simulate.write import write_simulation
from cisoform.errors import InputError
from cisoform.jobs import elementary as stage_one
from cisoform.jobs.isoform_evaluate import evaluate
from cisoform.jobs.isoform_model import IsoformModel, predict
from cisoform.jobs.isoform_train import choose_recipe, prepare, train

WINDOW = 256
ELEMENTARY = "model.dna.kind=elementary"
DNA_ALONE = (
    *("model.rna=null", "model.protein=null", 'loader.modalities=["dna"]', "loader.dna_window=256"),
    *("loader.dna_upstream=null", "train.epochs=10", "train.warmup_fraction=0.2"),
)
SIZES = ("model.dna.elementary.dim=16", "model.dna.elementary.ffn=32")


@dataclass(frozen=True)
class Project:
    """A simulation whose promoters are open or closed by tissue, its data set, and an Elementary of two steps."""

    sim: Path
    data: IsoformDataset
    stage1: Path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("joined")
    shares = Shares(promoter=0.1, utr=0.0, codon=0.0, protein=0.0, noise=0.1, chromatin=0.8)
    config = SimulateConfig(seed=5, n_genes=150, n_tissues=3, n_chromosomes=2, n_variants=0, shares=shares)
    sim = write_simulation(simulate(config), root / "sim")
    data = build(sim, root / "data")
    build_regions(sim / "genome.fa", sim / "tracks.tsv", root / "regions", RegionBuildConfig(window=WINDOW))
    recipe = stage_one.choose_recipe(
        "tiny",
        (
            *("model.dim=16", "model.ffn=32", "train.max_steps=2"),
            "loader.lengths=[128,256]",
            "loader.valid_length=256",
        ),
    )
    stage_one.pretrain(
        stage_one.prepare(RegionDataset.open(root / "regions"), recipe), root / "stage1", device="cpu"
    )
    return Project(sim, data, root / "stage1")


def build(sim: Path, out: Path, tracks: Path | None = None, **settings: Any) -> IsoformDataset:
    from cisoform.data.build import build_isoform_dataset

    build_isoform_dataset(
        sim / "genome.fa",
        sim / "annotation.gtf",
        sim / "expression.tsv",
        splits=sim / "splits.tsv",
        window=WINDOW,
        tracks=tracks or sim / "tracks.tsv",
        out=out,
        **settings,
    )
    return IsoformDataset.open(out)


def fitted(data: IsoformDataset, out: Path, *settings: str, elementary: Path | None = None) -> IsoformModel:
    sizes = SIZES if elementary is None else ()
    kind = (ELEMENTARY,) if elementary is None else ()
    recipe = choose_recipe("tiny", (*kind, *sizes, *DNA_ALONE, *settings), 0, elementary)
    train(prepare(data, recipe, "tiny"), out, device="cpu")
    return IsoformModel.load(out)


def centred(data: IsoformDataset, predicted: Any, rows: Any) -> float:
    truth = np.log1p(data.expression[rows].astype(np.float64))
    return float(mean_over_columns(r2_centred(truth, np.asarray(predicted, dtype=np.float64))))


@pytest.fixture(scope="module")
def with_tracks(project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IsoformModel]:
    out = tmp_path_factory.mktemp("run") / "tracks"
    return out, fitted(project.data, out)


def test_tracks_raise_the_r2_between_tissues(
    project: Project, with_tracks: tuple[Path, IsoformModel], tmp_path: Path
) -> None:
    """The states are in no sequence, so without tracks there is nothing but the motifs' small share to tell them."""
    rows = project.data.rows("test")
    plain = fitted(project.data, tmp_path / "plain", "loader.tracks=[]")
    scores = {
        name: centred(project.data, predict([model], project.data.samples, rows)[0], rows)
        for name, model in (("tracks", with_tracks[1]), ("sequence", plain))
    }
    names = [column.name for column in project.data.columns]
    (ridge,) = dataset_baselines(project.data, rows, names, names=["track_ridge"])
    assert scores["sequence"] < 0.2
    assert scores["tracks"] > scores["sequence"] + 0.25
    assert centred(project.data, ridge.predicted, rows) > 0.3
    assert plain.tracks is None
    assert with_tracks[1].tracks is not None and with_tracks[1].tracks.tracks == ("atac",)


def test_a_tissue_without_tracks_is_predicted_from_the_sequence_alone(
    project: Project, with_tracks: tuple[Path, IsoformModel], tmp_path: Path
) -> None:
    model, rows = with_tracks[1], project.data.rows("test")
    samples = project.data.samples
    everything = predict([model], samples, rows)[0]
    nothing = predict([model], replace(samples, signal=None), rows)[0]
    two = tmp_path / "two.tsv"
    lines = (project.sim / "tracks.tsv").read_text().replace("tracks/", f"{project.sim}/tracks/").splitlines()
    two.write_text("\n".join(line for line in lines if not line.startswith("heart\t")) + "\n")
    data = build(project.sim, tmp_path / "two", two)
    assert [column.name for column in data.columns] == ["brain", "heart", "kidney"]
    found = predict([model], data.samples, rows)[0]
    np.testing.assert_allclose(found[:, 1], nothing[:, 1], atol=1e-6)
    np.testing.assert_allclose(found[:, [0, 2]], everything[:, [0, 2]], atol=1e-6)
    assert np.abs(everything - nothing).max() > 0.05
    result = evaluate([model], data, "test", EvaluationConfig(baselines=None, n_draws=0)).result
    assert any("heart" in text and "sequence alone" in text for text in result["warnings"])


def test_a_prediction_of_the_annotation_with_tracks_equals_that_of_the_data_set(
    cli: Callable[..., Any], project: Project, with_tracks: tuple[Path, IsoformModel], tmp_path: Path
) -> None:
    run, loaded = with_tracks
    expected = predict([loaded], project.data.samples)[0]
    words = (
        "--genome",
        project.sim / "genome.fa",
        "--annotation",
        project.sim / "annotation.gtf",
        "--device",
        "cpu",
    )
    out = tmp_path / "p.parquet"
    result = cli("isoform", "predict", run, *words, "--tracks", project.sim / "tracks.tsv", "--out", out)
    assert result.exit_code == 0, result.stderr
    table = pl.read_parquet(out)
    by_id = dict(zip(table["transcript_id"], table[:, 2:].to_numpy(), strict=True))
    found = np.stack([by_id[name] for name in project.data.samples.transcript_ids])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    model = cisoform.IsoFormer.from_pretrained(run)
    plain = model.predict(genome=project.sim / "genome.fa", annotation=project.sim / "annotation.gtf")
    assert isinstance(plain, pl.DataFrame)
    assert np.abs(plain[:, 2:].to_numpy() - table[:, 2:].to_numpy()).max() > 0.05
    model.save_pretrained(tmp_path / "saved")
    again = IsoformModel.load(tmp_path / "saved")
    np.testing.assert_array_equal(predict([again], project.data.samples)[0], expected)


def test_batches_and_windows_beyond_the_stored_ones_do_not_matter(
    project: Project, with_tracks: tuple[Path, IsoformModel]
) -> None:
    model, samples = with_tracks[1], project.data.samples
    expected = predict([model], samples)[0]
    loader = replace(model.loader, limits=replace(model.loader.limits, batch_size=3, token_budget=2000))
    np.testing.assert_allclose(predict([replace(model, loader=loader)], samples)[0], expected, atol=1e-5)
    assert np.isfinite(predict([model], samples, average=2)).all()


@pytest.mark.parametrize("learn", ["frozen", "full"])
def test_a_run_is_taken_over_and_the_model_stands_alone(learn: str, project: Project, tmp_path: Path) -> None:
    stage1 = tmp_path / "stage1"
    shutil.copytree(project.stage1, stage1)
    model = fitted(
        project.data, tmp_path / "run", "train.max_steps=3", f"model.dna.learn={learn}", elementary=stage1
    )
    shutil.rmtree(stage1)
    first = stage_one.load(project.stage1).elementary.state_dict()
    mine: Any = model.model.encoders["dna"]
    same = all(torch.equal(value, first[name]) for name, value in mine.elementary.state_dict().items())
    assert same == (learn == "frozen")
    assert (mine.elementary.config.dim, mine.elementary.config.tracks) == (16, ("atac",))
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert (config["dna"]["run"], config["dna"]["learn"]) == (None, learn)
    about = json.loads((tmp_path / "run" / "model" / "about.json").read_text())
    assert about["elementary"]["learn"] == learn and len(about["elementary"]["sha256"]) == 64
    assert np.isfinite(predict([IsoformModel.load(tmp_path / "run")], project.data.samples)).all()


def test_looking_starts_up_trains_the_same_weights_as_encoding_them(project: Project, tmp_path: Path) -> None:
    """A jitter of 0 encodes once; the same training step by step gives the same model but for rounding."""
    settings = (*DNA_ALONE, "train.max_steps=4")
    recipe = choose_recipe("tiny", settings, 0, project.stage1)
    runs = {name: prepare(project.data, recipe, "tiny") for name in ("once", "every batch")}
    assert runs["once"].by_state and "encoded once" in str(runs["once"].reading)
    slow = runs["every batch"]
    for loader in (slow.source, slow.valid_source):
        loader._by_state = False
    models = {}
    for name, run in {"once": runs["once"], "every batch": replace(slow, by_state=False)}.items():
        train(run, tmp_path / name, device="cpu")
        models[name] = predict([IsoformModel.load(tmp_path / name)], project.data.samples)
    np.testing.assert_allclose(models["once"], models["every batch"], atol=1e-4)
    jittered = choose_recipe("tiny", (*settings, "loader.augmentation.tss_jitter=3"), 0, project.stage1)
    assert not prepare(project.data, jittered, "tiny").by_state


def test_a_killed_and_resumed_run_needs_no_first_stage_settings_again(
    project: Project, tmp_path: Path
) -> None:
    recipe = choose_recipe("tiny", (*DNA_ALONE, "train.max_steps=4"), 0, project.stage1)
    train(prepare(project.data, recipe, "tiny"), tmp_path / "run", device="cpu")
    other = tmp_path / "other"
    shutil.copytree(project.stage1, other)
    again = prepare(project.data, choose_recipe("tiny", (*DNA_ALONE, "train.max_steps=4"), 0, other), "tiny")
    result = train(again, tmp_path / "run", resume=True, device="cpu")
    assert result.step == 4
    scratch = choose_recipe("tiny", (ELEMENTARY, *SIZES, *DNA_ALONE, "train.max_steps=4"), 0)
    with pytest.raises(InputError):
        train(prepare(project.data, scratch, "tiny"), tmp_path / "run", resume=True, device="cpu")


def test_a_data_set_without_tracks_keeps_its_bytes(project: Project, tmp_path: Path) -> None:
    from cisoform.data.build import build_isoform_dataset

    sim = project.sim
    for name in ("a", "b"):
        build_isoform_dataset(
            sim / "genome.fa", sim / "annotation.gtf", sim / "expression.tsv", splits=sim / "splits.tsv", window=WINDOW,
            out=tmp_path / name,
        )  # fmt: skip
    plain = IsoformDataset.open(tmp_path / "a")
    assert plain.samples.signal is None and "signal" not in plain.manifest
    assert not (tmp_path / "a" / "signal.npy").exists()
    assert plain.hash == IsoformDataset.open(tmp_path / "b").hash != project.data.hash
