"""Transcripts as models see them: spliced RNA, CDS in RNA coordinates, protein and TSS, from annotation + genome.

One call builds all transcripts of an annotation (250,000 human-size ones in seconds) and checks that annotation and
genome belong together. A CDS that is odd by itself is flagged and kept; many odd ones mean a wrong assembly.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.errors import InputError
from cisoform.genome.annotation import Annotation
from cisoform.genome.coding import (
    FLAG_INCOMPLETE_3,
    FLAG_INCOMPLETE_5,
    FLAG_INTERNAL_STOP,
    FLAG_NAMES,
    FLAG_NO_START,
    FLAG_NO_STOP,
    FLAG_OUT_OF_FRAME,
    FLAG_SELENOCYSTEINE,
    Coding,
    find_coding,
)
from cisoform.genome.fasta import Genome
from cisoform.genome.names import ChromosomeMap, map_chromosomes
from cisoform.genome.ragged import Ragged
from cisoform.genome.splice import Spliced, splice

__all__ = [
    "FLAG_INCOMPLETE_3",
    "FLAG_INCOMPLETE_5",
    "FLAG_INTERNAL_STOP",
    "FLAG_NAMES",
    "FLAG_NO_START",
    "FLAG_NO_STOP",
    "FLAG_OUT_OF_FRAME",
    "FLAG_SELENOCYSTEINE",
    "MITOCHONDRIAL_TABLES",
    "AssemblyCheck",
    "TranscriptSet",
    "build_transcripts",
    "check_assembly",
]

# Genetic code by chromosome name. chrM and MT are taken as a vertebrate's; a worm's or fly's must be named (5).
MITOCHONDRIAL_TABLES: dict[str, int] = {
    **dict.fromkeys(("chrM", "chrMT", "MT", "M", "NC_012920.1", "NC_005089.1"), 2),
    **dict.fromkeys(("Mito", "chrmt", "NC_001224.1"), 3),
    **dict.fromkeys(("MtDNA", "mitochondrion_genome"), 5),
}
MIN_SHARE = 0.8
# With fewer than this many CDS one bad one weighs much, so only a majority of bad ones counts.
_FEW = 20
_MIN_SHARE_OF_FEW = 0.5
_MIN_INTRONS = 50
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AssemblyCheck:
    """How many complete CDS look right on this genome; see `check_assembly`.

    Attributes:
        n_cds: CDS that the annotation does not call incomplete.
        start: Share of them that begin with a start codon of the genetic code.
        in_frame: Share that are a whole number of codons.
        no_internal_stop: Share without a stop before the last codon.
        n_introns: Introns.
        canonical_introns: Share of them that begin GT or GC and end AG. Decides only where CDS are few.
    """

    n_cds: int
    start: float
    in_frame: float
    no_internal_stop: float
    n_introns: int
    canonical_introns: float


@dataclass(frozen=True)
class TranscriptSet:
    """All transcripts of an annotation on a genome, in the order of the file.

    Attributes:
        table: A row per transcript: transcript_id, gene_id, gene_name, biotype, chrom (name in the genome), strand,
            tss and tes (0-based positions of the first and last transcribed base), start, end (0-based half-open
            span), cds_start, cds_end (RNA coordinates, stop codon included; -1 if non-coding), cds_phase (bases of
            the CDS before its first whole codon), rna_len, utr5_len, cds_len, utr3_len (0 if non-coding), n_exons,
            flags (sum of `FLAG_` values), exon_starts and exon_ends (genomic, lists from 5' to 3').
        rna: Base codes of each transcript, 5' to 3'.
        junctions: RNA positions at which a new exon begins (0 left out).
        protein: Amino-acid codes of the distinct proteins, without stop.
        protein_row: Row of each transcript's protein; -1 if it has none.
        report: Number of transcripts, of coding ones, of distinct proteins, and of each flag by name.
        assembly: Shares found by the assembly check.
        chromosomes: How annotation and genome name their chromosomes.
        dropped: Transcripts left out: transcript_id, line, reason.
    """

    table: pl.DataFrame
    rna: Ragged
    junctions: Ragged
    protein: Ragged
    protein_row: npt.NDArray[np.int32]
    report: dict[str, int]
    assembly: AssemblyCheck
    chromosomes: ChromosomeMap
    dropped: pl.DataFrame

    def __len__(self) -> int:
        return self.table.height


def build_transcripts(
    annotation: Annotation,
    genome: Genome,
    code_table: int = 1,
    chrom_tables: Mapping[str, int] | None = None,
    check: bool = True,
) -> TranscriptSet:
    """Splice and translate every transcript of an annotation.

    Args:
        annotation: From `read_annotation`.
        genome: The genome it was made for.
        code_table: NCBI genetic code of the chromosomes.
        chrom_tables: Genetic code of chromosomes that have another one, by name in the genome; added to
            `MITOCHONDRIAL_TABLES`.
        check: Raise if annotation and genome do not fit together (`check_assembly`).

    Raises:
        InputError: If chromosome names do not match, a transcript lies past the end of its chromosome, the genetic
            code is unknown, or the assembly check fails.
    """
    chromosomes = map_chromosomes(annotation.transcripts["chrom"].unique(maintain_order=True), genome.chroms)
    annotation = _on_known_chromosomes(annotation, chromosomes, genome)
    chroms = [chromosomes.names[name] for name in annotation.transcripts["chrom"]]
    _refuse_past_end(annotation, chroms, genome)
    by_chrom = {**MITOCHONDRIAL_TABLES, **(chrom_tables or {})}
    tables = np.array([by_chrom.get(chrom, code_table) for chrom in chroms], dtype=np.int64)
    spliced = splice(annotation, chroms, genome)
    coding = find_coding(annotation, spliced.rna, spliced.exon_rna_start, tables)
    assembly = _measure_assembly(coding, spliced)
    if check:
        check_assembly(assembly, annotation.path, genome.path, code_table)
    return TranscriptSet(
        table=_table(annotation, chroms, spliced, coding),
        rna=spliced.rna,
        junctions=_junctions(annotation, spliced.exon_rna_start),
        protein=coding.protein,
        protein_row=coding.protein_row,
        report=_report(coding),
        assembly=assembly,
        chromosomes=chromosomes,
        dropped=annotation.dropped,
    )


def _on_known_chromosomes(annotation: Annotation, chromosomes: ChromosomeMap, genome: Genome) -> Annotation:
    """Leave out transcripts of chromosomes that the genome lacks; an error if that is most of them."""
    if not chromosomes.missing:
        return annotation
    known = annotation.transcripts["chrom"].is_in(list(chromosomes.names)).to_numpy()
    n_lost = int((~known).sum())
    text = f"{n_lost} of {len(annotation)} transcripts lie on chromosomes that the genome lacks"
    some = ", ".join(chromosomes.missing[:3])
    if n_lost > len(annotation) / 2:
        raise InputError(
            f"{annotation.path}: {text} ({some}); {genome.path} has {', '.join(list(genome.chroms)[:3])}; "
            "use the genome that the annotation was made for"
        )
    _log.warning("%s: %s (%s) and are left out", annotation.path, text, some)
    lost = annotation.transcripts.filter(~pl.Series(known)).select(
        "transcript_id",
        "line",
        (pl.lit("chromosome ") + pl.col("chrom") + pl.lit(" is not in the genome")).alias("reason"),
    )
    kept = annotation.take(np.flatnonzero(known))
    return Annotation(
        path=kept.path,
        transcripts=kept.transcripts,
        exon_offsets=kept.exon_offsets,
        exon_starts=kept.exon_starts,
        exon_ends=kept.exon_ends,
        dropped=pl.concat([annotation.dropped, lost]),
    )


def _refuse_past_end(annotation: Annotation, chroms: list[str], genome: Genome) -> None:
    limit = np.array([genome.chroms[chrom] for chrom in chroms], dtype=np.int64)
    beyond = np.flatnonzero(annotation.transcripts["end"].to_numpy() > limit)
    if len(beyond):
        row = int(beyond[0])
        name, line, end = annotation.transcripts.select("transcript_id", "line", "end").row(row)
        raise InputError(
            f"{annotation.path}: line {line}: transcript {name!r} ends at {end:,} but {chroms[row]} of {genome.path} "
            f"has {limit[row]:,} bases ({len(beyond)} such transcripts); annotation and genome are probably "
            "of different assemblies"
        )


def _measure_assembly(coding: Coding, spliced: Spliced) -> AssemblyCheck:
    complete = (coding.cds_start >= 0) & (coding.flags & (FLAG_INCOMPLETE_5 | FLAG_INCOMPLETE_3) == 0)
    flags = coding.flags[complete]

    def share_without(flag: int) -> float:
        return float(np.mean(flags & flag == 0)) if len(flags) else 1.0

    return AssemblyCheck(
        n_cds=len(flags),
        start=share_without(FLAG_NO_START),
        in_frame=share_without(FLAG_OUT_OF_FRAME),
        no_internal_stop=share_without(FLAG_INTERNAL_STOP),
        n_introns=spliced.n_introns,
        canonical_introns=spliced.n_canonical_introns / spliced.n_introns if spliced.n_introns else 1.0,
    )


def check_assembly(
    check: AssemblyCheck, annotation_path: Path, genome_path: Path, code_table: int = 1
) -> None:
    """Refuse an annotation that does not fit its genome.

    On the right assembly nearly every complete CDS begins with a start codon, is in frame and has no internal stop;
    on a wrong one about 5 % begin with one of the three start codons of the standard code and nearly all have
    internal stops. At least `MIN_SHARE` must pass each test (half, if there are fewer than 20 CDS). Where there are
    fewer than 20 CDS, introns are tested for GT/GC...AG if there are 50 or more.

    Raises:
        InputError: With the failed test and its share.
    """
    required = MIN_SHARE if check.n_cds >= _FEW else _MIN_SHARE_OF_FEW
    tests = (
        (check.start, "begin with a start codon"),
        (check.no_internal_stop, "have no internal stop codon"),
        (check.in_frame, "are a whole number of codons"),
    )
    for share, what in tests:
        if share < required:
            raise InputError(
                f"{annotation_path}: only {share:.1%} of {check.n_cds} complete CDS {what} on {genome_path} (at least "
                f"{required:.0%} expected); annotation and genome are probably of different assemblies, or genetic "
                f"code {code_table} is the wrong one"
            )
    if check.n_cds < _FEW and check.n_introns >= _MIN_INTRONS and check.canonical_introns < _MIN_SHARE_OF_FEW:
        raise InputError(
            f"{annotation_path}: only {check.canonical_introns:.1%} of {check.n_introns} introns begin GT or GC and "
            f"end AG on {genome_path} (at least {_MIN_SHARE_OF_FEW:.0%} expected); annotation and genome are probably "
            "of different assemblies"
        )


def _table(annotation: Annotation, chroms: list[str], spliced: Spliced, coding: Coding) -> pl.DataFrame:
    columns = annotation.transcripts
    plus = pl.col("strand") == "+"
    has_cds = coding.cds_start >= 0
    rna_len = spliced.rna.lengths
    return columns.select(
        "transcript_id",
        "gene_id",
        "gene_name",
        "biotype",
        pl.Series("chrom", chroms, dtype=pl.String),
        "strand",
        pl.when(plus).then("start").otherwise(pl.col("end") - 1).alias("tss"),
        pl.when(plus).then(pl.col("end") - 1).otherwise("start").alias("tes"),
        "start",
        "end",
        pl.Series("cds_start", coding.cds_start),
        pl.Series("cds_end", coding.cds_end),
        pl.Series("cds_phase", coding.phase),
        pl.Series("rna_len", rna_len),
        pl.Series("utr5_len", np.where(has_cds, coding.cds_start, 0)),
        pl.Series("cds_len", coding.cds_end - coding.cds_start),
        pl.Series("utr3_len", np.where(has_cds, rna_len - coding.cds_end, 0)),
        pl.Series("n_exons", annotation.n_exons),
        pl.Series("flags", coding.flags),
        *_exon_lists(annotation),
    )


def _exon_lists(annotation: Annotation) -> list[pl.Series]:
    """Genomic bounds of each transcript's exons as list columns, 5' to 3'."""
    transcript = np.repeat(np.arange(len(annotation)), annotation.n_exons)
    lists = (
        pl.DataFrame(
            {
                "transcript": transcript,
                "exon_starts": annotation.exon_starts,
                "exon_ends": annotation.exon_ends,
            }
        )
        .group_by("transcript", maintain_order=True)
        .agg("exon_starts", "exon_ends")
    )
    return [lists["exon_starts"], lists["exon_ends"]]


def _junctions(annotation: Annotation, exon_rna_start: npt.NDArray[np.int64]) -> Ragged:
    inner = np.ones(len(exon_rna_start), dtype=bool)
    inner[annotation.exon_offsets[:-1]] = False
    offsets = annotation.exon_offsets - np.arange(len(annotation) + 1)
    return Ragged(exon_rna_start[inner].astype(np.int32), offsets)


def _report(coding: Coding) -> dict[str, int]:
    counts = {
        "transcripts": len(coding.cds_start),
        "coding": int((coding.cds_start >= 0).sum()),
        "proteins": len(coding.protein),
    }
    return counts | {name: int((coding.flags & flag != 0).sum()) for flag, name in FLAG_NAMES.items()}
