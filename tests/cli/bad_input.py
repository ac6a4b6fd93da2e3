"""Wrong inputs of `isoform build`, each one spoiling one thing of a valid project.

A case takes the project (a fresh copy) and returns the words of the command and what its one line must contain.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

from tests.cli.mini import MiniProject

Case = Callable[[MiniProject], tuple[list[str], list[str]]]
BUILD: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def register(function: Case) -> Case:
        assert name not in BUILD, name
        BUILD[name] = function
        return function

    return register


def edit(path: Path, old: str, new: str, count: int = 1) -> None:
    """Replace text in a file; it must be there."""
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, count))


def edit_row(path: Path, row: int, column: int, value: str) -> None:
    """Set one cell of a TSV; row 0 is the header."""
    lines = path.read_text().splitlines()
    cells = lines[row].split("\t")
    cells[column] = value
    lines[row] = "\t".join(cells)
    path.write_text("\n".join(lines) + "\n")


def set_column(path: Path, column: int, value: str) -> None:
    for row in range(1, len(path.read_text().splitlines())):
        edit_row(path, row, column, value)


def truncated_gzip(path: Path) -> Path:
    """The file as a gzip that ends too early."""
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes() * 3)[:-40])
    return packed


OUT = "built"

# --- genome ---------------------------------------------------------------------------------------------------------


@case("genome is missing")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.genome.unlink()
    return p.build_words(OUT), ["genome.fa", "no such file"]


@case("genome is empty")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.genome.write_text("")
    return p.build_words(OUT), ["genome.fa", "empty"]


@case("genome is a folder")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.genome.unlink()
    p.genome.mkdir()
    return p.build_words(OUT), ["genome.fa", "directory"]


@case("genome is no FASTA")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.genome.write_text("chr1\tACGT\nchr2\tACGT\n")
    return p.build_words(OUT), ["genome.fa"]


@case("genome has lines of uneven length")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    lines = p.genome.read_text().splitlines()
    lines[3] = lines[3][:20]
    p.genome.write_text("\n".join(lines) + "\n")
    return p.build_words(OUT), ["genome.fa"]


@case("genome names a chromosome twice")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit(p.genome, ">chr2", ">chr1")
    return p.build_words(OUT), ["genome.fa", "chr1"]


@case("genome holds a letter that is no base")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    lines = p.genome.read_text().splitlines()
    lines[8] = "!" + lines[8][1:]
    p.genome.write_text("\n".join(lines) + "\n")
    return p.build_words(OUT), ["genome.fa", "'!'"]


@case("genome is a truncated gzip")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, genome=truncated_gzip(p.genome)), ["genome.fa.gz", "truncated"]


# --- annotation -----------------------------------------------------------------------------------------------------


@case("annotation is missing")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.annotation.unlink()
    return p.build_words(OUT), ["annotation.gtf", "no such file"]


@case("annotation is empty")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.annotation.write_text("")
    return p.build_words(OUT), ["annotation.gtf", "empty"]


@case("annotation has comments only")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.annotation.write_text("##description: nothing\n")
    return p.build_words(OUT), ["annotation.gtf"]


@case("annotation has no exon")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit(p.annotation, "\texon\t", "\tregion\t", -1)
    return p.build_words(OUT), ["annotation.gtf", "exon"]


@case("annotation has a line of too few columns")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    lines = p.annotation.read_text().splitlines()
    lines[2] = "chr1\tTEST\texon"
    p.annotation.write_text("\n".join(lines) + "\n")
    return p.build_words(OUT), ["annotation.gtf", "line 3"]


@case("annotation has a coordinate of text")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.annotation, 1, 3, "abc")
    return p.build_words(OUT), ["annotation.gtf", "line 2", "abc"]


@case("annotation has an end before the start")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.annotation, 1, 3, "900")
    edit_row(p.annotation, 1, 4, "800")
    return p.build_words(OUT), ["annotation.gtf", "line 2", "800"]


@case("annotation has no strand")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    set_column(p.annotation, 6, "?")
    edit_row(p.annotation, 0, 6, "?")
    return p.build_words(OUT), ["annotation.gtf", "strand"]


@case("annotation has an exon without transcript_id")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.annotation, 1, 8, 'gene_id "ENSG00000000000.1";')
    return p.build_words(OUT), ["annotation.gtf", "line 2", "transcript_id"]


@case("a transcript runs past the end of its chromosome")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    last = [t for t in p.transcripts if t.chrom == "chr2"][-1]
    edit(p.annotation, f"\t{last.exons[-1][1]}\t", "\t99999\t", -1)
    return p.build_words(OUT), [last.id, "99,999", "chr2"]


@case("two transcripts have one id")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    first, other = p.transcripts[0].id, p.transcripts[9].id
    edit(p.annotation, f'transcript_id "{other}"', f'transcript_id "{first}"', -1)
    return p.build_words(OUT), ["annotation.gtf", first]


@case("annotation is of another assembly")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    lines = []
    for line in p.annotation.read_text().splitlines():
        cells = line.split("\t")
        cells[3], cells[4] = str(int(cells[3]) + 7), str(int(cells[4]) + 7)
        lines.append("\t".join(cells))
    p.annotation.write_text("\n".join(lines) + "\n")
    return p.build_words(OUT), ["start codon", "assembl"]


@case("no chromosome name of the annotation is in the genome")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit(p.annotation, "chr", "scaffold_", -1)
    return p.build_words(OUT), ["scaffold_1", "chr1"]


@case("annotation is a truncated gzip")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, annotation=truncated_gzip(p.annotation)), ["annotation.gtf.gz", "truncated"]


# --- expression -----------------------------------------------------------------------------------------------------


@case("expression is missing")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.expression.unlink()
    return p.build_words(OUT), ["expression.tsv", "no such file"]


@case("expression is empty")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.expression.write_text("")
    return p.build_words(OUT), ["expression.tsv", "empty"]


@case("expression has a header only")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.expression.write_text(p.expression.read_text().splitlines()[0] + "\n")
    return p.build_words(OUT), ["expression.tsv"]


@case("expression has no tissue column")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    lines = ["\t".join(line.split("\t")[:2]) for line in p.expression.read_text().splitlines()]
    p.expression.write_text("\n".join(lines) + "\n")
    return p.build_words(OUT), ["expression.tsv"]


@case("expression has text for a value")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.expression, 4, 3, "high")
    return p.build_words(OUT), ["expression.tsv", "line 5", "Liver", "high"]


@case("expression has a negative value")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.expression, 4, 3, "-2.5")
    return p.build_words(OUT), ["expression.tsv", "line 5", "Liver", "-2.5"]


@case("expression has an infinite value")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.expression, 4, 3, "inf")
    return p.build_words(OUT), ["expression.tsv", "line 5", "Liver", "inf"]


@case("expression has a column of zeros")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    set_column(p.expression, 3, "0")
    return p.build_words(OUT), ["expression.tsv", "Liver", "zero"]


@case("expression has a column without values")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    set_column(p.expression, 3, "NaN")
    return p.build_words(OUT), ["expression.tsv", "Liver"]


@case("expression has a transcript twice")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.expression, 4, 0, p.transcripts[0].id)
    return p.build_words(OUT), ["expression.tsv", p.transcripts[0].id]


@case("expression has a column twice")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.expression, 0, 3, "Brain")
    return p.build_words(OUT), ["expression.tsv", "Brain"]


@case("expression has a line of too few columns")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    lines = p.expression.read_text().splitlines()
    lines[6] = "\t".join(lines[6].split("\t")[:-1])
    p.expression.write_text("\n".join(lines) + "\n")
    return p.build_words(OUT), ["expression.tsv", "line 7"]


@case("expression shares no id with the annotation")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit(p.expression, "ENST", "NM_", -1)
    return p.build_words(OUT), [p.transcripts[0].id, p.transcripts[0].id.replace("ENST", "NM_")]


@case("expression is a picture")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    p.expression.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe" * 20)
    return p.build_words(OUT), ["expression.tsv"]


@case("expression is a truncated gzip")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, expression=truncated_gzip(p.expression)), ["expression.tsv.gz"]


@case("gene expression shares no gene with the annotation")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    table = p.root / "genes.tsv"
    table.write_text("gene_id\tCortex\nYAL001C\t1.5\nYAL002W\t2.5\n")
    return p.build_words(OUT, gene_expression=table), ["YAL001C", p.gene_ids[0]]


# --- tissues and samples --------------------------------------------------------------------------------------------


@case("a tissue is not in the table")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, tissues="Brain,Livr"), ["Livr", "Liver"]


@case("a tissue is empty")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, tissues="Brain,,Liver"), ["Brain,,Liver", "empty"]


@case("a tissue is named twice")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, tissues="Brain,Brain"), ["Brain", "twice"]


@case("no sample of the sample table is in the expression table")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    table = p.root / "samples.tsv"
    table.write_text("sample\ttissue\ns1\tBrain\ns2\tLiver\n")
    return p.build_words(OUT, samples=table), ["samples.tsv", "s1"]


@case("the sample table has one column")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    table = p.root / "samples.tsv"
    table.write_text("sample\nBrain\nLiver\n")
    return p.build_words(OUT, samples=table), ["samples.tsv"]


# --- splits and other options ---------------------------------------------------------------------------------------


@case("a gene is in two splits")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    with p.splits.open("a") as handle:
        handle.write(f"{p.gene_ids[0]}\ttest\n")
    return p.build_words(OUT), ["splits.tsv", p.gene_ids[0], "test"]


@case("a split has an unknown name")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.splits, 2, 1, "trian")
    return p.build_words(OUT), ["splits.tsv", "trian"]


@case("the split table has no split column")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    edit_row(p.splits, 0, 1, "part")
    return p.build_words(OUT), ["splits.tsv", "split"]


@case("no gene is left to train on")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    set_column(p.splits, 1, "test")
    return p.build_words(OUT), ["train"]


@case("both a split file and a rule")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, split_by="gene"), ["--splits", "--split-by"]


@case("an unknown rule to split by")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, splits=None, split_by="gnee"), ["gnee"]


@case("a window of no bases")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, window="0"), ["window", "0"]


@case("a window of text")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, window="2kb"), ["--window", "2kb"]


@case("no genome is given")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return p.build_words(OUT, genome=None), ["--genome"]


@case("an option that does not exist")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    return [*p.build_words(OUT), "--tisues", "Brain"], ["--tisues", "--tissues"]


@case("the data set's place is taken by a file")
def _(p: MiniProject) -> tuple[list[str], list[str]]:
    place = p.root / "taken"
    place.write_text("mine")
    return p.build_words(place), ["taken"]
