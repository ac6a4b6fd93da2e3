"""Changes of a chromosome: what alleles of a VCF file replace, and the sequence with several of them applied.

An allele is cut into atoms, each a substitution of as many bases as it replaces, a deletion or an insertion: of a
replacement of unequal length the first bases are substituted one by one and the rest is deleted or inserted behind
them (our choice, where VCF leaves it open). Atoms are sorted and do not overlap, so they can be applied in one pass.
Positions are 0-based on the forward strand; an insertion at p lies between the bases p - 1 and p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.genome.sequence import encode_dna
from cisoform.genome.variants import Allele

Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Edit:
    """Replace the bases [start, end) by `bases`: as many, none (a deletion), or of an empty span (an insertion)."""

    start: int
    end: int
    bases: Codes

    def __post_init__(self) -> None:
        if len(self.bases) not in (0, self.end - self.start) and self.end != self.start:
            raise ValueError(f"edit of {self.start}-{self.end} by {len(self.bases)} bases is no atom")

    @property
    def is_insertion(self) -> bool:
        """Whether it takes no base away."""
        return self.start == self.end

    @property
    def shift(self) -> int:
        """By how many bases the sequence grows."""
        return len(self.bases) - (self.end - self.start)


def edits_of(allele: Allele) -> tuple[Edit, ...]:
    """Atoms of an allele, at most two; none if REF and ALT are the same."""
    start, ref, alt = allele.trimmed()
    both = min(len(ref), len(alt))
    found = [Edit(start, start + both, encode_dna(alt[:both]))] if both else []
    if len(ref) != len(alt):
        found.append(Edit(start + both, start + len(ref), encode_dna(alt[both:])))
    return tuple(found)


def merged(alleles: Sequence[Sequence[Edit]]) -> tuple[Edit, ...]:
    """Atoms of alleles that do not clash, sorted by position."""
    return tuple(
        sorted((edit for atoms in alleles for edit in atoms), key=lambda edit: (edit.start, edit.end))
    )


def clash(first: Sequence[Edit], second: Sequence[Edit]) -> bool:
    """Whether two alleles cannot stand on one chromosome: they change a base in common, or insert at one place.

    An insertion strictly inside of what the other replaces clashes too; one at its border does not.
    """
    return any(_clash(a, b) for a in first for b in second)


def _clash(a: Edit, b: Edit) -> bool:
    if a.is_insertion and b.is_insertion:
        return a.start == b.start
    return max(a.start, b.start) < min(a.end, b.end) or any(
        one.is_insertion and other.start < one.start < other.end for one, other in ((a, b), (b, a))
    )


def apply_edits(codes: Codes, start: int, edits: Sequence[Edit]) -> Codes:
    """A stretch of a chromosome with edits applied.

    Args:
        codes: Its bases.
        start: Position of the first of them.
        edits: Sorted; what of them lies outside is left out. An insertion at either end of the stretch is outside.
    """
    end = start + len(codes)
    pieces, at = [], start
    for edit in edits:
        if edit.is_insertion:
            if start < edit.start < end:
                pieces += [codes[at - start : edit.start - start], edit.bases]
                at = edit.start
            continue
        low, high = max(edit.start, start), min(edit.end, end)
        if low < high:
            inside = edit.bases[low - edit.start : high - edit.start] if len(edit.bases) else edit.bases
            pieces += [codes[at - start : low - start], inside]
            at = high
    return np.concatenate([*pieces, codes[at - start :]])


def new_position(position: int, edits: Sequence[Edit], after: bool = False) -> int:
    """Where the point in front of base `position` lies once edits are applied.

    Args:
        position: On the chromosome as it was.
        edits: Sorted.
        after: Behind an insertion at the very point, instead of in front of it.
    """
    moved = position
    for edit in edits:
        if edit.is_insertion:
            moved += len(edit.bases) if edit.start < position or (after and edit.start == position) else 0
        elif not len(edit.bases):
            moved -= max(0, min(edit.end, position) - edit.start)
    return moved
