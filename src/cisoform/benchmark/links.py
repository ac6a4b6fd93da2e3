"""Enhancer-gene scores against tested pairs: simple baselines, any table of predictions, and who ranks best.

Every predictor is a score per tested pair. It is scored over all pairs and over those within 150 kb (what a window of
CREformer can see at all), in the whole table and in each cell type, beside the baselines that need no model:

* distance: -distance to the TSS;
* accessibility_powerlaw: accessibility x contact, contact = max(distance, 5 kb)^-0.87;
* abc_numerator: sqrt(accessibility x H3K27ac) x contact, the numerator of the activity-by-contact score (Fulco 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from jaxtyping import Bool, Float

from cisoform.analysis.links import contact
from cisoform.benchmark.link_metrics import METRICS, intervals, link_draws, link_scores, permuted
from cisoform.benchmark.metrics import GroupBootstrap, paired_difference
from cisoform.data.tested_pairs import TestedPairs, codes

WINDOW_BP = 150_000
ACCESSIBILITY, H3K27AC = "DHS.RPM", "H3K27ac.RPM.expandedRegion"
BASELINES = ("distance", "accessibility", "accessibility_powerlaw", "abc_numerator")
NULL_DRAWS = 200
PREDICTION_COLUMNS = ("chrom", "start", "end", "gene", "score")

Scores = Float[np.ndarray, " pairs"]


def baselines(pairs: TestedPairs) -> dict[str, Scores]:
    """Scores of the baselines that the table has the signals for. A pair without its signal ranks last."""
    found: dict[str, Scores] = {"distance": -pairs.distance.astype(np.float64)}
    if ACCESSIBILITY not in pairs.signals:
        return found
    accessibility, near = pairs.signals[ACCESSIBILITY], contact(pairs.distance)
    found["accessibility"] = rank_missing_last(accessibility)
    found["accessibility_powerlaw"] = rank_missing_last(accessibility * near)
    if H3K27AC in pairs.signals:
        found["abc_numerator"] = rank_missing_last(np.sqrt(accessibility * pairs.signals[H3K27AC]) * near)
    return found


def rank_missing_last(score: Scores) -> Scores:
    """The score with NaN below the lowest number."""
    known = score[np.isfinite(score)]
    lowest = float(known.min()) - max(1.0, abs(float(known.min()))) if len(known) else 0.0
    return np.where(np.isfinite(score), score, lowest)


@dataclass(frozen=True)
class PairScores:
    """Predictions brought to tested pairs.

    Attributes:
        score: Per pair; where no predicted element overlaps, below the lowest score.
        covered: Whether one overlaps.
    """

    score: Scores
    covered: Bool[np.ndarray, " pairs"]


def score_pairs(predictions: pl.DataFrame, pairs: TestedPairs, aggregate: str = "max") -> PairScores:
    """What a table of predictions says about each tested pair.

    A tested element takes the highest (or the sum) of the scores of the predicted elements that overlap it by at
    least one base and have its gene, as the CRISPR benchmark does; a gene matches by symbol or by Ensembl id.

    Args:
        predictions: Columns chrom, start, end (0-based, half-open), gene, score; and cell_type, if scores differ
            by cell type: pairs are then matched within theirs.
        pairs: Tested pairs.
        aggregate: max or sum.

    Raises:
        ValueError: A column is missing, a score is not finite, or `aggregate` is another word.
    """
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing or aggregate not in ("max", "sum"):
        raise ValueError(
            f"predictions lack {missing}" if missing else f"aggregate {aggregate!r} is not max or sum"
        )
    by_type = "cell_type" in predictions.columns
    scores = predictions["score"].to_numpy().astype(np.float64)
    if not np.isfinite(scores).all():
        raise ValueError(f"score {scores[~np.isfinite(scores)][0]} of a prediction is not finite")
    keys = predictions.select("chrom", "gene", *(["cell_type"] if by_type else []))
    groups = keys.with_row_index("row").group_by(keys.columns, maintain_order=True).agg("row")
    places = {tuple(row[:-1]): np.array(row[-1], dtype=np.int64) for row in groups.iter_rows()}
    start, end = (predictions[name].to_numpy().astype(np.int64) for name in ("start", "end"))
    found = np.full(len(pairs), np.nan)
    for row in range(len(pairs)):
        tail = (str(pairs.cell_type[row]),) if by_type else ()
        names = (str(pairs.gene[row]), str(pairs.gene_id[row]))
        here = [places[key] for name in names if (key := (str(pairs.chrom[row]), name, *tail)) in places]
        if not here:
            continue
        rows = here[0]
        values = scores[rows[(start[rows] < pairs.end[row]) & (end[rows] > pairs.start[row])]]
        if len(values):
            found[row] = values.max() if aggregate == "max" else values.sum()
    return PairScores(rank_missing_last(found), np.isfinite(found))


def evaluate_links(
    predictions: pl.DataFrame | Mapping[str, pl.DataFrame | Scores],
    pairs: TestedPairs,
    *,
    aggregate: str = "max",
    n_draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score predictions beside the baselines on tested pairs.

    Args:
        predictions: A table as `score_pairs` takes it (named "predictions"); or by name, tables or scores per pair.
        pairs: Tested pairs, with answers.
        aggregate: How several predicted elements on one tested element combine: max or sum.
        n_draws: Bootstrap draws of whole genes; 0 = no intervals.
        seed: Of the draws.

    Returns:
        `counts` of the table, `window` (how many positives lie within 150 kb at all), `covered` (the same of the
        pairs for which every predictor has a score, where these are not all), `baselines` and `predictors`: by name,
        the metrics over all pairs with intervals, the same under `within_150kb` and `on_covered`, for predictors
        `covered` (share of pairs with a prediction), `minus_baselines` (paired differences of AUPRC), `permuted` and
        `permuted_within_genes` (nulls, see `link_metrics.permuted`); `cell_types`: the same by cell type, where
        there are several.

    Raises:
        InputError: The table has no answers, or answers of one kind only.
    """
    pairs.truth()
    given = {"predictions": predictions} if isinstance(predictions, pl.DataFrame) else predictions
    brought = {
        name: score_pairs(value, pairs, aggregate)
        if isinstance(value, pl.DataFrame)
        else PairScores(np.asarray(value, dtype=np.float64), np.ones(len(pairs), dtype=bool))
        for name, value in given.items()
    }
    result = _evaluate(pairs, brought, n_draws, seed)
    if len(pairs.cell_types) > 1:
        parts = {}
        for cell_type in pairs.cell_types:
            rows = pairs.cell_type == cell_type
            of_type = {name: PairScores(s.score[rows], s.covered[rows]) for name, s in brought.items()}
            parts[cell_type] = _evaluate(pairs.take(rows), of_type, n_draws, seed)
        result["cell_types"] = parts
    return result


def _evaluate(
    pairs: TestedPairs, predictors: Mapping[str, PairScores], n_draws: int, seed: int
) -> dict[str, Any]:
    """All predictors on all of these pairs and on those within the window."""
    assert pairs.regulated is not None
    simple = baselines(pairs)
    scores = {**simple, **{name: brought.score for name, brought in predictors.items()}}
    near = pairs.distance <= WINDOW_BP
    whole = _score_all(pairs, scores, n_draws, seed)
    windowed = _score_all(pairs.take(near), {k: v[near] for k, v in scores.items()}, n_draws, seed)
    table = {name: {**whole[name], "within_150kb": windowed[name]} for name in scores}
    covered = np.logical_and.reduce([np.ones(len(pairs), bool), *(s.covered for s in predictors.values())])
    found: dict[str, Any] = {"counts": _counts(pairs), "window": _window(pairs, near)}
    if not covered.all():
        some = pairs.take(covered)
        part = _score_all(some, {name: value[covered] for name, value in scores.items()}, n_draws, seed)
        table = {name: {**row, "on_covered": part[name]} for name, row in table.items()}
        found["covered"] = _part(pairs, covered)
    for name, brought in predictors.items():
        table[name]["covered"] = float(brought.covered.mean())
        nulls = (
            ("permuted", np.zeros(len(pairs), np.int64)),
            ("permuted_within_genes", codes(pairs.gene_code)),
        )
        for key, group in nulls:
            table[name][key] = permuted(pairs.regulated, brought.score, group, min(n_draws, NULL_DRAWS), seed)
    return {
        **found,
        "baselines": {name: table[name] for name in simple},
        "predictors": {name: table[name] for name in predictors},
    }


def _score_all(
    pairs: TestedPairs, scores: Mapping[str, Scores], n_draws: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Metrics of each score with intervals; of scores that are no baseline also what they gain over these."""
    truth = pairs.regulated
    assert truth is not None
    gene = codes(pairs.gene_code)
    bootstrap = GroupBootstrap.draw(codes(pairs.gene), n_draws, seed)
    found: dict[str, dict[str, Any]] = {}
    draws: dict[str, npt.NDArray[np.float64]] = {}
    for name, score in scores.items():
        found[name] = dict(link_scores(truth, score, gene))
        if n_draws:
            draws[name] = link_draws(truth, score, gene, bootstrap)
            found[name]["intervals"] = intervals(draws[name])
    for name in [name for name in scores if name not in BASELINES and n_draws]:
        found[name]["minus_baselines"] = {
            other: vars(
                paired_difference(
                    found[name]["auprc"], found[other]["auprc"], draws[name][:, 0], draws[other][:, 0]
                )
            )
            for other in scores
            if other in BASELINES
        }
    return found


def _counts(pairs: TestedPairs) -> dict[str, Any]:
    assert pairs.regulated is not None
    return {
        "pairs": len(pairs),
        "positives": int(pairs.regulated.sum()),
        "prevalence": float(pairs.regulated.mean()) if len(pairs) else float("nan"),
        "genes": len(np.unique(pairs.gene_code)),
        "elements": len(np.unique(pairs.element_code)),
    }


def _window(pairs: TestedPairs, near: Bool[np.ndarray, " pairs"]) -> dict[str, Any]:
    """What lies within the window: no model that sees only that can find more of the positives."""
    return {"bp": WINDOW_BP, **_part(pairs, near)}


def _part(pairs: TestedPairs, rows: Bool[np.ndarray, " pairs"]) -> dict[str, Any]:
    """Counts of some of the pairs, and the share of the positives among them: the most that can be recalled."""
    inside = _counts(pairs.take(rows))
    return {**inside, "share_of_positives": inside["positives"] / max(_counts(pairs)["positives"], 1)}


def score_table(result: Mapping[str, Any]) -> pl.DataFrame:
    """An evaluation as a table: a row per cell type, range of distances and predictor."""
    rows: list[dict[str, Any]] = []
    parts = {"all": result, **result.get("cell_types", {})}
    for cell_type, part in parts.items():
        for kind in ("baselines", "predictors"):
            for name, found in part[kind].items():
                ranges = [("all", part["counts"], found), ("150kb", part["window"], found["within_150kb"])]
                if "covered" in part:
                    ranges.append(("covered", part["covered"], found["on_covered"]))
                for span, counts, values in ranges:
                    row = {"cell_type": cell_type, "range": span, "predictor": name, "kind": kind[:-1]}
                    row |= {"n_pairs": counts["pairs"], "n_positives": counts["positives"]}
                    row |= {metric: values[metric] for metric in METRICS}
                    for metric, (low, high) in values.get("intervals", {}).items():
                        row |= {f"{metric}_low": low, f"{metric}_high": high}
                    rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)
