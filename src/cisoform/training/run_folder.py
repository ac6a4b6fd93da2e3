"""The folder of a run: `config.json` says what it is, so that it is never overwritten or resumed as another run.

config.json   what was asked for: training settings, description (recipe, seed, data set hash ...), version
log.csv       one row per logged step
last/         the checkpoint to resume from
model/        the best weights so far, ready to load
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cisoform import __version__
from cisoform.errors import InputError
from cisoform.genome.files import read_json, write_error, write_json
from cisoform.training.checkpoint import FOLDER
from cisoform.training.config import TrainConfig
from cisoform.training.log import LOG_FILE

FORMAT = 1
CONFIG_FILE = "config.json"
MODEL_FOLDER = "model"
DATASET_KEY = "dataset_hash"
# Settings that change how long a process works, not what it computes.
# Jobs describe a run by its whole recipe, in which the training settings stand once more.
_FREE = {"train.max_minutes", "run.settings.train.max_minutes"}

logger = logging.getLogger(__name__)


def open_run(run_dir: Path, config: TrainConfig, description: Mapping[str, Any], resume: bool) -> None:
    """Make a new run's folder, or check that the folder's run is the one to resume.

    Args:
        run_dir: Folder of the run.
        config: Training settings.
        description: Whatever else defines the run, as JSON: recipe, overrides, seed, `dataset_hash` ...
        resume: Whether a run is expected there.

    Raises:
        InputError: If a run is there and is not to be resumed; or none is there to resume; or it differs, with
            the names of the differing keys and both values.
    """
    path = run_dir / CONFIG_FILE
    content = {
        "format": FORMAT,
        "cisoform": __version__,
        "train": asdict(config),
        "run": dict(description),
    }
    content = json.loads(json.dumps(content, allow_nan=False))
    if resume:
        _check_same(path, content)
        _remove_leftovers(run_dir)
        return
    for name in (CONFIG_FILE, LOG_FILE, FOLDER, MODEL_FOLDER):
        if (run_dir / name).exists():
            raise InputError(
                f"{run_dir}: already holds a run ({name}); continue it with --resume or choose another folder"
            )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(run_dir, error) from None
    write_json(path, content)


def _check_same(path: Path, content: Mapping[str, Any]) -> None:
    if not path.exists():
        raise InputError(
            f"{path.parent}: holds no run to resume ({CONFIG_FILE} is missing); start without --resume"
        )
    before = read_json(path, "run configuration")
    if not isinstance(before, dict) or before.get("format") != FORMAT:
        raise InputError(f"{path}: is not a run configuration of format {FORMAT}; choose the folder of a run")
    if before.get("cisoform") != content["cisoform"]:
        logger.warning(
            "%s: the run was started by cisoform %s and continues with %s; results may differ in the last digits",
            path.parent,
            before.get("cisoform"),
            content["cisoform"],
        )
    old = _flatten({"train": before.get("train", {}), "run": before.get("run", {})})
    new = _flatten({"train": content["train"], "run": content["run"]})
    different = [
        key for key in sorted({*old, *new} - _FREE) if old.get(key, _ABSENT) != new.get(key, _ABSENT)
    ]
    data = f"run.{DATASET_KEY}"
    if data in different:
        raise InputError(
            f"{path.parent}: the run was trained on another data set: its hash is {_show(old, data)} in the run and "
            f"{_show(new, data)} now; resume with the data set it was started on, or start a new run"
        )
    if different:
        pairs = ", ".join(
            f"{key} is {_show(old, key)} in the run and {_show(new, key)} now" for key in different
        )
        raise InputError(
            f"{path}: --resume with another configuration: {pairs}; give the same settings or start a new run"
        )


_ABSENT = object()


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested objects as `a.b.c` keys; lists and other leaves stay whole."""
    if not isinstance(value, dict) or (prefix and not value):
        return {prefix: value}
    result: dict[str, Any] = {}
    for key, item in value.items():
        result |= _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return result


def _show(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "absent"


def _remove_leftovers(run_dir: Path) -> None:
    """Tidy up after a killed process: half-written files go, a model that was just being replaced comes back."""
    model = run_dir / MODEL_FOLDER
    for old in run_dir.glob(f"{MODEL_FOLDER}.old-*"):
        if model.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.replace(model)
    for path in [*run_dir.glob("*.partial-*"), *run_dir.glob(f"{FOLDER}/.*.partial-*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
