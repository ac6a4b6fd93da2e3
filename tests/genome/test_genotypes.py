"""Genotypes as alleles on the chromosomes of samples, worked by hand."""

from __future__ import annotations

import pytest

from cisoform.errors import InputError
from cisoform.genome.genotypes import Carrier, GenotypeReader, Genotypes
from cisoform.genome.variants import Allele

FIXED = "c\t5\t.\tA\tC,G\t.\t.\t."


def taken(*records: str, samples: str = "S\tT", first: int = 0) -> Genotypes:
    """Calls of records with the alleles C and G each."""
    reader, found = GenotypeReader("v.vcf"), Genotypes()
    reader.header(1, f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{samples}\n")
    for number, text in enumerate(records):
        alleles = [Allele(2 + number, "c", 4, "", "A", alt) for alt in "CG"]
        reader.add(f"{FIXED}\t{text}\n", alleles, first + 2 * number, found)
    return found


def test_phased_calls_go_to_their_chromosome_and_phase_set():
    found = taken("GT:PS\t0|1:77\t2|1", "DP:GT\t3:1|0\t.|.")
    assert found.carried == {
        ("S", 1): [(0, "77")],
        ("T", 0): [(1, "")],
        ("T", 1): [(0, "")],
        ("S", 0): [(2, "")],
    }
    assert found.unphased == {}


def test_an_allele_on_all_chromosomes_needs_no_phase_and_one_chromosome_is_one():
    found = taken("GT\t1/1\t2")
    assert found.carried == {("S", 0): [(0, None)], ("S", 1): [(0, None)], ("T", 0): [(1, None)]}


def test_unphased_calls_are_named():
    found = taken("GT\t0/1\t1/2", "GT\t./2\t./.", first=10)
    assert found.carried == {}
    assert found.unphased == {10: ["S", "T"], 11: ["T"], 13: ["S"]}


def test_a_record_without_genotypes_is_named_and_the_next_one_read():
    found = taken("DP\t3\t4", "GT\t0|1\t0|0")
    assert found.without == dict.fromkeys((0, 1), "FORMAT 'DP' has no GT")
    assert found.carried == {("S", 1): [(2, "")]}


def test_a_sign_before_the_first_allele_is_read():
    found = taken("GT\t|0|1\t/0/2")
    assert (found.carried, found.unphased) == ({("S", 1): [(0, "")]}, {1: ["T"]})


def test_names_of_carriers():
    assert [str(Carrier("S", 0)), str(Carrier("S", 1, "77"))] == ["S|1", "S|2@77"]


@pytest.mark.parametrize(
    ("record", "needle"),
    [
        ("GT\t0|1", "line 2: 10 columns, expected 11"),
        ("GT\t0|1\t0|0\t1|1", "line 2: 12 columns, expected 11"),
        ("GT\t0|3\t0|0", "genotype '0|3' of 'S' names allele 3, ALT has 2"),
        ("GT\t0|0\t0|-1", "genotype '0|-1' of 'T' is not of the form"),
        ("GT\t0|0\t1|", "genotype '1|' of 'T' is not of the form"),
    ],
)
def test_wrong_calls_are_named(record: str, needle: str):
    with pytest.raises(InputError) as caught:
        taken(record)
    assert needle in str(caught.value)
