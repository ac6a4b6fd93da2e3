"""What stands in the folder of a run or of its scores: the training log as numbers, an evaluation as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cisoform.genome.files import write_json
from cisoform.training.log import LOG_FILE, read_log

EVALUATION = "evaluation.json"


def log_of(run: str | Path) -> list[Mapping[str, float | None]]:
    """Rows of a run's log; none where the folder is a model without one."""
    path = Path(run) / LOG_FILE
    if not path.exists():
        return []
    return [
        {name: float(value) if value not in ("", None) else None for name, value in row.items()}
        for row in read_log(path)
    ]


def write_evaluation(folder: Path, result: Mapping[str, Any]) -> None:
    """Write `evaluation.json` into a folder, made if missing; NaN is null.

    Raises:
        InputError: If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / EVALUATION, plain(result))


def plain(value: Any) -> Any:
    """The value as strict JSON knows it: numpy numbers as numbers, NaN and infinities as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
