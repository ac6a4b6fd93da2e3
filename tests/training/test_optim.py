from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from cisoform.training.config import TrainConfig
from cisoform.training.optim import Ema, learning_rate, make_optimiser, named_groups


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.norm = nn.LayerNorm(5)
        self.table = nn.Embedding(7, 5)
        self.content_bias = nn.Parameter(torch.zeros(1, 2, 1, 5))
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)
        self.tied = self.linear


def test_only_trainable_matrices_decay():
    decayed, free = named_groups(Parts())
    assert decayed == ["linear.weight", "table.weight"]
    assert set(free) == {"linear.bias", "norm.weight", "norm.bias", "content_bias", "scale"}


def test_weight_decay_shrinks_matrices_alone():
    model = nn.Linear(2, 2)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    optimiser = make_optimiser(model, TrainConfig(lr=0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    # AdamW with zero gradient: w - lr * decay * w = 1 - 0.1 * 0.5.
    torch.testing.assert_close(model.weight, torch.full((2, 2), 0.95))
    torch.testing.assert_close(model.bias, torch.ones(2))


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimiser_is_the_named_one(name, kind):
    optimiser = make_optimiser(nn.Linear(2, 2), TrainConfig(optimiser=name, lr=3e-5, betas=(0.8, 0.9)))
    assert (
        type(optimiser) is kind
        and optimiser.defaults["lr"] == 3e-5
        and optimiser.defaults["betas"] == (0.8, 0.9)
    )


def test_the_schedule_of_ten_steps_worked_by_hand():
    # Warm-up of 2 steps: 1/2, 2/2 of the peak. Then progress 1/8 ... 8/8 of the cosine from 1 down to 0.1.
    config = TrainConfig(lr=2.0, warmup_steps=2, final_lr_fraction=0.1)
    rates = [learning_rate(step, 10, config) for step in range(10)]
    assert rates[:2] == [1.0, 2.0]
    assert rates[5] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))  # progress 4/8: cos(pi / 2) = 0
    assert rates[2] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 8))))
    assert rates[9] == pytest.approx(0.2)
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_warm_up_may_be_a_fraction_of_all_steps_or_longer_than_them():
    config = TrainConfig(lr=1.0, warmup_fraction=0.2, schedule="constant")
    assert [learning_rate(step, 10, config) for step in (0, 1, 2, 9)] == [0.5, 1.0, 1.0, 1.0]
    assert learning_rate(4, 5, TrainConfig(lr=1.0, warmup_steps=10)) == 0.5
    assert learning_rate(0, 1, TrainConfig(lr=1.0, warmup_fraction=0.0)) == 0.0  # one step: the cosine's end


def test_the_moving_average_worked_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    ema = Ema(model, decay=0.5)
    nn.init.constant_(model.weight, 11.0)
    ema.update(model, step=0)  # decay min(0.5, 1 / 10): 0.1 * 1 + 0.9 * 11
    assert ema.shadow["weight"].item() == pytest.approx(10.0)
    ema.update(model, step=98)  # decay min(0.5, 99 / 108): 0.5 * 10 + 0.5 * 11
    assert ema.shadow["weight"].item() == pytest.approx(10.5)
    with ema.applied(model):
        assert model.weight.item() == pytest.approx(10.5)
    assert model.weight.item() == 11.0


def test_the_weights_come_back_after_an_error_under_the_average():
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.item()
    ema = Ema(model, decay=0.5)
    ema.shadow["weight"].fill_(3.0)
    with pytest.raises(KeyError), ema.applied(model):
        assert model.weight.item() == 3.0
        raise KeyError
    assert model.weight.item() == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": 0.0}, "lr=0.0 must be more than 0"),
        ({"lr": math.nan}, "lr=nan must be more than 0"),
        ({"warmup_fraction": 1.5}, "warmup_fraction=1.5 must be at least 0 and at most 1"),
        ({"accumulate": 0}, "accumulate=0 must be at least 1"),
        ({"epochs": 0}, "epochs=0 must be at least 1"),
        ({"epochs": None}, "epochs and max_steps are both None"),
        ({"patience": 0}, "patience=0 must be at least 1"),
        ({"ema_decay": 1.0}, r"ema_decay=1.0 never follows"),
        ({"betas": (0.9, 1.0)}, r"betas=\(0.9, 1.0\) must be"),
        ({"clip": 0.0}, "clip=0.0 must be more than 0"),
        ({"max_minutes": -1.0}, "max_minutes=-1.0 must be more than 0"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
    ],
)
def test_a_setting_out_of_range_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        TrainConfig(**changes)
