from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from cisoform.errors import InputError
from cisoform.weights.store import find_model, load_model, save_model, sha256_file


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(3, 5, generator=generator),
        "steps": torch.tensor(7),
        "half": torch.randn(2, generator=generator).to(torch.bfloat16),
        "none": torch.zeros(0, 4),
    }


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "model", tensors(), {"dim": 5}, {"normaliser.json": {"mean": [0.1, 1e-300]}})
    return tmp_path / "model"


def test_what_is_saved_is_loaded_bit_by_bit(folder):
    stored = load_model(folder)
    assert stored.folder == folder and stored.config == {"dim": 5}
    assert stored.files == {"normaliser.json": {"mean": [0.1, 1e-300]}}
    assert stored.state.keys() == tensors().keys()
    for name, value in tensors().items():
        assert stored.state[name].dtype == value.dtype and torch.equal(stored.state[name], value)


def test_the_same_model_gives_the_same_bytes(folder, tmp_path):
    save_model(tmp_path / "again", tensors(), {"dim": 5}, {"normaliser.json": {"mean": [0.1, 1e-300]}})
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_tied_weights_views_and_transposes_are_saved_as_they_look(tmp_path):
    model = nn.ModuleDict({"one": nn.Linear(3, 3)})
    model["two"] = model["one"]
    base = torch.arange(12.0).reshape(3, 4)
    state = {**model.state_dict(), "rows": base[1:], "turned": base.T, "column": base[:, 2]}
    save_model(tmp_path / "model", state, {})
    loaded = load_model(tmp_path / "model").state
    assert loaded.keys() == state.keys() and all(torch.equal(loaded[name], state[name]) for name in state)


def test_a_run_folder_means_its_model(tmp_path):
    save_model(tmp_path / "run" / "model", tensors(), {})
    assert (
        find_model(tmp_path / "run")
        == find_model(str(tmp_path / "run" / "model"))
        == tmp_path / "run" / "model"
    )


def test_a_model_is_replaced_as_a_whole(folder):
    save_model(folder, {"b": torch.ones(2)}, {"dim": 6})
    stored = load_model(folder)
    assert (stored.config, list(stored.state), stored.files) == ({"dim": 6}, ["b"], {})
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "normaliser.json"])
def test_a_flipped_byte_names_the_file_and_both_hashes(folder, name):
    path = folder / name
    recorded = sha256_file(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_model(folder)
    said = str(error.value)
    assert (
        said.startswith(f"{path}: ") and recorded in said and sha256_file(path) in said and "\n" not in said
    )


@pytest.mark.parametrize("name", ["model.safetensors", "normaliser.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: no such file"):
        load_model(folder)


def test_a_pickle_under_our_name_is_not_read(folder):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (folder / "owned",))

    path = folder / "model.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][path.name] = sha256_file(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="is not a safetensors file"):
        load_model(folder)
    assert not (folder / "owned").exists()


def test_another_format_names_the_version_that_wrote_it(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 2, "cisoform": "9.0"}))
    with pytest.raises(InputError, match=r"model format 2, written by cisoform 9.0, is not format 1"):
        load_model(folder)


@pytest.mark.parametrize("hashes", [None, {}, {"config.json": "00"}, "x"])
def test_a_manifest_without_hashes_is_refused(folder, hashes):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"sha256": hashes}))
    with pytest.raises(InputError, match="lists no hashes"):
        load_model(folder)


def test_a_file_outside_the_folder_is_not_read(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["../secret.json"] = "00"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"'../secret.json' is not a plain file name"):
        load_model(folder)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text('{"kind": "cisoform-dataset"}')
    with pytest.raises(InputError, match="holds no model"):
        load_model(tmp_path)
    (tmp_path / "log.csv").write_text("step\n")
    with pytest.raises(InputError, match="the run has no model yet; continue it with --resume"):
        load_model(tmp_path)


def test_a_folder_with_something_else_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="mine: already exists"):
        save_model(tmp_path / "mine", tensors(), {})
    assert (tmp_path / "mine" / "thesis.txt").exists()
