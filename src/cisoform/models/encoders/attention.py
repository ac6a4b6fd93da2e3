"""The attention that a sequence encoder uses, read where it is computed (`nn.attention.recorded_attention`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cisoform.batches import Tokens
from cisoform.models.encoders.conv import ConvEncoder
from cisoform.nn.attention import MultiHeadAttention, recorded_attention


def has_attention(encoder: nn.Module) -> bool:
    """Whether an encoder attends at all."""
    return any(isinstance(module, MultiHeadAttention) for module in encoder.modules())


def encoder_attention(encoder: nn.Module, tokens: Tokens) -> Float[Tensor, "layers rows heads queries keys"]:
    """Softmax weights of every layer, from the first to the last; each row of weights sums to 1 over the real keys.

    Args:
        encoder: A sequence encoder, in evaluation mode.
        tokens: What it reads. Weights of padded queries mean nothing.

    Raises:
        ValueError: If the encoder has no attention, or looked up what it makes of the tokens.
    """
    if not has_attention(encoder):
        raise ValueError(f"{type(encoder).__name__} has no attention")
    with torch.inference_mode(), recorded_attention(encoder) as found:
        encoder(tokens)
    if not all(found.values()):
        raise ValueError("the encoder looked its answer up; take its table away first")
    return torch.stack([calls[-1] for calls in found.values()])


def tokens_per_position(encoder: nn.Module) -> int:
    """Tokens that are one position of the attention: 1, or the bin of a convolutional encoder."""
    return encoder.config.bin if isinstance(encoder, ConvEncoder) else 1


def position_of_base(encoder: nn.Module, token_of_base: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Position of the attention that each base belongs to, from the token that it belongs to."""
    return token_of_base.astype(np.int64) // tokens_per_position(encoder)
