from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cisoform.errors import InputError
from cisoform.genome import sequence
from cisoform.genome.genetic_codes import GENETIC_CODES
from tests.genome import toy

dna = st.text("ACGTN", max_size=60)


@given(dna)
def test_dna_goes_round(letters: str):
    assert sequence.decode_dna(sequence.encode_dna(letters)) == letters


def test_codes_are_in_the_order_acgtn_with_folded_case_and_u_as_t():
    assert sequence.encode_dna("ACGTNacgtnUu").tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 3, 3]
    assert sequence.encode_dna("RYSWKMBDHVryswkmbdhv").tolist() == [4] * 20


def test_text_bytes_and_arrays_are_read_alike():
    expected = sequence.encode_dna("ACGT")
    assert (sequence.encode_dna(b"ACGT") == expected).all()
    assert (sequence.encode_dna(np.frombuffer(b"ACGT", dtype=np.uint8)) == expected).all()


def test_codes_can_be_written_to():
    codes = sequence.encode_dna("ACGT")
    codes[0] = 3
    assert sequence.decode_dna(codes) == "TCGT"


@pytest.mark.parametrize(
    ("letters", "value", "position"), [("ACJT", "J", 3), ("AC-T", "-", 3), ("A C", " ", 2), ("é", "é", 1)]
)
def test_a_letter_that_is_no_base_is_shown_with_its_place(letters: str, value: str, position: int):
    with pytest.raises(InputError, match=f"letter '{value}' at position {position} is not a base"):
        sequence.encode_dna(letters)


@given(dna)
def test_reverse_complement_twice_is_the_identity(letters: str):
    codes = sequence.encode_dna(letters)
    assert sequence.decode_dna(sequence.reverse_complement(codes)) == toy.reverse_complement(letters)
    assert (sequence.reverse_complement(sequence.reverse_complement(codes)) == codes).all()


def test_reverse_complement_works_on_each_row():
    rows = np.array([[0, 1], [3, 4]], dtype=np.uint8)
    assert sequence.reverse_complement(rows).tolist() == [[2, 3], [4, 0]]


def test_amino_acids_are_in_alphabetical_order_with_x_u_stop_last():
    assert sequence.encode_protein("ACDEFGHIKLMNPQRSTVWYXU*").tolist() == list(range(23))
    assert sequence.decode_protein(sequence.encode_protein("bjzoMa")) == "XXXXMA"
    with pytest.raises(InputError, match="letter '-' at position 2 is not an amino acid"):
        sequence.encode_protein("M-")


@given(st.text("ACGT", max_size=40))
def test_translation_agrees_with_a_dictionary_of_codons(letters: str):
    assert sequence.decode_protein(sequence.translate(sequence.encode_dna(letters))) == toy.translate(letters)


def test_a_codon_with_n_is_read_only_if_its_meaning_is_certain():
    # GCN is A whatever N is; NTG may be L, M or V; TAN is Y or a stop; CTN is L.
    assert sequence.decode_protein(sequence.translate(sequence.encode_dna("GCNNTGTANCTN"))) == "AXXL"


def test_tga_reads_u_in_a_selenoprotein_but_stops_at_its_end():
    codes = sequence.encode_dna("ATGTGATAATGA")
    assert sequence.decode_protein(sequence.translate(codes)) == "M***"
    assert sequence.decode_protein(sequence.translate(codes, selenocysteine_stops=True)) == "MU**"


def test_a_start_codon_reads_m_where_asked():
    codes = sequence.encode_dna("CTGCTG")
    assert sequence.decode_protein(sequence.translate(codes)) == "LL"
    assert sequence.decode_protein(sequence.translate(codes, start=True)) == "ML"
    assert sequence.decode_protein(sequence.translate(sequence.encode_dna("GTGCTG"), start=True)) == "VL"


def test_the_mitochondrial_codes_differ_where_they_should():
    codes = sequence.encode_dna("ATATGAAGACTA")
    assert sequence.decode_protein(sequence.translate(codes, table=1)) == "I*RL"
    assert sequence.decode_protein(sequence.translate(codes, table=2)) == "MW*L"
    assert sequence.decode_protein(sequence.translate(codes, table=3)) == "MWRT"
    assert sequence.decode_protein(sequence.translate(codes, table=5)) == "MWSL"


def test_codes_without_own_stops_stop_at_the_end_only():
    # Condylostoma: TAA and TAG are Q, TGA is W, and each stops as the last codon.
    assert (
        sequence.decode_protein(sequence.translate(sequence.encode_dna("ATGTAATGATAG"), table=28)) == "MQW*"
    )


@pytest.mark.parametrize("table", GENETIC_CODES)
def test_every_code_has_64_codons_a_start_and_a_way_to_stop(table: int):
    assert len(GENETIC_CODES[table][1]) == 64
    assert sequence.start_codons(table)[sequence.codon_index("ATG")]
    assert sequence.final_stop_codons(table).any()
    assert (sequence.codon_amino_acids(table) <= sequence.AMINO_ACID_STOP).all()


def test_an_unknown_code_is_shown():
    with pytest.raises(InputError, match="genetic code 7"):
        sequence.translate(sequence.encode_dna("ATG"), table=7)


def test_left_over_bases_are_dropped_and_nothing_gives_nothing():
    assert len(sequence.translate(sequence.encode_dna("ATGAT"))) == 1
    assert len(sequence.translate(sequence.encode_dna("AT"))) == 0
