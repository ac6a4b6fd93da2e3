"""How well rankings of factors agree with a list, over bootstraps, and on permuted labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cisoform.analysis.masters import (
    Ints,
    MasterConfig,
    Numbers,
    Ranking,
    Step,
    one_vs_rest,
    ranks,
    standardised,
)


def permutations(label: Ints, config: MasterConfig) -> Iterator[Ints]:
    """Labels in random order."""
    rng = np.random.default_rng([config.seed, 2])
    for _ in range(config.n_permutations):
        yield rng.permutation(label)


@dataclass(frozen=True)
class Agreement:
    """How well rankings hold what a list names; every field over the labels of the list.

    Attributes:
        recall: Share of a label's listed factors among the first k (at most k of them can be), mean over labels.
        mrr: Mean over labels of 1 / place of the first listed factor.
        n_labels: Labels with a listed factor among the candidates.
    """

    recall: float
    mrr: float
    n_labels: int


def agreement(coefficient: Numbers, known: Mapping[int, Sequence[int]], k: int) -> Agreement:
    """Recall at k and mean reciprocal rank.

    Args:
        coefficient: (labels, factors).
        known: By label, the factors that a list names.
        k: Length of the head.
    """
    place = ranks(coefficient)
    recalls, firsts = [], []
    for label, factors in known.items():
        at = place[label, list(factors)]
        recalls.append((at <= k).sum() / min(k, len(at)))
        firsts.append(1 / at.min())
    nothing = float("nan")
    return Agreement(
        float(np.mean(recalls)) if recalls else nothing,
        float(np.mean(firsts)) if firsts else nothing,
        len(recalls),
    )


def judge(
    ranking: Ranking,
    values: Numbers | None,
    label: Ints,
    known: Mapping[int, Sequence[int]],
    config: MasterConfig,
    common: bool = False,
    step: Step | None = None,
) -> dict[str, object]:
    """Agreement with a list, its interval over the bootstraps, and the same on permuted labels.

    Args:
        ranking: The ranking.
        values: What it was made from; None = no permutations.
        label: Of every cell.
        known: As in `agreement`.
        config: See `MasterConfig`.
        common: How columns are scaled.
        step: Called after every permutation.
    """
    own = agreement(ranking.coefficient, known, config.k)
    drawn = [agreement(draw, known, config.k) for draw in ranking.draws]
    found: dict[str, object] = {"recall": own.recall, "mrr": own.mrr, "n_labels": own.n_labels}
    for name in ("recall", "mrr"):
        each = [getattr(one, name) for one in drawn]
        found[f"{name}_interval"] = np.quantile(each, (0.025, 0.975)).tolist() if each else None
    if values is None or not config.n_permutations:
        return found
    scaled, chance = standardised(values, common), []
    for mixed in permutations(label, config):
        chance.append(
            agreement(one_vs_rest(scaled, mixed, len(ranking.coefficient), config.c), known, config.k)
        )
        if step is not None:
            step()
    for name in ("recall", "mrr"):
        each = [getattr(one, name) for one in chance]
        own_value = getattr(own, name)
        found[f"permuted_{name}"] = float(np.mean(each))
        found[f"{name}_p"] = (1 + sum(value >= own_value for value in each)) / (1 + len(each))
    return found
