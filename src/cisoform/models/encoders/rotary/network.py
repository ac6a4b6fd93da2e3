"""The network of ESM-2 and Nucleotide Transformer v2: pre-norm transformer layers with rotary positions.

ESM-2 (Lin et al. 2023): GELU, biases everywhere, embeddings rescaled by token dropout. NT-v2 (Dalla-Torre et al.
2024): gated SiLU without biases. Ids in, vectors out; masked-token logits where the network has a head. Checked
against the authors' NT code and `transformers` to 1e-5 of scale, layer by layer, and in its gradient.

Two traps of the public code are not followed. Its observed mask rate of token dropout is divided by the padded length,
ours by the real tokens. The NT code masks queries too; values at padding mean nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.nn.attention import MultiHeadAttention
from cisoform.nn.rotary import BASE as ROTARY_BASE

TRAINED_MASK_RATE = 0.15 * 0.8
"""Share of `<mask>` among the tokens that ESM-2 was trained on."""
_CPU_TOKENS = 1_024
"""Tokens that a feed-forward takes at a time on a CPU."""


@dataclass(frozen=True, kw_only=True)
class RotaryConfig:
    """Sizes and form of a `RotaryNetwork`.

    Attributes:
        vocabulary: Tokens that are embedded.
        dim: Width.
        heads: Of each layer; the head size must be even.
        layers: Number of layers.
        ffn: Width of the feed-forward; a gated one projects to twice as many.
        gated: SiLU(first half) x second half instead of GELU.
        ffn_bias: Whether the feed-forward has biases.
        token_dropout: Zero the embedding of `<mask>` and scale all by (1 - 0.12) / (1 - share of `<mask>`): a factor of
            0.88 where nothing is masked.
        norm_before: LayerNorm of the embeddings.
        norm_eps: Of every LayerNorm.
        mask_token: Id of `<mask>`.
    """

    vocabulary: int
    dim: int
    heads: int
    layers: int
    ffn: int
    gated: bool = False
    ffn_bias: bool = True
    token_dropout: bool = False
    norm_before: bool = False
    norm_eps: float = 1e-5
    mask_token: int

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.dim, self.heads, self.layers, self.ffn) < 1:
            raise ValueError(f"a size is below 1: {self}")
        if self.dim % self.heads or self.dim // self.heads % 2:
            raise ValueError(f"dim={self.dim} is not heads={self.heads} times an even head size")
        if not 0 <= self.mask_token < self.vocabulary:
            raise ValueError(f"mask_token={self.mask_token} is not among the {self.vocabulary} tokens")


class RotaryLayer(nn.Module):
    """hidden + attention(norm(hidden)), then hidden + feed-forward(norm(hidden))."""

    def __init__(self, config: RotaryConfig) -> None:
        super().__init__()
        self.gated = config.gated
        self.attention_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.attention = MultiHeadAttention(config.dim, config.heads, rotary=True)
        self.ffn_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        inner = 2 * config.ffn if config.gated else config.ffn
        self.ffn_in = nn.Linear(config.dim, inner, bias=config.ffn_bias)
        self.ffn_out = nn.Linear(config.ffn, config.dim, bias=config.ffn_bias)

    def forward(
        self, hidden: Float[Tensor, "rows tokens dim"], mask: Bool[Tensor, "rows tokens"]
    ) -> Float[Tensor, "rows tokens dim"]:
        """Mix the real tokens of each row."""
        normed = self.attention_norm(hidden)
        hidden = hidden + self.attention(normed, normed, mask)
        out: Tensor = hidden + self._feed_forward(self.ffn_norm(hidden))
        return out

    def _feed_forward(self, normed: Float[Tensor, "rows tokens dim"]) -> Float[Tensor, "rows tokens dim"]:
        """The feed-forward of each token; on a CPU some at a time, so that a narrow one stays in its cache."""
        if normed.device.type != "cpu":
            return self._feed_forward_of(normed)
        parts = [self._feed_forward_of(part) for part in torch.split(normed.flatten(0, 1), _CPU_TOKENS)]
        return torch.cat(parts).view_as(normed)

    def _feed_forward_of(self, normed: Float[Tensor, "*tokens dim"]) -> Float[Tensor, "*tokens dim"]:
        inner = self.ffn_in(normed)
        if self.gated:
            gate, value = inner.chunk(2, dim=-1)
            inner = F.silu(gate) * value
        else:
            inner = F.gelu(inner)
        out: Tensor = self.ffn_out(inner)
        return out


class TokenHead(nn.Module):
    """Logits of every token: linear map, GELU, LayerNorm, linear map to the vocabulary."""

    def __init__(self, config: RotaryConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.dim, config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.decoder = nn.Linear(config.dim, config.vocabulary)

    def forward(self, hidden: Float[Tensor, "rows tokens dim"]) -> Float[Tensor, "rows tokens vocab"]:
        """Logits from the network's output."""
        out: Tensor = self.decoder(self.norm(F.gelu(self.dense(hidden))))
        return out


class RotaryNetwork(nn.Module):
    """Embedding, layers, final LayerNorm; with `head` also the masked-token head (only `logits` uses it)."""

    def __init__(self, config: RotaryConfig, head: bool = False) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.dim)
        self.norm_before = nn.LayerNorm(config.dim, eps=config.norm_eps) if config.norm_before else None
        self.layers = nn.ModuleList(RotaryLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.head = TokenHead(config) if head else None

    def forward(
        self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"]
    ) -> Float[Tensor, "rows tokens dim"]:
        """Output of the last layer after the final LayerNorm; values at padding mean nothing."""
        return self.hidden_states(ids, mask)[-1]

    def hidden_states(
        self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"]
    ) -> list[Float[Tensor, "rows tokens dim"]]:
        """The embedding and the output of every layer; the last one is after the final LayerNorm."""
        return self.run_layers(self.embed(ids, mask), mask)

    def embed(
        self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"]
    ) -> Float[Tensor, "rows tokens dim"]:
        """What enters the first layer; ids at padding are never looked up and give zeros."""
        config = self.config
        known = ids.masked_fill(~mask, 0).long()
        states: Tensor = self.embedding(known)
        if config.token_dropout:
            hidden = (known == config.mask_token) & mask
            shown, n_real = (mask & ~hidden).sum(dim=1), mask.sum(dim=1)
            # (1 - 0.12) / (1 - hidden / real), with 1 for a row of nothing but `<mask>`.
            scale = (1 - TRAINED_MASK_RATE) * n_real.clamp(min=1) / shown.clamp(min=1)
            states = states.masked_fill(hidden[..., None], 0.0) * scale[:, None, None].to(states.dtype)
        if self.norm_before is not None:
            states = self.norm_before(states)
        return states.masked_fill(~mask[..., None], 0.0)

    def run_layers(
        self, embedded: Float[Tensor, "rows tokens dim"], mask: Bool[Tensor, "rows tokens"]
    ) -> list[Float[Tensor, "rows tokens dim"]]:
        """As `hidden_states`, from what `embed` gave."""
        states = [embedded]
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        states[-1] = self.norm(states[-1])
        return states

    def logits(
        self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"]
    ) -> Float[Tensor, "rows tokens vocab"]:
        """Logits of the token at every place."""
        if self.head is None:
            raise ValueError("the network was built without its masked-token head")
        out: Tensor = self.head(self(ids, mask))
        return out


__all__ = ["ROTARY_BASE", "RotaryConfig", "RotaryNetwork", "n_parameters"]


def n_parameters(config: RotaryConfig, head: bool = False) -> int:
    """Numbers of a network of that form, counted on one without values."""
    with torch.device("meta"):
        return sum(value.numel() for value in RotaryNetwork(config, head).parameters())
