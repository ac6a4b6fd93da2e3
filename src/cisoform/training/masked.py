"""Masked modelling of tokens: cross-entropy at the hidden places, carried by their number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.batches import MaskedTokensBatch
from cisoform.errors import InputError
from cisoform.models.encoders.rotary import RotaryNetwork
from cisoform.training.protocols import Export, Loss, Monitor


class MaskedTask:
    """Trains a `RotaryNetwork` with its head; `Task` of the loop.

    Args:
        network: The network, with its masked-token head.
        first: First id that is predicted; ids outside first..last - 1 are never answers.
        last: One past the last of them.
        config: Config of the network as a JSON object; saved beside the weights.
        files: Further JSON files to save.
    """

    metrics: tuple[str, ...] = ("loss", "accuracy")

    def __init__(
        self,
        network: RotaryNetwork,
        first: int,
        last: int,
        *,
        config: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> None:
        if network.head is None:
            raise ValueError("masked modelling needs the network's head")
        self.model: nn.Module = network
        self.network, self.first, self.last = network, first, last
        self.monitor = Monitor("loss", "min")
        self._export = Export(config=dict(config or {}), files=dict(files or {}))

    def logits(self, batch: MaskedTokensBatch) -> Float[Tensor, "places answers"]:
        """Logits of the possible answers at each hidden place."""
        states = self.network(batch.ids, batch.mask).flatten(0, 1)[batch.hidden.index]
        assert self.network.head is not None
        found: Tensor = self.network.head(states[None])[0, :, self.first : self.last]
        return found.float()

    def loss(self, batch: MaskedTokensBatch) -> Loss:
        """Summed cross-entropy; its weight is the number of hidden tokens."""
        target = batch.hidden.target - self.first
        weight = torch.tensor(float(len(target)), device=batch.ids.device)
        return Loss(total=F.cross_entropy(self.logits(batch), target, reduction="sum"), weight=weight)

    def validate(self, batches: Iterable[MaskedTokensBatch]) -> dict[str, float]:
        """Mean cross-entropy (nats a token) and share of tokens whose most probable answer is right."""
        loss, right, count = 0.0, 0, 0
        for batch in batches:
            logits, target = self.logits(batch), batch.hidden.target - self.first
            loss += float(F.cross_entropy(logits, target, reduction="sum"))
            right += int((logits.argmax(dim=-1) == target).sum())
            count += len(target)
        if not count:
            raise InputError(
                "no token of the validation sequences can be predicted; they hold nothing but N or X"
            )
        return {"loss": loss / count, "accuracy": right / count}

    def export(self) -> Export:
        """Config of the network and its files."""
        return self._export
