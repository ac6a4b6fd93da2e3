"""Baselines and metrics of the Elementary report, by hand and against naive code."""

from __future__ import annotations

import numpy as np
import pytest

from cisoform.benchmark.context import ContextLookup, nearest_visible
from cisoform.benchmark.elementary import level_centres, macro_f1, partial_correlation, pearson
from cisoform.tokens.masking import HidingConfig, hide_dna, touched
from cisoform.tokens.peaks import RELEASED_EDGES


def test_the_nearest_visible_value() -> None:
    shown = np.array([[37, 5, 37, 37, 37, 9, 37], [37] * 7])
    # Place 3 lies two from either side: the left one wins.
    assert nearest_visible(shown, 37).tolist() == [[5, 5, 5, 5, 9, 9, 9], [0] * 7]


def naive_lookup(train: list[np.ndarray], side: int, distance: int, context: tuple[int, ...]) -> list[int]:
    counts = [0, 0, 0, 0]
    for codes in train:
        for p in range(len(codes)):
            left = side == 0
            first = p - distance - 2 if left else p + distance
            if first < 0 or first + 3 > len(codes) or codes[p] > 3:
                continue
            if tuple(codes[first : first + 3]) == context:
                counts[codes[p]] += 1
    return counts


def test_context_frequencies_are_those_of_naive_counting() -> None:
    rng = np.random.default_rng(0)
    train = [rng.choice(5, 300, p=[0.3, 0.25, 0.2, 0.2, 0.05]).astype(np.uint8) for _ in range(3)]
    lookup = ContextLookup.fit(train)
    values = np.concatenate(train)
    assert lookup.majority == int(np.bincount(values[values < 4]).argmax())
    for side, distance, context in (
        (0, 1, (0, 1, 2)),
        (1, 1, (3, 3, 0)),
        (0, 7, (2, 0, 1)),
        (1, 24, (1, 1, 1)),
    ):
        counts = naive_lookup(train, side, distance, context)
        counts[lookup.majority] += 1
        number = 16 * context[0] + 4 * context[1] + context[2]
        assert lookup.best[side, distance - 1, number] == int(np.argmax(counts))


def test_a_periodic_sequence_is_read_off_its_neighbours() -> None:
    codes = np.tile(np.array([0, 1, 2, 3, 3, 1], dtype=np.uint8), 200)[None, : 1024 + 5]
    lookup = ContextLookup.fit([codes[0]])
    hidden = hide_dna(np.random.default_rng(1), 1, 1024, HidingConfig())
    guess = lookup.predict(codes, touched(hidden))
    assert (guess == codes[:, :1024]).mean() > 0.97
    # Random sequence gives nothing away.
    noise = np.random.default_rng(2).integers(0, 4, (1, 4096 + 5)).astype(np.uint8)
    hidden = hide_dna(np.random.default_rng(3), 1, 4096, HidingConfig(dna_share=0.3))
    right = lookup.predict(noise, touched(hidden)) == noise[:, :4096]
    assert right[~hidden[:, :4096]].all() and abs(right[hidden[:, :4096]].mean() - 0.25) < 0.06


def test_macro_f1_by_hand() -> None:
    # class 1: 2 right, 1 missed, 1 wrongly said -> 2*2/(3+3); class 2: 1 right of 2, said twice -> 2*1/(2+2).
    truth, said = np.array([1, 1, 1, 2, 2]), np.array([1, 1, 2, 2, 1])
    assert macro_f1(truth, said) == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert macro_f1(truth[:0], said[:0]) is None


def test_partial_correlation_is_that_of_residuals() -> None:
    rng = np.random.default_rng(4)
    mean, extra = rng.normal(size=500), rng.normal(size=500)
    truth, guess = mean + extra, 2 * mean + 0.3 * extra + 0.1 * rng.normal(size=500)

    def residual(values: np.ndarray) -> np.ndarray:
        slope, offset = np.polyfit(mean, values, 1)
        return values - slope * mean - offset

    expected = np.corrcoef(residual(truth), residual(guess))[0, 1]
    assert partial_correlation(truth, guess, mean) == pytest.approx(expected, abs=1e-9)
    assert partial_correlation(truth, mean, mean) is None
    assert pearson(truth[:1], guess[:1]) is None and pearson(truth, truth * 0 + 3) is None


def test_typical_signal_rises_with_its_level() -> None:
    centres = level_centres(RELEASED_EDGES)
    assert len(centres) == 36 and centres[0] == 0 and (np.diff(centres) > 0).all()
    assert np.sinh(centres[14]) == pytest.approx((0.9 + 1.0) / 2)  # level 15: 0.9 to 1
