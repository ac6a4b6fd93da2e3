"""A trained IsoFormer with what belongs to it: the columns it predicts, its normaliser and how it reads samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cisoform.configs import config_from_json, config_to_json
from cisoform.data.isoform_dataset import Column, find_column
from cisoform.data.loader import IsoformLoader, LoaderConfig
from cisoform.data.samples import IsoformSamples
from cisoform.data.signal import ReadTracks
from cisoform.data.targets import TargetNormaliser
from cisoform.errors import InputError
from cisoform.genome.files import read_json
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig
from cisoform.training.device import resolve_device
from cisoform.training.isoform import log_variances
from cisoform.training.protocols import Export
from cisoform.weights.store import MANIFEST_FILE, WEIGHTS_FILE, load_model, save_model

LOADER_FILE, NORMALISER_FILE, ABOUT_FILE = "loader.json", "normaliser.json", "about.json"
TRACKS_FILE = "tracks.json"
KIND = "isoformer"

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class IsoformModel:
    """One trained model.

    Attributes:
        model: The network, in evaluation mode.
        loader: How samples were shown in training.
        normaliser: From standardised to log1p expression; names the columns.
        columns: What the columns are (level and unit).
        about: Recipe, seed, data set hash and other provenance.
        tracks: Epigenome tracks that it reads; None = none.
        weights: SHA-256 of the file of its weights; "" = it was not read from one.
    """

    model: IsoFormer
    loader: LoaderConfig
    normaliser: TargetNormaliser
    columns: list[Column]
    about: dict[str, Any]
    tracks: ReadTracks | None = None
    weights: str = ""

    @property
    def gaussian(self) -> bool:
        """Whether it predicts a variance of every label beside the mean (`training.isoform`, "gaussian")."""
        return self.model.config.tissues == 2 * len(self.columns)

    @property
    def tissues(self) -> list[str]:
        """Names of the transcript-level columns, as they stand in the expression table."""
        return [column.name for column in self.columns if column.level == "transcript"]

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> IsoformModel:
        """Read a run or a saved model.

        Raises:
            InputError: If there is no model, it is damaged, or it is one of another kind.
        """
        stored = load_model(path)
        about = stored.files.get(ABOUT_FILE, {})
        if about.get("kind") != KIND or LOADER_FILE not in stored.files:
            raise InputError(
                f"{stored.folder}: is not an IsoFormer but {about.get('kind')!r}; give another model"
            )
        text, where = json.dumps(stored.config), str(stored.folder / "config.json")
        model = IsoFormer(config_from_json(IsoFormerConfig, text, where))
        expected = model.state_dict()
        wrong = sorted({*expected} ^ {*stored.state}) or [
            name for name, value in expected.items() if value.shape != stored.state[name].shape
        ]
        if wrong:
            raise InputError(
                f"{stored.folder}: {wrong[0]} does not fit config.json; the folder mixes two models"
            )
        model.load_state_dict(stored.state)
        loader = config_from_json(
            LoaderConfig, json.dumps(stored.files[LOADER_FILE]), str(stored.folder / LOADER_FILE)
        )
        normaliser = TargetNormaliser.from_json(
            stored.files.get(NORMALISER_FILE), str(stored.folder / NORMALISER_FILE)
        )
        columns = [Column(**column) for column in about["columns"]]
        tracks = stored.files.get(TRACKS_FILE)
        read = None if tracks is None else ReadTracks.from_json(tracks, str(stored.folder / TRACKS_FILE))
        digest = read_json(stored.folder / MANIFEST_FILE)["sha256"][WEIGHTS_FILE]
        return cls(model.eval().to(resolve_device(device)), loader, normaliser, columns, about, read, digest)

    def save(self, path: str | Path) -> None:
        """Write the model as a folder of safetensors and JSON."""
        files = {} if self.tracks is None else {TRACKS_FILE: self.tracks.to_json()}
        export = export_of(self.model.config, self.loader, self.normaliser, self.columns, self.about, files)
        save_model(path, self.model.state_dict(), export.config, export.files)

    def index(self, tissue: str) -> int:
        """Position of a tissue among the model's columns.

        Raises:
            InputError: If it has none of that name; the near ones are named.
        """
        return find_column(tissue, [column.name for column in self.columns], "the model")


def parsed(text: str) -> Any:
    """JSON text as plain values."""
    return json.loads(text)


def export_of(
    config: IsoFormerConfig,
    loader: LoaderConfig,
    normaliser: TargetNormaliser,
    columns: Sequence[Column],
    about: dict[str, Any],
    files: Mapping[str, Any] | None = None,
) -> Export:
    """The JSON files that make the weights a usable model."""
    described = [{"name": c.name, "level": c.level, "unit": c.unit} for c in columns]
    return Export(
        config=parsed(config_to_json(config)),
        files={
            LOADER_FILE: parsed(config_to_json(loader)),
            NORMALISER_FILE: normaliser.to_json(),
            ABOUT_FILE: {**about, "kind": KIND, "columns": described},
            **(files or {}),
        },
    )


@dataclass(frozen=True)
class Distribution:
    """What models say of labels, log1p, `(models, rows, columns)`: means and, if all models predict them, variances."""

    means: FloatArray
    variances: FloatArray | None


def predict(
    models: Sequence[IsoformModel],
    samples: IsoformSamples,
    rows: npt.NDArray[np.integer] | None = None,
    average: int = 1,
    update: Any = None,
    strict: bool = True,
) -> FloatArray:
    """Predicted log1p expression, `(models, transcripts, columns)`; see `predict_distribution`."""
    return predict_distribution(models, samples, rows, average, update, strict).means


def predict_distribution(
    models: Sequence[IsoformModel],
    samples: IsoformSamples,
    rows: npt.NDArray[np.integer] | None = None,
    average: int = 1,
    update: Any = None,
    strict: bool = True,
) -> Distribution:
    """Predicted log1p expression of every model, which must have the same columns.

    Args:
        models: One model, or the members of an ensemble.
        samples: Transcripts to predict; their order is kept.
        rows: Which of them; None = all.
        average: 1 = the window as it is; N = the mean over N windows whose start moves by up to the jitter of
            training (at least 8 bases), of which the first is the unmoved one.
        update: Called as `update(done, total)`.
        strict: Refuse a transcript that has nothing a model reads; else it gets the model's constant, as an
            ablation on one modality needs for transcripts without it.

    Raises:
        InputError: If the models differ in columns, or a transcript has no modality that a model reads.
    """
    if len({model.normaliser.columns for model in models}) != 1:
        raise InputError(
            "the models predict different tissues; give runs that were trained on the same columns"
        )
    picked = np.arange(samples.n) if rows is None else np.asarray(rows)
    if strict:
        _check_readable(models, samples, picked)
    passes = [(model, turn) for model in models for turn in range(average)]
    total = len(passes) * len(picked)
    done = 0
    means = np.zeros((len(models), len(picked), len(models[0].columns)), dtype=np.float64)
    variances = np.zeros_like(means)
    place = np.empty(samples.n, dtype=np.int64)
    place[picked] = np.arange(len(picked))
    for number, (model, turn) in enumerate(passes):
        jitter = max(8, model.loader.augmentation.tss_jitter) if turn else 0
        config = model.loader.for_evaluation(jitter)
        device = next(model.model.parameters()).device
        with torch.inference_mode():
            names = model.normaliser.columns
            loader = IsoformLoader(samples, picked, config, seed=turn, shuffle=False, columns=names)
            for batch in loader.epoch():
                output, at = model.model(batch.to(device)).float(), place[batch.index.numpy()]
                values = output.cpu().numpy()[:, : len(model.columns)]
                means[number // average, at] += model.normaliser.to_log1p(values)
                if model.gaussian:
                    own = torch.exp(log_variances(output)).cpu().numpy()
                    variances[number // average, at] += own * np.square(model.normaliser.std)
                done += len(batch)
                if update is not None:
                    update(done, total)
    found = (variances / average).astype(np.float32) if all(model.gaussian for model in models) else None
    return Distribution((means / average).astype(np.float32), found)


def _check_readable(
    models: Sequence[IsoformModel], samples: IsoformSamples, rows: npt.NDArray[np.integer]
) -> None:
    for model in models:
        read = [n for n in model.loader.modalities if getattr(model.model.config, n) is not None]
        readable = np.any([samples.has(name)[rows] for name in read], axis=0)
        if not readable.all():
            first = samples.transcript_ids[int(rows[np.argmin(readable)])]
            raise InputError(
                f"transcript {first!r} and {int((~readable).sum()) - 1} more have none of {', '.join(read)}, "
                "which is all that the model reads; leave them out or give the missing sequence"
            )


def on_device(model: IsoformModel, device: str) -> IsoformModel:
    """The same model on another device."""
    return replace(model, model=model.model.to(resolve_device(device)))
