"""The smallest useful encoder: one convolution, bins, position, one mixing layer. For tests and demos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.nn import functional as F

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden, TokenEmbedding
from cisoform.nn.blocks import MaskedConv
from cisoform.nn.pooling import bin_mean
from cisoform.nn.position import PositionFeatures


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    """Sizes of a `TinyEncoder`. `ids` and `channels` count the codes of real tokens (channels 0 = none)."""

    kind: Literal["tiny"] = "tiny"
    ids: int
    channels: int = 0
    dim: int = 32
    kernel: int = 9
    bin: int = 32


class TinyEncoder(nn.Module):
    """One wide convolution over tokens, averaged in bins that know where they are."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.dim = config.dim
        self.bin = config.bin
        self.embedding = TokenEmbedding(config.ids, config.channels, config.dim)
        self.conv = MaskedConv(config.dim, config.dim, config.kernel)
        self.position = PositionFeatures(config.dim)
        self.mix = nn.Linear(config.dim, config.dim)

    def forward(self, tokens: Tokens) -> Hidden:
        """Bins of `bin` tokens."""
        states = F.gelu(self.conv(self.embedding(tokens), tokens.mask))
        states, mask = bin_mean(states, tokens.mask, self.bin)
        states = states + self.position(tokens.mask, self.bin)
        return Hidden(states + F.gelu(self.mix(states)), mask)
