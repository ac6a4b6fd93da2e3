"""Kernel ridge regression on what the encoders' summaries read, blended with the network's outputs.

Two transcripts are alike in one summary's inputs by a Gaussian of their distance, alike as a whole by the mean over all
summaries, raised to a power so that summaries act together. Fitted in closed form to the training rows, it sees the
same inputs as the network and errs in other places: on a few thousand transcripts their mean is better than either.
Our design (`docs/decisions/0010-kernel-blend.md`); the form is textbook (Schoelkopf and Smola 2002).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cisoform.errors import InputError
from cisoform.nn.summaries import SUMMARIES

MOST_ROWS = 20_000
"""Training rows at which the fit, which holds all pairs of them up to four times, takes 7 GB."""


@dataclass(frozen=True, kw_only=True)
class KernelConfig:
    """How the regression is fitted and blended.

    Attributes:
        weight: Its share of every output; the rest is the network's.
        noise: Ridge added to the diagonal of the kernel, whose largest value is 1.
        power: To which the mean similarity is raised; 1 = summaries add up and never act together.
        rows: Training rows that it keeps; set when a model is built.
    """

    weight: float = 0.5
    noise: float = 0.7
    power: int = 2
    rows: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise ValueError(f"weight={self.weight} must be above 0 and at most 1")
        if self.noise <= 0:
            raise ValueError(f"noise={self.noise} must be above 0")
        if self.power < 1:
            raise ValueError(f"power={self.power} must be at least 1")
        if self.rows > MOST_ROWS:
            raise ValueError(
                f"{self.rows:,} training rows are too many for kernel regression (at most {MOST_ROWS:,}); "
                "set model.kernel=null"
            )


@dataclass(frozen=True)
class Inputs:
    """What the summaries of one modality read, for some samples.

    Attributes:
        groups: `(rows, width)` for each summary, a row for each distinct sequence.
        row: Row of each sample.
        present: Whether the sample has the modality; its row is meaningless where not.
    """

    groups: Sequence[Float[Tensor, "rows _"]]
    row: Int[Tensor, " batch"]
    present: Bool[Tensor, " batch"]


class KernelRegression(nn.Module):
    """Training rows with a weight each for every output; predicts by likeness to them."""

    weights: Tensor

    def __init__(self, config: KernelConfig, encoders: Mapping[str, nn.Module], outputs: int) -> None:
        """Room for the rows of `config`.

        Raises:
            ValueError: If an encoder has no summaries.
        """
        super().__init__()
        self.config = config
        self.modalities = tuple(encoders)
        self.n_groups = 0
        for name, encoder in encoders.items():
            parts = [part for part in encoder.modules() if isinstance(part, SUMMARIES)]
            if not parts:
                raise ValueError(
                    f"kernel regression reads landmark encoders, and that of {name} is another; set model.kernel=null"
                )
            self.n_groups += len(parts)
            width = sum(part.width for part in parts)
            # Half precision: inputs are standardised and cut, and the rows are most of a saved model.
            self.register_buffer(f"rows_{name}", torch.zeros(config.rows, width, dtype=torch.float16))
            self.register_buffer(f"present_{name}", torch.zeros(config.rows, dtype=torch.bool))
            self.register_buffer(f"scale_{name}", torch.ones(len(parts)))
        self.register_buffer("weights", torch.zeros(config.rows, outputs))

    def forward(self, inputs: Mapping[str, Inputs], batch: int) -> Float[Tensor, "batch outputs"]:
        """Predict each sample; a modality that a sample or a training row lacks makes them no more alike."""
        # In full precision always: distances are small differences of large numbers, weights are of either sign.
        with torch.autocast(self.weights.device.type, enabled=False):
            return self._similarity(inputs, batch) @ self.weights

    def _similarity(self, inputs: Mapping[str, Inputs], batch: int) -> Float[Tensor, "batch rows"]:
        total = self.weights.new_zeros(batch, self.config.rows)
        for name in self.modalities:
            if name in inputs:
                one = inputs[name]
                alike = self._alike(name, one.groups)[one.row.clamp(min=0)]
                total += alike.mul_(one.present[:, None] & self.get_buffer(f"present_{name}"))
        return total.div_(self.n_groups).pow_(self.config.power)

    def _alike(self, name: str, groups: Sequence[Float[Tensor, "rows _"]]) -> Float[Tensor, "rows kept"]:
        """Sum over the modality's summaries of exp(-squared distance / its scale)."""
        kept, scales = self.get_buffer(f"rows_{name}"), self.get_buffer(f"scale_{name}")
        total = self.weights.new_zeros(len(groups[0]), self.config.rows)
        begin = 0
        for group, scale in zip(groups, scales, strict=True):
            end = begin + group.shape[1]
            total += _squared_distances(group.float(), kept[:, begin:end].float()).neg_().div_(scale).exp_()
            begin = end
        return total

    @torch.no_grad()
    def fit(self, inputs: Mapping[str, Inputs], targets: Float[Tensor, "rows outputs"]) -> None:
        """Keep these rows and solve for their weights.

        Args:
            inputs: Of the training rows, one entry per row (`config.rows`).
            targets: Standardised labels; a missing one (NaN) counts as the mean, 0.

        Raises:
            InputError: If `noise` is too small for rows that are alike.
        """
        for name in self.modalities:
            if name not in inputs:
                continue
            one = inputs[name]
            groups = [group[one.row.clamp(min=0)].half() for group in one.groups]
            self.get_buffer(f"rows_{name}").copy_(torch.cat(groups, dim=1))
            self.get_buffer(f"present_{name}").copy_(one.present)
            scales = [_typical_distance(group[one.present].float()) for group in groups]
            self.get_buffer(f"scale_{name}").copy_(torch.tensor(scales))
        kernel = self._similarity(inputs, self.config.rows)
        kernel.diagonal().add_(self.config.noise)
        factor, failed = torch.linalg.cholesky_ex(kernel)
        if failed:
            raise InputError(
                f"model.kernel.noise={self.config.noise} is too small for training rows that are so alike; raise it"
            )
        self.weights.copy_(torch.cholesky_solve(targets.to(kernel).nan_to_num(0.0), factor))


def join_inputs(batches: Sequence[Mapping[str, Inputs]], sizes: Sequence[int]) -> dict[str, Inputs]:
    """The inputs of several batches as those of one; `sizes` are their numbers of samples."""
    joined = {}
    for name in dict.fromkeys(name for batch in batches for name in batch):
        groups: list[list[Tensor]] = []
        rows, present, n_rows = [], [], 0
        for batch, size in zip(batches, sizes, strict=True):
            one = batch.get(name)
            if one is None:
                rows.append(torch.zeros(size, dtype=torch.long))
                present.append(torch.zeros(size, dtype=torch.bool))
                continue
            groups.append(list(one.groups))
            rows.append(one.row + n_rows)
            present.append(one.present)
            n_rows += len(one.groups[0])
        found = [torch.cat(group) for group in zip(*groups, strict=True)]
        device = found[0].device
        joined[name] = Inputs(
            found,
            torch.cat([row.to(device) for row in rows]),
            torch.cat([one.to(device) for one in present]),
        )
    return joined


def _squared_distances(
    a: Float[Tensor, "rows width"], b: Float[Tensor, "kept width"]
) -> Float[Tensor, "rows kept"]:
    lengths = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)
    return lengths.addmm_(a, b.T, alpha=-2).clamp_(min=0)


TYPICAL_ROWS = 1_000
ROUNDING = 1e-5
"""Share of the squared length below which a squared distance is what rounding leaves of none."""


def _typical_distance(rows: Float[Tensor, "rows width"]) -> float:
    """Mean squared distance between rows, by at most `TYPICAL_ROWS` evenly spaced ones; 1 where all are the same."""
    if not len(rows):
        return 1.0
    some = rows[:: -(-len(rows) // TYPICAL_ROWS)]
    mean, length = _squared_distances(some, some).mean().item(), some.square().sum(dim=1).mean().item()
    return cast(float, mean) if mean > ROUNDING * length else 1.0
