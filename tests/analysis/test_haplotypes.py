"""Alleles on one chromosome of a sample: which fit together, what is said of the rest, what a transcript sees."""

from __future__ import annotations

import random

import numpy as np
import pytest

from cisoform.analysis.haplotypes import resolve, units_of_haplotypes
from cisoform.analysis.isoform_variants import Unit
from cisoform.genome.annotate import Placed
from cisoform.genome.edits import clash, edits_of
from cisoform.genome.genotypes import Genotypes
from cisoform.genome.variants import Allele
from cisoform.genome.vcf_records import USABLE, Records

S1, S2, T1 = ("S", 0), ("S", 1), ("T", 0)


def records(*changes: tuple[int, str, str], chrom: str = "c") -> Records:
    """One allele a line."""
    alleles = [Allele(line, chrom, at, "", ref, alt) for line, (at, ref, alt) in enumerate(changes, 1)]
    return Records(alleles, list(alleles), [USABLE] * len(alleles), [""] * len(alleles))


def test_of_alleles_that_overlap_the_first_stays_and_the_rest_is_reported():
    found = records((10, "GATG", "G"), (12, "T", "C"), (40, "A", "T"))
    kept = resolve(found, Genotypes({S1: [(0, ""), (1, ""), (2, "")], S2: [(1, "")]}, {2: ["T"]}))
    assert kept == {S1: [(0, ""), (2, "")], S2: [(1, "")]}
    assert found.status == ["scored"] * 3
    assert found.detail == ["", "left out: overlaps line 1 on S|1", "not phased in T"]


def test_what_no_chromosome_carries_is_refused_with_the_reason():
    found = records((10, "GATG", "G"), (12, "T", "C"), (40, "A", "T"), (50, "A", "T"))
    resolve(found, Genotypes({S1: [(0, None), (1, "")]}, {2: ["S", "T", "U", "V"]}))
    assert found.status == ["scored", "overlaps on every haplotype", "unphased", "carried by no sample"]
    assert found.detail[1] == "overlaps line 1 on S|1"
    assert found.detail[2] == "in S, T, U and 1 more; phase the genotypes"


def test_an_allele_without_genotypes_is_refused_by_itself():
    found = records((10, "A", "C"), (20, "A", "T"))
    assert resolve(found, Genotypes({S1: [(1, "")]}, {}, {0: "FORMAT 'DP' has no GT"})) == {S1: [(1, "")]}
    assert found.status == ["no genotypes", "scored"]
    assert found.detail == ["FORMAT 'DP' has no GT", ""]


def test_alleles_of_two_phase_sets_do_not_exclude_each_other_and_those_everywhere_do():
    found = records((10, "A", "C"), (10, "A", "G"), (10, "A", "T"))
    kept = resolve(found, Genotypes({S1: [(0, "1"), (1, "2")], T1: [(0, None), (2, "9")]}))
    assert kept == {S1: [(0, "1"), (1, "2")], T1: [(0, None)]}
    assert found.detail[2] == "overlaps line 1 on T|1@9"


def test_what_stays_is_what_the_slow_way_keeps():
    rng = random.Random(5)
    for _ in range(60):
        changes = []
        for _ in range(25):
            at, n = rng.randrange(60), rng.choice((1, 1, 1, 3, 15))
            changes.append((at, "A" * n, rng.choice(("C", "G", "AC", "A" * n + "G"))))
        found = records(*changes)
        calls = [(number, rng.choice(("", "", "7", None))) for number in range(len(changes))]
        slow: list[tuple[int, str | None]] = []
        order = sorted(calls, key=lambda call: _place(found.alleles[call[0]], call[0]))
        for number, phase in order:
            edits = edits_of(found.alleles[number])
            beside = [n for n, its in slow if its is None or phase is None or its == phase]
            if not any(clash(edits_of(found.alleles[other]), edits) for other in beside):
                slow.append((number, phase))
        assert resolve(found, Genotypes({S1: calls}))[S1] == slow


def _place(allele: Allele, number: int) -> tuple[int, int, int]:
    at, ref, _ = allele.trimmed()
    return at, at + len(ref), number


def test_a_transcript_sees_the_distinct_sets_in_its_reach():
    found = records((10, "A", "C"), (20, "A", "G"), (30, "A", "T"), (99, "A", "T"))
    units = [Unit((n,), Placed("c", edits_of(found.alleles[n]))) for n in range(4)]
    kept = {
        S1: [(0, ""), (1, ""), (3, "")],
        S2: [(2, None)],
        T1: [(0, ""), (1, "")],
        ("T", 1): [(2, None), (1, "5")],
    }
    variant, row = np.array([0, 1, 2, 3]), np.array([7, 7, 7, 8])
    made, pair_unit, pair_row = units_of_haplotypes(found, kept, units, variant, row)
    got = {(made[u].alleles, r): made[u].carriers for u, r in zip(pair_unit, pair_row, strict=True)}
    assert got == {
        ((0, 1), 7): ("S|1", "T|1"),
        ((1, 2), 7): ("T|2@5",),
        ((2,), 7): ("S|2",),
        ((3,), 8): ("S|1",),
    }
    first = made[pair_unit[0]]
    assert [edit.start for edit in first.placed.edits] == [10, 20]


def test_two_phase_sets_are_two_carriers_that_share_what_stands_everywhere():
    found = records((10, "A", "C"), (20, "A", "G"), (30, "A", "T"))
    units = [Unit((n,), Placed("c", edits_of(found.alleles[n]))) for n in range(3)]
    kept: dict[tuple[str, int], list[tuple[int, str | None]]] = {S1: [(0, "1"), (1, None), (2, "2")]}
    made, _, _ = units_of_haplotypes(found, kept, units, np.arange(3), np.zeros(3, dtype=np.int64))
    assert {unit.alleles: unit.carriers for unit in made} == {(0, 1): ("S|1@1",), (1, 2): ("S|1@2",)}


def test_an_allele_is_compared_with_its_neighbours_alone(monkeypatch: pytest.MonkeyPatch):
    compared: list[int] = []
    monkeypatch.setattr(
        "cisoform.analysis.haplotypes.clash", lambda *both: compared.append(1) or clash(*both)
    )
    found = records(*((2 * number, "AA" if number % 2 else "A", "CC") for number in range(500)))
    kept = resolve(found, Genotypes({S1: [(number, "") for number in range(500)]}))
    assert len(kept[S1]) == 500 and 200 <= len(compared) <= 1000
