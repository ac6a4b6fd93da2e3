"""Read the tensors of a PyTorch pickle without executing anything it says.

A pickle is a program. This reader runs it on an exact allow-list: ordered dictionaries, sets, tensor and parameter
rebuilders, storages. Every other global becomes an inert stub: it can be named and filled with attributes (so that
whole pickled modules open, as the released CREformer files are), but calling it is refused. Nothing is imported.
Before it runs, the program is scanned: its size, its number of instructions and its nesting are capped, and
instructions that no checkpoint needs are refused. Tensors are views of the memory-mapped file.

Zip files of `torch.save` (torch >= 1.6) and plain pickles without tensors (a vocabulary) are read; the older tar
and legacy forms are refused with the mend.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor

from cisoform.errors import InputError
from cisoform.genome.files import require_file

MAX_PROGRAM_BYTES = 64 * 2**20
MAX_INSTRUCTIONS = 5_000_000
MAX_NESTING = 200
MAX_GLOBALS = 2_000

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_REFUSED = {"INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID", "NEXT_BUFFER", "READONLY_BUFFER", "NEWOBJ_EX"}
_OPENING = {"MARK"}
_CLOSING = {"TUPLE", "LIST", "DICT", "SETITEMS", "APPENDS", "ADDITEMS", "FROZENSET", "POP_MARK"}


@dataclass(frozen=True)
class PickleGlobal:
    """A name that the file asks for, and whether it is on the allow-list (else: an inert stub)."""

    name: str
    allowed: bool


def read_torch_pickle(path: str | Path) -> Any:
    """The object in a `torch.save` file: tensors, dictionaries, lists, and `PickledObject`s for everything else.

    Raises:
        InputError: If the file is missing, not such a file, damaged, over a cap, or asks to call something
            outside the allow-list.
    """
    path = require_file(path, "PyTorch weights")
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path}: not a zip file of torch.save (torch >= 1.6) or it is truncated; "
            "download it again, or save it anew as safetensors"
        )
    with _as_input_errors(path), zipfile.ZipFile(path) as archive:
        folder = _program_folder(path, archive)
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise InputError(f"{path}: was written on a big-endian machine; save it anew as safetensors")
        info = archive.getinfo(f"{folder}data.pkl")
        if info.file_size > MAX_PROGRAM_BYTES:
            raise _refuse(path, f"its pickle has {info.file_size:,} bytes, over {MAX_PROGRAM_BYTES:,}")
        program = archive.read(info)
        _scan(path, program)
        return _Reader(path, program, _Storages(path, archive, folder)).load()


def read_plain_pickle(path: str | Path) -> Any:
    """The object in a pickle without tensors, such as a vocabulary: dictionaries, lists, text and numbers.

    Raises:
        InputError: As `read_torch_pickle`.
    """
    path = require_file(path, "pickle")
    size = path.stat().st_size
    if size > MAX_PROGRAM_BYTES:
        raise _refuse(path, f"it has {size:,} bytes, over {MAX_PROGRAM_BYTES:,}")
    program = path.read_bytes()
    with _as_input_errors(path):
        _scan(path, program)
        return _Reader(path, program, None).load()


def list_globals(path: str | Path) -> list[PickleGlobal]:
    """Every global that the pickle of a `torch.save` file names, in order; nothing is run."""
    path = require_file(path, "PyTorch weights")
    with _as_input_errors(path), zipfile.ZipFile(path) as archive:
        names = _scan(path, archive.read(f"{_program_folder(path, archive)}data.pkl"))
    return [PickleGlobal(name, name in _allowed_names()) for name in names]


class PickledTensor:
    """A tensor of the file; immutable until read, so that a pickle can call none of a real tensor's methods."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Tensor) -> None:
        object.__setattr__(self, "_tensor", tensor)

    @property
    def tensor(self) -> Tensor:
        """The values: a view of the memory-mapped file."""
        value: Tensor = object.__getattribute__(self, "_tensor")
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("a tensor may not be changed")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a tensor may not be changed")


class _Registry(OrderedDict[Any, Any]):
    """An ordered dictionary that takes no attributes (torch hangs version numbers on state dicts; not needed)."""

    def __setstate__(self, state: Any) -> None:
        return None


class PickledObject:
    """An instance of a class that was not imported: its attributes are in `attributes`, its class in `type_name`."""

    type_name: ClassVar[str] = ""
    attributes: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise pickle.UnpicklingError(f"{self.type_name} has a state that is no dictionary of names")
        object.__setattr__(self, "attributes", dict(state))

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"{self.type_name} may not be changed")


def tensors_of(tree: Any) -> dict[str, Tensor]:
    """Flat names to tensors, as `state_dict()` would give them, of a module or of a dictionary of tensors.

    A pickled module's parameters, buffers and children are walked by their registries; a dictionary may hold the
    state dict itself or hold it under `state_dict` or `model`.
    """
    if isinstance(tree, PickledObject):
        return dict(_walk_module(tree, ""))
    if isinstance(tree, Mapping):
        for key in ("state_dict", "model"):
            if isinstance(tree.get(key), Mapping):
                return tensors_of(tree[key])
        return {str(name): value.tensor for name, value in tree.items() if isinstance(value, PickledTensor)}
    raise ValueError(f"{type(tree).__name__} holds no tensors by name")


def _walk_module(module: PickledObject, prefix: str, depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    if depth > MAX_NESTING:
        raise ValueError(f"modules are nested deeper than {MAX_NESTING}")
    attributes = getattr(module, "attributes", {})
    for registry in ("_parameters", "_buffers"):
        for name, value in (attributes.get(registry) or {}).items():
            if isinstance(value, PickledTensor):
                yield f"{prefix}{name}", value.tensor
    for name, child in (attributes.get("_modules") or {}).items():
        if isinstance(child, PickledObject):
            yield from _walk_module(child, f"{prefix}{name}.", depth + 1)


class _as_input_errors:
    """Turn every failure of reading into one InputError; nothing a file says may surface as another error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, InputError) or not isinstance(error, Exception):
            return
        if isinstance(error, pickle.UnpicklingError):
            raise _refuse(self.path, str(error)) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{self.path}: damaged or not a checkpoint: {reason}; download it again") from None


def _refuse(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: refused to read this pickle: {reason}; ask its author for a safetensors file")


def _program_folder(path: Path, archive: zipfile.ZipFile) -> str:
    programs = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(programs) != 1:
        raise InputError(f"{path}: holds {len(programs)} data.pkl, expected 1; is it a torch.save file?")
    return programs[0].removesuffix("data.pkl")


def _scan(path: Path, program: bytes) -> list[str]:
    """Walk the instructions without running them; returns the globals in order of first use."""
    depth, count = 0, 0
    texts = ["?"]
    memo: dict[str, str] = {}
    names: dict[str, None] = {}
    for instruction, argument, _ in pickletools.genops(program):
        count += 1
        if count > MAX_INSTRUCTIONS:
            raise _refuse(path, f"it has over {MAX_INSTRUCTIONS:,} instructions")
        if instruction.name in _REFUSED:
            raise _refuse(path, f"it uses the instruction {instruction.name}")
        if instruction.name in _OPENING:
            depth += 1
        elif instruction.name in _CLOSING:
            depth -= 1
        if depth > MAX_NESTING:
            raise _refuse(path, f"it is nested deeper than {MAX_NESTING}")
        if instruction.name == "GLOBAL":
            names[str(argument).replace(" ", ".")] = None
        elif instruction.name == "STACK_GLOBAL":
            names[".".join(texts[-2:])] = None
        elif "UNICODE" in instruction.name:
            texts = [*texts[-1:], str(argument)]
        elif instruction.name.endswith("PUT") or instruction.name == "MEMOIZE":
            memo[str(len(memo) if argument is None else argument)] = texts[-1]
        elif instruction.name.endswith("GET") and str(argument) in memo:
            texts = [*texts[-1:], memo[str(argument)]]
        if len(names) > MAX_GLOBALS:
            raise _refuse(path, f"it names over {MAX_GLOBALS:,} globals")
    return list(names)


class _Call:
    """An allowed callable of ours; immutable, so that a pickle cannot change what a later file meets."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("an allowed name may not be changed")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("an allowed name may not be changed")


class _OrderedDictCall(_Call):
    __slots__ = ()

    def __call__(self, *items: Any) -> OrderedDict[Any, Any]:
        return _Registry(*items)


class _SetCall(_Call):
    __slots__ = ()

    def __call__(self, items: Any = ()) -> set[Any]:
        if not isinstance(items, (list, tuple)):
            raise pickle.UnpicklingError("a set is built of something else than a list")
        return set(items)


class _SizeCall(_Call):
    __slots__ = ()

    def __call__(self, items: Any = ()) -> tuple[int, ...]:
        return tuple(int(item) for item in items)


class _ParameterCall(_Call):
    """`torch._utils._rebuild_parameter(data, requires_grad, hooks)`; hooks are ignored."""

    __slots__ = ()

    def __call__(self, data: Any, *_: Any) -> PickledTensor:
        if not isinstance(data, PickledTensor):
            raise pickle.UnpicklingError("a parameter is built of something else than a tensor")
        return data


class _TensorCall(_Call):
    """`torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`, with every bound checked."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> PickledTensor:
        if not isinstance(storage, PickledTensor):
            raise pickle.UnpicklingError("a tensor is built of something else than a storage")
        shape = [offset, *size, *stride]
        if len(size) != len(stride) or not all(type(value) is int and value >= 0 for value in shape):
            raise pickle.UnpicklingError(f"a tensor has offset {offset}, size {size}, stride {stride}")
        values = storage.tensor
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset
        if count > values.numel() or (count and last >= values.numel()):
            raise pickle.UnpicklingError(
                f"a tensor of size {tuple(size)} reaches past its storage of {values.numel()} values"
            )
        return PickledTensor(values.as_strided(tuple(size), tuple(stride), offset))


def _allowed() -> dict[str, Any]:
    table: dict[str, Any] = {
        "collections.OrderedDict": _OrderedDictCall(),
        "__builtin__.set": _SetCall(),
        "builtins.set": _SetCall(),
        "torch.Size": _SizeCall(),
        "torch._utils._rebuild_parameter": _ParameterCall(),
        "torch._utils._rebuild_tensor_v2": _TensorCall(),
        "torch._utils._rebuild_tensor": _TensorCall(),
    }
    for name, dtype in _STORAGES.items():
        table[f"torch.{name}"] = dtype
    return table


def _allowed_names() -> set[str]:
    return set(_allowed())


class _StubMeta(type):
    """Calling a stub class is refused; only the bare creation of an instance (NEWOBJ) passes."""

    def __call__(cls, *_: Any, **__: Any) -> NoReturn:
        raise pickle.UnpicklingError(f"it calls {getattr(cls, 'type_name', cls.__name__)}")

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"it changes {getattr(cls, 'type_name', cls.__name__)}")


def _new_stub(cls: type, *arguments: Any) -> Any:
    if arguments:
        raise pickle.UnpicklingError(f"it creates {getattr(cls, 'type_name', '?')} with arguments")
    instance: Any = object.__new__(cls)
    object.__setattr__(instance, "attributes", {})
    return instance


def _stub(name: str) -> type:
    body = {"type_name": name, "__new__": _new_stub, "__setstate__": PickledObject.__setstate__}
    return _StubMeta(name.rpartition(".")[2] or name, (PickledObject,), body)


class _Storages:
    """Storages of an archive as flat tensors over the memory-mapped file, each once."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, folder: str) -> None:
        self._path, self._archive, self._folder = path, archive, folder
        self._loaded: dict[tuple[str, torch.dtype], Tensor] = {}

    def load(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        if (key, dtype) not in self._loaded:
            self._loaded[key, dtype] = self._map(key, dtype, count)
        return self._loaded[key, dtype]

    def _map(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        try:
            info = self._archive.getinfo(f"{self._folder}data/{key}")
        except KeyError:
            raise pickle.UnpicklingError(f"storage {key!r} is not in the file") from None
        if info.compress_type != zipfile.ZIP_STORED:
            raise pickle.UnpicklingError(f"storage {key!r} is compressed")
        wanted = count * dtype.itemsize
        if count < 0 or wanted != info.file_size:
            raise pickle.UnpicklingError(f"storage {key!r} has {info.file_size} bytes, expected {wanted}")
        if not count:
            return torch.empty(0, dtype=dtype)
        with self._path.open("rb") as handle:
            handle.seek(info.header_offset + 26)
            name_length, extra_length = np.frombuffer(handle.read(4), dtype="<u2")
        start = info.header_offset + 30 + int(name_length) + int(extra_length)
        if start + wanted > self._path.stat().st_size:
            raise pickle.UnpicklingError(f"storage {key!r} reaches past the end of the file")
        mapped = np.memmap(self._path, dtype=np.uint8, mode="c", offset=start, shape=(wanted,))
        return torch.from_numpy(mapped).view(dtype)


class _Reader(pickle.Unpickler):
    def __init__(self, path: Path, program: bytes, storages: _Storages | None) -> None:
        super().__init__(io.BytesIO(program), encoding="utf-8")
        self._path, self._storages = path, storages
        self._table = _allowed()
        self._stubs: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in self._table:
            return self._table[full]
        return self._stubs.setdefault(full, _stub(sys.intern(full)))

    def persistent_load(self, identity: Any) -> PickledTensor:
        if self._storages is None:
            raise pickle.UnpicklingError("it holds tensors, but a plain pickle was expected")
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise pickle.UnpicklingError("it names a persistent object that is no storage")
        _, dtype, key, _, count = identity[:5]
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or type(count) is not int:
            raise pickle.UnpicklingError(f"storage {key!r} has an unknown type")
        return PickledTensor(self._storages.load(key, dtype, count))
