"""One transcription start per gene: of the MANE transcript, else the Ensembl canonical, else the longest.

The longest is the coding transcript with most exonic bases; a gene without coding transcripts takes its longest.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from cisoform.errors import InputError
from cisoform.genome.annotation import read_annotation
from cisoform.genome.files import PathLike, open_text
from cisoform.genome.names import ChromosomeMap, map_chromosomes

_TAGS = ("MANE_Select", "MANE Select", "Ensembl_canonical")
_TRANSCRIPT_ID = re.compile(r'transcript_id[ =]"?([^";]+)')


def _tagged(path: PathLike) -> dict[str, int]:
    """Transcripts that the annotation calls the one of their gene, and how good the tag is (2 = MANE)."""
    found: dict[str, int] = {}
    with open_text(path, "annotation GTF or GFF3") as handle:
        for line in handle:
            if "MANE" not in line and "Ensembl_canonical" not in line:
                continue
            feature = line.split("\t", 3)[2:3]
            if feature and feature[0] in ("transcript", "mRNA"):
                name = _TRANSCRIPT_ID.search(line)
                if name is not None:
                    if _TAGS[0] in line or _TAGS[1] in line:
                        found[name[1]] = 2
                    elif _TAGS[2] in line:
                        found.setdefault(name[1], 1)
    return found


def gene_starts(path: PathLike, chroms: dict[str, int]) -> tuple[pl.DataFrame, ChromosomeMap]:
    """Genes of an annotation with one start each, in genomic order; chromosomes as the genome calls them.

    Args:
        path: GTF or GFF3.
        chroms: Length of every chromosome of the genome, in order.

    Returns:
        Columns gene_id, gene_name, biotype, chrom, strand, tss (0-based position of the first transcribed base)
        and transcript_id; and how chromosomes were matched. Genes on chromosomes that the genome lacks are left out.

    Raises:
        InputError: If the annotation cannot be read, shares no chromosome, or a gene starts beyond the end of one.
    """
    annotation = read_annotation(path)
    names = map_chromosomes(annotation.transcripts["chrom"].unique(maintain_order=True).to_list(), chroms)
    bases = np.add.reduceat(annotation.exon_ends - annotation.exon_starts, annotation.exon_offsets[:-1])
    tagged = _tagged(path)
    ids = annotation.transcripts["transcript_id"].to_list()
    table = annotation.transcripts.with_columns(
        pl.Series("bases", bases),
        pl.Series("tag", [tagged.get(name, 0) for name in ids], dtype=pl.Int8),
        (pl.col("cds_start") >= 0).alias("coding"),
        pl.when(pl.col("strand") == "-").then(pl.col("end") - 1).otherwise(pl.col("start")).alias("tss"),
    ).filter(pl.col("chrom").is_in(list(names.names)))
    best = table.sort(
        ["tag", "coding", "bases", "line"], descending=[True, True, True, False], maintain_order=True
    )
    best = best.unique("gene_id", keep="first", maintain_order=True)
    best = best.with_columns(
        pl.col("chrom").replace_strict(names.names, return_dtype=pl.String),
        pl.col("biotype").fill_null(""),
    )
    order = {name: index for index, name in enumerate(chroms)}
    best = best.with_columns(
        pl.col("chrom").replace_strict(order, return_dtype=pl.Int64).alias("rank"),
        pl.col("chrom").replace_strict(chroms, return_dtype=pl.Int64).alias("length"),
    )
    beyond = best.filter(pl.col("tss") >= pl.col("length"))
    if beyond.height:
        gene, chrom, tss, length = beyond.select("gene_id", "chrom", "tss", "length").row(0)
        raise InputError(
            f"{path}: gene {gene} starts at {chrom}:{tss + 1:,} but the genome's {chrom} has {length:,} bases; "
            "annotation and genome are of different assemblies"
        )
    best = best.sort(["rank", "tss", "gene_id"])
    return best.select("gene_id", "gene_name", "biotype", "chrom", "strand", "tss", "transcript_id"), names
