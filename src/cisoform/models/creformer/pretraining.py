"""Elementary with the heads it is pre-trained with: hidden tokens of a bin, and bins of tracks it was not shown.

Loss 1 reads the bin encoder: the 6-mer of hidden DNA and the level of hidden signal. Loss 2 reads the window
encoder: the level of the mean of each bin of the preserved tracks. The heads are not part of the release; their
shapes follow from the vocabularies. They run on hidden positions alone: at 4,100 words, logits of every token
would cost more than the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from cisoform.batches import Places, RegionBatch
from cisoform.models.creformer.elementary import (
    DNA_VOCABULARY,
    SIGNAL_VOCABULARY,
    Elementary,
    ElementaryConfig,
)


@dataclass(frozen=True)
class PretrainingLogits:
    """Logits at the places of a batch; a track without places is left out."""

    dna: Float[Tensor, "places vocab"]
    tracks: dict[str, Float[Tensor, "_ levels"]]
    bins: dict[str, Float[Tensor, "_ levels"]]


class ElementaryPretraining(nn.Module):
    """Elementary, and per vocabulary a linear head on its tokens and one per track on its bins."""

    def __init__(self, config: ElementaryConfig) -> None:
        super().__init__()
        self.config = config
        self.elementary = Elementary(config)
        self.dna_head = nn.Linear(config.dim, DNA_VOCABULARY)
        self.track_heads = nn.ModuleDict(
            {name: nn.Linear(config.dim, SIGNAL_VOCABULARY) for name in config.tracks}
        )
        self.bin_heads = nn.ModuleDict(
            {name: nn.Linear(config.dim, SIGNAL_VOCABULARY) for name in config.tracks}
        )

    def start_heads_at(
        self, tokens: Mapping[str, Float[Tensor, " levels"]], bins: Mapping[str, Float[Tensor, " levels"]]
    ) -> None:
        """Set the biases of the signal heads, e.g. to the logarithm of how frequent a level is.

        Training then starts at the best constant answer and spends no step on finding it.
        """
        with torch.no_grad():
            for heads, values in ((self.track_heads, tokens), (self.bin_heads, bins)):
                for name, bias in values.items():
                    heads.get_parameter(f"{name}.bias").copy_(bias)

    def start_kmers_at(self, coordinates: Float[Tensor, "kmers coordinates"], frozen: bool) -> None:
        """Set the embeddings of the 6-mers to given coordinates, turned at random into the model's dimensions.

        Args:
            coordinates: Of all 4,096 6-mers in the order of their ids; at most as many as the model has dimensions.
            frozen: Whether the whole table then stays as it is.
        """
        table = self.elementary.dna.weight
        turn = torch.linalg.qr(torch.randn(table.shape[1], table.shape[1])).Q[: coordinates.shape[1]]
        with torch.no_grad():
            table[-len(coordinates) :] = coordinates @ turn
        table.requires_grad_(not frozen)

    def forward(self, batch: RegionBatch) -> PretrainingLogits:
        """Logits at the hidden tokens and the preserved bins of a batch."""
        encoder = self.elementary
        rows = len(batch)
        states = encoder.encode_bins(encoder.embed(batch.dna, batch.tracks), first_only=False)
        tokens = rearrange(states[:, 1:], "bins tokens dim -> (bins tokens) dim")
        bins = encoder.encode_window(rearrange(states[:, 0], "(rows bins) dim -> rows bins dim", rows=rows))
        bins = rearrange(bins, "rows bins dim -> (rows bins) dim")
        return PretrainingLogits(
            dna=self.dna_head(tokens[batch.hidden_dna.index]),
            tracks=_read(self.track_heads, tokens, batch.hidden_tracks),
            bins=_read(self.bin_heads, bins, batch.preserved),
        )


def _read(heads: nn.ModuleDict, hidden: Tensor, places: Mapping[str, Places]) -> dict[str, Tensor]:
    """Each track's head on its own places."""
    return {name: heads[name](hidden[where.index]) for name, where in places.items() if len(where.index)}
