"""Rows of different lengths as one rectangle with a mask; in small integers, which models widen themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def pad_rows(
    rows: Sequence[npt.NDArray[Any]], pad: int, dtype: npt.DTypeLike = np.int8, width: int | None = None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Rows written from the left into a rectangle.

    Args:
        rows: Ids of each row, of any lengths (0 included).
        pad: Id written where a row has ended.
        dtype: Type of the result; it must hold every id.
        width: Columns of the result; None = the longest row, at least 1.

    Returns:
        Ids `(rows, width)` and the mask of the same shape, True where an id is real.
    """
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    longest = int(lengths.max(initial=0))
    width = max(longest, 1) if width is None else width
    if longest > width:
        raise ValueError(f"row of {longest} tokens does not fit into width={width}")
    ids = np.full((len(rows), width), pad, dtype=dtype)
    for row, values in enumerate(rows):
        ids[row, : len(values)] = values
    return ids, np.arange(width) < lengths[:, None]
