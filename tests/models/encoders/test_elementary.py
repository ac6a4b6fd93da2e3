"""Elementary as a DNA encoder: its laws, what frozen means, and a model in which tissues read tracks of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cisoform.batches import IsoformBatch, Modality, Tokens, Views
from cisoform.models.aggregation import CrossAttentionConfig
from cisoform.models.creformer.elementary import ElementaryConfig
from cisoform.models.encoders import ElementaryDnaConfig, SequenceEncoder, TinyConfig, build_encoder
from cisoform.models.encoders.grouping import encode_in_groups
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig
from tests.models.batches import random_tokens

BIN, TRACKS = 5, ("atac", "h3k4me3")
SIZES = ElementaryConfig(
    dim=12, heads=2, ffn=14, bin_layers=1, window_layers=1, bin_size=BIN, max_bins=7, tracks=TRACKS
)


def config(learn="full") -> ElementaryDnaConfig:
    return ElementaryDnaConfig(elementary=SIZES, learn=learn)


def make(learn="full"):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return build_encoder(config(learn)).eval()


def windows(lengths, seed=1, signal=True):
    """Rows of that many 6-mers; beyond them ids and levels that must not matter."""
    generator = torch.Generator().manual_seed(seed)
    width = max(lengths)
    ids = torch.randint(4, 4100, (len(lengths), width), generator=generator)
    levels = torch.randint(1, 37, (len(lengths), len(TRACKS), width), generator=generator)
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    return Tokens(ids, mask, signal=levels if signal else None)


def test_padding_and_row_mates_cannot_change_a_row():
    module = make()
    assert isinstance(module, SequenceEncoder)
    lengths = [6 * BIN, 3 * BIN, BIN, 3 * BIN, 0]
    tokens = windows(lengths)
    together = module(tokens)
    assert together.mask.sum(dim=1).tolist() == [6, 3, 1, 3, 0]
    for i, length in enumerate(lengths[:-1]):
        one = Tokens(
            tokens.ids[i : i + 1, :length],
            tokens.mask[i : i + 1, :length],
            signal=tokens.signal[i : i + 1, :, :length],
        )
        torch.testing.assert_close(
            together.states[i, : length // BIN], module(one).states[0], rtol=1e-5, atol=1e-6
        )
    grouped = encode_in_groups(module, tokens, 6 * BIN)
    torch.testing.assert_close(grouped.states[grouped.mask], together.states[together.mask])


def test_windows_that_are_not_whole_bins_are_refused():
    with pytest.raises(ValueError, match=r"\[7\] 6-mers are not whole bins of 5"):
        make()(windows([7]))
    with pytest.raises(ValueError, match="loader.dna_window=7 is not a multiple.*loader.dna_window=10"):
        config().check_window(7)
    with pytest.raises(ValueError, match="loader.dna_window=40 has 8 bins.*at most 7"):
        config().check_window(40)


def test_tracks_that_were_not_measured_add_nothing_and_measured_ones_do():
    module, tokens = make(), windows([4 * BIN])
    plain = module(replace(tokens, signal=None)).states
    torch.testing.assert_close(
        module(replace(tokens, signal=torch.zeros_like(tokens.signal))).states, plain, rtol=0, atol=0
    )
    for track in range(len(TRACKS)):
        levels = torch.zeros_like(tokens.signal)
        levels[:, track] = tokens.signal[:, track]
        assert not torch.allclose(module(replace(tokens, signal=levels)).states, plain)


def test_full_learns_everything_and_frozen_the_readout_alone():
    for learn, names in (("full", None), ("frozen", {"readout.weight", "readout.bias"})):
        module = make(learn).train()
        hidden = module(windows([4 * BIN, 4 * BIN]))
        (hidden.states * torch.randn(hidden.states.shape)).sum().backward()
        learnt = {
            name
            for name, weight in module.named_parameters()
            if weight.grad is not None and weight.grad.any()
        }
        assert learnt == (names or {name for name, _ in module.named_parameters()})
    assert not module.elementary.training and module.training


def test_looking_states_up_is_encoding_them():
    module, tokens = make("frozen"), windows([4 * BIN] * 3)
    with torch.no_grad():
        tracks = {name: tokens.signal[:, i] for i, name in enumerate(TRACKS)}
        values = module.elementary(tokens.ids, tracks)
    module.use_table(values, torch.tensor([-1, 2, -1, 0, 1]))
    looked = module(
        Tokens(
            torch.zeros(3, 1, dtype=torch.int8),
            torch.ones(3, 1, dtype=torch.bool),
            state=torch.tensor([3, 4, 1]),
        )
    )
    torch.testing.assert_close(looked.states, module(tokens).states)
    assert looked.mask.all() and looked.mask.shape == (3, 4)
    with pytest.raises(KeyError, match="not in the table"):
        module(
            Tokens(
                torch.zeros(1, 1, dtype=torch.int8),
                torch.ones(1, 1, dtype=torch.bool),
                state=torch.tensor([2]),
            )
        )
    with pytest.raises(ValueError, match="learns"):
        make().use_table(values, torch.tensor([0]))


# --- a model whose tissues read views --------------------------------------------------------------------------------


def model(tissues=5):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    made = IsoFormer(
        IsoFormerConfig(
            tissues=tissues,
            dna=config(),
            rna=TinyConfig(ids=5, channels=16, dim=8, bin=4),
            protein=None,
            aggregator=CrossAttentionConfig(heads=2),
        )
    ).eval()
    for weight in made.parameters():  # nothing starts at zero, so that every path counts
        torch.nn.init.normal_(weight, std=0.3)
    return made


def batch(signal=True, of_column=(1, 0, 2, 1, 0)):
    """Seven transcripts of three starts, one without DNA, in three views; view 0 shows no track."""
    n, n_views = 3, 3
    tokens = windows([4 * BIN] * n)
    generator = torch.Generator().manual_seed(2)
    levels = torch.randint(1, 37, (n_views, n, len(TRACKS), 4 * BIN), generator=generator)
    levels[0] = 0
    if not signal:
        levels[:] = 0
    rows = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    present = torch.tensor([True] * 6 + [False])
    dna = Tokens(tokens.ids.repeat(n_views, 1), tokens.mask.repeat(n_views, 1), signal=levels.flatten(0, 1))
    rna = random_tokens("rna", [17, 13, 11, 9, 8, 7, 6], torch.Generator().manual_seed(3))
    return IsoformBatch(
        dna=Modality(dna, rows, present),
        rna=Modality(rna, torch.arange(7), torch.ones(7, dtype=torch.bool)),
        protein=None,
        index=torch.arange(7),
        views=Views(rows[:, None] + n * torch.arange(n_views), of_column),
    )


def test_a_tissue_without_tracks_is_answered_from_the_sequence_alone():
    made, given = model(), batch()
    found = made(given)
    plain = made(replace(given, views=None))
    torch.testing.assert_close(found[:, [1, 4]], plain[:, [1, 4]], rtol=0, atol=1e-6)
    assert not torch.allclose(found[:6, [0, 2, 3]], plain[:6, [0, 2, 3]], atol=1e-3)
    # A transcript without DNA has no tracks to read.
    torch.testing.assert_close(found[6], plain[6], rtol=0, atol=1e-6)


def test_absent_tracks_add_nothing():
    made, given = model(), batch(signal=False)
    torch.testing.assert_close(made(given), made(replace(given, views=None)), rtol=0, atol=1e-6)


def test_every_column_is_read_from_its_own_view():
    made, given = model(), batch()
    found = made(given)
    for column, view in enumerate(given.views.of_column):
        alone = replace(given, dna=replace(given.dna, row=given.views.row[:, view]), views=None)
        torch.testing.assert_close(found[:, column], made(alone)[:, column], rtol=0, atol=1e-6)


def test_two_outputs_a_column_share_its_view():
    made, given = model(tissues=10), batch()
    found = made(given)
    for column, view in enumerate(given.views.of_column):
        alone = made(replace(given, dna=replace(given.dna, row=given.views.row[:, view]), views=None))
        torch.testing.assert_close(
            found[:, [column, column + 5]], alone[:, [column, column + 5]], rtol=0, atol=1e-6
        )
