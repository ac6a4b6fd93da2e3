"""Sequences of a data set that an encoder may be pre-trained on: those of training transcripts, and nothing held out.

Left out of training are transcripts of a family that a held-out one belongs to, sequences that a held-out transcript
has letter by letter, and, of DNA, every base in the window round a held-out start or between the ends of a held-out
transcript: windows are cut down to their longest stretch without such a base. Held out are the splits "valid" and
"test" alike; "valid" is scored, "test" is never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.samples import IsoformSamples
from cisoform.data.windows import GenomeWindows
from cisoform.errors import InputError
from cisoform.tokens.rna import first_base_kept

ModalityName = Literal["dna", "rna", "protein"]
Codes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
FRAMES = 6
"""A 6-mer tokenizer cuts a sequence in as many frames; training sequences begin in any of them."""


@dataclass(frozen=True)
class Spans:
    """Merged intervals on the joined chromosomes, in rising order: 0-based, half-open."""

    starts: Rows
    ends: Rows

    @classmethod
    def merged(cls, starts: Rows, ends: Rows) -> Spans:
        """Intervals in any order; those that touch become one."""
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
        if not len(starts):
            return cls(starts, ends)
        reach = np.maximum.accumulate(ends)
        first = np.concatenate([[True], starts[1:] > reach[:-1]])
        last = np.append(np.flatnonzero(first)[1:] - 1, len(starts) - 1)
        return cls(starts[first], reach[last])

    def longest_gap(self, start: int, end: int) -> tuple[int, int]:
        """The longest part of start..end that no interval covers; empty (start, start) if there is none."""
        low = int(np.searchsorted(self.ends, start, side="right"))
        high = int(np.searchsorted(self.starts, end, side="left"))
        borders = [start]
        for index in range(low, high):
            borders += [max(int(self.starts[index]), start), min(int(self.ends[index]), end)]
        borders.append(end)
        gaps = [(a, b) for a, b in zip(borders[::2], borders[1::2], strict=True) if b > a]
        return max(gaps, key=lambda gap: gap[1] - gap[0], default=(start, start))


@dataclass(frozen=True)
class SequencePool:
    """Distinct sequences of one modality.

    Attributes:
        samples: Where they are from.
        modality: Which.
        rows: A sample of each sequence.
        cap: Letters shown at most: an RNA keeps its 3' end, a protein its N-terminus, DNA is a window of so many.
        excluded: Bases that are not shown (DNA of the training part); None = all may be.
    """

    samples: IsoformSamples
    modality: ModalityName
    rows: Rows
    cap: int
    excluded: Spans | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> Rows:
        """Letters of each, at most; DNA may turn out shorter by what is excluded."""
        if self.modality == "dna":
            return np.full(len(self.rows), self.cap, dtype=np.int64)
        return np.minimum(self.samples.lengths(self.modality)[self.rows], self.cap)

    def codes(self, index: int, rng: np.random.Generator | None = None) -> Codes:
        """Letters of one sequence.

        Args:
            index: Which.
            rng: Draws where the part that is shown begins (6-mers: in any frame; DNA: up to half a window either
                way). None = the part that an IsoFormer is shown.
        """
        row = int(self.rows[index])
        if self.modality == "dna":
            return self._window(row, rng)
        whole = _sequence(self.samples, self.modality, row)
        if rng is None:
            begin = first_base_kept(len(whole), self.cap) if self.modality == "rna" else 0
        else:
            spare = max(
                len(whole) - self.cap, min(FRAMES - 1, len(whole) - 1) if self.modality == "rna" else 0
            )
            begin = int(rng.integers(0, spare + 1))
        return whole[begin : begin + self.cap]

    def _window(self, row: int, rng: np.random.Generator | None) -> Codes:
        source = _windows(self.samples)
        start = np.array([self.samples.dna_row[row]], dtype=np.int64)
        half = self.cap // 2
        shift = 0 if rng is None else int(rng.integers(-half, half + 1))
        window: Codes = source.window(start, self.cap, shift)[0]
        if self.excluded is None:
            return window
        begin, end = (int(one[0]) for one in window_spans(source, start, self.cap, shift))
        chrom_start, chrom_end = int(source.chrom_start[start[0]]), int(source.chrom_end[start[0]])
        a, b = self.excluded.longest_gap(max(begin, chrom_start), min(end, chrom_end))
        return window[end - b : end - a] if source.minus[start[0]] else window[a - begin : b - begin]


@dataclass(frozen=True)
class PretrainingPools:
    """What is learnt from and what is scored.

    Attributes:
        train: Training sequences.
        valid: Sequences of the validation part, as an IsoFormer is shown them.
        left_out: Training sequences left out because a held-out transcript is of their family ("family") or has the
            same letters ("identical").
    """

    train: SequencePool
    valid: SequencePool
    left_out: dict[str, int]


def pretraining_pools(
    dataset: IsoformDataset, modality: ModalityName, cap: int, valid_sequences: int
) -> PretrainingPools:
    """Choose the sequences.

    Args:
        dataset: A data set with splits.
        modality: What is learnt from.
        cap: Letters of a sequence that are shown at most.
        valid_sequences: Most validation sequences; taken evenly.

    Raises:
        InputError: If the training or the validation part has no sequence of the modality.
    """
    samples = dataset.samples
    has = samples.has(modality)
    held = dataset.split != "train"
    families = {dataset.family[row] for row in np.flatnonzero(held).tolist()}
    related = np.array([name in families for name in dataset.family], dtype=bool)
    train = _distinct(samples, modality, np.flatnonzero(~held & ~related & has))
    n_related = len(_distinct(samples, modality, np.flatnonzero(~held & has))) - len(train)
    spans = None
    n_identical = 0
    if modality == "dna":
        spans = _held_out_bases(dataset, np.flatnonzero(held & has), cap)
    else:
        known = {_letters(samples, modality, row) for row in np.flatnonzero(held & has).tolist()}
        kept = [row for row in train.tolist() if _letters(samples, modality, row) not in known]
        n_identical = len(train) - len(kept)
        train = np.array(kept, dtype=np.int64)
    valid = _distinct(samples, modality, np.flatnonzero((dataset.split == "valid") & has))
    for part, rows in (("train", train), ("valid", valid)):
        if not len(rows):
            raise InputError(
                f"{dataset.path}: split {part!r} has no {modality} sequence to pre-train with; build the data set with "
                "another split or choose another modality"
            )
    if len(valid) > valid_sequences:
        valid = valid[np.linspace(0, len(valid) - 1, valid_sequences).round().astype(np.int64)]
    return PretrainingPools(
        train=SequencePool(samples, modality, train, cap, spans),
        valid=SequencePool(samples, modality, valid, cap),
        left_out={"family": n_related, "identical": n_identical},
    )


def window_spans(source: GenomeWindows, starts: Rows, length: int, shift: int = 0) -> tuple[Rows, Rows]:
    """Where windows lie on the joined chromosomes, ends of chromosomes not regarded; as `GenomeWindows.window`."""
    moved = shift - length // 2
    begin = source.position[starts] + np.where(source.minus[starts], -moved - length + 1, moved)
    return begin.astype(np.int64), (begin + length).astype(np.int64)


def _held_out_bases(dataset: IsoformDataset, rows: Rows, window: int) -> Spans:
    """Windows round held-out starts, and held-out transcripts from end to end."""
    samples = dataset.samples
    begin, end = window_spans(_windows(samples), samples.dna_row[rows].astype(np.int64), window)
    placed = {chromosome.name: chromosome.start for chromosome in dataset.chromosomes}
    table = samples.table[rows.tolist()] if len(rows) else samples.table.clear()
    first = np.array([placed[name] for name in table["chrom"].to_list()], dtype=np.int64)
    low, high = first + table["start"].to_numpy(), first + table["end"].to_numpy()
    return Spans.merged(np.concatenate([begin, low]), np.concatenate([end, high]))


def _windows(samples: IsoformSamples) -> GenomeWindows:
    if not isinstance(samples.dna, GenomeWindows):
        raise ValueError("DNA of a data set is cut from chromosomes")
    return samples.dna


def _distinct(samples: IsoformSamples, modality: str, rows: Rows) -> Rows:
    """The first of the samples that share a sequence, in the order of the data set."""
    stored = getattr(samples, f"{modality}_row")[rows]
    _, first = np.unique(stored, return_index=True)
    return rows[np.sort(first)]


def _sequence(samples: IsoformSamples, modality: str, row: int) -> Codes:
    stored = samples.rna if modality == "rna" else samples.protein
    assert stored is not None
    return np.asarray(stored[int(getattr(samples, f"{modality}_row")[row])])


def _letters(samples: IsoformSamples, modality: str, row: int) -> bytes:
    return _sequence(samples, modality, row).tobytes()
