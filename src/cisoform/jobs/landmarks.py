"""Genes and peaks of a data set's genome, to be drawn under its signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.genome.annotation import Annotation, read_annotation
from cisoform.genome.files import PathLike
from cisoform.genome.names import map_chromosomes
from cisoform.genome.peaks import Peaks, place_peaks, read_peaks
from cisoform.report.elementary_plots import GeneDrawing


@dataclass(frozen=True)
class Landmarks:
    """Opened files of what lies on a genome; either may be missing.

    Attributes:
        annotation: Transcripts.
        chrom: Of each transcript, as the data call it; "" where they have no such chromosome.
        peaks: Peaks, as the data call their chromosomes.
    """

    annotation: Annotation | None = None
    chrom: npt.NDArray[Any] | None = None
    peaks: Peaks | None = None

    @classmethod
    def read(
        cls, lengths: Mapping[str, int], annotation: PathLike | None = None, peaks: PathLike | None = None
    ) -> Landmarks:
        """Open the files that are given.

        Args:
            lengths: Chromosomes of the data.
            annotation: GTF or GFF3.
            peaks: BED or narrowPeak.

        Raises:
            InputError: If a file cannot be read or shares no chromosome with the data.
        """
        transcripts, chrom, placed = None, None, None
        if annotation is not None:
            transcripts = read_annotation(annotation)
            own = transcripts.transcripts["chrom"]
            names = map_chromosomes(own.unique(maintain_order=True).to_list(), lengths).names
            chrom = np.array([names.get(name, "") for name in own.to_list()], dtype=np.str_)
        if peaks is not None:
            placed = place_peaks(read_peaks(peaks), dict(lengths), str(peaks)).peaks
        return cls(transcripts, chrom, placed)

    def genes_at(self, chrom: str, start: int, end: int) -> list[GeneDrawing]:
        """Genes that overlap a stretch, each by the exons of all its transcripts; none without an annotation."""
        if self.annotation is None or self.chrom is None:
            return []
        table = self.annotation.transcripts
        here = (self.chrom == chrom) & (table["start"].to_numpy() < end) & (table["end"].to_numpy() > start)
        found: dict[str, tuple[str, str, set[tuple[int, int]]]] = {}
        for row in np.flatnonzero(here).tolist():
            gene, name, strand = table["gene_id"][row], table["gene_name"][row], table["strand"][row]
            found.setdefault(gene, (name or gene, strand, set()))[2].update(_exons(self.annotation, row))
        return [GeneDrawing(name, strand, sorted(exons)) for name, strand, exons in found.values()]

    def peaks_at(self, chrom: str, start: int, end: int) -> list[tuple[int, int]] | None:
        """Peaks that overlap a stretch; None where peaks are not known."""
        if self.peaks is None:
            return None
        peaks = self.peaks
        number = peaks.chroms.index(chrom) if chrom in peaks.chroms else -1
        kept = (peaks.chrom == number) & (peaks.start < end) & (peaks.end > start)
        return list(zip(peaks.start[kept].tolist(), peaks.end[kept].tolist(), strict=True))


def _exons(annotation: Annotation, row: int) -> list[tuple[int, int]]:
    part = slice(int(annotation.exon_offsets[row]), int(annotation.exon_offsets[row + 1]))
    return list(zip(annotation.exon_starts[part].tolist(), annotation.exon_ends[part].tolist(), strict=True))
