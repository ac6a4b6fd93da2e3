"""Scores of a pre-trained Elementary beside what needs no model, for seen and unseen chromosomes and samples.

Hidden bases count once each, by the token that starts there; hidden levels by tokens all of whose bases are hidden.
Beside them stand `majority`, the commonest class of the training regions, and `neighbour`: for levels the nearest
visible token of the track, for bases the commonest base at that distance from the nearest three visible ones in
training. Bins of a preserved track are predicted from the other tracks, from the anchor and from DNA alone, beside
`training_mean`: the mean of the training samples (without the scored one) at the same place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cisoform.batches import RegionBatch
from cisoform.benchmark.context import ContextLookup, nearest_visible
from cisoform.data.region_loader import AUTO, assemble, find_anchor, fixed_windows
from cisoform.data.regions import BIN_SIZE, RegionDataset
from cisoform.errors import InputError
from cisoform.tokens.masking import HidingConfig
from cisoform.training.elementary import (
    ElementaryTask,
    expected_level,
    first_base,
    posterior,
    predicted_base,
)

Values = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Update = Callable[[int, int], None]
DNA_MASK, SIGNAL_MASK = 3, 37
LEVELS = np.arange(1, 37)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is scored.

    Attributes:
        length: Tokens of a window (or the longest shorter one that fits).
        tokens: Most tokens of each part and pass, taken evenly from its regions.
        batch_tokens: Tokens a batch.
        hiding: Spans to hide.
        anchor: As of the loader.
        seed: Of what is hidden.
    """

    length: int = 1024
    tokens: int = 2**17
    batch_tokens: int = 16_384
    hiding: HidingConfig = field(default_factory=HidingConfig)
    anchor: str | None = AUTO
    seed: int = 0

    def __post_init__(self) -> None:
        if self.length < BIN_SIZE or self.length % BIN_SIZE:
            raise InputError(f"--length {self.length}: must be a multiple of {BIN_SIZE}")
        if self.tokens < 1:
            raise InputError(f"--tokens {self.tokens}: must be at least 1")


def evaluate_elementary(
    task: ElementaryTask,
    dataset: RegionDataset,
    split: str,
    config: EvaluationConfig,
    update: Update | None = None,
) -> dict[str, Any]:
    """All scores; see the module. Parts without a region are None.

    Args:
        task: The model, in evaluation mode, and the weights of its levels.
        dataset: Regions whose tracks the model knows.
        split: "test": four parts, of which "seen chromosome, seen sample" are training regions; else one part.
        config: Windows and amounts.
        update: Called as `update(done, total)`.

    Raises:
        InputError: If the split has no region.
    """
    parts = parts_of(dataset, split)
    config = replace(config, length=min(config.length, dataset.window))
    named = config.anchor in (None, AUTO, *dataset.tracks)
    anchor = find_anchor(config.anchor if named else None, dataset.tracks)
    lookup = _fit_lookup(dataset, config)
    done, total = 0, sum(rows is not None for rows in parts.values())
    found: dict[str, Any] = {}
    with torch.inference_mode():
        for number, (name, rows) in enumerate(parts.items()):
            if rows is None:
                found[name] = None
                continue
            scorer = _Part(task, dataset, rows, replace(config, seed=config.seed * 8 + number), anchor)
            found[name] = {
                "n_regions": len(rows),
                "n_windows": len(scorer.windows),
                "hidden": scorer.hidden(lookup),
                "preserved": scorer.preserved(),
            }
            done += 1
            if update is not None:
                update(done, total)
    return {"split": split, "window_tokens": config.length, "anchor": anchor, "parts": found}


def parts_of(dataset: RegionDataset, split: str) -> dict[str, Ints | None]:
    """Rows of the parts that are scored, by name; None for a part without a region.

    Raises:
        InputError: If the split has no region.
    """
    if not len(dataset.rows(split)):
        raise InputError(
            f"{dataset.path}: no region is in split {split!r}; choose another, or build with held-out chromosomes "
            "or samples"
        )
    if split != "test":
        return {split: dataset.rows(split)}
    used = (dataset.regions["split"] != "valid").to_numpy()
    chrom, sample = dataset.regions["seen_chrom"].to_numpy(), dataset.regions["seen_sample"].to_numpy()
    word = {True: "seen", False: "unseen"}
    found: dict[str, Ints | None] = {}
    for c in (True, False):
        for s in (True, False):
            rows = np.flatnonzero(used & (chrom == c) & (sample == s))
            found[f"{word[c]} chromosome, {word[s]} sample"] = rows if len(rows) else None
    return found


def _fit_lookup(dataset: RegionDataset, config: EvaluationConfig) -> ContextLookup:
    """Context frequencies from training regions (of any split, where there is none)."""
    rows = dataset.rows("train")
    rows = rows if len(rows) else dataset.rows("all")
    windows = fixed_windows(dataset, rows, config.length, max(config.tokens, 2**20))
    return ContextLookup.fit(dataset.dna(int(r), int(s), config.length) for r, s in windows)


class _Part:
    """Scores of one set of regions."""

    def __init__(
        self,
        task: ElementaryTask,
        dataset: RegionDataset,
        rows: Ints,
        config: EvaluationConfig,
        anchor: str | None,
    ) -> None:
        self.task, self.dataset, self.config, self.anchor = task, dataset, config, anchor
        self.windows = fixed_windows(dataset, rows.astype(np.int64), config.length, config.tokens)
        self.device = next(task.model.parameters()).device
        self._places: list[tuple[str, int]] = list(dataset.regions.select("chrom", "start").iter_rows())
        self._samples: list[str] = dataset.regions["sample"].to_list()
        self._at: dict[tuple[str, int], list[int]] = {}
        for row, place in enumerate(self._places):
            if self._samples[row] in dataset.train_samples:
                self._at.setdefault(place, []).append(row)

    def _batches(self, hiding: HidingConfig | None, shown: npt.NDArray[np.bool_]) -> Iterator[RegionBatch]:
        size = max(1, self.config.batch_tokens // self.config.length)
        for begin in range(0, len(self.windows), size):
            regions, starts = self.windows[begin : begin + size].T
            rng = np.random.default_rng([self.config.seed, begin])
            selected = self.dataset.measured[regions] & shown
            yield assemble(
                self.dataset, regions.copy(), starts.copy(), self.config.length, selected, rng, hiding
            )

    def hidden(self, lookup: ContextLookup) -> dict[str, Any]:
        """Hidden bases and levels, all tracks shown."""
        truth: list[Ints] = []
        guesses: dict[str, list[Ints]] = {"model": [], "neighbour": [], "majority": []}
        tracks = {name: _Levels() for name in self.dataset.tracks}
        every = np.ones(len(self.dataset.tracks), dtype=np.bool_)
        for batch in self._batches(self.config.hiding, every):
            logits = self.task.pretraining(batch.to(self.device))
            truth.append(first_base(batch.hidden_dna.target).numpy())
            guesses["model"].append(predicted_base(logits.dna).cpu().numpy())
            codes = np.stack(
                [
                    self.dataset.dna(int(r), int(s), self.config.length)
                    for r, s in zip(batch.region, batch.start, strict=True)
                ]
            )
            at = np.unravel_index(batch.hidden_dna.index.numpy(), batch.dna.shape)
            guesses["neighbour"].append(lookup.predict(codes, batch.dna.numpy() == DNA_MASK)[at])
            guesses["majority"].append(np.full(len(at[0]), lookup.majority))
            for name, values in logits.tracks.items():
                tracks[name].add(
                    batch.hidden_tracks[name].target.numpy(),
                    posterior(values, self.task.token_weights[name]).cpu().numpy(),
                    values.float()[:, 1:37].argmax(dim=-1).cpu().numpy() + 1,
                    expected_level(values, self.task.token_weights[name]).cpu().numpy(),
                    nearest_visible(batch.tracks[name].numpy(), SIGNAL_MASK)[
                        np.unravel_index(batch.hidden_tracks[name].index.numpy(), batch.dna.shape)
                    ],
                )
        bases = np.concatenate(truth)
        accuracy = {name: _share(np.concatenate(found) == bases) for name, found in guesses.items()}
        return {
            "bases": {"n": len(bases), "accuracy": accuracy},
            "tracks": {
                name: levels.scores(self._majority(name)) for name, levels in tracks.items() if levels.truth
            },
        }

    def _majority(self, name: str) -> int:
        counts = self.dataset.level_counts[name]["tokens"]
        return int(np.argmax(counts[1:37])) + 1

    def preserved(self) -> dict[str, Any]:
        """Bins of every track: from the others, from the anchor alone, from DNA alone."""
        tracks = self.dataset.tracks
        found: dict[str, Any] = {name: {} for name in tracks}
        for index, name in enumerate(tracks):
            if len(tracks) > 1:
                self._one_pass(found, "other_tracks", np.arange(len(tracks)) != index, [name])
        if self.anchor is not None:
            alone = np.array([name == self.anchor for name in tracks])
            rest = [name for name in tracks if name != self.anchor]
            if rest:
                self._one_pass(found, "anchor_alone", alone, rest)
        self._one_pass(found, "dna_alone", np.zeros(len(tracks), dtype=np.bool_), tracks)
        return {name: scores for name, scores in found.items() if scores}

    def _one_pass(
        self,
        found: dict[str, Any],
        by: str,
        shown: npt.NDArray[np.bool_],
        wanted: Sequence[str],
    ) -> None:
        bins = {name: _Bins() for name in wanted}
        for batch in self._batches(None, shown):
            logits = self.task.pretraining(batch.to(self.device))
            for name in wanted:
                if name in logits.bins:
                    self._add_bins(bins[name], batch, name, logits.bins[name])
        for name, values in bins.items():
            if values.predicted:
                found[name][by] = values.scores()

    def _add_bins(self, into: _Bins, batch: RegionBatch, name: str, logits: torch.Tensor) -> None:
        track, length = self.dataset.tracks.index(name), self.config.length
        n_bins = length // BIN_SIZE
        rows = batch.preserved[name].index.numpy()[::n_bins] // n_bins
        share = posterior(logits, self.task.bin_weights[name]).cpu().numpy()
        centres = level_centres(self.dataset.edges[name])
        into.predicted.append(share @ LEVELS)
        into.predicted_signal.append(share @ centres)
        for row in rows:
            region, start = int(batch.region[row]), int(batch.start[row])
            into.observed.append(self.dataset.bin_levels(region, start, length)[track].astype(np.float64))
            into.observed_signal.append(np.arcsinh(self.dataset.means(region, start, length)[track]))
            others = self._training_regions(region, track)
            if others:
                levels = [self.dataset.bin_levels(other, start, length)[track] for other in others]
                means = [np.arcsinh(self.dataset.means(other, start, length)[track]) for other in others]
                into.mean.append(np.mean(levels, axis=0))
                into.mean_signal.append(np.mean(means, axis=0))
            else:
                into.mean.append(np.full(n_bins, np.nan))
                into.mean_signal.append(np.full(n_bins, np.nan))

    def _training_regions(self, region: int, track: int) -> list[int]:
        """Regions of other training samples at the same place that have the track."""
        return [
            other
            for other in self._at.get(self._places[region], [])
            if self._samples[other] != self._samples[region] and self.dataset.measured[other, track]
        ]


class _Levels:
    """Hidden levels of a track: truth, and what each predictor says."""

    def __init__(self) -> None:
        self.truth: list[Ints] = []
        self.best: list[Ints] = []
        self.balanced: list[Ints] = []
        self.expected: list[Values] = []
        self.near: list[Ints] = []

    def add(self, truth: Ints, share: Values, balanced: Ints, expected: Values, near: Ints) -> None:
        """Places of a batch; `balanced` is the best level under the weights of the loss, for macro-F1."""
        self.truth.append(truth)
        self.balanced.append(balanced)
        self.best.append(share.argmax(axis=1) + 1)
        self.expected.append(expected)
        self.near.append(near)

    def scores(self, majority: int) -> dict[str, Any]:
        truth = np.concatenate(self.truth)
        near = np.concatenate(self.near)
        near = np.where(near == 0, majority, near)
        constant = np.full(len(truth), majority)
        guesses = {
            "model": (
                np.concatenate(self.best),
                np.concatenate(self.balanced),
                np.concatenate(self.expected),
            ),
            "neighbour": (near, near, near),
            "majority": (constant, constant, constant),
        }
        return {
            "n": len(truth),
            "accuracy": {name: _share(best == truth) for name, (best, _, _) in guesses.items()},
            "macro_f1": {name: macro_f1(truth, best) for name, (_, best, _) in guesses.items()},
            "correlation": {name: pearson(truth, level) for name, (_, _, level) in guesses.items()},
        }


class _Bins:
    """Preserved bins of a track: observed, predicted, and the mean of the training samples."""

    def __init__(self) -> None:
        self.observed: list[Values] = []
        self.observed_signal: list[Values] = []
        self.predicted: list[Values] = []
        self.predicted_signal: list[Values] = []
        self.mean: list[Values] = []
        self.mean_signal: list[Values] = []

    def scores(self) -> dict[str, Any]:
        observed, predicted, mean = (np.concatenate(v) for v in (self.observed, self.predicted, self.mean))
        signal, predicted_signal, mean_signal = (
            np.concatenate(v) for v in (self.observed_signal, self.predicted_signal, self.mean_signal)
        )
        both = ~np.isnan(mean)
        return {
            "n_bins": len(observed),
            "pearson": {"model": pearson(observed, predicted)},
            "n_bins_with_mean": int(both.sum()),
            "pearson_where_mean": {
                "model": pearson(observed[both], predicted[both]),
                "training_mean": pearson(observed[both], mean[both]),
            },
            "pearson_arcsinh_where_mean": {
                "model": pearson(signal[both], predicted_signal[both]),
                "training_mean": pearson(signal[both], mean_signal[both]),
            },
            "partial_given_mean": partial_correlation(observed[both], predicted[both], mean[both]),
        }


def _share(right: npt.NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if len(right) else None


def pearson(a: Values | Ints, b: Values | Ints) -> float | None:
    """Pearson correlation; None with fewer than two values or a constant side."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1])


def partial_correlation(a: Values, b: Values, given: Values) -> float | None:
    """Correlation of a and b after what `given` explains linearly is taken out of both."""
    ab, ac, bc = pearson(a, b), pearson(a, given), pearson(b, given)
    if ab is None or ac is None or bc is None or max(abs(ac), abs(bc)) >= 1 - 1e-12:
        return None
    return float((ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2)))


def macro_f1(truth: Ints, predicted: Ints) -> float | None:
    """Mean F1 over the classes that occur in the truth."""
    if not len(truth):
        return None
    size = int(max(truth.max(), predicted.max())) + 1
    hits = np.bincount(truth[truth == predicted], minlength=size)
    total = np.bincount(truth, minlength=size) + np.bincount(predicted, minlength=size)
    present = np.bincount(truth, minlength=size) > 0
    return float((2 * hits[present] / total[present]).mean())


def level_centres(edges: Sequence[float]) -> npt.NDArray[np.float64]:
    """Inverse hyperbolic sine of a typical mean of each level: 0, half the first edge, midpoints, over the last."""
    cuts = np.asarray(edges)
    middle = (cuts[:-1] + cuts[1:]) / 2
    return np.asarray(np.arcsinh(np.concatenate([[0.0, cuts[0] / 2], middle, [1.2 * cuts[-1]]])))
