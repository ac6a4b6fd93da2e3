"""From a tiny simulation to the table of readings: nothing of the scores is asserted, only how they are made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.planted import Planted
from cisoform.jobs.planted_readings import READINGS, choose_readings
from cisoform.jobs.planted_training import TrainConfig, train, train_rule_off

torch.set_num_threads(1)
FEW = ("train.epochs=1", "train.max_steps=2", "train.validate_every=1")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return TrainConfig(
        preset="tiny",
        recipe="tiny",
        first=FEW,
        second=FEW,
        device="cpu",
        cache=tmp_path_factory.mktemp("cache"),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, config: TrainConfig) -> tuple[Path, Path, Path]:
    return train(tmp_path_factory.mktemp("trained"), config)


@pytest.fixture(scope="module")
def planted(trained: tuple[Path, Path, Path], config: TrainConfig) -> Planted:
    simulation, data, model = trained
    opened = CREformerModel.load(model, "cpu"), GenesDataset.open(data)
    return Planted.open(
        *opened,
        simulation,
        cache=config.cache,
        variants=("ablation",),
        edits=("around motif, p 1e-4",),
        most_factors=4,
    )


def test_every_reading_stands_beside_baselines_and_chance(planted: Planted) -> None:
    for reading in READINGS.values():
        for one in reading(planted):
            assert -1 <= one.value <= 1 and one.baselines and one.nulls and one.n
            assert one.way in one.ways or not one.ways


def test_the_way_is_chosen_without_the_test_chromosomes(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    original = Planted.reader
    monkeypatch.setattr(Planted, "reader", lambda self, part: seen.append(part) or original(self, part))
    (first, *_) = READINGS["links"](replace(planted, variants=("ablation",)))
    assert seen.index("test") > seen.index("valid")
    assert first.valid == max(first.ways.values()) and len(first.ways) == 3 * 2


def test_finished_steps_are_kept(trained: tuple[Path, Path, Path], config: TrainConfig) -> None:
    said: list[str] = []
    assert train(trained[0].parent, config, said.append) == trained and said == []


def test_the_control_has_the_same_genome_and_other_expression(
    planted: Planted, trained: tuple[Path, Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    control = train_rule_off(planted, trained[0].parent / "pretrained", tmp_path, config)
    truth = json.loads((tmp_path / "simulation" / "truth.json").read_text())
    assert not truth["rules"]["activation"]["acts"] and truth["rules"]["core"]["acts"]
    assert control.files == planted.files and control.dataset.hash != planted.dataset.hash
    genome = [(folder / "genome.fa").read_text() for folder in (trained[0], tmp_path / "simulation")]
    assert genome[0] == genome[1]
    assert control.dataset.peaks.equals(planted.dataset.peaks)
    assert control.reader("test") is not planted.reader("test")


def test_the_command_writes_the_table(
    cli: Any, trained: tuple[Path, Path, Path], config: TrainConfig, tmp_path: Path
) -> None:
    simulation, data, model = trained
    words = ["benchmark", "regulation", model, "--data", data, "--simulation", simulation, "--device", "cpu"]
    words += ["--cache", config.cache, "--out", tmp_path / "out", "--readings", "links"]
    result = cli(*words, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found == json.loads((tmp_path / "out" / "readings.json").read_text())
    row = found["rows"][0]
    assert row["reading"] == "score, links" and row["goal"] == 0.9 and len(row["ways"]) == 5 * 3 * 2
    text = (tmp_path / "out" / "readings.md").read_text()
    assert f"| {row['value']:.3f} | 0.900 |" in text and row["way"] in text
    assert found["dataset_hash"][:12] in text


def test_bad_input(cli_error: Any, trained: tuple[Path, Path, Path], tmp_path: Path) -> None:
    simulation, data, model = trained
    assert "'linkz'" in cli_error(
        "benchmark", "regulation", model, "--data", data, "--simulation", simulation, "--readings", "linkz"
    )
    assert "needs --data and --simulation" in cli_error("benchmark", "regulation", model)
    assert "--out DIR" in cli_error("benchmark", "regulation")
    assert "--data goes with MODEL" in cli_error("benchmark", "regulation", "--data", data)
    words = ["benchmark", "regulation", model, "--data", data, "--simulation"]
    assert "truth.json" in cli_error(*words, tmp_path)
    assert "--out DIR" in cli_error(*words, simulation, "--rule-off")
    assert "--elementary RUN" in cli_error(*words, simulation, "--rule-off", "--out", tmp_path / "x")
    with pytest.raises(InputError, match="'grns'"):
        choose_readings(["grns"])


def test_a_data_set_of_other_groups_is_refused(planted: Planted, tmp_path: Path) -> None:
    dataset = planted.dataset
    renamed = replace(dataset, groups=dataset.groups.with_columns(name=dataset.groups["name"] + "x"))
    with pytest.raises(InputError, match="group 'type01x'"):
        Planted.open(planted.model, renamed, planted.files)
