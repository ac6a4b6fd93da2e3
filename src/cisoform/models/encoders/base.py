"""What a sequence encoder is, and how to add one.

An encoder turns `Tokens` (ids, mask, annotation channels) into `Hidden` (vectors, mask). How to add one:

1. Make `models/encoders/NAME.py` with a frozen dataclass `NameConfig` whose first field is
   `kind: Literal["name"] = "name"`, and a module with attribute `dim` and `forward(tokens) -> Hidden`:

       class NameEncoder(nn.Module):
           def __init__(self, config: NameConfig) -> None:
               super().__init__()
               self.dim = config.dim
               self.embedding = TokenEmbedding(config.ids, config.channels, config.dim)

           def forward(self, tokens: Tokens) -> Hidden:
               return Hidden(self.embedding(tokens), tokens.mask)

2. Add the config to the unions and a case to `build_encoder` in `models/encoders/__init__.py`, and use it in a
   recipe; `--set model.rna.kind=name` then works by itself. One with published weights needs more: see there.
3. Keep three promises; `tests/models/encoders/test_laws.py` checks them for every encoder in its list.
   Ids and channels under `mask == False` change nothing. A row does not depend on the other rows (no batch
   statistics). A row with more padding on its right has the same real positions with the same values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from cisoform.batches import Tokens


@dataclass(frozen=True)
class Hidden:
    """Vectors of the positions of each row (tokens or bins of them); `mask` is True at real ones.

    `inputs` is what each of an encoder's summaries has read, for kernel regression on it; empty = it has none.
    """

    states: Float[Tensor, "rows positions dim"]
    mask: Bool[Tensor, "rows positions"]
    inputs: tuple[Float[Tensor, "rows _"], ...] = ()


@runtime_checkable
class SequenceEncoder(Protocol):
    """Any module that turns tokens of one modality into vectors of width `dim`."""

    dim: int

    def __call__(self, tokens: Tokens) -> Hidden:
        """Encode each row by itself."""
        ...


class TokenEmbedding(nn.Module):
    """Sum of the embeddings of id and annotation channel; ids and channels at padding are never looked up."""

    def __init__(self, ids: int, channels: int, dim: int) -> None:
        super().__init__()
        self.ids = nn.Embedding(ids, dim)
        self.channels = nn.Embedding(channels, dim) if channels else None

    def forward(self, tokens: Tokens) -> Float[Tensor, "rows tokens dim"]:
        """Look the tokens up (ids of any integer type). Values at padding are those of id 0 and mean nothing."""
        states: Tensor = self.ids(tokens.ids.masked_fill(~tokens.mask, 0).long())
        if self.channels is None:
            return states
        if tokens.channels is None:
            raise ValueError("this encoder reads annotation channels but the tokens carry none")
        channels: Tensor = self.channels(tokens.channels.masked_fill(~tokens.mask, 0).long())
        return states + channels
