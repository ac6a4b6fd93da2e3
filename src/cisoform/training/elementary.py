"""Pre-training task of Elementary: hidden DNA and signal tokens (loss 1) and bins of preserved tracks (loss 2).

The total is the sum of three means: cross-entropy of hidden 6-mers, of hidden levels and of preserved bins (the
paper's two losses at weight 1). Level 1, an exact zero, is most of a genome: levels are weighted by one over the
square root of their frequency, at most 10. What the weights do to the predicted probabilities is undone when an
expected level is read (`posterior`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cisoform.batches import Places, RegionBatch
from cisoform.errors import InputError
from cisoform.models.creformer.elementary import SIGNAL_VOCABULARY
from cisoform.models.creformer.pretraining import ElementaryPretraining
from cisoform.training.protocols import Export, Loss, Monitor

FIRST_KMER = 4
_BASES_AFTER_FIRST = 4**5
_REAL = slice(1, 37)
"""Levels that are measured: 0 is "not measured", 37 the mask."""


@dataclass(frozen=True, kw_only=True)
class ElementaryLossConfig:
    """Weights of the parts of the loss.

    Attributes:
        dna: Of hidden 6-mers.
        tracks: Of hidden levels of shown tracks.
        bins: Of bins of preserved tracks.
        weight_cap: Largest weight of a level; 1 = all levels weigh the same.
        ordinal: Of the ranked probability score of levels (the squared difference of the predicted and the true
            cumulative distribution, summed over levels) beside their cross-entropy: a level that is nearly right
            then costs less than one far off, and neighbouring levels learn together.
    """

    dna: float = 1.0
    tracks: float = 1.0
    bins: float = 1.0
    weight_cap: float = 10.0
    ordinal: float = 0.0

    def __post_init__(self) -> None:
        if min(self.dna, self.tracks, self.bins) < 0 or self.dna + self.tracks + self.bins == 0:
            raise ValueError(f"dna={self.dna}, tracks={self.tracks}, bins={self.bins}: none may be negative")
        if self.ordinal < 0:
            raise ValueError(f"ordinal={self.ordinal} must be at least 0")
        if self.weight_cap < 1:
            raise ValueError(f"weight_cap={self.weight_cap} must be at least 1")


def class_weights(counts: Sequence[int], cap: float) -> Float[Tensor, " levels"]:
    """1 / sqrt(frequency) of each level, at most `cap`; `cap` for one that training never shows."""
    values = torch.tensor(counts, dtype=torch.float64)
    frequency = values / values.sum().clamp(min=1)
    return frequency.clamp(min=1 / cap**2).rsqrt().float()


def start_biases(counts: Sequence[int], weights: Float[Tensor, " levels"]) -> Float[Tensor, " levels"]:
    """Logits of the best constant answer under the weights; levels that never occur start low."""
    values = torch.tensor(counts, dtype=torch.float32)
    frequency = (values + 0.01) / (values.sum() + 0.01 * len(values))
    return (frequency * weights).log() - (frequency * weights).sum().log()


def posterior(
    logits: Float[Tensor, "places levels"], weights: Float[Tensor, " levels"]
) -> Float[Tensor, "places measured"]:
    """Probabilities of the 36 measured levels after the weights of the loss are divided out."""
    real = logits.float()[:, _REAL] - weights.to(logits.device).log()[_REAL]
    return real.softmax(dim=-1)


def expected_level(
    logits: Float[Tensor, "places levels"], weights: Float[Tensor, " levels"]
) -> Float[Tensor, " places"]:
    """Mean of the predicted distribution over the levels 1..36."""
    levels = torch.arange(1, SIGNAL_VOCABULARY - 1, dtype=torch.float32, device=logits.device)
    return posterior(logits, weights) @ levels


def first_base(kmers: Int[Tensor, " places"]) -> Int[Tensor, " places"]:
    """Code of the first base of 6-mer ids."""
    return torch.div(kmers - FIRST_KMER, _BASES_AFTER_FIRST, rounding_mode="floor")


def predicted_base(logits: Float[Tensor, "places vocab"]) -> Int[Tensor, " places"]:
    """Most probable first base: the probabilities of its 1,024 6-mers are added up."""
    by_base = logits.float()[:, FIRST_KMER:].reshape(len(logits), 4, _BASES_AFTER_FIRST)
    return by_base.logsumexp(dim=-1).argmax(dim=-1)


class ElementaryTask:
    """Trains an `ElementaryPretraining`; `Task` of the loop.

    Args:
        model: The model.
        level_counts: Per track {"tokens": ..., "bins": ...}, how often each level occurs in training data.
        config: Config of the model as a JSON object; saved beside the weights.
        files: Further JSON files to save.
        loss: Weights.
    """

    metrics: tuple[str, ...] = ("loss", "base_accuracy", "level_correlation", "bin_correlation")

    def __init__(
        self,
        model: ElementaryPretraining,
        level_counts: Mapping[str, Mapping[str, Sequence[int]]],
        *,
        config: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        loss: ElementaryLossConfig | None = None,
    ) -> None:
        self.model: nn.Module = model
        self.pretraining = model
        self.monitor = Monitor("loss", "min")
        self.loss_config = loss or ElementaryLossConfig()
        cap = self.loss_config.weight_cap
        self.token_weights = {name: class_weights(c["tokens"], cap) for name, c in level_counts.items()}
        self.bin_weights = {name: class_weights(c["bins"], cap) for name, c in level_counts.items()}
        self._export = Export(config=dict(config or {}), files=dict(files or {}))

    def loss(self, batch: RegionBatch) -> Loss:
        """Sum of the three means, carried by the number of windows."""
        logits = self.pretraining(batch)
        size = torch.tensor(float(len(batch)), device=batch.dna.device)
        parts = self._parts(batch, logits.dna, logits.tracks, logits.bins)
        config = self.loss_config
        mean = config.dna * parts[0] + config.tracks * parts[1] + config.bins * parts[2]
        return Loss(total=mean * size, weight=size)

    def _parts(
        self, batch: RegionBatch, dna: Tensor, tracks: Mapping[str, Tensor], bins: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        zero = dna.float().sum() * 0.0
        kmers = F.cross_entropy(dna.float(), batch.hidden_dna.target) if len(dna) else zero
        return (
            kmers,
            _weighted(tracks, batch.hidden_tracks, self.token_weights, zero, self.loss_config.ordinal),
            _weighted(bins, batch.preserved, self.bin_weights, zero, self.loss_config.ordinal),
        )

    def validate(self, batches: Iterable[RegionBatch]) -> dict[str, float]:
        """Mean loss; accuracy on hidden bases; correlation of expected and true level, mean over tracks."""
        config = self.loss_config
        loss, windows, right, bases = 0.0, 0, 0, 0
        levels: dict[str, list[tuple[Tensor, Tensor]]] = {}
        bins: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for batch in batches:
            logits = self.pretraining(batch)
            parts = self._parts(batch, logits.dna, logits.tracks, logits.bins)
            loss += len(batch) * float(
                config.dna * parts[0] + config.tracks * parts[1] + config.bins * parts[2]
            )
            windows += len(batch)
            right += int((predicted_base(logits.dna) == first_base(batch.hidden_dna.target)).sum())
            bases += len(batch.hidden_dna.target)
            for found, into, weights, places in (
                (logits.tracks, levels, self.token_weights, batch.hidden_tracks),
                (logits.bins, bins, self.bin_weights, batch.preserved),
            ):
                for name, values in found.items():
                    expected = expected_level(values, weights[name])
                    into.setdefault(name, []).append((expected.cpu(), places[name].target.cpu()))
        if not windows:
            raise InputError("the validation part has no window; is any region labelled 'valid'?")
        return {
            "loss": loss / windows,
            "base_accuracy": right / bases if bases else float("nan"),
            "level_correlation": _mean_correlation(levels),
            "bin_correlation": _mean_correlation(bins),
        }

    def export(self) -> Export:
        """Config of the model and its files."""
        return self._export


def _weighted(
    logits: Mapping[str, Tensor],
    places: Mapping[str, Places],
    weights: Mapping[str, Tensor],
    zero: Tensor,
    ordinal: float,
) -> Tensor:
    """Weighted loss of levels over the places of all tracks together; each track counts by its places."""
    total, weight = zero, torch.zeros((), device=zero.device)
    for name, values in logits.items():
        target, w = places[name].target, weights[name].to(values.device)
        total = total + F.cross_entropy(values.float(), target, weight=w, reduction="sum")
        if ordinal:
            total = total + ordinal * (w[target] * ranked_probability_score(values, target)).sum()
        weight = weight + w[target].sum()
    return total / weight.clamp(min=1e-9)


def ranked_probability_score(
    logits: Float[Tensor, "places levels"], target: Int[Tensor, " places"]
) -> Float[Tensor, " places"]:
    """Squared difference of the predicted and the true cumulative distribution, summed over the levels."""
    predicted = logits.float().softmax(dim=-1).cumsum(dim=-1)
    reached = torch.arange(logits.shape[-1], device=logits.device) >= target[:, None]
    return (predicted - reached.float()).square().sum(dim=-1)


def _mean_correlation(found: Mapping[str, Sequence[tuple[Tensor, Tensor]]]) -> float:
    values = []
    for pairs in found.values():
        expected = torch.cat([pair[0] for pair in pairs]).double()
        truth = torch.cat([pair[1] for pair in pairs]).double()
        if len(truth) > 1 and expected.std() > 0 and truth.std() > 0:
            values.append(float(torch.corrcoef(torch.stack([expected, truth]))[0, 1]))
    return sum(values) / len(values) if values else float("nan")
