"""Samples from sequences that a user gives, without a genome: records with DNA, RNA and protein letters.

A model reads where the CDS lies in an RNA. It is taken from the record if given there; else it is where the
RNA encodes the given protein; else, without a protein, the longest ATG-to-stop open reading frame of at least
100 codons (the usual bound for calling an RNA coding); else the RNA counts as non-coding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.samples import IsoformSamples
from cisoform.data.windows import GivenWindows
from cisoform.errors import InputError
from cisoform.genome.files import open_text
from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import AMINO_ACID_STOP, AMINO_ACIDS, encode_dna, encode_protein, translate

DNA, RNA, PROTEIN = "dna_sequence", "rna_sequence", "protein_sequence"
_SEQUENCES = (DNA, RNA, PROTEIN)
_KEYS = (*_SEQUENCES, "transcript_id", "gene_id", "cds_start", "cds_end", "junctions")
_MIN_CODONS = 100
_MET = AMINO_ACIDS.index("M")

Codes = npt.NDArray[np.uint8]


def read_sequence_records(path: str | Path) -> list[dict[str, Any]]:
    """Read one JSON object a line.

    Raises:
        InputError: If a line is not a JSON object; the line is named.
    """
    records = []
    with open_text(path, "sequences") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(
                    f"{path}: line {number}, column {error.colno}: not JSON: {error.msg}"
                ) from None
            if not isinstance(record, dict):
                raise InputError(f"{path}: line {number}: {line.strip()[:40]!r} is not a JSON object")
            records.append(record)
    if not records:
        raise InputError(f"{path}: no record; give one JSON object a line")
    return records


@dataclass(frozen=True)
class _Record:
    """One record, checked and encoded."""

    transcript_id: str
    gene_id: str
    dna: Codes | None
    rna: Codes | None
    protein: Codes | None
    cds: tuple[int, int]
    junctions: npt.NDArray[np.int32]


def samples_from_sequences(
    records: Sequence[Mapping[str, Any]], source: str = "sequences", code_table: int = 1
) -> IsoformSamples:
    """Samples of given sequences.

    Args:
        records: Each with any of `dna_sequence` (on the transcript's strand, the first transcribed base at the
            middle, index `length // 2`), `rna_sequence` and `protein_sequence`, and perhaps `transcript_id`,
            `gene_id`, `cds_start` and `cds_end` (0-based, half-open, stop included; -1 = non-coding) and
            `junctions` (positions at which exons begin).
        source: File they are from, for messages.
        code_table: NCBI genetic code by which the protein is looked for in the RNA.

    Raises:
        InputError: At the first record that has an unknown key, no sequence, a wrong letter or a CDS that does
            not fit; its number is named.
    """
    parsed = [_parse(record, number, source, code_table) for number, record in enumerate(records, start=1)]
    if not parsed:
        raise InputError(f"{source}: no record; give at least one with {', '.join(_SEQUENCES)}")
    ids: dict[str, int] = {}
    for number, one in enumerate(parsed, start=1):
        other = ids.setdefault(one.transcript_id, number)
        if other != number:
            raise InputError(
                f"{source}: record {number}: transcript_id {one.transcript_id!r} is also that of record {other}"
            )
    dna, dna_row = _distinct([one.dna for one in parsed])
    protein, protein_row = _distinct([one.protein for one in parsed])
    with_rna = [one for one in parsed if one.rna is not None]
    rna_row = np.cumsum([one.rna is not None for one in parsed]) - 1
    transcript_ids = [one.transcript_id for one in parsed]
    gene_ids = [one.gene_id for one in parsed]
    return IsoformSamples(
        transcript_ids=transcript_ids,
        gene_ids=gene_ids,
        table=pl.DataFrame({"transcript_id": transcript_ids, "gene_id": gene_ids}),
        dna=None if dna is None else GivenWindows(dna),
        dna_row=dna_row,
        rna=Ragged.from_rows([one.rna for one in with_rna if one.rna is not None], np.uint8)
        if with_rna
        else None,
        rna_row=np.where([one.rna is not None for one in parsed], rna_row, -1).astype(np.int32),
        junctions=Ragged.from_rows([one.junctions for one in with_rna], np.int32) if with_rna else None,
        cds_start=np.array([one.cds[0] for one in parsed], dtype=np.int32),
        cds_end=np.array([one.cds[1] for one in parsed], dtype=np.int32),
        cds_phase=np.zeros(len(parsed), dtype=np.int32),
        protein=protein,
        protein_row=protein_row,
    )


def _parse(record: Mapping[str, Any], number: int, source: str, code_table: int) -> _Record:
    where = f"{source}: record {number}"
    unknown = next((key for key in record if key not in _KEYS), None)
    if unknown is not None:
        raise InputError(f"{where}: unknown key {unknown!r}; known are {', '.join(_KEYS)}")
    codes: dict[str, Codes | None] = {}
    for key in _SEQUENCES:
        value = record.get(key)
        if value is not None and not isinstance(value, str):
            raise InputError(f"{where}: {key} is {value!r}, expected letters")
        try:
            encode = encode_protein if key == PROTEIN else encode_dna
            codes[key] = encode(value.removesuffix("*") if key == PROTEIN else value) if value else None
        except InputError as error:
            raise InputError(f"{where}: {key}: {error}") from None
    if not any(value is not None for value in codes.values()):
        raise InputError(f"{where}: none of {', '.join(_SEQUENCES)} is given; give at least one")
    rna, protein = codes[RNA], codes[PROTEIN]
    transcript_id = str(record.get("transcript_id") or f"record_{number}")
    return _Record(
        transcript_id=transcript_id,
        gene_id=str(record.get("gene_id") or transcript_id),
        dna=codes[DNA],
        rna=rna,
        protein=protein,
        cds=_cds(record, rna, protein, code_table, where),
        junctions=_junctions(record.get("junctions"), rna, where),
    )


def _cds(
    record: Mapping[str, Any], rna: Codes | None, protein: Codes | None, code_table: int, where: str
) -> tuple[int, int]:
    start, end = record.get("cds_start"), record.get("cds_end")
    if rna is None:
        return -1, -1
    if start is None and end is None:
        return find_cds(rna, protein, code_table)
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (start, end))
    if not whole or not ((start, end) == (-1, -1) or 0 <= start < end <= len(rna)):  # type: ignore[operator]
        raise InputError(
            f"{where}: cds_start={start!r}, cds_end={end!r} do not lie in an RNA of {len(rna)} bases; "
            "give both, 0-based and half-open, or -1 and -1 for a non-coding RNA"
        )
    return int(start), int(end)  # type: ignore[arg-type]


def _junctions(value: Any, rna: Codes | None, where: str) -> npt.NDArray[np.int32]:
    length = 0 if rna is None else len(rna)
    positions = [] if value is None else value
    if not isinstance(positions, list) or any(
        not isinstance(position, int) or not 0 < position < length for position in positions
    ):
        raise InputError(f"{where}: junctions={value!r} are not positions inside an RNA of {length} bases")
    return np.array(sorted(set(positions)), dtype=np.int32)


def find_cds(rna: Codes, protein: Codes | None = None, code_table: int = 1) -> tuple[int, int]:
    """CDS of an RNA of unknown structure, stop codon included; (-1, -1) if none is found.

    Args:
        rna: Base codes.
        protein: Amino-acid codes without the stop; None = look for the longest open reading frame.
        code_table: NCBI genetic code.
    """
    best = (-1, -1)
    for frame in range(3):
        residues = translate(rna[frame:], code_table)
        if protein is not None:
            place = residues.tobytes().find(protein.tobytes())
            if place >= 0:
                n_codons = len(protein)
                after = place + n_codons
                n_codons += int(after < len(residues) and residues[after] == AMINO_ACID_STOP)
                return frame + 3 * place, frame + 3 * (place + n_codons)
            continue
        start, end = _longest_frame(residues)
        if end - start >= _MIN_CODONS and 3 * (end - start) > best[1] - best[0]:
            best = (frame + 3 * start, frame + 3 * end)
    return best


def _longest_frame(residues: Codes) -> tuple[int, int]:
    """First M after each stop to the next stop, the longest; the stop is included. (0, 0) if there is none."""
    best, begin = (0, 0), 0
    for stop in np.flatnonzero(residues == AMINO_ACID_STOP).tolist():
        starts = np.flatnonzero(residues[begin:stop] == _MET)
        if len(starts) and stop + 1 - (begin + int(starts[0])) > best[1] - best[0]:
            best = (begin + int(starts[0]), stop + 1)
        begin = stop + 1
    return best


def _distinct(sequences: Sequence[Codes | None]) -> tuple[Ragged | None, npt.NDArray[np.int32]]:
    """Distinct sequences and the row of each entry, -1 where it is None."""
    numbers: dict[bytes, int] = {}
    rows = [-1 if one is None else numbers.setdefault(one.tobytes(), len(numbers)) for one in sequences]
    if not numbers:
        return None, np.array(rows, dtype=np.int32)
    distinct = [np.frombuffer(value, dtype=np.uint8) for value in numbers]
    return Ragged.from_rows(distinct, np.uint8), np.array(rows, dtype=np.int32)
