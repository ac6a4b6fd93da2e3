"""Consequences of many variants for all transcripts in reach: pairs are found at once, and only close ones looked at.

Variants that lie beside a transcript or deep in an intron are told by vectorised searches; the rest, at exons, splice
sites and ends, goes through `consequences.consequence` one pair at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cisoform.genome.consequences import Consequence, consequence
from cisoform.genome.edits import Edit
from cisoform.genome.touched import CLOSE, DOWNSTREAM, UPSTREAM, Exons, Spans, find_pairs, places
from cisoform.genome.transcript_edits import Structure
from cisoform.genome.transcripts import MITOCHONDRIAL_TABLES, TranscriptSet

Codes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]

_REPORT_EVERY = 1000


@dataclass(frozen=True)
class Placed:
    """One change: what it does to which chromosome."""

    chrom: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True)
class Annotated:
    """Consequences of pairs.

    Attributes:
        variant: Row of the variant of every pair.
        transcript: Row of its transcript.
        consequence: What becomes of it.
    """

    variant: Ints
    transcript: Ints
    consequence: list[Consequence]

    def __len__(self) -> int:
        return len(self.consequence)


class Structures:
    """Transcripts of a set as `Structure`s, made when they are asked for."""

    def __init__(self, transcripts: TranscriptSet, code_table: int = 1) -> None:
        table = transcripts.table
        self._transcripts, self._code_table = transcripts, code_table
        self._chrom = table["chrom"].to_list()
        self._minus = (table["strand"] == "-").to_list()
        self._exons = exons_by_position(transcripts)
        names = ("cds_start", "cds_end", "cds_phase", "flags")
        self._numbers = [table[name].to_list() for name in names]
        self.get = lru_cache(maxsize=4096)(self._make)

    @property
    def exons(self) -> Exons:
        """Exons of all transcripts."""
        return self._exons

    def _make(self, row: int) -> Structure:
        low, high = int(self._exons.offsets[row]), int(self._exons.offsets[row + 1])
        which = int(self._transcripts.protein_row[row])
        cds_start, cds_end, phase, flags = (numbers[row] for numbers in self._numbers)
        return Structure(
            starts=self._exons.starts[low:high].tolist(),
            ends=self._exons.ends[low:high].tolist(),
            minus=self._minus[row],
            rna=self._transcripts.rna[row],
            cds_start=cds_start,
            cds_end=cds_end,
            phase=phase,
            flags=flags,
            protein=np.empty(0, dtype=np.uint8) if which < 0 else self._transcripts.protein[which],
            table=MITOCHONDRIAL_TABLES.get(self._chrom[row], self._code_table),
        )


def exons_by_position(transcripts: TranscriptSet) -> Exons:
    """Exons of a set's transcripts, each transcript's from the lowest up."""
    table = transcripts.table
    n = table["n_exons"].to_numpy().astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
    starts = table["exon_starts"].explode().to_numpy().astype(np.int64)
    ends = table["exon_ends"].explode().to_numpy().astype(np.int64)
    order = np.lexsort((starts, np.repeat(np.arange(len(n)), n)))
    return Exons(offsets, starts[order], ends[order], (table["strand"] == "-").to_numpy())


def spans_of(transcripts: TranscriptSet, chroms: dict[str, int], upstream: int, downstream: int) -> Spans:
    """Transcripts with the bases round their start: `upstream` before the first one and `downstream` from it on."""
    table = transcripts.table
    minus = (table["strand"] == "-").to_numpy()
    tss = table["tss"].to_numpy().astype(np.int64)
    low = np.minimum(table["start"].to_numpy(), np.where(minus, tss + 1 - downstream, tss - upstream))
    high = np.maximum(table["end"].to_numpy(), np.where(minus, tss + 1 + upstream, tss + downstream))
    number = np.array(
        [chroms.setdefault(name, len(chroms)) for name in table["chrom"].to_list()], dtype=np.int64
    )
    return Spans(number, low.astype(np.int64), high.astype(np.int64))


def annotate(
    variants: Sequence[Placed],
    transcripts: TranscriptSet,
    chromosome: Callable[[str], Codes],
    upstream: int = 5000,
    downstream: int = 5000,
    code_table: int = 1,
    update: Progress | None = None,
) -> Annotated:
    """Consequences of every variant for every transcript in reach.

    Args:
        variants: Each on one chromosome, named as in the genome.
        transcripts: All transcripts that may be in reach.
        chromosome: Gives the base codes of a whole chromosome.
        upstream: Bases before a transcript's start that count as its reach.
        downstream: Bases from its start on that count, beside the transcript itself.
        code_table: NCBI genetic code of the nuclear genome.
        update: Is told how many of how many close pairs are done.
    """
    chroms: dict[str, int] = {}
    spans = spans_of(transcripts, chroms, upstream, downstream)
    variant, row = find_pairs(spans_of_variants(variants, chroms), spans)
    return annotate_pairs(variants, variant, row, transcripts, chromosome, code_table, update)


def spans_of_variants(variants: Sequence[Placed], chroms: dict[str, int]) -> Spans:
    """From the first to the last changed base of every variant."""
    number = [chroms.setdefault(variant.chrom, len(chroms)) for variant in variants]
    start = [variant.edits[0].start for variant in variants]
    end = [max(edit.end for edit in variant.edits) for variant in variants]
    return Spans(*(np.array(values, dtype=np.int64) for values in (number, start, end)))


def annotate_pairs(
    variants: Sequence[Placed],
    variant: Ints,
    row: Ints,
    transcripts: TranscriptSet,
    chromosome: Callable[[str], Codes],
    code_table: int = 1,
    update: Progress | None = None,
    structures: Structures | None = None,
) -> Annotated:
    """As `annotate`, for given pairs; `structures` of the transcripts are made here if they are not given."""
    spans = spans_of_variants(variants, {})
    structures = structures or Structures(transcripts, code_table)
    kind, intron = places(spans.start[variant], spans.end[variant], row, structures.exons)
    found = _far(kind, intron)
    # Chromosome by chromosome, so that one is in memory at a time.
    close = np.flatnonzero(kind == CLOSE)
    close = close[np.lexsort((row[close], spans.chrom[variant[close]]))]
    held, codes = "", np.empty(0, dtype=np.uint8)
    for done, pair in enumerate(close.tolist()):
        one = variants[variant[pair]]
        if one.chrom != held:
            held, codes = one.chrom, chromosome(one.chrom)
        found[pair] = consequence(structures.get(int(row[pair])), one.edits, codes)
        if update is not None and done % _REPORT_EVERY == 0:
            update(done, len(close))
    return Annotated(variant, row, found)


def _far(kind: Ints, intron: Ints) -> list[Consequence]:
    """Consequences of pairs that need no closer look; the others get one that is replaced."""
    beside = {
        UPSTREAM: Consequence(("upstream_gene_variant",)),
        DOWNSTREAM: Consequence(("downstream_gene_variant",)),
        CLOSE: Consequence(()),
    }
    inner = {n: Consequence(("intron_variant",), intron=n) for n in np.unique(intron).tolist()}
    pairs = zip(kind.tolist(), intron.tolist(), strict=True)
    return [beside[k] if k in beside else inner[n] for k, n in pairs]
