"""Haplotypes of a VCF file: which alternative alleles stand together on one chromosome of one sample.

Phased genotypes (`0|1`) give haplotypes within their phase set (`PS`; one for all where there is none); an allele on
all chromosomes of a sample (`1/1`, `1`) needs no phase. Other unphased genotypes are kept apart and named, and so are
records without genotypes, as callers of structural variants write them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cisoform.errors import InputError
from cisoform.genome.files import PathLike
from cisoform.genome.variants import Allele

_FIXED = 9


@dataclass(frozen=True)
class Carrier:
    """One chromosome of one sample, or a phased part of it."""

    sample: str
    copy: int
    phase_set: str = ""

    def __str__(self) -> str:
        return f"{self.sample}|{self.copy + 1}" + (f"@{self.phase_set}" if self.phase_set else "")


Copy = tuple[str, int]
"""A sample and the number of one of its chromosomes, from 0."""


@dataclass
class Genotypes:
    """Calls of some alleles.

    Attributes:
        carried: Of every chromosome of a sample: allele and its phase set; None = on all chromosomes of the sample.
        unphased: Samples by index of an allele in which its phase is not known.
        without: Why an allele has no genotypes at all, by its index.
    """

    carried: dict[Copy, list[tuple[int, str | None]]] = field(default_factory=dict)
    unphased: dict[int, list[str]] = field(default_factory=dict)
    without: dict[int, str] = field(default_factory=dict)


@dataclass
class GenotypeReader:
    """Reads the genotypes of one file, record by record.

    Attributes:
        path: The file, for messages.
        samples: Names of its samples, once the header was seen.
    """

    path: PathLike
    samples: list[str] = field(default_factory=list)

    def header(self, line: int, text: str) -> None:
        """Take the `#CHROM` line.

        Raises:
            InputError: If the file has no samples, or two of one name.
        """
        self.samples = text.rstrip("\n").split("\t")[_FIXED:]
        if not self.samples:
            raise InputError(f"{self.path}: line {line}: no sample columns; --haplotypes needs genotypes")
        twice = next((name for name, count in Counter(self.samples).items() if count > 1), None)
        if twice is not None:
            raise InputError(
                f"{self.path}: line {line}: two samples are named {twice!r}; give each its own name"
            )

    def add(self, text: str, alleles: Sequence[Allele], first: int, into: Genotypes) -> None:
        """Take the calls of one record.

        Args:
            text: Its line.
            alleles: Its alternative alleles.
            first: Index of the first of them among the alleles of `into`.
            into: Where they go.

        Raises:
            InputError: With the line: a missing column, a genotype that is not of the form 0|1, or one that names an
                allele that the record does not have.
        """
        line, fields = alleles[0].line, text.rstrip("\n").split("\t")
        self._check_columns(line, fields)
        if "GT" not in fields[_FIXED - 1].split(":"):
            said = f"FORMAT {fields[_FIXED - 1][:40]!r} has no GT"
            into.without.update(dict.fromkeys(range(first, first + len(alleles)), said))
            return
        for sample, call, phase_set in self._calls(fields):
            parts = call.replace("/", "|").split("|")
            carried = [self._allele(part, call, sample, line, len(alleles)) for part in parts]
            numbers = [first + number - 1 for number in carried]
            if not any(carried):
                continue
            if len(set(carried)) == 1:
                for copy, number in enumerate(numbers):
                    into.carried.setdefault((sample, copy), []).append((number, None))
                continue
            if "/" in call:
                for number in sorted({number for number in numbers if number >= first}):
                    into.unphased.setdefault(number, []).append(sample)
                continue
            for copy, number in enumerate(numbers):
                if number >= first:
                    into.carried.setdefault((sample, copy), []).append((number, phase_set))

    def _check_columns(self, line: int, fields: list[str]) -> None:
        expected = _FIXED + len(self.samples)
        if len(fields) != expected:
            raise InputError(
                f"{self.path}: line {line}: {len(fields)} columns, expected {expected} (one genotype a sample)"
            )

    def _calls(self, fields: list[str]) -> list[tuple[str, str, str]]:
        """Sample, GT and PS of every sample of a record."""
        keys = fields[_FIXED - 1].split(":")
        found = []
        for sample, text in zip(self.samples, fields[_FIXED:], strict=True):
            values = dict(zip(keys, text.split(":"), strict=False))
            phase_set = values.get("PS", "")
            # VCF 4.4 may write a sign before the first allele too (`|0|1`).
            call = values.get("GT", ".").removeprefix("/").removeprefix("|")
            found.append((sample, call, "" if phase_set == "." else phase_set))
        return found

    def _allele(self, part: str, call: str, sample: str, line: int, n_alleles: int) -> int:
        """Number of an allele in a genotype; 0 where it is the reference or missing."""
        if part == ".":
            return 0
        if not (part.isascii() and part.isdigit() and len(part) <= 6):
            raise InputError(
                f"{self.path}: line {line}: genotype {call[:20]!r} of {sample!r} is not of the form 0|1"
            )
        if int(part) > n_alleles:
            raise InputError(
                f"{self.path}: line {line}: genotype {call[:20]!r} of {sample!r} names allele {part}, "
                f"ALT has {n_alleles}"
            )
        return int(part)
