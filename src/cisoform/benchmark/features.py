"""Hand-made sequence features for the baselines: k-mer, codon and amino-acid shares, lengths, start context.

In: sequences and exon/CDS structure of some transcripts (`TranscriptSequences`), nothing else: no id, no
chromosome, no count of isoforms. Out: one float32 row per transcript, each feature with a name and the input
it was read from. A transcript without a modality has NaN in that modality's features. Everything is counted
over flat arrays in blocks of rows, so memory is bounded by the feature matrix.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from cisoform.genome.ragged import Ragged

# The input a feature was read from. `dna_upstream` ends at the TSS: it is never transcribed, so it cannot hold
# the sequence of the RNA. `structure` is the lengths of the regions, which the exons and the CDS give.
SOURCES = ("dna_upstream", "dna_downstream", "rna", "structure", "protein")

LENGTH_NAMES = ("log_utr5_len", "log_cds_len", "log_utr3_len", "log_rna_len")

_BASES = "ACGT"
_AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
_N = 4
_BLOCK_BASES = 4_000_000
# Kyte and Doolittle 1982, in the order of _AMINO_ACIDS.
_HYDROPATHY = np.array(
    [1.8, 2.5, -3.5, -3.5, 2.8, -0.4, -3.2, 4.5, -3.9, 3.8, 1.9, -3.5, -1.6, -3.5, -4.5, -0.8, -0.7, 4.2, -0.9, -1.3]
)  # fmt: skip


@dataclass(frozen=True)
class TranscriptSequences:
    """Sequences of n transcripts, row by row.

    Attributes:
        dna: Base codes (A 0, C 1, G 2, T 3, N 4) of a window with the TSS at column `bases // 2`, or None.
        rna: Spliced RNA, one row per transcript (an empty row = no RNA), or None.
        cds_start, cds_end: CDS in RNA coordinates, 0-based half-open with the stop codon; -1 = non-coding.
        cds_phase: Bases of the CDS before its first whole codon.
        n_junctions: Exon-exon junctions of the spliced RNA.
        protein: Amino-acid codes of the distinct proteins, or None.
        protein_row: Row of `protein` of each transcript, -1 = none.
    """

    dna: UInt8[np.ndarray, "rows bases"] | None
    rna: Ragged | None
    cds_start: Int[np.ndarray, " rows"]
    cds_end: Int[np.ndarray, " rows"]
    cds_phase: Int[np.ndarray, " rows"]
    n_junctions: Int[np.ndarray, " rows"]
    protein: Ragged | None
    protein_row: Int[np.ndarray, " rows"]

    def __len__(self) -> int:
        return len(self.cds_start)


@dataclass(frozen=True)
class FeatureTable:
    """One row of features per transcript; `source[j]` is the input (one of `SOURCES`) of feature j."""

    values: Float[np.ndarray, "rows features"]
    names: tuple[str, ...]
    source: tuple[str, ...]

    def select(self, sources: Sequence[str]) -> FeatureTable:
        """Only the features read from the given inputs."""
        return self.columns([j for j, source in enumerate(self.source) if source in set(sources)])

    def columns(self, index: Sequence[int]) -> FeatureTable:
        """The given features, in the given order."""
        return FeatureTable(
            self.values[:, list(index)],
            tuple(self.names[j] for j in index),
            tuple(self.source[j] for j in index),
        )

    def by_name(self, names: Sequence[str]) -> FeatureTable:
        """The named features, in the given order."""
        return self.columns([self.names.index(name) for name in names])


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """What is counted. The sizes were chosen on the validation rows of the yeast pack."""

    rna_k: int = 4
    utr_k: int = 3
    dna_k: int = 4
    dna_bin_k: int = 2
    dna_bins: tuple[tuple[int, int], ...] = ((-500, -250), (-250, -120), (-120, -50), (-50, 0))
    dna_down: int = 500
    dna_up: int = 500


def sequence_features(sequences: TranscriptSequences, config: FeatureConfig | None = None) -> FeatureTable:
    """All features of the inputs that are there, in a fixed order.

    About 1,500 features; 7,000 yeast transcripts take about two seconds on one core.
    """
    config = config or FeatureConfig()
    parts: list[FeatureTable] = []
    if sequences.dna is not None:
        parts += _dna_features(sequences.dna, config)
    if sequences.rna is not None:
        parts += _rna_features(sequences, config)
    if sequences.protein is not None:
        parts.append(_protein_features(sequences.protein, sequences.protein_row))
    if not parts:
        raise ValueError("no dna, rna or protein to take features from")
    return FeatureTable(
        np.concatenate([part.values for part in parts], axis=1),
        tuple(itertools.chain.from_iterable(part.names for part in parts)),
        tuple(itertools.chain.from_iterable(part.source for part in parts)),
    )


# ---------------------------------------------------------------------------------------------------- counting


def kmer_counts(sequences: Ragged, k: int, alphabet: int = 4) -> Float[np.ndarray, "rows kmers"]:
    """Overlapping k-mers of every row; k-mers that hold a code >= `alphabet` (N, X, stop) are not counted."""
    n_kmers = alphabet**k
    counts = np.zeros((len(sequences), n_kmers), dtype=np.float32)
    for rows in _row_blocks(sequences):
        block = _slice_rows(sequences, rows)
        if len(block.data) < k:
            continue
        n_positions = len(block.data) - k + 1
        row = np.repeat(np.arange(len(block)), block.lengths)
        valid = row[:n_positions] == row[k - 1 :]
        code = np.zeros(n_positions, dtype=np.int64)
        for offset in range(k):
            base = block.data[offset : offset + n_positions]
            valid &= base < alphabet
            code = code * alphabet + base
        bins = row[:n_positions][valid] * n_kmers + code[valid]
        counts[rows] = np.bincount(bins, minlength=len(block) * n_kmers).reshape(len(block), n_kmers)
    return counts


def codon_counts(cds: Ragged) -> Float[np.ndarray, "rows 64"]:
    """Codons of every row from its first base on; an incomplete last codon and codons with N are not counted."""
    whole = cut(cds, np.zeros(len(cds), np.int64), cds.lengths // 3 * 3)
    codons = whole.data.reshape(-1, 3)
    row = np.repeat(np.arange(len(cds)), whole.lengths // 3)
    valid = (codons < 4).all(axis=1)
    code = codons[valid].astype(np.int64) @ np.array([16, 4, 1])
    counts = np.bincount(row[valid] * 64 + code, minlength=len(cds) * 64)
    return np.asarray(counts.reshape(-1, 64), dtype=np.float32)


def cut(sequences: Ragged, start: Int[np.ndarray, " rows"], end: Int[np.ndarray, " rows"]) -> Ragged:
    """Row i cut to [start[i], end[i]), clipped to the row; an empty or inverted span gives an empty row."""
    lengths = sequences.lengths
    low = np.clip(start, 0, lengths)
    size = np.maximum(np.clip(end, 0, lengths) - low, 0)
    offsets = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    source = np.repeat(sequences.offsets[:-1] + low - offsets[:-1], size) + np.arange(offsets[-1])
    return Ragged(sequences.data[source], offsets)


def shares(counts: Float[np.ndarray, "rows kmers"]) -> Float[np.ndarray, "rows kmers"]:
    """Counts divided by their sum over the row; NaN where nothing was counted."""
    total = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0))


def one_hot_context(
    sequences: Ragged, anchor: Int[np.ndarray, " rows"], span: tuple[int, int], alphabet: int
) -> Float[np.ndarray, "rows context"]:
    """Indicator of every letter at anchor + span[0] ... anchor + span[1] - 1; 0 outside the row."""
    positions = anchor[:, None] + np.arange(*span)
    inside = (positions >= 0) & (positions < sequences.lengths[:, None])
    codes = np.full(positions.shape, alphabet, dtype=np.int64)
    codes[inside] = sequences.data[(sequences.offsets[:-1, None] + positions)[inside]]
    hot = codes[:, :, None] == np.arange(alphabet)
    return np.asarray(hot.reshape(len(anchor), -1), dtype=np.float32)


def _row_blocks(sequences: Ragged) -> list[slice]:
    """Consecutive rows that hold about `_BLOCK_BASES` letters each (at least one row)."""
    if not len(sequences):
        return []
    block = sequences.offsets[:-1] // _BLOCK_BASES
    starts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(sequences)]
    return [slice(low, high) for low, high in itertools.pairwise(starts)]


def _slice_rows(sequences: Ragged, rows: slice) -> Ragged:
    offsets = sequences.offsets[rows.start : rows.stop + 1]
    return Ragged(sequences.data[offsets[0] : offsets[-1]], offsets - offsets[0])


def _kmer_names(prefix: str, k: int, alphabet: str = _BASES) -> list[str]:
    return [f"{prefix}{''.join(letters)}" for letters in itertools.product(alphabet, repeat=k)]


def _table(values: Float[np.ndarray, "rows features"], names: Sequence[str], source: str) -> FeatureTable:
    return FeatureTable(values.astype(np.float32, copy=False), tuple(names), (source,) * len(names))


# ------------------------------------------------------------------------------------------------------ inputs


def _rows_of_matrix(matrix: UInt8[np.ndarray, "rows bases"]) -> Ragged:
    rows, bases = matrix.shape
    return Ragged(matrix.reshape(-1), np.arange(rows + 1, dtype=np.int64) * bases)


def _dna_features(dna: UInt8[np.ndarray, "rows bases"], config: FeatureConfig) -> list[FeatureTable]:
    """K-mer shares upstream (whole and in bins of distance to the TSS) and downstream of the TSS."""
    tss = dna.shape[1] // 2

    def span(low: int, high: int) -> Ragged:
        return _rows_of_matrix(np.ascontiguousarray(dna[:, max(tss + low, 0) : max(tss + high, 0)]))

    tables = [
        _table(
            shares(kmer_counts(span(-config.dna_up, 0), config.dna_k)),
            _kmer_names("up_", config.dna_k),
            "dna_upstream",
        )
    ]
    for low, high in config.dna_bins:
        counts = kmer_counts(span(low, high), config.dna_bin_k)
        names = _kmer_names(f"up[{low},{high})_", config.dna_bin_k)
        tables.append(_table(shares(counts), names, "dna_upstream"))
    counts = kmer_counts(span(0, config.dna_down), config.dna_k)
    tables.append(_table(shares(counts), _kmer_names("down_", config.dna_k), "dna_downstream"))
    return tables


def _rna_features(sequences: TranscriptSequences, config: FeatureConfig) -> list[FeatureTable]:
    """K-mer shares of the RNA and its UTRs, codon shares, contexts of start, stop and ends, lengths."""
    assert sequences.rna is not None
    rna, coding = sequences.rna, sequences.cds_start >= 0
    length = rna.lengths
    start = np.where(coding, sequences.cds_start, length)
    end = np.where(coding, sequences.cds_end, length)
    zero = np.zeros_like(length)
    utr5 = cut(rna, zero, np.where(coding, start, 0))
    cds = cut(rna, start, end)
    utr3 = cut(rna, end, length)
    regions: list[tuple[str, Callable[[], Float[np.ndarray, "rows features"]], list[str]]] = [
        ("rna", lambda: shares(kmer_counts(rna, config.rna_k)), _kmer_names("rna_", config.rna_k)),
        ("rna", lambda: shares(kmer_counts(utr5, config.utr_k)), _kmer_names("utr5_", config.utr_k)),
        ("rna", lambda: shares(kmer_counts(utr3, config.utr_k)), _kmer_names("utr3_", config.utr_k)),
        (
            "rna",
            lambda: shares(codon_counts(cut(rna, start + sequences.cds_phase, end))),
            _kmer_names("codon_", 3),
        ),
        (
            "rna",
            lambda: one_hot_context(rna, np.where(coding, start, -100), (-6, 9), 4),
            [f"start{p:+d}{b}" for p in range(-6, 9) for b in _BASES],
        ),
        (
            "rna",
            lambda: one_hot_context(rna, np.where(coding, end, -100), (-3, 3), 4),
            [f"stop{p:+d}{b}" for p in range(-3, 3) for b in _BASES],
        ),
        (
            "rna",
            lambda: one_hot_context(rna, zero, (0, 6), 4),
            [f"cap{p:+d}{b}" for p in range(6) for b in _BASES],
        ),
    ]
    tables = [_table(count(), names, source) for source, count, names in regions]
    tables.append(_structure_features(length, utr5, cds, utr3, sequences.n_junctions))
    return [_without_rows(table, length > 0) for table in tables]


def _structure_features(
    length: Int[np.ndarray, " rows"],
    utr5: Ragged,
    cds: Ragged,
    utr3: Ragged,
    n_junctions: Int[np.ndarray, " rows"],
) -> FeatureTable:
    """Log lengths of the regions, upstream ATGs (all and in frame with nothing downstream), junction density."""
    atg = 0b001110  # A T G in base 4: 0, 3, 2
    uatg = kmer_counts(utr5, 3)[:, atg]
    columns = [
        np.log1p(utr5.lengths),
        np.log1p(cds.lengths),
        np.log1p(utr3.lengths),
        np.log1p(length),
        uatg,
        np.log1p(n_junctions),
        1000 * n_junctions / np.maximum(length, 1),
        cds.lengths / np.maximum(length, 1),
    ]
    names = [*LENGTH_NAMES, "n_uatg", "log_n_junctions", "junctions_per_kb", "cds_share"]
    return _table(np.stack(columns, axis=1), names, "structure")


def _protein_features(protein: Ragged, row: Int[np.ndarray, " rows"]) -> FeatureTable:
    """Amino-acid and dipeptide shares, ends, hydropathy, charge; computed once per distinct protein."""
    zero, length = np.zeros(len(protein), np.int64), protein.lengths
    acids = shares(kmer_counts(protein, 1, 20))
    first = shares(kmer_counts(cut(protein, zero, zero + 40), 1, 20))
    last = shares(kmer_counts(cut(protein, length - 40, length), 1, 20))
    columns = {name: acids[:, _AMINO_ACIDS.index(name)] for name in "DEKR"}
    charge = columns["K"] + columns["R"] - columns["D"] - columns["E"]
    summary = np.stack([np.log1p(length), acids @ _HYDROPATHY, charge], axis=1)
    names = ["log_protein_len", "hydropathy", "charge"]
    names += _kmer_names("aa_", 1, _AMINO_ACIDS) + _kmer_names("aa_first40_", 1, _AMINO_ACIDS)
    names += _kmer_names("aa_last40_", 1, _AMINO_ACIDS)
    second = one_hot_context(protein, zero, (1, 3), 20)
    names += [f"residue{p}{a}" for p in (2, 3) for a in _AMINO_ACIDS]
    distinct = np.concatenate([summary, acids, first, last, second], axis=1).astype(np.float32)
    values = distinct[np.maximum(row, 0)] if len(protein) else np.zeros((len(row), len(names)), np.float32)
    return _without_rows(_table(values, names, "protein"), row >= 0)


def _without_rows(table: FeatureTable, present: Bool[np.ndarray, " rows"]) -> FeatureTable:
    """NaN in the rows that lack the input."""
    if present.all():
        return table
    values = table.values.copy()
    values[~present] = np.nan
    return FeatureTable(values, table.names, table.source)
