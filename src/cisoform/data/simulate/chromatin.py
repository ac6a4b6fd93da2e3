"""Promoters that are open or closed in each tissue, which no sequence says, and accessibility tracks that show it.

Off unless `Shares.chromatin` is above 0; then a start that is open in a tissue raises its transcripts there. The
tracks (`atac`, one per tissue) are noisy, and peaks that do nothing lie between the starts. Our rule: it stands for
whatever sets the state of a promoter from outside the window that a model sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.config import SimulateConfig
from cisoform.data.simulate.genome import SimulatedGenome

RULE, TRACK = "chromatin", "atac"
STEP_BP = 10
OPEN_SHARE = 0.5
HEIGHT_OPEN, HEIGHT_CLOSED = 12.0, 1.5
UPSTREAM_BP, SD_BP, REACH_BP = (
    50,
    120,
    400,
)  # where a peak's middle lies before its start, its spread, its end
BACKGROUND, PEAK_SHAPE, STEP_SHAPE = 0.3, 4.0, 8.0  # mean outside peaks; gamma noise of a peak and of a step
DEPTH_SD = 0.2  # of the logarithm of a tissue's depth

Matrix = npt.NDArray[np.float64]
Start = tuple[str, int, str]


def starts(genome: SimulatedGenome) -> tuple[list[Start], npt.NDArray[np.int64]]:
    """Distinct starts as (chromosome, 0-based first transcribed base, strand), and the one of each transcript."""
    places: list[Start] = []
    for placed in genome.genes:
        for isoform in placed.gene.isoforms:
            first, end = placed.span((isoform.exons[0][0], isoform.exons[0][0] + 1))
            places.append((placed.chrom, first if placed.strand == "+" else end - 1, placed.strand))
    distinct = list(dict.fromkeys(places))
    number = {place: index for index, place in enumerate(distinct)}
    return distinct, np.array([number[place] for place in places], dtype=np.int64)


def open_states(config: SimulateConfig, n_starts: int) -> npt.NDArray[np.bool_]:
    """Whether each start is open in each tissue, `(starts, tissues)`: drawn, not derived from anything."""
    rng = np.random.default_rng([config.seed, 5])
    return rng.random((n_starts, config.n_tissues)) < OPEN_SHARE


def contribution(config: SimulateConfig, genome: SimulatedGenome) -> Matrix:
    """Effect of the state on log1p TPM, `(transcripts, tissues)`, with the variance that its share asks for."""
    places, row = starts(genome)
    share = config.shares.of_rule(RULE)
    size = np.sqrt(share / (OPEN_SHARE * (1 - OPEN_SHARE)))
    return np.asarray((open_states(config, len(places)) - OPEN_SHARE)[row] * size, dtype=np.float64)


def signal(config: SimulateConfig, genome: SimulatedGenome, tissue: int) -> dict[str, Matrix]:
    """Accessibility of one tissue in steps of `STEP_BP`, by chromosome (the last step may be short)."""
    rng = np.random.default_rng([config.seed, 6, tissue])
    places, _ = starts(genome)
    states = open_states(config, len(places))[:, tissue]
    idle = _idle_places(config, genome, len(places) // 2)
    opened = np.concatenate([states, rng.random(len(idle)) < OPEN_SHARE])
    height = np.where(opened, HEIGHT_OPEN, HEIGHT_CLOSED) * rng.gamma(PEAK_SHAPE, 1 / PEAK_SHAPE, len(opened))
    middles = [
        (chrom, at - UPSTREAM_BP if strand == "+" else at + UPSTREAM_BP) for chrom, at, strand in places
    ]
    depth = np.exp(rng.normal(0, DEPTH_SD))
    found = {}
    for chrom, codes in genome.chromosomes.items():
        level = np.full(-(-len(codes) // STEP_BP), BACKGROUND)
        for (name, middle), top in zip([*middles, *idle], height.tolist(), strict=True):
            if name == chrom:
                _raise(level, middle, top)
        found[chrom] = level * rng.gamma(STEP_SHAPE, 1 / STEP_SHAPE, len(level)) * depth
    return found


def _raise(level: Matrix, middle: int, top: float) -> None:
    """Put a peak into the signal, in place; where two meet, the higher counts."""
    first = max(0, (middle - REACH_BP) // STEP_BP)
    end = min(len(level), (middle + REACH_BP) // STEP_BP + 1)
    away = (np.arange(first, end) + 0.5) * STEP_BP - middle
    level[first:end] = np.maximum(level[first:end], top * np.exp(-0.5 * (away / SD_BP) ** 2))


def _idle_places(config: SimulateConfig, genome: SimulatedGenome, n: int) -> list[tuple[str, int]]:
    """Middles of peaks that do nothing, the same in all tissues."""
    rng = np.random.default_rng([config.seed, 7])
    names = list(genome.chromosomes)
    sizes = np.array([len(genome.chromosomes[name]) for name in names])
    chosen = rng.choice(len(names), n, p=sizes / sizes.sum())
    at = (rng.random(n) * sizes[chosen]).astype(np.int64)
    return [(names[chrom], place) for chrom, place in zip(chosen.tolist(), at.tolist(), strict=True)]


def write_tracks(config: SimulateConfig, genome: SimulatedGenome, folder: Path) -> None:
    """A bigWig per tissue under `tracks/`, and `tracks.tsv`, whose samples are the tissues of the expression."""
    import pybigtools

    (folder / "tracks").mkdir(exist_ok=True)
    sizes = {name: len(codes) for name, codes in genome.chromosomes.items()}
    rows = ["sample\ttrack\tpath"]
    for number, tissue in enumerate(config.tissues):
        name = f"tracks/{tissue}.{TRACK}.bw"
        pybigtools.open(str(folder / name), "w").write(sizes, _runs(signal(config, genome, number), sizes))
        rows.append(f"{tissue}\t{TRACK}\t{name}")
    (folder / "tracks.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


def _runs(levels: dict[str, Matrix], sizes: dict[str, int]) -> Iterator[tuple[str, int, int, float]]:
    for name, values in levels.items():
        for step, value in enumerate(np.round(values, 3).tolist()):
            yield name, step * STEP_BP, min((step + 1) * STEP_BP, sizes[name]), value
