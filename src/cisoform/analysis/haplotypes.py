"""Alleles that stand on one chromosome of one sample: which fit together, and what each transcript sees of them.

Pure: alleles and genotypes in, groups out. Of alleles that change a base in common, the first by position stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cisoform.analysis.isoform_variants import Unit
from cisoform.genome.annotate import Placed
from cisoform.genome.edits import clash, edits_of, merged
from cisoform.genome.genotypes import Carrier, Copy, Genotypes
from cisoform.genome.vcf_records import NO_GENOTYPES, OVERLAP, UNCARRIED, UNPHASED, Records

Ints = npt.NDArray[np.int64]
Call = tuple[int, str | None]


def resolve(records: Records, genotypes: Genotypes) -> dict[Copy, list[Call]]:
    """Calls of every chromosome of a sample that can stand together; what is left out is reported.

    An allele may clash with those of its own phase set and with those on all chromosomes of the sample; how alleles of
    two phase sets lie to each other is not known.
    """
    usable, clashes = set(records.usable), dict[int, list[str]]()
    kept: dict[Copy, list[Call]] = {}
    for copy, calls in genotypes.carried.items():
        own: list[Call] = []
        near: list[Call] = []
        for number, phase_set in _by_position(records, [call for call in calls if call[0] in usable]):
            allele = records.alleles[number]
            near = [call for call in near if _reaches(records, call[0], number)]
            other = _clashing(records, near, number, phase_set)
            if other is None:
                own.append((number, phase_set))
                near.append((number, phase_set))
            else:
                where = f"line {records.alleles[other].line} on {Carrier(*copy, phase_set or '')}"
                if allele.line == records.alleles[other].line:
                    where = f"another allele of its record on {Carrier(*copy, phase_set or '')}"
                clashes.setdefault(number, []).append(where)
        kept[copy] = own
    _report(records, {number for own in kept.values() for number, _ in own}, clashes, genotypes)
    return kept


def _by_position(records: Records, calls: list[Call]) -> list[Call]:
    return sorted(calls, key=lambda call: (records.alleles[call[0]].chrom, *_span(records, call[0]), call[0]))


def _span(records: Records, number: int) -> tuple[int, int]:
    start, ref, _ = records.alleles[number].trimmed()
    return start, start + len(ref)


def _reaches(records: Records, before: int, number: int) -> bool:
    """Whether an allele's changed bases end at the beginning of another's, or behind it."""
    same = records.alleles[before].chrom == records.alleles[number].chrom
    return same and _span(records, before)[1] >= _span(records, number)[0]


def _clashing(records: Records, near: Sequence[Call], number: int, phase_set: str | None) -> int | None:
    """The allele before that cannot stand beside this one."""
    edits = edits_of(records.alleles[number])
    for other, its_set in reversed(near):
        together = its_set is None or phase_set is None or its_set == phase_set
        if together and clash(edits_of(records.alleles[other]), edits):
            return other
    return None


def _report(records: Records, used: set[int], clashes: dict[int, list[str]], genotypes: Genotypes) -> None:
    """States of alleles that no chromosome carries, and remarks at those that some do not."""
    unphased = genotypes.unphased
    for number in records.usable:
        missing = f"in {_some(unphased[number])}" if number in unphased else ""
        if number in genotypes.without:
            records.refuse(number, NO_GENOTYPES, genotypes.without[number])
        elif number in used:
            texts = [f"left out: overlaps {_some(clashes[number])}"] if number in clashes else []
            texts += [f"not phased {missing}"] if missing else []
            records.detail[number] = "; ".join(texts)
        elif number in clashes:
            records.refuse(number, OVERLAP, f"overlaps {_some(clashes[number])}")
        elif missing:
            records.refuse(number, UNPHASED, f"{missing}; phase the genotypes")
        else:
            records.refuse(number, UNCARRIED, "no genotype names it")


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def units_of_haplotypes(
    records: Records, kept: dict[Copy, list[Call]], units: Sequence[Unit], variant: Ints, row: Ints
) -> tuple[list[Unit], Ints, Ints]:
    """For each transcript, the distinct sets of alleles in its reach that stand on one chromosome.

    Args:
        records: The alleles.
        kept: Calls that stand together (`resolve`).
        units: Single alleles, as paired.
        variant: Unit of every pair.
        row: Its transcript.

    Returns:
        The sets, and set and transcript of every pair, sorted by the first allele.
    """
    carriers: dict[int, list[tuple[Copy, str | None]]] = {}
    for copy, calls in kept.items():
        for number, phase_set in calls:
            carriers.setdefault(number, []).append((copy, phase_set))
    near: dict[int, list[int]] = {}
    for one, transcript in zip(variant.tolist(), row.tolist(), strict=True):
        near.setdefault(transcript, []).append(units[one].alleles[0])
    made = [
        (group, transcript, names)
        for transcript, alleles in near.items()
        for group, names in _groups(alleles, carriers).items()
    ]
    made.sort(key=lambda one: (one[0], one[1]))
    found = [Unit(group, _placed(records, group), tuple(names)) for group, _, names in made]
    return found, np.arange(len(found)), np.array([transcript for _, transcript, _ in made], dtype=np.int64)


def _groups(
    alleles: Sequence[int], carriers: dict[int, list[tuple[Copy, str | None]]]
) -> dict[tuple[int, ...], list[str]]:
    """Distinct sets of alleles on one chromosome, with the names of those that carry each."""
    on: dict[Copy, dict[str | None, list[int]]] = {}
    for number in alleles:
        for copy, phase_set in carriers.get(number, ()):
            on.setdefault(copy, {}).setdefault(phase_set, []).append(number)
    groups: dict[tuple[int, ...], list[str]] = {}
    for copy, sets in on.items():
        everywhere = sets.pop(None, [])
        for phase_set, own in (sets or {"": []}).items():
            name = str(Carrier(*copy, phase_set or ""))
            groups.setdefault(tuple(sorted([*everywhere, *own])), []).append(name)
    return groups


def _placed(records: Records, group: tuple[int, ...]) -> Placed:
    edits = merged([edits_of(records.alleles[number]) for number in group])
    return Placed(records.alleles[group[0]].chrom, edits)
