"""Batches for pre-training Elementary: windows of regions, tracks shown or preserved, spans hidden.

Every batch is a function of (seed, epoch, batch number). Its window length is drawn from the list of lengths and
its number of windows follows, so that all batches have the same number of tokens. Each window shows some of its
tracks ("selected") and keeps the others ("preserved") as targets: the anchor track alone with p = 0.35, so that the
second stage's input is met often; else a random subset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from cisoform.batches import Places, RegionBatch
from cisoform.data.regions import BIN_SIZE, RegionDataset
from cisoform.errors import InputError
from cisoform.genome.sequence import reverse_complement
from cisoform.tokens.masking import (
    HidingConfig,
    enclosed,
    first_hidden,
    hide_dna,
    hide_signals,
    touched,
)
from cisoform.tokens.peaks import DNA_MASK, DNA_PAD, SIGNAL_ABSENT, SIGNAL_MASK, dna_tokens

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

AUTO = "auto"
ACCESSIBILITY = ("atac", "dnase", "accessibility")


@dataclass(frozen=True, kw_only=True)
class RegionLoaderConfig:
    """How regions are shown.

    Attributes:
        lengths: Window lengths in tokens; a batch has one of them. Those longer than a region are left out.
        batch_tokens: Tokens a batch.
        epoch_tokens: Tokens an epoch. None: as many as the training regions have.
        anchor: Track that is shown alone with probability `anchor_alone`; "auto": atac, dnase or accessibility,
            the first that the data have, else none; null: none.
        anchor_alone: See `anchor`.
        sequence_alone: Probability that a window shows no track at all.
        at_signal: Probability that a training window lies round a bin drawn by its share of the anchor's signal in
            the region; the other windows lie anywhere.
        reverse: Probability that a training window is reverse complemented, signals with it.
        hiding: Spans to hide.
        valid_length: Window length in validation (or the longest shorter one that fits).
        valid_tokens: Most tokens of a validation, taken evenly from its regions.
    """

    lengths: tuple[int, ...] = (1024, 2048, 4096, 8192, 16_384)
    batch_tokens: int = 131_072
    epoch_tokens: int | None = None
    anchor: str | None = AUTO
    anchor_alone: float = 0.35
    sequence_alone: float = 0.0
    at_signal: float = 0.0
    reverse: float = 0.0
    hiding: HidingConfig = field(default_factory=HidingConfig)
    valid_length: int = 2048
    valid_tokens: int = 2**21

    def __post_init__(self) -> None:
        if not self.lengths or any(n < BIN_SIZE or n % BIN_SIZE for n in (*self.lengths, self.valid_length)):
            raise ValueError(
                f"lengths={self.lengths}, valid_length={self.valid_length}: need multiples of {BIN_SIZE}"
            )
        if self.batch_tokens < max(self.lengths):
            raise ValueError(
                f"batch_tokens={self.batch_tokens} is less than the longest window, {max(self.lengths)}"
            )
        if self.epoch_tokens is not None and self.epoch_tokens < 1:
            raise ValueError(f"epoch_tokens={self.epoch_tokens} must be at least 1")
        if min(self.anchor_alone, self.sequence_alone) < 0 or self.anchor_alone + self.sequence_alone > 1:
            raise ValueError(
                f"anchor_alone={self.anchor_alone} and sequence_alone={self.sequence_alone} are no probabilities"
            )
        if not (0 <= self.at_signal <= 1 and 0 <= self.reverse <= 1):
            raise ValueError(f"at_signal={self.at_signal} and reverse={self.reverse} must be from 0 to 1")


def find_anchor(anchor: str | None, tracks: tuple[str, ...]) -> str | None:
    """The anchor track by the data's names.

    Raises:
        InputError: If the named one is not among the tracks.
    """
    if anchor == AUTO:
        return next((name for name in ACCESSIBILITY if name in tracks), None)
    if anchor is not None and anchor not in tracks:
        raise InputError(
            f"the anchor track {anchor!r} is not in the data ({', '.join(tracks)}); give --set loader.anchor=NAME, "
            "or null for data without accessibility"
        )
    return anchor


def assemble(
    dataset: RegionDataset,
    regions: Rows,
    starts: Rows,
    tokens: int,
    selected: Mask,
    rng: np.random.Generator,
    hiding: HidingConfig | None,
    reverse: Mask | None = None,
) -> RegionBatch:
    """A batch of given windows.

    Args:
        dataset: Where the regions are.
        regions: Region of each window.
        starts: First base of each window in its region, a multiple of the bin size.
        tokens: Length of every window.
        selected: (windows, tracks), True where a track is shown; one that was not measured never is.
        rng: Chooses what is hidden.
        hiding: Spans to hide; None = nothing.
        reverse: True where a window is read on the other strand; None = nowhere.
    """
    pairs = list(zip(regions.tolist(), starts.tolist(), strict=True))
    back = np.zeros(len(pairs), dtype=np.bool_) if reverse is None else reverse
    codes = np.stack([dataset.dna(region, start, tokens) for region, start in pairs])
    codes[back] = reverse_complement(codes[back])
    ids = dna_tokens(codes)
    levels = _turn(np.stack([dataset.levels(region, start, tokens) for region, start in pairs]), back)
    measured = dataset.measured[regions]
    selected = selected & measured
    rows, n_tracks = selected.shape
    shown_dna, dna_counts = ids, np.zeros(ids.shape, dtype=np.bool_)
    covered = track_counts = np.zeros(levels.shape, dtype=np.bool_)
    if hiding is not None:
        bases = hide_dna(rng, rows, tokens, hiding)
        shown_dna = np.where(touched(bases), np.uint16(DNA_MASK), ids)
        dna_counts = first_hidden(bases) & (ids != DNA_PAD)
        signal = hide_signals(rng, rows, n_tracks, tokens, hiding)
        covered, track_counts = touched(signal), enclosed(signal) & selected[:, :, None]
    shown = np.where(covered, np.uint8(SIGNAL_MASK), levels)
    shown[~selected] = SIGNAL_ABSENT
    preserved = measured & ~selected
    bins = None
    if preserved.any():
        bins = _turn(np.stack([dataset.bin_levels(region, start, tokens) for region, start in pairs]), back)
    return RegionBatch(
        dna=torch.from_numpy(shown_dna.astype(np.int16)),
        tracks={
            name: torch.from_numpy(np.ascontiguousarray(shown[:, i]))
            for i, name in enumerate(dataset.tracks)
            if selected[:, i].any()
        },
        hidden_dna=_places(dna_counts, ids),
        hidden_tracks={
            name: _places(track_counts[:, i], levels[:, i])
            for i, name in enumerate(dataset.tracks)
            if track_counts[:, i].any()
        },
        preserved={
            name: _places(np.repeat(preserved[:, i, None], bins.shape[2], axis=1), bins[:, i])
            for i, name in enumerate(dataset.tracks)
            if bins is not None and preserved[:, i].any()
        },
        region=torch.from_numpy(regions),
        start=torch.from_numpy(starts),
    )


def _turn(rows: npt.NDArray[np.uint8], back: Mask) -> npt.NDArray[np.uint8]:
    """(windows, tracks, positions) with the positions of some windows in reverse order.

    Token i of the other strand stands on the same six bases as token L - 1 - i of this one.
    """
    rows[back] = rows[back][..., ::-1]
    return rows


def _places(counts: Mask, classes: npt.NDArray[np.unsignedinteger]) -> Places:
    index = np.flatnonzero(counts)
    return Places(torch.from_numpy(index), torch.from_numpy(classes.reshape(-1)[index].astype(np.int64)))


class RegionSource:
    """Batches of the given regions; `Source` of the training loop.

    Args:
        dataset: Where they are.
        rows: Which regions.
        config: How to show them.
        seed: Another seed gives other batches.
        fixed: Validation: every epoch is the same, windows of one length in the order of the regions.
    """

    def __init__(
        self,
        dataset: RegionDataset,
        rows: Rows,
        config: RegionLoaderConfig,
        seed: int = 0,
        fixed: bool = False,
    ) -> None:
        self.dataset, self.rows, self.config, self.seed, self.fixed = dataset, rows, config, seed, fixed
        self.anchor = find_anchor(config.anchor, dataset.tracks)
        self.lengths = tuple(n for n in config.lengths if n <= dataset.window)
        if not self.lengths:
            raise InputError(
                f"{dataset.path}: its regions have {dataset.window} tokens, fewer than the shortest window of "
                f"{min(config.lengths)}; give shorter ones, e.g. --set loader.lengths=[{dataset.window}]"
            )
        if not len(rows):
            raise InputError(f"{dataset.path}: no region to read; build it with other held-out chromosomes")
        if fixed:
            self.lengths = (min(config.valid_length, dataset.window),)
            self._windows = fixed_windows(dataset, rows, self.lengths[0], config.valid_tokens)

    def n_batches(self, epoch: int) -> int:
        """How many batches the epoch has."""
        if self.fixed:
            return -(-len(self._windows) // self._size(self.lengths[0]))
        total = self.config.epoch_tokens or len(self.rows) * self.dataset.window
        return max(1, round(total / self.config.batch_tokens))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[RegionBatch]:
        """The epoch's batches from number `start` on."""
        for number in range(start, self.n_batches(epoch)):
            yield self.batch(epoch, number)

    def batch(self, epoch: int, number: int) -> RegionBatch:
        """One batch."""
        rng = np.random.default_rng([self.seed, 0 if self.fixed else epoch + 1, number])
        tokens = int(rng.choice(self.lengths))
        size = self._size(tokens)
        if self.fixed:
            windows = self._windows[number * size : (number + 1) * size]
            regions, starts = windows[:, 0], windows[:, 1]
        else:
            regions = rng.choice(self.rows, size=size)
            starts = BIN_SIZE * rng.integers(
                0, (self.dataset.window - tokens) // BIN_SIZE, size=size, endpoint=True
            )
            starts = self._move_to_signal(rng, regions, starts, tokens)
        selected = self._select(rng, self.dataset.measured[regions])
        reverse = rng.random(len(regions)) < (0.0 if self.fixed else self.config.reverse)
        return assemble(self.dataset, regions, starts, tokens, selected, rng, self.config.hiding, reverse)

    def _move_to_signal(self, rng: np.random.Generator, regions: Rows, starts: Rows, tokens: int) -> Rows:
        """Starts of which a share `at_signal` puts a bin of the anchor's signal into the middle half."""
        if self.anchor is None or not self.config.at_signal:
            return starts
        track, width = self.dataset.tracks.index(self.anchor), tokens // BIN_SIZE
        moved = starts.copy()
        for row in np.flatnonzero(rng.random(len(regions)) < self.config.at_signal).tolist():
            if not self.dataset.measured[regions[row], track]:
                continue
            signal = self.dataset.means(int(regions[row]), 0, self.dataset.window)[track].astype(np.float64)
            sums = np.maximum(signal, 0.0).cumsum()
            if sums[-1] > 0:
                middle = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
                first = middle - width // 2 + int(rng.integers(-(width // 4), width // 4, endpoint=True))
                moved[row] = BIN_SIZE * min(max(first, 0), len(signal) - width)
        return moved

    def _size(self, tokens: int) -> int:
        return max(1, self.config.batch_tokens // tokens)

    def _select(self, rng: np.random.Generator, measured: Mask) -> Mask:
        """Which tracks each window shows."""
        anchor = None if self.anchor is None else self.dataset.tracks.index(self.anchor)
        out = np.zeros_like(measured)
        for row, present in enumerate(measured):
            names = np.flatnonzero(present)
            fate = rng.random()
            if not len(names) or fate < self.config.sequence_alone:
                continue
            has_anchor = anchor is not None and present[anchor]
            if has_anchor and fate < self.config.sequence_alone + self.config.anchor_alone:
                out[row, anchor] = True
            elif len(names) == 1:
                out[row, names] = has_anchor or rng.random() < 0.5
            else:
                count = int(rng.integers(1, len(names)))
                out[row, rng.choice(names, size=count, replace=False)] = True
        return out


def fixed_windows(dataset: RegionDataset, rows: Rows, tokens: int, at_most: int) -> npt.NDArray[np.int64]:
    """Windows (n, 2) of region and start that tile the regions, or an even choice of them.

    Args:
        dataset: The data.
        rows: Regions.
        tokens: Length of a window.
        at_most: Tokens in all.
    """
    starts = np.arange(0, dataset.window - tokens + 1, tokens)
    every = np.stack([np.repeat(rows, len(starts)), np.tile(starts, len(rows))], axis=1).astype(np.int64)
    count = min(len(every), max(1, at_most // tokens))
    return every[np.unique(np.linspace(0, len(every) - 1, count).round().astype(np.int64))]
