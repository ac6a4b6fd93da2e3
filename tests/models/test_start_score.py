from dataclasses import replace

import pytest
import torch

from cisoform.batches import IsoformBatch, Modality, Tokens
from cisoform.configs import override
from cisoform.errors import InputError
from cisoform.models.encoders import LandmarkDnaConfig, LandmarkProteinConfig, build_encoder
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig
from cisoform.models.start_score import (
    AFTER,
    BEFORE,
    FEATURES,
    SPANS,
    FrozenScorers,
    StartScoreConfig,
    StartScorer,
    n_outputs,
    start_features,
)
from cisoform.recipes import isoform_recipe
from tests.models.batches import random_tokens

TINY = StartScoreConfig(outputs=2, channels=3, kernel=5, dilations=(1, 3), folds=3)  # reach 2 + 4
DNA = LandmarkDnaConfig(dim=8, core=(6, 3), spans=((-9, 0, 2),), starts=TINY)


@pytest.fixture(autouse=True)
def seeded():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def windows(rows, fold=None):
    tokens = random_tokens("dna", [TINY.window + 1] * rows, torch.Generator().manual_seed(1))
    return Tokens(tokens.ids, tokens.mask, None, None if fold is None else torch.tensor(fold))


def test_features_of_equal_scores_count_bases():
    scores = torch.zeros(1, 2, BEFORE + AFTER)
    scores[:, 1] = 3.0
    first, second = start_features(scores).view(2, FEATURES)
    sizes = torch.tensor([float(end - begin) for begin, end in SPANS])
    n_own = 1 + len(SPANS)
    assert first[0] == 0.0
    torch.testing.assert_close(first[1:n_own], sizes.log())
    assert first[n_own].item() == pytest.approx(-torch.tensor(21.0).log().item())  # one of -10..10
    # The second output is 3 more everywhere: so are its totals, and a share is what it was.
    torch.testing.assert_close(second[:n_own], torch.full((n_own,), 3.0))
    torch.testing.assert_close(second[n_own:], torch.zeros(FEATURES - n_own), atol=1e-5, rtol=0)


def test_a_score_depends_on_the_bases_within_reach_alone():
    scorer, ids = StartScorer(TINY).eval(), torch.randint(4, (1, 41))
    place = 20  # of the bases; its score is at place - reach
    score = scorer(ids)[0, :, place - TINY.reach]
    assert TINY.reach == 6 and scorer(ids).shape == (1, 2, 41 - 12)
    for far in (place - TINY.reach - 1, place + TINY.reach + 1):
        other = ids.clone()
        other[0, far] = (other[0, far] + 1) % 4
        torch.testing.assert_close(scorer(other)[0, :, place - TINY.reach], score)
    near = ids.clone()
    near[0, place - TINY.reach] = (near[0, place - TINY.reach] + 1) % 4
    assert not torch.allclose(scorer(near)[0, :, place - TINY.reach], score)
    # Unpadded: moved bases have moved scores, so the scorer cannot tell where the middle of a window is.
    torch.testing.assert_close(scorer(ids[:, 3:]), scorer(ids)[..., 3:])


def test_a_fold_chooses_the_scorer_and_no_fold_is_the_mean():
    scorers = FrozenScorers(TINY)
    ids = torch.randint(4, (4, TINY.window))
    every = torch.stack([scorers(ids, torch.full((4,), fold)) for fold in range(3)])
    assert not torch.allclose(every[0], every[1])
    mixed = scorers(ids, torch.tensor([2, 0, 1, 0]))
    torch.testing.assert_close(mixed, torch.stack([every[2, 0], every[0, 1], every[1, 2], every[0, 3]]))
    torch.testing.assert_close(scorers(ids, None), every.mean(dim=0))


def test_scorers_are_frozen_and_saved():
    encoder = build_encoder(DNA).train()
    names = {name for name, _ in encoder.named_parameters() if name.startswith("scorers.")}
    assert names and names <= set(encoder.state_dict())
    assert all(not p.requires_grad for name, p in encoder.named_parameters() if name in names)
    assert encoder.training and not any(module.training for module in encoder.scorers.modules())
    ids = torch.randint(4, (2, TINY.window))
    torch.testing.assert_close(encoder.scorers(ids, None), encoder.scorers(ids, None), rtol=0, atol=0)
    encoder(windows(2, [0, 1])).states.sum().backward()
    assert all(p.grad is None for name, p in encoder.named_parameters() if name in names)
    assert encoder.starts.out.weight.grad is not None


def test_the_encoder_adds_one_position_of_which_folds_and_scorers_change_nothing_else():
    encoder = build_encoder(DNA).eval()
    tokens = windows(3, [0, 1, 2])
    states = encoder(tokens).states
    assert states.shape == (3, 3, 8)
    whole = encoder(windows(3)).states
    assert torch.equal(states[:, :2], whole[:, :2]) and not torch.allclose(states[:, 2], whole[:, 2])
    alone = encoder(tokens.take(torch.tensor([1]))).states
    torch.testing.assert_close(alone, states[1:2])
    other = FrozenScorers(TINY)
    encoder.load_start_scores([scorer.state_dict() for scorer in other.folds])
    assert torch.equal(encoder.scorers(tokens.ids, None), other(tokens.ids, None))


def test_the_scale_of_features_is_fitted():
    model = IsoFormer(IsoFormerConfig(tissues=1, dna=DNA, rna=None, protein=None))
    modality = Modality(windows(5, [0, 1, 2, 0, 1]), torch.arange(5), torch.ones(5, dtype=torch.bool))
    batch = IsoformBatch(dna=modality, rna=None, protein=None, index=torch.arange(5))
    model.fit_inputs([batch])
    dna = model.encoders["dna"]
    features = dna.scorers(modality.tokens.ids[:, : TINY.window], modality.tokens.fold)
    torch.testing.assert_close(dna.starts.mean, features.mean(dim=0), rtol=1e-4, atol=1e-4)


def test_absent_dna_is_neutral():
    config = IsoFormerConfig(tissues=2, dna=DNA, rna=None, protein=LandmarkProteinConfig(dim=8))
    model = IsoFormer(config).eval()
    torch.nn.init.normal_(model.head.weight)
    proteins = random_tokens("protein", [7, 5], torch.Generator().manual_seed(2))
    protein = Modality(proteins, torch.arange(2), torch.ones(2, dtype=torch.bool))
    dna = Modality(windows(1), torch.zeros(2, dtype=torch.long), torch.tensor([True, False]))
    mixed = model(IsoformBatch(dna=dna, rna=None, protein=protein, index=torch.arange(2)))
    without = model(IsoformBatch(dna=None, rna=None, protein=protein, index=torch.arange(2)))
    torch.testing.assert_close(mixed[1], without[1])
    assert not torch.allclose(mixed[0], without[0])


def test_a_short_window_is_refused_with_the_length_it_needs():
    encoder = build_encoder(DNA)
    tokens = random_tokens("dna", [TINY.window - 1], torch.Generator())
    with pytest.raises(ValueError, match=rf"window of {TINY.window - 1} bases .* need {TINY.window}"):
        encoder(tokens)
    with pytest.raises(
        InputError, match="window of 256 bases is too short for start scores, which need 1018"
    ):
        override(isoform_recipe("small"), ["loader.dna_window=256"])
    for setting in ("model.dna.starts=null", 'loader.modalities=["rna"]', "model.dna=null"):
        assert override(isoform_recipe("small"), ["loader.dna_window=256", setting]).start_scores is None


def test_impossible_configs_are_refused():
    with pytest.raises(ValueError, match="kernel=4"):
        replace(TINY, kernel=4)
    with pytest.raises(ValueError, match="folds=1"):
        replace(TINY, folds=1)
    assert [n_outputs(tissues) for tissues in (1, 4, 5)] == [1, 4, 1]
