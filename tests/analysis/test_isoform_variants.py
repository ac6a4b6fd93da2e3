"""What pairs of variants and transcripts change in what a model reads, and which versions are to be predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cisoform.analysis.isoform_variants import (
    Effects,
    effects_of,
    nmd_by_default,
    pairs_of_alleles,
    status_of_unreached,
    units_of_alleles,
)
from cisoform.genome.annotation import read_annotation
from cisoform.genome.fasta import Genome
from cisoform.genome.sequence import decode_dna, decode_protein
from cisoform.genome.transcripts import TranscriptSet, build_transcripts
from cisoform.genome.variants import Allele
from cisoform.genome.vcf_records import NO_TRANSCRIPT, USABLE, Records
from tests.genome.toy import gtf_line, write_fasta

# From base 30 on: 5'UTR GG, ATG AAA GCT | GTAAG 40 x T AG | TGG 60 x GCT TAA, 3'UTR CC; then 30 more bases.
EXON_1, INTRON, EXON_2 = "GGATGAAAGCT", "GTAAG" + "T" * 40 + "AG", "TGG" + "GCT" * 60 + "TAACC"
CHROMOSOME = "ACGTT" * 6 + EXON_1 + INTRON + EXON_2 + "GATTC" * 6
SECOND = 30 + len(EXON_1) + len(INTRON)
END = SECOND + len(EXON_2)
REACH = (12, 4)


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> TranscriptSet:
    folder = tmp_path_factory.mktemp("toy")
    about = 'gene_id "g"; transcript_id "t";'
    lines = [gtf_line("c", "transcript", 31, END, "+", about)]
    for low, high in ((30, 41), (SECOND, END)):
        lines.append(gtf_line("c", "exon", low + 1, high, "+", about))
    lines.append(gtf_line("c", "CDS", 33, 41, "+", about, "0"))
    lines.append(gtf_line("c", "CDS", SECOND + 1, END - 5, "+", about, "0"))
    (folder / "a.gtf").write_text("\n".join(lines) + "\n")
    genome = Genome.open(write_fasta(folder / "g.fa", {"c": CHROMOSOME}))
    return build_transcripts(read_annotation(folder / "a.gtf"), genome)


def effects(
    transcripts: TranscriptSet,
    *changes: tuple[int, str],
    nmd_bp: int | None = 50,
    resplice: str | None = None,
) -> tuple[Effects, Records]:
    """Effects of single bases, given as position and new base; a deletion of n bases as `-n`."""
    alleles = []
    for at, new in changes:
        if new.startswith("-"):
            alleles.append(Allele(1, "c", at - 1, "", CHROMOSOME[at - 1 : at - int(new)], CHROMOSOME[at - 1]))
        else:
            alleles.append(Allele(1, "c", at, "", CHROMOSOME[at], new))
    n = len(alleles)
    records = Records(alleles, list(alleles), [USABLE] * n, [""] * n)
    units = units_of_alleles(records)
    variant, row = pairs_of_alleles(units, transcripts, *REACH)
    status_of_unreached(records, units, variant, NO_TRANSCRIPT)
    codes = {"c": np.array(["ACGTN".index(base) for base in CHROMOSOME], dtype=np.uint8)}
    found = effects_of(
        units, variant, row, transcripts, codes.__getitem__, reach=REACH, nmd_bp=nmd_bp, resplice=resplice
    )
    return found, records


def test_each_place_changes_what_lies_there_and_deep_introns_nothing(transcripts: TranscriptSet) -> None:
    changes = [
        (20, "C"),
        (31, "C"),
        (37, "T"),
        (60, "C"),
        (SECOND + 5, "C"),
        (SECOND + 4, "A"),
        (END - 1, "G"),
    ]
    found, records = effects(transcripts, *changes)
    assert found.changed == ["dna", "dna,rna", "rna,protein", "", "rna", "rna,protein", "rna"]
    assert [one.terms[-1] for one in found.annotated.consequence] == [
        "upstream_gene_variant",
        "5_prime_UTR_variant",
        "missense_variant",
        "intron_variant",
        "synonymous_variant",
        "missense_variant",
        "3_prime_UTR_variant",
    ]
    assert records.status == [USABLE] * 7
    # One reference for all, one alternative for each that changes, nothing for the intron.
    assert found.reference.tolist() == [0, 0, 0, -1, 0, 0, 0]
    assert found.alternative.tolist() == [1, 2, 3, -1, 4, 5, 6]
    assert len(found.versions) == 7 and found.versions[0].edits == ()
    missense = found.versions[3].product
    assert missense.protein is not None and decode_protein(missense.protein)[:4] == "MNAW"


def test_what_no_transcript_reaches_is_said(transcripts: TranscriptSet) -> None:
    found, records = effects(transcripts, (5, "C"), (18, "A"), (17, "C"), (END + 1, "C"))
    assert records.status == [NO_TRANSCRIPT, USABLE, NO_TRANSCRIPT, NO_TRANSCRIPT]
    assert len(found.annotated) == 1 and found.changed == ["dna"]


def test_a_deleted_transcript_has_a_reference_and_no_alternative(transcripts: TranscriptSet) -> None:
    found, _ = effects(transcripts, (30, f"-{END - 30}"))
    assert (found.changed, found.products) == (["all"], [None])
    assert found.reference.tolist() == [0] and found.alternative.tolist() == [-1] and len(found.versions) == 1


@pytest.mark.parametrize(("distance", "said"), [(None, ""), (50, ""), (2, "gained"), (3, "")])
def test_an_early_stop_counts_from_its_end_to_the_junction(
    transcripts: TranscriptSet, distance: int | None, said: str
) -> None:
    # ATG TAA: the stop ends at base 8 of the RNA, the second exon begins at 11.
    found, _ = effects(transcripts, (35, "T"), nmd_bp=distance)
    assert found.annotated.consequence[0].terms == ("stop_gained",)
    assert found.nmd == [said]


def test_a_lost_site_changes_nothing_unless_it_is_respliced(transcripts: TranscriptSet) -> None:
    plain, _ = effects(transcripts, (41, "C"))
    assert plain.annotated.consequence[0].terms == ("splice_donor_variant",)
    assert (plain.changed, plain.resplicing, plain.versions) == ([""], [""], [])
    kept, _ = effects(transcripts, (41, "C"), resplice="retain")
    assert (kept.changed, kept.resplicing) == (["rna,protein"], ["intron 1 kept"])
    product = kept.products[0]
    assert product is not None
    assert decode_dna(product.rna) == EXON_1 + "C" + INTRON[1:] + EXON_2
    # ATG AAA GCT CTA AGT TTT ...
    assert product.protein is not None and decode_protein(product.protein)[:6] == "MKALSF"


def test_the_rule_of_nmd_is_on_where_genes_are_spliced(tmp_path: Path) -> None:
    def annotation(*exons: int) -> bool:
        lines = []
        for gene, n in enumerate(exons):
            about, base = f'gene_id "g{gene}"; transcript_id "t{gene}";', 1000 * gene
            lines.append(gtf_line("c", "transcript", base + 1, base + 100 * n, "+", about))
            for exon in range(n):
                low = base + 100 * exon
                lines.append(gtf_line("c", "exon", low + 1, low + (60 if exon < n - 1 else 100), "+", about))
            lines.append(gtf_line("c", "CDS", base + 1, base + 30, "+", about, "0"))
        path = tmp_path / "a.gtf"
        path.write_text("\n".join(lines) + "\n")
        return nmd_by_default(read_annotation(path))

    assert annotation(1, 2) and annotation(3)
    assert not annotation(1, 1, 2)


@pytest.mark.pack
def test_the_rule_of_nmd_is_off_for_yeast(yeast_pack: Path) -> None:
    assert not nmd_by_default(read_annotation(yeast_pack / "annotation.gtf.gz"))
