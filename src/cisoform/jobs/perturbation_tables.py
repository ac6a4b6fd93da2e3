"""Tables of perturbations: sums over the groups of a label, intervals, and p-values against matched controls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import stdtrit

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.perturbation import Effect
from cisoform.analysis.reader import LocusReader, Reader
from cisoform.errors import InputError

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
AnyReader = Reader | LocusReader

SAME, ROUNDING = 1e-4, 1e-6
"""Differences that differ by this share, or by this much, are the same."""
MOST_CELLS = 50_000_000
"""Numbers (genes x groups x controls) that are held at a time: 400 MB."""


@dataclass
class Totals:
    """Sums over the groups of a label, for every gene, label (and control, or draw that may hold the edit itself)."""

    n: Ints
    before: Numbers
    after: Numbers
    square: Numbers
    edited: Numbers
    accessibility: Numbers
    controls: Numbers
    draws: Numbers
    has_controls: Flags = field(repr=False)

    @classmethod
    def empty(cls, genes: int, labels: int, controls: int, draws: int) -> Totals:
        """Nothing yet.

        Raises:
            InputError: If they do not fit into memory.
        """
        if genes * labels * max(controls + draws, 1) > MOST_CELLS:
            raise InputError(
                f"{genes:,} genes in {labels:,} groups with {draws} controls are too many at a time; give "
                "--group-by COLUMN, fewer --genes, or fewer --controls"
            )
        shape = (genes, labels)
        names = ("before", "after", "square", "edited", "accessibility")
        return cls(
            n=np.zeros(shape, dtype=np.int64),
            **{name: np.zeros(shape) for name in names},
            controls=np.zeros((*shape, controls)),
            draws=np.zeros((*shape, draws)),
            has_controls=np.zeros(genes, dtype=bool),
        )

    def add(self, gene: Ints, label: Ints, effect: Effect, controls: Numbers, draws: Numbers) -> None:
        """Take in a batch."""
        at = (gene, label)
        change = effect.after - effect.before
        np.add.at(self.n, at, 1)
        for total, value in (
            (self.before, effect.before),
            (self.after, effect.after),
            (self.square, change**2),
            (self.edited, effect.n_changed),
            (self.accessibility, effect.accessibility),
            (self.controls, controls),
            (self.draws, draws),
        ):
            np.add.at(total, at, value)


@dataclass(frozen=True)
class Perturbation:
    """What came out.

    Attributes:
        table: A row for every gene with a chosen peak in reach and every group (or label).
        groups: A row for every group: genes, mean absolute difference, that of the controls, p.
    """

    table: pl.DataFrame
    groups: pl.DataFrame


def gene_table(reader: AnyReader, grouping: Grouping, genes: Ints, totals: Totals) -> pl.DataFrame:
    """A row for every gene and label that was seen: before, after, interval, controls, baselines."""
    seen = totals.n > 0
    gene, label = np.nonzero(seen)
    n = totals.n[seen]
    mean = {name: getattr(totals, name)[seen] / n for name in ("before", "after", "edited", "accessibility")}
    difference = mean["after"] - mean["before"]
    half = half_width(n, difference, totals.square[seen])
    controls, draws = (values[seen] / n[:, None] for values in (totals.controls, totals.draws))
    known = totals.has_controls[gene] & (controls.shape[1] > 0)
    shift = np.array([difference[label == one].mean() for one in range(len(grouping.labels))])[label]
    about = reader.genes[genes[gene].tolist()]
    columns: dict[str, Any] = {
        "gene_id": about["gene_id"],
        "gene_name": about["gene_name"],
        grouping.column: [grouping.labels[one] for one in label.tolist()],
        "n_groups": n,
        "before": mean["before"],
        "after": mean["after"],
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
        "edited_peaks": mean["edited"],
        "accessibility_change": mean["accessibility"],
        "mean_shift": shift,
        "control_mean": _or_null(controls, known, "mean"),
        "control_sd": _or_null(controls, known, "std"),
        "p": [
            p_value(value, row) if there and len(row) else None
            for value, row, there in zip(difference.tolist(), draws, known.tolist(), strict=True)
        ],
    }
    table = pl.DataFrame(columns)
    return table.with_columns(pl.col("low", "high").fill_nan(None))


def _or_null(values: Numbers, known: Flags, what: str) -> pl.Series:
    found = getattr(np, what)(values, axis=1) if values.shape[1] else np.zeros(len(values))
    kept = [value if there else None for value, there in zip(found.tolist(), known.tolist(), strict=True)]
    return pl.Series(kept, dtype=pl.Float64)


def half_width(n: Ints, mean: Numbers, square: Numbers) -> Numbers:
    """Half of the 95 % interval of a mean over groups (Student's t); NaN for a single group."""
    found = np.full(len(n), np.nan)
    many = n > 1
    count = n[many]
    variance = np.maximum(square[many] / count - mean[many] ** 2, 0.0) * count / (count - 1)
    found[many] = stdtrit(count - 1, 0.975) * np.sqrt(variance / count)
    return found


def p_value(value: float, controls: Numbers) -> float:
    """Share of controls that move at least as far, the edit itself counted among them.

    As far up to rounding: the same edit comes out a little different in a batch with others.
    """
    least = abs(value) * (1 - SAME) - ROUNDING
    return float((1 + (np.abs(controls) >= least).sum()) / (1 + len(controls)))


def group_table(grouping: Grouping, totals: Totals) -> pl.DataFrame:
    """A row for every label: genes, mean absolute difference, that of the controls, p."""
    rows = []
    for label, name in enumerate(grouping.labels):
        n = np.maximum(totals.n[:, label], 1)
        change = np.abs(totals.after[:, label] - totals.before[:, label]) / n
        known = totals.has_controls & (totals.n[:, label] > 0)
        there = bool(known.any()) and totals.controls.shape[2] > 0
        controls, draws = (
            np.abs(values[known, label] / n[known, None]).sum(axis=0) / max(known.sum(), 1)
            for values in (totals.controls, totals.draws)
        )
        rows.append(
            {
                grouping.column: name,
                "genes": int((totals.n[:, label] > 0).sum()),
                "genes_with_controls": int(known.sum()),
                "mean_absolute_difference": float(change.mean()),
                "control_mean_absolute_difference": float(controls.mean()) if there else None,
                "p": p_value(float(change[known].mean()), draws) if there and len(draws) else None,
            }
        )
    return pl.DataFrame(rows)
