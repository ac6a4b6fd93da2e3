"""Protein by its length and its amino-acid composition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.models.encoders.landmark.dna import Read, summaries
from cisoform.nn.summaries import Composition, SoftBins

AMINO_ACIDS = 20
"""Codes below it are the standard amino acids; X, U and * are left out of the composition."""


@dataclass(frozen=True, kw_only=True)
class LandmarkProteinConfig:
    """What is read of a protein: `dropout` is of the composition, `length_bins` as in `LandmarkRnaConfig`."""

    kind: Literal["landmark_protein"] = "landmark_protein"
    dim: int = 64
    dropout: float = 0.5
    length_bins: int = 16


class LandmarkProteinEncoder(nn.Module):
    """Two positions: length and composition."""

    def __init__(self, config: LandmarkProteinConfig) -> None:
        super().__init__()
        self.dim = config.dim
        self.length = SoftBins(config.dim, config.length_bins)
        self.composition = Composition(AMINO_ACIDS, config.dim, config.dropout)

    def forward(self, tokens: Tokens) -> Hidden:
        """Summaries of each protein."""
        known = tokens.mask & (tokens.ids < AMINO_ACIDS)
        read: Read = [
            (self.length, self.length.inputs(tokens.mask.sum(dim=1))),
            (self.composition, self.composition.inputs(tokens.ids, known)),
        ]
        return summaries(read, tokens)
