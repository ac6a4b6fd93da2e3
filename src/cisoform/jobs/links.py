"""`regulation links` without the command line: tested pairs, what predictors and baselines score on them, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cisoform.benchmark.links import CONTACT_EXPONENT, CONTACT_FLOOR_BP, Scores, evaluate_links
from cisoform.data.tested_pairs import TestedPairs, read_tested_pairs
from cisoform.genome.fasta import Genome


def open_pairs(path: Path, genome: Path | None = None, columns: Sequence[str] = ()) -> TestedPairs:
    """Read a table of tested pairs; with a genome its coordinates are checked against the lengths of chromosomes.

    Raises:
        InputError: As `data.tested_pairs.read_tested_pairs` and `genome.fasta.Genome.open`.
    """
    chroms = None if genome is None else Genome.open(genome).chroms
    return read_tested_pairs(path, chroms, columns)


def evaluated(
    pairs: TestedPairs,
    predictors: Mapping[str, pl.DataFrame | Scores],
    *,
    aggregate: str = "max",
    n_draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """`benchmark.links.evaluate_links` with what the figures rest on: table, hash, settings, notes.

    Raises:
        InputError: The table has no answers, or answers of one kind only.
    """
    found = evaluate_links(predictors, pairs, aggregate=aggregate, n_draws=n_draws, seed=seed)
    return {
        "table": Path(pairs.path).name,
        "table_sha256": pairs.sha256,
        "contact": {"exponent": CONTACT_EXPONENT, "floor_bp": CONTACT_FLOOR_BP},
        "aggregate": aggregate,
        "draws": n_draws,
        "seed": seed,
        "notes": list(pairs.notes),
        **found,
    }


def summary_rows(result: Mapping[str, Any]) -> list[list[Any]]:
    """Rows to print: predictor, AUPRC with its interval, within 150 kb, AUROC, precision at 70 % recall, MRR."""
    rows = []
    for name, found in {**result["baselines"], **result["predictors"]}.items():
        low, high = found.get("intervals", {}).get("auprc", (None, None))
        near = found["within_150kb"]["auprc"]
        metrics = [found[key] for key in ("auroc", "precision_at_70_recall", "mrr")]
        rows.append([name, found["auprc"], low, high, near, *metrics])
    return rows


SUMMARY = ("", "AUPRC", "low", "high", "AUPRC <=150kb", "AUROC", "precision at 70% recall", "MRR in gene")
"""Header of `summary_rows`."""
