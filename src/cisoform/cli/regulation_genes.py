"""`cisoform regulation build-genes`: multiome files to a data set of genes in cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cisoform.cli.common import (
    AnnotationOption,
    GenomeOption,
    JsonOption,
    OutOption,
    OverwriteDataOption,
    SeedOption,
    note,
    print_json,
    print_table,
    progress,
    split_list,
)
from cisoform.errors import InputError


def add_commands(app: typer.Typer) -> None:
    """Register `build-genes`."""
    app.command(
        "build-genes",
        epilog="Example: cisoform regulation build-genes --genome genome.fa --annotation genes.gtf "
        "--multiome filtered_feature_bc_matrix.h5 --fragments atac_fragments.tsv.gz --pool knn:50 --out genes",
    )(build_genes)


def _file(flag: str, metavar: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(flag, metavar=metavar, help=text)
    return option


def _names_option(flag: str, text: str) -> typer.models.OptionInfo:
    return _file(flag, "A,B,...", text)


def build_genes(
    genome: GenomeOption,
    annotation: AnnotationOption,
    out: OutOption,
    multiome: Annotated[Path | None, _file("--multiome", "H5|H5MU", "10x multiome .h5, or .h5mu.")] = None,
    rna: Annotated[Path | None, _file("--rna", "H5AD", "RNA counts (.h5ad, or 10x .h5).")] = None,
    atac: Annotated[Path | None, _file("--atac", "H5AD", "Counts in peaks of the same cells.")] = None,
    fragments: Annotated[
        Path | None, _file("--fragments", "TSV.GZ", "Fragments: signal per base instead of a count per peak.")
    ] = None,
    peaks: Annotated[
        Path | None,
        _file("--peaks", "BED", "Peaks (BED or narrowPeak); with a matrix alone: which of its own."),
    ] = None,
    tracks: Annotated[
        Path | None,
        _file(
            "--tracks",
            "TSV",
            "Bulk instead of cells: sample, track, path of bigWigs; needs --peaks, --expression.",
        ),
    ] = None,
    expression: Annotated[
        Path | None, _file("--expression", "TSV", "Bulk: genes x samples of --tracks, linear scale.")
    ] = None,
    cells: Annotated[
        Path | None,
        _file("--cells", "TSV", "Barcode and columns, where the files have no annotation of cells."),
    ] = None,
    pool: Annotated[
        str, typer.Option("--pool", metavar="cells|knn:K|pseudobulk:COLUMN", help="What a sample's cell is.")
    ] = "cells",
    max_groups: Annotated[
        int | None,
        typer.Option("--max-groups", min=1, metavar="N", help="Most cells or pools, drawn at random."),
    ] = None,
    reach: Annotated[
        int, typer.Option("--reach", min=1, metavar="BP", help="Peaks this near the TSS.")
    ] = 150_000,
    max_peaks: Annotated[
        int, typer.Option("--max-peaks", min=1, help="Most peaks of a gene, the nearest.")
    ] = 150,
    cell_types: Annotated[
        str | None, typer.Option("--cell-types", metavar="COLUMN", help="Hold out cell types by this column.")
    ] = None,
    test_cell_types: Annotated[
        str | None,
        _names_option("--test-cell-types", "Held out for testing (default: some, of three or more)."),
    ] = None,
    valid_cell_types: Annotated[
        str | None, _names_option("--valid-cell-types", "Held out for choosing weights.")
    ] = None,
    test_chromosomes: Annotated[
        str | None,
        _names_option(
            "--test-chromosomes", "Held out for testing (default: chr8,chr10 if there, else some)."
        ),
    ] = None,
    valid_chromosomes: Annotated[
        str | None,
        _names_option(
            "--valid-chromosomes", "Held out for choosing weights (default: chr9 if there, else some)."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="AnnData layer with the counts (default: X)."),
    ] = None,
    allow_normalised: Annotated[
        bool, typer.Option("--allow-normalised", help="Take values that are no counts as they are.")
    ] = False,
    edges: Annotated[
        str,
        typer.Option(
            "--edges", metavar="released|quantile|RUN|FILE", help="Signal levels; RUN: those of stage 1."
        ),
    ] = "released",
    min_tss_enrichment: Annotated[
        float,
        typer.Option("--min-tss-enrichment", min=0.0, help="Least accessibility of starts; 0 = no check."),
    ] = 2.0,
    seed: SeedOption = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Insist on continuing an interrupted build (done anyway if it fits)."),
    ] = False,
    overwrite: OverwriteDataOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn multiome files into genes with the peaks round them; a killed build goes on where it was."""
    from cisoform.data.gene_build import build_genes as run_build
    from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
    from cisoform.data.gene_pools import Pooling

    inputs = GeneInputs(
        genome=genome,
        annotation=annotation,
        multiome=multiome,
        rna=rna,
        atac=atac,
        fragments=fragments,
        peaks=peaks,
        tracks=tracks,
        expression=expression,
        cells=cells,
    )
    config = GeneBuildConfig(
        pool=Pooling.parse(pool),
        max_groups=max_groups,
        reach_bp=reach,
        max_peaks=max_peaks,
        cell_types=cell_types,
        test_cell_types=_names(test_cell_types),
        valid_cell_types=_names(valid_cell_types),
        test_chromosomes=_names(test_chromosomes),
        valid_chromosomes=_names(valid_chromosomes),
        layer=layer,
        allow_normalised=allow_normalised,
        edges=_edges(edges),  # type: ignore[arg-type]
        min_tss_enrichment=min_tss_enrichment,
        seed=seed,
    )
    with progress("building") as update:
        made = run_build(
            inputs,
            out,
            config,
            resume=resume,
            overwrite=overwrite,
            progress=lambda text, share: update(share, 1.0, text),
        )
    for line in made.notes:
        note(line)
    if made.resumed:
        note("work of an interrupted build was kept")
    if as_json:
        print_json(made.to_json())
        return
    enriched = "not judged" if made.tss_enrichment is None else f"{made.tss_enrichment:.1f}"
    typer.echo(
        f"{made.path}: {made.n_groups:,} groups of {made.n_cells:,} cells x {made.n_genes:,} genes, "
        f"{made.peaks_per_gene:.1f} of {made.n_peaks:,} peaks a gene, {made.n_samples:,} expressed pairs; "
        f"{made.n_states:,} states of {made.n_open:,} open peaks ({made.signal}); TSS enrichment {enriched}"
    )
    print_table(
        ("split", "genes", "groups"), [(part, *counts.values()) for part, counts in made.splits.items()]
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    found = split_list(text)
    return None if found is None else tuple(found)


def _edges(text: str) -> str | tuple[float, ...]:
    if text in ("released", "quantile"):
        return text
    from cisoform.genome.files import read_json

    path = Path(text)
    if not path.exists():
        raise InputError(f"--edges {text!r} is none of released, quantile, nor a file or run")
    if path.is_dir():  # a run of `regulation pretrain`, whose levels this data shall have
        path = next(
            (file for file in (path / "model" / "tokens.json", path / "tokens.json") if file.is_file()), path
        )
    values = read_json(path, "edges")
    if isinstance(values, dict):
        by_track = values.get("edges", values)
        values = by_track.get("atac", next(iter(by_track.values()), None) if len(by_track) == 1 else None)
    if not isinstance(values, list) or not all(isinstance(value, int | float) for value in values):
        raise InputError(
            f"{path}: expected a JSON list of 34 increasing numbers, or a run with a track atac (--edges)"
        )
    return tuple(float(value) for value in values)
