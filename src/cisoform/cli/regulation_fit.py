"""Stage 2 on the command line: fit on genes in cells, evaluate a run of either stage, predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    OutOption,
    ResumeOption,
    SeedOption,
    SettingsOption,
    estimate_line,
    note,
    print_json,
    print_table,
    progress,
    resolve_device,
    split_list,
)
from cisoform.cli.json_tables import json_tables
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.data.genes import GenesDataset
    from cisoform.features.states import EncodingPlan

CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Features of peak states (default: the user's cache)."),
]
TABLE_SUFFIXES = (".tsv", ".csv", ".parquet")


def add_commands(app: typer.Typer) -> None:
    """Register `fit`, `evaluate` and `predict`."""
    app.command(
        epilog="Example: cisoform regulation fit genes --elementary pretrained --recipe xs --out run"
    )(fit)
    app.command(epilog="Example: cisoform regulation evaluate run --data genes --split test")(evaluate)
    app.command(
        epilog="Example: cisoform regulation predict run --data genes --split test --out predicted.tsv; or "
        "cisoform regulation predict model --locus-text gata1.txt.gz --tss-peak 20 --strand +"
    )(predict)


def _tell(plan: EncodingPlan) -> None:
    note(
        f"{plan.n_states:,} states of peaks, {plan.n_distinct:,} distinct; {plan.n_missing:,} to encode, the others "
        f"are in {plan.folder}"
    )
    if plan.n_missing:
        note(estimate_line(disk_bytes=plan.n_bytes))


def fit(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of `regulation build-genes`.")],
    elementary: Annotated[
        Path,
        typer.Option(
            "--elementary", metavar="RUN", help="Run of `regulation pretrain`, or a converted CREformer."
        ),
    ],
    out: OutOption,
    recipe: Annotated[
        str, typer.Option("--recipe", help="tiny, xs, small, base, medium, large or paper.")
    ] = "xs",
    cache: CacheOption = None,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit expression from peaks with Elementary frozen; stop it with Ctrl-C and continue with --resume."""
    from cisoform.cli.training import TrainingBar, print_run
    from cisoform.data.genes import GenesDataset
    from cisoform.jobs.regulation_fit import choose_recipe, monitor_of, prepare
    from cisoform.jobs.regulation_fit import fit as run_fit

    chosen = choose_recipe(recipe, settings or [], seed)
    opened = GenesDataset.open(dataset)
    resolve_device(device)
    run = prepare(opened, elementary, chosen, recipe)
    valid = (
        "none" if run.valid_source is None else f"{run.valid_source.n_samples:,} pairs by {monitor_of(run)}"
    )
    note(
        f"recipe {recipe}: {run.n_parameters:,} parameters to learn; {run.source.n_samples:,} pairs an epoch of "
        f"{len(run.source.genes):,} genes in {len(run.source.groups):,} groups ({run.source.n_expressed:,} "
        f"expressed); validation {valid}; {run.n_steps:,} steps"
    )
    with progress("encoding") as update, TrainingBar() as bar:
        result = run_fit(
            run, out, cache=cache, resume=resume, device=device, progress=bar, planned=_tell, update=update
        )
    print_run(result, out, as_json)


def evaluate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run of `fit` or `pretrain`, or a converted CREformer.")
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="DATASET", help="Of `build-genes`, or of `build-regions` for `pretrain`."
        ),
    ],
    split: Annotated[
        str, typer.Option("--split", help="test (four-way report), train, valid or all.")
    ] = "test",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write evaluation.json and report.html there.")
    ] = None,
    annotation: Annotated[
        Path | None,
        typer.Option(
            "--annotation", metavar="GTF", help="Elementary: genes to draw under the locus of the report."
        ),
    ] = None,
    peaks: Annotated[
        Path | None,
        typer.Option(
            "--peaks", metavar="BED", help="Elementary: peaks to draw under the locus of the report."
        ),
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, help="Elementary: most tokens of each part and pass.")
    ] = None,
    max_groups: Annotated[
        int | None,
        typer.Option("--max-groups", min=1, help="Most cells or pools of a part (default: 2,000)."),
    ] = None,
    depth: Annotated[
        bool | None, typer.Option("--depth/--no-depth", help="Also with doubled and halved signal (default).")
    ] = None,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score a run beside baselines: expression of genes in cells, or what a pre-trained Elementary restores."""
    from cisoform.jobs.elementary import is_elementary
    from cisoform.jobs.regulation_predict import is_regulatory

    if is_elementary(run):
        _refuse("a pre-trained Elementary", {"--max-groups": max_groups, "--depth": depth, "--cache": cache})
        from cisoform.cli.regulation_regions import evaluate_run

        evaluate_run(
            run,
            data,
            split,
            out=out,
            annotation=annotation,
            peaks=peaks,
            tokens=tokens,
            seed=seed,
            device=device,
            as_json=as_json,
        )
        return
    if not is_regulatory(run):
        raise InputError(f"{run}: is no run of `regulation pretrain` or `regulation fit`, nor a CREformer")
    _refuse("a fitted model", {"--tokens": tokens, "--annotation": annotation, "--peaks": peaks})
    result = _evaluate_genes(
        run,
        data,
        split,
        max_groups=max_groups,
        depth=depth is not False,
        cache=cache,
        seed=seed,
        device=device,
        out=out,
    )
    for text in result["warnings"]:
        note(f"warning: {text}")
    if as_json:
        print_json(result)
    else:
        _print_parts(result)


def _evaluate_genes(
    run: Path,
    data: Path,
    split: str,
    *,
    max_groups: int | None,
    depth: bool,
    cache: Path | None,
    seed: int,
    device: str,
    out: Path | None,
) -> dict[str, Any]:
    from cisoform.data.genes import GenesDataset
    from cisoform.jobs.creformer_model import CREformerModel
    from cisoform.jobs.regulation_predict import EvaluationConfig
    from cisoform.jobs.regulation_predict import evaluate as run_evaluation
    from cisoform.jobs.regulatory_report import Observer, write_scores

    dataset = GenesDataset.open(data)
    resolve_device(device)
    model = CREformerModel.load(run, device)
    config = EvaluationConfig(depth=depth, seed=seed)
    if max_groups is not None:
        config = EvaluationConfig(depth=depth, seed=seed, max_groups=max_groups)
    observer = None if out is None else Observer(dataset)
    with progress("scoring") as update:
        result = run_evaluation(
            model, dataset, split, config, cache=cache, planned=_tell, update=update, observe=observer
        )
    if out is not None and observer is not None:
        write_scores(out, result, observer, model, dataset, run)
    return result


def _refuse(what: str, options: dict[str, Any]) -> None:
    used = [name for name, value in options.items() if value is not None]
    if used:
        raise InputError(f"{used[0]} has no effect on {what}; leave it out")


def _print_parts(result: dict[str, Any]) -> None:
    for name, part in result["parts"].items():
        typer.echo(
            f"{name}: {part['n_genes']:,} genes x {part['n_groups']:,} groups, "
            f"{part['expressed_share']:.0%} of the pairs expressed"
        )
        columns = ("pearson", "gene_pearson", "type_pearson", "delta_pearson", "delta_r2", "mse")
        print_table(
            ("", "overall", "per gene", "per gene, types", "delta", "delta R2", "mse"),
            [[key, *(found.get(c) for c in columns)] for key, found in part["scores"].items()],
        )
        for depth, change in part.get("depth", {}).items():
            typer.echo(
                f"signal {depth}: predictions correlate {change['pearson']:.3f} with the usual ones (per gene "
                f"{change['gene_pearson']:.3f}), mean change {change['mean_change']:+.3f}"
            )


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Run of `fit`, or converted CREformer.")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DATASET", help="Folder of `regulation build-genes`.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help=f"Table of predictions: {', '.join(TABLE_SUFFIXES)}."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="train, valid, test or all (default) of the data.")
    ] = None,
    genes: Annotated[
        str | None, typer.Option("--genes", metavar="A,B,...", help="These genes, by id or name.")
    ] = None,
    groups: Annotated[
        str | None, typer.Option("--groups", metavar="A,B,...", help="These cells or pools, by name.")
    ] = None,
    cache: CacheOption = None,
    locus_text: Annotated[
        Path | None,
        typer.Option(
            "--locus-text", metavar="FILE", help="Instead of data, one gene: three lines a peak, gzip or not."
        ),
    ] = None,
    tss_peak: Annotated[
        int | None, typer.Option("--tss-peak", help="Of a locus: index (from 0) of the peak nearest the TSS.")
    ] = None,
    strand: Annotated[
        str | None, typer.Option("--strand", metavar="+|-", help="Of a locus: strand of the gene.")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Predict expression: of the genes of a data set in its cells, or of one gene from its peaks as text."""
    if (data is None) == (locus_text is None):
        raise InputError("give either --data with --out, or --locus-text with --tss-peak and --strand")
    if locus_text is not None:
        _refuse(
            "--locus-text",
            {"--out": out, "--split": split, "--genes": genes, "--groups": groups, "--cache": cache},
        )
        if tss_peak is None or strand is None:
            raise InputError("--locus-text needs --tss-peak and --strand: the text does not hold them")
        from cisoform.cli.regulation_locus import predict_locus_text

        predict_locus_text(model, locus_text, tss_peak, strand, device=device, as_json=as_json)
        return
    _refuse("--data", {"--tss-peak": tss_peak, "--strand": strand})
    assert data is not None
    if out is None and not as_json:
        raise InputError("--data needs --out FILE for the table of predictions (or --json)")
    if out is not None and out.suffix not in TABLE_SUFFIXES:
        raise InputError(f"--out {out}: the name must end in {', '.join(TABLE_SUFFIXES)}")
    _predict_genes(model, data, out, split or "all", genes, groups, cache, device, as_json)


def _predict_genes(
    model: Path,
    data: Path,
    out: Path | None,
    split: str,
    genes: str | None,
    groups: str | None,
    cache: Path | None,
    device: str,
    as_json: bool,
) -> None:
    from cisoform.data.genes import GenesDataset
    from cisoform.jobs.creformer_model import CREformerModel
    from cisoform.jobs.regulation_predict import predict as run_predict
    from cisoform.jobs.regulation_predict import save_table

    dataset = GenesDataset.open(data)
    chosen = _choose(dataset, split, genes, groups)
    resolve_device(device)
    opened = CREformerModel.load(model, device)
    with progress("predicting") as update:
        table = run_predict(opened, dataset, *chosen, cache=cache, planned=_tell, update=update)
    if out is not None:
        save_table(table, out)
    if as_json:
        unit = opened.about.get("expression")
        place = (None, {}) if out is None else (out.parent, {"rows": out.name})
        print_json({"expression": unit, "n": table.height, **json_tables({"rows": table}, *place)})
        return
    typer.echo(f"{out}: {len(chosen[1]):,} genes in {len(chosen[0]):,} groups")


def _choose(dataset: GenesDataset, split: str, genes: str | None, groups: str | None) -> tuple[Any, Any]:
    """Numbers of the chosen groups and genes."""
    import numpy as np

    gene_rows, group_rows = dataset.part(split)
    tables = (
        ("--groups", groups, group_rows, [dataset.groups["name"].to_list()]),
        ("--genes", genes, gene_rows, [dataset.genes[key].to_list() for key in ("gene_id", "gene_name")]),
    )
    found = []
    for flag, text, rows, columns in tables:
        names = split_list(text)
        if names is not None:
            known: dict[str, int] = {}
            for column in columns:
                known = {**{column[row]: row for row in reversed(rows.tolist())}, **known}
            unknown = [name for name in names if name not in known]
            if unknown:
                raise InputError(f"{flag} {unknown[0]!r} is not in {dataset.path} (split {split})")
            rows = np.unique([known[name] for name in names])
        if not len(rows):
            what = "gene" if flag == "--genes" else "group"
            raise InputError(f"{dataset.path}: no {what} is labelled {split!r}; choose another --split")
        found.append(rows)
    return found[0], found[1]
