"""No exchange between modalities: each is pooled by itself and the pooled vectors stand side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn

from cisoform.models.aggregation.base import SharedHidden
from cisoform.models.encoders.base import Hidden


@dataclass(frozen=True, kw_only=True)
class ConcatenateConfig:
    """Nothing to choose."""

    kind: Literal["concatenate"] = "concatenate"


class Concatenate(nn.Module):
    """Every modality is a branch of its own."""

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.branches = dict(dims)

    def forward(self, parts: Mapping[str, SharedHidden], batch: int) -> dict[str, Hidden]:
        """Hand each modality on."""
        return {name: part.per_sample() for name, part in parts.items()}
