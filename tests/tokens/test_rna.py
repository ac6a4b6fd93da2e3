import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cisoform.tokens.rna import (
    JUNCTION,
    N_REGIONS,
    NON_CODING,
    UTR3,
    UTR5,
    first_base_kept,
    region_ids,
)

NO_JUNCTION = np.array([], dtype=np.int32)


def test_regions_of_a_hand_worked_transcript():
    # 2 bases of 5'UTR, CDS of 2 codons, 2 bases of 3'UTR; a second exon begins at base 4 (third base of codon 1).
    regions = region_ids(10, 2, 8, np.array([4]))
    assert regions.tolist() == [1, 1, 2, 3, 4 + 8, 2, 3, 4, 5, 5]


def test_a_non_coding_transcript_has_one_region_and_its_junctions():
    assert region_ids(5, -1, -1, np.array([3])).tolist() == [6, 6, 6, 14, 6]


@pytest.mark.parametrize(("phase", "first"), [(0, [2, 3, 4]), (1, [4, 2, 3]), (2, [3, 4, 2])])
def test_an_incomplete_cds_starts_inside_a_codon(phase, first):
    # Frame 1: one base is left of a broken codon, so the first base is the third of its codon.
    assert region_ids(3, 0, 3, NO_JUNCTION, phase).tolist() == first


def test_a_cds_that_fills_the_rna_has_no_utr():
    assert set(region_ids(9, 0, 9, NO_JUNCTION).tolist()) == {2, 3, 4}


@given(st.integers(1, 80), st.data())
def test_a_crop_keeps_the_three_prime_end_and_the_frame(length, data):
    start = data.draw(st.integers(0, length))
    end = data.draw(st.integers(start, length))
    junctions = np.array(
        sorted(data.draw(st.sets(st.integers(1, length), max_size=4)) - {length}), dtype=np.int32
    )
    cap = data.draw(st.integers(1, 100))
    whole = region_ids(length, start, end, junctions)
    kept = first_base_kept(length, cap)
    cropped = region_ids(length, start, end, junctions, start=kept)
    assert len(cropped) == min(length, cap)
    assert np.array_equal(cropped, whole[kept:])
    assert whole.max() < N_REGIONS
    assert ((whole >= JUNCTION).nonzero()[0] == junctions).all()
    assert (whole % JUNCTION == UTR5).sum() == start and (whole % JUNCTION == UTR3).sum() == length - end
    assert NON_CODING not in whole % JUNCTION


def test_no_cap_keeps_everything():
    assert first_base_kept(10**6, None) == 0
