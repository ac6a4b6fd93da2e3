from __future__ import annotations

import pytest
import torch

from cisoform.analysis.inputs import attention, hidden, predict, predict_edits
from cisoform.errors import InputError
from tests.analysis.samples import DIM, some_inputs, tiny


@pytest.mark.parametrize("released", [False, True])
def test_a_sample_is_predicted_as_when_it_is_alone_whatever_lies_at_padding(released: bool) -> None:
    model = tiny(released=released)
    together = predict(model, "identity", some_inputs().padded(model.config))
    for row, count in enumerate((3, 7, 5)):
        alone = some_inputs().take(torch.tensor([row]))
        cut = {
            name: getattr(alone, name)[:, :count]
            for name in ("vectors", "mask", "distance_bp", "rank", "peak", "accessibility", "state")
        }
        one = type(alone)(**cut, tss_peak=alone.tss_peak, gene=alone.gene, group=alone.group)
        torch.testing.assert_close(
            predict(model, "identity", one.padded(model.config)), together[[row]], atol=1e-5, rtol=1e-5
        )


def test_the_released_form_is_padded_to_all_its_slots_and_ours_to_none() -> None:
    wide = some_inputs().padded(tiny(released=True).config)
    assert wide.n_slots == 11 and not wide.mask[:, 7:].any()
    assert (wide.peak[:, 7:] == -1).all() and (wide.state[:, 7:] == -1).all()
    assert some_inputs().padded(tiny().config).n_slots == 7
    with pytest.raises(InputError, match=r"12 peaks, the model reads at most 11"):
        some_inputs((12,)).padded(tiny().config)


def test_the_link_and_the_positions_of_the_model_are_used() -> None:
    model, ranked = tiny(), tiny(positions="rank", rank_rows=40)
    inputs = some_inputs()
    plain, soft = predict(model, "identity", inputs), predict(model, "softplus", inputs)
    torch.testing.assert_close(soft, torch.nn.functional.softplus(plain))
    assert inputs.position(model.config) is inputs.distance_bp
    assert inputs.position(ranked.config) is inputs.rank
    moved = type(inputs)(**{**vars(inputs), "rank": inputs.rank.flip(0)})
    assert torch.equal(predict(model, "identity", moved), plain)
    assert not torch.allclose(predict(ranked, "identity", moved), predict(ranked, "identity", inputs))


def test_replacing_changes_the_named_slots_alone_and_leaves_the_sample() -> None:
    inputs = some_inputs()
    before = inputs.vectors.clone()
    where = torch.zeros_like(inputs.mask)
    where[0, 2] = where[2, 4] = True
    changed = inputs.replaced(where, torch.zeros(2, DIM))
    assert not changed.vectors[where].any() and torch.equal(changed.vectors[~where], before[~where])
    assert torch.equal(inputs.vectors, before)
    where[0, 5] = True  # padding of a gene of three peaks
    with pytest.raises(ValueError, match="padding"):
        inputs.replaced(where, torch.zeros(3, DIM))


@torch.no_grad()
@pytest.mark.parametrize("slots_at_once", [1, 20, 65_536])
def test_edits_are_predicted_alike_in_any_chunks(slots_at_once: int) -> None:
    model, inputs = tiny(), some_inputs()
    rows = torch.tensor([1, 1, 0, 2, 1])
    where = torch.zeros(5, inputs.n_slots, dtype=torch.bool)
    where[0, 1] = where[1, 3] = where[1, 4] = where[2, 0] = where[3, 2] = True  # the last edits nothing
    vectors = torch.randn(5, DIM, generator=torch.Generator().manual_seed(3))
    found = predict_edits(model, "identity", inputs, rows, where, vectors, slots_at_once)
    first = 0
    for edit, row in enumerate(rows.tolist()):
        one = inputs.take(torch.tensor([row]))
        n = int(where[edit].sum())
        one = one.replaced(where[[edit]], vectors[first : first + n])
        first += n
        torch.testing.assert_close(found[[edit]], predict(model, "identity", one), atol=1e-5, rtol=1e-5)
    assert predict_edits(model, "identity", inputs, rows[:0], where[:0], vectors[:0]).shape == (0,)


@torch.no_grad()
@pytest.mark.parametrize("released", [False, True])
def test_attention_sums_to_one_and_follows_the_padding_rule_of_the_model(released: bool) -> None:
    model = tiny(layers=3, released=released)
    inputs = some_inputs().padded(model.config)
    weights = attention(model, inputs)
    assert weights.shape == (3, 3, 2, inputs.n_slots, inputs.n_slots)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    at_pads = weights[:, 0, :, :, 3:].sum()
    assert at_pads > 1 if released else at_pads == 0
    recorded: list[torch.Tensor] = []
    torch.testing.assert_close(hidden(model, inputs, recorded), hidden(model, inputs), atol=1e-5, rtol=1e-5)
