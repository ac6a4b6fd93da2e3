"""Low-rank adaptation: no change at the start, nothing else learns, and merged layers answer as before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cisoform.nn.lora import LoraLinear, adapt_linears, lora_layers, merge_linears, merged_state
from cisoform.nn.transformer import EncoderStack, StackConfig

torch.set_num_threads(1)
PATTERNS = ["layers.1.in_projection", "layers.1.out_*"]


def stack_of(norm_first=True):
    torch.manual_seed(0)
    return EncoderStack(StackConfig(dim=14, heads=2, layers=2, ffn=22, norm_first=norm_first))


def moved(stack):
    """Corrections that are no longer zero."""
    for _, layer in lora_layers(stack):
        nn.init.normal_(layer.up, std=0.3)
    return stack


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("first_only", [True, False])
def test_an_adapted_model_starts_as_it_was_and_merges_to_what_it_became(norm_first, first_only):
    stack, inputs = stack_of(norm_first).eval(), torch.randn(3, 5, 14)
    before = stack(inputs, first_only=first_only)
    names = adapt_linears(stack, PATTERNS, rank=3, alpha=6.0)
    assert names == ["layers.1.in_projection", "layers.1.out_projection"]
    torch.testing.assert_close(stack(inputs, first_only=first_only), before, atol=0, rtol=0)
    moved(stack)
    after = stack(inputs, first_only=first_only)
    assert (after - before).abs().max() > 0.01
    state = merged_state(stack)
    plain = stack_of(norm_first).eval()
    plain.load_state_dict(state)  # the names and shapes of the model as it was
    torch.testing.assert_close(plain(inputs, first_only=first_only), after, atol=1e-6, rtol=1e-6)
    assert list(lora_layers(stack)), "reading the merged state changes nothing"
    merge_linears(stack)
    assert not list(lora_layers(stack)) and stack.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(stack(inputs, first_only=first_only), after, atol=1e-6, rtol=1e-6)


def test_only_the_corrections_learn():
    stack = stack_of().requires_grad_(False)
    adapt_linears(stack, PATTERNS, rank=2, alpha=4.0)
    moved(stack)(torch.randn(3, 5, 14)).sum().backward()
    learning = {name for name, p in stack.named_parameters() if p.grad is not None}
    assert learning == {
        f"layers.1.{side}_projection.{part}" for side in ("in", "out") for part in ("up", "down")
    }
    assert all(stack.get_parameter(name).grad.abs().max() > 0 for name in learning)


def test_the_correction_by_hand():
    base = nn.Linear(2, 2)
    with torch.no_grad():
        base.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        base.bias.zero_()
    layer = LoraLinear(base, rank=1, alpha=3.0)
    with torch.no_grad():
        layer.down.copy_(torch.tensor([[1.0, 2.0]]))
        layer.up.copy_(torch.tensor([[1.0], [-1.0]]))
    # D x = 1 * 5 + 2 * 7 = 19; U D x = (19, -19), times alpha / rank = 3; plus x.
    assert layer(torch.tensor([5.0, 7.0])).tolist() == [5 + 57, 7 - 57]
    assert layer.weight.tolist() == [[1 + 3, 6], [-3, 1 - 6]]


def test_a_layer_without_bias():
    model = nn.Sequential(nn.Linear(3, 4, bias=False))
    inputs = torch.randn(2, 3)
    adapt_linears(model, ["0"], rank=2, alpha=1.0)
    after = moved(model)(inputs)
    assert set(merged_state(model)) == {"0.weight"}
    merge_linears(model)
    torch.testing.assert_close(model(inputs), after, atol=1e-6, rtol=1e-6)


def test_the_correction_is_of_that_rank():
    layer = LoraLinear(nn.Linear(11, 7), rank=3, alpha=1.0)
    nn.init.normal_(layer.up)
    assert torch.linalg.matrix_rank(layer.weight - layer.base.weight) == 3


def test_what_cannot_be_adapted_is_refused():
    stack = stack_of()
    with pytest.raises(ValueError, match="'layers.7.*' matches no linear layer"):
        adapt_linears(stack, ["layers.1.*", "layers.7.*"], rank=2, alpha=1.0)
    assert not list(lora_layers(stack)), "nothing is done in part"
    with pytest.raises(ValueError, match="rank=15: a layer of 14 x 42 takes 1 to 14"):
        adapt_linears(stack, ["layers.1.*"], rank=15, alpha=1.0)
    assert not list(lora_layers(stack))
    with pytest.raises(ValueError, match="alpha=0.0"):
        LoraLinear(nn.Linear(3, 3), rank=1, alpha=0.0)
    adapt_linears(stack, PATTERNS, rank=2, alpha=1.0)
    with pytest.raises(ValueError, match="not adapted yet"):
        adapt_linears(stack, ["layers.1.in_projection*"], rank=2, alpha=1.0)
    with pytest.raises(ValueError, match="give its parent"):
        adapt_linears(nn.Linear(3, 3), ["*"], rank=1, alpha=1.0)
