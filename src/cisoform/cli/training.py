"""A training run on the terminal: the estimate before it starts, a bar while it runs, a line per validation."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cisoform.cli.common import duration_text, note, print_json

if TYPE_CHECKING:
    from cisoform.training.protocols import FitResult, Plan, StepReport, ValidationReport

WARM_UP_STEPS = 3
"""The first steps allocate memory and choose kernels: they are left out of the estimate."""
ESTIMATE_AFTER_S = 3.0


class TrainingBar:
    """A `training.protocols.Progress` on stderr: a bar on a terminal, and a line per validation everywhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._first = self._total = 0
        self._warm: tuple[int, float] | None = None
        self._told = False

    def __enter__(self) -> TrainingBar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("training"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, plan: Plan) -> None:
        """Say what is about to happen."""
        self._first, self._total = plan.first_step, plan.total_steps
        begun = f"continuing at step {plan.first_step:,} of" if plan.first_step else "training"
        note(f"{begun} {plan.total_steps:,} steps on {plan.device}")
        if self._bar is not None:
            self._task = self._bar.add_task("", total=plan.total_steps, completed=plan.first_step, text="")

    def step(self, report: StepReport) -> None:
        """Move the bar; after some steps, estimate the whole."""
        if not self._told:
            self._estimate(report)
        if self._bar is not None:
            self._bar.update(self._task, completed=report.step, text=f"loss {report.loss:.3f}")

    def _estimate(self, report: StepReport) -> None:
        now = time.monotonic()
        if self._warm is None:
            if report.step - self._first >= WARM_UP_STEPS:
                self._warm = (report.step, now)
            return
        step, since = self._warm
        if report.step > step and now - since >= ESTIMATE_AFTER_S:
            self._told = True
            rate = (report.step - step) / (now - since)
            left = duration_text((self._total - report.step) / rate)
            note(f"estimate: about {left} to go at {rate:.3g} steps/s")

    def validating(self, done: int, total: int) -> None:
        """Show that the pause is a validation."""
        if self._bar is not None:
            self._bar.update(self._task, text=f"validating {done}/{total}")

    def validated(self, report: ValidationReport) -> None:
        """A line per validation; the kept one is marked."""
        scores = ", ".join(f"{name} {value:.3f}" for name, value in report.metrics.items())
        note(f"step {report.step:,}: valid {scores}{' (kept)' if report.best else ''}")

    def finish(self, result: FitResult) -> None:
        """Nothing: the command prints the result."""


def print_run(result: FitResult, out: Path, as_json: bool) -> None:
    """What a training ended with: one line, or JSON."""
    best = {name: float(value) for name, value in result.best.items()}
    if as_json:
        print_json({**vars(result), "best": best})
        return
    scores = ", ".join(f"{name} {value:.3f}" for name, value in best.items())
    kept = f"; kept step {result.best_step}: valid {scores}" if best else ""
    sys.stdout.write(
        f"{out}: {result.step:,} steps in {duration_text(result.seconds)} ({result.reason}){kept}\n"
    )
