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
    """

    ids: Int[Tensor, "rows tokens"]
    mask: Bool[Tensor, "rows tokens"]
    channels: Int[Tensor, "rows tokens"] | None = None
    fold: Int[Tensor, " rows"] | None = None

    def to(self, device: torch.device) -> Tokens:
        """The same tokens on another device."""
        channels = None if self.channels is None else self.channels.to(device, non_blocking=True)
        fold = None if self.fold is None else self.fold.to(device, non_blocking=True)
        return Tokens(
            self.ids.to(device, non_blocking=True), self.mask.to(device, non_blocking=True), channels, fold
        )

    def take(self, rows: slice | Int[Tensor, " taken"], width: int | None = None) -> Tokens:
        """Some rows, cut to their first `width` tokens."""
        channels = None if self.channels is None else self.channels[rows, :width]
        fold = None if self.fold is None else self.fold[rows]
        return Tokens(self.ids[rows, :width], self.mask[rows, :width], channels, fold)


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
class IsoformBatch:
    """A batch of transcripts. A modality is None when no sample of the batch has it.

    `targets` are standardised log1p expression, NaN where a label is missing; `weights` multiply each label's
    loss (None = 1). `index` is the position of each sample in its data set, for writing predictions back.
    """

    dna: Modality | None
    rna: Modality | None
    protein: Modality | None
    index: Int[Tensor, " batch"]
    targets: Float[Tensor, "batch tissues"] | None = None
    weights: Float[Tensor, "batch tissues"] | None = None

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
