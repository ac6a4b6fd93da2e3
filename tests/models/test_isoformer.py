import itertools

import pytest
import torch

from cisoform.batches import IsoformBatch, Modality, Tokens
from cisoform.models.aggregation import (
    CAbstractorConfig,
    ConcatenateConfig,
    CrossAttentionConfig,
    LinearConfig,
    PerceiverResamplerConfig,
)
from cisoform.models.encoders import (
    ConvConfig,
    LandmarkDnaConfig,
    LandmarkProteinConfig,
    LandmarkRnaConfig,
    TinyConfig,
)
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig
from cisoform.nn.attention import recorded_attention
from tests.models.batches import CHANNELS, IDS, alone, random_batch

AGGREGATORS = {
    "dna": CrossAttentionConfig(heads=2, aggregate="dna"),
    "all": CrossAttentionConfig(heads=2, aggregate="all"),
    "concatenate": ConcatenateConfig(),
    "linear": LinearConfig(),
    "perceiver_resampler": PerceiverResamplerConfig(latents=5, heads=2),
    "c_abstractor": CAbstractorConfig(tokens=3, depth=1),
}
SUBSETS = ["drp", "dr", "dp", "rp", "d", "r", "p"]


def encoder(name, dim):
    return TinyConfig(ids=IDS[name], channels=CHANNELS[name], dim=dim, bin=4)


def make(aggregator="dna", pool="mean", **encoders):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parts = {name: encoder(name, dim) for name, dim in (("dna", 12), ("rna", 8), ("protein", 10))}
    model = IsoFormer(
        IsoFormerConfig(tissues=3, aggregator=AGGREGATORS[aggregator], pool=pool, **parts | encoders)
    )
    for parameter in model.parameters():
        if parameter.eq(0).all():
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


LANDMARK = {
    "dna": LandmarkDnaConfig(dim=12, core=(6, 3), spans=((-9, 0, 2), (0, 7, 3))),
    "rna": LandmarkRnaConfig(dim=12),
    "protein": LandmarkProteinConfig(dim=12),
}


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "attention"])
@pytest.mark.parametrize("aggregator", AGGREGATORS)
@torch.no_grad()
def test_an_absent_modality_is_exactly_neutral_in_a_mixed_batch(aggregator, pool):
    model = make(aggregator, pool)
    batch = random_batch(SUBSETS)
    together = model(batch)
    assert together.shape == (7, 3) and together.isfinite().all()
    for sample in range(len(SUBSETS)):
        assert_same(together[sample : sample + 1], model(alone(batch, sample)))


@torch.no_grad()
def test_it_is_neutral_with_landmark_encoders_and_a_hidden_layer_too():
    model = make("all", **LANDMARK, head_hidden=5)
    batch = random_batch(SUBSETS)
    together = model(batch)
    for sample in range(len(SUBSETS)):
        assert_same(together[sample : sample + 1], model(alone(batch, sample)))


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@torch.no_grad()
def test_dropping_a_modality_equals_never_having_it(aggregator):
    model = make(aggregator)
    full = random_batch(["drp"] * 7)
    for keep in SUBSETS:
        dropped = random_batch([keep] * 7)
        for sample in range(7):
            assert_same(model(dropped)[sample : sample + 1], model(alone(full, sample, keep)))


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@torch.no_grad()
def test_every_present_modality_counts(aggregator):
    model = make(aggregator)
    answers = [model(random_batch([keep])) for keep in SUBSETS]
    for one, other in itertools.combinations(answers, 2):
        assert not torch.allclose(one, other, atol=1e-4)


def reorder(batch, order):
    """The samples in another order, and the rows of every modality in another order too."""
    parts = {}
    for name in ("dna", "rna", "protein"):
        modality = getattr(batch, name)
        turn = torch.arange(len(modality.tokens.ids)).flip(0)
        tokens = Tokens(*(None if x is None else x[turn] for x in (modality.tokens.ids, modality.tokens.mask,
                                                                   modality.tokens.channels)))  # fmt: skip
        row = len(turn) - 1 - modality.row[order]
        parts[name] = Modality(tokens, row, modality.present[order])
    return IsoformBatch(index=batch.index[order], **parts)


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@torch.no_grad()
def test_order_of_samples_and_rows_cannot_change_anything(aggregator):
    model, batch = make(aggregator), random_batch(SUBSETS)
    order = torch.tensor([4, 0, 6, 2, 1, 5, 3])
    assert_same(model(reorder(batch, order)), model(batch)[order])


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_what_an_absent_modality_owns_gets_no_gradient(aggregator):
    model = make(aggregator)
    model(random_batch(["dr", "r"])).sum().backward()
    gradients = [p.grad for p in model.encoders["protein"].parameters()]
    assert all(gradient is None or not gradient.any() for gradient in gradients)
    batch = random_batch(["dr", "drp"])
    model.zero_grad()
    (model(batch)[0] * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    gradients = [p.grad for p in model.encoders["protein"].parameters()]
    assert all(gradient is None or not gradient.any() for gradient in gradients)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@torch.no_grad()
def test_an_empty_sequence_counts_as_absent():
    model, batch = make(), random_batch(["drp", "drp"])
    tokens = batch.protein.tokens
    mask = tokens.mask.clone()
    mask[1] = False
    empty = Modality(Tokens(tokens.ids, mask), batch.protein.row, batch.protein.present)
    found = model(IsoformBatch(dna=batch.dna, rna=batch.rna, protein=empty, index=batch.index))
    assert_same(found[1:], model(alone(batch, 1, "dr")))


def test_fitting_the_inputs_does_not_depend_on_how_samples_are_batched():
    one, many = make("all", **LANDMARK), make("all", **LANDMARK)
    batch = random_batch(SUBSETS)
    one.fit_inputs([batch])
    many.train().fit_inputs(alone(batch, sample) for sample in (3, 1, 5, 0, 6, 2, 4))
    assert many.training and not one.training
    for name, value in one.state_dict().items():
        torch.testing.assert_close(many.state_dict()[name], value)
    fitted = [name for name, value in one.state_dict().items() if name.endswith((".mean", ".centres"))]
    assert all(
        not torch.equal(one.state_dict()[n], make("all", **LANDMARK).state_dict()[n]) for n in fitted[:3]
    )
    make().fit_inputs([])


@torch.no_grad()
def test_each_distinct_row_is_encoded_once():
    model, batch = make(), random_batch(["drp"] * 6)
    rows = {}
    for name, module in model.encoders.items():
        module.register_forward_hook(lambda _m, _i, out, name=name: rows.update({name: len(out.states)}))
    model(batch)
    assert rows == {"dna": 2, "rna": 7, "protein": 3}


@pytest.mark.parametrize("only", ["dna", "rna", "protein"])
@torch.no_grad()
def test_a_model_of_one_modality_is_encoder_pool_head(only):
    model = make(**{name: None for name in IDS if name != only})
    batch = random_batch(["drp", "drp"])
    hidden = model.encoders[only](getattr(batch, only).tokens)
    mean = torch.stack(
        [states[mask].mean(0) for states, mask in zip(hidden.states, hidden.mask, strict=True)]
    )
    assert_same(model(batch), model.head(mean[getattr(batch, only).row]))


@torch.no_grad()
def test_without_dna_encoder_the_rna_is_the_centre():
    model = make(dna=None)
    assert model.aggregator.branches == {"rna": 8}
    with recorded_attention(model) as found:
        model(random_batch(["rp"]))
    assert list(found) == ["aggregator.layers.rna.protein"]


@torch.no_grad()
def test_rna_is_read_before_protein_and_protein_by_the_updated_dna():
    model, batch = make(), random_batch(["drp"])
    layers = model.aggregator.layers["dna"]
    dna, rna, protein = (model.encoders[name](getattr(batch, name).tokens) for name in IDS)
    states = dna.states[:1]
    states = states + layers["rna"](states, rna.states[:1], rna.mask[:1])
    states = states + layers["protein"](states, protein.states[:1], protein.mask[:1])
    assert_same(model(batch), model.head(states[dna.mask[:1]].mean(0, keepdim=True)))


def test_a_convolutional_model_takes_a_step():
    parts = {name: ConvConfig(ids=IDS[name], channels=CHANNELS[name], widths=(8, 16)) for name in IDS}
    model = make(**parts).train()
    model(random_batch(SUBSETS)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tissues": 0, "dna": encoder("dna", 8), "rna": None, "protein": None}, "tissues=0"),
        ({"tissues": 2, "dna": None, "rna": None, "protein": None}, "all null"),
    ],
)
def test_configs_that_cannot_work_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        IsoFormerConfig(**wrong)
