"""Every wrong input is one line that names it, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.bad_input import BUILD, OUT
from tests.cli.mini import MiniProject, write_mini_project

CliError = Callable[..., str]


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> MiniProject:
    return write_mini_project(tmp_path_factory.mktemp("valid") / "project")


@pytest.fixture
def project(valid: MiniProject, tmp_path: Path) -> MiniProject:
    """A copy of the valid project that a test may spoil."""
    shutil.copytree(valid.root, tmp_path / "project")
    return MiniProject(tmp_path / "project", valid.chromosomes, valid.transcripts)


@pytest.mark.parametrize("name", BUILD)
def test_build_refuses(
    name: str,
    project: MiniProject,
    cli_error: CliError,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    words, needles = BUILD[name](project)
    line = cli_error(*words)
    missing = [needle for needle in needles if needle not in line]
    assert not missing, f"{missing} not in: {line}"
    assert list(Path().iterdir()) == [], "something was left behind"


def test_the_project_itself_is_accepted(
    cli: Callable[..., object], project: MiniProject, tmp_path: Path
) -> None:
    result = cli(*project.build_words(tmp_path / OUT))
    assert result.exit_code == 0, result.stderr  # type: ignore[attr-defined]
    assert (tmp_path / OUT / "manifest.json").is_file()
