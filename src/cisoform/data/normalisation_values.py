"""`normalization_values.csv` of the released data set: mean and standard deviation of the labels of every tissue.

The form of the file was not seen; both that are likely are read: a row for each tissue with a column of means and one
of deviations, or a column for each tissue and a row of each. What the labels are before they are standardised is a
logarithm of TPM whose base and offset are not published.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cisoform.data.targets import TargetNormaliser
from cisoform.errors import InputError
from cisoform.genome.files import open_text

RELEASED_TISSUES = (
    *(
        "Adipose Tissue",
        "Adrenal Gland",
        "Bladder",
        "Blood",
        "Blood Vessel",
        "Brain",
        "Breast",
        "Cervix Uteri",
    ),
    *("Colon", "Esophagus", "Fallopian Tube", "Heart", "Kidney", "Liver", "Lung", "Muscle", "Nerve", "Ovary"),
    *("Pancreas", "Pituitary", "Prostate", "Salivary Gland", "Skin", "Small Intestine", "Spleen", "Stomach"),
    *("Testis", "Thyroid", "Uterus", "Vagina"),
)
"""Label columns of the released table in their order, which is that of a model's outputs."""

_MEAN = {"mean", "means", "mu", "average"}
_STD = {"std", "stds", "sd", "sigma", "stddev", "std_dev", "standard deviation", "standard_deviation"}


def read_normalisation_values(path: str | Path, n_outputs: int) -> TargetNormaliser:
    """The normaliser of a model's outputs.

    Args:
        path: The file; tissues in the order of the outputs, but the released ones in any order.
        n_outputs: How many outputs the model has.

    Raises:
        InputError: If the file is in neither form, a value is no number, or tissues are too many or too few.
    """
    with open_text(path, "normalisation values") as handle:
        rows = [
            [cell.strip() for cell in row] for row in csv.reader(handle) if any(cell.strip() for cell in row)
        ]
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        raise InputError(f"{path}: is no table of at least two rows of one length; give the released file")
    names, means, stds = _by_row(path, rows) or _by_row(path, _turned(rows)) or _unknown_form(path, rows)
    if len(names) != n_outputs:
        raise InputError(
            f"{path}: has {len(names)} tissues, the model has {n_outputs} outputs; is it of this model?"
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: tissue {twice!r} stands there twice")
    if {*names} == {*RELEASED_TISSUES}:
        order = [names.index(name) for name in RELEASED_TISSUES]
        names, means, stds = list(RELEASED_TISSUES), [means[i] for i in order], [stds[i] for i in order]
    return TargetNormaliser(tuple(names), np.array(means), np.array(stds))


def _turned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _by_row(
    path: str | Path, rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[float], list[float]] | None:
    """Names, means and deviations of a table with a row for each tissue; None if it is none."""
    header = [cell.lower() for cell in rows[0]]
    mean, std = ([n for n, cell in enumerate(header) if cell in words] for words in (_MEAN, _STD))
    if len(mean) != 1 or len(std) != 1:
        return None
    body, used = rows[1:], {*mean, *std}
    texts = [n for n in range(len(header)) if n not in used and not all(_is_number(row[n]) for row in body)]
    if texts:
        names = [row[texts[0]] for row in body]
    elif len(body) == len(RELEASED_TISSUES):
        names = list(RELEASED_TISSUES)
    else:
        raise InputError(f"{path}: names no tissues, and has not the {len(RELEASED_TISSUES)} released ones")
    found = [
        (_number(path, name, row[mean[0]], False), _number(path, name, row[std[0]], True))
        for name, row in zip(names, body, strict=True)
    ]
    return names, [value for value, _ in found], [value for _, value in found]


def _unknown_form(
    path: str | Path, rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[float], list[float]]:
    begin = ", ".join(rows[0][:4])
    raise InputError(
        f"{path}: begins with {begin!r}, without a column or row called mean and one called std; name them so"
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number(path: str | Path, name: str, text: str, positive: bool) -> float:
    if not _is_number(text) or (positive and float(text) <= 0):
        kind = "a standard deviation above 0" if positive else "a number"
        raise InputError(f"{path}: tissue {name!r}: {text!r} is not {kind}")
    return float(text)
