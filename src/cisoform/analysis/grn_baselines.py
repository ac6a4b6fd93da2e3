"""Gene networks without a model, to stand beside the model's: same factors, sites and genes; (factors, genes).

co-expression                    |correlation over labels| of factor and gene; no sites, no peaks
distance                         nearest peak with a site: weight of contact by distance
motif x accessibility            sites x mean accessibility, summed over the gene's peaks
motif x accessibility x contact  the same with the weight of contact
motif x contact x co-expression  sites and distance choose, correlation scores (after CellOracle's base network)
peak-gene correlation            our own network with another reading of peaks in place of the model's: contact x
                                 accessibility x correlation over labels of accessibility and expression (after
                                 SCENIC+ and ArchR); the strongest rival, since it shares the tests of factors
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.analysis.grn import Factors, unit_columns
from cisoform.analysis.grn_scores import PairChunk, make_chunk
from cisoform.analysis.perturbation import contact

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

SITES = ("distance", "motif x accessibility", "motif x accessibility x contact")
CO_EXPRESSION, MOTIF_CO_EXPRESSION = "co-expression", "motif x contact x co-expression"
PEAK_GENE = "peak-gene correlation"


@dataclass(frozen=True)
class Measured:
    """What is measured, by label.

    Attributes:
        accessibility: (labels, peaks).
        expression: Of all genes of the data set (labels, genes).
    """

    accessibility: Numbers
    expression: Numbers


def baseline_edges(
    factors: Factors, chunks: Iterable[PairChunk], column: Ints, n_columns: int, measured: Measured
) -> dict[str, Numbers]:
    """All but the last, by name.

    Args:
        factors: With their sites.
        chunks: Pairs of genes and peaks; their scores are not read.
        column: Column of every gene number (-1 = left out).
        n_columns: Genes.
        measured: Accessibility and expression.
    """
    shape = (len(factors.names), n_columns)
    found = {name: np.zeros(shape) for name in SITES}
    mean = measured.accessibility.mean(axis=0)
    for chunk in chunks:
        for gene, rows in chunk.genes():
            if column[gene] < 0:
                continue
            peaks, near = chunk.peak[rows], contact(chunk.distance_bp[rows])
            sites = factors.sites[peaks].toarray().astype(np.float64)
            values = (
                ((sites > 0) * near[:, None]).max(axis=0, initial=0.0),
                sites.T @ mean[peaks],
                sites.T @ (mean[peaks] * near),
            )
            for name, value in zip(SITES, values, strict=True):
                found[name][:, column[gene]] = value
    together = co_expression(factors, column, n_columns, measured)
    return {CO_EXPRESSION: together, **found, MOTIF_CO_EXPRESSION: found[SITES[0]] * together}


def co_expression(factors: Factors, column: Ints, n_columns: int, measured: Measured) -> Numbers:
    """|Pearson| over labels of factor and gene; 0 of a gene with itself, and where one does not vary."""
    genes = np.flatnonzero(column >= 0)
    unit = unit_columns(measured.expression)
    found = np.zeros((len(factors.names), n_columns))
    found[:, column[genes]] = np.abs(unit[:, factors.gene].T @ unit[:, genes])
    own = column[factors.gene]
    found[np.flatnonzero(own >= 0), own[own >= 0]] = 0.0
    return found


def peak_gene_chunks(chunks: Iterable[PairChunk], measured: Measured) -> Iterator[PairChunk]:
    """Chunks with the correlation of peak and gene in place of the model's score; bag 0 alone."""
    opened, levels = unit_columns(measured.accessibility), unit_columns(measured.expression)
    for chunk in chunks:
        together = np.einsum("lp,lp->p", opened[:, chunk.peak], levels[:, chunk.gene])
        strength = together * contact(chunk.distance_bp)
        mean = measured.accessibility[:, chunk.peak].T * strength[:, None]
        yield make_chunk(chunk.gene, chunk.peak, chunk.distance_bp, mean[:, :, None].astype(np.float64))
