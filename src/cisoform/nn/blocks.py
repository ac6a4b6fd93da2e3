"""Residual blocks, all pre-norm and all obeying a mask: transformer, and depthwise dilated convolution."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.nn.attention import MultiHeadAttention


class TransformerBlock(nn.Module):
    """hidden + attention(norm(hidden)), then hidden + FFN(norm(hidden)); rotary positions."""

    def __init__(self, dim: int, heads: int, expansion: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, heads, rotary=True)
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"]
    ) -> Float[Tensor, "rows positions dim"]:
        """Mix the real positions of each row; values at padding are meaningless."""
        normed = self.attention_norm(hidden)
        hidden = hidden + self.dropout(self.attention(normed, normed, mask))
        out: Tensor = hidden + self.dropout(self.ffn(self.ffn_norm(hidden)))
        return out


class MaskedConv(nn.Module):
    """Convolution along positions that keeps their number; padding reads as zeros, like the end of the row.

    A row therefore gives the same values whatever it is padded to.
    """

    def __init__(
        self, dim: int, out_dim: int, kernel: int, dilation: int = 1, depthwise: bool = False
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} must be odd, so that a position sees as far left as right")
        groups = dim if depthwise else 1
        padding = (kernel - 1) // 2 * dilation
        self.conv = nn.Conv1d(dim, out_dim, kernel, padding=padding, dilation=dilation, groups=groups)

    def forward(
        self, states: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"]
    ) -> Float[Tensor, "rows positions out_dim"]:
        """Convolve each row."""
        states = states.masked_fill(~mask[..., None], 0.0)
        out: Tensor = self.conv(states.transpose(1, 2)).transpose(1, 2)
        return out


class ConvBlock(nn.Module):
    """hidden + mix(GELU(depthwise dilated convolution(norm(hidden)))): wide reach for few parameters."""

    def __init__(self, dim: int, kernel: int, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.conv = MaskedConv(dim, dim, kernel, dilation, depthwise=True)
        self.mix = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"]
    ) -> Float[Tensor, "rows positions dim"]:
        """Look along the row, then mix channels."""
        seen = F.gelu(self.conv(self.norm(hidden), mask))
        out: Tensor = hidden + self.dropout(self.mix(seen))
        return out
