"""Optimiser, learning-rate schedule, clipping and moving average of weights.

The schedule is a function of the step, not an object with state, so that nothing of it has to be saved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cisoform.errors import InputError
from cisoform.training.config import TrainConfig


def named_groups(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the trainable parameters with and without weight decay.

    Norms, biases and any other vector or scalar are not decayed: shrinking them restrains no function of the
    input, and the decay of a norm's gain changes the step size of the layer before it.
    """
    decayed: list[str] = []
    free: list[str] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_free = parameter.ndim < 2 or name.rpartition(".")[2].endswith("bias")
            (free if is_free else decayed).append(name)
    return decayed, free


def make_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.Adam:
    """AdamW or Adam over the trainable parameters, in the order of `named_groups`.

    Raises:
        InputError: If no parameter is trainable.
    """
    parameters = dict(model.named_parameters())
    decayed, free = named_groups(model)
    if not decayed and not free:
        raise InputError("the model has no trainable parameter: every part is frozen; unfreeze one")
    groups = [
        {"params": [parameters[name] for name in names], "weight_decay": decay}
        for names, decay in ((decayed, config.weight_decay), (free, 0.0))
        if names
    ]
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps)


def learning_rate(step: int, total_steps: int, config: TrainConfig) -> float:
    """Rate of the update number `step` (from 0) of `total_steps`.

    The warm-up's first update already moves (1/warm-up of the peak); the cosine reaches its end on the last.
    """
    warmup = warmup_steps(total_steps, config)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    progress = (step - warmup + 1) / max(1, total_steps - warmup)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return config.lr * (config.final_lr_fraction + (1.0 - config.final_lr_fraction) * cosine)


def warmup_steps(total_steps: int, config: TrainConfig) -> int:
    """Number of warm-up steps."""
    if config.warmup_steps is not None:
        return config.warmup_steps
    return round(config.warmup_fraction * total_steps)


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Use this rate in every group."""
    for group in optimiser.param_groups:
        group["lr"] = lr


class Ema:
    """Exponential moving average of the weights; buffers (running statistics) are taken as they are.

    The decay rises as (1 + t) / (10 + t) towards its value, so that the first steps' weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after update number `step` (from 0)."""
        parameters = dict(model.named_parameters())
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.shadow.values()), [parameters[name] for name in self.shadow], 1.0 - decay
        )

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Put the average into the model for the time of the block; afterwards the weights are back, bit by bit."""
        parameters = dict(model.named_parameters())
        kept = {name: parameters[name].detach().clone() for name in self.shadow}
        self._copy(parameters, self.shadow)
        try:
            yield
        finally:
            self._copy(parameters, kept)

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved average."""
        for name, value in self.shadow.items():
            value.copy_(state[name])

    @staticmethod
    @torch.no_grad()
    def _copy(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            parameters[name].copy_(value)
