"""Consequences against a naive recomputation on generated variants, against bcftools csq, and worked by hand."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cisoform.data.simulate.config import SimulateConfig
from cisoform.data.simulate.simulation import simulate
from cisoform.data.simulate.write import write_simulation
from cisoform.genome.annotate import Placed, Structures, annotate
from cisoform.genome.annotation import read_annotation
from cisoform.genome.consequences import SEVERITY, Consequence, consequence, product_of
from cisoform.genome.edits import Edit, apply_edits, clash, edits_of, merged, new_position
from cisoform.genome.fasta import Genome
from cisoform.genome.sequence import decode_dna, decode_protein, encode_dna, encode_protein
from cisoform.genome.transcript_edits import Structure, changes_of
from cisoform.genome.transcripts import MITOCHONDRIAL_TABLES, TranscriptSet, build_transcripts
from cisoform.genome.variants import Allele
from tests.genome.csq import Record, run_csq, write_gff
from tests.genome.generated_variants import generate
from tests.genome.naive_variants import Gene, recompute

AT_LEAST = 100
# Needs a CDS that ends within a codon, which neither genome has; counted in a test of its own.
PARTIAL = "incomplete_terminal_codon_variant"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "sim"
    config = SimulateConfig(seed=5, n_genes=60, n_chromosomes=2, n_variants=10)
    return write_simulation(simulate(config), out)


def gene_of(transcripts: TranscriptSet, row: int) -> Gene:
    """A transcript in plain terms; the CDS as a span of the chromosome."""
    record = transcripts.table.row(row, named=True)
    exons = sorted(zip(record["exon_starts"], record["exon_ends"], strict=True))
    if record["cds_start"] < 0:
        return Gene(exons, record["strand"], None)
    bases = [i for start, end in exons for i in range(start, end)]
    cds = bases if record["strand"] == "+" else bases[::-1]
    cds = cds[record["cds_start"] : record["cds_end"]]
    return Gene(exons, record["strand"], (min(cds), max(cds) + 1))


def compare(
    transcripts: TranscriptSet, genome: Genome, rows: list[int], each: int, seed: int
) -> Counter[str]:
    """How often each term was seen; every variant must give the naive answer."""
    rng, structures, seen = random.Random(seed), Structures(transcripts), Counter[str]()
    codes = {name: genome.chromosome(name) for name in genome.chroms}
    letters = {name: decode_dna(value) for name, value in codes.items()}
    chroms = transcripts.table["chrom"].to_list()
    for row in rows:
        gene, structure, chrom = gene_of(transcripts, row), structures.get(row), chroms[row]
        for position, ref, alt in generate(rng, letters[chrom], gene, each):
            edits = edits_of(Allele(1, chrom, position, "", ref, alt))
            found = consequence(structure, edits, codes[chrom])
            wanted = recompute(letters[chrom], gene, position, ref, alt)
            where = f"{chrom}:{position} {ref}>{alt} on row {row}: {gene}"
            assert set(found.terms) == wanted.terms, where
            seen.update(found.terms)
            if wanted.rna is None:
                assert found.product is None, where
                continue
            assert found.product is not None, where
            assert decode_dna(found.product.rna) == wanted.rna, where
            assert tuple(found.product.junctions.tolist()) == wanted.junctions, where
            assert found.product.cds_start == wanted.cds_start, where
            protein = found.product.protein
            assert ("" if protein is None else decode_protein(protein)) == (wanted.protein or ""), where
    return seen


def test_terms_rna_and_protein_of_generated_variants_are_those_of_the_naive_way(simulated: Path):
    genome = Genome.open(simulated / "genome.fa")
    transcripts = build_transcripts(read_annotation(simulated / "annotation.gtf"), genome)
    assert set(transcripts.table["strand"]) == {"+", "-"}
    seen = compare(transcripts, genome, list(range(len(transcripts))), 38, seed=1)
    rare = {term: seen[term] for term in SEVERITY if seen[term] < AT_LEAST and term != PARTIAL}
    assert not rare, f"too few variants of {rare}"


def cut_short(gene: Gene, structure: Structure, n: int) -> tuple[Gene, Structure]:
    """A transcript that ends with base `n` of its RNA, within the CDS."""
    bases = [i for start, end in gene.exons for i in range(start, end)]
    bases = bases[:n] if gene.strand == "+" else bases[len(bases) - n :]
    ends = [i + 1 for i in bases if i + 1 not in set(bases)]
    starts = [i for i in bases if i - 1 not in set(bases)]
    rna, codons = structure.rna[:n], (n - structure.cds_start) // 3
    assert gene.cds is not None
    cds = (gene.cds[0], bases[-1] + 1) if gene.strand == "+" else (bases[0], gene.cds[1])
    short = replace(
        structure, starts=starts, ends=ends, rna=rna, cds_end=n, flags=64, protein=structure.protein[:codons]
    )
    return Gene(list(zip(starts, ends, strict=True)), gene.strand, cds), short


def test_a_cds_that_ends_within_a_codon_agrees_with_the_naive_way(simulated: Path):
    genome = Genome.open(simulated / "genome.fa")
    transcripts = build_transcripts(read_annotation(simulated / "annotation.gtf"), genome)
    rng, structures, seen = random.Random(8), Structures(transcripts), Counter[str]()
    codes = {name: genome.chromosome(name) for name in genome.chroms}
    letters = {name: decode_dna(value) for name, value in codes.items()}
    for row, chrom in enumerate(transcripts.table["chrom"].to_list()):
        if structures.get(row).cds_start < 0:
            continue
        n = structures.get(row).cds_start + 3 * rng.randrange(8, 40) + rng.randrange(1, 3)
        gene, structure = cut_short(gene_of(transcripts, row), structures.get(row), n)
        low = gene.exons[-1][1] - 6 if gene.strand == "+" else gene.exons[0][0]
        for at in range(max(low, gene.exons[-1][0] if gene.strand == "+" else low), low + 6):
            if at >= gene.exons[-1 if gene.strand == "+" else 0][1]:
                break
            base = letters[chrom][at]
            alt = rng.choice([other for other in "ACGT" if other != base])
            found = consequence(structure, edits_of(Allele(1, chrom, at, "", base, alt)), codes[chrom])
            wanted = recompute(letters[chrom], gene, at, base, alt)
            assert set(found.terms) == wanted.terms, f"{chrom}:{at} {base}>{alt} on row {row}: {gene}"
            seen.update(found.terms)
    assert seen[PARTIAL] >= AT_LEAST and seen["missense_variant"] >= AT_LEAST


@pytest.mark.pack
def test_the_naive_way_agrees_on_the_yeast_annotation(yeast_pack: Path):
    genome = Genome.open(yeast_pack / "genome.fa.gz")
    transcripts = build_transcripts(read_annotation(yeast_pack / "annotation.gtf.gz"), genome)
    table = transcripts.table
    plain = (table["flags"] == 0) & ~table["chrom"].is_in(list(MITOCHONDRIAL_TABLES))
    spliced = np.flatnonzero((plain & (table["n_exons"] > 1)).to_numpy())
    rng = random.Random(2)
    rows = rng.sample(np.flatnonzero(plain.to_numpy()).tolist(), 60)
    rows += rng.sample(spliced.tolist(), 60)
    seen = compare(transcripts, genome, rows, 10, seed=3)
    assert {"splice_donor_variant", "frameshift_variant", "stop_gained", "start_lost"} <= set(seen)


def test_single_bases_and_inner_indels_agree_with_bcftools_csq(simulated: Path, tmp_path: Path):
    """Left out where definitions differ: csq names no intron beside a splice region, and no insertion as UTR or start
    by the side of the border that it lies on; it adds the kind of indel to a stop that one brings."""
    genome = Genome.open(simulated / "genome.fa")
    transcripts = build_transcripts(read_annotation(simulated / "annotation.gtf"), genome)
    ids = transcripts.table["transcript_id"].to_list()
    chroms = transcripts.table["chrom"].to_list()
    letters = {name: decode_dna(genome.chromosome(name)) for name in genome.chroms}
    rng, records = random.Random(4), set[Record]()
    for row, chrom in enumerate(chroms):
        for position, ref, alt in generate(rng, letters[chrom], gene_of(transcripts, row), 12):
            records.add((chrom, position, ref, alt))
    listed = sorted(records)
    write_gff(transcripts, tmp_path / "genes.gff3")
    theirs = run_csq(genome, simulated / "genome.fa", tmp_path / "genes.gff3", listed, tmp_path)
    placed = [Placed(c, edits_of(Allele(1, c, p, "", r, a))) for c, p, r, a in listed]
    ours = annotate(placed, transcripts, genome.chromosome, 0, 0)
    seen, structures = Counter[str](), Structures(transcripts)
    for variant, row, found in zip(
        ours.variant.tolist(), ours.transcript.tolist(), ours.consequence, strict=True
    ):
        record = listed[variant]
        wanted = theirs.get((record, ids[row]))
        if wanted is None:
            continue
        if len(record[2]) == len(record[3]) == 1:
            own = set(found.terms)
            own -= {"intron_variant"} if "splice_region_variant" in own else set()
            assert own == wanted, f"{record} on {ids[row]}"
            seen.update(own)
        elif _deep_in_codons(structures.get(row), placed[variant].edits):
            own = set(found.terms) & INDELS
            assert own <= wanted, f"{record} on {ids[row]}"
            assert ("frameshift_variant" in own) == ("frameshift_variant" in wanted), (
                f"{record} on {ids[row]}"
            )
            seen.update(own)
    assert {"missense_variant", "stop_gained", "splice_donor_variant", "start_lost", "stop_lost"} <= set(seen)
    assert min(seen[term] for term in INDELS) >= 10


INDELS = {"frameshift_variant", "inframe_insertion", "inframe_deletion"}


def _deep_in_codons(structure: Structure, edits: tuple[Edit, ...]) -> bool:
    """A pure insertion or deletion inside of one exon and of the codons between start and stop."""
    if len(edits) != 1 or structure.stop < 0 or (len(edits[0].bases) and not edits[0].is_insertion):
        return False
    inside = any(
        low + 12 < edits[0].start and edits[0].end < high - 12
        for low, high in zip(structure.starts, structure.ends, strict=True)
    )
    change = changes_of(structure, edits)
    return inside and structure.cds_start + 6 < change[0].start and change[0].end < structure.stop - 3


# Worked by hand: 5'UTR GG, ATG AAA | GTAAGTTTAG | TGC TAA, 3'UTR CC on the forward strand from base 10 on.
CHROMOSOME = "A" * 10 + "GGATGAAA" + "GTAAGTTTAG" + "TGCTAACC" + "T" * 10
MODEL = Structure(
    starts=[10, 28],
    ends=[18, 36],
    minus=False,
    rna=encode_dna("GGATGAAATGCTAACC"),
    cds_start=2,
    cds_end=14,
    phase=0,
    flags=0,
    protein=encode_protein("MKC"),
)


def worked(*changes: tuple[int, str, str], model: Structure = MODEL) -> Consequence:
    """Consequence of changes given as (position, REF, ALT)."""
    for at, ref, _ in changes:
        assert CHROMOSOME[at : at + len(ref)] == ref
    alleles = [edits_of(Allele(1, "c", at, "", ref, alt)) for at, ref, alt in changes]
    return consequence(model, merged(alleles), encode_dna(CHROMOSOME))


@pytest.mark.parametrize(
    ("change", "terms", "amino_acids", "protein"),
    [
        ((15, "A", "G"), ("missense_variant", "splice_region_variant"), "K/E", "MEC"),
        ((14, "GA", "G"), ("frameshift_variant", "splice_region_variant"), "K/Nfs", "MNAN"),
        ((30, "C", "A"), ("stop_gained", "splice_region_variant"), "C/*", "MK"),
        ((12, "A", "G"), ("start_lost",), "M/-", None),
        ((31, "T", "C"), ("stop_lost",), "*/Q", "MKCQ"),
        ((18, "G", "A"), ("splice_donor_variant",), "", None),
        ((27, "G", "C"), ("splice_acceptor_variant",), "", None),
        ((10, "G", "T"), ("5_prime_UTR_variant",), "", "MKC"),
        ((35, "C", "T"), ("3_prime_UTR_variant",), "", "MKC"),
        ((33, "A", "G"), ("stop_retained_variant",), "", "MKC"),
    ],
)
def test_worked_by_hand(
    change: tuple[int, str, str], terms: tuple[str, ...], amino_acids: str, protein: str | None
):
    found = worked(change)
    assert (found.terms, found.amino_acids) == (terms, amino_acids)
    made = None if found.product is None or found.product.protein is None else found.product.protein
    assert (None if made is None else decode_protein(made)) == protein


def test_two_frameshifts_on_one_haplotype_restore_the_frame():
    # ATG AAA | TGC: an A more behind the start, an A less at the end of the exon: the protein is as it was.
    found = worked((14, "G", "GA"), (16, "AA", "A"))
    assert found.terms == ("splice_region_variant", "synonymous_variant")


def test_a_whole_transcript_gone_leaves_nothing():
    found = worked((9, CHROMOSOME[9:37], "A"))
    assert (found.terms, found.product) == (("transcript_ablation",), None)


def test_a_partial_last_codon_is_named():
    rna = encode_dna("GGATGAAATG")
    model = replace(MODEL, ends=[18, 30], rna=rna, cds_end=10, protein=encode_protein("MK"), flags=64)
    assert worked((29, "G", "A"), model=model).terms[-1] == "incomplete_terminal_codon_variant"


def test_the_rule_of_nmd_counts_from_the_stop_to_the_last_junction():
    product = product_of(MODEL)
    assert not product.triggers_nmd(50)
    early = replace(product, cds_end=40, junctions=np.array([91], dtype=np.int32))
    assert early.triggers_nmd(50) and not early.triggers_nmd(51)
    assert not replace(early, has_stop=False).triggers_nmd(0)


def test_alleles_clash_where_they_change_one_base_or_insert_at_one_place():
    deletion, insertion, same = (
        edits_of(Allele(1, "c", at, "", ref, alt))
        for at, ref, alt in ((10, "GATG", "G"), (13, "G", "GT"), (13, "G", "GA"))
    )
    assert not clash(deletion, insertion)
    assert clash(insertion, same)
    assert clash(deletion, edits_of(Allele(1, "c", 12, "", "T", "C")))
    assert clash(deletion, edits_of(Allele(1, "c", 11, "", "A", "AC")))


def test_one_pass_gives_the_edited_stretch_and_moves_its_points():
    edits = merged([edits_of(Allele(1, "c", 4, "", "AC", "A")), edits_of(Allele(1, "c", 8, "", "G", "GTT"))])
    assert decode_dna(apply_edits(encode_dna("AAAAACAAGA"), 0, edits)) == "AAAAAAAGTTA"
    assert [new_position(at, edits) for at in (5, 6, 9, 10)] == [5, 5, 8, 11]
    assert new_position(9, edits, after=True) == 10
