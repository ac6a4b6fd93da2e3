"""`cisoform isoform`: build a data set, train, evaluate and predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli import isoform_ablate, isoform_attention, isoform_pretrain, isoform_variants
from cisoform.cli.common import (
    AnnotationOption,
    DataOption,
    DeviceOption,
    GenomeOption,
    JsonOption,
    OutOption,
    OverwriteDataOption,
    SeedOption,
    bytes_text,
    note,
    print_json,
    print_table,
    progress,
    resolve_device,
    split_list,
)
from cisoform.cli.isoform_against import AgainstOption, add_rivals, load_rivals, print_against
from cisoform.cli.isoform_train import add_commands as add_training
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.data.build import BuildSummary
    from cisoform.jobs.isoform_evaluate import Evaluated

app = typer.Typer(help="Expression of each transcript in every tissue (IsoFormer).", no_args_is_help=True)
isoform_variants.add_commands(app)
isoform_pretrain.add_commands(app)
isoform_attention.add_commands(app)
isoform_ablate.add_commands(app)

RunArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN...",
        help="Run folder of `isoform train`, or folder of an ensemble; several = an ensemble.",
    ),
]
AverageOption = Annotated[
    int, typer.Option("--average", min=1, max=64, help="Average over N windows with shifted start.")
]


@app.command(
    epilog="Example: cisoform isoform build --genome genome.fa --annotation genes.gtf "
    "--expression tpm.tsv --out dataset"
)
def build(
    genome: GenomeOption,
    annotation: AnnotationOption,
    expression: Annotated[
        Path,
        typer.Option(
            "--expression",
            metavar="TSV",
            help="Transcript x tissue (or sample) table, linear TPM: TSV, CSV, parquet, GCT.",
        ),
    ],
    out: OutOption,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", metavar="TSV", help="Which tissue each sample column belongs to."),
    ] = None,
    tracks: Annotated[
        Path | None,
        typer.Option(
            "--tracks",
            metavar="TSV",
            help="Epigenome tracks along the windows: sample (= tissue), track, path[, transform].",
        ),
    ] = None,
    edges: Annotated[
        str | None,
        typer.Option("--edges", metavar="released|RUN", help="Signal levels; RUN: those of an Elementary."),
    ] = None,
    gene_expression: Annotated[
        Path | None,
        typer.Option(
            "--gene-expression", metavar="TSV", help="Gene x tissue table, learnt beside the transcripts'."
        ),
    ] = None,
    tissues: Annotated[
        str | None, typer.Option("--tissues", metavar="A,B,...", help="Columns to learn (default: all).")
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option("--splits", metavar="TSV", help="gene_id (or transcript_id), split[, family_id]."),
    ] = None,
    split_by: Annotated[
        str | None,
        typer.Option(
            "--split-by",
            metavar="gene|chromosome|family",
            help="What is held out as a whole (default: gene).",
        ),
    ] = None,
    window: Annotated[
        int, typer.Option("--window", metavar="BP", help="DNA window round each start.")
    ] = 12_288,
    genetic_code: Annotated[
        int, typer.Option("--genetic-code", help="NCBI table of the nuclear genome.")
    ] = 1,
    seed: SeedOption = 0,
    overwrite: OverwriteDataOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build a data set from a genome, an annotation and an expression table."""
    if splits is not None and split_by is not None:
        raise InputError(f"--splits {splits} says what is held out, and --split-by {split_by} too; give one")
    if split_by not in (None, "gene", "chromosome", "family"):
        raise InputError(f"--split-by {split_by!r} is none of gene, chromosome, family")
    if edges is not None and tracks is None:
        raise InputError(f"--edges {edges} cuts the signal of --tracks; give them, or leave it out")
    from cisoform.data.build import build_isoform_dataset

    cut = None if edges in (None, "released") else _edges_of(Path(edges))
    with progress("building") as update:
        summary = build_isoform_dataset(
            genome,
            annotation,
            expression,
            samples=samples,
            gene_expression=gene_expression,
            tissues=split_list(tissues),
            splits=splits,
            split_by=split_by or "gene",  # type: ignore[arg-type]
            window=window,
            code_table=genetic_code,
            seed=seed,
            tracks=tracks,
            edges=cut,
            out=out,
            overwrite=overwrite,
            progress=lambda text, share: update(share, 1.0, text),
        )
    if as_json:
        print_json(summary.to_json())
    else:
        _print_summary(summary)


def _edges_of(run: Path) -> dict[str, tuple[float, ...]]:
    """Edges of the tracks of an Elementary."""
    from cisoform.jobs.regulation_fit import load_first_stage

    return load_first_stage(run).edges


def _print_summary(summary: BuildSummary) -> None:
    for line in (*summary.matching, *summary.warnings):
        note(line)
    levels = {level: sum(c.level == level for c in summary.columns) for level in ("transcript", "gene")}
    typer.echo(
        f"{summary.path}: {summary.n_transcripts:,} transcripts ({summary.n_coding:,} coding) of "
        f"{summary.n_genes:,} genes, {summary.n_starts:,} starts; {levels['transcript']} tissues"
        + (f" and {levels['gene']} gene-level columns" if levels["gene"] else "")
    )
    if summary.tracks:
        typer.echo(
            f"  tracks {', '.join(summary.tracks)} of {len(summary.track_samples)} samples, read by "
            f"{len(summary.columns_with_tracks)} of {len(summary.columns)} columns; the others read the sequence alone"
        )
    for part, counts in summary.splits.items():
        typer.echo(f"  {part:6s} {counts['transcripts']:>9,} transcripts of {counts['genes']:,} genes")
    print_table(
        ("shared by parts", "known", "held out", "shared", "share of held-out transcripts"),
        [(leak.kind, leak.known, leak.held_out, leak.n_shared, leak.share) for leak in summary.leakage],
    )
    if summary.long_rna or summary.long_protein:
        note(
            f"{summary.long_rna:,} RNAs are over 12,000 nt (recipes keep their 3' end) and {summary.long_protein:,} "
            "proteins over 1,200 residues (their N-terminal part is kept)"
        )


add_training(app)


@app.command(epilog="Example: cisoform isoform evaluate run --data dataset --split test --out scores")
def evaluate(
    runs: RunArgument,
    data: DataOption,
    split: Annotated[str, typer.Option("--split", help="train, valid, test or all.")] = "test",
    contrast: Annotated[
        list[str] | None,
        typer.Option("--contrast", metavar="A:B", help="Also score the log2 fold change of A over B."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write evaluation.json, predictions.tsv, report.html."),
    ] = None,
    against: AgainstOption = None,
    average: AverageOption = 1,
    baselines: Annotated[bool, typer.Option(help="Fit and score the simple baselines too.")] = True,
    draws: Annotated[int, typer.Option("--draws", min=0, help="Bootstrap draws of the intervals.")] = 1000,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score a run (or the ensemble of several) beside simple baselines, with intervals."""
    from cisoform.benchmark.baselines import BaselineConfig
    from cisoform.benchmark.evaluation import EvaluationConfig
    from cisoform.data.isoform_dataset import IsoformDataset
    from cisoform.jobs.isoform_evaluate import evaluate as run_evaluation
    from cisoform.jobs.isoform_uncertainty import load_models, run_folders, stored_calibration

    dataset = IsoformDataset.open(data)
    resolve_device(device)
    models = load_models(runs, device)
    rivals = load_rivals(against or [], runs, device)
    config = EvaluationConfig(
        contrasts=tuple(contrast or ()),
        baselines=BaselineConfig() if baselines else None,
        n_draws=draws,
        seed=seed,
    )
    with progress("predicting") as update:
        stored = stored_calibration(runs, models)
        found = run_evaluation(models, dataset, split, config, average, update, stored)
    if out is not None:
        from cisoform.jobs.isoform_report import write_evaluation_report

        found.write(out)
        write_evaluation_report(found, out / "report.html", run_folders(runs))
        note(f"{out / 'report.html'}: open it in a browser")
    if rivals:
        add_rivals(found, rivals, (runs, against or []), config, average, out)
    if as_json:
        print_json(found.result)
    else:
        _print_evaluation(found)
        print_against(found.result)


def _print_evaluation(found: Evaluated) -> None:
    result = found.result
    for text in result["warnings"]:
        note(f"warning: {text}")
    keys = [*result["tissues"], *result["contrasts"]]
    shown = keys if len(keys) <= 6 else []
    header = [
        "predictor",
        "mean R2",
        "mean Spearman",
        *(["centred R2"] if len(result["tissues"]) > 1 else []),
        *(f"{key} {m}" for key in shown for m in ("R2", "rho")),
    ]
    ours: dict[str, Any] = {**result["tissues"], **result["contrasts"]}
    name = "this model" if len(result["runs"]) == 1 else "ensemble"
    means = ["r2", "spearman", *(["r2_centred"] if len(result["tissues"]) > 1 else [])]
    rows = [[name, *_cells(result["mean"], means, ours, shown)]]
    if "runs_mean" in result:
        rows.append(
            ["mean of the runs", *_cells(result["runs_mean"]["mean"], means, result["runs_mean"], shown)]
        )
    for name, scores in result["baselines"].items():
        rows.append([name, *_cells(result["baseline_details"][name]["mean"], means, scores, shown)])
    typer.echo(
        f"split {result['split']}: {result['n_transcripts']:,} transcripts of {result['n_genes']:,} genes"
    )
    if len(means) > 2:
        typer.echo(
            "centred R2: of what is left of each transcript when its mean over the tissues is taken away"
        )
    print_table(header, rows)
    if "calibration" in result:
        _print_calibration(result["calibration"])


def _print_calibration(found: dict[str, Any]) -> None:
    """Coverage of nominal intervals, by each way of making them."""
    ways = [way for way in ("claimed", "calibrated", "constant") if way in found]
    said = found["calibrated_on"]
    typer.echo(
        "intervals: what the models claim"
        + (f"; calibrated on {said}; one width for all labels of a tissue" if said else "")
    )
    rows: list[list[Any]] = []
    for way in ways:
        row: list[Any] = [way]
        for level in found["levels"]:
            one = found[way][str(level)]
            row += [_value(one["coverage"]), _value(one["width"]), _value(one["score"])]
        rows.append(row)
    header = [f"{level:.0%} {what}" for level in found["levels"] for what in ("cover", "width", "score")]
    print_table(("intervals", *header), rows)


def _value(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _cells(mean: dict[str, Any], means: list[str], scores: dict[str, Any], keys: list[str]) -> list[Any]:
    values = [mean.get(name) for name in means]
    for key in keys:
        values += [scores.get(key, {}).get("r2"), scores.get(key, {}).get("spearman")]
    return [_value(value) for value in values]


@app.command(
    epilog="Example: cisoform isoform predict run --genome genome.fa --annotation genes.gtf --out predictions.tsv"
)
def predict(
    runs: RunArgument,
    out: OutOption,
    genome: Annotated[
        Path | None, typer.Option("--genome", metavar="FASTA", help="Genome: FASTA, plain, bgzip or gzip.")
    ] = None,
    annotation: Annotated[
        Path | None,
        typer.Option("--annotation", metavar="GTF", help="Transcripts: GTF or GFF3, gzip or not."),
    ] = None,
    transcripts: Annotated[
        Path | None,
        typer.Option("--transcripts", metavar="FILE", help="Ids to predict, one a line (default: all)."),
    ] = None,
    sequences: Annotated[
        Path | None,
        typer.Option(
            "--sequences",
            metavar="JSONL",
            help="Instead of a genome: one record a line with dna_sequence, rna_sequence, protein_sequence.",
        ),
    ] = None,
    tracks: Annotated[
        Path | None,
        typer.Option(
            "--tracks",
            metavar="TSV",
            help="Epigenome tracks, for a run that reads them: sample, track, path.",
        ),
    ] = None,
    average: AverageOption = 1,
    interval: Annotated[
        float | None,
        typer.Option(
            "--interval",
            metavar="LEVEL",
            help="Ends of an interval too: 0.5, 0.8 or 0.95; 0 = none (default: 0.95 of an ensemble, or of a run that "
            "predicts variances).",
        ),
    ] = None,
    genetic_code: Annotated[
        int, typer.Option("--genetic-code", help="NCBI table of the nuclear genome.")
    ] = 1,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Predict log1p expression of every transcript of an annotation, or of given sequences."""
    from cisoform.data.sequences import read_sequence_records
    from cisoform.jobs.isoform_predict import (
        SEQUENCE_SUFFIXES,
        SUFFIXES,
        check_output,
        predict_annotation,
        predict_sequences,
    )
    from cisoform.jobs.isoform_uncertainty import choose_interval, load_models, stored_calibration

    by_genome = genome is not None and annotation is not None
    if by_genome == (sequences is not None) or (sequences is not None and (genome or annotation)):
        raise InputError("give either --genome with --annotation, or --sequences")
    if transcripts is not None and sequences is not None:
        raise InputError("--transcripts chooses from an annotation; with --sequences leave it out")
    if tracks is not None and sequences is not None:
        raise InputError("--tracks lie along a genome; with --sequences leave them out")
    check_output(out, SUFFIXES if sequences is None else SEQUENCE_SUFFIXES)
    records = [] if sequences is None else read_sequence_records(sequences)
    resolve_device(device)
    models = load_models(runs, device)
    wide = choose_interval(models, stored_calibration(runs, models), interval)
    with progress("predicting") as update:
        if sequences is not None:
            found = predict_sequences(models, records, str(sequences), average, update, wide)
        else:
            assert genome is not None and annotation is not None
            found = predict_annotation(
                models, genome, annotation, transcripts, average, genetic_code, update, tracks, wide
            )
    for text in found.warnings:
        note(text)
    if sequences is not None and out.suffix == ".jsonl":
        found.write_jsonl(out, records)
    else:
        found.write(out)
    size = bytes_text(out.stat().st_size)
    if as_json:
        print_json(
            {
                "out": out,
                "n_transcripts": found.samples.n,
                "tissues": found.tissues,
                "metadata": found.metadata,
            }
        )
    else:
        typer.echo(
            f"{out}: {found.samples.n:,} transcripts x {len(found.tissues)} tissues, log1p scale ({size})"
        )
