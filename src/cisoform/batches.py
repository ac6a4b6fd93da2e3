"""The tensors that data hand to models: frozen, with masks (True = real)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Sequences of one modality as rows of token ids.

    `channels` holds what the annotation knows of each token (RNA: the region code of `tokens.rna`), or None.
    `fold` says which part of a cross-fitted encoder has not seen the row while it was fitted; None = none of them
    has (all rows but those of training). Ids under `mask == False` are padding and must not change any result.
    `signal` holds the levels of the model's tracks along the tokens (`tokens.peaks`), 0 where not measured; None = no
    row shows a track. `state` names what each row shows, for an encoder that looks up what it has computed before;
    ids and mask then say nothing.
    """

    ids: Int[Tensor, "rows tokens"]
    mask: Bool[Tensor, "rows tokens"]
    channels: Int[Tensor, "rows tokens"] | None = None
    fold: Int[Tensor, " rows"] | None = None
    signal: Integer[Tensor, "rows tracks tokens"] | None = None
    state: Int[Tensor, " rows"] | None = None

    def to(self, device: torch.device) -> Tokens:
        """The same tokens on another device."""
        moved = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        return Tokens(**moved)

    def take(self, rows: slice | Int[Tensor, " taken"], width: int | None = None) -> Tokens:
        """Some rows, cut to their first `width` tokens."""
        channels = None if self.channels is None else self.channels[rows, :width]
        fold = None if self.fold is None else self.fold[rows]
        signal = None if self.signal is None else self.signal[rows, :, :width]
        state = None if self.state is None else self.state[rows]
        return Tokens(self.ids[rows, :width], self.mask[rows, :width], channels, fold, signal, state)


@dataclass(frozen=True)
class Modality:
    """One modality of a batch: distinct sequences once, and which of them each sample uses.

    Transcripts that share a TSS share a row of DNA; isoforms that share a protein share a row of protein.
    `row[i]` is sample i's row in `tokens`; it is meaningless where `present[i]` is False.
    """

    tokens: Tokens
    row: Int[Tensor, " batch"]
    present: Bool[Tensor, " batch"]

    def to(self, device: torch.device) -> Modality:
        """The same modality on another device."""
        return Modality(
            self.tokens.to(device),
            self.row.to(device, non_blocking=True),
            self.present.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Views:
    """What each label column reads of the DNA: view 0 is the sequence alone, the others add one sample's tracks.

    `row[i, v]` is the row of transcript i in the DNA's tokens in view v, meaningless where it has no DNA;
    `of_column[t]` is the view of label column t.
    """

    row: Int[Tensor, "batch views"]
    of_column: tuple[int, ...]

    def to(self, device: torch.device) -> Views:
        """The same views on another device."""
        return Views(self.row.to(device, non_blocking=True), self.of_column)


@dataclass(frozen=True)
class IsoformBatch:
    """A batch of transcripts. A modality is None when no sample of the batch has it.

    `targets` are standardised log1p expression, NaN where a label is missing; `weights` multiply each label's
    loss (None = 1). `index` is the position of each sample in its data set, for writing predictions back.
    `views` is None where every column reads the same DNA; else `dna.row` is that of view 0.
    """

    dna: Modality | None
    rna: Modality | None
    protein: Modality | None
    index: Int[Tensor, " batch"]
    targets: Float[Tensor, "batch tissues"] | None = None
    weights: Float[Tensor, "batch tissues"] | None = None
    views: Views | None = None

    def __len__(self) -> int:
        return int(self.index.shape[0])

    def to(self, device: torch.device) -> IsoformBatch:
        """The same batch on another device."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = None if value is None else value.to(device)
        return IsoformBatch(**values)


@dataclass(frozen=True)
class StartBatch:
    """DNA round one start of each of some genes, and how the gene's starts there are used.

    `ids` reach further than `usage` at both ends, by what a score depends on. `usage` is linear expression that
    starts at each place; `allowed` is False where a start of the transcript cannot lie (from its CDS on).
    """

    ids: Int[Tensor, "genes bases"]
    usage: Float[Tensor, "genes outputs places"]
    allowed: Bool[Tensor, "genes places"]

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    def to(self, device: torch.device) -> StartBatch:
        """The same batch on another device."""
        return StartBatch(
            self.ids.to(device, non_blocking=True),
            self.usage.to(device, non_blocking=True),
            self.allowed.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class GeneBatch:
    """Genes in cells (or groups of cells): the state of every peak round each, as a row of a table of features.

    Slots are the peaks of a gene in genomic order, then padding up to the longest gene of the batch; genes of
    like numbers of peaks come together, so there is little of it.

    Attributes:
        state: Id of what each peak shows (`data.genes.GenesDataset`), int32; 0 at padding.
        mask: True at real peaks.
        distance: Signed distance of the peak's centre to the TSS in bp, on the gene's strand (negative =
            upstream); 0 at padding.
        rank: Released position ids: 0 at the peak nearest the TSS and at padding, odd upstream, even downstream.
        tss_peak: Slot of the peak nearest the TSS.
        gene: Row of the gene in its data set; likewise `group`, of the cell or pool of cells.
        group: See `gene`.
        targets: Expression on the data set's scale, or None.
    """

    state: Int[Tensor, "batch peaks"]
    mask: Bool[Tensor, "batch peaks"]
    distance: Float[Tensor, "batch peaks"]
    rank: Int[Tensor, "batch peaks"]
    tss_peak: Int[Tensor, " batch"]
    gene: Int[Tensor, " batch"]
    group: Int[Tensor, " batch"]
    targets: Float[Tensor, " batch"] | None = None

    def __len__(self) -> int:
        return int(self.state.shape[0])

    def to(self, device: torch.device) -> GeneBatch:
        """The same batch on another device."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = None if value is None else value.to(device, non_blocking=True)
        return GeneBatch(**values)


@dataclass(frozen=True)
class Places:
    """Places of a (rows, places) grid and the class that belongs there: `index` is row * places + place."""

    index: Int[Tensor, " places"]
    target: Int[Tensor, " places"]

    def to(self, device: torch.device) -> Places:
        """The same places on another device."""
        return Places(self.index.to(device, non_blocking=True), self.target.to(device, non_blocking=True))


@dataclass(frozen=True)
class RegionBatch:
    """Windows of DNA and tracks with parts hidden, and what was hidden.

    Attributes:
        dna: 6-mer ids as shown; hidden ones are the mask token.
        tracks: Level ids as shown, for tracks that at least one row shows; 0 where a track is not shown.
        hidden_dna: Tokens whose first base is hidden, and their 6-mers.
        hidden_tracks: Wholly hidden tokens of shown tracks, and their levels.
        preserved: Bins of tracks kept from the input, and the levels of their means.
        region: Row of each window's region in its data set.
        start: First base of each window within its region.
    """

    dna: Integer[Tensor, "rows tokens"]
    tracks: Mapping[str, Integer[Tensor, "rows tokens"]]
    hidden_dna: Places
    hidden_tracks: Mapping[str, Places]
    preserved: Mapping[str, Places]
    region: Int[Tensor, " rows"]
    start: Int[Tensor, " rows"]

    def __len__(self) -> int:
        return int(self.dna.shape[0])

    def to(self, device: torch.device) -> RegionBatch:
        """The same batch on another device."""
        return RegionBatch(
            self.dna.to(device, non_blocking=True),
            {name: ids.to(device, non_blocking=True) for name, ids in self.tracks.items()},
            self.hidden_dna.to(device),
            {name: places.to(device) for name, places in self.hidden_tracks.items()},
            {name: places.to(device) for name, places in self.preserved.items()},
            self.region.to(device, non_blocking=True),
            self.start.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class MaskedTokensBatch:
    """Rows of token ids with some replaced, and what was there: what masked modelling learns from.

    Attributes:
        ids: As shown.
        mask: True at real tokens.
        hidden: Places to predict, and the ids that belong there.
        source: Which sequence of its pool each row is.
    """

    ids: Integer[Tensor, "rows tokens"]
    mask: Bool[Tensor, "rows tokens"]
    hidden: Places
    source: Int[Tensor, " rows"]

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    def to(self, device: torch.device) -> MaskedTokensBatch:
        """The same batch on another device."""
        return MaskedTokensBatch(
            self.ids.to(device, non_blocking=True),
            self.mask.to(device, non_blocking=True),
            self.hidden.to(device),
            self.source.to(device, non_blocking=True),
        )
