"""Candidate factors of a list, labels that can be learned from, and lists of known masters."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cisoform.analysis.grouping import Grouping
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.genome.files import open_text
from cisoform.genome.motifs import Motif, motifs_of

Ints = npt.NDArray[np.int64]

LEAST_GROUPS = 10
"""Cells or pools that a label needs."""


@dataclass(frozen=True)
class Factors:
    """Candidate factors.

    Attributes:
        names: As the list gives them.
        genes: Number of the gene of each.
        motifs: Indices of the motifs of each; None = not asked for.
        left_out: Names of the list without a gene in the data, or without a motif.
    """

    names: tuple[str, ...]
    genes: Ints
    motifs: tuple[tuple[int, ...], ...] | None
    left_out: tuple[str, ...]


def choose_factors(
    dataset: GenesDataset, names: Sequence[str], strict: bool, motifs: Sequence[Motif] | None, where: str = ""
) -> Factors:
    """Candidate factors of a list that the data (and the motif file) know.

    Args:
        dataset: Whose genes they are.
        names: Names or ids of genes.
        strict: An unknown one is an error (written on the command line), not left out (from a file).
        motifs: Motifs; None = none are needed.
        where: Their file, for the message.

    Raises:
        InputError: An unknown factor or one without a motif, with near matches; or fewer than two are left.
    """
    known: dict[str, int] = {}
    for key in ("gene_id", "gene_name"):
        for row, value in enumerate(dataset.genes[key].to_list()):
            if value:
                known.setdefault(value, row)
    kept: list[tuple[str, int, tuple[int, ...]]] = []
    left_out = []
    for name in names:
        if name not in known:
            if strict:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
                mean = f"; did you mean {', '.join(near)}?" if near else ""
                raise InputError(
                    f"--tfs {name!r} is not in {dataset.path} ({dataset.genes.height:,} genes){mean}"
                )
            left_out.append(name)
            continue
        try:
            found = () if motifs is None else tuple(motifs_of(motifs, name, where))
        except InputError as error:
            if strict:
                raise InputError(f"--tfs {error}") from None
            left_out.append(name)
            continue
        kept.append((name, known[name], found))
    if len(kept) < 2:
        what = "genes of the data" if motifs is None else f"genes of the data with a motif in {where}"
        raise InputError(
            f"--tfs: {len(kept)} of {len(names):,} names are {what}; at least two are needed ({dataset.path})"
        )
    return Factors(
        tuple(name for name, _, _ in kept),
        np.array([gene for _, gene, _ in kept], dtype=np.int64),
        None if motifs is None else tuple(found for _, _, found in kept),
        tuple(left_out),
    )


def check_labels(grouping: Grouping, least: int = LEAST_GROUPS) -> None:
    """Refuse labels that nothing can be learned from.

    Raises:
        InputError: A single label, or one with fewer than ten cells.
    """
    if len(grouping.labels) < 2:
        raise InputError(
            f"--group-by {grouping.column}: all cells are {grouping.labels[0]!r}; at least two labels are needed"
        )
    count = np.bincount(grouping.label, minlength=len(grouping.labels))
    if count.min() < least:
        row = int(count.argmin())
        raise InputError(
            f"--group-by {grouping.column}: {grouping.labels[row]!r} has {count[row]} cells or pools, at least {least} "
            "are needed; use a data set of single cells or of knn pools, join labels, or leave it out with --groups"
        )


def effect_genes(dataset: GenesDataset, most: int, seed: int) -> Ints:
    """Genes that effects are summed over: all, or so many drawn, ascending."""
    every = np.arange(dataset.genes.height)
    if len(every) <= most:
        return every
    return np.sort(np.random.default_rng(seed).choice(every, most, replace=False))


def read_known(path: Path, grouping: Grouping, factors: Factors) -> tuple[dict[int, list[int]], list[str]]:
    """A list of known masters: tab-separated, header `label` and `tf`, one pair a line.

    Returns:
        By label the listed candidates, and listed factors that are no candidates.

    Raises:
        InputError: With the line: another header, a missing column, an unknown label; or nothing is left.
    """
    with open_text(path, "--known") as handle:
        rows = [
            (number, line.rstrip("\n").split("\t")) for number, line in enumerate(handle, 1) if line.strip()
        ]
    if not rows:
        raise InputError(f"{path}: holds blank lines alone, expected a header label and tf, tab-separated")
    if rows[0][1][:2] != ["label", "tf"]:
        raise InputError(f"{path}: line 1: header {rows[0][1][:2]!r}, expected label and tf, tab-separated")
    at = {name: row for row, name in enumerate(factors.names)}
    found: dict[int, list[int]] = {}
    missing: list[str] = []
    for number, cells in rows[1:]:
        if len(cells) < 2 or not cells[1]:
            raise InputError(f"{path}: line {number}: {cells!r} has no tf; write label and tf, tab-separated")
        if cells[0] not in grouping.labels:
            near = difflib.get_close_matches(cells[0], grouping.labels, n=3)
            mean = (
                f"; did you mean {', '.join(near)}?"
                if near
                else f"; there are {', '.join(grouping.labels[:20])}"
            )
            raise InputError(f"{path}: line {number}: {cells[0]!r} is no label of {grouping.column}{mean}")
        if cells[1] in at:
            row = found.setdefault(grouping.labels.index(cells[0]), [])
            if at[cells[1]] not in row:
                row.append(at[cells[1]])
        else:
            missing.append(cells[1])
    if not found:
        raise InputError(
            f"{path}: names none of the {len(factors.names)} candidates of --tfs; check the names"
        )
    return found, missing
