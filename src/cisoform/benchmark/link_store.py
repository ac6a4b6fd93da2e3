"""The combined model as one JSON file: settings, quantiles, coefficients, scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.benchmark.link_features import LEVELS, Reference
from cisoform.benchmark.link_model import FORMS, Form, LinkModel, LinkModelConfig
from cisoform.benchmark.logistic import Logistic
from cisoform.errors import InputError
from cisoform.genome.files import PathLike, read_json, write_json

FILE = "link_model.json"
FORMAT, VERSION = "cisoform combined link model", 1
_DIGITS = 6


def save_link_model(model: LinkModel, folder: PathLike) -> None:
    """Write `link_model.json` into a folder that exists.

    Raises:
        InputError: It cannot be written.
    """
    write_json(Path(folder) / FILE, to_plain(model))


def load_link_model(folder: PathLike | None = None) -> LinkModel:
    """Read a model from its folder (or its file); None = the one that comes with the package.

    Raises:
        InputError: There is none, or it is damaged or of another version.
    """
    if folder is None:
        text = resources.files("cisoform.benchmark").joinpath(FILE).read_text(encoding="utf-8")
        return from_plain(json.loads(text), "the model that comes with the package")
    path = Path(folder)
    if path.is_dir():
        if not (path / FILE).is_file():
            raise InputError(
                f"{path}: holds no {FILE}; give the folder of `regulation links --combine --train`"
            )
        path = path / FILE
    return from_plain(read_json(path, "combined link model"), str(path))


def to_plain(model: LinkModel) -> dict[str, Any]:
    """The model as JSON knows it; numbers with six digits."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "config": asdict(model.config),
        "about": _rounded(model.about),
        "columns": list(model.columns),
        "reference": {
            "quantiles": {name: _list(values) for name, values in model.reference.quantiles.items()},
            "offset": {name: _number(value) for name, value in model.reference.offset.items()},
        },
        "forms": {name: _form_to_plain(form) for name, form in model.forms.items()},
    }


def _form_to_plain(form: Form) -> dict[str, Any]:
    return {
        "features": list(form.features),
        "mean": _list(form.mean),
        "spread": _list(form.spread),
        "coefficients": _list(form.fit.coefficients),
        "intercept": _number(form.fit.intercept),
    }


def _rounded(value: Any) -> Any:
    """Plain values with all their numbers rounded, so that the file comes out the same on another machine."""
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _list(values: npt.NDArray[np.float64]) -> list[float]:
    return [_number(value) for value in values.tolist()]


def from_plain(value: Any, where: str) -> LinkModel:
    """The model of what `to_plain` gave.

    Raises:
        InputError: Something is missing, of another length, or no finite number.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f"{where}: is no combined link model")
    if value.get("version") != VERSION:
        raise InputError(
            f"{where}: is of version {value.get('version')!r}; this cisoform reads version {VERSION}"
        )
    try:
        reference = value["reference"]
        return LinkModel(
            config=LinkModelConfig(**value["config"]),
            reference=Reference(
                {name: _array(values, len(LEVELS)) for name, values in reference["quantiles"].items()},
                {name: float(offset) for name, offset in reference["offset"].items()},
            ),
            forms={name: _form(value["forms"][name]) for name in FORMS if name in value["forms"]},
            columns=tuple(value["columns"]),
            about=value["about"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}".strip()
        raise InputError(f"{where}: is damaged ({said}); train it again or copy it again") from None


def _form(value: Mapping[str, Any]) -> Form:
    features = tuple(value["features"])
    n = len(features)
    return Form(
        features=features,
        mean=_array(value["mean"], n),
        spread=_array(value["spread"], n),
        fit=Logistic(_array(value["coefficients"], n), float(value["intercept"])),
    )


def _array(values: Any, n: int) -> npt.NDArray[np.float64]:
    found = np.array(values, dtype=np.float64)
    if found.shape != (n,) or not np.isfinite(found).all():
        raise ValueError(f"{n} finite numbers are needed")
    return found
