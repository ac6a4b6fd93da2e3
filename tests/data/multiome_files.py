"""A small multiome written out: genome, annotation, matrices in every container, fragments; and its dense truth."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CHROMS = {"chr1": 60_000, "chr2": 50_000, "chr3": 40_000, "chr4": 30_000}
TYPES = ("B", "Mono", "NK", "T")


@dataclass
class MiniMultiome:
    """What was written. Peaks are in genomic order; `counts` and `open` are cells x genes and cells x peaks."""

    root: Path
    genes: list[tuple[str, str, str, str, int]]  # id, symbol, chrom, strand, tss
    peaks: list[tuple[str, int, int]]
    cells: list[str]
    types: list[str]
    counts: Array
    open: Array
    fragments: list[tuple[str, int, int, str]] = field(default_factory=list)

    genome = property(lambda self: self.root / "genome.fa")
    annotation = property(lambda self: self.root / "genes.gtf")
    h5 = property(lambda self: self.root / "filtered_feature_bc_matrix.h5")
    rna = property(lambda self: self.root / "rna.h5ad")
    atac = property(lambda self: self.root / "atac.h5ad")
    h5mu = property(lambda self: self.root / "both.h5mu")
    fragment_file = property(lambda self: self.root / "fragments.tsv.gz")
    bed = property(lambda self: self.root / "peaks.bed")
    cell_table = property(lambda self: self.root / "cells.tsv")

    @property
    def peak_names(self) -> list[str]:
        return [f"{chrom}:{start}-{end}" for chrom, start, end in self.peaks]


def write_multiome(root: Path, n_cells: int = 23, seed: int = 5) -> MiniMultiome:
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    genes: list[tuple[str, str, str, str, int]] = []
    peaks: list[tuple[str, int, int]] = []
    for chrom, length in CHROMS.items():
        starts = np.arange(3_000, length - 3_000, 4_000)
        for place in starts.tolist():
            number = len(genes)
            genes.append((f"ENSG{number:011d}", f"SYM{number}", chrom, "+-"[number % 2], place))
            own = int(rng.integers(150, 400))
            peaks.append((chrom, place - own, place + own))
            peaks.append((chrom, place + 1_500, place + 1_500 + int(rng.integers(200, 1_400))))
    cells = [f"{''.join(rng.choice(list('ACGT'), 12))}-1" for _ in range(n_cells)]
    types = [TYPES[cell % len(TYPES)] for cell in range(n_cells)]
    strength = np.where(np.arange(len(peaks)) % 2 == 0, 1.2, 0.3)
    mini = MiniMultiome(
        *(root, genes, peaks, cells, types),
        counts=rng.poisson(rng.gamma(1.0, 1.5, len(genes)), (n_cells, len(genes))),
        open=rng.poisson(strength, (n_cells, len(peaks))),
    )
    mini.counts[:, 0] += 1
    mini.open[:, 0] += 1
    write_fasta(mini.genome, rng)
    write_gtf(mini.annotation, genes)
    write_10x(mini.h5, mini)
    write_h5ad(mini.rna, mini.counts, mini.cells, [gene[0] for gene in genes], obs={"cell_type": types})
    write_h5ad(mini.atac, mini.open, mini.cells, mini.peak_names)
    write_h5mu(mini.h5mu, mini)
    write_fragments(mini, rng)
    mini.bed.write_text("".join(f"{chrom}\t{start}\t{end}\n" for chrom, start, end in peaks))
    mini.cell_table.write_text(
        "barcode\tcell_type\n" + "".join(f"{cell}\t{kind}\n" for cell, kind in zip(cells, types, strict=True))
    )
    return mini


def write_fasta(path: Path, rng: np.random.Generator) -> None:
    with path.open("w") as handle:
        for chrom, length in CHROMS.items():
            letters = "".join(rng.choice(list("ACGT"), length))
            handle.write(f">{chrom}\n")
            handle.writelines(letters[i : i + 80] + "\n" for i in range(0, length, 80))


def write_gtf(path: Path, genes: Sequence[tuple[str, str, str, str, int]]) -> None:
    lines = []
    for gene_id, symbol, chrom, strand, tss in genes:
        start, end = (tss, tss + 900) if strand == "+" else (tss - 899, tss + 1)
        about = f'gene_id "{gene_id}"; gene_name "{symbol}"; transcript_id "T{gene_id}"; gene_type "protein_coding";'
        for feature in ("transcript", "exon"):
            lines.append("\t".join([chrom, "x", feature, str(start + 1), str(end), ".", strand, ".", about]))
    path.write_text("\n".join(lines) + "\n")


def csr(dense: Array) -> tuple[Array, Array, Array]:
    row, column = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(dense)))])
    return dense[row, column], column, indptr


def write_10x(path: Path, mini: MiniMultiome, kinds: tuple[str, str] = ("Gene Expression", "Peaks")) -> None:
    import h5py

    names = [gene[1] for gene in mini.genes] + mini.peak_names
    ids = [gene[0] for gene in mini.genes] + mini.peak_names
    types = [kinds[0]] * len(mini.genes) + [kinds[1]] * len(mini.peaks)
    data, indices, indptr = csr(np.concatenate([mini.counts, mini.open], axis=1))
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        matrix["barcodes"] = np.array(mini.cells, dtype="S")
        matrix["data"] = data.astype(np.int32)
        matrix["indices"] = indices.astype(np.int64)
        matrix["indptr"] = indptr.astype(np.int64)
        matrix["shape"] = np.array([len(ids), len(mini.cells)], dtype=np.int32)
        features = matrix.create_group("features")
        for name, values in (("id", ids), ("name", names), ("feature_type", types)):
            features[name] = np.array(values, dtype="S")


def fill_anndata(
    node: Any,
    dense: Array,
    cells: Sequence[str],
    features: Sequence[str],
    obs: dict[str, Sequence[str]] | None = None,
    layout: str = "csr",
) -> None:
    import h5py

    text = h5py.string_dtype()
    for name, index, columns in (("obs", cells, obs or {}), ("var", features, {})):
        table = node.create_group(name)
        table.attrs["_index"] = "_index"
        table.create_dataset("_index", data=list(index), dtype=text)
        for column, values in columns.items():
            categories = sorted(set(values))
            group = table.create_group(column)
            group.create_dataset("categories", data=categories, dtype=text)
            group["codes"] = np.array([categories.index(value) for value in values], dtype=np.int8)
    if layout == "dense":
        node["X"] = dense.astype(np.float32)
        return
    data, indices, indptr = csr(dense if layout == "csr" else dense.T)
    matrix = node.create_group("X")
    matrix.attrs["encoding-type"] = f"{layout}_matrix"
    matrix.attrs["shape"] = dense.shape
    matrix["data"] = data.astype(np.float32)
    matrix["indices"] = indices.astype(np.int32)
    matrix["indptr"] = indptr.astype(np.int32)


def write_h5ad(
    path: Path,
    dense: Array,
    cells: Sequence[str],
    features: Sequence[str],
    obs: dict[str, Sequence[str]] | None = None,
    layout: str = "csr",
) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        fill_anndata(file, dense, cells, features, obs, layout)
    return path


def write_h5mu(path: Path, mini: MiniMultiome, names: tuple[str, str] = ("rna", "atac")) -> None:
    import h5py

    order = np.arange(len(mini.cells))[::-1]  # the ATAC side in another order: only names count
    # MuData puts a text before the HDF5 file proper.
    with h5py.File(path, "w", userblock_size=512) as file:
        obs = {"cell_type": mini.types}
        fill_anndata(
            file.create_group(f"mod/{names[0]}"),
            mini.counts,
            mini.cells,
            [gene[1] for gene in mini.genes],
            obs,
        )
        cells = [mini.cells[row] for row in order]
        dashed = [name.replace(":", "-") for name in mini.peak_names]
        fill_anndata(file.create_group(f"mod/{names[1]}"), mini.open[order], cells, dashed)


def write_fragments(mini: MiniMultiome, rng: np.random.Generator) -> None:
    """Cuts in peaks as counted, and some elsewhere and of no cell; sorted, bgzip not needed."""
    rows = []
    for cell, peak in zip(*np.nonzero(mini.open), strict=True):
        chrom, start, end = mini.peaks[peak]
        for _ in range(int(mini.open[cell, peak])):
            first = int(rng.integers(start, end - 60))
            rows.append((chrom, first, first + int(rng.integers(30, 60)), mini.cells[cell]))
    rows += [("chr1", 100 + i, 300 + i, "GGGGGGGGGGGG-1") for i in range(7)]
    mini.fragments = sorted(rows)
    save_fragments(mini.fragment_file, mini.fragments)


def save_fragments(path: Path, rows: Sequence[tuple[str, int, int, str]], end: str = "\n") -> None:
    text = "# id=mini\n" + "".join(f"{c}\t{s}\t{e}\t{b}\t1{end}" for c, s, e, b in rows)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
