"""`cisoform regulation report`: one page on a fitted model for somebody who reads such results the first time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cisoform.cli import regulation_reading as reading
from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    SeedOption,
    note,
    print_json,
    resolve_device,
    split_list,
    to_plain,
)
from cisoform.errors import InputError


def add_commands(app: typer.Typer) -> None:
    """Register `report`."""
    app.command(
        epilog="Example: cisoform regulation report run --data genes --motifs jaspar.meme --genes GATA1,MYC --out page"
    )(report)


def report(
    model: reading.ModelArgument,
    data: Annotated[
        Path, typer.Option("--data", metavar="DATASET", help="Folder of `regulation build-genes`.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for report.html.")],
    motifs: Annotated[
        Path | None,
        typer.Option("--motifs", metavar="FILE", help="Also knock out factors: MEME, JASPAR or HOCOMOCO."),
    ] = None,
    tfs: Annotated[
        str | None,
        typer.Option(
            "--tfs", metavar="A,B,...", help="With --motifs: these factors (default: 25 expressed)."
        ),
    ] = None,
    genes: Annotated[
        str | None,
        typer.Option(
            "--genes", metavar="A,B,...|@FILE", help="These genes (default: 30 held-out ones that vary most)."
        ),
    ] = None,
    groups: reading.GroupsOption = None,
    cell_types: reading.CellTypesOption = None,
    overwrite: reading.OverwriteOption = False,
    cache: reading.CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Put coverage, scores beside baselines, peaks, links and knock-outs of a model on one page, with warnings.

    An overview: at most 30 genes, groups and factors that were not named; commands that do more are at its end.
    """
    if tfs is not None and motifs is None:
        raise InputError(f"--tfs {tfs!r} needs --motifs FILE, which holds their motifs")
    reading.check_out(out, overwrite)
    from cisoform.data.genes import GenesDataset
    from cisoform.genome.files import write_json
    from cisoform.genome.motifs import motifs_of, read_motifs
    from cisoform.jobs import readings, regulation_report
    from cisoform.jobs.creformer_model import CREformerModel
    from cisoform.jobs.report_summary import summary as summary_of
    from cisoform.report.page import Page
    from cisoform.report.readings_page import add_report_sections

    factors = split_list(tfs, "--tfs") or []
    if motifs is not None:  # before anything is computed
        known = read_motifs(motifs)
        for name in factors:
            motifs_of(known, name, str(motifs))
    dataset = GenesDataset.open(data)
    named = readings.names_of(genes, "--genes")
    wanted = None if named is None else readings.choose_genes(dataset, named)
    some = readings.choose_groups(
        dataset, readings.names_of(groups, "--groups"), readings.names_of(cell_types, "--cell-types")
    )
    rows, columns = regulation_report.choose_for_page(dataset, wanted, some)
    resolve_device(device)
    config = regulation_report.ReportConfig(
        motifs=motifs, factors=tuple(factors) or None, cache=cache, seed=seed
    )
    loaded = CREformerModel.load(model, device)
    results = regulation_report.gather(
        loaded, dataset, model, rows, columns, config, lambda text: note(f"-- {text}")
    )
    for text in results.warnings:
        note(f"warning: {text}")
    summary = to_plain(summary_of(results))
    with reading.result_folder(out, overwrite) as folder:
        page = Page(
            "What the model reads", "Expression from accessible peaks: how far to trust it, and what it says."
        )
        add_report_sections(page, results)
        page.write(folder / "report.html")
        write_json(folder / "report.json", summary)
    if as_json:
        print_json({"report": out / "report.html", **summary})
        return
    typer.echo(f"{out / 'report.html'}: {len(rows)} genes in {len(columns)} groups")
