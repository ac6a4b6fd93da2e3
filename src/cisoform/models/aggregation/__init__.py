"""Ways to fuse the hidden sequences of the modalities."""

from __future__ import annotations

from collections.abc import Mapping

from cisoform.models.aggregation.base import MODALITIES, Aggregator, SharedHidden, share
from cisoform.models.aggregation.concatenate import Concatenate, ConcatenateConfig
from cisoform.models.aggregation.cross_attention import CrossAttention, CrossAttentionConfig

AggregatorConfig = CrossAttentionConfig | ConcatenateConfig

__all__ = [
    "MODALITIES",
    "Aggregator",
    "AggregatorConfig",
    "ConcatenateConfig",
    "CrossAttentionConfig",
    "SharedHidden",
    "build_aggregator",
    "share",
]


def build_aggregator(config: AggregatorConfig, dims: Mapping[str, int]) -> CrossAttention | Concatenate:
    """The aggregator that a config describes; `dims` are the encoders' widths, in `MODALITIES` order."""
    match config:
        case CrossAttentionConfig():
            return CrossAttention(config, dims)
        case ConcatenateConfig():
            return Concatenate(dims)
