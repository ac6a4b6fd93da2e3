"""Kernel regression on what the summaries read: worked by hand, and as a part of an IsoFormer."""

from dataclasses import replace

import pytest
import torch

from cisoform.errors import InputError
from cisoform.models.aggregation import ConcatenateConfig
from cisoform.models.encoders import (
    LandmarkDnaConfig,
    LandmarkProteinConfig,
    LandmarkRnaConfig,
    TinyConfig,
    build_encoder,
)
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig, _inputs
from cisoform.models.kernel import MOST_ROWS, Inputs, KernelConfig, KernelRegression, join_inputs
from tests.models.batches import IDS, alone, random_batch

ROWS, TISSUES = 6, 2
LANDMARK = {
    "dna": LandmarkDnaConfig(dim=12, core=(6, 3), spans=((-9, 0, 2),), stretches=(-8, -4, 4)),
    "rna": LandmarkRnaConfig(dim=12, stretches=(0, 5, 20), upstream_starts=True),
    "protein": LandmarkProteinConfig(dim=12),
}


def make(rows=ROWS, **kernel):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    parts = {**LANDMARK, "aggregator": ConcatenateConfig()}
    config = IsoFormerConfig(tissues=TISSUES, kernel=KernelConfig(rows=rows, **kernel), **parts)
    model = IsoFormer(config)
    torch.nn.init.normal_(model.head.weight, std=0.2)
    return model.eval()


def batch_of(n=ROWS, lacking=(), seed=0):
    batch = random_batch(["".join(m for m in "drp" if m not in lacking)] * n, seed)
    return replace(batch, targets=torch.randn(n, TISSUES, generator=torch.Generator().manual_seed(seed)))


def test_ridge_worked_by_hand():
    # One protein summary is the length, the other the composition; both are given here as numbers.
    encoder = build_encoder(LandmarkProteinConfig(dim=4))
    kernel = KernelRegression(KernelConfig(rows=2, noise=1.0, power=1), {"protein": encoder}, outputs=1)
    lengths, shares = torch.zeros(2, 16), torch.zeros(2, 20)
    lengths[1, 0] = 2.0
    inputs = {"protein": Inputs([lengths, shares], torch.tensor([0, 1]), torch.tensor([True, True]))}
    kernel.fit(inputs, torch.tensor([[1.0], [-1.0]]))
    # Squared distance 4, its mean over the four pairs 2; the compositions are the same: (exp(-2) + 1) / 2.
    near = (torch.exp(torch.tensor(-2.0)) + 1) / 2
    # (K + 1) w = y with y = (1, -1): w = y / (2 - near); predictions are K w = (1 - near) / (2 - near) y.
    expected = (1 - near) / (2 - near)
    torch.testing.assert_close(kernel(inputs, 2)[:, 0], torch.stack([expected, -expected]))


def test_missing_labels_count_as_the_mean():
    batch = batch_of()
    holes = batch.targets.clone()
    holes[0, 0] = torch.nan
    found = []
    for targets in (holes, holes.nan_to_num(0.0)):
        model = make()
        model.fit_kernel([replace(batch, targets=targets)])
        found.append(model(batch))
    torch.testing.assert_close(*found)
    assert found[0].isfinite().all()


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_kernel_has_its_weight_in_evaluation_and_none_in_training(weight):
    batch = batch_of()
    model = make(weight=weight)
    model.fit_kernel([batch])
    network = IsoFormer(replace(model.config, kernel=None)).eval()
    network.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("kernel.")})
    own, blended = network(batch), model(batch)
    model.kernel.config = replace(model.kernel.config, weight=1.0)
    regression = model(batch)
    assert not torch.allclose(regression, own)
    torch.testing.assert_close(blended, (1 - weight) * own + weight * regression)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.testing.assert_close(model.train()(batch), own)


def test_it_is_in_full_precision_under_autocast():
    batch = batch_of()
    model = make()
    model.fit_kernel([batch])
    inputs = _inputs(model._encode(batch))
    expected = model.kernel(inputs, ROWS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model.kernel(inputs, ROWS), expected, rtol=0, atol=0)


def test_too_little_noise_for_rows_that_are_alike_is_refused():
    # All rows are the same: the kernel has rank 1, and so little noise vanishes in single precision.
    encoder = build_encoder(LandmarkProteinConfig(dim=4))
    kernel = KernelRegression(KernelConfig(rows=50, noise=1e-12), {"protein": encoder}, outputs=1)
    inputs = {
        "protein": Inputs([torch.ones(50, 16), torch.ones(50, 20)], torch.arange(50), torch.ones(50).bool())
    }
    with pytest.raises(InputError, match=r"model\.kernel\.noise=1e-12 is too small"):
        kernel.fit(inputs, torch.randn(50, 1))


def test_it_learns_what_its_inputs_tell():
    # Targets are those of one of three proteins; with hardly any noise they are recalled.
    batch = batch_of(n=30)
    batch = replace(batch, targets=batch.targets[batch.protein.row])
    model = make(rows=30, weight=1.0, noise=1e-3)
    model.fit_inputs([batch])
    model.fit_kernel([batch])
    torch.testing.assert_close(model(batch), batch.targets, atol=0.05, rtol=0)
    other = replace(batch_of(n=30, seed=1), targets=batch.targets)
    assert (model(other) - batch.targets).square().mean() > 0.1


@pytest.mark.parametrize("lacking", ["d", "p", "rp"])
def test_company_and_lacking_modalities_change_nothing(lacking):
    model = make()
    model.fit_kernel([batch_of()])
    batch = batch_of(lacking=lacking, seed=1)
    expected = model(batch)
    assert expected.isfinite().all()
    for one in range(ROWS):
        torch.testing.assert_close(model(alone(batch, one))[0], expected[one], atol=1e-5, rtol=1e-5)


def test_company_changes_nothing_where_training_rows_are_the_same():
    # No RNA is non-coding: the length of that region is the same bumps for all, whose distances are rounding alone.
    rna = LandmarkRnaConfig(dim=4, regions=("non_coding",), start_context=(1, 1))
    encoder = build_encoder(rna)
    kernel = KernelRegression(KernelConfig(rows=40, noise=0.1), {"rna": encoder}, outputs=1)
    lengths = encoder.lengths["non_coding"].inputs(torch.zeros(40, dtype=torch.long))
    others = [torch.randn(40, 8), torch.randn(40, 64)]
    inputs = Inputs([lengths, *others], torch.arange(40), torch.ones(40, dtype=torch.bool))
    kernel.fit({"rna": inputs}, torch.randn(40, 1))
    assert kernel.scale_rna[0] == 1.0
    together = kernel({"rna": inputs}, 40)
    for one in range(3):
        groups = [group[one : one + 1] for group in inputs.groups]
        single = Inputs(groups, torch.tensor([0]), torch.tensor([True]))
        torch.testing.assert_close(kernel({"rna": single}, 1)[0], together[one], atol=1e-5, rtol=1e-5)


def test_how_training_rows_are_batched_does_not_matter():
    batch = batch_of()
    whole, parts = make(), make()
    whole.fit_kernel([batch])
    singles = [replace(alone(batch, one), targets=batch.targets[one : one + 1]) for one in range(ROWS)]
    parts.fit_kernel(singles)
    torch.testing.assert_close(whole(batch), parts(batch), atol=1e-4, rtol=1e-4)


def test_a_modality_that_a_batch_lacks_joins_as_absent():
    one = Inputs([torch.ones(1, 3)], torch.tensor([0, 0]), torch.tensor([True, False]))
    joined = join_inputs([{"dna": one}, {}], [2, 1])["dna"]
    assert joined.present.tolist() == [True, False, False]
    assert joined.groups[0].shape == (1, 3)


def test_the_fitted_kernel_is_saved_with_the_model():
    batch = batch_of()
    model = make()
    model.fit_kernel([batch])
    again = make()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(batch), model(batch))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": 0.0}, "weight=0.0"),
        ({"weight": 1.5}, "weight=1.5"),
        ({"noise": 0.0}, "noise=0.0"),
        ({"power": 0}, "power=0"),
        ({"rows": MOST_ROWS + 1}, "20,001 training rows"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        KernelConfig(**change)


def test_an_encoder_without_summaries_is_refused():
    tiny = TinyConfig(ids=IDS["protein"], dim=8, bin=4)
    with pytest.raises(ValueError, match="that of protein is another"):
        parts = {**LANDMARK, "protein": tiny, "aggregator": ConcatenateConfig()}
        IsoFormer(IsoFormerConfig(tissues=1, kernel=KernelConfig(rows=2), **parts))
