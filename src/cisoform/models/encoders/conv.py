"""Encoder for any sequence, trained from scratch: tower of convolutions and bins, dilated convolutions, transformer.

Widths grow as lengths shrink, so that most of the work is done on few positions. Our design; no pre-trained
weights exist for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden, TokenEmbedding
from cisoform.nn.blocks import ConvBlock, MaskedConv, TransformerBlock
from cisoform.nn.pooling import bin_mean
from cisoform.nn.position import PositionFeatures


@dataclass(frozen=True, kw_only=True)
class ConvConfig:
    """Sizes of a `ConvEncoder`.

    Attributes:
        ids: Codes of real tokens.
        channels: Codes of the annotation channel; 0 = the encoder reads none.
        embedding: Width of an embedded token.
        widths: Width after each stage of the tower; the last is the width of the encoder.
        bins: Positions that each stage averages into one; their product is the tokens of a final position.
        stem_kernel: Tokens that the first stage sees.
        kernel: Positions that later convolutions see.
        conv_layers: Dilated convolutions over the final positions; dilation doubles from 1.
        transformer_layers: Transformer blocks after them.
        heads: Of each transformer block.
        dropout: Of each residual update.
    """

    kind: Literal["conv"] = "conv"
    ids: int
    channels: int = 0
    embedding: int = 16
    widths: tuple[int, ...] = (32, 64)
    bins: tuple[int, ...] = (4, 4)
    stem_kernel: int = 15
    kernel: int = 5
    conv_layers: int = 3
    transformer_layers: int = 1
    heads: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.bins) or not self.widths:
            raise ValueError(f"widths={self.widths} and bins={self.bins} need one entry for each stage")

    @property
    def dim(self) -> int:
        """Width of the encoder."""
        return self.widths[-1]

    @property
    def bin(self) -> int:
        """Tokens of a final position."""
        return math.prod(self.bins)


class Stage(nn.Module):
    """Convolution, GELU, mean over bins. Reads normed positions, but for the first stage, which reads tokens."""

    def __init__(self, dim: int, out_dim: int, kernel: int, width: int, first: bool) -> None:
        super().__init__()
        self.norm = nn.Identity() if first else nn.LayerNorm(dim)
        self.conv = MaskedConv(dim, out_dim, kernel)
        self.width = width

    def forward(
        self, states: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"]
    ) -> tuple[Float[Tensor, "rows bins out_dim"], Bool[Tensor, "rows bins"]]:
        """Shorten each row."""
        return bin_mean(F.gelu(self.conv(self.norm(states), mask)), mask, self.width)


class ConvEncoder(nn.Module):
    """Motifs by the tower, their neighbourhood by dilated convolutions, the whole row by attention."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = dim = config.dim
        self.embedding = TokenEmbedding(config.ids, config.channels, config.embedding)
        inputs = (config.embedding, *config.widths)
        self.tower = nn.ModuleList(
            Stage(inputs[i], width, config.kernel if i else config.stem_kernel, config.bins[i], first=i == 0)
            for i, width in enumerate(config.widths)
        )
        self.position = PositionFeatures(dim)
        self.convs = nn.ModuleList(
            ConvBlock(dim, config.kernel, 2**layer, config.dropout) for layer in range(config.conv_layers)
        )
        self.transformer = nn.ModuleList(
            TransformerBlock(dim, config.heads, dropout=config.dropout)
            for _ in range(config.transformer_layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tokens) -> Hidden:
        """Positions of `config.bin` tokens."""
        states, mask = self.embedding(tokens), tokens.mask
        for stage in self.tower:
            states, mask = stage(states, mask)
        states = states + self.position(tokens.mask, self.config.bin)[:, : states.shape[1]]
        for block in [*self.convs, *self.transformer]:
            states = block(states, mask)
        return Hidden(self.norm(states), mask)
