"""Learn the start scores of a data set, once: kept in the user's cache and shared by all runs and seeds.

One scorer per fold of families, each from the training transcripts of the other folds. A cached scorer has the hash
of all that it was learnt from in its name, so a stale one is never used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cisoform.configs import config_to_json
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.start_profile import (
    ProfileWindow,
    StartProfileLoader,
    StartProfiles,
    fold_of_family,
    start_profiles,
)
from cisoform.errors import InputError
from cisoform.genome.files import user_cache_dir
from cisoform.models.start_score import StartScoreConfig, StartScorer, n_outputs
from cisoform.training.config import TrainConfig
from cisoform.training.loop import fit
from cisoform.training.protocols import Export, Interrupted, Progress
from cisoform.training.start_profile import StartProfileTask
from cisoform.weights.store import load_model, save_model

CACHE_PART = "start-scores"
FORMAT = 1
"""Part of every name in the cache; raise it when the same settings would give other scores."""

State = dict[str, Tensor]
logger = logging.getLogger(__name__)


def config_for(dataset: IsoformDataset, config: StartScoreConfig) -> StartScoreConfig:
    """The config with the number of scores that suits the data set.

    Raises:
        InputError: If no column is of transcripts: a gene's label does not tell its starts apart.
    """
    tissues = sum(column.level == "transcript" for column in dataset.columns)
    if not tissues:
        raise InputError(
            f"{dataset.path}: no column is of transcripts, so start scores cannot be learnt; "
            "set model.dna.starts=null"
        )
    return replace(config, outputs=n_outputs(tissues))


def fit_start_scores(
    dataset: IsoformDataset,
    config: StartScoreConfig,
    device: str = "auto",
    progress: Callable[[], Progress] | None = None,
    say: Callable[[str], None] | None = None,
) -> list[State]:
    """State of the scorer of each fold, from the cache or learnt now.

    Args:
        dataset: Its training rows are learnt from; the other rows' labels are not read.
        config: With the number of outputs set (`config_for`).
        device: As `resolve_device` takes it.
        progress: Makes what shows the training of one scorer.
        say: Called with a line before each that is learnt.

    Raises:
        InputError: If a fold leaves no training gene to learn from.
        Interrupted: After Ctrl-C; folds that are done stay in the cache.
    """
    fold = fold_of_family(dataset, config.folds)
    states = []
    for number in range(config.folds):
        profiles = start_profiles(dataset, fold == number, config.outputs)
        if not profiles.n_genes:
            raise InputError(
                f"{dataset.path}: no training gene is outside fold {number + 1} of {config.folds}, so start scores "
                "cannot be learnt; set model.dna.starts=null"
            )
        folder = user_cache_dir(CACHE_PART) / _key(dataset, config, number, profiles)
        with _locked(folder.with_suffix(".lock")):
            state = _cached(folder)
            if state is None:
                text = f"learning where transcription starts: part {number + 1} of {config.folds}"
                (say or logger.info)(text)
                task = _task(config, number)
                _learn(task, dataset, config, profiles, number, device, progress() if progress else None)
                shutil.rmtree(folder, ignore_errors=True)
                save_model(folder, task.model.state_dict(), task.export().config)
                state = _cached(folder)
        assert state is not None
        states.append(state)
    return states


def _key(dataset: IsoformDataset, config: StartScoreConfig, number: int, profiles: StartProfiles) -> str:
    parts = [FORMAT, dataset.hash, profiles.digest(), config_to_json(config), number]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time: another one that wants the same scorer waits for it rather than learning it too."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _cached(folder: Path) -> State | None:
    """The scorer there; a damaged one counts as none and is replaced."""
    try:
        return load_model(folder).state
    except InputError:
        return None


def _task(config: StartScoreConfig, number: int) -> StartProfileTask:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        scorer = StartScorer(config)
    described: dict[str, Any] = json.loads(config_to_json(config))
    return StartProfileTask(scorer, Export(config=described))


def _learn(
    task: StartProfileTask,
    dataset: IsoformDataset,
    config: StartScoreConfig,
    profiles: StartProfiles,
    number: int,
    device: str,
    progress: Progress | None,
) -> None:
    window = ProfileWindow(before=config.before, after=config.after, flank=config.reach, jitter=config.jitter)
    source = StartProfileLoader(dataset.samples, profiles, window, config.batch_size, seed=number)
    settings = TrainConfig(
        lr=config.lr,
        weight_decay=config.weight_decay,
        warmup_fraction=0.3,
        epochs=config.epochs,
        seed=number,
    )
    with tempfile.TemporaryDirectory(prefix=".run-", dir=user_cache_dir(CACHE_PART)) as run:
        try:
            fit(task, source, None, settings, Path(run), device=device, progress=progress, alone=True)
        except Interrupted:
            raise Interrupted(
                "stopped while start scores were learnt; give the same command again, parts that are done are kept"
            ) from None
