"""Does a score name the peaks that the prediction rests on? Deletion and insertion, beside other orders.

Deletion closes the open peaks of a gene from the highest score down (their signal to zero, the DNA stays) and follows
the prediction; insertion begins with all of them closed and opens them in that order. What is reported is the mean
absolute change over the steps: a good order changes much early. Beside it stand random orders, and the orders by
accessibility and by nearness to the TSS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from cisoform.analysis.inputs import PeakInputs, predict_edits
from cisoform.models.creformer import CREformer

STEPS = 10
RANDOM_ORDERS = 10
LEAST_OPEN = 3
"""Open peaks that a gene needs: with fewer every order is nearly the same."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Faithfulness:
    """Mean absolute change of the prediction, on the model's scale, of every usable sample.

    Attributes:
        sample: Rows of the inputs that have enough open peaks.
        deletion: By name of the order ("random" is the mean of several): one value a sample.
        insertion: Likewise.
    """

    sample: npt.NDArray[np.int64]
    deletion: dict[str, Floats]
    insertion: dict[str, Floats]


@torch.no_grad()
def faithfulness(
    model: CREformer,
    link: str,
    inputs: PeakInputs,
    closed: Float[Tensor, "batch slots dim"],
    scores: Mapping[str, Float[Tensor, "batch slots"]],
    rng: np.random.Generator,
) -> Faithfulness:
    """Follow the prediction while peaks are closed, and opened, in the order of each score.

    Args:
        model: In evaluation mode.
        link: As everywhere.
        inputs: The samples.
        closed: Vectors of the same peaks with a signal of zero.
        scores: By name; peaks are ordered by absolute value, so that signed scores count either way.
        rng: Of the random orders.
    """
    open_ = (inputs.mask & (inputs.vectors != closed).any(dim=-1)).cpu().numpy()
    sample = np.flatnonzero(open_.sum(axis=1) >= LEAST_OPEN)
    orders = {name: values.abs().cpu().numpy() for name, values in scores.items()}
    orders["accessibility"] = inputs.accessibility.cpu().numpy()
    distance = inputs.distance_bp.cpu().numpy()
    if not np.isnan(distance).any():
        orders["nearness"] = -np.abs(distance)
    for number in range(RANDOM_ORDERS):
        orders[f"random {number}"] = rng.random(open_.shape)
    made: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in orders}
    for row in sample.tolist():
        one = inputs.take(torch.tensor([row], device=inputs.mask.device))
        slots = np.flatnonzero(open_[row])
        places = {
            name: slots[np.argsort(-values[row, slots], kind="stable")] for name, values in orders.items()
        }
        for name, (gone, come) in _follow(model, link, one, closed[row], places).items():
            made[name][0].append(gone)
            made[name][1].append(come)
    return Faithfulness(sample, _joined(made, 0), _joined(made, 1))


def _follow(
    model: CREformer,
    link: str,
    one: PeakInputs,
    closed: Float[Tensor, "slots dim"],
    places: Mapping[str, npt.NDArray[np.int64]],
) -> dict[str, tuple[float, float]]:
    """Mean absolute change by deletion and by insertion along each order, in one go."""
    n_open = len(next(iter(places.values())))
    counts = sorted({max(1, round(n_open * step / STEPS)) for step in range(1, STEPS)} - {n_open})
    shut: list[set[int]] = [set(), set(next(iter(places.values())).tolist())]  # none, all
    for order in places.values():
        shut += [set(order[:count].tolist()) for count in counts]  # deletion
        shut += [set(order[count:].tolist()) for count in counts]  # insertion
    where = torch.zeros(len(shut), one.n_slots, dtype=torch.bool)
    for row, slots in enumerate(shut):
        where[row, sorted(slots)] = True
    where = where.to(one.mask.device)
    rows = torch.zeros(len(shut), dtype=torch.int64, device=where.device)
    vectors = closed[where.nonzero()[:, 1]]
    found = predict_edits(model, link, one, rows, where, vectors).cpu().double().numpy()
    whole, nothing, steps = found[0], found[1], found[2:].reshape(len(places), 2, len(counts))
    gone = np.abs(steps[:, 0] - whole).mean(axis=1)
    come = np.abs(steps[:, 1] - nothing).mean(axis=1)
    return {name: (float(gone[n]), float(come[n])) for n, name in enumerate(places)}


def _joined(made: Mapping[str, tuple[list[float], list[float]]], which: int) -> dict[str, Floats]:
    """Values by order, the random ones as their mean."""
    found = {name: np.array(values[which]) for name, values in made.items()}
    random = [found.pop(f"random {number}") for number in range(RANDOM_ORDERS)]
    return {**found, "random": np.mean(random, axis=0) if len(random[0]) else np.empty(0)}


def summary(
    parts: Sequence[Faithfulness], gene: npt.NDArray[np.int64], rng: np.random.Generator, draws: int = 1000
) -> dict[str, Any]:
    """Means over samples, and how far each order lies above the random one, with an interval over genes (null for one).

    Args:
        parts: Changes of every usable sample, batch by batch.
        gene: Gene of every usable sample; genes are drawn as wholes.
        rng: Of the draws.
        draws: Of the bootstrap.
    """
    if not len(gene):
        return {"n": 0}
    genes, code = np.unique(gene, return_inverse=True)
    weight = rng.multinomial(len(genes), np.full(len(genes), 1 / len(genes)), size=draws)
    out: dict[str, Any] = {"n": len(gene), "n_genes": len(genes), "steps": STEPS}
    for what in ("deletion", "insertion"):
        by_part = [getattr(part, what) for part in parts]
        common = [name for name in by_part[0] if all(name in part for part in by_part)]
        values = {name: np.concatenate([part[name] for part in by_part]) for name in common}
        rows: dict[str, Any] = {}
        for name, change in values.items():
            rows[name] = {"mean_change": float(change.mean())}
            if name == "random":
                continue
            more = change - values["random"]
            total = np.bincount(code, weights=more, minlength=len(genes))
            count = np.bincount(code, minlength=len(genes))
            drawn = (weight @ total) / (weight @ count)
            rows[name]["above_random"] = float(more.mean())
            rows[name]["interval"] = np.quantile(drawn, (0.025, 0.975)).tolist() if len(genes) > 1 else None
            rows[name]["share_above_random"] = float((more > 0).mean())
        out[what] = rows
    return out
