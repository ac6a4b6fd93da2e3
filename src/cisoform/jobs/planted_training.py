"""Train what `benchmark regulation` scores where no model is given, and the model of the rule-off control.

The control is the same genome, peaks, tracks and accessibility with the effects of all activators and repressors on
expression switched off: the fit is done again on its expression, with the same first stage. Steps that are finished
under a folder are used as they are, so a stopped run goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from cisoform.data.gene_build import build_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
from cisoform.data.gene_pools import Pooling
from cisoform.data.genes import GenesDataset
from cisoform.data.region_build import build_regions
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.regions import RegionDataset
from cisoform.data.simulate.regulation.config import RegulationConfig, preset
from cisoform.data.simulate.regulation.simulation import simulate_regulation
from cisoform.data.simulate.regulation.write import write_regulation
from cisoform.genome.files import atomic_directory
from cisoform.jobs import elementary, regulation_fit
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.planted import Planted, Say, silent
from cisoform.training.protocols import Progress

OFF = ("activation", "repression")
"""Rules that the control switches off."""
WINDOW = 8192
MakeBar = Callable[[], Progress | None]


def no_bar() -> None:
    """Nothing shows a training run."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What is simulated and trained.

    Attributes:
        preset: Of the simulator.
        simulation_seed: Of the simulator.
        recipe: Of both stages.
        first: Changed settings of pre-training, as `--set` takes them.
        second: Changed settings of the fit.
        seed: Of both trainings.
        device: As `resolve_device` takes it.
        cache: Folder of feature caches; None = the user's.
    """

    preset: str = "small"
    simulation_seed: int = 0
    recipe: str = "xs"
    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    seed: int = 0
    device: str = "auto"
    cache: Path | None = None


def train(
    out: Path, config: TrainConfig, say: Say = silent, bar: MakeBar = no_bar
) -> tuple[Path, Path, Path]:
    """Simulate, pre-train and fit under `out`.

    Returns:
        Folders of the simulation, of the data set of genes, and of the fitted model.

    Raises:
        InputError: If a step cannot be done.
    """
    simulation = out / "simulation"
    if not simulation.exists():
        _simulate(preset(config.preset, config.simulation_seed), simulation, say)
    splits = _splits(simulation)
    if not (out / "regions").exists():
        say("cutting the tracks into regions")
        build_regions(
            simulation / "genome.fa",
            simulation / "tracks.tsv",
            out / "regions",
            RegionBuildConfig(
                window=WINDOW,
                test_chromosomes=splits["test"],
                valid_chromosomes=splits["valid"],
                seed=config.seed,
            ),
            blacklist=simulation / "blacklist.bed",
        )
    if not (out / "pretrained" / "model").exists():
        recipe = elementary.choose_recipe(config.recipe, config.first, config.seed)
        prepared = elementary.prepare(RegionDataset.open(out / "regions"), recipe, config.recipe)
        say(f"pre-training recipe {config.recipe}, {prepared.n_steps:,} steps")
        started = (out / "pretrained").exists()
        elementary.pretrain(
            prepared, out / "pretrained", resume=started, device=config.device, progress=bar()
        )
    dataset, model = _fit(out, simulation, splits, (), out / "pretrained", config, say, bar)
    return simulation, dataset, model


def train_rule_off(
    planted: Planted,
    first_stage: Path,
    out: Path,
    config: TrainConfig,
    say: Say = silent,
    bar: MakeBar = no_bar,
) -> Planted:
    """The control of a model: fitted again where no factor acts, to be scored against the original's answers.

    Args:
        planted: The original.
        first_stage: Its run of `regulation pretrain`. Marks follow binding, not expression, so it stays.
        out: Folder of the control.
        config: Recipe, settings and seed of the fit; what else it holds has no effect.
        say: Is told what begins.
        bar: Shows the training.

    Raises:
        InputError: If a step cannot be done.
    """
    simulation = out / "simulation"
    if not simulation.exists():
        asked = dict(planted.truth["config"])
        rules = frozenset(asked.pop("rules")) - set(OFF)
        _simulate(RegulationConfig(rules=rules, **asked), simulation, say)
    genes, groups = planted.dataset.genes, planted.dataset.groups
    splits = {
        part: tuple(genes.filter(pl.col("split") == part)["chrom"].unique(maintain_order=True).to_list())
        for part in ("valid", "test")
    }
    unseen = groups.filter(pl.col("split") == "test")["cell_type"].unique(maintain_order=True).to_list()
    dataset, model = _fit(out, simulation, splits, tuple(unseen), first_stage, config, say, bar)
    opened = CREformerModel.load(model, config.device)
    return replace(planted, model=opened, dataset=GenesDataset.open(dataset), kept={}, _readers={})


def _simulate(config: RegulationConfig, folder: Path, say: Say) -> None:
    off = (
        "" if len(config.rules) == len(RegulationConfig().rules) else ", the effects of factors switched off"
    )
    say(f"simulating a regulatory genome: {config.n_genes} genes, {config.n_types} cell types{off}")
    with atomic_directory(folder) as partial:
        write_regulation(simulate_regulation(config), partial)


def _splits(simulation: Path) -> dict[str, tuple[str, ...]]:
    rows = pl.read_csv(simulation / "splits.tsv", separator="\t")
    return {part: tuple(rows.filter(pl.col("split") == part)["chrom"]) for part in ("valid", "test")}


def _fit(
    out: Path,
    files: Path,
    splits: dict[str, tuple[str, ...]],
    unseen_types: tuple[str, ...],
    first_stage: Path,
    config: TrainConfig,
    say: Say,
    bar: MakeBar,
) -> tuple[Path, Path]:
    """Build genes and fit; folders of both."""
    if not (out / "genes").exists():
        say("turning the multiome into genes in pseudobulks")
        inputs = GeneInputs(
            genome=files / "genome.fa",
            annotation=files / "annotation.gtf",
            multiome=files / "filtered_feature_bc_matrix.h5",
            fragments=files / "atac_fragments.tsv.gz",
            cells=files / "cells.tsv",
        )
        build = GeneBuildConfig(
            pool=Pooling.parse("pseudobulk:group"),
            cell_types="cell_type",
            test_cell_types=unseen_types or None,
            test_chromosomes=splits["test"],
            valid_chromosomes=splits["valid"],
            seed=config.seed,
        )
        build_genes(inputs, out / "genes", build)
    if not (out / "fitted" / "model").exists():
        recipe = regulation_fit.choose_recipe(config.recipe, config.second, config.seed)
        prepared = regulation_fit.prepare(
            GenesDataset.open(out / "genes"), first_stage, recipe, config.recipe
        )
        say(f"fitting recipe {config.recipe}, {prepared.n_steps:,} steps")
        regulation_fit.fit(
            prepared,
            out / "fitted",
            cache=config.cache,
            resume=(out / "fitted").exists(),
            device=config.device,
            progress=bar(),
        )
    return out / "genes", out / "fitted"
