"""What the visible surroundings of hidden tokens give away without a model: neighbours of signals and of DNA."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
K = 6
CONTEXT = 3
REACH = 24


def nearest_visible(shown: Ints, mask: int) -> npt.NDArray[np.int64]:
    """At every place of (rows, tokens) the nearest value that is not `mask`, left at a tie; 0 where a row has none."""
    place, distance_left, distance_right = _sides(shown != mask)
    left, right = place
    take = np.where(distance_left <= distance_right, left, right)
    rows = np.arange(len(shown))[:, None]
    none = np.minimum(distance_left, distance_right) > shown.shape[1]
    return np.where(none, 0, shown[rows, take]).astype(np.int64)


def _sides(visible: npt.NDArray[np.bool_]) -> tuple[tuple[Ints, Ints], Ints, Ints]:
    """Nearest visible place to the left and right of every place, and the distances (more than a row: none)."""
    length = visible.shape[1]
    at = np.arange(length)
    left = np.maximum.accumulate(np.where(visible, at, -1), axis=1)
    right = np.minimum.accumulate(np.where(visible, at, length)[:, ::-1], axis=1)[:, ::-1]
    distance_left = np.where(left < 0, 2 * length, at - left)
    distance_right = np.where(right >= length, 2 * length, right - at)
    return (np.maximum(left, 0), np.minimum(right, length - 1)), distance_left, distance_right


@dataclass(frozen=True)
class ContextLookup:
    """The commonest base at each distance from three known bases, on either side, and the commonest of all.

    Attributes:
        best: (side, distance - 1, context) to base; side 0 = the context lies to the left.
        majority: Commonest base.
    """

    best: npt.NDArray[np.int64]
    majority: int

    @classmethod
    def fit(cls, sequences: Iterable[npt.NDArray[np.uint8]]) -> ContextLookup:
        """Count base codes; bases beside an N are left out."""
        counts = np.zeros((2, REACH, 4**CONTEXT, 4), dtype=np.int64)
        bases = np.zeros(4, dtype=np.int64)
        for codes in sequences:
            values = codes.astype(np.int64)
            bases += np.bincount(values[values < 4], minlength=4)
            context, known = _contexts(values)
            for distance in range(1, REACH + 1):
                # The context ends at p and the base lies at p + distance; or begins at p and lies at p - distance.
                for side, base, ctx, real in (
                    (0, values[CONTEXT - 1 + distance :], context[:-distance], known[:-distance]),
                    (1, values[: len(context) - distance], context[distance:], known[distance:]),
                ):
                    use = real & (base < 4)
                    np.add.at(counts[side, distance - 1], (ctx[use], base[use]), 1)
        majority = int(bases.argmax())
        counts[..., majority] += 1  # a context never seen says the commonest base
        return cls(counts.argmax(axis=-1), majority)

    def predict(
        self, codes: npt.NDArray[np.uint8], hidden_tokens: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int64]:
        """A base for the first base of every token, from what the visible tokens show.

        Args:
            codes: (rows, tokens + 5) base codes.
            hidden_tokens: (rows, tokens), True where the 6-mer is not shown.
        """
        tokens = hidden_tokens.shape[1]
        known = np.zeros(codes.shape, dtype=np.bool_)
        for offset in range(K):
            known[:, offset : offset + tokens] |= ~hidden_tokens
        values = codes.astype(np.int64) & 3
        padded = np.pad(values, ((0, 0), (CONTEXT, CONTEXT)), mode="edge")
        ending = sum(
            4 ** (CONTEXT - 1 - i) * padded[:, i + 1 : i + 1 + codes.shape[1]] for i in range(CONTEXT)
        )
        beginning = sum(
            4 ** (CONTEXT - 1 - i) * padded[:, CONTEXT + i : CONTEXT + i + codes.shape[1]]
            for i in range(CONTEXT)
        )
        (left, right), distance_left, distance_right = _sides(known)
        rows = np.arange(len(codes))[:, None]
        use_left = distance_left <= distance_right
        distance = np.minimum(distance_left, distance_right)
        context = np.where(use_left, np.asarray(ending)[rows, left], np.asarray(beginning)[rows, right])
        guess = self.best[(~use_left).astype(np.int64), np.clip(distance, 1, REACH) - 1, context]
        guess = np.where(distance == 0, values, np.where(distance > REACH, self.majority, guess))
        return np.asarray(guess[:, :tokens], dtype=np.int64)


def _contexts(values: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Number of the three bases from each place on, and whether all are known; (bases - 2,)."""
    length = len(values) - CONTEXT + 1
    parts = [values[i : i + length] for i in range(CONTEXT)]
    number = sum(4 ** (CONTEXT - 1 - i) * (part & 3) for i, part in enumerate(parts))
    return np.asarray(number), np.all([part < 4 for part in parts], axis=0)
