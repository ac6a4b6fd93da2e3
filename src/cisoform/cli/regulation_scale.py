"""`cisoform regulation scale`: the scaling figure of both stages over a grid of widths and amounts of data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    OutOption,
    SeedOption,
    duration_text,
    estimate_line,
    note,
    print_json,
    print_table,
    progress,
    resolve_device,
    split_list,
)
from cisoform.errors import InputError


def add_commands(app: typer.Typer) -> None:
    """Register `scale`."""
    app.command(
        epilog="Example: cisoform regulation scale --grid tiny --out scaling; or cisoform regulation scale --regions "
        "regions --genes genes --widths 64,128,256 --steps 5000 --fit-steps 1000 --repeats 3 --out scaling"
    )(scale)


def scale(
    out: OutOption,
    grid: Annotated[str, typer.Option("--grid", help="tiny: 3 x 3, some minutes of two cores.")] = "tiny",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="SIM", help="Folder of `simulate` (default: a simulation of its own)."
        ),
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option("--regions", metavar="DATASET", help="Of `build-regions`: your data, with --genes."),
    ] = None,
    genes: Annotated[
        Path | None, typer.Option("--genes", metavar="DATASET", help="Of `build-genes`, with --regions.")
    ] = None,
    track: Annotated[
        str | None, typer.Option("--track", help="Of the regions: accessibility (default: atac).")
    ] = None,
    widths: Annotated[
        str | None,
        typer.Option("--widths", metavar="A,B,...", help="Instead of the grid's; multiples of 16."),
    ] = None,
    shares: Annotated[
        str | None,
        typer.Option("--shares", metavar="A,B,...", help="Instead of the grid's; 1 = all the data."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Of pre-training, in every cell.")] = None,
    fit_steps: Annotated[int | None, typer.Option("--fit-steps", help="Of the fit, in every cell.")] = None,
    repeats: Annotated[
        int | None, typer.Option("--repeats", help="Trainings of each cell, with seeds SEED, SEED + 1, ...")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train both stages over a grid of widths and amounts of data: loss and score against parameters and data.

    Writes scaling.html, .png, .svg, .tsv and .json. Stop it with Ctrl-C and continue with the same command: finished
    cells are kept, a half one goes on from its checkpoint. Cells of other settings get folders of their own.
    """
    from cisoform.jobs.scale import PAGE, missing_seconds, run_scale
    from cisoform.jobs.scale_data import check, given, simulated
    from cisoform.jobs.scale_grid import choose_grid

    chosen = choose_grid(
        grid,
        widths=_numbers("--widths", widths, int),
        shares=_numbers("--shares", shares, float),
        steps=steps,
        fit_steps=fit_steps,
        repeats=repeats,
        track=track,
        seed=seed,
    )
    if (regions is None) != (genes is None) or (regions is not None and data is not None):
        raise InputError("give --regions and --genes together, or --data, or none of them for a simulation")
    resolve_device(device)
    if regions is not None and genes is not None:
        found = given(regions, genes, out)
    else:
        found = simulated(chosen, out, data, lambda text: note(f"-- {text}"))
    check(found, chosen.second(chosen.widths[0], seed).model.max_peaks, chosen.track)
    n_left, seconds = missing_seconds(chosen, found, out, seed)
    note(f"{chosen.n_cells} cells, {n_left} to train")
    if n_left:
        note(f"{estimate_line(seconds=seconds)} on an idle CPU core, for data like the simulation of `tiny`")
    with progress("scaling") as update:
        result = run_scale(chosen, found, out, seed, device, update, _told)
    if as_json:
        print_json(result)
        return
    _print(result)
    typer.echo(
        f"{out / PAGE}: open it in a browser ({duration_text(result['seconds']['all'])} for all cells)"
    )


def _numbers(flag: str, text: str | None, kind: type[int] | type[float]) -> tuple[Any, ...] | None:
    names = split_list(text)
    if names is None:
        return None
    try:
        return tuple(kind(name) for name in names)
    except ValueError:
        raise InputError(f"{flag} {text}: must be numbers with commas between them") from None


def _told(cell: Mapping[str, Any], number: int, total: int, seconds: float) -> None:
    from cisoform.benchmark.scaling import best_baseline, score_of

    rival, value = best_baseline(cell)
    left = f"; about {duration_text(seconds)} to go" if number < total else ""
    note(
        f"{number}/{total} {cell['name']}: loss {cell['pretraining']['loss']:.3f}, per gene on unseen chromosomes "
        f"{score_of(cell):.3f} ({rival} {value:.3f}){left}"
    )


def _print(result: Mapping[str, Any]) -> None:
    from cisoform.jobs.scale import row_of

    columns = ("name", "parameters", "tokens", "genes", "loss", "score", "score_low", "score_high")
    header = ("cell", *columns[1:6], "low", "high", "best baseline", "")
    rows = [row_of(cell) for cell in result["cells"]]
    keys = (*columns, "best_baseline_score", "best_baseline")
    print_table(header, [[row[key] for key in keys] for row in rows])
    for line in result["reading"]:
        typer.echo(line)
