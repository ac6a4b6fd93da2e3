"""A stack of transformer encoder layers over short rows, as CREformer uses it three times.

Two forms: post-norm with ReLU, an input LayerNorm and no final one (the released model), and pre-norm with a
final LayerNorm (our default for training). Query, key and value are one projection. Weights of a layer are
returned on request by the same attention that the forward pass uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.nn.attention import attend


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """Sizes of one stack. `norm_first=False` is the released form."""

    dim: int
    heads: int
    layers: int
    ffn: int
    norm_first: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"dim={self.dim} is not divisible by heads={self.heads}")
        if self.layers < 1:
            raise ValueError(f"layers={self.layers}: a stack needs at least one layer")


class EncoderLayer(nn.Module):
    """Self-attention and a two-layer feed-forward, each with a residual and a LayerNorm."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm_first = config.norm_first
        self.in_projection = nn.Linear(config.dim, 3 * config.dim)
        self.out_projection = nn.Linear(config.dim, config.dim)
        self.ffn_in = nn.Linear(config.dim, config.ffn)
        self.ffn_out = nn.Linear(config.ffn, config.dim)
        self.attention_norm = nn.LayerNorm(config.dim)
        self.ffn_norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden: Float[Tensor, "rows positions dim"],
        mask: Bool[Tensor, "rows positions"] | None,
        first_only: bool = False,
        weights: list[Tensor] | None = None,
    ) -> Float[Tensor, "rows queries dim"]:
        """One layer.

        Args:
            hidden: Rows of positions.
            mask: True at real positions; None when nothing is padded, which is faster.
            first_only: Compute position 0 alone (it still attends to all): the last layer of a stack of which
                only the CLS position is read.
            weights: Takes the softmax weights (rows, heads, queries, keys) of this layer.
        """
        normed = self.attention_norm(hidden) if self.norm_first else hidden
        residual = hidden[:, :1] if first_only else hidden
        seen = residual + self.dropout(self._attend(normed, mask, first_only, weights))
        if not self.norm_first:
            seen = self.attention_norm(seen)
        changed = seen + self.dropout(self._feed_forward(self.ffn_norm(seen) if self.norm_first else seen))
        out: Tensor = changed if self.norm_first else self.ffn_norm(changed)
        return out

    def _attend(
        self, normed: Tensor, mask: Tensor | None, first_only: bool, weights: list[Tensor] | None
    ) -> Tensor:
        dim = normed.shape[-1]
        split = "rows positions (parts heads head_dim) -> parts rows heads positions head_dim"
        if first_only:
            weight, bias = self.in_projection.weight, self.in_projection.bias
            query = F.linear(normed[:, :1], weight[:dim], bias[:dim])
            query = rearrange(query, "rows one (heads head_dim) -> rows heads one head_dim", heads=self.heads)
            both = F.linear(normed, weight[dim:], bias[dim:])
            key, value = rearrange(both, split, parts=2, heads=self.heads).unbind(0)
        else:
            packed = self.in_projection(normed)
            query, key, value = rearrange(packed, split, parts=3, heads=self.heads).unbind(0)
        context, found = attend(query, key, value, mask, return_weights=weights is not None)
        if weights is not None and found is not None:
            weights.append(found)
        out: Tensor = self.out_projection(
            rearrange(context, "rows heads queries head_dim -> rows queries (heads head_dim)")
        )
        return out

    def _feed_forward(self, hidden: Tensor) -> Tensor:
        # ReLU in place: its input is this layer's own and autograd keeps the output.
        out: Tensor = self.ffn_out(F.relu(self.ffn_in(hidden), inplace=True))
        return out


class EncoderStack(nn.Module):
    """Input LayerNorm (released form only), layers, final LayerNorm (pre-norm form only)."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.dim)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    def forward(
        self,
        hidden: Float[Tensor, "rows positions dim"],
        mask: Bool[Tensor, "rows positions"] | None = None,
        first_only: bool = False,
        weights: list[Tensor] | None = None,
    ) -> Float[Tensor, "rows queries dim"]:
        """All layers; `weights` takes those of every layer in order. See `EncoderLayer.forward`."""
        if not self.config.norm_first:
            hidden = self.norm(hidden)
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, mask, first_only and index == last, weights)
        return self.norm(hidden) if self.config.norm_first else hidden


class ChannelAttentionPool(nn.Module):
    """Softmax over positions for every channel, from a linear map of the hidden vectors (Enformer's pool).

    The map starts as twice the identity, so the pool starts near the maximum. No bias.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.logits = nn.Linear(dim, dim, bias=False)
        with torch.no_grad():
            self.logits.weight.copy_(2 * torch.eye(dim))

    def forward(self, hidden: Float[Tensor, "rows positions dim"]) -> Float[Tensor, "rows dim"]:
        """Weighted sum over all positions (none is padding)."""
        out: Tensor = (hidden * self.logits(hidden).softmax(dim=1)).sum(dim=1)
        return out
