"""Sections of readings beside planted answers: the verdict follows from the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cisoform.benchmark.planted import Measure
from cisoform.report.page import Page
from cisoform.report.truth_plots import change_scatter
from cisoform.report.truth_section import (
    LOST,
    SHORT,
    WORKED,
    Drawn,
    Listing,
    TruthSection,
    add_truth_part,
    grouped,
    score_table,
    verdict,
)


def measure(value: float, goal: float | None = None, rival: float = 0.6, chance: float = 0.2) -> Measure:
    return Measure(
        reading="links",
        measure="AUPRC",
        value=value,
        goal=goal,
        baselines={"contact": rival, "distance": 0.1},
        nulls={"null: dealt anew": chance},
        n="7 pairs",
    )


@pytest.mark.parametrize(
    ("one", "kind", "words"),
    [
        (measure(0.7), WORKED, "beats `contact` (0.600) and is above chance (0.200)"),
        (measure(0.7, goal=0.9), SHORT, "misses the goal of 0.9"),
        (measure(0.95, goal=0.9), WORKED, "reaches the goal of 0.9"),
        (measure(0.5), LOST, "loses to `contact` (0.600)"),
        (measure(0.6), LOST, "loses to `contact`"),  # a draw is not won
        (measure(0.7, chance=0.8), LOST, "is no better than chance (0.800)"),
        (measure(float("nan")), LOST, "nothing could be scored"),
    ],
)
def test_the_verdict_says_what_the_numbers_say(one: Measure, kind: str, words: str) -> None:
    found, text = verdict(one)
    assert found == kind and words in text


def test_baselines_stand_below_the_reading_from_the_strongest() -> None:
    header, rows = score_table([measure(0.7)])
    assert header == ["", "AUPRC"]
    assert rows == [
        ["links", 0.7],
        ["baseline: contact", 0.6],
        ["baseline: distance", 0.1],
        ["chance: dealt anew", 0.2],
    ]


def test_measures_share_a_table_only_beside_the_same_baselines() -> None:
    other = Measure(reading="links", measure="sign", value=0.9, baselines={"one sign": 0.5})
    assert [len(one) for one in grouped([measure(0.7), measure(0.8), other])] == [2, 1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0.7,), "It worked."),
        ((0.7, 0.1), "It worked in part."),
        ((0.1,), "It did not work here"),
    ],
)
def test_a_section_ends_with_its_verdict(tmp_path: Path, values: tuple[float, ...], said: str) -> None:
    page = Page("t", "l")
    figure = change_scatter(np.array([1.0, -1.0, 0.0]), np.array([0.5, 0.5, 0.0]))
    section = TruthSection(
        title="Links",
        asks="Which peak?",
        guidance="with care.",
        measures=[measure(value) for value in values],
        figures=[Drawn(figure, "A point is a gene.", "points")],
        listings=[Listing(["gene"], [["A1"]], "One gene.")],
    )
    add_truth_part(page, "Readings", section)
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert (
        "Readings: Links" in text and said in text and "How to read it: with care." in text and "A1" in text
    )
