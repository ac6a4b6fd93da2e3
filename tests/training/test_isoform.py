from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from cisoform.batches import IsoformBatch, Modality, Tokens
from cisoform.errors import InputError
from cisoform.models.aggregation import CrossAttentionConfig
from cisoform.models.encoders import ConvConfig
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig
from cisoform.training.config import TrainConfig
from cisoform.training.isoform import IsoformLossConfig, IsoformTask, log_variances, masked_loss, means
from cisoform.training.loop import fit
from cisoform.training.metrics import column_r2, column_spearman
from cisoform.weights.store import load_model
from tests.models.batches import CHANNELS, IDS, random_batch
from tests.training.toy import Stop, StopAt


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


NAN = math.nan
MSE = IsoformLossConfig()


def mean_of(loss):
    return float(loss.total.detach() / loss.weight)


def test_masked_loss_of_a_hand_worked_batch():
    output = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
    targets = torch.tensor([[0.0, NAN, 1.0], [NAN, 3.0, 5.0]])
    # squares of the labels that are there: 1, 4, 9, 0
    loss = masked_loss(output, targets, None, MSE)
    assert (float(loss.total), float(loss.weight)) == (14.0, 4.0)
    weights = torch.tensor([[2.0, 100.0, 1.0], [100.0, 0.0, 1.0]])
    loss = masked_loss(output, targets, weights, MSE)
    assert (float(loss.total), float(loss.weight)) == (
        6.0,
        4.0,
    )  # 2 * 1 + 4 + 0 * 9 + 0, weights 2 + 1 + 0 + 1
    # Huber with delta 1: 0.5 * 1, 2 - 0.5, 3 - 0.5, 0
    assert float(masked_loss(output, targets, None, IsoformLossConfig(kind="huber")).total) == 4.5


@pytest.mark.parametrize("kind", ["mse", "huber", "gaussian"])
def test_missing_labels_change_neither_loss_nor_gradient(kind):
    torch.manual_seed(0)
    config = IsoformLossConfig(kind=kind)
    output = torch.randn(5, 6 if kind == "gaussian" else 3, requires_grad=True)
    targets = torch.randn(5, 3)
    cut = masked_loss(output[:2], targets[:2], None, config)
    (expected,) = torch.autograd.grad(cut.total, output)
    targets[2:] = NAN
    masked = masked_loss(output, targets, None, config)
    (gradient,) = torch.autograd.grad(masked.total, output)
    torch.testing.assert_close(mean_of(masked), mean_of(cut))
    torch.testing.assert_close(gradient, expected)
    assert torch.isfinite(gradient).all()


def test_a_batch_without_labels_has_no_loss_and_no_weight():
    loss = masked_loss(torch.ones(2, 3), torch.full((2, 3), NAN), None, MSE)
    assert (float(loss.total), float(loss.weight)) == (0.0, 0.0)


def test_the_gaussian_loss_is_the_negative_log_likelihood():
    mean, log_variance, target = 0.3, 0.7, 1.9
    loss = masked_loss(
        torch.tensor([[mean, log_variance]]),
        torch.tensor([[target]]),
        None,
        IsoformLossConfig(kind="gaussian", gaussian_beta=0.0),
    )
    expected = -stats.norm.logpdf(target, mean, math.exp(0.5 * log_variance)) - 0.5 * math.log(2 * math.pi)
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_weighs_the_gradient_by_the_variance(beta):
    output = torch.tensor([[0.3, 0.7], [0.3, -1.2]], requires_grad=True)
    config = IsoformLossConfig(kind="gaussian", gaussian_beta=beta)
    masked_loss(output, torch.full((2, 1), 1.9), None, config).total.backward()
    variance = torch.exp(output[:, 1].detach())
    torch.testing.assert_close(output.grad[:, 0], (0.3 - 1.9) * variance ** (beta - 1))
    torch.testing.assert_close(output.grad[:, 1], 0.5 * (1 - 1.6**2 / variance) * variance**beta)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_gaussian_loss_finds_the_noise_of_every_label(beta):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs = torch.rand(4000, 1) * 2 - 1
    sd = torch.exp(inputs)
    targets = torch.sin(3 * inputs) + sd * torch.randn(4000, 1)
    model = torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    config = IsoformLossConfig(kind="gaussian", gaussian_beta=beta)
    for _ in range(400):
        optimiser.zero_grad()
        loss = masked_loss(model(inputs), targets, None, config)
        (loss.total / loss.weight).backward()
        optimiser.step()
    shown = torch.linspace(-0.9, 0.9, 50)[:, None]
    found = model(shown).detach()
    assert (torch.exp(0.5 * log_variances(found)) / torch.exp(shown) - 1).abs().max() < 0.15
    assert ((means(found, config) - torch.sin(3 * shown)) / torch.exp(shown)).abs().max() < 0.25


def test_a_model_with_another_number_of_tissues_is_named():
    with pytest.raises(ValueError, match=r"gives \(2, 3\) means, but the labels are \(2, 5\)"):
        masked_loss(torch.ones(2, 3), torch.ones(2, 5), None, MSE)


def test_metrics_agree_with_scipy_and_sklearn_and_skip_missing_labels():
    from sklearn.metrics import r2_score

    random = np.random.default_rng(0)
    observed = random.normal(size=(31, 3)).round(1)  # rounded: ties
    predicted = (observed + random.normal(size=(31, 3))).round(1)
    masked = observed.copy()
    masked[::4, 1] = NAN
    there = ~np.isnan(masked[:, 1])
    for values, rows in ((observed, slice(None)), (masked, there)):
        assert column_r2(values, predicted)[1] == pytest.approx(r2_score(values[rows, 1], predicted[rows, 1]))
        expected = stats.spearmanr(values[rows, 1], predicted[rows, 1]).statistic
        assert column_spearman(values, predicted)[1] == pytest.approx(expected)


def test_metrics_of_columns_that_cannot_be_scored():
    observed = np.array([[1.0, NAN, 2.0], [1.0, NAN, 3.0], [1.0, 4.0, 4.0]])
    predicted = np.array([[1.0, 2.0, 5.0], [2.0, 3.0, 5.0], [3.0, 4.0, 5.0]])
    assert np.isnan(column_r2(observed, predicted)).tolist() == [True, True, False]
    # the last column has a constant prediction: it ranks nothing
    np.testing.assert_equal(column_spearman(observed, predicted), [NAN, NAN, 0.0])


def batch_of(values, targets, weights=None, start=0):
    n = len(values)
    tokens = Tokens(ids=values[:, None], mask=torch.ones(n, 1, dtype=torch.bool))
    rna = Modality(tokens=tokens, row=torch.arange(n), present=torch.ones(n, dtype=torch.bool))
    index = torch.arange(start, start + n)
    return IsoformBatch(dna=None, rna=rna, protein=None, index=index, targets=targets, weights=weights)


class TableModel(nn.Module):
    """A row of predictions per token."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.table = nn.Embedding(5, outputs)
        nn.init.zeros_(self.table.weight)

    def forward(self, batch: IsoformBatch) -> torch.Tensor:
        assert batch.rna is not None
        return self.table(batch.rna.tokens.ids[:, 0])


def table_batches(epoch=0):
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, (29,), generator=generator)
    targets = torch.stack([ids.float() - 2, 4.0 * (ids == 1)], dim=1)
    targets[::7, 0] = NAN
    return [batch_of(ids[i : i + 6], targets[i : i + 6], start=i) for i in range(0, 29, 6)]


class TableSource:
    def n_batches(self, epoch):
        return len(table_batches())

    def epoch(self, epoch, start=0):
        yield from table_batches()[start:]


@pytest.mark.parametrize("kind", ["mse", "huber", "gaussian"])
def test_a_table_is_learnt_and_saved(tmp_path, kind):
    model = TableModel(4 if kind == "gaussian" else 2)
    task = IsoformTask(
        model,
        config={"rows": 5},
        files={"normaliser.json": {"columns": ["WT", "gene"]}},
        loss=IsoformLossConfig(kind=kind),
        columns=[0],
        monitor="spearman",
    )
    config = TrainConfig(
        epochs=60,
        lr=0.1,
        clip=None,
        weight_decay=0.0,
        validate_every=100,
        checkpoint_every=1000,
        log_every=1000,
    )
    result = fit(task, TableSource(), TableSource(), config, tmp_path / "run", device="cpu")
    assert result.best["spearman"] == pytest.approx(1.0)
    with torch.no_grad():
        assert task.validate(table_batches())["r2"] > 0.99
    stored = load_model(tmp_path / "run")
    assert stored.config == {"rows": 5} and stored.files["normaliser.json"] == {"columns": ["WT", "gene"]}


def test_validation_scores_the_chosen_columns_alone():
    model = TableModel()
    with torch.no_grad():
        model.table.weight[:, 0] = torch.arange(5) - 2.0  # the first column is right, the second constant
        first = IsoformTask(model, config={}, columns=[0]).validate(table_batches())
        second = IsoformTask(model, config={}, columns=[1]).validate(table_batches())
        both = IsoformTask(model, config={}).validate(table_batches())
    assert (first["r2"], first["spearman"], second["spearman"]) == (1.0, pytest.approx(1.0), 0.0)
    assert both["r2"] == pytest.approx((first["r2"] + second["r2"]) / 2)
    assert first["loss"] == second["loss"] == both["loss"]


def test_validation_does_not_depend_on_how_rows_are_cut_into_batches():
    model = TableModel()
    nn.init.normal_(model.table.weight)
    task = IsoformTask(model, config={})
    batches = table_batches()
    ids = torch.cat([batch.rna.tokens.ids[:, 0] for batch in batches])
    joined = batch_of(ids, torch.cat([batch.targets for batch in batches]))
    with torch.no_grad():
        assert task.validate([joined]) == pytest.approx(task.validate(batches), rel=1e-5)


def test_column_weights_multiply_the_batchs_weights():
    targets = torch.tensor([[1.0, 2.0], [3.0, NAN]])
    batch = batch_of(torch.tensor([0, 1]), targets, weights=torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    loss = IsoformTask(TableModel(), config={}, column_weights=(1.0, 0.5)).loss(batch)
    # predictions are 0: 1 * 1 + 2 * 0.5 * 4 + 3 * 9; weights 1 + 1 + 3
    assert (float(loss.total.detach()), float(loss.weight)) == (32.0, 5.0)


def test_a_table_of_genes_alone_has_no_column_to_validate_on():
    with pytest.raises(InputError, match="none of the expression columns is of transcripts"):
        IsoformTask(TableModel(), config={}, columns=[])


def test_validation_without_any_label_is_refused():
    batch = batch_of(torch.tensor([0, 1]), torch.full((2, 2), NAN))
    with pytest.raises(InputError, match="the validation part has no label"):
        IsoformTask(TableModel(), config={}).validate([batch])


def test_validation_on_constant_labels_stops_the_run(tmp_path):
    class Constant(TableSource):
        def epoch(self, epoch, start=0):
            yield batch_of(torch.tensor([0, 1]), torch.ones(2, 2))

    task = IsoformTask(TableModel(), config={})
    with pytest.raises(InputError, match="validation metric r2 is nan after step 5"):
        fit(task, TableSource(), Constant(), TrainConfig(epochs=1), tmp_path / "run", device="cpu")


class MixedSource:
    """Transcripts with some of their modalities: some batches leave parameters without a gradient."""

    def n_batches(self, epoch):
        return 3

    def epoch(self, epoch, start=0):
        for number, present in list(enumerate((["drp", "dr", "p"], ["rp"] * 7, ["d", "dp"])))[start:]:
            batch = random_batch(present, seed=10 * epoch + number)
            labels = torch.randn(len(present), 3, generator=torch.Generator().manual_seed(number))
            labels[0, 1] = NAN
            yield replace(batch, targets=labels)


def isoformer():
    torch.manual_seed(0)
    parts = {
        name: ConvConfig(
            ids=IDS[name], channels=CHANNELS[name], widths=(8,), bins=(4,), stem_kernel=5, dropout=0.2
        )
        for name in IDS
    }
    aggregator = CrossAttentionConfig(heads=2, aggregate="all")
    return IsoFormer(IsoFormerConfig(tissues=3, aggregator=aggregator, head_dropout=0.1, **parts))


def test_an_isoformer_stopped_and_resumed_equals_the_uninterrupted_one(tmp_path):
    config = TrainConfig(epochs=3, lr=0.01, ema_decay=0.9, checkpoint_every=2)

    def train(name, **options):
        task = IsoformTask(isoformer(), config={"tissues": 3}, monitor="loss")
        fit(task, MixedSource(), MixedSource(), config, tmp_path / name, device="cpu", **options)
        return task.model.state_dict()

    whole = train("whole")
    for stop in (3, 8):
        with pytest.raises(Stop):
            train(f"run{stop}", progress=StopAt(stop))
        resumed = train(f"run{stop}", resume=True)
        assert all(torch.equal(resumed[name], whole[name]) for name in whole)
        best = load_model(tmp_path / f"run{stop}").state
        assert all(
            torch.equal(best[name], value) for name, value in load_model(tmp_path / "whole").state.items()
        )
