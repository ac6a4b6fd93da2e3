"""Files of element-gene links: the CRISPR benchmark's prediction format, BED and BEDPE for genome browsers.

All take a table of links: chrom, start, end (0-based, half-open), gene, gene_id, tss, cell_type, distance (bp),
score, and any further columns of numbers. Nulls are allowed in gene_id and tss.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cisoform.benchmark.links import PairScores
from cisoform.data.tested_pairs import UNKNOWN, WHAT, TestedPairs
from cisoform.genome.files import atomic_write
from cisoform.genome.pair_table import PairTable

COLUMNS = ("chrom", "start", "end", "gene", "gene_id", "tss", "cell_type", "distance", "score")
_NAMES = {
    "chrom": "chr",
    "gene": "TargetGene",
    "gene_id": "TargetGeneEnsemblID",
    "tss": "TargetGeneTSS",
    "cell_type": "CellType",
    "distance": "DistanceToTSS",
    "score": "Score",
}


def links_of(pairs: TestedPairs, score: pl.Series) -> pl.DataFrame:
    """The table of links of tested pairs with a score each."""
    return pl.DataFrame(
        {
            "chrom": pl.Series(pairs.chrom.tolist(), dtype=pl.String),
            "start": pairs.start,
            "end": pairs.end,
            "gene": pl.Series(pairs.gene.tolist(), dtype=pl.String),
            "gene_id": pl.Series(pairs.gene_id.tolist(), dtype=pl.String),
            "tss": pl.Series(pairs.tss).replace(UNKNOWN, None),
            "cell_type": pl.Series(pairs.cell_type.tolist(), dtype=pl.String),
            "distance": pairs.distance,
            "score": score,
        }
    )


def prediction_table(links: pl.DataFrame) -> pl.DataFrame:
    """Links as the CRISPR benchmark (EngreitzLab/CRISPR_comparison, format `generic`) reads predictions.

    chr, start, end, name, TargetGene, CellType and Score are what it needs; further scores follow as columns of
    their own, to be named in its pred_config.
    """
    name = pl.format("{}:{}-{}", "chrom", "start", "end").alias("name")
    more = [column for column in links.columns if column not in COLUMNS]
    first = ("chrom", "start", "end")
    kept = [pl.col(column).alias(_NAMES.get(column, column)) for column in (*COLUMNS[3:], *more)]
    return links.select(*(pl.col(column).alias(_NAMES.get(column, column)) for column in first), name, *kept)


def write_links(folder: Path, links: pl.DataFrame) -> list[str]:
    """Write predictions.tsv, links.bedpe and links.bed, sorted by place; returns the names.

    BEDPE joins element and start of the gene; BED holds the element with the gene as its name. Their score from 0
    to 1000 is the rank among all links of the cell type.
    """
    table = links.sort("chrom", "start", "end", "gene", "cell_type", maintain_order=True)
    numbers = [name for name, kind in table.schema.items() if kind in (pl.Float32, pl.Float64)]
    plain = table.with_columns(pl.col(name).round_sig_figs(7) for name in numbers)
    with atomic_write(folder / "predictions.tsv") as handle:
        handle.write(prediction_table(plain).write_csv(separator="\t", null_value="NA"))
    rank = (pl.col("score").rank() - 1) / (pl.len() - 1).clip(lower_bound=1) * 1000
    ranked = table.with_columns(
        rank=rank.over("cell_type").round().cast(pl.Int64),
        name=pl.concat_str("gene", "cell_type", separator="|").str.replace_all(r"\s", "_"),
    )
    placed = ranked.drop_nulls("tss")
    bedpe = placed.select(
        *(
            "chrom",
            "start",
            "end",
            pl.col("chrom").alias("chrom2"),
            "tss",
            (pl.col("tss") + 1).alias("tss_end"),
        ),
        *("name", "rank", pl.lit(".").alias("strand1"), pl.lit(".").alias("strand2")),
    )
    bed = ranked.select("chrom", "start", "end", "name", "rank", pl.lit(".").alias("strand"))
    for name, part in (("links.bedpe", bedpe), ("links.bed", bed)):
        with atomic_write(folder / name) as handle:
            handle.write(part.write_csv(separator="\t", include_header=False))
    return ["predictions.tsv", "links.bedpe", "links.bed"]


def write_scored_pairs(folder: Path, pairs: TestedPairs, scores: Mapping[str, PairScores]) -> str:
    """Write pairs.tsv: the lines of the table that hold these pairs, with a column link_NAME for each score.

    NA where a pair has no score. `links --combine --train pairs.tsv --columns link_NAME` takes them as features.

    Raises:
        InputError: The table cannot be read any more.
    """
    table = PairTable.read(pairs.path, WHAT)
    row_of = {line: row for row, line in enumerate(table.lines)}
    columns = [
        [f"{value:.7g}" if known else "NA" for value, known in zip(one.score, one.covered, strict=True)]
        for one in scores.values()
    ]
    with atomic_write(folder / "pairs.tsv") as handle:
        handle.write("\t".join([*table.header, *(f"link_{name}" for name in scores)]) + "\n")
        for number, line in enumerate(pairs.line.tolist()):
            cells = [*table.rows[row_of[line]], *(column[number] for column in columns)]
            handle.write("\t".join(cells) + "\n")
    return "pairs.tsv"
