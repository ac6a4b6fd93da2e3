"""`cisoform benchmark`: a recipe beside its ablations and baselines, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    OutOption,
    SeedOption,
    SettingsOption,
    estimate_line,
    note,
    print_json,
    print_table,
    resolve_device,
    split_list,
)
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.jobs.planted import Planted
    from cisoform.jobs.planted_training import TrainConfig

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
    recipe: Annotated[
        str, typer.Option("--recipe", help="tiny, ablate, small, yeast-best, base or paper.")
    ] = "small",
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


_TRAINING_SECONDS = {"tiny": 60.0, "xs": 1200.0}
"""Simulation, pre-training and fit of these recipes on two CPU cores."""


@app.command(
    epilog="Examples: cisoform benchmark regulation fitted --data genes --simulation sim/regulation --out readings; "
    "cisoform benchmark regulation --out everything (simulates and trains first)"
)
def regulation(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL]", help="Run of `regulation fit` (default: simulate and train one)."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DATASET", help="Of MODEL: `build-genes` of the simulation's groups."),
    ] = None,
    simulation: Annotated[
        Path | None,
        typer.Option("--simulation", metavar="DIR", help="Of MODEL: folder of `simulate --what regulation`."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for the table and whatever is trained; goes on there."
        ),
    ] = None,
    readings: Annotated[
        str | None, typer.Option("--readings", metavar="A,B,...", help="These readings (default: all).")
    ] = None,
    rule_off: Annotated[
        bool, typer.Option("--rule-off", help="Also fit and score the control without the planted effects.")
    ] = False,
    elementary: Annotated[
        Path | None,
        typer.Option("--elementary", metavar="RUN", help="Of MODEL, for --rule-off: run of `pretrain`."),
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help="Without MODEL: of the simulator.")] = "small",
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Of what is trained (default: MODEL's, or xs).")
    ] = None,
    controls: Annotated[int, typer.Option("--controls", min=0, help="Matched controls of a knock-out.")] = 1,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Features of peak states (default: the user's cache)."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score every reading with a planted answer beside baselines and chance, on chromosomes kept out of training.

    How a reading is taken is chosen on validation chromosomes, and scored once on test chromosomes.
    """
    _check_regulation(model, data, simulation, out, rule_off, elementary)
    from cisoform.cli.common import to_plain
    from cisoform.genome.files import atomic_write, write_json
    from cisoform.jobs import regulation_benchmark as job
    from cisoform.jobs.planted_readings import choose_readings
    from cisoform.jobs.planted_training import TrainConfig

    chosen = choose_readings(split_list(readings))
    resolve_device(device)
    config = TrainConfig(
        preset=preset, recipe=recipe or "xs", simulation_seed=seed, seed=seed, device=device, cache=cache
    )
    planted = _planted(model, data, simulation, out, config, controls)
    measures, seconds = job.run_readings(planted, chosen)
    control = None
    if rule_off:
        assert out is not None
        control = job.run_readings(_rule_off(planted, elementary, out, config, recipe), chosen)[0]
    content = to_plain(job.content_of(planted, measures, seconds, control))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "readings.json", content)
        with atomic_write(out / "readings.md") as handle:
            handle.write(job.markdown(content))
    if as_json:
        print_json(content)
        return
    print_table(job.HEADER, job.table_rows(content))
    for text in job.lost(content):
        note(f"note: {text}")


def _check_regulation(
    model: Path | None,
    data: Path | None,
    simulation: Path | None,
    out: Path | None,
    rule_off: bool,
    elementary: Path | None,
) -> None:
    """Refuse flags that do not go together.

    Raises:
        InputError: With the flags.
    """
    if model is not None and (data is None or simulation is None):
        raise InputError(
            "MODEL needs --data and --simulation: its genes in pseudobulks, and what was planted"
        )
    if model is None:
        given = {"--data": data, "--simulation": simulation, "--elementary": elementary}
        used = [name for name, value in given.items() if value is not None]
        if used:
            raise InputError(f"{used[0]} goes with MODEL; without one everything is made under --out")
        if out is None:
            raise InputError("without MODEL a simulation and a model are made; give --out DIR for them")
    if rule_off and out is None:
        raise InputError("--rule-off fits another model; give --out DIR for it")
    if model is not None and rule_off and elementary is None:
        raise InputError("--rule-off fits on the same first stage; give its run with --elementary RUN")
    if out is not None and out.is_file():
        raise InputError(f"--out {out}: is a file, but a folder is to be written there; choose another name")


def _planted(
    model: Path | None,
    data: Path | None,
    simulation: Path | None,
    out: Path | None,
    config: TrainConfig,
    controls: int,
) -> Planted:
    """What is scored; simulates and trains where no model was given."""
    from cisoform.cli.training import TrainingBar
    from cisoform.data.genes import GenesDataset
    from cisoform.jobs.creformer_model import CREformerModel
    from cisoform.jobs.planted import Planted
    from cisoform.jobs.planted_training import train

    if model is None:
        assert out is not None
        seconds = _TRAINING_SECONDS.get(config.recipe)
        more = (
            ""
            if seconds is None
            else f"; {estimate_line(seconds=seconds)} on two CPU cores, then the readings"
        )
        note(f"simulates preset {config.preset} and trains recipe {config.recipe} under {out}{more}")
        with TrainingBar() as bar:
            simulation, data, model = train(out, config, lambda text: note(f"-- {text}"), lambda: bar)
    assert data is not None and simulation is not None
    return Planted.open(
        CREformerModel.load(model, config.device),
        GenesDataset.open(data),
        simulation,
        cache=config.cache,
        n_controls=controls,
        seed=config.seed,
        say=lambda text: note(f"-- {text}"),
    )


def _rule_off(
    planted: Planted, elementary: Path | None, out: Path, config: TrainConfig, recipe: str | None
) -> Planted:
    """The control, fitted under OUT."""
    from dataclasses import replace

    from cisoform.cli.training import TrainingBar
    from cisoform.jobs.planted_training import train_rule_off

    about = planted.model.about
    same = replace(config, recipe=recipe or str(about.get("recipe")), seed=int(about.get("seed") or 0))
    with TrainingBar() as bar:
        return train_rule_off(
            planted,
            elementary or out / "pretrained",
            out / "rule_off",
            same,
            lambda text: note(f"-- {text}"),
            lambda: bar,
        )
