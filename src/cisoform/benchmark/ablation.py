"""Tables of ablations: rows of several seeds each, on the same transcripts, beside one of them and beside the paper.

In: labels of the scored transcripts and, for every row of a table, what each of its seeds predicts. Out: plain numbers.
A row's score is the mean over its seeds. Its interval draws families of genes (the same families for every row) and the
seeds of the row, both with replacement, so it holds the chance of both; with three seeds the second part is rough. A
difference of two rows is taken draw by draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from cisoform.benchmark.evaluation import Truth, score
from cisoform.benchmark.metrics import interval, mean_over_columns

MEAN = "mean"
"""Key of the mean over the scored columns."""
METRICS = ("r2", "spearman")


@dataclass(frozen=True)
class PaperRow:
    """What the paper has for a row; None = the cell has not been seen."""

    table: str
    r2: float | None = None
    spearman: float | None = None
    remark: str = ""


PAPER_SOURCE = (
    "IsoFormer (arXiv 2406.14150), quoted at second hand: human transcripts, 30 tissues of GTEx, published "
    "encoders, one value each without an interval. Other data, other encoders: compare the order of rows, not values."
)
_INPUTS, _DNA, _FUSION, _START = "Table 2", "Table 3", "Table 4", "Table 5"
PAPER: Mapping[str, Mapping[str, PaperRow]] = {
    "modalities": {
        "dna": PaperRow(_INPUTS, 0.13, 0.43),
        "rna": PaperRow(_INPUTS, 0.36, 0.61),
        "protein": PaperRow(_INPUTS, 0.20, 0.46),
        "dna+protein": PaperRow(_INPUTS, 0.28),
        "dna+rna": PaperRow(_INPUTS, 0.39),
        "dna+rna+protein": PaperRow(_INPUTS, 0.43),
    },
    "encoders": {
        "dna:nt_v2": PaperRow(_DNA, 0.43, remark="NT-v2 for the DNA, beside NT-v2 and ESM-2"),
        "dna:enformer": PaperRow(_DNA, 0.53, 0.72, remark="Enformer for the DNA, beside NT-v2 and ESM-2"),
        "dna:borzoi": PaperRow(_DNA, remark="below Enformer"),
    },
    "aggregators": {
        "cross_attention": PaperRow(_FUSION, 0.53, 0.72, remark="best or tied"),
        "c_abstractor": PaperRow(_FUSION, remark="about tied with cross-attention"),
        "perceiver_resampler": PaperRow(_FUSION, remark="below cross-attention"),
        "linear": PaperRow(_FUSION, remark="below cross-attention"),
    },
    "pretraining": {
        "pre-trained, tuned": PaperRow(_START, 0.53, remark="all three encoders"),
        "dna from nothing": PaperRow(_START, 0.41),
        "rna from nothing": PaperRow(_START, 0.48),
        "protein from nothing": PaperRow(_START),
        "from nothing": PaperRow(_START, 0.10, remark="all three encoders"),
    },
}


@dataclass(frozen=True)
class SeedScores:
    """One row: scores of each seed per key, and their draws over families."""

    points: Float[np.ndarray, "metrics seeds keys"]
    draws: Float[np.ndarray, "metrics seeds draws keys"]


def score_seeds(truth: Truth, predicted: Float[np.ndarray, "seeds rows columns"]) -> SeedScores:
    """Score every seed of a row; the last key is the mean over the truth's main columns."""
    points, draws = [], []
    for values in predicted:
        found = score(truth, truth.labels, values)
        pairs = ((found.r2, found.r2_draws), (found.spearman, found.spearman_draws))
        points.append(np.stack([_with_mean(truth, point) for point, _ in pairs]))
        draws.append(np.stack([_with_mean(truth, drawn) for _, drawn in pairs]))
    return SeedScores(np.stack(points, axis=1), np.stack(draws, axis=1))


def _with_mean(truth: Truth, values: Float[np.ndarray, "*rows keys"]) -> Float[np.ndarray, "*rows more"]:
    mean = mean_over_columns(values[..., truth.main])
    return np.concatenate([values, mean[..., None]], axis=-1)


def over_seeds(
    draws: Float[np.ndarray, "metrics seeds draws keys"], seed: int
) -> Float[np.ndarray, "metrics draws keys"]:
    """The mean over as many seeds as there are, drawn with replacement anew for every draw of families."""
    n_seeds, n_draws = draws.shape[1:3]
    picked = np.random.default_rng(seed).integers(n_seeds, size=(n_draws, n_seeds))
    return np.asarray(draws[:, picked, np.arange(n_draws)[:, None]].mean(axis=2))


def compare_rows(
    truth: Truth,
    rows: Mapping[str, Float[np.ndarray, "seeds rows columns"]],
    reference: str,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, dict[str, Any]]:
    """Scores of every row, and its difference to the reference row.

    Args:
        truth: Labels of the scored transcripts, with the draws of families.
        rows: Predictions on the log1p scale by name; rows may have different numbers of seeds.
        reference: The row that the others are compared with.
        seed: Of the draws of seeds.
        level: Of the intervals.

    Returns:
        By row: `scores` and `minus_reference`, each by key (columns, contrasts, `MEAN`) and metric, and `within_noise`:
        whether the interval of the mean R2's difference holds 0. The reference has neither of the last two.
    """
    scored = {name: score_seeds(truth, values) for name, values in rows.items()}
    drawn = {name: over_seeds(one.draws, seed + number) for number, (name, one) in enumerate(scored.items())}
    keys = [*truth.keys, MEAN]
    found: dict[str, dict[str, Any]] = {}
    for name, one in scored.items():
        found[name] = {"scores": _scores(keys, one.points, drawn[name], level)}
        if name == reference:
            continue
        change = one.points.mean(axis=1) - scored[reference].points.mean(axis=1)
        minus = _differences(keys, change, drawn[name] - drawn[reference], level)
        found[name] |= {"minus_reference": minus, "within_noise": _is_noise(minus[MEAN]["r2"]["ci"])}
    return found


def _scores(
    keys: Sequence[str],
    points: Float[np.ndarray, "metrics seeds keys"],
    draws: Float[np.ndarray, "metrics draws keys"],
    level: float,
) -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = {}
    for place, key in enumerate(keys):
        row: dict[str, Any] = {}
        for number, metric in enumerate(METRICS):
            values = points[number, :, place]
            row[metric] = _number(values.mean())
            row[f"{metric}_sd"] = _number(np.std(values, ddof=1)) if len(values) > 1 else None
            row[f"{metric}_ci"] = _bounds(draws[number, :, place], level)
            row[f"{metric}_seeds"] = [_number(value) for value in values]
        table[key] = row
    return table


def _differences(
    keys: Sequence[str],
    change: Float[np.ndarray, "metrics keys"],
    draws: Float[np.ndarray, "metrics draws keys"],
    level: float,
) -> dict[str, dict[str, Any]]:
    return {
        key: {
            metric: {
                "difference": _number(change[number, place]),
                "ci": _bounds(draws[number, :, place], level),
            }
            for number, metric in enumerate(METRICS)
        }
        for place, key in enumerate(keys)
    }


def _is_noise(bounds: Sequence[float | None]) -> bool:
    """Whether 0 lies in the interval; without an interval nothing can be told apart."""
    low, high = bounds
    return low is None or high is None or low <= 0 <= high


def _bounds(draws: Float[np.ndarray, " draws"], level: float) -> list[float | None]:
    if not len(draws):
        return [None, None]
    return [_number(value) for value in interval(draws[:, None], level)[0]]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def reading(content: Mapping[str, Any]) -> list[str]:
    """What a table says and what it does not, in sentences made from its numbers alone.

    Args:
        content: The table, as `jobs.isoform_ablate` writes it; R2 is that of the mean over the columns.
    """
    lines = _about_the_split(content)
    sides: dict[str, list[str]] = {"noise": [], "above": [], "below": []}
    for row in content["rows"]:
        if row["name"] != content["reference"]:
            sides[_side(row)].append(row["name"])
    reference = content["reference"]
    if sides["below"]:
        lines.append(f"Below {reference}: {', '.join(sides['below'])}.")
    if sides["above"]:
        lines.append(f"Above {reference}: {', '.join(sides['above'])}.")
    if sides["noise"]:
        lines.append(
            f"Within noise of {reference} (the interval of the difference in R2 holds 0): {', '.join(sides['noise'])}."
        )
    lines += _about_baselines(content)
    if any(row["paper"] for row in content["rows"]):
        lines.append(f"Paper: {content['paper_source']}")
    return lines


def _about_the_split(content: Mapping[str, Any]) -> list[str]:
    lines = []
    if content["split"] == "valid":
        lines.append("The valid part chose the weights of every run: scores on it are optimistic.")
    else:
        lines.append(
            "The weights of every run were chosen on the valid part; no setting is chosen on the test part."
        )
    if len(content["seeds"]) == 1:
        lines.append("One seed: intervals hold the chance of the scored families, not that of training.")
    if not content["bootstrap"]["draws"]:
        lines.append("No draws: there are no intervals, and no difference can be told from noise.")
    return lines


def _about_baselines(content: Mapping[str, Any]) -> list[str]:
    """How the reference row stands beside the best baseline."""
    known = [row for row in content["baselines"] if row["scores"][MEAN]["r2"] is not None]
    if not known:
        return []
    best = max(known, key=lambda row: row["scores"][MEAN]["r2"])
    # The difference is the baseline's minus the reference's.
    verb = {
        "noise": "is not told apart from",
        "above": "loses to",
        "below": "is above",
    }[_side(best)]
    return [f"{content['reference']} {verb} the best baseline, {best['label']}."]


def _side(row: Mapping[str, Any]) -> str:
    if row["within_noise"]:
        return "noise"
    return "above" if row["minus_reference"][MEAN]["r2"]["difference"] > 0 else "below"
