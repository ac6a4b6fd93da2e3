"""CREformer's Elementary as an encoder of DNA windows: 6-mers at every base, with or without epigenome tracks.

What joins the two systems (our design). A position is a bin of 128 bases. Elementary starts from a pre-trained run and
stays as it is ("frozen"), or is trained on ("full"), from a run or from nothing; behind it a small readout always
learns. A frozen one may be given what it makes of every state that will be shown (`use_table`): it then looks up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.batches import Tokens
from cisoform.models.creformer.elementary import Elementary, ElementaryConfig
from cisoform.models.encoders.base import Hidden


def _small() -> ElementaryConfig:
    return ElementaryConfig(dim=32, heads=2, ffn=64, bin_layers=1, window_layers=1, tracks=())


@dataclass(frozen=True, kw_only=True)
class ElementaryDnaConfig:
    """Elementary's sizes and how it is used.

    Attributes:
        elementary: Sizes; those of the run where there is one. `tracks` are those that are read, in their order in
            the tokens; they are set from the data.
        run: Folder of the run that it starts from, when a model is built; a saved model holds all weights and names
            none. None = from nothing.
        learn: "frozen", "full", or "auto": frozen if there is a run, else full.
    """

    kind: Literal["elementary"] = "elementary"
    elementary: ElementaryConfig = field(default_factory=_small)
    run: str | None = None
    learn: Literal["auto", "frozen", "full"] = "auto"

    @property
    def dim(self) -> int:
        """Width of the encoder."""
        return self.elementary.dim

    @property
    def frozen(self) -> bool:
        """Whether Elementary stays as it is."""
        return self.learn == "frozen" or (self.learn == "auto" and self.run is not None)

    def check_window(self, window: int) -> None:
        """Refuse a window that is not whole bins.

        Raises:
            ValueError: If it is not, or has too many of them.
        """
        size, most = self.elementary.bin_size, self.elementary.max_bins
        if window % size:
            raise ValueError(
                f"loader.dna_window={window} is not a multiple of the {size} bases of an Elementary's bin; "
                f"set loader.dna_window={-(-window // size) * size}"
            )
        if window > size * most:
            raise ValueError(
                f"loader.dna_window={window} has {window // size} bins of {size} bases, the Elementary reads at most "
                f"{most}; set loader.dna_window={size * most}"
            )


class ElementaryDnaEncoder(nn.Module):
    """Elementary and a readout of each of its bins; rows must be whole bins."""

    def __init__(self, config: ElementaryDnaConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.elementary = Elementary(config.elementary)
        self.readout = nn.Linear(config.dim, config.dim)
        if config.frozen:
            self.elementary.requires_grad_(False)
        # Not part of the weights: what a frozen Elementary makes of each state, and the row of each state in it.
        self.table: tuple[Tensor, Tensor] | None = None

    def forward(self, tokens: Tokens) -> Hidden:
        """Bins of each window.

        Raises:
            ValueError: If a row is not whole bins, or is named by its state and there is no table.
        """
        if tokens.state is not None:
            bins = self._look_up(tokens.state)
            mask = torch.ones(bins.shape[:2], dtype=torch.bool, device=bins.device)
        else:
            bins, mask = self._encode(tokens)
        return Hidden(bins + F.gelu(self.readout(bins)), mask)

    def train(self, mode: bool = True) -> ElementaryDnaEncoder:
        """A frozen Elementary stays in evaluation mode."""
        super().train(mode)
        if self.config.frozen:
            self.elementary.eval()
        return self

    def use_table(self, values: Float[Tensor, "rows bins dim"], row: Int[Tensor, " states"]) -> None:
        """Look states up from now on; `row` is -1 for a state that is not among the values."""
        if not self.config.frozen:
            raise ValueError("an Elementary that learns makes something else of a state after every step")
        self.table = (values, row)

    def _look_up(self, state: Int[Tensor, " rows"]) -> Float[Tensor, "rows bins dim"]:
        if self.table is None:
            raise ValueError("rows are named by their state, and the encoder has no table of states")
        values, row = self.table
        places = row[state.to(row.device)].long()
        if bool((places < 0).any()):
            raise KeyError("a state is not in the table of features")
        return values[places.to(values.device)].to(state.device, self.readout.weight.dtype)

    def _encode(self, tokens: Tokens) -> tuple[Float[Tensor, "rows bins dim"], Bool[Tensor, "rows bins"]]:
        size = self.config.elementary.bin_size
        n_tokens = tokens.mask.sum(dim=1)
        lengths = sorted(set(n_tokens.tolist()))
        if any(length % size for length in lengths):
            raise ValueError(f"windows of {lengths} 6-mers are not whole bins of {size}")
        if lengths == [tokens.ids.shape[1]]:
            return self._bins(tokens), tokens.mask[:, ::size]
        # Elementary knows no padding: rows of a length go together.
        out = self.readout.weight.new_zeros(len(tokens.ids), -(-tokens.ids.shape[1] // size), self.dim)
        for length in filter(None, lengths):
            rows = (n_tokens == length).nonzero()[:, 0]
            found = F.pad(self._bins(tokens.take(rows, length)), (0, 0, 0, out.shape[1] - length // size))
            out = out.index_copy(0, rows, found)
        count = torch.arange(out.shape[1], device=out.device) * size
        return out, count < n_tokens[:, None]

    def _bins(self, tokens: Tokens) -> Float[Tensor, "rows bins dim"]:
        tracks = {}
        if tokens.signal is not None:
            tracks = {name: tokens.signal[:, i] for i, name in enumerate(self.config.elementary.tracks)}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.frozen):
            found: Tensor = self.elementary(tokens.ids, tracks)
        return found
