"""Tokens of CREformer: laws, hand-worked cases, and equality with a plain re-reading of the released ladder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cisoform.errors import InputError
from cisoform.genome.sequence import encode_dna
from cisoform.tokens.peaks import (
    DNA_MASK,
    DNA_PAD,
    RELEASED_EDGES,
    SIGNAL_ZERO,
    check_edges,
    dna_tokens,
    quantile_edges,
    released_rows,
    signal_levels,
    signal_tokens,
)

LADDER_STARTS = [  # first value of levels 3, 4, ... 36 as the released if-ladder writes them
    *(0.001, 0.01, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 2.0, 3.0, 4.0),
    *(5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 20.0, 25.0, 35.0, 55.0, 100.0, 200.0),
]


def naive_signal_tokens(values: list[float]) -> list[int]:
    tokens = []
    for start in range(len(values) - 5):
        mean = sum(values[start : start + 6]) / 6
        if mean == 0:
            tokens.append(1)
            continue
        level = 2
        for step, first in enumerate(LADDER_STARTS):
            if mean >= first:
                level = 3 + step
        tokens.append(level)
    return tokens


@given(
    st.lists(
        st.one_of(st.just(0.0), st.floats(0, 300), st.sampled_from(RELEASED_EDGES)), min_size=6, max_size=40
    )
)
def test_levels_equal_a_naive_ladder(values: list[float]) -> None:
    assert signal_tokens(np.array(values)).tolist() == naive_signal_tokens(values)


def test_every_edge_opens_its_level() -> None:
    assert signal_levels(np.array(RELEASED_EDGES)).tolist() == list(range(3, 37))
    assert signal_levels(np.nextafter(np.array(RELEASED_EDGES), 0)).tolist() == list(range(2, 36))
    assert signal_levels(np.array([0.0, 1e-30, 1e30])).tolist() == [1, 2, 36]


def test_nan_reads_as_zero_and_negative_signal_is_refused() -> None:
    # five zeros and one NaN average to exactly 0; with 6 instead of a zero the mean is 1.
    assert signal_tokens(np.array([0, 0, np.nan, 0, 0, 0, 6.0])).tolist() == [SIGNAL_ZERO, 16]
    with pytest.raises(ValueError, match="-0.5"):
        signal_levels(np.array([1.0, -0.5]))


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=50))
def test_more_signal_never_lowers_a_level(values: list[float]) -> None:
    levels = signal_levels(np.sort(np.array(values)))
    assert (np.diff(levels.astype(int)) >= 0).all()


def test_kmers_count_in_base_four() -> None:
    # AAAAAA 0, AAAAAC 1, AAAAAG 2, TTTTTT 4**6 - 1; four special ids come first.
    assert dna_tokens(encode_dna("AAAAAAC")).tolist() == [4, 5]
    assert dna_tokens(encode_dna("TTTTTT")).tolist() == [4 + 4**6 - 1]
    assert dna_tokens(encode_dna("CAAAAA")).tolist() == [4 + 4**5]
    assert DNA_MASK == 3


def test_a_kmer_with_n_is_not_shown() -> None:
    tokens = dna_tokens(encode_dna("ACGTACNACGTACG"))
    # N at index 6 is part of the 6-mers that start at 1..6.
    assert (tokens == DNA_PAD).tolist() == [False, *[True] * 6, *[False] * 2]


def test_windows_in_rows_equal_windows_alone() -> None:
    codes = np.random.default_rng(0).integers(0, 5, (3, 2, 29)).astype(np.uint8)
    whole = dna_tokens(codes)
    assert whole.shape == (3, 2, 24)
    for i in range(3):
        for j in range(2):
            assert (whole[i, j] == dna_tokens(codes[i, j])).all()


def test_released_rows_find_every_token_in_any_order() -> None:
    ours = [
        "[PAD]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *("".join(k) for k in __import__("itertools").product("ACGT", repeat=6)),
    ]
    shuffled = list(np.random.default_rng(1).permutation(ours))
    rows = released_rows(shuffled)
    assert [shuffled[row] for row in rows] == ours
    with pytest.raises(InputError, match="4099 tokens"):
        released_rows(shuffled[1:])
    with pytest.raises(InputError, match="AAAAAA"):
        released_rows([t if t != "AAAAAA" else "CCCCCC" for t in shuffled])


def test_quantile_edges_share_the_levels_evenly_and_increase_on_ties() -> None:
    values = np.random.default_rng(2).gamma(1.0, 50.0, 70_000)
    edges = check_edges(quantile_edges(values))
    shares = np.bincount(signal_levels(values, edges), minlength=37)[2:]
    assert shares.min() > 0.9 * len(values) / 35
    assert shares.max() < 1.1 * len(values) / 35
    check_edges(quantile_edges(np.array([100.0, 100.0, 200.0])))
    with pytest.raises(ValueError, match="no positive"):
        quantile_edges(np.zeros(5))


@pytest.mark.parametrize("edges", [RELEASED_EDGES[:-1], (0.0, *RELEASED_EDGES[1:]), RELEASED_EDGES[::-1]])
def test_wrong_edges_are_refused(edges: tuple[float, ...]) -> None:
    with pytest.raises(ValueError):
        check_edges(edges)


@pytest.mark.parametrize("edges", ["released", "quantile", "tied"])
@given(value=st.one_of(st.floats(0, 1e4), st.floats(0, 1e-3), st.sampled_from([5e-324, 1e-310, 1e300])))
def test_levels_count_the_edges_below(edges: str, value: float) -> None:
    rng = np.random.default_rng(0)
    cut = {
        "released": RELEASED_EDGES,
        "quantile": quantile_edges(rng.gamma(0.3, 20, 5000)),
        "tied": quantile_edges(np.repeat([1.0, 2.0, 7.0], 50)),  # edges one smallest step apart
    }[edges]
    values = np.array([value, *cut, *np.nextafter(cut, 0), *np.nextafter(cut, np.inf)])
    expected = [sum(edge <= x for edge in cut) + 2 if x else 1 for x in values.tolist()]
    assert signal_levels(values, cut).tolist() == expected
