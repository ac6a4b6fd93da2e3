"""The combined model of element-gene links: a penalised logistic regression over simple columns of a tested table.

Our own, small and readable: with 471 positives in the public training table, regression on logarithms beats boosted
trees (docs/results/links.md). Forms of it are kept by the signals they need, and each cell type of a table takes the
richest that it has the signals for: `marks` (all six), `h3k27ac` (accessibility and H3K27ac), `accessibility`,
`distance` (none).

Chances are those of a pair in a table like the training table (about one in twenty regulated).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Shaped
from scipy.special import expit

from cisoform.benchmark.link_features import SURROUNDINGS, Reference, raw_features
from cisoform.benchmark.links import ACCESSIBILITY, H3K27AC
from cisoform.benchmark.logistic import Logistic, fit_logistic
from cisoform.data.pair_columns import SIGNALS
from cisoform.data.tested_pairs import TestedPairs
from cisoform.errors import InputError

FORMS: Mapping[str, tuple[str, ...]] = {
    "marks": SIGNALS,
    "h3k27ac": (ACCESSIBILITY, H3K27AC),
    "accessibility": (ACCESSIBILITY,),
    "distance": (),
}
"""Forms of the model and the signals each needs, the richest first."""
GENES = ("contact_share", "starts_between", "genes_1mb")
ELEMENTS = tuple(name for name in SURROUNDINGS if name not in GENES)
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "pair": (),
    "pair+genes": GENES,
    "pair+elements": ELEMENTS,
    "pair+genes+elements": SURROUNDINGS,
}
"""Which surroundings are used beside the pair's own distance, signals and gene class."""
NEEDS = {"ctcf_between": "CTCF.RPM", "activity_10kb": ACCESSIBILITY, "log_activity": ACCESSIBILITY}
"""Features that a form without this signal leaves out."""
SHRINK_PAIRS = 200
"""A cell type of n pairs is standardised as n parts itself to this many of the training table."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LinkModelConfig:
    """Settings of the combined model.

    Attributes:
        family: A key of `FAMILIES`.
        penalty: Ridge penalty on standardised features. A smaller one gains 0.005 on left-out chromosomes but loses
            more than that when the signals of the scored table are noisier (docs/results/links.md).
    """

    family: str = "pair+genes+elements"
    penalty: float = 10.0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family {self.family!r} is not one of {', '.join(FAMILIES)}")
        if not (np.isfinite(self.penalty) and self.penalty > 0):
            raise ValueError(f"penalty {self.penalty} is not above 0")


@dataclass(frozen=True)
class Form:
    """One form of the model, fitted.

    Attributes:
        features: Names, in order.
        mean: Of each feature over the training pairs.
        spread: Standard deviation.
        fit: The regression on standardised features.
    """

    features: tuple[str, ...]
    mean: Array
    spread: Array
    fit: Logistic


@dataclass(frozen=True)
class LinkPrediction:
    """Chances of pairs.

    Attributes:
        chance: That the pair is regulated.
        forms: The form that each cell type took.
        notes: What to know, one line each.
    """

    chance: Float[np.ndarray, " pairs"]
    forms: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LinkModel:
    """The combined model.

    Attributes:
        config: Its settings.
        reference: Signals of the training table's elements.
        forms: By name, the richest first.
        columns: Further columns that it needs.
        about: Training table with its hash, and scores on chromosomes that were left out, as plain values.
    """

    config: LinkModelConfig
    reference: Reference
    forms: Mapping[str, Form]
    columns: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, pairs: TestedPairs) -> LinkPrediction:
        """Chances of pairs; their answers are not looked at.

        Raises:
            InputError: A further column is missing.
        """
        for name in self.columns:
            if name not in pairs.columns:
                raise InputError(f"{pairs.path}: has no column {name!r}, which this model was trained with")
        forms = {cell_type: self._richest(pairs, cell_type) for cell_type in pairs.cell_types}
        logit = np.empty(len(pairs))
        for name in dict.fromkeys(forms.values()):
            rows = np.isin(pairs.cell_type, [key for key, value in forms.items() if value == name])
            part, form = pairs.take(rows), self.forms[name]
            raw = raw_features(part, self.reference, FORMS[name], self.columns)
            design = standardise(raw, part.cell_type, form.features, form.mean, form.spread)
            logit[rows] = form.fit.logit(design)
        best = next(iter(self.forms))
        notes = [
            f"{cell_type}: form {form!r} of the combined model, because signals of richer forms are missing"
            for cell_type, form in forms.items()
            if form != best
        ]
        return LinkPrediction(expit(logit), forms, tuple(notes))

    def _richest(self, pairs: TestedPairs, cell_type: str) -> str:
        """The first form whose signals are known for at least half of the pairs of a cell type."""
        rows = pairs.cell_type == cell_type
        return next(
            name
            for name in self.forms
            if all(
                signal in pairs.signals and np.isfinite(pairs.signals[signal][rows]).mean() >= 0.5
                for signal in FORMS[name]
            )
        )


def standardise(
    raw: Mapping[str, Array],
    cell_type: Shaped[np.ndarray, " pairs"],
    features: Sequence[str],
    mean: Array,
    spread: Array,
) -> Float[np.ndarray, "pairs features"]:
    """Features to mean 0 and spread 1; what is unknown becomes 0, the average.

    Surroundings are standardised within each cell type, shrunk towards the training table (`SHRINK_PAIRS`); all others
    as in the training table.
    """
    found = np.stack([raw[name] for name in features], axis=1)
    around = np.flatnonzero(np.isin(features, SURROUNDINGS))
    for name in np.unique(cell_type):
        rows = np.flatnonzero(cell_type == name)
        centre, scale = mean.copy(), spread.copy()
        for column in around:
            values = found[rows, column]
            values = values[np.isfinite(values)]
            if len(values):
                own = len(values) / (len(values) + SHRINK_PAIRS)
                centre[column] = own * values.mean() + (1 - own) * mean[column]
                scale[column] = np.sqrt(own * values.var() + (1 - own) * spread[column] ** 2)
        found[rows] = (found[rows] - centre) / scale
    return np.asarray(np.nan_to_num(found, nan=0.0))


def features_of(config: LinkModelConfig, form: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the features of a form."""
    signals = FORMS[form]
    names = ("log_distance", "log_contact", "log_activity", "ubiquitous", *FAMILIES[config.family])
    kept = [name for name in names if name not in NEEDS or NEEDS[name] in signals]
    return (*kept, *(f"signal:{name}" for name in signals), *(f"column:{name}" for name in columns))


@dataclass(frozen=True)
class Training:
    """A table ready to be learned from: features of one form, answers and chromosomes."""

    raw: Mapping[str, Array]
    truth: Bool[np.ndarray, " pairs"]
    chrom: Shaped[np.ndarray, " pairs"]
    cell_type: Shaped[np.ndarray, " pairs"]

    @classmethod
    def of(cls, pairs: TestedPairs, reference: Reference, form: str, columns: Sequence[str] = ()) -> Training:
        """The features of one form with the answers."""
        raw = raw_features(pairs, reference, FORMS[form], columns)
        return cls(raw, pairs.truth(), pairs.chrom, pairs.cell_type)

    def prepare(self, features: Sequence[str]) -> tuple[Array, Array, Array]:
        """Standardised design with the mean and spread of each feature."""
        values = np.stack([self.raw[name] for name in features], axis=1)
        known = np.isfinite(values)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, values, 0.0).sum(axis=0) / count
        spread = np.sqrt(np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / count)
        spread = np.where(spread > 1e-9, spread, 1.0)
        return standardise(self.raw, self.cell_type, features, mean, spread), mean, spread


def fit_form(training: Training, features: Sequence[str], penalty: float) -> tuple[Form, Array]:
    """A form, and the held-out log odds of each training pair (leave one chromosome out).

    What is taken from all chromosomes alike are quantiles, means and spreads of features, never an answer.
    """
    design, mean, spread = training.prepare(features)
    held_out = np.empty(len(design))
    for name in np.unique(training.chrom):
        rows = training.chrom == name
        held_out[rows] = fit_logistic(design[~rows], training.truth[~rows], penalty).logit(design[rows])
    return Form(tuple(features), mean, spread, fit_logistic(design, training.truth, penalty)), held_out
