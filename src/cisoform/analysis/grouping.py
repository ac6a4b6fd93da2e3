"""Which groups of cells a reading shows together: each by itself, or the mean over those with one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.errors import InputError

Ints = npt.NDArray[np.int64]
MOST_GROUPS = 200
"""Groups of a label that are averaged, at most (reference recipe: at most 200 sampled cells a type)."""


@dataclass(frozen=True)
class Grouping:
    """Labels of groups.

    Attributes:
        column: What the labels are: "group", or the column that was grouped by.
        labels: The labels, in order of first appearance.
        groups: Numbers of the groups that take part, ascending.
        label: Index of the label of each of them.
    """

    column: str
    labels: tuple[str, ...]
    groups: Ints
    label: Ints

    @classmethod
    def by_itself(cls, table: pl.DataFrame, groups: Ints) -> Grouping:
        """Every group by itself, under its own name."""
        names = table["name"].gather(groups.tolist()).to_list()
        return cls("group", tuple(names), groups, np.arange(len(groups)))

    @classmethod
    def by_label(
        cls, column: str, values: Sequence[str | None], groups: Ints, most: int = MOST_GROUPS, seed: int = 0
    ) -> Grouping:
        """Groups under one label each; of a label with more than `most` groups so many are drawn.

        Args:
            column: What the labels are.
            values: Label of every group of the data set; None or "" = left out.
            groups: Numbers of the groups to choose from, ascending.
            most: See above.
            seed: Of the draw.

        Raises:
            InputError: If no group has a label.
        """
        rng = np.random.default_rng(seed)
        by: dict[str, list[int]] = {}
        for group in groups.tolist():
            if values[group]:
                by.setdefault(str(values[group]), []).append(group)
        if not by:
            raise InputError(f"--group-by {column}: none of the chosen groups has a label")
        chosen = {
            name: np.sort(rng.choice(rows, most, replace=False)) if len(rows) > most else np.array(rows)
            for name, rows in by.items()
        }
        joined = np.concatenate(list(chosen.values())).astype(np.int64)
        label = np.repeat(np.arange(len(chosen)), [len(rows) for rows in chosen.values()])
        order = np.argsort(joined)
        return cls(column, tuple(chosen), joined[order], label[order])

    def of(self, groups: Ints) -> Ints:
        """Label of group numbers that take part."""
        return np.asarray(self.label[np.searchsorted(self.groups, groups)], dtype=np.int64)

    def members(self, label: str) -> Ints:
        """Groups of a label.

        Raises:
            InputError: If there is no such label.
        """
        if label not in self.labels:
            raise InputError(
                f"{label!r} is no label of {self.column}; there are {', '.join(self.labels[:20])}"
            )
        return np.asarray(self.groups[self.label == self.labels.index(label)])
