"""Links of peaks and genes from the scores of peaks (`analysis.scores`): made comparable between genes and distances.

A score says how much a peak matters among the peaks of its gene; a link is compared with those of other genes as well.

    normalise   none; share: of the sum of |score| over the peaks of the gene; z: mean 0 and spread 1 within the gene
    adjust      none; log10: divided by log10(distance in bp), as CREaTor does with attention (Genome Biology 2023);
                powerlaw: times the contact that the distance leads one to expect, max(distance, 5 kb)^-0.87

Whatever the score, no peak beyond the window of the model gets one: its positives cannot be found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import polars as pl
from jaxtyping import Float, Int

Normalise = Literal["none", "share", "z"]
Adjust = Literal["none", "log10", "powerlaw"]
NORMALISE: tuple[Normalise, ...] = get_args(Normalise)
ADJUST: tuple[Adjust, ...] = get_args(Adjust)
CONTACT_EXPONENT = 0.87
CONTACT_FLOOR_BP = 5_000
"""Those of the reference figures on the public tables (the exponent of the ABC score's own code is 1.024)."""
_LEAST_BP = 10
"""Distances below count as this, so that their logarithm is at least 1 (our choice)."""


def contact(
    distance: Int[np.ndarray, "*pairs"],
    exponent: float = CONTACT_EXPONENT,
    floor: int = CONTACT_FLOOR_BP,
) -> Float[np.ndarray, "*pairs"]:
    """Contact that a distance in bp leads one to expect: a power law, flat below the floor."""
    return np.asarray(np.maximum(distance, floor).astype(np.float64) ** -exponent)


def link_scores(
    table: pl.DataFrame, variants: Sequence[str], normalise: Normalise, adjust: Adjust
) -> pl.DataFrame:
    """The table with a column link_VARIANT for every score_VARIANT.

    Args:
        table: Columns gene, label, distance_bp (signed) and score_VARIANT; a row per peak of a gene under a label.
        variants: Which scores.
        normalise: See the module; a gene whose scores are all equal gets 0 by `share` of nothing and by `z`.
        adjust: See the module. It follows the normalisation, and keeps the sign of a score.

    Raises:
        ValueError: If a distance is missing and an adjustment needs it.
    """
    distance = pl.col("distance_bp").abs()
    factor = {
        "none": pl.lit(1.0),
        "log10": 1 / distance.clip(_LEAST_BP).log10(),
        "powerlaw": distance.clip(CONTACT_FLOOR_BP) ** -CONTACT_EXPONENT,
    }[adjust]
    if adjust != "none" and not table["distance_bp"].is_finite().fill_null(False).all():
        raise ValueError(f"adjust {adjust!r} needs the distance of every peak")
    return table.with_columns(
        (_normalised(pl.col(f"score_{name}"), normalise) * factor).alias(f"link_{name}") for name in variants
    )


def _normalised(score: pl.Expr, normalise: Normalise) -> pl.Expr:
    if normalise == "none":
        return score
    centre = score.mean() if normalise == "z" else pl.lit(0.0)
    scale = score.std(ddof=0) if normalise == "z" else score.abs().sum()
    scaled = pl.when(scale > 1e-12).then((score - centre) / scale).otherwise(0.0)
    return scaled.over("gene", "label")
