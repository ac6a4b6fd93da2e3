"""The answers as tables and as one JSON value: links, TF edges, masters, knock-outs, and what can be reached."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.regulation.config import RULES
from cisoform.data.simulate.regulation.edits import Change, Variant
from cisoform.data.simulate.regulation.genome import SITE_REGION_BP, count_kinds
from cisoform.data.simulate.regulation.motifs import MOTIF_BP
from cisoform.data.simulate.regulation.rules import EFFECT, REACH_BP, Floats, binding, distances, log1p_cp10k
from cisoform.data.simulate.regulation.simulation import Regulation

if TYPE_CHECKING:
    import polars

TRUTH_FORMAT = 1
LEAST_LINK = 0.10
"""Log units in some group from which on a pair counts as a link (about 10 % of the expression)."""


def _by_group(prefix: str, names: list[str], values: Floats) -> dict[str, Floats]:
    return {f"{prefix}.{name}": values[:, number] for number, name in enumerate(names)}


def gene_table(regulation: Regulation) -> polars.DataFrame:
    """One row per gene: place, promoter, level, expected and observed expression by group."""
    import polars as pl

    genome, book, names = regulation.genome, regulation.book, regulation.group_names
    roles = {tf.name: tf.role for tf in regulation.roster.tfs}
    return pl.DataFrame(
        {
            "gene_id": [gene.gene_id for gene in genome.genes],
            "gene_name": [gene.name for gene in genome.genes],
            "chrom": [genome.names[gene.chrom] for gene in genome.genes],
            "strand": [gene.strand for gene in genome.genes],
            "tss": genome.tss,
            "steady": [gene.steady for gene in genome.genes],
            "tf_role": [roles.get(gene.name, "") for gene in genome.genes],
            "level": book.level,
            "answer": book.answer,
            **_by_group("log_rate", names, regulation.readout.log_rate),
            **_by_group("expected_log1p_cp10k", names, log1p_cp10k(regulation.readout.log_rate)),
            **_by_group("observed_log1p_cp10k", names, observed_log1p(regulation)),
        }
    )


def observed_log1p(regulation: Regulation) -> Floats:
    """(G, C) log1p CP10k of the summed counts of each group."""
    cells = regulation.cells
    sums = np.zeros((len(regulation.group_names), cells.rna.shape[1]))
    np.add.at(sums, cells.group, cells.rna.toarray())
    cp10k: Floats = np.log1p(1e4 * sums / sums.sum(1, keepdims=True)).T
    return cp10k


def element_table(regulation: Regulation) -> polars.DataFrame:
    """One row per peak: place, kind, chromatin, accessibility and effect by group."""
    import polars as pl

    genome, book, out, names = regulation.genome, regulation.book, regulation.readout, regulation.group_names
    gene_ids = [gene.gene_id for gene in genome.genes]
    return pl.DataFrame(
        {
            "peak": peak_ids(regulation),
            "name": [element.name for element in genome.elements],
            "chrom": [genome.names[element.chrom] for element in genome.elements],
            "start": [element.start for element in genome.elements],
            "end": [element.end for element in genome.elements],
            "mid": genome.mids,
            "kind": [element.kind for element in genome.elements],
            "gene_id": [None if e.gene is None else gene_ids[e.gene] for e in genome.elements],
            "planted": [",".join(sorted(element.planted)) for element in genome.elements],
            "height": genome.height,
            **_by_group("gate", names, book.gate),
            **_by_group("base", names, book.base),
            **_by_group("opened", names, out.opened),
            **_by_group("accessibility", names, out.accessibility),
            **_by_group("effect", names, out.effect),
        }
    )


def peak_ids(regulation: Regulation) -> list[str]:
    """chrom:start-end of every peak."""
    names = regulation.genome.names
    return [f"{names[e.chrom]}:{e.start}-{e.end}" for e in regulation.genome.elements]


def site_table(regulation: Regulation) -> polars.DataFrame:
    """One row per site of a TF that binds, inside peaks, forward coordinates."""
    import polars as pl

    genome, sites = regulation.genome, regulation.sites
    half = SITE_REGION_BP // 2
    start = genome.mids[sites.window] - half + sites.offset
    peaks = peak_ids(regulation)
    return pl.DataFrame(
        {
            "peak": [peaks[number] for number in sites.window.tolist()],
            "tf": [regulation.roster.binding[number].name for number in sites.motif.tolist()],
            "chrom": [genome.names[number] for number in genome.element_chrom[sites.window].tolist()],
            "start": start,
            "end": start + MOTIF_BP,
            "strand": np.where(sites.reverse, "-", "+"),
            "strength": sites.strength,
        }
    )


def tf_table(regulation: Regulation) -> polars.DataFrame:
    """One row per TF: role, sign, whom it follows, and its activity by group."""
    import polars as pl

    tfs = regulation.roster.tfs
    ids = {gene.name: gene.gene_id for gene in regulation.genome.genes}
    return pl.DataFrame(
        {
            "tf": [tf.name for tf in tfs],
            "gene_id": [ids[tf.name] for tf in tfs],
            "motif": [tf.motif.name for tf in tfs],
            "consensus": [tf.motif.consensus for tf in tfs],
            "role": [tf.role for tf in tfs],
            "sign": [tf.sign for tf in tfs],
            "shadows": [tf.shadows for tf in tfs],
            **_by_group("activity", regulation.group_names, regulation.activity.values),
        }
    )


def link_table(regulation: Regulation) -> polars.DataFrame:
    """One row per (peak, gene) within reach: distance, weight, effect on the log rate by group, and if it is a link.

    `is_target` marks, of all genes a peak reaches, the one it moves most, if that makes it a link.
    """
    import polars as pl

    genome, book = regulation.genome, regulation.book
    distance = distances(genome)
    element, gene = np.nonzero(np.abs(distance) <= REACH_BP)
    pull = book.answer[gene] * book.weight[element, gene]
    effect = EFFECT * pull[:, None] * regulation.readout.effect[element]
    most = np.abs(effect).max(1)
    best = np.zeros(len(genome.elements))
    np.maximum.at(best, element, most)
    order = np.abs(distance[element, gene])
    closest = np.full(len(genome.elements), 10**9)
    np.minimum.at(closest, element, order)
    peaks, ids = peak_ids(regulation), [item.gene_id for item in genome.genes]
    sign = np.sign(effect[np.arange(len(effect)), np.abs(effect).argmax(1)]).astype(int)
    return pl.DataFrame(
        {
            "peak": [peaks[number] for number in element.tolist()],
            "gene_id": [ids[number] for number in gene.tolist()],
            "gene_name": [genome.genes[number].name for number in gene.tolist()],
            "distance": distance[element, gene],
            "weight": book.weight[element, gene],
            "sign": sign,
            "largest_effect": most,
            "is_link": most >= LEAST_LINK,
            "is_target": (most >= LEAST_LINK) & (most == best[element]),
            "is_nearest_gene": order == closest[element],
            **_by_group("effect", regulation.group_names, effect),
        }
    )


def tf_link_table(regulation: Regulation) -> polars.DataFrame:
    """One row per (TF, peak, gene) with an effect: the TF's part of the peak's effect on the log rate, by group."""
    import polars as pl

    genome, book = regulation.genome, regulation.book
    bound = binding(book)
    total = bound.sum(1, keepdims=True)
    share = np.divide(bound, total, out=np.zeros_like(bound), where=total > 0)
    part = EFFECT * regulation.readout.opened[:, None] * share * book.sign[None, :, None]
    pull = book.weight * book.answer
    strongest = np.abs(part).max(2)
    parts = []
    for tf in np.flatnonzero(book.sign).tolist():
        element, gene = np.nonzero(strongest[:, tf, None] * pull >= LEAST_LINK)
        parts.append((np.full(len(element), tf), element, gene))
    tf_row, element, gene = (
        np.concatenate([part[axis] for part in parts]) if parts else np.zeros(0, np.int64)
        for axis in range(3)
    )
    effect = part[element, tf_row] * pull[element, gene][:, None]
    peaks = peak_ids(regulation)
    return pl.DataFrame(
        {
            "tf": [regulation.roster.binding[number].name for number in tf_row.tolist()],
            "peak": [peaks[number] for number in element.tolist()],
            "gene_id": [genome.genes[number].gene_id for number in gene.tolist()],
            "gene_name": [genome.genes[number].name for number in gene.tolist()],
            "sign": book.sign[tf_row].astype(int),
            "largest_effect": np.abs(effect).max(1) if len(effect) else np.zeros(0),
            **_by_group("effect", regulation.group_names, effect),
        },
        schema_overrides=dict.fromkeys(("tf", "peak", "gene_id", "gene_name"), pl.String),
    )


def change_table(regulation: Regulation, changes: list[Change]) -> polars.DataFrame:
    """One row per (binding TF, gene, group): difference of the log rate and of log1p CP10k. Decoys change nothing."""
    import polars as pl

    genes, groups = regulation.genome.genes, regulation.group_names
    tfs = regulation.roster.binding
    shape = (len(tfs), len(genes), len(groups))
    tf, gene, group = (axis.reshape(-1).tolist() for axis in np.indices(shape))
    return pl.DataFrame(
        {
            "tf": [tfs[number].name for number in tf],
            "gene_id": [genes[number].gene_id for number in gene],
            "gene_name": [genes[number].name for number in gene],
            "group": [groups[number] for number in group],
            "delta_log_rate": np.stack([change.log_rate for change in changes]).reshape(-1),
            "delta_log1p_cp10k": np.stack([change.log1p for change in changes]).reshape(-1),
        }
    )


def variant_table(regulation: Regulation, variants: list[Variant]) -> polars.DataFrame:
    """One row per (variant, gene within reach): what the base change does to the log rate, by group."""
    import polars as pl

    genome, peaks = regulation.genome, peak_ids(regulation)
    rows: list[dict[str, Any]] = []
    for number, variant in enumerate(variants, 1):
        for gene in np.flatnonzero(regulation.book.weight[variant.element] > 0).tolist():
            rows.append(
                {
                    "variant": variant_id(number),
                    "kind": variant.kind,
                    "tf": variant.tf,
                    "peak": peaks[variant.element],
                    "gene_id": genome.genes[gene].gene_id,
                    **{
                        f"effect.{name}": float(variant.effect[gene, column])
                        for column, name in enumerate(regulation.group_names)
                    },
                }
            )
    return pl.DataFrame(rows)


def variant_id(number: int) -> str:
    """Id of the n-th variant, counted from 1."""
    return f"SIMRV{number:06d}"


def attainable(regulation: Regulation) -> dict[str, float]:
    """How well the noise-free expression agrees with the observed pseudobulks: nobody can do better."""
    expected, observed = log1p_cp10k(regulation.readout.log_rate), observed_log1p(regulation)
    within = per_gene_pearson(expected, observed)
    residual = ((observed - expected) ** 2).sum()
    return {
        "r2": float(1 - residual / ((observed - observed.mean()) ** 2).sum()),
        "pearson": float(np.corrcoef(expected.reshape(-1), observed.reshape(-1))[0, 1]),
        "per_gene_pearson_mean": float(within.mean()),
        "per_gene_pearson_median": float(np.median(within)),
    }


def per_gene_pearson(left: Floats, right: Floats) -> npt.NDArray[np.float64]:
    """Pearson across groups of every gene that varies on both sides."""
    a, b = left - left.mean(1, keepdims=True), right - right.mean(1, keepdims=True)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    varies = scale > 1e-12
    return np.divide((a * b).sum(1)[varies], scale[varies]) if varies.any() else np.zeros(1)


def summary(regulation: Regulation, links: polars.DataFrame) -> dict[str, Any]:
    """Counts and shares that say how hard the simulation is."""
    import polars as pl

    cells, genome = regulation.cells, regulation.genome
    targets = links.filter(pl.col("is_target"))
    acting = links.filter(pl.col("is_link"))
    return {
        "n_genes": len(genome.genes),
        "n_peaks": len(genome.elements),
        "n_cells": cells.n,
        "n_groups": len(regulation.group_names),
        "n_tfs": len(regulation.roster.tfs),
        "n_bases": int(genome.sizes.sum()),
        "elements": count_kinds(genome),
        "n_links": acting.height,
        "repressing_share_of_links": _share(acting, pl.col("sign") < 0),
        "targets_that_are_not_the_nearest_gene": _share(targets, ~pl.col("is_nearest_gene")),
        "rna_nonzero_share": float(cells.rna.nnz / np.prod(cells.rna.shape)),
        "atac_nonzero_share": float(cells.atac.nnz / np.prod(cells.atac.shape)),
    }


def _share(frame: polars.DataFrame, condition: polars.Expr) -> float:
    return frame.filter(condition).height / frame.height if frame.height else 0.0


def truth(regulation: Regulation, links: polars.DataFrame, tf_links: polars.DataFrame) -> dict[str, Any]:
    """The content of truth.json; the tables under truth/ hold every row and group."""
    import polars as pl

    config = asdict(regulation.config)
    config["rules"] = sorted(regulation.config.rules)
    acting = links.filter(pl.col("is_link"))
    short = pl.col("largest_effect").round(4)
    driver = regulation.roster.of_role("driver")[0].name
    return {
        "format": TRUTH_FORMAT,
        "config": config,
        "rules": {rule: {"acts": regulation.config.acts(rule)} for rule in RULES},
        "summary": summary(regulation, links),
        "attainable": attainable(regulation),
        "groups": [asdict(group) for group in regulation.activity.groups],
        "splits": regulation.chromosome_split,
        "tfs": tf_table(regulation).select("tf", "gene_id", "role", "sign", "shadows").to_dicts(),
        "masters": {group: list(names) for group, names in regulation.activity.masters.items()},
        "state": {
            "column": "state",
            "source": "rest",
            "target": "stimulated",
            "driver": driver,
            "acts": regulation.config.acts("driver"),
            "cell_types": sorted(
                {g.cell_type for g in regulation.activity.groups if g.state == "stimulated"}
            ),
        },
        "least_link_effect": LEAST_LINK,
        "enhancer_gene": acting.select("peak", "gene_id", "distance", "sign", short, "is_target").to_dicts(),
        "tf_enhancer_gene": tf_links.select("tf", "peak", "gene_id", "sign", short).to_dicts(),
    }


def knockouts_json(regulation: Regulation, changes: list[Change]) -> dict[str, dict[str, dict[str, float]]]:
    """TF -> group -> gene -> difference of the log rate, where it is at least `LEAST_LINK`."""
    ids = [gene.gene_id for gene in regulation.genome.genes]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for tf, change in zip(regulation.roster.binding, changes, strict=True):
        found[tf.name] = {
            name: {
                ids[gene]: round(float(change.log_rate[gene, column]), 4)
                for gene in np.flatnonzero(np.abs(change.log_rate[:, column]) >= LEAST_LINK).tolist()
            }
            for column, name in enumerate(regulation.group_names)
        }
    return found
