"""Encode rows of very different lengths without paying for their padding.

Rows are sorted by length and encoded in groups, each cut to its own longest row. Encoders promise that a row
depends neither on its padding nor on other rows, so the result is the same (to rounding) as in one go.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from cisoform.batches import Tokens
from cisoform.models.encoders.base import Hidden, SequenceEncoder


def encode_in_groups(encoder: SequenceEncoder, tokens: Tokens, group_tokens: int | None) -> Hidden:
    """Encode each row once.

    Args:
        encoder: Any encoder that keeps the promises of `models.encoders.base`.
        tokens: Rows padded on the right; at least one.
        group_tokens: Most tokens of a group, padding included; a longer row is a group of its own. None: all
            rows in one group, which spares the device the question how long they are.
    """
    if group_tokens is None:
        return encoder(tokens)
    lengths = _lengths(tokens.mask)
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    groups = _cut([lengths[row] for row in order], group_tokens)
    if len(groups) == 1:
        return encoder(tokens.take(slice(None), lengths[order[-1]]))
    index = torch.tensor(order, device=tokens.ids.device)
    parts = [encoder(tokens.take(index[begin:end], lengths[order[end - 1]])) for begin, end in groups]
    widest = max(part.mask.shape[1] for part in parts)
    states = torch.cat([F.pad(part.states, (0, 0, 0, widest - part.mask.shape[1])) for part in parts])
    mask = torch.cat([F.pad(part.mask, (0, widest - part.mask.shape[1])) for part in parts])
    back = index.argsort()
    inputs = tuple(torch.cat(group)[back] for group in zip(*(part.inputs for part in parts), strict=True))
    return Hidden(states[back], mask[back], inputs)


def _lengths(mask: Bool[Tensor, "rows tokens"]) -> list[int]:
    """One past the last real token of each row, at least 1."""
    place = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    lengths: list[int] = (mask * place).amax(dim=1).clamp(min=1).tolist()
    return lengths


def _cut(lengths: list[int], group_tokens: int) -> list[tuple[int, int]]:
    """Bounds of consecutive groups of rising lengths; rows x longest stays within the limit."""
    groups, begin = [], 0
    for row, length in enumerate(lengths):
        if row > begin and (row + 1 - begin) * length > group_tokens:
            groups.append((begin, row))
            begin = row
    return [*groups, (begin, len(lengths))]
