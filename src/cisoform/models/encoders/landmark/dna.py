"""DNA round the start site: base by base close to it, k-mer composition of the regions further away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.models.encoders.landmark.views import BASES, around, centre, kmers
from cisoform.nn.summaries import Composition, SiteWeights


@dataclass(frozen=True, kw_only=True)
class LandmarkDnaConfig:
    """What is read, in bases relative to the first transcribed base (the middle of the window).

    Attributes:
        dim: Width of each summary.
        dropout: Of the inputs of each summary.
        core: Bases before and after the start that are read one by one.
        spans: (begin, end, k): k-mer composition of the bases from begin up to end.
    """

    kind: Literal["landmark_dna"] = "landmark_dna"
    dim: int = 64
    dropout: float = 0.3
    core: tuple[int, int] = (60, 30)
    spans: tuple[tuple[int, int, int], ...] = ((-500, 0, 4), (-150, 0, 3), (0, 150, 3))


class LandmarkDnaEncoder(nn.Module):
    """One position for the core and one for each span; parts beyond the window are unknown bases."""

    def __init__(self, config: LandmarkDnaConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.core = SiteWeights(sum(config.core), BASES, config.dim, config.dropout)
        self.spans = nn.ModuleList(
            Composition(BASES**k, config.dim, config.dropout) for *_, k in config.spans
        )

    def forward(self, tokens: Tokens) -> Hidden:
        """Summaries of each window."""
        start = centre(tokens.mask)
        core = around(tokens, start, *self.config.core)
        states = [self.core(core.codes, core.valid)]
        for summary, (begin, end, k) in zip(self.spans, self.config.spans, strict=True):
            view = kmers(around(tokens, start, -begin, end), k)
            states.append(summary(view.codes, view.valid))
        return summaries(states, tokens)


def summaries(states: list[torch.Tensor], tokens: Tokens) -> Hidden:
    """Summaries as positions. All are real, except in a row without tokens, which has none."""
    mask = tokens.mask.any(dim=1, keepdim=True).expand(-1, len(states))
    return Hidden(torch.stack(states, dim=1), mask)
