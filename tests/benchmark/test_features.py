"""Features against counting by hand, and what must not matter to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cisoform.benchmark import features as f
from cisoform.genome.ragged import Ragged


def codes(text: str, letters: str = "ACGTN") -> np.ndarray:
    return np.array([letters.index(letter) for letter in text], dtype=np.uint8)


def ragged(*texts: str, letters: str = "ACGTN") -> Ragged:
    return Ragged.from_rows([codes(text, letters) for text in texts], np.uint8)


def sequences(n: int = 7, seed: int = 0) -> f.TranscriptSequences:
    """Random transcripts: 5'UTR of 20, CDS of 60 (the last without), 3'UTR of 30 + i bases."""
    rng = np.random.default_rng(seed)
    rna = Ragged.from_rows([rng.integers(0, 4, 110 + i) for i in range(n)], np.uint8)
    protein = Ragged.from_rows([rng.integers(0, 20, 19 + i) for i in range(n)], np.uint8)
    start, end, row = np.full(n, 20), np.full(n, 80), np.arange(n)
    start[-1], end[-1], row[-1] = -1, -1, -1
    return f.TranscriptSequences(
        dna=rng.integers(0, 4, (n, 1000)).astype(np.uint8),
        rna=rna,
        cds_start=start,
        cds_end=end,
        cds_phase=np.zeros(n, dtype=np.int64),
        n_junctions=rng.integers(0, 3, n),
        protein=protein,
        protein_row=row,
    )


def test_kmers_by_hand_do_not_cross_rows_or_unknown_bases():
    counts = f.kmer_counts(ragged("ACAC", "", "A", "CANAC"), 2)
    assert counts.shape == (4, 16) and counts[1:3].sum() == 0
    assert {(int(r), int(k)): c for (r, k), c in np.ndenumerate(counts) if c} == {
        (0, 0b0001): 2,  # AC twice
        (0, 0b0100): 1,  # CA
        (3, 0b0100): 1,
        (3, 0b0001): 1,
    }


@pytest.mark.parametrize("k", [1, 3])
def test_kmers_do_not_depend_on_the_size_of_blocks(k, monkeypatch):
    rng = np.random.default_rng(1)
    many = Ragged.from_rows([rng.integers(0, 5, rng.integers(0, 40)) for _ in range(31)], np.uint8)
    whole = f.kmer_counts(many, k)
    monkeypatch.setattr(f, "_BLOCK_BASES", 17)
    np.testing.assert_array_equal(f.kmer_counts(many, k), whole)
    assert whole.sum() > 0


def test_codons_are_read_in_frame_to_the_last_whole_one():
    counts = f.codon_counts(ragged("ATGATGAA", "NNNATG", "AT"))
    atg = 0 * 16 + 3 * 4 + 2
    assert counts[0, atg] == 2 and counts[1, atg] == 1 and counts.sum() == 3


def test_cut_clips_to_the_row():
    got = f.cut(ragged("ACGT", "AC", "G"), np.array([1, -5, 3]), np.array([3, 9, 9]))
    assert [row.tolist() for row in (got[0], got[1], got[2])] == [[1, 2], [0, 1], []]


def test_shares_of_nothing_are_missing():
    np.testing.assert_array_equal(
        f.shares(np.array([[1, 3], [0, 0]], dtype=np.float32)), [[0.25, 0.75], [np.nan, np.nan]]
    )


def test_context_outside_the_row_is_all_zero():
    hot = f.one_hot_context(ragged("ACGT"), np.array([1]), (-2, 1), 4)
    np.testing.assert_array_equal(hot.reshape(3, 4), [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]])


def test_names_and_values_of_a_small_transcript():
    # 5'UTR ATGC (one upstream ATG), CDS ATGAAATAA, 3'UTR GG; one junction; protein MK.
    tiny = f.TranscriptSequences(
        dna=None,
        rna=ragged("ATGCATGAAATAAGG"),
        cds_start=np.array([4]),
        cds_end=np.array([13]),
        cds_phase=np.array([0]),
        n_junctions=np.array([1]),
        protein=ragged("MK", letters="ACDEFGHIKLMNPQRSTVWY"),
        protein_row=np.array([0]),
    )
    table = f.sequence_features(tiny)
    row = dict(zip(table.names, table.values[0], strict=True))
    assert len(row) == len(table.names)
    expected = {
        "log_utr5_len": np.log(5),
        "log_cds_len": np.log(10),
        "log_utr3_len": np.log(3),
        "log_rna_len": np.log(16),
        "n_uatg": 1,
        "log_n_junctions": np.log(2),
        "cds_share": 9 / 15,
        "codon_ATG": 1 / 3,
        "codon_TAA": 1 / 3,
        "utr5_ATG": 1 / 2,
        "start+0A": 1,
        "start-1C": 1,
        "stop-3T": 1,
        "stop+0G": 1,
        "cap+0A": 1,
        "aa_K": 1 / 2,
        "residue2K": 1,
        "charge": 1 / 2,
        "hydropathy": (1.9 - 3.9) / 2,
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-6), name
    assert set(table.source) == {"rna", "structure", "protein"}


def test_a_phase_moves_the_frame_of_the_codons():
    whole = sequences()
    rna = ragged("GATGAAA")
    part = f.TranscriptSequences(
        None, rna, np.array([0]), np.array([7]), np.array([1]), np.array([0]), None, np.array([-1])
    )
    table = f.sequence_features(part)
    assert table.values[0, table.names.index("codon_ATG")] == 0.5
    assert f.sequence_features(whole).values.shape[0] == 7


def test_upstream_features_see_upstream_bases_alone():
    some = sequences()
    changed = some.dna.copy()
    changed[:, 500:] = 3
    one, two = (
        f.sequence_features(replace(some, dna=dna)).select(["dna_upstream"]) for dna in (some.dna, changed)
    )
    np.testing.assert_array_equal(one.values, two.values)
    changed[:, 499] = 3 - changed[:, 499]
    three = f.sequence_features(replace(some, dna=changed)).select(["dna_upstream"])
    assert (three.values != one.values).any()


def test_a_missing_input_is_missing_in_its_own_features_only():
    table = f.sequence_features(sequences())
    protein = table.select(["protein"]).values
    assert np.isnan(protein[-1]).all() and not np.isnan(protein[:-1]).any()
    coding = table.by_name([n for n in table.names if n.startswith("codon_")]).values
    assert np.isnan(coding[-1]).all() and not np.isnan(coding[:-1]).any()
    assert not np.isnan(table.select(["dna_upstream", "structure"]).values).any()


def test_a_row_does_not_depend_on_its_neighbours():
    some = sequences()
    order = np.array([3, 0, 6])
    part = replace(
        some,
        dna=some.dna[order],
        rna=some.rna.take(order),
        cds_start=some.cds_start[order],
        cds_end=some.cds_end[order],
        cds_phase=some.cds_phase[order],
        n_junctions=some.n_junctions[order],
        protein_row=some.protein_row[order],
    )
    np.testing.assert_array_equal(f.sequence_features(part).values, f.sequence_features(some).values[order])


def test_each_input_is_optional_and_none_is_refused():
    some = sequences()
    for keep in ("dna", "rna", "protein"):
        drop = {name: None for name in ("dna", "rna", "protein") if name != keep}
        assert len(f.sequence_features(replace(some, **drop)).names) > 20
    with pytest.raises(ValueError, match="no dna, rna or protein"):
        f.sequence_features(replace(some, dna=None, rna=None, protein=None))
