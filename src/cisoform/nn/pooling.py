"""From many positions to fewer: over a row (mean, attention) or in bins. Padding has no vote."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F


def masked_mean(
    states: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"]
) -> Float[Tensor, "rows dim"]:
    """Mean over the real positions; zeros for a row that has none."""
    total: Tensor = states.masked_fill(~mask[..., None], 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)


class MeanPool(nn.Module):
    """`masked_mean` as a module."""

    def forward(
        self, states: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"]
    ) -> Float[Tensor, "rows dim"]:
        """Pool each row."""
        return masked_mean(states, mask)


class AttentionPool(nn.Module):
    """Weighted mean over the real positions, one learned softmax per channel group.

    Starts as the plain mean (scores are zero). A row without real positions gives zeros.
    """

    def __init__(self, dim: int, heads: int = 1) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim={dim} is not divisible by heads={heads}")
        self.heads = heads
        self.score = nn.Linear(dim, heads, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(
        self, states: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"]
    ) -> Float[Tensor, "rows dim"]:
        """Pool each row."""
        states = states.masked_fill(~mask[..., None], 0.0)
        allowed = (mask | ~mask.any(dim=1, keepdim=True))[..., None]
        weights = self.score(states).masked_fill(~allowed, -torch.inf).softmax(dim=1)
        grouped = rearrange(
            states, "rows positions (heads part) -> rows positions heads part", heads=self.heads
        )
        pooled: Tensor = (weights[..., None] * grouped).sum(dim=1).flatten(1)
        return pooled


def bin_mean(
    states: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"], width: int
) -> tuple[Float[Tensor, "rows bins dim"], Bool[Tensor, "rows bins"]]:
    """Mean over the real positions of each bin of `width`; a bin is real if one of its positions is.

    Bins are counted from the first position, so that padding on the right never moves them.
    """
    if width == 1:
        return states, mask
    extra = -states.shape[1] % width
    states = F.pad(states.masked_fill(~mask[..., None], 0.0), (0, 0, 0, extra))
    binned = rearrange(F.pad(mask, (0, extra)), "rows (bins width) -> rows bins width", width=width)
    total = rearrange(states, "rows (bins width) dim -> rows bins width dim", width=width).sum(dim=2)
    return total / binned.sum(dim=2).clamp(min=1)[..., None], binned.any(dim=2)


def adaptive_mean(
    states: Float[Tensor, "rows positions dim"], mask: Bool[Tensor, "rows positions"], bins: int
) -> Float[Tensor, "rows {bins} dim"]:
    """Mean over the real positions of each of `bins` equal stretches of a row, as torch's adaptive mean of them alone.

    Stretch b of n real positions is floor(b n / bins) up to ceil((b + 1) n / bins); with fewer positions than
    stretches some positions stand in several. A row without real positions gives zeros.
    """
    number = mask.sum(dim=1)[:, None]
    index = torch.arange(bins, device=mask.device)
    begin = index * number // bins
    end = ((index + 1) * number + bins - 1) // bins
    place = (mask.cumsum(dim=1) - 1)[:, None]
    inside = mask[:, None] & (place >= begin[..., None]) & (place < end[..., None])
    weights = inside.to(states.dtype) / inside.sum(dim=2, keepdim=True).clamp(min=1)
    return weights @ states.masked_fill(~mask[..., None], 0.0)
