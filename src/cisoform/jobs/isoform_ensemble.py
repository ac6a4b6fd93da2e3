"""An ensemble of IsoFormers: the same recipe from several seeds, in one folder, calibrated together and one by one.

    OUT/seed-0, OUT/seed-1, ...   runs like any other
    OUT/ensemble.json             lists them: OUT then stands for all of them wherever runs are taken
    OUT/calibration.json          how sure they are together (`jobs.isoform_uncertainty`)

Members share what is kept on disk: features of frozen encoders and scores of start sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.genome.files import write_json
from cisoform.jobs.isoform_model import IsoformModel
from cisoform.jobs.isoform_uncertainty import ENSEMBLE_FILE, Calibrations, calibrate, write_calibration
from cisoform.training.run_folder import CONFIG_FILE


def member_folders(out: str | Path, seed: int, count: int) -> dict[int, Path]:
    """Folder of each member's run by its seed; a single run lies in `out` itself.

    Raises:
        InputError: If `out` holds a single run and an ensemble is asked for, or the other way round.
    """
    out = Path(out)
    if count == 1:
        if (out / ENSEMBLE_FILE).exists() or any(out.glob(f"seed-*/{CONFIG_FILE}")):
            raise InputError(f"{out}: holds an ensemble; give --ensemble too, or choose another folder")
        return {seed: out}
    if (out / CONFIG_FILE).exists():
        raise InputError(f"{out}: holds a single run; choose another folder for an ensemble")
    return {number: out / f"seed-{number}" for number in range(seed, seed + count)}


def calibrate_runs(
    folders: Sequence[Path], dataset: IsoformDataset, out: str | Path, device: str = "auto"
) -> Calibrations:
    """Calibrate finished runs on the validation part, each and all together, and keep it beside them.

    Args:
        folders: Of the runs.
        dataset: That they were trained on.
        out: Folder of the ensemble; that of the run if there is one only.
        device: As everywhere.

    Raises:
        InputError: If a run has no model.
    """
    models = [IsoformModel.load(folder, device) for folder in folders]
    together, *each = calibrate(models, dataset, each=len(models) > 1)
    for folder, model, found in zip(folders, models, each, strict=False):
        write_calibration(folder, [model], found)
    write_calibration(out, models, together)
    if len(models) > 1:
        write_json(Path(out) / ENSEMBLE_FILE, {"members": [folder.name for folder in folders]})
    return together
