"""What a checkpoint holds: its tensors and, for pickles, every name it asks for. Nothing in it is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from cisoform.errors import InputError
from cisoform.genome.files import require_file
from cisoform.weights.restricted_pickle import list_globals, read_torch_pickle, tensors_of

SUFFIXES = (".safetensors", ".pkl", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class TensorInfo:
    """One tensor by name."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class CheckpointInfo:
    """One file of a checkpoint.

    Attributes:
        path: The file.
        format: "safetensors" or "PyTorch pickle".
        n_bytes: Its size.
        n_values: Numbers in all tensors.
        tensors: Each tensor.
        refused: Names a pickle asks for that are not on the allow-list.
    """

    path: str
    format: str
    n_bytes: int
    n_values: int
    tensors: list[TensorInfo]
    refused: list[str]


def inspect_checkpoint(source: Path) -> list[CheckpointInfo]:
    """Describe a file, or every checkpoint file of a folder.

    Raises:
        InputError: If there is none, or one is damaged or refused.
    """
    if not source.is_dir():
        return [_inspect(source)]
    files = sorted(file for file in source.iterdir() if file.suffix in SUFFIXES)
    if not files:
        raise InputError(
            f"{source}: holds no checkpoint ({', '.join(SUFFIXES)}); give the folder of the weights"
        )
    return [_inspect(file) for file in files]


def _inspect(path: Path) -> CheckpointInfo:
    require_file(path, "checkpoint")
    if path.suffix == ".safetensors":
        kind, tensors, refused = "safetensors", _safetensors(path), []
    else:
        kind = "PyTorch pickle"
        refused = [item.name for item in list_globals(path) if not item.allowed]
        try:
            tensors = _described(tensors_of(read_torch_pickle(path)))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: {error}; is it a checkpoint?") from None
    return CheckpointInfo(
        str(path), kind, path.stat().st_size, sum(_count(t.shape) for t in tensors), tensors, refused
    )


def _safetensors(path: Path) -> list[TensorInfo]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}
            return [TensorInfo(n, str(p.get_dtype()), tuple(p.get_shape())) for n, p in parts.items()]
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file or damaged: {error}; download it again") from None


def _described(tensors: dict[str, Tensor]) -> list[TensorInfo]:
    return [TensorInfo(n, str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in tensors.items()]


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
