"""Transcripts with their exons and CDS, read from a GTF or GFF3 file of GENCODE, Ensembl, RefSeq or SGD style.

In: the features of `gff`. Out: an `Annotation`, columnar: a table with a row per transcript in file order, and the
exons of all transcripts end to end, each transcript's in the order in which they are transcribed.

A transcript that contradicts itself (exons that overlap or lie on both strands, a CDS outside the exons, no strand)
cannot be spliced: it is left out and listed in `Annotation.dropped`. Real files hold a few such (trans-splicing,
programmed frameshifts); when more than `MAX_DROPPED_SHARE` are like that, the file is wrong and reading fails.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.errors import InputError
from cisoform.genome.files import PathLike
from cisoform.genome.gff import Features, Part, read_features

MAX_DROPPED_SHARE = 0.05
_ID_PREFIXES = r"^(?:transcript:|gene:|rna-|gene-)"
_FLAGS = ("incomplete_5", "incomplete_3", "selenocysteine")
_log = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Annotation:
    """Transcripts of one annotation file; positions are genomic, 0-based and half-open.

    Attributes:
        path: The file.
        transcripts: A row per transcript, in file order: transcript_id (unique), gene_id, gene_name (the gene id
            if it has none), biotype (null if not stated; RefSeq's mRNA reads protein_coding), chrom, strand, start,
            end, cds_start, cds_end (the whole CDS with its stop codon; -1 if non-coding), cds_phase (bases to skip
            before the first whole codon), incomplete_5, incomplete_3 (the file says that the CDS goes on beyond the
            transcript), selenocysteine (in-frame TGA are read as U), has_stop_codon (the file states the stop
            codon; else the CDS may leave it out), line (where it stands in the file).
        exon_offsets: Exons of transcript i are `exon_offsets[i]:exon_offsets[i + 1]`.
        exon_starts: Start of every exon, each transcript's 5' to 3' as transcribed.
        exon_ends: End of every exon.
        dropped: Transcripts left out: transcript_id, line, reason.
    """

    path: Path
    transcripts: pl.DataFrame
    exon_offsets: IntArray
    exon_starts: IntArray
    exon_ends: IntArray
    dropped: pl.DataFrame

    def __len__(self) -> int:
        return self.transcripts.height

    @property
    def n_exons(self) -> IntArray:
        """Number of exons of every transcript."""
        return np.diff(self.exon_offsets)

    def take(self, rows: IntArray) -> Annotation:
        """The given transcripts, in the given order."""
        lengths = self.n_exons[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        exons = np.repeat(self.exon_offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Annotation(
            path=self.path,
            transcripts=self.transcripts[rows],
            exon_offsets=offsets,
            exon_starts=self.exon_starts[exons],
            exon_ends=self.exon_ends[exons],
            dropped=self.dropped,
        )


def read_annotation(path: PathLike) -> Annotation:
    """Read a GTF or GFF3 file, gzip or not; the format is told by the content.

    GTF files leave the stop codon out of the CDS and GFF3 files include it; here it is always included. Exons are
    taken from CDS and UTR lines for transcripts that have no exon line (SGD's GFF3).

    Raises:
        InputError: If the file cannot be read as either format; at a malformed line, a repeated transcript id or
            a part on another chromosome than its transcript (each with the line); if too many transcripts
            contradict themselves.
    """
    path = Path(path)
    features = read_features(path)
    table = _gff3_transcripts(path, features) if features.is_gff3 else _gtf_transcripts(path, features)
    table = table.sort("line").with_row_index("row")
    parts = _own_parts(path, table, features.parts)
    return _assemble(path, table, parts)


def _refuse_duplicates(path: Path, table: pl.DataFrame, column: str) -> None:
    again = table.filter(~pl.col(column).is_first_distinct())
    if again.height:
        name, line = again[column][0], again["line"][0]
        first = table.filter(pl.col(column) == name)["line"][0]
        raise InputError(
            f"{path}: line {line}: transcript id {name!r} stands already at line {first}; "
            "transcript ids must be unique, rename or remove one"
        )


def _gtf_transcripts(path: Path, features: Features) -> pl.DataFrame:
    rows = features.declared
    stated = rows.filter(~pl.col("feature").is_in(["gene", "implied"]))
    nameless = stated.filter(pl.col("key").is_null() | (pl.col("key") == ""))
    if nameless.height:
        raise InputError(f"{path}: line {nameless['line'][0]}: transcript without a transcript_id")
    _refuse_duplicates(path, stated, "key")
    implied = rows.filter(pl.col("feature") == "implied").join(stated.select("key"), on="key", how="anti")
    table = pl.concat([stated, implied])
    genes = rows.filter(pl.col("feature") == "gene").unique("gene_id", keep="first")
    return _with_gene_columns(table, genes.select("gene_id", "gene_name", "biotype"))


def _with_gene_columns(table: pl.DataFrame, genes: pl.DataFrame) -> pl.DataFrame:
    """Fill what a transcript line does not say from the line of its gene."""
    blank_as_null = [
        pl.when(pl.col(name) != "").then(pl.col(name)).alias(name)
        for name in ("gene_id", "gene_name", "biotype")
    ]
    table = table.with_columns(blank_as_null).with_columns(
        pl.coalesce("gene_id", "transcript_id").alias("gene_id")
    )
    table = table.join(genes, on="gene_id", how="left", suffix="_of_gene", maintain_order="left")
    biotype = pl.coalesce("biotype", "biotype_of_gene")
    return table.with_columns(
        pl.coalesce("gene_name", "gene_name_of_gene", "gene_id").alias("gene_name"),
        pl.when(biotype == "mRNA").then(pl.lit("protein_coding")).otherwise(biotype).alias("biotype"),
    ).drop("gene_name_of_gene", "biotype_of_gene")


def _gff3_transcripts(path: Path, features: Features) -> pl.DataFrame:
    """Rows that own parts are the transcripts, whatever they are called; their parents are the genes."""
    rows = features.declared
    owners = features.parts.select("key").unique()
    owning = rows.join(owners, on="key", how="semi", maintain_order="left")
    # A gene that owns parts and also has transcripts of its own repeats what those say.
    repeats = pl.col("feature").str.ends_with("gene") & pl.col("key").is_in(
        owning["parent"].drop_nulls().implode()
    )
    table = owning.filter(~repeats)
    _refuse_duplicates(path, table, "key")
    genes = rows.join(table.select("key"), on="key", how="anti").unique("key", keep="first")

    stem = pl.col("key").str.replace(_ID_PREFIXES, "")
    named = pl.coalesce("transcript_id", stem)
    parent_gene = pl.col("parent").replace(dict(table.select("key", "parent").drop_nulls().iter_rows()))
    is_gene = pl.col("feature").str.ends_with("gene")
    table = table.with_columns(
        # One accession placed twice (PAR, repeats) keeps its name once; later placements go by their ID.
        pl.when(named.is_first_distinct()).then(named).otherwise(stem).alias("transcript_id"),
        pl.coalesce("gene_id", parent_gene.str.replace(_ID_PREFIXES, ""), stem).alias("gene_id"),
        pl.coalesce("biotype", pl.when(~is_gene).then("feature")).alias("biotype"),
    )
    _refuse_duplicates(path, table, "transcript_id")
    genes = genes.select(
        pl.coalesce("gene_id", stem).alias("gene_id"),
        pl.coalesce("gene_name", "name").alias("gene_name"),
        "biotype",
    )
    return _with_gene_columns(table, genes.unique("gene_id", keep="first"))


def _own_parts(path: Path, table: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """Parts with the row of their transcript; parts of what is no transcript are left out."""
    owner = table.select("key", "row", "transcript_id", owner_chrom="chrom", owner_strand="strand")
    parts = parts.join(owner, on="key", how="inner", maintain_order="left")
    elsewhere = parts.filter(pl.col("chrom") != pl.col("owner_chrom"))
    if elsewhere.height:
        line, name, chrom, expected = elsewhere.select("line", "transcript_id", "chrom", "owner_chrom").row(0)
        raise InputError(
            f"{path}: line {line}: a part of transcript {name!r} lies on {chrom!r} but the transcript on {expected!r}; "
            "is the id used twice?"
        )
    return parts.with_columns((pl.col("strand") != pl.col("owner_strand")).alias("other_strand"))


def _assemble(path: Path, table: pl.DataFrame, parts: pl.DataFrame) -> Annotation:
    n = table.height
    kind, row = parts["kind"].to_numpy(), parts["row"].to_numpy().astype(np.int64)
    start, end = parts["start"].to_numpy(), parts["end"].to_numpy()
    minus = (table["strand"] == "-").to_numpy()
    problem = np.full(n, "", dtype=object)

    exon_row, exon_start, exon_end = _exon_arrays(n, kind, row, start, end)
    problem[~np.isin(np.arange(n), exon_row)] = "no exon"
    clash = (exon_row[1:] == exon_row[:-1]) & (exon_start[1:] < exon_end[:-1])
    problem[exon_row[1:][clash]] = "exons overlap"

    coding = (kind == Part.CDS) | (kind == Part.STOP_CODON)
    cds_start, cds_end = _extent(n, row[coding], start[coding], end[coding])
    cds_only = kind == Part.CDS
    # A stop codon alone (no CDS) says nothing.
    has_cds = np.zeros(n, dtype=bool)
    has_cds[row[cds_only]] = True
    cds_start, cds_end = np.where(has_cds, cds_start, -1), np.where(has_cds, cds_end, -1)
    phase = _first_phase(n, minus, row[cds_only], start[cds_only], parts["frame"].to_numpy()[cds_only])
    for position in (cds_start, cds_end - 1):
        inside = np.zeros(n, dtype=bool)
        inside[exon_row[(exon_start <= position[exon_row]) & (position[exon_row] < exon_end)]] = True
        problem[has_cds & ~inside & (problem == "")] = "CDS lies outside the exons"
    problem[np.unique(row[parts["other_strand"].to_numpy()])] = "parts on both strands"
    problem[~table["strand"].is_in(["+", "-"]).to_numpy()] = "no strand (neither + nor -)"

    has_stop = np.zeros(n, dtype=bool)
    has_stop[row[kind == Part.STOP_CODON]] = True
    columns: dict[str, npt.NDArray[Any]] = {
        "cds_start": cds_start,
        "cds_end": cds_end,
        "cds_phase": phase,
        "has_stop_codon": has_stop,
    }
    flags = {
        name: table[name].to_numpy() | _any(n, row[cds_only], parts[name].to_numpy()[cds_only])
        for name in _FLAGS
    }
    flags["selenocysteine"] |= _any(n, row, kind == Part.SELENOCYSTEINE)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(exon_row, minlength=n))]).astype(np.int64)
    span_start, span_end = _extent(n, exon_row, exon_start, exon_end)
    exon_start, exon_end = _transcription_order(minus[exon_row], exon_row, exon_start, exon_end)
    table = table.with_columns(pl.Series(name, values) for name, values in (columns | flags).items())
    table = table.with_columns(pl.Series("start", span_start), pl.Series("end", span_end))
    whole = Annotation(
        path, _ordered_columns(table), offsets, exon_start, exon_end, _dropped(path, table, problem)
    )
    return whole.take(np.flatnonzero(problem == "")) if (problem != "").any() else whole


def _ordered_columns(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(
        "transcript_id", "gene_id", "gene_name", "biotype", "chrom", "strand", "start", "end",
        "cds_start", "cds_end", "cds_phase", *_FLAGS, "has_stop_codon", "line",
    )  # fmt: skip


def _exon_arrays(
    n: int, kind: npt.NDArray[np.int8], row: IntArray, start: IntArray, end: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Exons sorted by transcript and position; from CDS and UTR parts, joined, where there is no exon line."""
    has_exon = np.zeros(n, dtype=bool)
    has_exon[row[kind == Part.EXON]] = True
    bare = ~has_exon[row] & np.isin(kind, (Part.CDS, Part.STOP_CODON, Part.UTR))
    keep = (kind == Part.EXON) | bare
    order = np.lexsort((end[keep], start[keep], row[keep]))
    row, start, end = row[keep][order], start[keep][order], end[keep][order]
    if bare.any():
        # Parts that touch or overlap become one exon.
        touches = np.zeros(len(row), dtype=bool)
        touches[1:] = (row[1:] == row[:-1]) & (start[1:] <= end[:-1]) & ~has_exon[row[1:]]
        first = np.flatnonzero(~touches)
        row, start, end = row[first], start[first], np.maximum.reduceat(end, first)
    return row, start, end


def _extent(n: int, row: IntArray, start: IntArray, end: IntArray) -> tuple[IntArray, IntArray]:
    """Lowest start and highest end of every row; -1 where it has none."""
    low = np.full(n, np.iinfo(np.int64).max)
    high = np.full(n, -1, dtype=np.int64)
    np.minimum.at(low, row, start)
    np.maximum.at(high, row, end)
    return np.where(high < 0, -1, low), high


def _first_phase(
    n: int, minus: npt.NDArray[np.bool_], row: IntArray, start: IntArray, frame: npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    """Frame of the first CDS part as transcribed; 0 without CDS."""
    position = np.where(minus[row], -start, start)
    order = np.lexsort((position, row))
    first = order[np.concatenate([[True], row[order][1:] != row[order][:-1]])] if len(order) else order
    phase = np.zeros(n, dtype=np.int8)
    phase[row[first]] = frame[first]
    return phase


def _any(n: int, row: IntArray, values: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    found = np.zeros(n, dtype=bool)
    found[row[values]] = True
    return found


def _transcription_order(
    minus: npt.NDArray[np.bool_], row: IntArray, start: IntArray, end: IntArray
) -> tuple[IntArray, IntArray]:
    order = np.lexsort((np.where(minus, -start, start), row))
    return start[order], end[order]


def _dropped(path: Path, table: pl.DataFrame, problem: npt.NDArray[np.object_]) -> pl.DataFrame:
    bad = np.flatnonzero(problem != "")
    dropped = table[bad].select(
        "transcript_id", "line", pl.Series("reason", problem[bad].tolist(), dtype=pl.String)
    )
    if not len(bad):
        return dropped
    name, line, reason = dropped.row(0)
    share = f"{len(bad)} of {table.height} transcripts cannot be spliced"
    if len(bad) > MAX_DROPPED_SHARE * table.height:
        raise InputError(
            f"{path}: line {line}: transcript {name!r}: {reason}; {share}, the annotation is not usable"
        )
    _log.warning("%s: %s and are left out, the first at line %d: %s (%s)", path, share, line, name, reason)
    return dropped
