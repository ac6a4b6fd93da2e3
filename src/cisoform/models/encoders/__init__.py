"""Sequence encoders: one file each, all with the interface of `SequenceEncoder`."""

from __future__ import annotations

from cisoform.models.encoders.base import Hidden, SequenceEncoder
from cisoform.models.encoders.conv import ConvConfig, ConvEncoder
from cisoform.models.encoders.tiny import TinyConfig, TinyEncoder

EncoderConfig = TinyConfig | ConvConfig

__all__ = ["ConvConfig", "EncoderConfig", "Hidden", "SequenceEncoder", "TinyConfig", "build_encoder"]


def build_encoder(config: EncoderConfig) -> TinyEncoder | ConvEncoder:
    """The encoder that a config describes."""
    match config:
        case TinyConfig():
            return TinyEncoder(config)
        case ConvConfig():
            return ConvEncoder(config)
