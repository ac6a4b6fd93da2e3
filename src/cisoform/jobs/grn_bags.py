"""Settings of a gene network, its bags of cells, and the null networks that stand beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.analysis.enrichment import exchanged
from cisoform.analysis.grn import Edges, Evidence, Factors, edges, evidence
from cisoform.analysis.reader import Reader
from cisoform.analysis.scores import Variant
from cisoform.errors import InputError
from cisoform.jobs.grn_scoring import StoredChunks
from cisoform.jobs.grn_sites import FactorSites, MotifSet, scan_factors, shuffled_set

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Update = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class GrnConfig:
    """How a network is built. Defaults were chosen on validation chromosomes of planted regulation.

    Attributes:
        variant: Reading that scores peaks.
        motif_fdr: Sites up to this false discovery rate; of use where `motif_p` is None.
        motif_p: Instead, sites up to this p-value.
        whole_window: Look for sites in the whole window of a peak, not in the called peak alone.
        tf_fdr: Factors act up to this false discovery rate.
        top_share: Share of a gene's peaks that the network reads.
        bags: Draws of groups with replacement; 0 = no stability.
        knockout: Also knock out all peaks of every factor that acts.
        nulls: Networks of permuted peaks, and of shuffled motifs, so many of each.
        seed: Of all draws.
    """

    variant: Variant = "ablation"
    motif_fdr: float = 0.05
    motif_p: float | None = None
    whole_window: bool = False
    tf_fdr: float = 0.05
    top_share: float = 0.2
    bags: int = 20
    knockout: bool = True
    nulls: int = 3
    seed: int = 0

    def check(self) -> None:
        """Refuse settings out of range.

        Raises:
            InputError: With the flag.
        """
        shares = (
            ("--motif-fdr", self.motif_fdr),
            ("--motif-p", self.motif_p),
            ("--tf-fdr", self.tf_fdr),
            ("--top-share", self.top_share),
        )
        for flag, value in shares:
            if value is not None and not 0 < value <= 1:
                raise InputError(f"{flag} {value:g} must be above 0 and at most 1")
        if self.motif_p is not None and self.motif_p > 0.01:
            raise InputError(f"--motif-p {self.motif_p:g} would call most places a site; give at most 0.01")


@dataclass(frozen=True)
class Null:
    """A network that must be empty: which kind, the factors it calls, and its edges with and without that cut."""

    kind: str
    n_called: int
    called: Edges
    ungated: Edges


@dataclass(frozen=True)
class Scored:
    """What all tests share.

    Attributes:
        chunks: Scores of pairs.
        peak_sum: Their sum by peak (peaks, labels, bags).
        levels: Expression of the factors (labels, factors, bags).
        block: Stratum of every peak.
    """

    chunks: StoredChunks
    peak_sum: Floats
    levels: Numbers
    block: Ints


def tested_factors(factors: Factors, shared: Scored, bag: int) -> Evidence:
    """Test every factor in one bag."""
    return evidence(factors, shared.peak_sum[:, :, bag], shared.levels[:, :, bag], shared.block)


def bagged(
    sites: FactorSites,
    shared: Scored,
    column: Ints,
    called: Flags,
    sign: Ints,
    config: GrnConfig,
    n_bags: int,
    update: Update,
) -> tuple[Numbers, Floats]:
    """Share of bags in which a factor acts with its sign, and in which an edge is in the network."""
    n_genes = int((column >= 0).sum())
    calls = np.zeros(len(called))
    kept = np.zeros((len(called), n_genes), dtype=np.float32)
    if not n_bags:
        return np.full(len(called), np.nan), np.full(kept.shape, np.nan, dtype=np.float32)
    for bag in range(1, n_bags + 1):
        found = tested_factors(sites.factors, shared, bag)
        same = found.called(config.tf_fdr) & (found.sign == sign)
        calls += same
        some = called & same
        kept += edges(
            sites.factors, shared.chunks, column, n_genes, some, sign, config.top_share, bag
        ).network
        update(bag, n_bags)
    return calls / n_bags, kept / np.float32(n_bags)


def null_network(
    kind: str,
    number: int,
    chosen: MotifSet,
    sites: FactorSites,
    reader: Reader,
    peaks: Ints,
    shared: Scored,
    column: Ints,
    config: GrnConfig,
) -> Null:
    """One null network: sites in other peaks of the same stratum, or of motifs with shuffled positions."""
    rng = np.random.default_rng([config.seed, 3, number])
    if kind == "permuted peaks":
        order = np.arange(reader.dataset.n_peaks)
        order[peaks] = peaks[exchanged(shared.block[peaks], rng)]
        factors = sites.factors.permuted(order)
    else:
        other = shuffled_set(chosen, rng)
        # As strict as for the motif itself: its false discovery rate would leave a shuffled one without sites.
        limit = np.where(sites.limit > 0, sites.limit, 1e-12)
        factors = scan_factors(
            other, reader.dataset, peaks, p_value=limit, fdr=None, whole_window=config.whole_window
        ).factors
    found = tested_factors(factors, shared, 0)
    n_genes = int((column >= 0).sum())
    called, every = found.called(config.tf_fdr), found.called(1.0)
    both = [
        edges(factors, shared.chunks, column, n_genes, some, found.sign, config.top_share)
        for some in (called, every)
    ]
    return Null(kind, int(called.sum()), *both)
