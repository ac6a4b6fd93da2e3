import torch

from cisoform.nn.position import PositionFeatures


def test_positions_do_not_depend_on_padding():
    torch.manual_seed(0)
    features = PositionFeatures(5)
    short = torch.ones(1, 7, dtype=torch.bool)
    padded = torch.arange(20)[None] < 7
    torch.testing.assert_close(features(padded, 2)[:, :4], features(short, 2))


def test_the_two_sides_of_the_centre_differ():
    torch.manual_seed(0)
    found = PositionFeatures(5)(torch.ones(1, 8, dtype=torch.bool), 2)[0]
    assert not torch.allclose(found[0], found[3])
    assert not torch.allclose(found[1], found[2])
