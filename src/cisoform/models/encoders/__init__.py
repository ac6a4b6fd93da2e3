"""Sequence encoders: one file (or folder) each, all with the interface of `SequenceEncoder`.

How to add a kind that is trained from nothing: see `base`. One that has published weights needs:

1. Config class: a frozen dataclass `NameConfig(PretrainedConfig)` with `kind: Literal["name"] = "name"`, a `network`
   (a dataclass of sizes and form with `dim` and `layers`) and `TARGETS`, the layers that LoRA may correct.
2. Encoder class: `NameEncoder(PretrainedEncoder)` with `encode(tokens) -> Hidden` and `last_parts(count)`; also
   `positions(n_tokens)` where a position is not a token. Frozen, full, LoRA and last-n then work.
3. Here: the config in the unions of the modalities that it serves, the encoder in `Encoder`, a case in `build_encoder`;
   in `tests/models/encoders/test_laws.py` a line.
4. Token kind: a line in `recipes.TOKENS_OF_KIND`, unless it reads bases or residues. What it reads beside them (new
   tokens) is `data.loader`. `--set model.rna.kind=name` brings the tokens with it.
5. Recipe check: `check_window(window)` in the config refuses windows of DNA that it cannot read; the recipe calls it.
6. Checkpoint: a reader in `weights/` that gives a `PretrainedWeights`, and its line in `weights.pretrained.READERS`.
   `model.rna.weights=FOLDER` then starts from it.
7. Cache: nothing to do. `features.sequences` keeps what a frozen one makes of a sequence under the hash of
   `network`'s weights and config, and of the token ids.
"""

from __future__ import annotations

from cisoform.models.encoders.base import Hidden, SequenceEncoder
from cisoform.models.encoders.borzoi import BorzoiConfig, BorzoiEncoder
from cisoform.models.encoders.conv import ConvConfig, ConvEncoder
from cisoform.models.encoders.elementary import ElementaryDnaConfig, ElementaryDnaEncoder
from cisoform.models.encoders.enformer import EnformerConfig, EnformerEncoder
from cisoform.models.encoders.landmark import (
    LandmarkDnaConfig,
    LandmarkDnaEncoder,
    LandmarkProteinConfig,
    LandmarkProteinEncoder,
    LandmarkRnaConfig,
    LandmarkRnaEncoder,
)
from cisoform.models.encoders.pretrained import PretrainedConfig, PretrainedEncoder
from cisoform.models.encoders.rotary import Esm2Config, NtV2Config, RotaryEncoder
from cisoform.models.encoders.tiny import TinyConfig, TinyEncoder

AnyConfig = TinyConfig | ConvConfig
"""Encoders that serve every modality."""
DnaConfig = AnyConfig | LandmarkDnaConfig | ElementaryDnaConfig | NtV2Config | EnformerConfig | BorzoiConfig
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
    | EnformerEncoder
    | BorzoiEncoder
)

__all__ = [
    "BorzoiConfig",
    "ConvConfig",
    "DnaConfig",
    "ElementaryDnaConfig",
    "ElementaryDnaEncoder",
    "EncoderConfig",
    "EnformerConfig",
    "Esm2Config",
    "Hidden",
    "LandmarkDnaConfig",
    "LandmarkProteinConfig",
    "LandmarkRnaConfig",
    "NtV2Config",
    "PretrainedConfig",
    "PretrainedEncoder",
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
        case EnformerConfig():
            return EnformerEncoder(config)
        case BorzoiConfig():
            return BorzoiEncoder(config)
