"""`regulation targets` without the command line: factors gained in a disease whose loss moves its cells to normal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.masters import MasterConfig, Ranking, combined, rank_masters
from cisoform.analysis.motif_activity import closing_effects, motif_activity, motif_deviations
from cisoform.analysis.scores import slots_at_once
from cisoform.analysis.shifts import perturbed
from cisoform.analysis.transition import States, shift
from cisoform.errors import InputError
from cisoform.features.states import Update
from cisoform.genome.files import open_text
from cisoform.jobs.factors import check_labels
from cisoform.jobs.transition import Differing, Screened, screen
from cisoform.jobs.transition_setting import Candidates, Ends, Setting, TransitionConfig

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
NORMAL, DISEASE = 0, 1


def two_states(ends: Ends) -> Grouping:
    """Normal (the target) and disease (the source) as labels.

    Raises:
        InputError: A state with fewer than ten cells or pools.
    """
    groups = ends.groups
    label = np.where(np.isin(groups, ends.source), DISEASE, NORMAL)
    grouping = Grouping("state", ("normal", "disease"), groups, label)
    check_labels(grouping)
    return grouping


def gained(
    setting: Setting,
    grouping: Grouping,
    candidates: Candidates,
    genes: Ints,
    config: MasterConfig,
    update: Update | None = None,
) -> Ranking:
    """How much more of a master each factor is in the disease: motif activity and accessibility of motifs joined.

    Args:
        setting: Model and data.
        grouping: Of `two_states`.
        candidates: Factors with their peaks.
        genes: Whose predictions effects are summed over.
        config: See `MasterConfig`.
        update: Is told how far it is.
    """
    reader, has = setting.reader, candidates.sets.T
    every = np.arange(reader.dataset.n_peaks)
    widest = int(reader.dataset.index.count[genes].max())
    effects = closing_effects(reader, grouping.groups, genes, slots_at_once(reader.model, widest), update)
    gc = np.isin(reader.dataset.windows(every), (1, 2)).mean(axis=1)
    signal = reader.signal(grouping.groups, every).astype(np.float64)
    values = (motif_activity(effects, has), motif_deviations(signal, has, gc, config.seed))
    return combined([rank_masters(one, grouping.label, 2, config, common=True) for one in values])


def head(candidates: Candidates, ranking: Ranking, most: int) -> Candidates:
    """The factors that the disease gained most, best first; those that it lost are left out.

    Raises:
        InputError: If none is gained.
    """
    coefficient = ranking.coefficient[DISEASE]
    rows = [row for row in np.argsort(-coefficient, kind="stable").tolist() if coefficient[row] > 0][:most]
    if not rows:
        raise InputError("no factor is gained in the disease; exchange --disease and --normal?")
    return Candidates(tuple(candidates.names[row] for row in rows), candidates.sets[rows])


@dataclass(frozen=True)
class Targets:
    """What came out.

    Attributes:
        table: A row for every gained factor, the highest score first.
        screened: Of the knock-outs in disease cells.
    """

    table: pl.DataFrame
    screened: Screened


def rank_targets(
    setting: Setting,
    every: Candidates,
    ranking: Ranking,
    config: TransitionConfig,
    most: int,
    differing: Differing | None = None,
    essentiality: dict[str, float] | None = None,
    update: Update | None = None,
) -> Targets:
    """Knock out the gained factors in disease cells and in normal cells.

    score = share of the way to normal that disease cells move, minus the harm: how far normal cells move from where
    they are, as a share of the same way.

    Args:
        setting: Source = disease, target = normal.
        every: All factors.
        ranking: Of `gained`, over `every`.
        config: A knock-out.
        most: Factors that are tried.
        differing: As in `jobs.transition.screen`.
        essentiality: An outside label by factor, shown beside.
        update: Is told how far the screen is.
    """
    tried = head(every, ranking, most)
    found = screen(setting, tried, config, differing, update)
    harm = dict(zip(tried.names, harms(setting, tried, config), strict=True))
    place = {name: row for row, name in enumerate(every.names)}
    stable = ranking.stability(max(1, len(tried.names)))[DISEASE]
    names = found.table["tf"].to_list()
    coefficient = [float(ranking.coefficient[DISEASE][place[name]]) for name in names]
    table = found.table.with_columns(
        pl.Series("gained", coefficient),
        pl.Series("gained_stability", [float(stable[place[name]]) for name in names]),
        pl.Series("harm", [harm[name] for name in names]),
    ).with_columns(score=pl.col("projection") - pl.col("harm"))
    if essentiality is not None:
        given = [essentiality.get(name) for name in names]
        table = table.with_columns(pl.Series("essentiality", given, dtype=pl.Float64))
    first = ["tf", "score", "projection", "harm", "gained", "gained_stability"]
    rest = [name for name in table.columns if name not in first]
    order = table.select(*first, *rest).sort("score", descending=True)
    return Targets(order.with_columns(pl.col(pl.Float64).fill_nan(None)), found)


def harms(setting: Setting, tried: Candidates, config: TransitionConfig) -> list[float]:
    """Size of the mean shift of normal cells without each factor, as a share of the way from disease to normal."""
    rng = np.random.default_rng([config.seed, 5])
    normal = setting.ends.target
    rows = np.sort(rng.choice(len(normal), min(config.cells, len(normal)), replace=False))
    found = perturbed(setting.reader, normal[rows], setting.genes, tried.sets, config.kind)
    states = States(setting.states.target, setting.states.source, None)
    return [shift(states, rows, one.astype(np.float64)).size for one in found.states]


def read_essentiality(path: Path, names: Sequence[str]) -> dict[str, float]:
    """An outside label of factors: tab-separated, a header, then name and number.

    Raises:
        InputError: With the line: no number, or a name that stands twice; or no factor is in it.
    """
    with open_text(path, "--essentiality") as handle:
        lines = [
            (number, line.rstrip("\n").split("\t")) for number, line in enumerate(handle, 1) if line.strip()
        ]
    found: dict[str, float] = {}
    for number, cells in lines[1:]:
        if cells[0] in found:
            raise InputError(f"{path}: line {number}: {cells[0]!r} stands twice; keep it once")
        try:
            found[cells[0]] = float(cells[1])
            if not np.isfinite(found[cells[0]]):
                raise ValueError
        except (IndexError, ValueError):
            raise InputError(
                f"{path}: line {number}: {cells!r} is not a name and a number, tab-separated"
            ) from None
    if not set(found) & set(names):
        raise InputError(f"{path}: names none of the {len(names):,} factors; check the names")
    return found
