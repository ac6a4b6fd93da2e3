"""`cisoform plan`: what a recipe costs, before anything is run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cisoform.cli.common import JsonOption, Number, bytes_text, duration_text, print_json, print_table
from cisoform.errors import InputError

app = typer.Typer()


@app.command(epilog="Example: cisoform plan creformer-base --device h100 --bases 5e9 --samples 1e7")
def plan(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="creformer-tiny|xs|small|base|medium|large|paper or isoformer-tiny|small|yeast-best|base|paper.",
        ),
    ],
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="NAME|FLOPS", help="cpu, a10, l40s, a100, h100, h200, b200, or FLOP/s."
        ),
    ] = "a100",
    utilisation: Annotated[
        float | None,
        typer.Option("--utilisation", metavar="SHARE", help="Of the peak that is sustained (0.4)."),
    ] = None,
    peaks: Annotated[int | None, typer.Option("--peaks", help="Peaks of a gene (44).")] = None,
    bases: Annotated[
        float | None,
        typer.Option("--bases", metavar="N", help="Bases that pre-training reads (all windows once)."),
    ] = None,
    samples: Annotated[
        float | None, typer.Option("--samples", metavar="N", help="(Cell, gene) pairs to fit on (1.65e8).")
    ] = None,
    biosamples: Annotated[
        int | None, typer.Option("--biosamples", help="Samples with tracks, for the disk of stage 1 (34).")
    ] = None,
    tracks: Annotated[int | None, typer.Option("--tracks", help="Tracks of each (7).")] = None,
    windows: Annotated[int | None, typer.Option("--windows", help="Windows of each (50,000).")] = None,
    window: Annotated[
        int | None, typer.Option("--window", metavar="BP", help="Length of a window (32,768).")
    ] = None,
    outputs: Annotated[int | None, typer.Option("--outputs", help="Tissues of an IsoFormer (30).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Parameters, FLOPs, memory, disk and times of a recipe, before anything is run."""
    from cisoform.jobs.plan import ISOFORMER, PlanOptions
    from cisoform.jobs.plan import plan as run_plan
    from cisoform.jobs.plan_devices import choose_speed

    of_creformer = {
        "peaks": peaks,
        "bases": bases,
        "samples": samples,
        "biosamples": biosamples,
        "tracks": tracks,
        "windows": windows,
        "window": window,
    }
    unused = {"outputs": outputs} if not recipe.startswith(ISOFORMER) else of_creformer
    ignored = [name for name, value in unused.items() if value is not None]
    given = {name: value for name, value in {**of_creformer, "outputs": outputs}.items() if value is not None}
    options = PlanOptions(**given)  # type: ignore[arg-type]
    found = run_plan(recipe, choose_speed(device, utilisation), options)
    if ignored:
        raise InputError(f"--{ignored[0]} has no effect on {recipe}; leave it out")
    if as_json:
        print_json(found)
        return
    _print_head(found)
    (_print_creformer if found["system"] == "CREformer" else _print_isoformer)(found)
    _print_memory(found)
    _print_times(found)
    typer.echo("\nassumptions")
    for line in found["assumptions"]:
        typer.echo(f"  {line}")


def count_text(count: Number) -> str:
    """Three digits and a power of 1,000: `3.05 B`, `624 M`."""
    for unit in ("", " k", " M", " B", " T"):
        if count < 999.5 or unit == " T":
            return f"{count:.3g}{unit}"
        count /= 1000
    raise AssertionError


def flops_text(count: Number) -> str:
    """`2.03 TFLOP`."""
    for unit in ("", "k", "M", "G", "T", "P", "E", "Z"):
        if count < 999.5 or unit == "Z":
            return f"{count:.3g} {unit}FLOP"
        count /= 1000
    raise AssertionError


def long_time(seconds: Number) -> str:
    """As `duration_text`, with milliseconds, days and years."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 3 * 86_400:
        return duration_text(seconds)
    days = seconds / 86_400
    return f"{days:,.0f} days" if days < 1000 else f"{days / 365.25:,.1f} years"


def _print_head(found: dict[str, Any]) -> None:
    typer.echo(f"{found['recipe']}: {found['system']}, {count_text(found['parameters']['total'])} parameters")


def _print_creformer(found: dict[str, Any]) -> None:
    sizes, parameters = found["sizes"], found["parameters"]
    layers = "/".join(map(str, sizes["layers"]))
    typer.echo(
        f"width {sizes['width']:,}, {sizes['heads']} heads, feed-forward {sizes['feed_forward']:,}, layers {layers} "
        f"(bins, windows, peaks), {sizes['norm']}-norm, positions by {sizes['positions']}, head {sizes['head']}, up to "
        f"{sizes['max_peaks']} peaks\n"
    )
    print_table(
        ("parameters", ""),
        [
            *(
                [name, f"{n:,}"]
                for stage in ("elementary", "regulatory")
                for name, n in parameters[stage].items()
                if n
            ),
            ["total", f"{parameters['total']:,}"],
            *([f"pre-training adds: {name}", f"{n:,}"] for name, n in parameters["pretraining_only"].items()),
        ],
    )
    flops, peaks = found["flops"], found["options"]["peaks"]
    per_bp = flops["pretraining_per_bp"]
    typer.echo("")
    print_table(
        ("FLOPs", "as run here", "all tokens"),
        [
            ["forward, a peak", flops_text(flops["peak"]), flops_text(flops["peak_all_tokens"])],
            [
                f"forward, a gene of {peaks} peaks",
                flops_text(flops["gene"]),
                flops_text(flops["gene_all_tokens"]),
            ],
            ["forward, a gene with peaks cached", flops_text(flops["gene_cached"]), ""],
            ["pre-training, a bp: encoder", flops_text(per_bp["encoder"]), ""],
            ["pre-training, a bp: heads", flops_text(per_bp["heads"]), ""],
            ["fitting, a sample with peaks cached", flops_text(flops["fit_per_sample"]), ""],
            ["fitting, a sample encoded anew", flops_text(flops["fit_per_sample_encoding"]), ""],
        ],
    )
    disk, options = found["disk"], found["options"]
    cache = disk["feature_cache_per_state"]
    typer.echo("")
    print_table(
        ("disk", ""),
        [
            *(
                [f"feature cache, a state of a peak, {form}, {kind}", f"{cache[form][kind]:,} B"]
                for form in cache
                for kind in ("fp32", "fp16")
            ),
            [
                f"tokens of {options['biosamples']:,} samples x {options['tracks']} tracks x {options['windows']:,} "
                f"windows of {options['window']:,}",
                bytes_text(disk["regions"]["tokens"]),
            ],
            ["means of their bins", bytes_text(disk["regions"]["bin means"])],
        ],
    )


def _print_isoformer(found: dict[str, Any]) -> None:
    sizes = found["sizes"]
    longest = ", ".join(f"{name} {length:,}" for name, length in sizes["longest"].items())
    typer.echo(f"{sizes['outputs']} outputs; reads at most {longest}; batches of {sizes['batch']}\n")
    parts = found["parameters"]["parts"]
    rows = [[name, f"{n:,}"] for name, n in parts.items() if n]
    print_table(("parameters", ""), [*rows, ["total", f"{found['parameters']['total']:,}"]])
    typer.echo("")
    print_table(
        ("FLOPs", ""),
        [
            ["forward, the longest sample", flops_text(found["flops"]["sample"])],
            ["training, the longest sample", flops_text(found["flops"]["training_per_sample"])],
        ],
    )


def _print_memory(found: dict[str, Any]) -> None:
    memory = found["memory"]
    columns = ("weights", "gradients", "optimiser", "activations", "total")
    batch = {
        "inference": "a gene",
        "pretraining": f"{memory['batch'].get('pretraining_tokens', 0):,} tokens",
        "fit": f"{memory['batch'].get('fit_samples', 0):,} samples",
        "training": f"{memory['batch'].get('training_samples', 0):,} samples",
    }
    if found["system"] == "IsoFormer":
        batch["inference"] = "a sample"
    rows = [
        [use, batch[use], dtype, *(bytes_text(parts[name]) if name in parts else "" for name in columns)]
        for dtype in ("fp32", "bf16")
        for use, parts in memory[dtype].items()
    ]
    typer.echo("")
    print_table(("memory", "batch", "type", *columns), rows)
    tight = [use for use, fits in (memory["fits"] or {}).items() if not fits]
    if tight:
        typer.echo(
            f"does not fit into {bytes_text(found['speed']['memory'])} in {found['speed']['dtype']}: "
            f"{', '.join(tight)}; take smaller batches (--set loader.…) with train.accumulate, or several devices"
        )


def _print_times(found: dict[str, Any]) -> None:
    speed = found["speed"]
    typer.echo("")
    if speed["peak"] is None:
        typer.echo(f"times at {speed['sustained']:.3g} FLOP/s sustained")
    else:
        typer.echo(
            f"times on {speed['about']} at {speed['utilisation']:.0%} of {speed['peak']:.3g} FLOP/s "
            f"({speed['dtype']}): {speed['sustained']:.3g} FLOP/s sustained"
        )
    rows = []
    for row in found["time"]:
        amount = f"{count_text(row['amount'])} {row['unit']}"
        rate = f"{count_text(row['per_second'])}/s"
        rows.append([row["what"], amount, flops_text(row["flops"]), long_time(row["seconds"]), rate])
    print_table(("time", "amount", "FLOPs", "arithmetic", "rate"), rows)
