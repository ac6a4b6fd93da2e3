"""Ensembles and predicted variances on data whose noise is known: what is kept, evaluated and predicted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from cisoform.benchmark.calibration import Calibration
from cisoform.benchmark.evaluation import EvaluationConfig
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.jobs.isoform_evaluate import evaluate
from cisoform.jobs.isoform_model import IsoformModel, predict, predict_distribution
from cisoform.jobs.isoform_uncertainty import (
    calibrate,
    choose_interval,
    load_models,
    predictive,
    run_folders,
    stored_calibration,
)
from tests.documents import REPOSITORY, commands

Cli = Callable[..., Any]
QUIET, LOUD = 0.1, 0.6
SHORT = ["--recipe", "tiny", "--device", "cpu", "--set", "model.dna=null", "--set", "model.protein=null"]
SHORT += ["--set", "loader.rna_max=64", "--set", "loader.augmentation.drop_rna=0"]
STEPS = ["--set", "train.epochs=6", "--set", "train.patience=null"]
GAUSSIAN = ["--set", "loss.kind=gaussian"]


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A simulation in which every second gene loses its CDS, and whose expression is 5 + noise of sd 0.1, or 0.6 there."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("noise")
    simulated = cli("simulate", root, "--what", "isoform", "--genes", 240, "--tissues", 2, "--seed", 1)
    assert simulated.exit_code == 0, simulated.stderr
    lines = [line.split("\t") for line in (root / "annotation.gtf").read_text().splitlines()]
    genes = list(dict.fromkeys(field(line, "gene_id") for line in lines if len(line) > 8))
    loud = {*genes[::2]}
    coding = ("CDS", "start_codon", "stop_codon")
    kept = [x for x in lines if len(x) < 9 or x[2] not in coding or field(x, "gene_id") not in loud]
    (root / "annotation.gtf").write_text("".join("\t".join(line) + "\n" for line in kept))
    of_gene = {
        field(x, "transcript_id"): field(x, "gene_id") for x in kept if len(x) > 8 and x[2] == "transcript"
    }
    rng = np.random.default_rng(0)
    sd = np.array([LOUD if gene in loud else QUIET for gene in of_gene.values()])
    table = {"transcript_id": [*of_gene], "gene_id": [*of_gene.values()]}
    noisy = {name: np.expm1(5 + sd * rng.standard_normal(len(sd))) for name in ("brain", "heart")}
    pl.DataFrame(table | noisy).write_csv(root / "expression.tsv", separator="\t")
    (root / "few.txt").write_text("".join(f"{name}\n" for name in [*of_gene][:30]))
    words = ["--genome", root / "genome.fa", "--annotation", root / "annotation.gtf", "--window", 64]
    words += [
        "--expression",
        root / "expression.tsv",
        "--splits",
        root / "splits.tsv",
        "--out",
        root / "data",
    ]
    built = cli("isoform", "build", *words)
    assert built.exit_code == 0, built.stderr
    return root


def field(line: list[str], name: str) -> str:
    return line[8].split(f'{name} "')[1].split('"')[0]


def noise_of(dataset: IsoformDataset) -> np.ndarray[Any, Any]:
    """Planted standard deviation of every transcript."""
    return np.where(dataset.samples.has("protein"), QUIET, LOUD)


@pytest.fixture(scope="module")
def ensemble(sim: Path, cli: Cli) -> Path:
    words = ("isoform", "train", sim / "data", "--ensemble", 2, "--seed", 3, "--out", sim / "ensemble")
    result = cli(*words, *SHORT, *STEPS, *GAUSSIAN)
    assert result.exit_code == 0, result.stderr
    assert "seed-4: seed 4, 2 of 2" in result.stderr and "valid r2" in result.stdout
    return sim / "ensemble"


def test_an_ensemble_is_its_runs_and_is_calibrated_as_a_whole_and_one_by_one(
    ensemble: Path, sim: Path
) -> None:
    members = run_folders([ensemble])
    assert members == [ensemble / "seed-3", ensemble / "seed-4"] == run_folders(members)
    models = load_models([ensemble])
    assert [model.about["seed"] for model in models] == [3, 4] and all(model.gaussian for model in models)
    stored = stored_calibration([ensemble], models)
    assert stored is not None and "validation transcripts" in stored.source
    assert same(stored.calibrated, stored_calibration(members, models).calibrated)  # type: ignore[union-attr]
    again = calibrate(models, IsoformDataset.open(sim / "data"), each=True)
    assert same(stored.calibrated, again[0].calibrated) and len(again) == 3
    alone = stored_calibration(members[:1], models[:1])
    assert alone is not None and same(alone.calibrated, again[1].calibrated)
    assert not same(alone.calibrated, stored.calibrated)
    # Of other weights nothing is known.
    assert (
        stored_calibration([ensemble], models[:1]) is None
        or same(alone.calibrated, stored.calibrated) is False
    )
    assert stored_calibration([members[0]], models[1:]) is None


def same(one: Calibration, other: Calibration) -> bool:
    pairs = ((getattr(one, name), getattr(other, name)) for name in ("share", "base", "scale", "quantiles"))
    return one.columns == other.columns and all(np.allclose(a, b, rtol=1e-4) for a, b in pairs)


def test_predicted_noise_is_the_planted_noise_and_intervals_cover_what_they_say(
    ensemble: Path, sim: Path
) -> None:
    dataset, models = IsoformDataset.open(sim / "data"), load_models([ensemble])
    rows = dataset.rows("test")
    claimed = predictive(models, predict_distribution(models, dataset.samples, rows))
    noise = noise_of(dataset)[rows]
    sd = np.sqrt(claimed.variance)[:, :2]
    assert np.median(sd[noise == LOUD]) == pytest.approx(LOUD, rel=0.35)
    assert np.median(sd[noise == QUIET]) < 0.5 * np.median(sd[noise == LOUD])
    found = evaluate(models, dataset, "test", EvaluationConfig(baselines=None, n_draws=50))
    report = found.result["calibration"]
    n = report["calibrated"]["0.8"]["n"]
    assert n == 2 * len(rows) > 120
    for level in (0.5, 0.8, 0.95):
        # Four standard deviations of a share of the test labels and of the validation labels that set the width.
        far = 4 * np.sqrt(level * (1 - level) * (1 / n + 1 / len(dataset.rows("valid"))))
        assert report["calibrated"][str(level)]["coverage"] == pytest.approx(level, abs=far)
        assert report["constant"][str(level)]["coverage"] == pytest.approx(level, abs=far)
    assert report["calibrated"]["0.95"]["score"] < report["constant"]["0.95"]["score"]
    assert report["rank"] > 0.3
    # Where noise is large a constant width is too narrow, and where it is small too wide.
    constant = calibrate(models, dataset)[0].constant.interval(claimed, 0.8)
    inside = (constant[0][:, :2] <= found.observed) & (found.observed <= constant[1][:, :2])
    assert inside[noise == LOUD].mean() < 0.7 and inside[noise == QUIET].mean() > 0.95
    own = calibrate(models, dataset)[0].calibrated.interval(claimed, 0.8)
    inside = (own[0][:, :2] <= found.observed) & (found.observed <= own[1][:, :2])
    for part in (noise == LOUD, noise == QUIET):
        assert inside[part].mean() == pytest.approx(0.8, abs=0.12)
    table = found.table()
    inside = table.select(
        pl.col(
            "tissue1 observed" if "tissue1 observed" in table.columns else f"{found.tissues[0]} observed"
        ).is_between(pl.col("brain low") - 1e-6, pl.col("brain high") + 1e-6)
    ).to_series()
    assert inside.mean() == pytest.approx(
        report["tissues"]["brain"]["calibrated"]["0.95"]["coverage"], abs=1e-6
    )


def test_variances_do_not_change_the_means_and_average_over_windows(ensemble: Path, sim: Path) -> None:
    dataset, models = IsoformDataset.open(sim / "data"), load_models([ensemble])
    rows = dataset.rows("test")[:20]
    found = predict_distribution(models, dataset.samples, rows)
    assert found.variances is not None and found.variances.shape == found.means.shape
    np.testing.assert_array_equal(predict(models, dataset.samples, rows), found.means)
    several = predict_distribution(models, dataset.samples, rows, average=2)
    # The model reads no DNA: moved windows change nothing, and the mean over them is the value itself.
    np.testing.assert_allclose(several.variances, found.variances, rtol=1e-5)


def test_predict_and_evaluate_carry_the_interval(
    ensemble: Path, sim: Path, cli: Cli, cli_error: Any, tmp_path: Path
) -> None:
    words = [
        "--genome",
        sim / "genome.fa",
        "--annotation",
        sim / "annotation.gtf",
        "--transcripts",
        sim / "few.txt",
    ]

    def predicted(name: str, *more: object, runs: Any = (ensemble,)) -> Any:
        result = cli("isoform", "predict", *runs, *words, "--out", tmp_path / name, *more)
        assert result.exit_code == 0, result.stderr
        return tmp_path / name

    path = predicted("p.tsv")
    head = path.read_text().splitlines()[:12]
    assert any("interval: 95%, calibrated on" in line for line in head)
    table = pl.read_csv(path, separator="\t", comment_prefix="#")
    tissues = [name[:-4] for name in table.columns if name.endswith(" low")]
    assert len(tissues) == 2
    widths = table[f"{tissues[0]} high"] - table[f"{tissues[0]} low"]
    assert (widths > 0).all() and (table[tissues[0]] <= table[f"{tissues[0]} high"]).all()
    half = pl.read_csv(predicted("h.tsv", "--interval", "0.5"), separator="\t", comment_prefix="#")
    assert (half[f"{tissues[0]} high"] - half[f"{tissues[0]} low"] < widths).all()
    assert "low" not in "".join(
        pl.read_csv(predicted("n.tsv", "--interval", 0), separator="\t", comment_prefix="#").columns
    )
    # The same runs without their calibration: what they claim, and the file says so.
    copy = tmp_path / "copy"
    shutil.copytree(ensemble, copy)
    (copy / "calibration.json").unlink()
    assert "not calibrated" in predicted("c.tsv", runs=(copy,)).read_text()[:2000]
    assert "choose from 0.5, 0.8, 0.95" in cli_error(
        "isoform", "predict", ensemble, *words, "--out", tmp_path / "x.tsv", "--interval", "0.9"
    )
    result = cli(
        "isoform",
        "evaluate",
        ensemble,
        "--data",
        sim / "data",
        "--out",
        tmp_path / "s",
        "--no-baselines",
        "--draws",
        5,
    )
    assert result.exit_code == 0, result.stderr
    assert "calibrated on" in result.stdout and "95% cover" in result.stdout
    assert "How sure it is" in (tmp_path / "s" / "report.html").read_text()
    assert f"{tissues[0]} low" in (tmp_path / "s" / "predictions.tsv").read_text()


def test_sequences_carry_the_interval_too(ensemble: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"rna_sequence": "ACGU" * 80}) + "\n")
    result = cli(
        "isoform", "predict", ensemble, "--sequences", tmp_path / "in.jsonl", "--out", tmp_path / "out.jsonl"
    )
    assert result.exit_code == 0, result.stderr
    record = json.loads((tmp_path / "out.jsonl").read_text())
    for name, value in record["predicted_expression"].items():
        low, high = record["predicted_interval"][name]
        assert 0 <= low < value < high


def test_one_plain_run_has_an_interval_only_if_asked_and_members_go_on(
    sim: Path, cli: Cli, cli_error: Any, tmp_path: Path
) -> None:
    out = tmp_path / "two"
    train = (
        "isoform",
        "train",
        sim / "data",
        "--out",
        out,
        *SHORT,
        "--set",
        "train.epochs=1",
        "--set",
        "train.patience=null",
    )
    assert cli(*train, "--ensemble", 2).exit_code == 0
    before = (out / "seed-0" / "model" / "manifest.json").read_bytes()
    assert "already holds a run" in cli_error(*train, "--ensemble", 3)
    result = cli(*train, "--ensemble", 3, "--resume", "--json")
    assert result.exit_code == 0, result.stderr
    assert len(json.loads(result.stdout)["runs"]) == 3 and len(run_folders([out])) == 3
    assert (out / "seed-0" / "model" / "manifest.json").read_bytes() == before
    assert "holds an ensemble" in cli_error(*train)
    models = load_models([out])
    one = models[:1]
    assert choose_interval(one, stored_calibration([out / "seed-0"], one), None) is None
    wide = choose_interval(one, stored_calibration([out / "seed-0"], one), 0.8)
    assert wide is not None and wide.calibrations is not None
    with pytest.raises(
        InputError, match="--interval 0.8: the run predicts no variance and holds no calibration"
    ):
        choose_interval(one, None, 0.8)
    spread = choose_interval(models, stored_calibration([out], models), None)
    assert spread is not None and spread.level == 0.95
    (out / "ensemble.json").write_text('{"members": ["../x"]}')
    with pytest.raises(InputError, match=r"ensemble.json: does not list"):
        run_folders([out])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "no calibration of format 1"),
        ({"calibrated": {}}, "not a calibration"),
        ({"constant": None}, "not a calibration"),
        ("{", "line 1"),
    ],
)
def test_a_damaged_calibration_is_one_line(
    ensemble: Path, sim: Path, cli_error: Any, tmp_path: Path, change: Any, said: str
) -> None:
    shutil.copytree(ensemble, tmp_path / "copy")
    path = tmp_path / "copy" / "calibration.json"
    path.write_text(
        change if isinstance(change, str) else json.dumps({**json.loads(path.read_text()), **change})
    )
    (tmp_path / "in.jsonl").write_text(json.dumps({"rna_sequence": "ACGU" * 80}) + "\n")
    for words in (
        ("evaluate", tmp_path / "copy", "--data", sim / "data"),
        ("predict", tmp_path / "copy", "--sequences", tmp_path / "in.jsonl", "--out", tmp_path / "p.tsv"),
    ):
        error = cli_error("isoform", *words)
        assert str(path) in error and said in error
    assert not (tmp_path / "p.tsv").exists()


def test_the_commands_of_the_page_run(sim: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sim)
    short = {
        "train": [*SHORT, "--set", "train.epochs=1", "--set", "train.patience=null", "--ensemble", 2],
        "evaluate": ["--no-baselines", "--draws", 5],
        "predict": ["--transcripts", "few.txt"],
    }
    ran = []
    for words in commands("docs/uncertainty.md"):
        words = ["page_ensemble" if word == "ensemble" else word for word in words]
        result = cli(*words[1:], *short[words[2]])
        assert result.exit_code == 0, f"{words}\n{result.stderr}"
        ran.append(words[2])
    assert ran == ["train", "train", "evaluate", "predict"]
    assert "interval: 80%, calibrated on" in (sim / "predictions.tsv").read_text()[:1500]
    assert "uncertainty.md" in (REPOSITORY / "docs/index.md").read_text()


def test_a_tissue_that_could_not_be_calibrated_is_named(ensemble: Path, sim: Path) -> None:
    models = load_models([ensemble])
    kept = stored_calibration([ensemble], models)
    assert kept is not None
    scale = kept.calibrated.scale.copy()
    scale[0] = np.nan
    partial = replace(kept, calibrated=replace(kept.calibrated, scale=scale))
    dataset, config = IsoformDataset.open(sim / "data"), EvaluationConfig(baselines=None, n_draws=5)
    whole, found = (evaluate(models, dataset, config=config, calibrations=one) for one in (kept, partial))
    said = f"{kept.calibrated.columns[0]}: fewer than 20 validation labels, so no interval"
    assert said in found.result["warnings"] and said not in whole.result["warnings"]
    assert found.interval is not None
    assert np.isnan(found.interval[0][:, 0]).all() and np.isfinite(found.interval[0][:, 1]).all()


def test_runs_of_two_kinds_are_not_one_gaussian(ensemble: Path, sim: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("isoform", "train", sim / "data", "--out", tmp_path / "plain", *SHORT, "--set", "train.epochs=1")
    assert cli(*words, "--set", "train.patience=null").exit_code == 0
    models = [*load_models([ensemble]), IsoformModel.load(tmp_path / "plain")]
    dataset = IsoformDataset.open(sim / "data")
    with pytest.raises(InputError, match="some of the runs predict variances"):
        evaluate(models, dataset, "test", EvaluationConfig(baselines=None, n_draws=0))
