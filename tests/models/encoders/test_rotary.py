"""ESM-2 and NT-v2: parity with the authors' code rung by rung, published sizes, what learns, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from cisoform.batches import Tokens
from cisoform.models.encoders.pretrained import SequenceTable, sequence_key
from cisoform.models.encoders.rotary import (
    ESM2_SIZES,
    NT_V2_SIZES,
    Esm2Config,
    NtV2Config,
    RotaryConfig,
    RotaryEncoder,
    RotaryNetwork,
    n_parameters,
)
from cisoform.nn.lora import lora_layers, merge_linears
from cisoform.tokens.kmer import kmer_ids
from cisoform.weights.rotary import differences, rename, shapes_of

PEERS = Path(__file__).resolve().parents[2] / "peers" / "rotary.safetensors"
FILES = {"esm2": "esm2_small.safetensors", "nt_v2": "nucleotide_transformer_v2_small.safetensors"}
TOLERANCE = 1e-5
TINY = RotaryConfig(vocabulary=33, dim=12, heads=3, layers=3, ffn=10, token_dropout=True, mask_token=32)


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(str(path), "pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}


def golden(folder: Path, kind: str) -> tuple[RotaryNetwork, dict[str, str], dict[str, Tensor]]:
    torch.set_num_threads(1)
    about, tensors = read(folder / FILES[kind])
    if kind == "esm2":
        said = json.loads(about["config"])
        assert said["vocab_size"] == 33 and said["token_dropout"] and said["mask_token_id"] == 32
        config = RotaryConfig(
            vocabulary=33,
            dim=said["hidden_size"],
            heads=said["num_attention_heads"],
            layers=said["num_hidden_layers"],
            ffn=said["intermediate_size"],
            token_dropout=True,
            norm_eps=said["layer_norm_eps"],
            mask_token=32,
        )
    else:
        sizes = {name: int(about[name]) for name in ("dim", "heads", "layers", "ffn")}
        config = RotaryConfig(vocabulary=4107, gated=True, ffn_bias=False, mask_token=2, **sizes)
    public = {n.removeprefix("weights."): value for n, value in tensors.items() if n.startswith("weights.")}
    state, _ = rename(public, kind, False, config.dim // config.heads)
    assert differences(shapes_of(state), config, head=True) == []
    network = RotaryNetwork(config, head=True)
    network.load_state_dict(state)
    return network.eval(), about, tensors


def error(found: Tensor, expected: Tensor) -> float:
    """Largest error as a share of the largest value."""
    return float((found.detach() - expected).abs().max() / expected.abs().max())


@pytest.mark.golden
@torch.no_grad()
def test_esm2_equals_the_reference_from_embedding_to_logits(golden_dir: Path) -> None:
    network, _, given = golden(golden_dir, "esm2")
    ids, mask = given["in.tokens"][:3], given["in.mask"][:3]
    states = network.hidden_states(ids, mask)
    assert error(states[0][mask], given["out.embeddings"][:3][mask]) < TOLERANCE
    assert error(states[-1][mask], given["out.last_hidden"][:3][mask]) < TOLERANCE
    assert error(network.logits(ids, mask)[mask], given["out.logits"][:3][mask]) < TOLERANCE


@pytest.mark.golden
@torch.no_grad()
def test_esm2_with_hidden_residues_differs_only_by_the_rate_of_the_reference(golden_dir: Path) -> None:
    network, _, given = golden(golden_dir, "esm2")
    ids, mask = given["in.tokens"][3:], given["in.mask"][3:]
    # The reference divides two `<mask>` by 40 padded places, not by 13 residues: what a mask of 40 real ones gives.
    embedded = network.embed(ids, torch.ones_like(mask))
    assert error(embedded[mask], given["out.embeddings"][3:][mask]) < TOLERANCE
    assert error(network.run_layers(embedded, mask)[-1][mask], given["out.last_hidden"][3:][mask]) < TOLERANCE
    n_real = int(mask.sum())
    ours = network.embed(ids, mask)[mask]
    torch.testing.assert_close(ours * ((1 - 2 / n_real) / (1 - 2 / 40)), embedded[mask])


@pytest.mark.golden
@torch.no_grad()
def test_nt_v2_equals_the_reference_layer_by_layer(golden_dir: Path) -> None:
    network, about, given = golden(golden_dir, "nt_v2")
    ids = given["in.tokens"]
    mask = ids != 1
    states = network.hidden_states(ids, mask)
    for number in (1, 2, 3):
        assert error(states[number][mask], given[f"out.embeddings_{number}"][mask]) < TOLERANCE
    shown = mask[:, :4]
    assert error(network.logits(ids, mask)[:, :4][shown], given["out.logits"][shown]) < TOLERANCE
    codes = [
        np.array(["ACGT".find(base) % 5 for base in text], np.uint8)
        for text in json.loads(about["sequences"])
    ]
    for row, one in enumerate(codes):
        assert kmer_ids(one).tolist() == ids[row][mask[row]].tolist()


@pytest.mark.golden
@pytest.mark.parametrize(("kind", "rows"), [("esm2", 3), ("nt_v2", 4)])
def test_middle_layers_and_gradients_equal_those_of_the_peer(golden_dir: Path, kind: str, rows: int) -> None:
    network, _, given = golden(golden_dir, kind)
    _, peers = read(PEERS)
    peer = {name.removeprefix(f"{kind}."): value for name, value in peers.items() if name.startswith(kind)}
    ids = given["in.tokens"][:rows]
    mask = ids != 1
    states = network.hidden_states(ids, mask)
    for number in (1, 2):
        assert error(states[number][mask], peer[f"layer_{number}"]) < TOLERANCE
    last = states[-1][mask]
    (last * torch.arange(last.numel()).cos().reshape(last.shape)).sum().backward()
    public = {
        n.removeprefix("gradient."): v
        for n, v in peer.items()
        if n.startswith("gradient.") and "used" not in n
    }
    gradients, _ = rename(public, "peer", False, 2)
    parameters = dict(network.named_parameters())
    assert len(gradients) >= 14
    for name, expected in gradients.items():
        found = parameters[name].grad
        assert found is not None and error(found, expected) < TOLERANCE, name
    embedded = network.embedding.weight.grad
    assert embedded is not None
    assert error(embedded[peer["used"]], peer["gradient.used_embeddings"]) < TOLERANCE


def test_published_sizes_have_the_published_parameters() -> None:
    # NT-v2 250M with and without LM head as measured on the released code; ESM-2 150M with LM head is 148,817,914, of
    # which 1,026 x 640 unused positions and 601 of the contact head are not part of the network.
    assert n_parameters(NtV2Config.published("250M")) == 229_795_584
    assert n_parameters(NtV2Config.published("250M"), head=True) == 233_545_995
    assert n_parameters(Esm2Config.published("150M"), head=True) == 148_817_914 - 1_026 * 640 - 601
    for config, sizes in ((Esm2Config, ESM2_SIZES), (NtV2Config, NT_V2_SIZES)):
        for size in sizes:
            millions = float(size.removesuffix("M"))
            assert n_parameters(config(size=size).network) == pytest.approx(millions * 1e6, rel=0.1)


def tokens(*rows: list[int]) -> Tokens:
    width = max(map(len, rows))
    ids = torch.tensor([row + [1] * (width - len(row)) for row in rows])
    return Tokens(ids, torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None])


def encoder(**fields: Any) -> RotaryEncoder:
    torch.manual_seed(0)
    return RotaryEncoder(Esm2Config(network=TINY, **fields))


@pytest.mark.parametrize("gated", [False, True])
def test_many_tokens_give_what_each_row_gives_alone(gated: bool) -> None:
    torch.manual_seed(0)
    network = RotaryNetwork(
        RotaryConfig(vocabulary=9, dim=4, heads=1, layers=1, ffn=6, gated=gated, mask_token=8)
    )
    ids, mask = torch.randint(8, (3, 700)), torch.ones(3, 700, dtype=torch.bool)
    mask[1, 400:] = False
    found = network(ids, mask)
    for row, length in enumerate((700, 400, 700)):
        alone = network(ids[row : row + 1, :length], mask[row : row + 1, :length])[0]
        torch.testing.assert_close(found[row, :length], alone, rtol=1e-4, atol=1e-5)


def test_hidden_tokens_scale_by_the_real_tokens_alone() -> None:
    network = RotaryNetwork(TINY)
    one = tokens([0, 5, 32, 7, 2])
    padded = Tokens(
        torch.nn.functional.pad(one.ids, (0, 6), value=1), torch.nn.functional.pad(one.mask, (0, 6))
    )
    embedded = network.embed(one.ids, one.mask)
    torch.testing.assert_close(network.embed(padded.ids, padded.mask)[:, :5], embedded)
    # One of five is hidden: the others are scaled by 0.88 / 0.8.
    torch.testing.assert_close(embedded[0, 1], network.embedding.weight[5] * 0.88 / 0.8)
    assert not embedded[0, 2].any()


LEARNING = {
    "frozen": set(),
    "lora": {
        f"layers.{n}.attention.{p}.{part}"
        for n in range(3)
        for p in ("query", "value")
        for part in ("up", "down")
    },
}


@pytest.mark.parametrize("mode", ["frozen", "lora", "last", "full"])
def test_each_mode_lets_its_parameters_learn_and_no_other(mode: str) -> None:
    module = encoder(learn=mode, lora_rank=2, last_layers=1).train()
    learning = {name for name, value in module.network.named_parameters() if value.requires_grad}
    every = {name for name, _ in module.network.named_parameters()}
    last = {name for name in every if name.startswith(("layers.2.", "norm."))}
    assert learning == {**LEARNING, "last": last, "full": every}[mode]
    found = module(tokens([0, 5, 6, 7, 2])).states
    assert found.requires_grad == (mode != "frozen")
    assert module.network.training == (mode != "frozen")


@pytest.mark.parametrize("kind", ["esm2", "nt_v2"])
@pytest.mark.parametrize("mode", ["frozen", "lora", "last", "full"])
def test_gradients_reach_what_learns_and_nothing_else(mode: str, kind: str) -> None:
    torch.manual_seed(0)
    fields: dict[str, Any] = {
        "learn": mode,
        "lora_rank": 2,
        "last_layers": 2,
        "lora_targets": ("value", "ffn_in"),
    }
    small = RotaryConfig(
        vocabulary=4107, dim=12, heads=3, layers=3, ffn=10, gated=True, ffn_bias=False, mask_token=2
    )
    config = Esm2Config(network=TINY, **fields) if kind == "esm2" else NtV2Config(network=small, **fields)
    module = RotaryEncoder(config).train()
    for _, layer in lora_layers(module.network):
        torch.nn.init.normal_(layer.up)
    found = module(tokens([0, 5, 6, 7, 2], [0, 9, 2])).states
    if mode != "frozen":
        (found * torch.randn_like(found)).sum().backward()
    moved = {
        n for n, value in module.network.named_parameters() if value.grad is not None and value.grad.any()
    }
    learning = {n for n, value in module.network.named_parameters() if value.requires_grad}
    # A constant added to all keys of a query changes no softmax.
    assert moved - {n for n in learning if n.endswith("key.bias")} == {
        n for n in learning if not n.endswith("key.bias")
    }
    expected = {
        "frozen": (),
        "lora": tuple(f"layers.{n}.{p}." for n in range(3) for p in ("attention.value", "ffn_in")),
        "last": ("layers.1.", "layers.2.", "norm."),
        "full": ("embedding.", "layers.", "norm."),
    }[mode]
    assert all(n.startswith(expected) for n in learning) and bool(learning) == (mode != "frozen")
    if mode == "lora":
        assert {n.rpartition(".")[2] for n in learning} == {"up", "down"} and len(learning) == 3 * 2 * 2


def test_pretrained_weights_enter_every_mode_and_corrections_start_at_nothing() -> None:
    source, shown = encoder(), tokens([0, 5, 6, 7, 2], [0, 9, 2])
    for mode in ("frozen", "full", "lora", "last"):
        torch.manual_seed(1)
        module = RotaryEncoder(
            Esm2Config(network=TINY, learn=mode, lora_targets=("key", "ffn_out"), last_layers=1)
        )
        assert not torch.allclose(module(shown).states, source(shown).states)
        module.load_pretrained(source.network.state_dict())
        torch.testing.assert_close(module(shown).states, source(shown).states)
    lora = RotaryEncoder(Esm2Config(network=TINY, learn="lora"))
    lora.load_pretrained(source.network.state_dict())
    for _, layer in lora_layers(lora.network):
        torch.nn.init.normal_(layer.up)
    adapted = lora(shown).states
    assert not torch.allclose(adapted, source(shown).states)
    merge_linears(lora.network)
    torch.testing.assert_close(lora(shown).states, adapted)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": "151M"}, "8M, 35M, 150M, 650M"),
        ({"lora_targets": ("querry",)}, "querry"),
        ({"learn": "last", "last_layers": 4}, "3 layers"),
    ],
)
def test_settings_that_mean_nothing_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Esm2Config(**{"network": TINY, **fields})


def test_a_table_gives_what_the_network_gives_and_the_network_gives_the_rest() -> None:
    module = encoder(learn="frozen").eval()
    rows = [[0, *range(4, 13), 2], [0, 5, 2]]
    shown = tokens(*rows)
    computed = module(shown)
    size, first, chunks = 4, {}, []
    for row, n_chunks in zip(rows, (3, 1), strict=True):
        first[sequence_key(np.array(row))] = len(chunks)
        one = tokens(row)
        states = torch.nn.functional.pad(module(one).states[0], (0, 0, 0, n_chunks * size - len(row)))
        chunks += list(states.split(size))
    module.use_table(SequenceTable(torch.stack(chunks), first))
    found = module(shown)
    torch.testing.assert_close(found.states[found.mask], computed.states[computed.mask])
    module.use_table(SequenceTable(torch.stack(chunks) + 1, first))
    torch.testing.assert_close(module(shown).states[shown.mask], computed.states[shown.mask] + 1)
    other = tokens([0, 6, 2])
    module.table = None
    expected = module(other).states
    module.use_table(SequenceTable(torch.stack(chunks) + 1, first))
    torch.testing.assert_close(module(other).states, expected)
    with pytest.raises(ValueError, match="after every step"):
        encoder(learn="lora").use_table(SequenceTable(torch.stack(chunks), first))
