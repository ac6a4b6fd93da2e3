"""The rotary pre-norm encoder that serves ESM-2 and Nucleotide Transformer v2."""

from cisoform.models.encoders.rotary.encoder import (
    ESM2_SIZES,
    NT_V2_SIZES,
    Esm2Config,
    NtV2Config,
    RotaryEncoder,
    RotaryEncoderConfig,
    esm2_network,
    nt_v2_network,
)
from cisoform.models.encoders.rotary.network import RotaryConfig, RotaryNetwork, n_parameters

__all__ = [
    "ESM2_SIZES",
    "NT_V2_SIZES",
    "Esm2Config",
    "NtV2Config",
    "RotaryConfig",
    "RotaryEncoder",
    "RotaryEncoderConfig",
    "RotaryNetwork",
    "esm2_network",
    "n_parameters",
    "nt_v2_network",
]
