"""What an Elementary encoder is shown of a start: its 6-mers, alone and with the tracks of each sample.

View 0 is the sequence alone; view i adds the tracks of one sample. A label column reads one view, so each tissue can
read its own tracks and a tissue without tracks reads the sequence as if there were none. A start in a view is a state
with a number of its own, by which an encoder can look up what it has computed before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.data.signal import Levels, PromoterSignal
from cisoform.data.windows import DnaSource
from cisoform.genome.sequence import reverse_complement
from cisoform.tokens.peaks import SIGNAL_ABSENT, K, dna_tokens

IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class PromoterViews:
    """Views of the starts of some samples.

    Attributes:
        dna: Their windows.
        signal: Their tracks; None = none are shown.
        window: 6-mers of a window.
        upstream: Bases of it before the first transcribed base; None = half.
        tracks: Tracks that are shown, in this order.
        samples: Sample of `signal` that each view from 1 on shows.
        of_column: View of each label column.
    """

    dna: DnaSource
    signal: PromoterSignal | None
    window: int
    upstream: int | None
    tracks: tuple[str, ...]
    samples: tuple[int, ...]
    of_column: tuple[int, ...]

    @classmethod
    def of(
        cls,
        dna: DnaSource,
        signal: PromoterSignal | None,
        window: int,
        upstream: int | None,
        tracks: Sequence[str] | None,
        columns: Sequence[str],
    ) -> PromoterViews:
        """The views that the columns read.

        Args:
            dna: Windows of the starts.
            signal: Tracks along them, or None.
            window: 6-mers of a window.
            upstream: See the class.
            tracks: Names in the order of the model; None = all of `signal`.
            columns: Label columns; each reads the sample of its name.
        """
        wanted = tuple((signal.tracks if signal else ()) if tracks is None else tracks)
        plain = (0,) * len(columns)
        if signal is None or not set(wanted) & set(signal.tracks):
            return cls(dna, None, window, upstream, wanted, (), plain)
        read = signal.views(columns)
        used = sorted(set(read) - {0})
        view = {0: 0} | {number: place for place, number in enumerate(used, 1)}
        samples = tuple(number - 1 for number in used)
        return cls(dna, signal, window, upstream, wanted, samples, tuple(view[number] for number in read))

    @property
    def n_views(self) -> int:
        """Views of a start."""
        return 1 + len(self.samples)

    def states(self, rows: IntArray, views: IntArray) -> npt.NDArray[np.int64]:
        """Number of each start in each view."""
        return np.asarray(rows, dtype=np.int64) * self.n_views + views

    def sequence(
        self, rows: IntArray, shift: IntArray | int = 0, flipped: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.int16]:
        """6-mer ids `(len(rows), window)`; a 6-mer that holds N, or lies beyond a chromosome's end, is 0.

        Args:
            rows: Starts.
            shift: Bases by which each window moves downstream.
            flipped: Rows that are read on the other strand; None = none.
        """
        upstream = self.window // 2 if self.upstream is None else self.upstream
        codes = self.dna.window(rows, self.window + K - 1, shift, upstream)
        if flipped is not None:
            codes[flipped] = reverse_complement(codes[flipped])
        return dna_tokens(codes).astype(np.int16)

    def levels(
        self, rows: IntArray, shift: IntArray | int = 0, flipped: npt.NDArray[np.bool_] | None = None
    ) -> Levels:
        """Levels `(views, len(rows), tracks, window)`, all 0 in view 0; arguments as `sequence`."""
        out = np.full((self.n_views, len(rows), len(self.tracks), self.window), SIGNAL_ABSENT, dtype=np.uint8)
        if self.signal is not None and self.samples:
            found = self.signal.take(self.tracks, rows, self.window, shift, self.upstream)
            out[1:] = found[:, list(self.samples)].swapaxes(0, 1)
        if flipped is not None:
            out[:, flipped] = out[:, flipped, :, ::-1]
        return out
