"""Variants (or haplotypes) x transcripts: what each changes in what a model reads, and the versions to predict.

Pure: changes and transcripts in, rows out. A pair whose DNA window, RNA and protein all stay as they are needs no
prediction: its difference is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.data.edited_samples import Origin, Version, touches_window
from cisoform.genome.annotate import (
    Annotated,
    Placed,
    Structures,
    annotate_pairs,
    spans_of,
    spans_of_variants,
)
from cisoform.genome.annotation import Annotation
from cisoform.genome.consequences import product_of
from cisoform.genome.edits import edits_of
from cisoform.genome.resplicing import respliced
from cisoform.genome.touched import find_pairs
from cisoform.genome.transcript_edits import Product
from cisoform.genome.transcripts import TranscriptSet
from cisoform.genome.vcf_records import USABLE, Records

Codes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

NMD_BP = 50
GONE = "all"
INTRONS_FOR_NMD = 0.5
"""The rule counts from exon junctions: it is on by default where at least this share of coding transcripts has some."""


@dataclass(frozen=True)
class Unit:
    """What stands together: one allele, or the alleles of a haplotype in reach of a transcript.

    Attributes:
        alleles: Indices of alleles.
        placed: Their edits.
        carriers: Chromosomes of samples that carry them; empty where genotypes are not read.
    """

    alleles: tuple[int, ...]
    placed: Placed
    carriers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Effects:
    """Pairs with what they change.

    Attributes:
        units: Variants or haplotypes.
        annotated: Pairs of units and transcripts, with consequences.
        changed: Of each pair, which of dna, rna and protein change; `GONE` where the transcript is; else empty.
        nmd: Of each pair: gained, lost, kept, or empty.
        resplicing: What is done about lost splice sites, as text.
        products: What the transcript of each pair makes now; None where that is unchanged or nothing.
        versions: Rows to predict: the reference of every transcript that changes, then the alternatives.
        reference: Row of each pair's reference in `versions`, -1 where nothing changes.
        alternative: Row of its alternative, -1 where nothing changes or nothing is left.
    """

    units: list[Unit]
    annotated: Annotated
    changed: list[str]
    nmd: list[str]
    resplicing: list[str]
    products: list[Product | None]
    versions: list[Version]
    reference: Ints
    alternative: Ints


def nmd_by_default(annotation: Annotation) -> bool:
    """Whether the rule of nonsense-mediated decay is meant for such a genome: not for one that hardly splices."""
    coding = annotation.transcripts["cds_start"].to_numpy() >= 0
    return bool(coding.any()) and float((annotation.n_exons[coding] > 1).mean()) >= INTRONS_FOR_NMD


def units_of_alleles(records: Records) -> list[Unit]:
    """Each usable allele by itself."""
    return [
        Unit((number,), Placed(records.alleles[number].chrom, edits_of(records.alleles[number])))
        for number in records.usable
    ]


def pairs_of_alleles(
    units: Sequence[Unit], transcripts: TranscriptSet, upstream: int, downstream: int
) -> tuple[Ints, Ints]:
    """Units and transcripts in reach of each other."""
    chroms: dict[str, int] = {}
    spans = spans_of(transcripts, chroms, upstream, downstream)
    return find_pairs(spans_of_variants([unit.placed for unit in units], chroms), spans)


def effects_of(
    units: list[Unit],
    variant: Ints,
    row: Ints,
    transcripts: TranscriptSet,
    chromosome: Callable[[str], Codes],
    *,
    reach: tuple[int, int],
    nmd_bp: int | None,
    resplice: str | None = None,
    structures: Structures | None = None,
) -> Effects:
    """Consequences of pairs, and the versions of transcripts that have to be predicted.

    Args:
        units: Variants or haplotypes.
        variant: Unit of every pair.
        row: Its transcript.
        transcripts: The transcripts.
        chromosome: Base codes of a whole chromosome.
        reach: Bases before the start, and from it on, that a model reads; (0, 0) = no DNA.
        nmd_bp: Distance of the rule of nonsense-mediated decay; None = off.
        resplice: `skip` or `retain` what lies beside lost splice sites; None = splice at the old borders.
        structures: Of the transcripts; None = made here, with the standard genetic code.
    """
    structures = structures or Structures(transcripts)
    placed = [unit.placed for unit in units]
    annotated = annotate_pairs(placed, variant, row, transcripts, chromosome, structures=structures)
    origin = origin_of(transcripts)
    versions: list[Version] = []
    references: dict[int, int] = {}
    n = len(annotated)
    reference, alternative = np.full(n, -1), np.full(n, -1)
    changed, nmd, done = [""] * n, [""] * n, [""] * n
    products: list[Product | None] = [found.product for found in annotated.consequence]
    waiting: list[tuple[int, Version]] = []
    for pair, found in enumerate(annotated.consequence):
        transcript, edits = int(row[pair]), placed[variant[pair]].edits
        if found.lost_sites and resplice is not None:
            codes = chromosome(origin.chrom[transcript])
            products[pair], done[pair] = respliced(
                structures.get(transcript), edits, codes, found.lost_sites, resplice
            )
        product, gone = products[pair], found.terms == ("transcript_ablation",)
        window = touches_window(edits, origin.tss[transcript], origin.minus[transcript], *reach)
        if not (window or gone or product is not None):
            continue
        old = product_of(structures.get(transcript))
        if transcript not in references:
            references[transcript] = len(versions)
            versions.append(Version(transcript, (), old))
        reference[pair] = references[transcript]
        if gone:
            changed[pair] = GONE
            continue
        now = old if product is None else product
        changed[pair] = ",".join(_changed(window, old, now))
        if nmd_bp is not None:
            nmd[pair] = _nmd(old.triggers_nmd(nmd_bp), now.triggers_nmd(nmd_bp))
        waiting.append((pair, Version(transcript, edits, now)))
    for pair, version in waiting:
        alternative[pair] = len(versions)
        versions.append(version)
    return Effects(units, annotated, changed, nmd, done, products, versions, reference, alternative)


def _changed(window: bool, old: Product, now: Product) -> list[str]:
    """Names of what is not as before."""
    same_rna = np.array_equal(old.rna, now.rna) and np.array_equal(old.junctions, now.junctions)
    a, b = old.protein, now.protein
    same_protein = (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))
    states = (("dna", window), ("rna", not same_rna), ("protein", not same_protein))
    return [name for name, different in states if different]


def _nmd(before: bool, after: bool) -> str:
    return {(False, True): "gained", (True, False): "lost", (True, True): "kept"}.get((before, after), "")


def origin_of(transcripts: TranscriptSet) -> Origin:
    """Where the transcripts of a set begin."""
    table = transcripts.table
    return Origin(
        table["transcript_id"].to_list(),
        table["gene_id"].to_list(),
        table["chrom"].to_list(),
        table["tss"].to_list(),
        (table["strand"] == "-").to_list(),
    )


def status_of_unreached(records: Records, units: Sequence[Unit], variant: Ints, status: str) -> None:
    """Mark usable alleles that lie in reach of no transcript."""
    reached = {number for unit in np.unique(variant).tolist() for number in units[unit].alleles}
    for number, state in enumerate(records.status):
        if state == USABLE and number not in reached:
            records.refuse(number, status, records.detail[number])
