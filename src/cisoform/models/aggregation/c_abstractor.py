"""Convolutions, adaptive mean to a fixed number of positions, convolutions, perceptron: C-Abstractor along a sequence.

Honeybee (Cha et al. 2024) abstracts images by RegNet blocks in two dimensions; here they run along the positions of
each modality (the form used in IsoFormer was not seen). The block is RegNet's: 1x1, depthwise, squeeze-and-excitation,
1x1, each with a LayerNorm over channels, SiLU, residual. Ours: no learned positions, since rows have no fixed length
and encoders say where a position is; squeeze and mean take real positions alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.models.aggregation.base import JOINT, SharedHidden, first_width, side_by_side
from cisoform.models.encoders.base import Hidden
from cisoform.nn.blocks import MaskedConv
from cisoform.nn.pooling import adaptive_mean, masked_mean


@dataclass(frozen=True, kw_only=True)
class CAbstractorConfig:
    """Sizes of a `CAbstractor`.

    Attributes:
        dim: Width of the abstracted positions; None = that of the model's first modality.
        tokens: Positions that each modality is brought to.
        depth: RegNet blocks before and again after the mean (3 in Honeybee).
        kernel: Positions that a block's convolution sees.
    """

    kind: Literal["c_abstractor"] = "c_abstractor"
    dim: int | None = None
    tokens: int = 16
    depth: int = 3
    kernel: int = 3

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.depth < 1:
            raise ValueError(f"tokens={self.tokens} and depth={self.depth} must be at least 1")


class RegBlock(nn.Module):
    """RegNet's bottleneck of ratio 1 along a row; a row gives the same whatever it is padded to."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.conv = MaskedConv(dim, dim, kernel, depthwise=True)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        squeezed = max(1, dim // 4)
        self.excite = nn.Sequential(
            nn.Linear(dim, squeezed), nn.SiLU(), nn.Linear(squeezed, dim), nn.Sigmoid()
        )

    def forward(
        self, states: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"]
    ) -> Float[Tensor, "rows positions dim"]:
        """One block."""
        seen = F.silu(self.norms[0](self.first(states)))
        seen = F.silu(self.norms[1](self.conv(seen, mask)))
        seen = seen * self.excite(masked_mean(seen, mask))[:, None]
        return F.silu(states + self.norms[2](self.last(seen)))


class Abstractor(nn.Module):
    """One modality: any number of positions to `config.tokens`."""

    def __init__(self, config: CAbstractorConfig, dim: int, width: int) -> None:
        super().__init__()
        self.tokens = config.tokens
        self.map = nn.Linear(dim, width)
        self.before = nn.ModuleList(RegBlock(width, config.kernel) for _ in range(config.depth))
        self.after = nn.ModuleList(RegBlock(width, config.kernel) for _ in range(config.depth))
        self.readout = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, states: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"]
    ) -> Float[Tensor, "rows tokens width"]:
        """Abstract each row; one without real positions gives values that mean nothing."""
        states = self.map(states)
        for block in self.before:
            states = block(states, mask)
        states = adaptive_mean(states, mask, self.tokens)
        full = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        for block in self.after:
            states = block(states, full)
        out: Tensor = self.readout(states)
        return out


class CAbstractor(nn.Module):
    """One branch: the abstracted positions of all modalities that a sample has, so each counts the same."""

    def __init__(self, config: CAbstractorConfig, dims: Mapping[str, int]) -> None:
        super().__init__()
        width = config.dim or first_width(dims)
        self.branches = {JOINT: width}
        self.abstractors = nn.ModuleDict({name: Abstractor(config, dim, width) for name, dim in dims.items()})

    def forward(self, parts: Mapping[str, SharedHidden], batch: int) -> dict[str, Hidden]:
        """Abstract each distinct row once, then put the rows of each sample side by side."""
        found = []
        for name, part in parts.items():
            states = self.abstractors[name](part.states, part.mask)
            real = part.mask.any(dim=1, keepdim=True).expand(states.shape[:2])
            found.append(part.mapped(states, real))
        return side_by_side(found)
