"""`regulation score` without the command line: scores of peaks as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from torch import Tensor

from cisoform.analysis.epigenome import PeakRows
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import PeakInputs
from cisoform.analysis.reader import LocusReader, Reader
from cisoform.analysis.scores import VARIANTS, Queries, Variant, score, slots_at_once
from cisoform.errors import InputError

DEFAULT: Variant = "ablation"

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
    for inputs in reader.batches(grouping.groups, genes, batch_slots(reader, genes)):
        rows = _rows(inputs, score_inputs(reader, inputs, config), grouping)
        parts.append(
            rows.group_by(*keys, "slot").agg(*(pl.col(name).sum() for name in means), n_groups=pl.len())
        )
        done += len(inputs)
        if update is not None:
            update(done, total)
    joined = pl.concat(parts).group_by(*keys, "slot").agg(pl.col(*means, "n_groups").sum())
    return joined.with_columns(pl.col(name) / pl.col("n_groups") for name in means).sort(keys)


def batch_slots(reader: Reader | LocusReader, genes: Ints) -> int:
    """Slots of peaks in a batch that fit into memory for every variant."""
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
