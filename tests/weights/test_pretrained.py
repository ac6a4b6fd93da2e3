"""Encoders of public checkpoints by kind: where they are, what is refused, and that nothing is fetched."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from cisoform.batches import Tokens
from cisoform.errors import InputError
from cisoform.genome.files import user_cache_dir
from cisoform.weights.pretrained import READERS, from_pretrained
from cisoform.weights.public import shape_differences
from tests.weights.public_rotary import esm2_config, nt_config, write
from tests.weights.public_trunks import write_trunk

CONFIGS = {"esm2": esm2_config, "nt_v2": nt_config}


def no_network(*given: object) -> None:
    raise AssertionError("a connection was asked for")


@pytest.mark.parametrize("kind", READERS)
def test_a_folder_and_a_hub_name_give_the_frozen_encoder_without_a_network(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "socket", no_network)
    with pytest.raises(InputError, match=r"fetch config.json and model.safetensors .*pytorch_model.bin"):
        from_pretrained(kind, "hf://owner/name")
    folder = user_cache_dir("hub") / "owner" / "name"
    if kind in CONFIGS:
        write(folder, CONFIGS[kind]())
    else:
        write_trunk(folder, kind)
    found, again = from_pretrained(kind, folder), from_pretrained(kind, "hf://owner/name")
    assert found.config.mode == "frozen" and not found.training
    assert not any(value.requires_grad for value in found.parameters())
    shown = Tokens(torch.arange(2048)[None] % 13 % 5, torch.ones(1, 2048, dtype=torch.bool))
    assert torch.equal(found(shown).states, again(shown).states) and found(shown).states.std() > 0


def test_a_kind_without_published_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="'tiny' is no encoder with published weights; choose from esm2, nt_v2"
    ):
        from_pretrained("tiny", tmp_path)


def test_differences_are_wrong_shapes_then_missing_then_unknown_tensors() -> None:
    expected = {"a": torch.zeros(2, 3), "b": torch.zeros(4), "c": torch.zeros(1)}
    assert shape_differences({"a": [2, 3], "b": (4,), "c": (1,)}, expected) == []
    assert shape_differences({"x": (1,), "b": (5,), "c": (1,)}, expected) == [
        "b has shape (5,), expected (4,)",
        "a is missing",
        "x is not part of it",
    ]
