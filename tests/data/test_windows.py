import numpy as np
import polars as pl
import pytest

from cisoform.data.isoform_dataset import Chromosome, genome_windows
from cisoform.data.windows import GenomeWindows, GivenWindows
from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import BASE_N, decode_dna, encode_dna, reverse_complement

GENOME = encode_dna("AACCGGTT" + "TACG")
CHROMOSOMES = [Chromosome("a", 0, 8), Chromosome("b", 8, 4)]


def windows_of(*starts: tuple[str, str, int]) -> tuple[GenomeWindows, list[int]]:
    table = pl.DataFrame(starts, schema=["chrom", "strand", "tss"], orient="row")
    windows, row = genome_windows(GENOME, CHROMOSOMES, table)
    return windows, row.tolist()


def cut(windows, rows, length, **how) -> list[str]:
    return [decode_dna(one) for one in windows.window(np.array(rows), length, **how)]


def test_windows_of_a_hand_worked_genome():
    windows, row = windows_of(("a", "+", 2), ("a", "-", 5))
    # Plus strand, first base C at 2: two bases before it, itself and one after.
    assert cut(windows, [row[0]], 4) == ["AACC"]
    # Minus strand, first base at 5 (G, read as C): 7 and 6 come before it (TT, read as AA), then 5 and 4.
    assert cut(windows, [row[1]], 4) == ["AACC"]


def test_a_window_ends_at_the_chromosome_and_not_in_the_next_one():
    windows, row = windows_of(("a", "+", 7), ("b", "+", 0), ("b", "-", 0))
    assert cut(windows, [row[0]], 6) == ["GGTTNN"]
    assert cut(windows, [row[1]], 6) == ["NNNTAC"]
    assert cut(windows, [row[2]], 6) == ["CGTANN"]


def test_starts_are_shared_per_position_and_strand():
    windows, row = windows_of(("a", "+", 2), ("b", "+", 2), ("a", "+", 2), ("a", "-", 2))
    assert len(windows) == 3
    assert row[0] == row[2] and len(set(row)) == 3


@pytest.mark.parametrize("strand", "+-")
def test_a_shift_moves_the_window_downstream_on_either_strand(strand):
    windows, row = windows_of(("a", strand, 4))
    wide = windows.window(np.array(row), 8)[0]
    for shift in (-2, 0, 1):
        narrow = windows.window(np.array(row), 4, shift=np.array([shift]))[0]
        assert np.array_equal(narrow, wide[2 + shift : 6 + shift])


def test_upstream_says_where_the_first_base_stands():
    windows, row = windows_of(("a", "+", 2))
    assert cut(windows, row, 3, upstream=0) == ["CCG"]
    assert cut(windows, row, 3, upstream=3) == ["NAA"]


def test_both_strands_see_the_same_bases():
    # Mirror the genome: a start at position p on '+' is at length - 1 - p on '-' of the reverse complement.
    windows, row = windows_of(("a", "+", 3))
    mirrored = GenomeWindows(
        reverse_complement(GENOME[:8]), np.array([8 - 1 - 3]), np.array([True]), np.array([0]), np.array([8])
    )
    for length in (1, 2, 5, 12):
        assert np.array_equal(windows.window(np.array(row), length), mirrored.window(np.array([0]), length))


def test_windows_do_not_write_into_the_genome():
    codes = GENOME.copy()
    codes.flags.writeable = False
    windows = GenomeWindows(codes, np.array([2]), np.array([True]), np.array([0]), np.array([8]))
    windows.window(np.array([0]), 4)[:] = BASE_N
    assert np.array_equal(codes, GENOME)


def test_given_sequences_are_cut_round_their_middle():
    given = GivenWindows(Ragged.from_rows([encode_dna("AACCGGTT"), encode_dna("ACG")], np.uint8))
    assert cut(given, [0, 1], 4) == ["CCGG", "NACG"]
    assert cut(given, [0], 4, shift=2) == ["GGTT"]
    assert cut(given, [1], 3, upstream=0) == ["CGN"]
