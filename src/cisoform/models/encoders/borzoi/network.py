"""The trunk of Borzoi (Linder et al. 2025) in the form of borzoi-pytorch: bases in, one vector per 32 bp out.

Convolutions and pools down to 128 bp, transformer layers with relative positions, two steps up again that take in what
the tower saw at 64 and 32 bp, the middle bins, a pointwise layer. Checked against borzoi-pytorch to 1e-5 of scale,
stage by stage and in its gradient. Flashzoi (rotary attention in half precision) is another network.

Ours: a row that is no whole number of 128 bp is filled up with unknown bases on its right and cut again at 32 bp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.models.encoders.bins import crop_middle, one_hot, run_stage
from cisoform.nn.norm_conv import NormConv
from cisoform.nn.relative import Dropouts, RelativeAttention, RelativeLayer

_STEM_KERNEL, _TOWER_KERNEL, _SEPARABLE_KERNEL = 15, 5, 3
_NORM_EPS = 1e-3
_LAST_DROPOUT = 0.1
_UNKNOWN_BASE = 4
_UPS = 2

_gelu = partial(F.gelu, approximate="tanh")


@dataclass(frozen=True, kw_only=True)
class BorzoiNetworkConfig:
    """Sizes and form of a `BorzoiNetwork`; the defaults are the published ones.

    Attributes:
        stem: Width of the first convolution.
        tower: Widths of the convolutions after it; each reads every second position of the one before.
        dim: Width of the transformer and of the way up.
        layers: Transformer layers.
        heads: Of each.
        key_dim: Width of a query or key of one head.
        value_dim: Width of a value of one head.
        features: Basis functions of the distance; half of them signed.
        trained_positions: Length that the basis functions are made for, whatever the row's.
        out_dim: Width of the output.
        bins: How many bins round the middle are kept; None = all. A row of fewer is refused.
        dropout: In and behind the feed-forward.
        residual_dropout: Behind attention.
        attention_dropout: Of attention weights.
        position_dropout: Of the basis functions.
    """

    stem: int = 512
    tower: tuple[int, ...] = (608, 736, 896, 1056, 1280)
    dim: int = 1536
    layers: int = 8
    heads: int = 8
    key_dim: int = 64
    value_dim: int = 192
    features: int = 32
    trained_positions: int = 4096
    out_dim: int = 1920
    bins: int | None = 6144
    dropout: float = 0.2
    residual_dropout: float = 0.2
    attention_dropout: float = 0.05
    position_dropout: float = 0.01

    def __post_init__(self) -> None:
        sizes = (self.stem, *self.tower, self.dim, self.layers, self.heads, self.key_dim, self.value_dim)
        if not self.tower or min(*sizes, self.features, self.trained_positions, self.out_dim) < 1:
            raise ValueError(f"a size is below 1, or there is no tower: {self}")
        if self.bins is not None and self.bins < 1:
            raise ValueError(f"bins={self.bins} is below 1; null keeps all")
        if self.features % 2:
            raise ValueError(f"features={self.features} must be even: half of them are signed")

    @property
    def bin_size(self) -> int:
        """Bases of a bin."""
        return int(2 ** len(self.tower))


class Separable(nn.Module):
    """Convolution of each channel by itself, then a pointwise one."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        padding = _SEPARABLE_KERNEL // 2
        self.depthwise = nn.Conv1d(dim, dim, _SEPARABLE_KERNEL, padding=padding, groups=dim, bias=False)
        self.pointwise = nn.Conv1d(dim, dim, 1)

    def forward(self, hidden: Float[Tensor, "rows dim positions"]) -> Float[Tensor, "rows dim positions"]:
        """Convolve each row."""
        out: Tensor = self.pointwise(self.depthwise(hidden))
        return out


class StepUp(nn.Module):
    """Twice as many positions: each mapped and doubled, plus what the tower saw there, then a separable convolution."""

    def __init__(self, dim: int, seen_dim: int, frozen: bool) -> None:
        super().__init__()
        self.up = _block(dim, dim, 1, frozen)
        self.across = _block(seen_dim, dim, 1, frozen)
        self.mix = Separable(dim)

    def forward(
        self,
        hidden: Float[Tensor, "rows dim positions"],
        seen: Float[Tensor, "rows seen_dim doubled"],
    ) -> Float[Tensor, "rows dim doubled"]:
        """One step."""
        doubled = self.up(hidden).repeat_interleave(2, dim=-1)
        out: Tensor = self.mix(doubled + self.across(seen))
        return out


class BorzoiNetwork(nn.Module):
    """Tower, transformer, steps up, crop, pointwise layer; `heads` (tracks by name) are only used by `tracks`."""

    def __init__(
        self, config: BorzoiNetworkConfig, heads: dict[str, int] | None = None, freeze_norms: bool = True
    ) -> None:
        super().__init__()
        self.config = config
        # Of each stage only the result is kept for the gradient.
        self.recompute = False
        dim, frozen, last = config.dim, freeze_norms, config.tower[-1]
        self.stem = nn.Conv1d(4, config.stem, _STEM_KERNEL, padding=_STEM_KERNEL // 2)
        inputs = (config.stem, *config.tower)
        self.tower = nn.ModuleList(
            _block(inputs[n], width, _TOWER_KERNEL, frozen) for n, width in enumerate(config.tower)
        )
        self.bridge = _block(last, dim, _TOWER_KERNEL, frozen)
        self.layers = nn.ModuleList(_layer(config) for _ in range(config.layers))
        self.ups = nn.ModuleList(StepUp(dim, seen, frozen) for seen in (dim, last))
        self.last = _block(dim, config.out_dim, 1, frozen)
        self.dropout = nn.Dropout(_LAST_DROPOUT)
        self.heads = nn.ModuleDict({name: nn.Linear(config.out_dim, n) for name, n in (heads or {}).items()})

    def forward(self, bases: Int[Tensor, "rows bases"]) -> Float[Tensor, "rows bins dim"]:
        """Vectors of the bins round the middle of each row.

        Args:
            bases: Codes 0-3 of A, C, G, T; any other code is an unknown base. There is no padding.
        """
        for found in self.rungs(bases):  # noqa: B007 the last one is the answer; the others are let go
            pass
        return found

    def rungs(self, bases: Int[Tensor, "rows bases"]) -> Iterator[Tensor]:
        """What each stage makes of the rows, one after the other.

        Yields:
            The stem, the blocks of the tower and the bridge (channels before positions), the layers of the transformer
            (positions before channels), the steps up (channels first), and the output (bins first).
        """
        n_bins = -(-bases.shape[1] // self.config.bin_size)
        filled = F.pad(bases, (0, -bases.shape[1] % (self.config.bin_size * 2**_UPS)), value=_UNKNOWN_BASE)
        states: Tensor = self.stem(one_hot(filled).to(self.stem.weight.dtype))
        yield states
        for block in self.tower:
            states = run_stage(block, F.max_pool1d(states, 2), recompute=self.recompute)
            yield states
        fine = states
        coarse = self.bridge(F.max_pool1d(fine, 2))
        yield coarse
        states = rearrange(F.max_pool1d(coarse, 2), "rows dim positions -> rows positions dim")
        basis = relative_basis(states.shape[1], self.config.features, self.config.trained_positions).to(
            states
        )
        for layer in self.layers:
            states = run_stage(layer, states, basis, recompute=self.recompute)
            yield states
        states = rearrange(states, "rows positions dim -> rows dim positions")
        for step, seen in zip(self.ups, (coarse, fine), strict=True):
            states = run_stage(step, states, seen, recompute=self.recompute)
            yield states
        cut = rearrange(states[..., :n_bins], "rows dim bins -> rows bins dim")
        middle = rearrange(crop_middle(cut, self.config.bins), "rows bins dim -> rows dim bins")
        yield _gelu(self.dropout(rearrange(self.last(middle), "rows dim bins -> rows bins dim")))

    def tracks(self, states: Float[Tensor, "rows bins dim"], head: str) -> Float[Tensor, "rows bins tracks"]:
        """Tracks of a head from the output of the network."""
        return F.softplus(self.heads[head](states))


def _block(dim: int, out_dim: int, kernel: int, frozen: bool) -> NormConv:
    return NormConv(dim, out_dim, kernel, _gelu, _NORM_EPS, frozen)


def _layer(config: BorzoiNetworkConfig) -> RelativeLayer:
    attention = RelativeAttention(
        config.dim,
        config.heads,
        config.key_dim,
        config.value_dim,
        config.features,
        config.attention_dropout,
        config.position_dropout,
    )
    return RelativeLayer(attention, config.dim, _NORM_EPS, Dropouts(config.residual_dropout, config.dropout))


@lru_cache(maxsize=8)
def relative_basis(
    positions: int, features: int, trained_positions: int
) -> Float[Tensor, "distances features"]:
    """1 at distances below (trained_positions + 1)^(k / K) - 1, k = 1 ... K, else 0; and the same with their sign.

    Args:
        positions: Length of the sequence that attends: distances are -(positions - 1) ... positions - 1.
        features: 2 K.
        trained_positions: Length that the widths are made for.

    Returns:
        A float32 tensor on the CPU, shared by all who ask: not to be changed.
    """
    each = features // 2
    distance = torch.arange(-positions + 1, positions)
    ratio = math.exp(math.log(trained_positions + 1) / each)
    widths = torch.pow(ratio, torch.arange(1, each + 1)).float() - 1
    values = (widths > distance.abs()[:, None]).float()
    return torch.cat([values, torch.sign(distance)[:, None] * values], dim=1)
