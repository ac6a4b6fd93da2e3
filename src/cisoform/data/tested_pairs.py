"""Element-gene pairs tested by CRISPR, in the columns of the CRISPR benchmark (EngreitzLab/CRISPR_comparison).

One row says whether silencing an element changed a gene in a cell type. Columns that are read: chrom, chromStart,
chromEnd, measuredGeneSymbol, startTSS, distanceToTSS, CellType, Regulated, measuredGeneUbiquitousExpressed and the
signals of the element; further numeric ones on request. Nothing else of the table is kept, so that what holds the
answer or the design of a screen cannot reach a predictor by accident. Coordinates are 0-based and half-open, as in
the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Int, Shaped

from cisoform.data.pair_columns import PERCENTILES, SIGNALS, UBIQUITOUS, refuse_column
from cisoform.errors import InputError
from cisoform.genome.files import PathLike, sha256_file
from cisoform.genome.names import map_chromosomes
from cisoform.genome.pair_table import MISSING, PairTable

WHAT = "table of tested element-gene pairs"
UNKNOWN = -1
_DISAGREE_BP = 5_000
"""Half of the pairs may state a distance that differs by this much from their coordinates."""


@dataclass(frozen=True)
class TestedPairs:
    """Tested pairs in file order.

    Attributes:
        path: The table.
        sha256: Of the file.
        line: Line of each pair in the file, from 1.
        chrom: Chromosome, as the table spells it.
        start: First base of the element.
        end: Base after its last.
        gene: Symbol (or id, where the table has no symbol) of the tested gene.
        gene_id: Ensembl id; empty where the table has none.
        tss: Transcription start of the gene; -1 where the table states none.
        distance: Bases between the middle of the element and the TSS, as the table states it.
        cell_type: Where it was tested.
        regulated: The answer; None where the table has none.
        ubiquitous: 1 for a gene that is expressed in most tissues, 0 else, NaN where it is not known.
        signals: Signals of the element by name, those of `SIGNALS` and `PERCENTILES` that the table has; NaN where
            missing.
        columns: Further numeric columns that were asked for.
        notes: What was noticed, one line each.
    """

    __test__ = False  # no class of tests, whatever its name begins with

    path: str
    sha256: str
    line: Int[np.ndarray, " pairs"]
    chrom: Shaped[np.ndarray, " pairs"]
    start: Int[np.ndarray, " pairs"]
    end: Int[np.ndarray, " pairs"]
    gene: Shaped[np.ndarray, " pairs"]
    gene_id: Shaped[np.ndarray, " pairs"]
    tss: Int[np.ndarray, " pairs"]
    distance: Int[np.ndarray, " pairs"]
    cell_type: Shaped[np.ndarray, " pairs"]
    regulated: Bool[np.ndarray, " pairs"] | None
    ubiquitous: Float[np.ndarray, " pairs"]
    signals: Mapping[str, Float[np.ndarray, " pairs"]]
    columns: Mapping[str, Float[np.ndarray, " pairs"]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.line)

    @property
    def mid(self) -> Int[np.ndarray, " pairs"]:
        """Middle of each element."""
        return np.asarray((self.start + self.end) // 2)

    @cached_property
    def gene_code(self) -> Int[np.ndarray, " pairs"]:
        """A number for each gene and cell type: pairs of one number compete within the gene."""
        return codes(self.cell_type, self.gene)

    @cached_property
    def element_code(self) -> Int[np.ndarray, " pairs"]:
        """A number for each element and cell type."""
        return codes(self.cell_type, self.chrom, self.start, self.end)

    @property
    def cell_types(self) -> list[str]:
        """Cell types, in order of first appearance."""
        return [str(name) for name in dict.fromkeys(self.cell_type.tolist())]

    def name(self, row: int) -> str:
        """`GENE|chr1:100-600` of one pair."""
        return f"{self.gene[row]}|{self.chrom[row]}:{self.start[row]}-{self.end[row]}"

    def take(self, rows: npt.NDArray[Any]) -> TestedPairs:
        """Some of the pairs, by numbers or by mask."""
        arrays = ("line", "chrom", "start", "end", "gene", "gene_id", "tss", "distance", "cell_type")
        return replace(
            self,
            **{key: getattr(self, key)[rows] for key in (*arrays, "ubiquitous")},
            regulated=None if self.regulated is None else self.regulated[rows],
            signals={name: values[rows] for name, values in self.signals.items()},
            columns={name: values[rows] for name, values in self.columns.items()},
        )

    def truth(self) -> Bool[np.ndarray, " pairs"]:
        """The answers.

        Raises:
            InputError: The table has no `Regulated`, or no pair of one of the two kinds.
        """
        if self.regulated is None:
            raise InputError(f"{self.path}: has no column 'Regulated', so nothing can be scored or learned")
        if self.regulated.all() or not self.regulated.any():
            kind = "positive" if not self.regulated.any() else "negative"
            raise InputError(f"{self.path}: column 'Regulated' holds no {kind} pair; both kinds are needed")
        return self.regulated


def codes(*keys: Shaped[np.ndarray, " pairs"]) -> Int[np.ndarray, " pairs"]:
    """A number from 0 for every distinct combination of keys."""
    code = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        _, part = np.unique(key, return_inverse=True)
        _, code = np.unique(code * (int(part.max(initial=0)) + 1) + part, return_inverse=True)
    return code


def read_tested_pairs(
    path: PathLike, chroms: Mapping[str, int] | None = None, columns: Sequence[str] = ()
) -> TestedPairs:
    """Read a table of tested pairs (TSV, gzip or not).

    Args:
        path: The table, in the columns of EngreitzLab/CRISPR_comparison.
        chroms: Length of each chromosome of the genome, to check the assembly; None = not checked.
        columns: Further columns of numbers to read.

    Raises:
        InputError: A column is missing or may not be used; a line of another length; a value that is no number,
            negative or missing where it is needed; an element without length or on another chromosome than its
            gene; a pair that stands twice; coordinates that do not fit the genome or the stated distances.
    """
    for name in columns:
        if reason := refuse_column(name):
            raise InputError(f"{path}: column {name!r} {reason}; it cannot be a feature")
    table = PairTable.read(path, WHAT)
    pairs = _parse(table, columns, sha256_file(path))
    screen = zip(*(table.text(name) for name in ("Dataset", "Reference") if table.has(name)), strict=True)
    screens = np.array([" ".join(words) for words in screen] or [""] * len(pairs))
    notes = [*_check_repeats(pairs, screens), *_check_distances(pairs), *_missing_notes(pairs)]
    if chroms is not None:
        notes += _check_assembly(pairs, chroms)
    return replace(pairs, notes=tuple(notes))


def _parse(table: PairTable, columns: Sequence[str], sha256: str) -> TestedPairs:
    n = len(table.rows)
    ids = table.text("measuredGeneEnsemblId") if table.has("measuredGeneEnsemblId") else [""] * n
    start, end = table.integers("chromStart"), table.integers("chromEnd")
    empty = np.flatnonzero(end <= start)
    if len(empty):
        row = int(empty[0])
        raise table.error(row, "chromEnd", str(end[row]), f"the element starts at {start[row]}")
    chrom = table.names("chrom")
    if table.has("chrTSS"):
        for row, (element, other) in enumerate(zip(chrom.tolist(), table.text("chrTSS"), strict=True)):
            if other not in MISSING and other != element:
                mend = f"the element is on {element}; pairs share a chromosome"
                raise table.error(row, "chrTSS", other, mend)
    # Tables write 0 for a gene whose start they do not know.
    starts = table.integers("startTSS", missing=0) if table.has("startTSS") else np.zeros(n, dtype=np.int64)
    tss = np.where(starts > 0, starts, UNKNOWN)
    return TestedPairs(
        path=table.path,
        sha256=sha256,
        line=np.array(table.lines, dtype=np.int64),
        chrom=chrom,
        start=start,
        end=end,
        gene=table.names("measuredGeneSymbol", ids),
        gene_id=np.array(["" if value in MISSING else value for value in ids], dtype=np.str_),
        tss=tss,
        distance=_distances(table, (start + end) // 2, tss),
        cell_type=table.names("CellType") if table.has("CellType") else np.full(n, "all", dtype=np.str_),
        regulated=table.truths("Regulated") > 0 if table.has("Regulated") else None,
        ubiquitous=table.truths(UBIQUITOUS, optional=True) if table.has(UBIQUITOUS) else np.full(n, np.nan),
        signals={name: table.numbers(name) for name in (*SIGNALS, *PERCENTILES.values()) if table.has(name)},
        columns={name: table.numbers(name, least=-np.inf) for name in columns},
    )


def _distances(
    table: PairTable, mid: npt.NDArray[np.int64], tss: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Stated distances; from the coordinates where the table states none."""
    stated = np.full(len(mid), np.nan)
    if table.has("distanceToTSS"):
        stated = np.abs(table.numbers("distanceToTSS", least=-np.inf))
    elif not table.has("startTSS"):
        table.text("distanceToTSS")  # says that it is missing
    unknown = np.flatnonzero(np.isnan(stated) & (tss == UNKNOWN))
    if len(unknown):
        raise table.error(int(unknown[0]), "distanceToTSS", "NA", "startTSS is missing too; give one of them")
    return np.where(np.isnan(stated), np.abs(mid - tss), stated).astype(np.int64)


def _check_repeats(pairs: TestedPairs, screens: Shaped[np.ndarray, " pairs"]) -> list[str]:
    """A screen (Dataset and Reference, where the table has them) tests a pair once; several may test the same."""
    pair = codes(pairs.element_code, pairs.gene)
    code = codes(pair, screens)
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(code)))
    if len(again):
        row, there = int(again[0]), pairs.line[first[inverse[again[0]]]]
        name = f"{pairs.name(row)} in {pairs.cell_type[row]}"
        raise InputError(
            f"{pairs.path}: line {pairs.line[row]}: {name} stands already at line {there}; keep each pair once"
        )
    count = len(pairs) - len(np.unique(pair))
    return [f"{count:,} of {len(pairs):,} pairs were tested by another screen as well"] if count else []


def _check_distances(pairs: TestedPairs) -> list[str]:
    """Stated distances against coordinates: most must agree, or elements and genes are of different assemblies."""
    known = pairs.tss != UNKNOWN
    count = int((~known).sum())
    text = f"{count:,} of {len(pairs):,} pairs have no TSS position; their distance is as stated"
    notes = [text] if count else []
    if not known.any():
        return notes
    off = np.abs(np.abs(pairs.mid - pairs.tss) - pairs.distance)[known]
    if np.median(off) > _DISAGREE_BP:
        row = int(np.flatnonzero(known)[np.argmax(off > _DISAGREE_BP)])
        raise InputError(
            f"{pairs.path}: line {pairs.line[row]}: distanceToTSS is {pairs.distance[row]:,}, but the coordinates "
            f"are {abs(pairs.mid[row] - pairs.tss[row]):,} bp apart, as in most lines; elements and genes are "
            "probably of different assemblies"
        )
    return notes


def _missing_notes(pairs: TestedPairs) -> list[str]:
    notes = [f"no column {name}" for name in SIGNALS if name not in pairs.signals]
    for name, values in pairs.signals.items():
        if count := int(np.isnan(values).sum()):
            notes.append(f"{name} is missing in {count:,} of {len(pairs):,} pairs")
    return notes


def _check_assembly(pairs: TestedPairs, chroms: Mapping[str, int]) -> list[str]:
    """Coordinates against a genome."""
    mapped = map_chromosomes(pairs.chrom.tolist(), chroms)
    if mapped.missing:
        row = int(np.flatnonzero(pairs.chrom == mapped.missing[0])[0])
        raise InputError(
            f"{pairs.path}: line {pairs.line[row]}: chromosome {mapped.missing[0]!r} is not in the genome "
            f"({', '.join(list(chroms)[:3])}); give the genome of the table's assembly"
        )
    length = np.array([chroms[mapped.names[name]] for name in pairs.chrom.tolist()], dtype=np.int64)
    beyond = np.flatnonzero((pairs.end > length) | (pairs.tss >= length))
    if len(beyond):
        row = int(beyond[0])
        raise InputError(
            f"{pairs.path}: line {pairs.line[row]}: {pairs.name(row)} (TSS {pairs.tss[row]:,}) lies beyond the end of "
            f"{pairs.chrom[row]} ({length[row]:,} bases); the table and the genome are of different assemblies"
        )
    return [] if all(name == other for name, other in mapped.names.items()) else [mapped.text]
