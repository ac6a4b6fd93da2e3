"""Masked modelling scored on sequences that it has not learnt from, beside token counts and Markov chains.

All predictors answer for the same hidden tokens from the same visible ones. The order of the chain is the one that is
best on the scored sequences themselves: the baseline is flattered, the network is not. Differences are paired over
bootstrap draws of whole families.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from cisoform.batches import MaskedTokensBatch
from cisoform.benchmark.markov import UNKNOWN, MarkovChain
from cisoform.benchmark.metrics import GroupBootstrap, group_codes, interval
from cisoform.data.masked_tokens import MaskedSource, Vocabulary
from cisoform.data.pretraining import SequencePool
from cisoform.training.masked import MaskedTask

MAX_ORDER = {4: 5, 20: 2}
"""Highest order of the chain by alphabet: more contexts than that are not seen often enough to count."""
UNIGRAM, MODEL = "token frequencies", "this model"
Update = Callable[[int, int], None]


@dataclass(frozen=True)
class Answers:
    """What one predictor makes of the hidden tokens: log-probability of the right one, and whether it came first."""

    log_probability: Float[np.ndarray, " places"]
    right: Bool[np.ndarray, " places"]

    @classmethod
    def of(
        cls, log_probabilities: Float[np.ndarray, "places answers"], target: Int[np.ndarray, " places"]
    ) -> Answers:
        """From normalised log-probabilities."""
        found = log_probabilities[np.arange(len(target)), target].astype(np.float64)
        return cls(found, log_probabilities.argmax(axis=1) == target)

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """Of several batches."""
        return cls(
            np.concatenate([part.log_probability for part in parts]),
            np.concatenate([part.right for part in parts]),
        )


def token_letters(ids: Int[np.ndarray, " tokens"], vocabulary: Vocabulary) -> Int[np.ndarray, " letters"]:
    """Tokens as letters in the vocabulary's own order of letters, so that a word's number is its id less the first.

    `<mask>` becomes as many unknown letters as a token has; other special tokens, N and X become one.
    """
    ids = ids.astype(np.int64)
    width, size = vocabulary.letters, vocabulary.alphabet
    whole = (ids >= vocabulary.first) & (ids < vocabulary.last)
    n_letters = np.where(whole | (ids == vocabulary.mask), width, 1)
    token = np.repeat(np.arange(len(ids)), n_letters)
    place = np.arange(len(token)) - np.repeat(np.cumsum(n_letters) - n_letters, n_letters)
    word = ids[token] - vocabulary.first
    letters = np.where(whole[token], word // size ** (width - 1 - place) % size, UNKNOWN)
    single = ids[token] - vocabulary.last
    # Single bases stand behind the 6-mers, in the same order of letters.
    is_single = (single >= 0) & (single < size) & (vocabulary.kind == "nt_v2")
    return np.where(is_single, single, letters)


def score_masked(
    task: MaskedTask,
    train: SequencePool,
    source: MaskedSource,
    family: Sequence[str],
    *,
    draws: int = 1000,
    seed: int = 0,
    update: Update | None = None,
) -> dict[str, Any]:
    """Accuracy and perplexity of the network and of its baselines.

    Args:
        task: The network.
        train: What it learnt from; the baselines are counted on it.
        source: Fixed batches of the scored sequences.
        family: Family of each sample of the data set, for the bootstrap.
        draws: Bootstrap draws.
        seed: Of the draws.
        update: Is told how many batches of how many are done.

    Returns:
        Plain numbers: `rows` (predictor, accuracy, perplexity, bits_per_letter, and of each baseline the network's
        gain in nats a token with its interval), the number of sequences and tokens, and the order of the chain.
    """
    vocabulary = source.vocabulary
    whole = (
        train
        if train.modality == "dna"
        else replace(train, cap=int(train.samples.lengths(train.modality).max()))
    )
    texts = [token_letters(vocabulary.ids(whole.codes(i)), vocabulary) for i in range(len(whole))]
    chain = MarkovChain.fit(texts, vocabulary.alphabet, MAX_ORDER[vocabulary.alphabet])
    names = [f"Markov chain of order {order}" for order in range(1, chain.order + 1)]
    found: dict[str, list[Answers]] = {name: [] for name in (MODEL, UNIGRAM, *names)}
    frequencies = _frequencies(texts, vocabulary)
    sequences = []
    total = source.n_batches(0)
    for done, batch in enumerate(source.epoch(0)):
        target = batch.hidden.target.numpy() - vocabulary.first
        sequences.append(batch.source.numpy()[batch.hidden.index.numpy() // batch.ids.shape[1]])
        found[MODEL].append(Answers.of(_network(task, batch), target))
        found[UNIGRAM].append(Answers.of(np.tile(frequencies, (len(target), 1)), target))
        left, right = _sides(batch, vocabulary, chain.order)
        for order, name in enumerate(names, start=1):
            nearest = left[:, left.shape[1] - order :], right[:, :order]
            found[name].append(Answers.of(chain.cut(order).score(*nearest, vocabulary.letters), target))
        if update is not None:
            update(done + 1, total)
    answers = {name: Answers.joined(parts) for name, parts in found.items()}
    best = max(names, key=lambda name: answers[name].log_probability.sum())
    kept = {name: answers[name] for name in (MODEL, UNIGRAM, best)}
    place = np.concatenate(sequences)
    group = group_codes([family[int(row)] for row in source.pool.rows[place]])
    return {
        "modality": train.modality,
        "n_sequences": len(source.pool),
        "n_families": int(group.max()) + 1,
        "n_hidden_tokens": len(place),
        "letters_per_token": vocabulary.letters,
        "rows": _rows(kept, group, vocabulary, draws, seed),
        "perplexity_by_order": {
            str(order): float(np.exp(-answers[name].log_probability.mean()))
            for order, name in enumerate(names, start=1)
        },
    }


def _rows(
    answers: dict[str, Answers],
    group: Int[np.ndarray, " places"],
    vocabulary: Vocabulary,
    draws: int,
    seed: int,
) -> list[dict[str, Any]]:
    bootstrap = GroupBootstrap.draw(group, draws, seed)
    ours = answers[MODEL].log_probability
    rows: list[dict[str, Any]] = []
    for name, one in answers.items():
        loss = -float(one.log_probability.mean())
        row: dict[str, Any] = {
            "predictor": name,
            "accuracy": float(one.right.mean()),
            "perplexity": float(np.exp(loss)),
            "bits_per_letter": loss / np.log(2) / vocabulary.letters,
        }
        if name != MODEL:
            gain = ours - one.log_probability
            row["gain_of_model"] = float(gain.mean())
            sums = bootstrap.sums(np.stack([gain, np.ones_like(gain)], axis=1))
            low, high = interval(sums[:, :1] / sums[:, 1:])[0] if draws else (np.nan, np.nan)
            row["gain_ci"] = [float(low), float(high)] if np.isfinite(low) else None
        rows.append(row)
    return rows


def _frequencies(
    texts: Sequence[Int[np.ndarray, " _"]], vocabulary: Vocabulary
) -> Float[np.ndarray, " answers"]:
    """Log-frequency of every token in all frames of the training sequences; half a count is added to each."""
    counts = np.full(vocabulary.size, 0.5)
    powers = vocabulary.alphabet ** np.arange(vocabulary.letters - 1, -1, -1)
    for letters in texts:
        if len(letters) >= vocabulary.letters:
            words = np.lib.stride_tricks.sliding_window_view(letters, vocabulary.letters)
            words = words[(words >= 0).all(axis=1)]
            counts += np.bincount(words @ powers, minlength=vocabulary.size)
    return np.asarray(np.log(counts / counts.sum()), dtype=np.float64)


def _network(task: MaskedTask, batch: MaskedTokensBatch) -> Float[np.ndarray, "places answers"]:
    device = next(task.network.parameters()).device
    with torch.inference_mode():
        logits = task.logits(batch.to(device)).double()
        return np.asarray(logits.log_softmax(dim=-1).cpu().numpy())


def _sides(
    batch: MaskedTokensBatch, vocabulary: Vocabulary, order: int
) -> tuple[Int[np.ndarray, "places order"], Int[np.ndarray, "places order"]]:
    """Letters on either side of each hidden token, in the order of the batch's places."""
    ids, mask = batch.ids.numpy(), batch.mask.numpy()
    row, column = np.divmod(batch.hidden.index.numpy(), ids.shape[1])
    parts = list(_row_sides(ids, mask, row, column, vocabulary, order))
    return np.concatenate([left for left, _ in parts]), np.concatenate([right for _, right in parts])


def _row_sides(
    ids: Int[np.ndarray, "rows tokens"],
    mask: Bool[np.ndarray, "rows tokens"],
    row: Int[np.ndarray, " places"],
    column: Int[np.ndarray, " places"],
    vocabulary: Vocabulary,
    order: int,
) -> Iterator[tuple[Int[np.ndarray, "some order"], Int[np.ndarray, "some order"]]]:
    steps = np.arange(order)
    for index in np.unique(row).tolist():
        shown = ids[index][mask[index]]
        letters = token_letters(shown, vocabulary)
        whole = (shown >= vocabulary.first) & (shown < vocabulary.last) | (shown == vocabulary.mask)
        widths = np.where(whole, vocabulary.letters, 1)
        begin = (np.cumsum(widths) - widths)[column[row == index]]
        padded = np.concatenate([np.full(order, UNKNOWN), letters, np.full(order, UNKNOWN)])
        left = padded[begin[:, None] + steps]
        right = padded[begin[:, None] + order + vocabulary.letters + steps]
        yield left, right
