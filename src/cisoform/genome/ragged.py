"""Many sequences of different lengths in one array: `data` holds them end to end, `offsets` cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Ragged:
    """Row i is `data[offsets[i]:offsets[i + 1]]`; `offsets` has one entry more than there are rows."""

    data: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        return self.data[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of every row."""
        return np.diff(self.offsets)

    def take(self, rows: npt.NDArray[np.int64]) -> Ragged:
        """The given rows, in the given order (a copy)."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        source = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Ragged(self.data[source], offsets)

    @classmethod
    def from_rows(cls, rows: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> Ragged:
        """Lay the given rows end to end."""
        lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        data = (
            np.concatenate([np.asarray(row, dtype=dtype) for row in rows])
            if len(rows)
            else np.empty(0, dtype)
        )
        return cls(data.astype(dtype, copy=False), offsets)
