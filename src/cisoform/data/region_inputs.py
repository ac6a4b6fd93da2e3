"""What a data set of regions will hold, decided before the first shard is written: regions, files, edges, shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.region_plan import RegionBuildConfig, draw, held_out, tile
from cisoform.data.region_shards import ShardTask, Source, read_region
from cisoform.data.regions import SHARDS
from cisoform.errors import InputError
from cisoform.genome.fasta import Genome
from cisoform.genome.files import PathLike
from cisoform.genome.names import map_chromosomes
from cisoform.genome.tracks import SignalTrack, TrackRow, read_bed
from cisoform.tokens.peaks import RELEASED_EDGES, mean_signal, quantile_edges

_QUANTILE_REGIONS = 64
_QUANTILE_STRIDE = 16


@dataclass(frozen=True)
class Plan:
    """All that is decided before the first shard is written."""

    chromosomes: list[str]
    regions: pl.DataFrame
    tracks: list[str]
    sources: dict[str, list[Source | None]]
    n_excluded: int
    warnings: list[str]


def make_plan(
    genome: Genome, table: list[TrackRow], blacklist: PathLike | None, config: RegionBuildConfig
) -> Plan:
    """Choose the regions of every sample.

    Raises:
        InputError: If a name is unknown, a track does not fit the genome, or nothing is left to train on.
    """
    samples = list(dict.fromkeys(row.sample for row in table))
    tracks = list(dict.fromkeys(row.track for row in table))
    for name in config.test_samples:
        if name not in samples:
            raise InputError(
                f"--test-samples {name!r} is not in the table of tracks; it has {', '.join(samples[:6])}"
            )
    if set(samples) <= set(config.test_samples):
        raise InputError("--test-samples names every sample; leave at least one to train on")
    test, valid = held_out(genome, config)
    wanted = list(config.chromosomes or genome.chroms)
    usable, sources, warnings = _cover(genome, table, samples, tracks, wanted)
    used = [name for name in wanted if any(name in chroms for chroms in usable.values())]
    spans = {} if blacklist is None else _blacklist(blacklist, genome)
    tiles = tile(genome, used, spans, config)
    if not len(tiles.start):
        raise InputError(
            f"{genome.path}: no window of {config.window + 5:,} bases is left on the chromosomes that the tracks cover "
            f"({', '.join(used[:4])}); {tiles.n_excluded} were dropped for N or blacklist: give a shorter --window"
        )
    regions = pl.concat(draw(tiles, usable, test, valid, config))
    counts = Counter(regions["split"].to_list())
    if not counts["train"]:
        raise InputError(
            "no region is left for training: every chromosome that the tracks cover is held out; "
            "hold out fewer with --test-chromosomes and --valid-chromosomes"
        )
    if not counts["test"]:
        warnings.append("nothing is held out for testing; name --test-chromosomes or --test-samples to score")
    if not counts["valid"]:
        warnings.append("no region is left for validation: the last weights of a training will be kept")
    drawn = Counter(regions["sample"].to_list())
    short = [name for name in samples if drawn[name] < (config.regions_per_sample or 0)]
    if short:
        warnings.append(
            f"{len(short)} of {len(samples)} samples have fewer than {config.regions_per_sample:,} usable windows "
            f"(the first: {short[0]} with {drawn[short[0]]:,}); all of them are taken"
        )
    present = set(regions["chrom"].to_list())
    chromosomes = [name for name in used if name in present]
    return Plan(chromosomes, regions, tracks, sources, tiles.n_excluded, warnings)


def _cover(
    genome: Genome, table: list[TrackRow], samples: list[str], tracks: list[str], wanted: list[str]
) -> tuple[dict[str, list[str]], dict[str, list[Source | None]], list[str]]:
    """Chromosomes that all tracks of a sample cover, its files in the order of the tracks, and what to say."""
    warnings = []
    files = Counter(row.path.resolve() for row in table)
    twice = [path for path, count in files.items() if count > 1]
    if twice:
        warnings.append(
            f"{len(twice)} files are listed for more than one track (the first: {twice[0].name}); is that meant?"
        )
    usable: dict[str, list[str]] = {}
    sources: dict[str, list[Source | None]] = {}
    lacking: dict[str, set[str]] = {}
    absent = 0
    for sample in samples:
        rows = {row.track: row for row in table if row.sample == sample}
        sources[sample] = [
            Source(str(rows[name].path.resolve()), rows[name].transform) if name in rows else None
            for name in tracks
        ]
        absent += len(tracks) - len(rows)
        common = set(wanted)
        for name, row in rows.items():
            covered = set(SignalTrack(row.path, genome.chroms, row.transform).chromosomes)
            for chrom in set(wanted) - covered:
                lacking.setdefault(chrom, set()).add(f"{sample}.{name}")
            common &= covered
        usable[sample] = [chrom for chrom in wanted if chrom in common]
    if not any(usable.values()):
        raise InputError(
            f"no chromosome of the genome ({', '.join(wanted[:4])}) is in all tracks of any sample; "
            "check that genome and tracks are of one assembly"
        )
    if lacking:
        first = next(chrom for chrom in wanted if chrom in lacking)
        warnings.append(
            f"{len(lacking)} of {len(wanted)} chromosomes are lacking in some track and left out of its sample "
            f"(the first: {first}, lacking in {len(lacking[first])} tracks)"
        )
    if absent:
        warnings.append(
            f"{absent} of {len(samples) * len(tracks)} pairs of sample and track were not measured"
        )
    return usable, sources, warnings


def _blacklist(path: PathLike, genome: Genome) -> dict[str, npt.NDArray[np.int64]]:
    spans = read_bed(path, "blacklist")
    if not spans:
        return {}
    try:
        names = map_chromosomes(spans, genome.chroms).names
    except InputError as error:
        raise InputError(f"{path}: {str(error).replace('the annotation', 'the blacklist')}") from None
    return {names[name]: found for name, found in spans.items() if name in names}


def find_edges(
    plan: Plan, config: RegionBuildConfig, lengths: tuple[tuple[str, int], ...]
) -> dict[str, list[float]]:
    """Edges of each track: the published ones, or quantiles over evenly chosen training regions of all samples."""
    if config.edges == "released":
        return {name: list(RELEASED_EDGES) for name in plan.tracks}
    training = plan.regions.filter(pl.col("split") == "train")
    found = {}
    for index, name in enumerate(plan.tracks):
        measured = [sample for sample, files in plan.sources.items() if files[index] is not None]
        rows = training.filter(pl.col("sample").is_in(measured))
        if not rows.height:
            raise InputError(
                f"track {name!r} is in no training sample; its quantile edges cannot be found: use released edges"
            )
        chosen = np.unique(np.linspace(0, rows.height - 1, _QUANTILE_REGIONS).round().astype(int))
        means = []
        for sample, chrom, start in rows[chosen.tolist()].select("sample", "chrom", "start").iter_rows():
            source = plan.sources[sample][index]
            assert source is not None
            values, _ = read_region(source, lengths, chrom, start, config.window)
            means.append(mean_signal(values)[::_QUANTILE_STRIDE])
        try:
            found[name] = list(quantile_edges(np.concatenate(means)))
        except ValueError as error:
            raise InputError(f"track {name!r}: {error}; use released edges or leave it out") from None
    return found


def make_tasks(
    partial: Path,
    plan: Plan,
    config: RegionBuildConfig,
    edges: dict[str, list[float]],
    lengths: tuple[tuple[str, int], ...],
) -> tuple[list[ShardTask], pl.DataFrame]:
    """Shards, each of one sample, and the regions with their place in them."""
    tasks: list[ShardTask] = []
    shard: list[int] = []
    row: list[int] = []
    for part in plan.regions.partition_by("sample", maintain_order=True):
        for begin in range(0, part.height, config.shard_rows):
            piece = part.slice(begin, config.shard_rows)
            tasks.append(
                ShardTask(
                    number=len(tasks),
                    folder=str(partial / SHARDS),
                    window=config.window,
                    places=tuple(piece.select("chrom", "start").iter_rows()),
                    training=tuple((piece["split"] == "train").to_list()),
                    sources=tuple(plan.sources[piece["sample"][0]]),
                    edges=tuple(tuple(edges[name]) for name in plan.tracks),
                    chromosomes=lengths,
                )
            )
            shard += [tasks[-1].number] * piece.height
            row += range(piece.height)
    places = [pl.Series("shard", shard, dtype=pl.Int32), pl.Series("row", row, dtype=pl.Int32)]
    return tasks, plan.regions.with_columns(places)
