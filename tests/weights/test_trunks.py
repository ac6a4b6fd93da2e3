"""Public checkpoints of Enformer and Borzoi: every name lands where it belongs, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cisoform.batches import Tokens
from cisoform.errors import InputError
from cisoform.models.encoders.borzoi import BorzoiNetworkConfig
from cisoform.models.encoders.enformer import EnformerNetworkConfig
from cisoform.weights.enformer import CONVERTED_FROM_TENSORFLOW
from cisoform.weights.trunks import TrunkKind, read_trunk, rename, save_trunk
from tests.peers.drawn import drawn_bases
from tests.weights.public_rotary import write
from tests.weights.public_trunks import trunk_config, trunk_tensors, write_trunk

KINDS: list[TrunkKind] = ["enformer", "borzoi"]
PAIRS = {
    "enformer": {
        "stem.first.weight": "stem.0.weight",
        "stem.pointwise.norm.variance": "stem.1.fn.0.running_var",
        "tower.5.first.conv.bias": "conv_tower.5.0.2.bias",
        "tower.2.pointwise.norm.mean": "conv_tower.2.1.fn.0.running_mean",
        "layers.1.attention.position.weight": "transformer.1.0.fn.1.to_rel_k.weight",
        "layers.0.attention_norm.bias": "transformer.0.0.fn.0.bias",
        "layers.1.ffn_out.weight": "transformer.1.1.fn.4.weight",
        "last.conv.weight": "final_pointwise.1.2.weight",
        "heads.human.bias": "_heads.human.0.bias",
    },
    "borzoi": {
        "stem.bias": "conv_dna.conv_layer.bias",
        "tower.3.conv.weight": "res_tower.6.conv_layer.weight",
        "bridge.norm.mean": "unet1.1.norm.running_mean",
        "ups.0.up.conv.bias": "upsampling_unet1.0.conv_layer.bias",
        "ups.1.across.norm.weight": "horizontal_conv0.norm.weight",
        "ups.0.mix.depthwise.weight": "separable1.conv_layer.0.weight",
        "ups.1.mix.pointwise.bias": "separable0.conv_layer.1.bias",
        "layers.1.attention.value.weight": "transformer.1.0.fn.1.to_v.weight",
        "layers.0.ffn_in.bias": "transformer.0.1.fn.1.bias",
        "last.norm.variance": "final_joined_convs.0.norm.running_var",
        "heads.human.bias": "human_head.bias",
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pickled", [False, True])
def test_every_public_tensor_lands_where_it_belongs(kind: TrunkKind, pickled: bool, tmp_path: Path) -> None:
    found = read_trunk(write_trunk(tmp_path / "public", kind, pickled), kind)
    given = trunk_tensors(kind)
    for ours, public in PAIRS[kind].items():
        assert torch.equal(found.state[ours], given[public]), ours
    assert found.heads == {"human": 5} and not any(name.startswith("heads") for name in found.body)
    counters = {name for name in given if name.endswith("num_batches_tracked")}
    assert set(found.about["left_out"]) == counters and counters
    assert found.network().state_dict().keys() == found.state.keys()
    encoder = found.encoder()
    assert encoder.config.mode == "frozen" and not any(value.requires_grad for value in encoder.parameters())
    bases = drawn_bases(1, 2048, 1)
    hidden = encoder(Tokens(bases, torch.ones_like(bases, dtype=torch.bool)))
    assert hidden.states.shape[1:] == ((6, 96) if kind == "enformer" else (40, 60))
    assert hidden.states.std() > 0 and bool(hidden.mask.all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_converted_folder_reads_as_its_source(kind: TrunkKind, tmp_path: Path) -> None:
    source = read_trunk(write_trunk(tmp_path / "public", kind), kind)
    save_trunk(tmp_path / "ours", source)
    again = read_trunk(tmp_path / "ours", kind)
    assert (again.kind, again.config, again.about) == (source.kind, source.config, source.about)
    assert again.state.keys() == source.state.keys()
    assert all(torch.equal(value, source.state[name]) for name, value in again.state.items())
    other: TrunkKind = "borzoi" if kind == "enformer" else "enformer"
    with pytest.raises(InputError, match=rf"holds '{kind}', but {other.capitalize()} is asked for"):
        read_trunk(tmp_path / "ours", other)


def test_the_parts_that_are_named_twice_may_come_once_under_either_name(tmp_path: Path) -> None:
    config, both = trunk_config("enformer"), trunk_tensors("enformer")
    sequence = {n: v for n, v in both.items() if n.startswith(("_trunk.", "_heads."))}
    parts = trunk_tensors("enformer", aliases=False)
    states = [
        read_trunk(write(tmp_path / name, config, given), "enformer").state
        for name, given in (("both", both), ("sequence", sequence), ("parts", parts))
    ]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(value, states[0][name]) for name, value in state.items())
    prefixed = {f"enformer.{name}": value for name, value in parts.items()}
    assert (
        read_trunk(write(tmp_path / "prefixed", config, prefixed), "enformer").state.keys()
        == states[0].keys()
    )
    other = {**both, "_trunk.1.0.bias": both["stem.0.bias"] + 1}
    with pytest.raises(
        InputError, match=r"stem.0.bias differs from another tensor that means stem.first.bias"
    ):
        read_trunk(write(tmp_path / "other", config, other), "enformer")


def test_headless_and_half_precision_checkpoints(tmp_path: Path) -> None:
    bare = {n: v.half() for n, v in trunk_tensors("enformer").items() if "_heads" not in n and v.dim()}
    found = read_trunk(write(tmp_path / "bare", trunk_config("enformer"), bare), "enformer")
    assert found.heads == {} and found.state["last.conv.bias"].dtype == torch.float32
    mouse = {n: v for n, v in trunk_tensors("borzoi").items() if "human" not in n}
    assert read_trunk(write(tmp_path / "mouse", trunk_config("borzoi"), mouse), "borzoi").heads == {}


def test_config_json_is_respected() -> None:
    from cisoform.weights.borzoi import network_config as of_borzoi
    from cisoform.weights.enformer import network_config as of_enformer

    public = {"dim": 1536, "depth": 11, "heads": 8, "output_heads": {"human": 5313}, "target_length": 896}
    assert of_enformer({**public, "use_tf_gamma": False}, {}) == EnformerNetworkConfig()
    changed = of_enformer({**public, "target_length": -1, "use_tf_gamma": True, "dropout_rate": 0.1}, {})
    assert (changed.bins, changed.gamma, changed.dropout) == (None, "tensorflow", 0.1)
    widths = {f"tower.{n}.conv.weight": (w, 1, 5) for n, w in enumerate((608, 736, 896, 1056, 1280))}
    shapes = {"stem.weight": (512, 4, 15), "last.conv.weight": (1920, 1536, 1), **widths}
    assert of_borzoi({}, shapes) == BorzoiNetworkConfig()
    assert of_borzoi({"return_center_bins_only": False}, shapes).bins == 16_352


@pytest.mark.parametrize(
    ("source", "fields", "asked", "expected"),
    [
        ("folder", {"use_tf_gamma": False}, None, "pytorch"),
        ("folder", {"use_tf_gamma": True}, None, "tensorflow"),
        ("folder", {}, None, "pytorch"),
        ("folder", {}, "tensorflow", "tensorflow"),
        (f"hf://{CONVERTED_FROM_TENSORFLOW}", {}, None, "tensorflow"),
        (f"hf://{CONVERTED_FROM_TENSORFLOW}", {"use_tf_gamma": False}, None, "pytorch"),
        ("folder", {"_name_or_path": CONVERTED_FROM_TENSORFLOW}, None, "tensorflow"),
        (f"hf://{CONVERTED_FROM_TENSORFLOW}", {}, "pytorch", "pytorch"),
    ],
)
def test_gamma_is_as_asked_else_as_stated_else_as_known(
    source: str,
    fields: dict[str, Any],
    asked: Any,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path))
    config = {name: value for name, value in trunk_config("enformer").items() if name != "use_tf_gamma"}
    name = source.removeprefix("hf://")
    folder = tmp_path / "hub" / name if source.startswith("hf://") else tmp_path / name
    write(folder, {**config, **fields}, trunk_tensors("enformer"))
    found = read_trunk(source if source.startswith("hf://") else folder, "enformer", gamma=asked)
    assert isinstance(found.config, EnformerNetworkConfig) and found.config.gamma == expected


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("enformer", {"model_type": "esm"}, r"config.json: model_type is 'esm', not 'enformer'"),
        ("enformer", {"use_convnext": True}, r"use_convnext is true"),
        ("enformer", {"dim": "48"}, r"dim is '48', expected a whole number"),
        ("enformer", {"heads": 5}, r"dim=48 must be even, and heads=5"),
        ("enformer", {"depth": 3}, r"layers.2.attention_norm.weight is missing; .*more differences"),
        ("enformer", {"depth": 1}, r"layers.1.*is not part of it"),
        ("enformer", {"attn_dim_key": 8}, r"content_bias has shape \(2, 16\), expected \(2, 8\)"),
        (
            "enformer",
            {"output_heads": {"human": 6}},
            r"heads.human.weight has shape \(5, 96\), expected \(6, 96\)",
        ),
        ("enformer", {"output_heads": {"human": 5, "mouse": 2}}, r"heads.mouse.weight is missing"),
        ("borzoi", {"flashed": True}, r"flashed is true: Flashzoi"),
        ("borzoi", {"model_type": "prime"}, r"model_type is 'prime', not 'borzoi'"),
        (
            "borzoi",
            {"attn_dim_value": 24},
            r"attention.value.weight has shape \(24, 48\), expected \(48, 48\)",
        ),
        ("borzoi", {"dim": 96}, r"bridge.norm.weight has shape|has shape \(48"),
    ],
)
def test_what_config_and_tensors_disagree_on_is_an_error_that_says_it(
    kind: TrunkKind, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        read_trunk(write_trunk(tmp_path / "public", kind, **changes), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_and_missing_tensors_are_refused(kind: TrunkKind, tmp_path: Path) -> None:
    config, given = trunk_config(kind), trunk_tensors(kind, aliases=False)
    with pytest.raises(InputError, match=r"adapter.weight is not part of it"):
        read_trunk(write(tmp_path / "more", config, {**given, "adapter.weight": torch.zeros(2)}), kind)
    name = {"enformer": "stem.0.weight", "borzoi": "conv_dna.conv_layer.weight"}[kind]
    less = {key: value for key, value in given.items() if key != name}
    said = {"enformer": "stem.first.weight is missing", "borzoi": "the weights lack stem.weight"}[kind]
    with pytest.raises(InputError, match=said):
        read_trunk(write(tmp_path / "less", config, less), kind)
    assert rename({"adapter.weight": torch.zeros(2)}, kind, "file")[0].keys() == {"adapter.weight"}
