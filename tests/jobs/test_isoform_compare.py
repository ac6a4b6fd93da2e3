"""`isoform evaluate --against`: scores of both models, paired differences, files, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cisoform.benchmark.evaluation import EvaluationConfig
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.jobs import isoform_compare
from cisoform.jobs.isoform_compare import MEAN, compare
from cisoform.jobs.isoform_evaluate import Evaluated, evaluate
from cisoform.jobs.isoform_model import IsoformModel
from cisoform.jobs.isoform_train import choose_recipe, prepare, train
from cisoform.report.compare_plots import comparison_figure
from tests.cli.mini import TISSUES, mini_dataset

CONFIG = EvaluationConfig(baselines=None, n_draws=200, seed=3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IsoformDataset:
    return mini_dataset(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def runs(dataset: IsoformDataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    for name, seed in (("one", 1), ("two", 2)):
        run = prepare(dataset, choose_recipe("tiny", ("train.epochs=2",), seed), "tiny")
        train(run, root / name, device="cpu")
    return [root / "one", root / "two"]


def planted(dataset: IsoformDataset, noise: dict[str, float]) -> Evaluated:
    """An evaluation of predictions that are the labels with noise of a size for each tissue."""
    rng = np.random.default_rng(0)
    rows = dataset.rows("all")
    index = [dataset.column_index(name) for name in noise]
    observed = np.log1p(dataset.expression[rows][:, index]).astype(np.float32)
    drawn = rng.normal(size=observed.shape) * np.array(list(noise.values()))
    known = np.where(np.isfinite(observed), observed, 0.0)
    result = {"split": "all", "runs": [{"seed": 0}], "warnings": []}
    return Evaluated(result, dataset, rows, list(noise), observed, (known + drawn).astype(np.float32))


def compared(
    monkeypatch: pytest.MonkeyPatch, ours: Evaluated, theirs: Evaluated, config: EvaluationConfig = CONFIG
) -> isoform_compare.Comparison:
    monkeypatch.setattr(isoform_compare, "evaluate", lambda *_: theirs)
    return compare(ours, [], config)


def test_a_better_model_is_better_where_it_is(
    dataset: IsoformDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    brain, liver, blood = TISSUES
    ours = planted(dataset, {brain: 0.1, liver: 0.5, blood: 0.5})
    theirs = planted(dataset, {brain: 2.0, liver: 0.5, blood: 0.1})
    found = compared(monkeypatch, ours, theirs)
    rows = {row["tissue"]: row for row in found.table.to_dicts()}
    assert list(rows) == [*TISSUES, MEAN]
    assert rows[brain]["r2_low"] > 0 and rows[brain]["r2_p_not_better"] < 0.02
    assert rows[liver]["r2_difference"] == 0 and rows[liver]["r2_low"] == 0 == rows[liver]["r2_high"]
    assert rows[blood]["r2_high"] < 0
    assert found.summary["r2"] == {"n_tissues": 3, "higher": 1, "surely_higher": 1, "surely_lower": 1}
    for row in rows.values():
        assert row["r2_ours"] - row["r2_theirs"] == pytest.approx(row["r2_difference"])
        assert row["r2_ours_low"] <= row["r2_ours"] <= row["r2_ours_high"]
        assert row["spearman_theirs_low"] <= row["spearman_theirs"] <= row["spearman_theirs_high"]


def test_exchanging_the_models_turns_the_sign(
    dataset: IsoformDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = planted(dataset, dict.fromkeys(TISSUES, 0.3))
    theirs = planted(dataset, dict.fromkeys(TISSUES, 0.6))
    one = compared(monkeypatch, ours, theirs).table
    two = compared(monkeypatch, theirs, ours).table
    for metric in ("r2", "spearman"):
        np.testing.assert_allclose(one[f"{metric}_difference"], -two[f"{metric}_difference"].to_numpy())
        np.testing.assert_allclose(one[f"{metric}_low"], -two[f"{metric}_high"].to_numpy())


def test_only_shared_tissues_are_compared(dataset: IsoformDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = planted(dataset, dict.fromkeys(TISSUES, 0.3))
    # The other names its columns in another order.
    theirs = planted(dataset, {TISSUES[2]: 0.3, TISSUES[0]: 0.3})
    found = compared(monkeypatch, ours, theirs)
    assert found.table["tissue"].to_list() == [TISSUES[0], TISSUES[2], MEAN]
    assert found.summary["left_out"] == [TISSUES[1]]
    nothing = replace(theirs, tissues=["Skin", "Lung"])
    with pytest.raises(
        InputError, match=r"--against the other: predicts Skin, Lung, none of the tissues of RUN"
    ):
        compared(monkeypatch, ours, nothing)
    contrast = replace(CONFIG, contrasts=(f"{TISSUES[1]}:{TISSUES[0]}",))
    with pytest.raises(InputError, match="--contrast Liver:Brain: RUN and the other both predict only Brain"):
        compared(monkeypatch, ours, theirs, contrast)


def test_without_draws_there_are_no_intervals(dataset: IsoformDataset, runs: list[Path]) -> None:
    models = [IsoformModel.load(run) for run in runs]
    config = replace(CONFIG, n_draws=0)
    found = evaluate(models[:1], dataset, "test", config)
    table = compare(found, models[1:], config).table
    assert table["r2_low"].null_count() == table.height
    figure = comparison_figure(table, ("one", "two"))
    scores, difference = figure.axes
    assert [text.get_text() for text in scores.get_yticklabels()][-1] == MEAN
    assert len(difference.collections) == 1


def test_the_figure_orders_tissues_by_the_other_model() -> None:
    columns: dict[str, list[Any]] = {"tissue": ["A", "B", "C", MEAN]}
    for name, values in (("ours", [0.5, 0.6, 0.7, 0.6]), ("theirs", [0.1, 0.3, 0.2, 0.2])):
        columns |= {f"r2_{name}": values, f"r2_{name}_low": values, f"r2_{name}_high": values}
    columns |= {"r2_difference": [0.4, 0.3, 0.5, 0.4], "r2_low": [0.1] * 4, "r2_high": [0.6] * 4}
    figure = comparison_figure(pl.DataFrame(columns), ("new", "old"))
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["B", "C", "A", MEAN]
    legend = figure.axes[0].get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["old", "new"]


def test_the_command_compares_two_runs(
    cli: Callable[..., Any], dataset: IsoformDataset, runs: list[Path], tmp_path: Path
) -> None:
    words = [
        "isoform",
        "evaluate",
        str(runs[0]),
        "--data",
        str(dataset.path),
        "--draws",
        "20",
        "--device",
        "cpu",
    ]
    words += ["--no-baselines", "--contrast", "Liver:Brain"]
    result = cli(*words, "--against", str(runs[1]), "--out", str(tmp_path / "out"), "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [row["tissue"] for row in found["against"]["rows"]] == [*TISSUES, "Liver:Brain", MEAN]
    for row in found["against"]["rows"][:3]:
        assert row["r2_ours"] == pytest.approx(found["tissues"][row["tissue"]]["r2"])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "against.tsv",
        "against.json",
        "against_r2.png",
        "against_r2.svg",
        "against_spearman.png",
    } <= names
    shown = cli(*words, "--against", str(runs[1]))
    assert "one against two: R2 higher in" in shown.stdout and MEAN in shown.stdout, shown.stderr


@pytest.mark.parametrize(
    ("against", "said"),
    [(["SAME"], "is what is evaluated"), (["nowhere"], "nowhere"), (["DATA"], "holds no model")],
)
def test_a_mistake_is_one_line(
    cli: Callable[..., Any],
    dataset: IsoformDataset,
    runs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    against: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"SAME": runs[0], "DATA": dataset.path}
    more = [word for one in against for word in ("--against", str(places.get(one, one)))]
    words = [
        "isoform",
        "evaluate",
        str(runs[0]),
        "--data",
        str(dataset.path),
        "--out",
        "new",
        "--device",
        "cpu",
    ]
    result = cli(*words, *more)
    lines = [line for line in result.stderr.splitlines() if "error" in line]
    assert result.exit_code == 2 and len(lines) == 1 and said in lines[0], result.stderr
    assert not Path("new").exists()
