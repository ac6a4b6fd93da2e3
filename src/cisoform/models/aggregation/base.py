"""What an aggregator is: it fuses the hidden sequences of the modalities into one sequence per branch.

A sample's absent modality is a row whose mask is False everywhere; such a row must change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cisoform.batches import Modality
from cisoform.models.encoders.base import Hidden

MODALITIES = ("dna", "rna", "protein")
"""Every modality, in the order in which branches are concatenated and partners are read."""
JOINT = "joint"
"""The branch of an aggregator that makes one sequence of all modalities."""


@dataclass(frozen=True)
class SharedHidden:
    """One modality of a batch, encoded once per distinct row.

    Sample i uses row `row[i]` if `present[i]`; otherwise `row[i]` is a valid index that must not matter. `inputs` as in
    `Hidden`.
    """

    states: Float[Tensor, "rows positions dim"]
    mask: Bool[Tensor, "rows positions"]
    row: Int[Tensor, " batch"]
    present: Bool[Tensor, " batch"]
    inputs: tuple[Float[Tensor, "rows _"], ...] = ()

    def per_sample(self) -> Hidden:
        """One row per sample; all padding where the sample lacks the modality."""
        return Hidden(self.states[self.row], self.mask[self.row] & self.present[:, None])

    def mapped(
        self, states: Float[Tensor, "rows places width"], mask: Bool[Tensor, "rows places"] | None = None
    ) -> SharedHidden:
        """What was made of the rows, for the same samples; `mask` None = the positions are the same."""
        return SharedHidden(states, self.mask if mask is None else mask, self.row, self.present)


def share(hidden: Hidden, modality: Modality) -> SharedHidden:
    """Attach samples to encoded rows. A sample whose sequence is empty counts as lacking the modality."""
    row = modality.row.long().masked_fill(~modality.present, 0)
    return SharedHidden(
        hidden.states, hidden.mask, row, modality.present & hidden.mask.any(dim=1)[row], hidden.inputs
    )


def side_by_side(parts: Sequence[SharedHidden]) -> dict[str, Hidden]:
    """The positions of all parts (of one width) as one sequence per sample: the branch `JOINT`, if there are any."""
    if not parts:
        return {}
    hidden = [part.per_sample() for part in parts]
    states = torch.cat([one.states for one in hidden], dim=1)
    return {JOINT: Hidden(states, torch.cat([one.mask for one in hidden], dim=1))}


def first_width(dims: Mapping[str, int]) -> int:
    """Width of the model's first modality."""
    return next(iter(dims.values()))


class Aggregator(Protocol):
    """Any module that fuses modalities; `branches` names its outputs and gives their widths, in order."""

    branches: dict[str, int]

    def __call__(self, parts: Mapping[str, SharedHidden], batch: int) -> dict[str, Hidden]:
        """Fuse.

        Args:
            parts: The modalities that any sample of the batch has.
            batch: Number of samples.

        Returns:
            One row per sample for each branch. A branch that no sample has may be left out, and a row without
            real positions stands for nothing: both are pooled to zeros.
        """
        ...
