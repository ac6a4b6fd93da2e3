"""What a knock-in shows: the profile of a peak when it is open, a share of the sites, peaks added to a locus.

Reference 7.7. A peak of a data set opens with the mean profile that it has in the groups where it is open itself; one
that is open nowhere, and every peak of a locus that is closed there, with the mean profile of the open peaks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cisoform.analysis.perturbation import Profiles
from cisoform.analysis.reader import LocusReader, Reader
from cisoform.data.genes import GenesDataset
from cisoform.data.locus_text import Locus, place_of
from cisoform.errors import InputError

Ints = npt.NDArray[np.int64]
Signal = npt.NDArray[np.float32]

MOST_GROUPS = 500
"""Groups of a data set that profiles are averaged over, evenly spaced, so that the work is bounded."""
MOST_PEAKS = 1_000
"""Peaks that the mean profile of open peaks is averaged over."""


class OpenProfiles:
    """Open profiles of the peaks of a data set, each made when it is first asked for.

    A peak counts as open in the groups where its mean signal is at least its mean over the groups that show any
    (ours: it holds for single cells, where that is one count, and for pools, where closed peaks show some noise).
    """

    def __init__(self, dataset: GenesDataset) -> None:
        self.dataset = dataset
        n = dataset.groups.height
        groups = np.unique(np.linspace(0, n - 1, min(n, MOST_GROUPS)).round().astype(np.int64))
        self._states = np.stack([dataset.group_states(group) for group in groups.tolist()])
        self._known: dict[int, Signal | None] = {}
        self._mean: Signal | None = None

    def __call__(self, peaks: Ints) -> Signal:
        """Profiles (n, 1029) of peaks."""
        found = [self._profile(peak) for peak in peaks.tolist()]
        return np.stack([self._common() if one is None else one for one in found])

    def _profile(self, peak: int) -> Signal | None:
        if peak not in self._known:
            states = self._states[:, peak].astype(np.int64)
            states = states[states >= 2 * self.dataset.n_peaks]
            if len(states):
                mean = self.dataset.state_signal(states)
                rows = states[mean >= mean.mean() * (1 - 1e-6)] - 2 * self.dataset.n_peaks
                self._known[peak] = self.dataset.observed.signal(rows).mean(axis=0).astype(np.float32)
            else:
                self._known[peak] = None
        return self._known[peak]

    def _common(self) -> Signal:
        if self._mean is None:
            n = self.dataset.n_peaks
            rows = np.unique(np.linspace(0, n - 1, min(n, MOST_PEAKS)).round().astype(np.int64))
            found = [one for one in map(self._profile, rows.tolist()) if one is not None]
            if not found:
                raise InputError(f"{self.dataset.path}: no peak is open in any group, so none can be opened")
            self._mean = np.mean(found, axis=0).astype(np.float32)
        return self._mean


def open_profiles(reader: Reader | LocusReader) -> Profiles:
    """How the peaks of a reader look when they are open.

    Raises:
        InputError: If no peak of a locus is open.
    """
    if isinstance(reader, Reader):
        return OpenProfiles(reader.dataset)
    signal = np.nan_to_num(reader.locus.signal).astype(np.float32)
    mean = signal.mean(axis=1)
    if not mean.any():
        raise InputError("no peak of the text has signal, so there is no open profile to open others with")
    is_open = mean >= mean[mean > 0].mean()
    common = signal[is_open].mean(axis=0)

    def profiles(peaks: Ints) -> Signal:
        found: Signal = np.where(is_open[peaks, None], signal[peaks], common)
        return found

    return profiles


def dosed(n: int, dose: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which of n sites a dose opens: ceil(dose * n), drawn so that a higher dose opens those of a lower one too."""
    order = np.random.default_rng(seed).permutation(n)
    found = np.zeros(n, dtype=bool)
    found[order[: int(np.ceil(dose * n - 1e-9))]] = True
    return found


def insert_peaks(locus: Locus, added: Locus, tss_peak: int, max_peaks: int) -> tuple[Locus, int]:
    """A locus with further peaks at their place in genomic order.

    Beyond `max_peaks` the farthest from the TSS peak are dropped. The TSS peak stays the same peak; its index moves.

    Args:
        locus: Peaks with ids `chr_start_end`.
        added: Likewise.
        tss_peak: Index of the peak nearest the TSS in `locus`.
        max_peaks: Most peaks afterwards.

    Raises:
        InputError: A peak without coordinates, on another chromosome or already there; or all of the added peaks lie
            beyond the peaks that fit.
    """
    old, new = [_place(name) for name in locus.ids], [_place(name) for name in added.ids]
    chrom = old[tss_peak][0]
    for name, place in zip(added.ids, new, strict=True):
        if place[0] != chrom:
            raise InputError(f"peak {name!r} to insert is not on {chrom}, where the TSS peak is")
        if place in old or new.count(place) > 1:
            raise InputError(f"peak {name!r} to insert is there already; take it out of one of the files")
    mid = np.array([(start + end) // 2 for _, start, end in (*old, *new)])
    order = np.argsort(mid, kind="stable")
    far = np.abs(mid - mid[tss_peak])
    far[tss_peak] = -1
    kept = np.isin(order, np.argsort(far, kind="stable")[:max_peaks])
    order = order[kept]
    if not (order >= len(old)).any():
        raise InputError(
            f"the locus already has {len(old)} peaks, the model reads at most {max_peaks}, and every peak to insert "
            "lies farther from the TSS than all of them; insert nearer ones"
        )
    ids = [*locus.ids, *added.ids]
    dna, signal = np.concatenate([locus.dna, added.dna]), np.concatenate([locus.signal, added.signal])
    joined = Locus([ids[row] for row in order.tolist()], dna[order], signal[order])
    return joined, int(np.flatnonzero(order == tss_peak)[0])


def _place(name: str) -> tuple[str, int, int]:
    place = place_of(name)
    if place is None:
        raise InputError(f"peak {name!r} has no coordinates; inserting needs ids like chr_start_end")
    return place
