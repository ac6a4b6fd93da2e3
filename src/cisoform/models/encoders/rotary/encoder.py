"""ESM-2 and Nucleotide Transformer v2 as encoders of an IsoFormer: from published weights or from nothing.

How much of the network learns is `learn`: none of it ("frozen"), all ("full"), low-rank corrections of chosen
projections ("lora", `nn.lora`), or its last layers ("last"). A frozen one may be given what it makes of the sequences
that will be shown (`use_table`): it then looks up those it finds there and encodes the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.models.encoders.rotary.network import RotaryConfig, RotaryNetwork
from cisoform.nn.lora import adapt_linears, lora_layers

ESM_TOKENS, ESM_MASK_TOKEN = 33, 32
NT_TOKENS, NT_MASK_TOKEN = 4_107, 2
Learn = Literal["auto", "frozen", "full", "lora", "last"]


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
class PretrainedConfig:
    """What both kinds share.

    Attributes:
        size: A published size; sets `network`. None = `network` as it is.
        network: Sizes and form; those of the checkpoint where there is one.
        weights: What it starts from, when a model is built: a folder of the public files or of `weights convert`, or
            hf://owner/name. A saved model holds all weights and names none. None = from nothing.
        learn: See the module. "auto": frozen if there are weights, else full.
        lora_rank: Rank of the corrections.
        lora_alpha: They are scaled by alpha / rank.
        lora_targets: Projections of every layer that are corrected: query, key, value, dense (the output of
            attention), ffn_in, ffn_out.
        last_layers: How many layers learn with "last"; the final LayerNorm learns with them.
    """

    kind: str
    size: str | None = None
    network: RotaryConfig
    weights: str | None = None
    learn: Learn = "auto"
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] = ("query", "value")
    last_layers: int = 2

    SIZES: ClassVar[Mapping[str, tuple[int, int, int]]] = {}

    def __post_init__(self) -> None:
        if self.size is not None:
            if self.size not in self.SIZES:
                raise ValueError(
                    f"size={self.size!r} is no published size; choose from {', '.join(self.SIZES)}"
                )
            object.__setattr__(self, "network", self.published(self.size))
        unknown = set(self.lora_targets) - {*_TARGETS}
        if unknown or not self.lora_targets:
            raise ValueError(f"lora_targets={list(self.lora_targets)}: choose from {', '.join(_TARGETS)}")
        # The sizes of a checkpoint are known only when it is read.
        if self.weights is None and self.learn == "last" and not 1 <= self.last_layers <= self.network.layers:
            raise ValueError(f"last_layers={self.last_layers}: the network has {self.network.layers} layers")

    @classmethod
    def published(cls, size: str) -> RotaryConfig:
        """The network of a published size."""
        raise NotImplementedError

    @property
    def dim(self) -> int:
        """Width of the encoder."""
        return self.network.dim

    @property
    def mode(self) -> Literal["frozen", "full", "lora", "last"]:
        """`learn`, with "auto" settled."""
        if self.learn == "auto":
            return "full" if self.weights is None else "frozen"
        return self.learn


@dataclass(frozen=True, kw_only=True)
class Esm2Config(PretrainedConfig):
    """ESM-2 on proteins in its own tokens (`loader.protein_tokens=esm`). The default is small, to be trained."""

    kind: Literal["esm2"] = "esm2"
    network: RotaryConfig = field(default_factory=lambda: esm2_network(64, 2, 4))

    SIZES: ClassVar[Mapping[str, tuple[int, int, int]]] = ESM2_SIZES

    @classmethod
    def published(cls, size: str) -> RotaryConfig:
        """The network of a published size."""
        return esm2_network(*ESM2_SIZES[size])


@dataclass(frozen=True, kw_only=True)
class NtV2Config(PretrainedConfig):
    """NT-v2 on DNA or RNA as 6-mers (`loader.rna_tokens=kmers`). The default is small, to be trained."""

    kind: Literal["nt_v2"] = "nt_v2"
    network: RotaryConfig = field(default_factory=lambda: nt_v2_network(64, 2, 4))

    SIZES: ClassVar[Mapping[str, tuple[int, int, int]]] = NT_V2_SIZES

    @classmethod
    def published(cls, size: str) -> RotaryConfig:
        """The network of a published size."""
        return nt_v2_network(*NT_V2_SIZES[size])


_TARGETS = {
    **{name: f"layers.*.attention.{name}" for name in ("query", "key", "value", "dense")},
    **{name: f"layers.*.{name}" for name in ("ffn_in", "ffn_out")},
}


@dataclass(frozen=True)
class SequenceTable:
    """What a frozen network makes of some sequences, in chunks of tokens.

    `values` are the chunks of one sequence after the other, zeros behind the last token; `first` is the first chunk of
    each sequence, by `sequence_key`.
    """

    values: Float[Tensor, "chunks tokens dim"]
    first: Mapping[bytes, int]


def sequence_key(ids: npt.NDArray[np.integer]) -> bytes:
    """What tells the token ids of one sequence (without padding) from those of any other."""
    return ids.astype("<i2").tobytes()


class RotaryEncoder(nn.Module):
    """ESM-2 or NT-v2; a position is a token, `<cls>` and `<eos>` included."""

    def __init__(self, config: Esm2Config | NtV2Config) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.network = RotaryNetwork(config.network)
        # Not part of the weights: what a frozen network makes of sequences.
        self.table: SequenceTable | None = None
        _let_learn(self.network, config)

    def forward(self, tokens: Tokens) -> Hidden:
        """Vectors of the tokens of each row."""
        found = None if self.table is None else self._look_up(self.table, tokens)
        if found is None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.mode != "frozen"):
                found = self.network(tokens.ids, tokens.mask)
        return Hidden(found, tokens.mask)

    def train(self, mode: bool = True) -> RotaryEncoder:
        """A frozen network stays in evaluation mode."""
        super().train(mode)
        if self.config.mode == "frozen":
            self.network.eval()
        return self

    def load_pretrained(self, state: Mapping[str, Tensor]) -> None:
        """Take over the weights of a network of the same form; corrections and head are no part of them."""
        adapted = {name for name, _ in lora_layers(self.network)}
        renamed = {}
        for name, value in state.items():
            layer, _, last = name.rpartition(".")
            renamed[f"{layer}.base.{last}" if layer in adapted else name] = value
        own = self.network.state_dict()
        corrections = {f"{name}.{part}": own[f"{name}.{part}"] for name in adapted for part in ("up", "down")}
        self.network.load_state_dict({**renamed, **corrections})

    def use_table(self, table: SequenceTable) -> None:
        """Look sequences up from now on."""
        if self.config.mode != "frozen":
            raise ValueError("a network that learns makes something else of a sequence after every step")
        self.table = table

    def _look_up(self, table: SequenceTable, tokens: Tokens) -> Float[Tensor, "rows tokens dim"] | None:
        """Rows from the table; None if it lacks one of them."""
        ids, mask = tokens.ids.cpu().numpy(), tokens.mask.cpu().numpy()
        size = table.values.shape[1]
        lengths = mask.sum(axis=1)
        n_chunks = -(-mask.shape[1] // size)
        chunk = np.zeros((len(ids), n_chunks), dtype=np.int64)
        for row, length in enumerate(lengths.tolist()):
            if not length:
                continue
            first = table.first.get(sequence_key(ids[row][mask[row]]))
            if first is None or not mask[row, :length].all():
                return None
            used = -(-length // size)
            chunk[row, :used] = first + np.arange(used)
        states = table.values[torch.from_numpy(chunk)].flatten(1, 2)[:, : mask.shape[1]]
        weight = self.network.norm.weight
        states = states.to(weight.device, weight.dtype, non_blocking=True)
        return states.masked_fill(~tokens.mask[..., None], 0.0)


def _let_learn(network: RotaryNetwork, config: PretrainedConfig) -> None:
    """Set which parameters learn, and put the corrections in."""
    if config.mode == "full":
        return
    network.requires_grad_(False)
    if config.mode == "lora":
        patterns = [_TARGETS[name] for name in config.lora_targets]
        adapt_linears(network, patterns, config.lora_rank, config.lora_alpha)
    elif config.mode == "last":
        network.layers[len(network.layers) - config.last_layers :].requires_grad_(True)
        network.norm.requires_grad_(True)
