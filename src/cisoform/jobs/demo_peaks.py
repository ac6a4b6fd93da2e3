"""Readings of single peaks and bases in the demo: scores, links and variants, beside what was planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from cisoform.analysis.grn_evaluate import curve_points
from cisoform.analysis.links import contact
from cisoform.benchmark import planted as score
from cisoform.benchmark.planted import Measure
from cisoform.jobs import planted_readings
from cisoform.jobs.planted import Planted
from cisoform.report.grn_plots import precision_figure
from cisoform.report.score_plots import LocusScores, locus_figure
from cisoform.report.truth_plots import change_scatter
from cisoform.report.truth_section import Drawn, Listing, TruthSection

SHOWN = 10
PROMOTER_BP = 1000
"""Peaks nearer to the start are left out of the list of scores: closing them takes the base level of the gene."""
_KINDS = {
    "core": "in the motif, where every base counts",
    "flank": "at the edge of the motif",
    "beside": "in the peak, outside motifs",
}


def peaks(planted: Planted) -> list[TruthSection]:
    """Scores of peaks, and links of peaks and genes; both come from one table of scores."""
    found = planted_readings.links(planted)
    return [
        _scores(planted, [replace(one, reading="score") for one in found[1:]]),
        _links(planted, [replace(one, reading="links") for one in found[:1]]),
    ]


def with_effects(planted: Planted) -> pl.DataFrame:
    """Scores of the test chromosomes with the planted effect (log units) of the peak on the gene in the group.

    Columns beside those of `score_peaks`: id, gene_id, name (of the group), effect.
    """
    table, names = planted.kept["links"], planted.dataset.groups["name"].to_list()
    effects = planted.table("links").unpivot(
        [f"effect.{name}" for name in names],
        index=["peak", "gene_id"],
        variable_name="group",
        value_name="effect",
    )
    return (
        table.with_columns(
            id=planted.peak_ids().gather(table["peak"].to_list()),
            gene_id=planted.dataset.genes["gene_id"].gather(table["gene"].to_list()),
            name=pl.Series(planted.grouping.labels).gather(table["label"].to_list()),
        )
        .join(
            effects.with_columns(pl.col("group").str.strip_prefix("effect.")),
            left_on=["id", "gene_id", "name"],
            right_on=["peak", "gene_id", "group"],
            how="left",
            maintain_order="left",
        )
        .with_columns(pl.col("effect").fill_null(0.0))
    )


def _scores(planted: Planted, measures: list[Measure]) -> TruthSection:
    table = with_effects(planted)
    sizes = _sizes(planted, table)
    locus = locus_of(planted, table)
    best = (
        table.filter(pl.col("distance_bp").abs() > PROMOTER_BP)
        .sort(pl.col("score_ablation").abs(), descending=True, maintain_order=True)
        .unique("gene", keep="first", maintain_order=True)
        .head(SHOWN)
    )
    rows = best.select(
        "gene_id", "name", "id", pl.col("distance_bp") / 1000, "accessibility", "score_ablation", "effect"
    ).rows()
    return TruthSection(
        title="Scores of peaks (score)",
        asks="What does the prediction of a gene rest on? `ablation` closes one peak and asks how far the prediction "
        "falls (positive: the open peak raises the gene); `exact` is how much attention the other peaks pay to it.",
        measures=[*measures, sizes],
        figures=[]
        if locus is None
        else [
            Drawn(
                locus_figure(locus),
                "A gene of an unseen chromosome, in the group in which one of its peaks acts most. Below: what each "
                "peak adds to the log of the gene's rate by the planted rules. `ablation` should "
                "have its pattern and signs; attention (`exact`) has no sign. Hollow: closed peaks.",
                "Accessibility, two scores and the planted effect of the peaks round one gene",
            )
        ],
        listings=[
            Listing(
                ["gene", "group", "peak", "distance, kb", "accessibility", "ablation", "planted effect"],
                [list(row) for row in rows],
                "The highest score of each of ten genes, either sign, among peaks more than 1 kb "
                "from the start (closing a promoter takes away the base level of its gene, which is "
                "no planted effect). The planted effect is in log units of the rate, the score in "
                "those of the prediction: signs and order are comparable, sizes are not.",
            )
        ],
        guidance="Compare peaks within a gene. A closed peak has an ablation of 0 by definition, and "
        "a high attention says that a peak is looked at, not which way it acts.",
        commands=[
            "cisoform regulation score fitted --data genes --split test --variant ablation,exact --out scores"
        ],
    )


def _sizes(planted: Planted, table: pl.DataFrame) -> Measure:
    """Do sizes follow the planted ones, with their signs?"""
    effect, value = table["effect"].to_numpy(), table["score_ablation"].to_numpy()
    rng = np.random.default_rng(planted.seed)
    open_ = table["accessibility"].to_numpy()
    near = contact(np.abs(table["distance_bp"].to_numpy()).astype(np.int64))
    simple = {"accessibility": open_, "accessibility x contact": open_ * near}
    return Measure(
        reading="score",
        measure="Spearman of score and planted effect",
        value=score.rank_agreement(effect, value),
        way="ablation",
        baselines={name: score.rank_agreement(effect, values) for name, values in simple.items()},
        nulls={"answers dealt anew": score.rank_agreement(rng.permutation(effect), value)},
        n=f"{int((np.abs(effect) >= score.NOISE).sum()):,} links in groups",
    )


def locus_of(planted: Planted, table: pl.DataFrame) -> LocusScores | None:
    """The gene with the largest planted effect of one peak, in the group where it acts; None = nothing acts."""
    if float(np.abs(table["effect"].to_numpy()).max(initial=0.0)) == 0:
        return None
    best = table.row(int(table["effect"].abs().arg_max() or 0), named=True)
    part = table.filter((pl.col("gene") == best["gene"]) & (pl.col("label") == best["label"]))
    about = planted.dataset.genes.row(best["gene"], named=True)
    return LocusScores(
        title=f"{about['gene_name'] or about['gene_id']}, {best['name']}: {part.height} peaks",
        distance_bp=part["distance_bp"].to_numpy(),
        tss_peak=int(planted.dataset.index.tss_peak[best["gene"]]),
        accessibility=part["accessibility"].to_numpy(),
        scores={"ablation": part["score_ablation"].to_numpy(), "exact": part["score_exact"].to_numpy()},
        marked={"planted effect": part["effect"].to_numpy()},
    )


def _links(planted: Planted, measures: list[Measure]) -> TruthSection:
    table, way = planted.kept["links"], measures[0].way
    pairs = score.pairs_of(table)
    value = score.pair_ways(table, planted.variants)[way]
    known = planted.table("links").select("peak", "gene_id", "is_link", "largest_effect", "sign")
    shown = pairs.with_columns(
        id=planted.peak_ids().gather(pairs["peak"].to_list()),
        gene_id=planted.dataset.genes["gene_id"].gather(pairs["gene"].to_list()),
        value=value,
    ).join(known, left_on=["id", "gene_id"], right_on=["peak", "gene_id"], how="left", maintain_order="left")
    truth = shown["is_link"].fill_null(False).to_numpy()
    simple = score.pair_baselines(table, None, None)
    drawn = ("contact", "accessibility x contact, max", "accessibility, max")
    curves = {"model": curve_points(value, truth)} | {
        name: curve_points(simple[name], truth) for name in drawn
    }
    most = max(float(np.max(value, initial=0.0)), 1e-12)
    best = shown.sort("value", descending=True, maintain_order=True).head(SHOWN)
    rows = [
        [
            row["gene_id"],
            row["id"],
            row["distance_bp"] / 1000,
            row["value"] / most,
            "yes" if row["is_link"] else "no",
            (row["largest_effect"] or 0.0) * (row["sign"] or 0),
        ]
        for row in best.iter_rows(named=True)
    ]
    return TruthSection(
        title="Links of peaks and genes (links)",
        asks="Which peak acts on which gene? All pairs of a gene and a peak within 150 kb are "
        "ranked; a pair is a planted link where the peak changes the gene by at least 10 % (0.1 "
        "log units) in some group, up or down.",
        measures=measures,
        figures=[
            Drawn(
                precision_figure(curves, float(truth.mean()), "planted links"),
                "Precision of the first pairs of each ranking against the share of all links that "
                "they hold. `contact` is the distance alone: how often two places so far apart touch.",
                "Precision over recall of planted links, model and simple predictors",
            )
        ],
        listings=[
            Listing(
                ["gene", "peak", "distance, kb", "score", "planted link", "largest planted effect"],
                rows,
                "The ten pairs with the highest score, as a share of the highest.",
            )
        ],
        guidance="Always beside `contact` and accessibility x contact, which need no model. The way to read (score, "
        "adjustment for distance, highest or mean of the groups) was chosen on the validation chromosome; "
        "`links --evaluate` takes any table of tested pairs.",
        commands=["cisoform regulation links fitted --data genes --split test --out links"],
    )


def variants(planted: Planted) -> list[TruthSection]:
    """Single bases."""
    measures = planted_readings.READINGS["variants"](planted)
    table = planted.kept["variants"]
    rows = []
    for kind, words in _KINDS.items():
        part = table.filter(pl.col("kind") == kind)
        if part.height:
            changes = [_mean_size(part, name) for name in ("effect", "difference")]
            right = part.filter(pl.col("effect").abs() >= 0.05)
            same = (right["effect"] * right["difference"] > 0).mean()
            rows.append([words, part["variant"].n_unique(), *changes, None if same is None else same])
    return [
        TruthSection(
            title="Variants (variants)",
            asks="What does the other allele of a single base do to the genes in reach, with accessibility as it is?",
            measures=measures,
            figures=[
                Drawn(
                    change_scatter(table["effect"].to_numpy(), table["difference"].to_numpy()),
                    "A point is a variant, a gene in its reach, and a group. Upper right and lower "
                    "left are right; points on the horizontal line change where the model sees nothing.",
                    "Predicted against planted change of genes by single bases",
                )
            ],
            listings=[
                Listing(
                    [
                        "the base lies",
                        "variants",
                        "mean planted change",
                        "mean predicted change",
                        "right direction",
                    ],
                    rows,
                    "Sizes of changes, whatever the sign; direction of planted changes of at least "
                    "0.05. Bases outside motifs should change nothing.",
                )
            ],
            guidance="Compare with the command's random changes in the same peak (`--controls`); a difference inside "
            "their range says nothing. Accessibility is held, so a variant that opens or closes its peak is "
            "underrated unless `--elementary` predicts it anew.",
            commands=[
                "cisoform regulation variants fitted --data genes --split test --vcf "
                "sim/regulation/variants.vcf --out variants"
            ],
        )
    ]


def _mean_size(table: pl.DataFrame, name: str) -> float:
    return float(np.abs(table[name].to_numpy().astype(np.float64)).mean())
