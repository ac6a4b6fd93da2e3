"""Labels of a data set: columns of a transcript-level table, and of a gene-level one for all transcripts of a gene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.isoform_dataset import Column, find_column
from cisoform.data.signal import GENE_SUFFIX
from cisoform.errors import InputError
from cisoform.genome.expression import ExpressionTable, read_expression
from cisoform.genome.files import PathLike
from cisoform.genome.names import match_ids


@dataclass(frozen=True)
class LabelTables:
    """Expression tables and which of their columns are wanted."""

    path: PathLike
    gene_path: PathLike | None
    transcript: ExpressionTable
    gene: ExpressionTable | None
    targets: list[str]
    extra: list[str]
    gene_targets: list[str]


def read_tables(
    expression: PathLike,
    samples: PathLike | None,
    gene_expression: PathLike | None,
    tissues: Sequence[str] | None,
) -> LabelTables:
    """Read both tables and choose the columns to learn.

    Args:
        expression: Transcript-level table.
        samples: Its sample-to-tissue map, if its columns are samples.
        gene_expression: Gene-level table, or None.
        tissues: Columns of either table; None = all. If none is gene-level, all gene-level ones are learnt.

    Raises:
        InputError: As `genome.read_expression`; if a tissue is unknown, or none is transcript-level.
    """
    transcript = read_expression(expression, samples)
    gene = None if gene_expression is None else read_expression(gene_expression)
    gene_columns = [] if gene is None else gene.columns
    if tissues is None:
        targets, gene_targets = transcript.columns, gene_columns
    else:
        known = [*transcript.columns, *(name for name in gene_columns if name not in transcript.columns)]
        for name in tissues:
            find_column(name, known, str(expression))
        targets = [name for name in dict.fromkeys(tissues) if name in transcript.columns]
        named = [name for name in dict.fromkeys(tissues) if name in gene_columns]
        gene_targets = named or gene_columns
    if not targets:
        raise InputError(
            f"{expression}: none of --tissues {', '.join(tissues or ())} is a transcript-level column; "
            f"name at least one of {', '.join(transcript.columns[:10])}"
        )
    extra = [name for name in transcript.columns if name not in targets]
    return LabelTables(
        expression, gene_expression, transcript, gene, list(targets), extra, list(gene_targets)
    )


@dataclass(frozen=True)
class Labels:
    """Labels of some transcripts, in their order.

    Attributes:
        targets: Linear expression `(n, columns)`, NaN = missing.
        columns: What the columns of `targets` are: transcript-level ones, then gene-level ones.
        extra: Transcript-level columns that are no targets.
        extra_columns: What they are.
    """

    targets: npt.NDArray[np.float32]
    columns: list[Column]
    extra: npt.NDArray[np.float32]
    extra_columns: list[Column]


def labels_of(table: pl.DataFrame, tables: LabelTables) -> tuple[Labels, list[str]]:
    """Labels in the order of the transcripts: own columns, then those of the gene."""
    match = match_ids(table["transcript_id"].to_list(), tables.transcript.ids)
    position = {name: number for number, name in enumerate(tables.transcript.columns)}
    values = tables.transcript.values[match.right]
    targets = [values[:, [position[name] for name in tables.targets]]]
    columns = [Column(name) for name in tables.targets]
    text = []
    if tables.gene is not None:
        genes = table["gene_id"].to_list()
        names = list(dict.fromkeys(genes))
        gene_match = match_ids(names, tables.gene.ids, "the transcripts' genes", str(tables.gene_path))
        text.append(gene_match.text)
        row = dict(zip((names[left] for left in gene_match.left), gene_match.right.tolist(), strict=True))
        position = {name: number for number, name in enumerate(tables.gene.columns)}
        wanted = tables.gene.values[:, [position[name] for name in tables.gene_targets]]
        missing = np.full((1, wanted.shape[1]), np.nan, dtype=np.float32)
        wanted = np.concatenate([wanted, missing])
        targets.append(wanted[[row.get(gene, -1) for gene in genes]])
        taken = set(tables.transcript.columns)
        columns += [
            Column(name + GENE_SUFFIX if name in taken else name, level="gene")
            for name in tables.gene_targets
        ]
    extra = values[:, [tables.transcript.columns.index(name) for name in tables.extra]]
    labels = Labels(np.concatenate(targets, axis=1), columns, extra, [Column(name) for name in tables.extra])
    return labels, text
