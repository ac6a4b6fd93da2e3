"""Scores of peaks for genome browsers: BED of ranks within genes, bedGraph and bigWig of the scores themselves.

For `regulation score`, and for screens of peaks, where the score is what closing the peak takes from the gene.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cisoform.genome.files import atomic_write

MOST_TRACKS = 24
"""Labels that get tracks of their own; with more there is one of the strongest score in any."""


def write_browser_tracks(folder: Path, table: pl.DataFrame, column: str, stem: str = "scores") -> list[str]:
    """STEM.bed (a line for every peak of every gene in every group; its score 0-1000 is the rank within the gene) and
    bedGraphs and bigWigs of the score of largest absolute value that a peak has for any gene.

    A data set does not hold the lengths of its chromosomes: those of a bigWig end with the last peak.

    Args:
        folder: Where to.
        table: chrom, start, end (0-based, half-open), gene_id, gene_name, group and the score.
        column: Of the score.
        stem: Begins the names of the files.

    Returns:
        Names of the files; none where peaks have no coordinates.
    """
    if table["start"].null_count():
        return []
    place = table.sort("chrom", "start", "end", "gene_id", "group")
    rank = (pl.col(column).rank() - 1) / (pl.len() - 1).clip(lower_bound=1) * 1000
    bed = place.with_columns(
        rank=rank.over("gene_id", "group").round().cast(pl.Int64),
        name=pl.concat_str(pl.coalesce("gene_name", "gene_id"), "group", separator="|").str.replace_all(
            r"\s", "_"
        ),
        strand=pl.lit("."),
    ).select("chrom", "start", "end", "name", "rank", "strand")
    with atomic_write(folder / f"{stem}.bed") as handle:
        handle.write(bed.write_csv(separator="\t", include_header=False))
    labels = table["group"].unique(maintain_order=True).to_list()
    parts = {f"{stem}.{_safe(name)}.bedgraph": place.filter(pl.col("group") == name) for name in labels}
    if len(labels) > MOST_TRACKS or len(parts) < len(labels) or labels == [""]:
        parts = {f"{stem}.bedgraph": place}
    for name, part in parts.items():
        strongest = pl.col(column).sort_by(pl.col(column).abs(), pl.col(column)).last()
        best = part.group_by("chrom", "start", "end", maintain_order=True).agg(strongest)
        # A base may have one value alone: of overlapping peaks the later begins where the former ends.
        reached = pl.col("end").cum_max().shift(1).over("chrom").fill_null(0)
        best = best.with_columns(start=pl.max_horizontal("start", reached)).filter(
            pl.col("start") < pl.col("end")
        )
        with atomic_write(folder / name) as handle:
            handle.write(best.write_csv(separator="\t", include_header=False))
        _write_bigwig(folder / name.replace(".bedgraph", ".bw"), best)
    return [f"{stem}.bed", *parts, *(name.replace(".bedgraph", ".bw") for name in parts)]


def _write_bigwig(path: Path, track: pl.DataFrame) -> None:
    """Rows chrom, start, end, value, sorted and without overlaps."""
    import pybigtools

    sizes = {str(chrom): int(end) for chrom, end in track.group_by("chrom").agg(pl.col("end").max()).rows()}
    pybigtools.open(str(path), "w").write(sizes, iter(track.rows()))


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._+-" else "_" for letter in name)
