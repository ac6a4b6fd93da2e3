"""`cisoform isoform train`: one run, or an ensemble of runs of successive seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    OutOption,
    ResumeOption,
    SeedOption,
    SettingsOption,
    note,
    print_json,
    print_table,
    progress,
    resolve_device,
)

if TYPE_CHECKING:
    from cisoform.data.isoform_dataset import IsoformDataset
    from cisoform.data.loader import LoaderConfig
    from cisoform.jobs.isoform_encoders import SharedTables
    from cisoform.recipes import IsoformRecipe
    from cisoform.training.protocols import FitResult


def add_commands(app: typer.Typer) -> None:
    """Put the command into the group of IsoFormer."""
    app.command(epilog="Example: cisoform isoform train dataset --recipe small --out run")(train)


def train(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of `isoform build`.")],
    out: OutOption,
    recipe: Annotated[
        str, typer.Option("--recipe", help="tiny, ablate, small, yeast-best, base or paper.")
    ] = "small",
    elementary: Annotated[
        Path | None,
        typer.Option(
            "--elementary",
            metavar="RUN",
            help="Read the DNA (and tracks) by this Elementary, frozen or with --set model.dna.learn=full.",
        ),
    ] = None,
    ensemble: Annotated[
        int,
        typer.Option(
            "--ensemble", metavar="N", min=1, help="Train N runs of successive seeds in OUT/seed-*, as one."
        ),
    ] = 1,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model; stop it with Ctrl-C and continue with --resume, to the same result."""
    from cisoform.cli.training import print_run
    from cisoform.data.isoform_dataset import IsoformDataset
    from cisoform.jobs.isoform_ensemble import calibrate_runs, member_folders
    from cisoform.jobs.isoform_train import choose_recipe

    chosen = {
        number: choose_recipe(recipe, settings or [], number, elementary)
        for number in range(seed, seed + ensemble)
    }
    opened = IsoformDataset.open(dataset)
    resolve_device(device)
    folders = member_folders(out, seed, ensemble)
    results: list[FitResult] = []
    shared: SharedTables = {}
    for number, folder in folders.items():
        if ensemble > 1:
            note(f"{folder}: seed {number}, {len(results) + 1} of {ensemble}")
        again = resume and (ensemble == 1 or folder.exists())
        results.append(_train_one(opened, chosen[number], recipe, folder, again, device, shared))
    if all(result.best_step is not None for result in results):
        calibrated = calibrate_runs([*folders.values()], opened, out, device)
        if not calibrated.calibrated.fits.all():
            note("fewer than 20 validation labels of a tissue: its intervals will not be calibrated")
    if ensemble == 1:
        print_run(results[0], out, as_json)
    else:
        _print_ensemble(out, results, as_json)


def _train_one(
    dataset: IsoformDataset,
    chosen: IsoformRecipe,
    recipe: str,
    out: Path,
    resume: bool,
    device: str,
    shared: SharedTables,
) -> FitResult:
    """One run, with what it says on the way; runs of an ensemble share what frozen encoders make of sequences."""
    from cisoform.cli.training import TrainingBar
    from cisoform.jobs.isoform_train import encode_once, prepare
    from cisoform.jobs.isoform_train import train as run_training

    run = prepare(dataset, chosen, recipe, device=device, progress=TrainingBar, say=note)
    note(
        f"recipe {recipe}: {run.n_parameters:,} parameters, {len(run.source.rows):,} transcripts to learn from, "
        f"{len(run.valid_source.rows):,} to choose by, {len(run.columns)} columns"
    )
    _note_cropped(run.cropped, chosen.loader)
    if run.reading is not None:
        note(run.reading)
        with progress("encoding") as update:
            encode_once(run, device, lambda done, total: update(done, total, "sequences"), shared)
    with TrainingBar() as bar:
        return run_training(run, out, resume=resume, device=device, progress=bar)


def _print_ensemble(out: Path, results: Sequence[FitResult], as_json: bool) -> None:
    if as_json:
        print_json({"out": out, "runs": [vars(result) for result in results]})
        return
    names = [*results[0].best]
    typer.echo(f"{out}: {len(results)} runs; give the folder, or some of the runs, to evaluate and predict")
    print_table(
        ("run", "steps", "kept", *(f"valid {name}" for name in names)),
        [
            (
                result.run_dir.name,
                result.step,
                result.best_step,
                *(float(result.best[name]) for name in names),
            )
            for result in results
        ],
    )


def _note_cropped(cropped: dict[str, int], loader: LoaderConfig) -> None:
    """Say how many sequences are over a cap, and which part of them is read."""
    if cropped["rna"]:
        note(
            f"{cropped['rna']:,} RNAs are over {loader.rna_max:,} nt (loader.rna_max): of each its 3' end is read"
        )
    if cropped["protein"]:
        note(
            f"{cropped['protein']:,} proteins are over {loader.protein_max:,} residues (loader.protein_max): of each "
            "its N-terminal part is read"
        )
