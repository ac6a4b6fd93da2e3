"""Recipes of the regulatory system: the released architecture and the ladder of sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cisoform import recipes
from cisoform.configs import config_from_json, config_to_json
from cisoform.errors import InputError
from cisoform.models.creformer import CREformer, CREformerConfig
from cisoform.recipes_regulation import (
    REGULATORY_RECIPES,
    RegulatoryRecipe,
    creformer_config,
    creformer_paper,
    regulatory_recipe,
)
from tests.ladder import LADDER, published_form


def count(config: CREformerConfig) -> int:
    """Parameters of a model that takes no memory."""
    with torch.device("meta"):
        return sum(value.numel() for value in CREformer(config).parameters())


def test_the_released_architecture_has_the_published_sizes() -> None:
    config = recipes.creformer_paper()
    sizes = config.elementary
    assert (sizes.dim, sizes.heads, sizes.ffn, sizes.norm_first) == (2048, 32, 8192, False)
    assert (sizes.bin_layers, sizes.window_layers, config.layers) == (20, 20, 20)
    assert (config.positions, config.head, config.mask_padding, config.max_peaks) == (
        "rank",
        "flat",
        False,
        150,
    )
    assert sizes.tracks == ("atac",) and config == creformer_paper() == creformer_config("paper")
    # "3 B": 3.046 B by the reference's rounded terms; the exact sum with one table of a track is 3.0452 B.
    assert count(config) == pytest.approx(3.046e9, rel=5e-4)


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.name)
def test_a_rung_of_the_ladder_has_its_published_parameters(rung) -> None:
    assert float(f"{count(published_form(rung.recipe)):.4g}") == pytest.approx(
        rung.parameters, abs=rung.rounding
    )


@pytest.mark.parametrize("name", REGULATORY_RECIPES)
def test_a_recipe_survives_json(name: str) -> None:
    recipe = regulatory_recipe(name)
    assert config_from_json(RegulatoryRecipe, config_to_json(recipe)) == recipe


def test_widths_of_both_stages_are_those_of_the_first() -> None:
    for name in ("tiny", "xs", "base", "medium", "large"):
        config = creformer_config(name)
        assert config == replace(regulatory_recipe(name).model, elementary=config.elementary)
    with pytest.raises(InputError, match="recipe 'larg' is unknown; did you mean 'large'"):
        creformer_config("larg")
