"""`weights convert enformer|borzoi` and `inspect` on synthetic public checkpoints; wrong ones are one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cisoform.genome.files import sha256_file
from cisoform.weights.trunks import TrunkKind, read_trunk
from tests.cli.test_weights_rotary import evil
from tests.weights.public_rotary import esm2_config
from tests.weights.public_rotary import write as write_rotary
from tests.weights.public_trunks import trunk_config, write_trunk

Cli = Callable[..., Any]
CliError = Callable[..., str]
KINDS: list[TrunkKind] = ["enformer", "borzoi"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pickled", [False, True])
def test_public_folders_convert_to_a_model_folder(
    cli: Cli, kind: TrunkKind, pickled: bool, tmp_path: Path
) -> None:
    public = write_trunk(tmp_path / "public", kind, pickled)
    digest = sha256_file(public / ("pytorch_model.bin" if pickled else "model.safetensors"))
    result = cli("weights", "convert", kind, public, tmp_path / "ours", "--sha256", digest, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    width, size = (96, 128) if kind == "enformer" else (60, 32)
    assert (found["sha256"], found["sizes"]["out_dim"], found["sizes"]["bin_size"]) == (digest, width, size)
    assert found["tracks"] == {"human": 5} and found["source"] == "public"
    ours, source = read_trunk(tmp_path / "ours", kind), read_trunk(public, kind)
    assert all(torch.equal(ours.state[name], value) for name, value in source.state.items())
    again = cli("weights", "convert", kind, tmp_path / "ours", tmp_path / "second")
    assert again.exit_code == 0 and f"{found['n_parameters']:,} parameters" in again.stdout, again.stderr
    assert f"bins of {size} bp, {width} wide; 5 human tracks" in again.stdout


def test_the_version_of_the_gamma_densities_is_said_and_can_be_set(cli: Cli, tmp_path: Path) -> None:
    public = write_trunk(tmp_path / "public", "enformer")
    plain = cli("weights", "convert", "enformer", public, tmp_path / "plain")
    assert "gamma densities as in pytorch" in plain.stderr
    other = cli(
        "weights", "convert", "enformer", public, tmp_path / "other", "--gamma", "tensorflow", "--json"
    )
    assert json.loads(other.stdout)["sizes"]["gamma"] == "tensorflow"
    assert read_trunk(tmp_path / "other", "enformer").config.gamma == "tensorflow"  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_inspect_says_what_a_folder_is_and_what_does_not_fit(
    cli: Cli, kind: TrunkKind, tmp_path: Path
) -> None:
    public = write_trunk(tmp_path / "public", kind)
    result = cli("weights", "inspect", public)
    assert result.exit_code == 0, result.stderr
    assert f"{kind.capitalize()} (dim 48, layers 2, heads 2, out_dim" in result.stdout
    assert "the tensors fit" in result.stdout
    (public / "config.json").write_text(json.dumps(trunk_config(kind, depth=3)))
    found = json.loads(cli("weights", "inspect", public, "--json").stdout)[0]["architecture"]
    assert all(name.endswith("num_batches_tracked") for name in found["left_out"]) and found["left_out"]
    assert len(found["differences"]) == 16 and "is missing" in found["differences"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_pickle_is_refused_and_does_nothing(
    cli_error: CliError, kind: TrunkKind, tmp_path: Path
) -> None:
    public = write_trunk(tmp_path / "public", kind, pickled=True)
    marker = tmp_path / "marker"
    evil(public / "pytorch_model.bin", marker)
    error = cli_error("weights", "convert", kind, public, tmp_path / "out")
    assert "pytorch_model.bin: refused to read this pickle: it calls posix.mkdir" in error
    assert not marker.exists() and not (tmp_path / "out").exists()
    assert "posix.mkdir" in cli_error("weights", "inspect", public) and not marker.exists()


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_files_are_refused(
    cli_error: CliError, pickled: bool, share: float, tmp_path: Path
) -> None:
    public = write_trunk(tmp_path / "public", "borzoi", pickled)
    file = public / ("pytorch_model.bin" if pickled else "model.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    assert file.name in cli_error("weights", "convert", "borzoi", public, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wrong_hash_is_refused_and_a_changed_converted_folder_too(
    cli: Cli, cli_error: CliError, tmp_path: Path
) -> None:
    public, out = write_trunk(tmp_path / "public", "enformer"), tmp_path / "out"
    error = cli_error("weights", "convert", "enformer", public, out, "--sha256", "0" * 64)
    assert sha256_file(public / "model.safetensors") in error and "0" * 64 in error and not out.exists()
    assert cli("weights", "convert", "enformer", public, out).exit_code == 0
    content = bytearray((out / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (out / "model.safetensors").write_bytes(content)
    assert "damaged or was changed" in cli_error("weights", "convert", "enformer", out, tmp_path / "second")


def test_wrong_sources_kinds_and_options_are_one_line(cli_error: CliError, tmp_path: Path) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    enformer, borzoi = (write_trunk(tmp_path / kind, kind) for kind in KINDS)
    esm, lost = write_rotary(tmp_path / "esm", esm2_config()), write_trunk(tmp_path / "lost", "borzoi")
    flashed = write_trunk(tmp_path / "flashed", "borzoi", flashed=True)
    listed = write_trunk(tmp_path / "listed", "enformer")
    (listed / "config.json").write_text("[1]")
    (lost / "config.json").unlink()
    empty.mkdir()
    cases: list[tuple[tuple[object, ...], str]] = [
        (("enformer", borzoi, out), "model_type is 'borzoi', not 'enformer'"),
        (("borzoi", enformer, out), "model_type is 'enformer', not 'borzoi'"),
        (("enformer", esm, out), "model_type is 'esm', not 'enformer'"),
        (("esm2", enformer, out), "model_type is 'enformer', not 'esm'"),
        (("enformer", listed, out), "model_type is None"),
        (("borzoi", flashed, out), "Flashzoi is another network"),
        (("borzoi", lost, out), "lacks config.json"),
        (("enformer", empty, out), "lacks config.json and model.safetensors or pytorch_model.bin"),
        (("enformer", tmp_path / "no", out), "no such folder"),
        (("borzoi", borzoi / "config.json", out), "is a file"),
        (("borzoi", "hf://johahi/none", out), "nothing is fetched unasked; fetch config.json"),
        (("borzoi", borzoi, out, "--gamma", "pytorch"), "--gamma pytorch is for enformer, not borzoi"),
        (("enformer", enformer, out, "--gamma", "jax"), "'jax' is neither tensorflow nor pytorch"),
        (("enformer", enformer, out, "--sha256", "abc"), "not 64 hex digits"),
        (("enformer", enformer, out, "--heads", 2), "--heads 2 is for creformer"),
        (("enformer", enformer, enformer), "already exists"),
    ]
    for words, said in cases:
        assert said in cli_error("weights", "convert", *words), words
    assert not out.exists()
