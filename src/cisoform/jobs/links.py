"""`regulation links` without the command line: tested pairs, what predictors and baselines score on them, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cisoform.analysis.links import CONTACT_EXPONENT, CONTACT_FLOOR_BP
from cisoform.benchmark.link_model import LinkModel, LinkModelConfig
from cisoform.benchmark.link_store import load_link_model, save_link_model
from cisoform.benchmark.link_training import predict_fairly, train_links
from cisoform.benchmark.links import Scores, evaluate_links
from cisoform.benchmark.logistic import calibration
from cisoform.data.tested_pairs import TestedPairs, read_tested_pairs
from cisoform.genome.fasta import Genome
from cisoform.jobs.link_files import links_of

COMBINED = "combined"


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
        "notes": [*pairs.notes, *not_better(found)],
        **found,
    }


def not_better(found: Mapping[str, Any]) -> list[str]:
    """A line for every predictor that a baseline equals or beats by AUPRC over all pairs."""
    said = []
    for name, row in found["predictors"].items():
        best = max(
            found["baselines"], key=lambda other: float(found["baselines"][other]["auprc"]), default=None
        )
        if best is not None and found["baselines"][best]["auprc"] >= row["auprc"]:
            area = found["baselines"][best]["auprc"]
            said.append(
                f"warning: {name} does not beat the baseline {best}: AUPRC {row['auprc']:.3f} against {area:.3f}"
            )
    return said


@dataclass(frozen=True)
class Combined:
    """What the combined model says about a table.

    Attributes:
        links: A row per pair (`jobs.link_files`); the score is the chance that the pair is regulated.
        about: The model's settings and training table, and the form each cell type took.
        notes: What to know, one line each.
        result: As `evaluated`, with the calibration of the chances; None where the table has no answers.
    """

    links: pl.DataFrame
    about: dict[str, Any]
    notes: list[str]
    result: dict[str, Any] | None


def combine(pairs: TestedPairs, model: LinkModel, *, n_draws: int = 1000, seed: int = 0) -> Combined:
    """Chances of tested pairs by the combined model, scored where the table has answers.

    Raises:
        InputError: A column is missing, or the answers are of one kind only.
    """
    found = predict_fairly(model, pairs)
    result = None
    if pairs.regulated is not None:
        result = evaluated(pairs, {COMBINED: found.chance}, n_draws=n_draws, seed=seed)
        result["predictors"][COMBINED]["calibration"] = calibration(pairs.truth(), found.chance)
    about = {
        "family": model.config.family,
        "penalty": model.config.penalty,
        "columns": list(model.columns),
        "trained_on_sha256": model.about.get("table_sha256"),
        "forms": dict(found.forms),
    }
    return Combined(links_of(pairs, pl.Series(found.chance)), about, list(found.notes), result)


def open_combined(path: Path | None) -> LinkModel:
    """The combined model of a folder or file; None = the one that comes with the package.

    Raises:
        InputError: There is none, or it is damaged.
    """
    return load_link_model(path)


def train_combined(
    pairs: TestedPairs, columns: Sequence[str], folder: Path, *, n_draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Fit the combined model with its default settings, save it into a folder, and score it leaving chromosomes out.

    Raises:
        InputError: The table cannot be learned from, or a column gives the answer away.
    """
    model, chance = train_links(pairs, LinkModelConfig(), columns)
    save_link_model(model, folder)
    result = evaluated(pairs, {COMBINED: chance}, n_draws=n_draws, seed=seed)
    result["predictors"][COMBINED]["calibration"] = calibration(pairs.truth(), chance)
    return {**result, "model": {"columns": list(columns), **model.about}}


def summary_header(result: Mapping[str, Any]) -> list[str]:
    """Header of `summary_rows`."""
    more = ["AUPRC with a score"] if "covered" in result else []
    return [
        "",
        "AUPRC",
        "low",
        "high",
        "AUPRC <=150kb",
        *more,
        "AUROC",
        "precision at 70% recall",
        "MRR in gene",
    ]


def summary_rows(result: Mapping[str, Any]) -> list[list[Any]]:
    """Rows to print: each predictor with AUPRC, interval, AUPRC within 150 kb and over pairs with a score, and more."""
    rows = []
    for name, found in {**result["baselines"], **result["predictors"]}.items():
        low, high = found.get("intervals", {}).get("auprc", (None, None))
        parts = [found[key]["auprc"] for key in ("within_150kb", "on_covered") if key in found]
        metrics = [found[key] for key in ("auroc", "precision_at_70_recall", "mrr")]
        rows.append([name, found["auprc"], low, high, *parts, *metrics])
    return rows
