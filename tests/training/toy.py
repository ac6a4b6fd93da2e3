"""A regression task without biology, for the loop's tests: six numbers in, one out, with dropout and batch norm."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cisoform.training.config import TrainConfig
from cisoform.training.protocols import Export, Loss, Monitor, Silent, StepReport


@dataclass(frozen=True)
class ToyBatch:
    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> ToyBatch:
        return ToyBatch(self.inputs.to(device), self.labels.to(device))


class ToySource:
    """`rows` samples in a shuffled order per epoch, a function of (seed, epoch) alone."""

    def __init__(self, seed: int = 0, rows: int = 22, size: int = 4) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(rows, 6, generator=generator)
        self.labels = (self.inputs[:, :2].sum(1) + 0.1 * torch.randn(rows, generator=generator)).float()
        self.size, self.rows, self.seed = size, rows, seed

    def n_batches(self, epoch: int) -> int:
        return -(-self.rows // self.size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[ToyBatch]:
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(1000 * self.seed + epoch))
        for number in range(start, self.n_batches(epoch)):
            rows = order[number * self.size : (number + 1) * self.size]
            yield ToyBatch(self.inputs[rows], self.labels[rows])


def toy_model(dropout: float = 0.3, seed: int = 5) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(6, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(dropout), nn.Linear(7, 1), nn.Flatten(0)
        )


class ToyTask:
    metrics = ("mse", "bias")

    def __init__(self, model: nn.Module | None = None) -> None:
        self.model = model or toy_model()
        self.monitor = Monitor("mse", "min")

    def loss(self, batch: ToyBatch) -> Loss:
        error = self.model(batch.inputs).float() - batch.labels
        return Loss(total=torch.square(error).sum(), weight=torch.tensor(float(len(batch))))

    def validate(self, batches: Iterable[ToyBatch]) -> dict[str, float]:
        assert not self.model.training and not torch.is_grad_enabled()
        error = torch.cat([self.model(batch.inputs) - batch.labels for batch in batches])
        torch.rand(3)  # validation may draw random numbers; training must not notice
        return {"mse": float(torch.square(error).mean()), "bias": float(error.mean())}

    def export(self) -> Export:
        return Export(config={"inputs": 6}, files={"normaliser.json": {"mean": [0.5]}})


class Stop(Exception):
    """What a test raises in the middle of a run."""


class StopAt(Silent):
    """Does something once a step is done: raises `Stop`, or kills or interrupts the process."""

    def __init__(self, step: int, action: str = "raise") -> None:
        self.at, self.action = step, action

    def step(self, report: StepReport) -> None:
        if report.step != self.at:
            return
        if self.action == "raise":
            raise Stop
        os.kill(os.getpid(), getattr(signal, self.action))


def toy_config(**changes: object) -> TrainConfig:
    """Two and a half epochs of six batches: checkpoints and validations at different steps, EMA, clipping."""
    settings: dict[str, object] = {
        "epochs": 3,
        "lr": 0.05,
        "ema_decay": 0.9,
        "accumulate": 2,
        "validate_every": 4,
        "checkpoint_every": 3,
        "log_every": 2,
    }
    return TrainConfig(**{**settings, **changes})  # type: ignore[arg-type]


def linear_task() -> ToyTask:
    """Without dropout and batch norm, whose results depend on how samples are cut into batches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return ToyTask(nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)))


if __name__ == "__main__":  # python -m tests.training.toy RUN (SIGKILL STEP | resume | parallel)
    from cisoform.training.loop import fit

    torch.set_num_threads(1)
    run, what, *rest = sys.argv[1:]
    sources = ToySource(), ToySource(seed=1, rows=9)
    if what == "resume":
        fit(ToyTask(), *sources, toy_config(), Path(run), resume=True, device="cpu")
    elif what == "parallel":
        fit(linear_task(), *sources, toy_config(accumulate=1), Path(run), device="cpu")
    else:
        fit(ToyTask(), *sources, toy_config(), Path(run), progress=StopAt(int(rest[0]), what), device="cpu")
