"""How well rankings of factors agree with a list, over bootstraps, and on permuted labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cisoform.analysis.masters import Numbers, Ranking, ranks


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


def judge(ranking: Ranking, known: Mapping[int, Sequence[int]], k: int) -> dict[str, object]:
    """Agreement with a list, its interval over the bootstraps, and that of permuted labels.

    Args:
        ranking: The ranking; bootstraps and permutations are used where it has them.
        known: As in `agreement`.
        k: Length of the head.
    """
    own = agreement(ranking.coefficient, known, k)
    drawn = [agreement(draw, known, k) for draw in ranking.draws]
    chance = [agreement(mixed, known, k) for mixed in ranking.permuted]
    found: dict[str, object] = {"recall": own.recall, "mrr": own.mrr, "n_labels": own.n_labels}
    for name in ("recall", "mrr"):
        each = [getattr(one, name) for one in drawn]
        found[f"{name}_interval"] = np.quantile(each, (0.025, 0.975)).tolist() if each else None
        if chance:
            mixed = [getattr(one, name) for one in chance]
            own_value = getattr(own, name)
            found[f"permuted_{name}"] = float(np.mean(mixed))
            found[f"{name}_p"] = (1 + sum(value >= own_value for value in mixed)) / (1 + len(mixed))
    return found
