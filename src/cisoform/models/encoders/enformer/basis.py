"""Basis functions of relative positions in Enformer: exponentials, central masks, gamma densities, and their signs.

Two versions of the gamma densities are in use, and a network must be run with that of its training:

- "tensorflow": each density over its own largest value among the distances. The authors' code; weights converted from
  theirs need it.
- "pytorch": at each distance, every density over the largest density there (enformer-pytorch with
  `use_tf_gamma=false`). The public IsoFormer was trained with it.

All is computed in float32 on the CPU, step by step as the two do, because the logarithms of the densities are
differences of numbers near 30,000: rounding them otherwise, or on another device, moves values by up to 2e-3. The other
table that is in use (`tf_gammas.pt` of enformer-pytorch, for 1,536 positions) differs from "tensorflow" here by such
roundings only; here it is for any length.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Gamma = Literal["pytorch", "tensorflow"]

KINDS = 6
"""Functions come in this many kinds of equally many: three, and the same times the sign of the distance."""
_SHORTEST_HALF_LIFE = 3.0  # log2
_EPS = 1e-8


@lru_cache(maxsize=8)
def relative_basis(positions: int, features: int, gamma: Gamma) -> Float[Tensor, "distances features"]:
    """Values of the basis functions at the distances -(positions - 1) ... positions - 1.

    Args:
        positions: Length of the sequence that attends; the functions scale with it.
        features: Number of functions, a multiple of `KINDS`.
        gamma: Version of the gamma densities.

    Returns:
        A float32 tensor on the CPU, shared by all who ask: not to be changed.
    """
    each = features // KINDS
    distance = torch.arange(-positions + 1, positions)
    size = distance.abs()[:, None]
    kinds = [_exponentials(size, each, positions), _central_masks(size, each)]
    kinds.append(_gammas(size.float(), each, positions, gamma))
    values = torch.cat(kinds, dim=1)
    return torch.cat([values, torch.sign(distance)[:, None] * values], dim=1)


def _exponentials(size: Tensor, each: int, positions: int) -> Float[Tensor, "distances each"]:
    """2^(-distance / half life), half lives from 8 to the length in equal steps of their logarithm."""
    half_life = 2 ** torch.linspace(_SHORTEST_HALF_LIFE, math.log(positions) / math.log(2.0), each)
    return torch.exp(-math.log(2.0) / half_life * size)


def _central_masks(size: Tensor, each: int) -> Float[Tensor, "distances each"]:
    """1 below a distance of 2^k - 1, else 0; k = 1, 2, ..."""
    return (2.0 ** torch.arange(1, each + 1) - 1 > size).float()


def _gammas(size: Tensor, each: int, positions: int, gamma: Gamma) -> Float[Tensor, "distances each"]:
    """Gamma densities with means in equal steps up to the length and one standard deviation for all."""
    deviation = positions / (2 * each)
    mean = torch.linspace(positions / each, positions, each)
    shape, rate = (mean / deviation) ** 2, mean / deviation**2
    log_density = torch.xlogy(shape - 1.0, size) - rate * size
    log_total = torch.lgamma(shape) - shape * torch.log(rate)
    density = torch.exp(log_density - log_total) + _EPS
    largest = density.amax(dim=0) if gamma == "tensorflow" else density.amax(dim=1, keepdim=True)
    return density / largest
