"""Where a bin lies in its row, as smooth features: distance to the start, to the centre and to the end.

A DNA window is centred on its TSS, an RNA or protein has two meaningful ends; one set of features serves all
three. Distances enter as signed log(1 + tokens), so that near is fine and far is coarse.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

SCALE = 10.0
"""log(1 + 20,000 tokens): brings the distances into about [-1, 1]."""

N_WAVES = 8


class PositionFeatures(nn.Module):
    """Learned linear map of sines and cosines of the three log distances."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * (1 + 2 * N_WAVES), dim)

    def forward(self, mask: Bool[Tensor, "rows tokens"], width: int) -> Float[Tensor, "rows bins dim"]:
        """Features of each bin of `width` tokens; depends on the number of real tokens, not on padding."""
        tokens = mask.shape[1]
        length = mask.sum(dim=1).to(torch.float32)[:, None]
        bins = -(-tokens // width)
        place = torch.arange(bins, device=mask.device, dtype=torch.float32)[None] * width + (width - 1) / 2
        distance = torch.stack([place.expand(len(mask), -1), place - length / 2, length - place], dim=-1)
        scaled = distance.sign() * distance.abs().log1p() / SCALE
        wave = torch.pi * 2.0 ** torch.arange(N_WAVES, device=mask.device, dtype=torch.float32)
        angle = rearrange(scaled[..., None] * wave, "rows bins kind wave -> rows bins (kind wave)")
        features = torch.cat([scaled, angle.sin(), angle.cos()], dim=-1)
        out: Tensor = self.mix(features.to(self.mix.weight.dtype))
        return out
