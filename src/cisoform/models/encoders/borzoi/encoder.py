"""Borzoi as the encoder of an IsoFormer's DNA: from published weights or from nothing.

Which of Borzoi's layers IsoFormer reads is not published. Ours reads its last vectors, before the heads: 1,920 wide,
one for each 32 bp.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cisoform.models.encoders.borzoi.network import BorzoiNetwork, BorzoiNetworkConfig
from cisoform.models.encoders.trunk import TrunkEncoder, TrunkEncoderConfig


def small_borzoi() -> BorzoiNetworkConfig:
    """A small network in the form of Borzoi, to be trained from nothing on short windows; all bins are kept."""
    return BorzoiNetworkConfig(
        stem=32,
        tower=(40, 48, 56, 64, 80),
        dim=96,
        layers=2,
        heads=4,
        key_dim=16,
        value_dim=24,
        out_dim=96,
        bins=None,
        dropout=0.1,
        residual_dropout=0.1,
    )


@dataclass(frozen=True, kw_only=True)
class BorzoiConfig(TrunkEncoderConfig):
    """Borzoi on DNA as bases (`loader.dna_tokens=bases`). The default is small, to be trained."""

    kind: Literal["borzoi"] = "borzoi"
    network: BorzoiNetworkConfig = field(default_factory=small_borzoi)

    @classmethod
    def published(cls) -> BorzoiNetworkConfig:
        """The network of the paper: windows of 524,288 bp, 6,144 bins of 32 bp."""
        return BorzoiNetworkConfig()


class BorzoiEncoder(TrunkEncoder):
    """Borzoi; a position is a bin of 32 bases."""

    def __init__(self, config: BorzoiConfig) -> None:
        super().__init__(config, BorzoiNetwork(config.network, freeze_norms=config.frozen_norms))
