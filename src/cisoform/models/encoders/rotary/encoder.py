"""ESM-2 and Nucleotide Transformer v2 as encoders of an IsoFormer: from published weights or from nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from torch import nn

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.models.encoders.pretrained import PretrainedConfig, PretrainedEncoder
from cisoform.models.encoders.rotary.network import RotaryConfig, RotaryNetwork

ESM_TOKENS, ESM_MASK_TOKEN = 33, 32
NT_TOKENS, NT_MASK_TOKEN = 4_107, 2


def esm2_network(dim: int, layers: int, heads: int) -> RotaryConfig:
    """A network in the form of ESM-2."""
    return RotaryConfig(
        vocabulary=ESM_TOKENS,
        dim=dim,
        heads=heads,
        layers=layers,
        ffn=4 * dim,
        token_dropout=True,
        mask_token=ESM_MASK_TOKEN,
    )


def nt_v2_network(dim: int, layers: int, heads: int) -> RotaryConfig:
    """A network in the form of NT-v2, with the authors' LayerNorm eps (their Hugging Face copies state 1e-12)."""
    return RotaryConfig(
        vocabulary=NT_TOKENS,
        dim=dim,
        heads=heads,
        layers=layers,
        ffn=4 * dim,
        gated=True,
        ffn_bias=False,
        mask_token=NT_MASK_TOKEN,
    )


# Published sizes: width, layers, heads (config.json of facebook/esm2_* and InstaDeepAI/nucleotide-transformer-v2-*).
ESM2_SIZES = {"8M": (320, 6, 20), "35M": (480, 12, 20), "150M": (640, 30, 20), "650M": (1280, 33, 20)}
NT_V2_SIZES = {"50M": (512, 12, 16), "100M": (512, 22, 16), "250M": (768, 24, 16), "500M": (1024, 29, 16)}


@dataclass(frozen=True, kw_only=True)
class RotaryEncoderConfig(PretrainedConfig):
    """What both kinds share; `lora_targets` are query, key, value, dense (the output of attention), ffn_in, ffn_out.

    Attributes:
        size: A published size; sets `network`. None = `network` as it is.
        network: Sizes and form; those of the checkpoint where there is one.
    """

    size: str | None = None
    network: RotaryConfig

    SIZES: ClassVar[Mapping[str, tuple[int, int, int]]] = {}
    TARGETS: ClassVar[Mapping[str, str]] = {
        **{name: f"layers.*.attention.{name}" for name in ("query", "key", "value", "dense")},
        **{name: f"layers.*.{name}" for name in ("ffn_in", "ffn_out")},
    }

    def __post_init__(self) -> None:
        if self.size is not None:
            if self.size not in self.SIZES:
                raise ValueError(
                    f"size={self.size!r} is no published size; choose from {', '.join(self.SIZES)}"
                )
            object.__setattr__(self, "network", self.published(self.size))
        super().__post_init__()

    @classmethod
    def published(cls, size: str) -> RotaryConfig:
        """The network of a published size."""
        raise NotImplementedError

    def fitted(self, network: RotaryConfig) -> RotaryEncoderConfig:
        """As `PretrainedConfig.fitted`; a size that is asked for must be that of the network."""
        if self.size is not None and _sizes(self.network) != _sizes(network):
            raise ValueError(
                f"size={self.size}: the weights {self.weights} have width {network.dim} and {network.layers} layers; "
                "leave the size out"
            )
        return replace(self, size=None, network=network, weights=None, learn=self.mode)


def _sizes(network: RotaryConfig) -> tuple[int, ...]:
    return network.dim, network.layers, network.heads, network.ffn


@dataclass(frozen=True, kw_only=True)
class Esm2Config(RotaryEncoderConfig):
    """ESM-2 on proteins in its own tokens (`loader.protein_tokens=esm`). The default is small, to be trained."""

    kind: Literal["esm2"] = "esm2"
    network: RotaryConfig = field(default_factory=lambda: esm2_network(64, 2, 4))

    SIZES: ClassVar[Mapping[str, tuple[int, int, int]]] = ESM2_SIZES

    @classmethod
    def published(cls, size: str) -> RotaryConfig:
        """The network of a published size."""
        return esm2_network(*ESM2_SIZES[size])


@dataclass(frozen=True, kw_only=True)
class NtV2Config(RotaryEncoderConfig):
    """NT-v2 on DNA or RNA as 6-mers (`loader.rna_tokens=kmers`). The default is small, to be trained."""

    kind: Literal["nt_v2"] = "nt_v2"
    network: RotaryConfig = field(default_factory=lambda: nt_v2_network(64, 2, 4))

    SIZES: ClassVar[Mapping[str, tuple[int, int, int]]] = NT_V2_SIZES

    @classmethod
    def published(cls, size: str) -> RotaryConfig:
        """The network of a published size."""
        return nt_v2_network(*NT_V2_SIZES[size])


class RotaryEncoder(PretrainedEncoder):
    """ESM-2 or NT-v2; a position is a token, `<cls>` and `<eos>` included."""

    network: RotaryNetwork

    def __init__(self, config: Esm2Config | NtV2Config) -> None:
        super().__init__(config, RotaryNetwork(config.network))

    def encode(self, tokens: Tokens) -> Hidden:
        """Vectors of the tokens of each row."""
        return Hidden(self.network(tokens.ids, tokens.mask), tokens.mask)

    def last_parts(self, count: int) -> Sequence[nn.Module]:
        """The last layers and the LayerNorm after them."""
        return *self.network.layers[len(self.network.layers) - count :], self.network.norm
