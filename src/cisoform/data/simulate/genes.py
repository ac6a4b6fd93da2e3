"""One simulated gene: its sequence, its exons, its isoforms, and where elements were planted.

Everything is in local coordinates: 0-based half-open on the gene's own strand, from the first base of the
upstream region the gene owns. Genes own `FLANK_BP` before their first TSS, so no gene's elements act on another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from cisoform.data.simulate.config import SimulateConfig
from cisoform.data.simulate.rules import (
    DISTANCE_KNOTS_BP,
    FAVOURED_THIRD_BASES,
    LOWERING_RESIDUES,
    PRESEQUENCE_LENGTH,
    PRESEQUENCE_RESIDUES,
    RAISING_RESIDUES,
    SHARED_MOTIF,
    SPECIFIC_MOTIFS,
    UTR3_MOTIFS,
)
from cisoform.genome.sequence import AMINO_ACIDS, codon_amino_acids, encode_dna

FLANK_BP = 700
DOWNSTREAM_BP = 60
PROMOTER_SITE = 0.5  # chance that a promoter holds a given motif; then two to four sites
DECOY_SITE = 0.25  # chance of a site of a given motif where it does not act
UTR3_SITE = 0.5  # chance that a 3'UTR holds a given element; then one to three sites
UORF = 0.4  # chance of a uORF in a first exon
MISMATCH = 0.2  # share of planted sites with one mismatch
NONCODING_GENE = 0.10
NONCODING_ISOFORM = 0.06
PRESEQUENCE = 0.45
KEPT_UTR_ATG = 0.3  # 5'UTRs are depleted of ATG, as real ones are
CPG_LOST = 0.6  # share of CG dinucleotides that decayed, as by methylation

Codes = npt.NDArray[np.uint8]
Span = tuple[int, int]


@dataclass(frozen=True)
class Element:
    """A planted site: what it is and where it lies. `acts` is False for decoys."""

    name: str
    start: int
    end: int
    acts: bool


@dataclass(frozen=True)
class Isoform:
    """Exons in transcript order; `cds` is (first base of the start codon, end of the stop codon), or None."""

    exons: tuple[Span, ...]
    cds: Span | None
    biotype: str


@dataclass(frozen=True)
class Gene:
    """Sequence, isoforms and planted elements of one gene."""

    codes: Codes
    isoforms: tuple[Isoform, ...]
    elements: tuple[Element, ...]
    biotype: str


def background(rng: np.random.Generator, length: int, gc: float) -> UInt8[np.ndarray, " bases"]:
    """Random bases of a given GC content, with CG dinucleotides depleted."""
    half = (1 - gc) / 2
    codes = np.searchsorted(np.cumsum([half, gc / 2, gc / 2]), rng.random(length)).astype(np.uint8)
    cpg = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))
    lost = cpg[rng.random(len(cpg)) < CPG_LOST]
    as_tg = rng.random(len(lost)) < 0.5
    codes[lost[as_tg]] = 3
    codes[lost[~as_tg] + 1] = 0
    return codes


@dataclass
class _Builder:
    """Lays pieces end to end and remembers the elements planted in them."""

    rng: np.random.Generator
    gc: float
    pieces: list[Codes] = field(default_factory=list)
    length: int = 0
    elements: list[Element] = field(default_factory=list)

    def add(self, codes: Codes, sites: list[Element] | None = None) -> Span:
        start = self.length
        self.pieces.append(codes)
        self.length += len(codes)
        self.elements.extend(
            Element(site.name, site.start + start, site.end + start, site.acts) for site in sites or []
        )
        return start, self.length

    def between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def plain(self, length: int) -> Codes:
        return background(self.rng, length, self.gc)

    def intron(self, length: int) -> Codes:
        codes = self.plain(length)
        codes[:2], codes[-2:] = encode_dna("GT"), encode_dna("AG")
        return codes

    def plant(
        self, codes: Codes, span: Span, sites: list[Element], name: str, motif: str, acts: bool
    ) -> None:
        """Write one site at a free place of `span`, some motifs with a mismatch; none if there is no room."""
        site = encode_dna(motif)
        if name != "uORF" and self.rng.random() < MISMATCH:
            at = self.rng.integers(len(site))
            site[at] = (site[at] + self.rng.integers(1, 4)) % 4
        for _ in range(10):
            if span[1] - span[0] < len(site):
                return
            start = int(self.rng.integers(span[0], span[1] - len(site) + 1))
            if all(start >= other.end + 1 or start + len(site) + 1 <= other.start for other in sites):
                codes[start : start + len(site)] = site
                sites.append(Element(name, start, start + len(site), acts))
                return


class GeneMaker:
    """Makes genes one after the other from one random stream."""

    def __init__(self, config: SimulateConfig, rng: np.random.Generator) -> None:
        self.config = config
        self.rng = rng
        self.motifs = (SHARED_MOTIF, *SPECIFIC_MOTIFS[: config.n_specific_motifs])
        self._codons = _codon_choices()

    def make(self, gc: float) -> Gene:
        """One gene in a region of the given GC content."""
        build = _Builder(self.rng, gc)
        noncoding = self.rng.random() < NONCODING_GENE
        isoforms = self._noncoding(build) if noncoding else self._coding(build)
        build.add(build.plain(DOWNSTREAM_BP))
        biotype = "lncRNA" if noncoding else "protein_coding"
        return Gene(np.concatenate(build.pieces), isoforms, tuple(build.elements), biotype)

    def _promoter(self, build: _Builder, length: int, intron: bool) -> None:
        """Bases before a TSS: sites at acting distances, decoys far upstream."""
        codes, sites = build.plain(length), list[Element]()
        if intron:
            codes[:2] = encode_dna("GT")
        near = (length + int(DISTANCE_KNOTS_BP[1]), length + int(DISTANCE_KNOTS_BP[2]))
        for name, motif in self.motifs:
            if self.rng.random() < PROMOTER_SITE:
                for _ in range(build.between(2, 4)):
                    build.plant(codes, near, sites, name, motif, acts=True)
            far = (2, length + int(DISTANCE_KNOTS_BP[0]) - len(motif))
            if self.rng.random() < DECOY_SITE:
                build.plant(codes, far, sites, name, motif, acts=False)
        build.add(codes, sites)

    def _intron(self, build: _Builder) -> None:
        """An intron, sometimes with a decoy of a 3'UTR element or of a promoter motif."""
        codes, sites = build.intron(build.between(80, 150)), list[Element]()
        for name, motif in (*UTR3_MOTIFS, *self.motifs):
            if self.rng.random() < DECOY_SITE / 5:
                build.plant(codes, (3, len(codes) - 3), sites, name, motif, acts=False)
        build.add(codes, sites)

    def _utr5(self, build: _Builder, length: int, uorf: bool) -> tuple[Codes, list[Element]]:
        """5'UTR bases poor in ATG, with a uORF in a strong context or without."""
        codes, sites = build.plain(length), list[Element]()
        atg = np.flatnonzero((codes[:-2] == 0) & (codes[1:-1] == 3) & (codes[2:] == 2))
        codes[atg[self.rng.random(len(atg)) >= KEPT_UTR_ATG] + 1] = 1
        if not uorf:
            if self.rng.random() < DECOY_SITE / 2:
                build.plant(codes, (0, length), sites, *UTR3_MOTIFS[build.between(0, 1)], acts=False)
            return codes, sites
        for _ in range(build.between(1, 2)):
            codon = "".join(self.rng.choice(list(choice)) for choice in ("ACG", "ACT", "C"))  # never a stop
            site = (
                "GCCACCATGG" + self.rng.choice(["CT", "AC", "GC"]) + codon + self.rng.choice(["TAA", "TGA"])
            )
            build.plant(codes, (0, length), sites, "uORF", site, acts=True)
        return codes, sites

    def _utr3(self, build: _Builder, length: int) -> tuple[Codes, list[Element]]:
        codes, sites = build.plain(length), list[Element]()
        for name, motif in UTR3_MOTIFS:
            if self.rng.random() < UTR3_SITE:
                for _ in range(build.between(1, 3)):
                    build.plant(codes, (0, length), sites, name, motif, acts=True)
        return codes, sites

    def _cds(self, n: int, theta: float, phi: float) -> Codes:
        """`n` sense codons: `theta` is the share of favoured ones, `phi` the share of raising residues."""
        frequency = np.full(20, 0.05)
        raising, lowering, targeting = (
            [AMINO_ACIDS.index(letter) for letter in letters]
            for letters in (RAISING_RESIDUES, LOWERING_RESIDUES, PRESEQUENCE_RESIDUES)
        )
        frequency[raising], frequency[lowering] = 0.13 * phi, 0.13 * (1 - phi)
        frequency[targeting] = 0.07
        residue = self.rng.choice(20, size=n, p=frequency / frequency.sum())
        return self._spell(residue, theta)

    def _spell(self, residue: npt.NDArray[np.int64], theta: float) -> Codes:
        favoured = (self.rng.random(len(residue)) < theta).astype(np.int64)
        table, count = self._codons
        pick = (self.rng.random(len(residue)) * count[residue, favoured]).astype(np.int64)
        return table[residue, favoured, pick].reshape(-1)

    def _presequence(self, theta: float) -> Codes:
        targeting = np.array([AMINO_ACIDS.index(letter) for letter in PRESEQUENCE_RESIDUES])
        share = self.rng.uniform(0.65, 0.95)
        residue = np.where(
            self.rng.random(PRESEQUENCE_LENGTH) < share,
            self.rng.choice(targeting, PRESEQUENCE_LENGTH),
            self.rng.integers(0, 20, PRESEQUENCE_LENGTH),
        )
        return self._spell(residue, theta)

    def _coding(self, build: _Builder) -> tuple[Isoform, ...]:
        """Promoter(s), first exon(s), the start in exon 1 or 2, inner exons (one may be skipped), end(s)."""
        rng = self.rng
        theta, phi = rng.beta(1.2, 1.2), rng.beta(1.2, 1.2)
        n_codons = build.between(*self.config.codons)
        n_parts = build.between(2, 4)
        cuts = np.sort(rng.choice(np.arange(25, n_codons - 5), n_parts - 1, replace=False))
        sizes = np.diff([0, *cuts, n_codons])
        cassette = build.between(1, n_parts - 2) if n_parts > 2 and rng.random() < 0.7 else None
        two_starts = rng.random() < 0.5
        start_in_first = not two_starts and rng.random() < 0.3
        # Exons break codons after 0, 1 or 2 bases; as every codon broken in a gene starts alike, skipping an exon
        # or changing the end keeps the frame and makes no stop (GNN is never one).
        broken = encode_dna("GC")[: build.between(0, 2)]
        ending = rng.choice(["one", "tandem", "split"], p=[0.35, 0.4, 0.25])

        self._promoter(build, FLANK_BP, intron=False)
        first: list[list[Span]] = []
        utr, sites = self._utr5(build, build.between(40, 80), uorf=rng.random() < UORF)
        head = np.concatenate([encode_dna("ATG"), self._opening(int(sizes[0]) - 1, theta, phi), broken])
        tail = build.plain(build.between(15, 35))
        if start_in_first:
            span = build.add(np.concatenate([utr, tail, head]), sites)
            start = span[1] - len(head)
            first.append([span])
        else:
            first.append([build.add(utr, sites)])
            if two_starts:
                self._promoter(build, 500, intron=True)
                utr, sites = self._utr5(build, build.between(40, 80), uorf=rng.random() < UORF)
                first.append([build.add(utr, sites)])
            self._intron(build)
            second = build.add(np.concatenate([tail, head]))
            start = second[1] - len(head)
            first = [[*spans, second] for spans in first]

        middles: list[Span] = []
        for part in range(1, n_parts - 1):
            self._intron(build)
            own = rng.beta(1.2, 1.2) if part == cassette else phi
            middles.append(
                build.add(np.concatenate([self._part(int(sizes[part]), theta, own, broken), broken]))
            )
        ends = self._ends(build, str(ending), lambda: self._part(int(sizes[-1]), theta, phi, broken))
        skips = [False, True] if cassette is not None else [False]
        choices = list(product(range(len(first)), skips, range(len(ends))))
        wanted = min(len(choices), build.between(1, 7))
        chosen = sorted(rng.choice(len(choices), wanted, replace=False))
        isoforms = []
        for index in chosen:
            which, skip, end = choices[index]
            inner = [span for part, span in enumerate(middles, 1) if not (skip and part == cassette)]
            exons = (*first[which], *inner, ends[end][0])
            isoforms.append(Isoform(exons, (start, ends[end][1]), "protein_coding"))
        if rng.random() < NONCODING_ISOFORM:
            # An isoform that keeps the last intron and is not translated.
            exons = isoforms[0].exons
            kept = (*exons[:-2], (exons[-2][0], exons[-1][1]))
            isoforms.append(Isoform(kept, None, "retained_intron"))
        return tuple(isoforms)

    def _part(self, n: int, theta: float, phi: float, broken: Codes) -> Codes:
        """Codons of an exon; the first one starts with the bases that the exon before holds, and lacks them."""
        codes = self._cds(n, theta, phi)
        return codes[len(broken) :]

    def _opening(self, n: int, theta: float, phi: float) -> Codes:
        """The codons after ATG up to the first junction, with a presequence or without."""
        if self.rng.random() >= PRESEQUENCE:
            return self._cds(n, theta, phi)
        return np.concatenate([self._presequence(theta), self._cds(n - PRESEQUENCE_LENGTH, theta, phi)])

    def _ends(self, build: _Builder, kind: str, codons: Callable[[], Codes]) -> list[tuple[Span, int]]:
        """Last exons with the end of their CDS: one, two by tandem polyadenylation, or two by splicing."""
        ends = []
        for _ in range(2 if kind == "split" else 1):
            self._intron(build)
            cds = np.concatenate([codons(), encode_dna(self.rng.choice(["TAA", "TAG", "TGA"]))])
            utr, sites = self._utr3(build, build.between(60, 110))
            shift = len(cds)
            moved = [Element(s.name, s.start + shift, s.end + shift, s.acts) for s in sites]
            span = build.add(np.concatenate([cds, utr]), moved)
            ends.append((span, span[0] + len(cds)))
        if kind == "tandem":
            span, stop = ends[0]
            longer = build.add(*self._utr3(build, build.between(60, 120)))
            ends.append(((span[0], longer[1]), stop))
        return ends

    def _noncoding(self, build: _Builder) -> tuple[Isoform, ...]:
        """A gene without CDS: 2-4 exons, and for some a second isoform that skips an inner one."""
        self._promoter(build, FLANK_BP, intron=False)
        exons = [build.add(build.plain(build.between(60, 200)))]
        for _ in range(build.between(1, 3)):
            self._intron(build)
            exons.append(build.add(build.plain(build.between(60, 250))))
        isoforms = [Isoform(tuple(exons), None, "lncRNA")]
        if len(exons) > 2:
            isoforms.append(Isoform((*exons[:1], *exons[2:]), None, "lncRNA"))
        return tuple(isoforms)


def _codon_choices() -> tuple[Codes, npt.NDArray[np.int64]]:
    """Codons by (residue, favoured or not, choice) as bases `(20, 2, 4, 3)`, and the number of choices."""
    table = np.zeros((20, 2, 4, 3), dtype=np.uint8)
    count = np.zeros((20, 2), dtype=np.int64)
    favoured_bases = encode_dna(FAVOURED_THIRD_BASES)
    residues = codon_amino_acids()
    for a, b, c in product(range(4), repeat=3):
        residue = residues[25 * a + 5 * b + c]
        if residue < 20:
            favoured = int(c in favoured_bases)
            table[residue, favoured, count[residue, favoured]] = (a, b, c)
            count[residue, favoured] += 1
    for residue, favoured in zip(*np.nonzero(count == 0), strict=True):  # M and W have one codon
        table[residue, favoured] = table[residue, 1 - favoured]
        count[residue, favoured] = count[residue, 1 - favoured]
    return table, count
