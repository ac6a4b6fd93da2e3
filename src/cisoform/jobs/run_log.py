"""The training log of a run as numbers, for the reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cisoform.training.log import LOG_FILE, read_log


def log_of(run: str | Path) -> list[Mapping[str, float | None]]:
    """Rows of a run's log; none where the folder is a model without one."""
    path = Path(run) / LOG_FILE
    if not path.exists():
        return []
    return [
        {name: float(value) if value not in ("", None) else None for name, value in row.items()}
        for row in read_log(path)
    ]
