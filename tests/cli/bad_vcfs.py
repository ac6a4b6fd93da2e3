"""Wrong inputs of `isoform variants`: texts of VCF files, or options, and what the one line must contain.

`{ref}` is the base at chr1:500 of the small project, `{alt}` another one, `{wrong}` a third.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

from tests.cli.mini import MiniProject
from tests.cli.variant_files import HEADER

GOOD = "chr1\t500\tok\t{ref}\t{alt}\t.\t.\t.\n"
CALLS = HEADER.rstrip("\n") + "\tFORMAT\tA\tB\n"
CALLED = GOOD.rstrip("\n") + "\tGT\t{calls}\n"

TEXTS: dict[str, tuple[str, list[str]]] = {
    "an empty file": ("", ["v.vcf", "empty"]),
    "a header alone": (HEADER, ["v.vcf", "no variants"]),
    "no header": (GOOD, ["line 1", "#CHROM header"]),
    "spaces for tabs in the header": (HEADER.replace("\t", " ") + GOOD, ["line 2", "'#CHROM POS ID", "tabs"]),
    "another order of columns": (HEADER.replace("REF\tALT", "ALT\tREF") + GOOD, ["line 2", "ALT REF"]),
    "spaces for tabs in a record": (
        HEADER + GOOD + "chr1 501 . A C\n",
        ["line 4", "'chr1 501 . A C'", "1 columns"],
    ),
    "a record cut short": (HEADER + GOOD + "chr1\t501\t.\n", ["line 4", "3 columns"]),
    "a position that is no number": (HEADER + GOOD + "chr1\t1e3\t.\tA\tC\n", ["line 4", "'1e3'"]),
    "position 0": (HEADER + "chr1\t0\t.\tA\tC\n", ["line 3", "POS '0'"]),
    "a negative position": (HEADER + "chr1\t-7\t.\tA\tC\n", ["line 3", "'-7'"]),
    "a position in other digits": (HEADER + "chr1\t٣\t.\tA\tC\n", ["line 3", "'٣'"]),
    "a position of 5,000 digits": (HEADER + f"chr1\t{'9' * 5000}\t.\tA\tC\n", ["line 3", "POS '999"]),
    "no REF": (HEADER + "chr1\t5\t.\t\tC\n", ["line 3", "REF ''"]),
    "an empty allele among others": (HEADER + "chr1\t5\t.\tA\tC,,G\n", ["line 3", "'C,,G'"]),
    "a FASTA file": (">chr1\nACGT\n", ["line 1", "VCF"]),
    "another assembly": (
        HEADER + "chr1\t500\t.\t{wrong}\t{ref}\nchr1\t500\t.\t{wrong}\t{alt}\n",
        [
            "none of 2 alleles",
            "2 REF mismatch",
            "line 3",
            "REF has {wrong} at 500, the reference {ref}",
            "assembly",
        ],
    ),
    "another assembly by the header": (
        "##contig=<length=77,ID=chr1>\n" + HEADER + GOOD,
        ["none of 1 alleles", "1 other assembly", "77 bases by the header"],
    ),
    "unknown chromosomes": (
        HEADER + "chrUn_9\t5\t.\tA\tC\n",
        ["1 unknown chromosome", "'chrUn_9'", "chr1, chr2"],
    ),
    "all beyond the end": (HEADER + "chr1\t99999999\t.\tA\tC\n", ["1 beyond the chromosome", "99,999,999"]),
    "symbolic alleles alone": (
        HEADER + "chr1\t500\t.\t{ref}\t<DUP>\nchr1\t500\t.\t{ref}\t*\n",
        ["2 symbolic allele", "ALT <DUP>", "write the change out"],
    ),
    "no change at all": (
        HEADER + "chr1\t500\t.\t{ref}\t{ref}\n",
        ["1 no change", "REF and ALT are the same"],
    ),
}

GENOTYPES: dict[str, tuple[str, list[str]]] = {
    "no samples": (HEADER + GOOD, ["line 2", "no sample columns"]),
    "two samples of one name": (CALLS.replace("\tB\n", "\tA\n") + CALLED, ["line 2", "'A'"]),
    "a record without a sample": (
        CALLS + CALLED.replace("{calls}", "0|1"),
        ["line 3", "10 columns, expected 11"],
    ),
    "no GT": (CALLS + CALLED.replace("GT\t{calls}", "DP\t3\t4"), ["line 3", "'DP'", "no GT"]),
    "a genotype of letters": (CALLS + CALLED.replace("{calls}", "0|x\t0|0"), ["line 3", "'0|x'", "'A'"]),
    "an allele that is not there": (
        CALLS + CALLED.replace("{calls}", "0|0\t2|0"),
        ["'2|0'", "'B'", "ALT has 1"],
    ),
    "all unphased": (
        CALLS + CALLED.replace("{calls}", "0/1\t./."),
        ["1 unphased", "in A", "phase the genotypes"],
    ),
    "carried by nobody": (CALLS + CALLED.replace("{calls}", "0|0\t.|."), ["1 carried by no sample"]),
    "a file that is not sorted": (
        CALLS + CALLED.replace("{calls}", "0|1\t0|0") + "chr1\t499\t.\tA\tC\t.\t.\t.\tGT\t0|1\t0|0\n",
        ["line 4", "chr1:499:A:C", "sorted"],
    ),
    "a chromosome in two places": (
        CALLS + "".join(f"{c}\t9\t.\tA\tC\t.\t.\t.\tGT\t0|1\t0|0\n" for c in ("chr1", "chr2", "chr1")),
        ["line 5", "chr1:9:A:C", "sorted"],
    ),
}

Spoil = Callable[[Path, MiniProject], None]


def _as(content: Callable[[bytes], bytes]) -> Spoil:
    """The good file with its bytes changed."""

    def spoil(path: Path, _: MiniProject) -> None:
        path.write_bytes(content(path.read_bytes()))

    return spoil


FILES: dict[str, tuple[Spoil, list[str]]] = {
    "missing": (lambda path, _: path.unlink(), ["v.vcf", "no such file"]),
    "a folder": (lambda path, _: (path.unlink(), path.mkdir())[0], ["v.vcf", "is a directory"]),
    "gzip cut short": (_as(lambda b: gzip.compress(b * 50)[:-20]), ["v.vcf", "truncated"]),
    "gzip damaged": (
        _as(lambda b: gzip.compress(b)[:20] + b"\0\0\0" + gzip.compress(b)[23:]),
        ["v.vcf", "damaged"],
    ),
    "BCF": (_as(lambda b: gzip.compress(b"BCF\2\2" + b)), ["v.vcf", "is BCF", "bcftools view"]),
    "not text": (_as(lambda b: b"\x89PNG\xff\xfe" + b), ["v.vcf", "not UTF-8"]),
    "UTF-16": (_as(lambda b: b.decode().encode("utf-16")), ["v.vcf", "not UTF-8"]),
    "the genome is missing": (lambda _, project: project.genome.unlink(), ["genome.fa", "no such file"]),
    "the annotation is missing": (
        lambda _, project: project.annotation.unlink(),
        ["annotation.gtf", "no such file"],
    ),
    "the annotation is of another genome": (
        lambda _, project: project.annotation.write_text(
            "".join(_later(line) for line in project.annotation.read_text().splitlines(True))
        ),
        ["annotation.gtf", "different assemblies"],
    ),
}


def _later(line: str) -> str:
    """A line of a GTF file 17 bases on."""
    fields = line.split("\t")
    fields[3:5] = [str(int(fields[3]) + 17), str(int(fields[4]) + 17)]
    return "\t".join(fields)


OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "another ending": (["--out", "e.csv"], ["e.csv", "'.csv'", ".parquet"]),
    "a folder that is not there": (["--out", "no/e.tsv"], ["no/e.tsv", "does not exist"]),
    "resplicing": (["--resplice", "both"], ["--resplice 'both'", "skip, retain"]),
    "the rule of NMD": (["--nmd", "maybe"], ["--nmd 'maybe'", "auto, on, off"]),
    "a genetic code": (["--genetic-code", "99"], ["99"]),
    "a device": (["--device", "tpu"], ["tpu"]),
}
