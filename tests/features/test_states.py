"""Features of states: each distinct one is encoded once, whoever asks; what is read is what Elementary says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cisoform.errors import InputError
from cisoform.features import states as module
from cisoform.features.states import FeatureConfig, build_table, encode_states, open_cache, state_keys
from cisoform.models.creformer import CREformer, CREformerConfig
from cisoform.models.creformer.frozen import adapt, freeze, frozen_part, plain_weights, tuned_part
from cisoform.tokens.peaks import dna_tokens
from tests.data.gene_sets import TINY, build_small

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return build_small(tmp_path_factory.mktemp("genes"), n_cells=9)


@pytest.fixture
def model():
    torch.manual_seed(3)
    return CREformer(CREformerConfig(elementary=TINY, layers=1))


@pytest.fixture
def encoded(monkeypatch):
    """How many states were encoded."""
    counts = []
    real = encode_states

    def counting(model, dataset, states, config, factor=1.0):
        counts.append(len(states))
        return real(model, dataset, states, config, factor)

    monkeypatch.setattr(module, "encode_states", counting)
    return counts


def some_states(dataset, genes=slice(0, 3)):
    used = dataset.states_in_use(dataset.group_rows("all")[:4], dataset.gene_rows("all")[genes])
    return np.concatenate([used, used[:2] + dataset.n_peaks])


@torch.no_grad()
def slowly(model, dataset, state):
    """One state by itself, from the bases and tokens of its peak."""
    ids = np.array([state])
    dna = torch.from_numpy(dna_tokens(dataset.windows(dataset.state_peaks(ids))).astype(np.int32))
    signal = torch.from_numpy(dataset.state_tokens(ids))
    return model.elementary(dna, {"atac": signal})[0]


def test_a_table_holds_what_elementary_says_of_each_state(dataset, model, tmp_path):
    states = some_states(dataset)
    table = build_table(model, dataset, states, FeatureConfig(), tmp_path)
    for state in states[:: max(1, len(states) // 6)].tolist():
        found = table.gather(torch.tensor([state]))
        torch.testing.assert_close(found[0], slowly(model, dataset, state), atol=1e-5, rtol=1e-5)
    with pytest.raises(KeyError, match="not in the table"):
        table.gather(torch.tensor([dataset.n_states - 1]))


def test_only_what_is_missing_is_encoded(dataset, model, tmp_path, encoded):
    states, more = some_states(dataset), some_states(dataset, slice(0, 6))
    config = FeatureConfig(shard_entries=7)
    plans = []
    build_table(model, dataset, states, config, tmp_path, planned=plans.append)
    assert max(encoded) <= 7 and sum(encoded) == plans[0].n_missing == plans[0].n_distinct
    build_table(model, dataset, states, config, tmp_path, planned=plans.append)
    assert plans[1].n_missing == 0 and sum(encoded) == plans[0].n_missing
    build_table(model, dataset, more, config, tmp_path, planned=plans.append)
    assert 0 < plans[2].n_missing == plans[2].n_distinct - plans[0].n_distinct
    # The second stage's weights do not matter; those of Elementary do.
    torch.nn.init.normal_(model.pool.logits.weight)
    build_table(model, dataset, states, config, tmp_path, planned=plans.append)
    torch.nn.init.normal_(model.elementary.dna.weight)
    build_table(model, dataset, states, config, tmp_path, planned=plans.append)
    assert plans[3].n_missing == 0 and plans[4].n_missing == plans[4].n_distinct


def test_a_killed_build_keeps_its_shards(dataset, model, tmp_path, monkeypatch):
    states, real = some_states(dataset), encode_states
    config = FeatureConfig(shard_entries=5)

    def killed(*arguments):
        if len(open_cache(model, config, tmp_path)) >= 10:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "encode_states", killed)
    with pytest.raises(KeyboardInterrupt):
        build_table(model, dataset, states, config, tmp_path)
    monkeypatch.setattr(module, "encode_states", real)
    plans, told = [], []
    table = build_table(
        model, dataset, states, config, tmp_path, planned=plans.append, update=lambda *at: told.append(at)
    )
    assert plans[0].n_missing == plans[0].n_distinct - 10 and told[-1] == (plans[0].n_missing,) * 2
    whole = build_table(model, dataset, states, config, tmp_path / "other")
    torch.testing.assert_close(
        table.gather(torch.from_numpy(states)), whole.gather(torch.from_numpy(states)), atol=1e-6, rtol=1e-6
    )


def test_equal_sequence_and_signal_are_one_entry_in_any_data_set(dataset, model, tmp_path):
    again = build_small(tmp_path / "again", pool="pseudobulk:cell_type", n_cells=9)
    zero = np.arange(dataset.n_peaks)
    assert state_keys(dataset, zero).tolist() == state_keys(again, zero).tolist()
    build_table(model, dataset, zero, FeatureConfig(), tmp_path / "cache")
    plans = []
    build_table(model, again, zero, FeatureConfig(), tmp_path / "cache", planned=plans.append)
    assert plans[0].n_missing == 0


def test_depth_changes_observed_states_alone(dataset):
    observed = np.arange(2 * dataset.n_peaks, dataset.n_states)
    zero = np.arange(dataset.n_peaks)
    assert (state_keys(dataset, zero) == state_keys(dataset, zero, 2.0)).all()
    assert (state_keys(dataset, observed) != state_keys(dataset, observed, 2.0)).mean() > 0.9


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_half_the_size_and_near(dataset, model, tmp_path, precision):
    states = some_states(dataset)
    full = build_table(model, dataset, states, FeatureConfig(), tmp_path)
    half = build_table(model, dataset, states, FeatureConfig(precision=precision), tmp_path)
    assert half.n_bytes * 2 == full.n_bytes
    ids = torch.from_numpy(states)
    torch.testing.assert_close(half.gather(ids), full.gather(ids), atol=2e-2, rtol=2e-2)


def test_pooled_form_is_the_pool_of_the_bins(dataset, model, tmp_path):
    states = some_states(dataset)
    bins = build_table(model, dataset, states, FeatureConfig(), tmp_path)
    pooled = build_table(model, dataset, states, FeatureConfig(form="pooled"), tmp_path)
    with torch.no_grad():
        expected = model.pool(bins.values)
    assert pooled.n_bytes * 8 == bins.n_bytes
    torch.testing.assert_close(pooled.values, expected, atol=1e-5, rtol=1e-5)
    torch.nn.init.normal_(model.pool.logits.weight)
    plans = []
    build_table(model, dataset, states, FeatureConfig(form="pooled"), tmp_path, planned=plans.append)
    assert plans[0].n_missing == plans[0].n_distinct, "another pool is another feature"


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("tuned", [0, 1, 2])
def test_the_two_parts_are_elementary(tuned, norm_first):
    torch.manual_seed(1)
    elementary = CREformer(
        CREformerConfig(elementary=replace(TINY, norm_first=norm_first), layers=1)
    ).elementary.eval()
    dna, signal = torch.randint(4, 4100, (3, 256)), torch.randint(1, 37, (3, 256))
    with torch.no_grad():
        whole = elementary(dna, {"atac": signal})
        parts = tuned_part(elementary, frozen_part(elementary, dna, {"atac": signal}, tuned), tuned)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-6)
    freeze(elementary, tuned)
    learning = {name for name, p in elementary.named_parameters() if p.requires_grad}
    assert {name.split(".")[2] for name in learning if ".layers." in name} == {
        str(2 - n) for n in range(1, tuned + 1)
    }
    assert ("window_encoder.norm.weight" in learning) == (tuned > 0 and norm_first)
    assert not any(name.startswith(("dna", "bin_encoder", "position")) for name in learning)


@pytest.mark.parametrize("norm_first", [True, False])
def test_low_rank_corrections_learn_alone_and_become_plain_weights(norm_first):
    torch.manual_seed(1)
    config = CREformerConfig(elementary=replace(TINY, norm_first=norm_first), layers=1)
    model, plain = CREformer(config).eval(), CREformer(config).eval()
    plain.load_state_dict(model.state_dict())
    elementary = model.elementary
    assert adapt(elementary, 1, 2, 4.0) == [f"window_encoder.layers.1.{s}_projection" for s in ("in", "out")]
    dna, signal = torch.randint(4, 4100, (3, 256)), torch.randint(1, 37, (3, 256))
    with torch.no_grad():
        hidden = frozen_part(elementary, dna, {"atac": signal}, 1)
        torch.testing.assert_close(tuned_part(elementary, hidden, 1), plain.elementary(dna, {"atac": signal}))
    for name, parameter in elementary.named_parameters():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter, std=0.5)
    tuned_part(elementary, hidden, 1).square().sum().backward()
    learning = {name for name, p in elementary.named_parameters() if p.grad is not None}
    assert {name.rpartition(".")[2] for name in learning} == {"up", "down"} and len(learning) == 4
    plain.load_state_dict(plain_weights(model))
    with torch.no_grad():
        after = tuned_part(elementary, hidden, 1)
        torch.testing.assert_close(plain.elementary(dna, {"atac": signal}), after, atol=1e-6, rtol=1e-6)


def test_tuned_layers_do_not_spoil_the_cache(dataset, model, tmp_path):
    states, config = some_states(dataset), FeatureConfig(tuned_layers=1)
    build_table(model, dataset, states, config, tmp_path)
    torch.nn.init.normal_(model.elementary.window_encoder.layers[1].ffn_in.weight)
    adapt(model.elementary, 1, 2, 4.0)
    plans = []
    config = replace(config, lora_rank=2)
    build_table(model, dataset, states, config, tmp_path, planned=plans.append)
    torch.nn.init.normal_(model.elementary.window_encoder.layers[0].ffn_in.weight)
    build_table(model, dataset, states, config, tmp_path, planned=plans.append)
    assert plans[0].n_missing == 0 and plans[1].n_missing > 0


def test_unknown_tracks_and_layers_are_refused(dataset, model, tmp_path):
    with pytest.raises(InputError, match="no track 'dnase'.*atac, h3k27ac"):
        open_cache(model, FeatureConfig(track="dnase"), tmp_path)
    with pytest.raises(InputError, match="has 2 layers"):
        open_cache(model, FeatureConfig(tuned_layers=3), tmp_path)
    with pytest.raises(ValueError, match="form=bins"):
        FeatureConfig(form="pooled", tuned_layers=1)
    with pytest.raises(ValueError, match="lora_rank=4 adapts tuned layers"):
        FeatureConfig(lora_rank=4)
    with pytest.raises(ValueError, match="batch_tokens=7"):
        FeatureConfig(batch_tokens=7)
