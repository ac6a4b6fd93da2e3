"""What scores of peaks are worth: agreement of variants, faithfulness, epigenome tracks and ChIP peaks, a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.epigenome import Measured, agreement, compare, kind_of, measure
from cisoform.analysis.faithful import faithfulness, summary
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.reader import LocusReader, Reader
from cisoform.errors import InputError
from cisoform.genome.files import require_file
from cisoform.jobs.score import ScoreConfig, batch_slots, peak_rows, score_inputs
from cisoform.report.files import save_figure
from cisoform.report.score_plots import LocusScores, locus_figure

Ints = npt.NDArray[np.int64]
_CLOSE = 0.9
_MOST_MARKS = 4


def agree(
    table: pl.DataFrame,
    reader: Reader | LocusReader,
    grouping: Grouping,
    genes: Ints,
    config: ScoreConfig,
) -> dict[str, Any]:
    """Agreement of the variants, and how faithful their orders are; with warnings."""
    found = agreement(peak_rows(table, config))
    if config.samples:
        found["faithfulness"] = follow(reader, grouping, genes, config)
    found["warnings"] = warnings_of(found, reader)
    return found


def follow(
    reader: Reader | LocusReader, grouping: Grouping, genes: Ints, config: ScoreConfig
) -> dict[str, Any]:
    """Deletion and insertion for some genes in groups, drawn (`analysis.faithful`)."""
    rng = np.random.default_rng(config.seed)
    if isinstance(reader, LocusReader):
        batches = [reader.inputs()]
    else:
        n = len(genes) * len(grouping.groups)
        pair = np.sort(rng.choice(n, min(n, config.samples), replace=False))
        gene, group = genes[pair // len(grouping.groups)], grouping.groups[pair % len(grouping.groups)]
        size = max(1, batch_slots(reader, genes) // reader.model.config.max_peaks)
        batches = [
            reader.inputs(gene[at : at + size], group[at : at + size]) for at in range(0, len(pair), size)
        ]
    parts, of = [], []
    for inputs in batches:
        closed = reader.closed(inputs)
        scores = score_inputs(reader, inputs, config, closed)
        part = faithfulness(reader.model, reader.link, inputs, closed, scores, rng)
        parts.append(part)
        of.append(inputs.gene.cpu().numpy()[part.sample])
    return summary(parts, np.concatenate(of), rng)


def warnings_of(found: Mapping[str, Any], reader: Reader | LocusReader) -> list[str]:
    """What a reader of the scores must know."""
    warnings = []
    if isinstance(reader, LocusReader) and reader.model.config.positions == "distance":
        warnings.append(
            "the text holds no TSS: distances are counted from the midpoint of the peak nearest to it"
        )
    if reader.sequence_only and ("ablation" in found["with"] or "faithfulness" in found):
        warnings.append(
            "shown without signal, ablation compares a signal that is not measured with one that is measured and 0; "
            "deletion and insertion close peaks in the same way"
        )
    for name, by in found["with"].items():
        value = by["accessibility"]["spearman"]
        if value is not None and abs(value) > _CLOSE:
            warnings.append(
                f"{name}: within genes the score is nearly the order of accessibility (Spearman {value:.2f})"
            )
    followed = found.get("faithfulness", {})
    if followed.get("n") == 0:
        warnings.append("no gene has three open peaks: deletion and insertion could not be followed")
    for name in found["with"]:
        row = followed.get("deletion", {}).get(name)
        if row is None:
            continue
        low, high = row["interval"] or (row["above_random"], row["above_random"])
        if low <= 0:
            of = f", interval {low:+.3g} to {high:+.3g}" if row["interval"] else ", one gene"
            warnings.append(
                f"{name}: closing peaks from the highest score down does not change the prediction more than a random "
                f"order does ({row['above_random']:+.3g}{of})"
            )
    return warnings


def parse_compare(texts: Sequence[str], grouping: Grouping) -> list[tuple[Path, str | None]]:
    """`FILE` or `LABEL=FILE` of each: which file, and for which label of groups.

    Raises:
        InputError: An unknown label, a file that is not there, or whose name does not say what it holds.
    """
    found: list[tuple[Path, str | None]] = []
    for text in texts:
        label, sign, rest = text.partition("=")
        if sign and not Path(text).exists():
            try:
                grouping.members(label)
            except InputError as error:
                raise InputError(f"--compare {text}: {error}") from None
            found.append((Path(rest), label))
        else:
            found.append((Path(text), None))
        require_file(found[-1][0], f"--compare, {kind_of(found[-1][0])}")
    return found


def measure_all(
    files: Sequence[tuple[Path, str | None]], reader: Reader | LocusReader, genes: Ints
) -> list[Measured]:
    """Every file at the peaks of the genes.

    Raises:
        InputError: A file that cannot be read or does not fit.
    """
    if not files:
        return []
    if isinstance(reader, LocusReader):
        wanted = np.arange(len(reader.locus.ids))
    else:
        index = reader.dataset.index
        spans = [
            np.arange(index.first[gene], index.first[gene] + index.count[gene]) for gene in genes.tolist()
        ]
        wanted = np.unique(np.concatenate(spans))
    return [measure(path, reader.peaks, wanted, label) for path, label in files]


def compare_all(
    table: pl.DataFrame, measured: Sequence[Measured], grouping: Grouping, config: ScoreConfig
) -> list[dict[str, Any]]:
    """Every file against every variant (`analysis.epigenome.compare`)."""
    found = []
    rows = peak_rows(table, config)
    peak, label = table["peak"].to_numpy(), table["label"].to_numpy()
    for one in measured:
        use = np.ones(len(peak), dtype=bool)
        if one.label is not None:
            use = label == grouping.labels.index(one.label)
        part = compare(rows.take(use), one.values[peak[use]], one.kind)
        found.append({"name": one.name, "kind": one.kind, "group": one.label, **part})
    return found


def draw_locus(
    folder: Path,
    table: pl.DataFrame,
    names: pl.DataFrame,
    reader: Reader | LocusReader,
    measured: Sequence[Measured],
    config: ScoreConfig,
    gene: int | None = None,
) -> None:
    """`locus.png` and `locus.svg` of one gene in one group.

    Args:
        folder: Where to.
        table: Of numbers; `names` is the same table with names.
        names: See `table`.
        reader: Where they are from.
        measured: Files that were compared with; the first few are drawn.
        config: What was scored.
        gene: Number of the gene; None = that of the highest absolute score, in its group.
    """
    first = f"score_{config.variants[0]}"
    some = table if gene is None else table.filter(pl.col("gene") == gene)
    best = some.row(int(some[first].abs().arg_max() or 0), named=True)
    rows = ((table["gene"] == best["gene"]) & (table["label"] == best["label"])).to_numpy()
    part, about = table.filter(pl.Series(rows)), names.filter(pl.Series(rows))
    group = about["group"][0]
    of_label = [one for one in measured if one.label in (None, group)]
    distance = about["distance_bp"]
    if isinstance(reader, LocusReader):
        tss = reader.tss_peak
    else:
        tss = int(reader.dataset.index.tss_peak[best["gene"]])
    figure = locus_figure(
        LocusScores(
            title=f"{about['gene_name'][0]}{f', {group}' if group else ''}: score of {part.height} peaks",
            distance_bp=None if distance.null_count() else distance.to_numpy(),
            tss_peak=tss,
            accessibility=part["accessibility"].to_numpy(),
            scores={name: part[f"score_{name}"].to_numpy() for name in config.variants},
            marked={one.name: one.values[part["peak"].to_numpy()] for one in of_label[:_MOST_MARKS]},
        )
    )
    save_figure(figure, folder / "locus")
