"""Readings of a model beside what a simulation planted: one measure a row, the way to read chosen beforehand.

A reading comes in several ways (which score, which distance adjustment ...). `choose` takes the one that is best on
validation chromosomes; only that one is scored on test chromosomes, beside baselines and nulls. Tables in, rows out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import spearmanr

from cisoform.analysis.links import ADJUST, contact, link_scores
from cisoform.benchmark.link_metrics import curve, permuted

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NOISE = 0.1
"""Smallest planted change (log units) that counts as an effect; the simulator calls a pair a link from there on."""
NULL_DRAWS, SIGN_DRAWS = 200, 20
OVER_GROUPS = ("max", "mean")
WAYS = ("own", "pooled")
"""Of a knock-out: the difference of the gene itself; or one slope of a factor in a group on the accessibility that
its genes lose, times what this gene loses: the model says the sign and the size, distance and openness where."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of one reading.

    Attributes:
        reading: Name of the command.
        measure: What is scored, in words; more is better.
        value: On test chromosomes.
        way: Which way of reading was chosen on validation chromosomes; "" = there is one.
        valid: Its score there; None = nothing was chosen.
        goal: What was aimed at; None = no goal.
        baselines: By name, scores of simple predictors.
        nulls: By name, what chance gives.
        ways: By way of reading, the score on validation chromosomes.
        n: What was scored, in words.
        note: What a reader must know.
    """

    reading: str
    measure: str
    value: float
    way: str = ""
    valid: float | None = None
    goal: float | None = None
    baselines: Mapping[str, float] = field(default_factory=dict)
    nulls: Mapping[str, float] = field(default_factory=dict)
    ways: Mapping[str, float] = field(default_factory=dict)
    n: str = ""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None = there is none."""
        return None if self.goal is None else bool(self.value >= self.goal)

    @property
    def best_baseline(self) -> tuple[str, float] | None:
        """The strongest baseline."""
        known = {name: value for name, value in self.baselines.items() if value == value}
        return max(known.items(), key=lambda item: item[1]) if known else None

    @property
    def wins(self) -> bool | None:
        """Whether it is above every baseline; None = there is none."""
        best = self.best_baseline
        return None if best is None else bool(self.value > best[1])

    def plain(self) -> dict[str, Any]:
        """All of it, with the verdicts."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "reached": self.reached,
            "wins": self.wins,
        }


def choose(ways: Mapping[str, float]) -> str:
    """The way with the highest score; of equal ones the first.

    Raises:
        ValueError: If none has a score.
    """
    known = {name: value for name, value in ways.items() if value == value}
    if not known:
        raise ValueError("no way of reading has a score on the validation chromosomes")
    return max(known, key=lambda name: known[name])


def pair_ways(table: pl.DataFrame, variants: tuple[str, ...]) -> dict[str, Floats]:
    """Scores of pairs of peak and gene: every variant, distance adjustment, and way to join groups.

    Args:
        table: gene, label, peak (numbers), distance_bp and score_VARIANT; sorted by gene, label and peak.
        variants: Which.

    Returns:
        By `VARIANT, ADJUST, JOIN`, |score| of each pair, in the order of `pairs_of`.
    """
    found: dict[str, Floats] = {}
    for adjust in ADJUST:
        adjusted = link_scores(table, variants, "none", adjust)
        joined = adjusted.group_by("gene", "peak", maintain_order=True).agg(
            getattr(pl.col(f"link_{name}").abs(), join)().alias(f"{name}, {adjust}, {join}")
            for name in variants
            for join in OVER_GROUPS
        )
        found |= {name: joined[name].to_numpy().astype(np.float64) for name in joined.columns[2:]}
    return found


def pairs_of(table: pl.DataFrame) -> pl.DataFrame:
    """gene, peak, distance_bp and mean accessibility of every pair, in the order of its first row."""
    return table.group_by("gene", "peak", maintain_order=True).agg(
        pl.col("distance_bp").first(), pl.col("accessibility").mean()
    )


def pair_baselines(
    table: pl.DataFrame, h3k27ac: Floats | None, correlation: Floats | None
) -> dict[str, Floats]:
    """Simple scores of pairs, those that differ between groups as their highest and as their mean.

    Args:
        table: As for `pair_ways`, with accessibility.
        h3k27ac: Mean signal at the peak in the group of each row; None = not measured.
        correlation: Of accessibility and expression across groups, absolute, of each pair; None = not known.
    """
    pairs = pairs_of(table)
    distance = np.abs(pairs["distance_bp"].to_numpy())
    near = contact(distance.astype(np.int64))
    found = {"distance": -distance, "contact": near}
    open_ = table["accessibility"].to_numpy().astype(np.float64)
    rows = {"accessibility": open_, "accessibility x contact": open_ * _contact(table)}
    if h3k27ac is not None:
        rows["sqrt(accessibility x H3K27ac) x contact"] = np.sqrt(open_ * h3k27ac) * _contact(table)
    for name, values in rows.items():
        joined = table.with_columns(value=values).group_by("gene", "peak", maintain_order=True)
        both = joined.agg(**{join: getattr(pl.col("value"), join)() for join in OVER_GROUPS})
        found |= {f"{name}, {join}": both[join].to_numpy() for join in OVER_GROUPS}
    if correlation is not None:
        found["correlation x contact"] = np.nan_to_num(correlation) * near
    return found


def _contact(table: pl.DataFrame) -> Floats:
    return contact(np.abs(table["distance_bp"].to_numpy()).astype(np.int64))


def auprc(truth: Flags, score: Floats) -> float:
    """Area under the precision-recall steps; ties share a rank."""
    return float(curve(truth, np.asarray(score, dtype=np.float64)).average_precision()[0])


def chance(truth: Flags, score: Floats, gene: npt.NDArray[np.int64], seed: int) -> dict[str, float]:
    """What is left when the answers are dealt anew over all pairs, and within each gene."""
    everywhere = np.zeros_like(gene)
    return {
        "answers dealt anew": permuted(truth, score, everywhere, NULL_DRAWS, seed)["auprc"],
        "dealt anew within genes": permuted(truth, score, gene, NULL_DRAWS, seed)["auprc"],
    }


def knockout_way(table: pl.DataFrame, way: str) -> Floats:
    """The predicted change of every row by one of `WAYS`.

    Args:
        table: tf, group, difference and accessibility_change of genes.
        way: Which.
    """
    if way == "own":
        return table["difference"].to_numpy().astype(np.float64)
    change, lost = pl.col("difference"), pl.col("accessibility_change")
    slope = ((change * lost).sum() / (lost * lost).sum().clip(lower_bound=1e-12)).over("tf", "group")
    return table.select(slope * lost).to_series().to_numpy().astype(np.float64)


def balanced_sign(truth: Floats, value: Floats, noise: float = NOISE) -> float:
    """Mean of the shares of planted rises that are predicted to rise, and of falls to fall; effects above noise alone.

    A prediction of 0 is wrong; NaN where one of the two kinds does not occur.
    """
    up, down = truth >= noise, truth <= -noise
    if not up.any() or not down.any():
        return float("nan")
    return float(((value[up] > 0).mean() + (value[down] < 0).mean()) / 2)


def rank_agreement(truth: Floats, value: Floats, above_noise: bool = True, noise: float = NOISE) -> float:
    """Spearman's rho of changes; of effects above noise alone, or of all."""
    some = np.abs(truth) >= noise if above_noise else np.ones(len(truth), dtype=bool)
    if some.sum() < 3 or np.ptp(value[some]) == 0 or np.ptp(truth[some]) == 0:
        return float("nan")
    return float(spearmanr(truth[some], value[some]).statistic)


def other_factors(table: pl.DataFrame, value: Floats, seed: int) -> Floats:
    """The values of a gene in a group dealt anew among the factors that were knocked out: labels permuted."""
    rng = np.random.default_rng(seed)
    block = table.select(pl.struct("gene_id", "group").rank("dense")).to_series().to_numpy()
    order = np.argsort(block, kind="stable")
    dealt = np.empty_like(value)
    dealt[order] = value[np.lexsort((rng.random(len(value)), block))]
    return dealt
