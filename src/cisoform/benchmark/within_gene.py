"""How well a prediction tells the isoforms of one gene apart, per tissue.

In: truth and prediction (rows, columns) on the log1p scale and a gene code per row. Only genes with two or more
labelled isoforms count. Between-gene differences cannot raise any of these scores. Each score is a ratio
or correlation of sums over genes, so the same sums give its bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from cisoform.benchmark.metrics import GroupBootstrap, interval, mean_over_columns

SCORES = (
    "pair_accuracy",
    "spearman",
    "dominant_accuracy",
    "dominant_accuracy_chance",
    "fraction_r",
    "fraction_r_chance",
)


@dataclass(frozen=True)
class WithinGene:
    """Scores per column, in this order of meaning (NaN where no gene allows the score).

    Attributes:
        n_genes, n_transcripts, n_pairs: Genes with at least two labelled isoforms, their isoforms, and the pairs
            of isoforms whose labels differ.
        scores: Per score of `SCORES` one value per column.
            pair_accuracy: Share of pairs put in the right order, a predicted tie counts one half; chance is 0.5.
            spearman: Mean over genes of Spearman within the gene; a constant prediction counts 0. Genes whose
                labels are all equal are left out.
            dominant_accuracy: Share of genes whose highest predicted isoform has the highest label; tied
                predictions share the credit.
            dominant_accuracy_chance: The same for an isoform picked at random.
            fraction_r: Pearson over isoforms of isoform fraction (TPM over the gene's TPM, from expm1).
            fraction_r_chance: The same when every isoform is given 1 / n, which already knows that genes with
                more isoforms have smaller fractions.
        draws: The bootstrap draws of each score, (draws, columns), when a bootstrap was given.
    """

    n_genes: Int[np.ndarray, " columns"]
    n_transcripts: Int[np.ndarray, " columns"]
    n_pairs: Int[np.ndarray, " columns"]
    scores: dict[str, Float[np.ndarray, " columns"]]
    draws: dict[str, Float[np.ndarray, "draws columns"]]

    def column(self, index: int) -> dict[str, float | int | list[float]]:
        """One column as plain numbers, intervals under `<score>_ci`."""
        row: dict[str, float | int | list[float]] = {
            "n_genes": int(self.n_genes[index]),
            "n_transcripts": int(self.n_transcripts[index]),
            "n_pairs": int(self.n_pairs[index]),
        }
        for name in SCORES:
            row[name] = float(self.scores[name][index])
            if name in self.draws and not name.endswith("_chance"):
                row[f"{name}_ci"] = interval(self.draws[name][:, index : index + 1])[0].tolist()
        row["pair_accuracy_chance"] = 0.5
        return row

    def mean(self) -> dict[str, float | int | list[float]]:
        """The mean of every score over the columns; the counts are the largest of the columns."""
        row: dict[str, float | int | list[float]] = {
            "n_genes": int(self.n_genes.max(initial=0)),
            "n_transcripts": int(self.n_transcripts.max(initial=0)),
            "n_pairs": int(self.n_pairs.max(initial=0)),
        }
        for name in SCORES:
            row[name] = float(mean_over_columns(self.scores[name]))
            if name in self.draws and not name.endswith("_chance"):
                row[f"{name}_ci"] = interval(mean_over_columns(self.draws[name])[:, None])[0].tolist()
        row["pair_accuracy_chance"] = 0.5
        return row


def within_gene(
    truth: Float[np.ndarray, "rows columns"],
    predicted: Float[np.ndarray, "rows columns"],
    gene: Int[np.ndarray, " rows"],
    bootstrap: GroupBootstrap | None = None,
) -> WithinGene:
    """All within-gene scores of every column. `bootstrap` must resample groups that hold whole genes."""
    n_columns = truth.shape[1]
    n_genes = int(gene.max()) + 1 if len(gene) else 0
    left, right = isoform_pairs(gene)
    counts = np.zeros((3, n_columns), dtype=np.int64)
    scores = {name: np.full(n_columns, np.nan) for name in SCORES}
    by_gene = _group_bootstrap_of_genes(gene, n_genes, bootstrap)
    draws = (
        {}
        if by_gene is None
        else {name: np.full((len(by_gene.counts), n_columns), np.nan) for name in SCORES}
    )
    for column in range(n_columns):
        use = np.isfinite(truth[:, column]) & np.isfinite(predicted[:, column])
        use &= np.bincount(gene[use], minlength=n_genes)[gene] >= 2
        if not use.any():
            continue
        statistics, counts[:, column] = _gene_statistics(
            truth[:, column], predicted[:, column], gene, use, (left, right)
        )
        for name, value in _scores_of_sums(statistics.sum(axis=0, keepdims=True)).items():
            scores[name][column] = value[0]
        if by_gene is not None:
            for name, value in _scores_of_sums(by_gene.sums(statistics)).items():
                draws[name][:, column] = value
    return WithinGene(counts[0], counts[1], counts[2], scores, draws)


def isoform_pairs(
    gene: Int[np.ndarray, " rows"],
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Row numbers of every unordered pair of rows of one gene."""
    order = np.argsort(gene, kind="stable")
    sorted_gene = gene[order]
    left, right = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for step in range(1, len(gene)):
        first = np.flatnonzero(sorted_gene[:-step] == sorted_gene[step:])
        if not len(first):
            break
        left.append(order[first])
        right.append(order[first + step])
    return np.concatenate(left), np.concatenate(right)


def ranks_within(
    values: Float[np.ndarray, " rows"], gene: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """Rank of every row among the rows of its gene, from 1; ties share their mean rank."""
    order = np.lexsort((values, gene))
    sorted_gene, sorted_values = gene[order], values[order]
    new_gene = np.concatenate([[True], sorted_gene[1:] != sorted_gene[:-1]])
    new_run = new_gene | np.concatenate([[True], sorted_values[1:] != sorted_values[:-1]])
    position = np.arange(len(values))
    run = np.cumsum(new_run) - 1
    run_start = position[new_run]
    run_size = np.bincount(run)
    gene_start = np.maximum.accumulate(np.where(new_gene, position, 0))
    ranks = np.empty(len(values))
    ranks[order] = run_start[run] + (run_size[run] + 1) / 2 - gene_start
    return ranks


# Columns of the per-gene statistics: right pairs, pairs, Spearman, genes with one, credit, chance, genes,
# then for the fractions a (truth), b (predicted), u (uniform): n, a, b, u, aa, bb, uu, ab, au.
_N_STATISTICS = 16


def _gene_statistics(
    truth: Float[np.ndarray, " rows"],
    predicted: Float[np.ndarray, " rows"],
    gene: Int[np.ndarray, " rows"],
    use: Bool[np.ndarray, " rows"],
    pairs: tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]],
) -> tuple[Float[np.ndarray, "genes statistics"], Int[np.ndarray, " three"]]:
    """Sums per gene of one column, and the counts of genes, transcripts and pairs."""
    n_genes = int(gene.max()) + 1
    statistics = np.zeros((n_genes, _N_STATISTICS))
    left, right = pairs
    pair_use = use[left] & use[right] & (truth[left] != truth[right])
    left, right = left[pair_use], right[pair_use]
    order, predicted_order = truth[left] - truth[right], predicted[left] - predicted[right]
    credit = np.where(predicted_order == 0, 0.5, np.sign(order) == np.sign(predicted_order))
    statistics[:, 0] = np.bincount(gene[left], weights=credit, minlength=n_genes)
    statistics[:, 1] = np.bincount(gene[left], minlength=n_genes)

    t, p, g = truth[use].astype(np.float64), predicted[use].astype(np.float64), gene[use]
    size = np.bincount(g, minlength=n_genes)

    def total(values: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " genes"]:
        return np.bincount(g, weights=values, minlength=n_genes)

    a = ranks_within(t, g) - (size[g] + 1) / 2
    b = ranks_within(p, g) - (size[g] + 1) / 2
    spread_a, spread_b = total(a * a), total(b * b)
    ranked = spread_a > 0
    scale = np.sqrt(spread_a * spread_b)
    statistics[:, 2] = np.divide(total(a * b), scale, out=np.zeros(n_genes), where=scale > 0)
    statistics[:, 3] = ranked

    top, predicted_top = _is_top(t, g, n_genes), _is_top(p, g, n_genes)
    known = size > 0
    n_predicted_top = total(predicted_top.astype(np.float64))
    shared = total((top & predicted_top).astype(np.float64))
    statistics[:, 4] = np.divide(shared, n_predicted_top, out=np.zeros(n_genes), where=known)
    statistics[:, 5] = np.divide(total(top.astype(np.float64)), size, out=np.zeros(n_genes), where=known)
    statistics[:, 6] = known

    uniform = 1 / size[g]
    fraction, expressed = _fractions(t, g, n_genes, uniform)
    predicted_fraction, _ = _fractions(p, g, n_genes, uniform)
    # Powers of the deviation from 1 / 2 rather than of the fraction: the same correlations, rounded less.
    fa, fb, fu = ((x - 0.5) * expressed for x in (fraction, predicted_fraction, uniform))
    products = [expressed * 1.0, fa, fb, fu, fa * fa, fb * fb, fu * fu, fa * fb, fa * fu]
    for index, values in enumerate(products):
        statistics[:, 7 + index] = total(values)
    return statistics, np.array([known.sum(), use.sum(), len(left)])


def _is_top(
    values: Float[np.ndarray, " rows"], gene: Int[np.ndarray, " rows"], n_genes: int
) -> Bool[np.ndarray, " rows"]:
    highest = np.full(n_genes, -np.inf)
    np.maximum.at(highest, gene, values)
    return np.asarray(values == highest[gene])


def _fractions(
    log_values: Float[np.ndarray, " rows"],
    gene: Int[np.ndarray, " rows"],
    n_genes: int,
    uniform: Float[np.ndarray, " rows"],
) -> tuple[Float[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
    """TPM over the gene's TPM and whether the gene has any; 1 / n where it has none. Negative TPM counts 0."""
    tpm = np.maximum(np.expm1(np.minimum(log_values, 50.0)), 0.0)
    gene_tpm = np.bincount(gene, weights=tpm, minlength=n_genes)[gene]
    expressed = gene_tpm > 0
    return np.where(expressed, tpm / np.where(expressed, gene_tpm, 1.0), uniform), expressed


def _scores_of_sums(sums: Float[np.ndarray, "draws statistics"]) -> dict[str, Float[np.ndarray, " draws"]]:
    right, pairs, rho, ranked, credit, chance, genes, n, a, b, u, aa, bb, uu, ab, au = sums.T
    return {
        "pair_accuracy": _ratio(right, pairs),
        "spearman": _ratio(rho, ranked),
        "dominant_accuracy": _ratio(credit, genes),
        "dominant_accuracy_chance": _ratio(chance, genes),
        "fraction_r": _pearson_of_sums(n, a, b, aa, bb, ab),
        "fraction_r_chance": _pearson_of_sums(n, a, u, aa, uu, au),
    }


def _ratio(
    numerator: Float[np.ndarray, " draws"], denominator: Float[np.ndarray, " draws"]
) -> Float[np.ndarray, " draws"]:
    return np.asarray(
        np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
    )


def _pearson_of_sums(
    n: Float[np.ndarray, " draws"],
    a: Float[np.ndarray, " draws"],
    b: Float[np.ndarray, " draws"],
    aa: Float[np.ndarray, " draws"],
    bb: Float[np.ndarray, " draws"],
    ab: Float[np.ndarray, " draws"],
) -> Float[np.ndarray, " draws"]:
    """Pearson from sums; NaN when one side does not vary (beyond rounding)."""
    spread_a, spread_b = n * aa - a * a, n * bb - b * b
    defined = (spread_a > 1e-9 * n * aa) & (spread_b > 1e-9 * n * bb)
    scale = np.sqrt(np.where(defined, spread_a * spread_b, 1.0))
    return np.where(defined, (n * ab - a * b) / scale, np.nan)


def _group_bootstrap_of_genes(
    gene: Int[np.ndarray, " rows"], n_genes: int, bootstrap: GroupBootstrap | None
) -> GroupBootstrap | None:
    """The same draws, addressed by gene instead of by row."""
    if bootstrap is None:
        return None
    group_of_gene = np.zeros(n_genes, dtype=np.int64)
    group_of_gene[gene] = bootstrap.group
    if not (group_of_gene[gene] == bootstrap.group).all():
        raise ValueError("the bootstrap groups cut a gene in two; resample genes or whole families")
    return GroupBootstrap(group_of_gene, bootstrap.counts)
