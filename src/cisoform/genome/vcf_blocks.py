"""A VCF file in blocks of alleles, so that memory does not grow with the file.

Without genotypes a block ends behind any record. With genotypes it ends only where no transcript is in reach of alleles
on both sides, so that a haplotype is never cut in two where it matters; the file must be sorted then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_text
from cisoform.genome.genotypes import GenotypeReader, Genotypes
from cisoform.genome.touched import Spans
from cisoform.genome.variants import Allele, iterate_records

ReachEnd = Callable[[str, int], int]


@dataclass
class Block:
    """Alleles that follow one another in a file, with their genotypes where these are read."""

    alleles: list[Allele] = field(default_factory=list)
    genotypes: Genotypes = field(default_factory=Genotypes)


def count_alleles(path: PathLike) -> int:
    """Number of alleles, after every line of the file was looked at.

    Raises:
        InputError: As `variants.read_vcf`.
    """
    with open_text(path, "VCF file") as handle:
        n = sum(len(record.alleles) for record in iterate_records(path, handle))
    if not n:
        raise InputError(f"{path}: holds no variants; it has a header alone")
    return n


def read_blocks(path: PathLike, size: int, reach_end: ReachEnd | None = None) -> Iterator[Block]:
    """Blocks of at least `size` alleles; the last may be smaller.

    Args:
        path: The file.
        size: Alleles of a block.
        reach_end: Read genotypes too: gives, for a chromosome of the file and a position, up to where transcripts
            may lie that a change at that position reaches (`Gaps.end`). None = no genotypes.

    Raises:
        InputError: As `variants.read_vcf`; with genotypes also as `GenotypeReader`, and if the file is not sorted.
    """
    reader, order, block, end = GenotypeReader(path), _Order(path), Block(), -1
    with open_text(path, "VCF file") as handle:
        for record in iterate_records(path, handle):
            if not record.alleles:
                if reach_end is not None:
                    reader.header(record.line, record.text)
                continue
            first = record.alleles[0]
            cut = True
            if reach_end is not None:
                if order.begins(first):
                    end = -1
                cut = first.position > end
                end = max(end, reach_end(first.chrom, first.position + len(first.ref)))
            if cut and len(block.alleles) >= size:
                yield block
                block = Block()
            if reach_end is not None:
                reader.add(record.text, record.alleles, len(block.alleles), block.genotypes)
            block.alleles += record.alleles
    if block.alleles:
        yield block


@dataclass
class _Order:
    """Watches that records come sorted by chromosome and position."""

    path: PathLike
    done: set[str] = field(default_factory=set)
    chrom: str | None = None
    position: int = -1

    def begins(self, allele: Allele) -> bool:
        """Whether a record is the first of its chromosome.

        Raises:
            InputError: If it should have come before.
        """
        new = allele.chrom != self.chrom
        if allele.chrom in self.done or (not new and allele.position < self.position):
            raise InputError(
                f"{self.path}: line {allele.line}: {allele.key} comes too late; --haplotypes needs a sorted file "
                "(bcftools sort)"
            )
        if new and self.chrom is not None:
            self.done.add(self.chrom)
        self.chrom, self.position = allele.chrom, allele.position
        return new


class Gaps:
    """Stretches of chromosomes that transcripts reach, and the gaps between them."""

    def __init__(self, chroms: list[str], spans: Spans) -> None:
        """Merge spans.

        Args:
            chroms: Names of the numbered chromosomes.
            spans: What each transcript reaches.
        """
        self._merged: dict[str, tuple[list[int], list[int]]] = {}
        for number, name in enumerate(chroms):
            rows = np.flatnonzero(spans.chrom == number)
            rows = rows[np.argsort(spans.start[rows], kind="stable")]
            if not len(rows):
                continue
            starts, reached = spans.start[rows], np.maximum.accumulate(spans.end[rows])
            first = np.concatenate([[True], starts[1:] > reached[:-1] + 2])
            last = np.concatenate([first[1:], [True]])
            self._merged[name] = ((starts[first] - 1).tolist(), (reached[last] + 1).tolist())

    def end(self, chrom: str, position: int) -> int:
        """Up to where the stretch reaches that holds a position; the position itself in a gap."""
        if chrom not in self._merged:
            return position
        starts, ends = self._merged[chrom]
        stretch = bisect_right(starts, position) - 1
        return max(position, ends[stretch]) if stretch >= 0 else position
