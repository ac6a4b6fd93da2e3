"""Families of genes by shared k-mers: what must not stand on both sides of a split.

Two genes are linked if their proteins share at least 8 distinct 5-mers, and at least 15 % of the 5-mers of the
one that has fewer; families are the connected groups (the rule of the yeast pack; a gene's 5-mers are those of
all its proteins). Where one of the two has no protein, their RNA is compared by 16-mers instead, of which a
fixed quarter is looked at; thresholds are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.genome.ragged import Ragged

IntArray = npt.NDArray[np.int64]

MIN_SHARED = 8
MIN_SHARE = 0.15


@dataclass(frozen=True)
class _Kmers:
    """Which k-mers are compared: length, size of the alphabet, code of an unknown letter, one in how many."""

    k: int
    base: int
    unknown: int
    one_in: int = 1


@dataclass(frozen=True)
class _GeneKmers:
    """Distinct (gene, k-mer) pairs, and how many k-mers each gene has in all."""

    pairs: IntArray
    sizes: IntArray


_PROTEIN = _Kmers(k=5, base=23, unknown=20)
_RNA = _Kmers(k=16, base=4, unknown=4, one_in=4)
_HASH_BITS = 26
_LETTERS_AT_ONCE = 8_000_000
_GENES_AT_ONCE = 2000


def gene_families(
    gene_ids: Sequence[str],
    protein: Ragged | None,
    protein_row: npt.NDArray[np.integer],
    rna: Ragged | None,
    rna_row: npt.NDArray[np.integer],
) -> list[str]:
    """Family of each transcript: `F_` and the first gene id of the family in alphabetical order.

    Args:
        gene_ids: Gene of each transcript.
        protein: Amino-acid codes, None if there are none.
        protein_row: Row of each transcript in `protein`, -1 = none.
        rna: Base codes, None if there are none.
        rna_row: Row of each transcript in `rna`, -1 = none.
    """
    genes = sorted(set(gene_ids))
    number = {name: index for index, name in enumerate(genes)}
    gene = np.array([number[name] for name in gene_ids], dtype=np.int64)
    coding = np.zeros(len(genes), dtype=bool)
    links = [np.empty((0, 2), dtype=np.int64)]
    if protein is not None:
        coding[gene[protein_row >= 0]] = True
        links.append(_links(_gene_kmers(gene, protein, protein_row, _PROTEIN)))
    if rna is not None and not coding.all():
        links.append(_rna_links(gene, rna, rna_row, coding))
    return _named_groups(genes, gene, np.concatenate(links))


def _rna_links(
    gene: IntArray, rna: Ragged, rna_row: npt.NDArray[np.integer], coding: npt.NDArray[np.bool_]
) -> IntArray:
    """Links of genes without a protein, among each other and to coding genes."""
    queries = _gene_kmers(gene, rna, np.where(coding[gene], -1, rna_row), _RNA)
    wanted = np.zeros(1 << _HASH_BITS, dtype=bool)
    wanted[_hash(queries.pairs[:, 1])] = True
    others = _gene_kmers(gene, rna, np.where(coding[gene], rna_row, -1), _RNA, wanted)
    both = _GeneKmers(np.concatenate([queries.pairs, others.pairs]), queries.sizes + others.sizes)
    return _links(both, asked=np.flatnonzero(~coding))


def _gene_kmers(
    gene: IntArray,
    sequences: Ragged,
    row: npt.NDArray[np.integer],
    kind: _Kmers,
    wanted: npt.NDArray[np.bool_] | None = None,
) -> _GeneKmers:
    """Distinct k-mers of every gene; those with an unknown letter are left out.

    Args:
        gene: Gene of each transcript.
        sequences: Their sequences.
        row: Row of each transcript in `sequences`, -1 = not to be looked at.
        kind: Which k-mers.
        wanted: Which k-mers to give, by `_hash`; a few others that share a hash come along and do no harm.
            None = all. `sizes` counts all in either case.
    """
    n_rows = max(len(sequences), 1)
    owners, rows = np.divmod(np.unique((gene * n_rows + row)[row >= 0]), n_rows)
    # Whole genes at a time, so that memory does not grow with the genome.
    lengths = sequences.lengths[rows]
    letters_before_gene = (np.cumsum(lengths) - lengths)[np.searchsorted(owners, owners)]
    cuts = np.flatnonzero(np.diff(letters_before_gene // _LETTERS_AT_ONCE)) + 1
    found = [np.empty(0, dtype=np.int64)]
    sizes = np.zeros(int(gene.max(initial=-1)) + 1, dtype=np.int64)
    n_kmers = kind.base**kind.k
    for part in np.split(np.arange(len(rows)), cuts):
        values, place = _kmers_of(sequences.take(rows[part]), kind)
        # One integer for gene and k-mer: with 16-mers there is room for 2^31 genes. Sorting is several times
        # faster than numpy's hashed `unique` here.
        joined = np.sort(owners[part][place] * n_kmers + values)
        joined = joined[np.append(True, joined[1:] != joined[:-1])[: len(joined)]]
        sizes += np.bincount(joined // n_kmers, minlength=len(sizes))
        found.append(joined if wanted is None else joined[wanted[_hash(joined % n_kmers)]])
    return _GeneKmers(np.stack(np.divmod(np.concatenate(found), n_kmers), axis=1), sizes)


def _kmers_of(sequences: Ragged, kind: _Kmers) -> tuple[IntArray, IntArray]:
    """The k-mers looked at in each sequence, as integers, and the row that each is of."""
    codes = sequences.data.astype(np.int64)
    if len(codes) < kind.k:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    values, width = codes, 1
    for bit in bin(kind.k)[3:]:  # k by doubling: 5 = 2 * 2 + 1, 16 = 2 * 2 * 2 * 2
        values = values[:-width] * kind.base**width + values[width:]
        width *= 2
        if bit == "1":
            values = values[:-1] * kind.base + codes[width:]
            width += 1
    n_unknown = np.append(0, np.cumsum(codes == kind.unknown))
    owner = np.repeat(np.arange(len(sequences)), sequences.lengths)
    keep = (n_unknown[kind.k :] == n_unknown[: -kind.k]) & (owner[: len(values)] == owner[kind.k - 1 :])
    if kind.one_in > 1:
        keep &= _hash(values) % kind.one_in == 0  # which are looked at depends on the k-mer alone
    return values[keep], owner[: len(values)][keep]


def _hash(kmers: IntArray) -> IntArray:
    """A number of `_HASH_BITS` bits for each k-mer (Fibonacci hashing)."""
    mixed = kmers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(64 - _HASH_BITS)).astype(np.int64)


def _links(kmers: _GeneKmers, asked: IntArray | None = None) -> IntArray:
    """Pairs of genes that share enough k-mers; with `asked`, pairs of which one is among these."""
    from scipy import sparse

    pairs, sizes = kmers.pairs, kmers.sizes
    if not len(pairs):
        return np.empty((0, 2), dtype=np.int64)
    _, kmer, n_genes = np.unique(pairs[:, 1], return_inverse=True, return_counts=True)
    pairs, kmer = pairs[n_genes[kmer] > 1], kmer[n_genes[kmer] > 1]  # only what two genes have can link them
    shape = (len(sizes), len(n_genes))
    table = sparse.csr_array((np.ones(len(pairs), dtype=np.int32), (pairs[:, 0], kmer)), shape=shape)
    columns = table.T.tocsr()
    asked = np.unique(pairs[:, 0]) if asked is None else asked
    found = [np.empty((0, 2), dtype=np.int64)]
    for begin in range(0, len(asked), _GENES_AT_ONCE):
        chunk = asked[begin : begin + _GENES_AT_ONCE]
        product = (table[chunk] @ columns).tocoo()
        left, right = chunk[product.coords[0]], product.coords[1]
        smaller = np.minimum(sizes[left], sizes[right])
        enough = (product.data >= MIN_SHARED) & (product.data >= MIN_SHARE * smaller) & (left != right)
        found.append(np.stack([left[enough], right[enough]], axis=1).astype(np.int64))
    return np.concatenate(found)


def _named_groups(genes: Sequence[str], gene: IntArray, links: IntArray) -> list[str]:
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    shape = (len(genes), len(genes))
    graph = sparse.coo_array((np.ones(len(links), dtype=bool), (links[:, 0], links[:, 1])), shape=shape)
    _, label = connected_components(graph, directed=False)
    # `genes` is sorted, so the first of each label is its alphabetically first gene.
    _, first = np.unique(label, return_index=True)
    names = [f"F_{genes[index]}" for index in first[label].tolist()]
    return [names[index] for index in gene.tolist()]
