"""How well transcription could start at each base of a DNA window, and what that says of the base in its middle.

A small convolution gives every base a score; it is trained to predict how a gene's starts are used round one of
them (softmax over positions), then frozen. What an expression model reads are features of the scores round a
transcript's own start: how strong the start is, and how strong the DNA beside it. They are a function of the DNA
alone. Our design; the profile of starts as a target follows base-resolution models of initiation such as ProCapNet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

BASES = 4
MOST_OUTPUTS = 4
"""Tissues that get a score of their own; if there are more, one score of their mean is learnt."""

BEFORE, AFTER = 400, 200
"""Scores that are read, in bases before the start and from it on."""
SPANS = (
    *((-2, 3), (-10, 11), (-50, -10), (11, 50)),
    *((-150, -50), (50, 150), (-400, -150), (-400, 101)),
)
"""Stretches (from, to; relative to the start) whose total is a feature."""
RIVALS = ((-10, 11), (-50, 51), (-150, 151), (-400, 101), (-400, 200))
"""Stretches of whose total the start's own share is a feature."""
FEATURES = 1 + len(SPANS) + len(RIVALS)


@dataclass(frozen=True, kw_only=True)
class StartScoreConfig:
    """Sizes of a scorer and how it is trained.

    Attributes:
        outputs: Scores of a base; set from the data set (`n_outputs`).
        channels: Width of the convolutions.
        kernel: Bases that the first one reads.
        dilations: Of each further convolution of three places.
        dropout: Within the scorer, while it is trained.
        folds: Scorers. A training transcript is scored by the one that has not seen its family, any other by all.
        input_dropout: Of the features, where the expression model reads them.
        before: Bases before a start over which usage is predicted; likewise `after`, from it on.
        after: See `before`.
        jitter: That stretch moves by up to so many bases.
        epochs: Passes over the genes; each shows one start of each gene.
        lr: Peak learning rate.
        weight_decay: Of AdamW.
        batch_size: Genes of a batch.
    """

    outputs: int = 1
    channels: int = 32
    kernel: int = 15
    dilations: tuple[int, ...] = (2, 4, 8, 16, 32, 40)
    dropout: float = 0.1
    folds: int = 3
    input_dropout: float = 0.1
    before: int = 300
    after: int = 150
    jitter: int = 25
    epochs: int = 5
    lr: float = 4e-3
    weight_decay: float = 0.02
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel} must be odd")
        if self.folds < 2:
            raise ValueError(
                f"folds={self.folds}: at least 2, or no scorer is blind to a training transcript"
            )

    @property
    def reach(self) -> int:
        """Bases on either side that a score depends on."""
        return self.kernel // 2 + sum(self.dilations)

    @property
    def window(self) -> int:
        """Shortest DNA window, its start in the middle, in which every score that is read has all of its bases."""
        return 2 * (max(BEFORE, AFTER) + self.reach)

    def check_window(self, length: int) -> None:
        """Refuse a window that is too short.

        Raises:
            ValueError: Names the length that is needed.
        """
        if length < self.window:
            raise ValueError(
                f"a DNA window of {length} bases is too short for start scores, which need {self.window}; "
                "widen it, or leave the scores out (dna.starts=null)"
            )


def n_outputs(tissues: int) -> int:
    """Scores of a base in a data set of so many tissues."""
    return tissues if tissues <= MOST_OUTPUTS else 1


class StartScorer(nn.Module):
    """Bases -> scores; unpadded, so the scores are shorter than the bases by `reach` at either end."""

    def __init__(self, config: StartScoreConfig) -> None:
        super().__init__()
        width = config.channels
        self.first = nn.Conv1d(BASES, width, config.kernel)
        self.blocks = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=d) for d in config.dilations)
        for name, parameter in self.blocks.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
        self.dilations = config.dilations
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Conv1d(width, config.outputs, 1)

    def forward(self, ids: Int[Tensor, "rows bases"]) -> Float[Tensor, "rows outputs places"]:
        """Score each base; ids from 4 on (N) are no base at all."""
        known = ids < BASES
        one_hot = F.one_hot(ids.long().masked_fill(~known, 0), BASES) * known[..., None]
        hidden = self.first(one_hot.transpose(1, 2).to(self.out.weight.dtype))
        for block, d in zip(self.blocks, self.dilations, strict=True):
            hidden = hidden[..., d:-d] + self.dropout(block(F.gelu(hidden)))
        scores: Tensor = self.out(F.gelu(hidden))
        return scores


def start_features(scores: Float[Tensor, "rows outputs places"]) -> Float[Tensor, "rows features"]:
    """The start's own score, the totals of `SPANS`, and its share of the totals of `RIVALS`, all as logarithms.

    Args:
        scores: Of the places -`BEFORE` to `AFTER` relative to the start.

    Returns:
        `FEATURES` of the first output, then of each other one its difference to the first.
    """
    own = scores[..., BEFORE]

    def total(begin: int, end: int) -> Tensor:
        return scores[..., BEFORE + begin : BEFORE + end].logsumexp(dim=-1)

    totals = [total(*span) for span in SPANS]
    shares = [own - total(*span) for span in RIVALS]
    features = torch.stack([own, *totals, *shares], dim=-1)
    return torch.cat([features[:, :1], features[:, 1:] - features[:, :1]], dim=1).flatten(1)


class FrozenScorers(nn.Module):
    """The scorers of all folds as one fixed function of DNA: never trained further, without dropout, saved along."""

    def __init__(self, config: StartScoreConfig) -> None:
        super().__init__()
        self.folds = nn.ModuleList(StartScorer(config) for _ in range(config.folds))
        self.size = FEATURES * config.outputs
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> FrozenScorers:
        """Stays in evaluation mode whatever the model around it does."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(
        self, ids: Int[Tensor, "rows bases"], fold: Int[Tensor, " rows"] | None
    ) -> Float[Tensor, "rows features"]:
        """Features of each row by the scorer of its fold; without folds the mean of all scorers' features."""
        # In full precision always, so that features of training and of prediction are the same numbers.
        with torch.autocast(ids.device.type, enabled=False):
            if fold is None:
                every = [start_features(scorer(ids)) for scorer in self.folds]
                return torch.stack(every).mean(dim=0)
            features = torch.full((len(ids), self.size), torch.nan, device=ids.device)
            for number, scorer in enumerate(self.folds):
                picked = (fold == number).nonzero()[:, 0]
                if len(picked):
                    features[picked] = start_features(scorer(ids[picked])).to(features.dtype)
            return features
