"""`cisoform regulation grn`: a gene regulatory network of factors, peaks and genes, read from a fitted model."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli import regulation_reading as reading
from cisoform.cli.common import DeviceOption, JsonOption, SeedOption, note, print_json, print_table, progress
from cisoform.cli.json_tables import json_tables
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.cli.regulation_reading import Opened
    from cisoform.genome.edge_table import EdgeTable
    from cisoform.jobs.grn_bags import GrnConfig

_SHOWN = 15
_MOTIF_FDR = 0.05


def add_commands(app: typer.Typer) -> None:
    """Register `grn`."""
    app.command(
        epilog="Example: cisoform regulation grn run --data genes --motifs jaspar.meme --group-by cell_type "
        "--evaluate collectri.tsv --compare eRegulon_direct.tsv --out network"
    )(grn)


def grn(
    model: reading.ModelArgument,
    data: Annotated[
        Path, typer.Option("--data", metavar="DATASET", help="Folder of `regulation build-genes`.")
    ],
    motifs: Annotated[
        Path, typer.Option("--motifs", metavar="FILE", help="Motifs: MEME, JASPAR or HOCOMOCO, gzip or not.")
    ],
    variant: Annotated[
        str,
        typer.Option(
            "--variant", metavar="NAME", help="Reading that scores peaks, as in `score` (default: ablation)."
        ),
    ] = "ablation",
    motif_fdr: Annotated[
        float | None,
        typer.Option(
            "--motif-fdr",
            help=f"Sites up to this false discovery rate over all scanned places (default: {_MOTIF_FDR}).",
        ),
    ] = None,
    motif_p: Annotated[
        float | None, typer.Option("--motif-p", help="Instead, sites up to this p-value (1e-4 is usual).")
    ] = None,
    whole_window: Annotated[
        bool,
        typer.Option("--whole-window", help="Look for sites in all 1,029 bp, not in the called peak alone."),
    ] = False,
    tf_fdr: Annotated[
        float, typer.Option("--tf-fdr", help="Factors up to this false discovery rate; 1 = all.")
    ] = 0.05,
    top_share: Annotated[
        float, typer.Option("--top-share", help="Share of a gene's peaks, by score, that the network reads.")
    ] = 0.2,
    bags: Annotated[
        int,
        typer.Option("--bags", min=0, max=1000, help="Draws of cells for the stability of edges; 0 = none."),
    ] = 20,
    knockout: Annotated[
        bool, typer.Option("--knockout/--no-knockout", help="Also close all peaks of each factor that acts.")
    ] = True,
    nulls: Annotated[
        int,
        typer.Option("--nulls", min=0, max=100, help="Networks of permuted peaks, and of shuffled motifs."),
    ] = 3,
    evaluate: Annotated[
        list[Path] | None,
        typer.Option(
            "--evaluate",
            metavar="EDGES",
            help="Edges to score against (CollecTRI, truth.json); may be repeated.",
        ),
    ] = None,
    evaluate_split: Annotated[
        str, typer.Option("--evaluate-split", help="Score target genes of train, valid or test alone.")
    ] = "all",
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            "--compare",
            metavar="EDGES",
            help="Another network (SCENIC+ eRegulons, CellOracle links): overlap.",
        ),
    ] = None,
    genes: reading.GenesOption = None,
    split: reading.SplitOption = "all",
    groups: reading.GroupsOption = None,
    cell_types: reading.CellTypesOption = None,
    group_by: reading.GroupByOption = None,
    labels: reading.LabelsOption = None,
    out: reading.OutDirOption = None,
    overwrite: reading.OverwriteOption = False,
    cache: reading.CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Which transcription factor acts through which peak on which gene, up or down, and how sure that is.

    A factor acts when peaks with its sites shift the prediction, and follow its expression, more than peaks of like GC
    content and length do. Its edges score as sites x what the peak adds. Tables, GraphML, SCENIC+ and CellOracle
    columns, a figure and a page go to OUT; a run that is stopped goes on where it was.
    """
    from cisoform.jobs.grn_bags import GrnConfig
    from cisoform.jobs.score import parse_variants

    names = parse_variants(variant)
    if len(names) > 1:
        raise InputError(f"--variant {variant}: a network reads one score; name one")
    config = GrnConfig(
        variant=names[0],
        motif_fdr=_MOTIF_FDR if motif_fdr is None else motif_fdr,
        motif_p=motif_p,
        whole_window=whole_window,
        tf_fdr=tf_fdr,
        top_share=top_share,
        bags=bags,
        knockout=knockout,
        nulls=nulls,
        seed=seed,
    )
    config.check()
    if motif_fdr is not None and motif_p is not None:
        raise InputError(f"--motif-fdr {motif_fdr:g} and --motif-p {motif_p:g}: sites are cut by one of them")
    if out is None and not as_json:
        raise InputError("give --out DIR for the tables (or --json)")
    if evaluate_split != "all" and not evaluate:
        raise InputError(f"--evaluate-split {evaluate_split} is of use with --evaluate alone; leave it out")
    reading.check_out(out, overwrite)
    tables = _read_tables(evaluate, compare)
    chosen = reading.Selection(
        model=model,
        data=data,
        genes=genes,
        split=split,
        groups=groups,
        cell_types=cell_types,
        group_by=group_by,
        labels=labels,
        cache=cache,
        device=device,
        seed=seed,
    )
    _check_motifs(data, motifs)
    opened = reading.open_selection(chosen)
    _run(opened, config, motifs, tables, evaluate_split, out, overwrite, as_json)


def _read_tables(
    evaluate: list[Path] | None, compare: list[Path] | None
) -> tuple[list[EdgeTable], list[EdgeTable]]:
    """Before anything is computed, so that a wrong file does not cost an hour."""
    from cisoform.genome.edge_table import read_edges

    return [read_edges(path) for path in evaluate or []], [read_edges(path) for path in compare or []]


def _check_motifs(data: Path, motifs: Path) -> None:
    from cisoform.data.genes import GenesDataset
    from cisoform.jobs.grn_sites import read_factors

    read_factors(motifs, GenesDataset.open(data))


@contextlib.contextmanager
def _work_folder(out: Path | None) -> Iterator[Path]:
    """Where scores are kept until the network is written; stays when the run is stopped."""
    if out is None:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name) / "scores"
        return
    folder = out.absolute().with_name(f".{out.name}.scores")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _run(
    opened: Opened,
    config: GrnConfig,
    motifs: Path,
    tables: tuple[list[EdgeTable], list[EdgeTable]],
    evaluate_split: str,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    from cisoform.analysis.grn_scores import draw_bags
    from cisoform.analysis.reader import Reader
    from cisoform.jobs import grn as job
    from cisoform.jobs import grn_files, grn_truth
    from cisoform.jobs.grn_scoring import open_work, work_key
    from cisoform.jobs.grn_sites import read_factors

    reader, grouping = opened.reader, opened.grouping
    assert isinstance(reader, Reader)
    n_bags = job.check_size(reader, grouping, config)
    counted = _counted(reader, opened.genes, evaluate_split)
    chosen = read_factors(motifs, reader.dataset)
    for table in (*tables[0], *tables[1]):  # before the work, not after it
        grn_truth.matched(table, chosen.names, chosen.gene, opened.genes, reader)
    with _work_folder(out) as work:
        bags = draw_bags(len(grouping.groups), n_bags, config.seed)
        there = open_work(work, work_key(reader, grouping, opened.genes, config.variant, bags, config.seed))
        if there:
            note(f"{work}: going on with {there:,} chunks of scores of a run that was stopped")
        network = job.build(reader, grouping, opened.genes, motifs, config, work, progress)
        for text in network.warnings:
            note(f"warning: {text}")
        evaluated, compared = tables
        found = {
            "evaluation": [grn_truth.evaluate(one, network, reader, config, counted) for one in evaluated],
            "compare": [grn_truth.compare(one, network, reader, counted) for one in compared],
        }
        about = grn_files.summary(network, grouping, config, motifs)
        result = {**about, "evaluate_split": evaluate_split, **opened.provenance, **found}
        frames = grn_files.all_tables(network, reader, grouping)
        if out is not None:
            _write(out, overwrite, frames, result)
    if as_json:
        shown = {name: frames[name] for name in ("factors", "edges", "triplets")}
        print_json({**result, **json_tables(shown, out)})
        return
    typer.echo(f"{out}: {frames['edges'].height:,} edges of {network.called.sum()} factors that act")
    _print(frames, result)


def _counted(reader: Any, genes: Any, split: str) -> Any:
    import numpy as np

    counted = np.isin(genes, reader.dataset.gene_rows(split))
    if not counted.any():
        raise InputError(f"--evaluate-split {split}: none of the chosen genes is labelled so")
    return counted


def _write(out: Path, overwrite: bool, frames: dict[str, Any], result: dict[str, Any]) -> None:
    from cisoform.cli.common import to_plain
    from cisoform.genome.files import write_json
    from cisoform.jobs import grn_files

    with reading.result_folder(out, overwrite) as folder:
        reading.write_tables(folder, frames)
        grn_files.write_graphml(folder / "network.graphml", frames["factors"], frames["edges"])
        write_json(folder / "grn.json", to_plain(result))
        grn_files.write_figures(folder, to_plain(result), frames["factors"], frames["edges"])


def _print(frames: dict[str, Any], result: dict[str, Any]) -> None:
    columns = ["tf", "sign", "z", "q", "stability", "n_targets"]
    print_table(
        columns, frames["factors"].filter(frames["factors"]["acts"]).head(_SHOWN).select(columns).rows()
    )
    for evaluated in result["evaluation"]:
        for part in ("all factors", "listed factors"):
            scores = evaluated[part]
            first = scores["model"]
            typer.echo(
                f"{evaluated['list']}, {part}: {first['n_edges']:,} edges, chance {first['chance'] or 0:.3f}"
            )
            rows = [
                [name, row["auprc"], row["auprc_ratio"], row["early_precision"]]
                for name, row in scores.items()
            ]
            print_table(("", "AUPRC", "over chance", "early precision"), rows)
    for one in result["compare"]:
        typer.echo(
            f"{one['network']}: {one['n_shared']:,} edges shared of {one['n_ours']:,} and {one['n_theirs']:,} "
            f"({one['expected']:.1f} expected)"
        )
