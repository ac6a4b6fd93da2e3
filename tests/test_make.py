"""The make targets, read without running them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import REPOSITORY


def make(folder: Path, *words: str, **environment: str) -> str:
    """What make prints, in an environment without our variables."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CISOFORM_", "MAKE"))}
    env |= {"PYTHON": sys.executable, **environment}
    done = subprocess.run(["make", *words], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the build files and nothing else."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


@pytest.mark.parametrize("target", ["demo", "demo-smoke", "test", "truth", "lint", "bench"])
def test_every_target_sets_up_first(checkout: Path, target: str) -> None:
    lines = make(checkout, "--dry-run", target).splitlines()
    assert any("-m venv .venv" in line for line in lines)
    assert any("pip install" in line and "--editable '.[multiome,dev]'" in line for line in lines)


def test_set_up_is_not_repeated(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".ready").touch()
    assert "pip install" not in make(checkout, "--dry-run", "test")


def print_packs(folder: Path, **environment: str) -> str:
    """What the recipes of the Makefile see as $CISOFORM_PACKS."""
    (folder / "print.mk").write_text(
        'include Makefile\nprint:\n\t@echo "[$${CISOFORM_PACKS-}][$${CISOFORM_GOLDEN-}]"\n'
    )
    return make(folder, "--silent", "--file", "print.mk", "print", **environment).strip()


def test_shared_data_are_exported_as_absolute_paths_when_they_exist(checkout: Path) -> None:
    assert print_packs(checkout) == "[][]"
    shared = checkout.parent / "shared"
    shared.mkdir()
    assert print_packs(checkout) == f"[{shared}/data][{shared}/golden]"
    assert print_packs(checkout, CISOFORM_PACKS="/mine") == f"[/mine][{shared}/golden]"
