"""VCF records allele by allele, and alternative windows against whole haplotypes written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cisoform.errors import InputError
from cisoform.genome.sequence import decode_dna, encode_dna
from cisoform.genome.variants import Allele, alternate_window, overlaps, read_vcf, reference_mismatch

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def allele(position: int, ref: str, alt: str) -> Allele:
    return Allele(1, "chr1", position, "", ref, alt)


def test_records_become_alleles(tmp_path: Path) -> None:
    path = tmp_path / "v.vcf"
    path.write_text(
        HEADER
        + "chr1\t5\trs1\ta\tC,AT,<DEL>\t.\t.\t.\tGT\t0/1\n\nchr2\t9\t.\tG\tN\nchr2\t9\t.\tG\tG]1:5]\nchr2\t9\t.\tG\t*\n"
    )
    found = read_vcf(path)
    assert [(one.line, one.position, one.name, one.ref, one.alt, one.problem) for one in found] == [
        (3, 4, "rs1", "A", "C", ""),
        (3, 4, "rs1", "A", "AT", ""),
        (3, 4, "rs1", "A", "<DEL>", "symbolic allele"),
        (5, 8, "", "G", "N", "unknown base"),
        (6, 8, "", "G", "G]1:5]", "symbolic allele"),
        (7, 8, "", "G", "*", "symbolic allele"),
    ]
    assert found[0].key == "chr1:5:A:C"
    assert allele(0, "A" * 40, "A").key == f"chr1:1:{'A' * 30}...:A"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"v.vcf: the file is empty"),
        (HEADER, r"holds no variants"),
        ("chr1\t5\t.\tA\tC\n", r"line 1: a record before the #CHROM header"),
        ("#CHROM POS ID REF ALT\n", r"line 1: the header begins '#CHROM POS ID"),
        (HEADER + "chr1 5 . A C\n", r"line 3: 'chr1 5 . A C' has 1 columns"),
        (HEADER + "chr1\tx\t.\tA\tC\n", r"line 3: POS 'x' is no whole number"),
        (HEADER + "chr1\t0\t.\tA\tC\n", r"line 3: POS '0'"),
        (HEADER + "chr1\t5\t.\tA\tC,\n", r"line 3: REF 'A' or ALT 'C,' is empty"),
    ],
)
def test_damaged_files_are_refused_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "v.vcf"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_vcf(path)


def test_shared_bases_are_trimmed_at_the_end_first() -> None:
    assert allele(10, "AT", "A").trimmed() == (11, "T", "")
    assert allele(10, "A", "AT").trimmed() == (11, "", "T")
    assert allele(10, "GAAT", "GAT").trimmed() == (11, "A", "")
    assert allele(10, "AC", "GT").trimmed() == (10, "AC", "GT")
    assert allele(10, "A", "A").trimmed()[1:] == ("", "")


def test_what_an_allele_touches() -> None:
    assert overlaps(allele(10, "A", "C"), 10, 11) and not overlaps(allele(10, "A", "C"), 11, 20)
    assert overlaps(allele(5, "GAAAAA", "G"), 10, 20) and not overlaps(allele(5, "GAAAA", "G"), 10, 20)
    assert overlaps(allele(14, "A", "AC"), 10, 20)
    assert not overlaps(allele(9, "A", "AC"), 10, 20)  # in front of the first base
    assert not overlaps(allele(19, "A", "AC"), 10, 20)  # behind the last


def test_a_mismatch_names_the_base_and_unknown_bases_agree() -> None:
    bases = encode_dna("ACGTN")
    assert reference_mismatch(allele(11, "CGT", "C"), bases, 10) == ""
    assert reference_mismatch(allele(11, "CGA", "C"), bases, 10) == "REF has A at 14, the reference T"
    assert reference_mismatch(allele(14, "G", "C"), bases, 10) == ""
    assert reference_mismatch(allele(8, "TTAC", "T"), bases, 10) == ""  # TT lies beside what is known
    assert reference_mismatch(allele(30, "T", "A"), bases, 10) == ""


def test_windows_worked_by_hand() -> None:
    # Reference ..AC GTACG TA.. ; the window is GTACG from 2 on, its middle base A at 4.
    window, left, right = encode_dna("GTACG"), encode_dna("AC"), encode_dna("TA")
    cases = {
        (3, "T", "C"): "GCACG",
        (5, "C", "CTT"): "GTACT",  # what lies behind the middle moves out
        (2, "G", "GA"): "ATACG",  # and what lies before it
        (5, "CG", "C"): "GTACT",  # a deletion draws the next base in
        (2, "GT", "G"): "CGACG",
        (3, "TAC", "T"): "GTGTA",  # the middle is gone: the base behind it, G, takes its place
    }
    for (position, ref, alt), expected in cases.items():
        found = alternate_window(allele(position, ref, alt), window, 2, left, right)
        assert decode_dna(found) == expected, (position, ref, alt)


@given(st.data())
def test_windows_are_cut_from_the_haplotype(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    genome = rng.integers(0, 4, 60).astype(np.uint8)
    start, half = 25, 5
    position = data.draw(st.integers(12, 44))
    ref = decode_dna(genome[position : position + data.draw(st.integers(1, 12))])
    alt = data.draw(st.text("ACGT", min_size=1, max_size=14))
    one = allele(position, ref, alt)
    if ref == alt or not overlaps(one, start, start + 2 * half + 1):
        return
    left, right = genome[start - len(ref) : start], genome[start + 11 : start + 11 + len(ref)]
    found = alternate_window(one, genome[start : start + 11], start, left, right)
    # The haplotype as a list of (base, position in the reference or None).
    first, gone, new = one.trimmed()
    pairs = [(base, place) for place, base in enumerate(genome.tolist())]
    inserted = [(base, None) for base in encode_dna(new).tolist()]
    whole = [*pairs[:first], *inserted, *pairs[first + len(gone) :]]
    places = [place for _, place in whole]
    middle = start + half
    if middle in places:
        centre = places.index(middle)
    else:
        centre = first + min(middle - first, max(len(new) - 1, 0))
    assert found.tolist() == [base for base, _ in whole[centre - half : centre + half + 1]]
