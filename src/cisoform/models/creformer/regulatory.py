"""CREformer-Regulatory: vectors of the accessible peaks round a gene to its expression.

Each peak's eight bins are pooled to one vector; a transformer lets the peaks of a gene see each other; a head reads
the expression. The released form pads every gene to 150 peaks with a vector that takes part like a peak, numbers
peaks by rank from the TSS and reads all slots with one flat layer. Ours masks the padding, places peaks by signed
distance and reads the TSS token and the mean of the real peaks, so slots mean the same for every gene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from cisoform.models.creformer.elementary import Elementary, ElementaryConfig
from cisoform.nn.transformer import ChannelAttentionPool, EncoderStack, StackConfig


@dataclass(frozen=True, kw_only=True)
class CREformerConfig:
    """Both stages. Defaults are ours; the released choices are positions='rank', head='flat', mask_padding=False."""

    elementary: ElementaryConfig = field(default_factory=ElementaryConfig)
    layers: int = 4
    max_peaks: int = 150
    positions: Literal["distance", "rank"] = "distance"
    head: Literal["tss", "flat"] = "tss"
    mask_padding: bool = True
    rank_rows: int = 300
    distance_frequencies: int = 16
    max_distance_bp: int = 1_000_000
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.positions == "rank" and self.rank_rows < 2 * self.max_peaks:
            raise ValueError(f"rank_rows={self.rank_rows} is too few for ranks of max_peaks={self.max_peaks}")


class DistanceEmbedding(nn.Module):
    """Signed distance to the TSS as a vector: sine and cosine of its signed logarithm, then a linear map.

    sign(d) * log1p(|d| / 100) keeps 100 bp near the TSS apart and 100 kb far away together. Ours; negative is
    upstream on the gene's strand.
    """

    def __init__(self, dim: int, frequencies: int, max_distance_bp: int) -> None:
        super().__init__()
        self.reach = math.log1p(max_distance_bp / 100)
        self.register_buffer("frequency", torch.arange(1, frequencies + 1) * math.pi / 2, persistent=False)
        self.linear = nn.Linear(2 * frequencies + 1, dim)

    frequency: Tensor

    def forward(self, distance_bp: Float[Tensor, "batch peaks"]) -> Float[Tensor, "batch peaks dim"]:
        """Vectors of the given signed distances in bp."""
        scaled = distance_bp.sign() * torch.log1p(distance_bp.abs() / 100) / self.reach
        angle = scaled[..., None] * self.frequency
        out: Tensor = self.linear(torch.cat([scaled[..., None], angle.sin(), angle.cos()], dim=-1))
        return out


class FlatHead(nn.Module):
    """The released head: all slots side by side, 32 hidden units, ReLU, one output."""

    def __init__(self, dim: int, slots: int, hidden: int = 32) -> None:
        super().__init__()
        self.slots = slots
        self.first = nn.Linear(slots * dim, hidden)
        self.second = nn.Linear(hidden, 1)

    def forward(self, hidden: Tensor, mask: Tensor, tss_peak: Tensor) -> Float[Tensor, " batch"]:
        """Expression; slots of padding are read as they are (released), or as zeros where masked."""
        out: Tensor = self.second(torch.relu(self.first(hidden.flatten(1)))).squeeze(1)
        return out


class TssHead(nn.Module):
    """Reads the peak nearest the TSS and the mean of the real peaks; needs no fixed number of slots."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * dim)
        self.first = nn.Linear(2 * dim, dim)
        self.second = nn.Linear(dim, 1)

    def forward(self, hidden: Tensor, mask: Tensor, tss_peak: Tensor) -> Float[Tensor, " batch"]:
        """Expression from the TSS peak's vector and the masked mean."""
        weight = mask.to(hidden.dtype)[..., None]
        mean = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        nearest = hidden[torch.arange(len(hidden), device=hidden.device), tss_peak]
        read = self.norm(torch.cat([nearest, mean], dim=-1))
        out: Tensor = self.second(torch.relu(self.first(read))).squeeze(1)
        return out


class CREformer(nn.Module):
    """Elementary, attention pool, peak transformer and head."""

    def __init__(self, config: CREformerConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.elementary.dim
        self.elementary = Elementary(config.elementary)
        self.pool = ChannelAttentionPool(dim)
        # The released pad vector takes part like a peak; where padding is masked there is none to learn.
        self.pad = None if config.mask_padding else nn.Embedding(1, dim)
        self.position: nn.Module = (
            nn.Embedding(config.rank_rows, dim)
            if config.positions == "rank"
            else DistanceEmbedding(dim, config.distance_frequencies, config.max_distance_bp)
        )
        sizes = config.elementary
        self.peak_encoder = EncoderStack(
            StackConfig(
                dim=dim,
                heads=sizes.heads,
                layers=config.layers,
                ffn=sizes.ffn,
                norm_first=sizes.norm_first,
                dropout=config.dropout,
            )
        )
        self.head: FlatHead | TssHead = (
            FlatHead(dim, config.max_peaks) if config.head == "flat" else TssHead(dim)
        )

    def encode_peaks(
        self, dna: Integer[Tensor, "peaks tokens"], tracks: dict[str, Integer[Tensor, "peaks tokens"]]
    ) -> Float[Tensor, "peaks dim"]:
        """One vector a peak, from its tokens: Elementary, then the attention pool over its bins."""
        out: Tensor = self.pool(self.elementary(dna, tracks))
        return out

    def place(
        self,
        peaks: Float[Tensor, "batch slots dim"],
        mask: Bool[Tensor, "batch slots"],
        position: Integer[Tensor, "batch slots"] | Float[Tensor, "batch slots"],
    ) -> Float[Tensor, "batch slots dim"]:
        """Input of the peak transformer: peak vectors, the pad vector (or zeros) at padding, plus positions."""
        blank = peaks.new_zeros(peaks.shape[-1]) if self.pad is None else self.pad.weight[0].to(peaks.dtype)
        hidden = torch.where(mask[..., None], peaks, blank)
        out: Tensor = hidden + self.position(position)
        return out

    def regulate(
        self,
        peaks: Float[Tensor, "batch slots dim"],
        mask: Bool[Tensor, "batch slots"],
        position: Integer[Tensor, "batch slots"] | Float[Tensor, "batch slots"],
        weights: list[Tensor] | None = None,
    ) -> Float[Tensor, "batch slots dim"]:
        """Hidden vectors of the peaks of each gene after they have seen each other.

        Args:
            peaks: Peak vectors in genomic order, anything at padding.
            mask: True at real peaks.
            position: Rank ids (`rank_positions`) or signed distances in bp, as the config says.
            weights: Takes the attention weights (batch, heads, slots, slots) of every layer.
        """
        keys = mask if self.config.mask_padding and not bool(mask.all()) else None
        out: Tensor = self.peak_encoder(self.place(peaks, mask, position), keys, weights=weights)
        return out

    def read(
        self,
        hidden: Float[Tensor, "batch slots dim"],
        mask: Bool[Tensor, "batch slots"],
        tss_peak: Integer[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Expression from the hidden peaks."""
        if self.config.head == "flat" and self.config.mask_padding:
            hidden = hidden.masked_fill(~mask[..., None], 0.0)
        out: Tensor = self.head(hidden, mask, tss_peak)
        return out

    def forward(
        self,
        peaks: Float[Tensor, "batch slots dim"],
        mask: Bool[Tensor, "batch slots"],
        position: Integer[Tensor, "batch slots"] | Float[Tensor, "batch slots"],
        tss_peak: Integer[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Expression of each gene from the vectors of its peaks."""
        return self.read(self.regulate(peaks, mask, position), mask, tss_peak)


def rank_positions(
    n_peaks: int, tss_peak: int, strand: str, slots: int, released_edges: bool = False
) -> Integer[Tensor, " slots"]:
    """Ids of the released position table: 0 at the peak nearest the TSS and at padding, odd upstream, even downstream.

    Args:
        n_peaks: Real peaks, in genomic order.
        tss_peak: 0-based index of the peak nearest the TSS.
        strand: '+' or '-'; upstream of a '-' gene lies to the right.
        slots: Length of the result.
        released_edges: Also write where the released code does: with the TSS peak first, the last slot gets the
            first upstream id; with it last, the slot after it the first downstream id.
    """
    if not 0 <= tss_peak < n_peaks <= slots:
        raise ValueError(f"tss_peak={tss_peak} and n_peaks={n_peaks} do not fit into slots={slots}")
    if strand not in ("+", "-"):
        raise ValueError(f"strand={strand!r} is not '+' or '-'")
    left, right = (1, 2) if strand == "+" else (2, 1)
    ids = torch.zeros(slots, dtype=torch.int64)
    for index in range(n_peaks):
        steps = abs(index - tss_peak)
        if steps:
            ids[index] = (left if index < tss_peak else right) + 2 * (steps - 1)
    if released_edges:
        if tss_peak == 0:
            ids[-1] = left
        if tss_peak == n_peaks - 1 and n_peaks < slots:
            ids[n_peaks] = right
    return ids
