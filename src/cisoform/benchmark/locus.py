"""Signals along one region: observed, predicted by an Elementary that was shown some tracks, and of other samples.

All are per bin of 128 bp, the inverse hyperbolic sine of the mean signal, as `benchmark.elementary` compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cisoform.benchmark.elementary import level_centres
from cisoform.data.region_loader import assemble
from cisoform.data.regions import BIN_SIZE, RegionDataset
from cisoform.training.elementary import ElementaryTask, posterior

Values = npt.NDArray[np.floating[Any]]
MOST_CANDIDATES = 200


@dataclass(frozen=True)
class LocusSignals:
    """Tracks of a region; (bins,) each, absent where the sample lacks the track.

    Attributes:
        region: Row of the data set.
        start: First base within the region.
        tokens: How long it is.
        observed: By track.
        predicted: By track that was not shown.
        training_mean: By track that was not shown: mean of the training samples, without the region's own, at the
            same place, where there are any.
    """

    region: int
    start: int
    tokens: int
    observed: dict[str, Values]
    predicted: dict[str, Values]
    training_mean: dict[str, Values]


def choose_region(
    dataset: RegionDataset, rows: npt.NDArray[np.integer[Any]], track: str | None, tokens: int
) -> tuple[int, int]:
    """Region and start of the stretch, among at most 200 regions evenly taken, with the most signal to see.

    What counts is the sum over bins of the inverse hyperbolic sine of a track (of all, without one): observed
    values alone, so that the choice cannot favour a model.

    Args:
        dataset: Where the regions are.
        rows: Regions to choose from; at least one.
        track: Which signal counts; None = all.
        tokens: Length of the stretch, a multiple of the bin size and no longer than a region.
    """
    index = list(range(len(dataset.tracks))) if track is None else [dataset.tracks.index(track)]
    width = tokens // BIN_SIZE
    best, found = -1.0, (int(rows[0]), 0)
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_CANDIDATES).round().astype(np.int64))]
    for region in chosen.tolist():
        signal = np.arcsinh(dataset.means(region, 0, dataset.window)[index]).sum(axis=0)
        sums = np.concatenate([[0.0], np.cumsum(signal)])
        totals = sums[width:] - sums[:-width]
        at = int(np.argmax(totals))
        if totals[at] > best:
            best, found = float(totals[at]), (region, at * BIN_SIZE)
    return found


@torch.inference_mode()
def read_locus(
    task: ElementaryTask,
    dataset: RegionDataset,
    region: int,
    start: int,
    tokens: int,
    shown: Sequence[str],
    window: int,
) -> LocusSignals:
    """Predict the tracks that are not shown, window by window.

    Args:
        task: The model, in evaluation mode.
        dataset: Where the region is.
        region: Its row.
        start: First base, a multiple of the bin size.
        tokens: Length, a multiple of the bin size.
        shown: Tracks of the input; none = DNA alone.
        window: Tokens that the model reads at once, a multiple of the bin size; the last window is shorter.
    """
    device = next(task.model.parameters()).device
    selected = np.array([[name in shown for name in dataset.tracks]])
    pieces: dict[str, list[Values]] = {}
    for at in range(start, start + tokens, window):
        length = min(window, start + tokens - at)
        rng = np.random.default_rng(0)  # nothing is hidden, so nothing is drawn
        batch = assemble(dataset, np.array([region]), np.array([at]), length, selected, rng, None)
        for name, logits in task.pretraining(batch.to(device)).bins.items():
            share = posterior(logits, task.bin_weights[name]).cpu().numpy()
            pieces.setdefault(name, []).append(share @ level_centres(dataset.edges[name]))
    measured = [name for name, there in zip(dataset.tracks, dataset.measured[region], strict=True) if there]
    signals = dict(zip(dataset.tracks, np.arcsinh(dataset.means(region, start, tokens)), strict=True))
    predicted = {name: np.concatenate(pieces[name]) for name in measured if name in pieces}
    return LocusSignals(
        region=region,
        start=start,
        tokens=tokens,
        observed={name: signals[name] for name in measured},
        predicted=predicted,
        training_mean=_means(dataset, region, start, tokens, list(predicted)),
    )


def _means(
    dataset: RegionDataset, region: int, start: int, tokens: int, names: Sequence[str]
) -> dict[str, Values]:
    table = dataset.regions
    place = table.select("chrom", "start").row(region)
    same = ((table["chrom"] == place[0]) & (table["start"] == place[1])).to_numpy()
    samples = table["sample"].to_list()
    others = [
        row
        for row in np.flatnonzero(same).tolist()
        if samples[row] != samples[region] and samples[row] in dataset.train_samples
    ]
    found = {}
    for name in names:
        track = dataset.tracks.index(name)
        values = [dataset.means(row, start, tokens)[track] for row in others if dataset.measured[row, track]]
        if values:
            found[name] = np.mean(np.arcsinh(values), axis=0)
    return found
