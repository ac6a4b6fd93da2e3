"""How much each peak of a gene matters to a CREformer, read in five ways; one number a peak, 0 at padding.

    released  the authors' function, bit for bit, with its defects (below)
    exact     the attention that the forward pass uses: what each peak receives from the real peaks
    rollout   the same followed through all layers, half of each layer being the residual (Abnar and Zuidema 2020)
    gradient  |gradient of the prediction x vector of the peak|, summed over the vector first
    ablation  prediction minus the prediction with the peak's signal at zero: positive = the open peak raises it

Shown DNA alone every signal is a token "not measured", and `ablation` puts "measured, 0" in its place: it then says
what knowing that a peak is closed does, and no peak counts as closed already.

CREformer's text defines the score as AS(j) = sum over i of softmax_j(q_i k_j / sqrt(d)). The released function does
not compute that. It splits the packed projection as if queries, keys and values were interleaved per head, so no
head multiplies a query by a key (with 32 heads: 11 Q Q, 10 K K, 1 K V, 10 V V); it leaves out the LayerNorm before
the layer; it reads the first layer alone; and padding is a key and a query. It is kept to compare with what was
published. `exact` is our reading of the text: real peaks as queries, every layer, the model's own padding rule.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

from cisoform.analysis.inputs import PeakInputs, hidden, predict, predict_edits
from cisoform.models.creformer import CREformer

Variant = Literal["released", "exact", "rollout", "gradient", "ablation"]
Queries = Literal["real", "all"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
_MEMORY_BYTES = 256 * 2**20


def score(
    variant: Variant,
    model: CREformer,
    link: str,
    inputs: PeakInputs,
    closed: Float[Tensor, "batch slots dim"] | None = None,
    *,
    layer: int | None = None,
    queries: Queries = "real",
) -> Float[Tensor, "batch slots"]:
    """The score of one variant.

    Args:
        variant: Which.
        model: In evaluation mode.
        link: How its output becomes expression.
        inputs: The samples.
        closed: Vectors of the same peaks with a signal of zero; for `ablation`.
        layer: Of `exact`: this layer, from 0; None = the mean of the layers.
        queries: Of `exact` and `rollout`: who looks.

    Raises:
        ValueError: If `ablation` lacks `closed`.
    """
    if variant == "released":
        return released(model, inputs)
    if variant == "exact":
        layers = exact(model, inputs, queries)
        return layers.mean(dim=0) if layer is None else layers[layer]
    if variant == "rollout":
        return rollout(model, inputs, queries)
    if variant == "gradient":
        return gradient(model, link, inputs)
    if closed is None:
        raise ValueError("ablation needs the vectors of the closed peaks")
    return ablation(model, link, inputs, closed)


@torch.no_grad()
def released(model: CREformer, inputs: PeakInputs) -> Float[Tensor, "batch slots"]:
    """The published function (see the module); mean over heads, sum over all `max_peaks` queries.

    A model that masks its padding is read as if it had the released padding with a vector of zeros, so that the score
    does not depend on the batch.
    """
    wide = inputs.widened(model.config.max_peaks - inputs.n_slots)
    placed = model.place(wide.vectors, wide.mask, wide.position(model.config))
    layer: Any = model.peak_encoder.layers[0]
    packed = layer.in_projection(placed)
    mixed = rearrange(packed, "batch slots (heads part) -> batch heads slots part", heads=layer.heads)
    first, second, _ = mixed.chunk(3, dim=-1)
    logits = first @ second.transpose(-1, -2) * first.shape[-1] ** -0.5
    received: Tensor = reduce(logits.softmax(dim=-1).mean(dim=1), "batch queries keys -> batch keys", "sum")
    return received[:, : inputs.n_slots].masked_fill(~inputs.mask, 0.0)


@torch.no_grad()
def exact(
    model: CREformer, inputs: PeakInputs, queries: Queries = "real"
) -> Float[Tensor, "layers batch slots"]:
    """Attention that each peak receives in each layer of the forward pass; mean over heads, sum over queries.

    Args:
        model: In evaluation mode.
        inputs: The samples.
        queries: "real" peaks, or "all" slots that the model reads: with padding where it does not mask it.
    """
    weights: list[Tensor] = []
    hidden(model, inputs, weights)
    looks = _looking(model, inputs, queries)
    return torch.stack([_received(layer.mean(dim=1), looks, inputs.mask) for layer in weights])


@torch.no_grad()
def rollout(model: CREformer, inputs: PeakInputs, queries: Queries = "real") -> Float[Tensor, "batch slots"]:
    """Attention followed from the last layer to the input vectors: product of (weights + identity) / 2."""
    weights: list[Tensor] = []
    hidden(model, inputs, weights)
    same = torch.eye(inputs.n_slots, device=inputs.mask.device)
    flow = same.expand(len(inputs), -1, -1)
    for layer in weights:
        flow = (layer.mean(dim=1) + same) / 2 @ flow
    return _received(flow, _looking(model, inputs, queries), inputs.mask)


def gradient(model: CREformer, link: str, inputs: PeakInputs) -> Float[Tensor, "batch slots"]:
    """|sum over the vector of gradient x value|, of the predicted expression by each peak's vector."""
    vectors = inputs.vectors.detach().clone().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(predict(model, link, inputs.with_vectors(vectors)).sum(), vectors)
    return (found * vectors.detach()).sum(dim=-1).abs().masked_fill(~inputs.mask, 0.0)


def ablation(
    model: CREformer, link: str, inputs: PeakInputs, closed: Float[Tensor, "batch slots dim"]
) -> Float[Tensor, "batch slots"]:
    """Prediction minus that with one peak's signal at zero, for every peak in turn; exactly 0 for closed peaks.

    Only the peak transformer runs; peaks that are closed already cost nothing.
    """
    open_ = (inputs.mask & (inputs.vectors != closed).any(dim=-1)).nonzero()
    rows, slots = open_.unbind(dim=1)
    where = torch.zeros(len(rows), inputs.n_slots, dtype=torch.bool, device=inputs.mask.device)
    where[torch.arange(len(rows), device=where.device), slots] = True
    with torch.no_grad():
        before = predict(model, link, inputs)
        after = predict_edits(model, link, inputs, rows, where, closed[rows, slots])
    found = torch.zeros(inputs.mask.shape, device=inputs.mask.device)
    found[rows, slots] = before[rows] - after
    return found


def slots_at_once(model: CREformer, widest: int) -> int:
    """Slots of a batch whose attention weights and activations of all layers stay within 256 MB.

    Args:
        model: The model.
        widest: Most slots of a gene.
    """
    config = model.config
    dim, heads, ffn = config.elementary.dim, config.elementary.heads, config.elementary.ffn
    widest = config.max_peaks if config.head == "flat" or not config.mask_padding else widest
    one = 4 * config.layers * (2 * heads * widest + 12 * dim + 2 * ffn)
    return max(widest, min(65_536, _MEMORY_BYTES // one))


def _looking(model: CREformer, inputs: PeakInputs, queries: Queries) -> Bool[Tensor, "batch slots"]:
    if queries == "all" and not model.config.mask_padding:
        return torch.ones_like(inputs.mask)
    return inputs.mask  # masked padding is never read, so what it would look at means nothing


def _received(
    weights: Float[Tensor, "batch queries keys"],
    looks: Bool[Tensor, "batch queries"],
    mask: Bool[Tensor, "batch keys"],
) -> Float[Tensor, "batch keys"]:
    """Sum over the queries that look, 0 at padding."""
    total = (weights * looks[..., None]).sum(dim=1)
    return total.masked_fill(~mask, 0.0)
