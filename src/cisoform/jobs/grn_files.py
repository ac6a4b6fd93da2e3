"""A gene network as tables and files: factors, edges, triplets, GraphML, SCENIC+ and CellOracle columns, the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import polars as pl

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.reader import Reader
from cisoform.genome.files import atomic_write, sha256_file
from cisoform.jobs.grn import Network
from cisoform.jobs.grn_bags import GrnConfig
from cisoform.report.files import save_figure
from cisoform.report.grn_page import write_page
from cisoform.report.grn_plots import DrawnEdge, network_figure


def summary(network: Network, grouping: Grouping, config: GrnConfig, motifs: Path) -> dict[str, Any]:
    """What grn.json says before any comparison: counts, warnings, nulls, settings, motif file."""
    return {
        "counts": {
            "genes": len(network.genes),
            "groups": len(grouping.groups),
            "labels": len(grouping.labels),
            "factors": len(network.motifs.names),
            "factors_that_act": int(network.called.sum()),
            "edges": int(network.edges.network.sum()),
            "triplets": len(network.triplets.factor),
        },
        "warnings": network.warnings,
        "nulls": [
            {"kind": null.kind, "n_called": null.n_called, "n_edges": int(null.called.network.sum())}
            for null in network.nulls
        ],
        "settings": asdict(config),
        "motifs": {"name": motifs.name, "sha256": sha256_file(motifs)},
        "group_by": grouping.column,
        "seed": config.seed,
    }


def all_tables(network: Network, reader: Reader, grouping: Grouping) -> dict[str, pl.DataFrame]:
    """All tables by the name of their file."""
    triplets = triplet_table(network, reader, grouping)
    edges = edge_table(network, reader, triplets)
    return {
        "factors": factor_table(network, reader),
        "edges": edges,
        "triplets": triplets,
        "eregulons": scenicplus_table(triplets),
        "celloracle_links": celloracle_table(edges),
    }


def factor_table(network: Network, reader: Reader) -> pl.DataFrame:
    """A row for every factor, surest first."""
    found, factors = network.evidence, network.sites.factors
    n_targets = network.edges.network.sum(axis=1)
    n_triplets = np.bincount(network.triplets.factor, minlength=len(factors.names))
    table = pl.DataFrame(
        {
            "tf": list(factors.names),
            "gene_id": reader.genes["gene_id"].gather(factors.gene.tolist()),
            "n_motifs": np.bincount(network.motifs.factor[1], minlength=len(factors.names)),
            "n_peaks": found.n_peaks,
            "acts": network.called,
            "sign": np.where(network.called, found.sign, 0),
            "z": found.z,
            "z_score": found.z_score,
            "z_response": found.z_response,
            "p": found.p,
            "q": found.q,
            "stability": network.call_stability,
            "n_targets": n_targets,
            "n_triplets": n_triplets,
        }
    )
    whole = table.with_columns(pl.col(pl.Float64).fill_nan(None))
    return whole.sort(pl.col("z").abs(), "tf", descending=[True, False], nulls_last=True)


def triplet_table(network: Network, reader: Reader, grouping: Grouping) -> pl.DataFrame:
    """A row for every factor -> peak -> gene of the network, strongest first."""
    found, factors = network.triplets, network.sites.factors
    places = reader.peaks[found.peak.tolist()].select("chrom", "start", "end")
    table = pl.DataFrame(
        {
            "tf": pl.Series([factors.names[row] for row in found.factor.tolist()], dtype=pl.String),
            **_genes(reader, found.gene),
            "peak": places.select(pl.format("{}:{}-{}", "chrom", "start", "end")).to_series(),
            **{name: places[name] for name in ("chrom", "start", "end")},
            "distance_bp": found.distance_bp,
            "sign": network.evidence.sign[found.factor],
            "score": found.score,
            "change": found.change,
            grouping.column: pl.Series(
                [grouping.labels[row] for row in found.label.tolist()], dtype=pl.String
            ),
            "sites": found.sites,
            "site_q": network.sites.best_q(found.factor, found.peak),
            "fdr": network.evidence.q[found.factor],
            "peak_rank": found.place + 1,
            "peaks_of_gene": found.n_peaks,
        }
    )
    return table.sort("score", "tf", "gene_id", "start", descending=[True, False, False, False])


def _genes(reader: Reader, genes: Any) -> dict[str, pl.Series]:
    rows = genes.tolist()
    return {name: reader.genes[name].gather(rows) for name in ("gene_id", "gene_name")}


def edge_table(network: Network, reader: Reader, triplets: pl.DataFrame) -> pl.DataFrame:
    """A row for every factor -> gene of the network, strongest first; with its best triplet.

    Columns: tf, gene_id, gene_name, sign, score, stability, fdr, knockout, n_peaks (triplets), peak, distance_bp,
    site_q, and the group of the best one.
    """
    factor, column = np.nonzero(network.edges.network)
    frame = pl.DataFrame(
        {
            "tf": pl.Series([network.sites.factors.names[row] for row in factor.tolist()], dtype=pl.String),
            **_genes(reader, network.genes[column]),
            "sign": network.evidence.sign[factor],
            "score": network.edges.score[factor, column].astype(np.float64),
            "stability": network.stability[factor, column].astype(np.float64),
            "fdr": network.evidence.q[factor],
            "knockout": network.knockout[factor, column].astype(np.float64),
        }
    ).with_columns(pl.col("stability", "knockout").fill_nan(None))
    label = triplets.columns[triplets.columns.index("change") + 1]
    best = triplets.group_by("tf", "gene_id", maintain_order=True).agg(
        pl.len().alias("n_peaks"),
        *(pl.col(name).first() for name in ("peak", "distance_bp", "site_q", label)),
    )
    joined = frame.join(best, on=["tf", "gene_id"], how="left", maintain_order="left")
    return joined.sort("score", "tf", "gene_id", descending=[True, False, False])


def scenicplus_table(triplets: pl.DataFrame) -> pl.DataFrame:
    """The triplets under the column names of SCENIC+'s eRegulons.

    `importance_R2G` is the size of the change by the peak, `rho_R2G` and `regulation` its sign; SCENIC+'s own measures
    (boosting importance, correlation) are others, so compare ranks, not values.
    """
    sign = pl.when(pl.col("sign") > 0).then(pl.lit("+")).otherwise(pl.lit("-"))
    name = pl.format("{}_direct_{}/{}", "tf", sign, sign)
    count = pl.len().over("tf", "sign")
    return triplets.select(
        Region="peak",
        Gene=pl.coalesce("gene_name", "gene_id"),
        TF="tf",
        is_extended=pl.lit(False),
        regulation="sign",
        importance_R2G=pl.col("change").abs(),
        rho_R2G=pl.col("change").sign(),
        importance_x_rho="change",
        importance_x_abs_rho=pl.col("change").abs(),
        importance_TF2G="score",
        triplet_rank=pl.col("score").rank("ordinal", descending=True),
        eRegulon_name=name,
        Gene_signature_name=pl.format("{}_({}g)", name, pl.col("gene_id").n_unique().over("tf", "sign")),
        Region_signature_name=pl.format("{}_({}r)", name, count),
    )


def celloracle_table(edges: pl.DataFrame) -> pl.DataFrame:
    """The edges under the column names of CellOracle's links; `p` is the false discovery rate of the factor."""
    return edges.select(
        source="tf",
        target=pl.coalesce("gene_name", "gene_id"),
        coef_mean=pl.col("score") * pl.col("sign"),
        coef_abs="score",
        p="fdr",
        **{"-logp": -pl.col("fdr").clip(lower_bound=1e-300).log10()},
    )


def write_graphml(path: Path, factors: pl.DataFrame, edges: pl.DataFrame) -> None:
    """Factors and genes as nodes, edges with their numbers; a factor that is also a target is one node."""
    acting = factors.filter("acts")
    kinds = {row["gene_id"]: ("factor", row["tf"]) for row in acting.to_dicts()}
    for row in edges.to_dicts():
        kinds.setdefault(row["gene_id"], ("gene", row["gene_name"] or row["gene_id"]))
    ids = dict(zip(acting["tf"].to_list(), acting["gene_id"].to_list(), strict=True))
    kept = {"sign": "int", "score": "double", "stability": "double", "fdr": "double", "knockout": "double"}
    kept |= {"n_peaks": "int", "peak": "string"}
    with atomic_write(path) as handle:
        handle.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        handle.write('<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n')
        for name in ("kind", "label"):
            handle.write(f'<key id="{name}" for="node" attr.name="{name}" attr.type="string"/>\n')
        for name, kind in kept.items():
            handle.write(f'<key id="{name}" for="edge" attr.name="{name}" attr.type="{kind}"/>\n')
        handle.write('<graph id="grn" edgedefault="directed">\n')
        for gene, (kind, label) in sorted(kinds.items()):
            data = f'<data key="kind">{kind}</data><data key="label">{escape(label)}</data>'
            handle.write(f"<node id={quoteattr(gene)}>{data}</node>\n")
        for row in edges.to_dicts():
            data = "".join(
                f'<data key="{key}">{_plain(row[key])}</data>' for key in kept if row[key] is not None
            )
            ends = f"source={quoteattr(ids[row['tf']])} target={quoteattr(row['gene_id'])}"
            handle.write(f"<edge {ends}>{data}</edge>\n")
        handle.write("</graph>\n</graphml>\n")


def _plain(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else escape(str(value))


def drawn_edges(edges: pl.DataFrame) -> list[DrawnEdge]:
    """Edges of the figure."""
    return [
        DrawnEdge(row["tf"], row["gene_name"] or row["gene_id"], row["sign"], row["score"])
        for row in edges.head(200).to_dicts()
    ]


def write_figures(
    folder: Path, result: Mapping[str, Any], factors: pl.DataFrame, edges: pl.DataFrame
) -> None:
    """`network.png`, `network.svg` and `report.html`."""
    drawn = drawn_edges(edges)
    if drawn:
        save_figure(network_figure(drawn, "strongest edges"), folder / "network")
    write_page(folder / "report.html", result, factors.to_dicts(), edges.to_dicts(), drawn)
