"""The resumable state of a run: `last/state.json` and the safetensors file it names, with the SHA-256 of both.

A checkpoint counts once `state.json` has been renamed into place; the tensors it names were complete on disk before
that, and the previous ones are removed after. So a run killed at any moment, or a disk that fills, leaves a whole
checkpoint: the new one or the one before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cisoform.errors import InputError
from cisoform.genome.files import read_json, write_error, write_json
from cisoform.training.optim import Ema, named_groups
from cisoform.weights.store import read_tensors, write_tensors

FORMAT = 1
FOLDER = "last"
STATE_FILE = "state.json"


@dataclass
class LoopState:
    """What a checkpoint holds besides tensors: a position, the sums since the log's last row, the best so far.

    `epoch` and `batch` are the position of the next batch; `logged` is the last step whose row and validation are
    done, so a run stopped during a validation begins with it.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    logged: int = 0
    loss: float = 0.0
    weight: float = 0.0
    samples: float = 0.0
    flops: float = 0.0
    active_s: float = 0.0
    seconds: float = 0.0
    best_step: int | None = None
    best: dict[str, float] = field(default_factory=dict)
    without_gain: int = 0
    ended: Literal["finished", "early"] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """Loop state (a JSON object) and tensors, as saved."""

    state: dict[str, Any]
    tensors: dict[str, Tensor]


def save_checkpoint(run_dir: Path, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Replace the run's checkpoint; `state["step"]` names it.

    Raises:
        InputError: If it cannot be written; the previous checkpoint is then untouched.
    """
    folder = run_dir / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from None
    name = f"tensors-{state['step']:09d}.safetensors"
    if name == _tensor_file(folder):
        name = f"tensors-{state['step']:09d}b.safetensors"
    content = {"format": FORMAT, "state": dict(state)}
    content["tensors"] = {"file": name, "sha256": write_tensors(folder / name, tensors)}
    try:
        write_json(folder / STATE_FILE, {**content, "sha256": _digest(content)})
    except InputError:
        (folder / name).unlink(missing_ok=True)
        raise
    for old in folder.glob("*tensors-*"):
        if old.name != name:
            old.unlink(missing_ok=True)


def load_checkpoint(run_dir: Path) -> Checkpoint | None:
    """The run's checkpoint, or None if it has none yet.

    Raises:
        InputError: If a file is damaged (names the file and both hashes) or of another format.
    """
    path = run_dir / FOLDER / STATE_FILE
    if not path.exists():
        return None
    content = read_json(path, "checkpoint")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise InputError(
            f"{path}: checkpoint format {found!r} is not {FORMAT}; use the version that wrote it"
        )
    recorded = content.pop("sha256", None)
    if recorded != _digest(content):
        raise InputError(
            f"{path}: the file is damaged or was changed: sha256 is {_digest(content)}, but {recorded} was "
            "recorded; copy it again from its source"
        )
    tensors = content["tensors"]
    return Checkpoint(content["state"], read_tensors(path.parent / tensors["file"], tensors["sha256"]))


def collect_tensors(model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema | None) -> dict[str, Tensor]:
    """Everything of a run that is a tensor, under names that say whose it is."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    for name in [name for group in named_groups(model) for name in group]:
        for key, value in optimiser.state.get(parameters[name], {}).items():
            tensors[f"optimiser.{name}.{key}"] = value
    if ema is not None:
        tensors |= {f"ema.{name}": value for name, value in ema.shadow.items()}
    return tensors


def restore_tensors(
    tensors: Mapping[str, Tensor], model: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema | None
) -> None:
    """Put the tensors of `collect_tensors` back.

    Raises:
        InputError: If they are of another model; names the first parameter that differs.
    """
    weights = _part(tensors, "model.")
    _check_same_model(weights, model)
    model.load_state_dict(weights)
    saved = _part(tensors, "optimiser.")
    state: dict[int, dict[str, Tensor]] = {}
    index_of = {name: i for i, name in enumerate([name for group in named_groups(model) for name in group])}
    for full_name, value in saved.items():
        name, _, key = full_name.rpartition(".")
        state.setdefault(index_of[name], {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    if ema is not None:
        ema.load(_part(tensors, "ema."))


def _check_same_model(weights: Mapping[str, Tensor], model: nn.Module) -> None:
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in [*expected, *(name for name in found if name not in expected)]:
        if expected.get(name) != found.get(name):
            raise InputError(
                f"the checkpoint is of another model: {name} has shape {found.get(name, 'nothing')} in it and "
                f"{expected.get(name, 'nothing')} in the model; resume with the recipe the run was started with"
            )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _tensor_file(folder: Path) -> str | None:
    """Name of the tensor file that the present checkpoint uses; None if there is no readable one."""
    try:
        return str(read_json(folder / STATE_FILE)["tensors"]["file"])
    except (InputError, KeyError, TypeError):
        return None


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
