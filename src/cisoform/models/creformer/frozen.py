"""Elementary cut in two: what is computed once and kept, and the layers behind it that are trained on.

The cut lies before the last `tuned_layers` layers of the window encoder, at 8 vectors a peak however many layers
that is; 0 leaves nothing of Elementary to train.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float, Integer
from torch import Tensor

from cisoform.models.creformer.elementary import Elementary


def frozen_part(
    elementary: Elementary,
    dna: Integer[Tensor, "peaks tokens"],
    tracks: Mapping[str, Integer[Tensor, "peaks tokens"]],
    tuned_layers: int = 0,
) -> Float[Tensor, "peaks bins dim"]:
    """Bins of each peak before the last `tuned_layers` layers of the window encoder."""
    check_tuned(elementary, tuned_layers)
    if not tuned_layers:
        found: Tensor = elementary(dna, tracks)
        return found
    hidden = elementary.bin_vectors(dna, tracks)
    hidden = hidden + elementary.position_of_bin.weight[1 : hidden.shape[1] + 1]
    stack = elementary.window_encoder
    if not stack.config.norm_first:
        hidden = stack.norm(hidden)
    for layer in stack.layers[: len(stack.layers) - tuned_layers]:
        hidden = layer(hidden, None)
    return hidden


def tuned_part(
    elementary: Elementary, hidden: Float[Tensor, "peaks bins dim"], tuned_layers: int = 0
) -> Float[Tensor, "peaks bins dim"]:
    """The rest: `tuned_part(frozen_part(x))` is `elementary(x)`."""
    if not tuned_layers:
        return hidden
    stack = elementary.window_encoder
    for layer in stack.layers[len(stack.layers) - tuned_layers :]:
        hidden = layer(hidden, None)
    return stack.norm(hidden) if stack.config.norm_first else hidden


def freeze(elementary: Elementary, tuned_layers: int = 0) -> None:
    """Let only the tuned part learn."""
    check_tuned(elementary, tuned_layers)
    elementary.requires_grad_(False)
    if tuned_layers:
        stack = elementary.window_encoder
        stack.layers[len(stack.layers) - tuned_layers :].requires_grad_(True)
        if stack.config.norm_first:
            stack.norm.requires_grad_(True)


def tuned_names(elementary: Elementary, tuned_layers: int) -> set[str]:
    """Names of the weights behind the cut."""
    stack = elementary.window_encoder
    first = len(stack.layers) - tuned_layers
    layers = {f"window_encoder.layers.{number}." for number in range(first, len(stack.layers))}
    if tuned_layers and stack.config.norm_first:
        layers.add("window_encoder.norm.")
    return {name for name in elementary.state_dict() if any(name.startswith(start) for start in layers)}


def check_tuned(elementary: Elementary, tuned_layers: int) -> None:
    """Refuse more layers than there are.

    Raises:
        ValueError: If it has fewer.
    """
    layers = len(elementary.window_encoder.layers)
    if not 0 <= tuned_layers <= layers:
        raise ValueError(f"tuned_layers={tuned_layers}: the window encoder has {layers} layers")
