"""DNA windows and samples of transcripts under edits, against windows cut from the edited chromosome."""

from __future__ import annotations

import random

import numpy as np
import pytest

from cisoform.data.edited_samples import Origin, Version, edited_samples, edited_window, touches_window
from cisoform.genome.edits import Edit, clash, edits_of, merged
from cisoform.genome.sequence import decode_dna, encode_dna, encode_protein
from cisoform.genome.transcript_edits import Product
from cisoform.genome.variants import Allele

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
HALF = 12


def naive_window(chromosome: str, tss: int, minus: bool, alleles: list[Allele]) -> str:
    """Bases round the first transcribed base that is left, cut from the edited string; every base knows what it was."""
    bases: list[tuple[str, int | None]] = [(letter, at) for at, letter in enumerate(chromosome)]
    for allele in sorted(alleles, key=lambda one: -one.position):
        at, ref, alt = allele.trimmed()
        index = next(i for i, (_, origin) in enumerate(bases) if origin is not None and origin >= at)
        new = [(letter, at + k if k < len(ref) else None) for k, letter in enumerate(alt)]
        bases[index : index + len(ref)] = new
    step = -1 if minus else 1
    first = tss
    while (index := next((i for i, (_, origin) in enumerate(bases) if origin == first), -1)) < 0:
        first += step
    text = "N" * HALF + "".join(letter for letter, _ in bases) + "N" * HALF
    index += HALF
    if minus:
        return text[index + 1 - HALF : index + 1 + HALF][::-1].translate(COMPLEMENT)
    return text[index - HALF : index + HALF]


def drawn(rng: random.Random, chromosome: str, n: int) -> list[Allele]:
    """Alleles that can stand together."""
    found: list[Allele] = []
    while len(found) < n:
        at = rng.randrange(1, len(chromosome) - 6)
        ref = chromosome[at : at + rng.choice((1, 1, 2, 4))]
        alt = "".join(rng.choice("ACGT") for _ in range(rng.choice((1, 1, 2, 5))))
        one = Allele(1, "c", at, "", ref, alt)
        if edits_of(one) and not any(clash(edits_of(one), edits_of(other)) for other in found):
            found.append(one)
    return found


def test_windows_are_cut_from_the_edited_chromosome():
    rng = random.Random(1)
    for _ in range(1500):
        chromosome = "".join(rng.choice("ACGT") for _ in range(60))
        alleles = drawn(rng, chromosome, rng.randrange(1, 4))
        tss, minus = rng.randrange(8, 52), rng.random() < 0.5
        edits = merged([edits_of(allele) for allele in alleles])
        found = decode_dna(edited_window(encode_dna(chromosome), tss, minus, edits, HALF))
        assert found == naive_window(chromosome, tss, minus, alleles), (chromosome, tss, minus, alleles)


def test_an_edit_touches_a_window_only_if_it_changes_one_of_its_bases():
    chromosome, rng = "ACGT" * 15, random.Random(2)
    up, down = 7, 4
    for _ in range(1000):
        at, tss, minus = rng.randrange(1, 55), rng.randrange(12, 48), rng.random() < 0.5
        change = {"A": "C", "C": "G", "G": "T", "T": "A"}[chromosome[at]]
        edits = edits_of(Allele(1, "c", at, "", chromosome[at], change))
        before, after = (
            edited_window(encode_dna(chromosome), tss, minus, some, HALF)[HALF - up : HALF + down]
            for some in ((), edits)
        )
        assert touches_window(edits, tss, minus, up, down) == bool((before != after).any())


def product(rna: str, junctions: tuple[int, ...], protein: str | None) -> Product:
    letters = None if protein is None else encode_protein(protein)
    return Product(encode_dna(rna), np.array(junctions, dtype=np.int32), 1, 4, 0, letters, True)


def test_rows_share_what_is_alike():
    origin = Origin(["t0", "t1"], ["g", "g"], ["b", "a"], [20, 20], [False, True])
    chromosome = {"a": encode_dna("ACGTT" * 8), "b": encode_dna("GGATC" * 8)}
    edit = (Edit(21, 22, encode_dna("A")),)
    versions = [
        Version(0, (), product("ACGTA", (2,), "MK")),
        Version(0, edit, product("ACGTA", (2,), "ML")),
        Version(1, (), product("ACGTA", (3,), None)),
        Version(0, (), product("ACGT", (2,), "MK")),
    ]
    samples = edited_samples(versions, origin, chromosome.__getitem__, 6, 4, 2)
    assert samples.gene_ids == ["g"] * 4 and len(set(samples.transcript_ids)) == 4
    assert samples.dna_row[0] == samples.dna_row[3] != samples.dna_row[1]
    assert samples.rna_row[0] == samples.rna_row[1] != samples.rna_row[2]  # other junctions
    assert samples.protein_row[0] == samples.protein_row[3] and samples.protein_row[2] == -1
    assert samples.dna is not None and len(samples.dna) == 3
    window = samples.dna.window(samples.dna_row, 10, upstream=6)
    # Rows 0 and 1 from base 14 on; row 2 on the reverse strand from base 26 down.
    assert decode_dna(window[0]) == "CGGATCGGAT" and decode_dna(window[1]) == "CGGATCGAAT"
    assert decode_dna(window[2]) == ("ACGTT" * 8)[17:27][::-1].translate(COMPLEMENT)


def test_what_no_row_has_is_absent():
    origin = Origin(["t"], ["g"], ["c"], [3], [False])
    made = edited_samples(
        [Version(0, (), product("ACG", (), None))], origin, lambda _: encode_dna("ACGTACGT"), 2, 2, 1
    )
    assert made.protein is None and not made.has("protein").any() and made.lengths("protein").tolist() == [0]
    nothing = edited_samples(
        [Version(0, (), product("", (), ""))], origin, lambda _: encode_dna("ACGT"), 2, 2, 1
    )
    assert nothing.rna is None and not nothing.has("rna").any() and nothing.has("dna").all()


@pytest.mark.parametrize("minus", [False, True])
def test_beyond_the_chromosome_is_n(minus: bool):
    found = decode_dna(edited_window(encode_dna("ACGTA"), 2, minus, (), 5))
    assert found == ("NNNTACGTNN" if minus else "NNNACGTANN")
