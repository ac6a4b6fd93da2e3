"""A scaling grid through the command line: what it prints and writes, and one line for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.scale_data import write_data

Cli = Callable[..., Any]
CliError = Callable[..., str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_data(tmp_path_factory.mktemp("scale"))
    (folder / "full").mkdir()
    (folder / "full" / "notes.txt").write_text("mine")
    (folder / "file").write_text("taken")
    return folder


def words(root: Path, out: object, *more: object) -> list[object]:
    base = ["regulation", "scale", "--regions", root / "regions", "--genes", root / "genes", "--out", out]
    return [*base, "--steps", 2, "--fit-steps", 2, "--widths", "16", "--device", "cpu", *more]


def test_a_grid_is_said_made_and_kept(root: Path, cli: Cli, cli_error: CliError) -> None:
    out = root / "out"
    first = cli(*words(root, out, "--shares", "1", "--json"))
    assert first.exit_code == 0, first.stderr
    result = json.loads(first.stdout)
    for text in ("device: cpu", "1 cells, 1 to train", "estimate: about", "1/1 d16-1-r0: loss "):
        assert text in first.stderr
    assert [cell["name"] for cell in result["cells"]] == ["d16-1-r0"] and not result["simulated"]
    assert result["slopes"]["loss"]["data"]["interval"] is None and "simulation" not in result["grid"]
    again = cli(*words(root, out, "--shares", "1"))
    assert again.exit_code == 0 and "1 cells, 0 to train" in again.stderr and "estimate" not in again.stderr
    row = next(line for line in again.stdout.splitlines() if line.startswith("d16-1-r0"))
    assert f"{result['cells'][0]['pretraining']['loss']:.3f}" in row
    assert "no scaling law" in again.stdout and "scaling.html: open it" in again.stdout
    assert {path.name for path in out.iterdir()} == {
        *("inputs.json", "cells", "scaling.json", "scaling.tsv", "scaling.html", "scaling.png", "scaling.svg")
    }
    assert "holds a grid on other data" in cli_error("regulation", "scale", "--out", out)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--grid", "tinny"], "--grid 'tinny' is unknown; did you mean 'tiny'?"),
        (["--grid", "huge"], "--grid 'huge' is unknown; there are tiny"),
        (["--steps", 0], "--steps 0: must be at least 1"),
        (["--fit-steps", -3], "--fit-steps -3: must be at least 1"),
        (["--repeats", 0], "--repeats 0: must be at least 1"),
        (["--widths", "16,24"], "--widths 24: must be a multiple of 16"),
        (["--widths", "32,16"], "--widths 32,16: must rise"),
        (["--widths", "wide"], "--widths wide: must be numbers"),
        (["--shares", "0.5,2"], "--shares 2: must be more than 0 and at most 1"),
        (["--shares", "nan"], "--shares nan: must be more than 0"),
        (["--shares", "0.5,0.5"], "names '0.5' twice"),
        (["--track", "dnase"], "has no track 'dnase' to read the accessibility of the genes as"),
        (["--data", "sim"], "give --regions and --genes together, or --data"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_bad_settings_are_one_line(
    root: Path, cli_error: CliError, tmp_path: Path, more: list[object], expected: str
) -> None:
    assert expected in cli_error(*words(root, tmp_path / "out", *more))
    assert not (tmp_path / "out" / "cells").exists()


def test_bad_folders_are_one_line(root: Path, cli_error: CliError, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "holds other files and no grid" in cli_error(*words(root, root / "full"))
    assert "holds other files and no grid" in cli_error(*words(root, root / "file"))
    assert (root / "full" / "notes.txt").read_text() == "mine" and (root / "file").read_text() == "taken"
    alone = ("regulation", "scale", "--out", out, "--device", "cpu")
    assert "--genes together" in cli_error(*alone, "--regions", root / "regions")
    assert "holds no simulation of regulation" in cli_error(*alone, "--data", root)
    swapped = cli_error(*alone, "--regions", root / "genes", "--genes", root / "regions")
    assert str(root / "genes") in swapped
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "inputs.json").write_text("{")
    assert "inputs.json" in cli_error(*words(root, tmp_path / "damaged"))
