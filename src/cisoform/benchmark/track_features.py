"""Features of the baselines from epigenome tracks: mean level of every track in bins round the start."""

from __future__ import annotations

import numpy as np
from einops import reduce
from jaxtyping import Int

from cisoform.benchmark.baselines import TRACK_SOURCE
from cisoform.benchmark.features import FeatureTable
from cisoform.data.samples import IsoformSamples

BIN_BP, N_BINS = 128, 4
_CHUNK = 1024


def with_tracks(table: FeatureTable, samples: IsoformSamples, rows: Int[np.ndarray, " rows"]) -> FeatureTable:
    """The features and, where the samples have tracks, those of the 256 bases on either side of the start.

    A feature is the mean level of one track of one sample in a bin of 128 bases; levels are nearly logarithmic in the
    signal. Transcripts without DNA have NaN there.
    """
    if samples.signal is None:
        return table
    signal, starts = samples.signal, samples.dna_row[rows]
    names = tuple(
        f"{sample}.{track} {place * BIN_BP - BIN_BP * N_BINS // 2}"
        for sample in signal.samples
        for track in signal.tracks
        for place in range(N_BINS)
    )
    distinct, which = np.unique(starts[starts >= 0], return_inverse=True)
    found = [
        reduce(
            signal.source.levels(distinct[begin : begin + _CHUNK], BIN_BP * N_BINS).astype(np.float32),
            "starts samples tracks (bins bases) -> starts (samples tracks bins)",
            "mean",
            bases=BIN_BP,
        )
        for begin in range(0, len(distinct), _CHUNK)
    ]
    values = np.full((len(rows), len(names)), np.nan, dtype=table.values.dtype)
    if found:
        values[starts >= 0] = np.concatenate(found)[which]
    return FeatureTable(
        np.concatenate([table.values, values], axis=1),
        (*table.names, *names),
        (*table.source, *[TRACK_SOURCE] * len(names)),
    )
