"""Low-rank adaptation: a frozen linear layer learns a small correction, and can be made one layer again.

A layer y = W x + b becomes y = W x + b + (alpha / rank) U D x with D (rank, inputs) drawn and U (outputs, rank)
zero, so that an adapted model starts as the model it was (Hu et al. 2021, arXiv 2106.09685). Nothing here knows a
model: layers are chosen by patterns on their names.

    adapt_linears(model, ["*.in_projection", "*.out_projection"], rank=8, alpha=16.0)
    ...train...
    merged_state(model)     # weights under the names of the model as it was
    merge_linears(model)    # or the model itself made plain again
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class LoraLinear(nn.Module):
    """A linear layer that stays as it is, plus a trainable correction of low rank that starts at zero.

    Args:
        base: The layer; it is frozen and kept.
        rank: Rank of the correction.
        alpha: The correction is multiplied by alpha / rank, so that a change of rank needs no other learning rate.

    Raises:
        ValueError: If the rank is not between 1 and the layer's smaller side, or alpha is not positive.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        most = min(base.in_features, base.out_features)
        if not 1 <= rank <= most:
            raise ValueError(
                f"rank={rank}: a layer of {base.in_features} x {base.out_features} takes 1 to {most}"
            )
        if not alpha > 0:
            raise ValueError(f"alpha={alpha} must be above 0")
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    @property
    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """The weight in effect, correction included: for code that reads a layer's weight instead of calling it."""
        return self.base.weight + self.scale * (self.up @ self.down)

    @property
    def bias(self) -> Float[Tensor, " outputs"] | None:
        """The bias; it does not change."""
        return self.base.bias

    def forward(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """The layer's answer and its correction."""
        found: Tensor = self.base(inputs)
        return found + self.scale * F.linear(F.linear(inputs, self.down), self.up)


def adapt_linears(module: nn.Module, patterns: Sequence[str], rank: int, alpha: float) -> list[str]:
    """Replace the linear layers whose names match a pattern by adapted ones; everything else stays as it is.

    Args:
        module: Changed in place. Its other parameters keep their `requires_grad`.
        patterns: Shell patterns on the qualified names of layers, such as "encoder.layers.3.*".
        rank: See `LoraLinear`.
        alpha: See `LoraLinear`.

    Returns:
        Names of the adapted layers.

    Raises:
        ValueError: If a pattern matches no linear layer, or only such that are adapted already.
    """
    plain = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    adapted = {name for name, _ in lora_layers(module)}
    free = [name for name in plain if name.rpartition(".")[0] not in adapted]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in free):
            raise ValueError(f"pattern {pattern!r} matches no linear layer that is not adapted yet")
    chosen = [name for name in free if any(fnmatchcase(name, pattern) for pattern in patterns)]
    wrapped = {name: LoraLinear(plain[name], rank, alpha) for name in chosen}
    for name, layer in wrapped.items():
        _replace(module, name, layer)
    return chosen


def lora_layers(module: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Names and layers that are adapted."""
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLinear):
            yield name, layer


@torch.no_grad()
def merge_linears(module: nn.Module) -> None:
    """Make adapted layers plain linear layers with the same answers; they stay frozen."""
    for name, layer in list(lora_layers(module)):
        layer.base.weight.copy_(layer.weight)
        _replace(module, name, layer.base)


@torch.no_grad()
def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """State of the module as `merge_linears` would leave it, without changing it."""
    state = dict(module.state_dict())
    for name, layer in lora_layers(module):
        start = f"{name}." if name else ""
        for part in ("down", "up", "base.weight"):
            del state[f"{start}{part}"]
        state[f"{start}weight"] = layer.weight.detach()
        if layer.bias is not None:
            state[f"{start}bias"] = state.pop(f"{start}base.bias")
    return state


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    if not child:
        raise ValueError("the module itself is a linear layer; wrap it in LoraLinear, or give its parent")
    setattr(module.get_submodule(parent), child, layer)
