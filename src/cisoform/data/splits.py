"""Train, valid and test: by gene, chromosome or family, or from a file. A gene is never in two of them.

The split of a unit follows from a hash of its name, so it does not change when other units come or go:
SHA-256 modulo 100 below `test_percent` is test, then `valid_percent` valid, the rest train (the rule of the
yeast pack). Chromosomes are few and unequal: they are dealt out until each part has its share.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_text

SPLITS = ("train", "valid", "test")
_SPELLINGS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}

SplitArray = npt.NDArray[Any]
"""One of `SPLITS` per transcript (a numpy array of text)."""


@dataclass(frozen=True, kw_only=True)
class SplitShares:
    """How much of the data is held out, in percent of the units (of the transcripts, for chromosomes)."""

    valid_percent: int = 10
    test_percent: int = 15

    def __post_init__(self) -> None:
        if min(self.valid_percent, self.test_percent) < 0 or self.valid_percent + self.test_percent >= 100:
            raise ValueError(
                f"valid_percent={self.valid_percent} and test_percent={self.test_percent} leave nothing to train on"
            )


def _hash(unit: str, seed: int) -> int:
    named = unit if seed == 0 else f"{seed}:{unit}"
    return int(hashlib.sha256(named.encode()).hexdigest(), 16)


def split_by_hash(units: Sequence[str], seed: int = 0, shares: SplitShares | None = None) -> SplitArray:
    """Split of each entry by its unit (gene or family).

    Args:
        units: The unit of each transcript.
        seed: Another seed gives another split; 0 hashes the bare name.
        shares: Percent held out; None = 10 valid, 15 test.

    Raises:
        InputError: If there are fewer than three units.
    """
    shares = SplitShares() if shares is None else shares
    hashes = {unit: _hash(unit, seed) for unit in dict.fromkeys(units)}
    held_out = shares.test_percent + shares.valid_percent
    split = {
        unit: "test" if value % 100 < shares.test_percent else "valid" if value % 100 < held_out else "train"
        for unit, value in hashes.items()
    }
    _fill_empty_parts(split, hashes, shares)
    return np.array([split[unit] for unit in units], dtype="U5")


def _fill_empty_parts(split: dict[str, str], hashes: dict[str, int], shares: SplitShares) -> None:
    """Of few units chance may leave a part empty: the units with the smallest hashes of the largest part go there."""
    wanted = {"train": 100, "valid": shares.valid_percent, "test": shares.test_percent}
    parts = [part for part in SPLITS if wanted[part]]
    if len(split) < len(parts):
        raise InputError(
            f"{len(split)} units ({', '.join(sorted(split)[:3])}) cannot be split into {', '.join(parts)}; "
            "choose another --split-by or give --splits"
        )
    for part in parts:
        if part not in split.values():
            counts = {name: list(split.values()).count(name) for name in SPLITS}
            largest = max(SPLITS, key=lambda name: counts[name])
            split[min((unit for unit in split if split[unit] == largest), key=lambda u: hashes[u])] = part


def split_by_filling(units: Sequence[str], seed: int = 0, shares: SplitShares | None = None) -> SplitArray:
    """Split of each entry by its unit when units are few and large (chromosomes).

    Units are dealt in the order of their hash, each to the part that is furthest below its share of entries.

    Raises:
        InputError: If there are fewer than three units.
    """
    shares = SplitShares() if shares is None else shares
    sizes = Counter(units)
    wanted = {"test": shares.test_percent, "valid": shares.valid_percent}
    wanted["train"] = 100 - sum(wanted.values())
    hashes = {unit: _hash(unit, seed) for unit in sizes}
    split: dict[str, str] = {}
    filled = dict.fromkeys(wanted, 0)
    for unit in sorted(sizes, key=lambda name: hashes[name]):
        missing = {part: wanted[part] / 100 * len(units) - filled[part] for part in wanted}
        # A unit goes to a held-out part only if it fits there better than not at all.
        fitting = [part for part in ("test", "valid") if missing[part] * 2 >= sizes[unit]]
        part = max(fitting or ["train"], key=lambda name: missing[name])
        split[unit] = part
        filled[part] += sizes[unit]
    _fill_empty_parts(split, hashes, shares)
    return np.array([split[unit] for unit in units], dtype="U5")


@dataclass(frozen=True)
class SplitFile:
    """A split read from a file.

    Attributes:
        level: "gene_id" or "transcript_id": what the rows are about.
        split: Split of each id.
        family: Family of each id, or None if the file has no such column.
        path: The file, for messages.
    """

    level: str
    split: dict[str, str]
    family: dict[str, str] | None
    path: str


def read_splits(path: PathLike) -> SplitFile:
    """Read a TSV with a header: `gene_id` or `transcript_id`, `split`, and perhaps `family_id`.

    Where both ids are there, `transcript_id` counts, and a gene that stands in two splits is an error.

    Raises:
        InputError: If a column is missing, a split is none of train, valid and test, or an id has two splits.
    """
    with open_text(path, "splits") as handle:
        header = handle.readline().rstrip("\n").split("\t")
        level = next((name for name in ("transcript_id", "gene_id") if name in header), None)
        if level is None or "split" not in header:
            raise InputError(
                f"{path}: line 1: columns {', '.join(header)}; expected tab-separated gene_id (or transcript_id) "
                "and split"
            )
        column = {name: number for number, name in enumerate(header)}
        split: dict[str, str] = {}
        family: dict[str, str] = {}
        genes: dict[str, tuple[str, int]] = {}
        for number, line in enumerate(handle, start=2):
            fields = line.rstrip("\n").split("\t")
            if fields == [""]:
                continue
            if len(fields) != len(header):
                raise InputError(
                    f"{path}: line {number}: {len(fields)} columns where the header has {len(header)}"
                )
            value = _SPELLINGS.get(fields[column["split"]].strip().lower())
            if value is None:
                raise InputError(
                    f"{path}: line {number}: split {fields[column['split']]!r} is none of train, valid, test"
                )
            gene = fields[column["gene_id"]] if "gene_id" in column else fields[column[level]]
            other, line_of_other = genes.setdefault(gene, (value, number))
            if other != value:
                raise InputError(
                    f"{path}: line {number}: gene {gene!r} is in {value} and, at line {line_of_other}, in {other}; "
                    "a gene may stand in one split only"
                )
            split[fields[column[level]]] = value
            if "family_id" in column:
                family[fields[column[level]]] = fields[column["family_id"]]
    if not split:
        raise InputError(f"{path}: no row below the header; give one row per gene")
    return SplitFile(level, split, family or None, str(path))


def split_from_file(
    file: SplitFile, transcript_ids: Sequence[str], gene_ids: Sequence[str]
) -> tuple[SplitArray, list[str] | None]:
    """Split of each transcript, "" where the file does not know it, and the family if the file has it.

    Raises:
        InputError: If the file knows none of the ids, or puts transcripts of one gene into two splits.
    """
    keys = gene_ids if file.level == "gene_id" else transcript_ids
    split = np.array([file.split.get(key, "") for key in keys], dtype="U5")
    if not (split != "").any():
        raise InputError(
            f"{file.path}: none of its ids ({', '.join(list(file.split)[:3])}) is a {file.level} of the data "
            f"({', '.join(list(keys)[:3])})"
        )
    require_whole_genes(split, gene_ids, file.path)
    families = None
    if file.family is not None:
        families = [file.family.get(key) or gene for key, gene in zip(keys, gene_ids, strict=True)]
    return split, families


def require_whole_genes(split: SplitArray, gene_ids: Sequence[str], source: str) -> None:
    """Check that no gene has transcripts in two splits.

    Raises:
        InputError: Naming the gene and both splits.
    """
    seen: dict[str, str] = {}
    for gene, value in zip(gene_ids, split.tolist(), strict=True):
        if value and seen.setdefault(gene, value) != value:
            raise InputError(
                f"{source}: gene {gene!r} has transcripts in {seen[gene]} and in {value}; "
                "put all transcripts of a gene into one split"
            )
