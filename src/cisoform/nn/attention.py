"""Multi-head attention with a key mask, computed by torch's scaled dot-product attention.

The only attention of the package. Weights that an analysis reads are those of the same queries, keys and
mask: `attend(..., return_weights=True)` for tensors, `recorded_attention(model)` for every layer of a model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.nn.rotary import rotate

_CPU_HEAD_DIM, _CPU_QUERIES = 16, 48
"""Width that narrow heads are filled up to on a CPU, and from how many queries on that is worth its copies."""


def attend(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
    value: Float[Tensor, "batch heads keys head_dim"],
    mask: Bool[Tensor, "batch keys"] | None,
    return_weights: bool = False,
) -> tuple[Float[Tensor, "batch heads queries head_dim"], Float[Tensor, "batch heads queries keys"] | None]:
    """softmax(query key' / sqrt(head_dim)) value over the real keys.

    A row without any real key has no answer; it gets a finite one (attention to all keys), never NaN, so that
    the caller can drop it with `torch.where` and gradients stay finite. `mask` None means that every key is
    real, which is faster than a mask that is True everywhere.

    Returns:
        The context, and the softmax weights if asked for (else None).
    """
    if mask is not None and mask.device.type == "cpu" and bool(mask.all()):
        mask = None
    allowed = None
    if mask is not None:
        allowed = mask | ~mask.any(dim=-1, keepdim=True)
        allowed = rearrange(allowed, "batch keys -> batch 1 1 keys")
    if not return_weights:
        if query.device.type == "cpu" and torch.is_grad_enabled() and _is_bf16(query):
            # Torch's backward of bf16 attention on a CPU takes three times that of float32.
            with torch.autocast("cpu", enabled=False):
                full = (query.float(), key.float(), value.float())
                return _attend_fused(*full, allowed).to(torch.bfloat16), None
        return _attend_fused(query, key, value, allowed), None
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    weights = scores.softmax(dim=-1)
    return weights @ value, weights


def _attend_fused(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
    """Torch's attention; on a CPU narrow heads are filled up with zeros, which change nothing.

    Its products are made for 16 columns and more: with 8 they take half as long again, forward and backward.
    """
    head_dim, queries = query.shape[-1], query.shape[-2]
    if query.device.type != "cpu" or head_dim >= _CPU_HEAD_DIM or queries < _CPU_QUERIES:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    query, key, value = (F.pad(part, (0, _CPU_HEAD_DIM - head_dim)) for part in (query, key, value))
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, scale=head_dim**-0.5)
    return found[..., :head_dim]


def _is_bf16(values: Tensor) -> bool:
    """Whether attention would run in bfloat16."""
    return values.dtype == torch.bfloat16 or (
        torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


class MultiHeadAttention(nn.Module):
    """Projections with biases round `attend`; names and shapes are those of the released IsoFormer class.

    Self-attention without `context_dim`, cross-attention with it. Head size is dim // heads. With `rotary`,
    queries and keys are rotated by their position (self-attention only).
    """

    def __init__(self, dim: int, heads: int, context_dim: int | None = None, rotary: bool = False) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim={dim} is not divisible by heads={heads}")
        if rotary and (context_dim is not None or dim // heads % 2):
            raise ValueError("rotary positions need self-attention and an even head size")
        self.heads = heads
        self.rotary = rotary
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(context_dim or dim, dim)
        self.value = nn.Linear(context_dim or dim, dim)
        self.dense = nn.Linear(dim, dim)
        self.recorded: list[Tensor] | None = None

    def forward(
        self,
        hidden: Float[Tensor, "batch queries dim"],
        context: Float[Tensor, "rows keys context_dim"],
        mask: Bool[Tensor, "rows keys"],
        row: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """What each query reads from the real positions of its context (no residual).

        Args:
            hidden: Positions that ask.
            context: Positions that are read; `hidden` itself in self-attention.
            mask: True at real context positions.
            row: The context row of each sample when samples share rows: keys and values are then projected
                once per row. None when context row i belongs to sample i.
        """
        split = "rows positions (heads head_dim) -> rows heads positions head_dim"
        keys, values = self.key(context), self.value(context)
        if row is not None:
            keys, values, mask = (part.index_select(0, row) for part in (keys, values, mask))
        query = rearrange(self.query(hidden), split, heads=self.heads)
        key = rearrange(keys, split, heads=self.heads)
        value = rearrange(values, split, heads=self.heads)
        if self.rotary:
            query, key = rotate(query), rotate(key)
        found, weights = attend(query, key, value, mask, return_weights=self.recorded is not None)
        if self.recorded is not None and weights is not None:
            self.recorded.append(weights)
        out: Tensor = self.dense(
            rearrange(found, "batch heads queries head_dim -> batch queries (heads head_dim)")
        )
        return out


@contextlib.contextmanager
def recorded_attention(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Keep the attention weights of every forward pass inside the block.

    Yields:
        Module name -> one tensor (batch, heads, queries, keys) for each call of that layer, filled as calls
        are made. The weights are those that the layer used.
    """
    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, MultiHeadAttention)
    }
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    for name, layer in layers.items():
        layer.recorded = found[name]
    try:
        yield found
    finally:
        for layer in layers.values():
            layer.recorded = None
