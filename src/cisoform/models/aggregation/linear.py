"""Every position of every modality through one linear map to a shared width, all in one sequence.

The "linear projection" of the paper's Table 4; its exact form was not seen. Ours: one map per modality with bias (the
bias tells the modalities apart), then the positions of all modalities stand in one sequence that is pooled as a whole.
With the mean as pool a modality therefore counts by its number of positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from cisoform.models.aggregation.base import JOINT, SharedHidden, first_width, side_by_side
from cisoform.models.encoders.base import Hidden


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Width of the shared sequence; None = that of the model's first modality."""

    kind: Literal["linear"] = "linear"
    dim: int | None = None


class Linear(nn.Module):
    """One branch: the mapped positions of all modalities that a sample has."""

    def __init__(self, config: LinearConfig, dims: Mapping[str, int]) -> None:
        super().__init__()
        width = config.dim or first_width(dims)
        self.branches = {JOINT: width}
        self.maps = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})

    def forward(self, parts: Mapping[str, SharedHidden], batch: int) -> dict[str, Hidden]:
        """Map each distinct row once, then put the rows of each sample side by side."""
        return side_by_side([part.mapped(self.maps[name](part.states)) for name, part in parts.items()])
