"""Samples of annotated transcripts: a genome and a GTF or GFF3 file are enough, no expression is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.isoform_dataset import Chromosome, genome_windows
from cisoform.data.samples import IsoformSamples
from cisoform.data.windows import GenomeWindows
from cisoform.errors import InputError
from cisoform.genome.annotation import read_annotation
from cisoform.genome.fasta import Genome
from cisoform.genome.files import PathLike, open_text
from cisoform.genome.names import match_ids
from cisoform.genome.ragged import Ragged
from cisoform.genome.transcripts import TranscriptSet, build_transcripts


@dataclass(frozen=True)
class AnnotatedSamples:
    """Samples and what was noticed while they were made.

    Attributes:
        samples: The transcripts, in the order of the annotation.
        chromosomes: How annotation and genome name their chromosomes, one line.
        flags: Number of transcripts with each flag (`genome.coding.FLAG_NAMES`).
        warnings: Lines for the user.
        placed: Where each chromosome lies in the source of the windows.
        lengths: Length of every chromosome of the genome.
    """

    samples: IsoformSamples
    chromosomes: str
    flags: dict[str, int]
    warnings: list[str]
    placed: list[Chromosome]
    lengths: dict[str, int]


def read_ids(path: PathLike) -> list[str]:
    """Ids from a file, one a line; what follows a tab, and lines that begin with #, are left out.

    Raises:
        InputError: If there is no id.
    """
    with open_text(path, "transcript ids") as handle:
        lines = [line.split("\t")[0].strip() for line in handle if not line.startswith("#")]
    names = list(dict.fromkeys(name for name in lines if name))
    if not names:
        raise InputError(f"{path}: no transcript id in it; give one a line")
    return names


def samples_from_annotation(
    genome_path: PathLike,
    annotation_path: PathLike,
    transcripts: Sequence[str] | None = None,
    code_table: int = 1,
) -> AnnotatedSamples:
    """Samples of all, or the named, transcripts of an annotation.

    Args:
        genome_path: FASTA file.
        annotation_path: GTF or GFF3 file.
        transcripts: Ids of the wanted transcripts; None = all.
        code_table: NCBI genetic code of the nuclear genome.

    Raises:
        InputError: As `genome.read_annotation` and `genome.build_transcripts`; if none of `transcripts` is in the
            annotation.
    """
    genome = Genome.open(genome_path)
    annotation = read_annotation(annotation_path)
    warnings: list[str] = []
    if transcripts is not None:
        match = match_ids(
            annotation.transcripts["transcript_id"].to_list(), transcripts, str(annotation_path), "the list"
        )
        missing = sorted(set(range(len(transcripts))) - set(match.right.tolist()))
        if missing:
            shown = ", ".join(transcripts[index] for index in missing[:3])
            warnings.append(
                f"{len(missing)} of {len(transcripts)} transcripts asked for are not annotated: {shown}"
            )
        annotation = annotation.take(match.left)
    transcript_set = build_transcripts(annotation, genome, code_table)
    codes, chromosomes = load_chromosomes(genome, chromosomes_in_use(genome, transcript_set.table))
    dna, dna_row = genome_windows(codes, chromosomes, transcript_set.table)
    return AnnotatedSamples(
        samples=samples_of(transcript_set, dna, dna_row),
        chromosomes=transcript_set.chromosomes.text,
        flags=transcript_set.report,
        warnings=[*warnings, *dropped_warnings(transcript_set)],
        placed=chromosomes,
        lengths=dict(genome.chroms),
    )


def dropped_warnings(transcript_set: TranscriptSet) -> list[str]:
    """One line if transcripts of the annotation had to be left out."""
    dropped = transcript_set.dropped
    if not dropped.height:
        return []
    name, line, reason = dropped.row(0)
    return [f"{dropped.height} transcripts are left out, the first at line {line}: {name} ({reason})"]


def chromosomes_in_use(genome: Genome, table: pl.DataFrame) -> list[str]:
    """Chromosomes that carry a transcript of the table, in the order of the genome file."""
    used = set(table["chrom"].unique().to_list())
    return [name for name in genome.chroms if name in used]


def place_chromosomes(genome: Genome, names: Sequence[str]) -> list[Chromosome]:
    """Where chromosomes lie when they are laid end to end in the given order."""
    placed, start = [], 0
    for name in names:
        placed.append(Chromosome(name, start, genome.chroms[name]))
        start += genome.chroms[name]
    return placed


def chromosome_codes(genome: Genome, names: Sequence[str]) -> Iterator[npt.NDArray[np.uint8]]:
    """Base codes of one chromosome after the other."""
    return (genome.chromosome(name) for name in names)


def load_chromosomes(genome: Genome, names: Sequence[str]) -> tuple[npt.NDArray[np.uint8], list[Chromosome]]:
    """Base codes of chromosomes end to end in memory, and where each lies."""
    if not names:
        raise InputError(f"{genome.path}: no chromosome of it carries a transcript")
    return np.concatenate(list(chromosome_codes(genome, names))), place_chromosomes(genome, names)


def samples_of(
    transcript_set: TranscriptSet, dna: GenomeWindows | None, dna_row: npt.NDArray[np.int32]
) -> IsoformSamples:
    """A transcript set as samples.

    Args:
        transcript_set: The transcripts.
        dna: Source of their windows; None = without DNA.
        dna_row: Row of each transcript in `dna`.
    """
    table = transcript_set.table
    return IsoformSamples(
        transcript_ids=table["transcript_id"].to_list(),
        gene_ids=table["gene_id"].to_list(),
        table=table,
        dna=dna,
        dna_row=dna_row,
        rna=transcript_set.rna,
        rna_row=np.arange(len(transcript_set), dtype=np.int32),
        junctions=transcript_set.junctions,
        cds_start=table["cds_start"].to_numpy(),
        cds_end=table["cds_end"].to_numpy(),
        cds_phase=table["cds_phase"].to_numpy(),
        protein=transcript_set.protein,
        protein_row=transcript_set.protein_row,
    )


def compact(samples: IsoformSamples, rows: npt.NDArray[np.int64]) -> IsoformSamples:
    """The given transcripts with their sequences alone, ready to be written; DNA rows are left as they are."""
    picked = samples.take(rows)
    used, protein_row = np.unique(picked.protein_row[picked.protein_row >= 0], return_inverse=True)
    rows_of_protein = np.full(picked.n, -1, dtype=np.int32)
    rows_of_protein[picked.protein_row >= 0] = protein_row
    return IsoformSamples(
        **{
            **vars(picked),
            "rna": _taken(picked.rna, picked.rna_row),
            "junctions": _taken(picked.junctions, picked.rna_row),
            "rna_row": np.arange(picked.n, dtype=np.int32),
            "protein": _taken(picked.protein, used),
            "protein_row": rows_of_protein,
        }
    )


def _taken(sequences: Ragged | None, rows: npt.NDArray[np.integer]) -> Ragged | None:
    """Rows of sequences, without the index per letter that `Ragged.take` makes: RNA may be gigabases."""
    if sequences is None or (len(rows) == len(sequences) and (rows == np.arange(len(rows))).all()):
        return sequences
    return Ragged.from_rows([sequences[row] for row in rows.tolist()], sequences.data.dtype)
