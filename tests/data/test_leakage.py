import numpy as np
import pytest

from cisoform.data.leakage import leakage_table
from cisoform.genome.ragged import Ragged


def table(**changes):
    """Six transcripts, two per part; by default nothing is shared but one chromosome."""
    sequences = [np.full(5 + row, row % 4, dtype=np.uint8) for row in range(6)]
    given = {
        "split": np.array(["train", "train", "valid", "valid", "test", "test"]),
        "gene_ids": list("abcdef"),
        "family_ids": list("ABCDEF"),
        "chroms": ["1", "2", "3", "4", "5", "1"],
        "tss": np.array([100, 100, 100, 100, 100, 5000]),
        "window": 100,
        "rna": Ragged.from_rows(sequences, np.uint8),
        "rna_row": np.arange(6),
        "protein": None,
        "protein_row": np.full(6, -1),
    }
    given.update(changes)
    leaks = leakage_table(given.pop("split"), **given)
    return {(leak.kind, leak.known, leak.held_out): leak for leak in leaks}


def test_what_is_shared_is_counted_once_per_thing_and_per_transcript():
    leaks = table(family_ids=list("AACAAA"), gene_ids=["a", "b", "c", "d", "a", "f"])
    both = leaks["families", "train", "test"]
    assert (both.n_shared, both.n_transcripts, both.share) == (1, 2, 1.0)
    one = leaks["families", "train", "valid"]
    assert (one.n_shared, one.n_transcripts, one.share) == (1, 1, 0.5)
    assert leaks["genes", "train", "test"].n_shared == 1
    assert leaks["chromosomes", "train", "test"].n_transcripts == 1
    assert leaks["chromosomes", "train", "valid"].n_shared == 0


def test_equal_sequences_are_found_and_missing_ones_are_not_equal():
    same = Ragged.from_rows([np.array([1, 2]), np.array([1, 2]), np.array([1, 2, 3])], np.uint8)
    leaks = table(rna=same, rna_row=np.array([0, -1, -1, 2, 1, -1]))
    assert leaks["identical RNA", "train", "test"].n_transcripts == 1
    assert leaks["identical RNA", "train", "valid"].n_transcripts == 0
    assert leaks["identical proteins", "train", "test"].n_transcripts == 0


@pytest.mark.parametrize(("distance", "overlaps"), [(0, 1), (99, 1), (100, 0), (-99, 1), (-100, 0)])
def test_windows_overlap_when_starts_are_closer_than_a_window(distance, overlaps):
    tss = np.array([1000, 100, 100, 100, 100, 1000 + distance])
    assert table(tss=tss)["overlapping DNA", "train", "test"].n_transcripts == overlaps


def test_equal_positions_on_other_chromosomes_do_not_overlap():
    assert table()["overlapping DNA", "train", "valid"].n_transcripts == 0


def test_an_empty_part_has_no_rows():
    leaks = table(split=np.array(["train"] * 4 + ["test"] * 2))
    assert {pair[1:] for pair in leaks} == {("train", "test")}
