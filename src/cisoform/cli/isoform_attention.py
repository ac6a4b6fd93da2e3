"""`cisoform isoform attention`: where the RNA encoder looks, before and after fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cisoform.cli.common import (
    DataOption,
    DeviceOption,
    JsonOption,
    OutOption,
    SeedOption,
    note,
    print_json,
    print_table,
    progress,
    resolve_device,
    to_plain,
)
from cisoform.cli.regulation_reading import OverwriteOption, check_out, result_folder, write_tables

if TYPE_CHECKING:
    from cisoform.jobs.isoform_attention import AttentionResult


def add_commands(app: typer.Typer) -> None:
    """Register `attention`."""
    app.command(epilog="Example: cisoform isoform attention run --data dataset --out attention")(attention)


def attention(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run of `isoform train` whose RNA encoder attends (nt_v2).")
    ],
    data: DataOption,
    out: OutOption,
    before: Annotated[
        Path | None,
        typer.Option(
            "--before",
            metavar="RUN2",
            help="The encoder before: a run, a run of `isoform pretrain` or a checkpoint (default: RUN's initial "
            "weights, made again from its seed).",
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, valid, test or all.")] = "test",
    transcripts: Annotated[int, typer.Option("--transcripts", min=2, help="Transcripts read at most.")] = 300,
    permutations: Annotated[
        int,
        typer.Option("--permutations", min=0, help="Draws of the null: regions turned round a transcript."),
    ] = 200,
    overwrite: OverwriteOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Share of above-mean attention on 5'UTR, CDS and 3'UTR in every layer and head, before and after fine-tuning.

    Paired t-tests over families with Benjamini-Hochberg rates, and a permutation null. OUT gets attention.tsv,
    attention.parquet, attention.json and a figure.
    """
    check_out(out, overwrite)
    from cisoform.data.isoform_dataset import IsoformDataset
    from cisoform.genome.files import write_json
    from cisoform.jobs.isoform_attention import read_attention
    from cisoform.report.attention_plots import attention_figure
    from cisoform.report.files import save_figure

    dataset = IsoformDataset.open(data)
    where = str(resolve_device(device))
    with progress("reading") as update:
        found = read_attention(
            run,
            dataset,
            before=before,
            split=split,
            transcripts=transcripts,
            draws=permutations,
            seed=seed,
            device=where,
            update=update,
        )
    with result_folder(out, overwrite) as folder:
        write_tables(folder, {"attention": found.table})
        write_json(folder / "attention.json", to_plain({**found.summary, "rows": found.rows()}))
        save_figure(attention_figure(found.table), folder / "attention")
    if as_json:
        print_json({"out": out, **found.summary, "rows": found.rows()})
    else:
        _print(found, out)


def _print(found: AttentionResult, out: Path) -> None:
    summary = found.summary
    typer.echo(
        f"{out}: {summary['n_transcripts']:,} transcripts of {summary['n_families']:,} families, "
        f"{summary['n_layers']} layers x {summary['n_heads']} heads; before: {summary['before']}"
    )
    rows = [
        [
            region,
            summary["share_of_bases"][region],
            part["share_before"],
            part["share_after"],
            part["null_after"],
            part["heads_up"],
            part["heads_down"],
            part["heads_beyond_null"],
        ]
        for region, part in summary["regions"].items()
    ]
    header = ("region", "of bases", "before", "after", "null after", "heads up", "down", "beyond the null")
    print_table(header, rows)
    note(
        "heads up and down: paired t-test over families, false discovery rate below 5 %; beyond the null: changed more "
        "than with regions turned round, same rate"
    )
