"""The plan's arithmetic against models: parameters exactly, FLOPs within 2 %, memory as autograd keeps it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cisoform.batches import Places, RegionBatch
from cisoform.jobs import plan_costs as costs
from cisoform.models.creformer import CREformer, CREformerConfig, Elementary, ElementaryConfig
from cisoform.models.creformer.pretraining import ElementaryPretraining
from tests.ladder import LADDER, published_form

torch.set_num_threads(1)

SIZES = ElementaryConfig(
    dim=24, heads=3, ffn=40, bin_layers=3, window_layers=2, tracks=("atac", "k4"), chunk_bins=8
)
FORMS = {
    "ours": CREformerConfig(elementary=SIZES, layers=2, max_peaks=13),
    "released": CREformerConfig(
        elementary=replace(SIZES, norm_first=False),
        layers=2,
        max_peaks=13,
        rank_rows=26,
        positions="rank",
        head="flat",
        mask_padding=False,
    ),
}


def numbers(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize("config", FORMS.values(), ids=FORMS)
def test_parameters_are_exact(config: CREformerConfig) -> None:
    model = CREformer(config)
    first = costs.elementary_parameters(config.elementary)
    assert sum(first.values()) == numbers(model.elementary)
    assert first["bin encoder"] == numbers(model.elementary.bin_encoder)
    second = costs.regulatory_parameters(config)
    assert sum(second.values()) == numbers(model) - numbers(model.elementary)
    assert (second["head"], second["attention pool"]) == (numbers(model.head), numbers(model.pool))
    whole = ElementaryPretraining(SIZES)
    assert costs.pretraining_heads(SIZES) == numbers(whole) - numbers(whole.elementary)


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.name)
def test_the_ladder_is_that_of_the_reference(rung: Any) -> None:
    """Reference: section 4. Its forward passes compute all tokens and its training leaves the heads out."""
    config = published_form(rung.recipe)
    whole = sum(
        (costs.elementary_parameters(config.elementary) | costs.regulatory_parameters(config)).values()
    )
    assert whole == pytest.approx(rung.parameters, abs=rung.rounding)
    peak = costs.peak_flops(config.elementary, first_only=False)
    assert peak == pytest.approx(rung.forward_per_peak, rel=0.025)
    per_bp = costs.pretraining_flops_per_token(config.elementary, 1024, 0.15, 0.15)
    assert per_bp["encoder"] == pytest.approx(rung.train_flops_per_bp, rel=0.03)
    assert costs.peak_flops(config.elementary) < peak  # CLS alone in the last layer


def test_the_paper_costs_what_the_reference_says() -> None:
    config = published_form("paper")
    assert costs.gene_flops(config, 44, first_only=False) == pytest.approx(93e12, rel=0.01)
    a100_day = 312e12 * 0.4 * 86_400
    transformer = costs.TRAINING_PASSES * costs.regulate_flops(config, 44)
    assert 165e6 * transformer / a100_day == pytest.approx(14, rel=0.01)
    assert 165e6 * costs.gene_flops(config, 44, first_only=False) / a100_day == pytest.approx(1424, rel=0.01)
    assert costs.feature_bytes(2048, "pooled", "fp16") == 4096
    assert costs.feature_bytes(384, "pooled", "fp16") == 768
    disk = costs.region_bytes(34, 7, 50_000, 32_768)
    assert disk["tokens"] == pytest.approx(390e9, rel=0.001) and disk["bin means"] * 32 == disk["tokens"]


def counted(run: Callable[[], object]) -> int:
    """FLOPs by torch's counter. On the meta device attention is made of the products that it counts."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def on_meta(module: torch.nn.Module) -> Any:
    return module.to("meta")


def meta_ids(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int32, device="meta")


@pytest.mark.parametrize("tokens", [128, 640])
def test_flops_of_elementary(tokens: int) -> None:
    model = on_meta(Elementary(SIZES))
    dna, tracks = meta_ids(3, tokens), {"atac": meta_ids(3, tokens)}
    with torch.no_grad():
        read = counted(lambda: model(dna, tracks))
        embedded = model.embed(dna, tracks)
        every = counted(
            lambda: model.encode_window(
                model.encode_bins(embedded, first_only=False)[: 3 * (tokens // 128), 0].reshape(3, -1, 24)
            )
        )
    assert read == pytest.approx(3 * costs.window_flops(SIZES, tokens, first_only=True), rel=0.02)
    assert every == pytest.approx(3 * costs.window_flops(SIZES, tokens, first_only=False), rel=0.02)


def test_flops_of_a_peak_at_the_released_width() -> None:
    config = published_form("paper")
    config = replace(config, layers=1, elementary=replace(config.elementary, bin_layers=2, window_layers=1))
    with torch.device("meta"):
        model = CREformer(config)
    with torch.no_grad():
        found = counted(lambda: model.encode_peaks(meta_ids(1, 1024), {"track0": meta_ids(1, 1024)}))
    assert found == pytest.approx(costs.peak_flops(config.elementary), rel=0.02)


def gene_inputs(config: CREformerConfig, samples: int, device: str = "meta") -> tuple[torch.Tensor, ...]:
    slots, dim = config.max_peaks, config.elementary.dim
    peaks = torch.zeros(samples, slots, dim, device=device, requires_grad=True)
    mask = torch.ones(samples, slots, dtype=torch.bool, device=device)
    kind = torch.float32 if config.positions == "distance" else torch.int64
    position = torch.zeros(samples, slots, dtype=kind, device=device)
    return peaks, mask, position, torch.zeros(samples, dtype=torch.int64, device=device)


@pytest.mark.parametrize("config", FORMS.values(), ids=FORMS)
def test_flops_of_a_gene(config: CREformerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = on_meta(CREformer(config)), 2
    monkeypatch.setattr(
        torch.Tensor, "all", lambda self: True
    )  # whether anything is padded is no meta question
    peaks, mask, position, tss = gene_inputs(config, samples)
    slots = config.max_peaks
    bins = torch.zeros(samples * slots, 8, config.elementary.dim, device="meta")

    def forward() -> torch.Tensor:
        pooled = model.pool(bins).reshape(samples, slots, -1)
        found: torch.Tensor = model(pooled, mask, position, tss)
        return found

    expected = samples * (slots * costs.pool_flops(SIZES) + costs.regulate_flops(config, slots))
    assert counted(forward) == pytest.approx(expected, rel=0.02)
    # Of the pool only the weights' gradient is computed: features are frozen. It is counted as if both were.
    training = counted(lambda: forward().sum().backward())
    frozen = samples * slots * costs.pool_flops(SIZES)
    assert training + frozen == pytest.approx(samples * costs.fit_flops(config, slots, cached=True), rel=0.02)


def a_batch(rows: int, tokens: int, device: str) -> RegionBatch:
    """15 % of the tokens hidden, one of the two tracks shown, the other preserved."""
    hidden = Places(*(torch.arange(round(0.15 * rows * tokens), device=device) for _ in range(2)))
    bins = torch.arange(rows * tokens // 128, device=device)
    clipped = Places(hidden.index, hidden.index % 38)
    return RegionBatch(
        dna=torch.full((rows, tokens), 5, dtype=torch.int32, device=device),
        tracks={"atac": torch.ones((rows, tokens), dtype=torch.int32, device=device)},
        hidden_dna=Places(hidden.index, hidden.index % 4100),
        hidden_tracks={"atac": clipped},
        preserved={"k4": Places(bins, bins % 38)},
        region=torch.zeros(rows, dtype=torch.int64, device=device),
        start=torch.zeros(rows, dtype=torch.int64, device=device),
    )


def loss_of(model: ElementaryPretraining, batch: RegionBatch) -> torch.Tensor:
    logits = model(batch)
    cross_entropy = torch.nn.functional.cross_entropy
    total = cross_entropy(logits.dna.float(), batch.hidden_dna.target)
    total = total + cross_entropy(logits.tracks["atac"].float(), batch.hidden_tracks["atac"].target)
    return total + cross_entropy(logits.bins["k4"].float(), batch.preserved["k4"].target)


@pytest.mark.parametrize("width", [24, 96])
def test_flops_of_a_pretraining_step(width: int) -> None:
    config = replace(SIZES, dim=width, ffn=2 * width)
    model, batch = on_meta(ElementaryPretraining(config)), a_batch(2, 512, "meta")
    found = counted(lambda: loss_of(model, batch).backward())
    places = (round(0.15 * 1024), round(0.15 * 1024) + 8)
    expected = 2 * costs.window_flops(config, 512, first_only=False) + costs.heads_flops(config, *places)
    assert found == pytest.approx(costs.TRAINING_PASSES * expected, rel=0.02)
    per_token = costs.pretraining_flops_per_token(replace(config, tracks=("atac",)), 512, 0.15, 0.15)
    assert 1024 * sum(per_token.values()) == pytest.approx(found, rel=0.02)


@contextmanager
def kept(model: torch.nn.Module) -> Iterator[Callable[[], int]]:
    """Bytes of the storages that autograd keeps, without the parameters and copies of them in other types."""
    found: dict[int, torch.UntypedStorage] = {}
    weights = {value.untyped_storage().data_ptr() for value in model.parameters()}
    shapes = {tuple(value.shape) for value in model.parameters()}
    shapes |= {shape[::-1] for shape in shapes}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        copied = value.dtype == torch.bfloat16 and tuple(value.shape) in shapes
        if storage.data_ptr() not in weights and not copied:
            found[storage.data_ptr()] = storage
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        yield lambda: sum(storage.nbytes() for storage in found.values())


WIDE = replace(SIZES, dim=96, heads=4, ffn=384)
TYPES = (("fp32", "cpu"), ("bf16", "cpu"), ("bf16", "cuda"))


@pytest.fixture
def attention_as_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """On a GPU attention runs in bf16 under autocast; our own runs in float32 on a CPU while training."""

    def choose(device: str) -> None:
        if device == "cuda":
            scaled = torch.nn.functional.scaled_dot_product_attention
            monkeypatch.setattr(
                "cisoform.nn.transformer.attend",
                lambda q, k, v, mask, return_weights: (scaled(q, k, v), None),
            )

    return choose


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize(("dtype", "device"), TYPES)
def test_activations_of_a_pretraining_step(
    attention_as_on: Callable[[str], None], dtype: str, device: str, norm_first: bool
) -> None:
    attention_as_on(device)
    model = ElementaryPretraining(replace(WIDE, norm_first=norm_first))
    batch = a_batch(3, 512, "cpu")
    with kept(model) as count, torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
        loss = loss_of(model, batch)
        found = count()
    assert loss.isfinite()
    one_track = replace(WIDE, tracks=("atac",))
    expected = costs.pretraining_kept_bytes(one_track, 3 * 512, 0.15, 0.15, dtype, device)
    assert found == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(("dtype", "device"), TYPES)
def test_activations_of_a_step_of_the_second_stage(
    attention_as_on: Callable[[str], None], dtype: str, device: str, dropout: float
) -> None:
    attention_as_on(device)
    config = replace(FORMS["ours"], elementary=WIDE, dropout=dropout)
    model, samples = CREformer(config), 5
    _, mask, position, tss = gene_inputs(config, samples, "cpu")
    with kept(model) as count, torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
        pooled = model.pool(torch.randn(samples * 13, 8, 96)).reshape(samples, 13, -1)
        out = model(pooled, mask, position, tss)
        found = count()
    assert out.shape == (samples,)
    assert found == pytest.approx(costs.fit_kept_bytes(config, samples, 13, dtype, device), rel=0.12)


def most_alive(run: Callable[[], object]) -> int:
    """Most bytes that tensors held at once, by torch's own record of allocations."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        run()
    events = profile.profiler.kineto_results.events()
    sizes = [event.nbytes() for event in events if event.name() == "[memory]"]
    return max(itertools.accumulate(sizes))


@pytest.mark.parametrize("ffn", [64, 256, 512])
def test_working_memory_of_encoding(ffn: int) -> None:
    sizes = replace(SIZES, dim=64, heads=4, ffn=ffn)
    config = replace(FORMS["ours"], elementary=sizes)
    model = CREformer(config).eval()
    dna = torch.full((4, 1024), 5, dtype=torch.int32)
    with torch.no_grad():
        found = most_alive(lambda: model.encode_peaks(dna, {"atac": torch.ones_like(dna)}))
    assert found == pytest.approx(costs.inference_working_bytes(config, 1, 13, "fp32"), rel=0.03)
