"""One vector from one property of a sequence: what it is made of, how long it is, what stands at a fixed place.

Inputs are scaled by constants, never by statistics of the batch, so that a row means the same in any company.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class Composition(nn.Module):
    """Linear map of the square roots of k-mer (codon, residue) frequencies.

    The square root evens out the spread of rare and common k-mers. `scale` and `shift` are learned per k-mer and
    start where a uniform composition has mean about 0 and single k-mers a spread of about 1.
    """

    def __init__(self, size: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.size = size
        self.scale = nn.Parameter(torch.ones(size))
        self.shift = nn.Parameter(torch.zeros(size))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(size, dim)

    def forward(
        self, codes: Int[Tensor, "rows places"], valid: Bool[Tensor, "rows places"]
    ) -> Float[Tensor, "rows dim"]:
        """Summarise the valid places; codes are below `size` there. Rows with none give one fixed vector."""
        root = root_frequencies(codes, valid, self.size).to(self.scale.dtype)
        centred = root * self.size**0.5 - MEAN_ROOT
        out: Tensor = self.out(self.dropout(centred * self.scale + self.shift))
        return out


MEAN_ROOT = 0.9
"""Mean of sqrt(frequency x size) in sequences of some hundred bases (1 if all k-mers were equally common)."""


def root_frequencies(
    codes: Int[Tensor, "rows places"], valid: Bool[Tensor, "rows places"], size: int
) -> Float[Tensor, "rows size"]:
    """Square root of each code's share of the valid places; zeros for a row without any."""
    counted = codes.long().masked_fill(~valid, 0)
    counts = torch.zeros(len(codes), size, device=codes.device).scatter_add_(1, counted, valid.float())
    return (counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).sqrt()


class SoftBins(nn.Module):
    """Linear map of a count's Gaussian bumps on the log1p scale, at fixed centres."""

    centres: Tensor

    def __init__(self, dim: int, bins: int, low: float = 2.0, high: float = 9.0) -> None:
        super().__init__()
        self.width = (high - low) / (bins - 1)
        self.register_buffer("centres", torch.linspace(low, high, bins), persistent=False)
        self.out = nn.Linear(bins, dim)

    def forward(self, counts: Int[Tensor, " rows"]) -> Float[Tensor, "rows dim"]:
        """Embed each count; 0 and everything far below exp(low) look alike."""
        distance = (counts.float().log1p()[:, None] - self.centres) / self.width
        out: Tensor = self.out((BUMP_HEIGHT * torch.exp(-0.5 * distance.square())).to(self.out.weight.dtype))
        return out


BUMP_HEIGHT = 3.0
"""Brings the few active bumps to the size of the other summaries' inputs."""


class SiteWeights(nn.Module):
    """A weight for each letter at each place of a window of fixed width, as a position weight matrix has."""

    def __init__(self, width: int, letters: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.letters = letters
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width * letters, dim)

    def forward(
        self, ids: Int[Tensor, "rows width"], mask: Bool[Tensor, "rows width"]
    ) -> Float[Tensor, "rows dim"]:
        """Summarise the window; masked places and ids from `letters` on (N) weigh nothing."""
        known = mask & (ids < self.letters)
        one_hot = F.one_hot(ids.long().masked_fill(~known, 0), self.letters) * known[..., None]
        out: Tensor = self.out(self.dropout(one_hot.flatten(1).to(self.out.weight.dtype)))
        return out
