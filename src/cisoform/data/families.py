"""Families of genes by shared k-mers: what must not stand on both sides of a split.

Two genes are linked if their proteins share at least 8 distinct 5-mers, and at least 15 % of the 5-mers of the
one that has fewer; families are the connected groups (the rule of the yeast pack; a gene's 5-mers are those of
all its proteins). Where one of the two has no protein, their RNA is compared by 16-mers instead, of which a
fixed quarter is looked at; thresholds are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cisoform.genome.ragged import Ragged

MIN_SHARED = 8
MIN_SHARE = 0.15
PROTEIN_K = 5
RNA_K = 16
_RNA_SAMPLED = 4
_CHUNK = 2000

IntArray = npt.NDArray[np.int64]


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
    links: list[IntArray] = []
    if protein is not None:
        coding[gene[protein_row >= 0]] = True
        kmers = _gene_kmers(gene, protein, protein_row, k=PROTEIN_K, base=23, unknown=20)
        links.append(_links(kmers, len(genes)))
    if rna is not None and not coding.all():
        kmers = _gene_kmers(gene, rna, rna_row, k=RNA_K, base=4, unknown=4, sampled=_RNA_SAMPLED)
        pairs = _links(kmers, len(genes), queries=~coding)
        links.append(pairs)
    return _named_groups(genes, gene, np.concatenate(links or [np.empty((0, 2), dtype=np.int64)]))


def _gene_kmers(
    gene: IntArray,
    sequences: Ragged,
    row: npt.NDArray[np.integer],
    k: int,
    base: int,
    unknown: int,
    sampled: int = 1,
) -> IntArray:
    """Distinct (gene, k-mer) pairs, sorted; k-mers with an unknown letter are left out."""
    n_rows = len(sequences)
    owners, rows = np.divmod(np.unique((gene * n_rows + row)[row >= 0]), max(n_rows, 1))
    taken = sequences.take(rows)
    codes = taken.data.astype(np.int64)
    if len(codes) < k:
        return np.empty((0, 2), dtype=np.int64)
    n_kmers = len(codes) - k + 1
    values = np.zeros(n_kmers, dtype=np.int64)
    known = np.ones(n_kmers, dtype=bool)
    for offset in range(k):
        letters = codes[offset : offset + n_kmers]
        values = values * base + letters
        known &= letters != unknown
    owner = np.repeat(np.arange(len(rows)), taken.lengths)
    inside = owner[:n_kmers] == owner[k - 1 :]
    keep = known & inside
    if sampled > 1:
        # Which k-mers are looked at depends on the k-mer alone (Fibonacci hashing).
        mixed = values.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        keep &= (mixed >> np.uint64(40)) % np.uint64(sampled) == 0
    # One integer for both; with 16-mers there is room for 2^31 genes.
    joined = np.sort(owners[owner[:n_kmers][keep]] * base**k + values[keep])
    # Sorting is several times faster than numpy's hashed `unique` here.
    joined = joined[np.append(True, joined[1:] != joined[:-1])[: len(joined)]]
    return np.stack(np.divmod(joined, base**k), axis=1)


def _links(pairs: IntArray, n_genes: int, queries: npt.NDArray[np.bool_] | None = None) -> IntArray:
    """Pairs of genes that share enough k-mers; with `queries`, pairs of which one is a query."""
    from scipy import sparse

    if not len(pairs):
        return np.empty((0, 2), dtype=np.int64)
    _, kmer = np.unique(pairs[:, 1], return_inverse=True)
    table = sparse.csr_array(
        (np.ones(len(pairs), dtype=np.int32), (pairs[:, 0], kmer)), shape=(n_genes, int(kmer.max()) + 1)
    )
    shared_by_two = np.asarray(table.sum(axis=0)).ravel() > 1
    sizes = np.bincount(pairs[:, 0], minlength=n_genes)
    table = table[:, np.flatnonzero(shared_by_two)].tocsr()
    columns = table.T.tocsr()
    asked = np.arange(n_genes) if queries is None else np.flatnonzero(queries)
    found = [np.empty((0, 2), dtype=np.int64)]
    for begin in range(0, len(asked), _CHUNK):
        chunk = asked[begin : begin + _CHUNK]
        product = (table[chunk] @ columns).tocoo()
        left, right = chunk[product.coords[0]], product.coords[1]
        enough = (product.data >= MIN_SHARED) & (
            product.data >= MIN_SHARE * np.minimum(sizes[left], sizes[right])
        )
        enough &= left != right
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
