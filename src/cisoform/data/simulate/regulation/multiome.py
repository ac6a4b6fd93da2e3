"""Single-cell files: 10x HDF5 matrix, MuData, and the fragments with their index.

The HDF5 files carry no times; the same counts give the same bytes with the same versions of h5py, anndata and mudata.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from cisoform.data.simulate.regulation.simulation import Regulation
from cisoform.data.simulate.regulation.truth import peak_ids
from cisoform.errors import InputError

GENOME_NAME = "simulated"


def require_writers() -> None:
    """Check that the optional packages are there, before any work.

    Raises:
        InputError: If one is missing.
    """
    from importlib.util import find_spec

    missing = [name for name in ("h5py", "anndata", "mudata") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"writing single cells needs {missing[0]}, which is not installed; "
            "install cisoform[multiome], or give --what isoform"
        )


def write_10x(regulation: Regulation, path: Path) -> None:
    """`filtered_feature_bc_matrix.h5` as Cell Ranger ARC writes it: genes, then peaks; one column per cell."""
    import h5py
    from scipy import sparse

    genome, cells = regulation.genome, regulation.cells
    matrix = sparse.hstack([cells.rna, cells.atac]).tocsr()
    matrix.sort_indices()
    peaks = peak_ids(regulation)
    genes = genome.genes
    intervals = [f"{genome.names[gene.chrom]}:{gene.tss}-{gene.tss + 1}" for gene in genes] + peaks
    features = {
        "id": [gene.gene_id for gene in genes] + peaks,
        "name": [gene.name for gene in genes] + peaks,
        "feature_type": ["Gene Expression"] * len(genes) + ["Peaks"] * len(peaks),
        "genome": [GENOME_NAME] * matrix.shape[1],
        "interval": intervals,
    }
    with h5py.File(path, "w") as file:
        file.attrs["filetype"] = "matrix"
        file.attrs["version"] = 2
        file.attrs["software_version"] = "cisoform simulate"
        file.attrs["library_ids"] = np.array([b"simulated"])
        file.attrs["original_gem_groups"] = np.array([1])
        group = file.create_group("matrix")
        group["barcodes"] = np.array(cells.barcodes[: cells.n], "S")
        packed = {"compression": "gzip", "compression_opts": 4}
        group.create_dataset("data", data=matrix.data.astype(np.int32), **packed)
        group.create_dataset("indices", data=matrix.indices.astype(np.int64), **packed)
        group.create_dataset("indptr", data=matrix.indptr.astype(np.int64), **packed)
        group["shape"] = np.array(matrix.shape[::-1], np.int32)
        part = group.create_group("features")
        part["_all_tag_keys"] = np.array([b"genome", b"interval"])
        for name, values in features.items():
            part.create_dataset(name, data=np.array(values, "S"), **packed)


def write_h5mu(regulation: Regulation, path: Path) -> None:
    """MuData with modalities `rna` and `atac`, raw counts, and the cell metadata in each."""
    import anndata
    import mudata
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    genome, cells = regulation.genome, regulation.cells
    groups = [regulation.activity.groups[number] for number in cells.group.tolist()]
    obs = pd.DataFrame(
        {
            "cell_type": [group.cell_type for group in groups],
            "state": [group.state for group in groups],
            "group": [group.name for group in groups],
        },
        index=cells.barcodes[: cells.n],
    )
    chrom = [genome.names[gene.chrom] for gene in genome.genes]
    genes = pd.DataFrame(
        {"gene_ids": [gene.gene_id for gene in genome.genes], "chrom": chrom, "tss": genome.tss},
        index=[gene.name for gene in genome.genes],
    )
    peaks = pd.DataFrame(
        {
            "chrom": [genome.names[element.chrom] for element in genome.elements],
            "start": [element.start for element in genome.elements],
            "end": [element.end for element in genome.elements],
        },
        index=peak_ids(regulation),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with mudata.set_options(pull_on_update=False):
            rna = anndata.AnnData(cells.rna.astype(np.float32), obs=obs, var=genes)
            atac = anndata.AnnData(cells.atac.astype(np.float32), obs=obs.copy(), var=peaks)
            both = mudata.MuData({"rna": rna, "atac": atac})
            both.obs = obs.copy()
            both.write(path)


def write_fragments(regulation: Regulation, path: Path) -> None:
    """`*.tsv.gz` (bgzip) of chrom, start, end, barcode, count, and its tabix index beside it.

    Raises:
        ValueError: If the name does not end in .gz.
    """
    import pysam

    if path.suffix != ".gz":
        raise ValueError(f"{path} does not end in .gz")
    fragments, names, barcodes = (
        regulation.cells.fragments,
        regulation.genome.names,
        regulation.cells.barcodes,
    )
    columns = (fragments.chrom, fragments.start, fragments.end, fragments.barcode, fragments.count)
    plain = path.with_suffix("")
    with plain.open("w", encoding="ascii", newline="\n") as handle:
        handle.write("# id=simulated\n# description=Tn5 cuts at start and at end - 1\n")
        handle.writelines(f"# primary_contig={name}\n" for name in names)
        handle.writelines(
            f"{names[chrom]}\t{start}\t{end}\t{barcodes[barcode]}\t{count}\n"
            for chrom, start, end, barcode, count in zip(
                *(column.tolist() for column in columns), strict=True
            )
        )
    pysam.tabix_index(str(plain), preset="bed", force=True)
