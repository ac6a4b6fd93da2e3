"""Rows of several seeds beside a reference: means, intervals over families and seeds, what is noise, what is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cisoform.benchmark.ablation import MEAN, PAPER, compare_rows, over_seeds, reading, score_seeds
from cisoform.benchmark.evaluation import EvaluationConfig, Truth
from cisoform.benchmark.metrics import mean_over_columns, r2, spearman

N_GENES, N_ROWS = 40, 120


def truth(draws: int = 200, contrasts: tuple[str, ...] = ()) -> Truth:
    rng = np.random.default_rng(0)
    genes = [f"g{i % N_GENES}" for i in range(N_ROWS)]
    level = rng.normal(size=N_GENES)
    labels = np.stack([level[[i % N_GENES for i in range(N_ROWS)]] for _ in range(2)], axis=1)
    labels = labels + rng.normal(scale=0.5, size=labels.shape)
    config = EvaluationConfig(n_draws=draws, contrasts=contrasts)
    return Truth.build(("a", "b"), labels, np.array([False, False]), genes, genes, config)


def noisy(known: Truth, scale: float, seeds: int, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float64]]:
    noise = np.random.default_rng(seed).normal(scale=scale, size=(seeds, *known.labels.shape))
    return np.asarray(known.labels + noise)


def test_a_row_is_the_mean_over_its_seeds_and_over_the_columns() -> None:
    known = truth(contrasts=("a:b",))
    values = noisy(known, 0.5, 3)
    row = compare_rows(known, {"one": values}, "one")["one"]
    assert set(row) == {"scores"} and list(row["scores"]) == ["a", "b", "a:b", MEAN]
    for metric, function in (("r2", r2), ("spearman", spearman)):
        each = np.array([function(known.labels, seed).mean() for seed in values])
        assert row["scores"][MEAN][f"{metric}_seeds"] == pytest.approx(each.tolist())
        assert row["scores"][MEAN][metric] == pytest.approx(each.mean())
        assert row["scores"][MEAN][f"{metric}_sd"] == pytest.approx(each.std(ddof=1))
        low, high = row["scores"][MEAN][f"{metric}_ci"]
        assert low < each.mean() < high


def test_better_worse_and_equal_rows_are_told_apart() -> None:
    known = truth()
    rows = {
        "reference": noisy(known, 0.5, 3),
        "same": noisy(known, 0.5, 3, seed=2),
        "worse": noisy(known, 1.5, 3),
        "better": noisy(known, 0.1, 2),
        "constant": np.zeros((1, *known.labels.shape)),
    }
    found = compare_rows(known, rows, "reference")
    assert {name: row.get("within_noise") for name, row in found.items()} == {
        **dict.fromkeys(("worse", "better", "constant"), False),
        "reference": None,
        "same": True,
    }
    change = {name: row["minus_reference"][MEAN]["r2"] for name, row in found.items() if name != "reference"}
    assert change["worse"]["ci"][1] < 0 < change["better"]["ci"][0]
    points = {name: row["scores"][MEAN]["r2"] for name, row in found.items()}
    for name, one in change.items():
        assert one["difference"] == pytest.approx(points[name] - points["reference"])
    assert found["constant"]["scores"][MEAN]["spearman"] is None
    assert found["constant"]["scores"][MEAN]["r2_sd"] is None


def test_the_reference_beside_itself_differs_by_nothing() -> None:
    known = truth()
    one = noisy(known, 0.5, 1)
    found = compare_rows(known, {"reference": one, "again": one.copy()}, "reference")["again"]
    assert found["minus_reference"][MEAN]["r2"] == {"difference": 0.0, "ci": [0.0, 0.0]}
    assert found["within_noise"]


def test_the_order_of_seeds_does_not_matter_to_the_score() -> None:
    known = truth()
    values = noisy(known, 0.5, 3)
    one, other = (compare_rows(known, {"row": x}, "row")["row"]["scores"] for x in (values, values[::-1]))
    assert one[MEAN]["r2"] == pytest.approx(other[MEAN]["r2"])


def test_seeds_are_drawn_with_replacement_for_every_draw() -> None:
    # Two seeds whose draws are all 0 and all 1: a draw of both is 0, 1/2 or 1, one, two and one times in four.
    draws = np.stack([np.zeros((4_000, 1)), np.ones((4_000, 1))])[None]
    values, counts = np.unique(over_seeds(draws, 0), return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(counts / 4_000, [0.25, 0.5, 0.25], atol=0.03)
    single = np.arange(6.0).reshape(1, 1, 6, 1)
    np.testing.assert_array_equal(over_seeds(single, 3), single[:, 0])


def test_seeds_that_differ_widen_the_interval() -> None:
    known = truth()
    alike = np.repeat(noisy(known, 0.5, 1), 3, axis=0)
    apart = np.concatenate([noisy(known, scale, 1) for scale in (0.1, 0.5, 1.2)])
    widths = []
    for values in (alike, apart):
        low, high = compare_rows(known, {"row": values}, "row")["row"]["scores"][MEAN]["r2_ci"]
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_draws_of_the_mean_are_means_of_the_columns() -> None:
    known = truth()
    scored = score_seeds(known, noisy(known, 0.5, 2))
    assert scored.points.shape == (2, 2, 3) and scored.draws.shape == (2, 2, 200, 3)
    np.testing.assert_allclose(scored.draws[..., 2], mean_over_columns(scored.draws[..., :2]))


def content(**changes: Any) -> dict[str, Any]:
    known = truth()
    rows = {
        "reference": noisy(known, 0.5, 2),
        "same": noisy(known, 0.5, 2, seed=2),
        "worse": noisy(known, 2.0, 2),
        "baseline": noisy(known, changes.pop("baseline", 0.1), 1, seed=5),
    }
    found = compare_rows(known, rows, "reference")
    shown = [
        {"name": name, "label": name, "paper": None, **found[name]} for name in ("reference", "same", "worse")
    ]
    return {
        "table": "aggregators",
        "reference": "reference",
        "split": "test",
        "seeds": [0, 1],
        "bootstrap": {"draws": 200},
        "rows": shown,
        "baselines": [{"name": "ridge", "label": "ridge", **found["baseline"]}],
        "paper_source": "of the paper",
        **changes,
    }


def test_what_is_noise_is_said_and_a_lost_comparison_too() -> None:
    lines = reading(content())
    assert "Below reference: worse." in lines
    assert any(line.startswith("Within noise of reference") and line.endswith(": same.") for line in lines)
    assert "reference loses to the best baseline, ridge." in lines
    assert "reference is above the best baseline, ridge." in reading(content(baseline=2.0))
    assert "reference is not told apart from the best baseline, ridge." in reading(content(baseline=0.5))


def test_limits_are_said() -> None:
    assert any("optimistic" in line for line in reading(content(split="valid")))
    assert any(line.startswith("One seed") for line in reading(content(seeds=[4])))
    assert any("no intervals" in line for line in reading(content(bootstrap={"draws": 0})))
    assert not any("of the paper" in line for line in reading(content()))
    with_paper = content()
    with_paper["rows"][0]["paper"] = vars(PAPER["aggregators"]["linear"])
    assert "Paper: of the paper" in reading(with_paper)


def test_without_draws_nothing_is_told_apart() -> None:
    known = truth(draws=0)
    found = compare_rows(known, {"a": noisy(known, 0.1, 2), "b": noisy(known, 3.0, 2)}, "a")["b"]
    assert found["within_noise"] and found["minus_reference"][MEAN]["r2"]["ci"] == [None, None]
