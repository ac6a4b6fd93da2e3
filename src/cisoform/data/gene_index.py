"""Which peaks belong to a gene: those within reach of its TSS, the nearest of them if there are many.

Peaks are sorted by chromosome and midpoint, so the peaks of a gene are consecutive: `first` and `count` say it all
(a CSR of consecutive columns).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.data.gene_states import ragged_positions
from cisoform.genome.peaks import TSS_REACH_BP, Peaks

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True)
class GenePeaks:
    """Peaks of each gene, in genomic order.

    Attributes:
        first: First peak of each gene.
        count: Number of its peaks; 0 where none is in reach.
        tss_peak: Index, among the gene's peaks, of the one whose midpoint is nearest the TSS.
        promoter: Whether that peak reaches within 500 bp of the TSS.
        tss: Transcription start of each gene, 0-based.
        sign: 1 on '+', -1 on '-'.
        mid: Midpoint of every peak.
    """

    first: Int32Array
    count: Int32Array
    tss_peak: Int32Array
    promoter: npt.NDArray[np.bool_]
    tss: npt.NDArray[np.int64]
    sign: npt.NDArray[np.int8]
    mid: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)

    def csr(self) -> tuple[npt.NDArray[np.int64], Int32Array]:
        """Offsets and peaks, `peaks[offsets[i]:offsets[i + 1]]` for gene i."""
        offsets = np.concatenate([[0], np.cumsum(self.count, dtype=np.int64)])
        return offsets, ragged_positions(self.first, self.count).astype(np.int32)

    def distance(self, gene: int) -> npt.NDArray[np.int64]:
        """Signed distance of each of a gene's peaks to its TSS in bp; negative = upstream on its strand."""
        mid = self.mid[self.first[gene] : self.first[gene] + self.count[gene]]
        return np.asarray((mid - self.tss[gene]) * int(self.sign[gene]), dtype=np.int64)

    def rank(self, gene: int) -> Int32Array:
        """Released position ids of a gene's peaks (`models.creformer.rank_positions` without its edge bugs)."""
        steps = np.arange(self.count[gene]) - int(self.tss_peak[gene])
        upstream = (steps < 0) == (self.sign[gene] > 0)
        return np.where(steps == 0, 0, 2 * np.abs(steps) - upstream).astype(np.int32)


def index_genes(
    peaks: Peaks,
    chrom: npt.NDArray[np.integer],
    tss: npt.NDArray[np.integer],
    minus: npt.NDArray[np.bool_],
    reach_bp: int,
    max_peaks: int,
) -> GenePeaks:
    """Find the peaks whose midpoints lie within `reach_bp` of each TSS, at most `max_peaks`: the nearest.

    Args:
        peaks: In genomic order (`genome.peaks.place_peaks`).
        chrom: Index into `peaks.chroms` of each gene.
        tss: Start of each gene.
        minus: Genes on the minus strand.
        reach_bp: Half width of the window, inclusive.
        max_peaks: Most peaks of a gene; of two equally near the one to the left is kept.
    """
    spacing = 1 << 34
    tss = np.asarray(tss, dtype=np.int64)
    mid = peaks.mid
    line = peaks.chrom * spacing + mid + (spacing >> 2)
    at = chrom.astype(np.int64) * spacing + tss + (spacing >> 2)
    low = np.searchsorted(line, at - reach_bp, side="left")
    high = np.searchsorted(line, at + reach_bp, side="right")
    for gene in np.flatnonzero(high - low > max_peaks).tolist():
        starts = np.arange(low[gene], high[gene] - max_peaks + 1)
        farthest = np.maximum(
            np.abs(mid[starts] - tss[gene]), np.abs(mid[starts + max_peaks - 1] - tss[gene])
        )
        low[gene] = starts[int(np.argmin(farthest))]
        high[gene] = low[gene] + max_peaks
    count = high - low
    nearest = _nearest(line, at, low, high)
    peak = np.where(count > 0, nearest, 0)
    gap = (
        np.maximum(0, np.maximum(peaks.start[peak] - tss, tss - peaks.end[peak] + 1)) if len(peaks) else count
    )
    return GenePeaks(
        first=low.astype(np.int32),
        count=count.astype(np.int32),
        tss_peak=np.where(count > 0, nearest - low, 0).astype(np.int32),
        promoter=(count > 0) & (gap <= TSS_REACH_BP),
        tss=np.asarray(tss, dtype=np.int64),
        sign=np.where(minus, -1, 1).astype(np.int8),
        mid=mid,
    )


def _nearest(
    line: npt.NDArray[np.int64],
    at: npt.NDArray[np.int64],
    low: npt.NDArray[np.intp],
    high: npt.NDArray[np.intp],
) -> npt.NDArray[np.int64]:
    """Of the peaks `low:high`, the nearest to each position; the left one of equals, the first of equal midpoints."""
    right = np.clip(np.searchsorted(line, at, side="left"), low, np.maximum(high - 1, low))
    left = np.clip(right - 1, low, None)
    if not len(line):
        return low.astype(np.int64)
    limit = len(line) - 1
    right, left = np.minimum(right, limit), np.minimum(left, limit)
    left_is_nearer = np.abs(line[left] - at) <= np.abs(line[right] - at)
    best = np.where(left_is_nearer, left, right)
    # The first of peaks with the same midpoint.
    return np.maximum(np.searchsorted(line, line[best], side="left"), low).astype(np.int64)
