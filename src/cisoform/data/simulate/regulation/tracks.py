"""Bulk signal of every group: accessibility as cuts, and four histone marks.

    atac       CPM of Tn5 cuts in 10-bp steps, drawn like the cells' fragments at the depth of a bulk experiment
    h3k27ac    50-bp steps: elements that raise, promoters, and some open elements that do nothing (primed)
    h3k27me3   elements that lower
    h3k4me1    open elements that are no promoters
    h3k4me3    promoters, more where the gene is expressed

Marks are broad around the middle of an element, scaled by its accessibility in the group, with gamma noise per
step and a low background. They follow binding, not the rules' effect on expression, so a rule that is off leaves
them as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.regulation.activity import Activity
from cisoform.data.simulate.regulation.cells import sample_fragments
from cisoform.data.simulate.regulation.config import RegulationConfig
from cisoform.data.simulate.regulation.genome import RegulatoryGenome
from cisoform.data.simulate.regulation.motifs import Roster
from cisoform.data.simulate.regulation.rules import Book, Floats, Readout, binding

MARKS = ("h3k27ac", "h3k27me3", "h3k4me1", "h3k4me3")
TRACKS = ("atac", *MARKS)
ATAC_STEP_BP, MARK_STEP_BP = 10, 50
MARK_SD_BP, MARK_REACH_BP = 350, 1_200
HEIGHT = {"h3k27ac": 20.0, "h3k27me3": 14.0, "h3k4me1": 12.0, "h3k4me3": 30.0}
BACKGROUND, BACKGROUND_STEPS = 0.25, 10  # mean signal outside elements, and how many steps share a value
NOISE_SHAPE = 8.0
PRIMED_SHARE = 0.5  # of the open elements that do nothing carry H3K27ac


def mark_levels(
    config: RegulationConfig, roster: Roster, genome: RegulatoryGenome, book: Book, readout: Readout
) -> dict[str, Floats]:
    """(elements, groups) expected height of each mark at the middle of each element, in [0, HEIGHT]."""
    rng = np.random.default_rng([config.seed, 109])
    sign = np.array([tf.sign for tf in roster.binding])
    bound = binding(book)
    total = bound.sum(1)
    safe = np.where(total > 0, total, 1.0)
    raising = readout.opened * bound[:, sign > 0].sum(1) / safe
    lowering = readout.opened * bound[:, sign < 0].sum(1) / safe
    idle = np.maximum(readout.accessibility - raising - lowering, 0.0)
    kinds = np.array([element.kind for element in genome.elements])
    promoter = (kinds == "promoter")[:, None]
    primed = (rng.random(len(kinds)) < PRIMED_SHARE)[:, None]
    expressed = np.full((len(kinds), 1), 0.5)
    rank = readout.log_rate.mean(1).argsort().argsort() / len(genome.genes)
    for number, element in enumerate(genome.elements):
        if element.kind == "promoter" and element.gene is not None:
            expressed[number] = 0.3 + 0.7 * rank[element.gene]
    levels = {
        "h3k27ac": raising
        + np.where(promoter, 0.5 * readout.accessibility, np.where(primed, 0.7 * idle, 0.0)),
        "h3k27me3": lowering,
        "h3k4me1": np.where(promoter, 0.1, 1.0) * readout.accessibility,
        "h3k4me3": np.where(promoter, expressed, 0.03) * readout.accessibility,
    }
    return {mark: HEIGHT[mark] * np.minimum(level, 1.0) for mark, level in levels.items()}


def atac_signal(
    config: RegulationConfig, genome: RegulatoryGenome, readout: Readout, group: int
) -> npt.NDArray[np.float32]:
    """CPM of cuts in 10-bp steps of all chromosomes end to end (the last step of each may be short)."""
    rng = np.random.default_rng([config.seed, 110, group])
    weights = readout.accessibility[:, group] * genome.height
    chrom, start, end = sample_fragments(genome, weights, config.bulk_fragments, rng)
    begin = step_offsets(genome, ATAC_STEP_BP)
    cuts = np.concatenate([begin[chrom] + start // ATAC_STEP_BP, begin[chrom] + (end - 1) // ATAC_STEP_BP])
    counts = np.bincount(cuts, minlength=int(begin[-1]))
    return np.round(counts * (1e6 / len(cuts)), 3).astype(np.float32)


def mark_signal(
    config: RegulationConfig, genome: RegulatoryGenome, level: Floats, group: int, mark: str
) -> npt.NDArray[np.float32]:
    """Signal of a mark in 50-bp steps of all chromosomes end to end."""
    rng = np.random.default_rng([config.seed, 111, group, MARKS.index(mark)])
    begin = step_offsets(genome, MARK_STEP_BP)
    n_steps = int(begin[-1])
    blocks = rng.gamma(0.5, BACKGROUND / 0.5, -(-n_steps // BACKGROUND_STEPS))
    signal = np.repeat(blocks, BACKGROUND_STEPS)[:n_steps]
    reach = MARK_REACH_BP // MARK_STEP_BP
    steps = genome.mids[:, None] // MARK_STEP_BP + np.arange(-reach, reach + 1)
    away = (steps + 0.5) * MARK_STEP_BP - genome.mids[:, None]
    values = level[:, group, None] * np.exp(-0.5 * (away / MARK_SD_BP) ** 2)
    values = values * rng.gamma(NOISE_SHAPE, 1 / NOISE_SHAPE, values.shape)
    last = (begin[1:] - begin[:-1])[genome.element_chrom][:, None]
    inside = (steps >= 0) & (steps < last)
    np.add.at(signal, (begin[genome.element_chrom][:, None] + steps)[inside], values[inside])
    return np.round(signal, 2).astype(np.float32)


def step_offsets(genome: RegulatoryGenome, step_bp: int) -> npt.NDArray[np.int64]:
    """Where the steps of each chromosome begin, and their number as the last entry."""
    return np.concatenate([[0], np.cumsum(-(-genome.sizes // step_bp))]).astype(np.int64)


def track_signal(
    config: RegulationConfig,
    genome: RegulatoryGenome,
    readout: Readout,
    levels: dict[str, Floats],
    group: int,
    track: str,
) -> tuple[npt.NDArray[np.float32], int]:
    """Signal and step of one track of one group."""
    if track == "atac":
        return atac_signal(config, genome, readout, group), ATAC_STEP_BP
    return mark_signal(config, genome, levels[track], group, track), MARK_STEP_BP


def runs(
    genome: RegulatoryGenome, signal: npt.NDArray[np.float32], step_bp: int
) -> Iterator[tuple[str, int, int, float]]:
    """The signal as (chromosome, start, end, value) with equal neighbours joined; every base is covered."""
    begin = step_offsets(genome, step_bp)
    for number, name in enumerate(genome.names):
        values = signal[begin[number] : begin[number + 1]]
        first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        starts = first * step_bp
        ends = np.concatenate([starts[1:], [genome.sizes[number]]])
        yield from zip(
            [name] * len(first), starts.tolist(), ends.tolist(), values[first].tolist(), strict=True
        )


def chip_table(
    activity: Activity, roster: Roster, genome: RegulatoryGenome, book: Book
) -> dict[str, npt.NDArray[np.float64]]:
    """TF -> (elements, groups) occupancy from 0 to 1; decoys never bind."""
    bound = binding(book)
    return {tf.name: bound[:, number] / (1 + bound[:, number]) for number, tf in enumerate(roster.binding)}
