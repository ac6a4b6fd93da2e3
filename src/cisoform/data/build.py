"""From a genome, an annotation and an expression table to a data set on disk, with everything said that was noticed.

Nothing is printed here: the summary is for the caller to show. The split governs the gene-level table too, because
its labels are attached to transcripts of the data set and to nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

import cisoform
from cisoform.data.families import gene_families
from cisoform.data.from_annotation import (
    chromosome_codes,
    chromosomes_in_use,
    compact,
    dropped_warnings,
    place_chromosomes,
    samples_of,
)
from cisoform.data.isoform_dataset import Chromosome, Column, save_in_pieces, write_dataset
from cisoform.data.labels import LabelTables, labels_of, read_tables
from cisoform.data.leakage import Leak, leakage_table
from cisoform.data.samples import IsoformSamples
from cisoform.data.signal import Edges
from cisoform.data.signal_build import TrackTable, check_window, read_table, table_signal, write_signal
from cisoform.data.splits import (
    SPLITS,
    SplitArray,
    read_splits,
    split_by_filling,
    split_by_hash,
    split_from_file,
)
from cisoform.errors import InputError
from cisoform.genome.annotation import read_annotation
from cisoform.genome.fasta import Genome
from cisoform.genome.files import PathLike, atomic_directory, sha256_file
from cisoform.genome.names import match_ids
from cisoform.genome.transcripts import FLAG_NAMES, TranscriptSet, build_transcripts

SplitBy = Literal["gene", "chromosome", "family"]
Progress = Callable[[str, float], None]

DEFAULT_WINDOW = 12_288
RNA_CAP, PROTEIN_CAP = 12_000, 1_200
"""The paper's caps; longer sequences are counted in the summary, the data set holds them whole."""


@dataclass(frozen=True)
class BuildSummary:
    """What was built, for the caller to show.

    Attributes:
        path: The data set.
        hash: SHA-256 of its content.
        n_transcripts: Transcripts in it.
        n_genes: Their genes.
        n_coding: How many transcripts have a protein.
        n_starts: Distinct transcription starts.
        columns: The targets.
        extra_columns: Columns of the table that are kept but are no targets.
        split_by: "gene", "chromosome", "family", or the name of the file.
        splits: Number of transcripts and genes of each part.
        leakage: What the parts have in common.
        matching: One line each on how chromosomes and ids were matched.
        flags: Number of transcripts with each flag.
        long_rna: RNAs over 12,000 nt, which recipes that follow the paper crop.
        long_protein: Proteins over 1,200 residues, likewise.
        track_samples: Cell types whose tracks are stored.
        tracks: Names of the tracks.
        columns_with_tracks: Columns that read one of these cell types.
        warnings: Lines for the user.
    """

    path: Path
    hash: str
    n_transcripts: int
    n_genes: int
    n_coding: int
    n_starts: int
    columns: list[Column]
    extra_columns: list[Column]
    split_by: str
    splits: dict[str, dict[str, int]]
    leakage: list[Leak]
    matching: list[str]
    flags: dict[str, int]
    long_rna: int
    long_protein: int
    track_samples: list[str]
    tracks: list[str]
    columns_with_tracks: list[str]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {**asdict(self), "path": str(self.path)}


def build_isoform_dataset(
    genome: PathLike,
    annotation: PathLike,
    expression: PathLike,
    samples: PathLike | None = None,
    gene_expression: PathLike | None = None,
    tissues: Sequence[str] | None = None,
    splits: PathLike | None = None,
    split_by: SplitBy = "gene",
    window: int = DEFAULT_WINDOW,
    code_table: int = 1,
    seed: int = 0,
    tracks: PathLike | None = None,
    edges: Edges | None = None,
    *,
    out: PathLike,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BuildSummary:
    """Build a data set folder.

    Args:
        genome: FASTA.
        annotation: GTF or GFF3 whose transcripts have an expression row; others are left out.
        expression: Transcript-level table, linear scale.
        samples: Sample-to-tissue map if the table's columns are samples.
        gene_expression: Gene-level table; each of its columns labels all transcripts of a gene.
        tissues: Columns to learn, of either table; None = all. Transcript-level columns that are not named are
            kept beside them (replicates). If no gene-level column is named, all of them are learnt.
        splits: TSV of gene (or transcript) and split; None = `split_by`.
        split_by: What is held out whole: genes, chromosomes or families.
        window: DNA window that the leakage table and recipes take as given, bases.
        code_table: NCBI genetic code of the nuclear genome.
        seed: Another seed gives another split.
        tracks: Table of tracks; their levels along the windows are stored, 1 byte a base, sample and track.
        edges: Edges of their levels by track; None = the published ones.
        out: Folder to write; it must not exist, or be empty.
        overwrite: Replace what stands there.
        progress: Called with what is being done and the share done.

    Raises:
        InputError: At the first thing that does not fit; nothing is then left under `out`.
    """
    say = progress or _silent
    if window < 1:
        raise InputError(f"--window {window}: the DNA window must have at least one base")
    if tracks is not None:
        check_window(window)
    inputs = {
        "genome": genome,
        "annotation": annotation,
        "expression": expression,
        "samples": samples,
        "gene_expression": gene_expression,
        "splits": splits,
    }
    with atomic_directory(out, overwrite=overwrite) as folder:
        say("reading the tables", 0.0)
        tables = read_tables(expression, samples, gene_expression, tissues)
        say("splicing and translating", 0.2)
        opened = Genome.open(genome)
        asked = None if tracks is None else read_table(tracks, edges)
        transcript_set, id_text = _expressed_transcripts(annotation, opened, tables, code_table)
        labels, gene_text = labels_of(transcript_set.table, tables)
        say("splitting", 0.5)
        everything = samples_of(transcript_set, None, np.full(len(transcript_set), -1, dtype=np.int32))
        split = _split(everything, splits, split_by, seed)
        kept = compact(everything, split.rows)
        final = replace(kept, table=_with_split(kept.table, split))
        leaks = _leakage(final, split, window)
        say("writing", 0.7)
        chromosomes = place_chromosomes(opened, chromosomes_in_use(opened, final.table))
        _write_genome(folder / "genome.npy", opened, chromosomes)
        stored = _store_tracks(folder, asked, final.table, chromosomes, opened, labels.columns, window, say)
        matching = _without_folders([transcript_set.chromosomes.text, id_text, *gene_text], inputs)
        digest = write_dataset(
            folder,
            final,
            labels.targets[split.rows],
            labels.columns,
            labels.extra[split.rows],
            labels.extra_columns,
            chromosomes,
            window,
            {
                "settings": {"split_by": split.by, "code_table": code_table, "seed": seed},
                "inputs": _fingerprints(inputs) | ({} if asked is None else asked.fingerprints()),
                "matching": matching,
                "cisoform_version": cisoform.__version__,
            },
            stored.about,
        )
    say("done", 1.0)
    coding = final.protein_row >= 0
    lengths = {name: final.lengths(name) for name in ("rna", "protein")}
    starts = final.table.select("chrom", "strand", "tss").unique().height
    return BuildSummary(
        path=Path(out),
        hash=digest,
        n_transcripts=final.n,
        n_genes=len(set(final.gene_ids)),
        n_coding=int(coding.sum()),
        n_starts=starts,
        columns=labels.columns,
        extra_columns=labels.extra_columns,
        split_by=split.by,
        splits=_count_parts(final, split),
        leakage=leaks,
        matching=matching,
        flags=transcript_set.report,
        long_rna=int((lengths["rna"] > RNA_CAP).sum()),
        long_protein=int((lengths["protein"] > PROTEIN_CAP).sum()),
        track_samples=stored.samples,
        tracks=stored.tracks,
        columns_with_tracks=stored.columns,
        warnings=[
            *stored.warnings,
            *dropped_warnings(transcript_set),
            *_flag_warnings(transcript_set),
            *split.warnings,
        ],
    )


def _silent(text: str, share: float) -> None:
    """Progress of a caller who wants none."""


def _expressed_transcripts(
    annotation: PathLike, genome: Genome, tables: LabelTables, code_table: int
) -> tuple[TranscriptSet, str]:
    """Transcripts that have an expression row, and how the ids were matched."""
    parsed = read_annotation(annotation)
    ids = parsed.transcripts["transcript_id"].to_list()
    match = match_ids(ids, tables.transcript.ids, str(annotation), str(tables.path))
    return build_transcripts(parsed.take(match.left), genome, code_table), match.text


@dataclass(frozen=True)
class _Stored:
    """Tracks that were stored: what the manifest says of them, and what the summary does."""

    about: dict[str, Any] | None
    samples: list[str]
    tracks: list[str]
    columns: list[str]
    warnings: list[str]


def _store_tracks(
    folder: Path,
    asked: TrackTable | None,
    table: pl.DataFrame,
    chromosomes: Sequence[Chromosome],
    genome: Genome,
    columns: Sequence[Column],
    window: int,
    say: Progress,
) -> _Stored:
    if asked is None:
        return _Stored(None, [], [], [], [])
    names = [column.name for column in columns]
    signal, warnings = table_signal(asked, table, chromosomes, genome.chroms, names)
    about = write_signal(folder, signal, window, lambda share: say("reading the tracks", 0.75 + share / 4))
    reading = [name for name, view in zip(names, signal.views(names), strict=True) if view]
    return _Stored(about, list(signal.samples), list(signal.tracks), reading, warnings)


@dataclass(frozen=True)
class _Split:
    """Which transcripts stay, and their part and family."""

    by: str
    rows: npt.NDArray[np.int64]
    split: SplitArray
    family: list[str]
    warnings: list[str]


def _split(samples: IsoformSamples, splits: PathLike | None, split_by: str, seed: int) -> _Split:
    genes = samples.gene_ids
    if splits is not None:
        return _split_by_file(samples, splits)
    family = _families(samples)
    if split_by == "chromosome":
        split = split_by_filling(samples.table["chrom"].to_list(), seed)
    else:
        split = split_by_hash(genes if split_by == "gene" else family, seed)
    warnings = []
    if split_by == "chromosome":
        split, moved = _whole_genes(split, genes)
        if moved:
            warnings.append(
                f"{moved} transcripts have their gene on two chromosomes and follow its first transcript"
            )
    return _Split(split_by, np.arange(samples.n), split, family, warnings)


def _whole_genes(split: SplitArray, genes: Sequence[str]) -> tuple[SplitArray, int]:
    """A gene id on two chromosomes (PAR genes of RefSeq) stays in the part of its first transcript."""
    first: dict[str, str] = {}
    whole = np.array([first.setdefault(gene, part) for gene, part in zip(genes, split.tolist(), strict=True)])
    return whole, int((whole != split).sum())


def _split_by_file(samples: IsoformSamples, splits: PathLike) -> _Split:
    file = read_splits(splits)
    split, family = split_from_file(file, samples.transcript_ids, samples.gene_ids)
    rows = np.flatnonzero(split != "")
    if "train" not in split:
        raise InputError(
            f"{splits}: none of the data's {file.level}s is in train; give some a split of train"
        )
    warnings = []
    if len(rows) < samples.n:
        name = samples.transcript_ids[int(np.flatnonzero(split == "")[0])]
        warnings.append(
            f"{samples.n - len(rows)} transcripts are left out, {splits} does not name them (the first: {name})"
        )
    family = family or _families(samples)
    return _Split(Path(splits).name, rows, split[rows], [family[row] for row in rows.tolist()], warnings)


def _families(samples: IsoformSamples) -> list[str]:
    return gene_families(samples.gene_ids, samples.protein, samples.protein_row, samples.rna, samples.rna_row)


def _with_split(table: pl.DataFrame, split: _Split) -> pl.DataFrame:
    return table.with_columns(pl.Series("split", split.split.tolist()), pl.Series("family_id", split.family))


def _leakage(samples: IsoformSamples, split: _Split, window: int) -> list[Leak]:
    return leakage_table(
        split.split,
        gene_ids=samples.gene_ids,
        family_ids=split.family,
        chroms=samples.table["chrom"].to_list(),
        tss=samples.table["tss"].to_numpy(),
        window=window,
        rna=samples.rna,
        rna_row=samples.rna_row,
        protein=samples.protein,
        protein_row=samples.protein_row,
    )


def _write_genome(path: Path, genome: Genome, chromosomes: Sequence[Chromosome]) -> None:
    n_bases = sum(chromosome.length for chromosome in chromosomes)
    names = [chromosome.name for chromosome in chromosomes]
    save_in_pieces(path, np.uint8, (n_bases,), chromosome_codes(genome, names))


def _fingerprints(inputs: dict[str, PathLike | None]) -> dict[str, dict[str, str]]:
    """Name and hash of every input; no folder, so that a copy of the inputs gives the same data set."""
    return {
        what: {"name": Path(path).name, "sha256": sha256_file(path)}
        for what, path in inputs.items()
        if path is not None
    }


def _without_folders(lines: Sequence[str], inputs: dict[str, PathLike | None]) -> list[str]:
    """Lines that name inputs by the name of the file alone."""
    names = {str(path): Path(path).name for path in inputs.values() if path is not None}
    for path, name in names.items():
        lines = [line.replace(path, name) for line in lines]
    return list(lines)


def _flag_warnings(transcript_set: TranscriptSet) -> list[str]:
    flagged = {
        name: transcript_set.report[name] for name in FLAG_NAMES.values() if transcript_set.report[name]
    }
    if not flagged:
        return []
    text = ", ".join(f"{count} {name}" for name, count in flagged.items())
    return [f"odd CDS, kept and flagged per transcript: {text} (of {transcript_set.report['coding']} coding)"]


def _count_parts(samples: IsoformSamples, split: _Split) -> dict[str, dict[str, int]]:
    transcripts = Counter(split.split.tolist())
    genes = Counter(dict(zip(samples.gene_ids, split.split.tolist(), strict=True)).values())
    return {part: {"transcripts": transcripts[part], "genes": genes[part]} for part in SPLITS}
