"""The first section of a run's page, the same for both stages of CREformer: facts, commands, the curve of learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from cisoform.report.compare import number
from cisoform.report.isoform_plots import learning_curve
from cisoform.report.page import Page
from cisoform.report.style import new_figure

BRIEF = (
    "Briefly trained: this run shows that every step works on these files. Its scores are far from what the same "
    "model reaches with a full recipe; do not quote them."
)


@runtime_checkable
class Run(Protocol):
    """What is told of a run."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What was run, for the table."""

    @property
    def log(self) -> Sequence[Mapping[str, float | None]]:
        """Rows of the training log."""

    @property
    def warnings(self) -> Sequence[str]:
        """What to say first."""

    @property
    def briefly_trained(self) -> bool:
        """Whether its scores count as those of a first look."""

    @property
    def commands(self) -> Sequence[str]:
        """That would do the same by hand."""


def add_run(page: Page, run: Run, title: str) -> None:
    """Begin a section with warnings, facts and commands."""
    page.section(title)
    if run.briefly_trained:
        page.warning(BRIEF)
    for text in run.warnings:
        page.warning(text)
    page.facts(run.facts)
    if run.commands:
        page.code("\n".join(run.commands))


def add_learning_curve(
    page: Page,
    log: Sequence[Mapping[str, float | None]],
    metric: str,
    *,
    score: str,
    label: str,
    caption: str,
    alt: str,
    lowest_loss: bool = False,
) -> None:
    """Draw training loss and a score of the validation part over steps; nothing where it was validated only once.

    Args:
        page: Gets the figure.
        log: Rows of the training log.
        metric: Column of the score.
        score: What it is, for the title.
        label: Of its axis.
        caption: Under the figure.
        alt: For readers that do not see it.
        lowest_loss: The weights of the lowest validation loss were kept, not those of the highest score.
    """
    train = [(row["step"], row["train_loss"]) for row in log if row.get("train_loss") is not None]
    valid = [row for row in log if row.get("valid_loss" if lowest_loss else metric) is not None]
    if len(valid) < 2 or len(train) < 2:
        return
    losses = [number(row["valid_loss"]) for row in valid] if lowest_loss else []
    page.heading("How it learned")
    figure, (axes,) = new_figure(7.5, 3.0)
    learning_curve(
        axes,
        [number(step) for step, _ in train],
        [number(loss) for _, loss in train],
        [number(row["step"]) for row in valid],
        [number(row.get(metric)) for row in valid],
        score=score,
        label=label,
        kept=_lowest(losses),
    )
    page.figure(figure, caption, alt)


def _lowest(values: Sequence[float]) -> int | None:
    known = [index for index, value in enumerate(values) if value == value]
    return min(known, key=lambda index: values[index]) if known else None
