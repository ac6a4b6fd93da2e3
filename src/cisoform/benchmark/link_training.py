"""Train the combined model on a table of tested pairs, with scores on chromosomes it has not seen.

Two cross-validations: leave one chromosome out with the settings given, for every form; and, on request, a nested one
in which family and penalty are chosen anew within the other chromosomes of every held-out one. The nested figure is
the honest one for settings that were chosen on the same table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from cisoform.benchmark.link_features import Reference
from cisoform.benchmark.link_metrics import link_scores
from cisoform.benchmark.link_model import (
    FAMILIES,
    FORMS,
    LinkModel,
    LinkModelConfig,
    LinkPrediction,
    Training,
    features_of,
    fit_form,
)
from cisoform.benchmark.logistic import calibration, fit_logistic
from cisoform.data.tested_pairs import TestedPairs
from cisoform.errors import InputError

INNER_FOLDS = 5
GIVEAWAY_AUROC = 0.99
"""A single further column that ranks this well is taken for the answer under another name."""
CANDIDATES = tuple(
    LinkModelConfig(family=family, penalty=penalty) for family in FAMILIES for penalty in (0.3, 3.0, 30.0)
)
"""What the nested cross-validation chooses from."""

Array = npt.NDArray[np.float64]
Update = Callable[[int, int], None]


def train_links(
    pairs: TestedPairs, config: LinkModelConfig, columns: Sequence[str] = ()
) -> tuple[LinkModel, Array]:
    """Fit every form that the table has the signals for.

    Args:
        pairs: Tested pairs with answers, on at least three chromosomes.
        config: Settings.
        columns: Further columns of the table to use as features.

    Returns:
        The model, whose `about` holds the table and the scores of each form on chromosomes that were left out; and the
        held-out chances of the richest form.

    Raises:
        InputError: The table cannot be learned from, or a further column gives the answer away.
    """
    check_chromosomes(pairs)
    _refuse_giveaways(pairs, columns)
    reference = Reference.of(pairs)
    forms, chances, held_out = {}, {}, {}
    for name, signals in FORMS.items():
        if set(signals) <= set(reference.quantiles):
            training = Training.of(pairs, reference, name, columns)
            forms[name], logit = fit_form(training, features_of(config, name, columns), config.penalty)
            chances[name] = expit(logit)
            held_out[name] = _scores(pairs, chances[name])
    counts = {"pairs": len(pairs), "positives": int(pairs.truth().sum())}
    about = {"table_sha256": pairs.sha256, **counts, "left_out_chromosomes": held_out}
    model = LinkModel(config, reference, forms, tuple(columns), about)
    in_sample = model.predict(pairs).chance
    about["in_sample_auprc"] = link_scores(pairs.truth(), in_sample, pairs.gene_code)["auprc"]
    return model, next(iter(chances.values()))


def predict_fairly(model: LinkModel, pairs: TestedPairs) -> LinkPrediction:
    """Chances; for the very table that the model was trained on, from regressions without the pair's chromosome.

    Raises:
        InputError: As `LinkModel.predict`.
    """
    found = model.predict(pairs)
    if pairs.sha256 != model.about.get("table_sha256") or pairs.regulated is None:
        return found
    _, chance = train_links(pairs, model.config, model.columns)
    note = (
        "the model was trained on this table: each chromosome is predicted by regressions fitted without it"
    )
    return replace(found, chance=chance, notes=(*found.notes, note))


def check_chromosomes(pairs: TestedPairs) -> None:
    """Refuse a table that cannot be cut by chromosome.

    Raises:
        InputError: Fewer than three chromosomes, or all positives or all negatives are on one.
    """
    truth = pairs.truth()
    names = np.unique(pairs.chrom)
    if len(names) < 3:
        raise InputError(
            f"{pairs.path}: has pairs on {len(names)} chromosomes; training leaves out one of at least 3"
        )
    for kind, rows in (("positive", truth), ("negative", ~truth)):
        if len(np.unique(pairs.chrom[rows])) < 2:
            where = pairs.chrom[rows][0]
            raise InputError(f"{pairs.path}: all {kind} pairs are on {where}; it cannot be left out")


def _scores(pairs: TestedPairs, chance: Array) -> dict[str, Any]:
    truth = pairs.truth()
    return {**link_scores(truth, chance, pairs.gene_code), "calibration": calibration(truth, chance)}


def _refuse_giveaways(pairs: TestedPairs, columns: Sequence[str]) -> None:
    truth = pairs.truth()
    for name in columns:
        values = pairs.columns[name]
        known = np.isfinite(values)
        if not known.any() or np.ptp(values[known]) == 0:
            raise InputError(f"{pairs.path}: column {name!r} holds one value only; leave it out")
        if truth[known].all() or not truth[known].any():
            raise InputError(
                f"{pairs.path}: column {name!r} is known for one kind of answer only; leave it out"
            )
        auroc = link_scores(truth[known], values[known], pairs.gene_code[known])["auroc"]
        if max(auroc, 1 - auroc) >= GIVEAWAY_AUROC:
            raise InputError(
                f"{pairs.path}: column {name!r} alone tells the answers apart (AUROC {auroc:.3f}); it holds the answer "
                "and cannot be a feature"
            )


def nested_logit(
    training: Training,
    form: str,
    columns: Sequence[str],
    candidates: Sequence[LinkModelConfig] = CANDIDATES,
    update: Update | None = None,
) -> tuple[Array, list[dict[str, Any]]]:
    """Held-out log odds when the settings are chosen within the other chromosomes, by AUPRC over five folds of them.

    Returns:
        Log odds per pair, and what was chosen how often.
    """
    designs = {c.family: training.prepare(features_of(c, form, columns))[0] for c in candidates}
    names = np.unique(training.chrom)
    found = np.empty(len(training.truth))
    chosen: Counter[int] = Counter()
    for number, name in enumerate(names):
        out = training.chrom == name
        scores = [_inner_auprc(designs[c.family], training, ~out, c.penalty) for c in candidates]
        best = int(np.argmax(scores))
        chosen[best] += 1
        design, penalty = designs[candidates[best].family], candidates[best].penalty
        found[out] = fit_logistic(design[~out], training.truth[~out], penalty).logit(design[out])
        if update is not None:
            update(number + 1, len(names))
    return found, [{**asdict(candidates[i]), "chromosomes": n} for i, n in chosen.most_common()]


def _inner_auprc(design: Array, training: Training, use: npt.NDArray[np.bool_], penalty: float) -> float:
    """AUPRC over folds of whole chromosomes among the rows in use."""
    fold = chromosome_folds(training.chrom[use], training.truth[use], INNER_FOLDS)
    values, truth = design[use], training.truth[use]
    logit = np.empty(len(values))
    for number in np.unique(fold):
        rows = fold == number
        logit[rows] = fit_logistic(values[~rows], truth[~rows], penalty).logit(values[rows])
    return link_scores(truth, logit, np.zeros(len(truth), dtype=np.int64))["auprc"]


def chromosome_folds(
    chrom: npt.NDArray[Any], truth: npt.NDArray[np.bool_], n_folds: int
) -> npt.NDArray[np.int64]:
    """Whole chromosomes dealt to folds, the one with most positives first, each to the fold with fewest so far."""
    names = np.unique(chrom)
    positives = {name: int(truth[chrom == name].sum()) for name in names}
    load = np.zeros(min(n_folds, len(names)))
    fold = np.empty(len(chrom), dtype=np.int64)
    for name in sorted(names, key=lambda name: (-positives[name], name)):
        lightest = int(np.argmin(load))
        fold[chrom == name] = lightest
        load[lightest] += positives[name] + 1e-3
    return fold
