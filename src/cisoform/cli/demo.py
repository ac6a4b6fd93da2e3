"""`cisoform demo`: everything once, offline, with a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    duration_text,
    estimate_line,
    note,
    print_json,
    print_table,
    resolve_device,
)
from cisoform.errors import InputError

app = typer.Typer()


SECONDS = {"isoform": (15, 80), "regulation": (40, 300)}
"""Of each half on two idle cores: smoke, full."""
HALVES = (*SECONDS, "both")


@app.command(epilog="Example: cisoform demo --out demo --half regulation")
def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for everything it writes.")
    ] = Path("demo"),
    half: Annotated[str, typer.Option("--half", help="isoform, regulation or both.")] = "both",
    pack: Annotated[
        str, typer.Option("--pack", metavar="NAME|DIR", help="The yeast pack; left out if it is not found.")
    ] = "yeast",
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Train for seconds only: shows that it works.")
    ] = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train, score and report on planted truth and, if found, on the yeast pack."""
    if half not in HALVES:
        raise InputError(f"--half {half!r} is unknown; choose from {', '.join(HALVES)}")
    from cisoform.cli.training import TrainingBar
    from cisoform.jobs.demo import run_demo

    yeast = _yeast(pack) if half != "regulation" else None
    resolve_device(device)
    wanted = list(SECONDS) if half == "both" else [half]
    seconds = sum(SECONDS[name][0 if smoke else 1] for name in wanted)
    note(estimate_line(seconds=seconds, memory_bytes=2e9, disk_bytes=5e8))
    with TrainingBar() as bar:
        summary = run_demo(
            out,
            yeast,
            smoke,
            device,
            say=lambda text: note(f"-- {text}"),
            progress=lambda: bar,
            half=half,
        )
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary, out / "report.html")
    for name, message in summary["failed"].items():
        raise InputError(
            f"the {name} half of the demo failed: {message} ({out / 'report.html'} holds the rest)"
        )


def _yeast(pack: str) -> Path | None:
    from cisoform.packs import find_pack, try_find_pack

    found = find_pack(pack) if pack != "yeast" else try_find_pack(pack)
    if found is None:
        note(
            "the yeast pack was not found (set $CISOFORM_PACKS or --pack): only the simulated genomes are used"
        )
    return found


def _print_summary(summary: dict[str, Any], page: Path) -> None:
    parts = [part for part in ("simulated", "yeast") if part in summary]
    if parts:
        print_table(
            ("isoforms", "mean R2", "mean Spearman", "best baseline R2"),
            [_row(part, summary[part]) for part in parts],
        )
    if "regulation" in summary:
        found = summary["regulation"]
        typer.echo(f"regulation, {found['part']}")
        print_table(
            ("", "Pearson per gene"), [[name, value] for name, value in found["gene_pearson"].items()]
        )
        print_table(("readings beside the truth", "score"), list(found["readings"].items()))
        for name, reason in found["not_read"].items():
            note(f"warning: the reading {name} could not be done: {reason}")
    typer.echo(f"{page}: open it in a browser ({duration_text(summary['seconds'])})")


def _row(part: str, scores: dict[str, Any]) -> list[Any]:
    honest = [
        value
        for name, value in scores["baselines"].items()
        if value is not None and not name.startswith("ceiling")
    ]
    return [part, scores["mean"]["r2"], scores["mean"]["spearman"], max(honest, default=float("nan"))]
