"""Genes and elements on chromosomes, and the DNA with the sites in it.

Coordinates are 0-based half-open. `Element.mid` is the middle of the called peak; sites are planted, and read, within
`SITE_REGION_BP / 2` of it. Nothing here depends on which rules act.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.regulation.activity import Activity, on_off
from cisoform.data.simulate.regulation.config import LOCUS_ELEMENTS, N_TFS, RegulationConfig
from cisoform.data.simulate.regulation.motifs import MOTIF_BP, Motif, Roster, Tf, sample_site
from cisoform.genome.sequence import BASE_N

SITE_REGION_BP = 600  # in which sites act
PLANTED_WITHIN_BP = 200  # of the middle
LEAST_SPACING_BP = 1_300  # between middles of elements, so that windows of 1,029 bp share no base
EDGE_BP = 10_000  # of a chromosome, free of genes
GAP = (1_000, 1_200)  # of N in every chromosome
GC_BLOCK_BP, GC_RANGE, ISLAND_GC = 25_000, (0.37, 0.48), 0.66
PROMOTER_UPSTREAM_BP = 60  # middle of a promoter element upstream of its TSS
STEADY_SHARE = 0.25
PROMOTER_TF_SHARE = 0.35
DECOYS_PER_ELEMENT = 1.2
CLOSED_SITES_PER_ELEMENT = 0.3
CLASS_SHARES = {  # of the distal elements that belong to no TF gene
    "activator": 0.30,
    "repressor": 0.38,
    "ubiquitous": 0.08,
    "neutral": 0.12,
    "bare": 0.07,
    "decoy": 0.05,
}
MIXED_SHARE = 0.15  # of activator elements with a site of a second TF


@dataclass(frozen=True)
class Gene:
    """A gene of two exons; `start` and `end` bound it, `exons` and `cds` are in genome order, the CDS with its stop."""

    gene_id: str
    name: str
    chrom: int
    strand: str
    start: int
    end: int
    exons: tuple[tuple[int, int], tuple[int, int]]
    cds: tuple[int, int]
    steady: bool

    @property
    def tss(self) -> int:
        """Position of the first transcribed base."""
        return self.start if self.strand == "+" else self.end - 1


@dataclass(frozen=True)
class Element:
    """A peak. `kind` is promoter, locus (at the gene of a TF) or one of `CLASS_SHARES`."""

    name: str
    kind: str
    chrom: int
    mid: int
    width: int
    planted: tuple[str, ...]
    """TFs of the sites that were planted to act, in no order."""
    gene: int | None
    """Gene of a promoter, or of the TF at whose locus the element lies."""

    @property
    def start(self) -> int:
        """First base of the called peak."""
        return self.mid - self.width // 2

    @property
    def end(self) -> int:
        """End of the called peak."""
        return self.start + self.width


@dataclass(frozen=True)
class RegulatoryGenome:
    """Chromosomes, genes and elements, both in genome order."""

    chromosomes: dict[str, npt.NDArray[np.uint8]]
    genes: tuple[Gene, ...]
    elements: tuple[Element, ...]
    gate: npt.NDArray[np.float64]
    """(elements, groups): how far chromatin lets TFs bind, or how open an element without TFs is."""
    height: npt.NDArray[np.float64]
    """How many cuts an open element collects, relative to the mean one."""
    level: npt.NDArray[np.float64]
    """Level of every gene that no sequence explains."""

    @property
    def names(self) -> list[str]:
        """Chromosome names."""
        return list(self.chromosomes)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Chromosome lengths."""
        return np.array([len(codes) for codes in self.chromosomes.values()], np.int64)

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where each chromosome begins when all lie end to end."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    def windows(
        self, mids: npt.NDArray[np.int64], chrom: npt.NDArray[np.int64], width: int
    ) -> npt.NDArray[np.uint8]:
        """(elements, width) codes around the given middles."""
        start = self.offsets[chrom] + mids - width // 2
        codes: npt.NDArray[np.uint8] = self.joined[start[:, None] + np.arange(width)]
        return codes

    @cached_property
    def joined(self) -> npt.NDArray[np.uint8]:
        """All chromosomes end to end."""
        return np.concatenate(list(self.chromosomes.values()))

    @cached_property
    def mids(self) -> npt.NDArray[np.int64]:
        """Middles of the elements."""
        return np.array([element.mid for element in self.elements], np.int64)

    @cached_property
    def element_chrom(self) -> npt.NDArray[np.int64]:
        """Chromosome number of the elements."""
        return np.array([element.chrom for element in self.elements], np.int64)

    @cached_property
    def tss(self) -> npt.NDArray[np.int64]:
        """TSS of the genes."""
        return np.array([gene.tss for gene in self.genes], np.int64)

    @cached_property
    def gene_chrom(self) -> npt.NDArray[np.int64]:
        """Chromosome number of the genes."""
        return np.array([gene.chrom for gene in self.genes], np.int64)


def simulate_genome(config: RegulationConfig, roster: Roster, activity: Activity) -> RegulatoryGenome:
    """Lay out genes and elements, then write the DNA."""
    rng = np.random.default_rng([config.seed, 103])
    genes = lay_genes(config, roster, rng)
    elements = lay_elements(config, roster, genes, rng)
    gate = make_gate(roster, activity, genes, elements, rng)
    height = rng.lognormal(0.0, 0.2, len(elements))
    level = rng.normal(0.0, 0.4, len(genes))
    chromosomes = write_dna(config, roster, genes, elements, np.random.default_rng([config.seed, 104]))
    return RegulatoryGenome(chromosomes, genes, elements, gate, height, level)


def lay_genes(config: RegulationConfig, roster: Roster, rng: np.random.Generator) -> tuple[Gene, ...]:
    """Genes at jittered distances; TFs are spread over them at random and are never steady."""
    tf_at = dict(zip(rng.permutation(config.n_genes).tolist(), roster.tfs, strict=False))
    genes: list[Gene] = []
    for chrom, members in enumerate(np.array_split(np.arange(config.n_genes), config.n_chromosomes)):
        spacing = (config.chromosome_bp - 2 * EDGE_BP) / len(members)
        for order, number in enumerate(members.tolist()):
            tss = int(EDGE_BP + (order + rng.uniform(0.25, 0.75)) * spacing)
            length = int(rng.uniform(0.10, 0.22) * spacing)
            plus, steady = bool(rng.random() < 0.5), bool(rng.random() < STEADY_SHARE)
            first, codons = int(rng.integers(120, 200)), int(rng.integers(60, 110))
            second = 30 + 3 * codons + int(rng.integers(60, 120))
            tf = tf_at.get(number)
            local = (
                ((0, first), (length - second, length)),
                (length - second + 30, length - second + 30 + 3 * codons),
            )
            spans = [*local[0], local[1]]
            start = tss if plus else tss - length + 1
            placed = [_place(span, start, length, plus) for span in spans]
            exons = (placed[0], placed[1]) if plus else (placed[1], placed[0])
            name = tf.name if tf else f"SIMGENE{number + 1:04d}"
            genes.append(
                Gene(
                    gene_id=f"SIMRG{number + 1:05d}",
                    name=name,
                    chrom=chrom,
                    strand="+" if plus else "-",
                    start=start,
                    end=start + length,
                    exons=exons,
                    cds=placed[2],
                    steady=steady and tf is None,
                )
            )
    return tuple(sorted(genes, key=lambda gene: (gene.chrom, gene.start)))


def _place(span: tuple[int, int], start: int, length: int, plus: bool) -> tuple[int, int]:
    return (
        (start + span[0], start + span[1]) if plus else (start + length - span[1], start + length - span[0])
    )


def lay_elements(
    config: RegulationConfig, roster: Roster, genes: tuple[Gene, ...], rng: np.random.Generator
) -> tuple[Element, ...]:
    """Promoters first, then the elements at TF genes, then the rest wherever there is room."""
    taken: list[list[int]] = [[] for _ in range(config.n_chromosomes)]
    drafts: list[tuple[int, int, str, tuple[str, ...], int | None]] = []
    pools = {
        role: roster.of_role(role) for role in ("activator", "driver", "repressor", "neutral", "ubiquitous")
    }
    tf_names = {tf.name for tf in roster.tfs}
    for number, gene in enumerate(genes):
        mid = gene.tss + (-PROMOTER_UPSTREAM_BP if gene.strand == "+" else PROMOTER_UPSTREAM_BP)
        taken[gene.chrom].append(mid)
        drafts.append((gene.chrom, mid, "promoter", _promoter_tfs(pools, gene, tf_names, rng), number))
    ubiquitous = pools["ubiquitous"][0].name
    for number, gene in enumerate(genes):
        for _ in range(LOCUS_ELEMENTS if gene.name in tf_names else 0):
            mid = _free_place(config, taken[gene.chrom], rng, gene.tss)
            drafts.append((gene.chrom, mid, "locus", (ubiquitous,) * int(rng.integers(3, 5)), number))
    for kind in _distal_kinds(config, rng):
        chrom = int(rng.integers(config.n_chromosomes))
        mid = _free_place(config, taken[chrom], rng, None)
        drafts.append((chrom, mid, kind, _distal_tfs(pools, kind, rng), None))
    drafts.sort(key=lambda draft: draft[:2])
    widths = rng.integers(SITE_REGION_BP // 2, 450, len(drafts)) * 2
    return tuple(
        Element(f"peak{number:05d}", kind, chrom, mid, int(width), planted, gene_number)
        for number, ((chrom, mid, kind, planted, gene_number), width) in enumerate(
            zip(drafts, widths, strict=True), 1
        )
    )


def _promoter_tfs(
    pools: dict[str, list[Tf]], gene: Gene, tf_names: set[str], rng: np.random.Generator
) -> tuple[str, ...]:
    """Some promoters of genes that answer carry sites of one TF."""
    chance, pick, copies = rng.random(), rng.random(), int(rng.integers(2, 4))
    if gene.steady or gene.name in tf_names or chance > PROMOTER_TF_SHARE:
        return ()
    pool = [*pools["activator"], *pools["repressor"]]
    return (pool[int(pick * len(pool))].name,) * copies


def _distal_kinds(config: RegulationConfig, rng: np.random.Generator) -> list[str]:
    free = config.n_distal - LOCUS_ELEMENTS * N_TFS
    edges = np.round(np.cumsum(list(CLASS_SHARES.values())) * free).astype(int)
    counts = np.diff(np.concatenate([[0], edges]))
    kinds = np.repeat(list(CLASS_SHARES), counts)
    return [str(kind) for kind in rng.permutation(kinds)]


def _distal_tfs(pools: dict[str, list[Tf]], kind: str, rng: np.random.Generator) -> tuple[str, ...]:
    """TFs of the sites of a distal element: two to four sites of one TF, now and then one of a second TF."""
    copies, pick, second, mixed = int(rng.integers(2, 5)), rng.random(), rng.random(), rng.random()
    if kind in ("bare", "decoy"):
        return ()
    pool = [*pools["activator"], *pools["driver"]] if kind == "activator" else pools[kind]
    names = (pool[int(pick * len(pool))].name,) * copies
    if kind == "activator" and mixed < MIXED_SHARE:
        other = [*pools["activator"], *pools["repressor"]]
        return (*names, other[int(second * len(other))].name)
    return names


def _free_place(config: RegulationConfig, taken: list[int], rng: np.random.Generator, tss: int | None) -> int:
    """A middle at least `LEAST_SPACING_BP` from all taken ones, near a TSS if one is given; it is added to them."""
    reach = 8_000.0
    for _ in range(10_000):
        if tss is None:
            mid = int(rng.integers(2_500, config.chromosome_bp - 2_500))
        else:
            mid = tss + int(rng.choice((-1, 1)) * rng.uniform(1_400, reach))
            reach *= 1.02
        inside = 2_500 <= mid <= config.chromosome_bp - 2_500
        if inside and (not taken or np.abs(np.array(taken) - mid).min() >= LEAST_SPACING_BP):
            taken.append(mid)
            return mid
    raise ValueError(f"no room for another element among {len(taken)} on {config.chromosome_bp} bp")


def make_gate(
    roster: Roster,
    activity: Activity,
    genes: tuple[Gene, ...],
    elements: tuple[Element, ...],
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Chromatin gate by element and group: 1 where TF activity alone decides.

    At the gene of a TF the gate follows the activity of that TF, so that its expression does too. Ubiquitous, bare
    and decoy elements have a pattern of their own, the same in both states of a cell type.
    """
    row = {tf.name: number for number, tf in enumerate(roster.tfs)}
    columns = activity.type_column
    gate = np.ones((len(elements), len(activity.groups)))
    for number, element in enumerate(elements):
        pattern = on_off(rng, int(columns.max()) + 1)
        if element.kind == "locus" and element.gene is not None:
            gate[number] = activity.values[row[genes[element.gene].name]]
        elif element.kind in ("ubiquitous", "bare", "decoy"):
            gate[number] = pattern[columns]
    return gate


def write_dna(
    config: RegulationConfig,
    roster: Roster,
    genes: tuple[Gene, ...],
    elements: tuple[Element, ...],
    rng: np.random.Generator,
) -> dict[str, npt.NDArray[np.uint8]]:
    """Background, islands of steady promoters, sites, and last the reading frames."""
    dna = [_background(config.chromosome_bp, rng) for _ in range(config.n_chromosomes)]
    for gene in genes:
        if gene.steady:
            _fill(dna[gene.chrom], gene.tss - 300, gene.tss + 300, ISLAND_GC, rng)
    by_name = {tf.name: tf.motif for tf in roster.tfs}
    decoys = [tf.motif for tf in roster.of_role("decoy")]
    binding = [tf.motif for tf in roster.binding]
    for element in elements:
        motifs = [by_name[name] for name in element.planted]
        if element.kind == "promoter" and element.gene is not None:
            gene = genes[element.gene]
            motifs += [roster.core] * int(rng.integers(1, 4)) + [roster.steady] * (3 if gene.steady else 0)
        extra = rng.poisson(DECOYS_PER_ELEMENT) + (element.kind == "decoy")
        motifs += [decoys[int(pick)] for pick in rng.integers(len(decoys), size=int(extra))]
        _plant(dna[element.chrom], element.mid, motifs, rng)
    _plant_closed(config, dna, elements, binding, rng)
    for gene in genes:
        _write_frame(dna[gene.chrom], gene, rng)
    return {f"chr{number}": codes for number, codes in enumerate(dna, 1)}


def _background(length: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    codes = np.empty(length, np.uint8)
    for start in range(0, length, GC_BLOCK_BP):
        _fill(codes, start, min(start + GC_BLOCK_BP, length), float(rng.uniform(*GC_RANGE)), rng)
    codes[slice(*GAP)] = BASE_N
    return codes


def _fill(codes: npt.NDArray[np.uint8], start: int, end: int, gc: float, rng: np.random.Generator) -> None:
    strong = rng.random(end - start) < gc
    either = rng.integers(0, 2, end - start)
    codes[start:end] = np.where(strong, either + 1, either * 3)


def _plant(codes: npt.NDArray[np.uint8], mid: int, motifs: list[Motif], rng: np.random.Generator) -> None:
    """Put sites on places of a grid around the middle, so that none lies on another."""
    slots = 2 * PLANTED_WITHIN_BP // (MOTIF_BP + 4)
    chosen = rng.permutation(slots)[: len(motifs)]
    for slot, motif in zip(chosen.tolist(), motifs, strict=False):
        start = mid - PLANTED_WITHIN_BP + slot * (MOTIF_BP + 4) + int(rng.integers(0, 5))
        codes[start : start + MOTIF_BP] = sample_site(motif, rng)


def _plant_closed(
    config: RegulationConfig,
    dna: list[npt.NDArray[np.uint8]],
    elements: tuple[Element, ...],
    motifs: list[Motif],
    rng: np.random.Generator,
) -> None:
    """Sites of binding TFs in closed DNA, far from every element: they do nothing."""
    mids = [np.array([e.mid for e in elements if e.chrom == chrom]) for chrom in range(config.n_chromosomes)]
    for _ in range(int(CLOSED_SITES_PER_ELEMENT * len(elements))):
        chrom, start = (
            int(rng.integers(config.n_chromosomes)),
            int(rng.integers(2_000, config.chromosome_bp - 2_000)),
        )
        site = sample_site(motifs[int(rng.integers(len(motifs)))], rng)
        if not len(mids[chrom]) or np.abs(mids[chrom] - start).min() > SITE_REGION_BP:
            dna[chrom][start : start + MOTIF_BP] = site


def _write_frame(codes: npt.NDArray[np.uint8], gene: Gene, rng: np.random.Generator) -> None:
    """An open reading frame: ATG, codons that are no stop, a stop."""
    start, end = gene.cds
    triplets = rng.integers(0, 4, ((end - start) // 3, 3)).astype(np.uint8)
    is_stop = (triplets[:, 0] == 3) & (
        ((triplets[:, 1] == 0) & np.isin(triplets[:, 2], (0, 2)))
        | ((triplets[:, 1] == 2) & (triplets[:, 2] == 0))
    )
    triplets[is_stop, 0] = 1
    triplets[0], triplets[-1] = (0, 3, 2), (3, 0, 0)
    frame = triplets.reshape(-1)
    codes[start:end] = frame if gene.strand == "+" else 3 - frame[::-1]


def count_kinds(genome: RegulatoryGenome) -> dict[str, int]:
    """Number of elements of each kind."""
    return dict(sorted(Counter(element.kind for element in genome.elements).items()))
