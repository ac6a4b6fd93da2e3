"""What a checkpoint holds: its tensors and, for pickles, every name it asks for. Nothing in it is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cisoform.errors import InputError
from cisoform.genome.files import read_json, require_file
from cisoform.weights import isoformer, trunks
from cisoform.weights.enformer import stated_heads
from cisoform.weights.isoformer_parts import find_parts
from cisoform.weights.public import CONFIG_FILE, SCHEME, public_folder
from cisoform.weights.restricted_pickle import list_globals, read_torch_pickle, tensors_of
from cisoform.weights.rotary import NAMES, differences, our_name, read_config

SUFFIXES = (".safetensors", ".pkl", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class TensorInfo:
    """One tensor by name."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """What the `config.json` beside a file says it is.

    Attributes:
        name: "ESM-2", "Nucleotide Transformer v2", "Enformer", "Borzoi" or "IsoFormer".
        sizes: Width, layers and so on.
        left_out: Tensors that the network never uses.
        differences: What keeps the file from being that network, a line each.
    """

    name: str
    sizes: dict[str, Any]
    left_out: list[str]
    differences: list[str]


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
        architecture: What it is, where a `config.json` of a network that can be read lies beside it.
    """

    path: str
    format: str
    n_bytes: int
    n_values: int
    tensors: list[TensorInfo]
    refused: list[str]
    architecture: Architecture | None = None


def inspect_checkpoint(source: str | Path) -> list[CheckpointInfo]:
    """Describe a file, or every checkpoint file of a folder (or of hf://owner/name, if a copy is here).

    Raises:
        InputError: If there is none, or one is damaged or refused.
    """
    source = public_folder(source) if str(source).startswith(SCHEME) else Path(source)
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
    n_values, found = sum(_count(t.shape) for t in tensors), _architecture(path, tensors)
    return CheckpointInfo(str(path), kind, path.stat().st_size, n_values, tensors, refused, found)


def _architecture(path: Path, tensors: list[TensorInfo]) -> Architecture | None:
    """What the `config.json` beside a file says, if it is of a network that can be read."""
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    for described in (_rotary, _trunk, _isoformer):
        try:
            return described(path.parent / CONFIG_FILE, shapes)
        except InputError:
            continue
    return None


def _rotary(path: Path, shapes: dict[str, tuple[int, ...]]) -> Architecture:
    kind, config, tied = read_config(path)
    ours, left_out = {}, []
    for public, shape in shapes.items():
        name = our_name(public)
        if name is None:
            left_out.append(public)
        else:
            ours[name] = shape
    head = any(name.startswith("head.") for name in ours)
    if head and tied and "embedding.weight" in ours:
        ours.setdefault("head.decoder.weight", ours["embedding.weight"])
    sizes = {name: getattr(config, name) for name in ("dim", "layers", "heads", "ffn", "norm_eps")}
    return Architecture(NAMES[kind], sizes, left_out, differences(ours, config, head))


def _trunk(path: Path, shapes: dict[str, tuple[int, ...]]) -> Architecture:
    fields = trunks.read_trunk_config(path)
    kind: trunks.TrunkKind = fields["model_type"]
    ours, left_out = trunks.rename_shapes(shapes, kind)
    config = trunks.network_config(kind, fields, ours, path)
    sizes = {name: getattr(config, name) for name in ("dim", "layers", "heads", "out_dim", "bin_size")}
    sizes["bins"] = config.bins or 0
    wrong = trunks.differences(ours, config, stated_heads(fields))
    return Architecture(trunks.TRUNK_NAMES[kind], sizes, left_out, wrong)


def _isoformer(path: Path, shapes: dict[str, tuple[int, ...]]) -> Architecture:
    """The parts that were found; what is of none of them counts as a difference."""
    fields = read_json(path)
    if not isoformer.is_isoformer(fields):
        raise InputError(f"{path}: is of no IsoFormer")
    parts = find_parts(shapes)
    sizes = {"tensors": len(shapes), "unknown": len(parts.unknown)}
    if parts.head:
        sizes |= {"outputs": shapes[f"{parts.head[-1]}.weight"][0], "head_layers": len(parts.head)}
    for modality, prefix in parts.encoders.items():
        sizes[f"{modality} under {prefix}"] = len(parts.of_encoder(modality, shapes))
    return Architecture("IsoFormer", sizes, [], isoformer.problems_of(parts))


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
