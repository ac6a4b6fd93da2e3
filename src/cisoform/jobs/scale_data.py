"""Data sets of `cisoform regulation scale`: simulated or the user's, and parts of them by share.

A share keeps some places of the genome (in all samples) and some genes, the same for every width of model; what is
left out gets the split "rest", which nothing reads. Validation and test are never cut. How often each signal level
occurs is that of all training regions in every part: it weighs the loss, which must be the same to be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.gene_build import build_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
from cisoform.data.gene_pools import Pooling
from cisoform.data.genes import GenesDataset
from cisoform.data.region_build import build_regions
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.regions import RegionDataset
from cisoform.data.simulate.regulation.simulation import simulate_regulation
from cisoform.data.simulate.regulation.write import write_regulation
from cisoform.errors import InputError
from cisoform.genome.files import read_json, sha256_file, write_error, write_json
from cisoform.jobs.regulation_fit import check_data
from cisoform.jobs.scale_grid import Grid
from cisoform.training.gene_metrics import LEAST_GROUPS

Say = Callable[[str], None]
INPUTS = "inputs.json"
REST = "rest"


@dataclass(frozen=True)
class ScaleData:
    """What a grid is trained on.

    Attributes:
        regions: Of the first stage.
        genes: Of the second.
        simulated: Whether both are of a simulation.
    """

    regions: RegionDataset
    genes: GenesDataset
    simulated: bool


def simulated(grid: Grid, out: Path, data: Path | None, say: Say) -> ScaleData:
    """Regions and genes of a simulation, built in `out` unless they are there.

    Args:
        grid: Says which simulation and which regions.
        out: Folder for `simulation`, `regions` and `genes`.
        data: A folder of `cisoform simulate` to use instead of a simulation of its own.
        say: Is told what begins.

    Raises:
        InputError: If `data` is no simulation, `out` holds a grid on other data, or something cannot be built.
    """
    files = out / "simulation" if data is None else _simulation_folder(data)
    about = {"window": grid.window}
    if data is None:
        _begin(out, {"simulation": grid.settings["simulation"], **about})
    else:
        _begin(out, {"truth.json": sha256_file(files / "truth.json"), **about})
    if not (files / "truth.json").exists():
        say(f"simulating a regulatory genome of {grid.simulation.n_genes} genes")
        write_regulation(simulate_regulation(grid.simulation), files)
    splits = read_json(files / "truth.json", "truth of a simulation")["splits"]
    test, valid = (tuple(name for name, part in splits.items() if part == of) for of in ("test", "valid"))
    if not (out / "regions" / "manifest.json").exists():
        say("cutting its tracks into regions")
        build_regions(
            files / "genome.fa",
            files / "tracks.tsv",
            out / "regions",
            RegionBuildConfig(window=grid.window, test_chromosomes=test, valid_chromosomes=valid),
            blacklist=files / "blacklist.bed",
        )
    if not (out / "genes" / "manifest.json").exists():
        say("turning its cells into genes in pseudobulks")
        build_genes(
            GeneInputs(
                genome=files / "genome.fa",
                annotation=files / "annotation.gtf",
                multiome=files / "filtered_feature_bc_matrix.h5",
                fragments=files / "atac_fragments.tsv.gz",
                cells=files / "cells.tsv",
            ),
            out / "genes",
            GeneBuildConfig(
                pool=Pooling.parse("pseudobulk:group"), test_chromosomes=test, valid_chromosomes=valid
            ),
        )
    return ScaleData(RegionDataset.open(out / "regions"), GenesDataset.open(out / "genes"), True)


def given(regions: Path, genes: Path, out: Path) -> ScaleData:
    """The user's own data sets, read where they are.

    Raises:
        InputError: If either is none or damaged, or `out` holds a grid on other data.
    """
    data = ScaleData(RegionDataset.open(regions), GenesDataset.open(genes), False)
    _begin(out, {"regions": data.regions.hash, "genes": data.genes.hash})
    return data


def _simulation_folder(data: Path) -> Path:
    """The regulation part of a simulation.

    Raises:
        InputError: If there is none.
    """
    for folder in (data, data / "regulation"):
        if (folder / "truth.json").is_file() and (folder / "tracks.tsv").is_file():
            return folder
    raise InputError(
        f"--data {data}: holds no simulation of regulation; write one with `cisoform simulate {data} --what "
        "regulation`, or give data sets of your own with --regions and --genes"
    )


def _begin(out: Path, inputs: dict[str, Any]) -> None:
    """Note in a new folder what its grid is trained on, or check that it is the same.

    Raises:
        InputError: If the folder holds something else.
    """
    path = out / INPUTS
    if path.exists():
        before = read_json(path, "inputs of a grid")
        if before != inputs:
            different = next(key for key in [*inputs, *before] if inputs.get(key) != before.get(key))
            raise InputError(
                f"{out}: holds a grid on other data ({different} differs); choose another --out, or give the data and "
                "the seed it was begun with"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: holds other files and no grid; choose a new folder for --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from None
    write_json(path, inputs)


def check(data: ScaleData, max_peaks: int, track: str) -> None:
    """Refuse data sets on which a cell would fail after its pre-training.

    Raises:
        InputError: If the two do not fit each other, or lack what is learnt from, chosen by or scored.
    """
    regions, genes = data.regions, data.genes
    if track not in regions.edges:
        raise InputError(
            f"{regions.path}: has no track {track!r} to read the accessibility of the genes as (it has "
            f"{', '.join(regions.edges)}); name one with --track"
        )
    check_data(genes, max_peaks, regions.edges, track)
    for what, path, found, flag in (
        ("training region", regions.path, regions.rows("train"), "fewer --test-chromosomes"),
        ("validation region", regions.path, regions.rows("valid"), "--valid-chromosomes"),
        ("training gene", genes.path, genes.gene_rows("train"), "fewer --test-chromosomes"),
        ("gene of a held-out chromosome", genes.path, genes.gene_rows("test"), "--test-chromosomes"),
    ):
        if not len(found):
            raise InputError(f"{path}: has no {what}; build it with {flag}")
    n_groups = len(genes.group_rows("train"))
    if n_groups < LEAST_GROUPS:
        raise InputError(
            f"{genes.path}: has {n_groups} training cells or pools, but a correlation across them needs "
            f"{LEAST_GROUPS}; build it with more"
        )


def kept(n: int, share: float, seed: int, stream: int) -> npt.NDArray[np.bool_]:
    """Which of n things a share keeps, at least one; a larger share keeps all that a smaller one does."""
    order = np.random.default_rng([seed, stream]).permutation(n)
    chosen = np.zeros(n, dtype=np.bool_)
    chosen[order[: max(1, round(share * n))]] = True
    return chosen


def part_of(data: ScaleData, share: float, seed: int) -> ScaleData:
    """The data with that share of the places of training regions and of the training genes."""
    if share >= 1:
        return data
    return replace(data, regions=_regions(data.regions, share, seed), genes=_genes(data.genes, share, seed))


def _regions(dataset: RegionDataset, share: float, seed: int) -> RegionDataset:
    table = dataset.regions
    train = (table["split"] == "train").to_numpy()
    places = table.filter(pl.Series(train)).select("chrom", "start").unique(maintain_order=True)
    keep = places.with_columns(kept=pl.Series(kept(places.height, share, seed, 0)))
    of_row = table.join(keep, on=["chrom", "start"], how="left", maintain_order="left")["kept"]
    out = train & ~of_row.fill_null(False).to_numpy()
    return replace(dataset, regions=_relabelled(table, out))


def _genes(dataset: GenesDataset, share: float, seed: int) -> GenesDataset:
    rows = dataset.gene_rows("train")
    out = np.zeros(dataset.genes.height, dtype=np.bool_)
    out[rows[~kept(len(rows), share, seed, 1)]] = True
    return replace(dataset, genes=_relabelled(dataset.genes, out))


def _relabelled(table: pl.DataFrame, out: npt.NDArray[np.bool_]) -> pl.DataFrame:
    """The table with some rows taken from their split."""
    return table.with_columns(
        split=pl.when(pl.Series(out)).then(pl.lit(REST)).otherwise(pl.col("split").cast(pl.String))
    )


def amounts(data: ScaleData) -> dict[str, int]:
    """How much there is to learn from.

    Returns:
        `regions`; `bases` of distinct places; `tokens`, bases times samples; `genes`; `pairs` of gene and group.
    """
    regions, genes = data.regions, data.genes
    rows = regions.rows("train")
    places = regions.regions[rows.tolist()].select("chrom", "start").n_unique()
    n_genes = len(genes.gene_rows("train"))
    return {
        "regions": len(rows),
        "bases": places * regions.window,
        "tokens": len(rows) * regions.window,
        "genes": n_genes,
        "pairs": n_genes * len(genes.group_rows("train")),
    }
