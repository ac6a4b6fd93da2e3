"""DNA round the start site: base by base close to it, k-mer composition of the regions further away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.models.encoders.landmark.views import BASES, around, centre, kmers, strand_merged
from cisoform.models.start_score import AFTER, BEFORE, FrozenScorers, StartScoreConfig
from cisoform.nn.summaries import Composition, Measures, SiteWeights


@dataclass(frozen=True, kw_only=True)
class LandmarkDnaConfig:
    """What is read, in bases relative to the first transcribed base (the middle of the window).

    Attributes:
        dim: Width of each summary.
        dropout: Of the inputs of each summary.
        core: Bases before and after the start that are read one by one.
        spans: (begin, end, k): k-mer composition of the bases from begin up to end; a k-mer and its reverse
            complement count as one, as most factors bind on either strand.
        starts: Scores of how well transcription could start here and nearby; None = not read.
    """

    kind: Literal["landmark_dna"] = "landmark_dna"
    dim: int = 64
    dropout: float = 0.6
    core: tuple[int, int] = (60, 30)
    spans: tuple[tuple[int, int, int], ...] = ((-250, -30, 4), (-400, -250, 3), (-120, 0, 3), (0, 120, 3))
    starts: StartScoreConfig | None = None


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
        states = [self.core(core.codes, core.valid)]
        for summary, (begin, end, k) in zip(self.spans, self.config.spans, strict=True):
            view = kmers(around(tokens, start, -begin, end), k)
            pairs = self.get_buffer(f"pairs_{k}")
            states.append(summary(pairs[view.codes.masked_fill(~view.valid, 0)], view.valid))
        if self.scorers is not None and self.config.starts is not None:
            starts = self.config.starts
            starts.check_window(tokens.ids.shape[1])
            view = around(tokens, start, BEFORE + starts.reach, AFTER + starts.reach)
            states.append(self.starts(self.scorers(view.codes.masked_fill(~view.valid, BASES), tokens.fold)))
        return summaries(states, tokens)

    def load_start_scores(self, states: Sequence[Mapping[str, torch.Tensor]]) -> None:
        """Take over trained scorers, one per fold."""
        if self.scorers is None:
            raise ValueError("this encoder reads no start scores (starts=None)")
        for scorer, state in zip(self.scorers.folds, states, strict=True):
            scorer.load_state_dict(state)


def summaries(states: list[torch.Tensor], tokens: Tokens) -> Hidden:
    """Summaries as positions. All are real, except in a row without tokens, which has none."""
    mask = tokens.mask.any(dim=1, keepdim=True).expand(-1, len(states))
    return Hidden(torch.stack(states, dim=1), mask)
