"""A few learned latent positions read every modality in turn: Perceiver Resampler.

Flamingo (Alayrac et al. 2022) in the form that IsoFormer's authors have published for two modalities (ChatNT): in each
layer the latents, normed, attend to [positions of a modality; latents], one modality after the other (dna, rna,
protein), then pass a normed feed-forward with exact GELU; every step has a residual. Sizes used in IsoFormer are not
known. Ours: a linear map of each modality to the width of the latents (ChatNT maps one of its two), and a modality
that a sample lacks is skipped for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cisoform.models.aggregation.base import JOINT, SharedHidden, first_width
from cisoform.models.encoders.base import Hidden
from cisoform.nn.attention import MultiHeadAttention


@dataclass(frozen=True, kw_only=True)
class PerceiverResamplerConfig:
    """Sizes of a `PerceiverResampler`.

    Attributes:
        dim: Width of the latents; None = that of the model's first modality.
        latents: How many there are (64 in ChatNT).
        layers: Rounds of reading all modalities.
        heads: Of each attention.
        expansion: Width of the feed-forward, in widths of the latents.
    """

    kind: Literal["perceiver_resampler"] = "perceiver_resampler"
    dim: int | None = None
    latents: int = 64
    layers: int = 2
    heads: int = 8
    expansion: int = 4

    def __post_init__(self) -> None:
        if self.latents < 1 or self.layers < 1:
            raise ValueError(f"latents={self.latents} and layers={self.layers} must be at least 1")


class ResamplerLayer(nn.Module):
    """One round: each modality is read, then the feed-forward."""

    def __init__(self, names: list[str], dim: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norms = nn.ModuleDict({name: nn.LayerNorm(dim) for name in names})
        self.attention = nn.ModuleDict({name: MultiHeadAttention(dim, heads) for name in names})
        self.ffn_norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim))

    def forward(
        self, latents: Float[Tensor, "batch latents dim"], parts: Mapping[str, Hidden]
    ) -> Float[Tensor, "batch latents dim"]:
        """Latents after reading `parts`: one row per sample, without real positions where it lacks the modality."""
        for name, attention in self.attention.items():
            part = parts.get(name)
            if part is None:
                continue
            own = part.mask.new_ones(latents.shape[:2])
            keys, mask = torch.cat([part.states, latents], dim=1), torch.cat([part.mask, own], dim=1)
            update = attention(self.norms[name](latents), keys, mask)
            latents = latents + update.masked_fill(~part.mask.any(dim=1)[:, None, None], 0.0)
        out: Tensor = latents + self.ffn(self.ffn_norm(latents))
        return out


class PerceiverResampler(nn.Module):
    """One branch of `latents` positions, whatever the lengths; the order of positions in a modality is not seen."""

    def __init__(self, config: PerceiverResamplerConfig, dims: Mapping[str, int]) -> None:
        super().__init__()
        width = config.dim or first_width(dims)
        self.branches = {JOINT: width}
        self.maps = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in dims.items()})
        self.latents = nn.Parameter(torch.empty(config.latents, width))
        nn.init.trunc_normal_(self.latents, std=width**-0.5)
        self.layers = nn.ModuleList(
            ResamplerLayer([*dims], width, config.heads, config.expansion) for _ in range(config.layers)
        )

    def forward(self, parts: Mapping[str, SharedHidden], batch: int) -> dict[str, Hidden]:
        """Read; a sample without any modality gives what the latents are by themselves."""
        read = {
            name: part.mapped(cast(Tensor, self.maps[name](part.states))).per_sample()
            for name, part in parts.items()
        }
        latents: Tensor = self.latents.expand(batch, -1, -1)
        for layer in self.layers:
            latents = layer(latents, read)
        mask = torch.ones(latents.shape[:2], dtype=torch.bool, device=latents.device)
        return {JOINT: Hidden(latents, mask)}
