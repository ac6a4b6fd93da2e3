"""Elementary cut in two: what is computed once and kept, and the layers behind it that are trained on.

The cut lies before the last `tuned_layers` layers of the window encoder, at 8 vectors a peak however many layers
that is; 0 leaves nothing of Elementary to train. These layers learn whole, or by low-rank corrections of their
attention projections.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float, Integer
from torch import Tensor, nn

from cisoform.models.creformer.elementary import Elementary
from cisoform.nn.lora import adapt_linears, merged_state


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


def adapt(elementary: Elementary, tuned_layers: int, rank: int, alpha: float) -> list[str]:
    """Let only low-rank corrections of the tuned layers' attention learn (`nn.lora`).

    Query, key and value are one projection here and share one correction, the output projection has its own. Layer
    norms and feed-forward stay as they are; `plain_weights` are those of an ordinary model with the same answers.

    Raises:
        ValueError: If there are fewer layers, or the rank does not fit them.
    """
    check_tuned(elementary, tuned_layers)
    elementary.requires_grad_(False)
    last = len(elementary.window_encoder.layers)
    numbers = range(last - tuned_layers, last)
    patterns = [f"window_encoder.layers.{n}.{side}_projection" for n in numbers for side in ("in", "out")]
    return adapt_linears(elementary, patterns, rank, alpha)


def plain_weights(model: nn.Module) -> dict[str, Tensor]:
    """Weights of a model, or of one that holds it, with the corrections of `adapt` added to them."""
    return merged_state(model)


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
