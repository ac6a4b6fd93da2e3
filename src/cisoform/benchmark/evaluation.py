"""The result of `isoform evaluate`: scores of a prediction with intervals, beside baselines and the ceiling.

In: a data set, a prediction on the log1p scale for some of its rows. Out: one dictionary of plain numbers, ready for
JSON (undefined = None). Transcript-level columns are scored one row per transcript, gene-level columns one row per
gene (`metrics.gene_means`); `mean` is over the transcript-level columns, or over all if there are none. All
predictors share the bootstrap draws, so every comparison is paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from cisoform.benchmark import metrics
from cisoform.benchmark.baselines import (
    Baseline,
    BaselineConfig,
    BaselineData,
    fit_baselines,
    isoform_counts,
    replicate_pairs,
    thin_rows,
)
from cisoform.benchmark.features import FeatureConfig, TranscriptSequences, sequence_features
from cisoform.benchmark.metrics import Contrast, GroupBootstrap, PairedDifference
from cisoform.benchmark.track_features import with_tracks
from cisoform.benchmark.within_gene import WithinGene, within_gene
from cisoform.data.isoform_dataset import IsoformDataset, find_column
from cisoform.data.samples import IsoformSamples
from cisoform.errors import InputError
from cisoform.genome.ragged import Ragged

CEILING = "ceiling_replicates"
"""Row of replicate 1 against replicate 2; in `baselines` so that it stands in the same table."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How to score.

    Attributes:
        contrasts: Texts `A:B`.
        baselines: How to fit the baselines; None = leave them out.
        n_draws: Bootstrap draws; 0 = no intervals and no comparisons.
        seed: Of the draws.
        level: Of the intervals.
    """

    contrasts: tuple[str, ...] = ()
    baselines: BaselineConfig | None = field(default_factory=BaselineConfig)
    n_draws: int = 1000
    seed: int = 0
    level: float = 0.95


@dataclass(frozen=True)
class Truth:
    """Labels of the scored rows and what is needed to score any prediction of them.

    Attributes:
        names: Columns.
        labels: log1p expression, NaN = missing.
        gene_level: True for the columns whose label belongs to the gene.
        gene: Gene codes 0, 1, ...
        bootstrap: Over transcripts.
        gene_bootstrap: The same draws over genes.
        contrasts: Each between two columns of one level.
    """

    names: tuple[str, ...]
    labels: Float[np.ndarray, "rows columns"]
    gene_level: Bool[np.ndarray, " columns"]
    gene: Int[np.ndarray, " rows"]
    bootstrap: GroupBootstrap
    gene_bootstrap: GroupBootstrap
    contrasts: tuple[Contrast, ...] = ()

    @classmethod
    def build(
        cls,
        names: Sequence[str],
        labels: Float[np.ndarray, "rows columns"],
        gene_level: Bool[np.ndarray, " columns"],
        genes: Sequence[str],
        families: Sequence[str],
        config: EvaluationConfig,
    ) -> Truth:
        """Codes and draws; a gene whose rows name several families counts to that of its first row."""
        gene = metrics.group_codes(genes)
        family = metrics.group_codes(families)
        first_row = np.unique(gene, return_index=True)[1]
        family_of_gene = metrics.group_codes(family[first_row])
        by_gene = GroupBootstrap.draw(family_of_gene, config.n_draws, config.seed)
        by_row = GroupBootstrap(family_of_gene[gene], by_gene.counts)
        contrasts = tuple(Contrast.parse(text, names) for text in config.contrasts)
        for contrast in contrasts:
            if gene_level[contrast.numerator] != gene_level[contrast.denominator]:
                raise InputError(
                    f"contrast {contrast.name!r} mixes a transcript-level and a gene-level column; "
                    "name two columns of one table"
                )
        return cls(tuple(names), labels.astype(np.float64), gene_level, gene, by_row, by_gene, contrasts)

    @property
    def main(self) -> Int[np.ndarray, " main"]:
        """Columns that the mean is taken over."""
        return np.flatnonzero(~self.gene_level if (~self.gene_level).any() else self.gene_level)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of all scored columns: the tissues, then the contrasts."""
        return self.names + tuple(contrast.name for contrast in self.contrasts)


@dataclass(frozen=True)
class PredictorScores:
    """Scores of one predictor: per key of `Truth.keys`, with the draws of each."""

    r2: Float[np.ndarray, " keys"]
    spearman: Float[np.ndarray, " keys"]
    n: Int[np.ndarray, " keys"]
    r2_draws: Float[np.ndarray, "draws keys"]
    spearman_draws: Float[np.ndarray, "draws keys"]
    r2_centred: Float[np.ndarray, " main"]
    r2_centred_draws: Float[np.ndarray, "draws main"]


def score(
    truth: Truth, labels: Float[np.ndarray, "rows columns"], predicted: Float[np.ndarray, "rows columns"]
) -> PredictorScores:
    """All scores of one prediction against `labels` (the truth's, or a replicate's)."""
    n_keys, n_draws = len(truth.keys), len(truth.bootstrap.counts)
    r2, spearman, n = np.full(n_keys, np.nan), np.full(n_keys, np.nan), np.zeros(n_keys, dtype=np.int64)
    r2_draws, spearman_draws = np.full((2, n_draws, n_keys), np.nan)
    n_names = len(truth.names)
    for level in (False, True):
        left, right, bootstrap = labels, predicted.astype(np.float64), truth.bootstrap
        if level:
            left, right = (metrics.gene_means(x, truth.gene) for x in (left, right))
            bootstrap = truth.gene_bootstrap
        columns = np.flatnonzero(truth.gene_level == level)
        chosen = [(i, c) for i, c in enumerate(truth.contrasts) if truth.gene_level[c.numerator] == level]
        keys = [*columns.tolist(), *(n_names + i for i, _ in chosen)]
        if not keys:
            continue
        left, right = (
            np.concatenate([x[:, columns], *(contrast.of(x) for _, contrast in chosen)], axis=1)
            for x in (left, right)
        )
        r2[keys], spearman[keys] = metrics.r2(left, right), metrics.spearman(left, right)
        n[keys] = (np.isfinite(left) & np.isfinite(right)).sum(axis=0)
        if n_draws:
            r2_draws[:, keys] = bootstrap.r2(left, right)
            spearman_draws[:, keys] = bootstrap.spearman(left, right)
    centred, centred_draws = _centred(truth, labels, predicted)
    return PredictorScores(r2, spearman, n, r2_draws, spearman_draws, centred, centred_draws)


def _centred(
    truth: Truth, labels: Float[np.ndarray, "rows columns"], predicted: Float[np.ndarray, "rows columns"]
) -> tuple[Float[np.ndarray, " main"], Float[np.ndarray, "draws main"]]:
    left, right, bootstrap = (
        labels[:, truth.main],
        predicted[:, truth.main].astype(np.float64),
        truth.bootstrap,
    )
    if truth.gene_level[truth.main].all():
        left, right = metrics.gene_means(left, truth.gene), metrics.gene_means(right, truth.gene)
        bootstrap = truth.gene_bootstrap
    left, right = metrics.centred_pair(left, right)
    return metrics.r2(left, right), bootstrap.r2(left, right)


def evaluate_isoforms(
    dataset: IsoformDataset,
    rows: Int[np.ndarray, " rows"],
    predicted: Float[np.ndarray, "rows columns"],
    columns: Sequence[str],
    split: str,
    config: EvaluationConfig | None = None,
    others: Mapping[str, Float[np.ndarray, "rows columns"]] | None = None,
    fitted: Sequence[Baseline] | None = None,
) -> dict[str, Any]:
    """Score a prediction of some rows of a data set.

    Args:
        dataset: Its train rows fit the baselines, its valid rows choose their penalty.
        rows: The scored transcripts.
        predicted: log1p scale, in the order of `rows` and `columns`.
        columns: Names of the predicted columns, each a column of the data set.
        split: Name of the scored part, for the result.
        config: How to score.
        others: Further predictions to stand in the table and be compared with (single-input models, ...).
        fitted: Baselines already fitted by `dataset_baselines` for these rows and columns, so that several
            predictions cost one fit; None = fit what `config.baselines` says.

    Raises:
        InputError: No rows, an unknown column or contrast, or a prediction that is not finite.
    """
    config = config or EvaluationConfig()
    index, gene_level = _columns(dataset, columns)
    _check(dataset, rows, predicted, columns, split)
    labels = np.log1p(dataset.expression[rows].astype(np.float64))[:, index]
    truth = Truth.build(
        columns,
        labels,
        gene_level,
        [dataset.samples.gene_ids[row] for row in rows.tolist()],
        [dataset.family[row] for row in rows.tolist()],
        config,
    )
    ours = score(truth, truth.labels, predicted)
    names = truth.names
    rivals: dict[str, tuple[str, Float[np.ndarray, "rows columns"], float | None]] = {
        name: (name, values, None) for name, values in (others or {}).items()
    }
    if fitted is None and config.baselines is not None:
        fitted = dataset_baselines(dataset, rows, columns, config.baselines)
    for baseline in fitted or ():
        rivals[baseline.name] = (baseline.label, baseline.predicted, baseline.seconds)
    tissues = {
        name: {"level": "gene" if gene_level[i] else "transcript", **_key(ours, i, config)}
        for i, name in enumerate(names)
    }
    result: dict[str, Any] = {
        "split": split,
        "n_transcripts": len(rows),
        "n_genes": int(truth.gene.max()) + 1,
        "n_groups": truth.bootstrap.n_groups,
        "scale": "log1p",
        "bootstrap": {
            "unit": "family" if truth.bootstrap.n_groups < int(truth.gene.max()) + 1 else "gene",
            "draws": config.n_draws,
            "seed": config.seed,
            "level": config.level,
        },
        "tissues": tissues,
        "mean": _mean(truth, ours, config),
        "contrasts": {c.name: _key(ours, len(names) + i, config) for i, c in enumerate(truth.contrasts)},
        "within_gene": _within(truth, predicted, config),
        "baselines": {},
        "baseline_details": {},
        "comparisons": {},
    }
    for name, (label, values, seconds) in rivals.items():
        theirs = score(truth, truth.labels, values)
        result["baselines"][name] = {key: _point(theirs, i) for i, key in enumerate(truth.keys)}
        details = {"label": label, "seconds": seconds, "mean": _mean(truth, theirs, config)}
        result["baseline_details"][name] = {**details, "within_gene": _within(truth, values, None)}
        if config.n_draws:
            result["comparisons"][name] = _compare(truth, ours, theirs)
    _add_ceiling(result, dataset, truth, rows)
    plain: dict[str, Any] = _plain(result)
    return plain


def _add_ceiling(
    result: dict[str, Any], dataset: IsoformDataset, truth: Truth, rows: Int[np.ndarray, " rows"]
) -> None:
    all_columns = [column.name for column in (*dataset.columns, *dataset.extra_columns)]
    values = np.concatenate([dataset.expression[rows], dataset.extra_expression[rows]], axis=1)
    pair = replicate_pairs(np.log1p(values.astype(np.float64)), all_columns, truth.names)
    if pair is None:
        return
    first, second = pair
    without_draws = GroupBootstrap(truth.bootstrap.group, truth.bootstrap.counts[:0])
    by_gene = GroupBootstrap(truth.gene_bootstrap.group, truth.gene_bootstrap.counts[:0])
    quiet = Truth(truth.names, first, truth.gene_level, truth.gene, without_draws, by_gene, truth.contrasts)
    scores = score(quiet, first, second)
    known = [i for i in range(len(truth.keys)) if np.isfinite(scores.r2[i])]
    result["baselines"][CEILING] = {truth.keys[i]: _point(scores, i) for i in known}
    result["baseline_details"][CEILING] = {
        "label": "replicate 2 as the prediction of replicate 1: what the experiment itself reaches",
        "mean": _mean(truth, scores, None),
        "within_gene": within_gene(first[:, truth.main], second[:, truth.main], truth.gene).mean(),
    }


def dataset_baselines(
    dataset: IsoformDataset,
    rows: Int[np.ndarray, " rows"],
    columns: Sequence[str],
    config: BaselineConfig | None = None,
    names: Sequence[str] | None = None,
) -> list[Baseline]:
    """Fit the named baselines (default: all) on a data set's train rows and predict `rows`, in `columns` order."""
    config = config or BaselineConfig()
    index, gene_level = _columns(dataset, columns)
    labels = np.log1p(np.asarray(dataset.expression[:, index], dtype=np.float64))
    data = baseline_data(dataset.samples, labels, gene_level, dataset.split, rows, config)
    return fit_baselines(data, config, names)


def baseline_data(
    samples: IsoformSamples,
    labels: Float[np.ndarray, "samples columns"],
    gene_level: Bool[np.ndarray, " columns"],
    split: Shaped[np.ndarray, " samples"],
    rows: Int[np.ndarray, " rows"],
    config: BaselineConfig,
    features: FeatureConfig | None = None,
) -> BaselineData:
    """Features and labels of the rows that the baselines need, no more; labels of scored rows are blanked."""
    gene = metrics.group_codes(samples.gene_ids)
    train = thin_rows(split == "train", gene, config.max_fit_rows, config.seed)
    valid = thin_rows(split == "valid", gene, max(config.max_fit_rows // 5, 1), config.seed)
    used = train | valid
    used[rows] = True
    kept = np.flatnonzero(used)
    position = np.full(len(used), -1)
    position[kept] = np.arange(len(kept))
    learnt = (train | valid)[kept]
    config_of_features = features or FeatureConfig()
    table = sequence_features(transcript_sequences(samples, kept, config_of_features), config_of_features)
    return BaselineData(
        features=with_tracks(table, samples, kept),
        isoform_count=isoform_counts(gene)[kept],
        labels=np.where(learnt[:, None], labels[kept], np.nan),
        gene=metrics.group_codes(gene[kept]),
        gene_level=gene_level,
        train=train[kept],
        valid=valid[kept],
        score=position[rows],
    )


def transcript_sequences(
    samples: IsoformSamples, rows: Int[np.ndarray, " rows"], config: FeatureConfig | None = None
) -> TranscriptSequences:
    """The sequences of some samples, in the form that the features are taken from."""
    config = config or FeatureConfig()
    dna = None
    if samples.dna is not None and (samples.dna_row[rows] >= 0).any():
        half = max(config.dna_up, config.dna_down)
        distinct, inverse = np.unique(np.maximum(samples.dna_row[rows], 0), return_inverse=True)
        dna = samples.dna.window(distinct, 2 * half)[inverse]
        dna[samples.dna_row[rows] < 0] = 4
    rna, n_junctions = None, np.zeros(len(rows), dtype=np.int64)
    rna_row = samples.rna_row[rows].astype(np.int64)
    if samples.rna is not None and (rna_row >= 0).any():
        rna = _take_present(samples.rna, rna_row)
        if samples.junctions is not None:
            n_junctions = np.where(rna_row >= 0, samples.junctions.lengths[np.maximum(rna_row, 0)], 0)
    has_protein = samples.protein is not None and bool((samples.protein_row[rows] >= 0).any())
    return TranscriptSequences(
        dna=dna,
        rna=rna,
        cds_start=np.asarray(samples.cds_start[rows]),
        cds_end=np.asarray(samples.cds_end[rows]),
        cds_phase=np.asarray(samples.cds_phase[rows]),
        n_junctions=n_junctions,
        protein=samples.protein if has_protein else None,
        protein_row=np.asarray(samples.protein_row[rows]),
    )


def _take_present(sequences: Ragged, row: Int[np.ndarray, " rows"]) -> Ragged:
    """Rows of a ragged array, an empty one where `row` is -1."""
    with_empty = Ragged(sequences.data, np.append(sequences.offsets, sequences.offsets[-1]))
    return with_empty.take(np.where(row >= 0, row, len(sequences)))


# ------------------------------------------------------------------------------------------------ plain numbers


def _columns(
    dataset: IsoformDataset, columns: Sequence[str]
) -> tuple[Int[np.ndarray, " columns"], Bool[np.ndarray, " columns"]]:
    """Position of each column in the data set, and whether its labels belong to genes."""
    names = [column.name for column in dataset.columns]
    index = np.array(
        [find_column(name, names, f"data set {dataset.path}") for name in columns], dtype=np.int64
    )
    return index, np.array([dataset.columns[i].level == "gene" for i in index], dtype=bool)


def _check(
    dataset: IsoformDataset,
    rows: Int[np.ndarray, " rows"],
    predicted: Float[np.ndarray, "rows columns"],
    columns: Sequence[str],
    split: str,
) -> None:
    if not len(rows):
        raise InputError(f"data set {dataset.path}: split {split!r} has no transcripts; choose another split")
    if predicted.shape != (len(rows), len(columns)):
        raise ValueError(
            f"prediction of shape {predicted.shape} for {len(rows)} rows and {len(columns)} columns"
        )
    bad = np.argwhere(~np.isfinite(predicted))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"prediction of transcript {dataset.samples.transcript_ids[rows[row]]} in {columns[column]!r} is "
            f"{predicted[row, column]}; the run is damaged or diverged: train again"
        )


def _point(scores: PredictorScores, index: int) -> dict[str, Any]:
    return {"r2": scores.r2[index], "spearman": scores.spearman[index]}


def _key(scores: PredictorScores, index: int, config: EvaluationConfig) -> dict[str, Any]:
    row = {**_point(scores, index), "n": scores.n[index]}
    if config.n_draws:
        for name, draws in (("r2_ci", scores.r2_draws), ("spearman_ci", scores.spearman_draws)):
            row[name] = metrics.interval(draws[:, index : index + 1], config.level)[0]
    return row


def _mean(truth: Truth, scores: PredictorScores, config: EvaluationConfig | None) -> dict[str, Any]:
    main = truth.main
    row: dict[str, Any] = {
        "r2": metrics.mean_over_columns(scores.r2[main]),
        "spearman": metrics.mean_over_columns(scores.spearman[main]),
        "r2_centred": metrics.mean_over_columns(scores.r2_centred),
        "n_tissues": len(main),
    }
    if config is not None and config.n_draws:
        for name, draws in (
            ("r2_ci", scores.r2_draws[:, main]),
            ("spearman_ci", scores.spearman_draws[:, main]),
            ("r2_centred_ci", scores.r2_centred_draws),
        ):
            row[name] = metrics.interval(metrics.mean_over_columns(draws)[:, None], config.level)[0]
    return row


def _within(
    truth: Truth, predicted: Float[np.ndarray, "rows columns"], config: EvaluationConfig | None
) -> dict[str, Any]:
    """Mean over the transcript-level columns, and each of them under `tissues`; empty if there are none."""
    columns = np.flatnonzero(~truth.gene_level)
    if not len(columns):
        return {}
    bootstrap = truth.bootstrap if config is not None and config.n_draws else None
    scores: WithinGene = within_gene(
        truth.labels[:, columns], predicted[:, columns].astype(np.float64), truth.gene, bootstrap
    )
    row: dict[str, Any] = dict(scores.mean())
    if config is not None:
        row["tissues"] = {truth.names[column]: scores.column(i) for i, column in enumerate(columns.tolist())}
    return row


def _compare(truth: Truth, ours: PredictorScores, theirs: PredictorScores) -> dict[str, Any]:
    """Ours minus theirs per key and for the mean, paired over the draws."""

    def one(name: str, index: Int[np.ndarray, " chosen"]) -> dict[str, Any]:
        mean = metrics.mean_over_columns
        difference: PairedDifference = metrics.paired_difference(
            float(mean(getattr(ours, name)[index])),
            float(mean(getattr(theirs, name)[index])),
            mean(getattr(ours, f"{name}_draws")[:, index]),
            mean(getattr(theirs, f"{name}_draws")[:, index]),
        )
        return {
            "difference": difference.difference,
            "ci": [difference.low, difference.high],
            "p_not_better": difference.p_not_better,
        }

    rows = {"mean": truth.main} | {key: np.array([i]) for i, key in enumerate(truth.keys)}
    return {key: {name: one(name, index) for name in ("r2", "spearman")} for key, index in rows.items()}


def _plain(value: Any) -> Any:
    """Numbers as Python's own; undefined ones as None, which JSON can hold."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value):
        return [_plain(entry) for entry in value]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(value) if np.isfinite(value) else None
