"""Small data sets of genes and an Elementary without training, for tests of the second stage."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from cisoform.data.gene_build import build_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
from cisoform.data.gene_pools import Pooling
from cisoform.data.genes import GenesDataset
from cisoform.jobs.creformer_model import CREformerModel, released_edges
from cisoform.models.creformer import CREformer, CREformerConfig, ElementaryConfig
from tests.data.multiome_files import write_multiome

TINY = ElementaryConfig(
    dim=16, heads=2, ffn=24, bin_layers=1, window_layers=2, tracks=("atac", "h3k27ac"), chunk_bins=64
)


def build_small(
    root: Path,
    pool: str = "cells",
    fragments: bool = False,
    n_cells: int = 15,
    edges: Literal["released", "quantile"] = "released",
) -> GenesDataset:
    """Genes of four chromosomes in a few cells of four types; chr3 and NK held out, chr4 and B for validation."""
    files = write_multiome(root / "files", n_cells=n_cells)
    inputs = GeneInputs(
        genome=files.genome,
        annotation=files.annotation,
        multiome=files.h5,
        cells=files.cell_table,
        fragments=files.fragment_file if fragments else None,
    )
    config = GeneBuildConfig(
        pool=Pooling.parse(pool),
        reach_bp=6_000,
        test_chromosomes=("chr3",),
        valid_chromosomes=("chr4",),
        cell_types="cell_type",
        test_cell_types=("NK",),
        valid_cell_types=("B",),
        min_tss_enrichment=0.0,
        edges=edges,
    )
    build_genes(inputs, root / "genes", config)
    return GenesDataset.open(root / "genes")


def save_creformer(path: Path, seed: int = 0, **changes: object) -> Path:
    """A CREformer without training, whose Elementary a fit can start from."""
    torch.manual_seed(seed)
    model = CREformer(CREformerConfig(elementary=TINY, **{"layers": 1, **changes}))  # type: ignore[arg-type]
    CREformerModel(model, released_edges(TINY.tracks), {"recipe": "none", "seed": seed}).save(path)
    return path
