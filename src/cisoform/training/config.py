"""How a model is trained, whatever the model: optimiser, schedule, length, validation and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of the training loop. A step is one update of the weights; a batch is what the source yields.

    Attributes:
        optimiser: "adamw" (decoupled weight decay) or "adam" (the paper's; decay, if any, is an L2 penalty).
        lr: Peak learning rate.
        betas: Decay of the running mean of gradients and of their squares.
        eps: Term added to Adam's denominator.
        weight_decay: Applies to matrices only, never to norms, biases and other vectors.
        schedule: "cosine" from `lr` down to `final_lr_fraction * lr`, or "constant"; both after the warm-up.
        warmup_fraction: Share of all steps with a linearly rising rate; `warmup_steps` overrides it.
        epochs: Passes over the source. None: as many as `max_steps` needs.
        max_steps: Upper limit of steps. None: all steps of `epochs`.
        max_minutes: Stop with a checkpoint, resumable, when this time of one process is spent. It is not part
            of what a resumed run must repeat. None: no limit.
        clip: Largest global norm of the gradient. None: no clipping.
        accumulate: Batches per step and process; an epoch's last step may have fewer. The gradient is that of
            the batches joined: the mean over all their labels.
        bf16: Run forward passes under bfloat16 autocast; weights and optimiser state stay float32.
        ema_decay: Keep an exponential moving average of the weights, and validate and save that. None: off.
        validate_every: Steps between validations. None: at each epoch's end. The last step always validates.
        patience: Stop after this many validations in a row without a better monitored metric. None: never.
        checkpoint_every: Steps between checkpoints. None: at each epoch's end.
        log_every: Steps between rows of the log; each validation adds a row as well.
        seed: Seed of the loop's own randomness (dropout). Step s draws from a stream of (seed, s) alone.
    """

    optimiser: Literal["adamw", "adam"] = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_fraction: float = 0.05
    warmup_steps: int | None = None
    final_lr_fraction: float = 0.0
    epochs: int | None = 10
    max_steps: int | None = None
    max_minutes: float | None = None
    clip: float | None = 1.0
    accumulate: int = 1
    bf16: bool = False
    ema_decay: float | None = None
    validate_every: int | None = None
    patience: int | None = None
    checkpoint_every: int | None = None
    log_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        _check_ranges(self)


# Field, whether None is allowed, lower and upper bound, whether the lower bound itself is allowed.
_RANGES: tuple[tuple[str, bool, float, float, bool], ...] = (
    ("lr", False, 0.0, float("inf"), False),
    ("eps", False, 0.0, float("inf"), True),
    ("weight_decay", False, 0.0, float("inf"), True),
    ("warmup_fraction", False, 0.0, 1.0, True),
    ("warmup_steps", True, 0, float("inf"), True),
    ("final_lr_fraction", False, 0.0, 1.0, True),
    ("epochs", True, 1, float("inf"), True),
    ("max_steps", True, 1, float("inf"), True),
    ("max_minutes", True, 0.0, float("inf"), False),
    ("clip", True, 0.0, float("inf"), False),
    ("accumulate", False, 1, float("inf"), True),
    ("ema_decay", True, 0.0, 1.0, True),
    ("validate_every", True, 1, float("inf"), True),
    ("patience", True, 1, float("inf"), True),
    ("checkpoint_every", True, 1, float("inf"), True),
    ("log_every", False, 1, float("inf"), True),
    ("seed", False, 0, 2**63 - 1, True),
)


def _check_ranges(config: TrainConfig) -> None:
    for name, optional, low, high, inclusive in _RANGES:
        value = getattr(config, name)
        if value is None and optional:
            continue
        if not (low <= value <= high) or (value == low and not inclusive):
            bound = "at least" if inclusive else "more than"
            limit = "" if high == float("inf") else f" and at most {high:g}"
            raise ValueError(f"{name}={value!r} must be {bound} {low:g}{limit}")
    if config.epochs is None and config.max_steps is None:
        raise ValueError("epochs and max_steps are both None; give at least one, or training never ends")
    if config.ema_decay == 1.0:
        raise ValueError("ema_decay=1.0 never follows the weights; use a value below 1")
    if not all(0.0 <= beta < 1.0 for beta in config.betas):
        raise ValueError(f"betas={config.betas} must be at least 0 and below 1")
