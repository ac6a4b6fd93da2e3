"""From an evaluation of a pre-trained Elementary to the page that people look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cisoform import __version__
from cisoform.benchmark.elementary import parts_of
from cisoform.benchmark.locus import choose_region, read_locus
from cisoform.data.regions import BIN_SIZE, RegionDataset
from cisoform.jobs.elementary import ElementaryModel
from cisoform.jobs.landmarks import Landmarks
from cisoform.jobs.records import log_of, write_evaluation
from cisoform.report.elementary_page import ElementaryResults, add_elementary_sections
from cisoform.report.elementary_plots import LocusDrawing, TrackDrawing
from cisoform.report.page import Page

LOCUS_TOKENS = 32_768
"""Longest stretch that is drawn; 256 bins are still told apart on a page."""


def write_scores(
    folder: Path,
    result: Mapping[str, Any],
    model: ElementaryModel,
    dataset: RegionDataset,
    run: Path,
    landmarks: Landmarks | None = None,
) -> None:
    """Write `evaluation.json` and one self-contained page, `report.html`, into a folder (made if missing).

    Args:
        folder: Where to.
        result: As `jobs.elementary.evaluate` returns it.
        model: What was evaluated.
        dataset: On what.
        run: Folder of the run, for its log.
        landmarks: Genes and peaks to draw under the locus.

    Raises:
        InputError: If it cannot be written.
    """
    write_evaluation(folder, result)
    page = Page(
        "Elementary: pre-training on DNA and tracks",
        "How well the first stage restores bases and signal that were hidden from it, and tracks it was not shown.",
    )
    add_elementary_sections(page, results_of(result, model, dataset, run, landmarks))
    page.write(folder / "report.html")


def results_of(
    result: Mapping[str, Any],
    model: ElementaryModel,
    dataset: RegionDataset,
    run: Path,
    landmarks: Landmarks | None = None,
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
        locus=draw_locus(result, model, dataset, landmarks),
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


def lengths_of(dataset: RegionDataset) -> dict[str, int]:
    """Length of every chromosome of a data set."""
    return {entry["name"]: entry["length"] for entry in dataset.manifest["chromosomes"]}


def draw_locus(
    result: Mapping[str, Any],
    model: ElementaryModel,
    dataset: RegionDataset,
    landmarks: Landmarks | None = None,
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
    landmarks, last = landmarks or Landmarks(), first + tokens
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
        genes=landmarks.genes_at(chrom, first, last),
        peaks=landmarks.peaks_at(chrom, first, last),
    )
