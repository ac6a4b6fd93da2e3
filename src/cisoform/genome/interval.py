"""Spans on a chromosome: 0-based, half-open, stranded; the one coordinate convention of the package.

Files that count from 1 (GTF, GFF3, VCF) are converted on reading, once. An interval may reach past either
end of its chromosome (`start < 0`): readers of sequence fill what is not there with N.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from cisoform.errors import InputError

STRANDS = ("+", "-")
_REGION = re.compile(r"^(?P<chrom>\S+?):(?P<start>[\d,]+)-(?P<end>[\d,]+)(?::?(?P<strand>[+-]))?$")


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """`end - start` bases of one chromosome, starting at 0-based position `start` of the forward strand.

    `strand` says how the bases are read: on '-' they are the reverse complement of the forward strand. An
    empty interval (`start == end`) is allowed, a negative length is not.
    """

    chrom: str
    start: int
    end: int
    strand: str = "+"

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"interval {self.chrom}:{self.start}-{self.end} ends before it starts")
        if self.strand not in STRANDS:
            raise ValueError(
                f"strand {self.strand!r} of {self.chrom}:{self.start}-{self.end} is not '+' or '-'"
            )

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start + 1}-{self.end}:{self.strand}"

    @classmethod
    def window(cls, chrom: str, center: int, length: int, strand: str = "+") -> Interval:
        """`length` bases round position `center`, as read on `strand`.

        In reading direction the window has `length // 2` bases before `center`, then `center` itself, then
        the rest: on either strand, `center` is at offset `length // 2` of the sequence read.
        """
        before = length // 2
        start = center - before if strand == "+" else center + 1 - (length - before)
        return cls(chrom, start, start + length, strand)

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read the 1-based closed `chrom:start-end` of genome browsers, with or without `:+` or `:-`.

        Raises:
            InputError: If the text has another form, starts at 0 or ends before it starts.
        """
        found = _REGION.match(text.strip())
        if found is None:
            raise InputError(
                f"region {text!r} is not of the form chrom:start-end, e.g. chr1:1,001-2,000 or chr1:5-9:-"
            )
        start, end = (int(found[key].replace(",", "") or 0) for key in ("start", "end"))
        if start < 1 or end < start:
            raise InputError(f"region {text!r}: positions count from 1 and the end is not before the start")
        return cls(found["chrom"], start - 1, end, found["strand"] or "+")

    @property
    def length(self) -> int:
        """Number of bases."""
        return self.end - self.start

    @property
    def center(self) -> int:
        """The position at offset `length // 2` in reading direction; inverse of `window`."""
        half = self.length // 2
        return self.start + half if self.strand == "+" else self.end - 1 - half

    def overlaps(self, other: Interval) -> bool:
        """Whether the two share at least one position of one chromosome; strands do not matter."""
        return self.overlap(other) > 0

    def overlap(self, other: Interval) -> int:
        """Number of positions shared with `other`; strands do not matter."""
        if self.chrom != other.chrom:
            return 0
        return max(0, min(self.end, other.end) - max(self.start, other.start))

    def contains(self, other: Interval | int) -> bool:
        """Whether all of `other` (an interval, or a position of the same chromosome) lies inside."""
        if isinstance(other, int):
            return self.start <= other < self.end
        return self.chrom == other.chrom and self.start <= other.start and other.end <= self.end

    def intersect(self, other: Interval) -> Interval | None:
        """The shared span with this interval's strand, or None."""
        if not self.overlaps(other):
            return None
        return replace(self, start=max(self.start, other.start), end=min(self.end, other.end))

    def shift(self, bases: int) -> Interval:
        """Moved by `bases` downstream as read on its strand (upstream if negative)."""
        step = bases if self.strand == "+" else -bases
        return replace(self, start=self.start + step, end=self.end + step)

    def expand(self, upstream: int, downstream: int | None = None) -> Interval:
        """Longer by `upstream` bases before and `downstream` after it as read (None = as upstream)."""
        downstream = upstream if downstream is None else downstream
        left, right = (upstream, downstream) if self.strand == "+" else (downstream, upstream)
        return replace(self, start=self.start - left, end=self.end + right)

    def clip(self, chrom_length: int) -> Interval:
        """The part that lies on a chromosome of this length (empty if none does)."""
        start = min(max(self.start, 0), chrom_length)
        return replace(self, start=start, end=max(start, min(self.end, chrom_length)))

    def flip(self) -> Interval:
        """The same span on the other strand."""
        return replace(self, strand="-" if self.strand == "+" else "+")
