"""A network beside a list of edges: model, baselines and nulls in one table; overlap with other networks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.analysis.grn import edges, evidence
from cisoform.analysis.grn_baselines import PEAK_GENE, baseline_edges, peak_gene_chunks
from cisoform.analysis.grn_evaluate import curve_points, edge_scores, overlap, sign_score
from cisoform.analysis.grn_scores import sum_of_peaks
from cisoform.analysis.perturbation import contact
from cisoform.analysis.reader import Reader
from cisoform.errors import InputError
from cisoform.genome.edge_table import EdgeTable
from cisoform.jobs.grn import Network
from cisoform.jobs.grn_bags import GrnConfig
from cisoform.jobs.grn_sites import peak_strata

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Values = npt.NDArray[np.floating[Any]]
MOST_TRIPLETS = 20_000_000


@dataclass(frozen=True)
class Listed:
    """A table of edges on the factors and target genes of a network.

    Attributes:
        edges: (factors, genes).
        sign: 1, -1, or 0 (not listed, not known, or both).
        strength: Largest of the table; 0 where there is none.
        rows: Rows of the table that were found.
        factor: Of each of them.
        column: Likewise, column of the gene.
    """

    edges: Flags
    sign: Numbers
    strength: Numbers
    rows: Ints
    factor: Ints
    column: Ints


def matched(
    table: EdgeTable, names: tuple[str, ...], factor_gene: Ints, genes: Ints, reader: Reader
) -> tuple[Ints, Ints]:
    """Factor and column of the gene of every row of a table, by name or id, in any case; -1 = not known.

    Args:
        table: The table.
        names: Of the factors.
        factor_gene: Their gene numbers.
        genes: Numbers of the target genes.
        reader: Where they are from.

    Raises:
        InputError: No factor, or no gene, of the table is known, with near matches.
    """
    ids = reader.genes["gene_id"].gather(factor_gene.tolist()).to_list()
    factors = {str(key).upper(): row for row in range(len(names)) for key in (ids[row], names[row])}
    places: dict[str, int] = {}
    for key in ("gene_id", "gene_name"):
        for place, name in enumerate(reader.genes[key].gather(genes.tolist()).to_list()):
            if name:
                places.setdefault(str(name).upper(), place)
    factor = np.array([factors.get(name.upper(), -1) for name in table.factor], dtype=np.int64)
    column = np.array([places.get(name.upper(), -1) for name in table.gene], dtype=np.int64)
    _known(table, table.factor, factor, names, "factors", "with a motif and a gene")
    shown = reader.genes["gene_name"].gather(genes.tolist()).drop_nulls().to_list()
    _known(table, table.gene, column, shown, "genes", "among the target genes")
    return factor, column


def locate(table: EdgeTable, network: Network, reader: Reader) -> Listed:
    """A table on the factors and target genes of a network.

    Raises:
        InputError: As `matched`.
    """
    factors = network.sites.factors
    factor, column = matched(table, factors.names, factors.gene, network.genes, reader)
    rows = np.flatnonzero((factor >= 0) & (column >= 0))
    at = (factor[rows], column[rows])
    shape = network.edges.score.shape
    listed, sign, strength = np.zeros(shape, dtype=bool), np.zeros(shape), np.zeros(shape)
    listed[at] = True
    if table.sign is not None:
        low, high = np.zeros(shape), np.zeros(shape)
        np.minimum.at(low, at, table.sign[rows])
        np.maximum.at(high, at, table.sign[rows])
        sign = low + high  # rows that disagree leave 0
    if table.strength is not None:
        np.maximum.at(strength, at, np.abs(table.strength[rows]))
    return Listed(listed, sign, strength, rows, *at)


def _known(table: EdgeTable, given: tuple[str, ...], found: Ints, names: Any, what: str, where: str) -> None:
    if (found >= 0).any():
        return
    near = difflib.get_close_matches(given[0], list(names), n=3, cutoff=0.6)
    mean = f"; near {given[0]!r} are {', '.join(near)}" if near else "; is it of another species or naming?"
    raise InputError(f"{table.path}: none of its {what} ({given[0]!r} ...) is {where} of this network{mean}")


def evaluate(
    table: EdgeTable, network: Network, reader: Reader, config: GrnConfig, counted: Flags
) -> dict[str, Any]:
    """Score the model, the baselines and the nulls against a list.

    Args:
        table: The list.
        network: The network.
        reader: Where it is from.
        config: How it was built.
        counted: Target genes that count (columns).

    Raises:
        InputError: As `locate`; or no edge of the list is among the pairs that count.
    """
    listed = locate(table, network, reader)
    if not listed.edges[:, counted].any():
        raise InputError(
            f"{table.path}: none of its edges is among the {len(network.motifs.names):,} factors and {counted.sum():,} "
            "genes that count; choose other genes, or another list"
        )
    scores = every_score(network, reader, config)
    named: Flags = np.asarray(listed.edges.any(axis=1))
    result: dict[str, Any] = {
        "list": table.path.name,
        "n_listed": len(table),
        "n_found": int(listed.edges[:, counted].sum()),
        "n_genes": int(counted.sum()),
    }
    every = np.ones(len(named), dtype=bool)
    for key, factors in (("all factors", every), ("listed factors", named)):
        result[key] = {
            name: edge_scores(value, listed.edges, factors, counted, config.seed)
            for name, value in scores.items()
        }
    result["network"] = _as_set(network, listed, counted)
    pairs = np.broadcast_to(counted, listed.edges.shape)
    signs = np.broadcast_to(network.evidence.sign[:, None], listed.edges.shape).astype(np.float64)
    knocked = -np.nan_to_num(network.knockout)  # what closing lowers, the factor raises
    result["sign"] = {
        "factor": sign_score(signs, network.edges.score > 0, listed.sign, pairs),
        "knockout": sign_score(knocked, network.edges.score > 0, listed.sign, pairs),
    }
    result["triplets"] = triplet_scores(table, listed, network, reader, counted)
    truth = listed.edges[:, counted].reshape(-1)
    result["curves"] = {
        name: curve_points(value[:, counted].reshape(-1), truth)
        for name, value in scores.items()
        if not name.startswith("null")
    }
    return result


def every_score(network: Network, reader: Reader, config: GrnConfig) -> dict[str, Values]:
    """Scores of edges by name: the model first, then baselines, then the nulls."""
    factors, n = network.sites.factors, len(network.genes)
    found: dict[str, Values] = {"model": network.edges.score}
    found |= baseline_edges(factors, network.chunks, network.column, n, network.measured)
    found[PEAK_GENE] = rival_edges(network, reader, config)
    for number, null in enumerate(network.nulls):
        name = f"null: {null.kind} {number % max(config.nulls, 1) + 1}"
        found[name] = null.called.score
        found[f"{name}, every factor kept"] = null.ungated.score
    return found


def rival_edges(network: Network, reader: Reader, config: GrnConfig) -> Values:
    """Our network with the correlation of peak and gene in place of the model: same tests, same edges."""
    factors, measured = network.sites.factors, network.measured
    rival = list(peak_gene_chunks(network.chunks, measured))
    n_labels = measured.expression.shape[0]
    summed = sum_of_peaks(rival, reader.dataset.n_peaks, n_labels, 1)[:, :, 0]
    peaks = np.flatnonzero(~np.isnan(summed).all(axis=1))
    block = peak_strata(reader.dataset, peaks, config.whole_window)
    tested = evidence(factors, summed, measured.expression[:, factors.gene], block)
    called = tested.called(config.tf_fdr)
    return edges(
        factors, rival, network.column, len(network.genes), called, tested.sign, config.top_share
    ).score


def _as_set(network: Network, listed: Listed, counted: Flags) -> dict[str, Any]:
    """Precision and recall of the edges that are written."""
    ours, truth = network.edges.network[:, counted], listed.edges[:, counted]
    both = int((ours & truth).sum())
    return {
        "n_edges": int(ours.sum()),
        "precision": both / int(ours.sum()) if ours.any() else None,
        "recall": both / int(truth.sum()),
    }


def triplet_scores(
    table: EdgeTable, listed: Listed, network: Network, reader: Reader, counted: Flags
) -> dict[str, Any] | None:
    """Factor -> peak -> gene against the list, over all triplets with a site; None where the list has no regions.

    Listed triplets without a site count as found last.
    """
    if table.region is None:
        return None
    truth = _listed_triplets(table, listed, network, reader, counted)
    values, right = _candidates(network, counted, truth, reader.dataset.n_peaks)
    if len(right) > MOST_TRIPLETS:
        return None
    missed = len(truth) - int(right.sum())
    right = np.concatenate([right, np.ones(missed, dtype=bool)])
    scores = {
        name: edge_scores(
            np.concatenate([value, np.full(missed, -1.0)])[None],
            right[None],
            np.ones(1, dtype=bool),
            np.ones(len(right), dtype=bool),
            draws=0,
        )
        for name, value in values.items()
    }
    return {
        "n_candidates": len(right) - missed,
        "n_true": len(truth),
        "n_without_site": missed,
        "scores": scores,
    }


def _listed_triplets(
    table: EdgeTable, listed: Listed, network: Network, reader: Reader, counted: Flags
) -> set[tuple[int, int, int]]:
    """(factor, peak, gene number) of the list: every peak that a region overlaps."""
    assert table.region is not None
    peaks = reader.peaks
    by = {
        name: part for (name,), part in peaks.with_row_index("row").group_by(["chrom"], maintain_order=True)
    }
    found = set()
    for row, factor, column in zip(
        listed.rows.tolist(), listed.factor.tolist(), listed.column.tolist(), strict=True
    ):
        chrom, start, end = table.region[row]
        if not counted[column] or chrom not in by:
            continue
        part = by[chrom]
        hit = (part["start"].to_numpy() < end) & (part["end"].to_numpy() > start)
        for peak in part["row"].to_numpy()[hit].tolist():
            found.add((factor, int(peak), int(network.genes[column])))
    return found


def _candidates(
    network: Network, counted: Flags, truth: set[tuple[int, int, int]], n_peaks: int
) -> tuple[Mapping[str, Numbers], Flags]:
    """Scores of all triplets with a site by the model and two baselines, and which are listed."""
    factors = network.sites.factors
    mean = network.measured.accessibility.mean(axis=0)
    called, sign = network.called, network.evidence.sign
    n_genes = len(network.column)
    keys = np.array(sorted((f * n_peaks + p) * n_genes + g for f, p, g in truth), dtype=np.int64)
    parts: list[tuple[Numbers, Numbers, Numbers, Flags]] = []
    for chunk in network.chunks:
        for gene, rows in chunk.genes():
            column = network.column[gene]
            if column < 0 or not counted[column]:
                continue
            peaks = chunk.peak[rows]
            sites = factors.sites[peaks].toarray()
            slot, factor = np.nonzero(sites)
            strength = np.where(sign[factor] > 0, chunk.rise[rows, 0][slot], chunk.fall[rows, 0][slot])
            near = contact(chunk.distance_bp[rows][slot])
            ours = sites[slot, factor] * strength * called[factor]
            key = (factor * n_peaks + peaks[slot]).astype(np.int64) * n_genes + gene
            parts.append((ours.astype(np.float64), near, near * mean[peaks[slot]], np.isin(key, keys)))
    model, near, opened, right = (np.concatenate(column) for column in zip(*parts, strict=True))
    return {"model": model, "distance": near, "accessibility x contact": opened}, right


def compare(table: EdgeTable, network: Network, reader: Reader, counted: Flags) -> dict[str, Any]:
    """Overlap of the network with another.

    Raises:
        InputError: As `locate`.
    """
    listed = locate(table, network, reader)
    factors: Flags = np.asarray(listed.edges.any(axis=1))
    pairs = factors[:, None] & counted[None]
    sign = np.broadcast_to(network.evidence.sign[:, None], pairs.shape).astype(np.float64)
    strength = (network.edges.score.astype(np.float64), listed.strength)
    return {
        "network": table.path.name,
        **overlap(
            network.edges.network,
            listed.edges,
            pairs,
            None if table.sign is None else (sign, listed.sign),
            None if table.strength is None else strength,
        ),
    }
