"""What enformer-pytorch calls the parts of Enformer, in tensors and in `config.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cisoform.models.encoders.enformer.basis import Gamma
from cisoform.models.encoders.enformer.network import EnformerNetworkConfig

CONVERTED_FROM_TENSORFLOW = "EleutherAI/enformer-official-rough"
"""The checkpoint for which enformer-pytorch itself changes to the densities of the authors' code."""

_PREFIX = "enformer."
# The trunk is registered twice, part by part and as one sequence with these numbers.
_ALIASES = {"1": "stem", "2": "conv_tower", "4": "transformer", "6": "final_pointwise"}
_ALIAS = re.compile(r"_trunk\.(\d+)\.")
_COUNTER = "num_batches_tracked"
_STATISTICS = {"running_mean": "mean", "running_var": "variance"}
_BLOCK = {"0": "norm", "2": "conv"}
_ATTENTION = {
    "to_q.weight": "query.weight",
    "to_k.weight": "key.weight",
    "to_v.weight": "value.weight",
    "to_out.weight": "dense.weight",
    "to_out.bias": "dense.bias",
    "to_rel_k.weight": "position.weight",
    "rel_content_bias": "content_bias",
    "rel_pos_bias": "position_bias",
}
_FFN = {"0": "ffn_norm", "1": "ffn_in", "4": "ffn_out"}
# Patterns on public names; groups are put into the template after `_part` has translated the last of them.
_PATTERNS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(r"stem\.0\.(weight|bias)"), "stem.first.{0}"),
    (re.compile(r"stem\.1\.fn\.([02]\.\w+)"), "stem.pointwise.{0}"),
    (re.compile(r"stem\.2\.to_attn_logits\.(weight)"), "stem.pool.score.{0}"),
    (re.compile(r"conv_tower\.(\d+)\.0\.([02]\.\w+)"), "tower.{0}.first.{1}"),
    (re.compile(r"conv_tower\.(\d+)\.1\.fn\.([02]\.\w+)"), "tower.{0}.pointwise.{1}"),
    (re.compile(r"conv_tower\.(\d+)\.2\.to_attn_logits\.(weight)"), "tower.{0}.pool.score.{1}"),
    (re.compile(r"transformer\.(\d+)\.0\.fn\.0\.(weight|bias)"), "layers.{0}.attention_norm.{1}"),
    (re.compile(r"final_pointwise\.1\.([02]\.\w+)"), "last.{0}"),
    (re.compile(r"_heads\.(\w+)\.0\.(weight|bias)"), "heads.{0}.{1}"),
]
_IN_ATTENTION = re.compile(r"transformer\.(\d+)\.0\.fn\.1\.(.+)")
_IN_FFN = re.compile(r"transformer\.(\d+)\.1\.fn\.(\d)\.(weight|bias)")


def our_name(public: str) -> str | None:
    """Our name of a tensor; the public one if it is unknown, None for counters of batches."""
    if public.endswith(_COUNTER):
        return None
    bare = public.removeprefix(_PREFIX)
    if alias := _ALIAS.match(bare):
        bare = f"{_ALIASES.get(alias.group(1), alias.group())}.{bare[alias.end() :]}"
    if (found := _IN_ATTENTION.fullmatch(bare)) and found.group(2) in _ATTENTION:
        return f"layers.{int(found.group(1))}.attention.{_ATTENTION[found.group(2)]}"
    if (found := _IN_FFN.fullmatch(bare)) and found.group(2) in _FFN:
        return f"layers.{int(found.group(1))}.{_FFN[found.group(2)]}.{found.group(3)}"
    for pattern, template in _PATTERNS:
        if found := pattern.fullmatch(bare):
            *first, last = found.groups()
            return template.format(*first, _part(last))
    return public


def _part(text: str) -> str:
    """`0.running_mean` to `norm.mean`, `2.weight` to `conv.weight`; a name without number as it is."""
    number, dot, last = text.partition(".")
    return f"{_BLOCK[number]}.{_STATISTICS.get(last, last)}" if dot else text


def our_shape(ours: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of a tensor in our network: pools score by convolutions of one axis, biases of heads have two axes."""
    if ours.endswith("pool.score.weight") and len(shape) == 4 and shape[-1] == 1:
        return tuple(shape[:-1])
    if ours.endswith(("content_bias", "position_bias")) and len(shape) == 4 and shape[0] == shape[2] == 1:
        return (shape[1], shape[3])
    return tuple(shape)


def network_config(fields: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> EnformerNetworkConfig:
    """The network of a `config.json`; fields that it lacks have the defaults of enformer-pytorch.

    Raises:
        ValueError: If it is another network, or a field has a wrong value.
    """
    if fields.get("use_convnext"):
        raise ValueError("use_convnext is true: a tower that is not Enformer's; give another checkpoint")
    default = EnformerNetworkConfig()
    bins = whole(fields, "target_length", default.bins or -1)
    return EnformerNetworkConfig(
        dim=whole(fields, "dim", default.dim),
        layers=whole(fields, "depth", default.layers),
        heads=whole(fields, "heads", default.heads),
        key_dim=whole(fields, "attn_dim_key", default.key_dim),
        downsamples=whole(fields, "num_downsamples", default.downsamples),
        divisible_by=whole(fields, "dim_divisible_by", default.divisible_by),
        bins=None if bins == -1 else bins,
        gamma="tensorflow" if fields.get("use_tf_gamma") else "pytorch",
        dropout=float(fields.get("dropout_rate", default.dropout)),
        attention_dropout=float(fields.get("attn_dropout", default.attention_dropout)),
        position_dropout=float(fields.get("pos_dropout", default.position_dropout)),
    )


def with_gamma(
    config: EnformerNetworkConfig, fields: Mapping[str, Any] | None, source: str, asked: Gamma | None
) -> EnformerNetworkConfig:
    """The network with the gamma densities asked for; else those stated, or known of the public checkpoint.

    Args:
        config: With what `config.json` states.
        fields: Of `config.json`; None = `config` is final already.
        source: Where the checkpoint is from.
        asked: None = nothing is asked for.
    """
    if asked is not None:
        return replace(config, gamma=asked)
    if fields is None or "use_tf_gamma" in fields:
        return config
    origin = {str(fields.get("_name_or_path")), source.rpartition("://")[2]}
    return replace(config, gamma="tensorflow") if CONVERTED_FROM_TENSORFLOW in origin else config


def stated_heads(fields: Mapping[str, Any]) -> dict[str, int] | None:
    """Tracks of each head that a `config.json` states; None if it does not."""
    heads = fields.get("output_heads")
    return {str(name): int(n) for name, n in heads.items()} if isinstance(heads, dict) else None


def whole(fields: Mapping[str, Any], name: str, default: int) -> int:
    """A whole number of a `config.json`.

    Raises:
        ValueError: If it is something else.
    """
    value = fields.get(name, default)
    if type(value) is not int:
        raise ValueError(f"{name} is {value!r}, expected a whole number")
    return value
