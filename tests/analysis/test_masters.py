"""Attention features, motif activity, and rankings of factors: by hand, against scikit-learn, planted, and by chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cisoform.analysis.attention_feature import AttentionFeatures, cosines, gene_scores, reference_of
from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import predict
from cisoform.analysis.master_agreement import agreement, judge
from cisoform.analysis.masters import (
    MasterConfig,
    Ranking,
    bootstraps,
    combined,
    master_table,
    one_vs_rest,
    rank_masters,
    ranks,
    standardised,
)
from cisoform.analysis.motif_activity import (
    closing_effects,
    first_order_effect,
    motif_activity,
    motif_deviations,
    motif_weights,
    near_peaks,
    stand_ins,
)
from cisoform.analysis.reader import Reader
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.features import FeatureChoice, compute
from cisoform.jobs.readings import open_reader
from tests.analysis.samples import some_inputs, tiny
from tests.data.gene_sets import build_small, save_creformer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    root = tmp_path_factory.mktemp("masters")
    dataset = build_small(root, n_cells=8)
    model = CREformerModel.load(save_creformer(root / "model"))
    every = np.arange(dataset.groups.height), np.arange(dataset.genes.height)
    return open_reader(model, dataset, *every, cache=root / "cache")


def test_cosines_of_hand_worked_scores() -> None:
    # (3, 4) with (1, 0): 3 / 5; with a vector of zeros: 0.
    found = cosines(np.array([[3.0, 4.0], [2.0, 0.0], [0.0, 0.0]]), np.array([1.0, 0.0]))
    np.testing.assert_allclose(found, [0.6, 1.0, 0.0])


def test_the_feature_is_one_of_three_products() -> None:
    one = np.array([[2.0]])
    found = AttentionFeatures(
        np.array([0]), np.array([0]), one * 0.5, one * -0.25, one * 3, np.array([0]), "cell"
    )
    assert [float(found.feature(form)[0, 0]) for form in ("cosine", "centred", "window")] == [6.0, -3.0, 6.0]


def test_the_reference_is_the_most_open_cell_or_label() -> None:
    grouping = Grouping("type", ("a", "b"), np.arange(5), np.array([0, 1, 0, 1, 1]))
    # Means: a (9 + 1) / 2 = 5, b (6 + 7 + 8) / 3 = 7; the single most open cell is of a.
    window = np.array([9.0, 6.0, 1.0, 7.0, 8.0])
    assert reference_of(window, grouping, "cell") == 0 and reference_of(window, grouping, "label") == 1


@pytest.mark.parametrize("reference", ["cell", "label"])
def test_features_of_a_data_set(reader: Reader, reference: str) -> None:
    genes, n = np.array([1, 4, 7]), reader.groups.height
    grouping = Grouping("x", ("a", "b"), np.arange(n), np.arange(n) % 2)
    choice = FeatureChoice(variant="exact", reference=reference)  # type: ignore[arg-type]
    found = compute(reader, grouping, genes, choice)
    first, count = reader.dataset.index.first, reader.dataset.index.count
    for column, gene in enumerate(genes.tolist()):
        peaks = np.arange(first[gene], first[gene] + count[gene])
        np.testing.assert_allclose(
            found.window[:, column], reader.signal(np.arange(n), peaks).sum(1), rtol=1e-5
        )
        if reference == "cell":
            best = int(found.window[:, column].argmax())
            assert found.reference[column] == best
            assert found.cosine[best, column] == pytest.approx(1) and found.centred[best, column] <= 1 + 1e-9
    assert (found.cosine <= 1 + 1e-9).all() and (found.centred < found.cosine + 1e-9).all()
    alone = compute(reader, grouping, genes[1:2], choice)
    np.testing.assert_allclose(alone.cosine[:, 0], found.cosine[:, 1], atol=1e-5)


def test_scores_come_gene_by_gene_whatever_the_batch(reader: Reader) -> None:
    groups, genes = np.arange(3), np.arange(reader.genes.height)

    def scorer(inputs: object) -> torch.Tensor:
        return inputs.accessibility  # type: ignore[attr-defined, no-any-return]

    for slots in (1, 64, 10_000):
        found = list(gene_scores(reader, groups, genes, scorer, slots))
        assert sorted(one.gene for one in found) == genes.tolist()
        for one in found:
            assert one.scores.shape == (3, int(reader.dataset.index.count[one.gene]))
            np.testing.assert_array_equal(one.scores, one.accessibility)


def test_the_first_order_effect_is_the_slope_towards_the_closed_peaks() -> None:
    model, inputs = tiny().double(), some_inputs()
    inputs = inputs.with_vectors(inputs.vectors.double())
    closed = torch.zeros_like(inputs.vectors)
    effect = first_order_effect(model, "identity", inputs, closed)
    assert (effect[~inputs.mask] == 0).all()
    step = 1e-2  # predictions are float32
    with torch.no_grad():
        for slot in range(3):
            ends = []
            for way in (1 + step, 1 - step):
                moved = inputs.vectors.clone()
                moved[:, slot] *= way
                ends.append(predict(model, "identity", inputs.with_vectors(moved)))
            slope = (ends[0] - ends[1]) / (2 * step)
            torch.testing.assert_close(slope, effect[:, slot], atol=1e-3, rtol=1e-2, check_dtype=False)


def test_effects_add_up_over_the_genes_that_a_peak_reaches(reader: Reader) -> None:
    groups, genes = np.array([2, 5]), np.arange(reader.genes.height)
    whole = closing_effects(reader, groups, genes, 10_000)
    parts = sum(closing_effects(reader, groups, genes[k::3], 100) for k in range(3))
    np.testing.assert_allclose(whole, parts, atol=1e-5)
    assert (whole != 0).any() and whole.shape == (2, reader.dataset.n_peaks)


def planted(n_groups: int = 11, n_peaks: int = 400, n_factors: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    has = rng.random((n_peaks, n_factors)) < 0.15
    has[:, 1] |= has[:, 0]  # a factor whose motif lies in all peaks of another one and does nothing
    weights = rng.normal(size=(n_groups, n_factors))
    weights[:, 1] = 0
    return has, weights


def test_motif_weights_find_what_was_planted_and_not_what_lies_beside_it() -> None:
    has, weights = planted()
    effects = 0.7 + weights @ has.T
    np.testing.assert_allclose(motif_weights(effects, has, share=1e-9), weights, atol=1e-6)
    shrunk = motif_weights(effects, has)
    assert np.abs(shrunk[:, 1]).max() < 0.2 * np.abs(shrunk[:, 0]).max()
    turned = motif_activity(effects, has)
    assert (turned.mean(axis=0) >= 0).all()
    np.testing.assert_allclose(np.abs(turned), np.abs(shrunk))


def test_motif_deviations_are_high_where_the_peaks_of_a_motif_are_open() -> None:
    rng = np.random.default_rng(0)
    has, _ = planted()
    signal = rng.gamma(3.0, 1.0, (5, len(has))) * np.array([1, 2, 3, 4, 5])[:, None]
    signal[2, has[:, 4]] *= 3
    found = motif_deviations(signal, has, rng.random(len(has)), seed=1)
    assert found[:, 4].argmax() == 2 and found[2, 4] > 5
    # Depth alone makes no deviation.
    assert np.abs(found[[0, 4]][:, [2, 3, 5]]).max() < 5
    again = motif_deviations(signal, has, rng.random(len(has)) * 0, seed=1)
    assert again[2].argmax() == 4


def test_stand_ins_are_alike() -> None:
    mean, gc = np.arange(500.0), np.arange(500.0)[::-1]
    near = near_peaks(mean, gc)
    assert near.shape == (500, 50) and np.abs(near - np.arange(500)[:, None]).max() <= 50
    drawn = stand_ins(near, np.random.default_rng(0))
    assert (
        drawn.shape == (500,)
        and np.abs(drawn - np.arange(500)).max() <= 50
        and (drawn != np.arange(500)).any()
    )
    assert near_peaks(mean[:3], gc[:3]).shape == (3, 3)


def data(seed: int = 0, n: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Three labels; factor 4 marks label 0, factor 2 label 1, factor 5 label 2."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % 3)
    values = rng.normal(size=(n, 7))
    for one, factor in enumerate((4, 2, 5)):
        values[label == one, factor] += 2.0
    return values, label


@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
def test_the_regression_is_that_of_scikit_learn(c: float) -> None:
    from sklearn.linear_model import LogisticRegression

    values, label = data()
    values = standardised(values)
    found = one_vs_rest(values, label, 3, c)
    for one in range(3):
        theirs = LogisticRegression(C=c, class_weight="balanced", tol=1e-8, max_iter=1000)
        theirs.fit(values, label == one)
        np.testing.assert_allclose(found[one], theirs.coef_[0], atol=1e-4)


def test_separable_labels_have_finite_coefficients() -> None:
    values = np.concatenate([np.zeros((10, 2)), np.ones((10, 2)) * [9.0, 0.0]])
    found = one_vs_rest(standardised(values), np.repeat([0, 1], 10), 2, 1.0)
    assert np.isfinite(found).all() and found[1, 0] > 0 and found[0, 0] < 0 and abs(found[0, 1]) < 1e-9


def test_ranks_and_agreement_worked_by_hand() -> None:
    coefficient = np.array([[0.5, 3.0, 1.0, 2.0], [1.0, 1.0, 0.0, 2.0]])
    assert ranks(coefficient).tolist() == [[4, 1, 3, 2], [2, 3, 4, 1]]
    # Label 0: places 4 and 3, of two one can be... none is in the first 2. Label 1: place 1.
    found = agreement(coefficient, {0: [0, 2], 1: [3]}, k=2)
    assert found.recall == 0.5 and found.mrr == pytest.approx((1 / 3 + 1) / 2) and found.n_labels == 2
    # More listed factors than the head is long: at most k can be found.
    assert agreement(coefficient, {0: [1, 3, 2]}, k=2).recall == 1.0


def test_planted_factors_come_first_and_permuted_labels_find_chance() -> None:
    values, label = data()
    config = MasterConfig(k=1, n_bootstrap=20, n_permutations=40, seed=1)
    ranking = rank_masters(values, label, 3, config)
    assert ranking.coefficient.argmax(axis=1).tolist() == [4, 2, 5]
    assert ranking.stability(1)[[0, 1, 2], [4, 2, 5]].min() > 0.9
    low, high = ranking.interval()
    assert (low[[0, 1, 2], [4, 2, 5]] > 0).all() and (low <= high).all()
    found = judge(ranking, {0: [4], 1: [2], 2: [5]}, config.k)
    assert found["recall"] == 1.0 and found["mrr"] == 1.0 and found["recall_p"] == pytest.approx(1 / 41)
    assert found["permuted_recall"] == pytest.approx(1 / 7, abs=0.1)
    again = rank_masters(values, label, 3, config)
    np.testing.assert_array_equal(again.draws, ranking.draws)


def test_bootstraps_keep_the_size_of_every_label() -> None:
    label = np.array([0, 0, 0, 1, 1])
    for rows in bootstraps(label, MasterConfig(n_bootstrap=5)):
        assert np.bincount(label[rows]).tolist() == [3, 2]


def test_readings_are_combined_on_one_scale() -> None:
    # Mean squares 100 and 1: (10, 0) becomes (sqrt 2, 0), (1, -1) stays.
    loud = Ranking(np.array([[10.0, 0.0]]), *[np.zeros((0, 1, 2))] * 2)
    quiet = Ranking(np.array([[1.0, -1.0]]), *[np.zeros((0, 1, 2))] * 2)
    still = Ranking(np.zeros((1, 2)), *[np.zeros((0, 1, 2))] * 2)
    np.testing.assert_allclose(combined([loud, quiet]).coefficient, [[(np.sqrt(2) + 1) / 2, -0.5]])
    np.testing.assert_allclose(combined([quiet, still]).coefficient, [[0.5, -0.5]])


def test_the_table_is_sorted_by_place_within_labels() -> None:
    ranking = Ranking(np.array([[1.0, 2.0], [4.0, 3.0]]), *[np.zeros((0, 2, 2))] * 2)
    table = master_table("r", ranking, ["b", "a"], ["x", "y"], np.zeros((2, 2)), 1)
    assert table["label"].to_list() == ["b", "b", "a", "a"] and table["tf"].to_list() == ["y", "x", "x", "y"]
    assert table["low"].null_count() == 4


def test_columns_of_one_unit_keep_their_proportions() -> None:
    values = np.array([[0.0, 0.0], [4.0, 2.0]])
    # Standard deviations 2 and 1: one by one both become 1; together they are divided by sqrt((4 + 1) / 2).
    np.testing.assert_allclose(standardised(values)[1], [1.0, 1.0])
    np.testing.assert_allclose(standardised(values, common=True)[1], np.array([2.0, 1.0]) / np.sqrt(2.5))
