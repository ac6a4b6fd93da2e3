"""Ways to fuse the hidden sequences of the modalities."""

from __future__ import annotations

from collections.abc import Mapping

from cisoform.models.aggregation.base import MODALITIES, Aggregator, SharedHidden, share
from cisoform.models.aggregation.c_abstractor import CAbstractor, CAbstractorConfig
from cisoform.models.aggregation.concatenate import Concatenate, ConcatenateConfig
from cisoform.models.aggregation.cross_attention import CrossAttention, CrossAttentionConfig
from cisoform.models.aggregation.linear import Linear, LinearConfig
from cisoform.models.aggregation.perceiver_resampler import PerceiverResampler, PerceiverResamplerConfig

AggregatorConfig = (
    CrossAttentionConfig | ConcatenateConfig | LinearConfig | PerceiverResamplerConfig | CAbstractorConfig
)
AnyAggregator = CrossAttention | Concatenate | Linear | PerceiverResampler | CAbstractor

__all__ = [
    "MODALITIES",
    "Aggregator",
    "AggregatorConfig",
    "CAbstractorConfig",
    "ConcatenateConfig",
    "CrossAttentionConfig",
    "LinearConfig",
    "PerceiverResamplerConfig",
    "SharedHidden",
    "build_aggregator",
    "share",
]


def build_aggregator(config: AggregatorConfig, dims: Mapping[str, int]) -> AnyAggregator:
    """The aggregator that a config describes; `dims` are the encoders' widths, in `MODALITIES` order."""
    match config:
        case CrossAttentionConfig():
            return CrossAttention(config, dims)
        case ConcatenateConfig():
            return Concatenate(dims)
        case LinearConfig():
            return Linear(config, dims)
        case PerceiverResamplerConfig():
            return PerceiverResampler(config, dims)
        case CAbstractorConfig():
            return CAbstractor(config, dims)
