"""Named presets of the regulatory system: functions that return configs.

`model.tracks` is set from the data set. Sizes are those of the scaling ladder (2.8 M to 3 B parameters of both
stages); rates follow lr = 6e-4 * sqrt(384 / dim), 2e-4 at the largest.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cisoform.data.gene_loader import GeneLoaderConfig
from cisoform.data.kmer_tracks import KmerStartConfig
from cisoform.data.region_loader import RegionLoaderConfig
from cisoform.errors import InputError
from cisoform.features.states import FeatureConfig
from cisoform.models.creformer.elementary import ElementaryConfig
from cisoform.models.creformer.regulatory import CREformerConfig
from cisoform.tokens.masking import HidingConfig
from cisoform.training.config import TrainConfig
from cisoform.training.elementary import ElementaryLossConfig
from cisoform.training.regulatory import RegulatoryLossConfig


@dataclass(frozen=True, kw_only=True)
class ElementaryRecipe:
    """All that defines how an Elementary is built and pre-trained; `model.tracks` is set from the data set.

    Attributes:
        model: Sizes.
        loader: Windows, tracks and what is hidden.
        train: Optimiser, schedule and length.
        loss: Parts of the loss.
        kmers: How the table of DNA embeddings starts.
    """

    model: ElementaryConfig
    loader: RegionLoaderConfig
    train: TrainConfig
    loss: ElementaryLossConfig = field(default_factory=ElementaryLossConfig)
    kmers: KmerStartConfig = field(default_factory=KmerStartConfig)


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
    """Width 128 with one layer in bins: learns from a megabase or a few in minutes of two CPU cores.

    What such data lack is steps, and what they teach lies at peaks: small batches of short windows round signal, on
    either strand, accessibility mostly shown and the other tracks preserved, as the second stage will ask.
    `docs/decisions/0008-pretraining-on-megabases.md` has the reasons. The last weights are kept: the bins learn to
    tell motifs apart long after the loss on unseen windows, mostly that of background, has stopped to fall.
    """
    return ElementaryRecipe(
        model=ElementaryConfig(dim=128, heads=4, ffn=512, bin_layers=1, window_layers=2),
        loader=RegionLoaderConfig(
            lengths=(1024,),
            batch_tokens=4096,
            anchor_alone=0.85,
            sequence_alone=0.05,
            at_signal=0.9,
            reverse=0.5,
            valid_length=1024,
            valid_tokens=65_536,
        ),
        train=replace(
            _train(3e-4, 1), epochs=None, max_steps=8_000, validate_every=8_000, checkpoint_every=1_000
        ),
        loss=ElementaryLossConfig(dna=0.02, tracks=0.2, ordinal=5.0),
    )


def small() -> ElementaryRecipe:
    """Size XS with windows of up to 16 kb, for some megabases of several samples.

    Batches are small, because what such data lack is steps.
    """
    return ElementaryRecipe(
        model=ElementaryConfig(dim=128, heads=4, ffn=512, bin_layers=3, window_layers=2),
        loader=RegionLoaderConfig(
            lengths=(1024, 2048, 4096, 8192, 16_384),
            batch_tokens=16_384,
            valid_length=1024,
            valid_tokens=65_536,
            sequence_alone=0.1,
            at_signal=0.5,
            reverse=0.5,
        ),
        train=_train(4e-4, 8),
        loss=ElementaryLossConfig(ordinal=1.0),
    )


def base() -> ElementaryRecipe:
    """Size S (d = 384): a gigabase in minutes of one GPU."""
    return ElementaryRecipe(
        model=ElementaryConfig(dim=384, heads=6, ffn=1536, bin_layers=4, window_layers=3),
        loader=RegionLoaderConfig(sequence_alone=0.05),
        train=_train(6e-4, 1),
    )


def medium() -> ElementaryRecipe:
    """Size M (d = 768): some gigabases on one GPU; the largest rung of the data axis worth publishing."""
    return ElementaryRecipe(
        model=ElementaryConfig(dim=768, heads=12, ffn=3072, bin_layers=5, window_layers=4),
        loader=RegionLoaderConfig(sequence_alone=0.05),
        train=_train(4.2e-4, 1),
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
        kmers=KmerStartConfig(bins=0),
    )


ELEMENTARY_RECIPES: dict[str, Callable[[], ElementaryRecipe]] = {
    "tiny": tiny,
    "xs": xs,
    "small": small,
    "base": base,
    "medium": medium,
    "large": large,
    "paper": paper,
}


def elementary_recipe(name: str) -> ElementaryRecipe:
    """The recipe of that name.

    Raises:
        InputError: If there is none; the near ones are named.
    """
    return _named(name, ELEMENTARY_RECIPES)()


@dataclass(frozen=True, kw_only=True)
class RegulatoryRecipe:
    """All that defines how the second stage is built and fitted; `model.elementary` is that of the first stage.

    Attributes:
        model: Layers, positions and head; width, heads and feed-forward are those of the Elementary.
        loader: Batches of genes in cells.
        train: Optimiser, schedule and length.
        loss: What is minimised, and what chooses the weights.
        features: What is kept of each state of a peak, and what learns beside the second stage.
    """

    model: CREformerConfig
    loader: GeneLoaderConfig
    train: TrainConfig
    loss: RegulatoryLossConfig = field(default_factory=RegulatoryLossConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)


def regulatory_tiny() -> RegulatoryRecipe:
    """For tests: a step in some ten milliseconds on one core."""
    return RegulatoryRecipe(
        model=CREformerConfig(layers=1),
        loader=GeneLoaderConfig(batch_size=64, valid_samples=20_000),
        train=replace(_train(3e-3, 4, bf16=False), weight_decay=0.01),
    )


def regulatory_xs() -> RegulatoryRecipe:
    """On an Elementary of d = 128: some thousand pairs of genes and groups on CPU cores.

    Genes are few, so dropout and decay are strong; differences between groups count three times the error of a gene.
    """
    return RegulatoryRecipe(
        model=CREformerConfig(layers=2, dropout=0.5),
        loader=GeneLoaderConfig(batch_size=64, sort_batches=32, drop_atac=0.05, valid_samples=50_000),
        train=replace(_train(5e-4, 24, bf16=False), weight_decay=0.3, warmup_fraction=0.05),
        loss=RegulatoryLossConfig(correlation=3.0),
        features=FeatureConfig(depths=(0.5, 2.0), bf16=True),
    )


def regulatory_small() -> RegulatoryRecipe:
    """Size XS with larger batches, for hundreds of thousands of pairs."""
    return RegulatoryRecipe(
        model=CREformerConfig(layers=3, dropout=0.1),
        loader=GeneLoaderConfig(batch_size=256, sort_batches=32, valid_samples=50_000, epoch_samples=500_000),
        train=replace(_train(1e-3, 8, bf16=False), warmup_fraction=0.05),
    )


def regulatory_base() -> RegulatoryRecipe:
    """Size S on an Elementary of d = 384, for millions of pairs on a GPU; features are kept in 16 bits."""
    return RegulatoryRecipe(
        model=CREformerConfig(layers=4, dropout=0.1),
        loader=GeneLoaderConfig(batch_size=1024, sort_batches=64, valid_samples=200_000),
        train=replace(_train(3e-4, 4), warmup_fraction=0.05),
        features=FeatureConfig(precision="fp16", bf16=True, batch_tokens=2**20, shard_entries=16_384),
    )


def regulatory_medium() -> RegulatoryRecipe:
    """Size M on an Elementary of d = 768, otherwise as base."""
    recipe = regulatory_base()
    return replace(recipe, model=replace(recipe.model, layers=5), train=replace(recipe.train, lr=2.1e-4))


def regulatory_large() -> RegulatoryRecipe:
    """Size L on an Elementary of d = 1,280, otherwise as base; one pass."""
    recipe = regulatory_base()
    train = replace(recipe.train, lr=1.6e-4, epochs=1)
    return replace(recipe, model=replace(recipe.model, layers=11), train=train)


def regulatory_paper() -> RegulatoryRecipe:
    """The released second stage on a frozen Elementary, squared error alone.

    Optimiser, batch and length of training are not published; 1e-4 and batches of 4,096 pairs are our choice.
    """
    recipe = regulatory_base()
    return replace(
        recipe,
        model=creformer_paper(),
        loader=replace(recipe.loader, batch_size=512),
        train=replace(recipe.train, lr=1e-4, epochs=1, accumulate=8),
        loss=RegulatoryLossConfig(correlation=0.0),
    )


REGULATORY_RECIPES: dict[str, Callable[[], RegulatoryRecipe]] = {
    "tiny": regulatory_tiny,
    "xs": regulatory_xs,
    "small": regulatory_small,
    "base": regulatory_base,
    "medium": regulatory_medium,
    "large": regulatory_large,
    "paper": regulatory_paper,
}


def creformer_paper() -> CREformerConfig:
    """The released architecture, 3.05 B parameters (reference: sections 1.1 to 1.4).

    Width 2,048, 32 heads, feed-forward 8,192, three post-norm stacks of 20 layers, DNA and accessibility alone,
    positions by rank, 150 slots whose padding takes part, and the flat head.
    """
    sizes = replace(paper().model, norm_first=False, tracks=("atac",))
    return CREformerConfig(elementary=sizes, layers=20, positions="rank", head="flat", mask_padding=False)


def creformer_config(name: str) -> CREformerConfig:
    """Both stages of the recipes of that name as one config; "paper" is the released architecture.

    Raises:
        InputError: If either stage has no such recipe; the near ones are named.
    """
    if name == "paper":
        return creformer_paper()
    return replace(regulatory_recipe(name).model, elementary=elementary_recipe(name).model)


def regulatory_recipe(name: str) -> RegulatoryRecipe:
    """The recipe of that name.

    Raises:
        InputError: If there is none; the near ones are named.
    """
    return _named(name, REGULATORY_RECIPES)()


Recipe = TypeVar("Recipe")


def _named(name: str, recipes: Mapping[str, Recipe]) -> Recipe:
    if name not in recipes:
        near = difflib.get_close_matches(name, recipes, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(recipes)}"
        raise InputError(f"recipe {name!r} is unknown; {hint}")
    return recipes[name]
