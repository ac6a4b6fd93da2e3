"""Build a data set of regions from a genome and a table of tracks: streamed, parallel, and resumable after a kill.

The folder is filled as `NAME.partial` and renamed when it is whole. A build that is started again with the same
inputs and settings keeps the shards that are finished there, and ends with the same bytes. Memory is one shard a
worker and one chromosome.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import cisoform
from cisoform.data.isoform_dataset import save_in_pieces
from cisoform.data.region_inputs import Plan, find_edges, make_plan, make_tasks
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.region_shards import (
    ShardResult,
    ShardTask,
    finished_shard,
    write_shard,
)
from cisoform.data.regions import (
    BIN_SIZE,
    FORMAT,
    FORMAT_VERSION,
    GENOME,
    MANIFEST,
    REGIONS,
    SHARDS,
    SPLITS,
    content_hash,
    mean_file,
    token_file,
)
from cisoform.errors import InputError
from cisoform.genome.fasta import Genome
from cisoform.genome.files import PathLike, read_json, sha256_file, write_error, write_json
from cisoform.genome.tracks import TrackRow, read_track_table

Progress = Callable[[str, float], None]
_MANY_EMPTY = 0.5


@dataclass(frozen=True)
class RegionBuildSummary:
    """What was built, for the caller to show.

    Attributes:
        path: The data set.
        hash: SHA-256 of its content.
        n_regions: Regions of all samples.
        regions: Number of regions by split.
        four_way: Number of regions by "seen|unseen chromosome, seen|unseen sample", validation left out.
        tracks: Names of the tracks.
        samples: Names of the samples.
        n_bytes: Size of the shards.
        n_excluded: Tiles dropped for N or blacklist.
        resumed: Shards kept from an earlier, interrupted build.
        warnings: Lines for the user.
    """

    path: Path
    hash: str
    n_regions: int
    regions: dict[str, int]
    four_way: dict[str, int]
    tracks: list[str]
    samples: list[str]
    n_bytes: int
    n_excluded: int
    resumed: int
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {**asdict(self), "path": str(self.path)}


def build_regions(
    genome: PathLike,
    tracks: PathLike,
    out: PathLike,
    config: RegionBuildConfig | None = None,
    *,
    blacklist: PathLike | None = None,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
    planned: Callable[[int, int], None] | None = None,
) -> RegionBuildSummary:
    """Build a data set folder.

    Args:
        genome: FASTA.
        tracks: Table of tracks (`genome.tracks.read_track_table`).
        out: Folder to write; it must not exist, or be empty, unless `overwrite`.
        config: Settings.
        blacklist: BED of bases to avoid.
        workers: Processes that write shards.
        overwrite: Replace a data set at `out`.
        progress: Called with what is being done and the share done.
        planned: Called with the number of regions and bytes before the shards are written.

    Raises:
        InputError: At the first thing that does not fit. Nothing is then left under `out`; finished shards stay
            in `OUT.partial` for the next try.
    """
    config, out = config or RegionBuildConfig(), Path(out)
    say = progress or _silent
    if workers < 1:
        raise InputError(f"--workers {workers}: at least one is needed")
    _check_target(out, overwrite)
    say("reading the tables", 0.0)
    table = read_track_table(tracks)
    opened = Genome.open(genome)
    plan = make_plan(opened, table, blacklist, config)
    n_bytes = plan.regions.height * len(plan.tracks) * (config.window + 4 * (config.window // BIN_SIZE))
    if planned is not None:
        planned(plan.regions.height, n_bytes)
    with _partial_folder(out) as partial:
        say("hashing the inputs", 0.0)
        inputs = _hash_inputs(partial, genome, tracks, blacklist, table)
        lengths = tuple(opened.chroms.items())
        edges = find_edges(plan, config, lengths)
        _begin(
            partial, {"settings": asdict(config), "inputs": inputs, "edges": edges, "format": FORMAT_VERSION}
        )
        tasks, regions = make_tasks(partial, plan, config, edges, lengths)
        results, resumed = _run(tasks, workers, say)
        say("writing the genome", 1.0)
        manifest = _finish(partial, opened, plan, regions, tasks, results, edges, config, inputs)
        _publish(partial, out, overwrite)
    say("done", 1.0)
    kept = regions.filter(pl.col("split") != "valid")
    return RegionBuildSummary(
        path=out,
        hash=manifest["hash"],
        n_regions=regions.height,
        regions=manifest["splits"],
        four_way=_four_way(kept),
        tracks=plan.tracks,
        samples=list(plan.sources),
        n_bytes=n_bytes,
        n_excluded=plan.n_excluded,
        resumed=resumed,
        warnings=manifest["warnings"],
    )


def _silent(text: str, share: float) -> None:
    """Progress of a caller who wants none."""


def _check_target(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, but a folder is to be written there; choose another name")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise InputError(f"{out}: already exists; remove it, choose another name or give --overwrite")
        if not (out / MANIFEST).exists():
            raise InputError(f"{out}: is no data set, so --overwrite leaves it alone; choose another name")


@contextlib.contextmanager
def _partial_folder(out: Path) -> Iterator[Path]:
    """`OUT.partial`, for this build alone; it stays behind when the build fails, unless no shard was finished."""
    partial = out.with_name(f"{out.name}.partial")
    try:
        (partial / SHARDS).mkdir(parents=True, exist_ok=True)
        lock = (partial / "lock").open("w")
    except OSError as error:
        raise write_error(partial, error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"{partial}: another build is writing there; wait for it or choose another --out"
            ) from None
        try:
            yield partial
        finally:
            if partial.exists() and not any((partial / SHARDS).glob("*.json")):
                shutil.rmtree(partial, ignore_errors=True)


def _hash_inputs(
    partial: Path, genome: PathLike, tracks: PathLike, blacklist: PathLike | None, table: list[TrackRow]
) -> dict[str, Any]:
    """Name and SHA-256 of every input. Hashes of a build that is continued are kept where size and time agree."""
    cache_file = partial / "hashes.json"
    cache: dict[str, str] = {}
    if cache_file.exists():
        with contextlib.suppress(InputError):
            cache = read_json(cache_file)
    fresh: dict[str, str] = {}

    def digest(path: PathLike) -> str:
        status = os.stat(path)
        key = f"{Path(path).resolve()}|{status.st_size}|{status.st_mtime_ns}"
        fresh[key] = cache.get(key) or fresh.get(key) or sha256_file(path)
        return fresh[key]

    named = {"genome": genome, "tracks": tracks, "blacklist": blacklist}
    inputs: dict[str, Any] = {
        what: {"name": Path(path).name, "sha256": digest(path)}
        for what, path in named.items()
        if path is not None
    }
    inputs["signals"] = [
        {
            "sample": row.sample,
            "track": row.track,
            "name": row.path.name,
            "transform": row.transform,
            "sha256": digest(row.path),
        }
        for row in table
    ]
    write_json(cache_file, fresh)
    return inputs


def _begin(partial: Path, plan: dict[str, Any]) -> None:
    """Keep what an earlier build of the same plan has left; clear everything else."""
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    file = partial / "plan.json"
    same = False
    if file.exists():
        with contextlib.suppress(InputError):
            same = read_json(file) == {"sha256": digest}
    if not same:
        shutil.rmtree(partial / SHARDS, ignore_errors=True)
        (partial / SHARDS).mkdir()
        write_json(file, {"sha256": digest})


def _run(tasks: Sequence[ShardTask], workers: int, say: Progress) -> tuple[list[ShardResult], int]:
    """Results of all shards, in order, and how many of them were there already."""
    results: dict[int, ShardResult] = {}
    for task in tasks:
        found = finished_shard(task)
        if found is not None:
            results[task.number] = found
    resumed = len(results)
    missing = [task for task in tasks if task.number not in results]
    for task, result in zip(missing, _write(missing, workers), strict=True):
        results[task.number] = result
        say("cutting signals", len(results) / len(tasks))
    return [results[task.number] for task in tasks], resumed


def _write(tasks: Sequence[ShardTask], workers: int) -> Iterator[ShardResult]:
    if workers == 1 or len(tasks) < 2:
        yield from map(write_shard, tasks)
        return
    # Fresh processes: nothing of the caller's threads is carried over.
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_leave_with_parent,
    )
    try:
        yield from pool.map(write_shard, tasks)
    except BrokenProcessPool:
        raise InputError(
            "a worker process was killed, perhaps for memory; run the same command again with fewer --workers: "
            "finished shards are kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _finish(
    partial: Path,
    genome: Genome,
    plan: Plan,
    regions: pl.DataFrame,
    tasks: Sequence[ShardTask],
    results: Sequence[ShardResult],
    edges: dict[str, list[float]],
    config: RegionBuildConfig,
    inputs: dict[str, Any],
) -> dict[str, Any]:
    """Write genome, table of regions and manifest; remove what was needed only while building."""
    chromosomes, offset = [], 0
    for name in plan.chromosomes:
        chromosomes.append({"name": name, "start": offset, "length": genome.chroms[name]})
        offset += genome.chroms[name]
    try:
        save_in_pieces(
            partial / GENOME, np.uint8, (offset,), (genome.chromosome(name) for name in plan.chromosomes)
        )
        regions.write_parquet(partial / REGIONS, statistics=False)
    except OSError as error:
        raise write_error(partial, error) from None
    counts = np.array([[r.token_counts, r.bin_counts] for r in results]).sum(axis=0)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "cisoform_version": cisoform.__version__,
        "window": config.window,
        "tracks": plan.tracks,
        "samples": list(plan.sources),
        "test_samples": list(config.test_samples),
        "measured": {
            sample: [name for name, source in zip(plan.tracks, files, strict=True) if source is not None]
            for sample, files in plan.sources.items()
        },
        "edges": edges,
        "chromosomes": chromosomes,
        "n_regions": regions.height,
        "splits": {name: int((regions["split"] == name).sum()) for name in SPLITS},
        "n_excluded": plan.n_excluded,
        "level_counts": {
            name: {"tokens": counts[0, i].tolist(), "bins": counts[1, i].tolist()}
            for i, name in enumerate(plan.tracks)
        },
        "settings": json.loads(json.dumps(asdict(config))),
        "inputs": inputs,
        "warnings": [*plan.warnings, *_empty_warnings(plan.tracks, tasks, results)],
        "files": {name: sha256_file(partial / name) for name in (GENOME, REGIONS)},
        "shards": [
            {"rows": r.rows, "tokens_sha256": r.tokens_sha256, "means_sha256": r.means_sha256}
            for r in results
        ],
    }
    manifest["hash"] = content_hash(manifest)
    write_json(partial / MANIFEST, manifest)
    wanted = {name(task.number) for task in tasks for name in (token_file, mean_file)}
    for file in (partial / SHARDS).iterdir():
        if file.name not in wanted:
            file.unlink()
    for name in ("hashes.json", "plan.json"):
        (partial / name).unlink()
    return manifest


def _empty_warnings(
    tracks: Sequence[str], tasks: Sequence[ShardTask], results: Sequence[ShardResult]
) -> list[str]:
    """Tracks most of whose bases have no value: right for sparse signal, wrong for a track of one region."""
    said = []
    for index, name in enumerate(tracks):
        measured = [
            (task, result)
            for task, result in zip(tasks, results, strict=True)
            if task.sources[index] is not None
        ]
        bases = sum(len(task.places) * (task.window + 5) for task, _ in measured)
        empty = sum(result.n_empty[index] for _, result in measured)
        if bases and empty > _MANY_EMPTY * bases:
            said.append(
                f"track {name}: {empty:,} of {bases:,} bases have no value in the files and count as 0; "
                "is the signal as sparse as that?"
            )
    return said


def _publish(partial: Path, out: Path, overwrite: bool) -> None:
    for file in partial.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    (partial / "lock").unlink()
    old = out.with_name(f"{out.name}.old-{os.getpid()}")
    if out.exists():
        if not overwrite:
            _check_target(out, overwrite)
            out.rmdir()
        else:
            out.replace(old)
    partial.replace(out)
    shutil.rmtree(old, ignore_errors=True)


def _four_way(regions: pl.DataFrame) -> dict[str, int]:
    counts = Counter(regions.select("seen_chrom", "seen_sample").iter_rows())
    word = {True: "seen", False: "unseen"}
    return {
        f"{word[chrom]} chromosome, {word[sample]} sample": counts[(chrom, sample)]
        for chrom in (True, False)
        for sample in (True, False)
    }
