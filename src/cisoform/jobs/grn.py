"""`regulation grn` without the command line: scores, sites, tests of factors, edges, bags and nulls, as tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.analysis.grn import (
    Edges,
    Evidence,
    Triplets,
    edges,
    triplets,
)
from cisoform.analysis.grn_baselines import Measured
from cisoform.analysis.grn_scores import draw_bags, label_means, sum_of_peaks
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.reader import Reader
from cisoform.errors import InputError
from cisoform.jobs.grn_bags import GrnConfig, Null, Scored, bagged, null_network, tested_factors
from cisoform.jobs.grn_checks import LEAST_GROUPS, knock_out, measure, warnings_of
from cisoform.jobs.grn_scoring import StoredChunks, score_pairs
from cisoform.jobs.grn_sites import (
    FactorSites,
    MotifSet,
    peak_strata,
    read_factors,
    scan_factors,
)
from cisoform.jobs.perturbation import peaks_of_genes

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Update = Callable[[int, int], None]

MOST_NUMBERS = 400_000_000
"""Numbers (peaks x labels x bags) that are held at a time: 1.6 GB."""


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
    shared = Scored(
        chunks,
        sum_of_peaks(chunks, dataset.n_peaks, n_labels, bags.shape[1]),
        label_means(dataset.expression_matrix(grouping.groups, chosen.gene), grouping.label, n_labels, bags),
        peak_strata(dataset, peaks, config.whole_window),
    )
    column = np.full(dataset.genes.height, -1, dtype=np.int64)
    column[genes] = np.arange(len(genes))
    found = tested_factors(sites.factors, shared, 0)
    called = found.called(config.tf_fdr)
    best = edges(sites.factors, chunks, column, len(genes), called, found.sign, config.top_share)
    with progress("bags") as update:
        call_stability, stability = bagged(sites, shared, column, called, found.sign, config, n_bags, update)
    null = [null_network(kind, number, chosen, sites, reader, peaks, shared, column, config)
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
