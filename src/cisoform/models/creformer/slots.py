"""Between peaks and the peak transformer: features of states as the vectors of slots, padding as the model wants it.

Training, prediction and every reading of a fitted model go through these functions.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from cisoform.batches import GeneBatch
from cisoform.errors import InputError
from cisoform.models.creformer.frozen import tuned_part
from cisoform.models.creformer.regulatory import CREformer, CREformerConfig


@runtime_checkable
class Features(Protocol):
    """Where features of states come from."""

    def gather(self, states: Int[Tensor, " wanted"]) -> Float[Tensor, "wanted ..."]:
        """Features of the given states."""
        ...


def expression_of(output: Float[Tensor, " batch"], link: str) -> Float[Tensor, " batch"]:
    """Expression on the log1p scale from the network's output."""
    return F.softplus(output) if link == "softplus" else output


def peak_slots(
    model: CREformer, features: Features, batch: GeneBatch, *, tuned_layers: int = 0
) -> Float[Tensor, "batch peaks dim"]:
    """Vectors of the peaks of every sample; anything at padding.

    Args:
        model: Its pool, and the tuned layers of its Elementary.
        features: Bins of states (pooled here, each distinct one once), or vectors that are pooled already.
        batch: The samples.
        tuned_layers: Layers behind what the features hold.
    """
    distinct, inverse = torch.unique(batch.state[batch.mask], return_inverse=True)
    found = features.gather(distinct)
    if found.ndim == 3:
        found = model.pool(tuned_part(model.elementary, found, tuned_layers))
    place = torch.zeros(batch.mask.shape, dtype=torch.int64, device=batch.mask.device)
    place[batch.mask] = inverse
    return found.index_select(0, place.reshape(-1)).reshape(*batch.mask.shape, -1)


def extra_slots(config: CREformerConfig, slots: int) -> int:
    """How many slots of padding a model needs behind the given ones.

    A flat head reads every slot, and where padding is not masked it takes part like a peak: such a model (the
    released one) always sees `max_peaks` slots. Others see none that they do not need.

    Raises:
        InputError: If there are more slots than the model reads.
    """
    if slots > config.max_peaks:
        raise InputError(
            f"a gene has {slots} peaks, the model reads at most {config.max_peaks}; build the data with "
            f"--max-peaks {config.max_peaks} or fit a model with --set model.max_peaks={slots}"
        )
    return config.max_peaks - slots if config.head == "flat" or not config.mask_padding else 0


def pad_slots(values: Shaped[Tensor, "batch slots ..."], more: int) -> Shaped[Tensor, "batch padded ..."]:
    """The values with `more` slots of zeros behind them (False in a mask)."""
    return F.pad(values, (0, 0) * (values.ndim - 2) + (0, more)) if more else values
