from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cisoform.errors import InputError
from cisoform.genome.interval import Interval

intervals = st.builds(
    lambda start, length, strand: Interval("chr1", start, start + length, strand),
    st.integers(-50, 50),
    st.integers(0, 40),
    st.sampled_from("+-"),
)


def test_length_counts_bases_and_text_counts_from_one():
    interval = Interval("chr1", 10, 25, "-")
    assert (len(interval), interval.length, str(interval)) == (15, 15, "chr1:11-25:-")


def test_an_interval_that_ends_before_it_starts_is_refused():
    with pytest.raises(ValueError, match="5-3 ends before"):
        Interval("chr1", 5, 3)


def test_an_unknown_strand_is_refused():
    with pytest.raises(ValueError, match=r"'\.'"):
        Interval("chr1", 1, 3, ".")


@given(st.integers(-100, 100), st.integers(1, 30), st.sampled_from("+-"))
def test_window_puts_the_centre_at_half_its_length_in_reading_direction(
    center: int, length: int, strand: str
):
    window = Interval.window("chr1", center, length, strand)
    assert window.length == length
    offset = center - window.start if strand == "+" else window.end - 1 - center
    assert offset == length // 2
    assert window.center == center


@given(intervals, intervals)
def test_overlap_counts_shared_positions(one: Interval, other: Interval):
    shared = set(range(one.start, one.end)) & set(range(other.start, other.end))
    assert one.overlap(other) == len(shared)
    assert one.overlaps(other) == bool(shared)
    cut = one.intersect(other)
    assert (set(range(cut.start, cut.end)) if cut else set()) == shared


@given(intervals, intervals)
def test_containing_is_having_all_positions(one: Interval, other: Interval):
    if other.length:
        inside = set(range(other.start, other.end)) <= set(range(one.start, one.end))
        assert one.contains(other) == inside
    assert one.contains(other.start) == (other.start in range(one.start, one.end))


@given(intervals, st.integers(-20, 20))
def test_shifting_back_is_the_identity_and_flipping_reverses_it(interval: Interval, bases: int):
    assert interval.shift(bases).shift(-bases) == interval
    assert interval.flip().shift(bases).flip() == interval.shift(-bases)


def test_expanding_upstream_follows_the_strand():
    assert Interval("c", 10, 20, "+").expand(3, 1) == Interval("c", 7, 21, "+")
    assert Interval("c", 10, 20, "-").expand(3, 1) == Interval("c", 9, 23, "-")
    assert Interval("c", 10, 20, "-").expand(2) == Interval("c", 8, 22, "-")


def test_clipping_keeps_what_lies_on_the_chromosome():
    assert Interval("c", -5, 8).clip(6) == Interval("c", 0, 6)
    assert Interval("c", 9, 12).clip(6).length == 0
    assert Interval("c", -5, -2).clip(6).length == 0


def test_other_chromosomes_share_nothing():
    assert not Interval("a", 0, 9).overlaps(Interval("b", 0, 9))
    assert not Interval("a", 0, 9).contains(Interval("b", 1, 2))


def test_browser_regions_count_from_one():
    assert Interval.parse("chr1:1,001-2,000") == Interval("chr1", 1000, 2000)
    assert Interval.parse("HLA:A*01:5-9:-") == Interval("HLA:A*01", 4, 9, "-")


@pytest.mark.parametrize("text", ["chr1", "chr1:5", "chr1:0-5", "chr1:9-5", "chr1:a-b", ""])
def test_a_malformed_region_is_shown(text: str):
    with pytest.raises(InputError, match=f"region '{text}'"):
        Interval.parse(text)
