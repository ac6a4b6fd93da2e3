"""`cisoform benchmark`: a recipe beside its ablations and baselines, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    OutOption,
    SettingsOption,
    note,
    print_json,
    resolve_device,
)
from cisoform.errors import InputError

app = typer.Typer(help="A recipe beside its ablations and baselines, as one table.", no_args_is_help=True)


@app.callback()
def benchmark() -> None:
    """A recipe beside its ablations and baselines, as one table."""


@app.command(
    epilog="Example: cisoform benchmark isoform dataset --recipe small --contrast diamide:WT --out results"
)
def isoform(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of `isoform build`.")],
    out: OutOption,
    recipe: Annotated[str, typer.Option("--recipe", help="tiny, small, base or paper.")] = "small",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds of every row.")] = 3,
    split: Annotated[str, typer.Option("--split", help="Scored part: valid or test.")] = "test",
    contrast: Annotated[
        list[str] | None, typer.Option("--contrast", metavar="A:B", help="Also score a log2 fold change.")
    ] = None,
    modalities: Annotated[bool, typer.Option(help="Also train on each modality alone.")] = True,
    chromosomes: Annotated[bool, typer.Option(help="Also train with whole chromosomes held out.")] = True,
    fast_baselines: Annotated[bool, typer.Option("--fast-baselines", help="Smaller baselines.")] = False,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Bootstrap draws of the intervals.")] = 1000,
    settings: SettingsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Seeds, their ensemble, single modalities, chromosomes held out, and baselines; resumes by itself."""
    if split not in ("valid", "test"):
        raise InputError(f"--split {split!r} is none of valid, test")
    from cisoform.cli.training import TrainingBar
    from cisoform.data.isoform_dataset import IsoformDataset
    from cisoform.jobs.isoform_benchmark import BenchmarkConfig, markdown, run_benchmark

    opened = IsoformDataset.open(dataset)
    resolve_device(device)
    config = BenchmarkConfig(
        recipe=recipe,
        settings=tuple(settings or ()),
        seeds=seeds,
        split=split,
        contrasts=tuple(contrast or ()),
        modalities=modalities,
        chromosomes=chromosomes,
        fast_baselines=fast_baselines,
        draws=draws,
    )
    n_runs = seeds * (1 + 3 * modalities + chromosomes)
    note(
        f"{n_runs} runs of recipe {recipe}; those that are finished under {out / 'runs'} are used as they are"
    )
    with TrainingBar() as bar:
        content = run_benchmark(opened, config, out, device, lambda text: note(f"-- {text}"), lambda: bar)
    if as_json:
        print_json(content)
    else:
        typer.echo(markdown(content))
        note(f"{out / 'benchmark.md'}, {out / 'benchmark.json'}")
