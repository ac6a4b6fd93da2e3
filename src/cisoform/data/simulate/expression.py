"""Expression that follows the rules, with noise of known size, and the best R2 anyone can reach on it.

On the log1p scale: value = base of the tissue + contributions of the rules + noise. Replicates carry noise of
`n_replicates` times the variance; the expression is their mean on the log1p scale, so its noise has exactly the
stated variance and the replicates show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cisoform.data.simulate.config import MODALITY_OF_RULE, RULES, SimulateConfig

BASE_LOG1P = 4.5  # about 90 TPM; 4 standard deviations above 0, so that clipping at 0 hardly ever acts
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Expression:
    """Noise-free and noisy expression, `(transcripts, tissues)`, and replicates `(replicates, transcripts, tissues)`.

    `noise_free` and the contributions are on the log1p scale, `tpm` and `replicates` in TPM-like units.
    """

    base: npt.NDArray[np.float64]
    contributions: dict[str, Matrix]
    noise_free: Matrix
    noise_variance: float
    replicates: npt.NDArray[np.float64]
    tpm: Matrix


def simulate_expression(config: SimulateConfig, contributions: dict[str, Matrix]) -> Expression:
    """Add the contributions up, in their order, and draw the replicates; the noise does not depend on the rules."""
    rng = np.random.default_rng([config.seed, 3])
    n = len(contributions[RULES[0]])
    base = BASE_LOG1P + rng.normal(0, 0.2, config.n_tissues)
    signal = sum(contributions.values(), np.zeros((n, config.n_tissues)))
    noise_free = base + signal
    variance = config.shares.of_rule("noise")
    noise = rng.normal(0, 1, (config.replicates, n, config.n_tissues)) * np.sqrt(config.replicates * variance)
    log1p = np.maximum(noise_free + noise, 0.0)
    return Expression(
        base, contributions, noise_free, variance, np.expm1(log1p), np.expm1(log1p.mean(axis=0))
    )


def ceiling(expression: Expression) -> npt.NDArray[np.float64]:
    """Attainable R2 per tissue: variance of the noise-free values over that plus the noise's."""
    signal = expression.noise_free.var(axis=0)
    total = signal + expression.noise_variance
    return np.where(total > 0, signal / np.where(total > 0, total, 1.0), 0.0)


def ceiling_on(expression: Expression, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """R2 that the noise-free values themselves reach against these rows of the noisy table, per tissue."""
    observed = np.log1p(expression.tpm[rows])
    residual = ((observed - expression.noise_free[rows]) ** 2).sum(axis=0)
    total = ((observed - observed.mean(axis=0)) ** 2).sum(axis=0)
    return np.where(total > 0, 1 - residual / np.where(total > 0, total, 1.0), 0.0)


def modality_ceilings(expression: Expression) -> dict[str, npt.NDArray[np.float64]]:
    """Attainable R2 per tissue from the rules of some modalities only: `dna`, `rna`, `rna+protein`, ...

    Least squares of the noise-free values on the contributions of those rules. A modality can also know another's
    rule where it holds the same bases (the protein is a function of the RNA): then it may exceed its own row.
    """
    noisy_variance = expression.noise_free.var(axis=0) + expression.noise_variance
    result = {}
    names = ("dna", "rna", "protein")
    for kept in (
        ("dna",),
        ("rna",),
        ("protein",),
        ("dna", "rna"),
        ("rna", "protein"),
        ("dna", "protein"),
        names,
    ):
        rules = [rule for rule in RULES if MODALITY_OF_RULE[rule] in kept]
        explained = np.zeros(len(noisy_variance))
        for tissue in range(len(noisy_variance)):
            columns = np.stack([expression.contributions[rule][:, tissue] for rule in rules], axis=1)
            columns = columns - columns.mean(axis=0)
            target = expression.noise_free[:, tissue] - expression.noise_free[:, tissue].mean()
            explained[tissue] = (columns @ np.linalg.lstsq(columns, target, rcond=None)[0]).var()
        result["+".join(kept)] = np.where(
            noisy_variance > 0, explained / np.maximum(noisy_variance, 1e-300), 0.0
        )
    return result
