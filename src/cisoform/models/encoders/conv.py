"""Encoder trained from scratch: wide stem convolution, bins, dilated residual convolutions, transformer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.nn import functional as F

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden, TokenEmbedding
from cisoform.nn.blocks import ConvBlock, MaskedConv, TransformerBlock
from cisoform.nn.pooling import bin_mean
from cisoform.nn.position import PositionFeatures


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """Sizes of a `ConvEncoder`. `ids` and `channels` count the codes of real tokens (channels 0 = none)."""

    kind: Literal["conv"] = "conv"
    ids: int
    channels: int = 0
    dim: int = 64
    stem_kernel: int = 15
    bin: int = 16
    conv_layers: int = 3
    conv_kernel: int = 5
    transformer_layers: int = 0
    heads: int = 4
    dropout: float = 0.1


class ConvEncoder(nn.Module):
    """Motifs by the stem, their neighbourhood by dilated convolutions (dilation doubles), then attention."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.dim = config.dim
        self.bin = config.bin
        self.embedding = TokenEmbedding(config.ids, config.channels, config.dim)
        self.stem = MaskedConv(config.dim, config.dim, config.stem_kernel)
        self.position = PositionFeatures(config.dim)
        self.convs = nn.ModuleList(
            ConvBlock(config.dim, config.conv_kernel, 2**layer, config.dropout)
            for layer in range(config.conv_layers)
        )
        self.transformer = nn.ModuleList(
            TransformerBlock(config.dim, config.heads, dropout=config.dropout)
            for _ in range(config.transformer_layers)
        )
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, tokens: Tokens) -> Hidden:
        """Bins of `bin` tokens."""
        states = F.gelu(self.stem(self.embedding(tokens), tokens.mask))
        states, mask = bin_mean(states, tokens.mask, self.bin)
        states = states + self.position(tokens.mask, self.bin)
        for block in [*self.convs, *self.transformer]:
            states = block(states, mask)
        return Hidden(self.norm(states), mask)
