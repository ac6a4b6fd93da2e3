"""Stage 1 on the command line: build regions from tracks, pre-train Elementary, and its part of `evaluate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cisoform.cli.common import (
    DeviceOption,
    GenomeOption,
    JsonOption,
    OutOption,
    OverwriteDataOption,
    ResumeOption,
    SeedOption,
    SettingsOption,
    bytes_text,
    estimate_line,
    note,
    print_json,
    print_table,
    progress,
    resolve_device,
    split_list,
)
from cisoform.errors import InputError


def add_commands(app: typer.Typer) -> None:
    """Register `build-regions` and `pretrain`; `evaluate` is that of `regulation_fit`."""
    app.command(
        "build-regions",
        epilog="Example: cisoform regulation build-regions --genome genome.fa --tracks tracks.tsv "
        "--window 32768 --regions-per-sample 50000 --out regions",
    )(build_regions)
    app.command(epilog="Example: cisoform regulation pretrain regions --recipe small --out run")(pretrain)


def build_regions(
    genome: GenomeOption,
    tracks: Annotated[
        Path,
        typer.Option(
            "--tracks",
            metavar="TSV",
            help="Columns sample, track, path[, transform=none|sinh|expm1|log1p|square]; bigWig or bedGraph.",
        ),
    ],
    out: OutOption,
    blacklist: Annotated[
        Path | None, typer.Option("--blacklist", metavar="BED", help="Bases to avoid.")
    ] = None,
    window: Annotated[int, typer.Option("--window", metavar="BP", help="Tokens of a region.")] = 32_768,
    regions_per_sample: Annotated[
        int | None, typer.Option("--regions-per-sample", metavar="N", help="Regions a sample (default: all).")
    ] = None,
    chromosomes: Annotated[
        str | None, typer.Option("--chromosomes", metavar="A,B,...", help="Use these alone.")
    ] = None,
    test_chromosomes: Annotated[
        str | None,
        typer.Option(
            "--test-chromosomes",
            metavar="A,B,...",
            help="Held out for testing (default: chr8,chr10 if there).",
        ),
    ] = None,
    valid_chromosomes: Annotated[
        str | None,
        typer.Option(
            "--valid-chromosomes",
            metavar="A,B,...",
            help="Held out for choosing weights (default: chr9 if there, else 5 % of the training windows).",
        ),
    ] = None,
    test_samples: Annotated[
        str | None,
        typer.Option("--test-samples", metavar="A,B,...", help="Samples that training does not see."),
    ] = None,
    edges: Annotated[
        str, typer.Option("--edges", metavar="released|quantile", help="Edges of the signal levels.")
    ] = "released",
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=256, help="Processes that read the tracks.")
    ] = 1,
    seed: SeedOption = 0,
    overwrite: OverwriteDataOption = False,
    as_json: JsonOption = False,
) -> None:
    """Cut tracks into windows of signal levels for pre-training; a killed build goes on where it was."""
    if edges not in ("released", "quantile"):
        raise InputError(f"--edges {edges!r} is none of released, quantile")
    from cisoform.data.region_build import build_regions as run_build
    from cisoform.data.region_plan import RegionBuildConfig

    config = RegionBuildConfig(
        window=window,
        regions_per_sample=regions_per_sample,
        chromosomes=_names(chromosomes),
        test_chromosomes=_names(test_chromosomes),
        valid_chromosomes=_names(valid_chromosomes),
        test_samples=_names(test_samples) or (),
        edges=edges,  # type: ignore[arg-type]
        seed=seed,
    )
    with progress("building") as update:
        made = run_build(
            genome,
            tracks,
            out,
            config,
            blacklist=blacklist,
            workers=workers,
            overwrite=overwrite,
            progress=lambda text, share: update(share, 1.0, text),
            planned=lambda regions, size: note(f"{estimate_line(disk_bytes=size)} for {regions:,} regions"),
        )
    for line in made.warnings:
        note(f"warning: {line}")
    if made.resumed:
        note(f"{made.resumed:,} shards of an interrupted build were kept")
    if as_json:
        print_json(made.to_json())
        return
    typer.echo(
        f"{made.path}: {made.n_regions:,} regions of {window:,} tokens, {len(made.samples)} samples x "
        f"{len(made.tracks)} tracks ({bytes_text(made.n_bytes)}); {made.n_excluded:,} windows dropped for N or "
        "blacklist"
    )
    print_table(("regions", "count"), [*made.four_way.items(), ("validation", made.regions["valid"])])


def _names(text: str | None) -> tuple[str, ...] | None:
    found = split_list(text)
    return None if found is None else tuple(found)


def pretrain(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of `regulation build-regions`.")],
    out: OutOption,
    recipe: Annotated[
        str, typer.Option("--recipe", help="tiny, xs, small, base, medium, large or paper.")
    ] = "small",
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    device: DeviceOption = "auto",
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pre-train Elementary; stop it with Ctrl-C and continue with --resume, to the same result."""
    from cisoform.cli.training import TrainingBar, print_run
    from cisoform.data.regions import RegionDataset
    from cisoform.jobs.elementary import choose_recipe, prepare
    from cisoform.jobs.elementary import pretrain as run_pretraining

    chosen = choose_recipe(recipe, settings or [], seed)
    opened = RegionDataset.open(dataset)
    resolve_device(device)
    run = prepare(opened, chosen, recipe)
    note(
        f"recipe {recipe}: {run.n_parameters:,} parameters; {len(run.source.rows):,} regions of "
        f"{len(opened.train_samples)} samples to learn from, {len(opened.rows('valid')):,} to choose by; tracks "
        f"{', '.join(opened.tracks)}; anchor {run.source.anchor or 'none'}; {run.n_steps:,} steps of "
        f"{chosen.loader.batch_tokens * chosen.train.accumulate:,} tokens"
    )
    with TrainingBar() as bar:
        result = run_pretraining(run, out, resume=resume, device=device, progress=bar)
    print_run(result, out, as_json)


def evaluate_run(
    run: Path,
    data: Path,
    split: str,
    *,
    out: Path | None = None,
    annotation: Path | None = None,
    peaks: Path | None = None,
    tokens: int | None = None,
    seed: int = 0,
    device: str = "auto",
    as_json: bool = False,
) -> None:
    """Score a pre-trained Elementary and print the four-way report: `evaluate` for such a run.

    Args:
        run: Folder of a run.
        data: Folder of `build-regions`.
        split: train, valid, test or all.
        out: Folder for `evaluation.json` and `report.html`; None = not written.
        annotation: Genes to draw in the report.
        peaks: Peaks to draw in it.
        tokens: Most tokens of each part and pass; None = the default.
        seed: Of what is hidden.
        device: As everywhere.
        as_json: Print JSON.
    """
    from cisoform.benchmark.elementary import EvaluationConfig
    from cisoform.data.regions import RegionDataset
    from cisoform.jobs.elementary import evaluate, load
    from cisoform.jobs.elementary_report import lengths_of, write_scores
    from cisoform.jobs.landmarks import Landmarks

    if out is None and (annotation or peaks):
        raise InputError(
            f"{'--annotation' if annotation else '--peaks'} is drawn in the report: give --out DIR"
        )
    dataset = RegionDataset.open(data)
    landmarks = Landmarks.read(lengths_of(dataset), annotation, peaks)
    resolve_device(device)
    model = load(run, device)
    config = EvaluationConfig(hiding=model.loader.hiding, anchor=model.loader.anchor, seed=seed)
    if tokens is not None:
        config = replace(config, tokens=tokens)
    with progress("scoring") as update:
        result = evaluate(model, dataset, split, config, update)
    if out is not None:
        write_scores(out, result, model, dataset, run, landmarks)
    for text in result["warnings"]:
        note(f"warning: {text}")
    if as_json:
        print_json(result)
    else:
        _print_parts(result)


def _print_parts(result: dict[str, Any]) -> None:
    nan = float("nan")

    def number(value: Any) -> float:
        return nan if value is None else float(value)

    for name, part in result["parts"].items():
        if part is None:
            typer.echo(f"{name}: no region")
            continue
        bases = part["hidden"]["bases"]
        typer.echo(f"{name}: {part['n_regions']:,} regions, {part['n_windows']:,} windows scored")
        rows: list[list[Any]] = [
            [
                "hidden bases: accuracy",
                *(number(bases["accuracy"][k]) for k in ("model", "neighbour", "majority")),
            ]
        ]
        for track, scores in part["hidden"]["tracks"].items():
            rows += [
                [
                    f"hidden {track}: {label}",
                    *(number(scores[key][k]) for k in ("model", "neighbour", "majority")),
                ]
                for key, label in (("macro_f1", "macro F1"), ("correlation", "correlation of level"))
            ]
        print_table(("", "model", "neighbour", "majority"), rows)
        print_table(
            ("preserved track, bins", "given", "model", "training mean", "partial given mean"),
            [
                [
                    track,
                    given.replace("_", " "),
                    number(found["pearson_where_mean" if found["n_bins_with_mean"] else "pearson"]["model"]),
                    number(found["pearson_where_mean"]["training_mean"]),
                    number(found["partial_given_mean"]),
                ]
                for track, by in part["preserved"].items()
                for given, found in by.items()
            ],
        )
