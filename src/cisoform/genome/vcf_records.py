"""What becomes of every allele of a VCF file on a genome: usable, or why not. Nothing is dropped in silence."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_text
from cisoform.genome.interval import Interval
from cisoform.genome.names import map_chromosomes
from cisoform.genome.variants import Allele, reference_mismatch

Codes = npt.NDArray[np.uint8]
Fetch = Callable[[Interval], Codes]

USABLE = "scored"
UNKNOWN_CHROMOSOME, BEYOND = "unknown chromosome", "beyond the chromosome"
MISMATCH, ASSEMBLY = "REF mismatch", "other assembly"
NO_CHANGE, REPEATED = "no change", "repeated"
NO_TRANSCRIPT, OVERLAP = "no transcript in reach", "overlaps on every haplotype"
UNCARRIED, UNPHASED, NO_GENOTYPES = "carried by no sample", "unphased", "no genotypes"
REMEMBERED = 100_000
"""Usable alleles before one among which its repeat is looked for, so that memory does not grow with the file."""
_ID, _LENGTH = re.compile(r"[<,]ID=([^,>]+)"), re.compile(r"[<,]length=(\d{1,18})[,>]")


@dataclass
class Records:
    """Alleles of a file, under the genome's names of chromosomes, with their state.

    Attributes:
        read: As in the file.
        alleles: With the genome's names.
        status: `USABLE`, or why an allele is left out.
        detail: More about it, as text.
    """

    read: list[Allele]
    alleles: list[Allele]
    status: list[str]
    detail: list[str]

    def refuse(self, number: int, status: str, detail: str = "") -> None:
        """Leave an allele out."""
        self.status[number], self.detail[number] = status, detail

    @property
    def usable(self) -> list[int]:
        """Indices of alleles that can be used."""
        return [number for number, status in enumerate(self.status) if status == USABLE]


def contig_lengths(path: PathLike) -> dict[str, int]:
    """Lengths of chromosomes that the header of a VCF file states."""
    found: dict[str, int] = {}
    with open_text(path, "VCF file") as handle:
        for line in handle:
            if not line.startswith("##"):
                break
            name, length = _ID.search(line), _LENGTH.search(line)
            if line.startswith("##contig=<") and name and length:
                found[name[1]] = int(length[1])
    return found


@dataclass
class Checker:
    """Compares alleles with a genome, block by block.

    Attributes:
        lengths: Chromosomes of the genome.
        stated: Chromosomes by the header of the file (`contig_lengths`).
        fetch: Reads the genome.
    """

    lengths: Mapping[str, int]
    stated: Mapping[str, int]
    fetch: Fetch
    _names: dict[str, str] = field(default_factory=dict)
    _seen: OrderedDict[tuple[str, int, str, str], int] = field(default_factory=OrderedDict)

    def name(self, chrom: str) -> str:
        """What the genome calls a chromosome of the file; the same name where it has none."""
        if chrom not in self._names:
            try:
                self._names |= map_chromosomes([chrom], self.lengths).names
            except InputError:
                self._names[chrom] = chrom
        return self._names[chrom]

    def check(self, read: Sequence[Allele]) -> Records:
        """The next alleles of the file with their states."""
        alleles = [replace(allele, chrom=self.name(allele.chrom)) for allele in read]
        records = Records(list(read), alleles, [USABLE] * len(alleles), [""] * len(alleles))
        for number, (allele, raw) in enumerate(zip(alleles, read, strict=True)):
            status, detail = self._state(allele, raw)
            if status == USABLE:
                status, detail = self._repeat(allele)
            records.refuse(number, status, detail)
        return records

    def _repeat(self, allele: Allele) -> tuple[str, str]:
        key = (allele.chrom, *allele.trimmed())
        if key in self._seen:
            return REPEATED, f"the same change stands at line {self._seen[key]}"
        self._seen[key] = allele.line
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return USABLE, ""

    def _state(self, allele: Allele, raw: Allele) -> tuple[str, str]:
        length = self.lengths.get(allele.chrom)
        if length is None:
            some = ", ".join(list(self.lengths)[:3])
            return UNKNOWN_CHROMOSOME, f"the genome has no {raw.chrom[:40]!r}; it has {some}"
        if self.stated.get(raw.chrom, length) != length:
            return ASSEMBLY, (
                f"{raw.chrom} has {self.stated[raw.chrom]:,} bases by the header of the file, {length:,} in the genome"
            )
        if allele.problem:
            return allele.problem, (
                f"REF {raw.ref[:20]}, ALT {raw.alt[:20]} needs bases A, C, G, T: write the change out"
            )
        end = allele.position + len(allele.ref)
        if end > length:
            return BEYOND, f"ends at {end:,}, {allele.chrom} has {length:,} bases"
        if allele.ref == allele.alt:
            return NO_CHANGE, "REF and ALT are the same"
        bases = self.fetch(Interval(allele.chrom, allele.position, end))
        wrong = reference_mismatch(allele, bases, allele.position)
        return (MISMATCH, wrong) if wrong else (USABLE, "")
