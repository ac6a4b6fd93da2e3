"""R2 and Spearman per column with missing labels, for validation while training.

Both are unchanged by the normalisation of a column, so the values in the model's standardised space are those of
log1p expression.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Values = npt.NDArray[np.floating]


def column_r2(observed: Values, predicted: Values) -> npt.NDArray[np.float64]:
    """Share of each column's variance that the prediction explains; below 0 if worse than the column's mean.

    Args:
        observed: (rows, columns), NaN where a label is missing.
        predicted: (rows, columns).

    Returns:
        One value per column; NaN for a column with fewer than two labels or with equal ones.
    """
    return np.array([_r2(*_present(observed, predicted, j)) for j in range(observed.shape[1])])


def column_spearman(observed: Values, predicted: Values) -> npt.NDArray[np.float64]:
    """Rank correlation of each column, ties sharing their mean rank; arguments as `column_r2`.

    Returns:
        One value per column; NaN where `column_r2` is NaN, and 0 for a constant prediction, which ranks nothing.
    """
    return np.array([_spearman(*_present(observed, predicted, j)) for j in range(observed.shape[1])])


def _present(observed: Values, predicted: Values, column: int) -> tuple[Values, Values]:
    present = ~np.isnan(observed[:, column])
    return observed[present, column].astype(np.float64), predicted[present, column].astype(np.float64)


def _r2(observed: Values, predicted: Values) -> float:
    if len(observed) < 2 or np.ptp(observed) == 0:
        return float("nan")
    return float(1.0 - np.square(observed - predicted).sum() / np.square(observed - observed.mean()).sum())


def _spearman(observed: Values, predicted: Values) -> float:
    if len(observed) < 2 or np.ptp(observed) == 0 or np.isnan(predicted).any():
        return float("nan")
    if np.ptp(predicted) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(observed), rankdata(predicted))[0, 1])
