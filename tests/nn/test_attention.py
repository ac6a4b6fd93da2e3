import math

import pytest
import torch

from cisoform.nn.attention import MultiHeadAttention, attend, recorded_attention
from cisoform.nn.rotary import rotate


@pytest.fixture(autouse=True)
def _seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def random_attention(batch=2, heads=3, queries=5, keys=7, head_dim=11):
    query = torch.randn(batch, heads, queries, head_dim)
    key, value = torch.randn(2, batch, heads, keys, head_dim)
    mask = torch.ones(batch, keys, dtype=torch.bool)
    mask[0, 4:] = False
    return query, key, value, mask


def test_returned_weights_are_those_of_the_context():
    query, key, value, mask = random_attention()
    fast, nothing = attend(query, key, value, mask)
    slow, weights = attend(query, key, value, mask, return_weights=True)
    assert nothing is None
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(weights @ value, fast)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5))
    assert (weights[0, ..., 4:] == 0).all()


def test_hidden_keys_cannot_change_the_answer():
    query, key, value, mask = random_attention()
    other_key, other_value = key.clone(), value.clone()
    other_key[0, :, 4:], other_value[0, :, 4:] = 1e6, -1e6
    torch.testing.assert_close(
        attend(query, key, value, mask)[0], attend(query, other_key, other_value, mask)[0]
    )


def test_a_row_without_keys_has_finite_answer_and_gradient():
    query, key, value, mask = random_attention()
    query.requires_grad_()
    mask[1] = False
    for return_weights in (False, True):
        found, _ = attend(query, key, value, mask, return_weights)
        (gradient,) = torch.autograd.grad(found.sum(), query)
        assert found.isfinite().all() and gradient.isfinite().all()


def test_attention_of_one_head_worked_by_hand():
    # Scores 0 and log(3) * sqrt(2) / sqrt(2): weights 1/4 and 3/4; values 0 and 4 give 3.
    query = torch.tensor([[[[1.0, 0.0]]]])
    key = torch.tensor([[[[0.0, 5.0], [math.log(3) * math.sqrt(2), 0.0]]]])
    value = torch.tensor([[[[0.0, 0.0], [4.0, 8.0]]]])
    found, weights = attend(query, key, value, torch.ones(1, 2, dtype=torch.bool), return_weights=True)
    torch.testing.assert_close(weights.flatten(), torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(found.flatten(), torch.tensor([3.0, 6.0]))


def test_projection_before_or_after_sharing_rows_is_the_same():
    layer = MultiHeadAttention(dim=6, heads=3, context_dim=5)
    hidden, context = torch.randn(4, 2, 6), torch.randn(3, 7, 5)
    mask = torch.arange(7)[None] < torch.tensor([7, 3, 5])[:, None]
    row = torch.tensor([2, 0, 0, 1])
    torch.testing.assert_close(layer(hidden, context, mask, row), layer(hidden, context[row], mask[row]))


def test_parameters_are_those_of_the_released_layers():
    # reference: 23,605,248 for RNA (768) and 22,818,816 for protein (640) into DNA of width 3072.
    with torch.device("meta"):
        layers = [MultiHeadAttention(3072, 8, context_dim=dim) for dim in (768, 640)]
    counts = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
    assert counts == [23_605_248, 22_818_816]
    assert sorted(name for name, _ in layers[0].named_children()) == ["dense", "key", "query", "value"]


def test_recorded_weights_are_kept_for_each_layer_and_only_inside_the_block():
    layer = MultiHeadAttention(dim=6, heads=2)
    model = torch.nn.ModuleDict({"first": layer})
    hidden, mask = torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.bool)
    before = layer(hidden, hidden, mask)
    with recorded_attention(model) as found:
        inside = layer(hidden, hidden, mask)
    layer(hidden, hidden, mask)
    assert [weights.shape for weights in found["first"]] == [(2, 2, 5, 5)]
    torch.testing.assert_close(before, inside)


@pytest.mark.parametrize("masked", [False, True])
def test_narrow_heads_over_long_rows_give_the_same_answer_and_gradients(masked):
    query, key, value, mask = random_attention(queries=70, keys=66, head_dim=6)
    inputs = [part.requires_grad_() for part in (query, key.clone(), value.clone())]
    mask = mask if masked else torch.ones_like(mask)
    upstream = torch.randn(2, 3, 70, 6)
    fast, slow = (attend(*inputs, mask, return_weights=weights)[0] for weights in (False, True))
    torch.testing.assert_close(fast, slow)
    for ours, expected in zip(
        torch.autograd.grad(fast, inputs, upstream), torch.autograd.grad(slow, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_pairs_turn_as_complex_numbers():
    # Dimension i and i + 4 of 8 are one complex number, turned by position x 10000^(-i / 4).
    hidden = torch.randn(2, 3, 5, 8)
    angle = torch.arange(5.0)[:, None] * 10_000.0 ** (-torch.arange(4.0) / 4)
    turned = torch.complex(hidden[..., :4], hidden[..., 4:]) * torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(rotate(hidden), torch.cat([turned.real, turned.imag], dim=-1))


def test_rows_rotated_without_gradients_first_can_be_learned_from_afterwards():
    hidden = torch.randn(1, 1, 23, 6)
    with torch.inference_mode():
        before = rotate(hidden)
    hidden.requires_grad_()
    rotate(hidden).square().sum().backward()
    # A rotation keeps lengths: the gradient of the squared length is twice the vector.
    torch.testing.assert_close(hidden.grad, 2 * hidden.detach())
    torch.testing.assert_close(before.clone(), rotate(hidden).detach())


def test_rotated_dot_products_depend_on_the_distance_alone():
    query, key = torch.randn(2, 1, 1, 1, 8)
    turned_query, turned_key = rotate(query.expand(1, 1, 9, 8)), rotate(key.expand(1, 1, 9, 8))
    scores = (turned_query @ turned_key.transpose(-1, -2))[0, 0]
    for distance in range(-4, 5):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-4)
    assert scores[0, 0] != scores[0, 3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dim": 6, "heads": 4}, "dim=6 is not divisible by heads=4"),
        ({"dim": 6, "heads": 2, "rotary": True}, "even head size"),
        ({"dim": 8, "heads": 2, "context_dim": 8, "rotary": True}, "self-attention"),
    ],
)
def test_sizes_that_cannot_work_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        MultiHeadAttention(**arguments)
