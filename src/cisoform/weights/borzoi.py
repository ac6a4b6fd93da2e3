"""What borzoi-pytorch calls the parts of Borzoi, in tensors and in `config.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cisoform.models.encoders.borzoi.network import BorzoiNetworkConfig
from cisoform.weights.enformer import our_name as enformer_name
from cisoform.weights.enformer import our_shape as enformer_shape
from cisoform.weights.enformer import whole

_COUNTER = "num_batches_tracked"
_STATISTICS = {"running_mean": "mean", "running_var": "variance"}
_PREFIX = "borzoi."
_PARTS = {
    "unet1.1": "bridge",
    "upsampling_unet1.0": "ups.0.up",
    "horizontal_conv1": "ups.0.across",
    "separable1": "ups.0.mix",
    "upsampling_unet0.0": "ups.1.up",
    "horizontal_conv0": "ups.1.across",
    "separable0": "ups.1.mix",
    "final_joined_convs.0": "last",
}
_BLOCK = re.compile(
    rf"({'|'.join(map(re.escape, _PARTS))}|res_tower\.\d+)\.(norm|conv_layer|conv_layer\.[01])\.(\w+)"
)
_LAYERS = {"norm": "norm", "conv_layer": "conv", "conv_layer.0": "depthwise", "conv_layer.1": "pointwise"}
_HEAD = re.compile(r"(human|mouse)_head\.(weight|bias)")
_STEM = re.compile(r"conv_dna\.conv_layer\.(weight|bias)")
_TRAINED_BINS = 16_384
_UNTRIMMED = 32


def our_name(public: str) -> str | None:
    """Our name of a tensor; the public one if it is unknown, None for counters of batches."""
    if public.endswith(_COUNTER):
        return None
    bare = public.removeprefix(_PREFIX)
    if found := _STEM.fullmatch(bare):
        return f"stem.{found.group(1)}"
    if found := _HEAD.fullmatch(bare):
        return f"heads.{found.group(1)}.{found.group(2)}"
    if found := _BLOCK.fullmatch(bare):
        part, layer, last = found.groups()
        return f"{_place(part)}.{_LAYERS[layer]}.{_STATISTICS.get(last, last)}"
    ours = enformer_name(bare) if bare.startswith("transformer.") else bare
    return public if ours == bare else ours


def _place(part: str) -> str:
    """Our name of a block; every second entry of the public tower is a pool."""
    number = part.removeprefix("res_tower.")
    return _PARTS[part] if number == part else f"tower.{int(number) // 2}"


def our_shape(ours: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of a tensor in our network: heads are linear maps, biases of attention have two axes."""
    if ours.startswith("heads.") and len(shape) == 3 and shape[-1] == 1:
        return tuple(shape[:-1])
    return enformer_shape(ours, shape)


def network_config(fields: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> BorzoiNetworkConfig:
    """The network of a `config.json`; widths that it does not state are those of the tensors.

    Raises:
        ValueError: If it is another network, a field has a wrong value or a tensor with a width is missing.
    """
    if fields.get("flashed"):
        raise ValueError("flashed is true: Flashzoi is another network; give a Borzoi replicate")
    default = BorzoiNetworkConfig()
    bins = whole(fields, "bins_to_return", default.bins or -1)
    if not fields.get("return_center_bins_only", True):
        bins = _TRAINED_BINS - _UNTRIMMED
    n_tower = len({name.split(".")[1] for name in shapes if name.startswith("tower.")})
    return BorzoiNetworkConfig(
        stem=_width(shapes, "stem.weight"),
        tower=tuple(_width(shapes, f"tower.{n}.conv.weight") for n in range(n_tower)),
        dim=whole(fields, "dim", default.dim),
        layers=whole(fields, "depth", default.layers),
        heads=whole(fields, "heads", default.heads),
        key_dim=whole(fields, "attn_dim_key", default.key_dim),
        value_dim=whole(fields, "attn_dim_value", default.value_dim),
        out_dim=_width(shapes, "last.conv.weight"),
        bins=None if bins == -1 else bins,
        dropout=float(fields.get("dropout_rate", default.dropout)),
        attention_dropout=float(fields.get("attn_dropout", default.attention_dropout)),
        position_dropout=float(fields.get("pos_dropout", default.position_dropout)),
    )


def _width(shapes: Mapping[str, Sequence[int]], name: str) -> int:
    """Outputs of a convolution."""
    if name not in shapes:
        raise ValueError(f"the weights lack {name}; are they of Borzoi?")
    return int(shapes[name][0])
