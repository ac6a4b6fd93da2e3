"""Cell types, states, and the activity of every TF in each of their groups.

A group is what one pseudobulk is made of: a cell type in a state. Every cell type has its master TFs (three, or two
where the stimulated state adds the driver), some TFs at half strength, and the rest nearly off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.regulation.config import RegulationConfig
from cisoform.data.simulate.regulation.motifs import Roster

REST, STIMULATED = "rest", "stimulated"
MASTERS = 3
HALF_SHARE = 0.15  # of the TFs that are no masters act at half strength
SHADOW_NOISE = 0.12


@dataclass(frozen=True)
class Group:
    """A cell type in a state."""

    name: str
    cell_type: str
    state: str


@dataclass(frozen=True)
class Activity:
    """Groups, and a value from 0 to 1 for every TF of the roster (rows) in every group (columns).

    For TFs that bind it is what binds; for decoys it only patterns the expression of their gene.
    """

    groups: tuple[Group, ...]
    values: npt.NDArray[np.float64]
    masters: dict[str, tuple[str, ...]]
    """Group -> names of its master TFs, most active first."""

    @property
    def type_column(self) -> npt.NDArray[np.int64]:
        """For every group the column of its cell type at rest."""
        columns = {group.cell_type: number for number, group in enumerate(self.groups) if group.state == REST}
        return np.array([columns[group.cell_type] for group in self.groups], np.int64)


def make_groups(config: RegulationConfig) -> tuple[Group, ...]:
    """All cell types at rest, then the stimulated ones (the last cell types)."""
    types = [f"type{number:02d}" for number in range(1, config.n_types + 1)]
    rest = [Group(name, name, REST) for name in types]
    moved = [
        Group(f"{name}_{STIMULATED}", name, STIMULATED)
        for name in types[config.n_types - config.n_state_types :]
    ]
    return (*rest, *moved)


def make_activity(config: RegulationConfig, roster: Roster) -> Activity:
    """Draw the activities; stimulated groups are copies of their type at rest plus the driver."""
    rng = np.random.default_rng([config.seed, 102])
    groups = make_groups(config)
    row = {tf.name: number for number, tf in enumerate(roster.tfs)}
    values = np.zeros((len(roster.tfs), config.n_types))
    specific = [tf.name for role in ("activator", "repressor") for tf in roster.of_role(role)]
    chosen = _choose_masters(config, roster, rng)
    for name in specific:
        low = rng.uniform(0.0, 0.04, config.n_types)
        half = rng.uniform(0.20, 0.45, config.n_types)
        full = rng.uniform(0.80, 1.00, config.n_types)
        is_master = np.array([name in names for names in chosen])
        values[row[name]] = np.where(
            is_master, full, np.where(rng.random(config.n_types) < HALF_SHARE, half, low)
        )
    for tf in roster.tfs:
        if tf.role == "ubiquitous":
            values[row[tf.name]] = 1.0
        elif tf.role == "driver":
            values[row[tf.name]] = rng.uniform(0.0, 0.02, config.n_types)
        elif tf.role in ("neutral", "decoy"):
            values[row[tf.name]] = on_off(rng, config.n_types)
    columns = np.concatenate([np.arange(config.n_types), np.arange(config.n_types)[-config.n_state_types :]])
    values = values[:, columns]
    driver = row[roster.of_role("driver")[0].name]
    boost = rng.uniform(0.9, 1.0, config.n_state_types)
    if config.acts("driver"):
        values[driver, config.n_types :] = boost
    for tf in roster.tfs:
        if tf.shadows is not None:
            noise = rng.normal(0.0, SHADOW_NOISE, config.n_types)[columns]
            values[row[tf.name]] = np.clip(values[row[tf.shadows]] + noise, 0.0, 1.0)
    return Activity(groups, values, _masters_by_group(groups, chosen, values, row, roster.tfs[driver].name))


def on_off(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """A pattern that is on in about half of the cell types."""
    return np.where(rng.random(count) < 0.5, rng.uniform(0.7, 1.0, count), rng.uniform(0.0, 0.05, count))


def _choose_masters(config: RegulationConfig, roster: Roster, rng: np.random.Generator) -> list[list[str]]:
    """Masters of each cell type at rest: both activators and repressors, all TFs used about equally often."""
    pools = [[tf.name for tf in roster.of_role(role)] for role in ("activator", "repressor")]
    used = {name: 0 for pool in pools for name in pool}
    chosen = []
    for number in range(config.n_types):
        wanted = MASTERS - (number >= config.n_types - config.n_state_types)
        names: list[str] = []
        for step in range(wanted):
            left = [name for name in pools[step % 2] if name not in names]
            tie = rng.random(len(left))
            name = min(zip(left, tie, strict=True), key=lambda pair: (used[pair[0]], pair[1]))[0]
            used[name] += 1
            names.append(name)
        chosen.append(names)
    return chosen


def _masters_by_group(
    groups: tuple[Group, ...],
    chosen: list[list[str]],
    values: npt.NDArray[np.float64],
    row: dict[str, int],
    driver: str,
) -> dict[str, tuple[str, ...]]:
    types = {group.cell_type: number for number, group in enumerate(groups) if group.state == REST}
    masters = {}
    for column, group in enumerate(groups):
        names = list(chosen[types[group.cell_type]])
        if group.state == STIMULATED and values[row[driver], column] > 0.5:
            names.append(driver)
        activity = values[:, column]
        masters[group.name] = tuple(sorted(names, key=lambda name: -activity[row[name]]))
    return masters
