"""Open what a reading needs: the model, genes and groups by name, and a reader with the vectors of their peaks."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.grouping import MOST_GROUPS, Grouping
from cisoform.analysis.reader import LocusReader, Reader
from cisoform.data.genes import GenesDataset
from cisoform.data.locus_text import Locus
from cisoform.errors import InputError
from cisoform.features.states import Update
from cisoform.genome.files import open_text
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.regulation_fit import Planned
from cisoform.jobs.regulation_predict import feature_table, features_of

Ints = npt.NDArray[np.int64]


def open_reader(
    model: CREformerModel,
    dataset: GenesDataset,
    groups: Ints,
    genes: Ints,
    *,
    sequence_only: bool = False,
    cache: str | Path | None = None,
    planned: Planned | None = None,
    update: Update | None = None,
) -> Reader:
    """A reader of some genes in some groups; encodes what the cache lacks.

    Args:
        model: Fitted or converted.
        dataset: Genes in cells.
        groups: Numbers of groups.
        genes: Numbers of genes.
        sequence_only: Show every peak as not measured.
        cache: Folder of feature caches; None = the user's.
        planned: Is told what will be encoded.
        update: Is told how far it is.

    Raises:
        InputError: If the data do not fit the model, or the cache cannot be used.
    """
    states = dataset.states_in_use(np.empty(0, np.int64) if sequence_only else groups, genes)
    if sequence_only:  # all that these genes have is all-zero states, one a peak
        states = np.concatenate([states, states + np.int32(dataset.n_peaks)])
    table = feature_table(model, dataset, states, cache, planned=planned, update=update)
    return Reader(
        model=model.model,
        link=link_of(model),
        dataset=dataset,
        features=features_of(model),
        table=table,
        cache=None if cache is None else Path(cache),
        sequence_only=sequence_only,
    )


def open_locus(
    model: CREformerModel,
    locus: Locus,
    tss_peak: int,
    strand: str,
    *,
    sequence_only: bool = False,
    name: str = "locus",
) -> LocusReader:
    """A reader of one gene from the authors' text form.

    Raises:
        InputError: If the TSS peak, the strand or the number of peaks does not fit the model.
    """
    features = features_of(model)
    return LocusReader(
        model=model.model,
        link=link_of(model),
        locus=locus,
        tss_peak=tss_peak,
        strand=strand,
        features=features,
        edges=model.edges[features.track],
        sequence_only=sequence_only,
        name=name,
    )


def link_of(model: CREformerModel) -> str:
    """How the model's output becomes expression."""
    return str(model.about.get("link", "identity"))


def choose_genes(dataset: GenesDataset, names: Sequence[str] | None, split: str = "all") -> Ints:
    """Numbers of genes by id or name, ascending; None = all of the split. A name of several genes means all of them.

    Raises:
        InputError: An unknown gene, with near matches; or none is labelled so.
    """
    rows = dataset.gene_rows(split)
    if not len(rows):
        raise InputError(f"{dataset.path}: no gene is labelled {split!r}; choose another --split")
    if names is None:
        return rows
    known: dict[str, list[int]] = {}
    for key in ("gene_id", "gene_name"):
        values = dataset.genes[key].to_list()
        for row in rows.tolist():
            if values[row] and row not in known.setdefault(values[row], []):
                known[values[row]].append(row)
    part = "" if split == "all" else f", split {split}"
    hint = "genes without a peak in reach were left out when it was built"
    return _find("--genes", names, known, f"{dataset.path} ({len(rows):,} genes{part}; {hint})")


def choose_groups(
    dataset: GenesDataset,
    names: Sequence[str] | None = None,
    cell_types: Sequence[str] | None = None,
    split: str = "all",
) -> Ints:
    """Numbers of groups by name and by cell type, ascending; None = all of the split.

    Raises:
        InputError: An unknown group or cell type, with near matches; or nothing is left.
    """
    rows = dataset.group_rows(split)
    if not len(rows):
        raise InputError(f"{dataset.path}: no group is labelled {split!r}; choose another --split")
    found = rows
    for flag, column, wanted in (("--groups", "name", names), ("--cell-types", "cell_type", cell_types)):
        if wanted is None:
            continue
        values = dataset.groups[column].to_list()
        known: dict[str, list[int]] = {}
        for row in rows.tolist():
            known.setdefault(values[row], []).append(row)
        found = np.intersect1d(found, _find(flag, wanted, known, str(dataset.path)))
    if not len(found):
        raise InputError("--groups and --cell-types have no group in common; leave one of them out")
    return found


def _find(flag: str, names: Sequence[str], known: dict[str, list[int]], where: str) -> Ints:
    """Numbers behind names, or the first unknown one with near matches."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
            near = near or [other for other in known if other.upper() == name.upper()]
            mean = f"; did you mean {', '.join(near)}?" if near else ""
            raise InputError(f"{flag} {name!r} is not in {where}{mean}")
    return np.unique(np.concatenate([known[name] for name in names])).astype(np.int64)


def names_of(text: str | None, flag: str) -> list[str] | None:
    """`A,B,C`, or `@FILE` with one name a line (the first column; blank lines and # comments are skipped).

    Raises:
        InputError: An empty item, a name given twice on the line, or a file without names.
    """
    if text is None:
        return None
    if text.startswith("@"):
        with open_text(text[1:], flag) as handle:
            lines = [line.split("\t")[0].strip() for line in handle]
        names = list(dict.fromkeys(name for name in lines if name and not name.startswith("#")))
        if not names:
            raise InputError(f"{flag} {text}: the file names nothing; write one name a line")
        return names
    names = [item.strip() for item in text.split(",")]
    if "" in names:
        raise InputError(f"{flag} {text!r} has an empty item; write names with single commas between them")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{flag} {text!r} names {twice[0]!r} twice; name it once")
    return names


def group_by(
    dataset: GenesDataset,
    groups: Ints,
    column: str | None,
    labels: Path | None = None,
    most: int = MOST_GROUPS,
    seed: int = 0,
) -> Grouping:
    """Groups by themselves (`column` None), or under the labels of a column.

    Args:
        dataset: Its table of groups has name, cell_type, split.
        groups: Groups to choose from.
        column: Column of the table of groups, or of `labels`.
        labels: Further columns: a tab-separated table with a header whose first column names the groups.
        most: Groups of a label that take part, at most.
        seed: Of the draw.

    Raises:
        InputError: No such column (the ones that are there are named), a column or a group that is there twice, or no
            group of the table is known.
    """
    if column is None:
        if labels is not None:
            raise InputError(f"--labels {labels} is of use with --group-by COLUMN alone; give the column")
        return Grouping.by_itself(dataset.groups, groups)
    table, where = dataset.groups, f"the groups of {dataset.path}"
    if labels is not None:
        table, where = _labelled(dataset, labels), str(labels)
    if column not in table.columns:
        have = ", ".join(table.columns)
        raise InputError(
            f"--group-by {column!r} is no column of {where} ({have}); name one, or give --labels TSV"
        )
    values = table[column].cast(pl.String).to_list()
    return Grouping.by_label(column, values, groups, most, seed)


def _labelled(dataset: GenesDataset, path: Path) -> pl.DataFrame:
    """The data set's groups with the columns of a table of labels, which replace its own of the same name; null where a
    group is not in the table.
    """
    with open_text(path, "table of labels") as handle:
        rows = [line.rstrip("\n").split("\t") for line in handle if line.strip()]
    if not rows:
        raise InputError(f"{path}: holds no labels, blank lines alone")
    header, body = rows[0], rows[1:]
    for number, row in enumerate(body, 2):
        if len(row) != len(header):
            raise InputError(f"{path}: row {number} has {len(row)} columns, the header {len(header)}")
    by: dict[str, list[str]] = {}
    for number, row in enumerate(body, 2):
        if by.setdefault(row[0], row) is not row:
            raise InputError(f"{path}: row {number}: {row[0]!r} is labelled twice; keep one row of it")
    names = dataset.groups["name"].to_list()
    if not any(name in by for name in names):
        first = body[0][0] if body else ""
        raise InputError(
            f"{path}: its first column names no group of {dataset.path} ({first!r}; a group is {names[0]!r})"
        )
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: the header names {twice!r} twice; rename one of the columns")
    return dataset.groups.with_columns(
        pl.Series(name, [by[group][place] if group in by else None for group in names], dtype=pl.String)
        for place, name in enumerate(header)
    )
