"""Which transcripts form which batch: by length, under a token budget, a pure function of (seed, epoch).

Transcripts that share a start stay together, so that their DNA window is encoded once. Within pools of some
batches transcripts are ordered by length, which keeps padding low and batches random; then batches are shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SampleLengths:
    """What each sample costs in tokens; 0 where it lacks the modality.

    Attributes:
        dna: Tokens of the DNA window.
        rna: Tokens of the RNA, after the crop.
        protein: Tokens of the protein, after the crop.
        start: Which start the sample has; equal values share one DNA window. -1 = no DNA.
    """

    dna: IntArray
    rna: IntArray
    protein: IntArray
    start: IntArray

    def __len__(self) -> int:
        return len(self.dna)


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """How large a batch may become.

    Attributes:
        batch_size: Most transcripts of a batch.
        token_budget: Most tokens of a batch, padding included, each start's DNA counted once; None = no limit.
            A transcript that is over the budget alone is a batch of its own.
        pool_batches: Batches per pool within which transcripts are ordered by length. 1 = random batches.
    """

    batch_size: int = 64
    token_budget: int | None = None
    pool_batches: int = 16

    def __post_init__(self) -> None:
        for name in ("batch_size", "pool_batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is below 1")
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"token_budget={self.token_budget} is below 1")


def plan_batches(
    lengths: SampleLengths, limits: BatchLimits, seed: int = 0, epoch: int = 0, shuffle: bool = True
) -> list[IntArray]:
    """Positions of the samples of each batch; every sample is in exactly one.

    Args:
        lengths: Cost of each sample.
        limits: Sizes of a batch.
        seed: Seed of the order.
        epoch: Each epoch has another order.
        shuffle: False = one fixed order by length, for evaluation; `seed` and `epoch` are then unused.
    """
    if not len(lengths):
        return []
    rng = np.random.default_rng((seed, epoch, 0)) if shuffle else None
    order, group = _ordered_by_length(lengths, limits, rng)
    batches = _cut(order, group, lengths, limits)
    if rng is not None:
        batches = [batches[number] for number in rng.permutation(len(batches))]
    return batches


def _ordered_by_length(
    lengths: SampleLengths, limits: BatchLimits, rng: np.random.Generator | None
) -> tuple[IntArray, IntArray]:
    """Samples in the order in which they are cut into batches, and the group (start) of each of them."""
    alone = -1 - np.arange(len(lengths))
    starts = np.where(lengths.start >= 0, lengths.start, alone)
    _, group, group_sizes = np.unique(starts, return_inverse=True, return_counts=True)
    n_groups = len(group_sizes)
    tokens = lengths.rna + lengths.protein
    longest = np.zeros(n_groups, dtype=np.int64)
    np.maximum.at(longest, group, tokens)
    pool = np.zeros(n_groups, dtype=np.int64)
    shuffled = np.arange(n_groups)
    if rng is not None:
        shuffled = rng.permutation(n_groups)
        pool[shuffled] = np.cumsum(group_sizes[shuffled]) // (limits.pool_batches * limits.batch_size)
    rank = np.empty(n_groups, dtype=np.int64)
    place = np.empty(n_groups, dtype=np.int64)
    place[shuffled] = np.arange(n_groups)
    rank[np.lexsort((place, longest, pool))] = np.arange(n_groups)
    order = np.lexsort((np.arange(len(lengths)), tokens, rank[group]))
    return order.astype(np.int64), group[order]


def _cut(order: IntArray, group: IntArray, lengths: SampleLengths, limits: BatchLimits) -> list[IntArray]:
    """Cut the order into batches within the limits, between starts where a whole start fits into one batch."""
    dna, rna, protein = (values[order].tolist() for values in (lengths.dna, lengths.rna, lengths.protein))
    groups = group.tolist()
    budget = float("inf") if limits.token_budget is None else limits.token_budget
    bounds: list[int] = []
    begin = total_dna = longest_rna = longest_protein = 0
    for sample, end in enumerate(_last_of_group(group)):
        new_start = sample == 0 or groups[sample] != groups[sample - 1]
        until = end if new_start else sample + 1
        dna_tokens = total_dna + (dna[sample] if new_start else 0)
        padded = max(longest_rna, *rna[sample:until]) + max(longest_protein, *protein[sample:until])
        n_samples = until - begin
        over = n_samples > limits.batch_size or dna_tokens + n_samples * padded > budget
        if over and sample > begin:
            bounds.append(sample)
            begin, dna_tokens, longest_rna, longest_protein = sample, dna[sample], 0, 0
        total_dna = dna_tokens
        longest_rna = max(longest_rna, rna[sample])
        longest_protein = max(longest_protein, protein[sample])
    return np.split(order, bounds)


def _last_of_group(group: IntArray) -> list[int]:
    """For each position, the end (exclusive) of its run of equal groups."""
    run_ends = np.append(np.flatnonzero(np.diff(group)) + 1, len(group))
    ends: list[int] = run_ends[np.searchsorted(run_ends, np.arange(len(group)), side="right")].tolist()
    return ends
