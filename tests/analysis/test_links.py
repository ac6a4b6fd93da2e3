"""Scores of peaks as links: normalised within genes and adjusted for distance, worked by hand."""

from __future__ import annotations

import polars as pl
import pytest

from cisoform.analysis.links import link_scores

TABLE = pl.DataFrame(
    {
        "gene": [0, 0, 0, 1, 1, 2],
        "label": [0, 0, 0, 0, 0, 0],
        "distance_bp": [-100_000.0, 0.0, 10_000.0, 5_000.0, -1_000.0, 7.0],
        "score_a": [1.0, 3.0, -4.0, 2.0, 2.0, 0.0],
    }
)


def made(normalise: str, adjust: str) -> list[float]:
    found = link_scores(TABLE, ["a"], normalise, adjust)  # type: ignore[arg-type]
    return [round(value, 4) for value in found["link_a"].to_list()]


def test_normalisation_is_within_the_gene() -> None:
    # Gene 0: sum of |score| 8; mean 0, variance (1 + 9 + 16) / 3 = 8.667. Gene 1: equal scores. Gene 2: nothing.
    assert made("none", "none") == [1, 3, -4, 2, 2, 0]
    assert made("share", "none") == [0.125, 0.375, -0.5, 0.5, 0.5, 0]
    assert made("z", "none") == [0.3397, 1.019, -1.3587, 0, 0, 0]


def test_labels_are_apart() -> None:
    two = pl.concat([TABLE, TABLE.with_columns(label=pl.lit(1, pl.Int64), score_a=pl.col("score_a") * 5)])
    share = link_scores(two, ["a"], "share", "none")["link_a"].to_list()
    assert share[:6] == share[6:]


def test_distance_divides_or_multiplies() -> None:
    # log10 of 100,000, of 10 (the least), of 10,000, 5,000, 1,000 and 10.
    assert made("none", "log10") == [0.2, 3, -1, 0.5407, 0.6667, 0]
    near = 5000**-0.87
    found = link_scores(TABLE, ["a"], "none", "powerlaw")["link_a"].to_list()
    assert found == pytest.approx([100_000**-0.87, 3 * near, -4 * 10_000**-0.87, 2 * near, 2 * near, 0])


def test_a_distance_is_needed() -> None:
    table = TABLE.with_columns(distance_bp=pl.Series([float("nan")] * 6))
    assert link_scores(table, ["a"], "none", "none")["link_a"].to_list() == TABLE["score_a"].to_list()
    with pytest.raises(ValueError, match="needs the distance"):
        link_scores(table, ["a"], "none", "log10")
