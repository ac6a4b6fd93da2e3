"""Random variants at what matters in a transcript: codons, borders of exons, starts, stops, ends, whole exons."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.genome.naive_variants import PAIRED, Gene

LENGTHS = (1, 1, 2, 3, 3, 4, 5, 6, 9, 12)


def generate(
    rng: random.Random, chromosome: str, gene: Gene, n: int, introns: bool = True
) -> Iterator[tuple[int, str, str]]:
    """Position (0-based), REF and ALT of `n` variants of a gene."""
    makers = [_anywhere, _at_border, _at_border, _at_end, _whole]
    if gene.cds is not None:
        makers += [_in_cds, _in_cds, _at_start, _at_stop, _other_stop, _repeated_start, _codon, _codon]
    made = 0
    while made < n:
        found = _written(chromosome, *rng.choice(makers)(rng, chromosome, gene))
        if found is not None:
            made += 1
            yield found


def _written(chromosome: str, start: int, end: int, bases: str) -> tuple[int, str, str] | None:
    """A change as VCF writes it: with the base before where one side is empty."""
    if start < 1 or end > len(chromosome) or chromosome[start:end] == bases:
        return None
    if "N" in chromosome[start - 1 : end]:
        return None
    if start == end or not bases:
        return start - 1, chromosome[start - 1 : end], chromosome[start - 1] + bases
    return start, chromosome[start:end], bases


def _change(rng: random.Random, chromosome: str, at: int) -> tuple[int, int, str]:
    kind = rng.choice(("snv", "snv", "insertion", "deletion", "mnv", "delins"))
    if kind == "snv":
        return at, at + 1, rng.choice([base for base in "ACGT" if base != chromosome[at : at + 1]])
    n = rng.choice(LENGTHS)
    letters = "".join(rng.choice("ACGT") for _ in range(n))
    if kind == "insertion":
        return at, at, letters
    start = at - rng.randrange(n)
    if kind == "deletion":
        return start, start + n, ""
    if kind == "mnv":
        return start, start + n, letters
    return start, start + rng.choice(LENGTHS), letters


def _anywhere(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    return _change(rng, chromosome, rng.randrange(gene.exons[0][0], gene.exons[-1][1]))


def _at_end(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    end = rng.choice((gene.exons[0][0], gene.exons[-1][1]))
    return _change(rng, chromosome, end + rng.randrange(-4, 5))


def _at_border(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    borders = [x for exon in gene.exons for x in exon][1:-1]
    if not borders:
        return _anywhere(rng, chromosome, gene)
    return _change(rng, chromosome, rng.choice(borders) + rng.randrange(-10, 11))


def _whole(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    """All of an exon, an intron or the transcript goes, and some bases beside it."""
    spans = [*gene.exons, (gene.exons[0][0], gene.exons[-1][1])]
    spans += [(a[1], b[0]) for a, b in zip(gene.exons, gene.exons[1:], strict=False)]
    start, end = rng.choice(spans if rng.random() < 0.6 else [(gene.exons[0][0], gene.exons[-1][1])])
    return start - rng.randrange(3), end + rng.randrange(3), ""


def _exonic_cds(gene: Gene) -> list[int]:
    assert gene.cds is not None
    cds = [i for s, e in gene.exons for i in range(max(s, gene.cds[0]), min(e, gene.cds[1]))]
    return cds if gene.strand == "+" else cds[::-1]


def _in_cds(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    return _change(rng, chromosome, rng.choice(_exonic_cds(gene)))


def _at_start(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    return _change(rng, chromosome, _exonic_cds(gene)[0] + rng.randrange(-3, 4))


def _at_stop(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    return _change(rng, chromosome, _exonic_cds(gene)[-1] + rng.randrange(-5, 6))


def _repeated_start(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    """An insertion inside of the start codon that leaves one behind it, on either strand."""
    first = _exonic_cds(gene)[0]
    letters = "".join(rng.choice("ACGT") for _ in range(rng.randrange(4))) + "A"
    if gene.strand == "+":
        return first + 1, first + 1, letters
    return first, first, letters[::-1].translate(PAIRED)


def _other_stop(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    """Another stop codon, or any bases, in place of the last codon."""
    last = _exonic_cds(gene)[-3:]
    codon = rng.choice(("TAA", "TAG", "TGA", "TGG"))
    if abs(last[0] - last[-1]) != 2:
        return _at_stop(rng, chromosome, gene)
    return min(last), min(last) + 3, codon if gene.strand == "+" else codon[::-1].translate(PAIRED)


def _codon(rng: random.Random, chromosome: str, gene: Gene) -> tuple[int, int, str]:
    """A third base changes, or a stop stands in place of a codon or in front of it."""
    cds = _exonic_cds(gene)
    at = 3 * rng.randrange(1, len(cds) // 3 - 1)
    if rng.random() < 0.5:
        return cds[at + 2], cds[at + 2] + 1, rng.choice("ACGT")
    if abs(cds[at] - cds[at + 2]) != 2:
        return _in_cds(rng, chromosome, gene)
    stop = rng.choice(("TAA", "TAG", "TGA"))
    start, stop = (cds[at], stop) if gene.strand == "+" else (cds[at + 2], stop[::-1].translate(PAIRED))
    return (start, start + 3, stop) if rng.random() < 0.5 or gene.strand == "-" else (start, start, stop)
