"""From an evaluation of a fitted CREformer to its tables and to the page that people look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform import __version__
from cisoform.benchmark.regulatory import BASELINES, PartPredictions, cell_types, score_matrix
from cisoform.data.genes import GenesDataset
from cisoform.genome.files import atomic_write
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.elementary_report import inputs_text
from cisoform.jobs.records import log_of, write_evaluation
from cisoform.report.page import Page
from cisoform.report.regulatory_page import RegulatoryResults, add_regulatory_sections, headline_part
from cisoform.report.regulatory_plots import GenesDrawing

GENES_DRAWN, GROUPS_DRAWN = 16, 24
Matrix = npt.NDArray[np.floating[Any]]


class Observer:
    """Keeps of every part the correlation of each gene, and of the deciding part some genes to draw.

    Hand it to `jobs.regulation_predict.evaluate` as `observe`; large matrices are let go of part by part.
    """

    def __init__(self, dataset: GenesDataset, ceiling: Matrix | None = None) -> None:
        """Watch an evaluation on a data set.

        Args:
            dataset: The data set.
            ceiling: Expected expression (all groups, all genes) where the truth behind the data is known: scored as
                a predictor "ceiling" of its own.
        """
        self.dataset, self.ceiling = dataset, ceiling
        self.per_gene: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
        self.ceiling_scores: dict[str, dict[str, Any]] = {}
        self._genes: dict[str, npt.NDArray[np.integer[Any]]] = {}
        self._drawings: dict[str, GenesDrawing] = {}

    def __call__(self, part: PartPredictions) -> None:
        """Take what is needed of a part."""
        if self.ceiling is not None:
            expected = self.ceiling[np.ix_(part.groups, part.genes)]
            part = replace(part, predictions={**part.predictions, "ceiling": expected})
            types = cell_types(self.dataset, part.groups)
            self.ceiling_scores[part.name] = score_matrix(part.truth, expected, types)
        self.per_gene[part.name] = part.per_gene()
        self._genes[part.name] = part.genes
        self._drawings[part.name] = draw_genes(self.dataset, part, self.per_gene[part.name])

    @property
    def drawing(self) -> GenesDrawing | None:
        """Genes of the deciding part."""
        return self._drawings[headline_part(list(self._drawings))] if self._drawings else None

    def table(self) -> pl.DataFrame:
        """Correlation of each gene across groups: part, gene_id, gene_name, chrom, and a column per predictor."""
        tables: list[pl.DataFrame] = []
        for part, columns in self.per_gene.items():
            rows = self._genes[part].tolist()
            about = self.dataset.genes[rows].select("gene_id", "gene_name", "chrom")
            values = [pl.Series(name, v).fill_nan(None) for name, v in columns.items()]
            tables.append(about.select(pl.lit(part).alias("part"), pl.all()).with_columns(*values))
        return pl.concat(tables, how="diagonal")

    def write(self, path: Path) -> None:
        """Write the table as TSV, under its final name only when it is whole.

        Raises:
            InputError: If it cannot be written.
        """
        with atomic_write(path, "wb") as handle:
            self.table().write_csv(handle, separator="\t", float_precision=6)


def draw_genes(
    dataset: GenesDataset, part: PartPredictions, per_gene: Mapping[str, npt.NDArray[np.float64]]
) -> GenesDrawing:
    """The genes of a part whose observed expression varies most; the model and the best baseline per gene.

    Many groups are shown by the means of their cell types where these are known, else by an even choice.
    """
    rows = part.truth.std(axis=0).argsort(kind="stable")[::-1][:GENES_DRAWN]
    means = {name: _mean(per_gene[name]) for name in BASELINES if name in per_gene}
    best = max(means, key=lambda name: means[name]) if means else None
    shown = ["model", *([best] if best is not None else [])]
    wanted = {"observed": part.truth, **{name: part.predictions[name] for name in shown}}
    names, reduce = _columns(dataset, part)
    values = {name: reduce @ matrix[:, rows].astype(np.float64) for name, matrix in wanted.items()}
    labels = dataset.genes[part.genes[rows].tolist()]
    return GenesDrawing(
        part=part.name,
        names=[name or gene for name, gene in labels.select("gene_name", "gene_id").iter_rows()],
        groups=names,
        observed=values.pop("observed"),
        predicted=values,
        unit=_short_unit(str(dataset.manifest["expression"])),
    )


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else -1.0


def _columns(dataset: GenesDataset, part: PartPredictions) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Names of the columns to draw, and the (columns, groups) matrix that makes them of the groups."""
    n = len(part.groups)
    types = cell_types(dataset, part.groups)
    if n > GROUPS_DRAWN and types is not None and 3 <= len(set(types.tolist())) <= GROUPS_DRAWN:
        names = sorted(set(types.tolist()))
        of = np.stack([types == name for name in names]).astype(np.float64)
        return names, of / of.sum(axis=1, keepdims=True)
    chosen = np.unique(np.linspace(0, n - 1, min(n, GROUPS_DRAWN)).round().astype(np.int64))
    labels = dataset.groups["name"].to_list()
    return [labels[group] for group in part.groups[chosen].tolist()], np.eye(n)[chosen]


def _short_unit(expression: str) -> str:
    return expression.replace("counts per 10,000", "CP10k").replace("log1p of ", "log1p ")


def write_scores(
    folder: Path,
    result: Mapping[str, Any],
    observer: Observer,
    model: CREformerModel,
    dataset: GenesDataset,
    run: Path,
) -> None:
    """Write `evaluation.json`, `genes.tsv` and one self-contained page, `report.html`, into a folder (made if missing).

    Args:
        folder: Where to.
        result: As `jobs.regulation_predict.evaluate` returns it.
        observer: That watched it.
        model: What was evaluated.
        dataset: On what.
        run: Folder of the run, for its log.

    Raises:
        InputError: If it cannot be written.
    """
    write_evaluation(folder, result)
    observer.write(folder / "genes.tsv")
    page = Page(
        "Regulatory: expression from accessible peaks",
        "How well the second stage predicts the expression of genes in cells from the peaks round them.",
    )
    add_regulatory_sections(page, results_of(result, observer, model, dataset, run))
    page.write(folder / "report.html")


def results_of(
    result: Mapping[str, Any],
    observer: Observer,
    model: CREformerModel,
    dataset: GenesDataset,
    run: Path,
    *,
    facts: Mapping[str, object] | None = None,
    stated: Mapping[str, float] | None = None,
    briefly_trained: bool = False,
    commands: Sequence[str] = (),
) -> RegulatoryResults:
    """What the page shows of an evaluation; `facts` are added to those of the run."""
    return RegulatoryResults(
        facts={**facts_of(result, model, dataset), **(facts or {})},
        evaluation=result,
        per_gene=observer.per_gene,
        genes=observer.drawing,
        log=log_of(run),
        stated=stated or {},
        warnings=result["warnings"],
        briefly_trained=briefly_trained,
        commands=commands,
    )


def _held_out(table: pl.DataFrame, column: str) -> str:
    """Names that occur in the test part alone."""
    test = table.filter(pl.col("split") == "test")[column].unique(maintain_order=True).to_list()
    return ", ".join(str(name) for name in test) or "none"


def facts_of(result: Mapping[str, Any], model: CREformerModel, dataset: GenesDataset) -> dict[str, object]:
    """Recipe, sizes, data, split and hashes, for a table."""
    manifest, run = dataset.manifest, result["run"]
    counts, settings = manifest["counts"], manifest["settings"]
    splits = ", ".join(
        f"{part} {found['genes']:,} genes x {found['groups']:,} groups"
        for part, found in manifest["splits"].items()
    )
    first = run.get("elementary") or {}
    pool = settings["pool"]
    pooled = {"pseudobulk": f"pseudobulk by {pool['column']}", "knn": f"pools of {pool['k']} neighbours"}
    chromosomes, types = _held_out(dataset.genes, "chrom"), _held_out(dataset.groups, "cell_type")
    return {
        "recipe": f"{run['recipe']}, seed {run['seed']}; "
        f"{sum(value.numel() for value in model.model.parameters()):,} parameters",
        "first stage": f"recipe {first.get('recipe')}, seed {first.get('seed')}"
        + (f", weights sha256 {str(first['sha256'])[:12]}…" if first.get("sha256") else ""),
        "data set": f"{counts['cells']:,} cells in {counts['groups']:,} groups "
        f"({pooled.get(pool['kind'], 'single cells')}); {counts['genes']:,} genes, {counts['peaks']:,} peaks, "
        f"{counts['states']:,} states of peaks ({manifest['signal']})",
        "split": splits,
        "held out": f"chromosomes {chromosomes}; cell types {types}",
        "expression": manifest["expression"],
        "inputs": inputs_text(manifest),
        "data set hash": dataset.hash,
        "cisoform": __version__,
    }
