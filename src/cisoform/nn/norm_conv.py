"""Convolutions behind batch normalisation that can stand still, as in Enformer and Borzoi; channels come first."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.Module):
    """Batch normalisation of channels; `frozen` = by its running statistics in training too.

    With few rows per step batch statistics ruin a pre-trained network (and make a row depend on its mates): only
    weight and bias learn then. No counter of batches is kept; the running statistics are averages with `momentum`.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int, eps: float, frozen: bool, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.frozen, self.momentum = eps, frozen, momentum
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    def forward(self, hidden: Float[Tensor, "rows dim positions"]) -> Float[Tensor, "rows dim positions"]:
        """Normalise each channel."""
        n_values = hidden.shape[0] * hidden.shape[2]
        learning = self.training and not self.frozen and n_values > 1  # one value has no variance
        return F.batch_norm(
            hidden, self.mean, self.variance, self.weight, self.bias, learning, self.momentum, self.eps
        )


class NormConv(nn.Module):
    """Batch normalisation, activation, convolution that keeps the length (zeros beyond the ends of a row).

    Args:
        dim: Channels.
        out_dim: Channels of the result.
        kernel: Odd number of positions seen.
        activation: Of the normalised channels.
        norm_eps: See `BatchNorm`, likewise `frozen`.
        frozen: See `norm_eps`.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        kernel: int,
        activation: Callable[[Tensor], Tensor],
        norm_eps: float,
        frozen: bool,
    ) -> None:
        super().__init__()
        self.norm = BatchNorm(dim, norm_eps, frozen)
        self.activation = activation
        self.conv = nn.Conv1d(dim, out_dim, kernel, padding=kernel // 2)

    def forward(self, hidden: Float[Tensor, "rows dim positions"]) -> Float[Tensor, "rows out_dim positions"]:
        """Convolve each row."""
        out: Tensor = self.conv(self.activation(self.norm(hidden)))
        return out
