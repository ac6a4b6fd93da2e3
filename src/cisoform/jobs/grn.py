"""`regulation grn` without the command line: scores, sites, tests of factors, edges, bags and nulls, as tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.analysis.enrichment import exchanged
from cisoform.analysis.grn import (
    Edges,
    Evidence,
    Triplets,
    edges,
    evidence,
    triplets,
)
from cisoform.analysis.grn_baselines import Measured
from cisoform.analysis.grn_scores import draw_bags, label_means, sum_of_peaks
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.reader import Reader
from cisoform.analysis.scores import Variant
from cisoform.errors import InputError
from cisoform.jobs.grn_checks import LEAST_GROUPS, knock_out, measure, warnings_of
from cisoform.jobs.grn_scoring import StoredChunks, score_pairs
from cisoform.jobs.grn_sites import (
    FactorSites,
    MotifSet,
    peak_strata,
    read_factors,
    scan_factors,
    shuffled_set,
)
from cisoform.jobs.perturbation import peaks_of_genes

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Update = Callable[[int, int], None]

MOST_NUMBERS = 400_000_000
"""Numbers (peaks x labels x bags) that are held at a time: 1.6 GB."""


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
class Network:
    """What came out.

    Attributes:
        chunks: Scores of pairs.
        motifs: Motifs and factors.
        sites: Where their sites are.
        evidence: Tests of factors, all groups.
        called: Factors that act.
        edges: All edges, columns as in `genes`.
        triplets: Of the network.
        call_stability: Share of bags in which a factor acts with the same sign; NaN without bags.
        stability: Share of bags in which an edge is in the network with the same sign (factors, genes).
        knockout: Change of a gene when all peaks of a factor in its reach close, at the label where it is largest
            (factors, genes); NaN = not asked.
        genes: Target genes.
        column: Column of every gene number; -1 = no target.
        measured: Accessibility and expression by label.
        nulls: Null networks.
        warnings: What the user must know.
    """

    chunks: StoredChunks
    motifs: MotifSet
    sites: FactorSites
    evidence: Evidence
    called: Flags
    edges: Edges
    triplets: Triplets
    call_stability: Numbers
    stability: Floats
    knockout: Floats
    genes: Ints
    column: Ints
    measured: Measured
    nulls: list[Null]
    warnings: list[str]


@dataclass(frozen=True)
class _Scored:
    """What all tests share."""

    chunks: StoredChunks
    peak_sum: Floats
    levels: Numbers
    block: Ints


def check_size(reader: Reader, grouping: Grouping, config: GrnConfig) -> int:
    """Bags that are drawn.

    Raises:
        InputError: If sums by peak, label and bag would not fit.
    """
    bags = config.bags if len(grouping.groups) >= LEAST_GROUPS else 0
    if reader.dataset.n_peaks * len(grouping.labels) * (1 + bags) > MOST_NUMBERS:
        raise InputError(
            f"{reader.dataset.n_peaks:,} peaks in {len(grouping.labels):,} groups with {bags} bags are too many at a "
            "time; give --group-by COLUMN, or fewer --bags"
        )
    return bags


def build(
    reader: Reader,
    grouping: Grouping,
    genes: Ints,
    motifs: Path,
    config: GrnConfig,
    work: Path,
    progress: Callable[[str], Any],
) -> Network:
    """Build a network.

    Args:
        reader: Model and data.
        grouping: Groups and their labels.
        genes: Target genes, ascending.
        motifs: Motif file.
        config: How.
        work: Folder of chunks, as `grn_scoring.open_work` left it.
        progress: Gives a context that yields an `update(done, total)`, by description.

    Raises:
        InputError: A file or a setting that does not fit.
    """
    dataset = reader.dataset
    chosen = read_factors(motifs, dataset)
    n_bags = check_size(reader, grouping, config)
    peaks = peaks_of_genes(reader, genes)
    limits = _limits(config)
    with progress("scanning motifs") as update:
        sites = scan_factors(
            chosen, dataset, peaks, whole_window=config.whole_window, update=update, **limits
        )
    bags = draw_bags(len(grouping.groups), n_bags, config.seed)
    with progress("scoring peaks") as update:
        chunks = score_pairs(reader, grouping, genes, config.variant, bags, work, update)
    n_labels = len(grouping.labels)
    shared = _Scored(
        chunks,
        sum_of_peaks(chunks, dataset.n_peaks, n_labels, bags.shape[1]),
        label_means(dataset.expression_matrix(grouping.groups, chosen.gene), grouping.label, n_labels, bags),
        peak_strata(dataset, peaks, config.whole_window),
    )
    column = np.full(dataset.genes.height, -1, dtype=np.int64)
    column[genes] = np.arange(len(genes))
    found = _test(sites.factors, shared, 0)
    called = found.called(config.tf_fdr)
    best = edges(sites.factors, chunks, column, len(genes), called, found.sign, config.top_share)
    with progress("bags") as update:
        call_stability, stability = _bagged(sites, shared, column, called, found.sign, config, n_bags, update)
    null = [_null(kind, number, chosen, sites, reader, peaks, shared, column, config)
            for kind in ("permuted peaks", "shuffled motifs") for number in range(config.nulls)]  # fmt: skip
    knocked = np.full(best.score.shape, np.nan, dtype=np.float32)
    if config.knockout and called.any():
        with progress("knock-outs") as update:
            knocked = knock_out(reader, grouping, genes, sites, called, update)
    return Network(
        chunks=chunks,
        motifs=chosen,
        sites=sites,
        evidence=found,
        called=called,
        edges=best,
        triplets=triplets(sites.factors, chunks, called, found.sign, config.top_share),
        call_stability=call_stability,
        stability=stability,
        knockout=knocked,
        genes=genes,
        column=column,
        measured=measure(reader, grouping),
        nulls=null,
        warnings=warnings_of(
            chosen,
            sites,
            found,
            called,
            n_labels,
            n_bags,
            wanted_bags=config.bags,
            strict=config.motif_p is None,
            tf_fdr=config.tf_fdr,
            null_calls=[one.n_called for one in null if one.kind == "permuted peaks"],
        ),
    )


def _limits(config: GrnConfig) -> dict[str, float | None]:
    fdr = config.motif_fdr if config.motif_p is None else None
    return {"p_value": config.motif_p, "fdr": fdr}


def _test(factors: Any, shared: _Scored, bag: int) -> Evidence:
    return evidence(factors, shared.peak_sum[:, :, bag], shared.levels[:, :, bag], shared.block)


def _bagged(
    sites: FactorSites,
    shared: _Scored,
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
        found = _test(sites.factors, shared, bag)
        same = found.called(config.tf_fdr) & (found.sign == sign)
        calls += same
        some = called & same
        kept += edges(
            sites.factors, shared.chunks, column, n_genes, some, sign, config.top_share, bag
        ).network
        update(bag, n_bags)
    return calls / n_bags, kept / np.float32(n_bags)


def _null(
    kind: str,
    number: int,
    chosen: MotifSet,
    sites: FactorSites,
    reader: Reader,
    peaks: Ints,
    shared: _Scored,
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
    found = _test(factors, shared, 0)
    n_genes = int((column >= 0).sum())
    called, every = found.called(config.tf_fdr), found.called(1.0)
    both = [
        edges(factors, shared.chunks, column, n_genes, some, found.sign, config.top_share)
        for some in (called, every)
    ]
    return Null(kind, int(called.sum()), *both)
