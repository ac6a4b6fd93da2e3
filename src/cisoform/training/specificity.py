"""A loss on what differs between tissues: errors of expression after each transcript's mean is taken away.

Expression in different tissues is nearly one number, so a squared error per tissue is spent on the level. This term
asks for the rest: with two tissues it is the squared error of their difference. Ours; not in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Specificity:
    """Which columns are compared and on what scale.

    Attributes:
        columns: Columns of the labels that are tissues of transcripts.
        std: Standard deviation that standardised each of them.
        spread: Root mean square of the centred log1p labels over training rows and those columns.
    """

    columns: tuple[int, ...]
    std: tuple[float, ...]
    spread: float

    @classmethod
    def fit(
        cls, log1p_labels: npt.NDArray[np.floating[Any]], std: Sequence[float], columns: Sequence[int]
    ) -> Specificity | None:
        """The scale from training labels alone; None where nothing can be compared.

        Args:
            log1p_labels: Training rows x all columns, NaN = missing.
            std: Of all columns.
            columns: Those to compare.
        """
        values = np.asarray(log1p_labels, dtype=np.float64)[:, list(columns)]
        values = values[np.isfinite(values).sum(axis=1) >= 2] if len(columns) > 1 else values[:0]
        if not len(values):
            return None
        centred = values - np.nanmean(values, axis=1, keepdims=True)
        spread = float(np.sqrt(np.nanmean(centred**2)))
        return cls(tuple(columns), tuple(float(std[c]) for c in columns), spread) if spread > 0 else None

    def loss(
        self,
        mean: Float[Tensor, "batch tissues"],
        targets: Float[Tensor, "batch tissues"],
        present: Bool[Tensor, "batch tissues"],
    ) -> Float[Tensor, ""]:
        """Sum over samples of the mean squared centred error of their labelled tissues; two labels at least."""
        index = torch.tensor(self.columns, device=mean.device)
        known = present[:, index]
        known = known & (known.sum(dim=1, keepdim=True) >= 2)
        count = known.sum(dim=1, keepdim=True).clamp(min=1)
        std = torch.tensor(self.std, device=mean.device, dtype=mean.dtype)
        error = torch.where(known, (mean - targets)[:, index] * std, 0.0)
        centred = torch.where(known, error - error.sum(dim=1, keepdim=True) / count, 0.0) / self.spread
        return (torch.square(centred) / count).sum()
