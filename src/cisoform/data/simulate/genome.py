"""Genes laid on chromosomes: the genome, and every isoform in genome coordinates with its sequences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from cisoform.data.simulate.config import SimulateConfig
from cisoform.data.simulate.genes import Element, Gene, GeneMaker, Isoform, Span, background
from cisoform.data.simulate.rules import UPSTREAM_BP, Sequences
from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import BASE_N, reverse_complement

FIRST_GENE_BP = 50  # chromosomes start with this much, so that windows of the first gene run off the end
GAP_BP = 100  # of N, once per chromosome, as in real assemblies
REGION_GENES = 25  # genes that share a GC content
GC_RANGE = (0.36, 0.56)


@dataclass(frozen=True)
class PlacedGene:
    """A gene on a chromosome: local position p lies at `start + p` on "+", at `start + length - 1 - p` on "-"."""

    gene_id: str
    gene: Gene
    transcript_ids: tuple[str, ...]
    chrom: str
    start: int
    strand: str

    def span(self, local: Span) -> Span:
        """Genome coordinates (0-based half-open) of a local span."""
        if self.strand == "+":
            return self.start + local[0], self.start + local[1]
        end = self.start + len(self.gene.codes)
        return end - local[1], end - local[0]


@dataclass(frozen=True)
class SimulatedGenome:
    """Chromosomes by name and the genes on them, in the order in which they lie."""

    chromosomes: dict[str, npt.NDArray[np.uint8]]
    genes: tuple[PlacedGene, ...]

    @cached_property
    def transcript_ids(self) -> list[str]:
        """Ids of all transcripts, gene by gene."""
        return [name for gene in self.genes for name in gene.transcript_ids]

    @cached_property
    def gene_ids(self) -> list[str]:
        """Gene of every transcript."""
        return [gene.gene_id for gene in self.genes for _ in gene.transcript_ids]

    def sequences(self) -> Sequences:
        """What the rules read of every transcript, in the order of `transcript_ids`."""
        return join_sequences([gene_sequences(gene.gene) for gene in self.genes])


def simulate_genome(config: SimulateConfig) -> SimulatedGenome:
    """Genes on chromosomes, each on a random strand; the rules that act and their sizes change nothing here."""
    rng = np.random.default_rng([config.seed, 2])
    maker = GeneMaker(config, rng)
    chromosomes: dict[str, npt.NDArray[np.uint8]] = {}
    genes: list[PlacedGene] = []
    n_transcripts = 0
    for number, members in enumerate(np.array_split(np.arange(config.n_genes), config.n_chromosomes), 1):
        chrom = f"chr{number}"
        pieces = [background(rng, FIRST_GENE_BP, 0.42)]
        length = FIRST_GENE_BP
        gc = 0.42
        for order, index in enumerate(members):
            if order % REGION_GENES == 0:
                gc = rng.uniform(*GC_RANGE)
            gene = maker.make(gc)
            ids = tuple(f"SIMT{n_transcripts + i + 1:08d}" for i in range(len(gene.isoforms)))
            n_transcripts += len(ids)
            strand = "+" if rng.random() < 0.5 else "-"
            genes.append(PlacedGene(f"SIMG{index + 1:08d}", gene, ids, chrom, length, strand))
            spacer = background(rng, int(rng.integers(100, 500)), gc)
            if order == len(members) // 2:
                spacer = np.concatenate([spacer, np.full(GAP_BP, BASE_N, dtype=np.uint8), spacer])
            pieces += [gene.codes if strand == "+" else reverse_complement(gene.codes), spacer]
            length += len(gene.codes) + len(spacer)
        chromosomes[chrom] = np.concatenate(pieces)
    return SimulatedGenome(chromosomes, tuple(genes))


def gene_sequences(gene: Gene) -> Sequences:
    """What the rules read of one gene's isoforms, from its own bases."""
    upstream = np.stack([_upstream(gene.codes, isoform.exons[0][0]) for isoform in gene.isoforms])
    rows = [np.concatenate([gene.codes[slice(*exon)] for exon in isoform.exons]) for isoform in gene.isoforms]
    return Sequences(
        upstream, Ragged.from_rows(rows, np.uint8), np.array([rna_cds(i) for i in gene.isoforms])
    )


def join_sequences(parts: list[Sequences]) -> Sequences:
    """Sequences of several genes as one."""
    lengths = np.concatenate([part.rna.lengths for part in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(
        np.concatenate([part.upstream for part in parts]),
        Ragged(np.concatenate([part.rna.data for part in parts]), offsets),
        np.concatenate([part.cds for part in parts]),
    )


def rna_cds(isoform: Isoform) -> Span:
    """CDS in RNA coordinates, (-1, -1) without one."""
    if isoform.cds is None:
        return -1, -1
    return _rna_position(isoform, isoform.cds[0]), _rna_position(isoform, isoform.cds[1] - 1) + 1


def _rna_position(isoform: Isoform, local: int) -> int:
    before = 0
    for start, end in isoform.exons:
        if start <= local < end:
            return before + local - start
        before += end - start
    raise ValueError(f"position {local} lies in no exon of {isoform}")


def _upstream(codes: npt.NDArray[np.uint8], tss: int) -> UInt8[np.ndarray, " bases"]:
    window = np.full(UPSTREAM_BP, BASE_N, dtype=np.uint8)
    available = min(UPSTREAM_BP, tss)
    window[UPSTREAM_BP - available :] = codes[tss - available : tss]
    return window


def planted(genome: SimulatedGenome) -> list[tuple[PlacedGene, Element, Span]]:
    """Every planted element with its gene and genome coordinates."""
    return [
        (gene, element, gene.span((element.start, element.end)))
        for gene in genome.genes
        for element in gene.gene.elements
    ]
