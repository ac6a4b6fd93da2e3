"""Tensors come out as torch itself would read them; nothing else in a pickle does anything."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cisoform.errors import InputError
from cisoform.weights.restricted_pickle import (
    PickledObject,
    list_globals,
    read_plain_pickle,
    read_torch_pickle,
    tensors_of,
)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = 3
        self.inner = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.BatchNorm1d(7))


def test_a_whole_pickled_module_gives_its_state_dict_and_attributes(tmp_path: Path) -> None:
    module = Block()
    torch.save(module, tmp_path / "m.pkl")
    read = read_torch_pickle(tmp_path / "m.pkl")
    assert isinstance(read, PickledObject)
    assert read.attributes["heads"] == 3
    expected = module.state_dict()
    found = tensors_of(read)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool],
)
def test_every_dtype_stride_and_offset_is_read_as_torch_reads_it(tmp_path: Path, dtype: torch.dtype) -> None:
    base = torch.arange(60).reshape(5, 12).to(dtype)
    state = OrderedDict(whole=base, view=base[1:4, 2::3].t(), scalar=base[2, 3], empty=base[:0])
    torch.save(state, tmp_path / "s.bin")
    found = tensors_of(read_torch_pickle(tmp_path / "s.bin"))
    for name, value in state.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], value), name


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def _save_program(path: Path, value: Any) -> None:
    """A torch-like zip whose data.pkl is an arbitrary pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", value if isinstance(value, bytes) else pickle.dumps(value, protocol=2))


@pytest.mark.parametrize(
    "function, arguments",
    [
        (os.system, ("touch {flag}",)),
        (eval, ("open('{flag}', 'w')",)),
        (exec, ("open('{flag}', 'w')",)),
        (open, ("{flag}", "w")),
    ],
)
def test_a_hostile_call_is_refused_and_does_nothing(
    tmp_path: Path, function: Any, arguments: tuple[str, ...]
) -> None:
    flag = tmp_path / "flag"
    evil = Evil(function, *[argument.format(flag=flag) for argument in arguments])
    _save_program(tmp_path / "evil.bin", {"weight": evil})
    with pytest.raises(InputError, match=r"evil\.bin: refused to read this pickle: it calls"):
        read_torch_pickle(tmp_path / "evil.bin")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(evil))
    with pytest.raises(InputError, match="it calls"):
        read_plain_pickle(tmp_path / "plain.pkl")
    assert not flag.exists()


def test_hostile_names_are_listed_without_running(tmp_path: Path) -> None:
    _save_program(tmp_path / "evil.bin", [Evil(os.system, "true"), OrderedDict()])
    listed = {item.name: item.allowed for item in list_globals(tmp_path / "evil.bin")}
    assert listed == {"posix.system": False, "collections.OrderedDict": True}


@pytest.mark.parametrize("builder", [OrderedDict, set])
def test_state_cannot_be_put_on_allowed_types(tmp_path: Path, builder: Any) -> None:
    # cbuiltins/collections NAME, then BUILD with a (None, {slot: value}) state on the class itself.
    module, name = ("collections", "OrderedDict") if builder is OrderedDict else ("__builtin__", "set")
    program = b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\nN}X\x01\x00\x00\x00aK\x01s\x86b."
    _save_program(tmp_path / "b.bin", program)
    with pytest.raises(InputError, match=r"b\.bin"):
        read_torch_pickle(tmp_path / "b.bin")


def test_a_tensor_that_reaches_past_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(6)}, tmp_path / "ok.bin")
    with zipfile.ZipFile(tmp_path / "ok.bin") as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    program = next(name for name in entries if name.endswith("data.pkl"))
    # K\x06 is BININT1 6: the second one is the size, the first one the storage's number of values.
    parts = entries[program].rsplit(b"K\x06", 1)
    entries[program] = b"K\x63".join(parts)
    with zipfile.ZipFile(tmp_path / "bad.bin", "w") as archive:
        for name, value in entries.items():
            archive.writestr(name, value)
    with pytest.raises(InputError, match=r"size \(99,\) reaches past its storage of 6 values"):
        read_torch_pickle(tmp_path / "bad.bin")


def test_truncated_text_and_nested_files_are_one_clear_error(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "ok.bin")
    whole = (tmp_path / "ok.bin").read_bytes()
    (tmp_path / "cut.bin").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.bin").write_text("hello")
    _save_program(tmp_path / "deep.bin", b"\x80\x02" + b"(" * 100_000 + b".")
    for name, expected in (
        ("cut.bin", "truncated"),
        ("text.bin", "not a zip file"),
        ("deep.bin", "nested deeper"),
    ):
        with pytest.raises(InputError, match=expected) as caught:
            read_torch_pickle(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_vocabulary_pickle_is_read(tmp_path: Path) -> None:
    words = {"[PAD]": 0, "ACGTAC": 17}
    (tmp_path / "kmer_dict.pkl").write_bytes(pickle.dumps(words))
    assert read_plain_pickle(tmp_path / "kmer_dict.pkl") == words
