"""Readings against their planted answers; `READINGS` is the list, a function each, from `Planted` to measures.

A further reading adds one line there. Every function chooses its way of reading on the validation chromosomes and
scores that one on the test chromosomes, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.epigenome import measure
from cisoform.benchmark import planted as score
from cisoform.benchmark.planted import Measure
from cisoform.errors import InputError
from cisoform.jobs.planted import Planted
from cisoform.jobs.planted_factors import grn, knockout, variants
from cisoform.jobs.score import ScoreConfig, score_peaks

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Reading = Callable[[Planted], list[Measure]]

LINK_GOAL = 0.9


def links(planted: Planted) -> list[Measure]:
    """Which peak acts on which gene: the scores of `score` and `links` against the planted links.

    A pair of a peak and a gene in reach is positive where it adds at least 0.1 to the log rate of the gene in some
    group, whatever the sign; a pair's score is the highest, or the mean, over groups.
    """
    tables = {part: _scored(planted, part) for part in ("valid", "test")}
    ways = {
        name: score.auprc(_is_link(planted, score.pairs_of(tables["valid"])), values)
        for name, values in score.pair_ways(tables["valid"], planted.variants).items()
    }
    way = score.choose(ways)
    pairs = score.pairs_of(tables["test"])
    truth, gene = _is_link(planted, pairs), pairs["gene"].to_numpy()
    every = score.pair_ways(tables["test"], planted.variants)
    marks = _h3k27ac(planted, tables["test"])
    simple = score.pair_baselines(tables["test"], marks, _correlation(planted, pairs))
    baselines = {name: score.auprc(truth, values) for name, values in simple.items()}
    found = [
        Measure(
            reading="score, links",
            measure="AUPRC of planted links, either sign",
            value=score.auprc(truth, every[way]),
            way=way,
            valid=ways[way],
            goal=LINK_GOAL,
            baselines=baselines,
            nulls=score.chance(truth, every[way], gene, planted.seed),
            ways=ways,
            n=f"{len(truth):,} pairs, {truth.mean():.0%} links",
        )
    ]
    planted.kept["links"] = tables["test"]
    if "ablation" in planted.variants:
        found.append(_signs_of_links(planted, tables["test"]))
    return found


def _scored(planted: Planted, part: str) -> pl.DataFrame:
    planted.say(f"links: scoring the peaks of {part} chromosomes in {len(planted.variants)} ways")
    config = ScoreConfig(variants=planted.variants, samples=0)
    return score_peaks(planted.reader(part), planted.grouping, planted.genes(part), config)


def _is_link(planted: Planted, pairs: pl.DataFrame) -> Flags:
    """Whether each pair is a planted link."""
    known = planted.table("links").filter("is_link").select("peak", "gene_id")
    true = set(known.iter_rows())
    ids, genes = planted.peak_ids().to_list(), planted.dataset.genes["gene_id"].to_list()
    return np.array(
        [(ids[peak], genes[gene]) in true for gene, peak in pairs.select("gene", "peak").iter_rows()]
    )


def _h3k27ac(planted: Planted, table: pl.DataFrame) -> Floats | None:
    """Signal at the peak in the group of each row; None where the simulation has no such tracks."""
    peak, label = table["peak"].to_numpy(), table["label"].to_numpy()
    found = np.zeros(table.height)
    for number, name in enumerate(planted.grouping.labels):
        path = planted.files / "tracks" / f"{name}.h3k27ac.bw"
        if not path.is_file():
            return None
        rows = label == number
        values = measure(path, planted.dataset.peaks, np.unique(peak[rows])).values
        found[rows] = np.nan_to_num(values[peak[rows]]).clip(min=0.0)
    return found


def _correlation(planted: Planted, pairs: pl.DataFrame) -> Floats:
    """|Pearson| across groups of a peak's accessibility and a gene's measured expression (which the model lacks)."""
    peaks, genes = (np.unique(pairs[name].to_numpy()) for name in ("peak", "gene"))
    signal = _standard(planted.reader("test").signal(planted.groups, peaks).astype(np.float64))
    observed = _standard(planted.dataset.expression_matrix(planted.groups, genes).astype(np.float64))
    whole = np.abs(signal.T @ observed)
    at = np.searchsorted(peaks, pairs["peak"].to_numpy()), np.searchsorted(genes, pairs["gene"].to_numpy())
    return np.asarray(whole[at], dtype=np.float64)


def _standard(values: Floats) -> Floats:
    """Columns with mean 0 and length 1; 0 where they do not vary."""
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    return np.asarray(centred / np.where(length > 1e-9, length, np.inf), dtype=np.float64)


def _signs_of_links(planted: Planted, table: pl.DataFrame) -> Measure:
    """Does closing an open peak move the gene in the planted direction? Of links in the groups where they act."""
    truth = planted.table("links").filter("is_link")
    names = planted.dataset.groups["name"].to_list()
    effects = truth.unpivot(
        [f"effect.{name}" for name in names],
        index=["peak", "gene_id"],
        variable_name="group",
        value_name="effect",
    ).with_columns(pl.col("group").str.replace("effect.", "", literal=True))
    at = table.select(
        peak=planted.peak_ids().gather(table["peak"].to_list()),
        gene_id=planted.dataset.genes["gene_id"].gather(table["gene"].to_list()),
        group=pl.Series(planted.grouping.labels).gather(table["label"].to_list()),
        score="score_ablation",
    ).join(effects, on=["peak", "gene_id", "group"])
    effect, value = at["effect"].to_numpy(), at["score"].to_numpy()
    n = int((np.abs(effect) >= score.NOISE).sum())
    return Measure(
        reading="score, links",
        measure="sign of links, balanced accuracy",
        value=score.balanced_sign(effect, value),
        baselines={"every open peak raises": score.balanced_sign(effect, np.ones(len(effect)))},
        nulls={"answers dealt anew": _dealt_sign(effect, value, planted.seed)},
        way="ablation",
        n=f"{n:,} links in groups",
    )


def _dealt_sign(truth: Floats, value: Floats, seed: int) -> float:
    rng = np.random.default_rng(seed)
    return float(
        np.mean([score.balanced_sign(rng.permutation(truth), value) for _ in range(score.SIGN_DRAWS)])
    )


READINGS: Mapping[str, Reading] = {"links": links, "knockout": knockout, "grn": grn, "variants": variants}
"""By name, what scores a reading; in the order of the table."""


def choose_readings(names: Sequence[str] | None) -> dict[str, Reading]:
    """Some of the readings, or all.

    Raises:
        InputError: An unknown one.
    """
    for name in names or ():
        if name not in READINGS:
            raise InputError(f"--readings {name!r} is unknown; choose from {', '.join(READINGS)}")
    return {name: READINGS[name] for name in READINGS if names is None or name in names}
