"""Laws of the aggregators on hidden sequences, and each against a naive way for one sample."""

import math

import pytest
import torch
from torch.nn import functional as F

from cisoform.models.aggregation import (
    CAbstractorConfig,
    ConcatenateConfig,
    CrossAttentionConfig,
    LinearConfig,
    PerceiverResamplerConfig,
    SharedHidden,
    build_aggregator,
)

DIMS = {"dna": 12, "rna": 8, "protein": 10}
CONFIGS = {
    "cross_attention_dna": CrossAttentionConfig(heads=2),
    "cross_attention_all": CrossAttentionConfig(heads=2, aggregate="all"),
    "concatenate": ConcatenateConfig(),
    "linear": LinearConfig(dim=6),
    "perceiver_resampler": PerceiverResamplerConfig(dim=6, latents=5, layers=2, heads=3),
    "c_abstractor": CAbstractorConfig(dim=6, tokens=4, depth=2),
}
WITHOUT_ORDER = [name for name in CONFIGS if name != "c_abstractor"]
ROWS, BATCH = 3, 5


def build(name, dims=None):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    aggregator = build_aggregator(CONFIGS[name], dims or DIMS)
    for parameter in aggregator.parameters():
        if parameter.eq(0).all():
            torch.nn.init.normal_(parameter, std=0.2)
    return aggregator.eval()


def shared(dim, seed, lengths=(7, 3, 5), present=None):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(len(lengths), max(lengths), dim, generator=generator)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    row = torch.arange(BATCH) % len(lengths)
    return SharedHidden(
        states, mask, row, torch.ones(BATCH, dtype=torch.bool) if present is None else present
    )


def all_parts():
    return {name: shared(dim, seed) for seed, (name, dim) in enumerate(DIMS.items())}


def pooled(fused):
    """The mean over the real positions of each branch."""
    found = {}
    for name, hidden in fused.items():
        weight = hidden.mask[..., None].float()
        found[name] = (hidden.states * weight).sum(1) / weight.sum(1).clamp(min=1)
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in found:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_branches_have_the_widths_they_name_and_one_row_per_sample(name):
    aggregator = build(name)
    fused = aggregator(all_parts(), BATCH)
    assert list(fused) == list(aggregator.branches)
    for branch, width in aggregator.branches.items():
        states, mask = fused[branch].states, fused[branch].mask
        assert states.shape[0] == BATCH and states.shape[2] == width and mask.shape == states.shape[:2]
        assert states[mask].isfinite().all() and mask.any(dim=1).all()


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (LinearConfig(), 7 + 7 + 7),
        (PerceiverResamplerConfig(latents=11, heads=2), 11),
        (CAbstractorConfig(tokens=4), 3 * 4),
    ],
)
@torch.no_grad()
def test_the_shared_width_is_that_of_the_first_modality_and_the_length_is_known(config, positions):
    aggregator = build_aggregator(config, DIMS)
    assert aggregator.branches == {"joint": 12}
    assert aggregator(all_parts(), BATCH)["joint"].states.shape == (BATCH, positions, 12)
    assert build_aggregator(config, {"rna": 8}).branches == {"joint": 8}


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_padding_has_no_influence(name):
    aggregator, parts = build(name), all_parts()
    expected = pooled(aggregator(parts, BATCH))
    spoiled, longer = {}, {}
    for key, part in parts.items():
        states = part.states.masked_fill(~part.mask[..., None], 1e4)
        spoiled[key] = SharedHidden(states, part.mask, part.row, part.present)
        longer[key] = SharedHidden(
            F.pad(states, (0, 0, 0, 4), value=-1e4), F.pad(part.mask, (0, 4)), part.row, part.present
        )
    assert_same(pooled(aggregator(spoiled, BATCH)), expected)
    assert_same(pooled(aggregator(longer, BATCH)), expected)


@pytest.mark.parametrize("name", WITHOUT_ORDER)
@torch.no_grad()
def test_order_of_positions_is_not_seen_without_convolutions(name):
    aggregator, parts = build(name), all_parts()
    turned = {
        key: SharedHidden(part.states.flip(1), part.mask.flip(1), part.row, part.present)
        for key, part in parts.items()
    }
    assert_same(pooled(aggregator(turned, BATCH)), pooled(aggregator(parts, BATCH)))


@torch.no_grad()
def test_convolutions_see_the_order_of_positions():
    aggregator, part = build("c_abstractor"), shared(12, 0, (7, 7, 7))
    turned = SharedHidden(part.states.flip(1), part.mask, part.row, part.present)
    one, other = (pooled(aggregator({"dna": p}, BATCH))["joint"] for p in (part, turned))
    assert not torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_samples_can_stand_in_any_order_and_share_rows(name):
    aggregator, parts = build(name), all_parts()
    order = torch.tensor([3, 0, 4, 1, 2])
    expected = {key: value[order] for key, value in pooled(aggregator(parts, BATCH)).items()}
    turned = {
        key: SharedHidden(part.states, part.mask, part.row[order], part.present[order])
        for key, part in parts.items()
    }
    assert_same(pooled(aggregator(turned, BATCH)), expected)
    unshared = {
        key: SharedHidden(part.states[part.row], part.mask[part.row], torch.arange(BATCH), part.present)
        for key, part in turned.items()
    }
    assert_same(pooled(aggregator(unshared, BATCH)), expected)


@pytest.mark.parametrize("lacking", DIMS)
@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_what_a_sample_lacks_changes_nothing(name, lacking):
    aggregator, parts = build(name), all_parts()
    present = torch.tensor([True, False, True, False, True])
    part = parts[lacking]
    some = parts | {lacking: SharedHidden(part.states, part.mask, part.row, present)}
    found = pooled(aggregator(some, BATCH))
    without = {key: value for key, value in parts.items() if key != lacking}
    for branch, values in pooled(aggregator(without, BATCH)).items():
        torch.testing.assert_close(found[branch][~present], values[~present], rtol=1e-5, atol=1e-6)
    for branch, values in pooled(aggregator(parts, BATCH)).items():
        torch.testing.assert_close(found[branch][present], values[present], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_reach_all_inputs_and_parameters_but_no_padding(name):
    aggregator, parts = build(name), all_parts()
    # The last sample lacks DNA (another one shows its row), so that what stands in for it learns too.
    parts["dna"] = shared(DIMS["dna"], 0, present=torch.arange(BATCH) < BATCH - 1)
    for part in parts.values():
        part.states.requires_grad_()
    torch.manual_seed(2)
    sum(
        (value * torch.randn_like(value)).sum() for value in pooled(aggregator(parts, BATCH)).values()
    ).backward()
    for part in parts.values():
        assert part.states.grad[part.mask].abs().sum(dim=1).gt(0).all()
        assert part.states.grad[~part.mask].eq(0).all()
    # A key's bias moves all scores of a query alike: softmax does not see it.
    silent = {
        key for key, value in aggregator.named_parameters() if value.grad is None or not value.grad.any()
    }
    assert all(key.endswith(".key.bias") for key in silent), silent


@torch.no_grad()
def test_linear_is_a_map_of_every_position():
    aggregator, parts = build("linear"), all_parts()
    rows = [
        parts[name].states[1, :3] @ aggregator.maps[name].weight.T + aggregator.maps[name].bias
        for name in DIMS
    ]
    hidden = aggregator(parts, BATCH)["joint"]
    torch.testing.assert_close(hidden.states[1][hidden.mask[1]], torch.cat(rows))


def naive_attention(layer, query, keys):
    """Multi-head attention with biases, head by head."""
    size, contexts = query.shape[1] // layer.heads, []
    projected = [part(x) for part, x in ((layer.query, query), (layer.key, keys), (layer.value, keys))]
    for head in range(layer.heads):
        q, k, v = (x[:, head * size : (head + 1) * size] for x in projected)
        contexts.append((q @ k.T / math.sqrt(size)).softmax(dim=1) @ v)
    return layer.dense(torch.cat(contexts, dim=1))


@torch.no_grad()
def test_the_resampler_reads_modalities_in_turn_beside_its_latents():
    aggregator, parts = build("perceiver_resampler"), all_parts()
    latents = aggregator.latents
    for layer in aggregator.layers:
        for name in DIMS:
            tokens = aggregator.maps[name](parts[name].states[1, :3])
            keys = torch.cat([tokens, latents])
            latents = latents + naive_attention(layer.attention[name], layer.norms[name](latents), keys)
        into, _, out = layer.ffn
        latents = latents + out(F.gelu(into(layer.ffn_norm(latents))))
    torch.testing.assert_close(aggregator(parts, BATCH)["joint"].states[1], latents, rtol=1e-5, atol=1e-6)


def naive_block(block, states):
    seen = F.silu(block.norms[0](block.first(states)))
    weight, bias = block.conv.conv.weight, block.conv.conv.bias
    padded = F.pad(seen, (0, 0, 1, 1))
    seen = torch.stack([(padded[i : i + 3] * weight[:, 0].T).sum(0) + bias for i in range(len(states))])
    seen = F.silu(block.norms[1](seen))
    seen = seen * block.excite(seen.mean(0))
    return F.silu(states + block.norms[2](block.last(seen)))


@pytest.mark.parametrize("length", [1, 3, 4, 7])
@torch.no_grad()
def test_the_abstractor_is_blocks_adaptive_mean_blocks_perceptron(length):
    aggregator = build("c_abstractor", {"rna": 8})
    part, one = shared(8, 5, (7, length, 2)), aggregator.abstractors["rna"]
    states = one.map(part.states[1, :length])
    for block in one.before:
        states = naive_block(block, states)
    states = F.adaptive_avg_pool1d(states.T, 4).T
    for block in one.after:
        states = naive_block(block, states)
    found = aggregator({"rna": part}, BATCH)["joint"].states[1]
    torch.testing.assert_close(found, one.readout(states), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_a_sample_with_nothing_gives_a_constant_that_does_not_depend_on_its_batch():
    for name in ("linear", "c_abstractor", "perceiver_resampler"):
        aggregator, parts = build(name), all_parts()
        absent = torch.tensor([True, True, False, True, True])
        some = {key: SharedHidden(part.states, part.mask, part.row, absent) for key, part in parts.items()}
        found = pooled(aggregator(some, BATCH))["joint"][2]
        alone = pooled(aggregator({}, 1))
        torch.testing.assert_close(found, alone["joint"][0] if alone else torch.zeros(6))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PerceiverResamplerConfig(latents=0), "latents=0"),
        (lambda: PerceiverResamplerConfig(layers=0), "layers=0"),
        (lambda: CAbstractorConfig(tokens=0), "tokens=0"),
        (lambda: CAbstractorConfig(depth=0), "depth=0"),
        (lambda: build_aggregator(PerceiverResamplerConfig(dim=6, heads=4), DIMS), "heads=4"),
    ],
)
def test_sizes_that_cannot_work_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
