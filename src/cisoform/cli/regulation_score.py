"""`cisoform regulation score`: how much each accessible peak of a gene matters to a fitted model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cisoform.cli.common import DeviceOption, JsonOption, SeedOption
from cisoform.cli.regulation_reading import (
    CacheOption,
    CellTypesOption,
    DataOption,
    GenesOption,
    GroupByOption,
    GroupsOption,
    LabelsOption,
    LocusTextOption,
    ModelArgument,
    OutDirOption,
    OverwriteOption,
    Selection,
    SequenceOnlyOption,
    SplitOption,
    StrandOption,
    TssPeakOption,
    check_out,
    open_selection,
)
from cisoform.cli.score_run import run_score
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.analysis.grouping import Grouping
    from cisoform.jobs.creformer_model import CREformerModel


def add_commands(app: typer.Typer) -> None:
    """Register `score`."""
    app.command(
        epilog="Example: cisoform regulation score run --data genes --genes GATA1,MYC --group-by cell_type "
        "--variant all --compare h3k27ac.bw --compare gata1_chip.bed --out scores; or cisoform regulation score "
        "model --locus-text gata1.txt.gz --tss-peak 20 --strand + --variant exact --json"
    )(score)


def score(
    model: ModelArgument,
    data: DataOption = None,
    locus_text: LocusTextOption = None,
    tss_peak: TssPeakOption = None,
    strand: StrandOption = None,
    variant: Annotated[
        str,
        typer.Option(
            "--variant",
            metavar="NAME[,NAME...]",
            help="ablation (change of the prediction when the peak is closed; default), exact (attention of the "
            "forward pass), rollout, gradient, released (the authors' function, which does not read the attention), "
            "or all.",
        ),
    ] = "ablation",
    layer: Annotated[
        int | None,
        typer.Option("--layer", help="Of exact: this layer, from 0 (default: mean of the layers)."),
    ] = None,
    queries: Annotated[
        str, typer.Option("--queries", metavar="real|all", help="Of exact and rollout: who looks.")
    ] = "real",
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            metavar="[GROUP=]FILE",
            help="Signal (bigWig, bedGraph) or ChIP peaks (BED, narrowPeak) to compare with; may be repeated.",
        ),
    ] = None,
    genes: GenesOption = None,
    split: SplitOption = "all",
    groups: GroupsOption = None,
    cell_types: CellTypesOption = None,
    group_by: GroupByOption = None,
    labels: LabelsOption = None,
    sequence_only: SequenceOnlyOption = False,
    samples: Annotated[
        int,
        typer.Option(
            "--samples", min=0, help="Genes in groups, drawn, to follow deletion and insertion for; 0 = none."
        ),
    ] = 200,
    plot: Annotated[
        str | None,
        typer.Option("--plot", metavar="GENE", help="Gene of the figure (default: the highest score)."),
    ] = None,
    out: OutDirOption = None,
    overwrite: OverwriteOption = False,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score the peaks of genes: which of them does the prediction rest on?

    ablation is the default because it is what the model does, not where it looks: it has a sign (a repressor's peak is
    negative), is exactly 0 for a closed peak and needs no assumption about attention. The table holds the score of
    every peak and its z-score within the gene; agreement.json how the variants agree, what accessibility and distance
    explain, and whether closing peaks in the order of the score changes the prediction more than a random order.
    """
    from cisoform.jobs.score import ScoreConfig, check_config, parse_variants
    from cisoform.jobs.score_checks import parse_compare

    if queries not in ("real", "all"):
        raise InputError(f"--queries {queries!r} is neither real nor all")
    config = ScoreConfig(
        variants=parse_variants(variant),
        layer=layer,
        queries=queries,  # type: ignore[arg-type]
        samples=samples,
        seed=seed,
    )
    chosen = Selection(
        model=model,
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
    chosen.check()
    if out is None and not as_json:
        raise InputError("give --out DIR for the tables (or --json)")
    if out is None and plot is not None:
        raise InputError(f"--plot {plot}: the figure goes into --out DIR; give one")
    if locus_text is not None and plot is not None:
        raise InputError(f"--plot {plot} has no effect on --locus-text, which is one gene; leave it out")
    check_out(out, overwrite)
    files: list[tuple[Path, str | None]] = []

    def check(loaded: CREformerModel, grouping: Grouping) -> None:
        check_config(config, loaded.model.config.layers)
        files.extend(parse_compare(compare or [], grouping))

    opened = open_selection(chosen, check)
    run_score(opened, chosen, config, files, plot, out, overwrite, as_json)
