"""Arrays of frozen models on disk, by the hash of what they were computed from.

A cache is a folder per kind of feature (which weights, which form, which precision), filled with shards:

    about.json                 what was computed, shape of one entry, precision
    shard-HASH/                keys.npy, 16 bytes an entry; sums.npy, its CRC-32; values.npy, memory-mapped
                               (bfloat16 as its 16 bits)

A shard is written under another name and renamed, so it is there as a whole or not at all: a killed process loses
the shard it was working on, and several processes may fill one cache at a time. A shard whose sums do not fit is
removed and its entries are computed again. Nothing is ever changed in place.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor

from cisoform.errors import InputError
from cisoform.genome.files import read_json, write_error, write_json

Precision = Literal["fp32", "fp16", "bf16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_STORED: dict[str, str] = {"fp32": "<f4", "fp16": "<f2", "bf16": "<u2"}
KEY_BYTES = 16
FORMAT = 1
ABOUT_FILE = "about.json"
_FILES = ("keys.npy", "sums.npy", "values.npy")
_STALE_SECONDS = 86_400
_count = itertools.count()

Keys = npt.NDArray[Any]
"""16-byte hashes as numpy strings: equal, sorted and searched as bytes."""


def make_keys(prefixes: Sequence[bytes], which: npt.NDArray[np.integer[Any]], rest: npt.NDArray[Any]) -> Keys:
    """Hash of `prefixes[which[i]]` followed by the bytes of `rest[i]`, for every i.

    Args:
        prefixes: Parts that many entries share, such as the sequence of a peak.
        which: Prefix of each entry.
        rest: What follows, one row an entry.
    """
    started = {}
    digests = bytearray()
    rows = np.ascontiguousarray(rest)
    for row, prefix in enumerate(which.tolist()):
        if prefix not in started:
            started[prefix] = blake2b(prefixes[prefix], digest_size=KEY_BYTES)
        found = started[prefix].copy()
        found.update(rows[row].data)
        digests += found.digest()
    return np.frombuffer(bytes(digests), dtype=f"S{KEY_BYTES}")


@dataclass(frozen=True)
class _Shard:
    keys: Keys
    sums: npt.NDArray[np.uint32]
    values: npt.NDArray[Any]


class FeatureCache:
    """One kind of feature. Opening makes the folder; `add` and `read` may be called by many processes at a time."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        about: Mapping[str, Any],
        shape: Sequence[int],
        precision: Precision,
    ) -> None:
        """Open the cache of this kind below `root`, or make it.

        Args:
            root: Folder of all kinds.
            about: What defines the kind, as JSON; its hash names the folder.
            shape: Shape of one entry.
            precision: How entries are kept.

        Raises:
            InputError: If the folder cannot be used, or holds a cache of another format.
        """
        self.shape, self.precision = tuple(int(size) for size in shape), precision
        content = {"format": FORMAT, "about": dict(about), "shape": list(self.shape), "precision": precision}
        digest = blake2b(repr(sorted(_flat(content))).encode(), digest_size=KEY_BYTES).hexdigest()
        self.folder = Path(root) / digest
        self._shards: dict[str, _Shard] = {}
        self._keys: Keys = np.empty(0, dtype=f"S{KEY_BYTES}")
        self._place = np.empty((0, 2), dtype=np.int32)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, error) from None
        if not (self.folder / ABOUT_FILE).exists():
            write_json(self.folder / ABOUT_FILE, content)
        elif read_json(self.folder / ABOUT_FILE, "feature cache") != content:
            raise InputError(
                f"{self.folder}: is a feature cache of another kind; remove it or give another --cache"
            )
        self._remove_leftovers()
        self.refresh()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def entry_bytes(self) -> int:
        """Bytes of one entry on disk."""
        return int(np.prod(self.shape)) * np.dtype(_STORED[self.precision]).itemsize + KEY_BYTES + 4

    def refresh(self) -> None:
        """Take notice of shards that other processes have added."""
        new = sorted(
            path.name
            for path in self.folder.glob("shard-*")
            if path.suffix == "" and path.name not in self._shards
        )
        found = {name: shard for name in new if (shard := self._open_shard(self.folder / name)) is not None}
        if found:
            self._shards |= found
            self._index()

    def _index(self) -> None:
        """Sort the keys of all shards; of equal ones the first counts."""
        names = list(self._shards)
        if not names:
            self._keys = self._keys[:0]
            return
        keys = np.concatenate([self._shards[name].keys for name in names])
        sizes = [len(self._shards[name].keys) for name in names]
        place = np.empty((len(keys), 2), dtype=np.int32)
        place[:, 0] = np.repeat(np.arange(len(names)), sizes)
        place[:, 1] = np.concatenate([np.arange(size) for size in sizes])
        self._keys, first = np.unique(keys, return_index=True)
        self._place = place[first]

    def missing(self, keys: Keys) -> Keys:
        """Those keys, each once, in the order given, that the cache lacks."""
        found, _ = self._find(keys)
        _, first = np.unique(keys, return_index=True)
        wanted = np.zeros(len(keys), dtype=bool)
        wanted[first] = True
        return keys[wanted & ~found]

    def add(self, keys: Keys, values: Shaped[Tensor, "entries ..."]) -> None:
        """Write entries as one shard; those of keys that are there already are kept too and never read.

        Raises:
            InputError: If the disk is full, or a value does not fit the precision.
            ValueError: If shapes do not agree.
        """
        if values.shape != (len(keys), *self.shape):
            raise ValueError(f"{tuple(values.shape)} is not ({len(keys)}, {self.shape})")
        stored = self._pack(values)
        sums = np.array([zlib.crc32(row.data) for row in stored], dtype=np.uint32)
        packed = np.frombuffer(keys.tobytes(), dtype=np.uint8).reshape(len(keys), KEY_BYTES)
        name = f"shard-{blake2b(packed.tobytes(), digest_size=KEY_BYTES).hexdigest()}"
        target = self.folder / name
        if target.exists() and self._open_shard(target) is None:  # half a copy, or damaged
            shutil.rmtree(target, ignore_errors=True)
        partial = self.folder / f"{name}.partial-{os.getpid()}-{next(_count)}"
        try:
            partial.mkdir()
            arrays: list[npt.NDArray[Any]] = [packed, sums, stored]
            for file, array in zip(_FILES, arrays, strict=True):
                with (partial / file).open("wb") as handle:
                    np.save(handle, array, allow_pickle=False)
                    handle.flush()
                    os.fsync(handle.fileno())
            with contextlib.suppress(FileExistsError):
                _rename(partial, target)
        except OSError as error:
            raise write_error(self.folder, error) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self.refresh()

    def read(
        self, keys: Keys, *, memory_bytes: int | None = None
    ) -> tuple[Shaped[Tensor, "entries ..."], Keys]:
        """Entries of the keys as one tensor in the cache's precision, and those of the keys that were damaged.

        A shard with a damaged entry is removed, so that what it held is computed again.

        Args:
            keys: Keys that the cache has, each once.
            memory_bytes: A larger result lies in a memory-mapped file without a name, which goes with the tensor.

        Raises:
            KeyError: If a key is not there.
        """
        found, place = self._find(keys)
        if not found.all():
            raise KeyError(f"{int((~found).sum())} of {len(keys)} keys are not in the cache")
        result = self._room((len(keys), *self.shape), np.dtype(_STORED[self.precision]), memory_bytes)
        names = list(self._shards)
        damaged = np.zeros(len(keys), dtype=bool)
        for number in np.unique(place[:, 0]).tolist():
            rows = np.flatnonzero(place[:, 0] == number)
            rows = rows[np.argsort(place[rows, 1])]
            shard = self._shards[names[number]]
            values = shard.values[place[rows, 1]]
            sums = np.array([zlib.crc32(row.data) for row in values], dtype=np.uint32)
            if (sums != shard.sums[place[rows, 1]]).any():
                damaged[rows] = True
                del self._shards[names[number]]
                shutil.rmtree(self.folder / names[number], ignore_errors=True)
            result[rows] = values
        if damaged.any():
            self._index()
        return self._unpack(result), keys[damaged]

    def _find(self, keys: Keys) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int32]]:
        """Whether each key is there, and its shard and row."""
        if not len(self._keys):
            return np.zeros(len(keys), dtype=bool), np.zeros((len(keys), 2), dtype=np.int32)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        found = self._keys[at] == keys
        return found, self._place[at]

    def _room(
        self, size: tuple[int, ...], dtype: np.dtype[Any], memory_bytes: int | None
    ) -> npt.NDArray[Any]:
        if memory_bytes is None or int(np.prod(size, dtype=np.int64)) * dtype.itemsize <= memory_bytes:
            return np.empty(size, dtype=dtype)
        path = self.folder / f"table.partial-{os.getpid()}-{next(_count)}"
        try:
            room = np.memmap(path, dtype=dtype, mode="w+", shape=size)
        except OSError as error:
            raise write_error(path, error) from None
        finally:
            path.unlink(missing_ok=True)  # the mapping stays, and goes with the process whatever happens
        return np.asarray(room)

    def _pack(self, values: Tensor) -> npt.NDArray[Any]:
        cast = values.detach().to("cpu", DTYPES[self.precision]).contiguous()
        if not bool(torch.isfinite(cast).all()):
            raise InputError(
                f"a feature is not finite as {self.precision}: the encoder's values are too large for it or its "
                "weights are damaged; use fp32"
            )
        if self.precision == "bf16":
            cast = cast.view(torch.int16)
        return np.ascontiguousarray(cast.numpy().view(_STORED[self.precision]))

    def _unpack(self, values: npt.NDArray[Any]) -> Tensor:
        if self.precision == "bf16":
            return torch.from_numpy(values.view("<i2")).view(torch.bfloat16)
        return torch.from_numpy(values)

    def _open_shard(self, path: Path) -> _Shard | None:
        """A shard, or None where it cannot be one (it is left alone, and what it held is computed again)."""
        try:
            keys = np.load(path / _FILES[0], allow_pickle=False)
            sums = np.load(path / _FILES[1], allow_pickle=False)
            values = np.load(path / _FILES[2], mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        fits = keys.shape == (len(sums), KEY_BYTES) and values.shape == (len(sums), *self.shape)
        if not fits or keys.dtype != np.uint8 or values.dtype != np.dtype(_STORED[self.precision]):
            return None
        return _Shard(np.frombuffer(keys.tobytes(), dtype=f"S{KEY_BYTES}"), sums, np.asarray(values))

    def _remove_leftovers(self) -> None:
        """Remove what processes that were killed a day or longer ago have left."""
        for path in self.folder.glob("*.partial-*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def _rename(source: Path, target: Path) -> None:
    """Rename a folder; if another process was first, `FileExistsError`."""
    try:
        source.rename(target)
    except OSError:
        if target.is_dir():
            raise FileExistsError(target) from None
        raise


def _flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Leaves of nested JSON as (path, text)."""
    if isinstance(value, Mapping):
        return [leaf for key in value for leaf in _flat(value[key], f"{path}/{key}")]
    return [(path, repr(value))]


__all__ = ["DTYPES", "FeatureCache", "Keys", "Precision", "make_keys"]
