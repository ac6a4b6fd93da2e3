"""Gene regulatory network: which factor acts through which peak on which gene, up or down, and how sure that is.

In: signed scores of (gene, peak) pairs (`grn_scores`), sites of factors in peaks, expression of the factors. Two
questions are kept apart.

1. Does a factor act at all? `evidence` compares the peaks with its sites with the other peaks of like GC content and
   length (`enrichment`), in two ranks summed: the score of the peak, mean over labels and summed over its genes (the
   site goes with raising, or lowering, expression), and how that score follows the factor's own expression over the
   labels. Benjamini and Hochberg over factors. The sign of the shift is the factor's sign: it comes from knocking out
   its peaks one by one.
2. Through which peak, on which gene? Of a factor that acts, a triplet scores sites in the peak x what the peak adds
   (of the factor's sign; the most over labels). An edge scores as its best triplet. Edges whose peaks lie in the top
   share of their gene's peaks form the network.

Reference 7.4; it sums attention x motif score and takes the sign from a knock-out. Ranks, the second rank and the best
triplet in place of the sum are ours (`docs/results/grn.md` compares).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_matrix, csr_matrix

from cisoform.analysis.enrichment import benjamini_hochberg, permutation_z, ranked, two_sided
from cisoform.analysis.grn_scores import PairChunk

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

LEAST_PEAKS = 5
"""Peaks with a site that a factor needs to be tested."""
LEAST_LABELS = 3
"""Labels from which on scores are compared with the factor's expression."""


@dataclass(frozen=True)
class Factors:
    """Factors and their sites.

    Attributes:
        names: Names.
        gene: Number of the gene of each.
        sites: Number of sites (peaks, factors); of a factor with several motifs, that of the motif with most.
    """

    names: tuple[str, ...]
    gene: Ints
    sites: csr_matrix

    def permuted(self, order: Ints) -> Factors:
        """The same sites in other peaks: row i takes what row `order[i]` holds."""
        return Factors(self.names, self.gene, csr_matrix(self.sites[order]))


@dataclass(frozen=True)
class Evidence:
    """How surely each factor acts; all of shape (factors,).

    Attributes:
        n_peaks: Peaks with a site that a gene reads.
        z_score: Shift of the scores of its peaks.
        z_response: Shift of how they follow its expression; NaN where that cannot be asked.
        z: Of both ranks summed; NaN = not tested.
        p: Two-sided.
        q: False discovery rate over factors.
    """

    n_peaks: Ints
    z_score: Numbers
    z_response: Numbers
    z: Numbers
    p: Numbers
    q: Numbers

    def called(self, fdr: float) -> Flags:
        """Factors that act at this false discovery rate (all that were tested at 1)."""
        return np.asarray(np.nan_to_num(self.q, nan=2.0) <= fdr)

    @property
    def sign(self) -> Ints:
        """1 raises, -1 lowers, 0 not tested."""
        return np.sign(np.nan_to_num(self.z)).astype(np.int64)


def evidence(factors: Factors, peak_sum: Floats | Numbers, expression: Numbers, block: Ints) -> Evidence:
    """Test every factor.

    Args:
        factors: With their sites.
        peak_sum: Score of every peak by label (peaks, labels); NaN rows are peaks that no gene reads, NaN columns
            labels without groups.
        expression: Of the factors by label (labels, factors); NaN likewise.
        block: Stratum of every peak.
    """
    read = np.flatnonzero(~np.isnan(peak_sum).all(axis=1))
    there = np.flatnonzero(~np.isnan(peak_sum[read]).any(axis=0)) if len(read) else np.empty(0, np.int64)
    score = peak_sum[np.ix_(read, there)].astype(np.float64)
    levels, within = expression[there], block[read]
    sites = csc_matrix(factors.sites[read])
    first = ranked(score.mean(axis=1), within) if len(there) else np.zeros(len(read))
    moves = unit_columns(score.T) if len(there) >= LEAST_LABELS else None
    n, rows = len(factors.names), []
    for factor in range(n):
        chosen = np.sort(sites.indices[sites.indptr[factor] : sites.indptr[factor + 1]]).astype(np.int64)
        rows.append(_test(first, moves, levels[:, factor], chosen, within))
    table = np.array(rows, dtype=np.float64).reshape(n, 4)
    p = two_sided(table[:, 3])
    return Evidence(
        table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3], p, benjamini_hochberg(p)
    )


def _test(
    first: Numbers, moves: Numbers | None, level: Numbers, chosen: Ints, block: Ints
) -> tuple[float, float, float, float]:
    """Peaks with a site, both z-scores, and that of the sum of ranks."""
    nan = float("nan")
    if len(chosen) < LEAST_PEAKS:
        return float(len(chosen)), nan, nan, nan
    alone = permutation_z(first, chosen, block)
    own = unit_columns(level[:, None])[:, 0]
    if moves is None or not own.any():
        return float(len(chosen)), alone, nan, alone
    second = ranked(np.round(moves.T @ own, 9), block)
    return (
        float(len(chosen)),
        alone,
        permutation_z(second, chosen, block),
        permutation_z(first + second, chosen, block),
    )


def unit_columns(values: Numbers) -> Numbers:
    """Columns (rows, columns) centred and of length 1; 0 where a column does not vary."""
    centred = values - values.mean(axis=0) if len(values) else values
    size = np.sqrt((centred**2).sum(axis=0))
    scale = np.maximum(np.abs(values).max(axis=0, initial=0.0), 1.0)
    varies = size > 1e-6 * scale
    where = np.broadcast_to(varies, centred.shape)
    found: Numbers = np.divide(centred, size, out=np.zeros_like(centred), where=where)
    return found


@dataclass(frozen=True)
class Edges:
    """Scores of all (factor, gene) pairs, dense (factors, genes).

    Attributes:
        score: Of the best triplet; 0 = no edge.
        network: Whether the edge is part of the network.
    """

    score: Floats
    network: Flags


def edges(
    factors: Factors,
    chunks: Iterable[PairChunk],
    column: npt.NDArray[np.int64],
    n_columns: int,
    called: Flags,
    sign: Ints,
    top_share: float,
    bag: int = 0,
) -> Edges:
    """Score every edge in one bag.

    Args:
        factors: With their sites.
        chunks: Scores of pairs.
        column: Column of every gene number of the data set (-1 = left out).
        n_columns: Genes.
        called: Factors that act.
        sign: Of each factor.
        top_share: Share of a gene's peaks that the network reads.
        bag: Which.
    """
    score = np.zeros((len(factors.names), n_columns), dtype=np.float32)
    network = np.zeros(score.shape, dtype=bool)
    if not called.any():
        return Edges(score, network)
    up, down = np.flatnonzero(called & (sign > 0)), np.flatnonzero(called & (sign < 0))
    for chunk in chunks:
        for gene, rows in chunk.genes():
            if column[gene] < 0:
                continue
            sites = factors.sites[chunk.peak[rows]].toarray()
            rise, fall = chunk.rise[rows, bag], chunk.fall[rows, bag]
            top = top_peaks(np.maximum(rise, fall), top_share)
            for some, strength in ((up, rise), (down, fall)):
                triplets = sites[:, some] * strength[:, None]
                score[some, column[gene]] = triplets.max(axis=0, initial=0.0)
                network[some, column[gene]] = (triplets[top] > 0).any(axis=0)
    return Edges(score, network)


def top_peaks(size: Floats | Numbers, share: float) -> Flags:
    """The peaks of a gene with the largest scores: this share of them, at least one; ties by order."""
    keep = max(1, round(share * len(size)))
    found = np.zeros(len(size), dtype=bool)
    found[np.argsort(-size, kind="stable")[:keep]] = True
    return found


@dataclass(frozen=True)
class Triplets:
    """Factor -> peak -> gene of the network; all of one length.

    Attributes:
        factor: Row of the factor.
        peak: Number of the peak.
        gene: Number of the gene.
        sites: Sites of the factor in the peak.
        score: Sites x what the peak adds (or takes), the most over labels.
        change: Signed score of the peak at the label where it is largest.
        label: That label.
        distance_bp: From the TSS.
        place: Of the peak among those of the gene by the size of its score, from 0.
        n_peaks: Peaks of the gene.
    """

    factor: Ints
    peak: Ints
    gene: Ints
    sites: Ints
    score: Numbers
    change: Numbers
    label: Ints
    distance_bp: Numbers
    place: Ints
    n_peaks: Ints


def triplets(
    factors: Factors, chunks: Iterable[PairChunk], called: Flags, sign: Ints, top_share: float
) -> Triplets:
    """All triplets of the network, strongest first within factor and gene order kept."""
    parts = [
        _of_gene(factors, chunk, gene, rows, called, sign, top_share)
        for chunk in chunks
        for gene, rows in chunk.genes()
    ]
    return _joined([part for part in parts if part is not None])


def _of_gene(
    factors: Factors, chunk: PairChunk, gene: int, rows: slice, called: Flags, sign: Ints, top_share: float
) -> Sequence[npt.NDArray[np.float64]] | None:
    rise, fall = chunk.rise[rows, 0], chunk.fall[rows, 0]
    size = np.maximum(rise, fall)
    top = np.flatnonzero(top_peaks(size, top_share))
    sites = factors.sites[chunk.peak[rows][top]].toarray() * called
    row, factor = np.nonzero(sites)
    slot = top[row]
    strength = np.where(sign[factor] > 0, rise[slot], fall[slot])
    acts = strength > 0
    row, factor, slot, strength = row[acts], factor[acts], slot[acts], strength[acts]
    if not len(factor):
        return None
    signed = np.nan_to_num(chunk.by_label[rows][slot]) * sign[factor][:, None]
    label = signed.argmax(axis=1)
    place = np.empty(len(size), dtype=np.int64)
    place[np.argsort(-size, kind="stable")] = np.arange(len(size))
    n_sites = sites[row, factor]
    columns = (
        *(factor, chunk.peak[rows][slot], np.full(len(slot), gene), n_sites, n_sites * strength),
        *(signed[np.arange(len(slot)), label] * sign[factor], label, chunk.distance_bp[rows][slot]),
        *(place[slot], np.full(len(slot), len(size))),
    )
    return [np.asarray(column, dtype=np.float64) for column in columns]


def _joined(parts: Sequence[Sequence[npt.NDArray[np.float64]]]) -> Triplets:
    empty = [np.empty(0) for _ in range(10)]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else empty
    order = np.lexsort((-columns[4], columns[2], columns[0]))
    factor, peak, gene, sites, score, change, label, distance, place, n = (
        column[order] for column in columns
    )
    return Triplets(
        factor=factor.astype(np.int64),
        peak=peak.astype(np.int64),
        gene=gene.astype(np.int64),
        sites=sites.astype(np.int64),
        score=score,
        change=change,
        label=label.astype(np.int64),
        distance_bp=distance,
        place=place.astype(np.int64),
        n_peaks=n.astype(np.int64),
    )
