"""What the training loop asks of a task and of a source of batches, and what it reports. No biology here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

Same = TypeVar("Same")


@runtime_checkable
class Batch(Protocol):
    """Tensors that move together; `len` is the number of samples."""

    def __len__(self) -> int: ...

    def to(self: Same, device: torch.device) -> Same:
        """The same batch on another device."""
        ...


B = TypeVar("B", bound=Batch)
B_co = TypeVar("B_co", bound=Batch, covariant=True)
B_contra = TypeVar("B_contra", bound=Batch, contravariant=True)


@runtime_checkable
class Source(Protocol[B_co]):
    """Batches of a data set, as a pure function of (epoch, batch number): this is what makes resuming exact."""

    def n_batches(self, epoch: int) -> int:
        """How many batches the epoch has."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[B_co]:
        """The epoch's batches from number `start` on."""
        ...


@dataclass(frozen=True)
class Loss:
    """Loss of one batch, split so that batches can be joined exactly.

    Attributes:
        total: Weighted sum of the losses of all labels; this is differentiated.
        weight: Sum of the labels' weights. The mean loss is `total / weight`; 0 when no label is present.
    """

    total: Float[Tensor, ""]
    weight: Float[Tensor, ""]


@dataclass(frozen=True)
class Monitor:
    """The validation metric that decides which weights are kept, and when to stop early."""

    name: str
    mode: Literal["max", "min"]

    def better(self, value: float, best: float | None) -> bool:
        """Whether a value is strictly better than the best one so far (None: nothing yet)."""
        if best is None:
            return True
        return value > best if self.mode == "max" else value < best


@dataclass(frozen=True)
class Export:
    """What a saved model holds: its config, fitted JSON files by file name, and its weights.

    Attributes:
        config: Config of the model.
        files: Further JSON files.
        state: Weights in the form that is saved, where training keeps them in another; None = the module's own.
    """

    config: Mapping[str, Any]
    files: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Tensor] | None = None


@runtime_checkable
class Task(Protocol[B_contra]):
    """A model and what it should learn.

    Attributes:
        model: The module whose parameters are trained.
        metrics: Names of the values `validate` returns; they become columns of the log.
        monitor: Which of them to watch.
    """

    model: nn.Module
    metrics: tuple[str, ...]
    monitor: Monitor

    def loss(self, batch: B_contra) -> Loss:
        """Loss of a batch; called in training mode, under autocast where the config says so."""
        ...

    def validate(self, batches: Iterable[B_contra]) -> dict[str, float]:
        """Metrics over the validation batches; called in evaluation mode without gradients."""
        ...

    def export(self) -> Export:
        """What to save beside the weights."""
        ...


@dataclass(frozen=True)
class Cost(Generic[B]):
    """What a batch costs, where that is known; fills the log's `mfu` column.

    Attributes:
        flops: Floating-point operations of forward and backward pass of a batch.
        peak: Operations a second the device can do at most.
    """

    flops: Callable[[B], float]
    peak: float


@dataclass(frozen=True)
class Plan:
    """What a run is about to do."""

    total_steps: int
    first_step: int
    epochs: int | None
    parameters: int
    trainable: int
    device: str
    processes: int


@dataclass(frozen=True)
class StepReport:
    """State after a step. `loss` is the mean since the log's last row; rates cover this process alone."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    lr: float
    samples_per_s: float
    seconds: float
    eta_s: float


@dataclass(frozen=True)
class ValidationReport:
    """Result of a validation. `best` tells whether these weights are now the saved model."""

    step: int
    epoch: int
    metrics: Mapping[str, float]
    best: bool


@dataclass(frozen=True)
class FitResult:
    """How training ended.

    Attributes:
        run_dir: Folder of the run; its model is in `run_dir / "model"`.
        step: Steps done in all.
        epoch: Epoch of the last step.
        reason: "finished", "early" (patience ran out) or "minutes" (time budget; can be resumed).
        best_step: Step of the saved model; None without validation.
        best: Metrics of the saved model.
        seconds: Time of all processes that worked on the run.
        device: Device of this process.
    """

    run_dir: Path
    step: int
    epoch: int
    reason: Literal["finished", "early", "minutes"]
    best_step: int | None
    best: Mapping[str, float]
    seconds: float
    device: str


@runtime_checkable
class Progress(Protocol):
    """Receives what the loop has to tell; the loop itself prints nothing."""

    def start(self, plan: Plan) -> None:
        """Training begins or continues."""
        ...

    def step(self, report: StepReport) -> None:
        """A step is done."""
        ...

    def validating(self, done: int, total: int) -> None:
        """Validation has read `done` of `total` batches."""
        ...

    def validated(self, report: ValidationReport) -> None:
        """A validation is done."""
        ...

    def finish(self, result: FitResult) -> None:
        """Training ended by itself."""
        ...


class Silent:
    """A `Progress` that tells nobody."""

    def start(self, plan: Plan) -> None:
        """Nothing."""

    def step(self, report: StepReport) -> None:
        """Nothing."""

    def validating(self, done: int, total: int) -> None:
        """Nothing."""

    def validated(self, report: ValidationReport) -> None:
        """Nothing."""

    def finish(self, result: FitResult) -> None:
        """Nothing."""


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the user or the system after a checkpoint; the message says how to go on."""
