"""Lines of GTF and GFF3 files as two tables: what is declared (transcripts, genes) and the parts they own.

The file is read in blocks of whole lines, so memory does not grow with the attribute column. Coordinates become
0-based half-open here. Which rows belong together is decided in `annotation`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import polars as pl

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_binary

WHAT = "annotation GTF or GFF3"
_BLOCK_BYTES = 32 << 20
_COLUMNS = ("chrom", "source", "feature", "start", "end", "score", "strand", "frame", "attributes")
_SCHEMA = {name: pl.Int64 if name in ("start", "end") else pl.String for name in _COLUMNS}


class Part(IntEnum):
    """What a part of a transcript is."""

    EXON = 0
    CDS = 1
    STOP_CODON = 2
    UTR = 3
    SELENOCYSTEINE = 4


_PART_OF_FEATURE = {
    "exon": Part.EXON,
    "pseudogenic_exon": Part.EXON,
    "CDS": Part.CDS,
    "stop_codon": Part.STOP_CODON,
    "UTR": Part.UTR,
    "five_prime_UTR": Part.UTR,
    "three_prime_UTR": Part.UTR,
    "five_prime_utr": Part.UTR,
    "three_prime_utr": Part.UTR,
    "5UTR": Part.UTR,
    "3UTR": Part.UTR,
    "Selenocysteine": Part.SELENOCYSTEINE,
    "stop_codon_redefined_as_selenocysteine": Part.SELENOCYSTEINE,
}
_GTF_TRANSCRIPTS = ("transcript", "mRNA")
# GFF3 rows that have an ID but are neither transcript nor gene; leaving them out early saves time.
_GFF3_NOISE = (
    "region", "chromosome", "scaffold", "contig", "supercontig", "biological_region", "match", "cDNA_match",
    "EST_match", "protein_match", "start_codon", "intron", "protein", "polypeptide", "sequence_feature",
    "sequence_alteration", "enhancer", "silencer", "promoter", "repeat_region",
)  # fmt: skip


@dataclass(frozen=True)
class Features:
    """The rows of an annotation file that matter.

    Attributes:
        is_gff3: Else GTF, where a CDS leaves out the stop codon.
        declared: One row per declared transcript or gene: key (transcript id of a GTF, ID of a GFF3), feature,
            transcript_id, parent, gene_id, gene_name, name, biotype, chrom, strand, start, end, incomplete_5,
            incomplete_3, selenocysteine, line. An attribute that is not there is null.
        parts: One row per exon, CDS and so on: key of the owner, kind (`Part`), chrom, strand, start, end,
            frame (0-2), incomplete_5, incomplete_3, selenocysteine, line.
    """

    is_gff3: bool
    declared: pl.DataFrame
    parts: pl.DataFrame


def read_features(path: PathLike) -> Features:
    """Read the features of a GTF or GFF3 file, gzip or not; the format is told by the content.

    Raises:
        InputError: If the file is missing, empty, damaged or neither format; at a malformed line.
    """
    path = Path(path)
    declared: list[pl.DataFrame] = []
    parts: list[pl.DataFrame] = []
    known: set[str] = set()
    is_gff3: bool | None = None
    with open_binary(path, WHAT) as handle:
        for block, first_line in _blocks(handle):
            rows = _parse_block(path, block, first_line)
            if is_gff3 is None and rows.height:
                is_gff3 = _is_gff3(path, rows)
            if is_gff3:
                block_declared, block_parts = _gff3_rows(rows)
            else:
                block_declared, block_parts = _gtf_rows(path, rows, known)
            declared.append(block_declared)
            parts.append(block_parts)
    if is_gff3 is None or not sum(frame.height for frame in parts):
        raise InputError(f"{path}: has no exon or CDS line ({WHAT}); is this the right file?")
    return Features(is_gff3, pl.concat(declared), pl.concat(parts))


def _blocks(handle: io.BufferedIOBase) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines with the number of their first line; ends at the sequence part of a GFF3."""
    line = 1
    while block := handle.read(_BLOCK_BYTES):
        block += handle.readline()
        cut = block.find(b"\n##FASTA") + 1
        if cut or block.startswith(b"##FASTA"):
            yield block[:cut], line
            return
        yield block, line
        line += block.count(b"\n")


def _parse_block(path: Path, block: bytes, first_line: int) -> pl.DataFrame:
    """The data lines of a block with their line numbers, checked."""
    bytes_of = np.frombuffer(block, dtype=np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(bytes_of == ord("\n")) + 1])
    starts = starts[starts < len(block)]
    lines = np.flatnonzero(bytes_of[starts] != ord("#")) + first_line
    if not len(lines):
        return pl.DataFrame(schema={**_SCHEMA, "line": pl.Int64})
    try:
        rows = pl.read_csv(
            io.BytesIO(block),
            separator="\t",
            has_header=False,
            comment_prefix="#",
            quote_char=None,
            schema=_SCHEMA,
            columns=[_COLUMNS.index(name) for name in _COLUMNS if name not in ("source", "score")],
        )
    except (pl.exceptions.ComputeError, pl.exceptions.SchemaError):
        _raise_at_bad_line(path, block, first_line)
        raise
    rows = rows.with_columns(pl.Series("line", lines))
    bad = rows.filter(
        pl.col("attributes").is_null()
        | pl.col("end").is_null()
        | (pl.col("start") < 1)
        | (pl.col("end") < pl.col("start"))
    )
    # Columns past the ninth go unnoticed above; comments may hold tabs, then nothing is wrong.
    if bad.height or block.count(b"\t") != (len(_COLUMNS) - 1) * rows.height:
        _raise_at_bad_line(path, block, first_line)
        rows = rows.filter(pl.col("attributes").is_not_null())
    return rows.with_columns(pl.col("start") - 1)


def _raise_at_bad_line(path: Path, block: bytes, first_line: int) -> None:
    """Find the first line that is not a proper feature line and say what is wrong; returns if only blank ones."""
    for number, raw in enumerate(block.split(b"\n"), first_line):
        raw = raw.rstrip(b"\r")
        if not raw or raw.startswith(b"#"):
            continue
        where = f"{path}: line {number}"
        try:
            fields = raw.decode().split("\t")
        except UnicodeDecodeError:
            raise InputError(f"{where}: is not UTF-8 text ({WHAT})") from None
        if len(fields) != len(_COLUMNS) or not fields[8]:
            found = f"{len(fields)} tab-separated columns instead of 9: {raw.decode()[:60]!r}"
            raise InputError(f"{where}: {found}; is this a GTF or GFF3 file?")
        for name, value in (("start", fields[3]), ("end", fields[4])):
            if not value.isascii() or not value.isdigit() or int(value) < 1:
                raise InputError(f"{where}: {name} {value!r} is not a position (a whole number from 1)")
        if int(fields[4]) < int(fields[3]):
            raise InputError(f"{where}: end {fields[4]} lies before start {fields[3]}")


def _is_gff3(path: Path, rows: pl.DataFrame) -> bool:
    attributes = rows["attributes"].head(1000)
    if attributes.str.contains(r'(?:gene|transcript)_id\s+"?[^=]').any():
        return False
    if attributes.str.contains(r"^\s*\w[\w.\-]*=").any():
        return True
    line, value = rows["line"][0], rows["attributes"][0]
    raise InputError(f"{path}: line {line}: attributes are of neither GTF nor GFF3: {value[:60]!r}")


def _flags(attributes: pl.Expr, strand: pl.Expr) -> list[pl.Expr]:
    """Incomplete ends and selenocysteine as GENCODE/Ensembl tags and as RefSeq's partial and transl_except."""
    partial = attributes.str.contains(r'partial[ =]"?true')
    low, high = (
        attributes.str.contains("start_range=", literal=True),
        attributes.str.contains("end_range=", literal=True),
    )
    unclear = ~low & ~high
    minus = strand == "-"
    five = partial & (unclear | pl.when(minus).then(high).otherwise(low))
    three = partial & (unclear | pl.when(minus).then(low).otherwise(high))
    sec = attributes.str.contains(r"(?-u:\b)seleno(?-u:\b)|aa:Sec")
    return [
        (attributes.str.contains("cds_start_NF", literal=True) | five).alias("incomplete_5"),
        (attributes.str.contains("cds_end_NF", literal=True) | three).alias("incomplete_3"),
        sec.alias("selenocysteine"),
    ]


def _part_columns() -> list[pl.Expr]:
    kinds = {feature: int(part) for feature, part in _PART_OF_FEATURE.items()}
    frame = pl.col("frame").cast(pl.Int8, strict=False).fill_null(0).clip(0, 2)
    return [
        pl.col("key"),
        pl.col("feature").replace_strict(kinds, return_dtype=pl.Int8).alias("kind"),
        *(pl.col(name) for name in ("chrom", "strand", "start", "end")),
        frame,
    ]


def _parts(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of parts; only a CDS carries flags, and looking for them in every exon would cost seconds."""
    flagged = rows.filter(pl.col("feature") == "CDS")
    others = rows.filter(pl.col("feature") != "CDS")
    none = [pl.lit(False).alias(name) for name in ("incomplete_5", "incomplete_3", "selenocysteine")]
    columns = _part_columns()
    return pl.concat(
        [
            flagged.select(*columns, *_flags(pl.col("attributes"), pl.col("strand")), pl.col("line")),
            others.select(*columns, *none, pl.col("line")),
        ]
    )


def _gtf_value(*names: str) -> pl.Expr:
    return pl.col("attributes").str.extract(rf'(?-u:\b)(?:{"|".join(names)})[ =]+"?([^";]*)')


def _gtf_declared(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        _gtf_value("transcript_id").alias("key"),
        pl.col("feature"),
        _gtf_value("transcript_id").alias("transcript_id"),
        pl.lit(None, pl.String).alias("parent"),
        _gtf_value("gene_id").alias("gene_id"),
        _gtf_value("gene_name", "gene").alias("gene_name"),
        pl.lit(None, pl.String).alias("name"),
        pl.coalesce(
            _gtf_value("transcript_biotype", "transcript_type"), _gtf_value("gene_biotype", "gene_type")
        ).alias("biotype"),
        *(pl.col(name) for name in ("chrom", "strand", "start", "end")),
        *_flags(pl.col("attributes"), pl.col("strand")),
        pl.col("line"),
    )


def _gtf_rows(path: Path, rows: pl.DataFrame, known: set[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Declared and part rows of a GTF block; a part of an unknown transcript declares it ("implied")."""
    parts = rows.filter(pl.col("feature").is_in(list(_PART_OF_FEATURE)))
    parts = parts.with_columns(_gtf_value("transcript_id").alias("key"))
    nameless = parts.filter(pl.col("key").is_null() | (pl.col("key") == ""))
    if nameless.height:
        line, feature = nameless["line"][0], nameless["feature"][0]
        raise InputError(
            f"{path}: line {line}: {feature} without a transcript_id; each part must name its transcript"
        )
    declared = _gtf_declared(rows.filter(pl.col("feature").is_in(_GTF_TRANSCRIPTS)))
    known.update(declared["key"].drop_nulls())
    firsts = parts.unique("key", keep="first", maintain_order=True)
    firsts = firsts.filter(~pl.Series([key in known for key in firsts["key"]], dtype=pl.Boolean))
    implied = _gtf_declared(firsts).with_columns(pl.lit("implied").alias("feature"))
    known.update(implied["key"])
    genes = _gtf_declared(rows.filter(pl.col("feature") == "gene"))
    return pl.concat([declared, implied, genes]), _parts(parts)


def _gff3_value(*names: str) -> pl.Expr:
    return pl.col("attributes").str.extract(rf"(?:^|;)\s*(?:{'|'.join(names)})=([^;]*)")


def _gff3_rows(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Declared and part rows of a GFF3 block; a part with several parents is repeated for each."""
    is_part = pl.col("feature").is_in(list(_PART_OF_FEATURE))
    parts = rows.filter(is_part).with_columns(_gff3_value("Parent").alias("key"))
    parts = parts.filter(pl.col("key").is_not_null())
    if parts["key"].str.contains(",", literal=True).any():
        parts = parts.with_columns(pl.col("key").str.split(",")).explode("key")
    others = rows.filter(~is_part & ~pl.col("feature").is_in(_GFF3_NOISE))
    declared = others.select(
        _gff3_value("ID").alias("key"),
        pl.col("feature"),
        _gff3_value("transcript_id").alias("transcript_id"),
        _gff3_value("Parent").str.split(",").list.first().alias("parent"),
        _gff3_value("gene_id").alias("gene_id"),
        _gff3_value("gene_name", "gene").alias("gene_name"),
        _gff3_value("Name").alias("name"),
        _gff3_value("transcript_type", "transcript_biotype", "biotype", "gene_biotype").alias("biotype"),
        *(pl.col(name) for name in ("chrom", "strand", "start", "end")),
        *_flags(pl.col("attributes"), pl.col("strand")),
        pl.col("line"),
    ).filter(pl.col("key").is_not_null())
    return _decoded(declared), _decoded(_parts(parts))


def _decoded(frame: pl.DataFrame) -> pl.DataFrame:
    """Undo the percent-encoding of GFF3 where there is any."""
    names = [name for name, kind in frame.schema.items() if kind == pl.String]
    coded = [name for name in names if frame[name].str.contains("%", literal=True).any()]
    decode = {name: [None if value is None else unquote(value) for value in frame[name]] for name in coded}
    return frame.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in decode.items())
