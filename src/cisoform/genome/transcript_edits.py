"""One transcript under edits of its chromosome: spliced RNA, CDS and protein that follow from the same change.

An insertion at the border of an exon and an intron belongs to the exon, so the two bases of the splice site stay next
to it; one in front of the first or behind the last transcribed base lies outside. An insertion in front of the CDS or
behind its stop codon belongs to the UTR. Exons keep their borders (moved with the edit) even where a splice site is
lost; `resplicing` says what else may happen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cisoform.genome.coding import FLAG_INCOMPLETE_5, FLAG_NO_START, FLAG_SELENOCYSTEINE
from cisoform.genome.edits import Edit
from cisoform.genome.sequence import (
    AMINO_ACID_STOP,
    AMINO_ACID_U,
    AMINO_ACIDS,
    codon_amino_acids,
    codon_index,
    final_stop_codons,
    reverse_complement,
    start_codons,
)

Codes = npt.NDArray[np.uint8]

_MET = AMINO_ACIDS.index("M")
_TGA = codon_index("TGA")
MIN_INTRON_BP = 4
"""Shorter gaps between exons are corrections of the annotation, not introns."""


@dataclass(frozen=True)
class Structure:
    """A transcript of the reference.

    Attributes:
        starts: First base of every exon, by position on the forward strand.
        ends: End of every exon.
        minus: Whether it is on the reverse strand.
        rna: Base codes, 5' to 3'.
        cds_start: In the RNA; -1 = non-coding.
        cds_end: In the RNA, stop codon included.
        phase: Bases of the CDS before its first whole codon.
        flags: As in `genome.coding`.
        protein: Residues without stop; empty if it has none.
        table: NCBI genetic code.
    """

    starts: list[int]
    ends: list[int]
    minus: bool
    rna: Codes
    cds_start: int
    cds_end: int
    phase: int
    flags: int
    protein: Codes
    table: int = 1

    @cached_property
    def before(self) -> list[int]:
        """Exonic bases below every exon, on the forward strand."""
        return [0, *np.cumsum(np.array(self.ends) - np.array(self.starts)).tolist()]

    @property
    def coding(self) -> bool:
        """Whether it has a CDS of at least a codon."""
        return self.cds_start >= 0 and self.cds_end - self.cds_start - self.phase >= 3

    @property
    def stop(self) -> int:
        """First base of the stop codon in the RNA; -1 without one."""
        n_codons = (self.cds_end - self.cds_start - self.phase) // 3
        if not self.coding or len(self.protein) >= n_codons:
            return -1
        return self.cds_start + self.phase + 3 * len(self.protein)

    @property
    def introns(self) -> list[tuple[int, int, int]]:
        """Start, end and number (from 1, as transcribed) of every intron, by position."""
        n = len(self.starts) - 1
        spans = zip(self.ends[:-1], self.starts[1:], strict=True)
        return [
            (low, high, n - i if self.minus else i + 1)
            for i, (low, high) in enumerate(spans)
            if high - low >= MIN_INTRON_BP
        ]

    def below(self, position: int) -> int:
        """Exonic bases on the forward strand below a position."""
        exon = bisect_right(self.starts, position) - 1
        return 0 if exon < 0 else self.before[exon] + min(position, self.ends[exon]) - self.starts[exon]

    def exon_of_insertion(self, position: int) -> int:
        """Exon (by position) that an insertion belongs to; -1 = none."""
        exon = bisect_right(self.starts, position) - 1
        if exon < 0 or position > self.ends[exon]:
            return -1
        if position == self.starts[exon]:
            return exon if exon else -1
        return exon if position < self.ends[exon] or exon < len(self.ends) - 1 else -1


@dataclass(frozen=True)
class Change:
    """One edit of the RNA: replace [start, end) by `bases`; an insertion has an empty span."""

    start: int
    end: int
    bases: Codes

    def touches(self, low: int, high: int) -> bool:
        """Whether it changes a base of [low, high), or inserts strictly inside."""
        if self.start == self.end:
            return low < self.start < high
        return self.start < high and self.end > low


@dataclass(frozen=True)
class Product:
    """What a transcript makes.

    Attributes:
        rna: Base codes, 5' to 3'.
        junctions: Positions at which a new exon begins, 0 left out.
        cds_start: In the RNA; -1 = none.
        cds_end: Behind the stop codon, if there is one.
        phase: Bases of the CDS before its first whole codon.
        protein: Residues without stop; None = no protein.
        has_stop: Whether the protein ends at a stop codon.
    """

    rna: Codes
    junctions: npt.NDArray[np.int32]
    cds_start: int
    cds_end: int
    phase: int
    protein: Codes | None
    has_stop: bool

    def triggers_nmd(self, distance: int) -> bool:
        """Whether the stop codon ends more than `distance` bases before the last junction (the 50-55 nt rule)."""
        return self.has_stop and len(self.junctions) > 0 and int(self.junctions[-1]) - self.cds_end > distance


def changes_of(structure: Structure, edits: Sequence[Edit]) -> list[Change]:
    """Edits of the RNA that edits of the chromosome make, sorted, 5' to 3'."""
    found = []
    for edit in edits:
        if edit.is_insertion:
            if structure.exon_of_insertion(edit.start) < 0:
                continue
            low = high = structure.below(edit.start)
            bases = edit.bases
        else:
            low, high = structure.below(edit.start), structure.below(edit.end)
            if low == high:
                continue
            bases = _exonic(structure, edit) if len(edit.bases) else edit.bases
        if structure.minus:
            length = structure.before[-1]
            low, high, bases = length - high, length - low, reverse_complement(bases)
        found.append(Change(low, high, bases))
    return sorted(found, key=lambda change: (change.start, change.end))


def _exonic(structure: Structure, edit: Edit) -> Codes:
    """Bases of a substitution that lie in exons."""
    parts = [
        edit.bases[max(low, edit.start) - edit.start : min(high, edit.end) - edit.start]
        for low, high in zip(structure.starts, structure.ends, strict=True)
        if low < edit.end and high > edit.start
    ]
    return np.concatenate(parts)


def changed_rna(rna: Codes, changes: Sequence[Change]) -> Codes:
    """The RNA with sorted changes made."""
    pieces, at = [], 0
    for change in changes:
        pieces += [rna[at : change.start], change.bases]
        at = change.end
    return np.concatenate([*pieces, rna[at:]])


def moved(position: int, changes: Sequence[Change], after: bool = False) -> int:
    """Where the point in front of base `position` lies in the changed RNA; `after` as in `edits.new_position`."""
    found = position
    for change in changes:
        if change.start == change.end:
            if change.start < position or (after and change.start == position):
                found += len(change.bases)
        elif not len(change.bases):
            found -= max(0, min(change.end, position) - change.start)
    return found


def exon_lengths(structure: Structure, edits: Sequence[Edit]) -> list[int]:
    """Length of every exon after the edits, by position on the forward strand."""
    lengths = [high - low for low, high in zip(structure.starts, structure.ends, strict=True)]
    for edit in edits:
        if edit.is_insertion:
            exon = structure.exon_of_insertion(edit.start)
            if exon >= 0:
                lengths[exon] += len(edit.bases)
        elif not len(edit.bases):
            first = max(bisect_right(structure.starts, edit.start) - 1, 0)
            for exon in range(first, len(lengths)):
                if structure.starts[exon] >= edit.end:
                    break
                shared = min(edit.end, structure.ends[exon]) - max(edit.start, structure.starts[exon])
                lengths[exon] -= max(0, shared)
    return lengths


def junctions_of(lengths: Sequence[int]) -> npt.NDArray[np.int32]:
    """Positions at which exons of the given lengths (5' to 3') begin, without 0, the end and repeats."""
    ends = np.cumsum(np.array(lengths, dtype=np.int64))
    inner = np.unique(ends[:-1])
    kept: npt.NDArray[np.int32] = inner[(inner > 0) & (inner < ends[-1])].astype(np.int32)
    return kept


@dataclass(frozen=True)
class Reading:
    """A translation: residues before the first stop, and whether there is one."""

    protein: Codes
    has_stop: bool


def read_protein(
    structure: Structure, rna: Codes, start: int, limit: int, cds_end: int = -1, same_to: int = 0
) -> Reading:
    """Translate from a base on to the first stop codon, or as far as the codons before `limit` go.

    Args:
        structure: Gives genetic code and flags; in-frame TGA of a selenoprotein reads U before `cds_end - 3`, and
            out of frame before `same_to`.
        rna: The bases.
        start: First base of the first codon.
        limit: End of what is read.
        cds_end: End of the annotated CDS in these bases; for the codes in which a stop is one at the end alone.
        same_to: Base up to which these bases are those of the reference.
    """
    n = max(0, limit - start) // 3
    if not n:
        return Reading(np.empty(0, dtype=np.uint8), False)
    part = rna[start : start + 3 * n]
    index = part[0::3] * np.uint8(25) + part[1::3] * np.uint8(5) + part[2::3]
    residues: Codes = codon_amino_acids(structure.table)[index]
    last = (cds_end - start) // 3 - 1
    in_frame = (cds_end - start) % 3 == 0 and 0 <= last < n
    if structure.flags & FLAG_SELENOCYSTEINE:
        whole = last if in_frame else max(0, same_to - start) // 3
        inner = residues[:whole]
        inner[(index[:whole] == _TGA) & (inner == AMINO_ACID_STOP)] = AMINO_ACID_U
    if in_frame and final_stop_codons(structure.table)[index[last]]:
        residues[last] = AMINO_ACID_STOP
    if not structure.flags & FLAG_INCOMPLETE_5 and start_codons(structure.table)[index[0]]:
        residues[0] = _MET
    stops = residues == AMINO_ACID_STOP
    first = int(stops.argmax())
    return Reading(residues[:first], True) if stops[first] else Reading(residues, False)


def find_start(structure: Structure, rna: Codes, changes: Sequence[Change]) -> int:
    """Where the CDS begins in the changed RNA; -1 if its start codon is lost.

    A start codon that is changed is kept if three bases read as it (or ATG) still stand at its first base, or end
    where its last base ends, as when an insertion repeats its neighbours.
    """
    begin = structure.cds_start
    if not any(change.touches(begin, begin + 3) for change in changes):
        return moved(begin, changes, after=True)
    if structure.phase or structure.flags & (FLAG_INCOMPLETE_5 | FLAG_NO_START):
        return moved(begin, changes, after=True)
    letters = codon_amino_acids(structure.table)
    same = {int(letters[_codon(structure.rna, begin)]), _MET}
    for place in (moved(begin, changes, after=True), moved(begin + 3, changes) - 3):
        if 0 <= place <= len(rna) - 3:
            codon = _codon(rna, place)
            if start_codons(structure.table)[codon] and int(letters[codon]) in same:
                return place
    return -1


def _codon(rna: Codes, at: int) -> int:
    return 25 * int(rna[at]) + 5 * int(rna[at + 1]) + int(rna[at + 2])
