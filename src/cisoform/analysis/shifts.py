"""Many perturbations of the same cells: each edited peak is encoded once, the peak transformer runs for every set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from cisoform.analysis.inputs import PeakInputs, predict
from cisoform.analysis.knockin import open_profiles
from cisoform.analysis.motif_activity import near_peaks, stand_ins
from cisoform.analysis.perturbation import EditedPeaks, SignalEdit, contact
from cisoform.analysis.reader import SLOTS_AT_ONCE, Reader
from cisoform.errors import InputError
from cisoform.features.states import Update

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Kind = Literal["knockin", "knockout"]

MOST_VALUES = 200_000_000
"""Numbers (sets x cells x genes) that are held at a time: 800 MB."""


@torch.no_grad()
def predicted(reader: Reader, groups: Ints, genes: Ints, update: Update | None = None) -> Numbers:
    """Predicted expression (groups, genes) of unperturbed cells."""
    found = np.zeros((len(groups), len(genes)))
    done, total = 0, found.size
    for inputs in reader.batches(groups, genes):
        found[_at(inputs, groups, genes)] = predict(reader.model, reader.link, inputs).cpu().numpy()
        done += len(inputs)
        if update is not None:
            update(done, total)
    return found


def _at(inputs: PeakInputs, groups: Ints, genes: Ints) -> tuple[Ints, Ints]:
    """Row and column of each sample; groups and genes are ascending."""
    return (
        np.searchsorted(groups, inputs.group.cpu().numpy()),
        np.searchsorted(genes, inputs.gene.cpu().numpy()),
    )


@dataclass(frozen=True)
class Shifted:
    """States after every perturbation.

    Attributes:
        states: (sets, cells, genes), predicted.
        accessibility: Change of the genes' accessibility, weighted by contact (sets, genes), mean over the cells.
        edited: Peaks of a cell that changed in reach of the genes, mean over the cells (sets,).
    """

    states: npt.NDArray[np.float32]
    accessibility: Numbers
    edited: Numbers


@torch.no_grad()
def perturbed(
    reader: Reader, groups: Ints, genes: Ints, sets: Flags, kind: Kind, update: Update | None = None
) -> Shifted:
    """Predict cells after each of many edits.

    Args:
        reader: Model and data.
        groups: Cells, ascending.
        genes: Genes, ascending.
        sets: Peaks of each edit (sets, peaks of the data set).
        kind: Closed peaks open with their own profile, or peaks lose all signal.
        update: Is told how far it is.

    Raises:
        InputError: If the states do not fit into memory.
    """
    shape = (len(sets), len(groups), len(genes))
    if np.prod(shape, dtype=np.float64) > MOST_VALUES:
        raise InputError(
            f"{shape[0]:,} peak sets in {shape[1]:,} cells and {shape[2]:,} genes are too many at a time; give fewer "
            "--tfs, --cells or --top-genes"
        )
    states = np.zeros(shape, dtype=np.float32)
    accessibility = np.zeros((len(sets), len(genes)))
    changes = np.zeros((len(groups), reader.dataset.n_peaks), dtype=bool)
    edited = _edits(reader, kind)
    done, total = 0, len(groups) * len(genes)
    for inputs in reader.batches(groups, genes, SLOTS_AT_ONCE // 4):
        row, column = _at(inputs, groups, genes)
        before = predict(reader.model, reader.link, inputs)
        shown = inputs.peak[inputs.mask].cpu().numpy()
        vectors, signal, changed = edited.of(inputs, inputs.mask, shown)
        gain = np.zeros(tuple(inputs.mask.shape))
        mask = inputs.mask.cpu().numpy()
        changes[row[np.nonzero(mask)[0]], shown] |= changed
        gain[mask] = (signal - inputs.accessibility[inputs.mask].cpu().numpy()) * contact(
            inputs.distance_bp[inputs.mask].cpu().numpy()
        )
        for number, where in _slots(sets, inputs, changed):
            states[number, row, column] = _after(reader, inputs, before, where, vectors)
            np.add.at(accessibility[number], column, (gain * where).sum(axis=1) / len(groups))
        done += len(inputs)
        if update is not None:
            update(done, total)
    edited_peaks = np.array([(changes & one).sum() / len(groups) for one in sets])
    return Shifted(states, accessibility, edited_peaks)


def _edits(reader: Reader, kind: Kind) -> EditedPeaks:
    every = np.arange(reader.dataset.n_peaks)
    opened = open_profiles(reader) if kind == "knockin" else None
    return EditedPeaks(reader, SignalEdit(every, opened=opened))


def _slots(sets: Flags, inputs: PeakInputs, changed: Flags) -> Iterator[tuple[int, Flags]]:
    """Of every set the slots of a batch that change."""
    mask, peak = inputs.mask.cpu().numpy(), inputs.peak.cpu().numpy()
    can = np.zeros(mask.shape, dtype=bool)
    can[mask] = changed
    for number in range(len(sets)):
        yield number, can & sets[number][np.maximum(peak, 0)]


def _after(
    reader: Reader, inputs: PeakInputs, before: torch.Tensor, where: Flags, vectors: torch.Tensor
) -> npt.NDArray[np.float32]:
    """Predictions after an edit; `vectors` are those of all real slots."""
    slots = torch.from_numpy(where).to(inputs.mask.device)
    rows = slots.any(dim=1).nonzero()[:, 0]
    after = before.clone()
    if len(rows):
        part = inputs.take(rows).replaced(slots[rows], vectors[slots[inputs.mask]])
        after[rows] = predict(reader.model, reader.link, part)
    found: npt.NDArray[np.float32] = after.cpu().numpy()
    return found


def random_sets(sets: Flags, within: Ints, signal: Numbers, gc: Numbers, n: int, seed: int) -> Flags:
    """Random peak sets of the sizes of given ones (n, peaks): each peak is replaced by one alike in signal and GC.

    The sets take turns. A stand-in that is drawn twice is there once, so that sets can be a little smaller.

    Args:
        sets: (sets, peaks of the data set).
        within: Peaks that can change anything, ascending: only these count and are drawn.
        signal: Accessibility of every peak.
        gc: Share of G and C of every peak.
        n: How many.
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, 7])
    near = near_peaks(signal[within], gc[within])
    found = np.zeros((n, sets.shape[1]), dtype=bool)
    order = np.concatenate([rng.permutation(len(sets)) for _ in range(-(-n // len(sets)))])[:n]
    for number, one in enumerate(order.tolist()):
        found[number, within[stand_ins(near, rng)[sets[one, within]]]] = True
    return found
