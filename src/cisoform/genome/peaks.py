"""Accessible peaks: from a BED or narrowPeak file, or from the names of a peak matrix; and their TSS enrichment.

Peaks are sorted by chromosome (in the order of the genome) and by midpoint. The window of a peak is 1,029 bp round
its midpoint: start = mid - 514 with mid = (start + end) // 2 (the released example's windows; 1,024 tokens).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_text
from cisoform.genome.names import map_chromosomes

PEAK_WINDOW = 1029
PEAK_HALF = 514
TSS_REACH_BP = 500
_BACKGROUND_BP = (5_000, 45_000)
_MIN_STARTS = 20
"""Fewer transcription starts say nothing about the assembly."""
_MAX_OVERLAPPING = 0.5
_NAME = re.compile(r"^(.+?)[:_-](\d+)[_-](\d+)$")
_log = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Peaks:
    """Intervals of accessible DNA, 0-based half-open.

    Attributes:
        chroms: Names of the chromosomes.
        chrom: Index into `chroms` of each peak.
        start: First base.
        end: Base after the last.
        source: Position of each peak in the file or matrix that it comes from.
    """

    chroms: tuple[str, ...]
    chrom: IntArray
    start: IntArray
    end: IntArray
    source: IntArray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def mid(self) -> IntArray:
        """Midpoint of each peak."""
        return (self.start + self.end) // 2

    @property
    def window_start(self) -> IntArray:
        """First base of the 1,029-bp window of each peak; may be negative."""
        return self.mid - PEAK_HALF

    def name(self, row: int) -> str:
        """`chr1:100-600` (0-based, as peak callers write it)."""
        return f"{self.chroms[self.chrom[row]]}:{self.start[row]}-{self.end[row]}"

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Peaks:
        """Some of the peaks."""
        return Peaks(self.chroms, self.chrom[rows], self.start[rows], self.end[rows], self.source[rows])


def parse_peak_names(names: Sequence[str], where: str) -> Peaks:
    """Peaks of a matrix from their names: `chr1:100-600`, `chr1-100-600` or `chr1_100_600`, in the order given.

    Args:
        names: The names.
        where: What holds them, for messages.

    Raises:
        InputError: If a name has another form, a peak has no length, or one stands twice.
    """
    chrom_names: list[str] = []
    start = np.empty(len(names), dtype=np.int64)
    end = np.empty(len(names), dtype=np.int64)
    for row, name in enumerate(names):
        found = _NAME.match(name)
        if found is None:
            raise InputError(
                f"{where}: peak {row + 1} is named {name!r}; expected chr:start-end, chr-start-end or chr_start_end"
            )
        chrom_names.append(found[1])
        start[row], end[row] = int(found[2]), int(found[3])
    empty = np.flatnonzero(end <= start)
    if len(empty):
        raise InputError(f"{where}: peak {names[int(empty[0])]!r} ends before it starts")
    peaks = _with_chroms(chrom_names, start, end)
    _refuse_repeats(peaks, [f"peak {row + 1}" for row in range(len(names))], where)
    return peaks


def read_peaks(path: PathLike) -> Peaks:
    """Peaks of a BED or narrowPeak file (gzip or not), in file order; columns after the third are ignored.

    Raises:
        InputError: At a line with fewer than three columns, a position that is no number, an empty or negative
            interval, or a peak that stands twice, each with its line; if there is no peak.
    """
    chrom_names: list[str] = []
    start: list[int] = []
    end: list[int] = []
    lines: list[int] = []
    with open_text(path, "peaks BED") as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip() or line.startswith(("#", "track", "browser")):
                continue
            fields = line.rstrip("\n").split("\t")
            if len(fields) < 3:
                raise InputError(
                    f"{path}: line {number}: {line.strip()[:40]!r} has {len(fields)} tab-separated columns; "
                    "expected chrom, start, end"
                )
            if not (fields[1].isdigit() and fields[2].isdigit()):
                raise InputError(
                    f"{path}: line {number}: start {fields[1]!r} and end {fields[2]!r} are not whole numbers "
                    "of at least 0"
                )
            first, last = int(fields[1]), int(fields[2])
            if last <= first:
                raise InputError(
                    f"{path}: line {number}: peak {fields[0]}:{first}-{last} ends before it starts"
                )
            chrom_names.append(fields[0])
            start.append(first)
            end.append(last)
            lines.append(number)
    if not start:
        raise InputError(f"{path}: holds no peak; expected lines of chrom, start, end")
    peaks = _with_chroms(chrom_names, np.array(start, dtype=np.int64), np.array(end, dtype=np.int64))
    _refuse_repeats(peaks, [f"line {number}" for number in lines], str(path))
    return peaks


def _with_chroms(names: Sequence[str], start: IntArray, end: IntArray) -> Peaks:
    position = {name: index for index, name in enumerate(dict.fromkeys(names))}
    chrom = np.fromiter((position[name] for name in names), dtype=np.int64, count=len(names))
    return Peaks(tuple(position), chrom, start, end, np.arange(len(start)))


def _refuse_repeats(peaks: Peaks, places: Sequence[str], where: str) -> None:
    order = np.lexsort((peaks.end, peaks.start, peaks.chrom))
    keys = np.stack([peaks.chrom, peaks.start, peaks.end])[:, order]
    same = np.flatnonzero((keys[:, 1:] == keys[:, :-1]).all(axis=0))
    if len(same):
        first, second = sorted((int(order[same[0]]), int(order[same[0] + 1])))
        raise InputError(
            f"{where}: {places[second]}: {peaks.name(second)} stands already at {places[first]}; keep each peak once "
            "(for narrowPeak with several summits, merge them)"
        )


@dataclass(frozen=True)
class PlacedPeaks:
    """Peaks of a genome in genomic order.

    Attributes:
        peaks: The peaks, with the genome's names of chromosomes.
        notes: What was noticed, one line each.
    """

    peaks: Peaks
    notes: list[str]


def place_peaks(peaks: Peaks, chroms: Mapping[str, int], where: str) -> PlacedPeaks:
    """Sort peaks by chromosome (genome order) and midpoint; peaks on chromosomes that the genome lacks are left out.

    Peaks in another order or overlapping ones are no error, but are told.

    Args:
        peaks: As read.
        chroms: Length of every chromosome of the genome.
        where: The file, for messages.

    Raises:
        InputError: If no chromosome is known, a peak lies beyond the end of its chromosome, or most overlap.
    """
    names = map_chromosomes(peaks.chroms, chroms)
    notes = [] if all(name == other for name, other in names.names.items()) else [f"peaks: {names.text}"]
    rank = {name: index for index, name in enumerate(chroms)}
    of = np.array([rank[names.names[name]] if name in names.names else -1 for name in peaks.chroms])
    chrom = of[peaks.chrom]
    known = chrom >= 0
    if not known.all():
        lost = int((~known).sum())
        notes.append(
            f"{lost:,} of {len(peaks):,} peaks are left out: their chromosomes are not in the genome "
            f"({', '.join(names.missing[:3])})"
        )
    length = np.array(list(chroms.values()), dtype=np.int64)
    beyond = np.flatnonzero(known & (peaks.end > length[chrom]))
    if len(beyond):
        row = int(beyond[0])
        raise InputError(
            f"{where}: peak {peaks.name(row)} lies beyond the end of its chromosome ({length[chrom[row]]:,} bases); "
            "the peaks and the genome are of different assemblies"
        )
    placed = Peaks(tuple(chroms), chrom, peaks.start, peaks.end, peaks.source).take(known)
    order = np.lexsort((placed.end, placed.start, placed.mid, placed.chrom))
    if (np.diff(order) < 0).any():
        notes.append("peaks were not in genomic order; they are sorted (matrix columns follow by name)")
    placed = placed.take(order)
    overlapping = int(((np.diff(placed.chrom) == 0) & (placed.start[1:] < placed.end[:-1])).sum())
    if overlapping > _MAX_OVERLAPPING * len(placed):
        raise InputError(
            f"{where}: {overlapping:,} of {len(placed):,} peaks overlap the one before; are these several peak sets? "
            "merge them into one (bedtools merge)"
        )
    if overlapping:
        notes.append(f"{overlapping:,} of {len(placed):,} peaks overlap the one before")
    return PlacedPeaks(placed, notes)


def tss_enrichment(
    peaks: Peaks,
    weight: npt.NDArray[np.floating],
    chrom: npt.NDArray[np.integer],
    tss: npt.NDArray[np.integer],
) -> float | None:
    """Accessibility within 500 bp of transcription starts over that 5 to 45 kb away on either side.

    In the right assembly starts are several times as accessible as their surroundings; in a wrong one the ratio
    is near 1. Each peak's weight is taken as spread evenly over its bases.

    Args:
        peaks: The peaks.
        weight: Signal of each (counts over all cells).
        chrom: Index into `peaks.chroms` of each start.
        tss: Position of each start.

    Returns:
        The ratio, or None where it cannot be judged: fewer than 20 starts, or no signal round them.
    """
    if len(tss) < _MIN_STARTS:
        return None
    spacing = 1 << 33  # keeps chromosomes apart on one axis
    left = peaks.chrom * spacing + peaks.start + (1 << 20)
    right = left + (peaks.end - peaks.start)
    density = np.asarray(weight, dtype=np.float64) / (peaks.end - peaks.start)
    by_left, by_right = np.argsort(left, kind="stable"), np.argsort(right, kind="stable")

    def before(position: IntArray) -> npt.NDArray[np.float64]:
        total = np.zeros(len(position))
        for edge, order, sign in ((left, by_left, 1.0), (right, by_right, -1.0)):
            sums = np.concatenate([[0.0], np.cumsum(density[order])])
            # Positions are taken relative to each chromosome, so that products stay exact enough.
            local = edge[order] % spacing
            moments = np.concatenate([[0.0], np.cumsum(density[order] * local)])
            base = np.searchsorted(edge[order], position // spacing * spacing)
            count = np.searchsorted(edge[order], position)
            n, m = sums[count] - sums[base], moments[count] - moments[base]
            total += sign * (n * (position % spacing) - m)
        return total

    at = chrom.astype(np.int64) * spacing + tss.astype(np.int64) + (1 << 20)

    def mean_within(low: int, high: int) -> float:
        return float((before(at + high) - before(at + low)).sum() / (len(at) * (high - low)))

    near, far = _BACKGROUND_BP
    background = (mean_within(-far, -near) + mean_within(near, far)) / 2
    if background <= 0:
        return None
    return mean_within(-TSS_REACH_BP, TSS_REACH_BP + 1) / background


def check_assembly(
    peaks: Peaks,
    weight: npt.NDArray[np.floating],
    chrom: npt.NDArray[np.integer],
    tss: npt.NDArray[np.integer],
    least: float,
    where: str,
) -> float | None:
    """TSS enrichment, after checking that it is at least `least`.

    Raises:
        InputError: If it is lower: peaks and annotation are of different assemblies, or the data are poor.
    """
    ratio = tss_enrichment(peaks, weight, chrom, tss)
    if ratio is not None and ratio < least:
        raise InputError(
            f"{where}: transcription starts are only {ratio:.2f} times as accessible as their surroundings (at least "
            f"{least:g} expected); peaks and annotation are probably of different assemblies "
            "(--min-tss-enrichment 0 skips this check)"
        )
    if ratio is None:
        _log.info("%s: too few starts to check the assembly", Path(where).name)
    return ratio
