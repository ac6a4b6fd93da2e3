import pytest
import torch

from cisoform.nn.blocks import ConvBlock, MaskedConv, TransformerBlock

DIM = 6


@pytest.fixture(autouse=True)
def _seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


BLOCKS = {
    "transformer": lambda: TransformerBlock(DIM, heads=3),
    "conv": lambda: ConvBlock(DIM, kernel=5, dilation=2),
    "masked_conv": lambda: MaskedConv(DIM, DIM, kernel=7),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_padding_and_row_mates_cannot_change_a_row(name):
    block = BLOCKS[name]().eval()
    states = torch.randn(3, 11, DIM)
    lengths = torch.tensor([11, 7, 4])
    mask = torch.arange(11)[None] < lengths[:, None]
    states[~mask] = 1e4
    together = block(states, mask)
    for i, length in enumerate(lengths.tolist()):
        alone = block(states[i : i + 1, :length], mask[i : i + 1, :length])
        torch.testing.assert_close(together[i, :length], alone[0], rtol=1e-5, atol=1e-5)


def test_masked_convolution_worked_by_hand():
    conv = MaskedConv(1, 1, kernel=3)
    torch.nn.init.ones_(conv.conv.weight)
    torch.nn.init.zeros_(conv.conv.bias)
    states = torch.tensor([[1.0, 2.0, 4.0, 100.0]])[..., None]
    mask = torch.tensor([[True, True, True, False]])
    assert conv(states, mask)[0, :3, 0].tolist() == [3.0, 7.0, 6.0]


def test_dilation_reaches_over_neighbours():
    conv = MaskedConv(1, 1, kernel=3, dilation=2)
    torch.nn.init.ones_(conv.conv.weight)
    torch.nn.init.zeros_(conv.conv.bias)
    states = torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]])[..., None]
    mask = torch.ones(1, 5, dtype=torch.bool)
    assert conv(states, mask)[0, :, 0].tolist() == [5.0, 10.0, 21.0, 10.0, 20.0]


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel=4 must be odd"):
        MaskedConv(3, 3, kernel=4)
