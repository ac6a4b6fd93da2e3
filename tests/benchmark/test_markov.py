"""Chains of letters: counts by hand, the sum over words, and what they read on either side."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cisoform.benchmark.markov import UNKNOWN, MarkovChain


def test_counts_by_hand() -> None:
    # A A B A: order 0 has A 3, B 1, smoothed by 2 letters x 1/2 each: (3 + 1) / (4 + 2), (1 + 1) / 6.
    chain = MarkovChain.fit([np.array([0, 0, 1, 0])], alphabet=2, order=1)
    np.testing.assert_allclose(np.exp(chain.tables[0]), [[4 / 6, 2 / 6]])
    # After A: A 1, B 1, smoothed by 2 x order 0: (1 + 2 * 4 / 6) / 4 and (1 + 2 * 2 / 6) / 4; after B: A 1.
    expected = [[(1 + 8 / 6) / 4, (1 + 4 / 6) / 4], [(1 + 8 / 6) / 3, (4 / 6) / 3]]
    np.testing.assert_allclose(np.exp(chain.tables[1]), expected)


def test_an_unknown_letter_breaks_the_chain() -> None:
    broken = MarkovChain.fit([np.array([0, 1, 9, 0, 1])], alphabet=2, order=1)
    apart = MarkovChain.fit([np.array([0, 1]), np.array([0, 1])], alphabet=2, order=1)
    for one, two in zip(broken.tables, apart.tables, strict=True):
        np.testing.assert_allclose(one, two)


@pytest.mark.parametrize(("n_left", "n_right"), [(0, 0), (1, 0), (2, 2), (0, 2), (3, 1)])
def test_a_word_has_the_probability_of_the_whole_text(n_left: int, n_right: int) -> None:
    """P(word | sides) is P(left + word + right), letter by letter, over its sum for all words."""
    rng = np.random.default_rng(1)
    order, width, size = 3, 2, 3
    chain = MarkovChain.fit([rng.integers(0, size, 200)], size, order)
    left, right = rng.integers(0, size, (1, order)), rng.integers(0, size, (1, order))
    left[0, : order - n_left] = UNKNOWN
    right[0, n_right:] = UNKNOWN
    known = [*left[0, order - n_left :].tolist()], [*right[0, :n_right].tolist()]

    def text(word: tuple[int, ...]) -> float:
        letters = [*known[0], *word, *known[1]]
        total = 0.0
        for place in range(n_left, len(letters)):
            before = letters[max(0, place - order) : place]
            context = sum(letter * size ** (len(before) - 1 - i) for i, letter in enumerate(before))
            total += chain.tables[len(before)][context, letters[place]]
        return total

    words = list(itertools.product(range(size), repeat=width))
    expected = np.exp([text(word) for word in words])
    found = chain.score(left, right, width)
    np.testing.assert_allclose(np.exp(found[0]), expected / expected.sum(), rtol=1e-9)


def test_letters_beyond_an_unknown_one_are_not_read() -> None:
    chain = MarkovChain.fit([np.random.default_rng(0).integers(0, 4, 500)], 4, 2)
    left = np.array([[3, UNKNOWN], [0, UNKNOWN]])
    right = np.array([[UNKNOWN, 2], [UNKNOWN, 1]])
    found = chain.score(left, right, 1)
    np.testing.assert_allclose(found[0], found[1])
    np.testing.assert_allclose(found[0], chain.tables[0][0], atol=1e-12)


def test_a_planted_chain_is_found() -> None:
    """Letters that follow one another in a circle: order 1 knows the hidden one, order 0 does not."""
    text = np.arange(300) % 4
    chain = MarkovChain.fit([text], 4, 1)
    left, right = np.array([[1]]), np.array([[3]])
    assert chain.score(left, right, 1).argmax() == 2
    assert np.exp(chain.score(left, right, 1)).max() > 0.99
    assert np.exp(chain.cut(0).score(left[:, 1:], right[:, 1:], 1)).max() < 0.3
