"""Inputs of a data set of genes: opened, matched by name and checked before the long work begins.

Nothing is read of the counts here but names. The result says which cells, peaks and genes take part, and what was
noticed on the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.gene_pools import Pooling
from cisoform.data.splits import split_by_filling
from cisoform.errors import InputError
from cisoform.genome.expression import read_expression
from cisoform.genome.fasta import Genome
from cisoform.genome.files import PathLike
from cisoform.genome.hdf5 import CountMatrix
from cisoform.genome.multiome import cell_column, match_barcodes, read_h5ad, read_multiome, read_rna_10x
from cisoform.genome.names import IdMatch, match_ids
from cisoform.genome.peaks import Peaks, parse_peak_names, place_peaks, read_peaks
from cisoform.genome.starts import gene_starts
from cisoform.genome.tracks import SignalTrack, read_track_table
from cisoform.tokens.peaks import check_edges

PUBLISHED_TEST, PUBLISHED_VALID = ("chr8", "chr10"), ("chr9",)
"""Held out by default where the genome has them, as in stage 1 (reference recipe)."""
_MIN_CHROMOSOMES = 3

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class GeneInputs:
    """Files of a build: `multiome`; `rna` with `atac`; `rna` with `fragments` and `peaks`; or, of bulk samples
    instead of cells, `tracks` with `peaks` and `expression`.
    """

    genome: PathLike
    annotation: PathLike
    multiome: PathLike | None = None
    rna: PathLike | None = None
    atac: PathLike | None = None
    fragments: PathLike | None = None
    peaks: PathLike | None = None
    cells: PathLike | None = None
    tracks: PathLike | None = None
    expression: PathLike | None = None

    def __post_init__(self) -> None:
        if self.tracks is not None:
            others = [
                name for name in ("multiome", "rna", "atac", "fragments") if getattr(self, name) is not None
            ]
            if others:
                raise InputError(
                    f"--tracks (bulk samples) cannot be given together with --{others[0]} (cells)"
                )
            if self.peaks is None or self.expression is None:
                raise InputError("--tracks needs --peaks and --expression")
            return
        if self.expression is not None:
            raise InputError("--expression goes with --tracks (bulk samples)")
        if (self.multiome is None) == (self.rna is None):
            raise InputError("give either --multiome, or --rna with --atac (or with --fragments and --peaks)")
        if self.multiome is not None and self.atac is not None:
            raise InputError("--atac goes with --rna; a --multiome file holds both")
        if self.rna is not None and self.atac is None and (self.fragments is None or self.peaks is None):
            raise InputError("--rna needs --atac, or --fragments together with --peaks")

    def named(self) -> dict[str, PathLike]:
        """The files that are given."""
        return {name: path for name, path in vars(self).items() if path is not None}


@dataclass(frozen=True, kw_only=True)
class GeneBuildConfig:
    """What is built of the inputs.

    Attributes:
        pool: Cells, pools of neighbours or pseudobulks.
        max_groups: Most cells (or centres of pools), drawn at random; None = all.
        reach_bp: Peaks with their midpoint so near a TSS belong to the gene (paper: 150 kb either way).
        max_peaks: Most peaks of a gene, the nearest (paper: 150).
        cell_types: Column with the cell type, by which cells are held out; None = all cells are for training. Where
            types are held out, cells without one are left out.
        test_cell_types: Types held out for test; None = some, if there are at least three types.
        valid_cell_types: Likewise for validation.
        test_chromosomes: Chromosomes held out for test; None = chr8 and chr10, or some of at least three.
        valid_chromosomes: Likewise for validation: chr9.
        layer: Layer of AnnData files that holds the counts; None = X.
        allow_normalised: Take values that are no counts as they are: no depth normalisation, no logarithm.
        edges: Edges of the signal levels: the released ones, equal shares of the positive signal of training groups on
            training chromosomes ("quantile"), or given.
        min_tss_enrichment: Least accessibility of starts over their surroundings; 0 = do not check.
        seed: Of the draws.
    """

    pool: Pooling = field(default_factory=Pooling)
    max_groups: int | None = None
    reach_bp: int = 150_000
    max_peaks: int = 150
    cell_types: str | None = None
    test_cell_types: tuple[str, ...] | None = None
    valid_cell_types: tuple[str, ...] | None = None
    test_chromosomes: tuple[str, ...] | None = None
    valid_chromosomes: tuple[str, ...] | None = None
    layer: str | None = None
    allow_normalised: bool = False
    edges: Literal["released", "quantile"] | tuple[float, ...] = "released"
    min_tss_enrichment: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.reach_bp < 1 or self.max_peaks < 1:
            raise InputError(f"--reach {self.reach_bp} and --max-peaks {self.max_peaks} must be at least 1")
        if isinstance(self.edges, tuple):
            try:
                check_edges(self.edges)
            except ValueError as error:
                raise InputError(f"--edges: {error}") from None
        if self.cell_types is None and (self.test_cell_types or self.valid_cell_types):
            raise InputError("--test-cell-types and --valid-cell-types need --cell-types COLUMN")
        for what, test, valid in (
            ("chromosome", self.test_chromosomes, self.valid_chromosomes),
            ("cell type", self.test_cell_types, self.valid_cell_types),
        ):
            both = sorted(set(test or ()) & set(valid or ()))
            if both:
                raise InputError(f"{what} {both[0]!r} is held out both for test and for validation")


@dataclass(frozen=True)
class BulkInputs:
    """Bulk samples: a signal track of each, and its expression.

    Attributes:
        tracks: One track a sample.
        values: Expression (samples, features) on the linear scale of the table.
    """

    tracks: list[SignalTrack]
    values: npt.NDArray[np.float32]


@dataclass(frozen=True)
class MatchedInputs:
    """What takes part, by name.

    Attributes:
        genome: The genome.
        rna: Counts of genes; None for bulk samples.
        atac: Counts of peaks, or None where only fragments are given.
        cells: Barcodes of the cells of both, in the order of `rna`; or the bulk samples.
        rna_cell: Number in the build of each cell of `rna`, -1 = left out; likewise `atac_cell`.
        atac_cell: See `rna_cell`.
        peaks: Peaks in genomic order.
        atac_peak: Peak of each feature of `atac`, -1 = left out.
        genes: Genes that have an annotation and peaks are yet to be sought for: the table of starts plus `feature`.
        part: "train", "valid" or "test" of each cell; "" = left out: a cell without a type, where types are held out.
        cell_type: Type of each cell, "" where unknown.
        label: Label of each cell for pseudobulks, or None.
        test_chromosomes: What is held out; likewise `valid_chromosomes`.
        valid_chromosomes: See `test_chromosomes`.
        notes: What was noticed.
        bulk: Tracks and expression of bulk samples, or None.
    """

    genome: Genome
    rna: CountMatrix | None
    atac: CountMatrix | None
    cells: list[str]
    rna_cell: IntArray
    atac_cell: IntArray | None
    peaks: Peaks
    atac_peak: IntArray | None
    genes: pl.DataFrame
    part: list[str]
    cell_type: list[str]
    label: list[str] | None
    test_chromosomes: tuple[str, ...]
    valid_chromosomes: tuple[str, ...]
    notes: list[str]
    bulk: BulkInputs | None = None


def match_inputs(inputs: GeneInputs, config: GeneBuildConfig) -> MatchedInputs:
    """Open all inputs and match cells, peaks and genes by name.

    Raises:
        InputError: At the first thing that does not fit.
    """
    if inputs.tracks is not None:
        return _match_bulk(inputs, config)
    notes: list[str] = []
    genome = Genome.open(inputs.genome)
    rna, atac = _matrices(inputs, config.layer)
    cells, rna_cell, atac_cell = _common_cells(rna, atac, notes)
    peaks, atac_peak = _peaks(inputs, atac, genome, notes)
    starts, names = gene_starts(inputs.annotation, genome.chroms)
    if any(name != other for name, other in names.names.items()) or names.missing:
        notes.append(f"annotation: {names.text}")
    genes = _genes(starts, rna.feature_ids, rna.feature_names, rna.where, Path(inputs.annotation).name, notes)
    test, valid = _held_out_chromosomes(genome, config, genes["chrom"].to_list(), notes)
    part, cell_type = _held_out_cells(inputs, config, rna, atac, cells, notes)
    label = None
    if config.pool.kind == "pseudobulk":
        label = _labels(inputs, rna, atac, cells, config.pool.column)
    return MatchedInputs(
        genome=genome,
        rna=rna,
        atac=atac,
        cells=cells,
        rna_cell=rna_cell,
        atac_cell=atac_cell,
        peaks=peaks,
        atac_peak=atac_peak,
        genes=genes,
        part=part,
        cell_type=cell_type,
        label=label,
        test_chromosomes=test,
        valid_chromosomes=valid,
        notes=notes,
    )


def _match_bulk(inputs: GeneInputs, config: GeneBuildConfig) -> MatchedInputs:
    """As `match_inputs` for bulk samples: the samples of the table of tracks, matched with columns by name."""
    assert inputs.tracks is not None and inputs.peaks is not None and inputs.expression is not None
    if config.pool.kind != "cells":
        raise InputError("--pool joins cells; bulk samples (--tracks) cannot be pooled")
    notes: list[str] = []
    genome = Genome.open(inputs.genome)
    rows = read_track_table(inputs.tracks)
    names = sorted({row.track for row in rows})
    accessible = "atac" if "atac" in names else names[0]
    if len(names) > 1 and accessible != "atac":
        raise InputError(f"{inputs.tracks}: lists the tracks {', '.join(names)}; name the one to use atac")
    rows = [row for row in rows if row.track == accessible]
    table = read_expression(inputs.expression)
    samples = [row.sample for row in rows]
    missing = [name for name in samples if name not in table.columns]
    if missing:
        raise InputError(
            f"{inputs.expression}: has no column for sample {missing[0]!r} of {inputs.tracks}; it has "
            f"{', '.join(table.columns[:10])}"
        )
    placed = place_peaks(read_peaks(inputs.peaks), genome.chroms, str(inputs.peaks))
    notes.extend(placed.notes)
    starts, _ = gene_starts(inputs.annotation, genome.chroms)
    values = table.values[:, [table.columns.index(name) for name in samples]]
    where = str(inputs.expression)
    genes = _genes(starts, table.ids, table.ids, where, Path(inputs.annotation).name, notes)
    unmeasured = np.isnan(values).any(axis=1)[genes["feature"].to_numpy()]
    if unmeasured.any():
        notes.append(f"{int(unmeasured.sum()):,} genes with missing values are left out")
        genes = genes.filter(pl.Series(~unmeasured))
    tracks = [SignalTrack(row.path, genome.chroms, row.transform) for row in rows]
    genes = _on_covered_chromosomes(genes, tracks, str(inputs.tracks), notes)
    test, valid = _held_out_chromosomes(genome, config, genes["chrom"].to_list(), notes)
    types = samples if config.cell_types is not None else [""] * len(samples)
    part = ["train"] * len(samples)
    if config.cell_types is not None:
        part = _parts_of_types(types, config, "sample", notes)
    return MatchedInputs(
        genome=genome,
        rna=None,
        atac=None,
        cells=samples,
        rna_cell=np.arange(len(samples)),
        atac_cell=None,
        peaks=placed.peaks,
        atac_peak=None,
        genes=genes,
        part=part,
        cell_type=types,
        label=None,
        test_chromosomes=test,
        valid_chromosomes=valid,
        notes=notes,
        bulk=BulkInputs(tracks, values.T),
    )


def _on_covered_chromosomes(
    genes: pl.DataFrame, tracks: Sequence[SignalTrack], where: str, notes: list[str]
) -> pl.DataFrame:
    """Genes on chromosomes that every track has; on others "no signal" would mean "not in the file"."""
    chroms = genes["chrom"].unique(maintain_order=True).to_list()
    bare = [name for name in chroms if not all(name in track.chromosomes for track in tracks)]
    if not bare:
        return genes
    if len(bare) == len(chroms):
        raise InputError(
            f"{where}: no chromosome with genes ({', '.join(chroms[:4])}) is in all tracks; check that annotation and "
            "tracks are of one assembly"
        )
    lost = int(genes["chrom"].is_in(bare).sum())
    notes.append(
        f"{lost:,} genes on {len(bare)} chromosomes that some track lacks are left out (the first: {bare[0]})"
    )
    return genes.filter(~pl.col("chrom").is_in(bare))


def _matrices(inputs: GeneInputs, layer: str | None) -> tuple[CountMatrix, CountMatrix | None]:
    if inputs.multiome is not None:
        both = read_multiome(inputs.multiome, layer)
        return both.rna, both.atac
    assert inputs.rna is not None
    rna = read_rna_10x(inputs.rna) or read_h5ad(inputs.rna, "rna", layer)
    return rna, None if inputs.atac is None else read_h5ad(inputs.atac, "atac", layer)


def _common_cells(
    rna: CountMatrix, atac: CountMatrix | None, notes: list[str]
) -> tuple[list[str], IntArray, IntArray | None]:
    if atac is None:
        return rna.cells, np.arange(len(rna.cells)), None
    match = match_barcodes(rna.cells, atac.cells, f"RNA {rna.path.name}", f"ATAC {atac.path.name}")
    if len(match.left) < max(len(rna.cells), len(atac.cells)) or "as they are" not in match.text:
        notes.append(match.text)
    rna_cell = np.full(len(rna.cells), -1, dtype=np.int64)
    atac_cell = np.full(len(atac.cells), -1, dtype=np.int64)
    rna_cell[match.left] = np.arange(len(match.left))
    atac_cell[match.right] = np.arange(len(match.left))
    return [rna.cells[row] for row in match.left.tolist()], rna_cell, atac_cell


def _peaks(
    inputs: GeneInputs, atac: CountMatrix | None, genome: Genome, notes: list[str]
) -> tuple[Peaks, IntArray | None]:
    """Peaks in genomic order; those of a BED where given (with a matrix: the ones that are in both, by name)."""
    listed = None if inputs.peaks is None else read_peaks(inputs.peaks)
    if atac is None or (listed is not None and inputs.fragments is not None):
        assert listed is not None
        placed = place_peaks(listed, genome.chroms, str(inputs.peaks))
        notes.extend(placed.notes)
        return placed.peaks, None
    own = parse_peak_names(atac.feature_names, atac.where)
    placed = place_peaks(own, genome.chroms, atac.where)
    notes.extend(placed.notes)
    peaks = placed.peaks
    if listed is not None:
        wanted_peaks = place_peaks(listed, genome.chroms, str(inputs.peaks)).peaks
        wanted = {wanted_peaks.name(row) for row in range(len(wanted_peaks))}
        keep = np.array([peaks.name(row) in wanted for row in range(len(peaks))], dtype=bool)
        if not keep.any():
            raise InputError(
                f"{inputs.peaks}: none of its peaks ({listed.name(0)}) is a peak of {atac.where} ({own.name(0)}); "
                "without --fragments, counts can be taken of the matrix' own peaks only"
            )
        peaks = peaks.take(keep)
        notes.append(
            f"{len(peaks):,} of {len(own):,} peaks of the matrix are in {Path(inputs.peaks or '').name}"
        )
    column = np.full(len(atac.feature_ids), -1, dtype=np.int64)
    column[peaks.source] = np.arange(len(peaks))
    return peaks, column


def _genes(
    starts: pl.DataFrame, ids: list[str], names: list[str], where: str, annotation: str, notes: list[str]
) -> pl.DataFrame:
    """Starts of the genes that the matrix has, with `feature`, the row there; matched by id, else by symbol."""
    by_id = _match(starts["gene_id"].to_list(), ids, annotation, where)
    symbols, n_ambiguous = _once(starts["gene_name"].to_list(), names)
    by_name = _match(*symbols, annotation, where)
    n_id, n_name = (0 if match is None else len(match) for match in (by_id, by_name))
    if not n_id and not n_name:
        match_ids(starts["gene_id"].to_list(), ids, annotation, where)  # raises with the reason
    if n_id >= n_name:
        assert by_id is not None
        rows, features = by_id.left, by_id.right
        notes.append(f"genes: {len(rows):,} of {len(ids):,} features are in {annotation}, by id")
    else:
        assert by_name is not None
        row_of = {name: row for row, name in enumerate(starts["gene_name"].to_list())}
        feature_of = {name: row for row, name in enumerate(names)}
        rows = np.array([row_of[symbols[0][left]] for left in by_name.left.tolist()], dtype=np.int64)
        features = np.array(
            [feature_of[symbols[1][right]] for right in by_name.right.tolist()], dtype=np.int64
        )
        text = f"genes: {len(rows):,} of {len(ids):,} features are in {annotation}, by symbol"
        if n_ambiguous:
            text += f"; {n_ambiguous} symbols that stand for several genes are left out"
        notes.append(text)
    table: pl.DataFrame = starts[rows.tolist()]
    return table.with_columns(pl.Series("feature", features))


def _once(left: Sequence[str], right: Sequence[str]) -> tuple[tuple[list[str], list[str]], int]:
    """Names that stand once in their own list; how many of those in both are ambiguous."""
    counts = Counter(left), Counter(right)
    shared = set(left) & set(right)
    ambiguous = {name for name in shared if counts[0][name] > 1 or counts[1][name] > 1}
    return (
        [name for name in left if name not in ambiguous and counts[0][name] == 1],
        [name for name in right if name not in ambiguous and counts[1][name] == 1],
    ), len(ambiguous)


def _match(left: list[str], right: list[str], left_name: str, right_name: str) -> IdMatch | None:
    if len(set(right)) < len(right):
        return None
    try:
        return match_ids(left, right, left_name, right_name)
    except InputError:
        return None


def _held_out_chromosomes(
    genome: Genome, config: GeneBuildConfig, chroms: Sequence[str], notes: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    for name in (*(config.test_chromosomes or ()), *(config.valid_chromosomes or ())):
        genome.chrom_length(name)
    test, valid = config.test_chromosomes, config.valid_chromosomes
    if test is None and valid is None and not all(name in genome for name in PUBLISHED_TEST):
        if len(set(chroms)) < _MIN_CHROMOSOMES:
            notes.append(f"genes lie on {len(set(chroms))} chromosomes: none is held out")
            return (), ()
        split = split_by_filling(list(chroms), config.seed)
        of = dict(zip(chroms, split.tolist(), strict=True))
        return tuple(c for c in of if of[c] == "test"), tuple(c for c in of if of[c] == "valid")
    known = all(name in genome for name in PUBLISHED_TEST)
    if test is None:
        test = tuple(name for name in PUBLISHED_TEST if known and name not in (valid or ()))
    if valid is None:
        valid = tuple(name for name in PUBLISHED_VALID if name in genome and name not in test)
    if not set(chroms) - {*test, *valid}:
        raise InputError(
            f"no gene is left to train on: all lie on held-out chromosomes ({', '.join(sorted(set(chroms)))})"
        )
    return test, valid


def _held_out_cells(
    inputs: GeneInputs,
    config: GeneBuildConfig,
    rna: CountMatrix,
    atac: CountMatrix | None,
    cells: Sequence[str],
    notes: list[str],
) -> tuple[list[str], list[str]]:
    if config.cell_types is None:
        return ["train"] * len(cells), [""] * len(cells)
    types = _labels(inputs, rna, atac, cells, config.cell_types)
    return _parts_of_types(types, config, config.cell_types, notes), types


def _parts_of_types(types: list[str], config: GeneBuildConfig, column: str, notes: list[str]) -> list[str]:
    """The split of each cell by its type; "" where it has none and types are held out: it may be of one of these."""
    known = sorted({name for name in types if name})
    for name in (*(config.test_cell_types or ()), *(config.valid_cell_types or ())):
        if name not in known:
            raise InputError(
                f"cell type {name!r} is not in column {column!r}; it has {', '.join(known[:10])}"
            )
    test, valid = config.test_cell_types, config.valid_cell_types
    if test is None and valid is None:
        if len(known) < _MIN_CHROMOSOMES:
            notes.append(f"column {column!r} has {len(known)} types: none is held out")
            test = valid = ()
        else:
            named = [name for name in types if name]
            split = dict(zip(named, split_by_filling(named, config.seed).tolist(), strict=True))
            test = tuple(name for name in known if split[name] == "test")
            valid = tuple(name for name in known if split[name] == "valid")
    test, valid = test or (), valid or ()
    part = ["test" if name in test else "valid" if name in valid else "train" for name in types]
    if test or valid:
        part = [split if name else "" for split, name in zip(part, types, strict=True)]
    if "train" not in part:
        raise InputError("no cell is left to train on: all cell types are held out")
    return part


def _labels(
    inputs: GeneInputs, rna: CountMatrix, atac: CountMatrix | None, cells: Sequence[str], column: str
) -> list[str]:
    """An annotation column of the cells, "" where a cell has none."""
    found = cell_column([rna, atac], inputs.cells, column)
    if all(cell in found for cell in cells):
        return [found[cell] for cell in cells]
    where = "the cell annotation" if inputs.cells is None else str(inputs.cells)
    match = match_barcodes(list(cells), list(found), "the data", where)
    names = list(found)
    values = [""] * len(cells)
    for left, right in zip(match.left.tolist(), match.right.tolist(), strict=True):
        values[left] = found[names[right]]
    return values
