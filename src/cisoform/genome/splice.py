"""Spliced RNA of many transcripts at once: exons gathered from each chromosome, a block of bases at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Int, UInt8

from cisoform.genome.annotation import Annotation
from cisoform.genome.fasta import Genome
from cisoform.genome.interval import Interval
from cisoform.genome.ragged import Ragged
from cisoform.genome.sequence import encode_dna, reverse_complement

# Bases gathered at a time: index arrays of 8 bytes each stay far below the sequence itself.
_BLOCK_BASES = 2 << 20
_DONORS = (encode_dna("GT"), encode_dna("GC"))
_ACCEPTOR = encode_dna("AG")


@dataclass(frozen=True)
class Spliced:
    """RNA of all transcripts of an annotation, in its order.

    Attributes:
        rna: Base codes of every transcript, 5' to 3'.
        exon_rna_start: Where each exon of the annotation begins in its RNA.
        n_introns: Gaps of at least four bases between exons.
        n_canonical_introns: Those that begin GT or GC and end AG.
    """

    rna: Ragged
    exon_rna_start: Int[np.ndarray, " exons"]
    n_introns: int
    n_canonical_introns: int


def splice(annotation: Annotation, chroms: list[str], genome: Genome) -> Spliced:
    """Join the exons of every transcript, reverse-complemented on the minus strand.

    Args:
        annotation: Transcripts; all exons must lie on their chromosome.
        chroms: Chromosome of each transcript under its name in the genome.
        genome: Where to read.
    """
    lengths = annotation.exon_ends - annotation.exon_starts
    exon_row = np.repeat(np.arange(len(annotation)), annotation.n_exons)
    flat_start = np.cumsum(lengths) - lengths
    rna_offsets = np.concatenate([flat_start[annotation.exon_offsets[:-1]], [lengths.sum()]]).astype(np.int64)
    minus = (annotation.transcripts["strand"] == "-").to_numpy()
    data = np.empty(rna_offsets[-1], dtype=np.uint8)
    n_introns = n_canonical = 0
    for chrom, rows in _groups(chroms):
        exons = _exons_of(annotation.exon_offsets, rows)
        low = int(annotation.exon_starts[exons].min())
        high = int(annotation.exon_ends[exons].max())
        forward = genome.fetch(Interval(chrom, low, high))
        # Position p of the minus strand stands at len(forward) + p, complemented.
        both = np.concatenate([forward, reverse_complement(forward)[::-1]])
        first = annotation.exon_starts[exons] - low
        on_minus = minus[exon_row[exons]]
        first = np.where(on_minus, len(forward) + annotation.exon_ends[exons] - 1 - low, first)
        step = np.where(on_minus, -1, 1)
        _fill(data, flat_start[exons], both, first, step, lengths[exons])
        found, canonical = _count_introns(both, first, step, lengths[exons], exon_row[exons])
        n_introns, n_canonical = n_introns + found, n_canonical + canonical
    return Spliced(Ragged(data, rna_offsets), flat_start - rna_offsets[exon_row], n_introns, n_canonical)


def _groups(chroms: list[str]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Transcripts of each chromosome, in order of first appearance."""
    index = {chrom: number for number, chrom in enumerate(dict.fromkeys(chroms))}
    codes = np.array([index[chrom] for chrom in chroms], dtype=np.int64)
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(index)))
    yield from zip(index, np.split(order, ends[:-1]), strict=True)


def _exons_of(offsets: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    lengths = offsets[rows + 1] - offsets[rows]
    begin = np.cumsum(lengths) - lengths
    return np.repeat(offsets[rows] - begin, lengths) + np.arange(lengths.sum())


def _fill(
    data: UInt8[np.ndarray, " rna"],
    target: Int[np.ndarray, " exons"],
    source: UInt8[np.ndarray, " bases"],
    first: Int[np.ndarray, " exons"],
    step: Int[np.ndarray, " exons"],
    lengths: Int[np.ndarray, " exons"],
) -> None:
    """Copy runs of `source` (from `first`, forwards or backwards) to `data` at `target`, in blocks of exons."""
    block = np.cumsum(lengths) // _BLOCK_BASES
    edges = np.concatenate([[0], np.flatnonzero(np.diff(block)) + 1, [len(lengths)]])
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        here = slice(low, high)
        codes = source[_runs(first[here], step[here], lengths[here])]
        begin, end = int(target[low]), int(target[high - 1] + lengths[high - 1])
        if end - begin == len(codes):
            data[begin:end] = codes
        else:
            data[_runs(target[here], np.ones_like(step[here]), lengths[here])] = codes


def _runs(
    first: Int[np.ndarray, " exons"], step: Int[np.ndarray, " exons"], lengths: Int[np.ndarray, " exons"]
) -> Int[np.ndarray, " bases"]:
    """The positions `first, first + step, ...` of every run, end to end, as one running sum."""
    jumps = np.repeat(step, lengths)
    last = first + step * (lengths - 1)
    jumps[np.cumsum(lengths) - lengths] = first - np.concatenate([[0], last[:-1]])
    return np.cumsum(jumps)


def _count_introns(
    source: UInt8[np.ndarray, " bases"],
    first: Int[np.ndarray, " exons"],
    step: Int[np.ndarray, " exons"],
    lengths: Int[np.ndarray, " exons"],
    row: Int[np.ndarray, " exons"],
) -> tuple[int, int]:
    """How many introns there are, and how many of them begin GT or GC and end AG."""
    last = first + step * (lengths - 1)
    intron = np.flatnonzero((row[1:] == row[:-1]) & (np.abs(first[1:] - last[:-1]) > 4))
    begin, end = last[:-1][intron] + step[intron], first[1:][intron] - step[intron]
    head = np.stack([source[begin], source[begin + step[intron]]], axis=1)
    tail = np.stack([source[end - step[intron]], source[end]], axis=1)
    donor = (head == _DONORS[0]).all(axis=1) | (head == _DONORS[1]).all(axis=1)
    return len(intron), int((donor & (tail == _ACCEPTOR).all(axis=1)).sum())
