"""`cisoform regulation score`: how much each accessible peak of a gene matters to a fitted model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli.common import DeviceOption, JsonOption, SeedOption, note, print_json, print_table, progress
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
    Opened,
    OutDirOption,
    OverwriteOption,
    Selection,
    SequenceOnlyOption,
    SplitOption,
    StrandOption,
    TssPeakOption,
    check_out,
    open_selection,
    result_folder,
    write_tables,
)
from cisoform.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from cisoform.analysis.epigenome import Measured
    from cisoform.analysis.grouping import Grouping
    from cisoform.jobs.creformer_model import CREformerModel
    from cisoform.jobs.score import ScoreConfig

_MANY_ROWS = 20_000_000


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
    _run(opened, chosen, config, files, plot, out, overwrite, as_json)


def _run(
    opened: Opened,
    chosen: Selection,
    config: ScoreConfig,
    files: list[tuple[Path, str | None]],
    plot: str | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    from cisoform.jobs import score as job
    from cisoform.jobs import score_checks as checks
    from cisoform.jobs.readings import choose_genes

    reader, grouping = opened.reader, opened.grouping
    shown = None
    if plot is not None and chosen.data is not None:
        from cisoform.data.genes import GenesDataset

        shown = int(choose_genes(GenesDataset.open(chosen.data), [plot])[0])
        if shown not in opened.genes:
            raise InputError(f"--plot {plot}: is not among the chosen genes; add it to --genes")
    measured = checks.measure_all(files, reader, opened.genes)
    _say_size(opened)
    with progress("scoring") as update:
        table = job.score_peaks(reader, grouping, opened.genes, config, update)
    found = checks.agree(table, reader, grouping, opened.genes, config)
    compared = checks.compare_all(table, measured, grouping, config)
    names = job.named(table, reader, grouping, opened.ids)
    result = {
        "variant": _plain(config.variants),
        "layer": config.layer,
        "queries": config.queries,
        "sequence_only": chosen.sequence_only,
        "group_by": grouping.column,
        "n_genes": len(opened.genes),
        "n_rows": names.height,
        "seed": config.seed,
        **opened.provenance,
    }
    for text in found["warnings"]:
        note(f"warning: {text}")
    if out is not None:
        _write(
            out,
            overwrite,
            opened,
            table,
            names,
            measured,
            config,
            {**result, "compare": compared},
            found,
            shown,
        )
    if as_json:
        print_json(_json(opened, table, names, config, result, found, compared, out))
        return
    typer.echo(f"{out}: {names.height:,} scores of peaks of {len(opened.genes):,} genes")
    _print(found, compared)


def _plain(variants: tuple[str, ...]) -> str | list[str]:
    return variants[0] if len(variants) == 1 else list(variants)


def _say_size(opened: Opened) -> None:
    from cisoform.analysis.reader import LocusReader
    from cisoform.cli.common import bytes_text

    if isinstance(opened.reader, LocusReader):
        return
    n = int(opened.reader.dataset.index.count[opened.genes].sum()) * len(opened.grouping.labels)
    if n > _MANY_ROWS:
        note(
            f"the table will have {n:,} rows and take about {bytes_text(200 * n)} of memory; --group-by COLUMN or "
            "--genes make it smaller"
        )


def _json(
    opened: Opened,
    table: pl.DataFrame,
    names: pl.DataFrame,
    config: ScoreConfig,
    result: dict[str, Any],
    found: dict[str, Any],
    compared: list[dict[str, Any]],
    out: Path | None,
) -> dict[str, Any]:
    """Of a locus `variant`, `peaks` and `score` first; of a data set the summary, with the rows if there is no OUT."""
    rest = {"agreement": found, "compare": compared}
    if opened.ids is None:
        return {**result, **rest, **({} if out else {"rows": names.to_dicts()})}
    scores = {name: table[f"score_{name}"].to_list() for name in config.variants}
    one = scores[config.variants[0]] if len(scores) == 1 else scores
    return {"variant": result["variant"], "peaks": opened.ids, "score": one, **{**result, **rest}}


def _write(
    out: Path,
    overwrite: bool,
    opened: Opened,
    table: pl.DataFrame,
    names: pl.DataFrame,
    measured: list[Measured],
    config: ScoreConfig,
    result: dict[str, Any],
    found: dict[str, Any],
    shown: int | None,
) -> None:
    from cisoform.cli.common import to_plain
    from cisoform.genome.files import write_json
    from cisoform.jobs.score_checks import draw_locus
    from cisoform.jobs.score_tracks import write_browser_tracks

    with result_folder(out, overwrite) as folder:
        write_tables(folder, {"scores": names})
        write_json(folder / "agreement.json", to_plain(found))
        write_json(folder / "score.json", to_plain(result))
        write_browser_tracks(folder, names, f"score_{config.variants[0]}")
        draw_locus(folder, table, names, opened.reader, measured, config, shown)


def _print(found: dict[str, Any], compared: list[dict[str, Any]]) -> None:
    nan = float("nan")

    def number(value: Any) -> float:
        return nan if value is None else float(value)

    followed = found.get("faithfulness", {})
    rows = [
        [
            name,
            *(number(by.get(key, {}).get("spearman")) for key in ("accessibility", "nearness")),
            *(
                number(followed.get(key, {}).get(name, {}).get("above_random"))
                for key in ("deletion", "insertion")
            ),
        ]
        for name, by in found["with"].items()
    ]
    print_table(
        ("within genes", "with accessibility", "with nearness", "deletion > random", "insertion > random"),
        rows,
    )
    for part in compared:
        where = "" if part["group"] is None else f" in {part['group']}"
        typer.echo(f"{part['name']} ({part['kind']}{where}), {part['n_peaks']:,} peaks")
        keys = ("spearman", "partial_spearman", "auroc", "partial_auroc")
        print_table(
            ("", *(key.replace("_", " ") for key in keys)),
            [[name, *(number(by.get(key)) for key in keys)] for name, by in part["scores"].items()],
        )
