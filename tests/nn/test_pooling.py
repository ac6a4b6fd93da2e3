import pytest
import torch

from cisoform.nn.pooling import AttentionPool, MeanPool, adaptive_mean, bin_mean, masked_mean


@pytest.fixture(autouse=True)
def _seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def filled(pool):
    if isinstance(pool, AttentionPool):
        torch.nn.init.normal_(pool.score.weight)
    return pool


@pytest.mark.parametrize("make", [MeanPool, lambda: AttentionPool(6), lambda: AttentionPool(6, heads=3)])
def test_hidden_positions_cannot_change_the_answer(make):
    pool = filled(make())
    states = torch.randn(2, 5, 6)
    mask = torch.tensor([[True, True, False, False, False], [True] * 5])
    other = states.clone()
    other[~mask] = torch.nan
    torch.testing.assert_close(pool(states, mask), pool(other, mask))
    torch.testing.assert_close(pool(states[:1, :2], mask[:1, :2]), pool(states, mask)[:1])


@pytest.mark.parametrize("make", [MeanPool, lambda: AttentionPool(6)])
def test_a_row_without_positions_gives_zeros(make):
    pool = filled(make())
    states, mask = torch.randn(2, 3, 6), torch.tensor([[False] * 3, [True] * 3])
    assert pool(states, mask)[0].eq(0).all()


def test_attention_pool_starts_as_the_mean():
    states, mask = torch.randn(2, 5, 6), torch.tensor([[True, True, False, False, True], [True] * 5])
    torch.testing.assert_close(AttentionPool(6, heads=2)(states, mask), masked_mean(states, mask))


def test_bins_worked_by_hand():
    # Bins of 2: (1 + 3) / 2, then 5 alone (its neighbour is padding), then a bin of padding only.
    states = torch.tensor([[1.0, 3.0, 5.0, 9.0, 9.0]])[..., None]
    mask = torch.tensor([[True, True, True, False, False]])
    binned, real = bin_mean(states, mask, 2)
    assert binned[0, :, 0].tolist() == [2.0, 5.0, 0.0]
    assert real[0].tolist() == [True, True, False]


def test_bins_of_one_are_the_positions():
    states, mask = torch.randn(2, 3, 5), torch.ones(2, 3, dtype=torch.bool)
    assert bin_mean(states, mask, 1)[0] is states


def test_adaptive_mean_is_torchs_on_the_real_positions_alone():
    states, lengths = torch.randn(5, 9, 3), (9, 7, 3, 1, 0)
    mask = torch.arange(9)[None] < torch.tensor(lengths)[:, None]
    found = adaptive_mean(states.masked_fill(~mask[..., None], torch.nan), mask, 4)
    for row, length in enumerate(lengths[:-1]):
        expected = torch.nn.functional.adaptive_avg_pool1d(states[row, :length].T, 4).T
        torch.testing.assert_close(found[row], expected)
    assert found[4].eq(0).all()


def test_adaptive_mean_passes_over_holes():
    states = torch.randn(1, 5, 3)
    mask = torch.tensor([[True, False, True, True, False]])
    torch.testing.assert_close(
        adaptive_mean(states, mask, 2), adaptive_mean(states[:, [0, 2, 3]], mask[:, [0, 2, 3]], 2)
    )
