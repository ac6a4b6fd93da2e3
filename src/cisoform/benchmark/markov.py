"""What a hidden token is, from letter counts alone: how often each token occurs, and chains of its neighbours.

A chain of order k says how probable a letter is after the k letters before it. A hidden word w between the letters l
and r has probability P(w | l) P(r | l, w) up to a factor: the chain reads both sides, up to the next hidden token or
the end of the sequence. Counts are smoothed towards the chain of the order below (Dirichlet, weight = letters).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

UNKNOWN = -1
_CHUNK_ELEMENTS = 1 << 20


@dataclass(frozen=True)
class MarkovChain:
    """Chains of letters.

    Attributes:
        alphabet: Number of letters; codes 0..alphabet - 1, others break the chain.
        tables: `tables[j][context, letter]` is log P(letter | the j letters before it); the context is a number whose
            last digit is the nearest letter.
    """

    alphabet: int
    tables: tuple[Float[np.ndarray, "_ _"], ...]

    @property
    def order(self) -> int:
        """Letters that are read on each side."""
        return len(self.tables) - 1

    @classmethod
    def fit(cls, sequences: Iterable[Int[np.ndarray, " _"]], alphabet: int, order: int) -> MarkovChain:
        """Count.

        Args:
            sequences: Codes; a code outside the alphabet breaks the chain.
            alphabet: Number of letters.
            order: Letters before a letter, at most.
        """
        counts = [np.zeros(alphabet ** (j + 1)) for j in range(order + 1)]
        for codes in sequences:
            letters = np.where(codes < alphabet, codes, UNKNOWN).astype(np.int64)
            for j in range(order + 1):
                words = _words(letters, j + 1, alphabet)
                counts[j] += np.bincount(words, minlength=len(counts[j]))
        below = np.full((1, alphabet), 1 / alphabet)
        tables = []
        for j, count in enumerate(counts):
            table = count.reshape(-1, alphabet)
            prior = below if j == 0 else np.tile(below, (alphabet, 1))
            below = (table + alphabet * prior) / (table.sum(axis=1, keepdims=True) + alphabet)
            tables.append(np.log(below))
        return cls(alphabet, tuple(tables))

    def cut(self, order: int) -> MarkovChain:
        """The chain of a lower order."""
        return MarkovChain(self.alphabet, self.tables[: order + 1])

    def score(
        self, left: Int[np.ndarray, "places order"], right: Int[np.ndarray, "places order"], width: int
    ) -> Float[np.ndarray, "places words"]:
        """Log-probability of each word of `width` letters at every place.

        Args:
            left: Letters before the place, the nearest last; `UNKNOWN` where there is none.
            right: Letters after it, the nearest first.
            width: Letters of a word; a word is the number whose first digit is its first letter.
        """
        n_left = (np.cumprod(left[:, ::-1] >= 0, axis=1)).sum(axis=1)
        n_right = (np.cumprod(right >= 0, axis=1)).sum(axis=1)
        out = np.empty((len(left), self.alphabet**width))
        step = max(1, _CHUNK_ELEMENTS // out.shape[1])
        for a, b in sorted({*zip(n_left.tolist(), n_right.tolist(), strict=True)}):
            rows = np.flatnonzero((n_left == a) & (n_right == b))
            for low in range(0, len(rows), step):
                some = rows[low : low + step]
                out[some] = self._score(left[some][:, left.shape[1] - a :], right[some][:, :b], width)
        return out

    def _score(
        self, left: Int[np.ndarray, "places known"], right: Int[np.ndarray, "places seen"], width: int
    ) -> Float[np.ndarray, "places words"]:
        size, words = self.alphabet, np.arange(self.alphabet**width)
        digits = [words // size ** (width - 1 - j) % size for j in range(width)]
        # Each letter of left + word + right as a column (places, 1) or a row (1, words).
        letters = [
            *(column[:, None] for column in left.T),
            *(digit[None, :] for digit in digits),
            *(column[:, None] for column in right.T),
        ]
        total = np.zeros((len(left), len(words)))
        for place in range(left.shape[1], len(letters)):
            before = letters[max(0, place - self.order) : place]
            context: Int[np.ndarray, ...] = np.zeros((1, 1), dtype=np.int64)
            for letter in before:
                context = context * size + letter
            total += self.tables[len(before)][context, letters[place]]
        total -= total.max(axis=1, keepdims=True)
        normalised: Float[np.ndarray, "places words"] = total - np.log(
            np.exp(total).sum(axis=1, keepdims=True)
        )
        return normalised


def _words(letters: Int[np.ndarray, " letters"], width: int, alphabet: int) -> Int[np.ndarray, " words"]:
    """Every word of `width` known letters, as a number."""
    n = len(letters) - width + 1
    if n < 1:
        return np.empty(0, dtype=np.int64)
    value, known = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
    for offset in range(width):
        part = letters[offset : offset + n]
        known &= part >= 0
        value = value * alphabet + part
    return value[known]
