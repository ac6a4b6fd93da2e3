"""Transformer layers with learned relative positions, as in Enformer and Borzoi.

Score of query i on key j (Transformer-XL; Dai et al. 2019, in the form of Enformer, Avsec et al. 2021):

    (q_i / sqrt(key_dim) + content_bias) k_j + (q_i / sqrt(key_dim) + position_bias) R basis(j - i)

The basis functions of the distances are given by the model, one table for all layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Dropouts:
    """Shares of a layer that are dropped: of the output of attention, and inside and behind the feed-forward."""

    attention: float
    ffn: float


class RelativeAttention(nn.Module):
    """Multi-head self-attention with relative positions; keys and values may differ in width.

    Projections of queries, keys, values and positions have no bias, the output has one. `dropout` acts on the
    attention weights, `position_dropout` on the basis.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        key_dim: int,
        value_dim: int,
        features: int,
        dropout: float = 0.0,
        position_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale = key_dim**-0.5
        self.query = nn.Linear(dim, heads * key_dim, bias=False)
        self.key = nn.Linear(dim, heads * key_dim, bias=False)
        self.value = nn.Linear(dim, heads * value_dim, bias=False)
        self.dense = nn.Linear(heads * value_dim, dim)
        self.position = nn.Linear(features, heads * key_dim, bias=False)
        self.content_bias = nn.Parameter(torch.randn(heads, key_dim))
        self.position_bias = nn.Parameter(torch.randn(heads, key_dim))
        self.dropout = dropout
        self.position_dropout = nn.Dropout(position_dropout)

    def forward(
        self,
        hidden: Float[Tensor, "rows positions dim"],
        basis: Float[Tensor, "distances features"],
    ) -> Float[Tensor, "rows positions dim"]:
        """What each position reads from its row (no residual).

        Args:
            hidden: Positions; all are real.
            basis: Basis functions of the distances key - query, from -(positions - 1) to positions - 1.
        """
        split = "rows positions (heads part) -> rows heads positions part"
        query, key, value = (
            rearrange(layer(hidden), split, heads=self.heads) for layer in (self.query, self.key, self.value)
        )
        query = query * self.scale
        position = rearrange(
            self.position(self.position_dropout(basis)),
            "distances (heads part) -> heads part distances",
            heads=self.heads,
        )
        scores = by_key((query + self.position_bias[:, None]) @ F.pad(position, (0, 1)))
        found = F.scaled_dot_product_attention(
            query + self.content_bias[:, None],
            key,
            value,
            attn_mask=scores,
            dropout_p=self.dropout if self.training else 0.0,
            scale=1.0,
        )
        out: Tensor = self.dense(rearrange(found, "rows heads positions part -> rows positions (heads part)"))
        return out


def by_key(
    scores: Float[Tensor, "rows heads positions distances"],
) -> Float[Tensor, "rows heads positions keys"]:
    """Scores by key from scores by distance: out[..., i, j] = scores[..., i, j - i + positions - 1].

    Takes one distance more than there are (2 x positions in all, the last one unused), so that the right entries lie
    at even steps in memory and only one copy is made.
    """
    n = scores.shape[-2]
    flat = scores.flatten(-2)[..., n - 1 :][..., : n * (2 * n - 1)]
    return flat.reshape(*scores.shape[:-1], 2 * n - 1)[..., :n]


class RelativeLayer(nn.Module):
    """hidden + attention(norm(hidden)), then hidden + feed-forward(norm(hidden)) with ReLU and twice the width."""

    def __init__(self, attention: RelativeAttention, dim: int, norm_eps: float, dropout: Dropouts) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.LayerNorm(dim, eps=norm_eps), nn.LayerNorm(dim, eps=norm_eps)
        self.attention = attention
        self.ffn_in, self.ffn_out = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.attention_dropout, self.dropout = nn.Dropout(dropout.attention), nn.Dropout(dropout.ffn)

    def forward(
        self,
        hidden: Float[Tensor, "rows positions dim"],
        basis: Float[Tensor, "distances features"],
    ) -> Float[Tensor, "rows positions dim"]:
        """Mix the positions of each row; see `RelativeAttention`."""
        hidden = hidden + self.attention_dropout(self.attention(self.attention_norm(hidden), basis))
        inner = F.relu(self.dropout(self.ffn_in(self.ffn_norm(hidden))))
        out: Tensor = hidden + self.dropout(self.ffn_out(inner))
        return out
