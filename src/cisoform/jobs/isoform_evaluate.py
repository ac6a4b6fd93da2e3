"""Score trained runs on a split of a data set, beside baselines, and gather what a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform import __version__
from cisoform.benchmark.calibration import LEVELS, Predictive, calibration_report, claimed_interval
from cisoform.benchmark.evaluation import EvaluationConfig, evaluate_isoforms
from cisoform.benchmark.metrics import GroupBootstrap, group_codes
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.genome.files import atomic_write, write_json
from cisoform.jobs.isoform_encoders import SharedTables, use_tables
from cisoform.jobs.isoform_model import FloatArray, IsoformModel, predict_distribution
from cisoform.jobs.isoform_uncertainty import Calibrations, calibrate, predictive, uncertain


@dataclass(frozen=True)
class Evaluated:
    """Scores of one run, or of several and of their ensemble.

    Attributes:
        result: As `benchmark.evaluation.evaluate_isoforms`, of the ensemble if there are several runs; with
            `runs`, the scores of each, and `runs_mean`, their mean, in that case. `calibration`, where something is
            known of how sure the prediction is: as `benchmark.calibration.calibration_report`.
        dataset: What was scored.
        rows: Scored rows of the data set.
        tissues: Columns of `observed` and `predicted`.
        observed: log1p expression, NaN = missing.
        predicted: log1p expression, the mean over the runs.
        interval: Lower and upper ends of the 95 % interval, calibrated if possible; None = nothing is known.
    """

    result: dict[str, Any]
    dataset: IsoformDataset
    rows: npt.NDArray[np.int64]
    tissues: list[str]
    observed: FloatArray
    predicted: FloatArray
    interval: tuple[FloatArray, FloatArray] | None = None

    def table(self) -> pl.DataFrame:
        """Transcript, gene, and per tissue the observed and predicted log1p expression, and the interval's ends."""
        samples = self.dataset.samples
        columns: dict[str, Any] = {
            "transcript_id": [samples.transcript_ids[row] for row in self.rows.tolist()],
            "gene_id": [samples.gene_ids[row] for row in self.rows.tolist()],
        }
        for index, name in enumerate(self.tissues):
            columns[f"{name} observed"] = self.observed[:, index]
            columns[f"{name} predicted"] = self.predicted[:, index]
            if self.interval is not None:
                columns[f"{name} low"], columns[f"{name} high"] = (end[:, index] for end in self.interval)
        return pl.DataFrame(columns)

    def write(self, folder: str | Path) -> None:
        """Write `evaluation.json` and `predictions.tsv` into a folder (made if missing)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "evaluation.json", self.result)
        with atomic_write(folder / "predictions.tsv", "wb") as handle:
            handle.write(b"# scale: log1p\n")
            self.table().write_csv(handle, separator="\t", float_precision=6)


def evaluate(
    models: Sequence[IsoformModel],
    dataset: IsoformDataset,
    split: str = "test",
    config: EvaluationConfig | None = None,
    average: int = 1,
    update: Any = None,
    calibrations: Calibrations | None = None,
) -> Evaluated:
    """Score models on the rows of one split.

    Args:
        models: One run, or several whose mean is scored as an ensemble beside each of them.
        dataset: With the columns the models predict.
        split: "train", "valid", "test" or "all".
        config: Contrasts, baselines, bootstrap.
        average: Windows to average over.
        update: Called as `update(done, total)`.
        calibrations: Kept with the runs. None = an ensemble, or a run that predicts variances, is calibrated on the
            validation part of the data set.

    Raises:
        InputError: If the split is empty or a column of the models is not in the data set.
    """
    config = config or EvaluationConfig()
    rows = dataset.rows(split)
    if not len(rows):
        raise InputError(f"{dataset.path}: no transcript is in split {split!r}; choose another split")
    first = models[0]
    names = [column.name for column in first.columns]
    _check_columns(dataset, names)
    signal, where = dataset.samples.signal, dataset.path
    said = [line for model in models if model.tracks for line in model.tracks.check(signal, where)]
    shared: SharedTables = {}
    for model in models:
        use_tables(model.model, dataset.samples, rows, model.loader, shared=shared)
    found = predict_distribution(models, dataset.samples, rows, average, update)
    if len(models) > 1:
        each = {f"run {number + 1}": found.means[number] for number in range(len(models))}
    else:
        each = {}
    mean = found.means.mean(axis=0)
    result = evaluate_isoforms(dataset, rows, mean, names, split, config, each)
    result["runs"] = [_about(model) for model in models]
    result["dataset_hash"] = dataset.hash
    result["cisoform"] = __version__
    result["warnings"] = [*_warnings(models, dataset, split), *dict.fromkeys(said)]
    if each:
        result["runs_mean"] = _mean_of_runs(result, list(each))
    chosen = [index for index, column in enumerate(first.columns) if column.level == "transcript"]
    chosen = chosen or list(range(len(names)))
    tissues = [names[i] for i in chosen]
    index = [dataset.column_index(name) for name in tissues]
    observed = np.log1p(dataset.expression[rows][:, index]).astype(np.float32)
    scored = Evaluated(result, dataset, rows, tissues, observed, mean[:, chosen])
    if calibrations is None and uncertain(models) and len(dataset.rows("valid")):
        calibrations = calibrate(models, dataset, average)[0]
    if calibrations is None and not uncertain(models):
        return scored
    whole = predictive(models, found)
    claimed = Predictive(whole.mean[:, chosen], whole.variance[:, chosen])
    return _with_calibration(scored, claimed, calibrations and calibrations.take(chosen), split, config)


def _with_calibration(
    scored: Evaluated,
    claimed: Predictive,
    calibrations: Calibrations | None,
    split: str,
    config: EvaluationConfig,
) -> Evaluated:
    """The evaluation with coverage of the nominal intervals, and the 95 % interval of every label."""
    dataset, rows = scored.dataset, scored.rows.tolist()
    fits = calibrations is not None and bool(calibrations.calibrated.fits.any())
    bootstrap = GroupBootstrap.draw(
        group_codes([dataset.family[row] for row in rows]), config.n_draws, config.seed
    )
    report = calibration_report(
        scored.observed.astype(np.float64),
        claimed,
        scored.tissues,
        calibrations.calibrated if calibrations is not None and fits else None,
        calibrations.constant if calibrations is not None and fits else None,
        bootstrap,
    )
    report["calibrated_on"] = calibrations.source if calibrations is not None and fits else None
    warnings = list(scored.result["warnings"])
    if not fits:
        warnings.append(
            "fewer than 20 validation labels a tissue: intervals are what the model claims, uncalibrated"
        )
    else:
        warnings += _without_interval(calibrations)
    if fits and split in ("valid", "all"):
        warnings.append(
            "intervals were calibrated on the validation part, which is among the scored transcripts"
        )
    if calibrations is not None and fits:
        ends = calibrations.calibrated.interval(claimed, LEVELS[-1])
    else:
        ends = claimed_interval(claimed, LEVELS[-1])
    low, high = (end.astype(np.float32) for end in ends)
    result = {**scored.result, "calibration": report, "warnings": warnings}
    return replace(scored, result=result, interval=(low, high))


def _without_interval(calibrations: Calibrations | None) -> list[str]:
    """What is said of tissues that could not be calibrated beside others that could."""
    if calibrations is None:
        return []
    found = calibrations.calibrated
    names = [name for name, fits in zip(found.columns, found.fits.tolist(), strict=True) if not fits]
    some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return [f"{some}: fewer than 20 validation labels, so no interval"] if names else []


def _check_columns(dataset: IsoformDataset, names: Sequence[str]) -> None:
    known = [column.name for column in dataset.columns]
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError(
            f"{dataset.path}: lacks the column {missing[0]!r} that the run predicts (it has {', '.join(known[:6])}); "
            "build it from the tables the run was trained on"
        )


def _about(model: IsoformModel) -> dict[str, Any]:
    return {key: model.about.get(key) for key in ("recipe", "seed", "dataset_hash")}


def _warnings(models: Sequence[IsoformModel], dataset: IsoformDataset, split: str) -> list[str]:
    found = []
    if any(model.about.get("dataset_hash") != dataset.hash for model in models):
        found.append(
            "a run was trained on another data set than the one it is scored on: make sure that none of the "
            "scored genes was among its training genes"
        )
    started = {
        (name, about.get("dataset_hash"))
        for model in models
        for name, about in model.about.get("encoders", {}).items()
    }
    for name in sorted({name for name, learnt_on in started if learnt_on not in (None, dataset.hash)}):
        found.append(
            f"the {name} encoder was pre-trained on another data set than the one it is scored on: make sure that none "
            "of the scored sequences was among those it was trained on"
        )
    if split in ("train", "all"):
        found.append(f"split {split!r} holds training transcripts: these scores say nothing about new ones")
    return found


def _mean_of_runs(result: dict[str, Any], runs: Sequence[str]) -> dict[str, Any]:
    """Mean and standard deviation over the runs of R2 and Spearman, per tissue and contrast, and of their mean."""
    keys = list(result["baselines"][runs[0]])
    scores: dict[str, Any] = {}
    for key in keys:
        scores[key] = _spread([result["baselines"][run][key] for run in runs])
    means = [result["baseline_details"][run]["mean"] for run in runs]
    scores["mean"] = _spread(means, ("r2", "spearman", "r2_centred"))
    return scores


def _spread(rows: Sequence[dict[str, Any]], metrics: Sequence[str] = ("r2", "spearman")) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in metrics:
        values = [row[metric] for row in rows if row.get(metric) is not None]
        found[metric] = float(np.mean(values)) if values else None
        found[f"{metric}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return found
