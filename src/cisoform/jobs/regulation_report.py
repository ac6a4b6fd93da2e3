"""`regulation report` without the command line: the readings of a fitted model that need nothing else, on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.links import contact
from cisoform.analysis.perturbation import SignalEdit
from cisoform.analysis.reader import Reader
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.genome.motifs import read_motifs
from cisoform.jobs import regulation_predict, regulatory_report
from cisoform.jobs.chosen_peaks import choose_by_motif, peaks_of_genes
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.perturbation import perturb
from cisoform.jobs.planted import Say, silent
from cisoform.jobs.readings import open_reader
from cisoform.jobs.score import ScoreConfig, named, score_peaks
from cisoform.jobs.score_checks import agree
from cisoform.report.readings_page import KnockoutRow, ReportResults, warnings_of
from cisoform.report.regulatory_page import RegulatoryResults
from cisoform.report.score_plots import LocusScores

Ints = npt.NDArray[np.int64]
GENES, GROUPS, FACTORS = 30, 30, 25
"""Most genes, groups and factors of the page unless they are named: it is an overview."""
LEAST_OPEN, LEAST_DEPTH = 0.05, 5_000
"""Below this share of open peaks, or so many cuts in peaks, of the median group, coverage is called too low (ours)."""
_SHOWN, _LINKS_EACH = 15, 2


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What is put on the page.

    Attributes:
        motifs: Motif file; None = no knock-outs.
        factors: Factors to knock out; None = those of the file that are genes of the data, the most expressed first.
        n_controls: Of each knock-out.
        cache: Folder of feature caches.
        seed: Of what is drawn.
    """

    motifs: Path | None = None
    factors: tuple[str, ...] | None = None
    n_controls: int = 5
    cache: Path | None = None
    seed: int = 0


def choose_for_page(dataset: GenesDataset, genes: Ints | None, groups: Ints) -> tuple[Ints, Ints]:
    """Genes and groups of the page: the given ones, or held-out genes that vary most, and an even choice of groups."""
    some = groups[
        np.unique(np.linspace(0, len(groups) - 1, min(len(groups), GROUPS)).round().astype(np.int64))
    ]
    if genes is not None:
        return genes, some
    held = dataset.gene_rows("test")
    held = held if len(held) else dataset.gene_rows("all")
    spread = dataset.expression_matrix(some, held).std(axis=0)
    return np.sort(held[np.argsort(-spread, kind="stable")[:GENES]]), some


def gather(
    model: CREformerModel,
    dataset: GenesDataset,
    run: Path,
    genes: Ints,
    groups: Ints,
    config: ReportConfig,
    say: Say = silent,
) -> ReportResults:
    """Evaluate, score, link and knock out.

    Args:
        model: Fitted or converted.
        dataset: Genes in cells.
        run: Folder of the model, for its training log and the commands.
        genes: Of the readings.
        groups: Of the readings.
        config: See `ReportConfig`.
        say: Is told what begins.

    Raises:
        InputError: The data do not fit the model, or the motif file is damaged.
    """
    say("scoring held-out genes beside baselines")
    expression = _expression(model, dataset, run, config)
    say(f"scoring the peaks of {len(genes)} genes in {len(groups)} groups")
    reader = open_reader(model, dataset, groups, genes, cache=config.cache)
    grouping = Grouping.by_itself(dataset.groups, groups)
    asked = ScoreConfig(variants=("ablation", "exact"), samples=100, seed=config.seed)
    table = score_peaks(reader, grouping, genes, asked)
    found = agree(table, reader, grouping, genes, asked)
    names = named(table, reader, grouping, None)
    coverage, thin = _coverage(dataset)
    return ReportResults(
        facts=_facts(model, dataset, genes, groups, config),
        warnings=[*thin, *warnings_of(expression), *found["warnings"]],
        coverage=coverage,
        expression=expression,
        agreement=found,
        locus=_locus(table, names, reader),
        peaks=_peaks(names),
        links=_links(names),
        knockout=None
        if config.motifs is None
        else _knockouts(reader, grouping, genes, config, config.motifs, say),
        commands=_commands(run, dataset, config),
    )


def _expression(
    model: CREformerModel, dataset: GenesDataset, run: Path, config: ReportConfig
) -> RegulatoryResults | None:
    if not len(dataset.gene_rows("test")) and not len(dataset.group_rows("test")):
        return None
    observer = regulatory_report.Observer(dataset)
    asked = regulation_predict.EvaluationConfig(depth=False, seed=config.seed)
    result = regulation_predict.evaluate(model, dataset, "test", asked, cache=config.cache, observe=observer)
    return regulatory_report.results_of(result, observer, model, dataset, run)


def _facts(
    model: CREformerModel, dataset: GenesDataset, genes: Ints, groups: Ints, config: ReportConfig
) -> dict[str, object]:
    from cisoform import __version__

    about = model.about
    return {
        "model": f"recipe {about.get('recipe')}, seed {about.get('seed')}",
        "data": f"{dataset.path.name}: {dataset.genes.height:,} genes, {dataset.groups.height:,} groups, "
        f"{dataset.n_peaks:,} peaks",
        "on this page": f"{len(genes):,} genes in {len(groups):,} groups",
        "expression": about.get("expression") or dataset.manifest["expression"],
        "seed": config.seed,
        "data set hash": dataset.hash,
        "cisoform": __version__,
    }


def _coverage(dataset: GenesDataset) -> tuple[list[tuple[str, object, str]], list[str]]:
    """Rows of the section, and warnings."""
    n = max(dataset.groups.height, 1)
    open_share = dataset.n_open / (n * max(dataset.n_peaks, 1))
    expressed = dataset.n_expressed / (n * max(dataset.genes.height, 1))
    depth = dataset.groups["depth"].median()
    rows: list[tuple[str, object, str]] = [
        ("share of peaks with signal, mean of groups", round(open_share, 4), f"low below {LEAST_OPEN:.0%}"),
        (
            "median depth of a group",
            None if depth is None else int(float(str(depth))),
            f"cuts or counts in peaks; low below {LEAST_DEPTH:,}",
        ),
        ("share of genes expressed, mean of groups", round(expressed, 4), "what the model was fitted to"),
        ("groups", n, "correlations across groups need at least ten"),
    ]
    said = []
    if open_share < LEAST_OPEN or (depth is not None and float(str(depth)) < LEAST_DEPTH):
        said.append(
            f"Coverage is low: {open_share:.1%} of the peaks of a group have any signal, and its median depth is "
            f"{float(str(depth or 0)):,.0f}. Closed and unseen peaks cannot be told apart; pool more cells."
        )
    if n < 10:
        said.append(f"There are {n} groups: correlations across so few are of little meaning.")
    return rows, said


def _locus(table: pl.DataFrame, names: pl.DataFrame, reader: Reader) -> LocusScores:
    best = table.row(int(table["score_ablation"].abs().arg_max() or 0), named=True)
    rows = ((table["gene"] == best["gene"]) & (table["label"] == best["label"])).to_numpy()
    part, about = table.filter(pl.Series(rows)), names.filter(pl.Series(rows))
    return LocusScores(
        title=f"{about['gene_name'][0]}, {about['group'][0]}: {part.height} peaks",
        distance_bp=about["distance_bp"].to_numpy(),
        tss_peak=int(reader.dataset.index.tss_peak[best["gene"]]),
        accessibility=part["accessibility"].to_numpy(),
        scores={name: part[f"score_{name}"].to_numpy() for name in ("ablation", "exact")},
        marked={},
    )


def _peaks(names: pl.DataFrame) -> list[list[object]]:
    order = names.sort(pl.col("score_ablation").abs(), descending=True, maintain_order=True).head(_SHOWN)
    kept = order.select(
        _symbol(), "group", "peak", pl.col("distance_bp") / 1000, "accessibility", "score_ablation"
    )
    return [list(row) for row in kept.rows()]


def _symbol() -> pl.Expr:
    return pl.coalesce("gene_name", "gene_id").alias("gene")


def _links(names: pl.DataFrame) -> list[list[object]]:
    """The strongest peaks of each gene over groups, beside their rank by accessibility and contact."""
    distance = names["distance_bp"].fill_null(0.0).abs().to_numpy().astype(np.int64)
    table = names.with_columns(_symbol(), simple=names["accessibility"].to_numpy() * contact(distance))
    best = (
        table.sort(pl.col("score_ablation").abs(), descending=True, maintain_order=True)
        .group_by("gene", "peak", maintain_order=True)
        .agg(pl.col("distance_bp", "score_ablation", "group").first(), pl.col("simple").max())
        .with_columns(rank=pl.col("simple").rank("ordinal", descending=True).over("gene").cast(pl.Int64))
    )
    kept = best.group_by("gene", maintain_order=True).head(_LINKS_EACH)
    columns = kept.select("gene", "peak", pl.col("distance_bp") / 1000, "score_ablation", "group", "rank")
    return [list(row) for row in columns.head(2 * _SHOWN).rows()]


def _knockouts(
    reader: Reader, grouping: Grouping, genes: Ints, config: ReportConfig, motifs: Path, say: Say
) -> list[KnockoutRow]:
    within, rows = peaks_of_genes(reader, genes), []
    for factor in _factors(reader.dataset, grouping.groups, config, motifs):
        try:
            peaks = choose_by_motif(reader, [factor], motifs, within)
            say(f"knocking out {factor}")
            edit = SignalEdit(peaks.peaks, bases=peaks.near)
            found = perturb(
                reader, grouping, genes, edit, n_controls=config.n_controls, n_draws=0, seed=config.seed
            )
        except InputError:
            if config.factors is not None:  # it was asked for by name
                raise
            continue
        table = found.table
        most = table.row(int(table["difference"].abs().arg_max() or 0), named=True)
        rows.append(
            KnockoutRow(
                factor,
                len(peaks.peaks),
                _mean(table["difference"].abs()),
                _mean_control(found.groups),
                _mean(table["difference"]),
                (
                    str(most["gene_name"] or most["gene_id"]),
                    str(most[grouping.column]),
                    float(most["difference"]),
                ),
            )
        )
    return sorted(rows, key=lambda row: -row.change)


def _mean_control(groups: pl.DataFrame) -> float:
    """Mean absolute change by a control, over its genes in all groups: of each, not of their mean, which is smaller."""
    known = groups.drop_nulls("control_mean_absolute_difference")
    if not known.height:
        return float("nan")
    weight = known["genes_with_controls"].to_numpy()
    return float(np.average(known["control_mean_absolute_difference"].to_numpy(), weights=weight))


def _mean(values: pl.Series) -> float:
    return float(values.to_numpy().mean())


def _factors(dataset: GenesDataset, groups: Ints, config: ReportConfig, motifs: Path) -> list[str]:
    """Factors to knock out, at most so many: named ones, or the most expressed that have a motif."""
    if config.factors is not None:
        return list(config.factors)
    names = dataset.genes["gene_name"].to_list()
    known = {str(name).upper(): row for row, name in enumerate(names) if name}
    found = {motif.tf: known[motif.tf.upper()] for motif in read_motifs(motifs) if motif.tf.upper() in known}
    if not found:
        raise InputError(
            f"--motifs {motifs}: none of its factors is the name of a gene of {dataset.path}; name some with --tfs"
        )
    rows = np.array(list(found.values()), dtype=np.int64)
    order = np.unique(rows)
    level = dataset.expression_matrix(groups, order).mean(axis=0)[np.searchsorted(order, rows)]
    chosen = list(found)
    return [chosen[at] for at in np.argsort(-level, kind="stable")[:FACTORS].tolist()]


def _commands(run: Path, dataset: GenesDataset, config: ReportConfig) -> tuple[str, ...]:
    start, data = "cisoform regulation", f"{run} --data {dataset.path}"
    motifs = config.motifs or "motifs.meme"
    return (
        f"{start} evaluate {data} --split test --out evaluation",
        f"{start} score {data} --variant all --out scores",
        f"{start} links {data} --out links",
        f"{start} knockout {data} --tf NAME --motifs {motifs} --mode around-motif --out knockout",
        f"{start} grn {data} --motifs {motifs} --out network",
        f"{start} variants {data} --vcf variants.vcf --out variants",
    )
