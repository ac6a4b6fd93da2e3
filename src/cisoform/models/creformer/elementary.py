"""CREformer-Elementary: DNA and epigenome tracks of a window to one vector per 128-bp bin.

Two levels: a transformer within each bin, whose CLS row stands for the bin, and one across the bins of a window.
Tokens of DNA and of every present track are embedded and summed; a track that was not measured adds nothing.
Sizes, positions and order follow the released code; `norm_first=False` is its exact form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.nn.transformer import EncoderStack, StackConfig

DNA_CLS = 1
DNA_VOCABULARY = 4100
SIGNAL_VOCABULARY = 38


@dataclass(frozen=True, kw_only=True)
class ElementaryConfig:
    """Sizes of the Elementary model. Defaults are size S of the scaling ladder; `tracks` names its signals."""

    kind: Literal["elementary"] = "elementary"
    dim: int = 384
    heads: int = 6
    ffn: int = 1536
    bin_layers: int = 4
    window_layers: int = 3
    tracks: tuple[str, ...] = ("atac",)
    bin_size: int = 128
    max_bins: int = 128
    norm_first: bool = True
    dropout: float = 0.0
    chunk_bins: int = 32

    def __post_init__(self) -> None:
        if len(set(self.tracks)) != len(self.tracks):
            raise ValueError(f"tracks={self.tracks}: a track is named twice")
        if any("." in name or not name for name in self.tracks):
            raise ValueError(f"tracks={self.tracks}: a track's name may not be empty or hold a dot")

    def stack(self, layers: int) -> StackConfig:
        """The config of a stack of that many layers at this model's sizes."""
        return StackConfig(
            dim=self.dim,
            heads=self.heads,
            layers=layers,
            ffn=self.ffn,
            norm_first=self.norm_first,
            dropout=self.dropout,
        )


class Elementary(nn.Module):
    """Embeddings, the bin encoder (Transformer-1) and the window encoder (Transformer-2)."""

    def __init__(self, config: ElementaryConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.dna = nn.Embedding(DNA_VOCABULARY, config.dim)
        tables = {name: nn.Embedding(SIGNAL_VOCABULARY, config.dim) for name in config.tracks}
        self.tracks = nn.ModuleDict(tables)
        # Released ids start at 1 on both levels; row 0 of either table is never used.
        self.position_in_bin = nn.Embedding(config.bin_size + 2, config.dim)
        self.position_of_bin = nn.Embedding(config.max_bins + 1, config.dim)
        self.bin_encoder = EncoderStack(config.stack(config.bin_layers))
        self.window_encoder = EncoderStack(config.stack(config.window_layers))
        for table in (self.dna, *tables.values(), self.position_in_bin, self.position_of_bin):
            nn.init.normal_(table.weight, std=0.02 if config.norm_first else 1.0)

    def embed(
        self, dna: Integer[Tensor, "rows tokens"], tracks: Mapping[str, Integer[Tensor, "rows tokens"]]
    ) -> Float[Tensor, "rows tokens dim"]:
        """Sum of the embeddings of DNA and of the given tracks; signal id 0 (not measured) adds nothing."""
        hidden: Tensor = self.dna(dna.int())
        for name, ids in tracks.items():
            if name not in self.tracks:
                raise KeyError(f"track {name!r} is not one of the model's: {', '.join(self.tracks)}")
            weight = self.tracks.get_parameter(f"{name}.weight")
            blank = torch.cat([torch.zeros_like(weight[:1]), weight[1:]])
            hidden = hidden + F.embedding(ids.int(), blank)
        return hidden

    def encode_bins(
        self, embedded: Float[Tensor, "rows tokens dim"], first_only: bool = True
    ) -> Float[Tensor, "bins positions dim"]:
        """Transformer-1 over each bin of 128 tokens with its CLS in front.

        Args:
            embedded: Embedded windows; the number of tokens is a multiple of the bin size.
            first_only: Return the CLS rows alone, (bins, 1, dim); else (bins, 129, dim).
        """
        size = self.config.bin_size
        if embedded.shape[1] % size or not embedded.shape[1]:
            raise ValueError(f"{embedded.shape[1]} tokens are not a multiple of the bin size {size}")
        bins = rearrange(embedded, "rows (bins tokens) dim -> (rows bins) tokens dim", tokens=size)
        head = self.dna.weight[DNA_CLS] + self.position_in_bin.weight[1]
        bins = bins + self.position_in_bin.weight[2 : size + 2]
        bins = torch.cat([head.to(bins.dtype).expand(len(bins), 1, -1), bins], dim=1)
        if torch.is_grad_enabled():
            out: Tensor = self.bin_encoder(bins, first_only=first_only)
            return out
        # Without gradients a few bins at a time stay in cache; every bin is independent of the others.
        chunks = torch.split(bins, self.config.chunk_bins)
        return torch.cat([self.bin_encoder(chunk, first_only=first_only) for chunk in chunks])

    def encode_window(self, bins: Float[Tensor, "rows bins dim"]) -> Float[Tensor, "rows bins dim"]:
        """Transformer-2 over the bins of each window."""
        count = bins.shape[1]
        if count > self.config.max_bins:
            raise ValueError(
                f"{count} bins are more than max_bins={self.config.max_bins}; use shorter windows"
            )
        out: Tensor = self.window_encoder(bins + self.position_of_bin.weight[1 : count + 1])
        return out

    def bin_vectors(
        self, dna: Integer[Tensor, "rows tokens"], tracks: Mapping[str, Integer[Tensor, "rows tokens"]]
    ) -> Float[Tensor, "rows bins dim"]:
        """Vectors of the bins of each window before they see each other; arguments as `forward`."""
        if torch.is_grad_enabled():
            first = self.encode_bins(self.embed(dna, tracks))
        else:
            # Embed chunk by chunk as well: memory stays flat however many windows come at once.
            rows = max(1, self.config.chunk_bins * self.config.bin_size // dna.shape[1])
            parts = [
                self.encode_bins(
                    self.embed(dna[i : i + rows], {k: v[i : i + rows] for k, v in tracks.items()})
                )
                for i in range(0, len(dna), rows)
            ]
            first = torch.cat(parts)
        return rearrange(first, "(rows bins) 1 dim -> rows bins dim", rows=len(dna))

    def forward(
        self, dna: Integer[Tensor, "rows tokens"], tracks: Mapping[str, Integer[Tensor, "rows tokens"]]
    ) -> Float[Tensor, "rows bins dim"]:
        """Vectors of the bins of each window.

        Args:
            dna: 6-mer ids (`tokens.peaks`).
            tracks: Level ids of each present track, by the model's names.
        """
        return self.encode_window(self.bin_vectors(dna, tracks))
