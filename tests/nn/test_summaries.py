import pytest
import torch

from cisoform.nn.summaries import Composition, SiteWeights, SoftBins, fit_summaries, root_frequencies


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_root_frequencies_worked_by_hand():
    # Codes 0, 0, 2, 1 and an invalid one: shares 1/2, 1/4, 1/4.
    codes, valid = torch.tensor([[0, 0, 2, 1, 9]]), torch.tensor([[True, True, True, True, False]])
    torch.testing.assert_close(root_frequencies(codes, valid, 3), torch.tensor([[0.5**0.5, 0.5, 0.5]]))
    assert root_frequencies(codes, torch.zeros_like(valid), 3).tolist() == [[0.0, 0.0, 0.0]]


def test_composition_ignores_order_and_invalid_places():
    layer = Composition(5, 7, dropout=0.5).eval()
    codes, valid = torch.tensor([[0, 3, 3, 4, 2]]), torch.tensor([[True, True, True, True, False]])
    expected = layer(codes, valid)
    torch.testing.assert_close(layer(codes[:, [3, 1, 4, 0, 2]], valid[:, [3, 1, 4, 0, 2]]), expected)
    torch.testing.assert_close(layer(codes[:, :4], valid[:, :4]), expected)


def test_soft_bins_tell_near_counts_apart_and_not_small_ones():
    layer = SoftBins(7, bins=24)
    zero, one, hundred, more = layer(torch.tensor([0, 1, 100, 130]))
    torch.testing.assert_close(zero, one, atol=0.05, rtol=0)
    assert (hundred - more).abs().max() > 0.05


def test_fitted_compositions_are_standardised_and_stay_so():
    layer = Composition(3, 7, dropout=0.5).eval()
    codes = torch.randint(0, 2, (50, 20))  # code 2 never occurs
    valid = torch.ones(50, 20, dtype=torch.bool)
    with fit_summaries(layer):
        for rows in codes.split(7):
            layer(rows, valid[: len(rows)])
    root = root_frequencies(codes, valid, 3)
    scaled = (root - layer.mean) / layer.std
    torch.testing.assert_close(scaled[:, :2].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled[:, :2].std(0, correction=0), torch.ones(2), atol=0.02, rtol=0)
    assert layer.std[2] == torch.tensor(3**-0.5)
    mean = layer.mean.clone()
    layer(codes[:1], valid[:1])
    assert torch.equal(layer.mean, mean) and {"mean", "std"} <= layer.state_dict().keys()


def test_fitted_bins_lie_at_quantiles_of_counts_above_zero():
    layer = SoftBins(7, bins=3)
    with fit_summaries(layer):
        layer(torch.tensor([0, 0, 0, 0]))
        layer(torch.arange(1, 101))
    expected = torch.quantile(torch.arange(1, 101).float().log1p(), torch.tensor([0.01, 0.5, 0.99]))
    torch.testing.assert_close(layer.centres, expected)


def test_a_summary_that_sees_nothing_keeps_its_constants():
    layer = SoftBins(7, bins=3)
    before = layer.centres.clone()
    with fit_summaries(layer):
        pass
    with fit_summaries(layer):
        layer(torch.tensor([0, 0]))
    assert torch.equal(layer.centres, before)


def test_site_weights_worked_by_hand():
    layer = SiteWeights(width=2, letters=4, dim=1, dropout=0.0)
    torch.nn.init.zeros_(layer.out.bias)
    layer.out.weight.data = torch.arange(8.0)[None]
    ids = torch.tensor([[1, 3], [1, 4], [1, 3]])
    mask = torch.tensor([[True, True], [True, True], [False, True]])
    # C at place 0 weighs 1, T at place 1 weighs 4 + 3; N and masked places weigh nothing.
    assert layer(ids, mask).flatten().tolist() == [8.0, 1.0, 7.0]
