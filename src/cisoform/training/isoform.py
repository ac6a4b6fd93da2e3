"""IsoFormer's task: expression of a transcript in every tissue, with missing labels and per-label weights.

The paper trains with the mean squared error over 30 standardised tissues (reference: section 4) and selects on a
5 % validation part. Huber and Gaussian losses, weights and the choice of columns to validate on are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cisoform.batches import IsoformBatch
from cisoform.errors import InputError
from cisoform.training.metrics import column_r2, column_spearman
from cisoform.training.protocols import Export, Loss, Monitor
from cisoform.training.specificity import Specificity

_LOG_VARIANCE_RANGE = (-8.0, 8.0)


@dataclass(frozen=True, kw_only=True)
class IsoformLossConfig:
    """Loss of one label, in standardised log1p units.

    Attributes:
        kind: "mse"; "huber" (square near 0, linear beyond `huber_delta`: outlying labels pull less); or
            "gaussian" (negative log-likelihood): the model then gives twice the tissues, first the means, then
            the logarithms of the variances.
        huber_delta: Where the Huber loss turns linear.
        gaussian_beta: "gaussian" weighs each label by its predicted variance to this power, without a gradient: 0 is
            the likelihood, 1 gives the means the direction of "mse", so that labels that are hard to predict are not
            given up (Seitzer et al. 2022, arXiv 2203.09168, who advise 0.5). Validation reports the likelihood.
        specificity: Weight of a further term on what differs between tissues (`training.specificity`), beside a
            weight of 1 of each label. 0: none.
    """

    kind: Literal["mse", "huber", "gaussian"] = "mse"
    huber_delta: float = 1.0
    gaussian_beta: float = 0.5
    specificity: float = 0.0

    def __post_init__(self) -> None:
        if self.huber_delta <= 0:
            raise ValueError(f"huber_delta={self.huber_delta} must be more than 0")
        if not 0 <= self.gaussian_beta <= 1:
            raise ValueError(f"gaussian_beta={self.gaussian_beta} must be between 0 and 1")
        if self.specificity < 0:
            raise ValueError(f"specificity={self.specificity} must be at least 0")


class IsoformTask:
    """Trains an IsoFormer; `Task` of the loop.

    Args:
        model: Maps an `IsoformBatch` to predictions (batch, tissues), in standardised space.
        config: Config of the model as a JSON object; saved beside the weights.
        files: Fitted JSON files to save beside the weights, e.g. {"normaliser.json": ...}.
        loss: Loss of one label.
        columns: Columns of the labels that validation scores: those with labels of transcripts, not of genes.
            None: all.
        column_weights: Factor of each column's labels in the loss; multiplies the weights of the batch. None: 1.
        monitor: "r2" or "spearman" (larger is better) or "loss" (smaller is better).
        specificity: Scale of the term that the loss's `specificity` weighs. None: no such term.
    """

    metrics: tuple[str, ...] = ("r2", "spearman", "loss")

    def __init__(
        self,
        model: nn.Module,
        *,
        config: Mapping[str, Any],
        files: Mapping[str, Any] | None = None,
        loss: IsoformLossConfig | None = None,
        columns: Sequence[int] | None = None,
        column_weights: Sequence[float] | None = None,
        monitor: Literal["r2", "spearman", "loss"] = "r2",
        specificity: Specificity | None = None,
    ) -> None:
        self.model = model
        self._specificity = specificity
        self.monitor = Monitor(monitor, "min" if monitor == "loss" else "max")
        self.loss_config = loss or IsoformLossConfig()
        self._columns = None if columns is None else list(columns)
        if self._columns is not None and not self._columns:
            raise InputError("no column to validate on: none of the expression columns is of transcripts")
        self._column_weights = (
            None if column_weights is None else torch.tensor(column_weights, dtype=torch.float32)
        )
        self._export = Export(config=dict(config), files=dict(files or {}))

    def loss(self, batch: IsoformBatch) -> Loss:
        """Weighted sum of the losses of the labels that are there, and the sum of their weights."""
        targets = _targets(batch)
        weights = batch.weights
        if self._column_weights is not None:
            factor = self._column_weights.to(targets.device).expand_as(targets)
            weights = factor if weights is None else weights * factor
        output = self.model(batch)
        loss = masked_loss(output, targets, weights, self.loss_config)
        if self._specificity is None or not self.loss_config.specificity:
            return loss
        mean = means(output.float(), self.loss_config)
        term = self._specificity.loss(mean, torch.nan_to_num(targets), ~torch.isnan(targets))
        return Loss(total=loss.total + self.loss_config.specificity * term, weight=loss.weight)

    def validate(self, batches: Iterable[IsoformBatch]) -> dict[str, float]:
        """Means over the validated columns of R2 and Spearman, and the mean loss over all labels."""
        predicted, observed, total, weight = [], [], 0.0, 0.0
        for batch in batches:
            targets = _targets(batch)
            output = self.model(batch).detach().float()
            loss = masked_loss(output, targets, None, replace(self.loss_config, gaussian_beta=0.0))
            total, weight = total + float(loss.total), weight + float(loss.weight)
            predicted.append(means(output, self.loss_config).cpu().numpy())
            observed.append(targets.cpu().numpy())
        if not weight:
            raise InputError("the validation part has no label; is any row labelled 'valid'?")
        labels, values = self._scored(np.concatenate(observed)), self._scored(np.concatenate(predicted))
        r2, spearman = column_r2(labels, values), column_spearman(labels, values)
        return {"r2": _mean(r2), "spearman": _mean(spearman), "loss": total / weight}

    def export(self) -> Export:
        """Config of the model and its fitted files."""
        return self._export

    def _scored(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return values if self._columns is None else values[:, self._columns]


def masked_loss(
    output: Float[Tensor, "batch outputs"],
    targets: Float[Tensor, "batch tissues"],
    weights: Float[Tensor, "batch tissues"] | None,
    config: IsoformLossConfig,
) -> Loss:
    """Loss over the labels that are not NaN; a missing one adds nothing to the loss, its weight or the gradient.

    Args:
        output: As many columns as tissues, or twice as many for "gaussian".
        targets: Standardised log1p expression, NaN where missing.
        weights: Factor of each label; None means 1.
        config: Kind of loss. It is computed in float32 also under autocast.
    """
    output = output.float()
    present: Bool[Tensor, "batch tissues"] = ~torch.isnan(targets)
    weight = present.float() if weights is None else torch.where(present, weights, 0.0)
    filled = torch.where(present, targets, 0.0)
    mean = means(output, config)
    if mean.shape != targets.shape:
        raise ValueError(
            f"the model gives {tuple(mean.shape)} means, but the labels are {tuple(targets.shape)}"
        )
    if config.kind == "huber":
        each = nn.functional.huber_loss(mean, filled, reduction="none", delta=config.huber_delta)
    elif config.kind == "gaussian":
        log_variance = log_variances(output)
        each = 0.5 * (log_variance + torch.square(mean - filled) * torch.exp(-log_variance))
        each = each * torch.exp(config.gaussian_beta * log_variance.detach())
    else:
        each = torch.square(mean - filled)
    return Loss(total=(each * weight).sum(), weight=weight.sum())


def means(
    output: Float[Tensor, "batch outputs"], config: IsoformLossConfig
) -> Float[Tensor, "batch tissues"]:
    """The predicted means among a model's outputs."""
    return output[:, : output.shape[1] // 2] if config.kind == "gaussian" else output


def log_variances(output: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch tissues"]:
    """The logarithms of the predicted variances among the outputs of a model that was trained with "gaussian"."""
    return output[:, output.shape[1] // 2 :].clamp(*_LOG_VARIANCE_RANGE)


def _targets(batch: IsoformBatch) -> Float[Tensor, "batch tissues"]:
    if batch.targets is None:
        raise ValueError("the batch has no targets; training and validation need a data set with expression")
    return batch.targets


def _mean(values: npt.NDArray[np.float64]) -> float:
    """Mean over the columns that have a value; NaN if none has."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")
