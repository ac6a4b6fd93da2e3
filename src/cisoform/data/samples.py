"""Transcripts as a model may see them: DNA round the start, spliced RNA with its structure, and protein.

Ids stand beside the sequences so that predictions can be named; nothing that is derived from them, from the
order of rows, or from how many transcripts a gene has ever enters a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.signal import PromoterSignal
from cisoform.data.windows import DnaSource
from cisoform.genome.ragged import Ragged
from cisoform.tokens.rna import region_ids

MODALITIES = ("dna", "rna", "protein")

IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True)
class IsoformSamples:
    """`n` transcripts; every array has one entry per transcript, sequences may be shared between them.

    Attributes:
        transcript_ids: Unique ids.
        gene_ids: Gene of each.
        table: One row per transcript: where it is, its lengths and flags; empty columns for given sequences.
        dna: Windows round starts, one row per distinct start; None if no transcript has DNA.
        dna_row: Row of each transcript in `dna`, -1 = none.
        rna: Base codes of spliced RNA, 5' to 3'; None if no transcript has RNA.
        rna_row: Row of each transcript in `rna`, -1 = none.
        junctions: Same rows as `rna`: positions at which a new exon begins, 0 excluded.
        cds_start: First base of the CDS in the RNA, 0-based; -1 = non-coding.
        cds_end: End of the CDS in the RNA, exclusive, stop codon included; -1 = non-coding.
        cds_phase: Bases of the CDS before its first whole codon; 0 but for incomplete 5' ends.
        protein: Amino-acid codes without the stop, one row per distinct protein; None if there are none.
        protein_row: Row of each transcript in `protein`, -1 = none.
        signal: Tracks along the windows of `dna`, in its rows; None = no tracks.
    """

    transcript_ids: list[str]
    gene_ids: list[str]
    table: pl.DataFrame
    dna: DnaSource | None
    dna_row: IntArray
    rna: Ragged | None
    rna_row: IntArray
    junctions: Ragged | None
    cds_start: IntArray
    cds_end: IntArray
    cds_phase: IntArray
    protein: Ragged | None
    protein_row: IntArray
    signal: PromoterSignal | None = None

    @property
    def n(self) -> int:
        """Number of transcripts."""
        return len(self.transcript_ids)

    def __len__(self) -> int:
        return self.n

    def has(self, modality: str) -> npt.NDArray[np.bool_]:
        """Which transcripts have "dna", "rna" or "protein"."""
        row: IntArray = getattr(self, f"{modality}_row")
        return row >= 0

    def lengths(self, modality: str) -> npt.NDArray[np.int64]:
        """Length of each transcript's "rna" (bases) or "protein" (residues); 0 where it has none."""
        sequences: Ragged | None = getattr(self, modality)
        row: IntArray = getattr(self, f"{modality}_row")
        if sequences is None:
            return np.zeros(self.n, dtype=np.int64)
        return np.where(row >= 0, sequences.lengths[np.maximum(row, 0)], 0)

    def regions(self, sample: int, start: int = 0) -> npt.NDArray[np.uint8]:
        """Region id (`tokens.rna`) of each base of one transcript's RNA from base `start` on."""
        if self.rna is None or self.junctions is None:
            raise ValueError(f"transcript {self.transcript_ids[sample]} has no RNA")
        row = int(self.rna_row[sample])
        return region_ids(
            int(self.rna.offsets[row + 1] - self.rna.offsets[row]),
            int(self.cds_start[sample]),
            int(self.cds_end[sample]),
            self.junctions[row],
            int(self.cds_phase[sample]),
            start,
        )

    def take(self, rows: npt.NDArray[np.int64]) -> IsoformSamples:
        """The given transcripts, in the given order; sequences are shared, not copied."""
        picked = rows.tolist()
        return replace(
            self,
            transcript_ids=[self.transcript_ids[row] for row in picked],
            gene_ids=[self.gene_ids[row] for row in picked],
            table=self.table[picked] if len(picked) else self.table.clear(),
            dna_row=self.dna_row[rows],
            rna_row=self.rna_row[rows],
            cds_start=self.cds_start[rows],
            cds_end=self.cds_end[rows],
            cds_phase=self.cds_phase[rows],
            protein_row=self.protein_row[rows],
        )

    def without(self, modalities: Sequence[str]) -> IsoformSamples:
        """The same transcripts without the given modalities."""
        unknown = set(modalities) - set(MODALITIES)
        if unknown:
            raise ValueError(f"modality {sorted(unknown)[0]!r} is none of {', '.join(MODALITIES)}")
        absent = np.full(self.n, -1, dtype=np.int32)
        return replace(
            self,
            dna=None if "dna" in modalities else self.dna,
            signal=None if "dna" in modalities else self.signal,
            dna_row=absent if "dna" in modalities else self.dna_row,
            rna=None if "rna" in modalities else self.rna,
            rna_row=absent if "rna" in modalities else self.rna_row,
            protein=None if "protein" in modalities else self.protein,
            protein_row=absent if "protein" in modalities else self.protein_row,
        )
