"""Grids of `cisoform regulation scale`: widths of models, shares of the data, and how each cell is trained.

Every cell of a grid takes the same number of steps in either stage, so that amounts of data differ in what they hold
and not in how long is trained. Rates follow lr * sqrt(32 / width). The published grid is not known in such detail:
sizes and lengths are our choice.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cisoform.configs import config_to_json
from cisoform.data.gene_loader import GeneLoaderConfig
from cisoform.data.region_loader import RegionLoaderConfig
from cisoform.data.simulate.regulation.config import RegulationConfig
from cisoform.data.simulate.regulation.config import small as small_simulation
from cisoform.errors import InputError
from cisoform.features.states import FeatureConfig
from cisoform.models.creformer import CREformerConfig, ElementaryConfig
from cisoform.recipes_regulation import ElementaryRecipe, RegulatoryRecipe
from cisoform.tokens.masking import HidingConfig
from cisoform.training.config import TrainConfig
from cisoform.training.elementary import ElementaryLossConfig
from cisoform.training.regulatory import RegulatoryLossConfig

HEAD_WIDTH = 16


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A grid; a cell is a width, a share and a repeat.

    Attributes:
        name: As `--grid` takes it.
        widths: Of all three stacks, smallest first; heads of 16, feed-forward of four times the width.
        shares: Of the training regions and training genes, smallest first; smaller ones are parts of larger.
        steps: Of pre-training.
        fit_steps: Of the second stage.
        repeats: Trainings of each cell, with other weights and another choice of the data.
        lr: Peak rate of pre-training at width 32. At four times as much the loss falls faster, but what the 6-mers
            start from is forgotten and nothing is left for the second stage (`docs/decisions/0008`).
        fit_lr: The same of the second stage.
        track: Of the regions, as which the accessibility of the genes is read.
        simulation: The simulated genome, where no data are given; its seed is set.
        window: Tokens of its regions.
    """

    name: str
    widths: tuple[int, ...]
    shares: tuple[float, ...]
    steps: int
    fit_steps: int
    repeats: int = 1
    lr: float = 5e-4
    fit_lr: float = 2e-3
    track: str = "atac"
    simulation: RegulationConfig
    window: int = 8192

    def __post_init__(self) -> None:
        for flag, value in (("steps", self.steps), ("fit-steps", self.fit_steps), ("repeats", self.repeats)):
            if value < 1:
                raise InputError(f"--{flag} {value}: must be at least 1")
        for width in self.widths:
            if width < HEAD_WIDTH or width % HEAD_WIDTH:
                raise InputError(f"--widths {width}: must be a multiple of {HEAD_WIDTH}, the width of a head")
        for share in self.shares:
            if not 0 < share <= 1:
                raise InputError(f"--shares {share:g}: must be more than 0 and at most 1")
        for flag, found in (("widths", self.widths), ("shares", self.shares)):
            if not found or list(found) != sorted(set(found)):
                raise InputError(f"--{flag} {','.join(f'{v:g}' for v in found)}: must rise")

    @property
    def n_cells(self) -> int:
        """Trainings in all."""
        return len(self.widths) * len(self.shares) * self.repeats

    @property
    def settings(self) -> dict[str, Any]:
        """All of it as JSON, the same in every process: rules are a set, so they are sorted."""
        found: dict[str, Any] = json.loads(config_to_json(self))
        found["simulation"]["rules"].sort()
        return found

    def first(self, width: int, seed: int) -> ElementaryRecipe:
        """How a cell is pre-trained: as recipe `xs`, shorter; 3 % of DNA hidden, as its head is dear."""
        return ElementaryRecipe(
            model=ElementaryConfig(
                dim=width, heads=width // HEAD_WIDTH, ffn=4 * width, bin_layers=1, window_layers=2
            ),
            loader=RegionLoaderConfig(
                lengths=(1024,),
                batch_tokens=4096,
                anchor_alone=0.85,
                sequence_alone=0.05,
                at_signal=0.9,
                reverse=0.5,
                hiding=HidingConfig(dna_share=0.03),
                valid_length=1024,
                valid_tokens=65_536,
            ),
            train=replace(_train(self.lr, width), max_steps=self.steps, validate_every=self.steps, seed=seed),
            loss=ElementaryLossConfig(dna=0.1, tracks=0.2, ordinal=5.0),
        )

    def second(self, width: int, seed: int) -> RegulatoryRecipe:
        """How a cell is fitted: differences between groups count three times the error of a gene."""
        return RegulatoryRecipe(
            model=CREformerConfig(layers=1, dropout=0.3),
            loader=GeneLoaderConfig(batch_size=64, sort_batches=32, drop_atac=0.05, valid_samples=20_000),
            train=replace(
                _train(self.fit_lr, width),
                max_steps=self.fit_steps,
                validate_every=max(1, self.fit_steps // 6),
                seed=seed,
            ),
            loss=RegulatoryLossConfig(correlation=3.0),
            features=FeatureConfig(track=self.track),
        )


def _train(lr: float, width: int) -> TrainConfig:
    return TrainConfig(
        lr=lr * math.sqrt(32 / width),
        betas=(0.9, 0.95),
        weight_decay=0.1,
        warmup_fraction=0.05,
        final_lr_fraction=0.1,
        epochs=None,
        max_steps=1,
        checkpoint_every=100,
    )


def tiny() -> Grid:
    """3 x 3 in some minutes of two cores: 240 simulated genes, widths 16 to 64."""
    return Grid(
        name="tiny",
        widths=(16, 32, 64),
        shares=(1 / 9, 1 / 3, 1.0),
        steps=300,
        fit_steps=240,
        simulation=small_simulation(),
    )


GRIDS: dict[str, Callable[[], Grid]] = {"tiny": tiny}


def choose_grid(
    name: str,
    *,
    widths: tuple[int, ...] | None = None,
    shares: tuple[float, ...] | None = None,
    steps: int | None = None,
    fit_steps: int | None = None,
    repeats: int | None = None,
    track: str | None = None,
    seed: int = 0,
) -> Grid:
    """The named grid with what is given in place of its own; the seed is that of its simulation.

    Raises:
        InputError: If there is none, with the near one; or a value is out of range.
    """
    if name not in GRIDS:
        near = difflib.get_close_matches(name, GRIDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(GRIDS)}"
        raise InputError(f"--grid {name!r} is unknown; {hint}")
    grid = GRIDS[name]()
    return replace(
        grid,
        widths=grid.widths if widths is None else widths,
        shares=grid.shares if shares is None else shares,
        steps=grid.steps if steps is None else steps,
        fit_steps=grid.fit_steps if fit_steps is None else fit_steps,
        repeats=grid.repeats if repeats is None else repeats,
        track=grid.track if track is None else track,
        simulation=replace(grid.simulation, seed=seed),
    )
