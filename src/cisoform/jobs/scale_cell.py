"""One cell of a scaling grid: both stages of one width on one share of the data, and its scores.

A cell's folder holds `pretrained`, `fitted` and, once it is whole, `cell.json`. Its name ends with the first signs of
the key, a hash of all that its result depends on: other settings get other folders, and no result is mixed up.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cisoform import __version__
from cisoform.configs import config_to_json
from cisoform.genome.files import read_json, write_json
from cisoform.jobs import elementary, regulation_fit, regulation_predict
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.plan_costs import elementary_parameters, regulatory_parameters
from cisoform.jobs.records import plain
from cisoform.jobs.scale_data import ScaleData, amounts, part_of
from cisoform.jobs.scale_grid import Grid
from cisoform.training.protocols import Silent, StepReport

CELL = "cell.json"
TEST = ("unseen chromosomes, all cell types", "unseen chromosomes, seen cell types")
"""Parts of an evaluation that the downstream score is read from: the first that the data have."""
_KEY_SIGNS = 8
Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Cell:
    """A width, a share of the data and a repeat, of a grid with a seed."""

    width: int
    share: float
    repeat: int
    seed: int

    @property
    def name(self) -> str:
        """`d32-0.333-r0`."""
        return f"d{self.width}-{self.share:.3g}-r{self.repeat}"

    @property
    def own_seed(self) -> int:
        """Of its weights, its order of samples and its choice of data; the same for all widths and shares."""
        return self.seed + self.repeat


def cells_of(grid: Grid, seed: int) -> list[Cell]:
    """All cells, cheap ones first within a repeat."""
    return [
        Cell(width, share, repeat, seed)
        for repeat in range(grid.repeats)
        for width in grid.widths
        for share in grid.shares
    ]


def key_of(cell: Cell, grid: Grid, data: ScaleData) -> str:
    """SHA-256 of all that the result of a cell depends on."""
    content = {
        "cisoform": __version__,
        "first": json.loads(config_to_json(grid.first(cell.width, cell.own_seed))),
        "second": json.loads(config_to_json(grid.second(cell.width, cell.own_seed))),
        "share": cell.share,
        "regions": data.regions.hash,
        "genes": data.genes.hash,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def folder_of(cell: Cell, key: str, cells: Path) -> Path:
    """Where a cell is kept."""
    return cells / f"{cell.name}-{key[:_KEY_SIGNS]}"


def finished(folder: Path) -> dict[str, Any] | None:
    """The result of a cell that was finished; None = it is to be run, or to be run on.

    Raises:
        InputError: If it cannot be read.
    """
    path = folder / CELL
    return read_json(path, "result of a cell") if path.exists() else None


class _Steps(Silent):
    """Passes on which share of a training is done."""

    def __init__(self, tell: Tell, what: str) -> None:
        self._tell, self._what = tell, what

    def step(self, report: StepReport) -> None:
        """Pass it on."""
        self._tell(self._what, report.step / report.total_steps)


def run_cell(
    cell: Cell, grid: Grid, whole: ScaleData, folder: Path, device: str, tell: Tell
) -> dict[str, Any]:
    """Train both stages, or continue what a killed process left, and score the held-out chromosomes.

    Args:
        cell: Which.
        grid: How.
        whole: All of the data.
        folder: The cell's.
        device: As everywhere.
        tell: Is told what is done, and which share of it.

    Returns:
        What `cell.json` then holds.

    Raises:
        InputError: If training or scoring is not possible.
        Interrupted: After Ctrl-C in a training, with a checkpoint.
    """
    data, seed = part_of(whole, cell.share, cell.own_seed), cell.own_seed
    begun, cpu = time.monotonic(), time.process_time()
    name = f"scale {cell.name}"  # is in the description of a run: one of another share is not continued
    first = elementary.prepare(data.regions, grid.first(cell.width, seed), name)
    start = _start_loss(first)
    pretrained = elementary.pretrain(
        first,
        folder / "pretrained",
        resume=_begun(folder / "pretrained"),
        device=device,
        progress=_Steps(tell, "pre-training"),
    )
    tell("encoding", 0.0)
    second = regulation_fit.prepare(data.genes, folder / "pretrained", grid.second(cell.width, seed), name)
    cache = folder / "features"
    fitted = regulation_fit.fit(
        second,
        folder / "fitted",
        cache=cache,
        resume=_begun(folder / "fitted"),
        device=device,
        progress=_Steps(tell, "fitting"),
    )
    tell("scoring", 0.0)
    model = CREformerModel.load(folder / "fitted", device)
    config = regulation_predict.EvaluationConfig(depth=False, seed=seed)
    parts = regulation_predict.evaluate(model, data.genes, "test", config, cache=cache)["parts"]
    part = next(name for name in TEST if name in parts)
    result: dict[str, Any] = plain(
        {
            "name": cell.name,
            "key": key_of(cell, grid, whole),
            "width": cell.width,
            "share": cell.share,
            "repeat": cell.repeat,
            "seed": seed,
            "parameters": _parameters(model),
            "data": amounts(data),
            "pretraining": {"steps": pretrained.step, "start_loss": start, **pretrained.best},
            "fit": {"steps": fitted.step, "kept_step": fitted.best_step, **fitted.best},
            "test": {"part": part, **parts[part]},
            "device": pretrained.device,
            "seconds": {
                "pretrain": pretrained.seconds,
                "fit": fitted.seconds,
                "all": time.monotonic() - begun,
                "cpu": time.process_time() - cpu,
            },
        }
    )
    write_json(folder / CELL, result)
    shutil.rmtree(cache, ignore_errors=True)  # large, and of this cell's weights alone
    return result


@torch.no_grad()
def _start_loss(run: elementary.PreparedPretraining) -> float:
    """Validation loss before the first step, where the heads answer how often each level occurs."""
    assert run.valid_source is not None  # `scale_data.check` has seen validation regions
    run.task.model.eval()
    return run.task.validate(run.valid_source.epoch(0))["loss"]


def _begun(run: Path) -> bool:
    return (run / "config.json").exists()


def _parameters(model: CREformerModel) -> dict[str, int]:
    """Of the first stage without the heads of its pre-training, and of both stages."""
    config = model.model.config
    first = sum(elementary_parameters(config.elementary).values())
    return {"elementary": first, "all": first + sum(regulatory_parameters(config).values())}
