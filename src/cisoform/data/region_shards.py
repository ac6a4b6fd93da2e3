"""One shard of regions: read the tracks of its sample, cut them into levels, write the files; run by workers.

A shard is finished when its small JSON file stands: it is written last and names the hashes of the others. The
bytes of a shard depend on its task alone, so a build that was killed goes on with the shards that are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.data.regions import BIN_SIZE, mean_file, token_file
from cisoform.errors import InputError
from cisoform.genome.files import atomic_write, read_json, sha256_file, write_json
from cisoform.genome.tracks import SignalTrack
from cisoform.tokens.peaks import SIGNAL_VOCABULARY, K, mean_signal, signal_levels


@dataclass(frozen=True)
class Source:
    """File and transform of one track of a sample."""

    path: str
    transform: str


@dataclass(frozen=True)
class ShardTask:
    """What a worker needs to write a shard.

    Attributes:
        number: Number of the shard.
        folder: Where to write.
        window: Tokens a region.
        places: Chromosome and first base of each region.
        training: Which regions count for the frequencies of the levels.
        sources: Per track in the data set's order, its file; None where it was not measured.
        edges: Edges per track.
        chromosomes: Lengths of the genome's chromosomes.
    """

    number: int
    folder: str
    window: int
    places: tuple[tuple[str, int], ...]
    training: tuple[bool, ...]
    sources: tuple[Source | None, ...]
    edges: tuple[tuple[float, ...], ...]
    chromosomes: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class ShardResult:
    """A finished shard.

    Attributes:
        rows: Regions in it.
        tokens_sha256: Hash of its levels.
        means_sha256: Hash of its bin means.
        token_counts: Per track, how often each level occurs in tokens of training regions.
        bin_counts: Likewise for bins.
        n_empty: Per track, bases without a value in the file.
    """

    rows: int
    tokens_sha256: str
    means_sha256: str
    token_counts: list[list[int]]
    bin_counts: list[list[int]]
    n_empty: list[int]


# A worker goes through the shards of a sample one after the other, and a bedGraph is read whole.
@lru_cache(maxsize=16)
def _track(path: str, transform: str, chromosomes: tuple[tuple[str, int], ...]) -> SignalTrack:
    return SignalTrack(path, dict(chromosomes), transform)


def read_region(
    source: Source, chromosomes: tuple[tuple[str, int], ...], chrom: str, start: int, window: int
) -> tuple[npt.NDArray[np.float64], int]:
    """Signal of the window + 5 bases of a region, and how many of them have no value in the file."""
    return _track(source.path, source.transform, chromosomes).read(chrom, start, start + window + K - 1)


def write_shard(task: ShardTask) -> ShardResult:
    """Read, cut and write one shard.

    Raises:
        InputError: If a track cannot be read or holds impossible values, or the disk is full.
    """
    rows, n_tracks = len(task.places), len(task.sources)
    tokens = np.zeros((rows, n_tracks, task.window), dtype=np.uint8)
    means = np.zeros((rows, n_tracks, task.window // BIN_SIZE), dtype=np.float32)
    counts = np.zeros((2, n_tracks, SIGNAL_VOCABULARY), dtype=np.int64)
    n_empty = [0] * n_tracks
    for index, source in enumerate(task.sources):
        if source is None:
            continue
        for row, (chrom, start) in enumerate(task.places):
            values, empty = read_region(source, task.chromosomes, chrom, start, task.window)
            n_empty[index] += empty
            tokens[row, index] = signal_levels(mean_signal(values), task.edges[index])
            means[row, index] = values[: task.window].reshape(-1, BIN_SIZE).mean(axis=1)
            if task.training[row]:
                levels = signal_levels(means[row, index].astype(np.float64), task.edges[index])
                counts[0, index] += np.bincount(tokens[row, index], minlength=SIGNAL_VOCABULARY)
                counts[1, index] += np.bincount(levels, minlength=SIGNAL_VOCABULARY)
    folder = Path(task.folder)
    result = ShardResult(
        rows=rows,
        tokens_sha256=_save(folder / token_file(task.number), tokens),
        means_sha256=_save(folder / mean_file(task.number), means),
        token_counts=counts[0].tolist(),
        bin_counts=counts[1].tolist(),
        n_empty=n_empty,
    )
    write_json(_result_file(folder, task.number), asdict(result))
    return result


def finished_shard(task: ShardTask) -> ShardResult | None:
    """The result of a shard that an earlier build finished; None if it is not there or not as recorded."""
    folder = Path(task.folder)
    if not _result_file(folder, task.number).exists():
        return None
    try:
        found: Mapping[str, Any] = read_json(_result_file(folder, task.number))
        result = ShardResult(**found)
        same = (
            sha256_file(folder / token_file(task.number)) == result.tokens_sha256
            and sha256_file(folder / mean_file(task.number)) == result.means_sha256
        )
    except (InputError, TypeError):
        return None
    return result if same else None


def _result_file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.json"


def _save(path: Path, array: npt.NDArray[Any]) -> str:
    with atomic_write(path, "wb") as handle:
        np.save(handle, array, allow_pickle=False)
    return sha256_file(path)
