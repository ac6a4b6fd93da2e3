"""Coding sequences of many transcripts at once: where they lie in the RNA, their proteins, and what is odd about them.

Our rules, where annotations leave a choice: a CDS includes its stop codon; a protein ends before the first stop;
a start codon of the genetic code reads M if the CDS is complete at its start; a codon with N is X unless all its
readings agree; in-frame TGA of a transcript marked as selenoprotein reads U.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Int, UInt8

from cisoform.genome.annotation import Annotation
from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import (
    AMINO_ACID_STOP,
    AMINO_ACID_U,
    AMINO_ACIDS,
    codon_amino_acids,
    codon_index,
    final_stop_codons,
    start_codons,
)

FLAG_NO_START = 1  # Complete at its start by the annotation, but the first codon is not a start codon.
FLAG_NO_STOP = 2  # Complete at its end by the annotation, but the last codon is not a stop.
FLAG_OUT_OF_FRAME = 4  # Complete, but not a whole number of codons.
FLAG_INTERNAL_STOP = 8  # A stop before the last codon; the protein ends there.
FLAG_SELENOCYSTEINE = 16  # The annotation says so; in-frame TGA read U.
FLAG_INCOMPLETE_5 = 32  # The CDS begins before the transcript does.
FLAG_INCOMPLETE_3 = 64  # The CDS ends after the transcript does.

FLAG_NAMES = {
    FLAG_NO_START: "no_start",
    FLAG_NO_STOP: "no_stop",
    FLAG_OUT_OF_FRAME: "out_of_frame",
    FLAG_INTERNAL_STOP: "internal_stop",
    FLAG_SELENOCYSTEINE: "selenocysteine",
    FLAG_INCOMPLETE_5: "incomplete_5",
    FLAG_INCOMPLETE_3: "incomplete_3",
}

_BLOCK_CODONS = 1 << 20
_MET = AMINO_ACIDS.index("M")


@dataclass(frozen=True)
class Coding:
    """CDS and proteins, one entry per transcript.

    Attributes:
        cds_start: First base of the CDS in the RNA; -1 if non-coding.
        cds_end: End of the CDS in the RNA, the stop codon included if there is one; -1 if non-coding.
        phase: Bases between `cds_start` and the first whole codon.
        flags: Sum of the `FLAG_` values that hold; 0 if non-coding.
        protein: Amino-acid codes of the distinct proteins, in order of first use, without stop.
        protein_row: Row of each transcript's protein; -1 if it has none.
    """

    cds_start: Int[np.ndarray, " transcripts"]
    cds_end: Int[np.ndarray, " transcripts"]
    phase: Int[np.ndarray, " transcripts"]
    flags: Int[np.ndarray, " transcripts"]
    protein: Ragged
    protein_row: Int[np.ndarray, " transcripts"]


def find_coding(
    annotation: Annotation,
    rna: Ragged,
    exon_rna_start: Int[np.ndarray, " exons"],
    tables: Int[np.ndarray, " transcripts"],
) -> Coding:
    """Locate the CDS of every transcript in its RNA, translate it and check it.

    Args:
        annotation: Transcripts.
        rna: Their RNA.
        exon_rna_start: Where each exon begins in its RNA.
        tables: NCBI genetic code of each transcript.
    """
    columns = annotation.transcripts
    cds_start, cds_end = _cds_in_rna(annotation, exon_rna_start)
    rows = np.flatnonzero(cds_start >= 0)
    phase = columns["cds_phase"].to_numpy().astype(np.int64)
    incomplete_5 = columns["incomplete_5"].to_numpy() | (phase > 0)
    incomplete_3 = columns["incomplete_3"].to_numpy()
    selenoprotein = columns["selenocysteine"].to_numpy()
    open_ended = rows[~columns["has_stop_codon"].to_numpy()[rows] & ~incomplete_3[rows]]
    cds_end[open_ended] += _missing_stop(rna, cds_start, cds_end, phase, open_ended, tables)

    n_codons = (cds_end - cds_start - phase)[rows] // 3
    rows, n_codons = rows[n_codons > 0], n_codons[n_codons > 0]
    first = rna.offsets[rows] + (cds_start + phase)[rows]
    begins, ends, stop_at, residues = _translate(
        rna.data, first, n_codons, tables[rows], ~incomplete_5[rows], selenoprotein[rows]
    )
    flags = np.zeros(len(annotation), dtype=np.int64)
    coding = cds_start >= 0
    whole = coding & ~incomplete_5 & ~incomplete_3
    flags[coding & selenoprotein] |= FLAG_SELENOCYSTEINE
    flags[coding & incomplete_5] |= FLAG_INCOMPLETE_5
    flags[coding & incomplete_3] |= FLAG_INCOMPLETE_3
    flags[whole & ((cds_end - cds_start) % 3 != 0)] |= FLAG_OUT_OF_FRAME
    good_start, good_stop = np.zeros(len(annotation), dtype=bool), np.zeros(len(annotation), dtype=bool)
    good_start[rows], good_stop[rows] = begins, ends
    flags[coding & ~incomplete_5 & ~good_start] |= FLAG_NO_START
    flags[coding & ~incomplete_3 & ~good_stop] |= FLAG_NO_STOP
    flags[rows[stop_at < n_codons - 1]] |= FLAG_INTERNAL_STOP
    protein, protein_row = _distinct(residues, rows, n_codons, stop_at, len(annotation))
    return Coding(cds_start, cds_end, phase, flags, protein, protein_row)


def _cds_in_rna(
    annotation: Annotation, exon_rna_start: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and past-the-last base of each CDS in RNA coordinates; -1 if non-coding."""
    columns = annotation.transcripts
    minus = (columns["strand"] == "-").to_numpy()
    low, high = columns["cds_start"].to_numpy(), columns["cds_end"].to_numpy() - 1
    row = np.repeat(np.arange(len(annotation)), annotation.n_exons)
    starts, ends = annotation.exon_starts, annotation.exon_ends

    def in_rna(position: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        here = position[row]
        holds = np.flatnonzero((here >= 0) & (starts <= here) & (here < ends))
        into = np.where(minus[row[holds]], ends[holds] - 1 - here[holds], here[holds] - starts[holds])
        found = np.full(len(annotation), -1, dtype=np.int64)
        found[row[holds]] = exon_rna_start[holds] + into
        return found

    first, last = in_rna(np.where(minus, high, low)), in_rna(np.where(minus, low, high))
    coding = columns["cds_start"].to_numpy() >= 0
    return np.where(coding, first, -1), np.where(coding, last + 1, -1)


def _codon_indices(
    data: UInt8[np.ndarray, " rna"], at: Int[np.ndarray, " codons"]
) -> UInt8[np.ndarray, " codons"]:
    """Index (as in `codon_amino_acids`) of the codons that begin at the given positions."""
    index: npt.NDArray[np.uint8] = data[at] * np.uint8(25) + data[at + 1] * np.uint8(5) + data[at + 2]
    return index


def _missing_stop(
    rna: Ragged,
    cds_start: npt.NDArray[np.int64],
    cds_end: npt.NDArray[np.int64],
    phase: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    tables: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """3 for each row whose CDS has no stop codon but is followed by one, else 0.

    GTF files without stop_codon lines may leave the stop out of the CDS or not; the sequence tells.
    """
    extra = np.zeros(len(rows), dtype=np.int64)
    length = (cds_end - cds_start - phase)[rows]
    fits = (length >= 3) & (length % 3 == 0) & (cds_end[rows] + 3 <= rna.lengths[rows])
    at = (rna.offsets[rows] + cds_end[rows])[fits]
    last, following = _codon_indices(rna.data, at - 3), _codon_indices(rna.data, at)
    stops = np.stack([final_stop_codons(table) for table in np.unique(tables).tolist()])
    which = np.searchsorted(np.unique(tables), tables[rows][fits])
    extra[fits] = np.where(~stops[which, last] & stops[which, following], 3, 0)
    return extra


def _translate(
    data: UInt8[np.ndarray, " rna"],
    first: Int[np.ndarray, " rows"],
    n_codons: Int[np.ndarray, " rows"],
    tables: Int[np.ndarray, " rows"],
    read_start: Bool[np.ndarray, " rows"],
    selenoprotein: Bool[np.ndarray, " rows"],
) -> tuple[
    Bool[np.ndarray, " rows"],
    Bool[np.ndarray, " rows"],
    Int[np.ndarray, " rows"],
    UInt8[np.ndarray, " residues"],
]:
    """Residues of all rows end to end, and per row: begins with a start, ends with a stop, where the first stop is.

    Without a stop, "where" is `n_codons`. `read_start` rows read a start codon as M.
    """
    used = np.unique(tables)
    which = np.searchsorted(used, tables)
    lookup = (
        np.stack([codon_amino_acids(table) for table in used.tolist()])
        if len(used)
        else np.empty((0, 125), np.uint8)
    )
    offsets = np.concatenate([[0], np.cumsum(n_codons)]).astype(np.int64)
    residues = np.empty(offsets[-1], dtype=np.uint8)
    block = offsets[:-1] // _BLOCK_CODONS
    edges = (
        np.concatenate([[0], np.flatnonzero(np.diff(block)) + 1, [len(first)]])
        if len(first)
        else np.array([0])
    )
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        here, begin, end = slice(low, high), offsets[low], offsets[high]
        at = np.repeat(first[here] - 3 * offsets[low:high], n_codons[here]) + 3 * np.arange(begin, end)
        index = _codon_indices(data, at)
        if len(used) == 1:
            residues[begin:end] = lookup[0][index]
        else:
            residues[begin:end] = lookup[np.repeat(which[here], n_codons[here]), index]
    last = offsets[1:] - 1
    _read_selenocysteine(data, residues, first, offsets, np.flatnonzero(selenoprotein))
    begins, ends = np.zeros(len(first), dtype=bool), np.zeros(len(first), dtype=bool)
    for table in used.tolist():
        rows = np.flatnonzero(tables == table)
        begins[rows] = start_codons(table)[_codon_indices(data, first[rows])]
        ends[rows] = final_stop_codons(table)[_codon_indices(data, first[rows] + 3 * (n_codons[rows] - 1))]
    residues[last[ends]] = AMINO_ACID_STOP
    residues[offsets[:-1][begins & read_start]] = _MET
    stops = np.flatnonzero(residues == AMINO_ACID_STOP)
    next_stop = np.searchsorted(stops, offsets[:-1])
    position = np.append(stops, len(residues))[next_stop]
    return begins, ends, np.minimum(position - offsets[:-1], n_codons), residues


def _read_selenocysteine(
    data: npt.NDArray[np.uint8],
    residues: npt.NDArray[np.uint8],
    first: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
) -> None:
    """Write U where TGA would stop a selenoprotein before its last codon (a few dozen genes; one at a time)."""
    tga = codon_index("TGA")
    for row in rows:
        inner = residues[offsets[row] : offsets[row + 1] - 1]
        codons = _codon_indices(data, first[row] + 3 * np.arange(len(inner)))
        inner[(codons == tga) & (inner == AMINO_ACID_STOP)] = AMINO_ACID_U


def _distinct(
    residues: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    n_codons: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    n: int,
) -> tuple[Ragged, npt.NDArray[np.int32]]:
    """Each different protein once, and which one each transcript has."""
    begin = np.cumsum(n_codons) - n_codons
    protein_row = np.full(n, -1, dtype=np.int32)
    number_of: dict[bytes, int] = {}
    for row, start, length in zip(rows.tolist(), begin.tolist(), lengths.tolist(), strict=True):
        if length:
            protein_row[row] = number_of.setdefault(
                residues[start : start + length].tobytes(), len(number_of)
            )
    data = np.frombuffer(bytearray(b"".join(number_of)), dtype=np.uint8)
    sizes = np.fromiter((len(protein) for protein in number_of), dtype=np.int64, count=len(number_of))
    return Ragged(data, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)), protein_row
