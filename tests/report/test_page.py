"""Pages are whole, self-contained, deterministic, and say when a model loses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cisoform.report.isoform_page import IsoformResults, add_isoform_sections
from cisoform.report.isoform_plots import IsoformDrawing, gene_structure, learning_curve
from cisoform.report.page import Page, format_value
from cisoform.report.style import new_figure


def evaluation(ours: float, rival: float) -> dict[str, Any]:
    scores = {"r2": ours, "spearman": 0.5, "r2_ci": [ours - 0.1, ours + 0.1], "level": "transcript"}
    mean = {"r2": rival, "spearman": 0.4}
    return {
        "split": "test",
        "n_transcripts": 7,
        "n_genes": 3,
        "tissues": {"liver": scores, "brain": scores},
        "mean": {"r2": ours, "spearman": 0.5, "r2_centred": 0.1},
        "contrasts": {"liver:brain": {"r2": 0.1, "spearman": 0.2}},
        "within_gene": {
            "n_genes": 3,
            "pair_accuracy": 0.61,
            "dominant_accuracy": 0.5,
            "dominant_accuracy_chance": 0.4,
        },
        "baselines": {
            "boosted_trees_all": {"liver": mean, "brain": mean},
            "ceiling_replicates": {"liver": {"r2": 0.9}},
        },
        "baseline_details": {
            "boosted_trees_all": {"mean": mean, "within_gene": {"pair_accuracy": 0.58}},
            "ceiling_replicates": {"mean": {"r2": 0.9, "spearman": 0.9}, "within_gene": {}},
        },
        "warnings": [],
    }


def results(ours: float, rival: float, briefly: bool = False) -> IsoformResults:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 2)).astype(np.float32)
    drawing = IsoformDrawing("T<1>", "-", [(500, 700), (100, 300)], (150, 600), values[0], values[1])
    return IsoformResults(
        title="t",
        facts={"seed": 0},
        evaluation=evaluation(ours, rival),
        observed=values,
        predicted=values[::-1],
        tissues=["liver", "brain"],
        log=[
            {"step": 1.0, "train_loss": 1.0, "valid_r2": None},
            {"step": 2.0, "train_loss": 0.5, "valid_r2": 0.2},
        ],
        gene=("G", [drawing]),
        truth=[["R² in liver", 0.9, ours]],
        briefly_trained=briefly,
    )


def write(path: Path, found: IsoformResults) -> str:
    page = Page("title & more", "lead")
    add_isoform_sections(page, found)
    page.write(path)
    return path.read_text()


def test_a_page_is_self_contained_and_deterministic(tmp_path: Path) -> None:
    first, second = (
        write(tmp_path / "a.html", results(0.4, 0.2)),
        write(tmp_path / "b.html", results(0.4, 0.2)),
    )
    assert first == second
    assert "title &amp; more" in first
    assert "T&lt;1&gt;" in first
    outside = [url for url in re.findall(r'(?:src|href)="([^"]+)"', first) if not url.startswith("#")]
    assert outside == []
    ids = re.findall(r'\bid="([^"]+)"', first)
    assert len(ids) == len(set(ids))
    for name in re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', first):
        assert (name[0] or name[1]) in ids


@pytest.mark.parametrize(
    "ours, rival, said", [(0.1, 0.2, "The model loses to"), (0.3, 0.2, "The strongest baseline is")]
)
def test_the_page_says_who_wins(tmp_path: Path, ours: float, rival: float, said: str) -> None:
    assert said in write(tmp_path / "p.html", results(ours, rival))


def test_brief_training_is_stamped_and_ceilings_are_no_rivals(tmp_path: Path) -> None:
    text = write(tmp_path / "p.html", results(0.5, 0.2, briefly=True))
    assert "Briefly trained" in text
    assert "loses to" not in text


def test_the_kept_step_is_the_best_validation() -> None:
    _, (axes,) = new_figure(4.0, 2.0)
    learning_curve(axes, [1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [0.1, 0.4, 0.3])
    assert axes.get_title() == "kept: step 2, validation R² 0.400"


def test_the_coding_part_is_cut_at_exon_borders() -> None:
    _, (axes,) = new_figure(4.0, 2.0)
    values = np.zeros(1, dtype=np.float32)
    gene_structure(axes, [IsoformDrawing("t", "+", [(100, 200), (300, 400)], (150, 350), values, values)])
    boxes = sorted(
        (bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches if bar.get_height() > 0.4
    )
    assert boxes == [(150, 200), (300, 350)]


def test_values_in_tables() -> None:
    assert [format_value(v) for v in (1234, 0.12345, float("nan"), None, "a<b", True)] == [
        *("1,234", "0.123", "–", "–", "a&lt;b", "True"),
    ]
