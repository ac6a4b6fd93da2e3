"""IsoFormer: DNA round the start site, spliced RNA and protein of a transcript -> expression in every tissue.

Garau-Luis et al., NeurIPS 2024: an encoder for each modality, an aggregator, a mean over positions and one
linear output per tissue. Ours: any modality may be absent from any sample, exactly without effect, and each
distinct sequence of a batch is encoded once however many samples share it. Where tissues read the DNA with tracks of
their own (`batches.Views`), everything behind the encoders runs once per view, and each output is taken from its view.
Outputs are in the space of the targets (standardised log1p expression).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.batches import IsoformBatch, Modality, Views
from cisoform.models.aggregation import (
    MODALITIES,
    AggregatorConfig,
    CrossAttentionConfig,
    SharedHidden,
    build_aggregator,
    share,
)
from cisoform.models.encoders import DnaConfig, ProteinConfig, RnaConfig, SequenceEncoder, build_encoder
from cisoform.models.encoders.grouping import encode_in_groups
from cisoform.models.kernel import Inputs, KernelConfig, KernelRegression, join_inputs
from cisoform.nn.pooling import AttentionPool, MeanPool
from cisoform.nn.summaries import FITTED, fit_summaries


@dataclass(frozen=True, kw_only=True)
class IsoFormerConfig:
    """Parts of an IsoFormer. A modality whose encoder is None is never read.

    `pool` over the positions of each branch: the mean (as published) or a learned attention per branch.
    `head_hidden`: width of a hidden layer (GELU before and after it); 0 = linear outputs, as published.
    `head_dropout` acts on what the outputs read.
    `head_layers`: widths of hidden layers of a converted checkpoint, each with GELU behind it, read before the rest of
    the head; their form is ours where a checkpoint does not say it.
    `kernel`: kernel regression on what landmark encoders read, part of every output but in training mode; None = none.
    `group_tokens` bounds what an encoder is given at once (`encode_in_groups`); it changes speed, not results.
    """

    tissues: int
    dna: DnaConfig | None
    rna: RnaConfig | None
    protein: ProteinConfig | None
    aggregator: AggregatorConfig = CrossAttentionConfig()
    pool: Literal["mean", "attention"] = "mean"
    head_hidden: int = 0
    head_dropout: float = 0.0
    head_layers: tuple[int, ...] = ()
    kernel: KernelConfig | None = None
    group_tokens: int | None = 32_768

    def __post_init__(self) -> None:
        if self.tissues < 1:
            raise ValueError(f"tissues={self.tissues}: a model needs at least one output")
        if self.dna is None and self.rna is None and self.protein is None:
            raise ValueError("dna, rna and protein are all null: a model needs at least one encoder")


class IsoFormer(nn.Module):
    """Encoders, aggregator, pools and linear head."""

    def __init__(self, config: IsoFormerConfig) -> None:
        super().__init__()
        self.config = config
        chosen = {name: getattr(config, name) for name in MODALITIES}
        self.encoders = nn.ModuleDict(
            {name: build_encoder(part) for name, part in chosen.items() if part is not None}
        )
        dims = {name: part.dim for name, part in chosen.items() if part is not None}
        self.aggregator = build_aggregator(config.aggregator, dims)
        pools = {
            name: AttentionPool(dim) if config.pool == "attention" else MeanPool()
            for name, dim in self.aggregator.branches.items()
        }
        self.pools = nn.ModuleDict(pools)
        widths = [sum(self.aggregator.branches.values()), *config.head_layers]
        self.before_head = nn.ModuleList(
            nn.Linear(before, after) for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        width = widths[-1]
        self.hidden = nn.Linear(width, config.head_hidden) if config.head_hidden else None
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(config.head_hidden or width, config.tissues)
        # Training starts from the mean of every tissue (0 in standardised space), not from noise.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.kernel: KernelRegression | None = None
        if config.kernel is not None:
            self.kernel = KernelRegression(config.kernel, dict(self.encoders), config.tissues)

    def forward(self, batch: IsoformBatch) -> Float[Tensor, "batch tissues"]:
        """Expression of each sample in each tissue. Every sample needs at least one modality of the model.

        A kernel has its share in evaluation mode alone: the network is trained by itself, so that the two err in
        different places.
        """
        parts = self._encode(batch)
        own = self._own(batch, parts)
        if self.kernel is None or self.training:
            return own
        weight = self.kernel.config.weight
        blended: Tensor = own + weight * (self.kernel(_inputs(parts), len(batch)) - own)
        return blended

    def _own(self, batch: IsoformBatch, parts: dict[str, SharedHidden]) -> Float[Tensor, "batch tissues"]:
        """The network's outputs."""
        if batch.views is None or "dna" not in parts:
            return self._read(self._fuse(parts, len(batch)))
        return self._read_views(parts, batch.views, len(batch))

    def _read(self, features: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch tissues"]:
        """The outputs."""
        for layer in self.before_head:
            features = F.gelu(layer(features))
        if self.hidden is not None:
            features = F.gelu(self.hidden(F.gelu(features)))
        out: Tensor = self.head(self.dropout(features))
        return out

    def _read_views(
        self, parts: dict[str, SharedHidden], views: Views, batch: int
    ) -> Float[Tensor, "batch tissues"]:
        """Each output from the view of its column; a model with two outputs a column has them one after the other."""
        of_output = views.of_column * (self.config.tissues // len(views.of_column))
        used = sorted(set(of_output))
        outputs = []
        for view in used:
            dna = replace(parts["dna"], row=views.row[:, view].masked_fill(~parts["dna"].present, 0))
            outputs.append(self._read(self._fuse({**parts, "dna": dna}, batch)))
        chosen = torch.tensor([used.index(view) for view in of_output], device=views.row.device)
        return rearrange(
            torch.stack(outputs)[chosen, :, torch.arange(len(chosen), device=chosen.device)],
            "tissues batch -> batch tissues",
        )

    @torch.no_grad()
    def fit_inputs(self, batches: Iterable[IsoformBatch]) -> None:
        """Fit the constants by which encoders scale their inputs; call once, before training.

        Args:
            batches: Training samples without augmentation; labels are not looked at. Each sample counts once, so
                the way in which they are batched does not matter.
        """
        fitted = {
            name
            for name, encoder in self.encoders.items()
            if any(isinstance(module, FITTED) for module in encoder.modules())
        }
        if not fitted:
            return
        training = self.training
        self.eval()
        with fit_summaries(self):
            for batch in batches:
                for name, encoder in self.encoders.items():
                    modality: Modality | None = getattr(batch, name)
                    if modality is not None and name in fitted:
                        encoder(modality.tokens.take(modality.row[modality.present].long()))
        self.train(training)

    @torch.no_grad()
    def fit_kernel(self, batches: Iterable[IsoformBatch]) -> None:
        """Fit the kernel regression; call once, after `fit_inputs`.

        Args:
            batches: Every training sample once, without augmentation, with standardised targets.
        """
        if self.kernel is None:
            return
        training = self.training
        self.eval()
        found, targets = [], []
        for batch in batches:
            assert batch.targets is not None
            found.append(_inputs(self._encode(batch)))
            targets.append(batch.targets)
        self.kernel.fit(join_inputs(found, [len(one) for one in targets]), torch.cat(targets))
        self.train(training)

    def features(self, batch: IsoformBatch) -> Float[Tensor, "batch dim"]:
        """What the head reads of the DNA without tracks; see `_fuse`."""
        return self._fuse(self._encode(batch), len(batch))

    def _encode(self, batch: IsoformBatch) -> dict[str, SharedHidden]:
        """Every distinct row of each modality that any sample has."""
        parts = {}
        for name, encoder in self.encoders.items():
            modality: Modality | None = getattr(batch, name)
            if modality is not None and len(modality.tokens.ids):
                hidden = encode_in_groups(
                    cast(SequenceEncoder, encoder), modality.tokens, self.config.group_tokens
                )
                parts[name] = share(hidden, modality)
        return parts

    def _fuse(self, parts: dict[str, SharedHidden], batch: int) -> Float[Tensor, "batch dim"]:
        """The pooled branches side by side, zeros for a branch the sample lacks."""
        fused = self.aggregator(parts, batch)
        pooled = []
        for name, dim in self.aggregator.branches.items():
            if name in fused:
                pooled.append(self.pools[name](fused[name].states, fused[name].mask))
            else:
                pooled.append(self.head.weight.new_zeros(batch, dim))
        return torch.cat(pooled, dim=-1)


def _inputs(parts: dict[str, SharedHidden]) -> dict[str, Inputs]:
    """What a kernel reads of encoded modalities."""
    return {name: Inputs(part.inputs, part.row, part.present) for name, part in parts.items()}
