"""The published ladder of sizes (CREformer reference, section 4) and its models."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cisoform.models.creformer import CREformerConfig
from cisoform.recipes_regulation import creformer_config

SEVEN = tuple(f"track{number}" for number in range(7))


@dataclass(frozen=True)
class Rung:
    """A row of the table: parameters of both stages with 7 tables of tracks, FLOPs, and half a last digit."""

    name: str
    recipe: str
    parameters: float
    rounding: float
    train_flops_per_bp: float
    forward_per_peak: float


LADDER = (
    Rung("XS", "small", 2.8e6, 0.05e6, 4.2e6, 1.4e9),
    Rung("S", "base", 23.4e6, 0.05e6, 4.6e7, 15.5e9),
    Rung("M", "medium", 107e6, 0.5e6, 2.2e8, 76e9),
    Rung("L", "large", 624e6, 0.5e6, 1.3e9, 0.46e12),
    Rung("XL", "paper", 3.046e9, 0.0005e9, 6.2e9, 2.12e12),
)


def published_form(recipe: str) -> CREformerConfig:
    """The recipe's sizes in the released form: seven tracks, rank positions, flat head."""
    config = creformer_config(recipe)
    elementary = replace(config.elementary, tracks=SEVEN, norm_first=False)
    return replace(config, elementary=elementary, positions="rank", head="flat", mask_padding=False)
