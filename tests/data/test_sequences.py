import json

import numpy as np
import pytest

from cisoform.data.sequences import find_cds, read_sequence_records, samples_from_sequences
from cisoform.errors import InputError
from cisoform.genome.sequence import decode_dna, encode_dna, encode_protein

# 2 bases, ATG GCC TAA, 2 bases
RNA = "GGATGGCCTAACC"


def test_records_with_any_of_the_three_sequences():
    samples = samples_from_sequences(
        [
            {"dna_sequence": "ACGT", "rna_sequence": RNA, "protein_sequence": "MA", "transcript_id": "t1"},
            {"protein_sequence": "MA*", "gene_id": "g"},
            {"dna_sequence": "ACGT", "protein_sequence": None},
        ]
    )
    assert samples.transcript_ids == ["t1", "record_2", "record_3"]
    assert samples.gene_ids == ["t1", "g", "record_3"]
    assert samples.dna_row.tolist() == [0, -1, 0]
    assert samples.rna_row.tolist() == [0, -1, -1]
    assert samples.protein_row.tolist() == [0, 0, -1]
    assert (samples.cds_start[0], samples.cds_end[0]) == (2, 11)
    assert samples.regions(0).tolist() == [1, 1, 2, 3, 4, 2, 3, 4, 2, 3, 4, 5, 5]
    assert decode_dna(samples.dna.window(np.array([0]), 2)[0]) == "CG"
    assert samples.lengths("rna").tolist() == [13, 0, 0]


def test_u_and_lower_case_are_read_as_dna_letters():
    samples = samples_from_sequences([{"rna_sequence": "augc"}])
    assert decode_dna(samples.rna[0]) == "ATGC"


def test_a_given_cds_wins():
    samples = samples_from_sequences(
        [
            {"rna_sequence": RNA, "protein_sequence": "MA", "cds_start": 1, "cds_end": 7, "junctions": [4]},
            {"rna_sequence": RNA, "cds_start": -1, "cds_end": -1, "transcript_id": "x"},
        ]
    )
    assert samples.regions(0).tolist() == [1, 2, 3, 4, 2 + 8, 3, 4, 5, 5, 5, 5, 5, 5]
    assert set(samples.regions(1).tolist()) == {6}


def test_a_cds_is_found_by_its_protein_in_any_frame():
    for before in range(4):
        rna = encode_dna("A" * before + "ATGGCC" + "TAAC")
        assert find_cds(rna, encode_protein("MA")) == (before, before + 9)
    assert find_cds(encode_dna("ATGGCCG"), encode_protein("MA")) == (0, 6)
    assert find_cds(encode_dna("CCCCCC"), encode_protein("MA")) == (-1, -1)


def test_without_a_protein_the_longest_open_frame_counts_if_it_is_long():
    long_frame = "ATG" + "GCC" * 98 + "TAG"  # 100 codons with the stop
    rna = encode_dna("C" + long_frame + "C" * 10 + "ATGGCCTAA")
    assert find_cds(rna) == (1, 301)
    assert find_cds(encode_dna(long_frame[:-6] + "TAG")) == (-1, -1)
    assert find_cds(encode_dna("ATG" + "GCC" * 200)) == (-1, -1)  # never ends


def test_lines_of_json_are_read(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"rna_sequence": "ACGT"}\n\n{"protein_sequence": "MA"}\n')
    assert [sorted(record) for record in read_sequence_records(path)] == [
        ["rna_sequence"],
        ["protein_sequence"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"rna_sequence": "ACGT"}\n{oops}\n', "line 2, column 2: not JSON"),
        ("[1]\n", "line 1: '\\[1\\]' is not a JSON object"),
        ("\n", "no record"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, message):
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=f"x.jsonl: {message}"):
        read_sequence_records(path)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"sequence": "ACGT"}, "unknown key 'sequence'"),
        ({"rna_sequence": "ACZT"}, "rna_sequence: letter 'Z' at position 3"),
        ({"protein_sequence": "M1"}, "protein_sequence: letter '1'"),
        ({"rna_sequence": 5}, "rna_sequence is 5, expected letters"),
        (
            {"gene_id": "g", "rna_sequence": ""},
            "none of dna_sequence, rna_sequence, protein_sequence is given",
        ),
        ({"rna_sequence": RNA, "cds_start": 2}, "cds_start=2, cds_end=None do not lie in an RNA of 13 bases"),
        ({"rna_sequence": RNA, "cds_start": 2, "cds_end": 14}, "cds_start=2, cds_end=14"),
        ({"rna_sequence": RNA, "junctions": [0]}, r"junctions=\[0\] are not positions"),
        ({"rna_sequence": RNA, "transcript_id": "a"}, "transcript_id 'a' is also that of record 1"),
    ],
)
def test_bad_records_are_named_by_number(record, message):
    good = {"dna_sequence": "ACGT", "transcript_id": "a"}
    with pytest.raises(InputError, match=f"my.jsonl: record 2: {message}"):
        samples_from_sequences([good, record], source="my.jsonl")


def test_an_empty_list_is_refused():
    with pytest.raises(InputError, match="no record"):
        samples_from_sequences([])


def test_given_json_round_trips_through_a_file(tmp_path):
    records = [{"dna_sequence": "ACGTN" * 3, "protein_sequence": "MAU"}]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    assert read_sequence_records(path) == records
