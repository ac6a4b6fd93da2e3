"""From an evaluation of a pre-trained Elementary to the page that people look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform import __version__
from cisoform.benchmark.elementary import parts_of
from cisoform.benchmark.locus import choose_region, read_locus
from cisoform.data.regions import BIN_SIZE, RegionDataset
from cisoform.genome.annotation import Annotation, read_annotation
from cisoform.genome.files import PathLike
from cisoform.genome.names import map_chromosomes
from cisoform.genome.peaks import place_peaks, read_peaks
from cisoform.jobs.elementary import ElementaryModel
from cisoform.jobs.records import log_of
from cisoform.report.elementary_page import ElementaryResults, add_elementary_sections
from cisoform.report.elementary_plots import GeneDrawing, LocusDrawing, TrackDrawing
from cisoform.report.page import Page

LOCUS_TOKENS = 32_768
"""Longest stretch that is drawn; 256 bins are still told apart on a page."""


def write_elementary_report(
    result: Mapping[str, Any],
    model: ElementaryModel,
    dataset: RegionDataset,
    path: str | Path,
    run: Path,
    annotation: PathLike | None = None,
    peaks: PathLike | None = None,
) -> None:
    """One self-contained page for an evaluation.

    Args:
        result: As `jobs.elementary.evaluate` returns it.
        model: What was evaluated.
        dataset: On what.
        path: The page.
        run: Folder of the run, for its log.
        annotation: Genes to draw under the locus.
        peaks: Peaks to draw under it.

    Raises:
        InputError: If annotation or peaks cannot be read.
    """
    page = Page(
        "Elementary: pre-training on DNA and tracks",
        "How well the first stage restores bases and signal that were hidden from it, and tracks it was not shown.",
    )
    add_elementary_sections(page, results_of(result, model, dataset, run, annotation, peaks))
    page.write(Path(path))


def results_of(
    result: Mapping[str, Any],
    model: ElementaryModel,
    dataset: RegionDataset,
    run: Path,
    annotation: PathLike | None = None,
    peaks: PathLike | None = None,
    *,
    facts: Mapping[str, object] | None = None,
    briefly_trained: bool = False,
    commands: Sequence[str] = (),
) -> ElementaryResults:
    """What the page shows of an evaluation; `facts` are added to those of the run."""
    return ElementaryResults(
        facts={**facts_of(result, model, dataset), **(facts or {})},
        evaluation=result,
        log=log_of(run),
        locus=draw_locus(result, model, dataset, annotation, peaks),
        warnings=result["warnings"],
        briefly_trained=briefly_trained,
        commands=commands,
    )


def facts_of(result: Mapping[str, Any], model: ElementaryModel, dataset: RegionDataset) -> dict[str, object]:
    """Recipe, sizes, data, split and hashes, for a table."""
    manifest, run = dataset.manifest, result["run"]
    held_out = ", ".join(manifest["settings"]["test_chromosomes"] or ()) or "none named"
    parameters = sum(value.numel() for value in model.task.model.parameters())
    counts = ", ".join(f"{part} {len(dataset.rows(part)):,}" for part in ("train", "valid", "test"))
    return {
        "recipe": f"{run['recipe']}, seed {run['seed']}; {parameters:,} parameters",
        "data set": f"{len(dataset):,} regions of {dataset.window:,} bp; {len(dataset.samples)} samples x "
        f"{len(dataset.tracks)} tracks ({', '.join(dataset.tracks)})",
        "regions": counts,
        "held out": f"chromosomes {held_out}; samples {', '.join(manifest['test_samples']) or 'none'}",
        "scored": f"split {result['split']}, windows of {result['window_tokens']:,} bp; accessibility: "
        f"{result['anchor'] or 'none'}",
        "inputs": inputs_text(manifest),
        "data set hash": dataset.hash,
        "cisoform": __version__,
    }


def inputs_text(manifest: Mapping[str, Any]) -> str:
    """Names and the beginnings of the hashes of the files that a data set was built from."""
    named = {
        what: entry
        for what, entry in manifest["inputs"].items()
        if isinstance(entry, dict) and "sha256" in entry
    }
    return "; ".join(
        f"{what} {entry['name']} (sha256 {entry['sha256'][:12]}…)" for what, entry in named.items()
    )


def draw_locus(
    result: Mapping[str, Any],
    model: ElementaryModel,
    dataset: RegionDataset,
    annotation: PathLike | None = None,
    peaks: PathLike | None = None,
) -> LocusDrawing | None:
    """The stretch with most observed signal in the last part that has regions, read from accessibility or DNA alone."""
    parts = {name: rows for name, rows in parts_of(dataset, result["split"]).items() if rows is not None}
    name, rows = list(parts.items())[-1]
    anchor = result["anchor"]
    if anchor is not None:
        rows = rows[dataset.measured[rows, dataset.tracks.index(anchor)]]
    if not len(rows):
        return None
    tokens = min(dataset.window, LOCUS_TOKENS)
    region, start = choose_region(dataset, rows, anchor, tokens)
    shown = [] if anchor is None else [anchor]
    found = read_locus(model.task, dataset, region, start, tokens, shown, result["window_tokens"])
    row = dataset.regions.row(region, named=True)
    chrom, first = row["chrom"], int(row["start"]) + start
    order = [*shown, *(track for track in found.observed if track not in shown)]
    lengths = {entry["name"]: entry["length"] for entry in dataset.manifest["chromosomes"]}
    return LocusDrawing(
        chrom=chrom,
        start=first,
        bin_bp=BIN_SIZE,
        sample=row["sample"],
        part=name,
        tracks=[
            TrackDrawing(
                track, found.observed[track], found.predicted.get(track), found.training_mean.get(track)
            )
            for track in order
        ],
        genes=() if annotation is None else genes_at(annotation, lengths, chrom, first, first + tokens),
        peaks=None if peaks is None else peaks_at(peaks, lengths, chrom, first, first + tokens),
    )


def genes_at(
    path: PathLike, lengths: Mapping[str, int], chrom: str, start: int, end: int
) -> list[GeneDrawing]:
    """Genes that overlap a stretch, each by the exons of all its transcripts; chromosomes as the data call them.

    Raises:
        InputError: If the annotation cannot be read or shares no chromosome.
    """
    annotation = read_annotation(path)
    table = annotation.transcripts
    names = map_chromosomes(table["chrom"].unique(maintain_order=True).to_list(), lengths).names
    here = np.array([names.get(name) == chrom for name in table["chrom"].to_list()], dtype=np.bool_)
    here &= (table["start"].to_numpy() < end) & (table["end"].to_numpy() > start)
    found: dict[str, tuple[str, str, set[tuple[int, int]]]] = {}
    for row in np.flatnonzero(here).tolist():
        gene, name, strand = table["gene_id"][row], table["gene_name"][row], table["strand"][row]
        entry = found.setdefault(gene, (name or gene, strand, set()))
        entry[2].update(_exons(annotation, row))
    return [GeneDrawing(name, strand, sorted(exons)) for name, strand, exons in found.values()]


def _exons(annotation: Annotation, row: int) -> list[tuple[int, int]]:
    part = slice(int(annotation.exon_offsets[row]), int(annotation.exon_offsets[row + 1]))
    return list(zip(annotation.exon_starts[part].tolist(), annotation.exon_ends[part].tolist(), strict=True))


def peaks_at(
    path: PathLike, lengths: Mapping[str, int], chrom: str, start: int, end: int
) -> list[tuple[int, int]]:
    """Peaks of a BED that overlap a stretch.

    Raises:
        InputError: If the file cannot be read or shares no chromosome.
    """
    peaks = place_peaks(read_peaks(path), dict(lengths), str(path)).peaks
    on: npt.NDArray[np.bool_] = np.array([peaks.chroms[at] == chrom for at in peaks.chrom.tolist()])
    kept = on & (peaks.start < end) & (peaks.end > start)
    return list(zip(peaks.start[kept].tolist(), peaks.end[kept].tolist(), strict=True))
