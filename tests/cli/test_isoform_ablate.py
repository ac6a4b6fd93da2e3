"""`isoform ablate` through the command line: what it writes, that it goes on where it stopped, what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.jobs.ablation_plan import AblationConfig, plan_ablation
from tests.cli.mini import write_mini_project
from tests.jobs.test_ablation_rows import save_encoder

Cli = Callable[..., Any]
QUICK = ("--recipe", "tiny", "--set", "train.max_steps=1", "--fast-baselines", "--draws", 20)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    project = write_mini_project(folder)
    build_isoform_dataset(
        project.genome,
        project.annotation,
        project.expression,
        splits=project.splits,
        window=128,
        out=folder / "data",
    )
    return folder / "data"


@pytest.fixture(scope="module")
def done(cli: Cli, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("ablations") / "out"
    words = ("--table", "aggregators", "--out", out, "--seeds", 1, "--contrast", "Liver:Brain", "--json")
    result = cli("isoform", "ablate", data, *QUICK, *words)
    assert result.exit_code == 0, result.stderr
    return out, json.loads(result.stdout)


def test_a_table_is_written_in_every_form(done: tuple[Path, dict[str, Any]], data: Path) -> None:
    out, content = done
    assert json.loads((out / "aggregators.json").read_text()) == content
    assert content["dataset_hash"] == IsoformDataset.open(data).hash
    assert (content["split"], content["seeds"], content["reference"]) == ("test", [0], "cross_attention")
    assert content["keys"] == ["Brain", "Liver", "Whole Blood", "Liver:Brain", "mean"]
    names = [row["name"] for row in content["rows"]]
    assert names == ["cross_attention", "concatenate", "perceiver_resampler", "c_abstractor", "linear"]
    with (out / "aggregators.tsv").open() as handle:
        lines = list(csv.DictReader(handle, delimiter="\t"))
    assert [line["row"] for line in lines] == names + [row["name"] for row in content["baselines"]]
    for line, row in zip(lines, content["rows"], strict=False):
        assert float(line["r2"]) == pytest.approx(row["scores"]["mean"]["r2"], rel=1e-4)
        assert int(line["n_parameters"]) == row["n_parameters"] > 0
        assert line["settings"] == " ".join(row["settings"])
    assert lines[0]["paper_r2"] == "0.53" and lines[0]["minus_reference_r2"] == ""
    assert lines[1]["paper_r2"] == "" and lines[1]["within_noise"] in ("true", "false")
    text = (out / "aggregators.md").read_text()
    assert "0.53 / 0.72 (Table 4" in text and "? / ? (Table 4; below cross-attention)" in text
    assert "on GTEx" in text and "compare the order of rows, not values" in text
    for suffix in ("png", "svg"):
        assert (out / f"aggregators.{suffix}").stat().st_size > 1_000


def test_runs_that_are_done_are_kept_and_a_lost_one_comes_out_the_same(
    done: tuple[Path, dict[str, Any]], data: Path, cli: Cli
) -> None:
    out, content = done
    lost = out / content["rows"][1]["runs"][0]
    kept = out / content["rows"][0]["runs"][0] / "finished.json"
    before = kept.stat().st_mtime_ns
    shutil.rmtree(lost)
    words = ("--table", "aggregators", "--out", out, "--seeds", 1, "--contrast", "Liver:Brain", "--json")
    result = cli("isoform", "ablate", data, *QUICK, *words)
    assert "5 runs, 1 to train" in result.stderr
    assert kept.stat().st_mtime_ns == before and lost.is_dir()
    again = json.loads(result.stdout)
    for one in (again, content):
        one["rows"][1] = {k: v for k, v in one["rows"][1].items() if k not in ("seconds", "core_seconds")}
    assert again == content


def test_tables_share_the_runs_they_have_in_common(
    done: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    dataset = IsoformDataset.open(data)
    config = AblationConfig(table="modalities", recipe="tiny", settings=("train.max_steps=1",), seeds=2)
    plan = plan_ablation(dataset, config, done[0])
    assert (len(plan.runs), plan.n_left) == (14, 13)
    for other in (
        replace(config, settings=("train.max_steps=2",)),
        replace(config, first_seed=5),
        replace(config, recipe="ablate"),
    ):
        assert plan_ablation(dataset, other, done[0]).n_left == 14
    assert plan_ablation(dataset, replace(config, split="valid"), done[0]).n_left == 13


def test_pretrained_encoders_are_compared_frozen_and_tuned(data: Path, cli: Cli, tmp_path: Path) -> None:
    run = save_encoder(tmp_path / "encoder", "protein")
    words = ("--table", "pretraining", "--pretrained", f"protein={run}", "--out", tmp_path / "out")
    result = cli("isoform", "ablate", data, *QUICK, *words, "--seeds", 1, "--split", "valid")
    assert result.exit_code == 0, result.stderr
    assert "protein pre-trained, frozen" in result.stdout and "optimistic" in result.stdout
    content = json.loads((tmp_path / "out" / "pretraining.json").read_text())
    rows = {row["name"]: row for row in content["rows"]}
    sizes = {name: (row["n_parameters"], row["n_trained"]) for name, row in rows.items()}
    assert sizes["from nothing"] == sizes["pre-trained, tuned"]
    assert sizes["pre-trained, frozen"][1] < sizes["from nothing"][1] <= sizes["from nothing"][0]
    assert rows["from nothing"]["paper"]["r2"] == 0.10
    config = AblationConfig(
        table="pretraining",
        recipe="tiny",
        settings=("train.max_steps=1",),
        seeds=1,
        pretrained={"protein": str(run)},
    )
    dataset = IsoformDataset.open(data)
    assert plan_ablation(dataset, config, tmp_path / "out").n_left == 0
    moved = save_encoder(tmp_path / "moved", "protein")
    same = replace(config, pretrained={"protein": str(moved)})
    assert plan_ablation(dataset, same, tmp_path / "out").n_left == 0
    other = replace(config, pretrained={"protein": str(save_encoder(tmp_path / "other", "protein", seed=1))})
    assert plan_ablation(dataset, other, tmp_path / "out").n_left == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--table", "tissues"), "--table 'tissues' is none of modalities"),
        (("--table", "encoders", "--recipe", "smal"), "did you mean 'small'?"),
        (("--table", "encoders", "--seeds", "0"), "seeds"),
        (("--table", "encoders", "--split", "train"), "--split 'train' is none of valid, test"),
        (("--table", "encoders", "--set", "model.dna.nothing=1"), "no key model.dna.nothing"),
        (("--table", "encoders", "--pretrained", "rna=run"), "leave it out of --table encoders"),
        (("--table", "pretraining"), "give at least one, --pretrained rna=RUN"),
        (("--table", "pretraining", "--pretrained", "rna"), "write modality=RUN"),
        (("--table", "pretraining", "--pretrained", "rna=nowhere"), "nowhere"),
        (
            ("--table", "modalities", "--set", 'loader.modalities=["dna","rna"]'),
            "--table modalities needs protein, which recipe tiny with these settings does not read",
        ),
        (
            ("--table", "aggregators", "--set", 'loader.modalities=["rna"]'),
            "--table aggregators needs 2 modalities",
        ),
        (("--table", "aggregators", "--contrast", "Liver:Lung"), "Lung"),
        (
            ("--table", "encoders", "--recipe", "yeast-best"),
            "row 'dna:tiny' has tiny; add --set model.kernel=null",
        ),
    ],
)
def test_flags_that_do_not_fit_are_one_line(
    cli_error: Callable[..., str], data: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    recipe = () if "--recipe" in words else ("--recipe", "tiny")
    assert said in cli_error("isoform", "ablate", data, *recipe, *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(
    cli_error: Callable[..., str], done: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    words = ("--table", "aggregators", "--recipe", "tiny")
    assert "holds something else" in cli_error("isoform", "ablate", data, *words, "--out", data)
    (tmp_path / "file").write_text("")
    assert "is a file" in cli_error("isoform", "ablate", data, *words, "--out", tmp_path / "file")
    other = tmp_path / "other"
    other.mkdir()
    (other / "ablation.json").write_text('{"dataset_hash": "0123456789abcdef"}\n')
    line = cli_error("isoform", "ablate", data, *words, "--out", other)
    assert "holds runs of another data set (0123456789ab, not " in line
    missing = cli_error("isoform", "ablate", tmp_path / "nothing", *words, "--out", tmp_path / "out")
    assert "nothing" in missing


def test_a_table_whose_inputs_the_data_lack_is_refused(data: Path, tmp_path: Path) -> None:
    dataset = IsoformDataset.open(data)
    without = replace(dataset, samples=dataset.samples.without(["protein"]))
    for table in ("modalities", "encoders"):
        with pytest.raises(
            InputError, match=f"--table {table} needs protein, which no training transcript of"
        ):
            plan_ablation(without, AblationConfig(table=table, recipe="tiny"), tmp_path / "out")
    assert plan_ablation(without, AblationConfig(table="aggregators", recipe="tiny"), tmp_path / "out").n_left
    with pytest.raises(InputError, match="--seeds 0: at least one"):
        AblationConfig(table="aggregators", seeds=0)
    nobody = replace(dataset, split=np.full_like(dataset.split, "train"))
    with pytest.raises(InputError, match="no transcript is in split 'test'"):
        plan_ablation(nobody, AblationConfig(table="aggregators", recipe="tiny"), tmp_path / "out")
