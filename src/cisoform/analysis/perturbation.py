"""Perturbations of what a model is shown: the signal of chosen peaks changes, their DNA stays; before and after.

A knock-out zeroes or scales the signal of peaks over the whole window (the released example does: 1,029 zeros, same
bases) or within 75 bp of a motif; a knock-in opens closed peaks with a given profile. Elementary runs once for every
distinct (peak, signal, edit), the peak transformer alone runs again, for the samples in which something changed.

Each gene's difference stands beside controls of the same size: its edited peaks are replaced by as many others of
the gene, near in accessibility and distance (reference 7.6; the matching is ours). Its p-value is that of draws in
which an edited peak may also stand for itself: the edit is then one of the draws, as a permutation test needs. Against
controls without it, a gene whose one strong peak is edited would stand out for that alone (12 to 38 % of p at or below
0.05 for peaks chosen at random, 4 to 6 % this way).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cisoform.analysis.inputs import PeakInputs, predict
from cisoform.analysis.reader import LocusReader, Reader

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Signal = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Profiles = Callable[[Ints], Signal]

DECAY_BP, DECAY_EXPONENT = 5_000.0, -0.87
"""Contact by distance in the baseline, as in the ABC scores: max(d, 5,000)^-0.87, here 1 up to 5 kb."""
CLOSED_SHARE = 0.25
"""A peak counts as closed below this share of its open signal (ours)."""
NEAREST = 5
"""A control is drawn from so many nearest peaks (ours)."""


@dataclass(frozen=True)
class SignalEdit:
    """What happens to the signal of which peaks.

    Attributes:
        peaks: Chosen peaks, ascending.
        factor: The signal is multiplied by it (0 = knocked out).
        least: Afterwards it is at least this; 0 = no floor.
        bases: Where that happens, of every chosen peak (n, 1029); None = the whole window.
        opened: Gives open profiles (n, 1029) of peaks: a knock-in. Closed peaks then show their profile where it is
            above what they show, open ones stay, and the fields above but `peaks` have no effect.
    """

    peaks: Ints
    factor: float = 0.0
    least: float = 0.0
    bases: Flags | None = None
    opened: Profiles | None = None

    def apply(self, signal: Signal, peaks: Ints, place: Ints) -> Signal:
        """The signal (n, 1029) of peaks after the edit.

        Args:
            signal: Before.
            peaks: Which peaks they are.
            place: Index into `self.peaks` of the peak whose edit each takes: itself, or the one it stands in for.
        """
        if self.opened is not None:
            profile = self.opened(peaks)
            closed: Flags = signal.mean(axis=1) < CLOSED_SHARE * profile.mean(axis=1)
            signal = signal.copy()
            signal[closed] = np.maximum(signal[closed], profile[closed])
            return signal
        changed: Signal = np.maximum(signal * np.float32(self.factor), np.float32(self.least))
        if self.bases is not None:
            changed = np.where(self.bases[place], changed, signal)
        return changed.astype(np.float32)

    @property
    def closes(self) -> bool:
        """Whether the chosen peaks show nothing at all afterwards."""
        return self.factor == 0 and self.least == 0 and self.bases is None and self.opened is None


class EditedPeaks:
    """Vectors of edited peaks, each distinct (peak, signal, edit) computed once and remembered."""

    def __init__(self, reader: Reader | LocusReader, edit: SignalEdit) -> None:
        self.reader = reader
        self.edit = edit
        self._row: dict[tuple[int, int, int], int] = {}
        self._vectors: list[Tensor] = []
        self._after: list[float] = []
        self._changed: list[bool] = []

    def __len__(self) -> int:
        return len(self._row)

    def of(self, inputs: PeakInputs, where: Tensor, place: Ints) -> tuple[Tensor, Signal, Flags]:
        """Vectors (n, dim), mean signal afterwards, and whether it changed, in the order of `where.nonzero()`.

        Args:
            inputs: Samples before the edit.
            where: Slots to edit (batch, slots).
            place: Of each of them, as in `SignalEdit.apply`.
        """
        if self.edit.closes:
            before = inputs.accessibility[where].cpu().numpy()
            return self.reader.closed(inputs)[where], np.zeros_like(before), before > 0
        peak, state = inputs.peak[where].cpu().numpy(), inputs.state[where].cpu().numpy()
        of = place if self.edit.bases is not None else np.zeros_like(place)
        keys = list(zip(peak.tolist(), state.tolist(), of.tolist(), strict=True))
        missing = {key: at for at, key in reversed(list(enumerate(keys))) if key not in self._row}
        if missing:
            self._compute(inputs, where, missing)
        rows = [self._row[key] for key in keys]
        if not rows:
            return inputs.vectors[where], np.empty(0, np.float32), np.empty(0, dtype=bool)
        return (
            torch.stack([self._vectors[row] for row in rows]),
            np.array([self._after[row] for row in rows], dtype=np.float32),
            np.array([self._changed[row] for row in rows], dtype=bool),
        )

    def _compute(self, inputs: PeakInputs, where: Tensor, missing: dict[tuple[int, int, int], int]) -> None:
        """Encode edits that are not known yet; `missing` says at which place of `where` each stands first."""
        slots = where.nonzero()
        at = np.array(sorted(set(missing.values())))
        one = torch.zeros_like(where)
        one[slots[at, 0], slots[at, 1]] = True
        row = np.searchsorted(at, np.array(list(missing.values())))
        before = self.reader.base_signal(inputs, one)[row]
        windows = self.reader.windows(inputs, one)[row]
        peaks = np.array([key[0] for key in missing], dtype=np.int64)
        after = self.edit.apply(before, peaks, np.array([key[2] for key in missing], dtype=np.int64))
        vectors = self.reader.encode(windows, self.reader.tokens(after)).to(inputs.vectors.device)
        for key, vector, new, old in zip(missing, vectors, after, before, strict=True):
            self._row[key] = len(self._vectors)
            self._vectors.append(vector)
            self._after.append(float(np.nan_to_num(new).mean()))
            self._changed.append(bool((np.nan_to_num(new) != np.nan_to_num(old)).any()))


@dataclass(frozen=True)
class Effect:
    """What an edit does to samples; all of shape (batch,).

    Attributes:
        before: Predicted expression, on the model's scale.
        after: With the edit; exactly `before` where nothing changed.
        n_changed: Peaks whose signal changed.
        accessibility: Change of mean signal, summed over the peaks with the decay of contact; NaN without distances.
    """

    before: Numbers
    after: Numbers
    n_changed: Ints
    accessibility: Numbers


@torch.no_grad()
def apply_edit(
    edited: EditedPeaks, inputs: PeakInputs, where: Tensor, place: Ints, before: Numbers | None = None
) -> Effect:
    """Predict samples before and after an edit.

    Args:
        edited: The edit, with what is known of it.
        inputs: The samples.
        where: Slots to edit (batch, slots), real peaks only.
        place: As in `SignalEdit.apply`, in the order of `where.nonzero()`.
        before: Predictions before, if they are known already.
    """
    reader = edited.reader
    if before is None:
        before = _numbers(predict(reader.model, reader.link, inputs))
    vectors, after_signal, changed = edited.of(inputs, where, place)
    kept = torch.from_numpy(changed).to(where.device)
    slots = where.nonzero()[kept]
    moved = torch.zeros_like(where)
    moved[slots[:, 0], slots[:, 1]] = True
    rows = moved.any(dim=1).nonzero()[:, 0]
    after = before.copy()
    if len(rows):
        part = inputs.take(rows).replaced(moved[rows], vectors[kept])
        after[rows.cpu().numpy()] = _numbers(predict(reader.model, reader.link, part))
    signal = inputs.accessibility[moved].cpu().numpy()
    weight = contact(inputs.distance_bp[moved].cpu().numpy())
    lost = np.zeros(len(inputs))
    np.add.at(lost, slots[:, 0].cpu().numpy(), (after_signal[changed] - signal) * weight)
    return Effect(before, after, moved.sum(dim=1).cpu().numpy(), lost)


def contact(distance_bp: npt.NDArray[np.floating]) -> Numbers:
    """Weight of a peak by its distance to the TSS: 1 up to 5 kb, a power law beyond."""
    reach = np.maximum(np.abs(np.asarray(distance_bp, dtype=np.float64)), DECAY_BP)
    found: Numbers = (reach / DECAY_BP) ** DECAY_EXPONENT
    return found


def matched_slots(
    chosen: Flags,
    free: Flags,
    signal: npt.NDArray[np.floating],
    distance: npt.NDArray[np.floating],
    n_controls: int,
    rng: np.random.Generator,
    own: bool = False,
) -> Ints | None:
    """Slots that stand in for the chosen ones of a gene, once for every control.

    Each chosen slot, in an order drawn anew, takes one of the 5 nearest free slots that are left; near is the sum
    of the differences in rank of signal and of distance to the TSS. With `own` the chosen slots are among those to
    draw from, and a slot takes one of 6: itself, if it is left, or the 5 nearest.

    Args:
        chosen: Slots that the perturbation edits.
        free: Slots to draw from.
        signal: Mean accessibility of the peaks.
        distance: Distance to the TSS, signed or not.
        n_controls: How many.
        rng: Draws.
        own: Chosen slots may stand in for each other and for themselves.

    Returns:
        (n_controls, chosen) slot numbers, in the order of the chosen ones, each once a row; None if fewer slots are
        free than chosen.
    """
    ours, others = np.flatnonzero(chosen), np.flatnonzero(free | chosen if own else free & ~chosen)
    if len(others) < len(ours) or not len(ours):
        return None
    apart = np.zeros((len(ours), len(others)))
    for rank in (_ranks(np.asarray(signal)), _ranks(np.abs(np.asarray(distance)))):
        apart += np.abs(rank[ours][:, None] - rank[others][None])
    found = np.empty((n_controls, len(ours)), dtype=np.int64)
    for control in range(n_controls):
        left = np.ones(len(others), dtype=bool)
        for index in rng.permutation(len(ours)).tolist():
            near = np.argsort(np.where(left, apart[index], np.inf), kind="stable")
            take = near[rng.integers(min(NEAREST + own, int(left.sum())))]
            left[take] = False
            found[control, index] = others[take]
    return found


def _ranks(values: npt.NDArray[np.floating]) -> Numbers:
    order = np.argsort(values, kind="stable")
    found = np.empty(len(values), dtype=np.float64)
    found[order] = np.arange(len(values))
    return found


def _numbers(values: Tensor) -> Numbers:
    found: Numbers = values.cpu().numpy().astype(np.float64)
    return found
