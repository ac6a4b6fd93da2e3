"""What a table of tested pairs says about each pair beside the answer: features of the combined model.

Made so that they transfer to other screens and cell types:

* signals are quantile-normalised in each cell type to the elements of the table the model was trained on, so that
  depth and assay of a cell type drop out. A screen of few elements picked strong ones, so their ranks among
  themselves are mixed with their ranks among the training elements: with n elements, n parts to `SHRINK_ELEMENTS`.
  The latter is taken by the genome-wide percentile of the cell type where the table has it, which no depth changes;
* counts of elements and genes near a pair are standardised in each cell type (`link_model.standardise`), so that how
  densely a screen tested drops out;
* a gene or chromosome appears by its position relative to others alone, never by name.

The elements and starts that are counted are those of the table itself. A gene without a known start gets the average
of its cell type for what needs the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from cisoform.analysis.links import contact
from cisoform.benchmark.links import ACCESSIBILITY, H3K27AC
from cisoform.data.pair_columns import PERCENTILES, SIGNALS
from cisoform.data.tested_pairs import UNKNOWN, TestedPairs

LEVELS = np.linspace(0.0, 1.0, 201)
"""Quantiles that are kept of each signal."""
SURROUNDINGS = (
    "contact_share",
    "starts_between",
    "genes_1mb",
    "elements_1mb_of_tss",
    "elements_500kb",
    "ctcf_between",
    "elements_between",
    "activity_10kb",
)
"""Features that are counts or sums over the neighbours of a pair."""
ABOUT = {
    "log_distance": "log of the distance to the TSS (at least 1 kb)",
    "log_contact": "log of max(distance, 5 kb)^-0.87",
    "log_activity": "log of sqrt(accessibility x H3K27ac), or of accessibility alone",
    "ubiquitous": "whether the gene is expressed in most tissues",
    "contact_share": "log of the pair's contact over that of the element with all starts within 1 Mb",
    "starts_between": "log(1 + starts of other genes between element and TSS)",
    "genes_1mb": "log(1 + genes that start within 1 Mb of the TSS)",
    "elements_1mb_of_tss": "log(1 + elements within 1 Mb of the TSS)",
    "elements_500kb": "log of the elements within 500 kb of the element",
    "ctcf_between": "log(1 + strong CTCF elements between element and TSS, each counted by the 4th power of its rank)",
    "elements_between": "log(1 + elements between element and TSS)",
    "activity_10kb": "log of the activity of other elements within 10 kb",
}
"""What each feature is; `signal:NAME` is the log of a signal, `column:NAME` the normal score of a further column."""
SHRINK_ELEMENTS = 100
"""Our choice, on parts of the training table that were treated as tables of their own (docs/results/links.md)."""
_BLOCK = 2048
_REACH_BP = 1_000_000

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """The signals of the elements of the training table.

    Attributes:
        quantiles: By signal and percentile column, its values at `LEVELS`.
        offset: By signal and for "activity", what is added before the logarithm: the 5 % quantile of the positive
            values.
    """

    quantiles: Mapping[str, Float[np.ndarray, " levels"]]
    offset: Mapping[str, float]

    @classmethod
    def of(cls, pairs: TestedPairs) -> Reference:
        """Quantiles over the distinct elements; signals that are missing throughout are left out."""
        quantiles, offset = {}, {}
        first = np.unique(pairs.element_code, return_index=True)[1]
        for name in (*SIGNALS, *PERCENTILES.values()):
            values = pairs.signals[name][first] if name in pairs.signals else np.empty(0)
            values = values[np.isfinite(values)]
            if len(values):
                quantiles[name] = np.quantile(values, LEVELS)
                offset[name] = _offset(values)
        if {ACCESSIBILITY, H3K27AC} <= set(quantiles):
            offset["activity"] = _offset(
                np.sqrt(pairs.signals[ACCESSIBILITY] * pairs.signals[H3K27AC])[first]
            )
        return cls(quantiles, offset)


def _offset(values: Array) -> float:
    positive = values[values > 0]
    return float(np.quantile(positive, 0.05)) if len(positive) else 1.0


def ranks(values: Array, among: Array) -> Array:
    """Place of each value from 0 to 1 among others, ties in the middle; NaN stays NaN."""
    known = np.sort(among[np.isfinite(among)])
    if not len(known):
        return np.full(len(values), np.nan)
    places = np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")
    return np.where(np.isfinite(values), places / (2 * len(known)), np.nan)


def raw_features(
    pairs: TestedPairs, reference: Reference, signals: Sequence[str], columns: Sequence[str] = ()
) -> dict[str, Array]:
    """Features of every pair by name, before standardising; each cell type on its own. NaN where not known.

    Args:
        pairs: Tested pairs; answers are not looked at.
        reference: Of the training table.
        signals: Which signals to use; a missing value counts as the median.
        columns: Further columns, as ranks turned into normal scores.
    """
    parts: list[tuple[npt.NDArray[np.int64], dict[str, Array]]] = []
    for cell_type in pairs.cell_types:
        rows = np.flatnonzero(pairs.cell_type == cell_type)
        parts.append((rows, _of_cell_type(pairs.take(rows), reference, signals, columns)))
    found = {name: np.full(len(pairs), np.nan) for name in parts[0][1]}
    for where, part in parts:
        for name, values in part.items():
            found[name][where] = values
    return found


def normalised(
    values: Array, elements: Array, quantiles: Float[np.ndarray, " levels"], among: Array
) -> tuple[Array, Array]:
    """Rank of each value from 0 to 1, and the training table's value of that rank; a missing one counts as median.

    Args:
        values: A signal of every pair.
        elements: The same of every element once.
        quantiles: Of the training table's elements, at `LEVELS`.
        among: Rank of each value among the training elements.
    """
    n = int(np.isfinite(elements).sum())
    own = ranks(values, elements) if n else np.zeros(len(values))
    place = np.nan_to_num((n * own + SHRINK_ELEMENTS * among) / (n + SHRINK_ELEMENTS), nan=0.5)
    return place, np.interp(place, LEVELS, quantiles)


def _among_training(pairs: TestedPairs, reference: Reference, name: str) -> Array:
    """Rank of a signal among the training elements: by genome-wide percentile where both tables have it."""
    found = ranks(pairs.signals[name], reference.quantiles[name])
    column = PERCENTILES.get(name, "")
    if column in pairs.signals and column in reference.quantiles:
        percentile = ranks(pairs.signals[column], reference.quantiles[column])
        found = np.where(np.isfinite(percentile), percentile, found)
    return found


def _of_cell_type(
    pairs: TestedPairs, reference: Reference, signals: Sequence[str], columns: Sequence[str]
) -> dict[str, Array]:
    first = np.unique(pairs.element_code, return_index=True)[1]
    found = {
        "log_distance": np.log(np.maximum(pairs.distance, 1000)),
        "log_contact": np.log(contact(pairs.distance)),
        "ubiquitous": pairs.ubiquitous.astype(np.float64),
    }
    place, level = {}, {}
    for name in signals:
        values = pairs.signals[name]
        among = _among_training(pairs, reference, name)
        place[name], level[name] = normalised(values, values[first], reference.quantiles[name], among)
        found[f"signal:{name}"] = np.log(level[name] + reference.offset[name])
    activity, offset = np.zeros(len(pairs)), 1.0
    if ACCESSIBILITY in level:
        activity, offset = level[ACCESSIBILITY], reference.offset[ACCESSIBILITY]
        if H3K27AC in level:
            activity, offset = np.sqrt(activity * level[H3K27AC]), reference.offset["activity"]
    found["log_activity"] = np.log(activity + offset)
    found |= _surroundings(pairs, activity, offset, place.get("CTCF.RPM"))
    for name in columns:
        found[f"column:{name}"] = _normal_score(pairs.columns[name])
    return found


def _normal_score(values: Array) -> Array:
    """The normal quantile of each value's rank; 0 where missing."""
    from scipy.special import ndtri

    n = max(len(values), 1)
    return np.nan_to_num(ndtri(np.clip(ranks(values, values), 0.5 / n, 1 - 0.5 / n)), nan=0.0)


def _surroundings(pairs: TestedPairs, activity: Array, offset: float, ctcf: Array | None) -> dict[str, Array]:
    """Counts and sums over neighbours, chromosome by chromosome."""
    found = {name: np.full(len(pairs), np.nan) for name in SURROUNDINGS}
    element = np.unique(pairs.element_code, return_index=True)[1]
    for chrom in np.unique(pairs.chrom):
        rows = np.flatnonzero(pairs.chrom == chrom)
        here = element[pairs.chrom[element] == chrom]
        here = here[np.argsort(pairs.mid[here], kind="stable")]
        part = _Chromosome(
            mid=pairs.mid[here],
            activity=_running(activity[here]),
            ctcf=_running(np.zeros(len(here)) if ctcf is None else ctcf[here] ** 4),
            offset=offset,
            starts=np.unique(pairs.tss[rows][pairs.tss[rows] != UNKNOWN]),
        )
        for name, values in part.features(pairs.mid[rows], pairs.tss[rows], pairs.distance[rows]).items():
            found[name][rows] = values
    return found


def _running(values: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(values)])


@dataclass(frozen=True)
class _Chromosome:
    """Elements of a chromosome by position, running sums over them, and the starts of its genes."""

    mid: npt.NDArray[np.int64]
    activity: Array
    ctcf: Array
    offset: float
    starts: npt.NDArray[np.int64]

    def features(
        self, mid: npt.NDArray[np.int64], tss: npt.NDArray[np.int64], distance: npt.NDArray[np.int64]
    ) -> dict[str, Array]:
        """Of pairs whose elements are among these; NaN where the start of the gene is needed and not known."""
        known = tss != UNKNOWN
        low, high = np.minimum(mid, tss), np.maximum(mid, tss)
        first, last = _within(self.mid, low + 1000, high - 1000)
        near, beyond = _within(self.mid, mid - 10_000, mid + 10_000)
        self_first, self_last = _within(self.mid, mid, mid)
        around = self.activity[beyond] - self.activity[near]
        around -= self.activity[self_last] - self.activity[self_first]
        return {
            "contact_share": self._contact_share(mid, distance),
            "starts_between": _where(known, np.log1p(_count(self.starts, low + 500, high - 500))),
            "genes_1mb": _where(known, np.log1p(_count(self.starts, tss - _REACH_BP, tss + _REACH_BP))),
            "elements_1mb_of_tss": _where(
                known, np.log1p(_count(self.mid, tss - _REACH_BP, tss + _REACH_BP))
            ),
            "elements_500kb": np.log(_count(self.mid, mid - 500_000, mid + 500_000)),
            "ctcf_between": _where(known, np.log1p(np.maximum(self.ctcf[last] - self.ctcf[first], 0))),
            "elements_between": _where(known, np.log1p(last - first)),
            "activity_10kb": np.log(np.maximum(around, 0) + self.offset),
        }

    def _contact_share(self, mid: npt.NDArray[np.int64], distance: npt.NDArray[np.int64]) -> Array:
        total = np.zeros(len(mid))
        for begin in range(0, len(mid), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            apart = np.abs(mid[block, None] - self.starts[None])
            total[block] = np.where(apart < _REACH_BP, contact(apart), 0.0).sum(axis=1)
        own = contact(distance)
        return np.asarray(np.log(own / np.maximum(total, own)))


def _within(
    sorted_: npt.NDArray[np.int64], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First position at or above `low`, and first one above `high` (never before the first)."""
    first = np.searchsorted(sorted_, low, "left")
    return first, np.maximum(np.searchsorted(sorted_, high, "right"), first)


def _count(sorted_: npt.NDArray[np.int64], low: Any, high: Any) -> Array:
    first, last = _within(sorted_, low, high)
    return np.asarray((last - first).astype(np.float64))


def _where(known: npt.NDArray[np.bool_], values: Array) -> Array:
    return np.where(known, values, np.nan)
