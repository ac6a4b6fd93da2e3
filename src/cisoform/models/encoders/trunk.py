"""What Enformer and Borzoi have in common as encoders of an IsoFormer's DNA: windows in, bins round their middle out.

A position is a bin of bases. Padding never enters the network, whose relative positions scale with the length of a row:
rows of one length are encoded together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.models.encoders.bins import n_kept
from cisoform.models.encoders.pretrained import PretrainedConfig, PretrainedEncoder


@runtime_checkable
class TrunkNetworkConfig(Protocol):
    """Sizes of a network that reads bases."""

    @property
    def layers(self) -> int:
        """Transformer layers."""

    @property
    def bins(self) -> int | None:
        """Bins kept round the middle; None = all."""

    @property
    def bin_size(self) -> int:
        """Bases of a bin."""

    @property
    def out_dim(self) -> int:
        """Width of the output."""


@dataclass(frozen=True, kw_only=True)
class TrunkEncoderConfig(PretrainedConfig):
    """What both kinds share; `lora_targets` are query, key, value, dense, position, ffn_in, ffn_out.

    Attributes:
        size: "published" sets `network`; None = `network` as it is.
        bins: How many bins round the middle are read; 0 = all of them, None = as many as the network says.
        batch_norm: "frozen" = normalise by the running statistics in training too, as fine-tuning with few windows a
            step must; "batch" = by those of the batch, as the authors trained (a row then depends on its mates while
            training). "auto": frozen, but for a network that starts from nothing.
        recompute: Keep of each stage only its result, and compute its inside again for the gradient: less memory for
            a third more time. Needs frozen batch normalisation.
    """

    size: Literal["published"] | None = None
    bins: int | None = None
    batch_norm: Literal["auto", "frozen", "batch"] = "auto"
    recompute: bool = False

    TARGETS: ClassVar[Mapping[str, str]] = {
        **{name: f"layers.*.attention.{name}" for name in ("query", "key", "value", "dense", "position")},
        **{name: f"layers.*.{name}" for name in ("ffn_in", "ffn_out")},
    }

    def __post_init__(self) -> None:
        network = self.published() if self.size is not None else self.network
        if self.bins is not None:
            if self.bins < 0:
                raise ValueError(f"bins={self.bins} is below 0; 0 reads all")
            network = replace(network, bins=self.bins or None)
        object.__setattr__(self, "network", network)
        super().__post_init__()
        if self.recompute and not self.frozen_norms:
            raise ValueError("recompute=true would move batch statistics twice: give batch_norm=frozen")

    @classmethod
    def published(cls) -> Any:
        """The network of the published size."""
        raise NotImplementedError

    @property
    def dim(self) -> int:
        """Width of the encoder."""
        return int(self.network.out_dim)

    @property
    def frozen_norms(self) -> bool:
        """`batch_norm`, with "auto" settled."""
        if self.batch_norm == "auto":
            return self.weights is not None or self.mode != "full"
        return self.batch_norm == "frozen"

    def check_window(self, window: int) -> None:
        """Refuse, with a ValueError, a window that has fewer bins than are read."""
        keep, found = self.network.bins, -(-window // self.network.bin_size)
        if keep is not None and found < keep:
            raise ValueError(
                f"dna_window={window} has {found} bins of {self.network.bin_size} bp, but {keep} round the middle are "
                f"read: give at least {keep * self.network.bin_size}, or model.dna.bins=0 to read all"
            )

    def fitted(self, network: Any) -> TrunkEncoderConfig:
        """As `PretrainedConfig.fitted`; batch normalisation stands still unless it was asked not to."""
        if self.size is not None and _sizes(self.network) != _sizes(network):
            raise ValueError(
                f"size={self.size}: the weights {self.weights} have width {network.out_dim} and {network.layers} "
                "layers; leave the size out"
            )
        norms: Any = "frozen" if self.frozen_norms else "batch"
        return replace(self, size=None, network=network, weights=None, learn=self.mode, batch_norm=norms)


def _sizes(network: TrunkNetworkConfig) -> tuple[int, ...]:
    return network.out_dim, network.layers, network.bin_size


class TrunkEncoder(PretrainedEncoder):
    """A network of bases round its middle bins."""

    config: TrunkEncoderConfig

    def train(self, mode: bool = True) -> TrunkEncoder:
        """Stages are computed again for the gradient only while the network learns."""
        super().train(mode)
        self.network.recompute = self.config.recompute and mode and self.config.mode != "frozen"  # type: ignore[assignment]
        return self

    def encode(self, tokens: Tokens) -> Hidden:
        """Vectors of the bins of each row."""
        lengths = tokens.mask.sum(dim=1)
        counts = torch.tensor([self.positions(n) for n in lengths.tolist()], device=lengths.device)
        width = int(counts.max()) if len(counts) else 0
        groups = [torch.nonzero(lengths == n).flatten() for n in sorted({*lengths.tolist()} - {0})]
        if len(groups) == 1 and len(groups[0]) == len(lengths):
            states = self.network(tokens.ids[:, : int(lengths[0])])
        else:
            states = self._by_length(tokens, lengths, groups, width)
        return Hidden(states, torch.arange(width, device=counts.device) < counts[:, None])

    def positions(self, n_tokens: int) -> int:
        """How many bins are read of so many bases."""
        network = cast(TrunkNetworkConfig, self.config.network)
        return n_kept(-(-n_tokens // network.bin_size), network.bins) if n_tokens else 0

    def last_parts(self, count: int) -> Sequence[nn.Module]:
        """The last layers and the pointwise layer after them."""
        layers = cast(nn.ModuleList, self.network.layers)
        return *layers[len(layers) - count :], cast(nn.Module, self.network.last)

    def _by_length(
        self, tokens: Tokens, lengths: Int[Tensor, " rows"], groups: Sequence[Tensor], width: int
    ) -> Float[Tensor, "rows bins dim"]:
        """As the network gives them, zeros behind the last bin of a row."""
        weight = next(self.network.parameters())
        empty = torch.nonzero(lengths == 0).flatten()
        found = [weight.new_zeros(len(empty), width, self.dim)]
        for rows in groups:
            states = self.network(tokens.ids[rows, : int(lengths[rows[0]])])
            found.append(F.pad(states, (0, 0, 0, width - states.shape[1])))
        order = torch.cat([empty, *groups])
        return torch.cat(found)[torch.argsort(order)]
