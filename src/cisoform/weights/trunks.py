"""Public checkpoints of Enformer and Borzoi, and folders converted from them, to our networks.

Names and `config.json` are those of enformer-pytorch (`EleutherAI/enformer-official-rough` and others) and of
borzoi-pytorch (`johahi/borzoi-replicate-*`). Strict: each tensor of the network must be there with its shape, and each
tensor of the file must be known; a difference is an error that says what differs. What a kind of checkpoint calls its
tensors stands in `weights.enformer` and `weights.borzoi`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from cisoform.configs import config_from_json
from cisoform.errors import InputError
from cisoform.genome.files import read_json
from cisoform.models.encoders.borzoi import BorzoiConfig, BorzoiEncoder, BorzoiNetwork, BorzoiNetworkConfig
from cisoform.models.encoders.enformer import (
    EnformerConfig,
    EnformerEncoder,
    EnformerNetwork,
    EnformerNetworkConfig,
    Gamma,
)
from cisoform.weights import borzoi, enformer
from cisoform.weights.public import SCHEME, find_public, public_folder, read_public_tensors, shape_differences
from cisoform.weights.store import MANIFEST_FILE, load_model, save_model

TrunkKind = Literal["enformer", "borzoi"]
NetworkConfig = EnformerNetworkConfig | BorzoiNetworkConfig
Network = EnformerNetwork | BorzoiNetwork
Shape = Sequence[int]
TRUNK_NAMES: dict[str, str] = {"enformer": "Enformer", "borzoi": "Borzoi"}
_CONFIGS: dict[str, type[NetworkConfig]] = {"enformer": EnformerNetworkConfig, "borzoi": BorzoiNetworkConfig}
_SHOWN = 3
ABOUT_FILE = "about.json"
_HEADS = "heads."


@runtime_checkable
class Names(Protocol):
    """What is particular to one kind of checkpoint (a module)."""

    def our_name(self, public: str) -> str | None:
        """Our name of a tensor; the public one if it is unknown, None if the network does not use it."""

    def our_shape(self, ours: str, shape: Shape) -> tuple[int, ...]:
        """Shape of a tensor in our network (axes of size 1 are left out)."""

    def network_config(self, fields: Mapping[str, Any], shapes: Mapping[str, Shape]) -> NetworkConfig:
        """The network of a `config.json` and tensors.

        Raises:
            ValueError: If it is no network of this kind, or a field is missing.
        """


_NAMES: dict[str, Any] = {"enformer": enformer, "borzoi": borzoi}


@dataclass(frozen=True)
class TrunkWeights:
    """A checkpoint in our names.

    Attributes:
        kind: "enformer" or "borzoi".
        config: Sizes and form.
        state: Weights of the network with its heads, float32.
        about: Source, hash of its file, names of what was left out.
    """

    kind: TrunkKind
    config: NetworkConfig
    state: dict[str, Tensor]
    about: dict[str, Any]

    @property
    def heads(self) -> dict[str, int]:
        """Tracks of each head among the weights."""
        return heads_of(shapes_of(self.state))

    @property
    def body(self) -> dict[str, Tensor]:
        """The weights without heads."""
        return {name: value for name, value in self.state.items() if not name.startswith(_HEADS)}

    def network(self) -> Network:
        """The network with its heads, in evaluation mode."""
        network = build_network(self.config, self.heads)
        network.load_state_dict(self.state)
        return network.eval()

    def encoder(self) -> EnformerEncoder | BorzoiEncoder:
        """The frozen encoder, in evaluation mode."""
        encoder: EnformerEncoder | BorzoiEncoder
        if isinstance(self.config, EnformerNetworkConfig):
            encoder = EnformerEncoder(EnformerConfig(network=self.config, learn="frozen"))
        else:
            encoder = BorzoiEncoder(BorzoiConfig(network=self.config, learn="frozen"))
        encoder.load_pretrained(self.body)
        return encoder.eval()


def build_network(config: NetworkConfig, heads: dict[str, int] | None = None) -> Network:
    """A network without weights of its own yet."""
    if isinstance(config, EnformerNetworkConfig):
        return EnformerNetwork(config, heads)
    return BorzoiNetwork(config, heads)


def read_trunk(
    source: str | Path,
    kind: TrunkKind,
    sha256: str | None = None,
    gamma: Gamma | None = None,
) -> TrunkWeights:
    """Read a public checkpoint (folder or hf://owner/name) or a folder that `save_trunk` wrote.

    Args:
        source: Where it is.
        kind: What it must be.
        sha256: What the weights file of a public checkpoint must hash to; None = anything.
        gamma: Version of Enformer's gamma densities; None = what the checkpoint says.

    Raises:
        InputError: If it is not there, damaged, refused, of another kind or form, or a hash is wrong.
    """
    folder = public_folder(source)
    if (folder / MANIFEST_FILE).is_file():
        return _read_converted(folder, kind, gamma)
    public = find_public(source)
    fields = read_trunk_config(public.config, kind)
    tensors, digest = read_public_tensors(public.weights, sha256)
    state, dropped = rename(tensors, kind, str(public.weights))
    config = network_config(kind, fields, shapes_of(state), public.config)
    if isinstance(config, EnformerNetworkConfig):
        config = enformer.with_gamma(config, fields, str(source), gamma)
    if problems := differences(shapes_of(state), config, enformer.stated_heads(fields)):
        more = f"; {len(problems) - _SHOWN} more differences" if len(problems) > _SHOWN else ""
        raise InputError(
            f"{public.weights}: does not fit {public.config} as {TRUNK_NAMES[kind]}: "
            f"{'; '.join(problems[:_SHOWN])}{more}"
        )
    name = public.source if public.source.startswith(SCHEME) else Path(public.source).resolve().name
    about = {"source": name, "file": public.weights.name, "sha256": digest, "left_out": dropped}
    return TrunkWeights(kind, config, {name: value.float() for name, value in state.items()}, about)


def read_trunk_config(path: Path, kind: TrunkKind | None = None) -> dict[str, Any]:
    """The fields of a public `config.json`.

    Raises:
        InputError: If it cannot be read, or is of no such network.
    """
    fields = read_json(path, "config of the checkpoint")
    said = fields.get("model_type") if isinstance(fields, dict) else None
    if said not in TRUNK_NAMES or (kind is not None and said != kind):
        wanted = " or ".join(repr(name) for name in (TRUNK_NAMES if kind is None else [kind]))
        raise InputError(
            f"{path}: model_type is {said!r}, not {wanted}; give the folder of another checkpoint"
        )
    return dict(fields)


def network_config(
    kind: TrunkKind, fields: Mapping[str, Any], shapes: Mapping[str, Shape], where: Path
) -> NetworkConfig:
    """The network that the fields of a `config.json` and the shapes of the tensors describe.

    Raises:
        InputError: If they describe none.
    """
    names: Names = _NAMES[kind]
    try:
        return names.network_config(fields, shapes)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None


def rename(tensors: Mapping[str, Tensor], kind: TrunkKind, where: str) -> tuple[dict[str, Tensor], list[str]]:
    """Public names and shapes to ours (unknown names stay as they are), and the names of what is not used.

    Raises:
        InputError: If two names mean one tensor and differ.
    """
    names: Names = _NAMES[kind]
    state: dict[str, Tensor] = {}
    dropped = []
    for name, value in tensors.items():
        ours = names.our_name(name)
        if ours is None:
            dropped.append(name)
            continue
        value = value.reshape(names.our_shape(ours, value.shape))
        if ours in state and not torch.equal(state[ours], value):
            raise InputError(
                f"{where}: {name} differs from another tensor that means {ours}; a damaged file?"
            )
        state[ours] = value
    return state, dropped


def rename_shapes(shapes: Mapping[str, Shape], kind: TrunkKind) -> tuple[dict[str, Shape], list[str]]:
    """As `rename`, for shapes alone."""
    names: Names = _NAMES[kind]
    found: dict[str, Shape] = {}
    dropped = []
    for name, shape in shapes.items():
        ours = names.our_name(name)
        if ours is None:
            dropped.append(name)
        else:
            found[ours] = names.our_shape(ours, shape)
    return found, dropped


def differences(
    shapes: Mapping[str, Shape], config: NetworkConfig, stated_heads: Mapping[str, int] | None = None
) -> list[str]:
    """What keeps tensors of these names and shapes from being the network's, a line each; empty if nothing does.

    Args:
        shapes: In our names.
        config: The network.
        stated_heads: Tracks of each head as stated; None = nothing is stated. A file without any head is let pass.
    """
    heads = heads_of(shapes)
    if heads and stated_heads is not None:
        heads = dict(stated_heads)
    with torch.device("meta"):
        expected = build_network(config, heads).state_dict()
    return shape_differences(shapes, expected)


def heads_of(shapes: Mapping[str, Shape]) -> dict[str, int]:
    """Tracks of each head among tensors in our names."""
    weights = {name: shape for name, shape in shapes.items() if name.startswith(_HEADS) and len(shape) == 2}
    return {name.split(".")[1]: int(shape[0]) for name, shape in weights.items()}


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Shapes of tensors by name."""
    return {name: tuple(value.shape) for name, value in state.items()}


def save_trunk(folder: str | Path, weights: TrunkWeights) -> None:
    """Write a folder of safetensors and JSON with the hash of each file, for `read_trunk`."""
    about = {**weights.about, "kind": weights.kind}
    save_model(folder, weights.state, asdict(weights.config), {ABOUT_FILE: about})


def _read_converted(folder: Path, kind: TrunkKind, gamma: Gamma | None) -> TrunkWeights:
    stored = load_model(folder)
    about = dict(stored.files.get(ABOUT_FILE, {}))
    found = about.pop("kind", None)
    if found != kind:
        raise InputError(
            f"{folder}: holds {found!r}, but {TRUNK_NAMES[kind]} is asked for; give another folder"
        )
    config = config_from_json(_CONFIGS[kind], json.dumps(stored.config), str(folder / "config.json"))
    if isinstance(config, EnformerNetworkConfig):
        config = enformer.with_gamma(config, None, str(folder), gamma)
    if problems := differences(shapes_of(stored.state), config):
        raise InputError(f"{folder}: {problems[0]}; the folder mixes two models")
    return TrunkWeights(kind, config, stored.state, about)
