"""What encoders with published weights share: how much of them learns, and looking up what a frozen one would compute.

How much learns is `learn`: nothing ("frozen"), all ("full"), low-rank corrections of chosen projections ("lora",
`nn.lora`), or the last layers ("last"). A frozen encoder may be given what it makes of the sequences that will be shown
(`use_table`): it then looks up those it finds there and encodes the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden
from cisoform.nn.lora import adapt_linears, lora_layers

Learn = Literal["auto", "frozen", "full", "lora", "last"]
_KEY_BYTES = 16


@dataclass(frozen=True, kw_only=True)
class PretrainedConfig:
    """What every kind shares; a kind adds `network`, the sizes and form of its network, with a width `dim`.

    Attributes:
        weights: What it starts from, when a model is built: a folder of the public files or of `weights convert`, or
            hf://owner/name. A saved model holds all weights and names none. None = from nothing.
        learn: See the module. "auto": frozen if there are weights, else full.
        lora_rank: Rank of the corrections.
        lora_alpha: They are scaled by alpha / rank.
        lora_targets: Projections of every layer that are corrected.
        last_layers: How many layers learn with "last"; the final LayerNorm learns with them.
        cache_precision: How what a frozen one makes of sequences is kept.
    """

    kind: str
    network: Any
    weights: str | None = None
    learn: Learn = "auto"
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] = ("query", "value")
    last_layers: int = 2
    cache_precision: Literal["fp32", "fp16", "bf16"] = "fp32"

    TARGETS: ClassVar[Mapping[str, str]] = {}
    """Name of each projection that can be corrected -> pattern of its layers' names in the network."""

    def __post_init__(self) -> None:
        unknown = set(self.lora_targets) - {*self.TARGETS}
        if unknown or not self.lora_targets:
            raise ValueError(f"lora_targets={list(self.lora_targets)}: choose from {', '.join(self.TARGETS)}")
        if not self.lora_alpha > 0:
            raise ValueError(f"lora_alpha={self.lora_alpha} must be above 0")
        if self.lora_rank < 1:
            raise ValueError(f"lora_rank={self.lora_rank} is below 1")
        # The sizes of a checkpoint are known only when it is read.
        if self.weights is None and self.learn == "last" and not 1 <= self.last_layers <= self.n_layers:
            raise ValueError(f"last_layers={self.last_layers}: the network has {self.n_layers} layers")

    @property
    def n_layers(self) -> int:
        """Layers of which the last may learn alone."""
        return int(self.network.layers)

    @property
    def dim(self) -> int:
        """Width of the encoder."""
        return int(self.network.dim)

    @property
    def mode(self) -> Literal["frozen", "full", "lora", "last"]:
        """`learn`, with "auto" settled."""
        if self.learn == "auto":
            return "full" if self.weights is None else "frozen"
        return self.learn

    def check_window(self, window: int) -> None:
        """Refuse, with a ValueError, a window of DNA that the network cannot read; any will do here."""

    def fitted(self, network: Any) -> PretrainedConfig:
        """The config of an encoder that has taken over the weights of such a network.

        Raises:
            ValueError: If what is asked for does not go with it.
        """
        return replace(self, network=network, weights=None, learn=self.mode)


@dataclass(frozen=True)
class SequenceTable:
    """What a frozen encoder makes of some sequences, in chunks of positions.

    `values` are the chunks of one sequence after the other, zeros behind the last position; `first` is the first chunk
    of each sequence, by `sequence_key`.
    """

    values: Float[Tensor, "chunks positions dim"]
    first: Mapping[bytes, int]


def sequence_key(ids: npt.NDArray[np.integer]) -> bytes:
    """What tells the token ids of one sequence (without padding) from those of any other."""
    return blake2b(ids.astype("<i2").tobytes(), digest_size=_KEY_BYTES).digest()


class PretrainedEncoder(nn.Module):
    """An encoder round a network; a kind says what `encode` is, and what else differs from the defaults below.

    Args:
        config: What learns.
        network: Its parameters are the pre-trained ones. Values must not depend on other rows of a batch.
    """

    def __init__(self, config: PretrainedConfig, network: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.network = network
        # Not part of the weights: what a frozen network makes of sequences.
        self.table: SequenceTable | None = None
        self._let_learn()

    def encode(self, tokens: Tokens) -> Hidden:
        """Run the network."""
        raise NotImplementedError

    def positions(self, n_tokens: int) -> int:
        """How many positions `encode` gives for so many tokens."""
        return n_tokens

    def last_parts(self, count: int) -> Sequence[nn.Module]:
        """The parts that learn with learn=last: so many last layers and what comes after them."""
        raise NotImplementedError

    def forward(self, tokens: Tokens) -> Hidden:
        """Vectors of the positions of each row, from the table if it has every row."""
        found = None if self.table is None else self._look_up(self.table, tokens)
        if found is not None:
            return found
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.mode != "frozen"):
            return self.encode(tokens)

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """A frozen network stays in evaluation mode."""
        super().train(mode)
        if self.config.mode == "frozen":
            self.network.eval()
        return self

    def load_pretrained(self, state: Mapping[str, Tensor]) -> None:
        """Take over the weights of a network of the same form; corrections are no part of them."""
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

    def _look_up(self, table: SequenceTable, tokens: Tokens) -> Hidden | None:
        """Rows from the table; None if it lacks one of them, or holds nothing at all."""
        if not len(table.values):
            return None
        ids, mask = tokens.ids.cpu().numpy(), tokens.mask.cpu().numpy()
        lengths = mask.sum(axis=1)
        counts = np.array([self.positions(n) if n else 0 for n in lengths.tolist()], dtype=np.int64)
        width, size = max(int(counts.max(initial=0)), 1), table.values.shape[1]
        chunk = np.zeros((len(ids), -(-width // size)), dtype=np.int64)
        for row in np.flatnonzero(counts).tolist():
            first = table.first.get(sequence_key(ids[row][mask[row]]))
            if first is None or not mask[row, : lengths[row]].all():
                return None
            used = -(-int(counts[row]) // size)
            chunk[row, :used] = first + np.arange(used)
        states = table.values[torch.from_numpy(chunk)].flatten(1, 2)[:, :width]
        real = torch.arange(width) < torch.from_numpy(counts)[:, None]
        weight = next(self.network.parameters())
        states = states.masked_fill(~real[..., None], 0.0)
        return Hidden(states.to(weight.device, weight.dtype, non_blocking=True), real.to(weight.device))

    def _let_learn(self) -> None:
        """Set which parameters learn, and put the corrections in."""
        config = self.config
        if config.mode == "full":
            return
        self.network.requires_grad_(False)
        if config.mode == "lora":
            patterns = [config.TARGETS[name] for name in config.lora_targets]
            adapt_linears(self.network, patterns, config.lora_rank, config.lora_alpha)
        elif config.mode == "last":
            for part in self.last_parts(config.last_layers):
                part.requires_grad_(True)
