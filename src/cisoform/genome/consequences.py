"""What edits of a chromosome do to a transcript: terms of the Sequence Ontology, places, amino acids, NMD.

The terms are those of the Sequence Ontology; where it leaves a choice, ours:

- A donor or acceptor is lost if the two bases of the intron next to the exon read otherwise than before. Then what the
  change does to codons is not known and stands as coding_sequence_variant; else a touched site is a
  splice_region_variant (3 bases of the exon, 8 of the intron).
- Proteins decide about codons: equal ones are synonymous (stop_retained, start_retained at those codons); else a CDS
  whose length changes by no multiple of three is frameshift_variant; a stop before the expected place is stop_gained,
  behind it (or none) stop_lost. start_lost stands alone among the coding terms, and no protein is made then.
- A change that takes the end of the CDS and bases behind it is stop_lost or stop_retained, no frameshift.
- intron_variant stands where no site is lost. A transcript that is deleted whole is transcript_ablation alone; a whole
  exon adds exon_loss_variant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cisoform.genome.edits import Edit, apply_edits
from cisoform.genome.sequence import decode_protein
from cisoform.genome.transcript_edits import (
    Change,
    Product,
    Reading,
    Structure,
    changed_rna,
    changes_of,
    exon_lengths,
    find_start,
    junctions_of,
    moved,
    read_protein,
)

Codes = npt.NDArray[np.uint8]

SEVERITY = (
    "transcript_ablation",
    "exon_loss_variant",
    "splice_acceptor_variant",
    "splice_donor_variant",
    "stop_gained",
    "frameshift_variant",
    "stop_lost",
    "start_lost",
    "inframe_insertion",
    "inframe_deletion",
    "missense_variant",
    "splice_region_variant",
    "incomplete_terminal_codon_variant",
    "start_retained_variant",
    "stop_retained_variant",
    "synonymous_variant",
    "coding_sequence_variant",
    "5_prime_UTR_variant",
    "3_prime_UTR_variant",
    "non_coding_transcript_exon_variant",
    "intron_variant",
    "upstream_gene_variant",
    "downstream_gene_variant",
)
"""Terms from the gravest down, in the order of Ensembl's VEP."""
_RANK = {term: rank for rank, term in enumerate(SEVERITY)}
_EXON_BP, _INTRON_BP = 3, 8
_SHOWN_RESIDUES = 10


@dataclass(frozen=True)
class SpliceLoss:
    """A splice site that reads otherwise: intron by its number, from 1 as transcribed."""

    intron: int
    donor: bool


@dataclass(frozen=True)
class Consequence:
    """What becomes of one transcript.

    Attributes:
        terms: Sequence Ontology terms, the gravest first.
        rna_position: First changed base of the RNA, 0-based; -1 = none changes.
        cds_position: In the reference's CDS, 0-based; -1 = outside.
        protein_position: Residue, 0-based; -1 = none.
        amino_acids: Reference and alternative residues, `K/E`; `fs` marks a shifted frame, `*` a stop, `-` nothing.
        exon: Number of the first touched exon as transcribed, from 1; 0 = none.
        intron: Likewise of introns.
        lost_sites: Splice sites that are lost.
        product: What the edited transcript makes, spliced at its old borders; None if all of it is gone, or if
            neither RNA nor protein changes.
    """

    terms: tuple[str, ...]
    rna_position: int = -1
    cds_position: int = -1
    protein_position: int = -1
    amino_acids: str = ""
    exon: int = 0
    intron: int = 0
    lost_sites: tuple[SpliceLoss, ...] = ()
    product: Product | None = None


def consequence(structure: Structure, edits: Sequence[Edit], chromosome: Codes) -> Consequence:
    """What edits do to a transcript.

    Args:
        structure: The transcript.
        edits: Sorted and without clashes; at least one lies in the transcript's reach.
        chromosome: Base codes of the whole chromosome.
    """
    if _deletes(edits, structure.starts[0], structure.ends[-1]):
        return Consequence(("transcript_ablation",))
    terms: set[str] = set()
    lost, in_intron = _introns(structure, edits, chromosome, terms)
    _outside(structure, edits, terms)
    changes = changes_of(structure, edits)
    found = Consequence((), intron=in_intron, lost_sites=tuple(lost))
    if changes:
        lengths = exon_lengths(structure, edits)
        exons = zip(structure.starts, structure.ends, strict=True)
        if any(_deletes(edits, low, high) for low, high in exons):
            terms.add("exon_loss_variant")
        found = _in_exons(structure, changes, lengths, bool(lost), terms, found)
        found = replace(found, exon=_exon_number(structure, edits))
    return replace(found, terms=ordered(terms))


def ordered(terms: set[str]) -> tuple[str, ...]:
    """Terms from the gravest down."""
    return tuple(sorted(terms, key=_RANK.__getitem__))


def product_of(structure: Structure) -> Product:
    """What the transcript of the reference makes."""
    lengths = [high - low for low, high in zip(structure.starts, structure.ends, strict=True)]
    return Product(
        structure.rna,
        junctions_of(lengths[::-1] if structure.minus else lengths),
        structure.cds_start,
        structure.cds_end if structure.stop < 0 else structure.stop + 3,
        structure.phase,
        structure.protein if structure.coding and len(structure.protein) else None,
        structure.stop >= 0,
    )


def _deletes(edits: Sequence[Edit], low: int, high: int) -> bool:
    """Whether one deletion takes all of [low, high)."""
    return any(edit.start <= low and edit.end >= high and not len(edit.bases) for edit in edits)


def _touches(edit: Edit, low: int, high: int) -> bool:
    """Whether an edit changes a base of [low, high), or inserts strictly inside."""
    if edit.is_insertion:
        return low < edit.start < high
    return edit.start < high and edit.end > low


def _introns(
    structure: Structure, edits: Sequence[Edit], chromosome: Codes, terms: set[str]
) -> tuple[list[SpliceLoss], int]:
    """Lost sites, and the number of the first touched intron; adds terms of introns and splice sites."""
    lost: list[SpliceLoss] = []
    touched: list[int] = []
    low, high = edits[0].start, max(edit.end for edit in edits)
    for begin, end, number in structure.introns:
        if begin - _EXON_BP > high or end + _EXON_BP < low:
            continue
        if any(_touches(edit, begin, end) for edit in edits):
            touched.append(number)
        for at_low in (True, False):
            donor = at_low != structure.minus
            state = _site(begin, end, at_low, edits, chromosome)
            if state == "lost":
                lost.append(SpliceLoss(number, donor))
                terms.add("splice_donor_variant" if donor else "splice_acceptor_variant")
            elif state == "region":
                terms.add("splice_region_variant")
    gaps = zip(structure.ends[:-1], structure.starts[1:], strict=True)
    if not lost and any(_touches(edit, begin, end) for begin, end in gaps for edit in edits):
        terms.add("intron_variant")
    return sorted(lost, key=lambda site: (site.intron, not site.donor)), min(touched, default=0)


def _site(begin: int, end: int, at_low: bool, edits: Sequence[Edit], chromosome: Codes) -> str:
    """`lost`, `region` or nothing: what edits do to one end of the intron [begin, end)."""
    if at_low:
        span = (begin - _EXON_BP, min(begin + _INTRON_BP, end))
    else:
        span = (max(end - _INTRON_BP, begin), end + _EXON_BP)
    here = [edit for edit in edits if _touches(edit, *span)]
    if not here:
        return ""
    reach = 2 + sum(edit.end - edit.start for edit in edits if _touches(edit, begin, end))
    if at_low:
        low, high = begin, min(end, begin + reach)
        new = apply_edits(chromosome[low:high], low, edits)[:2]
        old = chromosome[begin : begin + 2]
    else:
        low, high = max(begin, end - reach), end
        new = apply_edits(chromosome[low:high], low, edits)[-2:]
        old = chromosome[end - 2 : end]
    return "region" if len(new) == 2 and (new == old).all() else "lost"


def _outside(structure: Structure, edits: Sequence[Edit], terms: set[str]) -> None:
    """Terms of edits that all lie before the first or behind the last transcribed base."""
    below = [edit.end <= structure.starts[0] for edit in edits]
    above = [edit.start >= structure.ends[-1] for edit in edits]
    if not all(b or a for b, a in zip(below, above, strict=True)):
        return
    if any(below):
        terms.add("downstream_gene_variant" if structure.minus else "upstream_gene_variant")
    if any(above):
        terms.add("upstream_gene_variant" if structure.minus else "downstream_gene_variant")


def _exon_number(structure: Structure, edits: Sequence[Edit]) -> int:
    """Number of the first touched exon, as transcribed."""
    n = len(structure.starts)
    touched = [
        exon
        for exon, (low, high) in enumerate(zip(structure.starts, structure.ends, strict=True))
        for edit in edits
        if (edit.is_insertion and structure.exon_of_insertion(edit.start) == exon)
        or (not edit.is_insertion and _touches(edit, low, high))
    ]
    return n - max(touched) if structure.minus else min(touched) + 1


def _in_exons(
    structure: Structure,
    changes: Sequence[Change],
    lengths: list[int],
    site_lost: bool,
    terms: set[str],
    found: Consequence,
) -> Consequence:
    """Add what the changes of the RNA do: terms, places and the product."""
    rna = changed_rna(structure.rna, changes)
    junctions = junctions_of(lengths[::-1] if structure.minus else lengths)
    found = replace(found, rna_position=changes[0].start)
    if structure.cds_start < 0:
        terms.add("non_coding_transcript_exon_variant")
        return replace(found, product=Product(rna, junctions, -1, -1, 0, None, False))
    first, last = structure.cds_start, structure.cds_end
    if any(_in_utr(change, 0, first, at_end=True) for change in changes):
        terms.add("5_prime_UTR_variant")
    if any(_in_utr(change, last, len(structure.rna), at_end=False) for change in changes):
        terms.add("3_prime_UTR_variant")
    in_cds = [change for change in changes if change.touches(first, last)]
    if not in_cds:
        moved_start = moved(first, changes, after=True)
        shift = moved_start - first
        old = product_of(structure)
        product = replace(
            old,
            rna=rna,
            junctions=junctions,
            cds_start=moved_start,
            cds_end=old.cds_end + shift,
        )
        return replace(found, product=product)
    position = max(in_cds[0].start, first)
    found = replace(found, cds_position=position - first)
    if not structure.coding:
        terms.add("coding_sequence_variant")
        return replace(found, product=Product(rna, junctions, first, moved(last, changes), 0, None, False))
    return _in_codons(structure, changes, rna, junctions, site_lost, terms, found)


def _in_utr(change: Change, low: int, high: int, at_end: bool) -> bool:
    """Whether a change touches a UTR; an insertion at its border with the CDS belongs to it."""
    if change.start == change.end:
        return low <= change.start <= high and high > low if at_end else change.start >= low
    return change.start < high and change.end > low


def _in_codons(
    structure: Structure,
    changes: Sequence[Change],
    rna: Codes,
    junctions: npt.NDArray[np.int32],
    site_lost: bool,
    terms: set[str],
    found: Consequence,
) -> Consequence:
    start = find_start(structure, rna, changes)
    found = replace(found, protein_position=max(0, found.cds_position - structure.phase) // 3)
    if start < 0:
        terms.add("coding_sequence_variant" if site_lost else "start_lost")
        return replace(
            found,
            amino_acids="" if site_lost else f"{decode_protein(structure.protein[:1])}/-",
            product=Product(rna, junctions, -1, -1, 0, None, False),
        )
    first = start + structure.phase
    cds_end = moved(structure.cds_end, changes)
    limit = len(rna) if structure.stop >= 0 else cds_end
    reading = read_protein(structure, rna, first, limit, cds_end, changes[0].start)
    net = (cds_end - start) - (structure.cds_end - structure.cds_start)
    if site_lost:
        terms.add("coding_sequence_variant")
    else:
        terms |= coding_terms(structure, changes, reading, net)
        place, text = residue_change(structure.protein, structure.stop >= 0, reading, terms)
        if text:
            found = replace(found, protein_position=place, amino_acids=text)
    end = first + 3 * (len(reading.protein) + reading.has_stop) if structure.stop >= 0 else cds_end
    protein = reading.protein if len(reading.protein) else None
    return replace(
        found, product=Product(rna, junctions, start, end, structure.phase, protein, reading.has_stop)
    )


def coding_terms(structure: Structure, changes: Sequence[Change], reading: Reading, net: int) -> set[str]:
    """Terms of a changed CDS whose start codon stands.

    Args:
        structure: The transcript.
        changes: Of its RNA.
        reading: The new protein.
        net: By how many bases the CDS grows.
    """
    old, stop = structure.protein, structure.stop
    has_stop = stop >= 0
    at_start = any(c.touches(structure.cds_start, structure.cds_start + 3) for c in changes)
    at_stop = has_stop and any(c.touches(stop, stop + 3) for c in changes)
    if has_stop == reading.has_stop and np.array_equal(old, reading.protein):
        if not has_stop and _beyond_last_codon(structure, changes):
            return {"incomplete_terminal_codon_variant"}
        if at_stop:
            return {"stop_retained_variant"}
        return {"start_retained_variant" if at_start else "synonymous_variant"}
    if has_stop and any(c.start < structure.cds_end < c.end and not len(c.bases) for c in changes):
        return {"stop_lost"}
    length = len(reading.protein)
    if net % 3:
        begins = length < len(old) and np.array_equal(old[:length], reading.protein)
        found = {"frameshift_variant"}
        if reading.has_stop and begins:
            found.add("stop_gained")
        if at_stop:
            found.add("stop_lost")
        return found
    expected = len(old) + net // 3
    if has_stop and (not reading.has_stop or length > expected):
        return {"stop_lost"}
    if reading.has_stop and length < expected:
        return {"stop_gained"}
    return {"inframe_insertion" if net > 0 else "inframe_deletion" if net < 0 else "missense_variant"}


def _beyond_last_codon(structure: Structure, changes: Sequence[Change]) -> bool:
    whole = structure.cds_start + structure.phase + 3 * len(structure.protein)
    return all(change.start >= whole for change in changes if change.end > structure.cds_start)


def residue_change(old: Codes, has_stop: bool, reading: Reading, terms: set[str]) -> tuple[int, str]:
    """First residue that differs (0-based) and the change as text: `K/E`, `-/AL`, `W/*`, `L/Vfs` out of frame."""
    before = decode_protein(old) + "*" * has_stop
    after = decode_protein(reading.protein) + "*" * reading.has_stop
    if before == after:
        return 0, ""
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    if {"frameshift_variant", "stop_gained"} & terms:
        shifted = "fs" * ("frameshift_variant" in terms)
        return same, f"{before[same : same + 1] or '-'}/{after[same : same + 1] or '-'}{shifted}"
    tail = 0
    while tail < min(len(before), len(after)) - same and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    removed, added = before[same : len(before) - tail], after[same : len(after) - tail]
    return same, f"{_short(removed)}/{_short(added)}"


def _short(text: str) -> str:
    shown = text[:_SHOWN_RESIDUES] + ("..." if len(text) > _SHOWN_RESIDUES else "")
    return shown or "-"
