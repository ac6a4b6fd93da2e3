"""Factors of a motif file that are genes of a data set, and where in its peaks their sites lie."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix

from cisoform.analysis.enrichment import strata
from cisoform.analysis.grn import Factors
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.genome.motif_sites import Sites, find_sites, inner_part, shuffled
from cisoform.genome.motifs import Motif, read_motifs
from cisoform.genome.peaks import PEAK_WINDOW

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Update = Callable[[int, int], None]
_PEAKS_AT_ONCE = 8192


@dataclass(frozen=True)
class MotifSet:
    """Motifs whose factor is a gene of the data set.

    Attributes:
        motifs: The motifs.
        factor: (motif, factor) pairs as two rows of numbers; a dimer belongs to both partners.
        names: Names of the factors, as the genes are called, sorted.
        gene: Their gene numbers.
        left_out: Motifs in the file whose factor is no gene of the data set.
    """

    motifs: tuple[Motif, ...]
    factor: Ints
    names: tuple[str, ...]
    gene: Ints
    left_out: int


@dataclass(frozen=True)
class FactorSites:
    """Factors with sites, and the best q-value of the sites of a factor in a peak.

    Attributes:
        factors: Factors and how many sites each peak holds.
        key: factor * peaks + peak of every entry, ascending.
        q: q-value of the best site.
        n_peaks: Peaks of the data set.
        limit: Largest p-value of a site of each motif.
    """

    factors: Factors
    key: Ints
    q: Numbers
    n_peaks: int
    limit: Numbers

    def best_q(self, factor: Ints, peak: Ints) -> Numbers:
        """q-values of entries that are there."""
        return self.q[np.searchsorted(self.key, factor * self.n_peaks + peak)]


def read_factors(path: Path, dataset: GenesDataset) -> MotifSet:
    """Motifs of a file whose factor is a gene of the data set: by name, id, or name in another case.

    Raises:
        InputError: A damaged file, or none of its factors is a gene, with near matches.
    """
    motifs = read_motifs(path)
    genes = dataset.genes
    exact: dict[str, int] = {}
    for key in ("gene_name", "gene_id"):
        for number, name in enumerate(genes[key].to_list()):
            if name:
                exact.setdefault(name, number)
    loose: dict[str, int] = {}
    for name, number in exact.items():
        loose.setdefault(name.upper(), number)
    kept: list[Motif] = []
    pairs: list[tuple[int, int]] = []
    for motif in motifs:
        found = [exact.get(name, loose.get(name.upper())) for name in motif.tfs]
        known = [gene for gene in found if gene is not None]
        if known:
            pairs += [(len(kept), gene) for gene in dict.fromkeys(known)]
            kept.append(motif)
    if not kept:
        first = motifs[0].tfs[0]
        near = difflib.get_close_matches(first, exact, n=3, cutoff=0.6)
        mean = f"; near {first!r} are {', '.join(near)}" if near else ""
        raise InputError(
            f"{path}: none of its {len(motifs):,} factors ({', '.join(motif.tf for motif in motifs[:3])} ...) is a "
            f"gene of {dataset.path}{mean}; factors are matched to gene names and ids"
        )
    called = [genes["gene_name"][gene] or genes["gene_id"][gene] for gene in range(genes.height)]
    numbers = sorted({gene for _, gene in pairs}, key=lambda gene: (called[gene], gene))
    factor = np.array([[motif, numbers.index(gene)] for motif, gene in pairs], dtype=np.int64).T
    names = tuple(str(called[gene]) for gene in numbers)
    return MotifSet(tuple(kept), factor, names, np.array(numbers, dtype=np.int64), len(motifs) - len(kept))


def scan_factors(
    chosen: MotifSet,
    dataset: GenesDataset,
    peaks: Ints,
    *,
    p_value: float | Numbers | None,
    fdr: float | None,
    whole_window: bool,
    update: Update | None = None,
) -> FactorSites:
    """Scan peaks for the motifs.

    Args:
        chosen: Motifs and factors.
        dataset: Where the windows are.
        peaks: Peaks to scan.
        p_value: As in `find_sites`.
        fdr: Likewise.
        whole_window: Look at all 1,029 bases of the window, not only at the called peak.
        update: Is told how far it is.
    """
    first, last = looked_at(dataset, peaks, whole_window)
    sites = find_sites(
        chosen.motifs, dataset.windows, peaks, first, last, p_value=p_value, fdr=fdr, update=update
    )
    return by_factor(chosen, sites, dataset.n_peaks)


def looked_at(dataset: GenesDataset, peaks: Ints, whole_window: bool) -> tuple[Ints, Ints]:
    """First and last base of the windows of peaks in which sites count."""
    places = dataset.peaks[peaks.tolist()]
    start, end = (places[name].to_numpy().astype(np.int64) for name in ("start", "end"))
    return inner_part(start, end, PEAK_WINDOW, whole_window)


def by_factor(chosen: MotifSet, sites: Sites, n_peaks: int) -> FactorSites:
    """Sites of motifs as those of factors: of several motifs the one with most sites in the peak counts."""
    table = pl.DataFrame({"motif": sites.motif, "peak": sites.peak, "count": sites.count, "q": sites.q})
    owner = pl.DataFrame({"motif": chosen.factor[0], "factor": chosen.factor[1]})
    joined = table.join(owner, on="motif").group_by("factor", "peak").agg(pl.max("count"), pl.min("q"))
    joined = joined.sort("factor", "peak")
    factor, peak = joined["factor"].to_numpy(), joined["peak"].to_numpy()
    count = joined["count"].to_numpy().astype(np.int64)
    matrix = csr_matrix((count, (peak, factor)), shape=(n_peaks, len(chosen.names)), dtype=np.int64)
    factors = Factors(chosen.names, chosen.gene, matrix)
    key = (factor * n_peaks + peak).astype(np.int64)
    return FactorSites(factors, key, joined["q"].to_numpy(), n_peaks, sites.limit)


def shuffled_set(chosen: MotifSet, rng: np.random.Generator) -> MotifSet:
    """The same factors with motifs whose positions are shuffled: a null."""
    return replace(chosen, motifs=tuple(shuffled(motif, rng) for motif in chosen.motifs))


def peak_strata(dataset: GenesDataset, peaks: Ints, whole_window: bool) -> Ints:
    """Stratum of every peak of the data set by GC content and length of the scanned part; 0 of peaks not given."""
    first, last = looked_at(dataset, peaks, whole_window)
    gc = np.zeros(len(peaks))
    for at in range(0, len(peaks), _PEAKS_AT_ONCE):
        part = slice(at, at + _PEAKS_AT_ONCE)
        bases = dataset.windows(peaks[part])
        place = np.arange(bases.shape[1])
        inside = (place >= first[part, None]) & (place < last[part, None]) & (bases < 4)
        strong = inside & ((bases == 1) | (bases == 2))
        gc[part] = strong.sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
    found = np.zeros(dataset.n_peaks, dtype=np.int64)
    found[peaks] = strata(gc, last - first)
    return found


def few_sites(found: FactorSites, least: int) -> Sequence[str]:
    """Factors with sites in fewer peaks than a test needs."""
    count = np.bincount(found.factors.sites.indices, minlength=len(found.factors.names))
    return [name for name, n in zip(found.factors.names, count.tolist(), strict=True) if n < least]
