import pytest
import torch

from cisoform.models.encoders import TinyConfig, build_encoder
from cisoform.models.encoders.grouping import _cut, encode_in_groups
from tests.models.batches import random_tokens


class Counting(torch.nn.Module):
    """An encoder that writes down the shapes it is given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = build_encoder(TinyConfig(ids=5, channels=16, dim=6, bin=4))
        self.dim = 6
        self.shapes = []

    def forward(self, tokens):
        self.shapes.append(tuple(tokens.ids.shape))
        return self.encoder(tokens)


@pytest.mark.parametrize("group_tokens", [None, 1, 30, 40, 10_000])
@torch.no_grad()
def test_groups_give_what_one_go_gives(group_tokens):
    torch.set_num_threads(1)
    encoder = Counting()
    tokens = random_tokens("rna", [5, 29, 1, 17, 11, 8], torch.Generator().manual_seed(0))
    found, expected = encode_in_groups(encoder, tokens, group_tokens), encoder(tokens)
    assert torch.equal(found.mask, expected.mask)
    torch.testing.assert_close(found.states[found.mask], expected.states[found.mask])


def test_each_group_is_cut_to_its_longest_row():
    encoder = Counting()
    encode_in_groups(
        encoder, random_tokens("rna", [5, 29, 1, 17, 11, 8], torch.Generator().manual_seed(0)), 34
    )
    # Sorted: 1, 5, 8, 11, 17, 29. Four rows of 11 are 44 > 34; two of 17 are 34; two of 29 are 58 > 34.
    assert encoder.shapes == [(3, 8), (2, 17), (1, 29)]


def test_a_row_over_the_limit_is_a_group_of_its_own():
    assert _cut([3, 9, 9], 5) == [(0, 1), (1, 2), (2, 3)]
