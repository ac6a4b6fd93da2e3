"""Rotary positions in the form of NT-v2 and ESM-2: dimension i is paired with i + head_dim / 2."""

from __future__ import annotations

from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

BASE = 10_000.0
"""Wavelength base of the original paper (Su et al. 2021), used by NT-v2 and ESM-2."""


def rotate(
    hidden: Float[Tensor, "batch heads positions head_dim"],
) -> Float[Tensor, "batch heads positions head_dim"]:
    """Turn each pair of dimensions by position x frequency; dot products then depend on distances alone.

    Works on the heads side by side, as they lie in memory behind a projection: long rows of numbers, not short ones.
    """
    _, heads, positions, head_dim = hidden.shape
    longest = 1 << max(positions - 1, 0).bit_length()  # few tables for rows of many lengths
    cos, sin = (table[:positions] for table in _tables(longest, heads, head_dim, hidden.device, hidden.dtype))
    flat = rearrange(hidden, "batch heads positions head_dim -> batch positions (heads head_dim)")
    first, second = rearrange(
        hidden, "batch heads positions head_dim -> batch positions heads head_dim"
    ).chunk(2, -1)
    turned = torch.addcmul(flat * cos, torch.cat([second, first], dim=-1).flatten(2), sin)
    return rearrange(
        turned, "batch positions (heads head_dim) -> batch heads positions head_dim", heads=heads
    )


@lru_cache(maxsize=16)
def _tables(
    positions: int, heads: int, head_dim: int, device: torch.device, dtype: torch.dtype
) -> tuple[Float[Tensor, "positions dim"], Float[Tensor, "positions dim"]]:
    """Cosine and sine of the angle of every dimension, the sine of a first half negated; not to be changed."""
    half = head_dim // 2
    # Tensors made under inference mode could not be used in training later.
    with torch.inference_mode(False):
        frequency = BASE ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
        angle = torch.arange(positions, device=device, dtype=torch.float32)[:, None] * frequency
        cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
        return torch.cat([cos, cos], dim=1).repeat(1, heads), torch.cat([-sin, sin], dim=1).repeat(1, heads)
