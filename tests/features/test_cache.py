"""The cache on disk: what goes in comes out, once, whoever else writes, is killed or spoils a file."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from cisoform.errors import InputError
from cisoform.features.cache import FeatureCache, make_keys

ABOUT = {"weights": "abc", "form": "bins"}


def keys_of(*numbers: int):
    rest = np.array(numbers, dtype=np.int64)[:, None]
    return make_keys([b"x"], np.zeros(len(numbers), dtype=np.int64), rest)


def values_of(*numbers: int) -> torch.Tensor:
    return torch.stack([torch.full((2, 3), float(number) + 0.25) for number in numbers])


def open_cache(root: Path, precision="fp32", about=ABOUT) -> FeatureCache:
    return FeatureCache(root, about, (2, 3), precision)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_what_was_added_is_read_in_any_order_by_a_later_process(tmp_path, precision):
    cache = open_cache(tmp_path, precision)
    cache.add(keys_of(1, 2, 3), values_of(1, 2, 3))
    cache.add(keys_of(4), values_of(4))
    again = open_cache(tmp_path, precision)
    found, damaged = again.read(keys_of(4, 2, 1))
    assert len(again) == 4 and len(damaged) == 0
    assert found.dtype == {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    torch.testing.assert_close(found.float(), values_of(4, 2, 1), atol=0, rtol=0)


def test_missing_keys_come_once_and_in_order(tmp_path):
    cache = open_cache(tmp_path)
    assert cache.missing(keys_of(5, 3, 5, 9)).tolist() == keys_of(5, 3, 9).tolist()
    cache.add(keys_of(3), values_of(3))
    assert cache.missing(keys_of(5, 3, 5, 9)).tolist() == keys_of(5, 9).tolist()
    assert len(cache.missing(keys_of())) == 0
    with pytest.raises(KeyError, match="1 of 2 keys"):
        cache.read(keys_of(3, 5))


def test_another_kind_or_precision_is_another_folder(tmp_path):
    caches = [
        open_cache(tmp_path),
        open_cache(tmp_path, "fp16"),
        open_cache(tmp_path, about={"weights": "d"}),
    ]
    assert len({cache.folder for cache in caches}) == 3


def test_keys_depend_on_both_parts():
    rows = np.arange(6, dtype=np.uint8).reshape(2, 3)
    keys = make_keys([b"a", b"b"], np.array([0, 1, 0, 1]), rows[[0, 0, 1, 0]])
    assert len(set(keys.tolist())) == 3 and keys[1] == keys[3]


def test_a_large_table_is_mapped_and_leaves_no_file(tmp_path):
    cache = open_cache(tmp_path)
    cache.add(keys_of(*range(50)), values_of(*range(50)))
    before = sorted(path.name for path in cache.folder.iterdir())
    found, _ = cache.read(keys_of(*range(50)), memory_bytes=0)
    torch.testing.assert_close(found, values_of(*range(50)), atol=0, rtol=0)
    assert sorted(path.name for path in cache.folder.iterdir()) == before


def test_a_shard_with_a_flipped_bit_is_computed_again(tmp_path):
    cache = open_cache(tmp_path)
    cache.add(keys_of(1, 2), values_of(1, 2))
    cache.add(keys_of(3), values_of(3))
    shard = next(path for path in cache.folder.glob("shard-*") if len(np.load(path / "sums.npy")) == 2)
    content = bytearray((shard / "values.npy").read_bytes())
    content[-1] ^= 1
    (shard / "values.npy").write_bytes(content)
    again = open_cache(tmp_path)
    _, damaged = again.read(keys_of(1, 2, 3))
    assert damaged.tolist() == keys_of(1, 2).tolist() and not shard.exists()
    again.add(again.missing(keys_of(1, 2, 3)), values_of(1, 2))
    found, damaged = again.read(keys_of(1, 2, 3))
    assert len(damaged) == 0
    torch.testing.assert_close(found, values_of(1, 2, 3), atol=0, rtol=0)


@pytest.mark.parametrize("spoil", ["cut", "gone", "text"])
def test_half_a_shard_is_missing_not_read(tmp_path, spoil):
    cache = open_cache(tmp_path)
    cache.add(keys_of(1, 2), values_of(1, 2))
    file = next(cache.folder.glob("shard-*")) / "values.npy"
    if spoil == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-30] if spoil == "cut" else b"not an array")
    again = open_cache(tmp_path)
    assert again.missing(keys_of(1, 2)).tolist() == keys_of(1, 2).tolist()
    again.add(keys_of(1, 2), values_of(1, 2))  # the same shard: the half one makes way
    torch.testing.assert_close(again.read(keys_of(1, 2))[0], values_of(1, 2), atol=0, rtol=0)


def fill(root: Path, first: int) -> None:
    cache = open_cache(root)
    for number in range(first, first + 12):
        cache.add(keys_of(number), values_of(number))


def test_several_fill_one_cache_together(tmp_path):
    open_cache(tmp_path)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(partial(fill, tmp_path), (0, 6, 6)))
    cache = open_cache(tmp_path)
    torch.testing.assert_close(cache.read(keys_of(*range(18)))[0], values_of(*range(18)), atol=0, rtol=0)
    assert not list(cache.folder.glob("*.partial-*"))


def test_a_process_sees_what_another_has_added_since(tmp_path):
    one, two = open_cache(tmp_path), open_cache(tmp_path)
    one.add(keys_of(1), values_of(1))
    assert len(two.missing(keys_of(1))) == 1
    two.refresh()
    assert len(two.missing(keys_of(1))) == 0


def test_leftovers_of_a_killed_process_go_after_a_day(tmp_path):
    cache = open_cache(tmp_path)
    old, new = cache.folder / "shard-a.partial-1-0", cache.folder / "shard-b.partial-2-0"
    old.mkdir()
    new.mkdir()
    os.utime(old, (time.time() - 1e5,) * 2)
    open_cache(tmp_path)
    assert not old.exists() and new.exists()


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    cache = open_cache(tmp_path, "fp16")
    with pytest.raises(InputError, match="fp16.*use fp32"):
        cache.add(keys_of(1), values_of(1) * 1e6)
    with pytest.raises(ValueError, match="is not"):
        cache.add(keys_of(1), torch.zeros(1, 3, 2))

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="free some space"):
        cache.add(keys_of(1), values_of(1))
    assert [path.name for path in cache.folder.iterdir()] == ["about.json"]


def test_a_folder_of_another_kind_is_refused(tmp_path):
    cache = open_cache(tmp_path)
    (cache.folder / "about.json").write_text("{}\n")
    with pytest.raises(InputError, match="another kind"):
        open_cache(tmp_path)
