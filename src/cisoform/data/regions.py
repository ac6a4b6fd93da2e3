"""A data set of regions: windows of the genome with the signal levels of every track, for pre-training Elementary.

On disk, one folder: `manifest.json`; `genome.npy`, base codes of the chromosomes end to end; `regions.parquet`, one
row a region (sample, chrom, start, split, shard, row); and per shard `NNNNN.tokens.npy`, uint8 levels
(rows, tracks, window), and `NNNNN.means.npy`, float32 means of the 128-bp bins (rows, tracks, bins). Token i of a
region covers bases start+i..start+i+5. A track that was not measured in a sample is 0 in both. Everything is
memory-mapped. `region_build` writes such a folder.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, read_json, require_file, sha256_file
from cisoform.tokens.peaks import K, check_edges, signal_levels

FORMAT, FORMAT_VERSION = "cisoform-regions", 1
MANIFEST, REGIONS, GENOME, SHARDS = "manifest.json", "regions.parquet", "genome.npy", "shards"
BIN_SIZE = 128
SPLITS = ("train", "valid", "test")
_OPEN_SHARDS = 256
_HASHED_KEYS = (
    *("format", "format_version", "window", "tracks", "samples", "edges", "chromosomes", "n_regions"),
    *("level_counts", "files", "shards"),
)

Array = npt.NDArray[Any]


def token_file(shard: int) -> str:
    """Name of a shard's levels, within the folder of shards."""
    return f"{shard:05d}.tokens.npy"


def mean_file(shard: int) -> str:
    """Name of a shard's bin means."""
    return f"{shard:05d}.means.npy"


def content_hash(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over what a model trained on the data depends on."""
    content = {key: manifest[key] for key in _HASHED_KEYS}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RegionDataset:
    """An opened data set.

    Attributes:
        path: Its folder.
        window: Tokens of a region; its DNA has five bases more.
        tracks: Names of the tracks, in the order of the arrays.
        samples: Names of the samples.
        train_samples: Those that training may see; the others are held out.
        edges: Edges of each track's levels.
        level_counts: Per track, how often each of the 38 levels occurs in training tokens and bins.
        regions: One row a region.
        measured: (regions, tracks), True where the region's sample has the track.
        manifest: Everything that was recorded.
    """

    path: Path
    window: int
    tracks: tuple[str, ...]
    samples: tuple[str, ...]
    train_samples: tuple[str, ...]
    edges: dict[str, tuple[float, ...]]
    level_counts: dict[str, dict[str, list[int]]]
    regions: pl.DataFrame
    measured: npt.NDArray[np.bool_]
    manifest: dict[str, Any]
    _genome: Array = field(repr=False)
    _starts: npt.NDArray[np.int64] = field(repr=False)
    _shard: npt.NDArray[np.int64] = field(repr=False)
    _row: npt.NDArray[np.int64] = field(repr=False)
    _mapped: OrderedDict[str, Array] = field(default_factory=OrderedDict, repr=False)

    @classmethod
    def open(cls, path: PathLike) -> RegionDataset:
        """Open a folder of `build-regions`; hashes of the small files and the sizes of the shards are checked.

        Raises:
            InputError: If it is none, is of another version, or a file is missing, damaged or half-written.
        """
        path = Path(path)
        manifest = read_manifest(path)
        for name, expected in manifest["files"].items():
            file = require_file(path / name, "file of the data set")
            if name != GENOME and sha256_file(file) != expected:
                raise InputError(
                    f"{file}: is damaged or was changed (its sha256 is not the recorded one); build it again"
                )
        window, tracks = manifest["window"], tuple(manifest["tracks"])
        for number, shard in enumerate(manifest["shards"]):
            _check_shard(path / SHARDS, number, (shard["rows"], len(tracks), window))
        regions = pl.read_parquet(path / REGIONS)
        offsets = {chrom["name"]: chrom["start"] for chrom in manifest["chromosomes"]}
        places = np.array([offsets[name] for name in regions["chrom"].to_list()], dtype=np.int64)
        return cls(
            path=path,
            window=window,
            tracks=tracks,
            samples=tuple(manifest["samples"]),
            train_samples=tuple(s for s in manifest["samples"] if s not in manifest["test_samples"]),
            edges={name: check_edges(values) for name, values in manifest["edges"].items()},
            level_counts=manifest["level_counts"],
            regions=regions,
            measured=_measured(regions["sample"].to_list(), tracks, manifest["measured"]),
            manifest=manifest,
            _genome=np.asarray(np.load(path / GENOME, mmap_mode="r")),
            _starts=places + regions["start"].to_numpy(),
            _shard=regions["shard"].to_numpy().astype(np.int64),
            _row=regions["row"].to_numpy().astype(np.int64),
        )

    def __len__(self) -> int:
        return self.regions.height

    @property
    def hash(self) -> str:
        """SHA-256 of the content."""
        return str(self.manifest["hash"])

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Rows of the regions of a split (train, valid, test), or of all.

        Raises:
            InputError: For another word.
        """
        if split == "all":
            return np.arange(len(self))
        if split not in SPLITS:
            raise InputError(f"split {split!r} is none of {', '.join(SPLITS)}, all")
        return np.flatnonzero((self.regions["split"] == split).to_numpy())

    @property
    def train_chromosomes(self) -> list[str]:
        """Chromosomes that training regions lie on, in the order of the data."""
        chroms = self.regions.filter(pl.col("split") == "train")["chrom"]
        return [str(name) for name in chroms.unique(maintain_order=True)]

    @property
    def first_base(self) -> npt.NDArray[np.int64]:
        """Place of every region in the chromosomes laid end to end; regions of several samples share one."""
        return self._starts

    def dna(self, region: int, start: int, tokens: int) -> npt.NDArray[np.uint8]:
        """Base codes of the `tokens` + 5 bases from base `start` of a region."""
        first = int(self._starts[region]) + start
        out: npt.NDArray[np.uint8] = self._genome[first : first + tokens + K - 1]
        return out

    def levels(self, region: int, start: int, tokens: int) -> npt.NDArray[np.uint8]:
        """Levels (tracks, tokens) of a part of a region."""
        shard = self._array(token_file(int(self._shard[region])))
        out: npt.NDArray[np.uint8] = shard[int(self._row[region]), :, start : start + tokens]
        return out

    def means(self, region: int, start: int, tokens: int) -> npt.NDArray[np.float32]:
        """Mean signal (tracks, bins) of the bins of a part of a region; `start` is a multiple of the bin size."""
        shard = self._array(mean_file(int(self._shard[region])))
        bins = slice(start // BIN_SIZE, (start + tokens) // BIN_SIZE)
        out: npt.NDArray[np.float32] = shard[int(self._row[region]), :, bins]
        return out

    def bin_levels(self, region: int, start: int, tokens: int) -> npt.NDArray[np.uint8]:
        """Levels (tracks, bins) of the bin means; 0 for a track that was not measured."""
        means = self.means(region, start, tokens)
        out = np.zeros(means.shape, dtype=np.uint8)
        for index in np.flatnonzero(self.measured[region]):
            out[index] = signal_levels(means[index].astype(np.float64), self.edges[self.tracks[index]])
        return out

    def _array(self, name: str) -> Array:
        found = self._mapped.get(name)
        if found is None:
            found = np.asarray(np.load(self.path / SHARDS / name, mmap_mode="r", allow_pickle=False))
            self._mapped[name] = found
            if len(self._mapped) > _OPEN_SHARDS:
                self._mapped.popitem(last=False)
        return found


def _measured(
    samples: Sequence[str], tracks: Sequence[str], table: Mapping[str, Sequence[str]]
) -> npt.NDArray[np.bool_]:
    by_sample = {sample: [name in names for name in tracks] for sample, names in table.items()}
    return np.array([by_sample[sample] for sample in samples], dtype=np.bool_).reshape(-1, len(tracks))


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a folder of regions.

    Raises:
        InputError: If the folder is missing, is no such data set, or is of another version.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give the folder of `cisoform regulation build-regions`")
    if not (path / MANIFEST).exists():
        raise InputError(
            f"{path}: holds no data set of regions ({MANIFEST} is missing); build it with "
            "`cisoform regulation build-regions`"
        )
    manifest = read_json(path / MANIFEST, "manifest")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        kind = manifest.get("format") if isinstance(manifest, dict) else None
        raise InputError(f"{path}: is {kind!r}, not a data set of regions ({FORMAT}); give another folder")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: has format version {manifest.get('format_version')!r}, but {FORMAT_VERSION} is read; "
            "build it again"
        )
    if content_hash(manifest) != manifest.get("hash"):
        raise InputError(f"{path / MANIFEST}: was changed after it was written; build the data set again")
    return manifest


def _check_shard(folder: Path, number: int, shape: tuple[int, int, int]) -> None:
    rows, tracks, window = shape
    sizes = {token_file(number): rows * tracks * window, mean_file(number): rows * tracks * (window // 32)}
    for name, size in sizes.items():
        file = require_file(folder / name, "shard of regions")
        found = file.stat().st_size
        # A .npy file is a header of 64-byte blocks and the array.
        if not 64 <= found - size <= 256:
            raise InputError(
                f"{file}: has {found:,} bytes, but {size:,} and a header are expected: it is half-written; "
                "copy it again or build the data set again"
            )
