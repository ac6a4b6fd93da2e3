"""Training targets: log1p of expression, standardised per column on training rows, with the inverse kept.

Missing labels stay NaN. The paper says only "log, then standardised"; log1p of TPM is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError

TRANSFORM = "log1p"
_MIN_STD = 1e-6

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class TargetNormaliser:
    """Mean and standard deviation of log1p expression of every column, from training rows alone."""

    columns: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]

    @classmethod
    def fit(
        cls, expression: FloatArray, train_rows: npt.NDArray[np.integer], columns: Sequence[str]
    ) -> TargetNormaliser:
        """Statistics of the training rows; no other row is looked at.

        Args:
            expression: Linear expression `(rows, columns)`, NaN = missing.
            train_rows: Rows to use.
            columns: Name of each column.

        Raises:
            InputError: If a column has fewer than two labels, or one value only, among the training rows.
        """
        if expression.shape[1] != len(columns):
            raise ValueError(f"{len(columns)} column names for {expression.shape[1]} columns")
        values = np.log1p(np.asarray(expression[train_rows], dtype=np.float64))
        counts = np.isfinite(values).sum(axis=0)
        for name, count in zip(columns, counts, strict=True):
            if count < 2:
                raise InputError(
                    f"column {name!r}: {count} of {len(train_rows)} training transcripts have a value, at "
                    "least 2 are needed; leave the column out with --tissues or change the split"
                )
        mean = np.nanmean(values, axis=0)
        std = np.nanstd(values, axis=0)
        for name, spread, value in zip(columns, std, mean, strict=True):
            if spread < _MIN_STD:
                raise InputError(
                    f"column {name!r}: every training transcript has the value {np.expm1(value):.6g}, there is "
                    "nothing to learn; leave the column out with --tissues"
                )
        return cls(tuple(columns), mean, std)

    def transform(self, expression: FloatArray) -> npt.NDArray[np.float32]:
        """Linear expression to standardised log1p; NaN stays NaN."""
        return self.standardise(np.log1p(np.asarray(expression, dtype=np.float64)))

    def standardise(self, log1p_expression: FloatArray) -> npt.NDArray[np.float32]:
        """The log1p scale to the standardised one."""
        return ((log1p_expression - self.mean) / self.std).astype(np.float32)

    def to_log1p(self, standardised: FloatArray) -> npt.NDArray[np.float32]:
        """The standardised scale (what a model gives) to the log1p scale (what users read)."""
        return (np.asarray(standardised, dtype=np.float64) * self.std + self.mean).astype(np.float32)

    def inverse(self, standardised: FloatArray) -> npt.NDArray[np.float32]:
        """The standardised scale to linear expression; what would be negative is 0."""
        return np.maximum(np.expm1(self.to_log1p(standardised)), 0).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads back without loss."""
        return {
            "transform": TRANSFORM,
            "columns": list(self.columns),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
        }

    @classmethod
    def from_json(cls, value: Any, source: str = "normaliser") -> TargetNormaliser:
        """Read `to_json`'s form.

        Args:
            value: The parsed JSON.
            source: File it is from, for messages.

        Raises:
            InputError: If a part is missing, of a wrong length, or the transform is another one.
        """
        try:
            columns, transform = tuple(value["columns"]), value["transform"]
            mean = np.array(value["mean"], dtype=np.float64)
            std = np.array(value["std"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{source}: not a target normaliser ({error!r}); train again") from None
        if transform != TRANSFORM:
            raise InputError(f"{source}: transform {transform!r} is unknown here; expected {TRANSFORM!r}")
        if not (mean.shape == std.shape == (len(columns),)) or not (std > 0).all():
            raise InputError(
                f"{source}: {len(columns)} columns but mean {mean.shape} and std {std.shape}; the file is damaged"
            )
        return cls(columns, mean, std)
