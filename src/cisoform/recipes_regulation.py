"""Named presets of the regulatory system: functions that return configs.

`model.tracks` is set from the data set. Sizes are those of the scaling ladder (2.8 M to 3 B parameters of both
stages); rates follow lr = 6e-4 * sqrt(384 / dim), 2e-4 at the largest.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cisoform.data.region_loader import RegionLoaderConfig
from cisoform.errors import InputError
from cisoform.models.creformer.elementary import ElementaryConfig
from cisoform.tokens.masking import HidingConfig
from cisoform.training.config import TrainConfig
from cisoform.training.elementary import ElementaryLossConfig


@dataclass(frozen=True, kw_only=True)
class ElementaryRecipe:
    """All that defines how an Elementary is built and pre-trained; `model.tracks` is set from the data set.

    Attributes:
        model: Sizes.
        loader: Windows, tracks and what is hidden.
        train: Optimiser, schedule and length.
        loss: Parts of the loss.
    """

    model: ElementaryConfig
    loader: RegionLoaderConfig
    train: TrainConfig
    loss: ElementaryLossConfig = field(default_factory=ElementaryLossConfig)


def _train(lr: float, epochs: int, bf16: bool = True, accumulate: int = 1) -> TrainConfig:
    """The proposed recipe of stage 1: AdamW, 2 % warm-up, cosine to a tenth, clip 1."""
    return TrainConfig(
        lr=lr,
        betas=(0.9, 0.95),
        weight_decay=0.1,
        warmup_fraction=0.02,
        final_lr_fraction=0.1,
        epochs=epochs,
        bf16=bf16,
        accumulate=accumulate,
    )


def tiny() -> ElementaryRecipe:
    """For tests: a step in some ten milliseconds on one core."""
    return ElementaryRecipe(
        model=ElementaryConfig(dim=32, heads=2, ffn=64, bin_layers=1, window_layers=1),
        loader=RegionLoaderConfig(
            lengths=(128, 256, 512),
            batch_tokens=2048,
            valid_length=512,
            valid_tokens=16_384,
            sequence_alone=0.1,
        ),
        train=replace(_train(3e-3, 4, bf16=False), weight_decay=0.01),
    )


def xs() -> ElementaryRecipe:
    """Size XS (d = 128): learns from a megabase or a few on CPU cores."""
    return ElementaryRecipe(
        model=ElementaryConfig(dim=128, heads=4, ffn=512, bin_layers=3, window_layers=2),
        loader=RegionLoaderConfig(
            lengths=(1024, 2048, 4096),
            batch_tokens=8192,
            valid_length=1024,
            valid_tokens=65_536,
            sequence_alone=0.1,
        ),
        train=_train(1e-3, 4, bf16=False),
    )


def small() -> ElementaryRecipe:
    """Size XS with windows of up to 16 kb, for some megabases of several samples.

    Batches are small, because what such data lack is steps.
    """
    recipe = xs()
    loader = replace(recipe.loader, lengths=(1024, 2048, 4096, 8192, 16_384), batch_tokens=16_384)
    return replace(recipe, loader=loader, train=_train(1e-3, 8, bf16=False))


def base() -> ElementaryRecipe:
    """Size S (d = 384): a gigabase in minutes of one GPU."""
    return ElementaryRecipe(
        model=ElementaryConfig(dim=384, heads=6, ffn=1536, bin_layers=4, window_layers=3),
        loader=RegionLoaderConfig(sequence_alone=0.05),
        train=_train(6e-4, 1),
    )


def large() -> ElementaryRecipe:
    """Size L (d = 1,280): one pass over tens of gigabases on several GPUs."""
    return ElementaryRecipe(
        model=ElementaryConfig(dim=1280, heads=20, ffn=5120, bin_layers=11, window_layers=9),
        loader=RegionLoaderConfig(sequence_alone=0.05),
        train=_train(3.3e-4, 1),
    )


def paper() -> ElementaryRecipe:
    """The released sizes (d = 2,048, 32 heads, 20 + 20 layers), one pass, 15 % hidden, ATAC compulsory.

    Layers are pre-norm: twenty post-norm layers need a warm-up that is not published; `model.norm_first=false` is
    the released form. Optimiser, batch and length of training are not published.
    """
    return ElementaryRecipe(
        model=ElementaryConfig(dim=2048, heads=32, ffn=8192, bin_layers=20, window_layers=20),
        loader=RegionLoaderConfig(
            lengths=(128, 1024, 2048, 4096, 8192, 16_384), anchor="atac", hiding=HidingConfig()
        ),
        train=_train(2e-4, 1),
    )


ELEMENTARY_RECIPES: dict[str, Callable[[], ElementaryRecipe]] = {
    "tiny": tiny,
    "xs": xs,
    "small": small,
    "base": base,
    "large": large,
    "paper": paper,
}


def elementary_recipe(name: str) -> ElementaryRecipe:
    """The recipe of that name.

    Raises:
        InputError: If there is none; the near ones are named.
    """
    if name not in ELEMENTARY_RECIPES:
        near = difflib.get_close_matches(name, ELEMENTARY_RECIPES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ELEMENTARY_RECIPES)}"
        raise InputError(f"recipe {name!r} is unknown; {hint}")
    return ELEMENTARY_RECIPES[name]()
