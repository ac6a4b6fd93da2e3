"""Readings of factors against planted answers: knock-outs, edges of the network, and single bases."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.grn_scores import draw_bags
from cisoform.analysis.perturbation import SignalEdit
from cisoform.benchmark import planted as score
from cisoform.benchmark.planted import Measure
from cisoform.errors import InputError
from cisoform.genome.edge_table import read_edges
from cisoform.jobs import grn as network_job
from cisoform.jobs import grn_truth
from cisoform.jobs.chosen_peaks import ChosenPeaks, choose_by_motif, peaks_of_genes
from cisoform.jobs.grn_bags import GrnConfig
from cisoform.jobs.grn_scoring import open_work, work_key
from cisoform.jobs.perturbation import perturb
from cisoform.jobs.planted import EDITS, Planted
from cisoform.jobs.variants import score_variants

Floats = npt.NDArray[np.float64]

SIGN_GOAL, EFFECT_GOAL, EDGE_GOAL, VARIANT_GOAL = 0.95, 0.7, 0.8, 0.9
VARIANT_NOISE = 0.05
"""Planted changes of single bases are small: from here on they count (log units)."""
_CHOSEN_BY = "Spearman of effects above noise"


def knockout(planted: Planted) -> list[Measure]:
    """Every factor that binds, knocked out by its motif: sign and size of the change of each gene in each group.

    A gene that no motif reaches counts as predicted to stay.
    """
    tables = {edit: _knockouts(planted, "valid", edit, 0) for edit in planted.edits}
    ways = {
        f"{edit}, {way}": score.rank_agreement(_truth(table), score.knockout_way(table, way))
        for edit, table in tables.items()
        for way in score.WAYS
    }
    chosen = score.choose(ways)
    edit, way = chosen.rsplit(", ", 1)
    table = _knockouts(planted, "test", edit, planted.n_controls)
    truth, value = _truth(table), score.knockout_way(table, way)
    planted.kept["knockout"] = table.with_columns(predicted=value)
    simple = {
        "lost accessibility": table["accessibility_change"].to_numpy(),
        "mean shift of the model": table["mean_shift"].to_numpy(),
    }
    chance = {"another factor's knock-out": score.other_factors(table, value, planted.seed)}
    if planted.n_controls:
        chance["matched control peaks"] = table["control_mean"].to_numpy()
    strong = int((np.abs(truth) >= score.NOISE).sum())

    def row(what: str, judge: Callable[[Floats, Floats], float], n: int, goal: float | None) -> Measure:
        return Measure(
            reading="knockout",
            measure=what,
            value=judge(truth, value),
            way=chosen,
            valid=judge(_truth(tables[edit]), score.knockout_way(tables[edit], way)),
            goal=goal,
            baselines={name: judge(truth, values) for name, values in simple.items()},
            nulls={name: judge(truth, values) for name, values in chance.items()},
            ways=ways,
            n=f"{n:,} genes in groups x factors",
            note=f"the way was chosen by the {_CHOSEN_BY}",
        )

    return [
        row("sign of effects above noise, balanced accuracy", score.balanced_sign, strong, SIGN_GOAL),
        row(_CHOSEN_BY, score.rank_agreement, strong, EFFECT_GOAL),
        row("Spearman of all effects", lambda a, b: score.rank_agreement(a, b, False), len(truth), None),
    ]


def _knockouts(planted: Planted, part: str, edit: str, n_controls: int) -> pl.DataFrame:
    """Knock-outs of the factors whose answer is known, with the planted change of every gene beside."""
    near, p_value = EDITS[edit]
    reader, genes = planted.reader(part), planted.genes(part)
    within = peaks_of_genes(reader, genes)
    ids = reader.genes["gene_id"].gather(genes.tolist()).to_list()
    groups = planted.dataset.groups["name"].to_list()
    truth = (
        planted.table("knockout")
        .select("tf", "gene_id", "group", "delta_log1p_cp10k")
        .filter(pl.col("gene_id").is_in(ids) & pl.col("group").is_in(groups))
    )
    factors = sorted(set(truth["tf"].to_list()))[: planted.most_factors]
    parts = []
    for tf in factors:
        peaks = _peaks_of(planted, part, tf, within, p_value)
        if peaks is None:
            continue
        planted.say(f"knockout: {tf}, {edit}, {part} chromosomes")
        change = SignalEdit(peaks.peaks, bases=peaks.near if near else None)
        found = perturb(reader, planted.grouping, genes, change, n_controls=n_controls, seed=planted.seed)
        columns = ("gene_id", "group", "difference", "accessibility_change", "mean_shift", "control_mean")
        parts.append(found.table.select(pl.lit(tf).alias("tf"), *columns))
    if not parts:
        raise InputError(f"{planted.motifs}: no motif of a factor matches a peak of the {part} chromosomes")
    joined = truth.filter(pl.col("tf").is_in(factors)).join(
        pl.concat(parts), on=["tf", "gene_id", "group"], how="left", maintain_order="left"
    )
    return joined.with_columns(
        pl.col("difference", "accessibility_change", "mean_shift", "control_mean")
        .cast(pl.Float64)
        .fill_null(0.0)
        .fill_nan(0.0)
    )


def _peaks_of(
    planted: Planted, part: str, tf: str, within: npt.NDArray[np.int64], p_value: float
) -> ChosenPeaks | None:
    """Peaks with the factor's motif; None where there is none."""
    try:
        return choose_by_motif(planted.reader(part), [tf], planted.motifs, within, p_value)
    except InputError as error:
        if "matches none" in str(error):
            return None
        raise


def _truth(table: pl.DataFrame) -> Floats:
    return table["delta_log1p_cp10k"].to_numpy().astype(np.float64)


@contextlib.contextmanager
def _quiet(what: str) -> Iterator[Any]:
    yield lambda done, total: None


def grn(planted: Planted) -> list[Measure]:
    """Edges of factors and genes: the network of all genes, scored on those of the test chromosomes.

    Its settings are the command's own, which were chosen on validation chromosomes of simulated data.
    """
    planted.say("grn: the network of all genes")
    config = GrnConfig(bags=0, knockout=False, nulls=1, seed=planted.seed)
    table = read_edges(planted.files / "truth.json")
    reader, grouping, genes = planted.reader("all"), planted.grouping, planted.genes("all")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name) / "scores"
        bags = draw_bags(len(grouping.groups), network_job.check_size(reader, grouping, config), config.seed)
        open_work(work, work_key(reader, grouping, genes, config.variant, bags, config.seed))
        network = network_job.build(reader, grouping, genes, planted.motifs, config, work, _quiet)
        counted = np.isin(genes, planted.genes("test"))
        whole = grn_truth.evaluate(table, network, reader, config, counted)
    found = whole["all factors"]
    _keep_network(planted, network, grn_truth.locate(table, network, reader), counted, whole["curves"])
    scores = {
        name: float("nan") if row["auprc"] is None else float(row["auprc"]) for name, row in found.items()
    }
    rivals = {name: value for name, value in scores.items() if name != "model" and not _is_null(name)}
    chance = found["model"]["chance"]
    return [
        Measure(
            reading="grn",
            measure="AUPRC of edges, all factors",
            value=scores["model"],
            way=config.variant,
            goal=EDGE_GOAL,
            baselines={name: value for name, value in rivals.items() if "every factor" not in name},
            nulls={
                "share of true edges": float("nan") if chance is None else float(chance),
                **{name: value for name, value in scores.items() if _is_null(name) and "every" not in name},
            },
            n=f"{found['model']['n_edges']:,} edges of {len(network.motifs.names)} factors",
        )
    ]


def _keep_network(
    planted: Planted,
    network: network_job.Network,
    listed: grn_truth.Listed,
    counted: npt.NDArray[np.bool_],
    curves: dict[str, Any],
) -> None:
    """`grn`: every factor and counted gene with score, sign, whether it is in the network, and what was planted.

    `grn curves`: recall and precision by predictor. Both for figures.
    """
    names, shape = network.sites.factors.names, (len(network.sites.factors.names), int(counted.sum()))
    genes = planted.dataset.genes["gene_name"].gather(network.genes[counted].tolist()).to_list()
    called_sign = np.broadcast_to(network.evidence.sign[:, None], shape)
    planted.kept["grn"] = pl.DataFrame(
        {
            "tf": np.repeat(np.array(names, dtype=object), shape[1]).tolist(),
            "gene": genes * shape[0],
            "score": network.edges.score[:, counted].reshape(-1).astype(np.float64),
            "in_network": network.edges.network[:, counted].reshape(-1),
            "sign": called_sign.reshape(-1).astype(np.int64),
            "planted": listed.edges[:, counted].reshape(-1),
            "planted_sign": listed.sign[:, counted].reshape(-1).astype(np.int64),
        }
    )
    parts = [
        pl.DataFrame({"predictor": [name] * len(line["recall"]), **line}) for name, line in curves.items()
    ]
    planted.kept["grn curves"] = pl.concat(parts)


def _is_null(name: str) -> bool:
    return "permuted" in name or "shuffled" in name


def variants(planted: Planted) -> list[Measure]:
    """Single bases in motifs and beside them: does the gene move in the planted direction?"""
    planted.say("variants: alleles in peaks of the test chromosomes")
    found = score_variants(
        planted.reader("test"),
        planted.grouping,
        planted.genes("test"),
        planted.files / "variants.vcf",
        genome=planted.files / "genome.fa",
        n_controls=0,
    )
    table = planted.table("variants")
    effects = [name for name in table.columns if name.startswith("effect.")]
    long = table.unpivot(
        effects, index=["variant", "kind", "gene_id"], variable_name="group", value_name="effect"
    )
    long = long.with_columns(pl.col("group").str.strip_prefix("effect."))
    joined = found.effects.join(long, on=["variant", "gene_id", "group"])
    planted.kept["variants"] = joined
    truth = joined["effect"].to_numpy().astype(np.float64)
    value = joined["difference"].to_numpy().astype(np.float64)
    rng = np.random.default_rng(planted.seed)
    dealt = [
        score.balanced_sign(rng.permutation(truth), value, VARIANT_NOISE) for _ in range(score.SIGN_DRAWS)
    ]
    n = int((np.abs(truth) >= VARIANT_NOISE).sum())
    return [
        Measure(
            reading="variants",
            measure="sign of effects above 0.05, balanced accuracy",
            value=score.balanced_sign(truth, value, VARIANT_NOISE),
            way="accessibility fixed",
            goal=VARIANT_GOAL,
            baselines={"one sign for all": score.balanced_sign(truth, np.ones(len(truth)), VARIANT_NOISE)},
            nulls={"answers dealt anew": float(np.mean(dealt))},
            n=f"{n:,} variants x genes in groups",
        ),
        Measure(
            reading="variants",
            measure="Spearman of effects above 0.05",
            value=score.rank_agreement(truth, value, noise=VARIANT_NOISE),
            way="accessibility fixed",
            baselines={"one sign for all": 0.0},
            nulls={
                "answers dealt anew": score.rank_agreement(rng.permutation(truth), value, noise=VARIANT_NOISE)
            },
            n=f"{n:,} variants x genes in groups",
        ),
    ]
