"""Small regions and genes for grids of trainings: seconds a cell."""

from __future__ import annotations

from pathlib import Path

from cisoform.data.region_build import build_regions
from cisoform.data.region_plan import RegionBuildConfig
from tests.data import region_files
from tests.data.gene_sets import build_small


def write_data(root: Path) -> Path:
    """`regions` of three chromosomes (c2 validation, c3 test) and `genes` in cells; the folder."""
    region_files.write_genome(root)
    region_files.write_tracks(root)
    config = RegionBuildConfig(window=1024, test_chromosomes=("c3",), valid_chromosomes=("c2",))
    build_regions(root / "genome.fa", root / "tracks.tsv", root / "regions", config)
    build_small(root, n_cells=12)
    return root
