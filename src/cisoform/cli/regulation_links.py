"""`cisoform regulation links`: which element acts on which gene, scored on pairs that CRISPR has tested."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cisoform.cli.common import DeviceOption, JsonOption, SeedOption, split_list
from cisoform.cli.regulation_reading import (
    CacheOption,
    CellTypesOption,
    DataOption,
    GenesOption,
    GroupByOption,
    GroupsOption,
    LabelsOption,
    LocusTextOption,
    OutDirOption,
    OverwriteOption,
    Selection,
    SequenceOnlyOption,
    SplitOption,
    StrandOption,
    TssPeakOption,
    check_out,
)
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.jobs.link_reading import LinkConfig


def add_commands(app: typer.Typer) -> None:
    """Register `links`."""
    app.command(
        epilog="Example: cisoform regulation links --baselines-only --evaluate training_K562.GRCh38.tsv.gz; "
        "or cisoform regulation links --combine --evaluate pairs.tsv --out scored; or cisoform regulation links run "
        "--data genes --group-by cell_type --evaluate pairs.tsv --out links"
    )(links)


def links(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Run of `regulation fit`, or a converted CREformer; with --combine the folder of a --train (default: "
            "the model that comes with the package).",
        ),
    ] = None,
    data: DataOption = None,
    locus_text: LocusTextOption = None,
    tss_peak: TssPeakOption = None,
    strand: StrandOption = None,
    gene: Annotated[
        str | None,
        typer.Option("--gene", metavar="NAME", help="Of a locus: symbol of the gene, for --evaluate."),
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            "--evaluate",
            metavar="CRISPR_TSV",
            help="Tested pairs in the columns of the CRISPR benchmark (EngreitzLab/CRISPR_comparison).",
        ),
    ] = None,
    baselines_only: Annotated[
        bool,
        typer.Option("--baselines-only", help="Score the simple baselines on the table; needs no MODEL."),
    ] = False,
    combine: Annotated[
        bool,
        typer.Option(
            "--combine",
            help="Score a small calibrated model over the table's own columns: signals, distance, neighbours.",
        ),
    ] = False,
    train: Annotated[
        Path | None,
        typer.Option(
            "--train",
            metavar="CRISPR_TSV",
            help="With --combine: fit the model anew on this table, by chromosome cross-validation, into OUT.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="A,B,...",
            help="With --train: further columns of numbers to use as features.",
        ),
    ] = None,
    genome: Annotated[
        Path | None,
        typer.Option(
            "--genome", metavar="FASTA", help="Genome of the table, to check that coordinates fit it."
        ),
    ] = None,
    variant: Annotated[
        str,
        typer.Option("--variant", metavar="NAME[,NAME...]", help="Scores of `regulation score`, or all."),
    ] = "ablation",
    normalise: Annotated[
        str, typer.Option("--normalise", metavar="none|share|z", help="Of a score, within its gene.")
    ] = "z",
    adjust: Annotated[
        str,
        typer.Option(
            "--adjust",
            metavar="none|log10|powerlaw",
            help="Divide by log10(distance), or multiply by contact expected at the distance.",
        ),
    ] = "none",
    genes: GenesOption = None,
    split: SplitOption = "all",
    groups: GroupsOption = None,
    cell_types: CellTypesOption = None,
    group_by: GroupByOption = None,
    labels: LabelsOption = None,
    sequence_only: SequenceOnlyOption = False,
    draws: Annotated[
        int, typer.Option("--draws", min=0, help="Bootstrap draws of whole genes; 0 = no intervals.")
    ] = 1000,
    out: OutDirOption = None,
    overwrite: OverwriteOption = False,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Link peaks and genes by what a model makes of each peak, or by the simple columns of a table of tested pairs.

    A link is the score of a peak, normalised within its gene (z), so that links of different genes compare. On tested
    pairs it stands beside distance, accessibility and the ABC numerator: areas under the curve (ties step at once),
    precision at 70 % recall and the rank of the true element within its gene, over all pairs, those within 150 kb and
    those with a score; intervals resample whole genes. Groups or labels are the cell types of the table. OUT gets the
    prediction format of the CRISPR benchmark, BED and BEDPE. --combine writes chances alone where there are no answers.
    """
    from cisoform.cli import link_modes as modes

    check_out(out, overwrite)
    shown = modes.Shown(out, overwrite, draws, seed, as_json)
    chosen = Selection(
        model=model or Path(),
        data=data,
        locus_text=locus_text,
        tss_peak=tss_peak,
        strand=strand,
        genes=genes,
        split=split,
        groups=groups,
        cell_types=cell_types,
        group_by=group_by,
        labels=labels,
        sequence_only=sequence_only,
        cache=cache,
        device=device,
        seed=seed,
    )
    if train is None and columns is not None:
        raise InputError(f"--columns {columns}: is of use with --train alone; leave it out")
    if baselines_only and combine:
        raise InputError("give one of --baselines-only and --combine")
    if baselines_only or combine:
        _check_tables_only(chosen, gene)
    if baselines_only:
        if model is not None or train is not None:
            raise InputError("--baselines-only takes neither MODEL nor --train; leave them out")
        modes.run_baselines(_needed(evaluate, "--baselines-only"), genome, shown)
    elif combine and train is not None:
        if model is not None or evaluate is not None:
            raise InputError("--train takes neither MODEL nor --evaluate: it scores left-out chromosomes")
        modes.run_train(train, genome, split_list(columns) or [], shown)
    elif combine:
        modes.run_combine(model, _needed(evaluate, "--combine"), genome, shown)
    else:
        if model is None or train is not None:
            raise InputError("give MODEL with --data or --locus-text, or --baselines-only, or --combine")
        config = _config(variant, normalise, adjust, gene, chosen, evaluate)
        modes.run_reading(chosen, config, evaluate, genome, shown)


def _needed(path: Path | None, flag: str) -> Path:
    if path is None:
        raise InputError(f"{flag} needs --evaluate CRISPR_TSV, the pairs to score")
    return path


def _check_tables_only(chosen: Selection, gene: str | None) -> None:
    given = {
        "--data": chosen.data,
        "--locus-text": chosen.locus_text,
        "--genes": chosen.genes,
        "--gene": gene,
    }
    for flag, value in given.items():
        if value is not None:
            raise InputError(f"{flag} has no effect on --baselines-only and --combine; leave it out")


def _config(
    variant: str, normalise: str, adjust: str, gene: str | None, chosen: Selection, evaluate: Path | None
) -> LinkConfig:
    from cisoform.analysis.links import ADJUST, NORMALISE
    from cisoform.jobs.link_reading import LinkConfig
    from cisoform.jobs.score import parse_variants

    chosen.check()
    for flag, value, known in (("--normalise", normalise, NORMALISE), ("--adjust", adjust, ADJUST)):
        if value not in known:
            raise InputError(f"{flag} {value!r} is none of {', '.join(known)}")
    if gene is not None and chosen.locus_text is None:
        raise InputError(f"--gene {gene} names the gene of a --locus-text; of data give --genes")
    if gene is None and chosen.locus_text is not None and evaluate is not None:
        raise InputError("--evaluate needs --gene NAME with --locus-text: the text does not name its gene")
    return LinkConfig(
        variants=parse_variants(variant),
        normalise=normalise,  # type: ignore[arg-type]
        adjust=adjust,  # type: ignore[arg-type]
        gene=gene,
    )
