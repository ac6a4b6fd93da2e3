"""`cisoform isoform ablate`: the paper's tables of ablations on your data, with seeds and intervals."""

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
    SettingsOption,
    note,
    print_json,
    print_table,
    resolve_device,
)


def add_commands(app: typer.Typer) -> None:
    """Register `ablate`."""
    app.command(
        epilog="Examples: cisoform isoform ablate dataset --table aggregators --out ablations; "
        "cisoform isoform ablate dataset --table pretraining --pretrained rna=rna_encoder --out ablations"
    )(ablate)


def ablate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of `isoform build`.")],
    table: Annotated[
        str,
        typer.Option(
            "--table", metavar="modalities|encoders|aggregators|pretraining", help="Which rows to compare."
        ),
    ],
    out: OutOption,
    recipe: Annotated[str, typer.Option("--recipe", help="What the rows change.")] = "ablate",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds of every row.")] = 3,
    split: Annotated[str, typer.Option("--split", help="Scored part: valid or test.")] = "test",
    pretrained: Annotated[
        str | None,
        typer.Option(
            "--pretrained", metavar="MODALITY=RUN,...", help="For pretraining: runs of `isoform pretrain`."
        ),
    ] = None,
    contrast: Annotated[
        list[str] | None, typer.Option("--contrast", metavar="A:B", help="Also score a log2 fold change.")
    ] = None,
    fast_baselines: Annotated[bool, typer.Option("--fast-baselines", help="Smaller baselines.")] = False,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Bootstrap draws of the intervals.")] = 1000,
    seed: SeedOption = 0,
    settings: SettingsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train the rows of a table with several seeds and score them beside each other, baselines and the paper.

    Writes TABLE.json, .tsv, .md, .png and .svg. Stop it with Ctrl-C and continue with the same command: runs that are
    done are kept, and tables at one OUT share the runs that they have in common. The paper's values are on other data.
    """
    from cisoform.cli.training import TrainingBar
    from cisoform.data.isoform_dataset import IsoformDataset
    from cisoform.jobs.ablation_plan import AblationConfig, plan_ablation
    from cisoform.jobs.ablation_rows import parse_pretrained
    from cisoform.jobs.isoform_ablate import run_ablation

    config = AblationConfig(
        table=table,
        recipe=recipe,
        settings=tuple(settings or ()),
        pretrained=parse_pretrained(pretrained),
        seeds=seeds,
        first_seed=seed,
        split=split,
        contrasts=tuple(contrast or ()),
        fast_baselines=fast_baselines,
        draws=draws,
    )
    plan = plan_ablation(IsoformDataset.open(dataset), config, out)
    resolve_device(device)
    note(f"{len(plan.table.rows)} rows x {seeds} seeds: {len(plan.runs)} runs, {plan.n_left} to train")
    with TrainingBar() as bar:
        content = run_ablation(plan, device, lambda text: note(f"-- {text}"), lambda: bar)
    if as_json:
        print_json(content)
        return
    _print(content)
    note(f"{out / table}.md, .tsv, .json, .png, .svg")


def _print(content: Mapping[str, Any]) -> None:
    from cisoform.report.ablation import flat_row

    keys = (
        *("r2", "r2_low", "r2_high", "spearman"),
        *("minus_reference_r2", "minus_reference_r2_low", "minus_reference_r2_high"),
        *("n_parameters", "core_seconds", "paper_r2", "paper_spearman"),
    )
    header = (
        *("row", "R2", "95 % from", "to", "Spearman", "minus reference", "from", "to"),
        *("parameters", "core seconds", "paper R2", "paper Spearman"),
    )
    rows = []
    for row in [*content["rows"], *content["baselines"]]:
        cells = flat_row(content, row)
        rows.append([cells["label"], *(cells.get(key) for key in keys)])
    print_table(header, rows)
    for text in content["notes"]:
        typer.echo(text)
