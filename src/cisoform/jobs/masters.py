"""`regulation masters` without the command line: readings of factors in cells, their rankings, and a given list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.master_agreement import judge
from cisoform.analysis.masters import (
    MasterConfig,
    Ranking,
    combined,
    label_means,
    master_table,
    rank_masters,
)
from cisoform.analysis.motif_activity import closing_effects, motif_activity, motif_deviations
from cisoform.analysis.reader import Reader
from cisoform.analysis.scores import slots_at_once
from cisoform.errors import InputError
from cisoform.features.states import Update
from cisoform.genome.motifs import P_VALUE, Motif, read_motifs
from cisoform.jobs.chosen_peaks import peaks_of_genes, scan_peaks
from cisoform.jobs.factors import Factors
from cisoform.jobs.features import FeatureChoice, compute

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

FEATURE, EXPRESSION, WINDOW = "attention_feature", "expression", "window_accessibility"
ACTIVITY, DEVIATION, COMBINED = "motif_activity", "motif_accessibility", "activity_and_accessibility"
ONE_UNIT = (ACTIVITY, DEVIATION)
"""Readings whose columns have one unit and are scaled by one number."""
MODEL_READINGS = (FEATURE, ACTIVITY, COMBINED)
"""Readings that ask the model; the others are baselines."""


def has_motif(
    reader: Reader, peaks: Ints, motifs: Sequence[Motif], factors: Factors, p_value: float
) -> Flags:
    """Whether a motif of each factor lies in the window of each peak (peaks, factors).

    Raises:
        InputError: If no motif of any factor is found.
    """
    assert factors.motifs is not None
    wanted = sorted({index for group in factors.motifs for index in group})
    hits = scan_peaks(reader, peaks, [motifs[index] for index in wanted], p_value)
    by_motif = np.zeros((len(peaks), len(wanted)), dtype=bool)
    by_motif[hits.window, hits.motif] = True
    if not by_motif.any():
        raise InputError(
            f"no motif matches any of the {len(peaks):,} peaks at p <= {p_value:g}; raise --motif-p"
        )
    places = [[wanted.index(index) for index in group] for group in factors.motifs]
    return np.stack([by_motif[:, group].any(axis=1) for group in places], axis=1)


@dataclass(frozen=True)
class MotifQuestion:
    """Readings by motif.

    Attributes:
        motifs: Of the file.
        p_value: Of a hit.
        genes: Whose predictions effects are summed over.
    """

    motifs: Sequence[Motif]
    p_value: float
    genes: Ints

    @classmethod
    def read(cls, path: Path, genes: Ints, p_value: float = P_VALUE) -> MotifQuestion:
        """With the motifs of a file."""
        return cls(read_motifs(path), p_value, genes)


def readings(
    reader: Reader,
    grouping: Grouping,
    factors: Factors,
    choice: FeatureChoice,
    question: MotifQuestion | None,
    seed: int = 0,
    update: Update | None = None,
) -> dict[str, Numbers]:
    """Matrices (groups, factors) by the name of the reading.

    The attention feature and the window sum as log1p where they are never negative; expression as the data hold it.

    Args:
        reader: Model and data, opened for the genes of the factors and of the question.
        grouping: Groups.
        factors: Columns.
        choice: Of the attention feature.
        question: Asks for the readings by motif; None = without them.
        seed: Of the background peaks.
        update: Is told how far the slowest part is.
    """
    genes = np.unique(factors.genes)
    column = np.searchsorted(genes, factors.genes)
    features = compute(reader, grouping, genes, choice, None if question else update)
    observed = reader.dataset.expression_matrix(grouping.groups, genes).astype(np.float64)
    found = {
        FEATURE: _log(features.feature(choice.form))[:, column],
        EXPRESSION: observed[:, column],
        WINDOW: np.log1p(features.window)[:, column],
    }
    if question is None:
        return found
    peaks = peaks_of_genes(reader, question.genes)
    has = has_motif(reader, peaks, question.motifs, factors, question.p_value)
    widest = int(reader.dataset.index.count[question.genes].max())
    effects = closing_effects(
        reader, grouping.groups, question.genes, slots_at_once(reader.model, widest), update
    )
    signal = reader.signal(grouping.groups, peaks).astype(np.float64)
    windows = reader.dataset.windows(peaks)
    gc = np.isin(windows, (1, 2)).mean(axis=1)
    return {
        FEATURE: found[FEATURE],
        ACTIVITY: motif_activity(effects[:, peaks], has),
        EXPRESSION: found[EXPRESSION],
        WINDOW: found[WINDOW],
        DEVIATION: motif_deviations(signal, has, gc, seed),
    }


def _log(values: Numbers) -> Numbers:
    return values if (values < 0).any() else np.log1p(values)


@dataclass(frozen=True)
class Masters:
    """What came out.

    Attributes:
        table: Of all readings (`analysis.masters.master_table`).
        primary: Name of the reading that figures show.
        judged: By reading, agreement with the list; empty without one.
        warnings: What a reader must know.
    """

    table: pl.DataFrame
    primary: str
    judged: dict[str, dict[str, Any]]
    warnings: list[str]


def masters(
    values: Mapping[str, Numbers],
    grouping: Grouping,
    factors: Factors,
    known: Mapping[int, Sequence[int]],
    config: MasterConfig,
    update: Update | None = None,
) -> Masters:
    """Rank factors by every reading and judge the rankings.

    Args:
        values: Of `readings`.
        grouping: Groups with their labels.
        factors: Columns.
        known: By label, the factors that a list names; empty = no list.
        config: See `MasterConfig`.
        update: Is told how far it is.
    """
    label, n_labels = grouping.label, len(grouping.labels)
    config = config if known else replace(config, n_permutations=0)
    total = len(values) * (config.n_bootstrap + config.n_permutations)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if update is not None:
            update(done, total)

    rankings = {
        name: rank_masters(one, label, n_labels, config, name in ONE_UNIT, step)
        for name, one in values.items()
    }
    means = {name: label_means(one, label, n_labels, name in ONE_UNIT) for name, one in values.items()}
    if ACTIVITY in rankings:
        rankings[COMBINED] = combined([rankings[name] for name in ONE_UNIT])
        means[COMBINED] = np.mean([means[name] for name in ONE_UNIT], axis=0)
    judged = {name: judge(one, known, config.k) for name, one in rankings.items()} if known else {}
    tables = [
        master_table(name, one, grouping.labels, factors.names, means[name], config.k)
        for name, one in rankings.items()
    ]
    primary = COMBINED if COMBINED in rankings else FEATURE
    return Masters(pl.concat(tables), primary, judged, _warnings(primary, rankings, judged))


def _warnings(
    primary: str, rankings: Mapping[str, Ranking], judged: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    said = []
    if judged:
        for name in MODEL_READINGS:
            for other in (EXPRESSION, WINDOW, DEVIATION):
                if name in judged and other in judged and judged[other]["recall"] >= judged[name]["recall"]:
                    said.append(
                        f"{name} does not beat the baseline {other}: recall {judged[name]['recall']:.2f} against "
                        f"{judged[other]['recall']:.2f}"
                    )
    place = rankings[primary].rank
    same = (place == 1).any(axis=0).sum()
    if same == 1 and len(place) > 2:
        said.append(f"{primary}: one factor is first everywhere; does it differ between the labels at all?")
    return said
