"""`regulation links` of a CREformer, without the command line: links from scores, and which tested pairs they meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.links import Adjust, Normalise, link_scores
from cisoform.analysis.reader import LocusReader, Reader
from cisoform.analysis.scores import Variant
from cisoform.data.tested_pairs import UNKNOWN, TestedPairs
from cisoform.errors import InputError
from cisoform.genome.names import map_chromosomes, strip_version
from cisoform.jobs.score import ScoreConfig, score_peaks

_OTHER_ASSEMBLY_BP = 5_000
"""Half of the tested genes may start this far from where the data set has them."""
Update = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """How links are read.

    Attributes:
        variants: Scores to read; the first is the one of the files.
        normalise: Within a gene (`analysis.links`).
        adjust: By distance.
        gene: Name of the gene of a locus; None = that of the reader.
    """

    variants: tuple[Variant, ...] = ("ablation",)
    normalise: Normalise = "z"
    adjust: Adjust = "none"
    gene: str | None = None


def read_links(
    reader: Reader | LocusReader,
    grouping: Grouping,
    genes: npt.NDArray[np.int64],
    config: LinkConfig,
    update: Update | None = None,
) -> pl.DataFrame:
    """Links of all peaks of genes under each label.

    Returns:
        A table of links (`jobs.link_files`); cell_type is the label, score that of the first variant, and
        accessibility and score_VARIANT of each variant follow.

    Raises:
        InputError: A distance is needed and not known, or the peaks have no coordinates.
    """
    scores = score_peaks(reader, grouping, genes, ScoreConfig(variants=config.variants, samples=0), update)
    try:
        table = link_scores(scores, config.variants, config.normalise, config.adjust)
    except ValueError as error:
        raise InputError(f"--adjust {config.adjust}: the peaks have no coordinates ({error})") from None
    gene, peak = table["gene"].to_list(), table["peak"].to_list()
    places = reader.peaks[peak].select("chrom", "start", "end")
    if places["start"].null_count():
        raise InputError("links need places: a peak of the text is not named chrom_start_end")
    names = reader.genes["gene_name"].gather(gene)
    ids = reader.genes["gene_id"].gather(gene)
    symbol = pl.Series(pl.select(pl.coalesce(names, ids)).to_series())
    return pl.DataFrame(
        {
            **{name: places[name] for name in places.columns},
            "gene": symbol if config.gene is None else pl.repeat(config.gene, len(gene), eager=True),
            "gene_id": ids
            if config.gene is None
            else pl.repeat(None, len(gene), dtype=pl.String, eager=True),
            "tss": reader.genes["tss"].gather(gene),
            "cell_type": pl.Series(grouping.labels).gather(table["label"].to_list()),
            "distance": table["distance_bp"].fill_nan(None).abs().round().cast(pl.Int64),
            "score": table[f"link_{config.variants[0]}"],
            "accessibility": table["accessibility"],
            **{f"score_{name}": table[f"link_{name}"] for name in config.variants},
        }
    )


def predictions_of(links: pl.DataFrame, config: LinkConfig, pairs: TestedPairs) -> dict[str, pl.DataFrame]:
    """Tables for `benchmark.links.score_pairs` by variant; genes are called as the tested pairs call them."""
    symbols = set(pairs.gene.tolist())
    ids = links["gene_id"].fill_null("").to_list()
    gene = [
        name if name in symbols else strip_version(key)
        for name, key in zip(links["gene"].to_list(), ids, strict=True)
    ]
    table = links.with_columns(gene=pl.Series(gene))
    if set(links["cell_type"]).isdisjoint(
        pairs.cell_types
    ):  # one label for every cell type: see `tested_here`
        table = table.drop("cell_type")
    return {name: table.with_columns(score=pl.col(f"score_{name}")) for name in config.variants}


def tested_here(
    pairs: TestedPairs, links: pl.DataFrame, where: str
) -> tuple[TestedPairs, Mapping[str, Any], list[str]]:
    """The tested pairs of genes and cell types that were read, with chromosomes as the data spell them.

    A single label that names no cell type of the table stands for all of them.

    Args:
        pairs: All tested pairs.
        links: What was read.
        where: The data, for messages.

    Returns:
        Those pairs; how many pairs and positives were left out; notes.

    Raises:
        InputError: None of the genes, cell types or elements is among those read, or the starts of the genes say
            that the table is of another assembly.
    """
    labels = list(dict.fromkeys(links["cell_type"].to_list()))
    notes = []
    known_types = np.isin(pairs.cell_type, labels)
    if not known_types.any():
        if len(labels) > 1:
            raise InputError(
                f"{pairs.path}: its cell types ({', '.join(pairs.cell_types[:3])}) are none of the labels that were "
                f"read ({', '.join(labels[:3])}); choose with --groups, --cell-types, --group-by or --labels"
            )
        known_types[:] = True
        if labels != [""]:
            notes.append(f"{labels[0]!r} was read for all cell types of {pairs.path}")
    starts = _starts(links)
    known_genes = np.array([key is not None for key in _keys(pairs, starts)])
    if not known_genes.any():
        raise InputError(
            f"{pairs.path}: none of its genes ({', '.join(sorted(set(pairs.gene.tolist()))[:3])} ...) is among those "
            f"read from {where}; name genes by symbol or Ensembl id in both"
        )
    use = known_types & known_genes
    left = {"pairs": int((~use).sum())}
    if pairs.regulated is not None:
        left["positives"] = int(pairs.regulated[~use].sum())
    if left["pairs"]:
        notes.append(
            f"{left['pairs']:,} of {len(pairs):,} pairs are of genes or cell types that were not read: left out"
        )
    some = pairs.take(use)
    if not len(some):
        raise InputError(f"{pairs.path}: the genes that were read were not tested in {', '.join(labels[:3])}")
    _check_starts(some, starts, where)
    return _respelled(some, links, where), left, notes


def _starts(links: pl.DataFrame) -> dict[str, int | None]:
    """Start of every gene that was read, by symbol and by id."""
    rows = links.unique("gene", keep="first", maintain_order=True).select("gene", "gene_id", "tss").rows()
    found = {strip_version(key): tss for _, key, tss in rows if key}
    return found | {name: tss for name, _, tss in rows}


def _keys(pairs: TestedPairs, known: Mapping[str, Any]) -> list[str | None]:
    both = zip(pairs.gene.tolist(), pairs.gene_id.tolist(), strict=True)
    return [name if name in known else key if key in known else None for name, key in both]


def _check_starts(pairs: TestedPairs, starts: Mapping[str, int | None], where: str) -> None:
    """Genes must start where the data set has them."""
    ours = [None if key is None else starts[key] for key in _keys(pairs, starts)]
    off = np.array(
        [
            abs(there - here) if here is not None and there != UNKNOWN else 0
            for here, there in zip(ours, pairs.tss.tolist(), strict=True)
        ]
    )
    if np.median(off) > _OTHER_ASSEMBLY_BP:
        row = int(np.argmax(off > _OTHER_ASSEMBLY_BP))
        raise InputError(
            f"{pairs.path}: line {pairs.line[row]}: {pairs.gene[row]} starts at {pairs.tss[row]:,}, but at "
            f"{ours[row]:,} in {where}, and so do most genes; they are of different assemblies"
        )


def _respelled(pairs: TestedPairs, links: pl.DataFrame, where: str) -> TestedPairs:
    """With chromosomes as the data spell them; at least one element must overlap a peak."""
    try:
        spelled = map_chromosomes(
            pairs.chrom.tolist(), dict.fromkeys(links["chrom"].unique().to_list())
        ).names
    except InputError as error:
        raise InputError(f"{pairs.path}: {error}") from None
    chrom = np.array([spelled.get(name, name) for name in pairs.chrom.tolist()])
    for name in np.unique(chrom):
        here = links.filter(pl.col("chrom") == str(name)).select("start", "end").unique().sort("start")
        rows = chrom == name
        first = np.searchsorted(
            np.maximum.accumulate(here["end"].to_numpy()), pairs.start[rows], side="right"
        )
        last = np.searchsorted(here["start"].to_numpy(), pairs.end[rows], side="left")
        if (last > first).any():
            return replace(pairs, chrom=chrom)
    raise InputError(
        f"{pairs.path}: no tested element of the chosen genes overlaps a peak of {where} (line {pairs.line[0]}: "
        f"{pairs.name(0)}); peaks and table are probably of different assemblies"
    )
