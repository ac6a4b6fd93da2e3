"""Variants of a VCF file on a data set or a locus: place them, predict both alleles, beside random changes."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.reader import LocusReader, Reader
from cisoform.analysis.variant_windows import (
    SCORED,
    Fetch,
    PeakWindows,
    PlacedAlleles,
    control_alleles,
    place_alleles,
)
from cisoform.analysis.variants import Expected, signal_factors, variant_effects
from cisoform.errors import InputError
from cisoform.genome.fasta import Genome
from cisoform.genome.interval import Interval
from cisoform.genome.names import map_chromosomes
from cisoform.genome.variants import Allele, read_vcf
from cisoform.jobs.chosen_peaks import peaks_of_genes
from cisoform.jobs.perturbation_tables import half_width, p_value

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]
AnyReader = Reader | LocusReader
Told = Callable[[str], Callable[[int, int], None]]

NO_GENE = "no chosen gene in reach"


@dataclass(frozen=True)
class VariantResult:
    """What came out.

    Attributes:
        effects: A row for every allele that was scored, gene in its reach and group (or label).
        variants: A row for every allele of the file: what became of it, peaks, genes, largest difference.
    """

    effects: pl.DataFrame
    variants: pl.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """Alleles by what became of them."""
        return dict(Counter(self.variants["status"].to_list()).most_common())


def score_variants(
    reader: AnyReader,
    grouping: Grouping,
    genes: Ints,
    vcf: Path,
    *,
    genome: Path | None = None,
    expected: Expected | None = None,
    n_controls: int = 5,
    seed: int = 0,
    told: Told | None = None,
) -> VariantResult:
    """Expression of genes with every alternative allele of a VCF file.

    Args:
        reader: Model and data.
        grouping: Groups that take part.
        genes: Genes to predict.
        vcf: The file.
        genome: FASTA of the data's genome: the bases that a deletion draws in, and all of REF. None = N, and what
            lies in the windows.
        expected: Accessibility by DNA (`jobs.predicted_accessibility`): also predict with the signal scaled by it.
        n_controls: Random changes of the same size in the same peak, of every allele; 0 = none.
        seed: Of their draw.
        told: Is told what is done: returns the callback for its progress.

    Raises:
        InputError: A damaged file; a genome that the data were not built from; or no allele that can be scored.
    """
    told = told or _silent
    within = peaks_of_genes(reader, genes)
    if reader.peaks["start"].null_count():
        raise InputError(
            f"--vcf {vcf}: the peaks of the text have no coordinates (ids chr_start_end are needed)"
        )
    windows = PeakWindows.of(reader, within, None if genome is None else _fetch(genome))
    if genome is not None:
        _check_genome(genome, windows)
    read = read_vcf(vcf)
    alleles = _renamed(read, windows.chrom)
    placed = place_alleles(alleles, windows)
    _check_some(vcf, alleles, placed)
    factors = None if expected is None else signal_factors(windows, placed, expected)
    scored = variant_effects(reader, grouping, genes, placed, update=told("predicting alleles"))
    again = None
    if factors is not None:
        again = variant_effects(
            reader, grouping, genes, placed, factors, told("predicting with accessibility anew")
        )
    controls = None
    drawn, of = control_alleles(alleles, placed, windows, n_controls, seed)
    if drawn:
        other = variant_effects(
            reader, grouping, genes, place_alleles(drawn, windows), update=told("predicting random changes")
        )
        controls = other.with_columns(allele=pl.Series(of[other["allele"].to_numpy()], dtype=pl.Int64))
    effects = _effects(reader, grouping, read, alleles, scored, again, controls)
    return VariantResult(effects, _variants(reader, read, placed, scored, factors))


def _silent(what: str) -> Callable[[int, int], None]:
    return lambda done, total: None


def _fetch(path: Path) -> Fetch:
    genome = Genome.open(path)
    names: dict[str, str] = {}

    def fetch(chrom: str, start: int, end: int) -> Codes:
        if chrom not in names:
            names.update(map_chromosomes([chrom], genome.chroms).names)
        return np.asarray(genome.fetch(Interval(names[chrom], start, end)))

    return fetch


def _check_genome(path: Path, windows: PeakWindows) -> None:
    """Refuse a genome whose bases are not those of the windows (the first, middle and last are compared)."""
    assert windows.fetch is not None
    for row in sorted({0, len(windows.number) // 2, len(windows.number) - 1}):
        start, length = int(windows.start[row]), windows.bases.shape[1]
        if (windows.fetch(windows.chrom[row], start, start + length) != windows.bases[row]).any():
            raise InputError(
                f"--genome {path}: its bases at {windows.chrom[row]}:{start + 1}-{start + length} are not those of "
                "the data; give the genome that they were built from, or leave it out"
            )


def _renamed(alleles: Sequence[Allele], chroms: Sequence[str]) -> list[Allele]:
    """Alleles with the data's names of chromosomes; those it does not have keep theirs."""
    known = dict.fromkeys(chroms)
    names: dict[str, str] = {}
    for name in {
        allele.chrom for allele in alleles
    }:  # one by one: a file may spell one chromosome in two ways
        with contextlib.suppress(InputError):
            names |= map_chromosomes([name], known).names
    return [replace(allele, chrom=names.get(allele.chrom, allele.chrom)) for allele in alleles]


def _check_some(path: Path, alleles: Sequence[Allele], placed: PlacedAlleles) -> None:
    if len(placed):
        return
    counts = ", ".join(f"{n} {status}" for status, n in Counter(placed.status).most_common())
    first = alleles[0]
    raise InputError(
        f"{path}: none of {len(alleles):,} alleles can be scored ({counts}); the first, line {first.line}, "
        f"{first.key}: {placed.detail[0] or placed.status[0]}"
    )


def _effects(
    reader: AnyReader,
    grouping: Grouping,
    read: Sequence[Allele],
    alleles: Sequence[Allele],
    scored: pl.DataFrame,
    again: pl.DataFrame | None,
    controls: pl.DataFrame | None,
) -> pl.DataFrame:
    number = scored["allele"].to_list()
    genes = reader.genes[scored["gene"].to_list()]
    n = scored["n"].to_numpy()
    difference = (scored["after"] - scored["before"]).to_numpy()
    half = half_width(n, difference, scored["square"].to_numpy() * n)
    sign = np.where(genes["strand"].to_numpy() == "-", -1, 1)
    position = np.array([alleles[row].trimmed()[0] for row in number], dtype=np.int64)
    columns = {
        **_names([read[row] for row in number]),
        "gene_id": genes["gene_id"],
        "gene_name": genes["gene_name"],
        "distance_bp": (position - genes["tss"].to_numpy()) * sign,
        grouping.column: [grouping.labels[label] for label in scored["label"].to_list()],
        "n_groups": n,
        "reference": scored["before"],
        "alternative": scored["after"],
        "difference": difference,
        "low": difference - half,
        "high": difference + half,
    }
    table = pl.DataFrame(columns).with_columns(pl.col("low", "high").fill_nan(None))
    if again is not None:
        change = (again["after"] - again["before"]).alias("difference_accessibility_predicted")
        table = table.with_columns(change)
    if controls is not None:
        table = table.hstack(_beside(scored, difference, controls))
    return table


def _names(alleles: Sequence[Allele]) -> dict[str, list[str] | list[int]]:
    return {
        "variant": [allele.name or allele.key for allele in alleles],
        "chrom": [allele.chrom for allele in alleles],
        "pos": [allele.position + 1 for allele in alleles],
        "ref": [allele.ref for allele in alleles],
        "alt": [allele.alt for allele in alleles],
    }


def _beside(scored: pl.DataFrame, difference: Numbers, controls: pl.DataFrame) -> pl.DataFrame:
    """Controls of each row: their number, mean absolute difference, and how often one moves at least as far."""
    keys = ("allele", "gene", "label")
    change = (pl.col("after") - pl.col("before")).alias("change")
    lists = controls.group_by(keys).agg(change)
    joined = scored.select(keys).join(lists, on=keys, how="left", maintain_order="left")
    found: dict[str, list[float | int | None]] = {"n_controls": [], "control_mean_absolute": [], "p": []}
    for value, others in zip(difference.tolist(), joined["change"].to_list(), strict=True):
        moved = np.abs(np.array(others or [], dtype=np.float64))
        found["n_controls"].append(len(moved))
        found["control_mean_absolute"].append(float(moved.mean()) if len(moved) else None)
        found["p"].append(p_value(value, moved) if len(moved) else None)
    types = {"n_controls": pl.Int64, "control_mean_absolute": pl.Float64, "p": pl.Float64}
    return pl.DataFrame(found, schema=types)


def _variants(
    reader: AnyReader,
    read: Sequence[Allele],
    placed: PlacedAlleles,
    scored: pl.DataFrame,
    factors: Numbers | None,
) -> pl.DataFrame:
    change = (pl.col("after") - pl.col("before")).abs()
    top = (
        scored.with_columns(change.alias("change"))
        .sort("change", descending=True, maintain_order=True)
        .group_by("allele", maintain_order=True)
        .agg(pl.col("gene").n_unique().alias("n_genes"), pl.col("change").first(), pl.col("gene").first())
    )
    by = {row[0]: row[1:] for row in top.iter_rows()}
    status, detail = list(placed.status), list(placed.detail)
    n_peaks = np.bincount(placed.allele, minlength=len(read))
    for number, one in enumerate(status):
        if one == SCORED and number not in by:
            status[number] = NO_GENE
    names = reader.genes["gene_name"].to_list()
    table = pl.DataFrame(
        {
            "line": [allele.line for allele in read],
            **_names(read),
            "status": status,
            "detail": detail,
            "n_peaks": n_peaks,
            "n_genes": [by[row][0] if row in by else 0 for row in range(len(read))],
            "largest_difference": [by[row][1] if row in by else None for row in range(len(read))],
            "of_gene": [names[by[row][2]] if row in by else None for row in range(len(read))],
        },
        schema_overrides={"largest_difference": pl.Float64, "of_gene": pl.String},
    )
    if factors is None:
        return table
    log2 = np.zeros(len(read))
    np.add.at(log2, placed.allele, np.log2(factors).mean(axis=1))
    scale = [value / n if n else None for value, n in zip(log2.tolist(), n_peaks.tolist(), strict=True)]
    return table.with_columns(pl.Series("accessibility_log2_ratio", scale, dtype=pl.Float64))
