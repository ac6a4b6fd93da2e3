import pytest
import torch

from cisoform.batches import Tokens
from cisoform.models.encoders import (
    LandmarkDnaConfig,
    LandmarkProteinConfig,
    LandmarkRnaConfig,
    build_encoder,
)
from cisoform.models.encoders.landmark import views


def dna_tokens(*rows):
    width = max(map(len, rows))
    ids = torch.tensor([["ACGTN".index(letter) for letter in row.ljust(width, "N")] for row in rows])
    mask = torch.arange(width)[None] < torch.tensor([len(row) for row in rows])[:, None]
    return Tokens(ids.to(torch.int8), mask)


def rna_tokens(sequence, regions):
    tokens = dna_tokens(sequence)
    return Tokens(tokens.ids, tokens.mask, torch.tensor([regions], dtype=torch.int8))


def test_kmers_worked_by_hand():
    # AC = 0 * 4 + 1, CG = 1 * 4 + 2, GN and NT are unknown.
    tokens = dna_tokens("ACGNT")
    view = views.kmers(views.View(tokens.ids, tokens.mask), 2)
    assert view.codes[0, :2].tolist() == [1, 6]
    assert view.valid[0].tolist() == [True, True, False, False]


@pytest.mark.parametrize(("k", "n_pairs"), [(1, 2), (3, 32), (4, 136)])
def test_a_kmer_and_its_reverse_complement_are_one(k, n_pairs):
    number, found = views.strand_merged(k)
    assert (found, int(number.max()) + 1, len(number)) == (n_pairs, n_pairs, 4**k)
    # AAC.. = 1 and its reverse complement GTT..: for k = 3, AAC = 1 and GTT = 2 * 16 + 3 * 4 + 3 = 47.
    if k == 3:
        assert number[1] == number[47] and number[1] != number[0]


def test_a_row_shorter_than_the_kmer_has_none():
    tokens = dna_tokens("AC")
    assert views.kmers(views.View(tokens.ids, tokens.mask), 3).codes.shape == (1, 0)


def test_bases_round_a_site_end_where_the_row_ends():
    tokens = dna_tokens("ACGT", "TTTTTTTT")
    view = views.around(tokens, torch.tensor([3, views.NOWHERE]), before=2, after=3)
    assert view.valid.tolist() == [[True, True, True, False, False], [False] * 5]
    assert view.codes[0, :3].tolist() == [1, 2, 3]


# 5'UTR GG, CDS ATG AAA T|AA with a junction in the last codon, 3'UTR C.
SEQUENCE, REGIONS = "GGATGAAATAAC", [1, 1, 2, 3, 4, 2, 3, 4, 2, 11, 4, 5]


def test_codons_follow_the_frame_over_junctions():
    tokens = rna_tokens(SEQUENCE, REGIONS)
    triplets = views.kmers(views.View(tokens.ids, tokens.mask), 3)
    view = views.codons(triplets, views.rna_landmarks(tokens))
    assert view.valid[0].nonzero().flatten().tolist() == [2, 5, 8]
    # ATG = 0 * 16 + 3 * 4 + 2, AAA = 0, TAA = 3 * 16.
    assert view.codes[0, [2, 5, 8]].tolist() == [14, 0, 48]


def test_landmarks_of_coding_and_non_coding_rna():
    tokens = rna_tokens(SEQUENCE, REGIONS)
    landmarks = views.rna_landmarks(tokens)
    assert (landmarks.cds_start.tolist(), landmarks.cds_end.tolist()) == ([2], [11])
    without = views.rna_landmarks(rna_tokens("ACGT", [6, 6, 14, 6]))
    assert (without.cds_start.tolist(), without.cds_end.tolist()) == ([views.NOWHERE], [views.NOWHERE])
    assert without.region.tolist() == [[6, 6, 6, 6]]


@torch.no_grad()
def test_kmers_do_not_cross_regions():
    tokens = rna_tokens("AAAACCCC", [1, 1, 1, 1, 5, 5, 5, 5])
    words = views.kmers(views.View(tokens.ids, tokens.mask), 3)
    view = views.within(words, views.rna_landmarks(tokens), views.UTR5)
    assert view.codes[view.valid].tolist() == [0, 0]


@torch.no_grad()
def test_the_start_site_is_the_middle_of_the_window():
    encoder = build_encoder(LandmarkDnaConfig(dim=5, core=(2, 2), spans=((-4, 0, 1), (0, 4, 1)))).eval()
    before, after = encoder(dna_tokens("AAAACCCC")), encoder(dna_tokens("AAAACCCA"))
    changed = (before.states != after.states).any(-1)[0]
    # The last base lies outside the core (places 2..5) and outside the span before the start.
    assert changed.tolist() == [False, False, True]
    assert encoder.core.out.in_features == 4 * 4


@torch.no_grad()
def test_a_non_coding_rna_is_read_and_only_by_its_own_region():
    encoder = build_encoder(LandmarkRnaConfig(dim=5)).eval()
    one, other = (encoder(rna_tokens(sequence, [6] * 9)) for sequence in ("ACGTACGTA", "ACGTACGTT"))
    changed = (one.states != other.states).any(-1)[0]
    assert changed.tolist() == [False] * 8 + [True]


@torch.no_grad()
def test_protein_composition_skips_unknown_residues():
    encoder = build_encoder(LandmarkProteinConfig(dim=5)).eval()
    mask = torch.ones(1, 4, dtype=torch.bool)
    with_x, other_x = Tokens(torch.tensor([[0, 1, 20, 2]]), mask), Tokens(torch.tensor([[0, 1, 22, 2]]), mask)
    torch.testing.assert_close(encoder(with_x).states, encoder(other_x).states)


def test_rna_without_annotation_is_refused():
    with pytest.raises(ValueError, match="carry none"):
        build_encoder(LandmarkRnaConfig(dim=5))(dna_tokens("ACGT"))


def test_shares_of_bases_worked_by_hand():
    tokens = dna_tokens("AACGN", "AT")
    shares = views.base_shares(views.View(tokens.ids, tokens.mask), (0, 2, 5, 9))
    # Row 1: AA; C and G of two known bases; nothing. Row 2: A and T; nothing; nothing.
    assert shares.tolist() == [
        [1, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0],
        [0.5, 0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0, 0],
    ]


@torch.no_grad()
def test_stretches_of_dna_count_from_the_start():
    encoder = build_encoder(LandmarkDnaConfig(dim=5, core=(1, 1), spans=(), stretches=(-3, 0, 2))).eval()
    before, edge, beyond = (encoder(dna_tokens(row)) for row in ("AAAACCCC", "AAAACGCC", "AAAACCGC"))
    assert before.inputs[1].tolist() == [[1, 0, 0, 0, 0, 1, 0, 0]]
    # Place +1 is in the stretch behind the start; +2 is in nothing that is read.
    assert edge.inputs[1].tolist() == [[1, 0, 0, 0, 0, 0.5, 0.5, 0]]
    torch.testing.assert_close(beyond.states, before.states)


@torch.no_grad()
def test_upstream_starts_are_those_of_the_leader_alone():
    encoder = build_encoder(LandmarkRnaConfig(dim=5, stretches=(0, 2, 4), upstream_starts=True)).eval()
    # ATG, A, ATG in the leader; the start codon itself does not count.
    hidden = encoder(rna_tokens("ATGAATGATGTAA", [1] * 7 + [2, 3, 4] * 2))
    assert hidden.states.shape[1] == 4 + 1 + 4 + 2
    torch.testing.assert_close(hidden.inputs[-1], torch.tensor([[2.0]]).log1p())
    assert hidden.inputs[-2].tolist() == [[0.5, 0, 0, 0.5, 0.5, 0, 0.5, 0]]
