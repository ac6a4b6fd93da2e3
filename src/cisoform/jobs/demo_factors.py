"""Readings of factors in the demo: knock-outs, knock-ins and the network, beside what was planted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.knockin import open_profiles
from cisoform.analysis.perturbation import SignalEdit
from cisoform.benchmark import planted as score
from cisoform.benchmark.planted import Measure
from cisoform.errors import InputError
from cisoform.jobs import planted_readings
from cisoform.jobs.chosen_peaks import choose_by_motif, peaks_of_genes
from cisoform.jobs.perturbation import perturb
from cisoform.jobs.planted import Planted
from cisoform.report.grn_plots import DrawnEdge, network_figure, precision_figure
from cisoform.report.truth_plots import change_scatter
from cisoform.report.truth_section import Drawn, Listing, TruthSection

Floats = npt.NDArray[np.float64]

MOTIF_P = 1e-5
SHOWN_EDGES, DRAWN_EDGES = 12, 40


def knockout(planted: Planted) -> list[TruthSection]:
    """Every factor that binds, taken away."""
    measures = planted_readings.READINGS["knockout"](planted)
    table = planted.kept["knockout"]
    return [
        TruthSection(
            title="Knock-outs of factors (knockout)",
            asks="Which genes change, and which way, when a factor is gone? The signal round each of "
            "its motifs is taken away and all genes are predicted again.",
            measures=measures,
            figures=[_scatter(table, "knocked out")],
            listings=[_by_factor(planted, table)],
            guidance="A change counts where it is clearly larger than that of the matched control "
            "peaks that the command adds. `pooled` means: the model says how strongly and which way "
            "the factor acts per lost accessibility, and each gene's lost accessibility says how "
            "much of that it gets. `mean shift of the model` gives all genes of a group the model's "
            "mean: for signs alone it is hard to beat, as a factor has one sign here.",
            commands=[
                f"cisoform regulation knockout fitted --data genes --split test --tf {table['tf'][0]} \\",
                "    --motifs sim/regulation/motifs.meme --mode around-motif --motif-p 1e-5 --out knockout",
            ],
        )
    ]


def _scatter(table: pl.DataFrame, done: str) -> Drawn:
    return Drawn(
        change_scatter(table["delta_log1p_cp10k"].to_numpy(), table["predicted"].to_numpy()),
        f"Every factor that binds, {done} by its motif: a point is a gene of an unseen chromosome in a group. Points "
        "in the upper right and lower left have the right direction.",
        f"Predicted against planted change of genes when a factor is {done}",
    )


def _by_factor(planted: Planted, table: pl.DataFrame) -> Listing:
    """Each factor with its planted role and the share of its effects with the right sign."""
    role = {one["tf"]: one["role"] for one in planted.truth["tfs"]}
    rows: list[list[object]] = []
    for (tf,), part in table.group_by("tf", maintain_order=True):
        strong = part.filter(pl.col("delta_log1p_cp10k").abs() >= score.NOISE)
        if not strong.height:
            continue
        truth, value = strong["delta_log1p_cp10k"].to_numpy(), strong["predicted"].to_numpy()
        share = float((truth * value > 0).mean())
        rows.append([tf, role[str(tf)], strong.height, float(truth.mean()), float(value.mean()), share])
    return Listing(
        [
            "factor",
            "planted role",
            "effects",
            "mean planted change",
            "mean predicted change",
            "right direction",
        ],
        rows,
        "Over genes in groups with a planted change of at least 0.1 (log1p of counts per 10,000). "
        "Factors without such an effect on these genes are left out.",
    )


def knockin(planted: Planted) -> list[TruthSection]:
    """Every factor that binds, switched on everywhere: closed peaks with its motif open."""
    table = knockins(planted)
    planted.kept["knockin"] = table
    truth, value = table["delta_log1p_cp10k"].to_numpy(), table["predicted"].to_numpy()
    simple = {
        "gained accessibility": table["accessibility_change"].to_numpy(),
        "mean shift of the model": table["mean_shift"].to_numpy(),
    }
    null = {"another factor's knock-in": score.other_factors(table, value, planted.seed)}
    n = f"{int((np.abs(truth) >= score.NOISE).sum()):,} genes in groups x factors"
    measures = [
        Measure(
            reading="knockin",
            measure=name,
            value=judge(truth, value),
            way=f"closed peaks with a motif open, p {MOTIF_P:g}",
            baselines={key: judge(truth, values) for key, values in simple.items()},
            nulls={key: judge(truth, values) for key, values in null.items()},
            n=n,
        )
        for name, judge in (
            ("sign of effects above noise, balanced accuracy", score.balanced_sign),
            ("Spearman of effects above noise", score.rank_agreement),
        )
    ]
    return [
        TruthSection(
            title="Knock-ins of factors (knockin)",
            asks="Which genes change, and which way, when a factor is switched on where it is off? "
            "Closed peaks with its motif open with the profile that they have in the groups where they are open.",
            measures=measures,
            figures=[_scatter(table, "knocked in")],
            listings=[_by_factor(planted, table)],
            guidance="Knock-ins overshoot: every peak with the motif opens, those too that the cell "
            "would keep closed. Trust signs and order more than sizes; `--dose` opens a share of the peaks.",
            commands=[
                f"cisoform regulation knockin fitted --data genes --split test --tf {table['tf'][0]} \\",
                "    --motifs sim/regulation/motifs.meme --motif-p 1e-5 --out knockin",
            ],
        )
    ]


def knockins(planted: Planted) -> pl.DataFrame:
    """Knock-ins of the factors whose answer is known, on the test chromosomes, with the planted change beside.

    Columns: tf, gene_id, group, delta_log1p_cp10k, predicted, accessibility_change, mean_shift. A gene that no motif
    reaches counts as predicted to stay.

    Raises:
        InputError: No motif of any factor matches a peak.
    """
    reader, genes = planted.reader("test"), planted.genes("test")
    within = peaks_of_genes(reader, genes)
    ids = reader.genes["gene_id"].gather(genes.tolist()).to_list()
    groups = planted.dataset.groups["name"].to_list()
    truth = planted.table("knockin").select("tf", "gene_id", "group", "delta_log1p_cp10k")
    truth = truth.filter(pl.col("gene_id").is_in(ids) & pl.col("group").is_in(groups))
    factors = sorted(set(truth["tf"].to_list()))[: planted.most_factors]
    opened, parts = open_profiles(reader), []
    for tf in factors:
        try:
            peaks = choose_by_motif(reader, [tf], planted.motifs, within, MOTIF_P)
        except InputError as error:
            if "matches none" in str(error):
                continue
            raise
        planted.say(f"knockin: {tf}")
        found = perturb(
            reader, planted.grouping, genes, SignalEdit(peaks.peaks, opened=opened), n_controls=0
        ).table
        parts.append(
            found.select(
                pl.lit(tf).alias("tf"),
                *("gene_id", "group", "accessibility_change", "mean_shift"),
                predicted="difference",
            )
        )
    if not parts:
        raise InputError(f"{planted.motifs}: no motif of a factor matches a peak of the test chromosomes")
    numbers = ("predicted", "accessibility_change", "mean_shift")
    return (
        truth.filter(pl.col("tf").is_in(factors))
        .join(pl.concat(parts), on=["tf", "gene_id", "group"], how="left", maintain_order="left")
        .with_columns(pl.col(*numbers).cast(pl.Float64).fill_null(0.0).fill_nan(0.0))
    )


def network(planted: Planted) -> list[TruthSection]:
    """Edges of factors and genes."""
    measures = planted_readings.READINGS["grn"](planted)
    edges = planted.kept["grn"].sort("score", descending=True, maintain_order=True)
    curves = {
        str(name): {key: part[key].to_list() for key in ("recall", "precision")}
        for (name,), part in planted.kept["grn curves"].group_by("predictor", maintain_order=True)
    }
    shown = edges.filter("in_network")
    drawn = [
        DrawnEdge(row["tf"], row["gene"], row["sign"], row["score"])
        for row in shown.head(DRAWN_EDGES).iter_rows(named=True)
    ]
    figures = [
        Drawn(
            precision_figure(curves, float(edges["planted"].mean() or 0.0), "planted edges"),  # type: ignore[arg-type]
            "Precision of the first edges of each ranking against the share of all planted edges that they hold.",
            "Precision over recall of planted edges, model and simple predictors",
        )
    ]
    if drawn:
        figures.append(
            Drawn(
                network_figure(drawn, f"the {len(drawn)} strongest edges"),
                "Black: factors, grey: genes of unseen chromosomes; blue raises, red lowers, the thicker the surer.",
                "Network of the strongest edges",
            )
        )
    rows = [
        [
            row["tf"],
            row["gene"],
            _raises(row["sign"]),
            row["score"],
            _raises(row["planted_sign"]) if row["planted"] else "no edge",
        ]
        for row in shown.head(SHOWN_EDGES).iter_rows(named=True)
    ]
    return [
        TruthSection(
            title="Network of factors and genes (grn)",
            asks="Which transcription factor (TF) acts on which gene, through peaks with its motif? "
            "Factors whose peaks do not shift predictions more than peaks of like composition are dropped.",
            measures=measures,
            figures=figures,
            listings=[Listing(["factor", "gene", "read", "score", "planted"], rows, "The strongest edges.")]
            if rows
            else [],
            warnings=[] if rows else ["No factor passed the test here: the network is empty."],
            guidance="Read the factors first: an edge is as good as its factor. Factors with the "
            "same motif (a family) cannot be told apart. The command adds stability over bags "
            "of cells and networks that should be empty.",
            commands=[
                "cisoform regulation grn fitted --data genes --motifs sim/regulation/motifs.meme \\",
                "    --evaluate sim/regulation/truth.json --bags 0 --out network",
            ],
        )
    ]


def _raises(sign: int) -> str:
    return "raises" if sign > 0 else "lowers" if sign < 0 else "either"
