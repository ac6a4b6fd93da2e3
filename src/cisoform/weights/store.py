"""A model on disk: one folder of safetensors and JSON, with the SHA-256 of every file. No pickle is read or written.

`model.safetensors` holds the weights, `config.json` the model's configuration, further JSON files what was fitted
with it (normalisers, tissue names), and `manifest.json` the hash of each. A file that differs from its hash is
refused, so a flipped byte can never become a slightly different prediction.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cisoform import __version__
from cisoform.errors import InputError
from cisoform.genome.files import (
    PathLike,
    atomic_directory,
    read_json,
    require_file,
    sha256_file,
    write_error,
    write_json,
)

FORMAT = 1
KIND = "cisoform-model"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class StoredModel:
    """What a model folder holds.

    Attributes:
        folder: Where it was read from.
        state: Tensors by name, on the CPU.
        config: Content of `config.json`.
        files: Content of the further JSON files, by file name.
    """

    folder: Path
    state: dict[str, Tensor]
    config: dict[str, Any]
    files: dict[str, Any]


def save_model(
    folder: PathLike,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    files: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder; an existing model folder is replaced as a whole.

    Args:
        folder: Final name. Anything but a model folder (or an empty one) found there is left alone.
        state: Tensors by name; tensors that share memory are written separately.
        config: JSON object from which the model can be built again.
        files: Further JSON objects by file name, e.g. {"normaliser.json": {...}}.

    Raises:
        InputError: If the folder holds something else, cannot be written, or the disk is full.
    """
    folder, extra = Path(folder), dict(files or {})
    reserved = {WEIGHTS_FILE, CONFIG_FILE, MANIFEST_FILE} & set(extra)
    if reserved:
        raise ValueError(f"{sorted(reserved)} are names of the model folder's own files")
    with atomic_directory(folder, overwrite=_is_model(folder)) as partial:
        hashes = {WEIGHTS_FILE: write_tensors(partial / WEIGHTS_FILE, state)}
        for name, content in {CONFIG_FILE: dict(config), **extra}.items():
            write_json(partial / name, content)
            hashes[name] = sha256_file(partial / name)
        manifest = {"kind": KIND, "format": FORMAT, "cisoform": __version__, "sha256": hashes}
        write_json(partial / MANIFEST_FILE, manifest)


def load_model(path: PathLike) -> StoredModel:
    """Read a model folder, or the model of a run folder (`RUN/model`), after checking every hash.

    Raises:
        InputError: If there is no model, a file is missing or differs from its hash, or the format is unknown.
    """
    folder = find_model(path)
    manifest = read_json(folder / MANIFEST_FILE, "model manifest")
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{folder / MANIFEST_FILE}: model format {manifest.get('format')!r}, written by cisoform "
            f"{manifest.get('cisoform')}, is not format {FORMAT} that cisoform {__version__} reads; "
            "use the version that wrote it or save the model again"
        )
    hashes = manifest.get("sha256")
    if not isinstance(hashes, dict) or not {WEIGHTS_FILE, CONFIG_FILE} <= set(hashes):
        raise InputError(
            f"{folder / MANIFEST_FILE}: lists no hashes of the model's files; copy the model again"
        )
    for name, expected in hashes.items():
        if Path(name).name != name:
            raise InputError(
                f"{folder / MANIFEST_FILE}: {name!r} is not a plain file name; copy the model again"
            )
        if name != WEIGHTS_FILE:
            check_hash(folder / name, expected)
    contents = {name: read_json(folder / name, "model file") for name in hashes if name != WEIGHTS_FILE}
    config = contents.pop(CONFIG_FILE)
    state = read_tensors(folder / WEIGHTS_FILE, hashes[WEIGHTS_FILE])
    return StoredModel(folder=folder, state=state, config=config, files=contents)


def find_model(path: PathLike) -> Path:
    """The model folder that a path means: the folder itself, or `model/` of a run folder.

    Raises:
        InputError: If neither is a model folder.
    """
    path = Path(path)
    for folder in (path, path / "model"):
        if _is_model(folder):
            return folder
    if not path.exists():
        raise InputError(f"{path}: no such folder; give the folder of a run or of a saved model")
    if (path / "log.csv").exists():
        raise InputError(f"{path}: the run has no model yet; continue it with --resume")
    raise InputError(
        f"{path}: holds no model ({MANIFEST_FILE} of kind {KIND}); give the folder of a run or model"
    )


def write_tensors(path: PathLike, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file atomically and return its SHA-256.

    Raises:
        InputError: If the file cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        _save_file(_writable(tensors), temporary)
        digest = sha256_file(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def read_tensors(path: PathLike, expected: str) -> dict[str, Tensor]:
    """Tensors of a safetensors file whose SHA-256 is known.

    Raises:
        InputError: If the file is missing, or its hash is another one.
    """
    path = check_hash(path, expected)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: is not a safetensors file: {error}; write the model again") from None


def check_hash(path: PathLike, expected: str) -> Path:
    """The path, if the file has the SHA-256 it should have.

    Raises:
        InputError: If the file is missing or its hash is another one; names the file and both hashes.
    """
    path = require_file(path, "model file")
    found = sha256_file(path)
    if found != expected:
        raise InputError(
            f"{path}: the file is damaged or was changed: sha256 is {found}, but {expected} was recorded; "
            "copy it again from its source"
        )
    return path


def _is_model(folder: Path) -> bool:
    try:
        manifest = read_json(folder / MANIFEST_FILE)
    except InputError:
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == KIND


def _writable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """CPU tensors that each own contiguous memory, as safetensors wants: tied weights and views are copied."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        value = tensor.detach().to("cpu").contiguous()
        address = value.untyped_storage().data_ptr()
        whole = value.untyped_storage().nbytes() == value.numel() * value.element_size()
        if address in seen or not whole:
            value = value.clone(memory_format=torch.contiguous_format)
        seen.add(address)
        result[name] = value
    return result


def _save_file(tensors: dict[str, Tensor], path: Path) -> None:
    """`safetensors` writes from Rust: its I/O failures come as its own error and become `OSError` here."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        number = int(code.group(1)) if code else errno.EIO
        raise OSError(number, os.strerror(number) if code else str(error)) from None
