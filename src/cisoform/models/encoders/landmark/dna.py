"""DNA round the start site: base by base close to it, k-mer composition of the regions further away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.models.encoders.landmark.views import (
    BASES,
    around,
    base_shares,
    centre,
    check_edges,
    kmers,
    strand_merged,
)
from cisoform.models.start_score import AFTER, BEFORE, FrozenScorers, StartScoreConfig
from cisoform.nn.summaries import Composition, Measures, SiteWeights, SoftBins

Read = list[tuple[Composition | SoftBins | Measures | SiteWeights, torch.Tensor]]
"""Summaries, each with its inputs for some rows."""


@dataclass(frozen=True, kw_only=True)
class LandmarkDnaConfig:
    """What is read, in bases relative to the first transcribed base (the middle of the window).

    Attributes:
        dim: Width of each summary.
        dropout: Of the inputs of each summary.
        core: Bases before and after the start that are read one by one.
        spans: (begin, end, k): k-mer composition of the bases from begin up to end; a k-mer and its reverse
            complement count as one, as most factors bind on either strand.
        stretches: Edges of stretches, relative to the start, whose shares of A, C, G and T are read; empty = none.
        starts: Scores of how well transcription could start here and nearby; None = not read.
    """

    kind: Literal["landmark_dna"] = "landmark_dna"
    dim: int = 64
    dropout: float = 0.6
    core: tuple[int, int] = (60, 30)
    spans: tuple[tuple[int, int, int], ...] = ((-250, -30, 4), (-400, -250, 3), (-120, 0, 3), (0, 120, 3))
    stretches: tuple[int, ...] = ()
    starts: StartScoreConfig | None = None

    def __post_init__(self) -> None:
        check_edges("stretches", self.stretches)


class LandmarkDnaEncoder(nn.Module):
    """One position for the core, one for each span, one for start scores; beyond the window bases are unknown."""

    def __init__(self, config: LandmarkDnaConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.core = SiteWeights(sum(config.core), BASES, config.dim, config.dropout)
        merged = {k: strand_merged(k) for *_, k in config.spans}
        self.spans = nn.ModuleList(
            Composition(merged[k][1], config.dim, config.dropout) for *_, k in config.spans
        )
        for k, (pairs, _) in merged.items():
            self.register_buffer(f"pairs_{k}", pairs, persistent=False)
        n_shares = max(len(config.stretches) - 1, 0) * BASES
        self.stretches = Measures(n_shares, config.dim, config.dropout) if n_shares else None
        self.scorers: FrozenScorers | None = None
        if config.starts is not None:
            self.scorers = FrozenScorers(config.starts)
            self.starts = Measures(self.scorers.size, config.dim, config.starts.input_dropout)

    def forward(self, tokens: Tokens) -> Hidden:
        """Summaries of each window.

        Raises:
            ValueError: If start scores are read and the windows are too short for them.
        """
        start = centre(tokens.mask)
        core = around(tokens, start, *self.config.core)
        read: Read = [(self.core, self.core.inputs(core.codes, core.valid))]
        for part, (begin, end, k) in zip(self.spans, self.config.spans, strict=True):
            summary = cast(Composition, part)
            view = kmers(around(tokens, start, -begin, end), k)
            pairs = self.get_buffer(f"pairs_{k}")
            codes = pairs[view.codes.masked_fill(~view.valid, 0)]
            read.append((summary, summary.inputs(codes, view.valid)))
        if self.stretches is not None:
            edges = self.config.stretches
            view = around(tokens, start, -edges[0], edges[-1])
            shares = base_shares(view, [edge - edges[0] for edge in edges])
            read.append((self.stretches, self.stretches.inputs(shares)))
        if self.scorers is not None and self.config.starts is not None:
            starts = self.config.starts
            starts.check_window(tokens.ids.shape[1])
            view = around(tokens, start, BEFORE + starts.reach, AFTER + starts.reach)
            scores = self.scorers(view.codes.masked_fill(~view.valid, BASES), tokens.fold)
            read.append((self.starts, self.starts.inputs(scores)))
        return summaries(read, tokens)

    def load_start_scores(self, states: Sequence[Mapping[str, torch.Tensor]]) -> None:
        """Take over trained scorers, one per fold."""
        if self.scorers is None:
            raise ValueError("this encoder reads no start scores (starts=None)")
        for scorer, state in zip(self.scorers.folds, states, strict=True):
            scorer.load_state_dict(state)


def summaries(read: Read, tokens: Tokens) -> Hidden:
    """Summaries as positions. All are real, except in a row without tokens, which has none."""
    states = torch.stack([summary.embed(inputs) for summary, inputs in read], dim=1)
    mask = tokens.mask.any(dim=1, keepdim=True).expand(-1, len(read))
    return Hidden(states, mask, tuple(inputs for _, inputs in read))
