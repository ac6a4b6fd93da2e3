"""Figures of perturbations show the strongest genes, groups and peaks, at their values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from matplotlib import pyplot as plt

from cisoform.report.perturb_plots import MOST_GENES, MOST_GROUPS, MOST_ROWS, effects_figure, screen_figure


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def effects(n_genes: int, n_groups: int) -> pl.DataFrame:
    """Gene g in group k moves by -(g + 1) (k + 1)."""
    return pl.DataFrame(
        [
            {
                "gene_id": f"ID{gene}",
                "gene_name": f"G{gene}",
                "kind": f"type{group}",
                "difference": -(gene + 1.0) * (group + 1),
                "low": -(gene + 1.0) * (group + 1) - 0.5,
                "high": -(gene + 1.0) * (group + 1) + 0.5,
                "control_mean": 0.25,
                "control_sd": 0.1,
            }
            for gene in range(n_genes)
            for group in range(n_groups)
        ]
    )


def test_the_strongest_genes_and_groups_are_drawn() -> None:
    table = effects(MOST_GENES + 3, MOST_GROUPS + 2)
    figure = effects_figure(table, "kind", "knockout of TFA")
    assert [axis.get_title() for axis in figure.axes] == ["type5", "type4", "type3", "type2"]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [f"G{gene}" for gene in range(MOST_GENES + 2, 2, -1)]
    assert "20 of 23 genes in 4 of 6 groups" in figure.get_suptitle()
    (dots,) = [line for line in figure.axes[1].lines if line.get_label() == "chosen peaks"]
    assert sorted(np.asarray(dots.get_xdata()).tolist()) == [-5.0 * (gene + 1) for gene in range(22, 2, -1)]
    said = figure.legends[0].get_texts()
    assert {text.get_text() for text in said} == {
        "chosen peaks",
        "matched controls, mean and sd",
        "95 % over cells or pools",
    }


def test_what_is_not_known_is_not_drawn() -> None:
    table = effects(2, 1).with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in ("low", "high"))
    figure = effects_figure(table, "kind", "knockin of 2 peaks")
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "chosen peaks",
        "matched controls, mean and sd",
    }
    bare = effects_figure(table.select("gene_name", "difference"), "kind", "insert of 1 peaks")
    assert not bare.legends and bare.get_suptitle() == "insert of 1 peaks" and len(bare.axes) == 1


def test_genes_of_one_name_stay_apart() -> None:
    table = effects(2, 1).with_columns(gene_name=pl.lit("SAME"))
    labels = [text.get_text() for text in effects_figure(table, "kind", "t").axes[0].get_yticklabels()]
    assert labels == ["SAME ID1", "SAME ID0"]


def screened(n_genes: int, n_groups: int) -> pl.DataFrame:
    """Three peaks a gene; the last one changes nothing."""
    return pl.DataFrame(
        [
            {
                "gene_id": f"ID{gene}",
                "gene_name": f"G{gene}",
                "kind": f"type{group}",
                "peak": 3 * gene + at,
                "distance_bp": 1000.0 * (at - 1),
                "difference": (2.0 - at) * (gene + 1) * (group + 1),
            }
            for gene in range(n_genes)
            for group in range(n_groups)
            for at in range(3)
        ]
    )


def test_a_screen_of_genes_shows_each_in_its_strongest_group() -> None:
    figure = screen_figure(screened(MOST_ROWS + 1, 2), "kind", "knockout of TFA")
    assert [axis.get_ylabel() for axis in figure.axes] == [f"G{gene}\ntype1" for gene in range(6, 0, -1)]
    assert "the 6 strongest of 7" in figure.axes[0].get_title(loc="left")
    open_, shut = (line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert np.asarray(open_.get_xdata()).tolist() == [-1.0, 0.0]
    assert np.asarray(open_.get_ydata()).tolist() == [28.0, 14.0]
    assert np.asarray(shut.get_xdata()).tolist() == [1.0] and shut.get_markerfacecolor() == "white"


def test_a_screen_of_one_gene_has_a_row_for_every_group_on_one_scale() -> None:
    figure = screen_figure(screened(1, 3), "kind", "t")
    assert [axis.get_ylabel() for axis in figure.axes] == ["type2", "type1", "type0"]
    assert len({axis.get_ylim() for axis in figure.axes}) == 1
    assert "t, G0" in figure.axes[0].get_title(loc="left")


def test_a_locus_without_places_is_drawn_by_number() -> None:
    table = screened(1, 1).with_columns(distance_bp=pl.lit(float("nan")))
    figure = screen_figure(table, "kind", "t")
    assert "number of the peak" in figure.axes[0].get_xlabel() and figure.axes[0].get_ylabel() == "G0"
