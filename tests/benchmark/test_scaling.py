"""Slopes of a grid: exact laws are found, intervals cover, and too few points are said to be too few."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from cisoform.benchmark.scaling import best_baseline, fit_grid, fit_plane, reading

GRID = list(itertools.product((1e4, 3e4, 9e4), (1e5, 5e5, 25e5)))
PARAMETERS, DATA = ([pair[axis] for pair in GRID] for axis in range(2))


def law(alpha: float, beta: float) -> list[float]:
    """Log10 of a loss 7 N^alpha D^beta."""
    return [float(np.log10(7 * n**alpha * d**beta)) for n, d in GRID]


def test_an_exact_power_law_is_found_and_leaves_nothing() -> None:
    found = fit_plane(PARAMETERS, DATA, law(-0.07, -0.03))
    assert found["parameters"]["slope"] == pytest.approx(-0.07)
    assert found["data"]["slope"] == pytest.approx(-0.03)
    np.testing.assert_allclose(found["data"]["interval"], -0.03, atol=1e-9)
    assert found["unexplained"] == pytest.approx(0, abs=1e-9)


def test_order_and_units_do_not_change_slopes() -> None:
    rng = np.random.default_rng(3)
    values = np.array(law(-0.1, 0.0)) + rng.normal(0, 0.02, 9)
    order = rng.permutation(9)
    one = fit_plane(PARAMETERS, DATA, values.tolist(), draws=0 + 50)
    two = fit_plane(
        (1000 * np.array(PARAMETERS)[order]).tolist(),
        np.array(DATA)[order].tolist(),
        values[order].tolist(),
        draws=50,
    )
    for axis in ("parameters", "data"):
        assert one[axis]["slope"] == pytest.approx(two[axis]["slope"])


def test_intervals_cover_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(150):
        values = np.array(law(-0.1, -0.05)) + rng.normal(0, 0.03, 9)
        low, high = fit_plane(PARAMETERS, DATA, values.tolist(), draws=400)["parameters"]["interval"]
        covered.append(low <= -0.1 <= high)
    assert 0.82 <= np.mean(covered) <= 0.99  # nine points: a bootstrap is somewhat narrow


def test_too_few_points_get_no_slope() -> None:
    few = fit_plane(PARAMETERS[:5], DATA[:5], law(-0.1, 0)[:5])
    assert few["parameters"]["slope"] is None and "not enough points: 5 of at least 6" in few["data"]["why"]
    two_sizes = [row for row in range(9) if PARAMETERS[row] < 5e4]
    values = [law(0.0, -0.2)[row] for row in two_sizes]
    found = fit_plane([PARAMETERS[r] for r in two_sizes], [DATA[r] for r in two_sizes], values)
    assert "2 different values of at least 3" in found["parameters"]["why"]
    assert found["data"]["slope"] == pytest.approx(-0.2)
    missing = fit_plane(PARAMETERS, DATA, [*law(-0.1, 0)[:5], *[float("nan")] * 4])
    assert missing["n_points"] == 5 and missing["data"]["interval"] is None


def cell(n: float, d: float, loss: float, score: float, rival: float) -> dict[str, Any]:
    scores: dict[str, Any] = {
        "model": {"gene_pearson": score, "gene_pearson_interval": [score - 0.1, score + 0.1]},
        "ridge": {"gene_pearson": rival},
        "window_sum": {"gene_pearson": None},
    }
    return {
        "repeat": 0,
        "parameters": {"elementary": n, "all": n + 5},
        "data": {"tokens": d, "pairs": d / 10},
        "pretraining": {"loss": loss, "start_loss": 30.0},
        "test": {"scores": scores},
    }


def test_sentences_follow_the_numbers() -> None:
    cells = [cell(n, d, 40 * n**-0.1, 0.2 if n > 5e4 else 0.02, 0.06) for n, d in GRID]
    lines = reading(cells, fit_grid(cells), simulated=True)
    assert lines[0].startswith(
        "9 trainings over 9.0-fold parameters and 25.0-fold data of a simulated genome"
    )
    assert "no scaling law" in lines[0]
    assert (
        "Tenfold parameters change log10 of the loss by -0.100" in lines[1] and "does not include" in lines[1]
    )
    assert lines[-2] == "The loss is below that before training in 9 of 9 cells"
    # The three cells at 0.2 are above 0.06, and so is their lower end, 0.1.
    assert "in 3 of 9 cells" in lines[-1] and lines[-1].endswith("in 3")
    assert best_baseline(cells[0]) == ("ridge", 0.06)
    flat = reading(cells[:4], fit_grid(cells[:4]), simulated=False)
    assert "simulated" not in flat[0] and flat[1].startswith(
        "No slope of log10 of the loss over parameters: not"
    )
