"""Convert a public ESM-2 or NT-v2 checkpoint to a model folder of ours."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cisoform.weights.rotary import NAMES, Kind, read_rotary, save_rotary


def convert_rotary(source: str, out: Path, kind: Kind, sha256: str | None = None) -> dict[str, Any]:
    """Read, check and write; returns what was found.

    Args:
        source: Folder of the public files, or hf://owner/name.
        out: Folder to write.
        kind: What the source must be.
        sha256: What its weights file must hash to; None = anything.

    Raises:
        InputError: As `weights.rotary.read_rotary`; nothing is then left under `out`.
    """
    weights = read_rotary(source, kind, sha256)
    save_rotary(out, weights)
    return {
        "out": str(out),
        "name": NAMES[kind],
        "n_parameters": sum(value.numel() for value in weights.state.values()),
        "head": weights.head,
        "sizes": asdict(weights.config),
        **weights.about,
    }
