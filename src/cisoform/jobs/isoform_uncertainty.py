"""How sure runs are of what they predict: calibration on a data set's validation part, kept beside the run.

`calibration.json` of a run or an ensemble names the weights that it was fitted for; it is used for exactly these.
An ensemble is a folder of runs with an `ensemble.json` that lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.benchmark.calibration import LEVELS, Calibration, Predictive, claimed_interval, combine
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.genome.files import read_json, write_json
from cisoform.jobs.isoform_encoders import SharedTables, use_tables
from cisoform.jobs.isoform_model import Distribution, FloatArray, IsoformModel, predict_distribution

CALIBRATION_FILE, ENSEMBLE_FILE = "calibration.json", "ensemble.json"
FORMAT = 1


@dataclass(frozen=True)
class Calibrations:
    """Of the models together, for all their columns.

    Attributes:
        calibrated: With what the models claim.
        constant: With one standard deviation for all labels of a column, the baseline.
        source: Where the labels are from, for messages.
    """

    calibrated: Calibration
    constant: Calibration
    source: str

    def take(self, columns: Sequence[int]) -> Calibrations:
        """Some of the columns, in that order."""
        return Calibrations(self.calibrated.take(columns), self.constant.take(columns), self.source)


def run_folders(runs: Sequence[str | Path]) -> list[Path]:
    """The folders of runs, with every ensemble replaced by its members.

    Raises:
        InputError: If an `ensemble.json` is damaged.
    """
    found = []
    for run in map(Path, runs):
        path = run / ENSEMBLE_FILE
        if not path.is_file():
            found.append(run)
            continue
        listed = read_json(path, "list of an ensemble's runs")
        members = listed.get("members") if isinstance(listed, dict) else None
        if not isinstance(members, list) or not members or any(Path(str(m)).name != m for m in members):
            raise InputError(f"{path}: does not list the runs of an ensemble; give its runs one by one")
        found += [run / member for member in members]
    return found


def load_models(runs: Sequence[str | Path], device: str = "cpu") -> list[IsoformModel]:
    """The models of runs and of ensembles' members."""
    return [IsoformModel.load(run, device) for run in run_folders(runs)]


def uncertain(models: Sequence[IsoformModel]) -> bool:
    """Whether the models by themselves say how sure they are: by their variances, or by differing from each other."""
    return len(models) > 1 or models[0].gaussian


def predictive(models: Sequence[IsoformModel], found: Distribution) -> Predictive:
    """The models as one Gaussian for every label.

    Raises:
        InputError: If only some of them predict variances.
    """
    if len({model.gaussian for model in models}) != 1:
        raise InputError(
            "some of the runs predict variances (loss.kind=gaussian) and some do not; give runs of one kind"
        )
    return combine(found.means, found.variances)


def calibrate(
    models: Sequence[IsoformModel],
    dataset: IsoformDataset,
    average: int = 1,
    update: Any = None,
    each: bool = False,
) -> list[Calibrations]:
    """Fit how sure models are, on the validation rows of a data set (which chose their weights, but fitted none).

    Args:
        models: One run, or the members of an ensemble.
        dataset: With the columns of the models.
        average: As in predictions.
        update: Called as `update(done, total)`.
        each: Also calibrate every model alone.

    Returns:
        Of all models together; with `each`, then of every one. Columns with fewer than 20 labels are not calibrated.
    """
    rows = dataset.rows("valid")
    shared: SharedTables = {}
    for model in models:
        use_tables(model.model, dataset.samples, rows, model.loader, shared=shared)
    found = predict_distribution(models, dataset.samples, rows, average, update)
    observed = labels(models[0], dataset, rows)
    sets = [[*range(len(models))], *([[n] for n in range(len(models))] if each else [])]
    source = f"{len(rows):,} validation transcripts"
    return [_fit(models, found, observed, chosen, source) for chosen in sets]


def _fit(
    models: Sequence[IsoformModel],
    found: Distribution,
    observed: npt.NDArray[np.float64],
    chosen: list[int],
    source: str,
) -> Calibrations:
    variances = None if found.variances is None else found.variances[chosen]
    made = predictive([models[n] for n in chosen], Distribution(found.means[chosen], variances))
    columns = models[0].normaliser.columns
    calibrated, constant = (Calibration.fit(columns, observed, made, one) for one in (False, True))
    return Calibrations(calibrated, constant, source)


def labels(
    model: IsoformModel, dataset: IsoformDataset, rows: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """log1p expression in the columns of a model."""
    index = [dataset.column_index(name) for name in model.normaliser.columns]
    found: npt.NDArray[np.float64] = np.log1p(dataset.expression[rows][:, index].astype(np.float64))
    return found


def write_calibration(folder: str | Path, models: Sequence[IsoformModel], found: Calibrations) -> None:
    """Keep a calibration beside the runs that it is of; one that is there is replaced."""
    content = {
        "format": FORMAT,
        "weights": sorted(model.weights for model in models),
        "source": found.source,
        "calibrated": found.calibrated.to_json(),
        "constant": found.constant.to_json(),
    }
    write_json(Path(folder) / CALIBRATION_FILE, content)


def stored_calibration(runs: Sequence[str | Path], models: Sequence[IsoformModel]) -> Calibrations | None:
    """The calibration that was kept for exactly these models: in a run, or in the folder that holds all the runs.

    Args:
        runs: As they were given.
        models: Of these runs.

    Raises:
        InputError: If a file is damaged.
    """
    places = dict.fromkeys([*map(Path, runs), *(run.parent for run in run_folders(runs))])
    for place in places:
        path = place / CALIBRATION_FILE
        if not path.is_file():
            continue
        content = read_json(path, "calibration")
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{path}: is no calibration of format {FORMAT}; remove it, or train again")
        if content.get("weights") != sorted(model.weights for model in models):
            continue
        calibrated, constant = (
            Calibration.from_json(content.get(name), str(path)) for name in ("calibrated", "constant")
        )
        if {calibrated.columns, constant.columns} != {models[0].normaliser.columns}:
            raise InputError(f"{path}: is of other columns than the run; remove it, or train again")
        return Calibrations(calibrated, constant, str(content.get("source")))
    return None


@dataclass(frozen=True)
class Interval:
    """An interval to give with every value: its nominal coverage, and what it is calibrated by (None: by nothing)."""

    level: float
    calibrations: Calibrations | None


def choose_interval(
    models: Sequence[IsoformModel], calibrations: Calibrations | None, level: float | None
) -> Interval | None:
    """The interval to give: as asked, else 95 % for models that say how sure they are.

    Args:
        models: One run, or the members of an ensemble.
        calibrations: Kept with the runs, if any.
        level: 0.5, 0.8 or 0.95; 0 = none; None = not asked.

    Raises:
        InputError: For another level, or if nothing is known of how sure the model is.
    """
    if level == 0 or (level is None and not uncertain(models)):
        return None
    if level is not None and level not in LEVELS:
        raise InputError(f"--interval {level:g}: choose from {', '.join(map(str, LEVELS))}, or 0 for none")
    if calibrations is not None and not calibrations.calibrated.fits.any():
        calibrations = None
    if calibrations is None and not uncertain(models):
        raise InputError(
            f"--interval {level:g}: the run predicts no variance and holds no calibration.json with at least 20 "
            "labels a tissue; give several runs, or train again"
        )
    return Interval(LEVELS[-1] if level is None else level, calibrations)


def interval_of(
    models: Sequence[IsoformModel], found: Distribution, wide: Interval
) -> tuple[tuple[FloatArray, FloatArray], str]:
    """Ends of the interval of every column, and what they are."""
    made = predictive(models, found)
    if wide.calibrations is not None:
        ends = wide.calibrations.calibrated.interval(made, wide.level)
        said = f"{wide.level:.0%}, calibrated on {wide.calibrations.source}"
    else:
        ends = claimed_interval(made, wide.level)
        said = f"{wide.level:.0%} by the model's own variance, not calibrated"
    return (ends[0].astype(np.float32), ends[1].astype(np.float32)), said
