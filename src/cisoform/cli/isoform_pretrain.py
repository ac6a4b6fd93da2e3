"""`cisoform isoform pretrain`: masked modelling of the training sequences of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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


def add_commands(app: typer.Typer) -> None:
    """Register `pretrain`."""
    app.command(
        epilog="Example: cisoform isoform pretrain dataset --modality rna --recipe small --out rna_encoder; then "
        "cisoform isoform train dataset --set model.rna.kind=nt_v2 --set model.rna.weights=rna_encoder --out run"
    )(pretrain)


def pretrain(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of `isoform build`.")],
    modality: Annotated[
        str, typer.Option("--modality", metavar="dna|rna|protein", help="Which sequences to learn from.")
    ],
    out: OutOption,
    recipe: Annotated[str, typer.Option("--recipe", help="tiny, small or base.")] = "small",
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Bootstrap draws of the intervals.")] = 1000,
    device: DeviceOption = "auto",
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pre-train an encoder on training sequences with tokens hidden, and score it on held-out ones.

    The run is in the form of a converted NT-v2 (dna, rna) or ESM-2 (protein) checkpoint.
    """
    from cisoform.cli.training import TrainingBar
    from cisoform.data.isoform_dataset import IsoformDataset
    from cisoform.jobs.isoform_pretrain import choose_recipe, prepare, score
    from cisoform.jobs.isoform_pretrain import pretrain as run_pretraining

    chosen, settled = choose_recipe(recipe, modality, settings or [], seed)
    opened = IsoformDataset.open(dataset)
    resolve_device(device)
    run = prepare(opened, chosen, settled, recipe)
    left_out = ", ".join(f"{count:,} by {why}" for why, count in run.pools.left_out.items() if count)
    note(
        f"recipe {recipe}: {run.n_parameters:,} parameters; {len(run.pools.train):,} {chosen} sequences to learn from"
        + (f" (left out: {left_out})" if left_out else "")
        + f", {len(run.pools.valid):,} to choose by"
    )
    with TrainingBar() as bar:
        fitted = run_pretraining(run, out, resume=resume, device=device, progress=bar)
    with progress("scoring") as update:
        result = score(run, out, draws=draws, device=device, update=update)
    if as_json:
        print_json({"out": out, "seconds": fitted.seconds, "steps": fitted.step, **result})
    else:
        _print_scores(result, out)


def _print_scores(result: dict[str, Any], out: Path) -> None:
    typer.echo(
        f"{out}: {result['n_hidden_tokens']:,} hidden tokens of {result['n_sequences']:,} validation sequences "
        f"({result['letters_per_token']} letters a token)"
    )
    rows = []
    for row in result["rows"]:
        low, high = row.get("gain_ci") or (None, None)
        rows.append(
            [
                row["predictor"],
                row["accuracy"],
                row["perplexity"],
                row["bits_per_letter"],
                row.get("gain_of_model"),
                low,
                high,
            ]
        )
    header = (
        "predictor",
        "accuracy",
        "perplexity",
        "bits/letter",
        "model gains, nats/token",
        "95 % from",
        "to",
    )
    print_table(header, rows)
    if result["loses_to"]:
        note(f"warning: the network does no better than {', '.join(result['loses_to'])}")
