"""Shifts of states by hand, perturbations of many sets against one edit at a time, and random sets of the same sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cisoform.analysis.knockin import OpenProfiles
from cisoform.analysis.perturbation import EditedPeaks, SignalEdit, apply_edit
from cisoform.analysis.reader import Reader
from cisoform.analysis.shifts import Kind, perturbed, predicted, random_sets
from cisoform.analysis.transition import (
    States,
    StateSpace,
    energy_distance,
    p_values,
    reversal,
    shift,
    target_share,
    without_size,
    z_scores,
)
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.perturbation import edited_slots
from cisoform.jobs.readings import open_reader
from cisoform.jobs.transition_setting import gene_activity
from tests.data.gene_sets import build_small, save_creformer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    root = tmp_path_factory.mktemp("shifts")
    dataset = build_small(root, fragments=True, n_cells=8)
    model = CREformerModel.load(save_creformer(root / "model"))
    every = np.arange(dataset.groups.height), np.arange(dataset.genes.height)
    return open_reader(model, dataset, *every, cache=root / "cache")


def test_scores_of_a_hand_worked_shift() -> None:
    # From (0, 0) to (3, 4); the cells move by (3, 0) on average: cosine 3/5, along 9 / 25 of the way, size 3 / 5.
    states = States.of(np.zeros((2, 2)), np.array([[3.0, 4.0]]))
    found = shift(states, np.array([0, 1]), np.array([[2.0, 1.0], [4.0, -1.0]]))
    assert (found.cosine, found.projection, found.size) == pytest.approx((0.6, 9 / 25, 0.6))
    assert np.isnan(found.knn_gain) and np.isnan(found.energy_drop) and states.space is None
    still = shift(states, np.array([1]), states.source[1:])
    assert still.cosine == 0 and still.projection == 0 and still.size == 0


def clouds(n: int = 13) -> States:
    rng = np.random.default_rng(0)
    return States.of(rng.normal(size=(n, 5)), rng.normal(size=(n + 4, 5)) + 5)


def test_cells_that_arrive_have_all_scores_and_cells_that_stay_have_none() -> None:
    states = clouds()
    rows = np.arange(3)
    arrived = shift(states, rows, states.source[rows] + states.difference)
    assert arrived.cosine == pytest.approx(1) and arrived.projection == pytest.approx(1)
    assert arrived.knn_gain > 0.9 and arrived.energy_drop > 0.8
    stayed = shift(states, rows, states.source[rows])
    assert stayed.knn_gain == 0 and stayed.energy_drop == pytest.approx(0)
    away = shift(states, rows, states.source[rows] - states.difference)
    assert away.cosine == pytest.approx(-1) and away.energy_drop < 0 and away.knn_gain <= 0


def test_components_are_those_of_unperturbed_cells_and_have_a_fixed_sign() -> None:
    cells = np.random.default_rng(1).normal(size=(20, 7)) * np.arange(1, 8)
    space = StateSpace.fit(cells, 3)
    np.testing.assert_allclose(space.components.T @ space.components, np.eye(3), atol=1e-9)
    again = StateSpace.fit(cells[::-1].copy(), 3)
    np.testing.assert_allclose(again.components, space.components, atol=1e-6)
    np.testing.assert_allclose(space.transform(cells).mean(axis=0), 0, atol=1e-9)
    constant = np.ones((12, 2)) * [4.0, 0.0] + np.arange(12.0)[:, None] * [0, 1]
    assert np.isfinite(StateSpace.fit(constant).transform(constant)).all()


def test_neighbours_leave_a_cell_itself_out() -> None:
    source, target = np.array([[0.0], [10.0]]), np.array([[1.0], [2.0]])
    # Nearest to source 0 but itself: both targets; one neighbour of source 1: target 2.
    assert target_share(source[:1], source, target, np.array([0]), k=2) == 1.0
    assert target_share(source, source, target, np.array([0, 1]), k=3) == pytest.approx(2 / 3)


def test_energy_distance_worked_by_hand() -> None:
    # 2 x 1 - 0 - (0 + 2 + 2 + 0) / 4 = 1.
    assert energy_distance(np.array([[1.0]]), np.array([[0.0], [2.0]])) == pytest.approx(1.0)
    same = np.random.default_rng(0).normal(size=(9, 3))
    assert energy_distance(same, same) == pytest.approx(0.0, abs=1e-9)


def test_reversal_of_given_genes() -> None:
    found = reversal(np.array([-1.0, 0.5, 2.0, 0.0]), np.array([0, 1]), np.array([2]))
    assert (found.up, found.down, found.share, found.reversal) == pytest.approx((-0.25, 2.0, 2 / 3, 2.25))


def test_p_values_count_the_value_itself() -> None:
    null = np.array([0.0, 1.0, 2.0])
    assert p_values(np.array([2.0, 0.0]), null) == [2 / 4, 1.0]
    assert z_scores(np.array([3.0]), null[::2]) == [2.0] and z_scores(np.array([3.0]), np.ones(2)) == [0.0]


def test_what_the_size_of_an_edit_explains_is_taken_away() -> None:
    sizes = np.array([1.0, 3.0, 10.0, 40.0])
    null = 0.1 + 0.2 * np.log1p(sizes)
    values, chance = without_size(
        [0.1 + 0.2 * np.log1p(20.0), 1.0], [20.0, 0.0], null.tolist(), sizes.tolist()
    )
    np.testing.assert_allclose(chance, 0, atol=1e-12)
    np.testing.assert_allclose(values, [0.0, 0.9], atol=1e-12)


@pytest.mark.parametrize("kind", ["knockin", "knockout"])
def test_many_sets_at_once_equal_one_edit_at_a_time(reader: Reader, kind: Kind) -> None:
    groups, genes = np.array([1, 4, 6]), np.array([0, 3, 5, 11])
    rng = np.random.default_rng(2)
    sets = rng.random((5, reader.dataset.n_peaks)) < 0.3
    sets[3] = False
    found = perturbed(reader, groups, genes, sets, kind)
    before = predicted(reader, groups, genes)
    np.testing.assert_allclose(found.states[3], before, atol=1e-5)
    assert found.edited[3] == 0 and (found.accessibility[3] == 0).all()
    opened = OpenProfiles(reader.dataset) if kind == "knockin" else None
    for number, one in enumerate(sets):
        peaks = np.flatnonzero(one)
        if not len(peaks):
            continue
        edited = EditedPeaks(reader, SignalEdit(peaks, opened=opened))
        gain, seen = np.zeros(len(genes)), set()
        for inputs in reader.batches(groups, genes):
            where, place = edited_slots(inputs, peaks)
            effect = apply_edit(edited, inputs, where, place)
            row = np.searchsorted(groups, inputs.group.numpy())
            column = np.searchsorted(genes, inputs.gene.numpy())
            np.testing.assert_allclose(found.states[number, row, column], effect.after, atol=1e-5)
            np.add.at(gain, column, effect.accessibility / len(groups))
            kept = edited.of(inputs, where, place)[2]
            slots = where.nonzero()[torch.from_numpy(kept)]
            group = inputs.group[slots[:, 0]].tolist()
            seen |= set(zip(group, inputs.peak[slots[:, 0], slots[:, 1]].tolist(), strict=True))
        np.testing.assert_allclose(found.accessibility[number], gain, atol=1e-4)
        assert found.edited[number] == pytest.approx(len(seen) / len(groups))
    sign = 1 if kind == "knockin" else -1
    assert (sign * found.accessibility >= -1e-9).all() and (found.accessibility != 0).any()


def test_random_sets_have_the_sizes_of_the_sets_where_they_count() -> None:
    rng = np.random.default_rng(0)
    sets = np.zeros((3, 900), dtype=bool)
    for row, size in enumerate((5, 11, 17)):
        sets[row, rng.choice(600, size, replace=False)] = True
    sets[:, 700:] = True  # out of reach: nothing there counts
    signal, gc, within = np.arange(900.0), np.zeros(900), np.arange(600)
    found = random_sets(sets, within, signal, gc, 200, seed=1)
    sizes = found.sum(axis=1)
    assert found.shape == (200, 900) and sizes.max() <= 17 and sizes.min() >= 3
    assert abs((sizes > 12).mean() - 1 / 3) < 0.1 and not found[:, 600:].any()
    np.testing.assert_array_equal(found, random_sets(sets, within, signal, gc, 200, seed=1))
    assert (found != random_sets(sets, within, signal, gc, 200, seed=2)).any()


def test_gene_activity_falls_with_distance(reader: Reader) -> None:
    groups, genes = np.array([0, 2]), np.array([2, 9])
    index = reader.dataset.index
    found = gene_activity(reader, groups, genes)
    for row, gene in enumerate(genes.tolist()):
        peaks = np.arange(index.first[gene], index.first[gene] + index.count[gene])
        signal = reader.signal(groups, peaks).mean(axis=0)
        apart = np.maximum(np.abs(index.mid[peaks] - index.tss[gene]), 5000)
        assert found[row] == pytest.approx(float((signal * (apart / 5000) ** -0.87).sum()), rel=1e-5)
