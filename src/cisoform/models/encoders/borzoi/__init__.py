"""Borzoi."""

from cisoform.models.encoders.borzoi.encoder import BorzoiConfig, BorzoiEncoder
from cisoform.models.encoders.borzoi.network import BorzoiNetwork, BorzoiNetworkConfig, relative_basis

__all__ = ["BorzoiConfig", "BorzoiEncoder", "BorzoiNetwork", "BorzoiNetworkConfig", "relative_basis"]
