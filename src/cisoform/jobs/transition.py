"""`regulation transition` without the command line: which factors move source cells towards a target state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.enrichment import benjamini_hochberg
from cisoform.analysis.motif_activity import motif_deviations
from cisoform.analysis.shifts import Shifted, perturbed, random_sets
from cisoform.analysis.transition import p_values, reversal, shift, without_size, z_scores
from cisoform.features.states import Update
from cisoform.jobs.chosen_peaks import peaks_of_genes
from cisoform.jobs.transition_setting import Candidates, Setting, TransitionConfig

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Differing = Sequence[Ints]


def cosine(a: Numbers, b: Numbers) -> float:
    """Of two vectors; 0 where one of them is zero."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 1e-12 else 0.0


@dataclass(frozen=True)
class Screened:
    """What came out.

    Attributes:
        table: A row for every candidate, the highest cosine first. z and p compare the cosine with the random sets,
            without what the size of an edit explains, q is the false discovery rate over the factors that were tried;
            they are null for pairs, which are larger than all of these.
        null: A row for every random peak set.
        states: States after every candidate (candidates, cells, genes), in the order of `names`.
        names: Of the candidates.
    """

    table: pl.DataFrame
    null: pl.DataFrame
    states: npt.NDArray[np.float32]
    names: tuple[str, ...]


def screen(
    setting: Setting,
    candidates: Candidates,
    config: TransitionConfig,
    differing: Differing | None = None,
    update: Update | None = None,
) -> Screened:
    """Perturb source cells by every candidate, by pairs of the best, and by random peak sets of the same sizes.

    Args:
        setting: Where from and where to.
        candidates: Peak sets.
        config: See `TransitionConfig`.
        differing: Columns of genes that are too high and too low in the source, for their reversal.
        update: Is told how far it is.
    """
    reader = setting.reader
    signal = reader.signal(setting.ends.source, np.arange(reader.dataset.n_peaks)).mean(axis=0)
    gc = np.isin(reader.dataset.windows(np.arange(reader.dataset.n_peaks)), (1, 2)).mean(axis=1)
    within = peaks_of_genes(reader, setting.genes)
    null = random_sets(candidates.sets, within, signal.astype(np.float64), gc, config.n_null, config.seed)
    count = len(candidates.names)
    both = np.concatenate([candidates.sets, null])
    found = perturbed(reader, setting.cells, setting.genes, both, config.kind, update)
    names, states = candidates.names, found.states[:count]
    first = score_rows(setting, names, _part(found, slice(0, count)), differing)
    chance = score_rows(setting, [""] * len(null), _part(found, slice(count, None)), differing)
    if config.pairs:
        best = first.with_row_index().sort("cosine", descending=True)["index"].head(config.pairs).to_list()
        pairs = candidates.pairs(sorted(best))
        more = perturbed(reader, setting.cells, setting.genes, pairs.sets, config.kind, update)
        first = pl.concat([first, score_rows(setting, pairs.names, more, differing)])
        names, states = (*names, *pairs.names), np.concatenate([states, more.states])
    deviation = dict(zip(candidates.names, _motif_difference(setting, candidates, gc, config), strict=True))
    alone = first.head(count)
    single, cosines = without_size(
        *(part[name].to_list() for part in (alone, chance) for name in ("cosine", "edited_peaks"))
    )
    nothing = [None] * (len(names) - count)  # random sets have the sizes of single factors
    p = p_values(single, cosines)
    q = benjamini_hochberg(np.array(p)).tolist()
    table = first.with_columns(
        pl.Series("z", [*z_scores(single, cosines), *nothing], dtype=pl.Float64),
        pl.Series("p", [*p, *nothing], dtype=pl.Float64),
        pl.Series("q", [*q, *nothing], dtype=pl.Float64),
        pl.Series("motif_difference", [deviation.get(name) for name in names], dtype=pl.Float64),
    )
    return Screened(table.sort("cosine", descending=True), chance.drop("tf"), states, names)


def _part(found: Shifted, rows: slice) -> Shifted:
    return Shifted(found.states[rows], found.accessibility[rows], found.edited[rows])


def score_rows(
    setting: Setting, names: Sequence[str], found: Shifted, differing: Differing | None
) -> pl.DataFrame:
    """Scores of every perturbation: tf, edited_peaks, those of `analysis.transition.Shift`, accessibility_cosine (the
    same cosine of decayed accessibility, without a model), and the reversal where genes are given.
    """
    before = setting.states.source[setting.rows]
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(names):
        after = found.states[number].astype(np.float64)
        row: dict[str, Any] = {"tf": name, "edited_peaks": float(found.edited[number])}
        row |= asdict(shift(setting.states, setting.rows, after))
        row["accessibility_cosine"] = cosine(found.accessibility[number], setting.activity)
        if differing is not None:
            row |= {
                f"genes_{key}" if key != "reversal" else key: value
                for key, value in asdict(reversal((after - before).mean(axis=0), *differing)).items()
            }
        rows.append(row)
    return pl.DataFrame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))


def _motif_difference(
    setting: Setting, candidates: Candidates, gc: Numbers, config: TransitionConfig
) -> list[float]:
    """Mean motif deviation of the target minus the source, by factor: openness of motifs alone, without a model."""
    ends, reader = setting.ends, setting.reader
    signal = reader.signal(ends.groups, np.arange(reader.dataset.n_peaks)).astype(np.float64)
    found = motif_deviations(signal, candidates.sets.T, gc, config.seed)
    high, low = (
        found[np.searchsorted(ends.groups, part)].mean(axis=0) for part in (ends.target, ends.source)
    )
    sign = 1.0 if config.kind == "knockin" else -1.0
    return [float(value) for value in sign * (high - low)]
