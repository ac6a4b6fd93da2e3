"""Batches for masked modelling: sequences in the tokens of NT-v2 (6-mers) or ESM-2 (residues), 15 % of them to predict.

Of the tokens to predict 80 % are shown as `<mask>`, 10 % as another token drawn at random and 10 % as they are (BERT,
ESM-2, NT-v2); in validation all are shown as `<mask>`, always the same ones. Special tokens, N, X and single bases are
neither predicted nor drawn. A batch is a function of (seed, epoch, batch number).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from cisoform.batches import MaskedTokensBatch, Places
from cisoform.data.pretraining import ModalityName, SequencePool
from cisoform.data.sampling import BatchLimits, SampleLengths, plan_batches
from cisoform.tokens import kmer
from cisoform.tokens.padding import pad_rows
from cisoform.tokens.protein import ESM_MASK, ESM_PAD, ESM_VOCABULARY, esm_ids

Ids = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Vocabulary:
    """How a modality becomes tokens.

    Attributes:
        kind: Form of the encoder that reads them.
        first: First id that is predicted.
        last: One past the last of them.
        pad: Id of padding.
        mask: Id of `<mask>`.
        letters: Letters of a predicted token.
        alphabet: Number of different letters.
    """

    kind: str
    first: int
    last: int
    pad: int
    mask: int
    letters: int
    alphabet: int

    def ids(self, codes: npt.NDArray[np.uint8]) -> Ids:
        """Tokens of one sequence, special ones included."""
        return kmer.kmer_ids(codes) if self.kind == "nt_v2" else esm_ids(codes)

    def n_tokens(self, letters: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """About how many tokens sequences of so many letters have."""
        return letters // self.letters + 2

    def cap(self, max_tokens: int) -> int:
        """Letters that fit into so many tokens, special ones included."""
        return (max_tokens - (1 if self.kind == "nt_v2" else 2)) * self.letters

    @property
    def size(self) -> int:
        """Number of predicted tokens."""
        return self.last - self.first


_KMERS = Vocabulary("nt_v2", kmer.FIRST_KMER, kmer.FIRST_BASE, kmer.PAD, kmer.MASK, kmer.K, 4)
_RESIDUES = Vocabulary(
    "esm2", ESM_VOCABULARY.index("L"), ESM_VOCABULARY.index("C") + 1, ESM_PAD, ESM_MASK, 1, 20
)
VOCABULARIES: dict[ModalityName, Vocabulary] = {"dna": _KMERS, "rna": _KMERS, "protein": _RESIDUES}


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """What is shown, and what is hidden of it.

    Attributes:
        max_tokens: Longest row, special tokens included (6-mers: of known bases in whole 6-mers; what is left of a
            sequence, or is cut off by N, are single bases). A longer sequence shows a part drawn anew in each epoch;
            a DNA window has as many bases as fit.
        share: Share of the tokens to predict.
        as_mask: Share of those shown as `<mask>`.
        as_random: Share of those shown as another token; the others are shown as they are.
        limits: Size of a batch.
        valid_sequences: Most validation sequences; taken evenly.
    """

    max_tokens: int = 512
    share: float = 0.15
    as_mask: float = 0.8
    as_random: float = 0.1
    limits: BatchLimits = field(default_factory=BatchLimits)
    valid_sequences: int = 400

    def __post_init__(self) -> None:
        if not 8 <= self.max_tokens:
            raise ValueError(f"max_tokens={self.max_tokens} is below 8")
        if not 0 < self.share <= 0.5:
            raise ValueError(f"share={self.share} must be more than 0 and at most 0.5")
        if min(self.as_mask, self.as_random) < 0 or self.as_mask + self.as_random > 1:
            raise ValueError(f"as_mask={self.as_mask} and as_random={self.as_random} are no shares")
        if self.valid_sequences < 1:
            raise ValueError(f"valid_sequences={self.valid_sequences} is below 1")


class MaskedSource:
    """Batches of a pool of sequences; a `Source` for the training loop."""

    def __init__(
        self, pool: SequencePool, config: MaskingConfig, seed: int = 0, *, fixed: bool = False
    ) -> None:
        """Prepare the lengths.

        Args:
            pool: Sequences.
            config: What is hidden of them.
            seed: Of the order, the parts that are shown and what is hidden.
            fixed: Validation: one order, the parts that an IsoFormer is shown, all hidden tokens `<mask>`.
        """
        self.pool, self.config, self.seed, self.fixed = pool, config, seed, fixed
        self.vocabulary = VOCABULARIES[pool.modality]
        nothing = np.zeros(len(pool), dtype=np.int64)
        tokens = self.vocabulary.n_tokens(pool.lengths)
        self._lengths = SampleLengths(dna=nothing, rna=tokens, protein=nothing, start=nothing - 1)
        self._plan: tuple[int, list[npt.NDArray[np.int64]]] | None = None

    def _batches(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        if self._plan is None or (self._plan[0] != epoch and not self.fixed):
            shuffle = not self.fixed
            self._plan = (epoch, plan_batches(self._lengths, self.config.limits, self.seed, epoch, shuffle))
        return self._plan[1]

    def n_batches(self, epoch: int = 0) -> int:
        """Number of batches of an epoch."""
        return len(self._batches(epoch))

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[MaskedTokensBatch]:
        """Batches of an epoch from batch number `start` on."""
        for number in range(start, self.n_batches(epoch)):
            yield self.batch(epoch, number)

    def batch(self, epoch: int, number: int) -> MaskedTokensBatch:
        """One batch; depends on nothing but the source's arguments and these two numbers."""
        picked = self._batches(epoch)[number]
        rng = np.random.default_rng((self.seed, epoch, number, 2))
        draw = None if self.fixed else rng
        rows = [self.vocabulary.ids(self.pool.codes(index, draw)) for index in picked.tolist()]
        ids, mask = pad_rows(rows, self.vocabulary.pad, np.int16)
        hidden = self._choose(ids, mask, rng)
        target = ids[hidden].astype(np.int64)
        ids[hidden] = self._shown(target, rng)
        places = Places(torch.from_numpy(np.flatnonzero(hidden)), torch.from_numpy(target))
        return MaskedTokensBatch(
            torch.from_numpy(ids), torch.from_numpy(mask), places, torch.from_numpy(picked.astype(np.int64))
        )

    def _choose(
        self, ids: Ids, mask: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> npt.NDArray[np.bool_]:
        """Tokens to predict; one of each row that has any."""
        able = mask & (ids >= self.vocabulary.first) & (ids < self.vocabulary.last)
        draw = np.where(able, rng.random(ids.shape), 2.0)
        chosen = draw < self.config.share
        lowest = np.argmin(draw, axis=1)
        none = able.any(axis=1) & ~chosen.any(axis=1)
        chosen[none, lowest[none]] = True
        return chosen

    def _shown(self, target: npt.NDArray[np.int64], rng: np.random.Generator) -> Ids:
        """What stands at the places to predict."""
        if self.fixed:
            return np.full(len(target), self.vocabulary.mask, dtype=np.int16)
        config, draw = self.config, rng.random(len(target))
        other = rng.integers(self.vocabulary.first, self.vocabulary.last, len(target))
        random = draw < config.as_mask + config.as_random
        shown = np.where(draw < config.as_mask, self.vocabulary.mask, np.where(random, other, target))
        return shown.astype(np.int16)
