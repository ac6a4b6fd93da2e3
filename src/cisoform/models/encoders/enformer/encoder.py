"""Enformer as the encoder of an IsoFormer's DNA: from published weights or from nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from cisoform.models.encoders.enformer.basis import Gamma
from cisoform.models.encoders.enformer.network import EnformerNetwork, EnformerNetworkConfig
from cisoform.models.encoders.trunk import TrunkEncoder, TrunkEncoderConfig


def small_enformer() -> EnformerNetworkConfig:
    """A small network in the form of Enformer, to be trained from nothing on short windows; all bins are kept."""
    return EnformerNetworkConfig(
        dim=96, layers=2, heads=4, key_dim=16, divisible_by=8, bins=None, dropout=0.1
    )


@dataclass(frozen=True, kw_only=True)
class EnformerConfig(TrunkEncoderConfig):
    """Enformer on DNA as bases (`loader.dna_tokens=bases`). The default is small, to be trained.

    Attributes:
        network: Sizes and form; those of the checkpoint where there is one.
        gamma: Version of the gamma densities; None = that of the network.
    """

    kind: Literal["enformer"] = "enformer"
    network: EnformerNetworkConfig = field(default_factory=small_enformer)
    gamma: Gamma | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma is not None:
            object.__setattr__(self, "network", replace(self.network, gamma=self.gamma))

    @classmethod
    def published(cls) -> EnformerNetworkConfig:
        """The network of the paper: windows of 196,608 bp, 896 bins of 128 bp."""
        return EnformerNetworkConfig()


class EnformerEncoder(TrunkEncoder):
    """Enformer; a position is a bin of 128 bases."""

    def __init__(self, config: EnformerConfig) -> None:
        super().__init__(config, EnformerNetwork(config.network, freeze_norms=config.frozen_norms))
