"""Rotary positions in the form of NT-v2 and ESM-2: dimension i is paired with i + head_dim / 2."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

BASE = 10_000.0
"""Wavelength base of the original paper (Su et al. 2021), used by NT-v2 and ESM-2."""


def rotate(
    hidden: Float[Tensor, "batch heads positions head_dim"],
) -> Float[Tensor, "batch heads positions head_dim"]:
    """Turn each pair of dimensions by position x frequency; dot products then depend on distances alone."""
    positions, half = hidden.shape[-2], hidden.shape[-1] // 2
    frequency = BASE ** (-torch.arange(half, device=hidden.device, dtype=torch.float32) / half)
    angle = torch.arange(positions, device=hidden.device, dtype=torch.float32)[:, None] * frequency
    cos, sin = angle.cos().to(hidden.dtype), angle.sin().to(hidden.dtype)
    first, second = hidden[..., :half], hidden[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
