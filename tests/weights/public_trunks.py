"""Synthetic public checkpoints of Enformer and Borzoi: the names and shapes of the real packages, drawn values.

Names and shapes are those that `tests/peers/trunks.py` took from enformer-pytorch and borzoi-pytorch.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from tests.peers.drawn import drawn
from tests.weights.public_rotary import write as write_public

PEERS = Path(__file__).resolve().parents[1] / "peers" / "trunks.safetensors"
CASES = {"enformer": "enformer_small", "borzoi": "borzoi_small"}
ALIASES = {"stem": "1", "conv_tower": "2", "transformer": "4", "final_pointwise": "6"}


@lru_cache
def _about(kind: str) -> dict[str, Any]:
    with safe_open(str(PEERS), "pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()[CASES[kind]])
    return found


def trunk_config(kind: str, **changes: Any) -> dict[str, Any]:
    """A `config.json` as the packages write it, of a small network."""
    own = {"model_type": kind, "architectures": [kind.capitalize()], "torch_dtype": "float32"}
    if kind == "enformer":
        own |= {"dropout_rate": 0.4, "use_checkpointing": False, "use_convnext": False, "num_downsamples": 7}
    else:
        own |= {"return_center_bins_only": True, "enable_mouse_head": False, "dropout_rate": 0.2}
    return {**own, **_about(kind)["config"], **changes}


def trunk_tensors(kind: str, aliases: bool = True) -> dict[str, Tensor]:
    """Tensors under the public names; those of Enformer's trunk twice, as a saved state dict has them."""
    found = drawn(_about(kind)["shapes"])
    if kind == "enformer" and aliases:
        for name, value in list(found.items()):
            part, _, rest = name.partition(".")
            if part in ALIASES:
                found[f"_trunk.{ALIASES[part]}.{rest}"] = value.clone()
    return found


def write_trunk(folder: Path, kind: str, pickled: bool = False, **changes: Any) -> Path:
    """A folder like a public repository."""
    return write_public(folder, trunk_config(kind, **changes), trunk_tensors(kind), pickled)
