"""Stage 2: expression of a gene in a cell from the peaks round it, with Elementary frozen.

Features of states come from a table that was filled before (`features.states`); a batch gathers and pools each of
its distinct states once. Losses on the data set's scale (log1p): squared error, Huber, or Poisson with the
prediction's logarithm linked by softplus; and optionally one minus the correlation of each gene across the groups
of a batch, because the overall error is mostly that of genes' means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.batches import GeneBatch
from cisoform.errors import InputError
from cisoform.models.creformer import CREformer
from cisoform.models.creformer.frozen import plain_weights
from cisoform.models.creformer.slots import Features, expression_of, extra_slots, pad_slots, peak_slots
from cisoform.training.gene_metrics import LEAST_GROUPS, scores
from cisoform.training.protocols import Export, Loss, Monitor

METRICS = ("loss", "mse", "pearson", "gene_pearson", "delta_pearson", "delta_r2")
_LARGEST_LOG = 12.0


@dataclass(frozen=True, kw_only=True)
class RegulatoryLossConfig:
    """What is minimised.

    Attributes:
        kind: "mse" or "huber" on the log1p scale, or "poisson" on the linear one (weighs strong genes most).
        huber_delta: Where Huber's loss becomes linear.
        correlation: Weight of one minus the correlation of each gene across the groups of a batch; 0 = off.
        monitor: Validation score that chooses the weights; "auto" = gene_pearson where genes have enough groups,
            else loss.
    """

    kind: Literal["mse", "huber", "poisson"] = "mse"
    huber_delta: float = 1.0
    correlation: float = 0.1
    monitor: Literal["auto", "loss", "mse", "pearson", "gene_pearson", "delta_pearson", "delta_r2"] = "auto"

    def __post_init__(self) -> None:
        if self.huber_delta <= 0 or self.correlation < 0:
            raise ValueError(
                f"huber_delta={self.huber_delta} must be above 0 and correlation={self.correlation} at least 0"
            )

    @property
    def link(self) -> str:
        """How the network's output becomes expression on the log1p scale."""
        return "softplus" if self.kind == "poisson" else "identity"


def read_batch(
    model: CREformer, features: Features, batch: GeneBatch, *, tuned_layers: int = 0
) -> Float[Tensor, " batch"]:
    """The network's output for every sample of a batch."""
    peaks = peak_slots(model, features, batch, tuned_layers=tuned_layers)
    config = model.config
    mask = batch.mask
    position = batch.rank if config.positions == "rank" else batch.distance
    more = extra_slots(config, mask.shape[1])
    peaks, mask, position = pad_slots(peaks, more), pad_slots(mask, more), pad_slots(position, more)
    out: Tensor = model(peaks, mask, position, batch.tss_peak)
    return out


def correlation_loss(
    predicted: Float[Tensor, " batch"], target: Float[Tensor, " batch"], gene: Int[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Sum over samples of one minus their gene's correlation across the groups of the batch.

    Genes with fewer than three samples or a constant target do not count. A small constant under the root keeps a
    prediction that hardly varies from being pulled about.
    """
    genes, code = torch.unique(gene, return_inverse=True)
    count = torch.bincount(code, minlength=len(genes)).clamp(min=1).to(predicted.dtype)

    def mean(values: Tensor) -> Tensor:
        return values.new_zeros(len(genes)).index_add(0, code, values) / count

    p = predicted - mean(predicted)[code]
    t = target - mean(target)[code]
    spread = mean(t * t)
    found = mean(p * t) / ((mean(p * p) + 1e-3) * (spread + 1e-3)).sqrt()
    use = (count >= LEAST_GROUPS) & (spread > 1e-6)
    return (count * (1 - found) * use).sum()


class RegulatoryTask:
    """Trains pool, peak transformer and head (and tuned layers) of a CREformer; `Task` of the loop.

    Args:
        model: Both stages; what is frozen does not require gradients.
        features: Features of every state that a batch may show.
        loss: See `RegulatoryLossConfig`.
        at_depths: The same states at other depths; a training batch is shown at one of all.
        tuned_layers: Layers of Elementary behind the features.
        monitor: Validation score that chooses the weights, and whether more is better.
        config: Config of the model as a JSON object; saved beside the weights.
        files: Further JSON files to save.
    """

    metrics: tuple[str, ...] = METRICS

    def __init__(
        self,
        model: CREformer,
        features: Features,
        loss: RegulatoryLossConfig,
        *,
        at_depths: Sequence[Features] = (),
        tuned_layers: int = 0,
        monitor: str = "loss",
        config: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
    ) -> None:
        self.model: nn.Module = model
        self.creformer = model
        self.features = features
        self.at_depths = (features, *at_depths)
        self.loss_config = loss
        self.tuned_layers = tuned_layers
        self.monitor = Monitor(monitor, "min" if monitor in ("loss", "mse") else "max")
        self._export = Export(config=dict(config or {}), files=dict(files or {}))

    def output(self, batch: GeneBatch, features: Features | None = None) -> Float[Tensor, " batch"]:
        """The network's output, before the link; with the usual features unless others are given."""
        shown = self.features if features is None else features
        return read_batch(self.creformer, shown, batch, tuned_layers=self.tuned_layers).float()

    def loss(self, batch: GeneBatch) -> Loss:
        """Error of every sample, and the correlation term, at one of the depths by torch's random stream."""
        depth = int(torch.randint(len(self.at_depths), ())) if len(self.at_depths) > 1 else 0
        output, target = self.output(batch, self.at_depths[depth]), _targets(batch)
        total = self._errors(output, target).sum()
        if self.loss_config.correlation:
            predicted = expression_of(output, self.loss_config.link)
            total = total + self.loss_config.correlation * correlation_loss(predicted, target, batch.gene)
        return Loss(total=total, weight=torch.tensor(float(len(batch)), device=target.device))

    def _errors(self, output: Tensor, target: Tensor) -> Tensor:
        config = self.loss_config
        if config.kind == "mse":
            return (output - target).square()
        if config.kind == "huber":
            return F.huber_loss(output, target, reduction="none", delta=config.huber_delta)
        # Rates are expm1 of the log1p scale; log1p(exp(x)) = softplus(x) is then the prediction.
        limited = output.clamp(max=_LARGEST_LOG)  # beyond it the exponential goes on as its tangent
        return limited.exp() * (1 + output - limited) - target.expm1() * output

    def validate(self, batches: Iterable[GeneBatch]) -> dict[str, float]:
        """Mean error (without the correlation term) and the scores of `training.gene_metrics`."""
        loss, predicted, truth, gene = 0.0, [], [], []
        for batch in batches:
            output, target = self.output(batch), _targets(batch)
            loss += float(self._errors(output, target).sum())
            predicted.append(expression_of(output, self.loss_config.link).cpu().numpy())
            truth.append(target.cpu().numpy())
            gene.append(batch.gene.cpu().numpy())
        if not truth:
            raise InputError("the validation part has no sample; is any gene or group labelled 'valid'?")
        found = scores(np.concatenate(truth), np.concatenate(predicted), np.concatenate(gene))
        return {"loss": loss / sum(map(len, truth)), **found}

    def export(self) -> Export:
        """Config of the model and its files; low-rank corrections are added to the weights."""
        return replace(self._export, state=plain_weights(self.model))


def _targets(batch: GeneBatch) -> Tensor:
    if batch.targets is None:
        raise ValueError("the batch has no targets")
    return batch.targets.float()
