"""`cisoform isoform evaluate --against RUN2`: both models in every tissue, with paired intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli.common import note, print_table
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.benchmark.evaluation import EvaluationConfig
    from cisoform.jobs.isoform_evaluate import Evaluated
    from cisoform.jobs.isoform_model import IsoformModel

AgainstOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--against",
        metavar="RUN2",
        help="Compare with this run in every tissue, paired; several = an ensemble.",
    ),
]


def load_rivals(against: Sequence[Path], runs: Sequence[Path], device: str) -> list[IsoformModel]:
    """The runs to compare with.

    Raises:
        InputError: If one is no run, or they are the very runs that are evaluated.
    """
    from cisoform.jobs.isoform_uncertainty import load_models

    if against and {path.resolve() for path in against} == {path.resolve() for path in runs}:
        raise InputError(f"--against {against[0]}: is what is evaluated; give another run")
    return load_models(against, device) if against else []


def add_rivals(
    found: Evaluated,
    rivals: Sequence[IsoformModel],
    paths: tuple[Sequence[Path], Sequence[Path]],
    config: EvaluationConfig,
    average: int,
    out: Path | None,
) -> None:
    """Put the comparison into the result under `against`, and its table and figures into OUT.

    Args:
        found: The evaluation; its result gains a key.
        rivals: Loaded runs.
        paths: Folders of the evaluated runs and of the rivals.
        config: As for the evaluation.
        average: Windows to average over.
        out: Folder; None = nothing is written.
    """
    from cisoform.jobs.isoform_compare import METRICS, compare
    from cisoform.report.compare_plots import comparison_figure
    from cisoform.report.files import save_figure

    names = _named(paths[0]), _named(paths[1])
    if names[0] == names[1]:
        names = "this model", f"{names[1]} (the other)"
    compared = compare(found, rivals, config, average, names)
    found.result["against"] = compared.summary
    if out is not None:
        compared.write(out)
        for metric in METRICS:
            save_figure(comparison_figure(compared.table, names, metric), out / f"against_{metric}")


def _named(paths: Sequence[Path]) -> str:
    first = paths[0].resolve().name
    return first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"


def print_against(result: dict[str, Any]) -> None:
    """The comparison as a table; nothing if there is none."""
    found = result.get("against")
    if found is None:
        return
    ours, theirs = found["models"]["ours"], found["models"]["theirs"]
    for text in found["warnings"]:
        note(f"warning: {theirs}: {text}")
    if found["left_out"]:
        note(f"{theirs} does not predict {', '.join(found['left_out'])}: left out of the comparison")
    count = found["r2"]
    typer.echo(
        f"{ours} against {theirs}: R2 higher in {count['higher']} of {count['n_tissues']} tissues, surely so in "
        f"{count['surely_higher']}, surely lower in {count['surely_lower']} (paired 95 % intervals)"
    )
    keys = [f"r2_{name}" for name in ("ours", "theirs", "difference", "low", "high")]
    keys += [f"spearman_{name}" for name in ("ours", "theirs", "difference")]
    header = ("tissue", "R2", "other R2", "difference", "95 % from", "to", "rho", "other rho", "difference")
    rows = [
        [row["tissue"], *(float("nan") if row[key] is None else row[key] for key in keys)]
        for row in found["rows"]
    ]
    print_table(header, rows)
