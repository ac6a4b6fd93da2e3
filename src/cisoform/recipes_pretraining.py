"""Named presets of masked pre-training of an IsoFormer's encoders: functions of the modality that return configs."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from cisoform.data.masked_tokens import MaskingConfig
from cisoform.data.pretraining import ModalityName
from cisoform.data.sampling import BatchLimits
from cisoform.errors import InputError
from cisoform.models.encoders.rotary import RotaryConfig, esm2_network, nt_v2_network
from cisoform.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    """All that defines how an encoder is pre-trained.

    Attributes:
        network: Sizes, in the form of NT-v2 (DNA, RNA) or ESM-2 (protein).
        masking: What is shown and hidden.
        train: Optimiser, schedule and length.
        shared_letters: Start the vectors of 6-mers as sums over their letters, in the embedding and in the head, so
            that 6-mers alike start alike; a small data set shows each of 4,096 too seldom to learn that. Of no effect
            on proteins.
    """

    network: RotaryConfig
    masking: MaskingConfig
    train: TrainConfig
    shared_letters: bool = True


def _network(modality: ModalityName, dim: int, layers: int, heads: int) -> RotaryConfig:
    form = esm2_network if modality == "protein" else nt_v2_network
    return form(dim, layers, heads)


def tiny(modality: ModalityName) -> PretrainingRecipe:
    """For tests and a first look: seconds on one core."""
    return PretrainingRecipe(
        network=_network(modality, 32, 2, 4),
        masking=MaskingConfig(
            max_tokens=256, limits=BatchLimits(batch_size=16, token_budget=4_096), valid_sequences=100
        ),
        train=_train(lr=3e-3, epochs=4),
    )


def small(modality: ModalityName) -> PretrainingRecipe:
    """For the transcripts of a yeast: at most 20 minutes on two cores.

    The network has the width and layers of `model.rna.kind=nt_v2` and `model.protein.kind=esm2` without a size, so
    that the same encoder can be trained with and without these weights.
    """
    return PretrainingRecipe(
        network=_network(modality, 64, 2, 4),
        masking=MaskingConfig(max_tokens=512, limits=BatchLimits(batch_size=64, token_budget=8_192)),
        train=_train(lr=2e-3, epochs=8),
    )


def base(modality: ModalityName) -> PretrainingRecipe:
    """For a mammalian transcriptome on one GPU; sizes are our choice and have not been tuned."""
    return PretrainingRecipe(
        network=_network(modality, 384, 8, 12),
        masking=MaskingConfig(
            max_tokens=1_024, limits=BatchLimits(batch_size=256, token_budget=131_072), valid_sequences=2_000
        ),
        train=_train(lr=6e-4, epochs=20, bf16=True),
    )


def _train(lr: float, epochs: int, bf16: bool = False) -> TrainConfig:
    return TrainConfig(
        lr=lr,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        warmup_fraction=0.05,
        final_lr_fraction=0.05,
        epochs=epochs,
        bf16=bf16,
    )


PRETRAINING_RECIPES: dict[str, Callable[[ModalityName], PretrainingRecipe]] = {
    "tiny": tiny,
    "small": small,
    "base": base,
}


def pretraining_recipe(name: str, modality: ModalityName) -> PretrainingRecipe:
    """The recipe of that name.

    Raises:
        InputError: If there is none; the near ones are named.
    """
    if name not in PRETRAINING_RECIPES:
        near = difflib.get_close_matches(name, PRETRAINING_RECIPES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRETRAINING_RECIPES)}"
        raise InputError(f"recipe {name!r} is unknown; {hint}")
    return PRETRAINING_RECIPES[name](modality)
