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

app = typer.Typer()


@app.command(epilog="Example: cisoform demo --out demo")
def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for everything it writes.")
    ] = Path("demo"),
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
    from cisoform.cli.training import TrainingBar
    from cisoform.jobs.demo import run_demo
    from cisoform.packs import find_pack, try_find_pack

    yeast = find_pack(pack) if pack != "yeast" else try_find_pack(pack)
    resolve_device(device)
    if yeast is None:
        note(
            "the yeast pack was not found (set $CISOFORM_PACKS or --pack): only the simulated genome is used"
        )
    note(estimate_line(seconds=45 if smoke else 240, memory_bytes=2e9, disk_bytes=1e8))
    with TrainingBar() as bar:
        summary = run_demo(out, yeast, smoke, device, lambda text: note(f"-- {text}"), lambda: bar)
    if as_json:
        print_json(summary)
        return
    parts = [part for part in ("simulated", "yeast") if part in summary]
    print_table(
        ("part", "mean R2", "mean Spearman", "best baseline R2"), [_row(p, summary[p]) for p in parts]
    )
    typer.echo(f"{out / 'report.html'}: open it in a browser ({duration_text(summary['seconds'])})")


def _row(part: str, scores: dict[str, Any]) -> list[Any]:
    honest = [
        value
        for name, value in scores["baselines"].items()
        if value is not None and not name.startswith("ceiling")
    ]
    return [part, scores["mean"]["r2"], scores["mean"]["spearman"], max(honest, default=float("nan"))]
