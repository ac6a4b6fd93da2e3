"""How far a perturbation moves predicted states of source cells towards target cells.

Reference 7.8. All states are predictions of one model; predicted and observed ones are never mixed. Shifts are compared
in the genes themselves (cosine, projection), neighbours and energy distances in principal components that are fitted on
unperturbed cells alone and that perturbed cells are put into. A picture is no evidence: every score stands beside
random peak sets of the same sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

COMPONENTS = 10
NEIGHBOURS = 10
LEAST_CELLS = 10
"""Cells or pools that neighbours and energy distances need in both states."""


@dataclass(frozen=True)
class StateSpace:
    """Principal components of unperturbed cells.

    Attributes:
        mean: Of every gene.
        scale: Standard deviation of every gene; 1 where it is 0.
        components: (genes, components), unit columns, each turned so that its largest weight is positive.
    """

    mean: Numbers
    scale: Numbers
    components: Numbers

    @classmethod
    def fit(cls, cells: Numbers, n_components: int = COMPONENTS) -> StateSpace:
        """Fit on cells (cells, genes): genes scaled, then singular vectors."""
        mean, scale = cells.mean(axis=0), cells.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        _, _, vectors = np.linalg.svd((cells - mean) / scale, full_matrices=False)
        vectors = vectors[:n_components]
        largest = np.abs(vectors).argmax(axis=1)
        sign = np.sign(vectors[np.arange(len(vectors)), largest])
        return cls(mean, scale, (vectors * np.where(sign == 0, 1.0, sign)[:, None]).T)

    def transform(self, cells: Numbers) -> Numbers:
        """Coordinates (cells, components)."""
        found: Numbers = (cells - self.mean) / self.scale @ self.components
        return found


@dataclass(frozen=True)
class States:
    """Predicted states of unperturbed cells.

    Attributes:
        source: (cells, genes).
        target: (other cells, genes).
        space: Fitted on both; None where there are too few cells for neighbours.
    """

    source: Numbers
    target: Numbers
    space: StateSpace | None

    @classmethod
    def of(cls, source: Numbers, target: Numbers) -> States:
        """With a space where both states have at least ten cells."""
        enough = min(len(source), len(target)) >= LEAST_CELLS
        return cls(source, target, StateSpace.fit(np.concatenate([source, target])) if enough else None)

    @property
    def difference(self) -> Numbers:
        """Mean target minus mean source, by gene."""
        found: Numbers = self.target.mean(axis=0) - self.source.mean(axis=0)
        return found


@dataclass(frozen=True)
class Shift:
    """Scores of one perturbation.

    Attributes:
        cosine: Of the mean shift with the way from source to target; 0 if nothing moved.
        projection: Share of the way that the mean shift covers (1 = all of it; negative = away).
        size: Length of the mean shift, as a share of the length of the way.
        knn_gain: Rise of the share of target cells among the 10 nearest unperturbed ones; NaN with few cells.
        energy_drop: Fall of the energy distance to the target, as a share of what it was; NaN with few cells.
    """

    cosine: float
    projection: float
    size: float
    knn_gain: float
    energy_drop: float


def shift(states: States, rows: Ints, perturbed: Numbers) -> Shift:
    """Score a perturbation.

    Args:
        states: Unperturbed cells.
        rows: Which source cells were perturbed.
        perturbed: Their states afterwards (len(rows), genes).
    """
    before = states.source[rows]
    moved, way = (perturbed - before).mean(axis=0), states.difference
    length, size = float(np.linalg.norm(way)), float(np.linalg.norm(moved))
    along = float(moved @ way)
    knn = drop = float("nan")
    if states.space is not None:
        source, target = states.space.transform(states.source), states.space.transform(states.target)
        after = states.space.transform(perturbed)
        knn = target_share(after, source, target, rows) - target_share(source[rows], source, target, rows)
        distance = energy_distance(source[rows], target)
        drop = 1 - energy_distance(after, target) / distance if distance > 1e-12 else float("nan")
    return Shift(
        cosine=along / (length * size) if length > 1e-12 and size > 1e-12 else 0.0,
        projection=along / length**2 if length > 1e-12 else float("nan"),
        size=size / length if length > 1e-12 else float("nan"),
        knn_gain=knn,
        energy_drop=drop,
    )


def target_share(points: Numbers, source: Numbers, target: Numbers, rows: Ints, k: int = NEIGHBOURS) -> float:
    """Mean share of target cells among the k nearest unperturbed cells of points.

    Args:
        points: Coordinates, perturbed or not.
        source: Coordinates of the source cells.
        target: Coordinates of the target cells.
        rows: Source cell that each point is (or was); it is not its own neighbour.
        k: Neighbours.
    """
    every = np.concatenate([source, target])
    apart = ((points[:, None] - every[None]) ** 2).sum(axis=-1)
    apart[np.arange(len(points)), rows] = np.inf
    near = np.argsort(apart, axis=1, kind="stable")[:, : min(k, len(every) - 1)]
    return float((near >= len(source)).mean())


def energy_distance(a: Numbers, b: Numbers) -> float:
    """2 E|A - B| - E|A - A'| - E|B - B'| over rows (Szekely and Rizzo), every pair counted; 0 for equal samples."""
    return 2 * _mean_distance(a, b) - _mean_distance(a, a) - _mean_distance(b, b)


def _mean_distance(a: Numbers, b: Numbers) -> float:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return float(np.sqrt(np.maximum(square, 0.0)).mean())


@dataclass(frozen=True)
class Reversal:
    """What a perturbation does to genes that are known to differ.

    Attributes:
        up: Mean change of the genes that are too high; negative = reversed.
        down: Mean change of the genes that are too low; positive = reversed.
        share: Share of all of them that move back.
        reversal: down - up, over the genes there are.
    """

    up: float
    down: float
    share: float
    reversal: float


def reversal(moved: Numbers, up: Ints, down: Ints) -> Reversal:
    """Reversal of given differential genes (reference 7.8: up genes fall, down genes rise).

    Args:
        moved: Mean change of every gene.
        up: Columns of the genes that are too high in the source.
        down: Columns of those that are too low.
    """
    high = float(moved[up].mean()) if len(up) else 0.0
    low = float(moved[down].mean()) if len(down) else 0.0
    back = int((moved[up] < 0).sum() + (moved[down] > 0).sum())
    return Reversal(high, low, back / (len(up) + len(down)), low - high)


def without_size(
    values: Sequence[float], sizes: Sequence[float], null: Sequence[float], null_sizes: Sequence[float]
) -> tuple[Numbers, Numbers]:
    """Values and null minus what the size of the edit explains: a line in log(1 + edited peaks), fitted to the null.

    Large edits move cells straighter than small ones, whatever they are (ours; reference 7.8 leaves it out).
    """
    line = np.stack([np.ones(len(null_sizes)), np.log1p(np.asarray(null_sizes))], axis=1)
    weights, *_ = np.linalg.lstsq(line, np.asarray(null), rcond=None)

    def rest(scores: Sequence[float], edited: Sequence[float]) -> Numbers:
        found: Numbers = np.asarray(scores) - weights[0] - weights[1] * np.log1p(np.asarray(edited))
        return found

    return rest(values, sizes), rest(null, null_sizes)


def p_values(values: Numbers, null: Numbers) -> list[float]:
    """Share of the null that is at least as high, the value itself counted among them."""
    return [float((1 + (null >= value).sum()) / (1 + len(null))) for value in values.tolist()]


def z_scores(values: Numbers, null: Numbers) -> list[float]:
    """Standard deviations above the mean of the null; 0 where it does not vary."""
    spread = null.std()
    return [float((value - null.mean()) / spread) if spread > 1e-12 else 0.0 for value in values.tolist()]
