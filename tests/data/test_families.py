import numpy as np
import pytest

from cisoform.data import families
from cisoform.data.families import gene_families
from cisoform.data.splits import read_splits
from cisoform.genome.fasta import read_fasta_records
from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import encode_protein


def ragged(rows):
    return Ragged.from_rows(rows, np.uint8)


def proteins(rng, n, length):
    return [rng.integers(0, 20, size=length).astype(np.uint8) for _ in range(n)]


def rows(n):
    return np.arange(n)


def test_eight_shared_five_mers_make_a_family_and_seven_do_not():
    rng = np.random.default_rng(0)
    # Disjoint alphabets, so that nothing is shared but what is copied.
    a, (b, c) = proteins(rng, 1, 50)[0] % 10, (10 + one % 10 for one in proteins(rng, 2, 50))
    # 12 equal residues share 8 5-mers: 8 of 46 is 17 %. 11 share 7.
    b[10:22] = a[30:42]
    c[10:21] = a[5:16]
    assert gene_families(["a", "b", "c"], ragged([a, b, c]), rows(3), None, np.full(3, -1)) == [
        "F_a",
        "F_a",
        "F_c",
    ]


def test_a_short_stretch_of_long_proteins_is_no_family():
    rng = np.random.default_rng(0)
    a, b = proteins(rng, 2, 500)
    b[10:40] = a[30:60]  # 26 of 496 5-mers: 5 %
    assert gene_families(["a", "b"], ragged([a, b]), rows(2), None, np.full(2, -1)) == ["F_a", "F_b"]


def test_families_are_connected_groups_named_by_their_first_gene():
    rng = np.random.default_rng(0)
    x, y, z = proteins(rng, 3, 60)
    y[:20], z[:20] = x[40:], y[40:]
    # z-gene "b" is linked to "a" only through "c".
    assert gene_families(["b", "c", "a"], ragged([z, y, x]), rows(3), None, np.full(3, -1)) == ["F_a"] * 3


def test_unknown_residues_link_nothing():
    unknown = np.full(40, 20, dtype=np.uint8)
    assert gene_families(["a", "b"], ragged([unknown, unknown]), rows(2), None, np.full(2, -1)) == [
        "F_a",
        "F_b",
    ]


def test_all_transcripts_of_a_gene_are_in_its_family_whatever_they_encode():
    rng = np.random.default_rng(0)
    a, b = proteins(rng, 2, 60)
    found = gene_families(["g2", "g1", "g2"], ragged([a, b]), np.array([0, 1, -1]), None, np.full(3, -1))
    assert found == ["F_g2", "F_g1", "F_g2"]


def test_a_non_coding_copy_of_a_coding_gene_is_of_its_family():
    rng = np.random.default_rng(0)
    protein = proteins(rng, 2, 60)
    parent, other = (rng.integers(0, 4, size=600).astype(np.uint8) for _ in range(2))
    pseudogene = np.concatenate([other[:100], parent[200:500]])
    rna = ragged([parent, rng.integers(0, 4, size=600).astype(np.uint8), pseudogene])
    found = gene_families(["a", "b", "c"], ragged(protein), np.array([0, 1, -1]), rna, rows(3))
    assert found == ["F_a", "F_b", "F_a"]


def test_a_repeat_in_a_long_coding_gene_is_no_family():
    rng = np.random.default_rng(0)
    long, lnc = rng.integers(0, 4, size=9000).astype(np.uint8), rng.integers(0, 4, size=3000).astype(np.uint8)
    lnc[:300] = long[500:800]  # a tenth of the shorter one
    rna = ragged([long, lnc])
    protein = ragged(proteins(rng, 1, 60))
    assert gene_families(["a", "b"], protein, np.array([0, -1]), rna, rows(2)) == ["F_a", "F_b"]


def test_looking_at_a_few_letters_at_a_time_changes_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    sequences = proteins(rng, 30, 40)
    for row in range(0, 30, 3):
        sequences[row][:15] = sequences[(row * 7 + 1) % 30][20:35]
    genes = [f"g{row % 20}" for row in range(30)]
    given = (genes, ragged(sequences), rows(30), None, np.full(30, -1))
    whole = gene_families(*given)
    monkeypatch.setattr(families, "_LETTERS_AT_ONCE", 50)
    monkeypatch.setattr(families, "_GENES_AT_ONCE", 3)
    assert gene_families(*given) == whole
    assert 1 < len(set(whole)) < 20


@pytest.mark.pack
def test_families_of_the_yeast_pack_are_those_of_its_authors(yeast_pack):
    file = read_splits(yeast_pack / "splits.tsv.gz")
    records = {one.name: one.sequence for one in read_fasta_records(yeast_pack / "proteins.fa.gz")}
    genes = list(records)
    sequences = ragged([encode_protein(records[gene]) for gene in genes])
    found = gene_families(genes, sequences, rows(len(genes)), None, np.full(len(genes), -1))
    assert file.family is not None
    assert found == [file.family[gene] for gene in genes]
