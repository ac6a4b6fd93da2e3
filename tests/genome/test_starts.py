"""One start a gene: the tagged transcript, else the longest coding one, on the genome's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cisoform.errors import InputError
from cisoform.genome.starts import gene_starts

CHROMS = {"chr1": 5000, "chr2": 4000}


def line(gene: str, name: str, start: int, end: int, strand: str, *, tag: str = "", cds: bool = False) -> str:
    chrom = "1" if gene != "G3" else "2"
    about = f'gene_id "{gene}"; transcript_id "{name}"; gene_name "S{gene}";' + (
        f' tag "{tag}";' if tag else ""
    )
    rows = [("transcript", "."), ("exon", ".")] + ([("CDS", "0")] if cds else [])
    return "".join(
        f"{chrom}\tx\t{what}\t{start}\t{end}\t.\t{strand}\t{frame}\t{about}\n" for what, frame in rows
    )


def starts(path: Path, *lines: str) -> dict[str, tuple[str, int, str]]:
    path.write_text("".join(lines))
    table, _ = gene_starts(path, CHROMS)
    return {row[0]: row[1:] for row in table.select("gene_id", "chrom", "tss", "transcript_id").iter_rows()}


def test_tagged_then_coding_then_longest(tmp_path: Path):
    found = starts(
        tmp_path / "a.gtf",
        line("G3", "a", 101, 900, "+"),
        line("G3", "b", 201, 800, "+", cds=True),
        line("G1", "c", 101, 900, "+", cds=True),
        line("G1", "d", 301, 500, "+", tag="MANE_Select"),
        line("G1", "e", 151, 950, "+", tag="Ensembl_canonical"),
        line("G2", "f", 1001, 1400, "-"),
        line("G2", "g", 1001, 1900, "-"),
    )
    # On '-' the start is the last base of the transcript.
    assert found == {"G1": ("chr1", 300, "d"), "G2": ("chr1", 1899, "g"), "G3": ("chr2", 200, "b")}
    assert list(found) == ["G1", "G2", "G3"], "in genomic order"


def test_a_gene_beyond_the_end_is_another_assembly(tmp_path: Path):
    with pytest.raises(
        InputError, match=r"gene G1 starts at chr1:5,100 but the genome's chr1 has 5,000 bases"
    ):
        starts(tmp_path / "a.gtf", line("G1", "a", 5100, 5900, "+"))
