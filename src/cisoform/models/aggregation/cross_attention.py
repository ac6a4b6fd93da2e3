"""Successive cross-attention with residual: IsoFormer, eq. 1-3, in the form of the released class.

For each partner one multi-head attention with biases, dense(context) + hidden; no positions, norm, FFN, gate.
The paper concatenates one branch per modality (`aggregate="all"`); the public checkpoint has only the branch
of the DNA, which reads the RNA first and the protein with the updated DNA (`aggregate="dna"`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cisoform.models.aggregation.base import SharedHidden
from cisoform.models.encoders.base import Hidden
from cisoform.nn.attention import MultiHeadAttention


@dataclass(frozen=True, kw_only=True)
class CrossAttentionConfig:
    """Which branches exist. The head size is the width of the branch // `heads` (8 in the release).

    `aggregate="dna"` has one branch, centred on the first modality that the model has: the DNA, or in a model
    without DNA the RNA, or the protein. In "all" every modality reads the two others, in the order dna, rna,
    protein (the paper does not state one), as their encoders gave them.
    """

    kind: Literal["cross_attention"] = "cross_attention"
    heads: int = 8
    aggregate: Literal["dna", "all"] = "dna"


class CrossAttention(nn.Module):
    """Branches that read their partners.

    A partner that a sample lacks adds exactly nothing to it, neither attention nor bias. A sample without the
    centre of a one-branch model is read through `stand_in`, one learned position (zeros at the start, and in
    converted checkpoints): it attends to the partners as the centre would and is the whole of the pooled
    branch. In "all", a sample simply has no branch of a modality that it lacks (zeros after pooling).
    """

    def __init__(self, config: CrossAttentionConfig, dims: Mapping[str, int]) -> None:
        super().__init__()
        centres = list(dims) if config.aggregate == "all" else list(dims)[:1]
        self.branches = {centre: dims[centre] for centre in centres}
        self.layers = nn.ModuleDict(
            {
                centre: nn.ModuleDict(
                    {
                        partner: MultiHeadAttention(dims[centre], config.heads, context_dim=dims[partner])
                        for partner in dims
                        if partner != centre
                    }
                )
                for centre in centres
            }
        )
        # Training starts without exchange: every update is zero until `dense` has learned.
        for layer in self.modules():
            if isinstance(layer, MultiHeadAttention):
                nn.init.zeros_(layer.dense.weight)
                nn.init.zeros_(layer.dense.bias)
        single = config.aggregate == "dna"
        self.stand_in = nn.Parameter(torch.zeros(dims[centres[0]])) if single else None

    def forward(self, parts: Mapping[str, SharedHidden], batch: int) -> dict[str, Hidden]:
        """Fuse each branch."""
        fused = {}
        for centre in self.branches:
            hidden = self._centre(parts.get(centre), batch)
            if hidden is not None:
                fused[centre] = Hidden(self._read_partners(centre, hidden.states, parts), hidden.mask)
        return fused

    def _centre(self, part: SharedHidden | None, batch: int) -> Hidden | None:
        if self.stand_in is None:
            return None if part is None else part.per_sample()
        if part is None:
            mask = torch.ones(batch, 1, dtype=torch.bool, device=self.stand_in.device)
            return Hidden(self.stand_in.expand(batch, 1, -1), mask)
        hidden = part.per_sample()
        states = torch.where(
            part.present[:, None, None], hidden.states, self.stand_in.to(hidden.states.dtype)
        )
        first = torch.arange(hidden.mask.shape[1], device=hidden.mask.device) == 0
        return Hidden(states, hidden.mask | (first & ~part.present[:, None]))

    def _read_partners(self, centre: str, states: Tensor, parts: Mapping[str, SharedHidden]) -> Tensor:
        layers = self.layers[centre]
        assert isinstance(layers, nn.ModuleDict)
        for partner, layer in layers.items():
            part = parts.get(partner)
            if part is not None:
                update = layer(states, part.states, part.mask, part.row)
                states = states + update.masked_fill(~part.present[:, None, None], 0.0)
        return states
