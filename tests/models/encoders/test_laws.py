"""Laws of every encoder. Add a line to ENCODERS for a new one."""

import pytest
import torch

from cisoform.batches import Tokens
from cisoform.models.encoders import (
    BorzoiConfig,
    ConvConfig,
    EnformerConfig,
    Esm2Config,
    LandmarkDnaConfig,
    LandmarkProteinConfig,
    LandmarkRnaConfig,
    NtV2Config,
    SequenceEncoder,
    TinyConfig,
    build_encoder,
)
from cisoform.models.encoders.borzoi import BorzoiNetworkConfig
from cisoform.models.encoders.enformer import EnformerNetworkConfig
from cisoform.models.encoders.rotary import esm2_network, nt_v2_network
from tests.models.batches import CHANNELS, IDS, random_tokens

LANDMARK = {
    "dna": LandmarkDnaConfig(dim=12, core=(6, 3), spans=((-9, 0, 2), (0, 7, 3))),
    "rna": LandmarkRnaConfig(dim=12),
    "protein": LandmarkProteinConfig(dim=12),
}
ROTARY = {
    "dna": NtV2Config(network=nt_v2_network(12, 2, 2)),
    "rna": NtV2Config(network=nt_v2_network(12, 2, 3)),
    "protein": Esm2Config(network=esm2_network(12, 2, 3)),
}
ENCODERS = {
    "tiny": lambda name: TinyConfig(ids=IDS[name], channels=CHANNELS[name], dim=12, bin=4),
    "conv": lambda name: ConvConfig(
        ids=IDS[name], channels=CHANNELS[name], widths=(8, 12), bins=(3, 2), conv_layers=2, heads=2
    ),
    "landmark": LANDMARK.__getitem__,
    "rotary": ROTARY.__getitem__,
}
TRUNKS = {
    "enformer": EnformerConfig(
        network=EnformerNetworkConfig(
            dim=12, layers=2, heads=2, key_dim=4, downsamples=3, divisible_by=2, bins=None
        )
    ),
    "borzoi": BorzoiConfig(
        network=BorzoiNetworkConfig(
            stem=6, tower=(8,), dim=12, layers=2, heads=2, key_dim=4, value_dim=5, out_dim=14, bins=None
        )
    ),
}  # of DNA alone
CASES = [*((encoder, name) for encoder in ENCODERS for name in IDS), *((trunk, "dna") for trunk in TRUNKS)]


def make(encoder, name):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = TRUNKS[encoder] if encoder in TRUNKS else ENCODERS[encoder](name)
    return build_encoder(config).eval()


def spoil(tokens):
    """Other ids and channels, out of range too, under the padding."""
    channels = None if tokens.channels is None else tokens.channels.masked_fill(~tokens.mask, 999)
    return Tokens(tokens.ids.masked_fill(~tokens.mask, 999), tokens.mask, channels)


@pytest.mark.parametrize(("encoder", "name"), CASES)
def test_padding_and_row_mates_cannot_change_a_row(encoder, name):
    module = make(encoder, name)
    lengths = [29, 17, 8, 1]
    tokens = random_tokens(name, lengths, torch.Generator().manual_seed(1))
    together = module(spoil(tokens))
    assert together.states.shape[-1] == module.dim
    for i, length in enumerate(lengths):
        channels = None if tokens.channels is None else tokens.channels[i : i + 1, :length]
        alone = module(Tokens(tokens.ids[i : i + 1, :length], tokens.mask[i : i + 1, :length], channels))
        n_bins = int(alone.mask.sum())
        assert together.mask[i].sum() == n_bins and together.mask[i, :n_bins].all()
        torch.testing.assert_close(
            together.states[i, :n_bins], alone.states[0][alone.mask[0]], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(("encoder", "name"), CASES)
def test_every_parameter_gets_a_gradient_and_every_token_counts(encoder, name):
    module = make(encoder, name)
    tokens = random_tokens(name, [29, 17], torch.Generator().manual_seed(1))
    hidden = module(tokens)
    (hidden.states * torch.randn(hidden.states.shape))[hidden.mask].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())
    other = Tokens((tokens.ids + 1) % IDS[name], tokens.mask, tokens.channels)
    assert not torch.allclose(module(other).states, hidden.states)


@pytest.mark.parametrize(
    "encoder", [name for name in ENCODERS if name != "rotary"]
)  # it reads the tokens alone
def test_annotation_channels_are_read_and_asked_for(encoder):
    module = make(encoder, "rna")
    assert isinstance(module, SequenceEncoder)
    tokens = random_tokens("rna", [29], torch.Generator().manual_seed(1))
    other = Tokens(tokens.ids, tokens.mask, tokens.channels % 15 + 1)
    assert not torch.allclose(module(tokens).states, module(other).states)
    with pytest.raises(ValueError, match="carry none"):
        module(Tokens(tokens.ids, tokens.mask))
