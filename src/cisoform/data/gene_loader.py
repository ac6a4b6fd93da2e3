"""Batches of genes in cells: 32-bit state ids of the peaks, never tokens or features; a `Source` of the training loop.

Whoever trains gathers features from a table of states once a batch. In training every expressed (group, gene) pair
comes once an epoch, with as many pairs without expression (fewer where there are not as many).
Samples with like numbers of peaks come together, so that little is padded. A batch is a pure function of
(seed, epoch, number): samples are drawn by a keyed permutation of the entries, which takes no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cisoform.batches import GeneBatch
from cisoform.data.genes import GenesDataset, find_in_rows

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
_ROUNDS = 4
_ZERO_TRIES = 64
_LISTED_PAIRS = 20_000_000
"""Where genes x groups are no more than this, the pairs without expression are listed (they may be rare)."""


@dataclass(frozen=True, kw_only=True)
class GeneLoaderConfig:
    """What a batch holds.

    Attributes:
        batch_size: Samples of a batch.
        zeros_per_expressed: Pairs without expression for each expressed one, in training only.
        drop_atac: Chance, in training, that a sample is shown by sequence alone.
        sort_batches: Batches among which samples are sorted by their number of peaks.
        epoch_samples: Samples of a training epoch; None = all.
        valid_samples: Most samples of an evaluation, drawn once; None = all.
    """

    batch_size: int = 1024
    zeros_per_expressed: float = 1.0
    drop_atac: float = 0.1
    sort_batches: int = 16
    epoch_samples: int | None = None
    valid_samples: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.sort_batches < 1:
            raise ValueError(
                f"batch_size={self.batch_size} and sort_batches={self.sort_batches} must be at least 1"
            )
        if not 0 <= self.drop_atac <= 1 or self.zeros_per_expressed < 0:
            raise ValueError(
                f"drop_atac={self.drop_atac} must be between 0 and 1, zeros_per_expressed="
                f"{self.zeros_per_expressed} at least 0"
            )


def permuted(index: IntArray, size: int, key: tuple[int, ...]) -> IntArray:
    """Where a pseudo-random permutation of `range(size)` takes each index.

    A four-round Feistel network on the smallest square of a power of two, walked until the value lies inside.

    Args:
        index: Indices to look up.
        size: Size of the range.
        key: Another key gives another permutation.
    """
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64((1 << half) - 1)
    keys = np.random.default_rng(key).integers(1, 2**63, size=_ROUNDS, dtype=np.uint64) | np.uint64(1)
    value = index.astype(np.uint64)
    todo = np.arange(len(index))
    while len(todo):
        left, right = value[todo] >> np.uint64(half), value[todo] & mask
        for key_of_round in keys:
            mixed = (right + (key_of_round >> np.uint64(17))) * key_of_round
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(31)) & mask)
        value[todo] = (left << np.uint64(half)) | right
        todo = todo[value[todo] >= size]
    return value.astype(np.int64)


class GeneSource:
    """Batches of some genes in some groups."""

    def __init__(
        self,
        dataset: GenesDataset,
        genes: IntArray,
        groups: IntArray,
        config: GeneLoaderConfig | None = None,
        seed: int = 0,
        training: bool = True,
    ) -> None:
        """Count the samples.

        Args:
            dataset: The data set.
            genes: Genes to use (`GenesDataset.part`), ascending.
            groups: Groups to use.
            config: See `GeneLoaderConfig`.
            seed: Of order, zeros and dropout.
            training: Expressed pairs, zeros and dropout in random order; else every pair once in a fixed order.

        Raises:
            ValueError: If there are no samples.
        """
        self.dataset = dataset
        self.config = config or GeneLoaderConfig()
        self.seed, self.training = seed, training
        self.genes = np.asarray(genes, dtype=np.int64)
        self.groups = np.asarray(groups, dtype=np.int64)
        index = dataset.index
        self._first, self._count = np.asarray(index.first), np.asarray(index.count)
        self._tss_peak, self._sign = np.asarray(index.tss_peak), np.asarray(index.sign).astype(np.int32)
        self._mid, self._tss = index.mid.astype(np.int32), index.tss.astype(np.int32)
        self._chunk: tuple[tuple[int, int], tuple[Array, ...]] | None = None
        if training:
            self._count_entries()
        else:
            self._by_count = self.genes[np.argsort(self._count[self.genes], kind="stable")]
            self.n_expressed = 0
            self.n_zero = 0
            self.n_samples = len(self.genes) * len(self.groups)
            if self.config.valid_samples is not None:
                self.n_samples = min(self.n_samples, self.config.valid_samples)
        if not self.n_samples:
            raise ValueError("no sample: no (group, gene) pair of these genes and groups has expression")

    def _count_entries(self) -> None:
        """Find the expressed pairs of the genes in the groups: `_starts` and `_before` number them all."""
        config = self.config
        offsets, columns, _ = self.dataset.expressed()
        contiguous = len(self.genes) > 0 and self.genes[-1] - self.genes[0] + 1 == len(self.genes)
        self._listed: IntArray | None = None
        if contiguous:
            low = find_in_rows(offsets, columns, self.groups, np.full(len(self.groups), self.genes[0]))
            high = find_in_rows(offsets, columns, self.groups, np.full(len(self.groups), self.genes[-1] + 1))
        else:
            wanted = np.zeros(self.dataset.genes.height, dtype=bool)
            wanted[self.genes] = True
            rows = [np.arange(offsets[group], offsets[group + 1]) for group in self.groups.tolist()]
            kept = [row[wanted[columns[row]]] for row in rows]
            self._listed = np.concatenate([*kept, np.empty(0, np.int64)])
            sizes_of_rows = np.array([len(row) for row in kept], dtype=np.int64)
            high = np.cumsum(sizes_of_rows)
            low = high - sizes_of_rows
        self._starts = np.asarray(low, dtype=np.int64)
        self._before = np.concatenate([[0], np.cumsum(high - low)]).astype(np.int64)
        self.n_expressed = int(self._before[-1])
        n_without = len(self.genes) * len(self.groups) - self.n_expressed
        share = min(config.zeros_per_expressed, n_without / max(1, self.n_expressed))
        if config.epoch_samples is not None:
            self._taken = min(self.n_expressed, max(1, round(config.epoch_samples / (1 + share))))
        else:
            self._taken = self.n_expressed
        self._zero_share = share
        self._zero_pairs = self._list_zeros() if len(self.genes) * len(self.groups) <= _LISTED_PAIRS else None
        # Expressed pairs of a chunk, so that with its zeros it fills whole batches.
        self._chunk_expressed = max(1, round(config.batch_size * config.sort_batches / (1 + share)))
        sizes = self._chunk_sizes()
        self.n_zero = sum(zero for _, zero in sizes)
        self.n_samples = sum(expressed + zero for expressed, zero in sizes)
        batches = [-(-(expressed + zero) // config.batch_size) for expressed, zero in sizes]
        self._first_batch = np.concatenate([[0], np.cumsum(batches)]).astype(np.int64)

    def _chunk_sizes(self) -> list[tuple[int, int]]:
        """Expressed pairs and zeros of each chunk of an epoch."""
        sizes = []
        for first in range(0, self._taken, self._chunk_expressed):
            expressed = min(self._chunk_expressed, self._taken - first)
            sizes.append((expressed, round(expressed * self._zero_share)))
        return sizes

    def n_batches(self, epoch: int = 0) -> int:
        """Batches of an epoch."""
        if self.training:
            return int(self._first_batch[-1])
        return -(-self.n_samples // self.config.batch_size)

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[GeneBatch]:
        """Batches of an epoch from number `start` on."""
        for number in range(start, self.n_batches(epoch)):
            yield self.batch(epoch, number)

    def batch(self, epoch: int, number: int) -> GeneBatch:
        """One batch; depends on nothing but the arguments of the source and these two numbers."""
        if not self.training:
            first = number * self.config.batch_size
            sample = np.arange(first, min(first + self.config.batch_size, self.n_samples))
            total = len(self.genes) * len(self.groups)
            if self.n_samples < total:
                sample = np.sort(permuted(np.arange(self.n_samples), total, (self.seed, 3)))[sample]
            gene = self._by_count[sample // len(self.groups)]
            group = self.groups[sample % len(self.groups)]
            return self.assemble(group, gene, self.dataset.targets(group, gene))
        chunk = int(np.searchsorted(self._first_batch, number, side="right")) - 1
        group, gene, target, dropped, order = self._samples(epoch, chunk)
        place = int(order[number - self._first_batch[chunk]])
        part = slice(place * self.config.batch_size, (place + 1) * self.config.batch_size)
        return self.assemble(group[part], gene[part], target[part], dropped[part])

    def _samples(self, epoch: int, chunk: int) -> tuple[Array, ...]:
        """All samples of a chunk, sorted by number of peaks, and the order of its batches."""
        if self._chunk is not None and self._chunk[0] == (epoch, chunk):
            return self._chunk[1]
        rng = np.random.default_rng((self.seed, epoch, chunk, 2))
        first = chunk * self._chunk_expressed
        position = np.arange(first, min(first + self._chunk_expressed, self._taken))
        taken = permuted(position, self.n_expressed, (self.seed, epoch, 1))
        row = np.searchsorted(self._before, taken, side="right") - 1
        entry = self._starts[row] + taken - self._before[row]
        if self._listed is not None:
            entry = self._listed[entry]
        _, columns, values = self.dataset.expressed()
        group, gene, target = self.groups[row], columns[entry].astype(np.int64), values[entry]
        zero_group, zero_gene = self._zeros(group, round(len(position) * self._zero_share), rng)
        group, gene = np.concatenate([group, zero_group]), np.concatenate([gene, zero_gene])
        target = np.concatenate([target, np.zeros(len(zero_group), dtype=np.float32)])
        dropped = rng.random(len(group)) < self.config.drop_atac
        mixed = rng.permutation(len(group))
        order = mixed[np.argsort(self._count[gene[mixed]], kind="stable")]
        batches = rng.permutation(-(-len(group) // self.config.batch_size))
        found = (group[order], gene[order], target[order], dropped[order], batches)
        self._chunk = ((epoch, chunk), found)
        return found

    def _zeros(self, groups: Array, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Pairs without expression: drawn from their list, or genes drawn in groups of the given ones."""
        if self._zero_pairs is not None:
            pair = self._zero_pairs[rng.integers(0, max(1, len(self._zero_pairs)), count)]
            return self.groups[pair // len(self.genes)], self.genes[pair % len(self.genes)]
        group = groups[rng.integers(0, len(groups), count)]
        gene = self.genes[rng.integers(0, len(self.genes), count)]
        todo = np.arange(count)
        for attempt in range(_ZERO_TRIES):
            todo = todo[self.dataset.targets(group[todo], gene[todo]) != 0]
            if not len(todo):
                break
            if attempt % 8 == 7:  # a group may express every gene
                group[todo] = self.groups[rng.integers(0, len(self.groups), len(todo))]
            gene[todo] = self.genes[rng.integers(0, len(self.genes), len(todo))]
        # What was not found is replaced by zeros that were, so that the size of a chunk is fixed.
        found = np.setdiff1d(np.arange(count), todo)
        group[todo], gene[todo] = group[found[:1]], gene[found[:1]]
        return group, gene

    def _list_zeros(self) -> IntArray:
        """Pairs without expression as `group * genes + gene`, in the source's own numbering."""
        offsets, columns, values = self.dataset.expressed()
        place = np.full(self.dataset.genes.height, -1, dtype=np.int64)
        place[self.genes] = np.arange(len(self.genes))
        zero = np.ones((len(self.groups), len(self.genes)), dtype=bool)
        for row, group in enumerate(self.groups.tolist()):
            part = slice(int(offsets[group]), int(offsets[group + 1]))
            column = place[columns[part]]
            zero[row, column[(column >= 0) & (values[part] != 0)]] = False
        return np.flatnonzero(zero)

    def assemble(
        self, group: Array, gene: Array, target: Array | None = None, dropped: Array | None = None
    ) -> GeneBatch:
        """The batch of given samples.

        Args:
            group: Group of each.
            gene: Gene of each.
            target: Its expression, or None.
            dropped: Samples shown by sequence alone.
        """
        first, count = self._first[gene], self._count[gene]
        slots = int(count.max())
        slot = np.arange(slots, dtype=np.int32)
        mask = slot < count[:, None]
        peak = np.where(mask, first[:, None] + slot, 0).astype(np.int32)
        state = peak.copy()
        sample, place, observed = self.dataset.open_states(group, first, count)
        state[sample, place - first[sample]] = observed
        if dropped is not None and dropped.any():
            state[dropped] = np.where(mask[dropped], peak[dropped] + np.int32(self.dataset.n_peaks), 0)
        sign = self._sign[gene][:, None]
        distance = np.where(mask, (self._mid[peak] - self._tss[gene][:, None]) * sign, 0)
        steps = slot - self._tss_peak[gene][:, None]
        upstream = (steps < 0) == (sign > 0)
        rank = np.where(mask & (steps != 0), 2 * np.abs(steps) - upstream, 0)
        return GeneBatch(
            state=torch.from_numpy(state),
            mask=torch.from_numpy(mask),
            distance=torch.from_numpy(distance.astype(np.float32)),
            rank=torch.from_numpy(rank.astype(np.int32)),
            tss_peak=torch.from_numpy(self._tss_peak[gene].astype(np.int64)),
            gene=torch.from_numpy(gene.astype(np.int64)),
            group=torch.from_numpy(group.astype(np.int64)),
            targets=None if target is None else torch.from_numpy(np.asarray(target, dtype=np.float32)),
        )
