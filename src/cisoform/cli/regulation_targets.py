"""`cisoform regulation targets`: factors gained in a disease whose knock-out moves its cells towards normal ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli import regulation_reading as reading
from cisoform.cli import regulation_states as shared
from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    SeedOption,
    note,
    print_json,
    print_table,
    progress,
    split_list,
    to_plain,
)
from cisoform.cli.json_tables import json_tables

if TYPE_CHECKING:
    from cisoform.cli.regulation_states import Posed, Question
    from cisoform.jobs.targets import Targets
    from cisoform.jobs.transition_setting import Setting, TransitionConfig

_SHOWN = 10


def add_commands(app: typer.Typer) -> None:
    """Register `targets`."""
    app.command(
        epilog="Example: cisoform regulation targets run --data genes --group-by cell_type --disease tumour "
        "--normal epithelium --motifs jaspar.meme --essentiality depmap.tsv --out targets"
    )(targets)


def targets(
    model: reading.ModelArgument,
    data: shared.DataOption,
    group_by: shared.GroupByOption,
    disease: Annotated[
        str,
        typer.Option("--disease", metavar="LABEL[,LABEL...]", help="State of the cells that are treated."),
    ],
    normal: Annotated[
        str, typer.Option("--normal", metavar="LABEL[,LABEL...]", help="State that they shall return to.")
    ],
    motifs: shared.MotifsOption,
    out: shared.OutOption,
    tfs: shared.TfsOption = None,
    motif_p: shared.MotifPOption = 1e-5,
    most: Annotated[int, typer.Option("--most", min=1, help="Gained factors that are knocked out.")] = 20,
    effect_genes: Annotated[
        int, typer.Option("--effect-genes", min=1, help="Sum effects of motifs over so many genes at most.")
    ] = 1000,
    essentiality: Annotated[
        Path | None,
        typer.Option(
            "--essentiality", metavar="TSV", help="A number by factor, shown beside (header, name, value)."
        ),
    ] = None,
    null: shared.NullOption = shared.GAINED_NULL,
    cells: shared.CellsOption = 10,
    top_genes: shared.TopGenesOption = 200,
    up: shared.UpOption = None,
    down: shared.DownOption = None,
    genes: reading.GenesOption = None,
    split: reading.SplitOption = "all",
    groups: reading.GroupsOption = None,
    cell_types: reading.CellTypesOption = None,
    labels: reading.LabelsOption = None,
    overwrite: reading.OverwriteOption = False,
    cache: reading.CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Rank factors that a disease gained by what their loss does: disease cells move to normal, normal cells stay.

    Gained are factors whose motif activity and accessibility set disease cells apart. The score is the share of the way
    to normal that a knock-out covers in disease cells, minus how far it moves normal cells.
    """
    config = shared.make_config("knockout", null, cells, top_genes, 0, seed)
    asked = shared.Question(
        model,
        data,
        group_by,
        labels,
        disease,
        normal,
        motifs,
        tfs,
        motif_p,
        genes,
        split,
        groups,
        cell_types,
        cache,
    )
    asked.check(out, overwrite)
    posed = asked.open(device, seed, ten_groups=True)
    from cisoform.analysis.masters import MasterConfig
    from cisoform.jobs import targets as job
    from cisoform.jobs.transition_setting import prepare

    lists = posed.differing(up, down)
    candidates = posed.candidates()
    outside = None if essentiality is None else job.read_essentiality(essentiality, candidates.names)
    with progress("predicting") as update:
        setting = prepare(posed.reader, posed.ends, posed.opened.genes, config, lists.keep, update)
    wide = shared.some_genes(posed.opened.genes, effect_genes, seed)
    with progress("reading motifs") as update:
        ranking = job.gained(
            setting,
            job.two_states(posed.ends),
            candidates,
            wide,
            MasterConfig(n_bootstrap=20, seed=seed),
            update,
        )
    with progress("knocking out") as update:
        found = job.rank_targets(
            setting, candidates, ranking, config, most, lists.columns(setting.genes), outside, update
        )
    _finish(asked, posed, setting, found, config, out, overwrite, as_json)


def _finish(
    asked: Question,
    posed: Posed,
    setting: Setting,
    found: Targets,
    config: TransitionConfig,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    from cisoform.genome.files import write_json
    from cisoform.report.files import save_figure
    from cisoform.report.transition_plots import rank_figure

    warnings = _warnings(found)
    tried, n_null = found.screened.table.height, found.screened.null.height
    least = shared.least_p(tried, n_null)
    result: dict[str, Any] = {
        "disease": split_list(asked.source),
        "normal": split_list(asked.target),
        "group_by": asked.group_by,
        "n_disease": len(setting.states.source),
        "n_normal": len(setting.states.target),
        "n_genes": len(setting.genes),
        "motif_p": asked.motif_p,
        **to_plain(config),
        "null": shared.null_summary(found.screened.null, "projection"),
        "n_factors": tried,
        "least": least,
        **posed.opened.provenance,
        "warnings": warnings,
    }
    for text in warnings:
        note(f"warning: {text}")
    with reading.result_folder(out, overwrite) as folder:
        reading.write_tables(folder, {"targets": found.table, "null": found.screened.null})
        write_json(folder / "targets.json", to_plain(result))
        chance = found.screened.null["projection"].to_numpy()
        save_figure(
            rank_figure(found.table, chance, "projection", "share of the way to normal"), folder / "targets"
        )
    if as_json:
        tables = {"rows": found.table, "null_rows": found.screened.null}
        print_json(
            {**result, **json_tables(tables, out, {"rows": "targets.parquet", "null_rows": "null.parquet"})}
        )
        return
    typer.echo(shared.about_line(setting, "disease", "normal", config))
    columns = ["tf", "score", "projection", "harm", "p", "q", "gained", "accessibility_cosine"]
    columns += [name for name in ("reversal", "essentiality") if name in found.table.columns]
    print_table(columns, found.table.head(_SHOWN).select(columns).rows())
    typer.echo(shared.null_line(found.screened.null, "projection"))
    typer.echo(shared.least_line(least, tried, n_null))
    typer.echo(
        "score = projection - harm; p and q (over the factors tried) are those of the cosine; accessibility_cosine "
        "uses no model"
    )
    typer.echo(f"{out}: {found.table.height:,} gained factors")


def _warnings(found: Targets) -> list[str]:
    best = found.table.row(0, named=True)
    said = []
    if best["score"] <= 0:
        said.append("no knock-out moves disease cells further than it harms normal ones")
    if best["p"] > 0.05:
        said.append(f"{best['tf']} is first, but random peak sets move cells as straight (p {best['p']:.2f})")
    return said
