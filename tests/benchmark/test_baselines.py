"""Baselines recover what they can see, read no label they must not, and survive odd tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cisoform.benchmark import metrics
from cisoform.benchmark.baselines import (
    BASELINE_NAMES,
    BaselineConfig,
    BaselineData,
    fit_baselines,
    isoform_counts,
    replicate_pairs,
    thin_rows,
)
from cisoform.benchmark.features import LENGTH_NAMES, FeatureTable

QUICK = BaselineConfig(
    tree_iterations=15, tree_learning_rate=0.3, max_tree_features=12, tree_members_all_inputs=1
)
NAMES = (*LENGTH_NAMES, "up_A", "up_C", "down_A", "rna_A", "aa_K")
SOURCES = (*["structure"] * 4, "dna_upstream", "dna_upstream", "dna_downstream", "rna", "protein")


def planted(n: int = 400, seed: int = 0, columns: int = 2) -> BaselineData:
    """Labels = linear in upstream A, CDS length and lysine shares, plus the isoform count; 3 : 1 train to the rest."""
    rng = np.random.default_rng(seed)
    gene = np.sort(rng.integers(0, n // 2, n))
    gene = np.unique(gene, return_inverse=True)[1]
    values = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    count = isoform_counts(gene)
    signal = values[:, 4] + 1.5 * values[:, 1] + values[:, 8]
    labels = 3 + signal[:, None] * np.linspace(1, 0.5, columns) + 0.4 * count[:, None]
    part = rng.permutation(gene.max() + 1)[gene] % 8
    return BaselineData(
        features=FeatureTable(values, NAMES, SOURCES),
        isoform_count=count,
        labels=labels,
        gene=gene,
        gene_level=np.zeros(columns, dtype=bool),
        train=part < 6,
        valid=part == 6,
        score=np.flatnonzero(part == 7),
    )


def r2_of(data: BaselineData, config: BaselineConfig = QUICK, names=None) -> dict[str, float]:
    truth = data.labels[data.score]
    return {b.name: metrics.r2(truth, b.predicted)[0] for b in fit_baselines(data, config, names)}


def test_every_baseline_finds_what_its_input_carries():
    got = r2_of(planted(n=1200))
    assert tuple(got) == BASELINE_NAMES
    assert got["kmer_ridge"] > 0.8 and got["boosted_trees_all"] > 0.5
    # One part of the signal each, of 1, 2.25 and 1 in a variance of about 4.4.
    assert got["boosted_trees_dna_upstream"] > 0.06 and got["boosted_trees_dna"] > 0.06
    assert got["four_lengths"] > 0.15 and got["boosted_trees_protein"] > 0.1
    assert abs(got["mean_per_tissue"]) < 0.1
    assert max(got, key=lambda name: got[name]) == "kmer_ridge"


def test_labels_of_scored_rows_are_never_read():
    data = planted()
    blank = data.labels.copy()
    blank[~(data.train | data.valid)] = 1e9
    for one, two in zip(
        fit_baselines(data, QUICK), fit_baselines(replace(data, labels=blank), QUICK), strict=True
    ):
        np.testing.assert_array_equal(one.predicted, two.predicted)


def test_valid_labels_choose_a_penalty_and_nothing_else():
    data = planted()
    other = data.labels.copy()
    other[data.valid] = np.random.default_rng(1).normal(size=(int(data.valid.sum()), 2))
    for one, two in zip(
        fit_baselines(data, QUICK), fit_baselines(replace(data, labels=other), QUICK), strict=True
    ):
        assert np.array_equal(one.predicted, two.predicted) == (one.name != "kmer_ridge"), one.name


def test_only_the_row_of_that_name_sees_the_isoform_count():
    data = planted()
    other = replace(data, isoform_count=data.isoform_count[::-1].copy())
    for one, two in zip(fit_baselines(data, QUICK), fit_baselines(other, QUICK), strict=True):
        assert np.array_equal(one.predicted, two.predicted) == (one.name != "isoform_count"), one.name


def test_order_of_rows_does_not_matter_to_the_linear_rows():
    data = planted()
    order = np.random.default_rng(2).permutation(len(data.gene))
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    shuffled = BaselineData(
        replace(data.features, values=data.features.values[order]),
        data.isoform_count[order],
        data.labels[order],
        data.gene[order],
        data.gene_level,
        data.train[order],
        data.valid[order],
        back[data.score],
    )
    names = ["mean_per_tissue", "kmer_ridge"]
    for one, two in zip(
        fit_baselines(data, QUICK, names), fit_baselines(shuffled, QUICK, names), strict=True
    ):
        np.testing.assert_allclose(one.predicted, two.predicted, rtol=1e-5)


def test_a_gene_level_label_counts_once_per_gene():
    # Gene 0 has three rows with label 0, gene 1 one row with label 4: the mean over genes is 2, over rows 1.
    data = BaselineData(
        features=FeatureTable(np.zeros((5, 9), np.float32), NAMES, SOURCES),
        isoform_count=np.array([3, 3, 3, 1, 1]),
        labels=np.array([[0.0, 0.0]] * 3 + [[4.0, 4.0], [np.nan, np.nan]]),
        gene=np.array([0, 0, 0, 1, 2]),
        gene_level=np.array([False, True]),
        train=np.array([True, True, True, True, False]),
        valid=np.zeros(5, dtype=bool),
        score=np.array([4]),
    )
    (mean,) = fit_baselines(data, QUICK, ["mean_per_tissue"])
    np.testing.assert_allclose(mean.predicted, [[1.0, 2.0]])


@pytest.mark.parametrize("columns", [1, 2, 31])
def test_one_tissue_and_many_are_fitted(columns):
    data = planted(columns=columns)
    config = replace(QUICK, max_components=3)
    for name, value in r2_of(data, config, ["kmer_ridge", "boosted_trees_all"]).items():
        assert value > 0.5, name


def test_odd_columns_and_features_leave_the_others_alone():
    data = planted()
    labels = np.concatenate([data.labels, data.labels], axis=1)
    labels[:, 1] = 0.7  # constant
    labels[:, 2] = np.nan  # never measured
    labels[::3, 3] = np.nan  # partly measured
    values = data.features.values.copy()
    values[:, 5] = np.nan
    values[::5, 7] = np.nan
    odd = replace(
        data,
        labels=labels,
        gene_level=np.zeros(4, dtype=bool),
        features=replace(data.features, values=values),
    )
    for baseline in fit_baselines(odd, QUICK):
        predicted = baseline.predicted
        assert np.isnan(predicted[:, 2]).all() and np.isfinite(predicted[:, [0, 1, 3]]).all()
        np.testing.assert_allclose(predicted[:, 1], 0.7, atol=1e-6)
        if baseline.name == "boosted_trees_all":
            assert metrics.r2(data.labels[data.score], predicted[:, [0, 3]])[0] > 0.4


def test_a_handful_of_rows_and_no_valid_rows_are_enough():
    data = planted(n=12)
    train = np.arange(12) < 9
    data = replace(data, train=train, valid=np.zeros(12, dtype=bool), score=np.array([9, 10, 11]))
    for baseline in fit_baselines(data, QUICK):
        assert np.isfinite(baseline.predicted).all(), baseline.name


def test_a_baseline_without_its_input_is_left_out_and_an_unknown_one_refused():
    data = planted()
    part = replace(data, features=data.features.select(["rna", "structure"]))
    names = [baseline.name for baseline in fit_baselines(part, QUICK)]
    assert "boosted_trees_rna" in names
    assert not {"boosted_trees_dna", "boosted_trees_dna_upstream", "boosted_trees_protein"} & set(names)
    with pytest.raises(KeyError, match="forest.*boosted_trees_all"):
        fit_baselines(data, QUICK, ["forest"])


def test_thinning_keeps_whole_genes_and_is_fixed_by_the_seed():
    gene = np.repeat(np.arange(40), 3)
    chosen = gene % 2 == 0
    kept = thin_rows(chosen, gene, 20, 5)
    assert kept.sum() == 18 and not kept[~chosen].any()
    assert set(np.bincount(gene[kept], minlength=40)) == {0, 3}
    np.testing.assert_array_equal(kept, thin_rows(chosen, gene, 20, 5))
    assert thin_rows(chosen, gene, 60, 5) is chosen


def test_replicates_are_found_by_name():
    values = np.arange(12.0).reshape(2, 6)
    names = ["WT", "WT_rep2", "WT_rep1", "WT_rep3", "heat", "heat_rep1"]
    pair = replicate_pairs(values, names, ["WT", "heat"])
    assert pair is not None
    np.testing.assert_array_equal(pair[0], [[2, np.nan], [8, np.nan]])
    np.testing.assert_array_equal(pair[1], [[1, np.nan], [7, np.nan]])
    assert replicate_pairs(values, names, ["heat"]) is None


def test_isoforms_are_counted_per_gene():
    assert isoform_counts(np.array([1, 0, 1, 1])).tolist() == [3, 1, 3, 3]
    assert isoform_counts(np.empty(0, dtype=np.int64)).tolist() == []


def test_without_valid_rows_train_genes_choose_a_strong_penalty_for_noise():
    data = planted(n=1200)
    rng = np.random.default_rng(6)
    noise = FeatureTable(
        rng.normal(size=(1200, 300)).astype(np.float32), tuple(map(str, range(300))), ("rna",) * 300
    )
    data = replace(data, features=noise, valid=np.zeros(1200, dtype=bool))
    got = r2_of(data, names=["kmer_ridge", "mean_per_tissue"])
    assert got["kmer_ridge"] > got["mean_per_tissue"] - 0.05
