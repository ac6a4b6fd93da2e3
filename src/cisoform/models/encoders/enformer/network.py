"""The trunk of Enformer (Avsec et al. 2021) in the form of enformer-pytorch: bases in, one vector per 128 bp out.

Convolution and pooling by attention, seven times; transformer layers with relative positions; the middle bins; a
pointwise layer to twice the width. Checked against enformer-pytorch to 1e-5 of scale, stage by stage and in its
gradient, in both versions of the gamma densities (`basis`).

Rows of one length at a time and no padding: the relative positions scale with the length of the row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.models.encoders.bins import crop_middle, one_hot, run_stage
from cisoform.models.encoders.enformer.basis import KINDS, Gamma, relative_basis
from cisoform.nn.norm_conv import NormConv
from cisoform.nn.relative import Dropouts, RelativeAttention, RelativeLayer

_STEM_KERNEL, _TOWER_KERNEL = 15, 5
_NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class EnformerNetworkConfig:
    """Sizes and form of an `EnformerNetwork`; the defaults are the published ones (251 M parameters with heads).

    Attributes:
        dim: Width of the transformer; the output has twice as many.
        layers: Transformer layers.
        heads: Of each; values have dim / heads each.
        key_dim: Width of a query or key of one head.
        downsamples: Pools, each of two positions into one; a bin has 2^downsamples bases.
        divisible_by: Widths of the tower are multiples of it.
        bins: How many bins round the middle are kept; None = all. A row of fewer is refused.
        gamma: Version of the gamma densities that the weights were trained with.
        dropout: After each half of a layer; an eighth of it at the end.
        attention_dropout: Of attention weights.
        position_dropout: Of the basis functions.
    """

    dim: int = 1536
    layers: int = 11
    heads: int = 8
    key_dim: int = 64
    downsamples: int = 7
    divisible_by: int = 128
    bins: int | None = 896
    gamma: Gamma = "pytorch"
    dropout: float = 0.4
    attention_dropout: float = 0.05
    position_dropout: float = 0.01

    def __post_init__(self) -> None:
        if min(self.dim, self.layers, self.heads, self.key_dim, self.divisible_by) < 1:
            raise ValueError(f"a size is below 1: {self}")
        if self.downsamples < 3:
            raise ValueError(f"downsamples={self.downsamples}: the widths of the tower need at least 3")
        if self.bins is not None and self.bins < 1:
            raise ValueError(f"bins={self.bins} is below 1; null keeps all")
        if self.dim % 2 or self.dim % self.heads or self.features % KINDS:
            raise ValueError(
                f"dim={self.dim} must be even, and heads={self.heads} times a multiple of {KINDS}"
            )
        if min(self.widths) < 1:
            raise ValueError(f"divisible_by={self.divisible_by} is too large for dim={self.dim}")

    @property
    def out_dim(self) -> int:
        """Width of the output."""
        return 2 * self.dim

    @property
    def features(self) -> int:
        """Number of basis functions of the distance."""
        return self.dim // self.heads

    @property
    def bin_size(self) -> int:
        """Bases of a bin."""
        return int(2**self.downsamples)

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of the stem and after each stage of the tower: from dim / 2 to dim in equal ratios."""
        steps = self.downsamples - 2
        ratio = math.exp(math.log(2.0) / steps)
        grown = (self.dim // 2 * ratio**step / self.divisible_by for step in range(steps + 1))
        return (self.dim // 2, *(round(width) * self.divisible_by for width in grown))


def gelu(hidden: Tensor) -> Tensor:
    """The approximation of GELU that Enformer was trained with (Hendrycks and Gimpel 2016): x sigmoid(1.702 x)."""
    return torch.sigmoid(1.702 * hidden) * hidden


class PairPool(nn.Module):
    """Each two positions into one: a softmax over the two in each channel, its scores a linear map of all channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Conv1d(dim, dim, 1, bias=False)
        with torch.no_grad():
            nn.init.dirac_(self.score.weight)
            self.score.weight.mul_(2.0)

    def forward(self, hidden: Float[Tensor, "rows dim positions"]) -> Float[Tensor, "rows dim pairs"]:
        """Halve each row; a last position without a mate stands alone."""
        even = hidden.shape[-1] // 2 * 2
        if not even:
            return hidden
        first, second = hidden[..., :even:2], hidden[..., 1:even:2]
        # A softmax over two is the logistic function of the difference of their scores, which are linear.
        difference = first - second
        pooled: Tensor = second + torch.sigmoid(self.score(difference)) * difference
        return torch.cat([pooled, hidden[..., even:]], dim=-1) if even < hidden.shape[-1] else pooled


class Stage(nn.Module):
    """Convolution (of bases in the stem, of a `NormConv` in the tower), residual pointwise block, pool."""

    def __init__(self, first: nn.Conv1d | NormConv, dim: int, frozen: bool) -> None:
        super().__init__()
        self.first = first
        self.pointwise = conv_block(dim, dim, 1, frozen)
        self.pool = PairPool(dim)

    def forward(self, hidden: Float[Tensor, "rows dim positions"]) -> Float[Tensor, "rows out_dim pairs"]:
        """One stage."""
        hidden = self.first(hidden)
        out: Tensor = self.pool(hidden + self.pointwise(hidden))
        return out


def layer(config: EnformerNetworkConfig) -> RelativeLayer:
    """One layer of the transformer."""
    attention = RelativeAttention(
        config.dim,
        config.heads,
        config.key_dim,
        config.dim // config.heads,
        config.features,
        config.attention_dropout,
        config.position_dropout,
    )
    return RelativeLayer(attention, config.dim, _NORM_EPS, Dropouts(config.dropout, config.dropout))


def conv_block(dim: int, out_dim: int, kernel: int, frozen: bool) -> NormConv:
    """Batch normalisation, GELU, convolution."""
    return NormConv(dim, out_dim, kernel, gelu, _NORM_EPS, frozen)


class EnformerNetwork(nn.Module):
    """Stem, tower, transformer, crop, pointwise layer; `heads` (tracks by name) are only used by `tracks`."""

    def __init__(
        self,
        config: EnformerNetworkConfig,
        heads: dict[str, int] | None = None,
        freeze_norms: bool = True,
    ) -> None:
        super().__init__()
        self.config = config
        # Of each stage only the result is kept for the gradient.
        self.recompute = False
        widths, dim = config.widths, config.dim
        stem = nn.Conv1d(4, widths[0], _STEM_KERNEL, padding=_STEM_KERNEL // 2)
        self.stem = Stage(stem, widths[0], freeze_norms)
        self.tower = nn.ModuleList(
            Stage(conv_block(before, after, _TOWER_KERNEL, freeze_norms), after, freeze_norms)
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        self.layers = nn.ModuleList(layer(config) for _ in range(config.layers))
        self.last = conv_block(dim, config.out_dim, 1, freeze_norms)
        self.dropout = nn.Dropout(config.dropout / 8)
        self.heads = nn.ModuleDict({name: nn.Linear(config.out_dim, n) for name, n in (heads or {}).items()})

    def forward(self, bases: Int[Tensor, "rows bases"]) -> Float[Tensor, "rows bins dim"]:
        """Vectors of the bins round the middle of each row.

        Args:
            bases: Codes 0-3 of A, C, G, T; any other code is an unknown base. There is no padding: the basis
                functions scale with the length of the row.
        """
        for found in self.rungs(bases):  # noqa: B007 the last one is the answer; the others are let go
            pass
        return found

    def rungs(self, bases: Int[Tensor, "rows bases"]) -> Iterator[Tensor]:
        """What each stage makes of the rows, one after the other.

        Yields:
            The stages of the tower with the stem (channels before positions), the layers of the transformer (bins
            before channels), and the output.
        """
        states: Tensor = one_hot(bases).to(self.last.conv.weight.dtype)
        for stage in (self.stem, *self.tower):
            states = run_stage(stage, states, recompute=self.recompute)
            yield states
        states = rearrange(states, "rows dim bins -> rows bins dim")
        basis = relative_basis(states.shape[1], self.config.features, self.config.gamma).to(states)
        for layer in self.layers:
            states = run_stage(layer, states, basis, recompute=self.recompute)
            yield states
        middle = crop_middle(states, self.config.bins)
        last = self.last(rearrange(middle, "rows bins dim -> rows dim bins"))
        yield gelu(self.dropout(rearrange(last, "rows dim bins -> rows bins dim")))

    def tracks(self, states: Float[Tensor, "rows bins dim"], head: str) -> Float[Tensor, "rows bins tracks"]:
        """Tracks of a head from the output of the network."""
        return F.softplus(self.heads[head](states))
