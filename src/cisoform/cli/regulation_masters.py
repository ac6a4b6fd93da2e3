"""`cisoform regulation masters`: the factors that set cell types apart, by several readings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli import regulation_features as shared
from cisoform.cli import regulation_reading as reading
from cisoform.cli.common import DeviceOption, JsonOption, SeedOption, note, print_json, print_table, progress
from cisoform.cli.json_tables import json_tables
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.analysis.grouping import Grouping
    from cisoform.jobs.creformer_model import CREformerModel
    from cisoform.jobs.factors import Factors
    from cisoform.jobs.masters import Masters


def add_commands(app: typer.Typer) -> None:
    """Register `masters`."""
    app.command(
        epilog="Example: cisoform regulation masters run --data genes --tfs @tfs.txt --motifs jaspar.meme "
        "--group-by cell_type --labels cells.tsv --known masters.tsv --out masters"
    )(masters)


def masters(
    model: reading.ModelArgument,
    data: Annotated[
        Path, typer.Option("--data", metavar="DATASET", help="Folder of `regulation build-genes`.")
    ],
    tfs: Annotated[
        str, typer.Option("--tfs", metavar="A,B,...|@FILE", help="Candidate factors: names or ids of genes.")
    ],
    group_by: Annotated[
        str,
        typer.Option("--group-by", metavar="COLUMN", help="Cell types: cell_type, or a column of --labels."),
    ],
    out: shared.OutOption,
    motifs: Annotated[
        Path | None,
        typer.Option("--motifs", metavar="FILE", help="Also read factors by their motifs: MEME or JASPAR."),
    ] = None,
    motif_p: Annotated[float, typer.Option("--motif-p", help="Chance of a hit at one place.")] = 1e-5,
    effect_genes: Annotated[
        int,
        typer.Option("--effect-genes", min=1, help="With motifs: sum effects over so many genes at most."),
    ] = 1000,
    known: Annotated[
        Path | None,
        typer.Option(
            "--known", metavar="TSV", help="Known masters (header label, tf) to judge the rankings by."
        ),
    ] = None,
    c: Annotated[float, typer.Option("--c", help="Inverse of the penalty of the regression.")] = 0.1,
    k: Annotated[int, typer.Option("--k", min=1, help="Factors at the head of a ranking.")] = 3,
    bootstrap: Annotated[int, typer.Option("--bootstrap", min=0, help="Draws of cells for stability.")] = 100,
    permutations: Annotated[
        int, typer.Option("--permutations", min=0, help="With --known: permuted labels for chance.")
    ] = 20,
    variant: shared.VariantOption = "exact",
    form: shared.FormOption = "cosine",
    reference: shared.ReferenceOption = "cell",
    groups: reading.GroupsOption = None,
    cell_types: reading.CellTypesOption = None,
    labels: reading.LabelsOption = None,
    overwrite: reading.OverwriteOption = False,
    cache: reading.CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Rank the factors that set each cell type apart, by a logistic regression of every type against all others.

    Columns are the attention feature of the factors' genes, beside their expression and window accessibility. With
    motifs also the motif's activity (what the model's predictions owe to the peaks that hold it), beside how open these
    peaks are, and both joined.
    """
    choice = shared.choose_feature(variant, form, reference, group_by)
    if not 0 < motif_p < 1:
        raise InputError(f"--motif-p {motif_p:g} must lie between 0 and 1")
    if not 0 < c < float("inf"):
        raise InputError(f"--c {c:g} must be above 0")
    reading.check_out(out, overwrite)
    from cisoform.analysis.masters import MasterConfig
    from cisoform.analysis.reader import Reader
    from cisoform.data.genes import GenesDataset
    from cisoform.jobs import factors as lists
    from cisoform.jobs import masters as job
    from cisoform.jobs.readings import names_of

    names = names_of(tfs, "--tfs") or []
    dataset = GenesDataset.open(data)
    wide = lists.effect_genes(dataset, effect_genes, seed)
    question = None if motifs is None else job.MotifQuestion.read(motifs, wide, motif_p)
    factors = lists.choose_factors(
        dataset, names, not tfs.startswith("@"), question.motifs if question else None, str(motifs)
    )
    config = MasterConfig(c=c, k=k, n_bootstrap=bootstrap, n_permutations=permutations, seed=seed)
    truth: dict[int, list[int]] = {}

    def check(loaded: CREformerModel, grouping: Grouping) -> None:
        lists.check_labels(grouping)
        if known is not None:
            listed, missing = lists.read_known(known, grouping, factors)
            truth.update(listed)
            if missing:
                note(f"{known}: {len(missing):,} listed factors are no candidates, as {missing[0]!r}")

    wanted = factors.genes.tolist() if question is None else [*factors.genes.tolist(), *wide.tolist()]
    chosen = reading.Selection(
        model=model,
        data=data,
        genes=",".join(dataset.genes["gene_id"].gather(sorted(set(wanted))).to_list()),
        groups=groups,
        cell_types=cell_types,
        group_by=group_by,
        labels=labels,
        cache=cache,
        device=device,
        seed=seed,
    )
    opened = reading.open_selection(chosen, check)
    assert isinstance(opened.reader, Reader)
    if factors.left_out:
        some = ", ".join(factors.left_out[:5])
        note(f"--tfs: {len(factors.left_out):,} names are left out (no gene or no motif), as {some}")
    with progress("reading") as update:
        values = job.readings(opened.reader, opened.grouping, factors, choice, question, seed, update)
    with progress("ranking") as update:
        found = job.masters(values, opened.grouping, factors, truth, config, update)
    result = {
        "group_by": group_by,
        "labels": list(opened.grouping.labels),
        "n_groups": [len(opened.grouping.members(name)) for name in opened.grouping.labels],
        "n_factors": len(factors.names),
        "primary": found.primary,
        "c": c,
        "k": k,
        "variant": variant,
        "form": form,
        "reference": reference,
        "motif_p": motif_p if motifs else None,
        "known": found.judged or None,
        "bootstrap": bootstrap,
        "seed": seed,
        **opened.provenance,
        "warnings": found.warnings,
    }
    _finish(found, factors, result, k, out, overwrite, as_json)


def _finish(
    found: Masters,
    factors: Factors,
    result: dict[str, Any],
    k: int,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    import polars as pl

    from cisoform.report.files import save_figure
    from cisoform.report.masters_plots import dot_plot

    for text in found.warnings:
        note(f"warning: {text}")
    with reading.result_folder(out, overwrite) as folder:
        reading.write_tables(folder, {"masters": found.table})
        shared.write_result(folder / "masters.json", result)
        shown = found.table.filter(pl.col("reading") == found.primary)
        save_figure(dot_plot(shown, k, f"masters by {found.primary.replace('_', ' ')}"), folder / "masters")
    heads = {name: _head(found, name, k) for name in found.table["reading"].unique(maintain_order=True)}
    if as_json:
        columns = ["label", "tf", "rank", "coefficient", "stability"]
        head = found.table.filter((pl.col("reading") == found.primary) & (pl.col("rank") <= k))
        others = {name: one for name, one in heads.items() if name != found.primary}
        first = {"masters": head.select(columns).to_dicts(), "other_readings": others}
        print_json(
            {**result, **first, **json_tables({"rows": found.table}, out, {"rows": "masters.parquet"})}
        )
        return
    typer.echo(
        f"{out}: {len(factors.names):,} factors in {len(result['labels'])} labels, by {found.primary}, "
        f"{result['bootstrap']} bootstraps, seed {result['seed']}"
    )
    _print_heads(found, heads, result, k)
    if found.judged:
        keys = ("recall", "mrr", "permuted_recall", "permuted_mrr")
        table = [[name, *(by.get(key) for key in keys)] for name, by in found.judged.items()]
        print_table(("reading", f"recall@{k}", "MRR", "recall, permuted", "MRR, permuted"), table)
    else:
        typer.echo(
            "without --known nothing tells which of these are right; masters.tsv has every reading and factor"
        )


def _head(found: Masters, name: str, k: int) -> dict[str, list[str]]:
    """The first factors of every label by a reading."""
    import polars as pl

    table = found.table.filter((pl.col("reading") == name) & (pl.col("rank") <= k))
    return dict(table.group_by("label", maintain_order=True).agg(pl.col("tf")).iter_rows())


def _print_heads(
    found: Masters, heads: dict[str, dict[str, list[str]]], result: dict[str, Any], k: int
) -> None:
    """A line a label: the first factors, how stable they are, and the first ones of the baselines."""
    import polars as pl

    from cisoform.jobs.masters import DEVIATION, EXPRESSION, WINDOW

    shown = found.table.filter((pl.col("reading") == found.primary) & (pl.col("rank") <= k))
    stable = dict(shown.group_by("label").agg(pl.col("stability").min()).iter_rows())
    baselines = [name for name in (EXPRESSION, DEVIATION if DEVIATION in heads else WINDOW) if name in heads]
    rows = [
        [label, cells, ", ".join(heads[found.primary][label]), stable[label]]
        + [", ".join(heads[name][label]) for name in baselines]
        for label, cells in zip(result["labels"], result["n_groups"], strict=True)
    ]
    by = [f"by {name.replace('_', ' ')} alone" for name in baselines]
    print_table(("label", "cells", f"first {k}", "least stability", *by), rows)
