"""What two parts of a split have in common: genes, families, chromosomes, sequences and stretches of DNA."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cisoform.data.splits import SPLITS, SplitArray
from cisoform.genome.ragged import Ragged


@dataclass(frozen=True)
class Leak:
    """How far a held-out part is known from another one.

    Attributes:
        kind: "genes", "families", "chromosomes", "identical RNA", "identical proteins" or "overlapping DNA".
        known: The part that is learnt from.
        held_out: The part that is judged on.
        n_shared: Distinct genes, families, chromosomes or sequences in both; for DNA, transcripts of
            `held_out` whose window overlaps one of `known` (on either strand).
        n_transcripts: Transcripts of `held_out` concerned.
        share: `n_transcripts` over all of `held_out`.
    """

    kind: str
    known: str
    held_out: str
    n_shared: int
    n_transcripts: int
    share: float


def leakage_table(
    split: SplitArray,
    *,
    gene_ids: Sequence[str],
    family_ids: Sequence[str],
    chroms: Sequence[str],
    tss: npt.NDArray[np.integer],
    window: int,
    rna: Ragged | None,
    rna_row: npt.NDArray[np.integer],
    protein: Ragged | None,
    protein_row: npt.NDArray[np.integer],
) -> list[Leak]:
    """Every kind of overlap between train and valid, train and test, valid and test.

    Args:
        split: Part of each transcript.
        gene_ids: Gene of each.
        family_ids: Family of each.
        chroms: Chromosome of each.
        tss: Position of each start, genomic.
        window: Bases of the DNA window.
        rna: Base codes, None if there are none.
        rna_row: Row of each transcript, -1 = none.
        protein: Amino-acid codes, None if there are none.
        protein_row: Row of each transcript, -1 = none.
    """
    labels = {
        "genes": _labels(gene_ids),
        "families": _labels(family_ids),
        "chromosomes": _labels(chroms),
        "identical RNA": _sequence_labels(rna, rna_row),
        "identical proteins": _sequence_labels(protein, protein_row),
    }
    leaks = []
    for known, held_out in combinations(SPLITS, 2):
        learnt, judged = np.flatnonzero(split == known), np.flatnonzero(split == held_out)
        if not len(learnt) or not len(judged):
            continue
        for kind, label in labels.items():
            shared = (label[judged] >= 0) & np.isin(label[judged], label[learnt])
            n_shared = len(np.unique(label[judged][shared]))
            leaks.append(_leak(kind, known, held_out, n_shared, shared))
        overlap = _overlaps(labels["chromosomes"], tss.astype(np.int64), learnt, judged, window)
        leaks.append(_leak("overlapping DNA", known, held_out, int(overlap.sum()), overlap))
    return leaks


def _leak(kind: str, known: str, held_out: str, n_shared: int, concerned: npt.NDArray[np.bool_]) -> Leak:
    return Leak(kind, known, held_out, n_shared, int(concerned.sum()), float(concerned.mean()))


def _labels(names: Sequence[str]) -> npt.NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _sequence_labels(sequences: Ragged | None, row: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Equal numbers for equal sequences; -1 where there is none (or an empty one)."""
    if sequences is None:
        return np.full(len(row), -1, dtype=np.int64)
    numbers: dict[bytes, int] = {}
    labels = np.full(len(row), -1, dtype=np.int64)
    for sample, index in enumerate(row.tolist()):
        if index >= 0 and len(sequences[index]):
            digest = hashlib.blake2b(sequences[index].tobytes(), digest_size=16).digest()
            labels[sample] = numbers.setdefault(digest, len(numbers))
    return labels


def _overlaps(
    chrom: npt.NDArray[np.int64],
    tss: npt.NDArray[np.int64],
    learnt: npt.NDArray[np.int64],
    judged: npt.NDArray[np.int64],
    window: int,
) -> npt.NDArray[np.bool_]:
    """Which judged starts lie less than a window from a learnt one on their chromosome."""
    # Chromosomes laid out with more than a window between them, so that one sorted search does for all.
    step = int(tss.max(initial=0)) + 2 * window + 1
    known = np.unique(chrom[learnt] * step + tss[learnt])
    asked = chrom[judged] * step + tss[judged]
    place = np.searchsorted(known, asked)
    after = known[np.minimum(place, len(known) - 1)]
    before = known[np.maximum(place - 1, 0)]
    near: npt.NDArray[np.bool_] = np.minimum(np.abs(after - asked), np.abs(before - asked)) < window
    return near
