"""Transcripts that lost a splice site: worked by hand, and against exons cut from the edited string."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cisoform.data.simulate.config import SimulateConfig
from cisoform.data.simulate.simulation import simulate
from cisoform.data.simulate.write import write_simulation
from cisoform.genome.annotate import Structures
from cisoform.genome.annotation import read_annotation
from cisoform.genome.coding import FLAG_SELENOCYSTEINE
from cisoform.genome.consequences import SpliceLoss, consequence
from cisoform.genome.edits import edits_of
from cisoform.genome.fasta import Genome
from cisoform.genome.resplicing import MODES, respliced
from cisoform.genome.sequence import decode_dna, decode_protein, encode_dna, encode_protein
from cisoform.genome.transcript_edits import Structure
from cisoform.genome.transcripts import build_transcripts
from cisoform.genome.variants import Allele
from tests.genome.generated_variants import generate
from tests.genome.naive_variants import PAIRED, Gene, edited, insertion_exon, translated
from tests.genome.test_consequences import gene_of

# Three exons from base 4 on: CATGGC | GTAAAG | TGTGCA | GTCCAG | TAAGT reads ATG GCT GTG CAT AA..; stop in exon 3.
CHROMOSOME = "TTTT" + "CATGGC" + "GTAAAG" + "TGTGCA" + "GTCCAG" + "TAAGT" + "TTTT"
MODEL = Structure(
    starts=[4, 16, 28],
    ends=[10, 22, 33],
    minus=False,
    rna=encode_dna("CATGGCTGTGCATAAGT"),
    cds_start=1,
    cds_end=16,
    phase=0,
    flags=0,
    protein=encode_protein("MAVHK"),
)


def remade(mode: str, *lost: SpliceLoss, at: int = 10) -> tuple[str, tuple[int, ...], str, str]:
    ref = CHROMOSOME[at]
    edits = edits_of(Allele(1, "c", at, "", ref, "C"))
    product, done = respliced(MODEL, edits, encode_dna(CHROMOSOME), lost, mode)
    protein = "" if product.protein is None else decode_protein(product.protein)
    return decode_dna(product.rna), tuple(product.junctions.tolist()), protein, done


def test_worked_by_hand():
    # Donor of intron 2: exon 2 goes, C ATG GCT AAG T; or intron 2 stays: ATG GCT GTG CAC TCC AGT AAG T.
    assert remade("skip", SpliceLoss(2, True), at=22) == ("CATGGCTAAGT", (6,), "MAK", "exon 2 skipped")
    kept = ("CATGGCTGTGCACTCCAGTAAGT", (6,), "MAVHSSK", "intron 2 kept")
    assert remade("retain", SpliceLoss(2, True), at=22) == kept
    # The first exon cannot be skipped: its intron stays. ATG GCC TAA.
    rna, junctions, protein, done = remade("skip", SpliceLoss(1, True))
    assert (rna[:10], junctions, protein, done) == ("CATGGCCTAA", (18,), "MA", "intron 1 kept")


def test_an_intron_beside_a_skipped_exon_goes_with_it():
    lost = (SpliceLoss(1, True), SpliceLoss(1, False))
    assert remade("skip", *lost)[::3] == ("CATGGCTAAGT", "exon 2 skipped")
    assert remade("retain", *lost)[3] == "intron 1 kept"


@pytest.mark.parametrize(
    ("mode", "minus", "protein"),
    [("skip", False, "MUAUK"), ("skip", True, "MUAUK"), ("retain", False, "MUAVHVQ")],
)
def test_selenocysteines_stay_but_for_those_behind_a_kept_intron(mode: str, minus: bool, protein: str):
    # ATG TGA GCT | GTG CAC | TGA AAA TAA G; the donor of intron 2 is lost.
    plain = "TTTT" + "ATGTGAGCT" + "GTAAAG" + "GTGCAC" + "GTCCAG" + "TGAAAATAAG" + "TTTT"
    text = plain.translate(str.maketrans("ACGT", "TGCA"))[::-1] if minus else plain
    exons = [(4, 13), (19, 25), (31, 41)]
    placed = [(len(plain) - end, len(plain) - start) for start, end in exons[::-1]] if minus else exons
    model = Structure(
        starts=[start for start, _ in placed],
        ends=[end for _, end in placed],
        minus=minus,
        rna=encode_dna("ATGTGAGCTGTGCACTGAAAATAAG"),
        cds_start=0,
        cds_end=24,
        phase=0,
        flags=FLAG_SELENOCYSTEINE,
        protein=encode_protein("MUAVHUK"),
    )
    product, _ = respliced(model, (), encode_dna(text), [SpliceLoss(2, True)], mode)
    assert product.protein is not None
    assert (decode_protein(product.protein), product.has_stop) == (protein, True)


def test_a_changed_start_codon_makes_no_protein():
    edits = edits_of(Allele(1, "c", 5, "", "A", "C"))
    product, done = respliced(MODEL, edits, encode_dna(CHROMOSOME), [SpliceLoss(2, True)], "skip")
    assert (product.protein, product.cds_start, done) == (None, -1, "exon 2 skipped; start codon lost")


def naive(
    letters: str, gene: Gene, change: tuple[int, str, str], lost: set[tuple[int, bool]], mode: str
) -> str:
    """RNA by labelling every base of the edited string with its exon or intron, and keeping what stays."""
    first, last = gene.exons[0][0], gene.exons[-1][1]
    low, high = (
        max(0, min(first, change[0]) - 50),
        min(len(letters), max(last, change[0] + len(change[1])) + 50),
    )
    bases, _, inserted = edited(letters, *change, low, high)
    n, home = len(gene.exons), insertion_exon(gene, inserted)
    exon = {i: number for number, (s, e) in enumerate(gene.exons) for i in range(s, e)}
    pairs = enumerate(zip(gene.exons, gene.exons[1:], strict=False))
    intron = {i: number for number, (a, b) in pairs for i in range(a[1], b[0])}

    def forward(number: int, of: int) -> int:
        """From the number as transcribed (from 1) to the one by position (from 0)."""
        return number - 1 if gene.strand == "+" else of - number

    skip, keep = set(), set()
    for number, donor in lost:
        beside = number if donor else number + 1
        if mode == "skip" and 1 < beside < n:
            skip.add(forward(beside, n))
        else:
            keep.add(forward(number, n - 1))
    keep = {i for i in keep if not {i, i + 1} & skip}
    rna = ""
    for base in bases:
        if base.origin is None:
            inner = intron.get(inserted) if inserted is not None else None
            stays = (home is not None and home not in skip) or (home is None and inner in keep)
        else:
            stays = (base.origin in exon and exon[base.origin] not in skip) or intron.get(base.origin) in keep
        rna += base.letter if stays else ""
    return rna if gene.strand == "+" else rna[::-1].translate(PAIRED)


@pytest.mark.parametrize("mode", MODES)
def test_rna_and_protein_of_generated_variants_are_those_of_the_naive_way(mode: str, tmp_path: Path):
    config = SimulateConfig(seed=6, n_genes=40, n_chromosomes=1, n_variants=0)
    folder = write_simulation(simulate(config), tmp_path / "sim")
    genome = Genome.open(folder / "genome.fa")
    transcripts = build_transcripts(read_annotation(folder / "annotation.gtf"), genome)
    codes = genome.chromosome("chr1")
    letters, rng, structures, n = decode_dna(codes), random.Random(7), Structures(transcripts), 0
    proteins = 0
    for row in range(len(transcripts)):
        gene, structure = gene_of(transcripts, row), structures.get(row)
        for change in generate(rng, letters, gene, 30):
            edits = edits_of(Allele(1, "chr1", change[0], "", *change[1:]))
            lost = consequence(structure, edits, codes).lost_sites
            if not lost:
                continue
            n += 1
            product, done = respliced(structure, edits, codes, lost, mode)
            rna = decode_dna(product.rna)
            where = f"{change} on row {row}: {gene}, {lost}, {done}"
            assert rna == naive(letters, gene, change, {(s.intron, s.donor) for s in lost}, mode), where
            if product.protein is not None:
                proteins += 1
                assert decode_protein(product.protein) == translated(rna[product.cds_start :])[0], where
    assert n > 200 and proteins > 100
