"""One vector from one property of a sequence: what it is made of, how long it is, what stands at a fixed place.

Inputs are scaled by constants, never by statistics of the batch, so that a row means the same in any company.
The constants of those in `FITTED` can be fitted once, before training, to what the training rows hold
(`fit_summaries`); they are saved with the weights. Unfitted modules work, with constants that suit most data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class Composition(nn.Module):
    """Linear map of the square roots of k-mer (codon, residue) frequencies, standardised per k-mer.

    The square root evens out the spread of rare and common k-mers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.size = self.width = size
        self.register_buffer("mean", torch.full((size,), MEAN_ROOT * size**-0.5))
        self.register_buffer("std", torch.full((size,), size**-0.5))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(size, dim)
        self.seen: list[Tensor] | None = None

    def forward(
        self, codes: Int[Tensor, "rows places"], valid: Bool[Tensor, "rows places"]
    ) -> Float[Tensor, "rows dim"]:
        """Summarise the valid places; codes are below `size` there. Rows with none give one fixed vector."""
        return self.embed(self.inputs(codes, valid))

    def inputs(
        self, codes: Int[Tensor, "rows places"], valid: Bool[Tensor, "rows places"]
    ) -> Float[Tensor, "rows size"]:
        """Standardised square roots of the frequencies."""
        root = root_frequencies(codes, valid, self.size)
        if self.seen is not None:
            self.seen.append(root)
        return ((root - self.mean) / self.std).clamp(-LIMIT, LIMIT)

    def embed(self, inputs: Float[Tensor, "rows size"]) -> Float[Tensor, "rows dim"]:
        """The summary of such inputs."""
        out: Tensor = self.out(self.dropout(inputs.to(self.out.weight.dtype)))
        return out

    def fit(self) -> None:
        """Mean and standard deviation of each k-mer among the rows seen; a k-mer that never varies keeps its std."""
        rows = torch.cat(self.seen or [])
        std = rows.std(dim=0, correction=0)
        self.mean.copy_(rows.mean(dim=0))
        self.std.copy_(torch.where(std > MIN_STD, std + STD_FLOOR, self.std))


MEAN_ROOT = 0.9
"""Mean of sqrt(frequency x size) in sequences of some hundred bases (1 if all k-mers were equally common)."""
LIMIT = 5.0
"""Standard deviations at which inputs are cut."""
MIN_STD, STD_FLOOR = 1e-6, 1e-3


def root_frequencies(
    codes: Int[Tensor, "rows places"], valid: Bool[Tensor, "rows places"], size: int
) -> Float[Tensor, "rows size"]:
    """Square root of each code's share of the valid places; zeros for a row without any."""
    counted = codes.long().masked_fill(~valid, 0)
    counts = torch.zeros(len(codes), size, device=codes.device).scatter_add_(1, counted, valid.float())
    return (counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).sqrt()


class SoftBins(nn.Module):
    """Linear map of a count's Gaussian bumps on the log1p scale."""

    centres: Tensor
    widths: Tensor

    def __init__(self, dim: int, bins: int, low: float = 2.0, high: float = 9.0) -> None:
        super().__init__()
        self.width = bins
        self.register_buffer("centres", torch.linspace(low, high, bins))
        self.register_buffer("widths", torch.full((bins,), (high - low) / (bins - 1)))
        self.out = nn.Linear(bins, dim)
        self.seen: list[Tensor] | None = None

    def forward(self, counts: Int[Tensor, " rows"]) -> Float[Tensor, "rows dim"]:
        """Embed each count; counts far below the lowest bump look alike, 0 among them."""
        return self.embed(self.inputs(counts))

    def inputs(self, counts: Int[Tensor, " rows"]) -> Float[Tensor, "rows bins"]:
        """Height of every bump at each count."""
        logs = counts.float().log1p()
        if self.seen is not None:
            self.seen.append(logs)
        distance = ((logs[:, None] - self.centres) / self.widths).clamp(-REACH, REACH)
        return BUMP_HEIGHT * torch.exp(-0.5 * distance.square())

    def embed(self, inputs: Float[Tensor, "rows bins"]) -> Float[Tensor, "rows dim"]:
        """The summary of such inputs."""
        out: Tensor = self.out(inputs.to(self.out.weight.dtype))
        return out

    def fit(self) -> None:
        """Put the bumps at quantiles of the counts above 0 seen, each as wide as its neighbours are far."""
        logs = torch.cat(self.seen or [])
        logs = logs[logs > 0]
        if not len(logs):
            return
        levels = torch.linspace(0.01, 0.99, len(self.centres), device=logs.device)
        centres = torch.quantile(logs, levels)
        self.centres.copy_(centres)
        self.widths.copy_(torch.gradient(centres)[0].clamp(min=MIN_WIDTH))


BUMP_HEIGHT = 3.0
"""Brings the few active bumps to the size of the other summaries' inputs."""
REACH = 6.0
MIN_WIDTH = 0.02


class Measures(nn.Module):
    """Small network over real numbers of any scale, standardised each."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.width = size
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(size, dim)
        self.out = nn.Linear(dim, dim)
        self.seen: list[Tensor] | None = None

    def forward(self, values: Float[Tensor, "rows size"]) -> Float[Tensor, "rows dim"]:
        """Summarise each row; values far from those of the rows it was fitted to are cut."""
        return self.embed(self.inputs(values))

    def inputs(self, values: Float[Tensor, "rows size"]) -> Float[Tensor, "rows size"]:
        """The values, standardised and cut."""
        if self.seen is not None:
            self.seen.append(values)
        return ((values - self.mean) / self.std).clamp(-MEASURE_LIMIT, MEASURE_LIMIT)

    def embed(self, inputs: Float[Tensor, "rows size"]) -> Float[Tensor, "rows dim"]:
        """The summary of such inputs."""
        out: Tensor = self.out(F.gelu(self.hidden(self.dropout(inputs.to(self.out.weight.dtype)))))
        return out

    def fit(self) -> None:
        """Mean and standard deviation of each value among the rows seen; one that never varies keeps its std."""
        rows = torch.cat(self.seen or [])
        std = rows.std(dim=0, correction=0)
        self.mean.copy_(rows.mean(dim=0))
        self.std.copy_(torch.where(std > MIN_STD, std + STD_FLOOR, self.std))


MEASURE_LIMIT = 4.0
"""Standard deviations at which measures are cut."""

FITTED = (Composition, SoftBins, Measures)
"""Summaries whose constants can be fitted."""


class SiteWeights(nn.Module):
    """A weight for each letter at each place of a window of fixed width, as a position weight matrix has."""

    def __init__(self, width: int, letters: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.letters = letters
        self.width = width * letters
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width * letters, dim)

    def forward(
        self, ids: Int[Tensor, "rows width"], mask: Bool[Tensor, "rows width"]
    ) -> Float[Tensor, "rows dim"]:
        """Summarise the window; masked places and ids from `letters` on (N) weigh nothing."""
        return self.embed(self.inputs(ids, mask))

    def inputs(
        self, ids: Int[Tensor, "rows width"], mask: Bool[Tensor, "rows width"]
    ) -> Float[Tensor, "rows ones"]:
        """A 1 for the letter at each place, place by place."""
        known = mask & (ids < self.letters)
        one_hot = F.one_hot(ids.long().masked_fill(~known, 0), self.letters) * known[..., None]
        return one_hot.flatten(1).float()

    def embed(self, inputs: Float[Tensor, "rows ones"]) -> Float[Tensor, "rows dim"]:
        """The summary of such inputs."""
        out: Tensor = self.out(self.dropout(inputs.to(self.out.weight.dtype)))
        return out


SUMMARIES = (Composition, SoftBins, Measures, SiteWeights)
"""All of them: `embed(inputs(...))` is a summary, `width` the width of its inputs."""


@contextlib.contextmanager
def fit_summaries(model: nn.Module) -> Iterator[None]:
    """Fit the constants of every summary in the model to the rows that pass through it inside the block.

    Run unaugmented training rows through the encoders, without gradients. A summary that sees no row keeps its
    constants.
    """
    parts = [module for module in model.modules() if isinstance(module, FITTED)]
    for part in parts:
        part.seen = []
    try:
        yield
        for part in parts:
            if part.seen:
                part.fit()
    finally:
        for part in parts:
            part.seen = None
