"""What a transcript makes when splice sites are lost and the exon is skipped or the intron kept.

Which of both a cell does cannot be told from the site alone, so the caller chooses. `skip` leaves out the exon beside
the lost site, and keeps the intron where that exon is the first or the last one; `retain` keeps the intron. In-frame
TGA of a selenoprotein reads U before the splicing differs, and behind skipped exons while the CDS ends in frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cisoform.genome.consequences import SpliceLoss
from cisoform.genome.edits import Edit, apply_edits, new_position
from cisoform.genome.sequence import reverse_complement
from cisoform.genome.transcript_edits import Product, Structure, junctions_of, read_protein

Codes = npt.NDArray[np.uint8]
Span = tuple[int, int]

MODES = ("skip", "retain")


def respliced(
    structure: Structure, edits: Sequence[Edit], chromosome: Codes, lost: Sequence[SpliceLoss], mode: str
) -> tuple[Product, str]:
    """RNA and protein of the edited transcript with lost sites not used, and what was done, as text.

    Args:
        structure: The transcript.
        edits: Sorted and without clashes.
        chromosome: Base codes of the whole chromosome.
        lost: Sites that are lost.
        mode: `skip` or `retain`.
    """
    low, high = structure.starts[0], structure.ends[-1]
    codes = apply_edits(chromosome[low:high], low, edits)
    inside = [edit for edit in edits if edit.end > low and edit.start < high]
    exons = _moved_exons(structure, inside)
    origin = new_position(low, inside, after=True)
    spans = [(start - origin, end - origin) for start, end in exons]
    if structure.minus:
        codes = reverse_complement(codes)
        spans = [(len(codes) - end, len(codes) - start) for start, end in reversed(spans)]
    kept, done = _choose(spans, lost, mode)
    rna = np.concatenate([codes[start:end] for start, end in kept])
    junctions = junctions_of([end - start for start, end in kept])
    nothing = Product(rna, junctions, -1, -1, 0, None, False)
    if not structure.coding:
        return nothing, done
    start = _start_in(structure, inside, origin, len(codes), kept)
    if start < 0:
        return nothing, f"{done}; start codon lost"
    # A kept intron may hold stops of its own: where one is kept, nothing behind it counts as the annotated CDS.
    last = -1
    if set(kept) <= set(spans):
        last = _place(structure, inside, origin, len(codes), kept, structure.cds_end - 1)
    same = _common(structure.rna, rna)
    reading = read_protein(structure, rna, start + structure.phase, len(rna), last + 1, same)
    if not len(reading.protein):
        return nothing, done
    end = start + structure.phase + 3 * (len(reading.protein) + reading.has_stop)
    product = Product(rna, junctions, start, end, structure.phase, reading.protein, reading.has_stop)
    return product, done


def _moved_exons(structure: Structure, edits: Sequence[Edit]) -> list[Span]:
    """Exons on the edited chromosome, by position; an insertion at an inner border belongs to its exon."""
    n = len(structure.starts)
    found = []
    for exon, (start, end) in enumerate(zip(structure.starts, structure.ends, strict=True)):
        touching = exon > 0 and structure.ends[exon - 1] == start
        low = new_position(start, edits, after=exon == 0 or touching)
        found.append((low, new_position(end, edits, after=exon < n - 1)))
    return found


def _choose(spans: Sequence[Span], lost: Sequence[SpliceLoss], mode: str) -> tuple[list[Span], str]:
    """Exons that are left, 5' to 3', and what was done to which."""
    skipped: set[int] = set()
    joined: set[int] = set()
    for site in lost:
        exon = site.intron - 1 if site.donor else site.intron
        if mode == "skip" and 0 < exon < len(spans) - 1:
            skipped.add(exon)
        else:
            joined.add(site.intron)
    kept: list[Span] = []
    for exon, span in enumerate(spans):
        # An intron stays only between exons that stay.
        if exon in joined and kept and not {exon - 1, exon} & skipped:
            kept[-1] = (kept[-1][0], span[1])
        elif exon not in skipped:
            kept.append(span)
    texts = [f"exon {exon + 1} skipped" for exon in sorted(skipped)]
    texts += [f"intron {n} kept" for n in sorted(joined) if not {n - 1, n} & skipped]
    return kept, "; ".join(texts)


def _start_in(
    structure: Structure, edits: Sequence[Edit], origin: int, length: int, kept: Sequence[Span]
) -> int:
    """Where the CDS begins in the new RNA; -1 if its first codon is changed or left out."""
    base = _base(structure, structure.cds_start)
    codon = (base - 2, base + 1) if structure.minus else (base, base + 3)
    if any(edit.start < codon[1] and edit.end > codon[0] for edit in edits):
        return -1
    if any(edit.is_insertion and codon[0] < edit.start < codon[1] for edit in edits):
        return -1
    return _place(structure, edits, origin, length, kept, structure.cds_start)


def _base(structure: Structure, at: int) -> int:
    """Base of the chromosome that is base `at` of the RNA."""
    if structure.minus:
        at = structure.before[-1] - 1 - at
    exon = int(np.searchsorted(np.array(structure.before), at, side="right")) - 1
    return structure.starts[exon] + at - structure.before[exon]


def _common(old: Codes, new: Codes) -> int:
    """Bases that two sequences share at their beginning."""
    n = min(len(old), len(new))
    differs = np.flatnonzero(old[:n] != new[:n])
    return int(differs[0]) if len(differs) else n


def _place(
    structure: Structure, edits: Sequence[Edit], origin: int, length: int, kept: Sequence[Span], at: int
) -> int:
    """Where base `at` of the RNA lies in the new one; -1 if it is left out."""
    place = new_position(_base(structure, at), edits, after=True) - origin
    place = length - 1 - place if structure.minus else place
    before = 0
    for start, end in kept:
        if start <= place < end:
            return before + place - start
        before += end - start
    return -1
