"""`regulation score` without the command line: scores of peaks as a table, their agreement, comparisons and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from torch import Tensor

from cisoform.analysis.epigenome import Measured, PeakRows, agreement, compare, kind_of, measure
from cisoform.analysis.faithful import faithfulness, summary
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import PeakInputs
from cisoform.analysis.reader import LocusReader, Reader
from cisoform.analysis.scores import VARIANTS, Queries, Variant, score, slots_at_once
from cisoform.errors import InputError
from cisoform.genome.files import require_file
from cisoform.report.files import save_figure
from cisoform.report.score_plots import LocusScores, locus_figure

DEFAULT: Variant = "ablation"
_CLOSE = 0.9
_MOST_MARKS = 4

Ints = npt.NDArray[np.int64]
Update = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What is scored.

    Attributes:
        variants: Which readings; the first is the one that tracks and figures show.
        layer: Of `exact`: this layer, from 0; None = the mean of the layers.
        queries: Of `exact` and `rollout`: "real" peaks look, or "all" slots that the model reads.
        samples: Most genes in groups that deletion and insertion are followed for, drawn; 0 = not done.
        seed: Of that draw, the random orders and the bootstrap.
    """

    variants: tuple[Variant, ...] = (DEFAULT,)
    layer: int | None = None
    queries: Queries = "real"
    samples: int = 200
    seed: int = 0


def parse_variants(text: str) -> tuple[Variant, ...]:
    """`all`, one variant, or several with commas.

    Raises:
        InputError: An unknown one.
    """
    if text == "all":
        return (DEFAULT, *(name for name in VARIANTS if name != DEFAULT))
    known = {str(name): name for name in VARIANTS}
    names = [name.strip() for name in text.split(",")]
    wrong = [name for name in names if name not in known]
    if wrong or len(set(names)) < len(names):
        raise InputError(
            f"--variant {wrong[0] if wrong else text!r} is none of {', '.join(VARIANTS)}, all"
            if wrong
            else f"--variant {text!r} names a variant twice; name it once"
        )
    return tuple(known[name] for name in names)


def check_config(config: ScoreConfig, layers: int) -> None:
    """Refuse settings that do not fit the model or each other.

    Raises:
        InputError: With the flag.
    """
    if config.layer is not None:
        if "exact" not in config.variants:
            raise InputError(f"--layer {config.layer} is of use with --variant exact alone; leave it out")
        if not 0 <= config.layer < layers:
            raise InputError(
                f"--layer {config.layer}: the model's peak transformer has {layers} layers, numbered 0 to {layers - 1}"
            )
    if config.queries == "all" and not {"exact", "rollout"} & set(config.variants):
        raise InputError("--queries all is of use with --variant exact or rollout; leave it out")


def score_inputs(
    reader: Reader | LocusReader, inputs: PeakInputs, config: ScoreConfig, closed: Tensor | None = None
) -> dict[str, Tensor]:
    """Scores (batch, slots) of some samples by variant."""
    if closed is None and "ablation" in config.variants:
        closed = reader.closed(inputs)
    return {
        name: score(
            name, reader.model, reader.link, inputs, closed, layer=config.layer, queries=config.queries
        )
        for name in config.variants
    }


def score_peaks(
    reader: Reader | LocusReader,
    grouping: Grouping,
    genes: Ints,
    config: ScoreConfig,
    update: Update | None = None,
) -> pl.DataFrame:
    """Scores of all peaks of genes, as means over the groups of each label.

    Returns:
        gene, label, peak (numbers), slot, distance_bp, accessibility, score_VARIANT ..., n_groups; sorted by gene,
        label and peak.
    """
    keys = ["gene", "label", "peak"]
    means = ["distance_bp", "accessibility", *(f"score_{name}" for name in config.variants)]
    parts, done, total = [], 0, len(genes) * len(grouping.groups)
    for inputs in reader.batches(grouping.groups, genes, _batch_slots(reader, genes)):
        rows = _rows(inputs, score_inputs(reader, inputs, config), grouping)
        parts.append(
            rows.group_by(*keys, "slot").agg(*(pl.col(name).sum() for name in means), n_groups=pl.len())
        )
        done += len(inputs)
        if update is not None:
            update(done, total)
    joined = pl.concat(parts).group_by(*keys, "slot").agg(pl.col(*means, "n_groups").sum())
    return joined.with_columns(pl.col(name) / pl.col("n_groups") for name in means).sort(keys)


def _batch_slots(reader: Reader | LocusReader, genes: Ints) -> int:
    if isinstance(reader, LocusReader):
        return reader.model.config.max_peaks
    return slots_at_once(reader.model, int(reader.dataset.index.count[genes].max()))


def _rows(inputs: PeakInputs, scores: Mapping[str, Tensor], grouping: Grouping) -> pl.DataFrame:
    """One row for every real peak of a batch."""
    sample, slot = inputs.mask.cpu().nonzero().unbind(dim=1)

    def column(values: Tensor) -> npt.NDArray[Any]:
        return values.detach().cpu()[sample, slot].numpy()

    return pl.DataFrame(
        {
            "gene": inputs.gene.cpu()[sample].numpy(),
            "label": grouping.of(inputs.group.cpu().numpy())[sample.numpy()],
            "peak": column(inputs.peak),
            "slot": slot.numpy(),
            "distance_bp": column(inputs.distance_bp).astype(np.float64),
            "accessibility": column(inputs.accessibility).astype(np.float64),
            **{f"score_{name}": column(values).astype(np.float64) for name, values in scores.items()},
        }
    )


def named(
    table: pl.DataFrame, reader: Reader | LocusReader, grouping: Grouping, ids: Sequence[str] | None
) -> pl.DataFrame:
    """The table as it is written: names and coordinates for numbers, and a z-score of every score within its gene.

    Columns: gene_id, gene_name, group, peak, chrom, start, end, distance_bp, accessibility, score_VARIANT and
    z_VARIANT of each variant, n_groups. z is null where the scores of a gene are all equal.
    """
    gene, peak = table["gene"].to_list(), table["peak"].to_list()
    places = reader.peaks[peak].select("chrom", "start", "end")
    names = (
        pl.Series([ids[number] for number in peak])
        if ids is not None
        else places.select(pl.format("{}:{}-{}", "chrom", "start", "end")).to_series()
    )
    columns: dict[str, pl.Series] = {
        "gene_id": reader.genes["gene_id"].gather(gene),
        "gene_name": reader.genes["gene_name"].gather(gene),
        "group": pl.Series(grouping.labels).gather(table["label"].to_list()),
        "peak": names,
        **{name: places[name] for name in ("chrom", "start", "end")},
    }
    scores = [name for name in table.columns if name.startswith("score_")]
    z = []
    for name in scores:
        spread = pl.col(name).std(ddof=0)
        scaled = (pl.col(name) - pl.col(name).mean()) / spread
        z.append(
            pl.when(spread > 1e-12).then(scaled).over("gene", "label").alias(name.replace("score_", "z_", 1))
        )
    kept = [
        "distance_bp",
        "accessibility",
        *scores,
        *(name.replace("score_", "z_", 1) for name in scores),
        "n_groups",
    ]
    return (
        pl.DataFrame(columns)
        .hstack(table.with_columns(z).select(kept))
        .with_columns(pl.col("distance_bp").fill_nan(None))
    )


def peak_rows(table: pl.DataFrame, config: ScoreConfig) -> PeakRows:
    """Columns for the statistics within genes."""
    pairs = table.select(pl.struct("gene", "label").rank("dense")).to_series().to_numpy()
    return PeakRows(
        block=pairs.astype(np.int64) - 1,
        accessibility=table["accessibility"].to_numpy(),
        nearness=-np.abs(table["distance_bp"].to_numpy()),
        scores={name: table[f"score_{name}"].to_numpy() for name in config.variants},
    )


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
        size = max(1, _batch_slots(reader, genes) // reader.model.config.max_peaks)
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
