"""Folders of public checkpoints: where one is, and its tensors. Nothing is fetched, no pickle is run.

A source is a folder, or `hf://owner/name` for a repository of the Hugging Face hub of which a copy is looked for in
two places: `hub/owner/name` in the cache of cisoform, and the cache of the hub's own tools (its files are named by
their SHA-256, which is checked). Weights are `model.safetensors`, else `pytorch_model.bin`, which is read on an
allow-list (`restricted_pickle`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cisoform.errors import InputError
from cisoform.genome.files import require_file, sha256_file, user_cache_dir
from cisoform.weights.restricted_pickle import read_torch_pickle, tensors_of

SCHEME = "hf://"
CONFIG_FILE = "config.json"
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
_HUB = "https://huggingface.co"
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class PublicFolder:
    """A folder of a public checkpoint.

    Attributes:
        source: What was asked for, for messages.
        folder: Where it is.
        weights: The weights file in it.
    """

    source: str
    folder: Path
    weights: Path

    @property
    def config(self) -> Path:
        """The `config.json` beside the weights."""
        return self.folder / CONFIG_FILE


def find_public(source: str | Path) -> PublicFolder:
    """The folder that a source means, with `config.json` and a weights file in it.

    Raises:
        InputError: If there is none, or a file is missing; names what to fetch, from where and to which folder.
    """
    folder = public_folder(source)
    found = [folder / name for name in WEIGHTS_FILES if (folder / name).is_file()]
    if not (folder / CONFIG_FILE).is_file() or not found:
        wanted = [CONFIG_FILE] * (not (folder / CONFIG_FILE).is_file())
        wanted += [" or ".join(WEIGHTS_FILES)] * (not found)
        raise InputError(
            f"{source}: {folder} lacks {' and '.join(wanted)}; a public checkpoint has both: fetch what is missing"
        )
    return PublicFolder(str(source), folder, found[0])


def public_folder(source: str | Path) -> Path:
    """The local folder of a source, whatever is in it.

    Raises:
        InputError: If it does not exist here.
    """
    text = str(source)
    if text.startswith(SCHEME):
        return _hub_copy(text)
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"{text}: is a file; give the folder that holds it and {CONFIG_FILE}")
    hint = ""
    if _REPOSITORY.fullmatch(text):
        hint = f", or {SCHEME}{text} for a repository of the hub"
    raise InputError(f"{text}: no such folder; give the folder of a public checkpoint{hint}")


def _hub_copy(source: str) -> Path:
    name = source.removeprefix(SCHEME)
    if not _REPOSITORY.fullmatch(name):
        raise InputError(f"{source}: write {SCHEME}OWNER/NAME, such as {SCHEME}facebook/esm2_t30_150M_UR50D")
    own = user_cache_dir("hub") / name
    for folder in (own, *_snapshots(name)):
        if folder.is_dir():
            return folder
    raise InputError(
        f"{source}: is not on this machine, and nothing is fetched unasked; fetch {CONFIG_FILE} and "
        f"{WEIGHTS_FILES[0]} (where there is none: {WEIGHTS_FILES[1]}) from {_HUB}/{name}/tree/main into {own}, or "
        "give a folder that holds them"
    )


def _snapshots(name: str) -> list[Path]:
    """Copies that the hub's own tools have made: that of `main`, then any other."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    root = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{name.replace('/', '--')}"
    main = root / "refs" / "main"
    first = [root / "snapshots" / main.read_text().strip()] if main.is_file() else []
    return [*first, *sorted((root / "snapshots").glob("*"))]


def read_public_tensors(path: Path, sha256: str | None = None) -> tuple[dict[str, Tensor], str]:
    """Tensors by name of a safetensors file or a PyTorch pickle, and the SHA-256 of the file.

    Args:
        path: The file.
        sha256: What its SHA-256 should be; None = what its name in the hub's cache says, if that is where it lies.

    Raises:
        InputError: If it is missing, damaged, refused, or has another hash.
    """
    require_file(path, "checkpoint")
    found = sha256_file(path)
    expected = (sha256 or _named_hash(path) or found).lower()
    if found != expected:
        raise InputError(
            f"{path}: sha256 is {found}, expected {expected}; the file is damaged or another one: fetch it again"
        )
    if path.suffix == ".safetensors":
        try:
            return load_file(path), found
        except SafetensorError as error:
            raise InputError(
                f"{path}: not a safetensors file or damaged: {error}; download it again"
            ) from None
    try:
        return tensors_of(read_torch_pickle(path)), found
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {error}; is it a checkpoint?") from None


def shape_differences(shapes: Mapping[str, Sequence[int]], expected: Mapping[str, Tensor]) -> list[str]:
    """What keeps tensors of these names and shapes from being a model's, a line each: wrong, missing, unknown ones.

    Args:
        shapes: Of the tensors, in the names of the model.
        expected: State of the model; its values are not read.
    """
    wrong = [
        f"{name} has shape {tuple(shapes[name])}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in shapes and tuple(shapes[name]) != tuple(value.shape)
    ]
    missing = [f"{name} is missing" for name in expected if name not in shapes]
    return [*wrong, *missing, *(f"{name} is not part of it" for name in shapes if name not in expected)]


def _named_hash(path: Path) -> str | None:
    """The hash by which the hub's cache names a large file (the target of its link)."""
    name = path.resolve().name
    return name if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", name) else None
