"""`cisoform isoform variants`: what the alleles of a VCF file do to transcripts and their expression."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from cisoform.cli.common import (
    AnnotationOption,
    DeviceOption,
    GenomeOption,
    JsonOption,
    note,
    print_json,
    print_table,
    progress,
    resolve_device,
)
from cisoform.errors import InputError

RunsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN...",
        help="Run folder of `isoform train`, or folder of an ensemble; several = an ensemble.",
    ),
]
VcfOption = Annotated[Path, typer.Option("--vcf", metavar="FILE", help="Variants: VCF, gzip or not.")]
TableOption = Annotated[
    Path,
    typer.Option(
        "--out", metavar="TABLE", help=".tsv or .parquet; what became of each allele is written beside it."
    ),
]
HaplotypesOption = Annotated[
    bool,
    typer.Option("--haplotypes", help="Apply the alleles of each phased chromosome of a sample together."),
]
ResplicingOption = Annotated[
    str | None,
    typer.Option(
        "--resplice",
        metavar="skip|retain",
        help="Where a splice site is lost, skip the exon or keep the intron (default: splice as before).",
    ),
]
NmdOption = Annotated[
    str,
    typer.Option(
        "--nmd",
        metavar="auto|on|off",
        help="Flag stops over --nmd-distance before the last junction; auto: where genes are spliced (off for yeast).",
    ),
]
DistanceOption = Annotated[
    int, typer.Option("--nmd-distance", min=0, metavar="BP", help="50 to 55 by the rule.")
]
AverageOption = Annotated[
    int, typer.Option("--average", min=1, max=64, help="Average over N windows with shifted start.")
]
CodeOption = Annotated[int, typer.Option("--genetic-code", help="NCBI table of the nuclear genome.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace TABLE.")]
_SHOWN = 12


def add_commands(app: typer.Typer) -> None:
    """Register `variants`."""
    app.command(
        epilog="Example: cisoform isoform variants run --genome genome.fa --annotation genes.gtf "
        "--vcf variants.vcf --out effects.tsv"
    )(variants)


def variants(
    runs: RunsArgument,
    genome: GenomeOption,
    annotation: AnnotationOption,
    vcf: VcfOption,
    out: TableOption,
    haplotypes: HaplotypesOption = False,
    resplice: ResplicingOption = None,
    nmd: NmdOption = "auto",
    nmd_distance: DistanceOption = 50,
    average: AverageOption = 1,
    genetic_code: CodeOption = 1,
    overwrite: OverwriteOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Apply each variant to the genome and predict every transcript that it touches, before and after.

    DNA window, spliced RNA and protein follow from one change. A row of TABLE is a variant (or haplotype) and a
    transcript: Sequence Ontology terms, places, amino acids, splice sites, NMD, and log1p expression by tissue; where
    nothing that a model reads changes, the difference is 0 and nothing is predicted. Alleles that cannot be used are
    listed with the reason in TABLE's records and the rest goes on.
    """
    from cisoform.jobs.table_files import check_table_path, table_parts

    report = out.with_name(f"{out.stem}.records{out.suffix}")
    for path in (out, report):
        check_table_path("--out", path, overwrite)
    _check_choice("--resplice", resplice, (None, "skip", "retain"))
    _check_choice("--nmd", nmd, ("auto", "on", "off"))
    from cisoform.jobs.isoform_expression import ModelExpression
    from cisoform.jobs.isoform_uncertainty import load_models, run_folders
    from cisoform.jobs.isoform_variants import IsoformVariants, VariantOptions

    resolve_device(device)
    models = load_models(runs, device)
    options = VariantOptions(
        haplotypes=haplotypes,
        resplice=resplice,
        nmd={"auto": None, "on": True, "off": False}[nmd],
        nmd_bp=nmd_distance,
        code_table=genetic_code,
    )
    work = IsoformVariants.open(ModelExpression(models, average), genome, annotation, vcf, options)
    said = [line for model in models if model.tracks is not None for line in model.tracks.check(None, vcf)]
    work.warnings += dict.fromkeys(said)
    alleles, terms, transcripts, rows, predicted = Counter[str](), Counter[str](), set[str](), 0, 0
    with table_parts(out) as add_effects, table_parts(report) as add_records, progress("variants") as update:
        for part in work.parts(update):
            add_effects(part.effects)
            add_records(part.records)
            alleles.update(part.records["status"].to_list())
            terms.update(term for text in part.effects["consequence"].to_list() for term in text.split("&"))
            transcripts.update(part.effects["transcript_id"].to_list())
            rows += part.effects.height
            predicted += part.predicted
    for text in work.warnings:
        note(text)
    summary = {
        "out": out,
        "report": report,
        "alleles": dict(alleles.most_common()),
        "n_rows": rows,
        "n_transcripts": len(transcripts),
        "n_predicted": predicted,
        "models": [
            {"run": run, **{name: model.about.get(name) for name in ("recipe", "seed", "dataset_hash")}}
            for run, model in zip(run_folders(runs), models, strict=True)
        ],
        "scale": "log1p",
        "nmd": work.nmd,
        "haplotypes": haplotypes,
        "resplice": resplice,
        "average": average,
        "terms": dict(terms.most_common()),
        "warnings": work.warnings,
    }
    if as_json:
        print_json(summary)
    else:
        _print(summary)


def _check_choice(option: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        raise InputError(f"{option} {value!r} is none of {', '.join(one for one in choices if one)}")


def _print(summary: dict[str, Any]) -> None:
    counts = ", ".join(f"{n:,} {status}" for status, n in summary["alleles"].items())
    typer.echo(f"alleles: {counts} (each in {summary['report']})")
    typer.echo(f"rule of nonsense-mediated decay: {'on' if summary['nmd'] else 'off'}")
    print_table(("consequence", "rows"), list(summary["terms"].items())[:_SHOWN])
    typer.echo(
        f"{summary['out']}: {summary['n_rows']:,} rows of {summary['n_transcripts']:,} transcripts; "
        f"{summary['n_predicted']:,} versions of transcripts predicted, log1p scale"
    )
