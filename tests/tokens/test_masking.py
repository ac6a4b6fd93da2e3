"""Laws of hiding: no visible token holds a hidden base, spans have their lengths, shares are as asked."""

from __future__ import annotations

import numpy as np
import pytest

from cisoform.tokens.masking import (
    HidingConfig,
    enclosed,
    first_hidden,
    hide_dna,
    hide_signals,
    touched,
)


def runs(hidden: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@pytest.mark.parametrize("tokens", [128, 1024, 4096])
def test_no_visible_token_holds_a_hidden_base(tokens: int) -> None:
    hidden = hide_dna(np.random.default_rng(tokens), 7, tokens, HidingConfig())
    shown = ~touched(hidden)
    for row in range(7):
        for token in np.flatnonzero(shown[row]):
            assert not hidden[row, token : token + 6].any()
    assert (first_hidden(hidden) <= touched(hidden)).all() and (
        enclosed(hidden) <= first_hidden(hidden)
    ).all()


def test_tokens_of_a_hand_worked_span() -> None:
    # 20 bases, 15 tokens; bases 7..13 are hidden.
    hidden = np.zeros(20, dtype=bool)
    hidden[7:14] = True
    assert np.flatnonzero(touched(hidden)).tolist() == list(
        range(2, 14)
    )  # token 2 covers 2..7, token 13 13..18
    assert np.flatnonzero(first_hidden(hidden)).tolist() == list(range(7, 14))
    assert np.flatnonzero(enclosed(hidden)).tolist() == [7, 8]  # 7..12 and 8..13


def test_shares_and_lengths_of_dna() -> None:
    config = HidingConfig(dna_share=0.15, dna_span_extra=12.0)
    hidden = hide_dna(np.random.default_rng(1), 40, 8192, config)
    assert abs(hidden.mean() - 0.15) < 0.01
    inner = [end - begin for row in hidden for begin, end in runs(row) if begin > 0 and end < hidden.shape[1]]
    assert min(inner) >= 6 and abs(np.mean(inner) - 18) < 1
    # As often at the ends of a row as in its middle.
    many = hide_dna(np.random.default_rng(6), 3000, 256, config)
    assert abs(many[:, :20].mean() - 0.15) < 0.02 and abs(many[:, -20:].mean() - 0.15) < 0.02


@pytest.mark.parametrize("least", [32, 75, 200])
def test_spans_of_signals_are_no_shorter_than_asked(least: int) -> None:
    config = HidingConfig(signal_span_min=least)
    hidden = hide_signals(np.random.default_rng(2), 30, 3, 8192, config)
    inner = [
        end - begin
        for row in hidden.reshape(-1, hidden.shape[-1])
        for begin, end in runs(row)
        if begin > 0 and end < hidden.shape[-1]
    ]
    assert min(inner) >= least
    assert abs(hidden.mean() - 0.15) < 0.02


def test_whole_bins() -> None:
    hidden = hide_signals(np.random.default_rng(3), 20, 2, 4096, HidingConfig(whole_bins=1.0))
    bins = hidden[..., :4096].reshape(20, 2, 32, 128)
    assert set(bins.sum(axis=-1).ravel().tolist()) == {0, 128}
    assert abs(bins.mean() - 0.15) < 0.03


def test_tracks_share_their_spans_as_often_as_asked() -> None:
    def same(shared: float) -> float:
        hidden = hide_signals(np.random.default_rng(4), 400, 2, 2048, HidingConfig(shared_spans=shared))
        return float((hidden[:, 0] == hidden[:, 1]).all(axis=1).mean())

    assert same(1.0) == 1.0 and same(0.0) < 0.05 and abs(same(0.5) - 0.5) < 0.1


def test_nothing_is_hidden_where_nothing_is_asked() -> None:
    config = HidingConfig(dna_share=0.0, signal_share=0.0)
    rng = np.random.default_rng(5)
    assert not hide_dna(rng, 3, 256, config).any() and not hide_signals(rng, 3, 2, 256, config).any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dna_share": 0.9}, "dna_share=0.9"),
        ({"signal_share": -0.1}, "signal_share=-0.1"),
        ({"whole_bins": 1.5}, "whole_bins=1.5"),
        ({"dna_span_extra": 0.0}, "dna_span_extra=0.0"),
        ({"signal_span_min": 300}, "signal_span_min=300 and signal_span_max=256"),
        ({"signal_span_min": 3}, "signal_span_min=3"),
    ],
)
def test_impossible_settings(change: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        HidingConfig(**change)  # type: ignore[arg-type]
