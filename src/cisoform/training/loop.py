"""The training loop for every task: exact to resume, safe to kill, silent, and ignorant of biology.

Everything the weights depend on is a function of (config, source, step): batches come from `Source.epoch`, the
loop's randomness is reseeded at each step, the schedule has no state. A checkpoint therefore holds the step, the
tensors and a few sums, and a run that was killed and resumed ends with the weights of the uninterrupted one, bit by
bit (on the same device and number of threads and processes), and with the same log but for its times.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Literal

import torch

from cisoform.errors import InputError
from cisoform.training.checkpoint import (
    LoopState,
    collect_tensors,
    load_checkpoint,
    restore_tensors,
    save_checkpoint,
)
from cisoform.training.config import TrainConfig
from cisoform.training.device import resolve_device
from cisoform.training.log import LOG_FILE, CsvLog
from cisoform.training.optim import Ema, learning_rate, make_optimiser, set_learning_rate
from cisoform.training.parallel import World, join_world, step_seed
from cisoform.training.protocols import (
    B,
    Cost,
    FitResult,
    Interrupted,
    Plan,
    Progress,
    Silent,
    Source,
    StepReport,
    Task,
    ValidationReport,
)
from cisoform.training.run_folder import MODEL_FOLDER, open_run
from cisoform.training.signals import stop_requests
from cisoform.weights.store import save_model


def fit(
    task: Task[B],
    source: Source[B],
    valid_source: Source[B] | None,
    config: TrainConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    description: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    cost: Cost[B] | None = None,
    alone: bool = False,
) -> FitResult:
    """Train `task.model` in a run folder until it is finished, stops early, or is stopped.

    Args:
        task: Model, loss and validation.
        source: Training batches.
        valid_source: Validation batches (its epoch 0). None: no validation; the last weights are the model.
        config: Settings of the loop.
        run_dir: Folder of the run (see `run_folder`); must not hold a run unless `resume`.
        resume: Continue the folder's run from its last checkpoint (from the start if it has none yet).
        description: What else defines the run, as JSON; a resumed run must have the same. The key `dataset_hash`
            is the data set's.
        device: "auto", "cpu", "cuda" or "cuda:N".
        progress: Is told of every step and validation.
        cost: Operations per batch, for the log's `mfu` column.
        alone: Train in this process alone, even if `torchrun` started several.

    Raises:
        InputError: If the folder, the device, the data or the disk does not allow it, or the loss becomes NaN.
        Interrupted: After Ctrl-C or SIGTERM, once a checkpoint is written. A second Ctrl-C stops at once.
    """
    where = resolve_device(device)
    if where.type == "cuda":
        torch.cuda.set_device(where)
    world = World() if alone else join_world(where)
    run_dir = Path(run_dir)
    loop = _Loop(task, source, valid_source, config, run_dir, where, world)
    loop.description, loop.cost = dict(description or {}), cost
    loop.progress = progress if progress is not None and world.writes else Silent()
    if world.writes:
        open_run(run_dir, config, loop.description, resume)
    world.barrier()
    world.share_weights(task.model)
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        result = loop.run(resume)
    world.leave()
    return result


class _StopNow(Exception):
    """Leaves a validation that the user has interrupted."""


class _Loop(Generic[B]):
    def __init__(
        self,
        task: Task[B],
        source: Source[B],
        valid_source: Source[B] | None,
        config: TrainConfig,
        run_dir: Path,
        device: torch.device,
        world: World,
    ) -> None:
        self.task, self.source, self.valid_source, self.config = task, source, valid_source, config
        self.run_dir, self.device, self.world = run_dir, device, world
        self.description: dict[str, Any] = {}
        self.cost: Cost[B] | None = None
        self.progress: Progress = Silent()
        if task.monitor.name not in task.metrics:
            raise InputError(
                f"monitored metric {task.monitor.name!r} is not one of the task's: {', '.join(task.metrics)}"
            )
        self.model = task.model.to(device)
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimiser = make_optimiser(self.model, config)
        self.ema = None if config.ema_decay is None else Ema(self.model, config.ema_decay)
        self.log = CsvLog(run_dir / LOG_FILE, task.metrics)
        self.state = LoopState()
        self.sums = torch.zeros(
            3, dtype=torch.float64, device=device
        )  # loss, weight, samples since the last row
        self.batches: Iterator[B] | None = None
        self.saved: tuple[int, int] | None = None  # step and last logged step of the checkpoint on disk
        self.stop = threading.Event()  # asked to stop
        self.agreed = False  # all processes know that one was asked to stop
        self.last_loss = math.nan
        self.began = time.perf_counter()
        self.seconds_before = self.samples_here = self.active_here = 0.0
        self.first_step = 0
        self.counts: dict[int, int] = {}
        self.total_steps = self._count_steps()

    # --- the course of a run -----------------------------------------------------------------------------------

    def run(self, resume: bool) -> FitResult:
        if resume:
            self._load()
        if self.world.writes:
            self.log.begin(self.state.logged)
        self.first_step, self.seconds_before = self.state.step, self.state.seconds
        self.progress.start(self._plan())
        with stop_requests(self.stop):
            while True:
                try:
                    self._log_and_validate()
                except _StopNow:
                    self._interrupt()
                if self.state.ended or self._checkpoint_due():
                    self._save()
                if self.state.ended:
                    return self._finish(self.state.ended)
                if self._stopping():
                    self._interrupt()
                if self._out_of_time():
                    self._save()
                    return self._finish("minutes")
                self._step()

    def _stopping(self) -> bool:
        return self.stop.is_set() if self.world.size == 1 else self.agreed

    def _interrupt(self) -> None:
        self._save()
        raise Interrupted(
            f"stopped after step {self.state.step} of {self.total_steps}; the checkpoint is in {self.run_dir}: "
            "continue with the same command and --resume"
        )

    def _finish(self, reason: Literal["finished", "early", "minutes"]) -> FitResult:
        self.world.barrier()
        state = self.state
        result = FitResult(
            run_dir=self.run_dir,
            step=state.step,
            epoch=self._epoch_of_last_step(),
            reason=reason,
            best_step=state.best_step,
            best=dict(state.best),
            seconds=self._seconds(),
            device=str(self.device),
        )
        self.progress.finish(result)
        return result

    # --- one step ----------------------------------------------------------------------------------------------

    def _step(self) -> None:
        began, state = time.perf_counter(), self.state
        self.model.train()
        torch.manual_seed(step_seed(self.config.seed, state.step, self.world.rank))
        self.optimiser.zero_grad(set_to_none=True)
        totals = torch.zeros(4, dtype=torch.float64, device=self.device)  # loss, weight, samples, stop
        for batch in self._next_batches():
            batch = batch.to(self.device)
            with self._autocast():
                loss = self.task.loss(batch)
            loss.total.backward()  # type: ignore[no-untyped-call]
            totals[0] += loss.total.detach()
            totals[1] += loss.weight.detach()
            totals[2] += len(batch)
            self.samples_here += len(batch)
            if self.cost is not None:
                state.flops += self.cost.flops(batch)
        totals[3] = float(self.stop.is_set())
        self.world.sum(totals)
        self.agreed = self.world.size > 1 and bool(totals[3] > 0)
        self.world.sum_gradients(self.parameters)
        lr = learning_rate(state.step, self.total_steps, self.config)
        self._update(totals[1], lr)
        self.sums += totals[:3]
        self._advance()
        spent = time.perf_counter() - began
        state.active_s += spent
        self.active_here += spent
        self.progress.step(self._report(lr))

    def _update(self, weight: torch.Tensor, lr: float) -> None:
        """Divide the summed gradient by the number of labels, clip it, and move the weights."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        scale = torch.where(weight > 0, 1.0 / weight.clamp_min(1e-30), 0.0).to(torch.float32)
        if gradients:
            torch._foreach_mul_(gradients, scale)
        if self.config.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        set_learning_rate(self.optimiser, lr)
        self.optimiser.step()
        if self.ema is not None:
            self.ema.update(self.model, self.state.step)

    def _next_batches(self) -> Iterator[B]:
        """This process's batches of the step; the processes take them in turn."""
        state, rank, size = self.state, self.world.rank, self.world.size
        if self.batches is None:
            self.batches = islice(self.source.epoch(state.epoch, start=state.batch), rank, None, size)
        end = min(state.batch + self.config.accumulate * size, self._n_batches(state.epoch))
        for number in range(state.batch + rank, end, size):
            try:
                yield next(self.batches)
            except StopIteration:
                raise RuntimeError(
                    f"the source ended before batch {number} of epoch {state.epoch}, "
                    f"which should have {self._n_batches(state.epoch)}"
                ) from None

    def _advance(self) -> None:
        state = self.state
        state.step += 1
        state.batch += self.config.accumulate * self.world.size
        if state.batch >= self._n_batches(state.epoch):
            state.epoch, state.batch, self.batches = state.epoch + 1, 0, None

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.bf16)

    # --- between steps -----------------------------------------------------------------------------------------

    def _log_and_validate(self) -> None:
        """Write the row that is due after this step, with a validation if one is due; decide whether to stop."""
        state, config = self.state, self.config
        last = state.step >= self.total_steps
        every = config.validate_every
        validate = last or (state.batch == 0 if every is None else state.step % every == 0)
        if state.logged >= state.step or not (validate or state.step % config.log_every == 0):
            return
        metrics: dict[str, float] = {}
        self._read_sums()
        if validate and self.valid_source is not None:
            metrics = self._validate(self.valid_source)
            self._judge(metrics)
        self._write_row(metrics)
        state.logged = state.step
        state.loss = state.weight = state.samples = state.flops = state.active_s = 0.0
        self.sums.zero_()
        patience = config.patience
        if last:
            state.ended = "finished"
        elif patience is not None and state.without_gain >= patience:
            state.ended = "early"

    def _validate(self, source: Source[B]) -> dict[str, float]:
        """Metrics of the weights (their average, with EMA); process 0 computes them for all."""
        values = [0.0] * len(self.task.metrics)
        if self.world.writes:
            self.model.eval()
            averaged = self.ema.applied(self.model) if self.ema is not None else nullcontext()
            with torch.no_grad(), self._autocast(), averaged:
                metrics = self.task.validate(self._validation_batches(source))
            values = [float(metrics[name]) for name in self.task.metrics]
        values = self.world.from_first(values, self.device)
        return dict(zip(self.task.metrics, values, strict=True))

    def _validation_batches(self, source: Source[B]) -> Iterator[B]:
        total = source.n_batches(0)
        for done, batch in enumerate(source.epoch(0)):
            if self.stop.is_set() and self.world.size == 1:
                raise _StopNow
            self.progress.validating(done, total)
            yield batch.to(self.device)
        self.progress.validating(total, total)

    def _judge(self, metrics: dict[str, float]) -> None:
        """Keep these weights as the model if they are the best so far."""
        state, monitor = self.state, self.task.monitor
        value = metrics[monitor.name]
        if not math.isfinite(value):
            raise InputError(
                f"validation metric {monitor.name} is {value} after step {state.step}: the validation rows have too "
                "few labels, or the model predicts the same for all of them; check the split or lower lr"
            )
        better = monitor.better(value, state.best.get(monitor.name))
        if better:
            state.best_step, state.without_gain = state.step, 0
            state.best = {name: number for name, number in metrics.items() if math.isfinite(number)}
            self._save_model()
        else:
            state.without_gain += 1
        self.progress.validated(ValidationReport(state.step, self._epoch_of_last_step(), metrics, better))

    def _write_row(self, metrics: Mapping[str, float]) -> None:
        state = self.state
        row = {
            "step": state.step,
            "epoch": self._epoch_of_last_step(),
            "train_loss": self.last_loss if math.isfinite(self.last_loss) else None,
            "lr": learning_rate(state.step - 1, self.total_steps, self.config),
            "samples_per_s": round(state.samples / max(state.active_s, 1e-9), 2),
            "mfu": self._mfu(),
            "seconds": round(self._seconds(), 3),
            **{f"valid_{name}": value for name, value in metrics.items()},
        }
        if self.world.writes:
            with self._disk():
                self.log.append(row)

    def _read_sums(self) -> None:
        """Bring the sums to the state (waits for the device) and check that the loss is a number."""
        began, state = time.perf_counter(), self.state
        loss, weight, samples = self.sums.tolist()
        state.loss, state.weight, state.samples = loss, weight, samples
        state.active_s += time.perf_counter() - began
        self.last_loss = loss / weight if weight else math.nan
        if not math.isfinite(loss):
            raise InputError(
                f"the training loss became {loss} at or before step {state.step} (lr {self.config.lr:g}); lower lr, "
                "warm up longer or clip harder, and check the targets for extreme values"
            )

    # --- disk --------------------------------------------------------------------------------------------------

    def _checkpoint_due(self) -> bool:
        state, every = self.state, self.config.checkpoint_every
        return state.step > 0 and (state.batch == 0 if every is None else state.step % every == 0)

    def _save(self) -> None:
        """Write a checkpoint, unless this very state is on disk already."""
        state = self.state
        if self.saved == (state.step, state.logged):
            return
        self._read_sums()
        state.seconds = self._seconds()
        if self.world.writes:
            if self.valid_source is None:
                self._save_model()
            with self._disk():
                tensors = collect_tensors(self.model, self.optimiser, self.ema)
                save_checkpoint(self.run_dir, asdict(state), tensors)
        self.saved = (state.step, state.logged)

    def _save_model(self) -> None:
        if not self.world.writes:
            return
        training = {"step": self.state.step, "metrics": self.state.best, "run": self.description}
        averaged = self.ema.applied(self.model) if self.ema is not None else nullcontext()
        with self._disk(), averaged:
            export = self.task.export()
            state = self.model.state_dict() if export.state is None else export.state
            files = {**export.files, "training.json": training}
            save_model(self.run_dir / MODEL_FOLDER, state, export.config, files)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Add to a failed write what is still safe."""
        try:
            yield
        except InputError as error:
            safe = (
                "the run has no checkpoint yet"
                if self.saved is None
                else f"the checkpoint of step {self.saved[0]} is intact, continue with --resume"
            )
            raise InputError(f"{error}; {safe}") from None

    def _load(self) -> None:
        checkpoint = load_checkpoint(self.run_dir)
        if checkpoint is None:
            return
        try:
            restore_tensors(checkpoint.tensors, self.model, self.optimiser, self.ema)
        except InputError as error:
            raise InputError(f"{self.run_dir}: {error}") from None
        self.state = state = LoopState(**checkpoint.state)
        self.saved = (state.step, state.logged)
        self.sums = torch.tensor(
            [state.loss, state.weight, state.samples], dtype=torch.float64, device=self.device
        )

    # --- numbers -----------------------------------------------------------------------------------------------

    def _count_steps(self) -> int:
        config = self.config
        if config.epochs is None:
            assert config.max_steps is not None
            self._n_batches(0)
            return config.max_steps
        group = config.accumulate * self.world.size
        total = 0
        for epoch in range(config.epochs):
            total += math.ceil(self._n_batches(epoch) / group)
            if config.max_steps is not None and total >= config.max_steps:
                return config.max_steps
        return total

    def _n_batches(self, epoch: int) -> int:
        if epoch not in self.counts:
            self.counts[epoch] = self.source.n_batches(epoch)
        if self.counts[epoch] < 1:
            raise InputError(f"epoch {epoch} of the training data has no batch; is any row labelled 'train'?")
        return self.counts[epoch]

    def _epoch_of_last_step(self) -> int:
        """Number of the epoch, from 1, that the last step belongs to."""
        return self.state.epoch if self.state.batch == 0 else self.state.epoch + 1

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.began

    def _out_of_time(self) -> bool:
        limit = self.config.max_minutes
        if limit is None:
            return False
        spent = float(time.perf_counter() - self.began > 60.0 * limit)
        return bool(self.world.from_first([spent], self.device)[0])

    def _mfu(self) -> float | None:
        if self.cost is None or not self.state.active_s:
            return None
        return round(self.state.flops / self.state.active_s / self.cost.peak, 4)

    def _plan(self) -> Plan:
        return Plan(
            total_steps=self.total_steps,
            first_step=self.state.step,
            epochs=self.config.epochs,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            trainable=sum(parameter.numel() for parameter in self.parameters),
            device=str(self.device),
            processes=self.world.size,
        )

    def _report(self, lr: float) -> StepReport:
        state, here = self.state, time.perf_counter() - self.began
        return StepReport(
            step=state.step,
            total_steps=self.total_steps,
            epoch=self._epoch_of_last_step(),
            loss=self.last_loss,
            lr=lr,
            samples_per_s=self.world.size * self.samples_here / max(self.active_here, 1e-9),
            seconds=self._seconds(),
            eta_s=here / (state.step - self.first_step) * (self.total_steps - state.step),
        )
