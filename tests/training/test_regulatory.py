"""The task of the second stage: losses worked by hand, padding that changes nothing, scores against slow ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cisoform.batches import GeneBatch
from cisoform.errors import InputError
from cisoform.models.creformer import CREformer, CREformerConfig, ElementaryConfig
from cisoform.models.creformer.frozen import freeze
from cisoform.models.creformer.slots import expression_of, peak_slots
from cisoform.training.gene_metrics import gene_pearson, pearson, scores
from cisoform.training.regulatory import (
    RegulatoryLossConfig,
    RegulatoryTask,
    correlation_loss,
    read_batch,
)

torch.set_num_threads(1)
TINY = ElementaryConfig(dim=16, heads=2, ffn=24, bin_layers=1, window_layers=2)


class Table:
    """Features by state id, in memory."""

    def __init__(self, values):
        self.values, self.asked = values, []

    def gather(self, states):
        self.asked.append(states)
        return self.values[states.long()]


def model_of(**changes):
    torch.manual_seed(0)
    model = CREformer(CREformerConfig(elementary=TINY, layers=1, **changes))
    freeze(model.elementary)
    return model


def table_of(pooled=False):
    generator = torch.Generator().manual_seed(4)
    return Table(torch.randn(40, *((16,) if pooled else (8, 16)), generator=generator))


def batch_of(counts=(3, 5, 1, 4), seed=0):
    rng = np.random.default_rng(seed)
    slots = max(counts)
    mask = np.arange(slots) < np.array(counts)[:, None]
    tss = np.array([count // 2 for count in counts])
    steps = np.abs(np.arange(slots) - tss[:, None])
    return GeneBatch(
        state=torch.from_numpy(np.where(mask, rng.integers(1, 40, mask.shape), 0).astype(np.int32)),
        mask=torch.from_numpy(mask),
        distance=torch.from_numpy(
            np.where(mask, rng.integers(-9000, 9000, mask.shape), 0).astype(np.float32)
        ),
        rank=torch.from_numpy(np.where(mask & (steps > 0), 2 * steps, 0).astype(np.int32)),
        tss_peak=torch.from_numpy(tss.astype(np.int64)),
        gene=torch.arange(len(counts)) % 2,
        group=torch.arange(len(counts)),
        targets=torch.from_numpy(rng.random(len(counts)).astype(np.float32)),
    )


def rows_of(batch, rows, slots):
    rows = torch.tensor(rows)
    cut = {name: getattr(batch, name)[rows, :slots] for name in ("state", "mask", "distance", "rank")}
    return GeneBatch(
        **cut,
        tss_peak=batch.tss_peak[rows],
        gene=batch.gene[rows],
        group=batch.group[rows],
        targets=batch.targets[rows],
    )


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"positions": "rank"},
        {"head": "flat", "max_peaks": 6},
        {"positions": "rank", "head": "flat", "mask_padding": False, "max_peaks": 6},
    ],
)
@pytest.mark.parametrize("pooled", [False, True])
def test_batch_mates_and_padding_change_nothing(choice, pooled):
    model, table, batch = model_of(**choice).eval(), table_of(pooled), batch_of()
    with torch.no_grad():
        together = read_batch(model, table, batch)
        for row, count in enumerate((3, 5, 1, 4)):
            alone = read_batch(model, table, rows_of(batch, [row], count))
            torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-5)


def test_each_distinct_state_is_gathered_and_pooled_once():
    model, table, batch = model_of(), table_of(), batch_of()
    slots = peak_slots(model, table, batch)
    assert len(table.asked) == 1 and len(table.asked[0]) == len(batch.state[batch.mask].unique())
    expected = model.pool(table.values[batch.state.long().reshape(-1)]).reshape(slots.shape)
    torch.testing.assert_close(slots[batch.mask], expected[batch.mask])


def test_gradients_are_those_of_encoding_every_sample():
    """With the features of each slot pooled separately the weights move the same way."""
    model, table, batch = model_of(), table_of(), batch_of()
    task = RegulatoryTask(model, table, RegulatoryLossConfig(correlation=0.0))
    task.loss(batch).total.backward()
    shared = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    peaks = model.pool(table.values[batch.state.long()].flatten(0, 1)).unflatten(0, batch.state.shape)
    predicted = model(peaks, batch.mask, batch.distance, batch.tss_peak)
    (predicted - batch.targets).square().sum().backward()
    assert "pool.logits.weight" in shared and not any(name.startswith("elementary") for name in shared)
    for name, gradient in shared.items():
        torch.testing.assert_close(gradient, model.get_parameter(name).grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"kind": "mse"}, 0.25 + 4.0),
        ({"kind": "huber", "huber_delta": 1.0}, 0.5 * 0.25 + (2.0 - 0.5)),
        ({"kind": "poisson"}, (math.e - math.expm1(1.5)) + (math.exp(2.0) - 0.0)),
    ],
)
def test_losses_by_hand(config, expected):
    output, target = torch.tensor([1.0, 2.0]), torch.tensor([1.5, 0.0])
    task = RegulatoryTask(model_of(), table_of(), RegulatoryLossConfig(**config))
    assert float(task._errors(output, target).sum()) == pytest.approx(expected, rel=1e-5)


def test_poisson_is_least_at_the_truth_and_has_a_gradient_everywhere():
    task = RegulatoryTask(model_of(), table_of(), RegulatoryLossConfig(kind="poisson"))
    target = torch.tensor([0.3, 2.0, 7.0])
    best = target.expm1().log().requires_grad_()
    (gradient,) = torch.autograd.grad(task._errors(best, target).sum(), best)
    torch.testing.assert_close(gradient, torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(expression_of(best, "softplus"), target, atol=1e-5, rtol=1e-5)
    far = torch.tensor([30.0, -30.0, 30.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(task._errors(far, target).sum(), far)
    assert torch.isfinite(gradient).all() and gradient[0] > 0 and gradient[1] < 0


def test_correlation_term():
    gene = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3])
    target = torch.tensor([1.0, 2, 3, 1, 2, 3, 5, 9, 4, 4, 4])
    predicted = torch.tensor([10.0, 20, 30, 30, 20, 10, 0, 0, 1, 2, 3])
    # Gene 0 agrees (0), gene 1 is reversed (3 x 2); gene 2 has two samples, gene 3 a constant target.
    assert float(correlation_loss(predicted, target, gene)) == pytest.approx(6.0, abs=0.02)
    flat = torch.zeros(11, requires_grad=True)
    correlation_loss(flat, target, gene).backward()
    assert torch.isfinite(flat.grad).all()


def test_the_correlation_term_is_weighted_and_joins():
    model, table, batch = model_of().eval(), table_of(), batch_of((2,) * 8)
    plain = RegulatoryTask(model, table, RegulatoryLossConfig(correlation=0.0)).loss(batch)
    more = RegulatoryTask(model, table, RegulatoryLossConfig(correlation=0.5)).loss(batch)
    term = correlation_loss(read_batch(model, table, batch), batch.targets, batch.gene)
    torch.testing.assert_close(more.total, plain.total + 0.5 * term)
    assert float(more.weight) == len(batch)


def test_training_shows_every_depth_and_validation_the_usual_one():
    model, usual, half = model_of().eval(), table_of(), table_of()
    half.values = half.values * 0.5
    batch = batch_of((2,) * 8)
    config = RegulatoryLossConfig(correlation=0.0)
    task = RegulatoryTask(model, usual, config, at_depths=[half])

    def total(task):
        return float(task.loss(batch).total.detach())

    expected = {total(RegulatoryTask(model, table, config)) for table in (usual, half)}
    torch.manual_seed(0)
    found = [total(task) for _ in range(20)]
    torch.manual_seed(0)
    assert found == [total(task) for _ in range(20)]  # of torch's stream: a resumed run repeats it
    assert set(found) == expected and len(expected) == 2
    with torch.no_grad():
        torch.testing.assert_close(task.output(batch), read_batch(model, usual, batch))


def test_validation_scores_equal_slow_ones():
    model, table = model_of().eval(), table_of()
    task = RegulatoryTask(model, table, RegulatoryLossConfig())
    batches = [batch_of((2,) * 8, seed) for seed in range(3)]
    with torch.no_grad():
        found = task.validate(batches)
        predicted = np.concatenate([task.output(batch).numpy() for batch in batches])
    truth = np.concatenate([batch.targets.numpy() for batch in batches])
    gene = np.concatenate([batch.gene.numpy() for batch in batches])
    assert found["loss"] == pytest.approx(np.square(predicted - truth).mean(), rel=1e-5)
    assert found["pearson"] == pytest.approx(np.corrcoef(predicted, truth)[0, 1], abs=1e-6)
    by_gene = [np.corrcoef(predicted[gene == g], truth[gene == g])[0, 1] for g in (0, 1)]
    assert found["gene_pearson"] == pytest.approx(np.mean(by_gene), abs=1e-5)
    assert set(found) == set(task.metrics)
    with pytest.raises(InputError, match="no sample"):
        task.validate([])


def test_scores_of_means_alone_are_zero_per_gene():
    gene = np.repeat(np.arange(5), 7)
    truth = gene + np.random.default_rng(0).random(35)
    means = np.repeat([truth[gene == g].mean() for g in range(5)], 7)
    found = scores(truth, means, gene)
    assert found["pearson"] > 0.9 and found["gene_pearson"] == 0
    assert found["delta_pearson"] == 0 and found["delta_r2"] == pytest.approx(0)
    perfect = scores(truth, truth, gene)
    assert perfect["gene_pearson"] == pytest.approx(1) and perfect["delta_r2"] == pytest.approx(1)


def test_undefined_scores_are_nan():
    gene = np.array([4, 4, 7, 7, 7, 9, 9, 9])
    truth = np.array([1.0, 2, 3, 3, 3, 1, 2, 4])
    found = gene_pearson(truth, np.arange(8.0), gene)
    assert np.isnan(found[:2]).all() and found[2] == pytest.approx(np.corrcoef([1, 2, 4], [5, 6, 7])[0, 1])
    assert math.isnan(pearson(np.ones(4), np.arange(4.0))) and pearson(np.arange(4.0), np.ones(4)) == 0


def test_too_many_peaks_are_refused():
    with pytest.raises(InputError, match="5 peaks.*at most 4.*max_peaks=5"):
        read_batch(model_of(max_peaks=4), table_of(), batch_of())


@pytest.mark.parametrize("bad", [{"huber_delta": 0.0}, {"correlation": -1.0}])
def test_impossible_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        RegulatoryLossConfig(**bad)
