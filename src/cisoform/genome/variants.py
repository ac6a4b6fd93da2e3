"""Variants from a VCF file, allele by allele, and what an allele makes of a window of DNA.

Only the columns CHROM, POS, ID, REF and ALT are read; genotypes and filters are not. Positions are 0-based here. An
allele that cannot be written as bases (symbolic, breakend, `*`, `.`, IUPAC letters) is kept with the reason, so that
a report can name it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_text
from cisoform.genome.sequence import BASE_N, encode_dna

Codes = npt.NDArray[np.uint8]

_COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT")
_BASES = re.compile(r"[ACGTacgt]+")
_LETTERS = re.compile(r"[A-Za-z]+")
_SHOWN_BASES = 30
_MOST_DIGITS = 18


@dataclass(frozen=True)
class Allele:
    """One alternative allele of one record.

    Attributes:
        line: Line of the file.
        chrom: As in the file.
        position: First base of REF, 0-based.
        name: ID of the record; empty where it is `.`.
        ref: Upper case, as in the file.
        alt: Upper case, as in the file.
        problem: Why it cannot be used, or empty: "symbolic allele" or "unknown base".
    """

    line: int
    chrom: str
    position: int
    name: str
    ref: str
    alt: str
    problem: str = ""

    @property
    def key(self) -> str:
        """chrom:pos:ref:alt with the 1-based position of the file; long alleles are cut."""
        ref, alt = (
            text[:_SHOWN_BASES] + ("..." if text[_SHOWN_BASES:] else "") for text in (self.ref, self.alt)
        )
        return f"{self.chrom}:{self.position + 1}:{ref}:{alt}"

    def trimmed(self) -> tuple[int, str, str]:
        """Position, REF and ALT without the bases that both have at the end, then at the beginning.

        AT>A at 10 becomes T> at 11 (a deletion), A>AT an insertion in front of base 11; REF and ALT may be empty.
        """
        ref, alt = self.ref, self.alt
        while ref and alt and ref[-1] == alt[-1]:
            ref, alt = ref[:-1], alt[:-1]
        same = 0
        while same < min(len(ref), len(alt)) and ref[same] == alt[same]:
            same += 1
        return self.position + same, ref[same:], alt[same:]


def read_vcf(path: PathLike) -> list[Allele]:
    """Every alternative allele of a VCF file (gzip or not), in the order of the file.

    Raises:
        InputError: With the line: no `#CHROM` header, a record of fewer than five columns, a position that is no
            whole number from 1, an empty REF or ALT, a file without records.
    """
    with open_text(path, "VCF file") as handle:
        found = [allele for record in iterate_records(path, handle) for allele in record.alleles]
    if not found:
        raise InputError(f"{path}: holds no variants; it has a header alone")
    return found


class Record(NamedTuple):
    """A line of a VCF file with its alternative alleles; the `#CHROM` line is one without alleles."""

    line: int
    text: str
    alleles: list[Allele]


def iterate_records(path: PathLike, lines: Iterable[str]) -> Iterator[Record]:
    """The header line and the records of a VCF file, one line at a time.

    Args:
        path: Name of the file, for messages.
        lines: All of its lines.

    Raises:
        InputError: As `read_vcf`, but that it does not mind a file without records.
    """
    header = False
    for number, text in enumerate(lines, 1):
        line = text.rstrip("\n")
        if not line.strip() or line.startswith("##"):
            continue
        if number == 1 and line.startswith("BCF\2"):
            raise InputError(f"{path}: is BCF, the binary form; write it as VCF: bcftools view -O z")
        fields = line.split("\t")
        if line.startswith("#"):
            header = True
            if tuple(fields[:5]) != _COLUMNS:
                raise InputError(
                    f"{path}: line {number}: the header begins {' '.join(fields[:5])[:60]!r}, expected the columns "
                    f"{' '.join(_COLUMNS)} with tabs between them"
                )
            yield Record(number, line, [])
            continue
        if not header:
            raise InputError(f"{path}: line {number}: a record before the #CHROM header; is this a VCF file?")
        if len(fields) < len(_COLUMNS):
            raise InputError(
                f"{path}: line {number}: {line[:40]!r} has {len(fields)} columns, expected at least 5 with tabs "
                "between them"
            )
        yield Record(number, line, list(_alleles(path, number, fields)))


def _alleles(path: PathLike, number: int, fields: list[str]) -> Iterator[Allele]:
    chrom, place, name, ref, alts = fields[:5]
    if not (place.isascii() and place.isdigit() and len(place) <= _MOST_DIGITS and int(place) > 0):
        raise InputError(f"{path}: line {number}: POS {place[:20]!r} is no whole number from 1 to 10^18")
    if not ref or not alts or "" in alts.split(","):
        raise InputError(f"{path}: line {number}: REF {ref[:20]!r} or ALT {alts[:20]!r} is empty")
    for alt in alts.split(","):
        problem = _problem(ref) or _problem(alt)
        yield Allele(
            line=number,
            chrom=chrom,
            position=int(place) - 1,
            name="" if name == "." else name,
            ref=ref.upper(),
            alt=alt.upper(),
            problem=problem,
        )


def _problem(text: str) -> str:
    if _BASES.fullmatch(text):
        return ""
    return "unknown base" if _LETTERS.fullmatch(text) else "symbolic allele"


def overlaps(allele: Allele, start: int, end: int) -> bool:
    """Whether an allele changes an interval: a changed base lies in it, or an insertion between two of its bases."""
    first, ref, _ = allele.trimmed()
    return first < end and (first + len(ref) > start if ref else first > start)


def reference_mismatch(allele: Allele, bases: Codes, start: int) -> str:
    """What the reference has where it is not REF; empty where they agree. Unknown bases (N) agree with all.

    Args:
        allele: With bases.
        bases: Codes of the reference from `start` on; what of REF lies beside them is not compared.
        start: Position of the first of them.
    """
    ref = encode_dna(allele.ref)
    low, high = max(allele.position, start), min(allele.position + len(ref), start + len(bases))
    if low >= high:
        return ""
    found, said = bases[low - start : high - start], ref[low - allele.position : high - allele.position]
    wrong = np.flatnonzero((found != said) & (found != BASE_N))
    if not len(wrong):
        return ""
    at = low + int(wrong[0])
    return f"REF has {'ACGTN'[said[wrong[0]]]} at {at + 1}, the reference {'ACGTN'[found[wrong[0]]]}"


def alternate_window(allele: Allele, window: Codes, start: int, left: Codes, right: Codes) -> Codes:
    """The window with the allele in place of the reference, as long as before and round the same middle base.

    Indels shift what lies beyond them away from the middle, or draw bases in from beyond the window; where the middle
    base itself is gone, the base that follows the deletion takes its place (of a longer replacement, the base at the
    same offset, or its last).

    Args:
        allele: Overlaps the window.
        window: Codes of the reference.
        start: Position of its first base.
        left: At least as many codes of what lies before it as REF has bases without those it shares with ALT.
        right: Likewise of what lies behind it.
    """
    first, ref, alt = allele.trimmed()
    place = first - start + len(left)
    whole = np.concatenate([left, window, right])
    changed = np.concatenate([whole[:place], encode_dna(alt), whole[place + len(ref) :]])
    half = len(window) // 2
    middle, last = start + half, first + len(ref)
    if first > middle:
        centre = half + len(left)
    elif last <= middle:
        centre = half + len(left) + len(alt) - len(ref)
    else:
        centre = place + min(middle - first, max(len(alt) - 1, 0))
    found: Codes = changed[centre - half : centre - half + len(window)]
    return found
