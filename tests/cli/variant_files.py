"""VCF files on the small project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.cli.mini import MiniProject

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
Row = tuple[str, int, str, str]


def snv(project: MiniProject, chrom: str, at: int) -> Row:
    """Another base at a 0-based position."""
    ref = project.chromosomes[chrom][at]
    return chrom, at, ref, {"A": "C", "C": "A", "G": "T", "T": "G"}[ref]


def write_vcf(
    path: Path, rows: Sequence[Row], samples: Sequence[str] = (), calls: Sequence[str] = ()
) -> Path:
    """Write records with 0-based positions; `calls` are the genotypes of each, with tabs between samples."""
    columns = HEADER.rstrip("\n").split("\n")
    if samples:
        columns[1] += "\tFORMAT\t" + "\t".join(samples)
    lines = [f"{chrom}\t{at + 1}\t.\t{ref}\t{alt}\t.\tPASS\t." for chrom, at, ref, alt in rows]
    if samples:
        lines = [f"{line}\tGT\t{call}" for line, call in zip(lines, calls, strict=True)]
    path.write_text("\n".join([*columns, *lines]) + "\n")
    return path
