"""Peaks of a gene, states of a peak and pools of cells: laws and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cisoform.data.gene_index import GenePeaks, index_genes
from cisoform.data.gene_loader import permuted
from cisoform.data.gene_pools import Pooling, SparseRows, group_cells, lsi, nearest_cells
from cisoform.data.gene_states import (
    N_BINS,
    CoverageStates,
    LevelStates,
    PeakPlaces,
    level_codes,
    level_values,
    tokens_of,
)
from cisoform.data.genes import find_in_rows
from cisoform.errors import InputError
from cisoform.genome.peaks import Peaks, parse_peak_names, place_peaks
from cisoform.models.creformer import rank_positions
from cisoform.tokens.peaks import RELEASED_EDGES, signal_levels

CHROMS = {"chr1": 3_000_000, "chr2": 500_000}


def index(peaks: Peaks, *genes: tuple[int, int, str], reach: int = 150_000, most: int = 150) -> GenePeaks:
    chrom, tss, strand = (np.array(values) for values in zip(*genes, strict=True))
    return index_genes(peaks, chrom, tss, strand == "-", reach, most)


def peaks_at(*mids: int, chrom: str = "chr1") -> Peaks:
    return place_peaks(
        parse_peak_names([f"{chrom}:{mid - 100}-{mid + 100}" for mid in mids], "x"), CHROMS, "x"
    ).peaks


# --- peaks of genes -------------------------------------------------------------------------------------------------


def test_peaks_within_reach_with_distances_on_the_strand():
    peaks = peaks_at(100_000, 249_999, 250_000, 400_000, 400_001, 900_000)
    plus, minus, none = 0, 1, 2
    found = index(peaks, (0, 250_000, "+"), (0, 250_000, "-"), (1, 250_000, "+"))
    assert found.count.tolist() == [4, 4, 0] and found.first.tolist()[:2] == [0, 0]
    assert found.distance(plus).tolist() == [-150_000, -1, 0, 150_000]
    assert found.distance(minus).tolist() == [150_000, 1, 0, -150_000]
    assert found.tss_peak.tolist() == [2, 2, 0] and found.promoter.tolist() == [True, True, False]
    assert found.distance(none).tolist() == []
    offsets, columns = found.csr()
    assert offsets.tolist() == [0, 4, 8, 8] and columns.tolist() == [0, 1, 2, 3] * 2


def test_of_too_many_peaks_the_nearest_are_kept_in_genomic_order():
    found = index(peaks_at(1000, 2000, 2900, 3200, 4100), (0, 3000, "+"), most=3)
    # Distances 2000, 1000, 100, 200, 1100: the three nearest are the second to the fourth.
    assert found.first.tolist() == [1] and found.count.tolist() == [3] and found.tss_peak.tolist() == [1]


def test_the_index_agrees_with_a_slow_search():
    rng = np.random.default_rng(8)
    mids = np.sort(rng.choice(np.arange(2000, 400_000, 250), 170, replace=False))
    peaks = peaks_at(*mids.tolist(), chrom="chr2")
    genes = [(1, int(tss), "+-"[tss % 2]) for tss in rng.integers(0, 500_000, 90)]
    found = index(peaks, *genes, reach=40_000, most=11)
    for number, (_, tss, strand) in enumerate(genes):
        near = [peak for peak in range(len(mids)) if abs(mids[peak] - tss) <= 40_000]
        kept = sorted(near, key=lambda peak: abs(mids[peak] - tss))[:11]
        own = list(range(found.first[number], found.first[number] + found.count[number]))
        assert len(own) == len(kept)
        assert sorted(abs(mids[own] - tss)) == sorted(abs(mids[kept] - tss))
        if own:
            tss_peak = int(found.tss_peak[number])
            assert abs(mids[own[tss_peak]] - tss) == min(abs(mids[own] - tss))
            expected = rank_positions(len(own), tss_peak, strand, len(own))
            assert found.rank(number).tolist() == expected.tolist()


def test_a_promoter_peak_reaches_within_500_bp():
    peaks = peaks_at(10_000)  # bases 9,900 to 10,099
    tss = [9_399, 9_400, 10_599, 10_600]
    assert index(peaks, *((0, at, "+") for at in tss)).promoter.tolist() == [False, True, True, False]


# --- states ---------------------------------------------------------------------------------------------------------


def test_level_values_lie_in_their_own_levels():
    values = level_values(RELEASED_EDGES)
    assert level_codes(values, RELEASED_EDGES).tolist() == list(range(35))


def level_states() -> LevelStates:
    start, end = np.array([1000, 3000, 5000]), np.array([1400, 3101, 9000])
    return LevelStates(
        peak=np.array([0, 1, 2, 2], dtype=np.int32),
        level=np.array([7, 20, 0, 34], dtype=np.uint8),
        edges=RELEASED_EDGES,
        places=PeakPlaces.of(start, end),
    )


def test_count_level_tokens_worked_by_hand():
    states = level_states()
    tokens = tokens_of(states, np.array([1, 3 + 1, 6, 6 + 3]), n_peaks=3)
    assert (tokens[0] == 1).all(), "all zero"
    assert (tokens[1] == 0).all(), "not measured"
    # Peak 0: 400 bp round mid 1200, window from 686: bases 314 to 713 carry level 7.
    row = tokens[2]
    assert (row[:309] == 1).all() and (row[714:] == 1).all()
    assert (row[314:709] == 2 + 7).all()
    value = level_values(RELEASED_EDGES)[7]
    assert row[309:314].tolist() == signal_levels(np.arange(1, 6) * value / 6).tolist()
    assert (tokens[3] == 36).all(), "a peak longer than its window"


def test_more_depth_never_lowers_a_token():
    states, ids = level_states(), np.arange(6, 10)
    once, twice = tokens_of(states, ids, 3), tokens_of(states, ids, 3, factor=2.0)
    assert (twice >= once).all() and (twice > once).any()


def test_coverage_states_spread_bins_over_their_bases():
    states = CoverageStates(
        peak=np.array([0, 0], dtype=np.int32),
        offsets=np.array([0, 2, 3]),
        bins=np.array([0, 2, N_BINS - 1], dtype=np.uint8),
        values=np.array([6.0, 12.0, 3.0], dtype=np.float32),
        edges=RELEASED_EDGES,
    )
    signal = states.signal(np.array([1, 0]))
    assert signal.shape == (2, 1029) and signal[0, 1020:].tolist() == [3.0] * 9
    assert signal[1, :30].tolist() == [6.0] * 10 + [0.0] * 10 + [12.0] * 10
    assert states.mean(np.array([0, 1])) == pytest.approx(signal[::-1].mean(axis=1))
    assert tokens_of(states, np.array([2]), 1)[0, 5] == signal_levels(np.array([5.0]))[0]  # five of six bases


# --- sparse rows, pools ---------------------------------------------------------------------------------------------


def sparse(dense: np.ndarray, stored: np.ndarray | None = None) -> SparseRows:
    row, column = np.nonzero(dense)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(dense)))])
    return SparseRows(
        offsets, column.astype(np.int32), dense[row, column].astype(np.float32), dense.shape[1], stored
    )


def test_sums_of_rows_in_another_order():
    dense = np.random.default_rng(2).poisson(0.5, (7, 11))
    order = np.array([3, 1, 6, 0, 2, 5, 4])
    matrix = sparse(dense, order)
    columns, values = matrix.sum(np.array([0, 2, 4]))
    expected = dense[[3, 6, 2]].sum(axis=0)
    assert (
        columns.tolist() == np.flatnonzero(expected).tolist()
        and values.tolist() == expected[expected > 0].tolist()
    )


def test_find_in_rows_agrees_with_searchsorted():
    dense = np.random.default_rng(4).random((9, 23)) < 0.4
    dense[3] = False
    matrix = sparse(dense.astype(float))
    rows, keys = np.repeat(np.arange(9), 25), np.tile(np.arange(25), 9)
    found = find_in_rows(matrix.offsets, matrix.columns, rows, keys)
    expected = [
        matrix.offsets[r] + np.searchsorted(matrix.row(r)[0], k)
        for r, k in zip(rows.tolist(), keys, strict=True)
    ]
    assert found.tolist() == expected


def clusters(n_cells: int, rng: np.random.Generator) -> np.ndarray:
    kind = np.arange(n_cells) % 3
    rate = np.where(np.arange(60) // 20 == kind[:, None], 1.0, 0.1)
    return rng.poisson(rate * rng.uniform(0.5, 2, (n_cells, 1)))


def test_neighbours_by_lsi_are_of_the_same_kind():
    dense = clusters(90, np.random.default_rng(1))
    vectors = lsi(sparse(dense), np.arange(90), n_components=5)
    near = nearest_cells(vectors, np.arange(90), 10)
    assert (near[:, 0] == np.arange(90)).all()
    assert all(len(set(row)) == 10 for row in near.tolist())
    assert (near % 3 == np.arange(90)[:, None] % 3).mean() > 0.95


def test_pools_stay_within_their_part_and_ignore_the_others():
    rng = np.random.default_rng(5)
    dense = clusters(60, rng)
    part = ["train" if cell % 5 else "test" for cell in range(60)]
    cells = [f"c{cell}" for cell in range(60)]
    groups = group_cells(Pooling.parse("knn:15"), cells, part, sparse(dense))
    for number, name in enumerate(groups.part):
        assert {part[cell] for cell in groups.members[number].tolist()} == {name}
    assert groups.members.lengths.tolist() == [15 if name == "train" else 12 for name in part]
    assert groups.notes == ["the test part has 12 cells: its pools hold all of them instead of 15"]
    # Other test cells change nothing for training pools.
    dense[::5] = rng.poisson(1.0, (12, 60))
    again = group_cells(Pooling.parse("knn:15"), cells, part, sparse(dense))
    for number, name in enumerate(part):
        if name == "train":
            assert again.members[number].tolist() == groups.members[number].tolist()


def test_pseudobulks_of_a_label_in_two_parts_are_two():
    groups = group_cells(
        Pooling.parse("pseudobulk:x"),
        list("abcde"),
        ["train", "train", "test", "test", "train"],
        None,
        ["B", "T", "B", "T", ""],
    )
    assert groups.names == ["B (test)", "B (train)", "T (test)", "T (train)"]
    assert [groups.members[row].tolist() for row in range(4)] == [[2], [0], [3], [1]]
    assert groups.notes == ["1 cells without a label are left out"]


@pytest.mark.parametrize("text", ["knn", "knn:0", "knn:x", "bulk:a", "pseudobulk:", "cell"])
def test_other_poolings_are_refused(text: str):
    with pytest.raises(InputError, match="none of cells, knn:K"):
        Pooling.parse(text)


# --- sampling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 17, 64, 1000, 4097])
def test_the_keyed_permutation_is_one(size: int):
    found = permuted(np.arange(size), size, (1, 2))
    assert sorted(found.tolist()) == list(range(size))
    np.testing.assert_array_equal(permuted(np.arange(size)[::-1], size, (1, 2)), found[::-1])


def test_other_keys_give_other_permutations_without_a_pattern():
    first, second = (permuted(np.arange(5000), 5000, (seed, 0)) for seed in (1, 2))
    assert (first == second).mean() < 0.01
    assert abs(np.corrcoef(first, np.arange(5000))[0, 1]) < 0.05
