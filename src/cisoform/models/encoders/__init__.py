"""Sequence encoders: one file (or folder) each, all with the interface of `SequenceEncoder`."""

from __future__ import annotations

from cisoform.models.encoders.base import Hidden, SequenceEncoder
from cisoform.models.encoders.conv import ConvConfig, ConvEncoder
from cisoform.models.encoders.elementary import ElementaryDnaConfig, ElementaryDnaEncoder
from cisoform.models.encoders.landmark import (
    LandmarkDnaConfig,
    LandmarkDnaEncoder,
    LandmarkProteinConfig,
    LandmarkProteinEncoder,
    LandmarkRnaConfig,
    LandmarkRnaEncoder,
)
from cisoform.models.encoders.tiny import TinyConfig, TinyEncoder

AnyConfig = TinyConfig | ConvConfig
"""Encoders that serve every modality."""
DnaConfig = AnyConfig | LandmarkDnaConfig | ElementaryDnaConfig
RnaConfig = AnyConfig | LandmarkRnaConfig
ProteinConfig = AnyConfig | LandmarkProteinConfig
EncoderConfig = DnaConfig | RnaConfig | ProteinConfig
Encoder = (
    TinyEncoder
    | ConvEncoder
    | LandmarkDnaEncoder
    | LandmarkRnaEncoder
    | LandmarkProteinEncoder
    | ElementaryDnaEncoder
)

__all__ = [
    "ConvConfig",
    "DnaConfig",
    "ElementaryDnaConfig",
    "ElementaryDnaEncoder",
    "EncoderConfig",
    "Hidden",
    "LandmarkDnaConfig",
    "LandmarkProteinConfig",
    "LandmarkRnaConfig",
    "ProteinConfig",
    "RnaConfig",
    "SequenceEncoder",
    "TinyConfig",
    "build_encoder",
]


def build_encoder(config: EncoderConfig) -> Encoder:
    """The encoder that a config describes."""
    match config:
        case TinyConfig():
            return TinyEncoder(config)
        case ConvConfig():
            return ConvEncoder(config)
        case LandmarkDnaConfig():
            return LandmarkDnaEncoder(config)
        case ElementaryDnaConfig():
            return ElementaryDnaEncoder(config)
        case LandmarkRnaConfig():
            return LandmarkRnaEncoder(config)
        case LandmarkProteinConfig():
            return LandmarkProteinEncoder(config)
