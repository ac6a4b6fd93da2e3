"""The figure of variants shows each allele and gene once, where it does most."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib import pyplot as plt

from cisoform.report.variant_plots import MOST_ROWS, variants_figure


def effects(n: int) -> pl.DataFrame:
    """Allele k moves the gene by k + 1 in group a and by -(k + 2) in group b."""
    rows = [
        {
            "variant": f"V{at}",
            "ref": "ACGTACGT" if at == 0 else "A",
            "alt": "C",
            "gene_id": "ID",
            "gene_name": "GENE",
            "kind": kind,
            "difference": value,
            "control_mean_absolute": 0.5,
        }
        for at in range(n)
        for kind, value in (("a", at + 1.0), ("b", -(at + 2.0)))
    ]
    return pl.DataFrame(rows)


def test_each_allele_and_gene_once_the_strongest_first() -> None:
    figure = variants_figure(effects(MOST_ROWS + 2), "kind")
    assert figure is not None
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert (
        len(labels) == MOST_ROWS and labels[0] == "V26 A>C  GENE, b" and "25 of 27" in figure.get_suptitle()
    )
    (dots,) = [line for line in axes.lines if line.get_label() == "accessibility fixed"]
    assert np.asarray(dots.get_xdata()).tolist() == [-(at + 2.0) for at in range(26, 1, -1)]
    assert {bar.get_width() for bar in axes.patches} == {1.0}
    plt.close("all")


def test_long_alleles_are_cut_and_nothing_is_no_figure() -> None:
    figure = variants_figure(effects(1).drop("control_mean_absolute"), "kind")
    assert figure is not None and not figure.axes[0].patches
    assert figure.axes[0].get_yticklabels()[0].get_text() == "V0 ACGT..8>C  GENE, b"
    plt.close("all")
    assert variants_figure(effects(1).clear(), "kind") is None
