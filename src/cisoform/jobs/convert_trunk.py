"""Convert a public Enformer or Borzoi checkpoint to a model folder of ours."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cisoform.models.encoders.enformer import Gamma
from cisoform.weights.trunks import TRUNK_NAMES, TrunkKind, read_trunk, save_trunk


def convert_trunk(
    source: str, out: Path, kind: TrunkKind, sha256: str | None = None, gamma: Gamma | None = None
) -> dict[str, Any]:
    """Read, check and write; returns what was found.

    Args:
        source: Folder of the public files, or hf://owner/name.
        out: Folder to write.
        kind: What the source must be.
        sha256: What its weights file must hash to; None = anything.
        gamma: Version of Enformer's gamma densities; None = what the checkpoint says.

    Raises:
        InputError: As `weights.trunks.read_trunk`; nothing is then left under `out`.
    """
    weights = read_trunk(source, kind, sha256, gamma)
    save_trunk(out, weights)
    return {
        "out": str(out),
        "name": TRUNK_NAMES[kind],
        "n_parameters": sum(value.numel() for value in weights.network().parameters()),
        "tracks": weights.heads,
        "sizes": {
            **asdict(weights.config),
            "out_dim": weights.config.out_dim,
            "bin_size": weights.config.bin_size,
        },
        **weights.about,
    }
