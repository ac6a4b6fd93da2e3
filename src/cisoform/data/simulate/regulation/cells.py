"""Single cells: which group each is of, RNA counts, and ATAC fragments with their Tn5 cuts.

A fragment [start, end) is cut at `start` and at `end - 1`. Peak counts are cuts in called peaks, so the matrix can be
recomputed from the fragments. A few fragments carry barcodes that are no cells, as in a real fragments file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from cisoform.data.simulate.regulation.activity import Activity, Group
from cisoform.data.simulate.regulation.config import RegulationConfig
from cisoform.data.simulate.regulation.genome import RegulatoryGenome
from cisoform.data.simulate.regulation.rules import Floats, Readout

Ints = npt.NDArray[np.int64]

BARCODE_BP = 16
RNA_SHAPE = 4.0  # of the gamma around each gene's rate in a cell
DEPTH_SIGMA = 0.45  # of the log-normal depth
PEAK_SHARE = 0.70  # of fragments that begin in a peak
CUT_SD_BP = 110
AMBIENT_SHARE = 0.06  # fragments of barcodes that are no cells
LENGTHS = (
    (0.60, 75.0, 25.0),
    (0.30, 195.0, 18.0),
    (0.10, 380.0, 30.0),
)  # share, mean, sd: free, one, two nucleosomes


@dataclass(frozen=True)
class Fragments:
    """One entry per fragment, sorted by chromosome number, start, end and barcode number."""

    chrom: Ints
    start: Ints
    end: Ints
    barcode: Ints
    count: Ints
    """Times it was read."""


@dataclass(frozen=True)
class Cells:
    """Cells in the order of their barcodes."""

    barcodes: list[str]
    """Of the cells first, then of what is no cell."""
    group: Ints
    """(cells,) number of the group."""
    rna: sparse.csr_matrix
    """(cells, genes) counts."""
    atac: sparse.csr_matrix
    """(cells, peaks) cuts in called peaks."""
    fragments: Fragments

    @property
    def n(self) -> int:
        """Number of cells."""
        return len(self.group)


def simulate_cells(
    config: RegulationConfig, activity: Activity, genome: RegulatoryGenome, readout: Readout
) -> Cells:
    """Draw all cells."""
    rng = np.random.default_rng([config.seed, 105])
    group = cell_groups(config, activity.groups)[rng.permutation(config.n_cells)]
    n_ambient = max(4, config.n_cells // 4)
    barcodes = make_barcodes(config.n_cells + n_ambient, rng)
    rna = draw_rna(config, readout.log_rate, group, np.random.default_rng([config.seed, 106]))
    fragments = draw_fragments(
        config, genome, readout, group, n_ambient, np.random.default_rng([config.seed, 107])
    )
    atac = count_cuts(genome, fragments, config.n_cells)
    return Cells(barcodes, group, rna, atac, fragments)


def cell_groups(config: RegulationConfig, groups: tuple[Group, ...]) -> Ints:
    """Group of every cell: types equally often, and half of the cells of a type with two states in each."""
    two_states = {group.cell_type for group in groups if group.state != "rest"}
    share = np.array([0.5 if group.cell_type in two_states else 1.0 for group in groups])
    edges = np.round(np.cumsum(share / share.sum()) * config.n_cells).astype(np.int64)
    return np.repeat(np.arange(len(groups)), np.diff(np.concatenate([[0], edges]))).astype(np.int64)


def make_barcodes(count: int, rng: np.random.Generator) -> list[str]:
    """Distinct barcodes with the usual suffix, in random order."""
    found: dict[str, None] = {}
    letters = np.array(list("ACGT"))
    while len(found) < count:
        found["".join(letters[rng.integers(0, 4, BARCODE_BP)]) + "-1"] = None
    return list(found)


def draw_rna(
    config: RegulationConfig, log_rate: Floats, group: Ints, rng: np.random.Generator
) -> sparse.csr_matrix:
    """Poisson counts around depth x share of the rate x gamma."""
    rate = np.exp(log_rate)
    share = (rate / rate.sum(0)).T[group]
    depth = rng.lognormal(np.log(config.umi_per_cell), DEPTH_SIGMA, len(group))
    mean = depth[:, None] * share * rng.gamma(RNA_SHAPE, 1 / RNA_SHAPE, share.shape)
    return sparse.csr_matrix(rng.poisson(mean).astype(np.int32))


def draw_fragments(
    config: RegulationConfig,
    genome: RegulatoryGenome,
    readout: Readout,
    group: Ints,
    n_ambient: int,
    rng: np.random.Generator,
) -> Fragments:
    """Fragments of all cells and of the ambient barcodes, sorted, without duplicates."""
    depth = rng.poisson(rng.lognormal(np.log(config.fragments_per_cell), DEPTH_SIGMA, len(group)))
    weights = (readout.accessibility * genome.height[:, None]).T
    parts: list[tuple[Ints, Ints, Ints, Ints]] = []
    for number in range(len(weights)):
        cells = np.flatnonzero(group == number)
        barcode = np.repeat(cells, depth[cells])
        parts.append((*sample_fragments(genome, weights[number], len(barcode), rng), barcode))
    n_free = int(AMBIENT_SHARE * depth.sum())
    free = rng.integers(len(group), len(group) + n_ambient, n_free)
    parts.append((*sample_fragments(genome, weights.mean(0), n_free, rng), free))
    columns = np.array([np.concatenate([part[axis] for part in parts]) for axis in range(4)], np.int64)
    chrom, start, end, barcode = np.unique(columns.T, axis=0).T
    count = 1 + rng.poisson(0.4, len(chrom))
    return Fragments(chrom, start, end, barcode, count.astype(np.int64))


def sample_fragments(
    genome: RegulatoryGenome, weights: Floats, count: int, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Chromosome number, start and end of fragments drawn with the given weights of the peaks."""
    in_peak = rng.random(count) < PEAK_SHARE
    edges = np.cumsum(weights) / weights.sum()
    peak = np.searchsorted(edges, rng.random(count)).clip(max=len(weights) - 1)
    cut_in_peak = genome.offsets[genome.element_chrom[peak]] + genome.mids[peak]
    cut_in_peak = cut_in_peak + np.rint(rng.normal(0, CUT_SD_BP, count)).astype(np.int64)
    cut_anywhere = rng.integers(0, int(genome.sizes.sum()), count)
    cut = np.where(in_peak, cut_in_peak, cut_anywhere)
    length = draw_lengths(count, rng)
    forward = rng.random(count) < 0.5
    chrom = np.searchsorted(genome.offsets, cut, side="right") - 1
    local = cut - genome.offsets[chrom]
    start = np.where(forward, local, local - length + 1)
    end = start + length
    shift = np.maximum(0, -start) - np.maximum(0, end - genome.sizes[chrom])
    return chrom.astype(np.int64), start + shift, end + shift


def draw_lengths(count: int, rng: np.random.Generator) -> Ints:
    """Fragment lengths: nucleosome-free, one and two nucleosomes."""
    kind = np.searchsorted(np.cumsum([share for share, _, _ in LENGTHS]), rng.random(count)).clip(max=2)
    mean, sd = np.array([(mean, sd) for _, mean, sd in LENGTHS]).T
    length: Ints = np.maximum(20, np.rint(rng.normal(mean[kind], sd[kind]))).astype(np.int64)
    return length


def count_cuts(genome: RegulatoryGenome, fragments: Fragments, n_cells: int) -> sparse.csr_matrix:
    """(cells, peaks) cuts at `start` and `end - 1` that fall into called peaks."""
    base = genome.offsets[genome.element_chrom]
    starts = base + np.array([element.start for element in genome.elements], np.int64)
    ends = base + np.array([element.end for element in genome.elements], np.int64)
    offset = genome.offsets[fragments.chrom]
    cuts = np.concatenate([offset + fragments.start, offset + fragments.end - 1])
    cell = np.concatenate([fragments.barcode, fragments.barcode])
    peak = np.searchsorted(starts, cuts, side="right") - 1
    inside = (peak >= 0) & (cuts < ends[peak.clip(min=0)]) & (cell < n_cells)
    ones = np.ones(int(inside.sum()), np.int32)
    shape = (n_cells, len(genome.elements))
    return sparse.coo_matrix((ones, (cell[inside], peak[inside])), shape=shape).tocsr()
