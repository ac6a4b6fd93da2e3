"""The rules once more, one peak and gene at a time, from the written tables alone; and the simple predictors."""

from __future__ import annotations

import math

import numpy as np
from sklearn.linear_model import RidgeCV


def site_strengths(sequence, matrix):
    """Strengths of all sites of a (positions, 4) matrix in a sequence, both strands."""
    best = sum(math.log2(max(row) / 0.25) for row in matrix)
    found = []
    for strand in (sequence, sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]):
        for start in range(len(strand) - len(matrix) + 1):
            word = strand[start : start + len(matrix)]
            if "N" in word:
                continue
            score = sum(
                math.log2(row["ACGT".index(base)] / 0.25) for row, base in zip(matrix, word, strict=True)
            )
            strength = (score / best - 0.75) / 0.2
            if strength > 0:
                found.append(min(strength, 1.0))
    return found


def read_meme(path):
    """TF -> (positions, 4) matrix."""
    matrices, rows = {}, None
    for line in path.read_text().splitlines():
        words = line.split()
        if line.startswith("MOTIF"):
            rows = matrices.setdefault(words[2], [])
        elif rows is not None and words and words[0][0].isdigit():
            rows.append([float(word) for word in words])
    return matrices


def peak_state(peak, sites, tfs, group):
    """(accessibility, effect) of one peak in one group; `sites` are (tf, strength) pairs."""
    strength: dict[str, float] = {}
    for tf, value in sites:
        strength[tf] = strength.get(tf, 0.0) + value
    bound = {
        tf: min(total, 4.0) * tfs[tf][f"activity.{group}"] * peak[f"gate.{group}"]
        for tf, total in strength.items()
    }
    total = sum(bound.values())
    opened = 1.5 * total / (1 + 1.5 * total)
    net = sum(tfs[tf]["sign"] * value for tf, value in bound.items()) / total if total else 0.0
    return 1 - (1 - peak[f"base.{group}"]) * (1 - opened), opened * net


def log_rate(gene, peaks, effects):
    """Log rate of a gene from the effects of all peaks."""
    total = 0.0
    for peak, effect in zip(peaks, effects, strict=True):
        distance = abs(peak["mid"] - gene["tss"])
        if peak["chrom"] == gene["chrom"] and distance <= 150_000:
            total += math.exp(-distance / 20_000) * effect
    return gene["level"] + gene["answer"] * 1.5 * total


def decayed_sums(values, distance, reaches=(5e3, 2e4, 6e4)):
    """(genes x groups, reaches) sums of (peaks, groups) values with exponential decay."""
    near = np.abs(distance) <= 150_000
    return np.stack(
        [(np.where(near, np.exp(-np.abs(distance) / reach), 0).T @ values).reshape(-1) for reach in reaches],
        1,
    )


def leave_chromosome_out(features, observed, chrom):
    """(genes, groups) ridge predictions, each chromosome by a fit on the others."""
    target, rows = observed.reshape(-1), np.repeat(chrom, observed.shape[1])
    predicted = np.zeros(len(target))
    for number in np.unique(chrom):
        train = rows != number
        mean, scale = features[train].mean(0), features[train].std(0) + 1e-9
        model = RidgeCV(np.logspace(-2, 5, 15)).fit((features[train] - mean) / scale, target[train])
        predicted[~train] = model.predict((features[~train] - mean) / scale)
    return predicted.reshape(observed.shape)
