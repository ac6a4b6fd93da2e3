"""The section that says what a regulatory simulation planted, and how long its demo took. Takes truth.json as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cisoform.report.page import Page


def add_planted_section(page: Page, title: str, planted: Mapping[str, Any], held_out: str) -> None:
    """Append what was planted.

    Args:
        page: The page.
        title: Of the section.
        planted: Content of truth.json.
        held_out: What training does not see, in words.
    """
    counts = planted["summary"]
    page.section(title)
    page.text(
        "A genome was made up in which the rules of regulation are known. Transcription factors (TFs) bind their motifs in peaks "
        "where they are active, and open these peaks; whether a peak then raises or lowers the genes around it depends on which TF sits there, "
        "and how much on the distance. All of them open a peak alike, so accessibility does not tell the sign: the sequence does. That is why a "
        "regression on accessibility cannot solve it and a model that reads both can."
    )
    binding = [tf for tf in planted["tfs"] if tf["role"] != "decoy"]
    page.facts(
        {
            "genome": f"{counts['n_bases'] / 1e6:.1f} Mb, {counts['n_genes']:,} genes, {counts['n_peaks']:,} peaks",
            "peaks by what they do": ", ".join(
                f"{n} {kind}" for kind, n in sorted(counts["elements"].items())
            ),
            "TFs": f"{counts['n_tfs']}, of which {len(binding)} bind; the others are expressed and have motifs that do nothing",
            "links": f"{counts['n_links']:,} pairs of peak and gene, {counts['repressing_share_of_links']:.0%} of them repressing; "
            f"{counts['targets_that_are_not_the_nearest_gene']:.0%} of the targets are not the gene nearest to the peak",
            "cells": f"{counts['n_cells']:,} in {counts['n_groups']} groups (cell type and state); {counts['atac_nonzero_share']:.0%} of the "
            f"counts in peaks and {counts['rna_nonzero_share']:.0%} of those of genes are not 0",
            "rules that act": ", ".join(planted["config"]["rules"]),
            "held out": held_out,
            "seed of the simulation": planted["config"]["seed"],
        }
    )


def add_times(page: Page, seconds: Mapping[str, float], settings: str) -> None:
    """Append a table of steps and seconds, with what they were done with."""
    page.heading("How long it took")
    rows = [[name, f"{value:.1f} s"] for name, value in seconds.items()]
    page.table(["step", "time"], [*rows, ["all", f"{sum(seconds.values()):.1f} s"]], settings)
