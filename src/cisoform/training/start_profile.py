"""The task of a start scorer: how a gene's starts are used round one of them, as a distribution over places."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from cisoform.batches import StartBatch
from cisoform.models.start_score import StartScorer
from cisoform.training.protocols import Export, Loss, Monitor


class StartProfileTask:
    """Trains a `StartScorer`; `Task` of the loop. A label is one gene in one tissue."""

    metrics: tuple[str, ...] = ("loss",)
    monitor = Monitor("loss", "min")

    def __init__(self, model: StartScorer, export: Export) -> None:
        self.model: nn.Module = model
        self._export = export

    def loss(self, batch: StartBatch) -> Loss:
        """Cross-entropy of the softmax over the allowed places, summed over labels with any usage there."""
        allowed = batch.allowed[:, None]
        scores = self.model(batch.ids).float().masked_fill(~allowed, -torch.inf)
        usage = batch.usage * allowed
        total = usage.sum(dim=-1, keepdim=True)
        share = usage / total.clamp(min=torch.finfo(usage.dtype).tiny)
        logs = torch.where(share > 0, scores, 0.0)
        # A window without any allowed place has no usage there either, so its infinite normaliser is not used.
        used = total[..., 0] > 0
        normaliser = torch.where(used[..., None], scores, 0.0).logsumexp(dim=-1)
        entropy = normaliser - (share * logs).sum(dim=-1)
        return Loss(total=torch.where(used, entropy, 0.0).sum(), weight=used.sum().float())

    def validate(self, batches: Iterable[StartBatch]) -> dict[str, float]:
        """Mean cross-entropy in nats."""
        parts = [self.loss(batch) for batch in batches]
        weight = sum(float(part.weight) for part in parts)
        return {"loss": sum(float(part.total) for part in parts) / max(weight, 1.0)}

    def export(self) -> Export:
        """Config of the scorer."""
        return self._export
