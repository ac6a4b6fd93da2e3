"""A network against a list of edges: area under precision-recall beside chance, early precision, sign, overlap.

Scores are dense (factors, genes). The pairs that count are those of two masks: factors and genes that are scored. A
list that is known to be whole (planted truth) is read over all factors; one that is not (CollecTRI) over the factors
that it names, because the others may have targets nobody wrote down. Ties share their rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import hypergeom, spearmanr

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Values = npt.NDArray[np.floating[Any]]

DRAWS = 1000
_MOST_WORK = 100_000_000


def average_precision(truth: Flags, score: Values, weight: Values | None = None) -> float:
    """Sum over distinct scores, from the highest, of precision x gain of recall; NaN without both kinds."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    one = np.ones(len(order)) if weight is None else weight[order].astype(np.float64)
    hits = np.cumsum(one * truth[order])[last]
    pairs = np.cumsum(one)[last]
    if not len(order) or hits[-1] <= 0 or hits[-1] >= pairs[-1]:
        return float("nan")
    gain = np.diff(hits, prepend=0.0) / hits[-1]
    return float((gain * hits / np.maximum(pairs, 1e-300)).sum())


def early_precision(truth: Flags, score: Values) -> float:
    """Precision among as many of the highest pairs as there are true ones; of tied pairs a like share counts."""
    k = int(truth.sum())
    if not k:
        return float("nan")
    edge = np.partition(score, len(score) - k)[len(score) - k]
    above, tied = score > edge, score == edge
    share = (k - above.sum()) / tied.sum()
    return float((truth[above].sum() + share * truth[tied].sum()) / k)


def edge_scores(
    score: Values, truth: Flags, factors: Flags, genes: Flags, seed: int = 0, draws: int = DRAWS
) -> dict[str, Any]:
    """How well a score ranks edges, with a 95 % interval over genes.

    Args:
        score: (factors, genes), higher = surer; 0 = no edge.
        truth: Which edges are listed.
        factors: Factors that count.
        genes: Genes that count.
        seed: Of the bootstrap.
        draws: Of it; fewer where there are very many pairs.
    """
    part = np.ix_(factors, genes)
    values, listed = score[part], truth[part]
    flat, right = values.reshape(-1), listed.reshape(-1)
    found: dict[str, Any] = {
        "n_factors": int(factors.sum()),
        "n_genes": int(genes.sum()),
        "n_edges": int(right.sum()),
    }
    if not right.any() or right.all():
        return {**found, "chance": None, "auprc": None, "interval": None, "auprc_ratio": None, **_early(None)}
    chance, area = float(right.mean()), average_precision(right, flat)
    early = early_precision(right, flat)
    return {
        **found,
        "chance": chance,
        "auprc": area,
        "interval": _interval(values, listed, seed, min(draws, _MOST_WORK // max(len(flat), 1))),
        "auprc_ratio": area / chance,
        **_early(early, chance),
    }


def _early(value: float | None, chance: float = 1.0) -> dict[str, float | None]:
    return {"early_precision": value, "early_precision_ratio": None if value is None else value / chance}


def _interval(values: Values, truth: Flags, seed: int, draws: int) -> list[float] | None:
    n = values.shape[1]
    if draws < 20 or n < 5:
        return None
    rng = np.random.default_rng([seed, 2])
    found = []
    for _ in range(draws):
        count = np.bincount(rng.integers(0, n, n), minlength=n)
        weight = np.broadcast_to(count.astype(np.float64), values.shape).reshape(-1)
        found.append(average_precision(truth.reshape(-1), values.reshape(-1), weight))
    known = np.array(found)[np.isfinite(found)]
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
    return [float(low), float(high)]


def sign_score(sign: Values, network: Flags, listed: Values, counts: Flags) -> dict[str, Any]:
    """Balanced share of right signs among listed edges of known sign that the network has.

    Args:
        sign: Of the network's edges (factors, genes).
        network: Its edges.
        listed: Signs of the list; 0 = none.
        counts: Pairs that count.
    """
    use = network & counts & (listed != 0) & (sign != 0)
    right = np.sign(sign) == np.sign(listed)
    shares = {name: use & (np.sign(listed) == one) for name, one in (("activating", 1), ("repressing", -1))}
    by = {name: float(right[rows].mean()) if rows.any() else None for name, rows in shares.items()}
    known = [value for value in by.values() if value is not None]
    return {
        "n": int(use.sum()),
        "balanced_accuracy": float(np.mean(known)) if known else None,
        **{f"{name}_right": value for name, value in by.items()},
    }


def overlap(
    ours: Flags,
    theirs: Flags,
    counts: Flags,
    signs: tuple[Values, Values] | None = None,
    strengths: tuple[Values, Values] | None = None,
) -> dict[str, Any]:
    """Two networks over the same pairs: shared edges beside those expected by chance.

    Args:
        ours: Our edges (factors, genes).
        theirs: Theirs.
        counts: Pairs that both could hold.
        signs: Signs of both; None = not known.
        strengths: Scores of both; None = not known.
    """
    a, b = ours & counts, theirs & counts
    shared, total = a & b, int(counts.sum())
    n_a, n_b, n_shared = int(a.sum()), int(b.sum()), int(shared.sum())
    expected = n_a * n_b / total if total else 0.0
    found: dict[str, Any] = {
        "n_pairs": total,
        "n_ours": n_a,
        "n_theirs": n_b,
        "n_shared": n_shared,
        "expected": expected,
        "fold": n_shared / expected if expected else None,
        "p": float(hypergeom.sf(n_shared - 1, total, n_a, n_b)) if n_a and n_b else None,
        "jaccard": n_shared / (n_a + n_b - n_shared) if n_a + n_b else None,
    }
    if signs is not None:
        known = shared & (signs[0] != 0) & (signs[1] != 0)
        same = np.sign(signs[0][known]) == np.sign(signs[1][known])
        found["sign_agreement"] = float(same.mean()) if len(same) else None
    if strengths is not None:
        found["spearman_of_strength"] = _spearman(strengths[0][shared], strengths[1][shared])
    return found


def _spearman(left: Values, right: Values) -> float | None:
    if len(left) < 3 or not np.ptp(left) or not np.ptp(right):
        return None
    return float(spearmanr(left, right).statistic)


def curve_points(score: Values, truth: Flags, most: int = 200) -> Mapping[str, list[float]]:
    """Recall and precision down to distinct scores, thinned for a figure."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    hits = np.cumsum(truth[order])[last]
    keep = np.unique(np.linspace(0, len(last) - 1, min(len(last), most)).round().astype(int))
    recall, precision = hits[keep] / max(hits[-1], 1), hits[keep] / (last[keep] + 1)
    return {"recall": recall.tolist(), "precision": precision.tolist()}
