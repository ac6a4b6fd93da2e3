"""Variants in the simulated genome with the effect the rules give them: breaks, gains and controls.

A variant is made in a gene's own coordinates, applied there, and measured by the same rules as the genome; then
it is written in VCF terms (1-based, forward strand, left-aligned). No variant touches a splice site, the frame, a
start or stop codon or a TSS: those are for tests of variant handling, not of expression rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.config import SimulateConfig
from cisoform.data.simulate.genes import FLANK_BP, Codes, Gene, Isoform
from cisoform.data.simulate.genome import PlacedGene, SimulatedGenome, gene_sequences
from cisoform.data.simulate.rules import (
    LOWERING_RESIDUES,
    RAISING_RESIDUES,
    SHARED_MOTIF,
    UTR3_MOTIFS,
    RuleBook,
    Scaling,
)
from cisoform.genome.sequence import (
    AMINO_ACIDS,
    codon_amino_acids,
    decode_dna,
    encode_dna,
    reverse_complement,
)

UORF_INSERT = "GCCACCATGGCTGCCTAA"


@dataclass(frozen=True)
class Edit:
    """Replace local bases [start, end) of a gene by `bases`."""

    start: int
    end: int
    bases: Codes


@dataclass(frozen=True)
class Variant:
    """A variant in VCF terms, what it was made to do, and its effect on log1p TPM by transcript and tissue."""

    chrom: str
    position: int  # 1-based, as in VCF
    ref: str
    alt: str
    kind: str
    gene_id: str
    effects: dict[str, tuple[float, ...]]


def make_variants(
    config: SimulateConfig, genome: SimulatedGenome, book: RuleBook, scaling: Scaling
) -> list[Variant]:
    """About `n_variants` variants, all kinds in turn, sorted by position; at most one per position."""
    rng = np.random.default_rng([config.seed, 4])
    found: dict[tuple[str, int], Variant] = {}
    makers = list(KINDS.items())
    for attempt in range(20 * config.n_variants):
        if len(found) == config.n_variants:
            break
        placed = genome.genes[int(rng.integers(len(genome.genes)))]
        kind, maker = makers[attempt % len(makers)]
        edit = maker(rng, placed.gene)
        if edit is None:
            continue
        effects = _effects(placed, edit, book, scaling)
        position, ref, alt = to_vcf(genome.chromosomes[placed.chrom], placed, edit)
        key = (placed.chrom, position)
        if key not in found:
            found[key] = Variant(placed.chrom, position, ref, alt, kind, placed.gene_id, effects)
    order = {chrom: number for number, chrom in enumerate(genome.chromosomes)}
    return sorted(found.values(), key=lambda variant: (order[variant.chrom], variant.position))


def apply_edit(gene: Gene, edit: Edit) -> Gene:
    """The gene with the edit made and its exons and CDS moved; the edit must lie inside or outside each wholly."""
    shift = len(edit.bases) - (edit.end - edit.start)
    codes = np.concatenate([gene.codes[: edit.start], edit.bases, gene.codes[edit.end :]])

    def move(at: int) -> int:
        return at if at <= edit.start else at + shift

    isoforms = tuple(
        Isoform(
            tuple((move(start), move(end)) for start, end in isoform.exons),
            None if isoform.cds is None else (move(isoform.cds[0]), move(isoform.cds[1])),
            isoform.biotype,
        )
        for isoform in gene.isoforms
    )
    return replace(gene, codes=codes, isoforms=isoforms)


def _effects(
    placed: PlacedGene, edit: Edit, book: RuleBook, scaling: Scaling
) -> dict[str, tuple[float, ...]]:
    before, after = (
        sum(scaling.contributions(book, book.measure(gene_sequences(gene))).values(), np.zeros(1))
        for gene in (placed.gene, apply_edit(placed.gene, edit))
    )
    rows = after - before
    return {
        name: tuple(round(float(value), 9) + 0.0 for value in row)
        for name, row in zip(placed.transcript_ids, rows, strict=True)
    }


def to_vcf(chromosome: Codes, placed: PlacedGene, edit: Edit) -> tuple[int, str, str]:
    """(1-based position, REF, ALT) of an edit on the forward strand; indels left-aligned with an anchor base."""
    start, end = placed.span((edit.start, edit.end))
    alt = edit.bases if placed.strand == "+" else reverse_complement(edit.bases)
    ref = chromosome[start:end]
    if len(ref) == len(alt):
        return start + 1, decode_dna(ref), decode_dna(alt)
    while True:  # left-align: drop a shared last base, add the base before when one side runs out
        if len(ref) and len(alt) and ref[-1] == alt[-1]:
            ref, alt = ref[:-1], alt[:-1]
        elif not len(ref) or not len(alt):
            start -= 1
            anchor = chromosome[start : start + 1]
            ref, alt = np.concatenate([anchor, ref]), np.concatenate([anchor, alt])
        else:
            break
    return start + 1, decode_dna(ref), decode_dna(alt)


def _pick(rng: np.random.Generator, items: list[tuple[int, int]]) -> tuple[int, int] | None:
    return items[int(rng.integers(len(items)))] if items else None


def _substitute(rng: np.random.Generator, gene: Gene, at: int) -> Edit:
    base = (gene.codes[at] + rng.integers(1, 4)) % 4
    return Edit(at, at + 1, np.array([base], dtype=np.uint8))


def _sites(gene: Gene, group: str, acts: bool) -> list[tuple[int, int]]:
    utr3 = {name for name, _ in UTR3_MOTIFS}
    kind = dict.fromkeys(utr3, "utr3") | {"uORF": "uorf"}
    return [
        (e.start, e.end) for e in gene.elements if kind.get(e.name, "promoter") == group and e.acts is acts
    ]


def _break_site(group: str, acts: bool = True) -> Callable[[np.random.Generator, Gene], Edit | None]:
    """One base of a planted site changes."""

    def make(rng: np.random.Generator, gene: Gene) -> Edit | None:
        site = _pick(rng, _sites(gene, group, acts))
        return None if site is None else _substitute(rng, gene, int(rng.integers(*site)))

    return make


def _delete_site(group: str) -> Callable[[np.random.Generator, Gene], Edit | None]:
    """A planted site goes but for its first base."""

    def make(rng: np.random.Generator, gene: Gene) -> Edit | None:
        site = _pick(rng, _sites(gene, group, acts=True))
        return None if site is None else Edit(site[0] + 1, site[1] - 1, np.empty(0, dtype=np.uint8))

    return make


def _gain_promoter(rng: np.random.Generator, gene: Gene) -> Edit | None:
    """A site of the motif that acts in every tissue is inserted in front of the first TSS."""
    at = FLANK_BP - int(rng.integers(60, 190))
    return Edit(at, at, encode_dna(SHARED_MOTIF[1]))


def _gain_utr3(rng: np.random.Generator, gene: Gene) -> Edit | None:
    """A destabilising element is inserted behind a stop codon."""
    coding = [isoform for isoform in gene.isoforms if isoform.cds is not None]
    if not coding:
        return None
    isoform = coding[int(rng.integers(len(coding)))]
    assert isoform.cds is not None
    at = isoform.cds[1] + int(rng.integers(5, 50))
    return Edit(at, at, encode_dna(UTR3_MOTIFS[0][1]))


def _gain_uorf(rng: np.random.Generator, gene: Gene) -> Edit | None:
    """A uORF is inserted in a first exon."""
    coding = [isoform for isoform in gene.isoforms if isoform.cds is not None]
    if not coding:
        return None
    isoform = coding[int(rng.integers(len(coding)))]
    at = isoform.exons[0][0] + int(rng.integers(3, 35))
    return Edit(at, at, encode_dna(UORF_INSERT))


def _break_uorf(rng: np.random.Generator, gene: Gene) -> Edit | None:
    """The ATG of a uORF becomes ACG."""
    site = _pick(rng, _sites(gene, "uorf", acts=True))
    return None if site is None else Edit(site[0] + 7, site[0] + 8, encode_dna("C"))


def _first_codons(gene: Gene) -> npt.NDArray[np.int64]:
    """Local starts of the whole codons in the exon that holds the start codon, without that codon."""
    for isoform in gene.isoforms:
        if isoform.cds is not None:
            start = isoform.cds[0]
            end = next(end for begin, end in isoform.exons if begin <= start < end)
            return np.arange(start + 3, end - 3, 3)
    return np.empty(0, dtype=np.int64)


def _codon_change(synonymous: bool) -> Callable[[np.random.Generator, Gene], Edit | None]:
    """A third base changes within a family and in or out of favour, or a residue into or out of the scored sets."""

    def make(rng: np.random.Generator, gene: Gene) -> Edit | None:
        starts = _first_codons(gene)
        scored = [AMINO_ACIDS.index(letter) for letter in RAISING_RESIDUES + LOWERING_RESIDUES]
        for _ in range(12 if len(starts) else 0):
            at = int(rng.choice(starts)) + (2 if synonymous else int(rng.integers(2)))
            edit = _substitute(rng, gene, at)
            codon = (at - int(starts[0])) // 3 * 3 + int(starts[0])
            old, new = gene.codes[codon : codon + 3], gene.codes[codon : codon + 3].copy()
            new[at - codon] = edit.bases[0]
            before, after = (
                int(codon_amino_acids()[25 * c[0] + 5 * c[1] + c[2]])
                for c in (old.astype(int), new.astype(int))
            )
            if after >= len(AMINO_ACIDS):
                continue
            if synonymous and before == after and (old[2] % 2 == 0) != (new[2] % 2 == 0):
                return edit
            if not synonymous and before != after and (before in scored) != (after in scored):
                return edit
        return None

    return make


def _control(rng: np.random.Generator, gene: Gene) -> Edit | None:
    """A base far upstream, in no site, changes: no rule reads it."""
    at = int(rng.integers(5, FLANK_BP - 340))
    return _substitute(rng, gene, at)


KINDS: dict[str, Callable[[np.random.Generator, Gene], Edit | None]] = {
    "promoter_snv": _break_site("promoter"),
    "promoter_deletion": _delete_site("promoter"),
    "promoter_insertion": _gain_promoter,
    "decoy_snv": _break_site("promoter", acts=False),
    "uorf_loss": _break_uorf,
    "uorf_insertion": _gain_uorf,
    "utr3_snv": _break_site("utr3"),
    "utr3_deletion": _delete_site("utr3"),
    "utr3_insertion": _gain_utr3,
    "synonymous": _codon_change(synonymous=True),
    "missense": _codon_change(synonymous=False),
    "control": _control,
}
