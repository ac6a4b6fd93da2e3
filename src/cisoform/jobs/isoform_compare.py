"""One evaluated model beside another on the same transcripts: every tissue with intervals, and paired differences.

IsoFormer, Fig. 3 (left), with what the figure lacks: intervals, and how sure the difference of each tissue is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from cisoform.benchmark.evaluation import EvaluationConfig, evaluate_isoforms
from cisoform.errors import InputError
from cisoform.genome.files import atomic_write, write_json
from cisoform.jobs.isoform_evaluate import Evaluated, evaluate
from cisoform.jobs.isoform_model import IsoformModel

METRICS = ("r2", "spearman")
RIVAL, MEAN = "rival", "mean of the tissues"


@dataclass(frozen=True)
class Comparison:
    """Two models on the same transcripts.

    Attributes:
        table: A row per tissue and contrast, then one of the mean: for each metric ours, theirs and ours - theirs,
            each with its 95 % interval over draws of families (the same draws for both), and `p_not_better`, the share
            of draws in which ours is not better.
        summary: Plain numbers for JSON.
    """

    table: pl.DataFrame
    summary: dict[str, Any]

    def write(self, folder: str | Path) -> None:
        """Write `against.tsv` and `against.json` into a folder (made if missing)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "against.json", self.summary)
        with atomic_write(folder / "against.tsv", "wb") as handle:
            self.table.write_csv(handle, separator="\t", float_precision=6)


def compare(
    found: Evaluated,
    rivals: Sequence[IsoformModel],
    config: EvaluationConfig,
    average: int = 1,
    names: tuple[str, str] = ("RUN", "the other"),
) -> Comparison:
    """Score other models on the transcripts of an evaluation, and compare.

    Args:
        found: The evaluation.
        rivals: One run, or several whose mean is compared.
        config: Contrasts and draws, as for the evaluation.
        average: Windows to average over.
        names: What the two are called.

    Raises:
        InputError: If the models share no tissue, or a contrast is not predicted by both.
    """
    theirs = evaluate(
        rivals, found.dataset, str(found.result["split"]), replace(config, baselines=None), average
    )
    shared = [name for name in found.tissues if name in theirs.tissues]
    if not shared:
        raise InputError(
            f"--against {names[1]}: predicts {', '.join(theirs.tissues[:5])}, none of the tissues of {names[0]} "
            f"({', '.join(found.tissues[:5])})"
        )
    missing = [text for text in config.contrasts if not {*text.split(":")} <= {*shared}]
    if missing:
        raise InputError(
            f"--contrast {missing[0]}: {names[0]} and {names[1]} both predict only {', '.join(shared)}"
        )
    bare = replace(config, baselines=None)
    values = {
        RIVAL: theirs.predicted[:, [theirs.tissues.index(name) for name in shared]],
        "ours": found.predicted[:, [found.tissues.index(name) for name in shared]],
    }
    split = str(found.result["split"])
    args = (found.dataset, found.rows)
    ours = evaluate_isoforms(*args, values["ours"], shared, split, bare, {RIVAL: values[RIVAL]})
    other = evaluate_isoforms(*args, values[RIVAL], shared, split, bare)
    rows = [
        _row(key, _scores(ours, key), _scores(other, key), ours["comparisons"].get(RIVAL, {}).get(key))
        for key in [*ours["tissues"], *ours["contrasts"]]
    ]
    means = ours["mean"], other["mean"], ours["comparisons"].get(RIVAL, {}).get("mean")
    table = pl.DataFrame([*rows, _row(MEAN, *means)], infer_schema_length=None)
    summary = {
        "models": {"ours": names[0], "theirs": names[1]},
        "runs": {"ours": found.result["runs"], "theirs": theirs.result["runs"]},
        "split": split,
        "n_transcripts": len(found.rows),
        "bootstrap": ours["bootstrap"],
        "left_out": [name for name in found.tissues if name not in shared],
        **{metric: _counts(table, metric) for metric in METRICS},
        "rows": table.to_dicts(),
        "dataset_hash": found.dataset.hash,
        "warnings": theirs.result["warnings"],
    }
    return Comparison(table, summary)


def _scores(result: dict[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = result["tissues"].get(key) or result["contrasts"][key]
    return found


def _row(
    name: str, ours: dict[str, Any], theirs: dict[str, Any], difference: dict[str, Any] | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"tissue": name}
    for metric in METRICS:
        for who, scores in (("ours", ours), ("theirs", theirs)):
            low, high = scores.get(f"{metric}_ci") or (None, None)
            row |= {
                f"{metric}_{who}": scores[metric],
                f"{metric}_{who}_low": low,
                f"{metric}_{who}_high": high,
            }
        found = (difference or {}).get(metric, {})
        low, high = found.get("ci") or (None, None)
        row |= {f"{metric}_difference": found.get("difference"), f"{metric}_low": low, f"{metric}_high": high}
        row[f"{metric}_p_not_better"] = found.get("p_not_better")
    return row


def _counts(table: pl.DataFrame, metric: str) -> dict[str, int]:
    """Tissues in which ours is higher, and in which the interval of the difference lies on one side of 0."""
    tissues = table.head(table.height - 1)
    difference = tissues[f"{metric}_ours"] - tissues[f"{metric}_theirs"]
    return {
        "n_tissues": tissues.height,
        "higher": int((difference > 0).sum()),
        "surely_higher": int((tissues[f"{metric}_low"].cast(pl.Float64) > 0).sum()),
        "surely_lower": int((tissues[f"{metric}_high"].cast(pl.Float64) < 0).sum()),
    }
