"""Which regions a data set gets: tiles of the genome, without N and blacklist, drawn per sample, and their split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.regions import BIN_SIZE
from cisoform.errors import InputError
from cisoform.genome.fasta import Genome
from cisoform.genome.sequence import BASE_N
from cisoform.tokens.peaks import K

PUBLISHED_TEST, PUBLISHED_VALID = ("chr8", "chr10"), ("chr9",)
VALID_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class RegionBuildConfig:
    """How regions are chosen and cut.

    Attributes:
        window: Tokens of a region, a multiple of 128; regions are tiles of window + 5 bases.
        regions_per_sample: Regions drawn for each sample; None = all.
        max_excluded: Largest share of bases that are N or blacklisted.
        chromosomes: Use these alone. None: all that the tracks cover.
        test_chromosomes: Held out for testing. None: chr8 and chr10, where the genome has both.
        valid_chromosomes: Held out for choosing weights. None: chr9 where the genome has it, else 5 % of the
            training tiles, the same in every sample.
        test_samples: Samples that training does not see.
        edges: "released", or "quantile": of each track's positive 6-bp means in training regions.
        shard_rows: Regions a shard.
        seed: Another seed draws other regions.
    """

    window: int = 32_768
    regions_per_sample: int | None = None
    max_excluded: float = 0.05
    chromosomes: tuple[str, ...] | None = None
    test_chromosomes: tuple[str, ...] | None = None
    valid_chromosomes: tuple[str, ...] | None = None
    test_samples: tuple[str, ...] = ()
    edges: Literal["released", "quantile"] = "released"
    shard_rows: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.window < BIN_SIZE or self.window % BIN_SIZE:
            raise InputError(f"--window {self.window}: must be a multiple of {BIN_SIZE} base pairs")
        if self.regions_per_sample is not None and self.regions_per_sample < 1:
            raise InputError(f"--regions-per-sample {self.regions_per_sample}: must be at least 1")
        if not 0 <= self.max_excluded < 1:
            raise InputError(f"max_excluded={self.max_excluded} must be at least 0 and below 1")
        both = set(self.test_chromosomes or ()) & set(self.valid_chromosomes or ())
        if both:
            raise InputError(f"chromosome {sorted(both)[0]!r} is held out both for test and for validation")


@dataclass(frozen=True)
class Tiles:
    """Usable tiles of the genome, in genome order.

    Attributes:
        chrom: Chromosome of each.
        start: First base of each.
        n_excluded: Tiles that were dropped for N or blacklist.
    """

    chrom: npt.NDArray[Any]
    start: npt.NDArray[np.int64]
    n_excluded: int


def held_out(genome: Genome, config: RegionBuildConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Test and validation chromosomes: those named, else the published ones where the genome has them.

    Raises:
        InputError: If a named one is not in the genome.
    """
    for name in (
        *(config.test_chromosomes or ()),
        *(config.valid_chromosomes or ()),
        *(config.chromosomes or ()),
    ):
        genome.chrom_length(name)
    test, valid = config.test_chromosomes, config.valid_chromosomes
    if test is None:
        known = all(name in genome for name in PUBLISHED_TEST)
        test = tuple(name for name in PUBLISHED_TEST if known and name not in (valid or ()))
    if valid is None:
        valid = tuple(name for name in PUBLISHED_VALID if name in genome and name not in test)
    return test, valid


def tile(
    genome: Genome,
    chromosomes: Sequence[str],
    blacklist: Mapping[str, npt.NDArray[np.int64]],
    config: RegionBuildConfig,
) -> Tiles:
    """Non-overlapping tiles of window + 5 bases of the given chromosomes that have few excluded bases.

    Args:
        genome: The genome; one chromosome is in memory at a time.
        chromosomes: Which, in order.
        blacklist: Spans (n, 2) by the genome's names.
        config: Window and limit.
    """
    length = config.window + K - 1
    chroms: list[str] = []
    starts: list[npt.NDArray[np.int64]] = []
    n_excluded = 0
    for chrom in chromosomes:
        n_tiles = genome.chroms[chrom] // length
        if not n_tiles:
            continue
        excluded = genome.chromosome(chrom)[: n_tiles * length] == BASE_N
        for start, end in blacklist.get(chrom, np.empty((0, 2), dtype=np.int64)):
            excluded[start:end] = True
        share = excluded.reshape(n_tiles, length).mean(axis=1)
        kept = np.flatnonzero(share <= config.max_excluded)
        n_excluded += n_tiles - len(kept)
        chroms += [chrom] * len(kept)
        starts.append(kept * length)
    start = np.concatenate(starts) if starts else np.empty(0, dtype=np.int64)
    return Tiles(np.array(chroms, dtype=np.str_), start.astype(np.int64), n_excluded)


def draw(
    tiles: Tiles,
    usable: Mapping[str, Sequence[str]],
    test: Sequence[str],
    valid: Sequence[str],
    config: RegionBuildConfig,
) -> Iterator[pl.DataFrame]:
    """Regions of each sample in turn: sample, chrom, start, split.

    Training tiles are drawn for each sample by itself, so that the samples together see most of the genome; tiles
    that are held out are drawn alike for all, so that samples can be compared on them. A sample that is held out
    has no part in training or validation: all its regions are "test".

    Args:
        tiles: Usable tiles.
        usable: Per sample, the chromosomes that its tracks cover.
        test: Test chromosomes.
        valid: Validation chromosomes; empty: some of the other tiles.
        config: Number of regions, held-out samples, seed.
    """
    n = len(tiles.start)
    shared = np.random.default_rng([config.seed, 0])
    shared_key, valid_key = shared.random(n), shared.random(n)
    is_test, is_valid = np.isin(tiles.chrom, test), np.isin(tiles.chrom, valid)
    seen = ~is_test & ~is_valid
    if not valid:
        is_valid = ~is_test & (valid_key < VALID_SHARE)
        if not is_valid.any() and (~is_test).sum() > 1:
            is_valid = ~is_test & (valid_key == valid_key[~is_test].min())
    for sample, chroms in usable.items():
        own = np.random.default_rng([config.seed, 1, crc32(sample.encode())]).random(n)
        key = np.where(is_test | is_valid, shared_key, own)
        unseen = sample in config.test_samples
        possible = np.isin(tiles.chrom, list(chroms)) & ~(is_valid & unseen)
        order = np.flatnonzero(possible)
        order = order[np.argsort(key[order], kind="stable")]
        chosen = np.sort(order[: config.regions_per_sample])
        split = np.where(is_test[chosen] | unseen, "test", np.where(is_valid[chosen], "valid", "train"))
        yield pl.DataFrame(
            {
                "sample": [sample] * len(chosen),
                "chrom": tiles.chrom[chosen].tolist(),
                "start": tiles.start[chosen],
                "split": split.tolist(),
                "seen_chrom": seen[chosen].tolist(),
                "seen_sample": [not unseen] * len(chosen),
            },
            schema={
                "sample": pl.String,
                "chrom": pl.String,
                "start": pl.Int64,
                "split": pl.String,
                "seen_chrom": pl.Boolean,
                "seen_sample": pl.Boolean,
            },
        )
