"""Pages of both stages of regulation hold the evaluation's numbers, say who wins, and describe every figure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cisoform.report.compare import compare
from cisoform.report.elementary_page import ElementaryResults, add_elementary_sections
from cisoform.report.elementary_plots import (
    GeneDrawing,
    LocusDrawing,
    TrackDrawing,
    lanes,
    locus,
    locus_heights,
    preserved_marks,
    signal_ticks,
)
from cisoform.report.marks import Marks, common_limits, rows_of_marks, score_bars_with_ceiling
from cisoform.report.page import Page, navigation
from cisoform.report.regulatory_page import (
    RegulatoryResults,
    add_regulatory_sections,
    bar_rows,
    depth_sentence,
    headline_part,
)
from cisoform.report.regulatory_plots import GenesDrawing, correlation_curves, gene_scatter, heat_maps
from cisoform.report.style import new_figure, new_rows

PARTS = ("seen chromosome, seen sample", "unseen chromosome, unseen sample")
rng = np.random.default_rng(0)


def bins(ours: float, mean: float | None) -> dict[str, Any]:
    return {
        "n_bins": 64,
        "pearson": {"model": ours},
        "n_bins_with_mean": 64 if mean is not None else 0,
        "pearson_where_mean": {"model": ours if mean is not None else None, "training_mean": mean},
        "pearson_arcsinh_where_mean": {"model": None, "training_mean": None},
        "partial_given_mean": 0.111,
    }


def region_part(ours: float, mean: float | None = 0.52) -> dict[str, Any]:
    guesses = {"model": ours, "neighbour": 0.417, "majority": None}
    return {
        "n_regions": 3,
        "n_windows": 11,
        "hidden": {
            "bases": {"n": 1234, "accuracy": {"model": ours, "neighbour": 0.333, "majority": 0.271}},
            "tracks": {"k27": {"n": 55, "accuracy": guesses, "macro_f1": guesses, "correlation": guesses}},
        },
        "preserved": {"k27": {"anchor_alone": bins(ours, mean), "dna_alone": bins(0.043, mean)}, "atac": {}},
    }


def region_evaluation(ours: float) -> dict[str, Any]:
    return {
        "split": "test",
        "window_tokens": 1024,
        "anchor": "atac",
        "parts": {PARTS[0]: region_part(0.761), "empty": None, PARTS[1]: region_part(ours)},
        "warnings": ["other data"],
    }


def a_locus() -> LocusDrawing:
    shown, other = rng.random(8), rng.random(8)
    return LocusDrawing(
        *("c3", 1000, 128, "skin", PARTS[1]),
        tracks=[TrackDrawing("atac", shown), TrackDrawing("k27", other, other / 2, other / 3)],
        genes=[GeneDrawing("GENE<1>", "-", [(900, 1100), (1300, 1400)])],
        peaks=[(1010, 1200)],
    )


def region_page(path: Path, ours: float, **changes: Any) -> str:
    log = [
        {"step": float(step), "train_loss": 2.0 / step, "valid_loss": loss, "valid_bin_correlation": score}
        for step, loss, score in ((1, 3.0, 0.1), (2, 1.0, 0.3), (3, 2.0, 0.4))
    ]
    given = {"log": log, "locus": a_locus(), "warnings": ["other data"], **changes}
    page = Page("title", "lead")
    add_elementary_sections(page, ElementaryResults({"seed": 0}, region_evaluation(ours), **given))
    page.write(path)
    return path.read_text()


def score(value: float) -> dict[str, Any]:
    keys = ("pearson", "gene_pearson", "delta_pearson", "delta_r2", "mse", "type_pearson")
    return {**dict.fromkeys(keys, value), "gene_pearson_interval": [value - 0.1, value + 0.1]}


def gene_part(ours: float) -> dict[str, Any]:
    scores = {
        "model": score(ours),
        "promoter_alone": score(0.213),
        "model_half": score(0.377),
        "model_double": score(0.388),
        "gene_mean": {**score(float("nan")), "gene_pearson_interval": None},
        "ridge": score(0.456),
        "ceiling": score(0.952),
    }
    change = {"pearson": 0.98, "gene_pearson": 0.97, "mean_change": -0.123, "mean_absolute_change": 0.2}
    depth = {"half": {**change, "spread": 1.0}, "double": {**change, "spread": 1.0}}
    return {"n_groups": 4, "n_genes": 5, "expressed_share": 0.8, "scores": scores, "depth": depth}


HEADLINE = "unseen chromosomes, all cell types"


def gene_evaluation(ours: float) -> dict[str, Any]:
    parts = {"seen chromosomes, seen cell types": gene_part(0.809), HEADLINE: gene_part(ours)}
    return {"split": "test", "parts": parts, "expression": "log1p of counts per 10,000", "warnings": []}


def some_genes() -> GenesDrawing:
    truth = rng.normal(size=(4, 3))
    predicted = {"model": truth * 0.5 + 1, "ridge": rng.normal(size=(4, 3))}
    return GenesDrawing(HEADLINE, ["G1", "G2", "G3"], list("abcd"), truth, predicted)


def gene_page(path: Path, ours: float, **changes: Any) -> str:
    per_gene = {HEADLINE: {"model": np.array([0.9, 0.6, -0.2, 0.1, np.nan]), "ridge": rng.normal(size=5) / 9}}
    page = Page("title", "lead")
    results = RegulatoryResults(
        {"seed": 0},
        gene_evaluation(ours),
        per_gene,
        **{"genes": some_genes(), "stated": {"r2": 0.987}, **changes},
    )
    add_regulatory_sections(page, results)
    page.write(path)
    return path.read_text()


@pytest.mark.parametrize("write", [region_page, gene_page])
def test_every_figure_is_described_and_nothing_is_outside(write: Any, tmp_path: Path) -> None:
    text = write(tmp_path / "page.html", 0.613)
    figures = re.findall(r'<figure role="img" aria-label="([^"]*)">', text)
    assert len(figures) == text.count("<figure") >= 3
    assert all(len(words) > 25 for words in figures) and len(set(figures)) == len(figures)
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert [url[:80] for url in links if not url.startswith(("#", "data:image/png;"))] == []
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_the_first_page_holds_the_evaluation(tmp_path: Path) -> None:
    text = region_page(tmp_path / "page.html", 0.613)
    for value in (
        "0.613",
        "0.761",
        "0.417",
        "0.333",
        "0.271",
        "0.520",
        "0.043",
        "0.111",
        "1,234",
        "other data",
    ):
        assert value in text, value
    assert "GENE&lt;1&gt;" in text and "position on c3, bp" in text and "c3:1,000-2,024" in text
    assert (
        "kept: step 2, validation bin correlation 0.300" in text
    )  # the lowest loss, not the best correlation


def test_the_second_page_holds_the_evaluation(tmp_path: Path) -> None:
    text = gene_page(tmp_path / "page.html", 0.613)
    for value in (
        "0.613",
        "0.809",
        "0.213",
        "0.456",
        "0.952",
        "0.377",
        "-0.123",
        "r2 0.987",
        "5 genes x 4 groups",
    ):
        assert value in text, value
    # Of four genes with a correlation two are above 0.5 and one below 0.
    assert "Of 4 genes" in text and "50% above 0.5 and 25% below 0" in text


@pytest.mark.parametrize("ours, said", [(0.613, "wins all 2 comparisons"), (0.111, "loses 2 of 2")])
def test_the_first_page_says_who_wins_in_the_hardest_part(ours: float, said: str, tmp_path: Path) -> None:
    text = region_page(tmp_path / "page.html", ours)
    assert ("The model loses" in text) == (ours < 0.3) and (said in text)
    if ours < 0.3:
        assert "the model loses to <code>training mean</code> (0.111 against 0.520)" in text


@pytest.mark.parametrize("ours", [0.613, 0.412])
def test_the_second_page_says_who_wins(ours: float, tmp_path: Path) -> None:
    text = gene_page(tmp_path / "page.html", ours)
    lost = f"the model loses to <code>ridge on accessibility</code> ({ours:.3f} against 0.456)"
    assert (lost in text) == (ours < 0.456) == ("The model loses 3 of 4 comparisons" in text)
    assert ("The model wins all 4 comparisons" in text) == (ours > 0.456)
    # The ceiling, an ablation or another depth of the model is no rival.
    assert "against 0.952" not in text and "against 0.388" not in text


def test_a_page_without_log_genes_or_locus_is_whole(tmp_path: Path) -> None:
    assert "Along a locus" not in region_page(tmp_path / "a.html", 0.5, locus=None, log=())
    assert "held-out genes" not in gene_page(tmp_path / "b.html", 0.5, genes=None)


def test_a_tie_is_lost_and_missing_scores_do_not_compete() -> None:
    assert not compare("x", 0.5, {"a": 0.5}).won
    assert compare("x", 0.5, {"a": None, "b": float("nan"), "c": 0.4}).rival == "c"
    assert not compare("x", 0.5, {"a": None}).decided and not compare("x", None, {"a": 0.1}).decided


def test_marks_are_the_scores() -> None:
    found = {item.name: item.values for item in preserved_marks(region_part(0.613), ["k27", "atac"])}
    assert found["model, from accessibility alone"][0] == 0.613 and np.isnan(
        found["model, from accessibility alone"][1]
    )
    assert found["model, from DNA alone"][0] == 0.043
    assert found["mean of the training samples"][0] == 0.52
    without = preserved_marks(region_part(0.613, None), ["k27"])
    assert [item.name for item in without if not item.ours] == [] and without[0].values == [0.613]
    _, (axes,) = new_figure(3.0, 2.0)
    rows_of_marks(axes, ["a", "b"], [Marks("m", [0.1, 1.5], ours=True), Marks("n", [float("nan"), 0.2])], "x")
    common_limits([axes])
    np.testing.assert_allclose(np.ma.getdata(axes.collections[0].get_offsets()), [[0.1, 1], [1.5, 0]])
    assert axes.get_xlim()[0] < 0 and axes.get_xlim()[1] > 1.5


def test_bars_are_the_scores() -> None:
    rows = bar_rows(gene_part(0.613))
    assert [name for name, _, _ in rows] == [
        *("model", "model, promoter peak only", "gene mean", "ridge on accessibility"),
    ]
    _, (axes,) = new_figure(4.0, 2.0)
    score_bars_with_ceiling(axes, rows, "x", ("ceiling", 0.952))
    assert [round(bar.get_width(), 6) for bar in axes.patches] == [0.613, 0.213, 0.456]
    texts = [text.get_text() for text in axes.texts]
    assert "0.613" in texts and "not defined" in texts and "ceiling 0.952" in texts


def test_the_deciding_part_is_unseen_genes_across_types() -> None:
    assert headline_part(["seen chromosomes, seen cell types", HEADLINE]) == HEADLINE
    assert headline_part(["train"]) == "train"


def test_depth_is_put_in_words_by_its_size() -> None:
    def found(change: float) -> dict[str, Any]:
        return {"half": {"mean_absolute_change": change, "mean_change": -0.1, "spread": 2.0}}

    assert "changes predictions little" in depth_sentence(found(0.1))
    assert "changes predictions strongly" in depth_sentence(found(1.2)) and "60%" in depth_sentence(
        found(1.2)
    )
    worst = {**found(0.1), "double": {"mean_absolute_change": 0.8, "mean_change": 0.5, "spread": 2.0}}
    assert depth_sentence(worst).startswith("Doubling the signal changes predictions noticeably")


def test_a_locus_draws_what_it_is_given() -> None:
    drawing = a_locus()
    assert drawing.end == 1000 + 8 * 128 and len(locus_heights(drawing)) == 4
    figure, rows = new_rows(6.0, locus_heights(drawing))
    locus(rows, drawing)
    assert rows[0].get_xlim() == (1000, 2024)
    # The shown track is one area; the other is the truth, the training mean and the prediction.
    assert [len(axes.patches) for axes in rows[:2]] == [1, 3]
    values, edges, _ = rows[1].patches[2].get_data()
    np.testing.assert_allclose(values, drawing.tracks[1].predicted)
    assert edges[0] == 1000 and edges[-1] == 2024
    # Exons are cut at the border: 900-1100 is drawn from 1000 on.
    assert [(bar.get_x(), bar.get_width()) for bar in rows[2].patches] == [(1000, 100), (1300, 100)]
    assert [(bar.get_x(), bar.get_width()) for bar in rows[3].patches] == [(1010, 190)]
    figure.clear()


def test_genes_that_come_too_near_take_another_lane() -> None:
    genes = [GeneDrawing(n, "+", [(s, s + 100)]) for n, s in (("a", 0), ("b", 120), ("c", 151))]
    assert [[gene.name for gene in row] for row in lanes(genes, 50.0)] == [["a", "c"], ["b"]]


@pytest.mark.parametrize("top", [0.1, 1.0, 3.3, 6.0])
def test_ticks_are_round_and_inside(top: float) -> None:
    ticks = signal_ticks(top)
    assert ticks[0] == 0 and len(ticks) >= 2 and ticks == sorted(ticks)
    assert np.arcsinh(ticks[-1]) <= top and len(ticks) <= 4


def test_curves_and_maps_hold_the_genes() -> None:
    drawing = some_genes()
    _, (axes,) = new_figure(4.0, 3.0)
    correlation_curves(axes, {"model": np.array([0.5, -0.5, np.nan, 0.9, 0.7])})
    x, y = axes.lines[0].get_data()
    at = {round(float(a), 3): float(b) for a, b in zip(x, y, strict=True)}
    assert (
        at[-1.0] == 1
        and at[-0.5] == 0.75
        and at[0.9] == 0
        and "median 0.60" in axes.get_legend_handles_labels()[1][0]
    )
    _, panels = new_figure(6.0, 3.0, columns=2)
    heat_maps(panels, drawing, ["model"])
    shown = np.asarray(panels[1].images[0].get_array())
    np.testing.assert_allclose(
        shown, (drawing.predicted["model"] - drawing.predicted["model"].mean(axis=0)).T
    )
    _, (axes,) = new_figure(2.0, 2.0)
    gene_scatter(axes, drawing, 0)
    assert axes.get_title() == "G1  r = 1.00"
    np.testing.assert_allclose(
        np.ma.getdata(axes.collections[0].get_offsets())[:, 1], drawing.observed[:, 0], rtol=1e-6
    )


def test_navigation_groups_sections_of_a_run() -> None:
    assert navigation(["A: x", "A: y", "B: z"]) == [("A", [(1, "x"), (2, "y")]), ("B", [(3, "z")])]
    assert navigation(["What", "One gene: X"]) == [("", [(1, "What"), (2, "One gene: X")])]


def test_a_folded_table_opens_on_its_line(tmp_path: Path) -> None:
    page = Page("t", "l")
    page.section("s")
    page.table(["a"], [[1]], folded="all `rows`")
    page.warning("text", ["one", "two"])
    page.write(tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    assert "<details><summary>all <code>rows</code></summary>" in text
    assert '<div class="warn">text<ul><li>one</li><li>two</li></ul></div>' in text
