"""Alleles on the windows of peaks: which they touch, whether REF agrees, and random changes to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.analysis.reader import LocusReader, Reader
from cisoform.genome.peaks import PEAK_HALF, PEAK_WINDOW
from cisoform.genome.sequence import BASE_N, decode_dna
from cisoform.genome.variants import Allele, alternate_window, overlaps, reference_mismatch

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]
Fetch = Callable[[str, int, int], Codes]
OUTSIDE, MISMATCH, SCORED = "outside all peaks", "reference mismatch", "scored"


@dataclass(frozen=True)
class PlacedAlleles:
    """Alleles on peak windows, and what became of each.

    Attributes:
        status: Of every allele: "scored", "outside all peaks", "reference mismatch", or its own problem.
        detail: What there is to add, or empty.
        allele: Number of the allele of each edited window; windows are sorted by peak.
        peak: Its peak.
        windows: Its alternative bases (n, 1029).
    """

    status: list[str]
    detail: list[str]
    allele: Ints
    peak: Ints
    windows: Codes

    def __len__(self) -> int:
        return len(self.peak)


@dataclass(frozen=True)
class PeakWindows:
    """The windows that alleles may touch.

    Attributes:
        number: Numbers of the peaks.
        chrom: Their chromosomes.
        start: First base of each window.
        bases: Codes (n, 1029) of the reference.
        fetch: Codes of a stretch of the reference by chromosome, start and end; None = N beyond the windows.
    """

    number: Ints
    chrom: Sequence[str]
    start: Ints
    bases: Codes
    fetch: Fetch | None = None

    @classmethod
    def of(cls, reader: Reader | LocusReader, peaks: Ints, fetch: Fetch | None = None) -> PeakWindows:
        """Windows of some peaks of a reader, all of which have coordinates."""
        table = reader.peaks[peaks.tolist()]
        middle = ((table["start"] + table["end"]) // 2).to_numpy()
        if isinstance(reader, LocusReader):
            bases = reader.locus.dna[peaks]
        else:
            bases = reader.dataset.windows(peaks)
        return cls(peaks, table["chrom"].to_list(), middle - PEAK_HALF, bases, fetch)

    def flanks(self, row: int, length: int) -> tuple[Codes, Codes]:
        """So many bases on either side of a window."""
        start, end = int(self.start[row]), int(self.start[row]) + PEAK_WINDOW
        if self.fetch is None or not length:
            unknown = np.full(length, BASE_N, dtype=np.uint8)
            return unknown, unknown
        return (
            self.fetch(self.chrom[row], start - length, start),
            self.fetch(self.chrom[row], end, end + length),
        )


def place_alleles(alleles: Sequence[Allele], windows: PeakWindows) -> PlacedAlleles:
    """Find the windows that each allele touches, compare REF with them, and write the alternative windows."""
    rows_of: dict[str, Ints] = {}
    chrom = np.array(windows.chrom, dtype=object)
    for name in set(windows.chrom):
        rows = np.flatnonzero(chrom == name)
        rows_of[name] = rows[np.argsort(windows.start[rows], kind="stable")]
    status, detail = [], []
    edits: list[tuple[int, int, Codes]] = []
    for number, allele in enumerate(alleles):
        state, note, made = _place(allele, windows, rows_of.get(allele.chrom))
        status.append(state)
        detail.append(note)
        edits += [(int(windows.number[row]), number, bases) for row, bases in made]
    edits.sort(key=lambda edit: edit[:2])
    return PlacedAlleles(
        status=status,
        detail=detail,
        allele=np.array([edit[1] for edit in edits], dtype=np.int64),
        peak=np.array([edit[0] for edit in edits], dtype=np.int64),
        windows=np.stack([edit[2] for edit in edits]) if edits else np.empty((0, PEAK_WINDOW), np.uint8),
    )


def _place(
    allele: Allele, windows: PeakWindows, rows: Ints | None
) -> tuple[str, str, list[tuple[int, Codes]]]:
    """Status, detail, and the rows of the windows it touches with their alternative bases."""
    if allele.problem:
        return allele.problem, f"ALT {allele.alt[:30]}" if set(allele.ref) <= set("ACGT") else "", []
    if allele.ref == allele.alt:
        return "no change", "REF and ALT are the same", []
    if rows is None:
        return OUTSIDE, f"no peak in reach of the chosen genes is on {allele.chrom}", []
    first, ref, _ = allele.trimmed()
    low = np.searchsorted(windows.start[rows], first - PEAK_WINDOW, side="right")
    high = np.searchsorted(windows.start[rows], first + len(ref), side="right")
    touched = [
        row
        for row in rows[low:high].tolist()
        if overlaps(allele, int(windows.start[row]), int(windows.start[row]) + PEAK_WINDOW)
    ]
    if not touched:
        return OUTSIDE, _nearest(windows, rows, first), []
    wrong = _mismatch(allele, windows, touched)
    if wrong:
        return MISMATCH, wrong, []
    made = []
    for row in touched:
        flanks = windows.flanks(row, len(ref))
        made.append((row, alternate_window(allele, windows.bases[row], int(windows.start[row]), *flanks)))
    return SCORED, "", made


def _nearest(windows: PeakWindows, rows: Ints, position: int) -> str:
    away = windows.start[rows] + PEAK_HALF - position
    best = int(np.abs(away).argmin())
    start = int(windows.start[rows[best]])
    return f"the nearest window is {start + 1}-{start + PEAK_WINDOW}"


def _mismatch(allele: Allele, windows: PeakWindows, rows: Sequence[int]) -> str:
    if windows.fetch is not None:
        bases = windows.fetch(allele.chrom, allele.position, allele.position + len(allele.ref))
        return reference_mismatch(allele, bases, allele.position)
    for row in rows:
        wrong = reference_mismatch(allele, windows.bases[row], int(windows.start[row]))
        if wrong:
            return wrong
    return ""


def control_alleles(
    alleles: Sequence[Allele], placed: PlacedAlleles, windows: PeakWindows, n_controls: int, seed: int
) -> tuple[list[Allele], Ints]:
    """Random changes of the same size elsewhere in the same windows, and the allele that each stands beside.

    Each replaces as many bases by as many as its allele does (without those that REF and ALT share), at a place and
    with bases drawn at random, different from the reference; stretches with N are not drawn.
    """
    row_of = {int(number): row for row, number in enumerate(windows.number.tolist())}
    found: list[Allele] = []
    of: list[int] = []
    _, first = np.unique(placed.allele, return_index=True)
    for edit in first.tolist():
        number = int(placed.allele[edit])
        rng = np.random.default_rng([seed, number])
        row = row_of[int(placed.peak[edit])]
        for _ in range(n_controls):
            drawn = _draw(alleles[number], windows, row, rng)
            if drawn is not None:
                found.append(drawn)
                of.append(number)
    return found, np.array(of, dtype=np.int64)


def _draw(allele: Allele, windows: PeakWindows, row: int, rng: np.random.Generator) -> Allele | None:
    _, ref, alt = allele.trimmed()
    if len(ref) >= PEAK_WINDOW - 1:
        return None
    for _ in range(20):
        place = int(rng.integers(1, PEAK_WINDOW - len(ref)))
        here = windows.bases[row, place : place + len(ref)]
        other = rng.integers(0, 4, len(alt)).astype(np.uint8)
        if len(ref) == len(alt):
            other = ((here + rng.integers(1, 4, len(ref))) % 4).astype(np.uint8)
        if not (here > 3).any():
            position = int(windows.start[row]) + place
            return Allele(0, windows.chrom[row], position, "", decode_dna(here), decode_dna(other))
    return None
