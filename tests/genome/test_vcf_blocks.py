"""Blocks of a VCF file: nothing is lost between them, no haplotype is cut; states of alleles on a genome."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from cisoform.errors import InputError
from cisoform.genome.interval import Interval
from cisoform.genome.sequence import encode_dna
from cisoform.genome.touched import Spans
from cisoform.genome.variants import Allele, read_vcf
from cisoform.genome.vcf_blocks import Gaps, count_alleles, read_blocks
from cisoform.genome.vcf_records import Checker, contig_lengths

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"


def write(path: Path, rows: list[tuple[str, int, str, str]]) -> Path:
    lines = [f"{c}\t{p}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t0|1" for c, p, ref, alt in rows]
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_blocks_end_behind_records_and_lose_nothing(tmp_path: Path, size: int):
    rows = [("c", 5, "A", "C,G,T"), ("c", 5, "AT", "A"), ("d", 9, "G", "<DEL>,*"), ("c", 1, "A", "T")]
    path = write(tmp_path / "v.vcf", rows)
    blocks = list(read_blocks(path, size))
    assert [allele for block in blocks for allele in block.alleles] == read_vcf(path)
    assert count_alleles(path) == 7
    lines = [{allele.line for allele in block.alleles} for block in blocks]
    assert sum(len(one) for one in lines) == len(set.union(*lines)) == 4
    assert all(len(block.alleles) >= size for block in blocks[:-1])


def test_no_transcript_reaches_into_two_blocks_of_haplotypes(tmp_path: Path):
    rng = random.Random(3)
    spans = [(chrom, start, start + rng.randrange(1, 60)) for chrom in (0, 1) for start in range(0, 900, 37)]
    gaps = Gaps(["c", "d"], Spans(*(np.array(column, dtype=np.int64) for column in zip(*spans, strict=True))))
    rows = []
    for chrom in ("c", "d", "e"):
        places = sorted(rng.sample(range(1, 950), 150))
        rows += [(chrom, p, "A" * rng.choice((1, 1, 1, 12, 40)), rng.choice(("C", "AT"))) for p in places]
    path = write(tmp_path / "v.vcf", rows)
    blocks = list(read_blocks(path, 4, gaps.end))
    assert len(blocks) > 10
    reached = []
    for block in blocks:
        found = set()
        for allele in block.alleles:
            low, high = allele.position - 1, allele.position + len(allele.ref) + 1
            found |= {s for s in spans if "cd"[s[0]] == allele.chrom and s[1] <= high and s[2] >= low}
        reached.append(found)
        carried = block.genotypes.carried
        assert [number for number, _ in carried["S", 1]] == list(range(len(block.alleles)))
    assert sum(len(found) for found in reached) == len(set.union(*reached))


def test_the_end_of_a_stretch_is_found_from_within_and_is_the_place_itself_in_a_gap():
    # Spans 10-20 and 21-30 touch within the two bases that an insertion at a border may reach; 60-70 stands alone.
    spans = Spans(np.array([0, 0, 0]), np.array([21, 60, 10]), np.array([30, 70, 20]))
    gaps = Gaps(["c"], spans)
    assert [gaps.end("c", at) for at in (0, 12, 25, 40, 65)] == [0, 31, 31, 40, 71]
    assert gaps.end("elsewhere", 5) == 5


def checker(text: str, **stated: int) -> Checker:
    codes = encode_dna(text)
    return Checker({"chr1": len(text)}, stated, lambda one: codes[one.start : one.end])


def test_states_of_alleles():
    read = [
        Allele(1, "1", 0, "", "A", "C"),
        Allele(2, "chr1", 0, "", "A", "C"),
        Allele(3, "chr1", 0, "", "AC", "CC"),
        Allele(4, "chr1", 1, "", "G", "C"),
        Allele(5, "chr1", 3, "", "TA", "T"),
        Allele(6, "chrX", 3, "", "T", "A"),
        Allele(7, "chr1", 3, "", "T", "T"),
        Allele(8, "chr1", 3, "", "T", "<X>", "symbolic allele"),
        Allele(9, "chr1", 2, "", "N", "G"),
    ]
    records = checker("ACGT").check(read)
    assert records.status == [
        "scored",
        "repeated",
        "repeated",
        "REF mismatch",
        "beyond the chromosome",
        "unknown chromosome",
        "no change",
        "symbolic allele",
        "REF mismatch",
    ]
    assert records.detail[1] == "the same change stands at line 1"
    assert records.detail[3] == "REF has G at 2, the reference C"
    assert records.usable == [0] and records.alleles[0].chrom == "chr1" and records.read[0].chrom == "1"


def test_a_header_of_another_assembly_refuses_its_chromosomes_alone():
    found = checker("ACGT", chr1=5).check(
        [Allele(1, "chr1", 0, "", "A", "C"), Allele(2, "1", 0, "", "A", "C")]
    )
    assert found.status == ["other assembly", "scored"]
    assert "5 bases by the header of the file, 4 in the genome" in found.detail[0]


def test_repeats_are_found_across_blocks_as_far_as_memory_goes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cisoform.genome.vcf_records.REMEMBERED", 2)
    one = checker("AAAAAAAA")
    changes = [Allele(line, "chr1", at, "", "A", "C") for line, at in enumerate((0, 0, 1, 2, 0), 1)]
    states = [one.check([allele]).status[0] for allele in changes]
    assert states == ["scored", "repeated", "scored", "scored", "scored"]


def test_lengths_of_the_header(tmp_path: Path):
    path = tmp_path / "v.vcf"
    path.write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=chr1,length=12>\n##contig=<ID=chr2,assembly=b37,length=345,md5=1>\n"
        '##contig=<length=7,ID=chr3>\n##contig=<ID=chr4>\n##INFO=<ID=X,Description="length=9,">\n'
        "#CHROM\tPOS\tID\tREF\tALT\n"
    )
    assert contig_lengths(path) == {"chr1": 12, "chr2": 345, "chr3": 7}


def test_a_file_that_ends_in_a_damaged_line_is_refused_when_it_is_counted(tmp_path: Path):
    path = write(tmp_path / "v.vcf", [("c", 5, "A", "C")])
    path.write_text(path.read_text() + "c\tx\t.\tA\tC\n")
    with pytest.raises(InputError, match=r"line 4: POS 'x'"):
        count_alleles(path)


def test_intervals_are_read_from_the_allele_alone():
    asked: list[Interval] = []
    one = Checker({"c": 9}, {}, lambda interval: asked.append(interval) or encode_dna("A"))
    one.check([Allele(1, "c", 4, "", "A", "C")])
    assert asked == [Interval("c", 4, 5)]
