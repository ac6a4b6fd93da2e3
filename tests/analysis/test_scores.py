from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cisoform.analysis.inputs import attention, predict
from cisoform.analysis.scores import (
    VARIANTS,
    ablation,
    exact,
    gradient,
    released,
    rollout,
    score,
    slots_at_once,
)
from tests.analysis.samples import DIM, some_inputs, tiny


def closed_of(inputs_like: Tensor) -> Tensor:
    return torch.randn(inputs_like.shape, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_gets_nothing_and_changes_nothing(variant: str, form: bool) -> None:
    model = tiny(released=form)
    inputs, wide = some_inputs().padded(model.config), some_inputs(slots=9).padded(model.config)
    found = score(variant, model, "identity", inputs, closed_of(inputs.vectors)[:, :])  # type: ignore[arg-type]
    more = score(  # type: ignore[call-overload]
        variant,
        model,
        "identity",
        wide,
        torch.cat([closed_of(inputs.vectors), torch.zeros(3, 2, DIM)], dim=1)[:, : wide.n_slots]
        if not form
        else closed_of(inputs.vectors),
    )
    assert found[inputs.mask].abs().min() > 0 and not found[~inputs.mask].any()
    torch.testing.assert_close(more[:, :7], found[:, :7], atol=1e-5, rtol=1e-4)
    assert not found.requires_grad


@torch.no_grad()
def test_released_is_the_interleaved_split_of_the_raw_first_layer() -> None:
    """The authors' steps one sample and head at a time: no LayerNorm, 3 x head_dim channels a head, all 11 queries."""
    model = tiny(released=True)
    inputs = some_inputs((4,)).padded(model.config)
    placed = model.place(inputs.vectors, inputs.mask, inputs.rank)[0]
    layer = model.peak_encoder.layers[0]
    packed = placed @ layer.in_projection.weight.T + layer.in_projection.bias
    received = torch.zeros(11)
    for head in range(2):
        channels = packed[:, head * 24 : (head + 1) * 24]
        logits = channels[:, :8] @ channels[:, 8:16].T / math.sqrt(8)
        received += logits.softmax(dim=1).sum(dim=0) / 2
    torch.testing.assert_close(released(model, inputs)[0, :4], received[:4])
    assert received.sum() == pytest.approx(11, rel=1e-5)


@torch.no_grad()
def test_exact_sums_the_columns_of_the_real_attention_over_the_real_queries() -> None:
    model = tiny(layers=3, released=True)
    inputs = some_inputs().padded(model.config)
    weights = attention(model, inputs).mean(dim=2)
    torch.testing.assert_close(exact(model, inputs)[1, 2, :5], weights[1, 2, :5, :5].sum(dim=0))
    torch.testing.assert_close(exact(model, inputs, "all")[1, 2, :5], weights[1, 2, :, :5].sum(dim=0))
    mean = score("exact", model, "identity", inputs)
    torch.testing.assert_close(mean, exact(model, inputs).mean(dim=0))
    torch.testing.assert_close(score("exact", model, "identity", inputs, layer=2), exact(model, inputs)[2])


@torch.no_grad()
def test_where_padding_is_masked_all_queries_are_the_real_ones_and_the_score_sums_to_their_number() -> None:
    model, inputs = tiny(), some_inputs()
    assert torch.equal(exact(model, inputs, "all"), exact(model, inputs))
    for found in (exact(model, inputs)[0], rollout(model, inputs)):
        torch.testing.assert_close(found.sum(dim=1), torch.tensor([3.0, 7.0, 5.0]))


@torch.no_grad()
def test_rollout_multiplies_the_layers_with_half_of_each_left_to_the_residual() -> None:
    model, inputs = tiny(layers=2), some_inputs((3,))
    first, second = attention(model, inputs).mean(dim=2)[:, 0]
    same = torch.eye(3)
    flow = (second + same) / 2 @ ((first + same) / 2)
    torch.testing.assert_close(rollout(model, inputs)[0], flow.sum(dim=0))


def test_gradient_times_input_is_the_slope_along_the_vector() -> None:
    model, inputs = tiny().double(), some_inputs((4,))
    inputs = type(inputs)(
        **{**vars(inputs), "vectors": inputs.vectors.double(), "distance_bp": inputs.distance_bp.double()}
    )
    found = gradient(model, "identity", inputs)[0]
    step = 1e-3
    for slot in range(4):
        ends = []
        for factor in (1 + step, 1 - step):
            vectors = inputs.vectors.clone()
            vectors[0, slot] *= factor
            ends.append(predict(model, "identity", inputs.with_vectors(vectors)).double())
        slope = (ends[0] - ends[1]).item() / (2 * step)
        assert found[slot].item() == pytest.approx(abs(slope), rel=0.02, abs=2e-4)


@torch.no_grad()
def test_ablation_closes_one_peak_at_a_time_and_is_zero_where_a_peak_is_closed_already() -> None:
    model, inputs = tiny(), some_inputs()
    closed = closed_of(inputs.vectors)
    closed[1, 2] = inputs.vectors[1, 2]
    found = ablation(model, "identity", inputs, closed)
    assert found[1, 2] == 0
    for row, slot in ((0, 1), (1, 6), (2, 0)):
        vectors = inputs.vectors.clone()
        vectors[row, slot] = closed[row, slot]
        after = predict(model, "identity", inputs.with_vectors(vectors))
        before = predict(model, "identity", inputs)
        assert found[row, slot].item() == pytest.approx((before - after)[row].item(), abs=1e-5)
    assert not ablation(model, "identity", inputs, inputs.vectors).any()
    with pytest.raises(ValueError, match="closed"):
        score("ablation", model, "identity", inputs)


def test_batches_shrink_with_the_width_of_the_attention() -> None:
    narrow, wide = tiny(layers=1), tiny(layers=40, released=True)
    assert slots_at_once(narrow, 4) > slots_at_once(wide, 4) >= 11
