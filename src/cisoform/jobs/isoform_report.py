"""From an evaluation to the page that people look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cisoform import __version__
from cisoform.jobs.isoform_evaluate import Evaluated
from cisoform.jobs.records import log_of
from cisoform.report.isoform_page import IsoformResults, add_isoform_sections
from cisoform.report.isoform_plots import IsoformDrawing
from cisoform.report.page import Page

MAX_ISOFORMS_DRAWN = 8


def write_evaluation_report(found: Evaluated, path: str | Path, runs: Sequence[Path]) -> None:
    """One self-contained page for an evaluation."""
    page = Page("Isoform expression", "How well a trained IsoFormer predicts transcripts it has never seen.")
    add_isoform_sections(page, results_of(found, runs))
    page.write(Path(path))


def results_of(
    found: Evaluated,
    runs: Sequence[Path],
    truth: Sequence[Sequence[object]] = (),
    briefly_trained: bool = False,
    commands: Sequence[str] = (),
) -> IsoformResults:
    """What the page shows of an evaluation."""
    result, dataset = found.result, found.dataset
    recipes = sorted({str(run["recipe"]) for run in result["runs"]})
    facts = {
        "recipe": ", ".join(recipes),
        "runs": f"{len(result['runs'])} (seeds {', '.join(str(run['seed']) for run in result['runs'])})",
        "data set": f"{dataset.samples.n:,} transcripts, {len(set(dataset.samples.gene_ids)):,} genes",
        "split": f"{_split_text(dataset)}; held out by {dataset.manifest['settings']['split_by']}",
        "inputs": "; ".join(
            f"{name} {entry['name']} (sha256 {entry['sha256'][:12]}…)"
            for name, entry in dataset.manifest["inputs"].items()
        ),
        "data set hash": dataset.hash,
        "cisoform": __version__,
    }
    return IsoformResults(
        title="Isoform expression",
        facts=facts,
        evaluation=result,
        observed=found.observed,
        predicted=found.predicted,
        tissues=found.tissues,
        log=log_of(runs[0]) if runs else (),
        gene=draw_gene(found),
        truth=truth,
        warnings=result["warnings"],
        briefly_trained=briefly_trained,
        commands=commands,
    )


def _split_text(dataset: Any) -> str:
    return ", ".join(f"{part} {int((dataset.split == part).sum()):,}" for part in ("train", "valid", "test"))


def draw_gene(found: Evaluated) -> tuple[str, list[IsoformDrawing]] | None:
    """The gene to draw: of those with the most isoforms, up to four, the one whose expression spreads most."""
    samples = found.dataset.samples
    table = samples.table
    if "exon_starts" not in table.columns or not len(found.rows):
        return None
    genes: dict[str, list[int]] = {}
    for place, row in enumerate(found.rows.tolist()):
        genes.setdefault(samples.gene_ids[row], []).append(place)
    spread = np.nan_to_num(np.nanmax(np.where(np.isfinite(found.observed), found.observed, -1), axis=1))

    def interest(places: list[int]) -> tuple[int, float]:
        return min(len(places), 4), float(np.ptp(spread[places]))

    name = max(genes, key=lambda gene: (interest(genes[gene]), gene))
    drawings = []
    for place in genes[name][:MAX_ISOFORMS_DRAWN]:
        row = int(found.rows[place])
        exons = list(zip(table["exon_starts"][row], table["exon_ends"][row], strict=True))
        drawings.append(
            IsoformDrawing(
                transcript_id=samples.transcript_ids[row],
                strand=str(table["strand"][row]),
                exons=exons,
                cds=_genomic_cds(
                    exons, str(table["strand"][row]), int(samples.cds_start[row]), int(samples.cds_end[row])
                ),
                observed=found.observed[place],
                predicted=found.predicted[place],
            )
        )
    label = next((str(n) for n in [table["gene_name"][int(found.rows[genes[name][0]])]] if n), name)
    return (label if label == name else f"{label} ({name})"), drawings


def _genomic_cds(
    exons: Sequence[tuple[int, int]], strand: str, cds_start: int, cds_end: int
) -> tuple[int, int] | None:
    """Genomic span of a CDS given in RNA coordinates; exons 5' to 3'."""
    if cds_start < 0:
        return None
    bounds = [_genomic(exons, strand, cds_start), _genomic(exons, strand, cds_end - 1)]
    return min(bounds), max(bounds) + 1


def _genomic(exons: Sequence[tuple[int, int]], strand: str, position: int) -> int:
    for start, end in exons:
        if position < end - start:
            return end - 1 - position if strand == "-" else start + position
        position -= end - start
    raise ValueError("the position lies beyond the RNA")
