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
from cisoform.models.encoders.rotary import Esm2Config, NtV2Config, RotaryEncoder
from cisoform.models.encoders.tiny import TinyConfig, TinyEncoder

AnyConfig = TinyConfig | ConvConfig
"""Encoders that serve every modality."""
DnaConfig = AnyConfig | LandmarkDnaConfig | ElementaryDnaConfig | NtV2Config
RnaConfig = AnyConfig | LandmarkRnaConfig | NtV2Config
ProteinConfig = AnyConfig | LandmarkProteinConfig | Esm2Config
EncoderConfig = DnaConfig | RnaConfig | ProteinConfig
Encoder = (
    TinyEncoder
    | ConvEncoder
    | LandmarkDnaEncoder
    | LandmarkRnaEncoder
    | LandmarkProteinEncoder
    | ElementaryDnaEncoder
    | RotaryEncoder
)

__all__ = [
    "ConvConfig",
    "DnaConfig",
    "ElementaryDnaConfig",
    "ElementaryDnaEncoder",
    "EncoderConfig",
    "Esm2Config",
    "Hidden",
    "LandmarkDnaConfig",
    "LandmarkProteinConfig",
    "LandmarkRnaConfig",
    "NtV2Config",
    "ProteinConfig",
    "RnaConfig",
    "RotaryEncoder",
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
        case Esm2Config() | NtV2Config():
            return RotaryEncoder(config)
