"""`weights convert esm2|nt` and `weights inspect` on synthetic public checkpoints; wrong ones are one clear line."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cisoform.genome.files import sha256_file
from cisoform.weights.rotary import read_rotary
from tests.weights.public_rotary import esm2_config, nt_config, tensors, write

Cli = Callable[..., Any]
CliError = Callable[..., str]
CONFIGS = {"esm2": esm2_config, "nt": nt_config}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("pickled", [False, True])
def test_public_folders_convert_to_a_model_folder(cli: Cli, kind: str, pickled: bool, tmp_path: Path) -> None:
    public = write(tmp_path / "public", CONFIGS[kind](), pickled=pickled)
    digest = sha256_file(public / ("pytorch_model.bin" if pickled else "model.safetensors"))
    words = ("weights", "convert", kind, public, tmp_path / "ours", "--sha256", digest)
    result = cli(*words, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["sha256"], found["sizes"]["dim"], found["head"]) == (digest, 12, True)
    ours, source = read_rotary(tmp_path / "ours"), read_rotary(public)
    assert all(torch.equal(ours.state[name], value) for name, value in source.state.items())
    again = cli("weights", "convert", kind, tmp_path / "ours", tmp_path / "second")
    assert again.exit_code == 0 and f"{found['n_parameters']:,} parameters" in again.stdout, again.stderr


def test_inspect_says_what_a_folder_is_and_what_does_not_fit(cli: Cli, tmp_path: Path) -> None:
    public = write(tmp_path / "public", nt_config(), pickled=True)
    result = cli("weights", "inspect", public)
    assert result.exit_code == 0, result.stderr
    assert (
        "Nucleotide Transformer v2 (dim 12, layers 2, heads 2, ffn 20, norm_eps 1e-12): the tensors fit"
        in (result.stdout)
    )
    (public / "config.json").write_text(json.dumps(nt_config(num_hidden_layers=1)))
    found = json.loads(cli("weights", "inspect", public, "--json").stdout)[0]["architecture"]
    assert len(found["left_out"]) == 4 and found["sizes"]["layers"] == 1
    assert len(found["differences"]) == 14 and "is not part of it" in found["differences"][0]


def evil(path: Path, marker: Path) -> None:
    """A state dict whose pickle would make a folder."""

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(marker),)

    torch.save(tensors(esm2_config()), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    program = next(name for name in parts if name.endswith("data.pkl"))
    parts[program] = pickle.dumps({"esm.embeddings.word_embeddings.weight": Evil()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_a_hostile_pickle_is_refused_and_does_nothing(cli: Cli, cli_error: CliError, tmp_path: Path) -> None:
    public = write(tmp_path / "public", esm2_config(), pickled=True)
    marker = tmp_path / "marker"
    evil(public / "pytorch_model.bin", marker)
    error = cli_error("weights", "convert", "esm2", public, tmp_path / "out")
    assert "pytorch_model.bin: refused to read this pickle: it calls posix.mkdir" in error
    assert not marker.exists() and not (tmp_path / "out").exists()
    assert "posix.mkdir" in cli_error("weights", "inspect", public) and not marker.exists()


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_files_are_refused(
    cli_error: CliError, pickled: bool, share: float, tmp_path: Path
) -> None:
    public = write(tmp_path / "public", esm2_config(), pickled=pickled)
    file = public / ("pytorch_model.bin" if pickled else "model.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    error = cli_error("weights", "convert", "esm2", public, tmp_path / "out")
    assert file.name in error and not (tmp_path / "out").exists()


def test_a_wrong_hash_is_refused_and_a_changed_converted_folder_too(
    cli: Cli, cli_error: CliError, tmp_path: Path
) -> None:
    public, out = write(tmp_path / "public", esm2_config()), tmp_path / "out"
    error = cli_error("weights", "convert", "esm2", public, out, "--sha256", "0" * 64)
    assert sha256_file(public / "model.safetensors") in error and "0" * 64 in error and not out.exists()
    assert "not 64 hex digits" in cli_error("weights", "convert", "esm2", public, out, "--sha256", "abc")
    assert cli("weights", "convert", "esm2", public, out).exit_code == 0
    content = bytearray((out / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (out / "model.safetensors").write_bytes(content)
    assert "damaged or was changed" in cli_error("weights", "convert", "esm2", out, tmp_path / "second")


def test_wrong_sources_kinds_and_options_are_one_line(cli_error: CliError, tmp_path: Path) -> None:
    public, out = write(tmp_path / "public", esm2_config()), tmp_path / "out"
    empty = tmp_path / "empty"
    empty.mkdir()
    cases: list[tuple[tuple[object, ...], str]] = [
        (("nt", public, out), "vocab_size is 33, Nucleotide Transformer v2 has 4107"),
        (("esm3", public, out), "choose from creformer, esm2, nt"),
        (("esm2", empty, out), "lacks config.json and model.safetensors or pytorch_model.bin"),
        (("esm2", tmp_path / "no", out), "no such folder"),
        (("esm2", public / "config.json", out), "is a file"),
        (("esm2", "hf://facebook/none", out), "nothing is fetched unasked"),
        (("esm2", public, out, "--heads", 2), "--heads 2 is for creformer"),
        (("esm2", public, public), "already exists"),
        (("creformer", public, out, "--vocab", public / "config.json", "--sha256", "0" * 64), "--sha256"),
    ]
    for words, said in cases:
        assert said in cli_error("weights", "convert", *words), words
    assert not out.exists()
