"""`cisoform regulation transition`: which factors, knocked in or out, move cells of one state towards another."""

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
    from cisoform.jobs.transition import Screened
    from cisoform.jobs.transition_setting import Setting

_SHOWN = 10


def add_commands(app: typer.Typer) -> None:
    """Register `transition`."""
    app.command(
        epilog="Example: cisoform regulation transition run --data genes --group-by state --labels cells.tsv "
        "--source rest --target stimulated --motifs jaspar.meme --pairs 10 --out transition"
    )(transition)


def transition(
    model: reading.ModelArgument,
    data: shared.DataOption,
    group_by: shared.GroupByOption,
    source: Annotated[
        str,
        typer.Option("--source", metavar="LABEL[,LABEL...]", help="State of the cells that are perturbed."),
    ],
    target: Annotated[
        str, typer.Option("--target", metavar="LABEL[,LABEL...]", help="State that they shall reach.")
    ],
    motifs: shared.MotifsOption,
    out: shared.OutOption,
    tfs: shared.TfsOption = None,
    motif_p: shared.MotifPOption = 1e-5,
    kind: Annotated[
        str,
        typer.Option(
            "--perturbation", metavar="knockin|knockout", help="Open closed peaks, or close open ones."
        ),
    ] = "knockin",
    pairs: Annotated[
        int, typer.Option("--pairs", min=0, help="Also all pairs among so many best single factors.")
    ] = 0,
    null: shared.NullOption = shared.DEFAULT_NULL,
    cells: shared.CellsOption = 10,
    top_genes: shared.TopGenesOption = 200,
    up: shared.UpOption = None,
    down: shared.DownOption = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            metavar="H5AD",
            help="Predictions of another model (obs state: source, target, perturbed); may be repeated.",
        ),
    ] = None,
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
    """Screen factors for those that move source cells towards the target state, in predictions of one model.

    Every factor's cosine, share of the way, gain of target neighbours and fall of the energy distance stand beside
    random peak sets, the same cosine of accessibility alone, and the difference in openness of its motif. Components
    are fitted on unperturbed cells; perturbed ones are put into them.
    """
    from cisoform.genome.files import require_file

    config = shared.make_config(kind, null, cells, top_genes, pairs, seed)
    asked = shared.Question(
        model,
        data,
        group_by,
        labels,
        source,
        target,
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
    for path in compare or []:
        require_file(path, "--compare")
    posed = asked.open(device, seed)

    from cisoform.jobs.transition import screen
    from cisoform.jobs.transition_compare import read_other
    from cisoform.jobs.transition_setting import prepare

    lists = posed.differing(up, down)
    candidates = posed.candidates()
    with progress("predicting") as update:
        setting = prepare(posed.reader, posed.ends, posed.opened.genes, config, lists.keep, update)
    others = [read_other(path, setting) for path in compare or []]
    with progress("screening") as update:
        found = screen(setting, candidates, config, lists.columns(setting.genes), update)
    _finish(asked, posed, setting, found, others, config, out, overwrite, as_json)


def _finish(
    asked: shared.Question,
    posed: shared.Posed,
    setting: Setting,
    found: Screened,
    others: list[Any],
    config: Any,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    import polars as pl

    from cisoform.genome.files import write_json

    best = found.table.row(0, named=True)
    warnings = notes_of(setting, found)
    tried = len(found.table) - found.table["p"].null_count()
    least = shared.least_p(tried, found.null.height)
    result = {
        "source": split_list(asked.source),
        "target": split_list(asked.target),
        "group_by": asked.group_by,
        "n_source": len(setting.states.source),
        "n_target": len(setting.states.target),
        "n_genes": len(setting.genes),
        "motif_p": asked.motif_p,
        **to_plain(config),
        "first": best,
        "null": shared.null_summary(found.null, "cosine"),
        "n_factors": tried,
        "least": least,
        **posed.opened.provenance,
        "warnings": warnings,
    }
    for text in warnings:
        note(f"warning: {text}")
    tables = {"transition": found.table, "null": found.null}
    if others:
        tables["compare"] = pl.concat(others)
    with reading.result_folder(out, overwrite) as folder:
        reading.write_tables(folder, tables)
        write_json(folder / "transition.json", to_plain(result))
        draw(folder, setting, found)
    if as_json:
        shown = {"rows": found.table, "null_rows": found.null}
        shown |= {"compare": tables["compare"]} if others else {}
        files = {"rows": "transition.parquet", "null_rows": "null.parquet"}
        print_json({**result, **json_tables(shown, out, files)})
        return
    typer.echo(shared.about_line(setting, "source", "target", config))
    columns = ["tf", "edited_peaks", "cosine", "p", "q", "projection", "knn_gain", "energy_drop"]
    columns += ["accessibility_cosine", "motif_difference"]
    columns += ["reversal"] if "reversal" in found.table.columns else []
    print_table(columns, found.table.head(_SHOWN).select(columns).rows())
    if others:
        print_table(tables["compare"].columns, tables["compare"].rows())
    typer.echo(shared.null_line(found.null, "cosine"))
    typer.echo(shared.least_line(least, tried, found.null.height))
    typer.echo(
        "q: false discovery rate over the factors tried; accessibility_cosine and motif_difference: baselines that use "
        "no model"
    )
    typer.echo(f"{out}: {found.table.height:,} factors and pairs")


def notes_of(setting: Setting, found: Screened) -> list[str]:
    """What a reader of the screen must know."""
    said = []
    if setting.states.space is None:
        said.append("fewer than 10 cells or pools in a state: no neighbours, energy distances or picture")
    single = found.table.filter(found.table["p"].is_not_null())
    best = single.row(0, named=True)
    if found.table["cosine"][0] <= 0:
        said.append(
            f"no factor moves cells towards the target: the highest cosine is {found.table['cosine'][0]:.3f} "
            f"({found.table['tf'][0]})"
        )
    if best["p"] > 0.05:
        said.append(f"{best['tf']} is first, but random peak sets do as well (p {best['p']:.2f})")
    elif best["q"] > 0.05:
        n, least = single.height, single.height / (1 + found.null.height)
        more = f"; of one factor alone it cannot be below {least:.2f}, raise --null" if least > 0.05 else ""
        said.append(
            f"{best['tf']} is first with p {best['p']:.3f}, but {n:,} factors were tried: q {best['q']:.2f}{more}"
        )
    if found.table["cosine"][0] > 0 and (found.table["energy_drop"][0] or 0) < 0:
        said.append(
            f"{found.table['tf'][0]} has the highest cosine but overshoots: cells end farther from the target"
        )
    simple = single.sort("accessibility_cosine", descending=True)["tf"][0]
    if simple == single["tf"][0]:
        said.append(f"accessibility without the model puts the same factor first ({simple})")
    return said


def draw(folder: Path, setting: Setting, found: Screened) -> None:
    """Arrows of the best factor, in components and, where it is installed, in UMAP; and the ranks."""
    from importlib.util import find_spec

    from cisoform.report.files import save_figure
    from cisoform.report.transition_plots import arrow_figure, rank_figure

    cosines = found.null["cosine"].to_numpy()
    save_figure(rank_figure(found.table, cosines, "cosine", "towards the target state"), folder / "ranks")
    space = setting.states.space
    if space is None:
        return
    name = found.table["tf"][0]
    after = space.transform(found.states[found.names.index(name)].astype(float))
    source, target = space.transform(setting.states.source), space.transform(setting.states.target)
    title = f"{name}: predicted cells before and after"
    save_figure(
        arrow_figure(source, target, source[setting.rows], after, title, "component"), folder / "arrows"
    )
    if find_spec("umap") is not None:
        import numpy as np
        import umap  # type: ignore[import-not-found,unused-ignore]

        fitted = umap.UMAP(random_state=0).fit(np.concatenate([source, target]))
        flat, moved = fitted.embedding_, fitted.transform(after)
        cells, others = flat[: len(source)], flat[len(source) :]
        save_figure(arrow_figure(cells, others, cells[setting.rows], moved, title, "UMAP"), folder / "umap")
