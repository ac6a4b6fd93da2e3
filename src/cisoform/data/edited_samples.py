"""Samples of transcripts before and after changes of the genome: DNA window, RNA and protein follow the same edits.

Every row is a transcript as it is, or as one variant (or haplotype) leaves it. Sequences that a change does not touch
are shared with the row of the reference, so a batch encodes them once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.samples import IsoformSamples
from cisoform.data.windows import GivenWindows
from cisoform.genome.edits import Edit, apply_edits, new_position
from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import BASE_N, reverse_complement
from cisoform.genome.transcript_edits import Product

Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Version:
    """A transcript under edits; none for the reference.

    Attributes:
        transcript: Its row in the set.
        edits: All edits of its chromosome that count.
        product: What it makes.
    """

    transcript: int
    edits: tuple[Edit, ...]
    product: Product


@dataclass(frozen=True)
class Origin:
    """Where transcripts begin: chromosome, first transcribed base, strand, and their ids."""

    transcript_ids: list[str]
    gene_ids: list[str]
    chrom: list[str]
    tss: list[int]
    minus: list[bool]


def touches_window(edits: Sequence[Edit], tss: int, minus: bool, upstream: int, downstream: int) -> bool:
    """Whether an edit changes a base of the window round a start."""
    low, high = (tss + 1 - downstream, tss + 1 + upstream) if minus else (tss - upstream, tss + downstream)
    return any(edit.start < high and edit.end > low for edit in edits)


def edited_window(chromosome: Codes, tss: int, minus: bool, edits: Sequence[Edit], half: int) -> Codes:
    """`2 half` bases of an edited chromosome on the transcript's strand, the first transcribed one at index `half`.

    Where that base is deleted, the next transcribed one that is left takes its place; N beyond the chromosome.
    """
    margin = half + sum(edit.end - edit.start for edit in edits)
    low, high = max(0, tss - margin), min(len(chromosome), tss + margin + 1)
    near = _clipped(edits, low, high)
    codes = apply_edits(chromosome[low:high], low, near)
    at = new_position(tss, near, after=True) - low
    if minus and any(edit.start <= tss < edit.end and not len(edit.bases) for edit in near):
        at -= 1
    start = at - half + 1 if minus else at - half
    window = np.full(2 * half, BASE_N, dtype=np.uint8)
    begin, end = max(start, 0), min(start + 2 * half, len(codes))
    if begin < end:
        window[begin - start : end - start] = codes[begin:end]
    return reverse_complement(window) if minus else window


def _clipped(edits: Sequence[Edit], low: int, high: int) -> list[Edit]:
    """What of edits lies strictly inside of [low, high)."""
    found = []
    for edit in edits:
        if edit.is_insertion:
            if low < edit.start < high:
                found.append(edit)
            continue
        start, end = max(edit.start, low), min(edit.end, high)
        if start < end:
            bases = edit.bases[start - edit.start : end - edit.start] if len(edit.bases) else edit.bases
            found.append(Edit(start, end, bases))
    return found


def edited_samples(
    versions: Sequence[Version],
    origin: Origin,
    chromosome: Callable[[str], Codes],
    upstream: int,
    downstream: int,
    margin: int,
) -> IsoformSamples:
    """Versions of transcripts as samples, in their order.

    Args:
        versions: The rows.
        origin: Of all transcripts of the set.
        chromosome: Base codes of a whole chromosome.
        upstream: Bases before the start that a model reads.
        downstream: Bases from the start on that it reads.
        margin: Bases more on either side, for windows that are moved.
    """
    half = max(upstream, downstream) + margin
    windows, dna_row = _windows(versions, origin, chromosome, half)
    proteins: dict[bytes, int] = {}
    rnas: dict[tuple[bytes, bytes], int] = {}
    protein_row, rna_row = [], []
    for version in versions:
        made = version.product
        key = (made.rna.tobytes(), made.junctions.tobytes())
        rna_row.append(rnas.setdefault(key, len(rnas)) if len(made.rna) else -1)
        protein = made.protein
        known = protein is not None and len(protein) > 0
        protein_row.append(
            proteins.setdefault(protein.tobytes(), len(proteins)) if known and protein is not None else -1
        )
    rows = [version.transcript for version in versions]
    genes = [origin.gene_ids[row] for row in rows]
    ids = [f"{origin.transcript_ids[row]}#{number}" for number, row in enumerate(rows)]
    return IsoformSamples(
        transcript_ids=ids,
        gene_ids=genes,
        table=pl.DataFrame({"transcript_id": ids, "gene_id": genes}),
        dna=GivenWindows(windows),
        dna_row=dna_row,
        rna=_ragged([rna for rna, _ in rnas], np.uint8),
        rna_row=np.array(rna_row, dtype=np.int32),
        junctions=_ragged([cuts for _, cuts in rnas], np.int32),
        cds_start=np.array([version.product.cds_start for version in versions], dtype=np.int32),
        cds_end=np.array([version.product.cds_end for version in versions], dtype=np.int32),
        cds_phase=np.array([version.product.phase for version in versions], dtype=np.int32),
        protein=_ragged(list(proteins), np.uint8),
        protein_row=np.array(protein_row, dtype=np.int32),
    )


def _ragged(rows: Sequence[bytes], dtype: npt.DTypeLike) -> Ragged | None:
    """Sequences end to end; None if there are none."""
    return Ragged.from_rows([np.frombuffer(row, dtype) for row in rows], dtype) if rows else None


def _windows(
    versions: Sequence[Version], origin: Origin, chromosome: Callable[[str], Codes], half: int
) -> tuple[Ragged, npt.NDArray[np.int32]]:
    """Distinct windows and the row of each version; chromosome by chromosome."""
    rows = np.zeros(len(versions), dtype=np.int32)
    distinct: dict[bytes, int] = {}
    order = sorted(range(len(versions)), key=lambda number: origin.chrom[versions[number].transcript])
    held, codes = "", np.empty(0, dtype=np.uint8)
    for number in order:
        version = versions[number]
        row = version.transcript
        if origin.chrom[row] != held:
            held, codes = origin.chrom[row], chromosome(origin.chrom[row])
        window = edited_window(codes, origin.tss[row], origin.minus[row], version.edits, half)
        rows[number] = distinct.setdefault(window.tobytes(), len(distinct))
    return Ragged.from_rows([np.frombuffer(w, np.uint8) for w in distinct], np.uint8), rows
