"""Enformer."""

from cisoform.models.encoders.enformer.basis import Gamma, relative_basis
from cisoform.models.encoders.enformer.encoder import EnformerConfig, EnformerEncoder
from cisoform.models.encoders.enformer.network import EnformerNetwork, EnformerNetworkConfig

__all__ = [
    "EnformerConfig",
    "EnformerEncoder",
    "EnformerNetwork",
    "EnformerNetworkConfig",
    "Gamma",
    "relative_basis",
]
