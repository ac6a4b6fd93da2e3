"""What Enformer and Borzoi share round their stages: bases one-hot, a stage run, the middle bins kept."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def one_hot(bases: Int[Tensor, "rows bases"]) -> Bool[Tensor, "rows 4 bases"]:
    """A, C, G, T (codes 0-3) in their own channel; nothing for any other base."""
    return bases[:, None] == torch.arange(4, device=bases.device)[:, None]


def run_stage(stage: nn.Module, *inputs: Tensor, recompute: bool) -> Tensor:
    """What a stage gives; with `recompute` its inside is computed again for the gradient instead of being kept."""
    found: Tensor = checkpoint(stage, *inputs, use_reentrant=False) if recompute else stage(*inputs)
    return found


def n_kept(bins: int, keep: int | None) -> int:
    """How many bins are left of a row when `keep` round its middle are asked for (None = all).

    Both sides are trimmed alike, as in both public implementations, so it may be one less than asked for.

    Raises:
        ValueError: If there are fewer.
    """
    if keep is None:
        return bins
    if bins < keep:
        raise ValueError(f"a window of {bins} bins is shorter than the {keep} to keep")
    return bins - 2 * ((bins - keep + 1) // 2)


def crop_middle(states: Float[Tensor, "rows bins dim"], keep: int | None) -> Float[Tensor, "rows kept dim"]:
    """Bins round the middle of each row; see `n_kept`."""
    left = n_kept(states.shape[1], keep)
    trim = (states.shape[1] - left) // 2
    return states[:, trim : trim + left]
