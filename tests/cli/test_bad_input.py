"""Every wrong input is one line that names it, exit code 2, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bad_input import BUILD, OUT
from tests.cli.bad_runs import NEW, RUNS, Trained
from tests.cli.mini import MiniProject, write_mini_project

Cli = Callable[..., Any]
CliError = Callable[..., str]


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Trained:
    """A project, its data set, another data set with a tissue less, and a run of two steps."""
    root = tmp_path_factory.mktemp("valid")
    trained = Trained(write_mini_project(root / "project"), root / "data", root / "run")
    for words in (
        trained.project.build_words(trained.data),
        trained.project.build_words(root / "other", tissues="Brain,Liver"),
        trained.train(out=trained.run),
    ):
        result = cli(*words)
        assert result.exit_code == 0, result.stderr
    return trained


@pytest.fixture
def trained(valid: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """A copy of everything that a test may spoil; the current folder is empty."""
    shutil.copytree(valid.project.root.parent, tmp_path / "copy")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    project = MiniProject(tmp_path / "copy" / "project", valid.project.chromosomes, valid.project.transcripts)
    return Trained(project, tmp_path / "copy" / "data", tmp_path / "copy" / "run")


def check_line(line: str, needles: list[str]) -> None:
    missing = [needle for needle in needles if needle not in line]
    assert not missing, f"{missing} not in: {line}"
    assert list(Path().iterdir()) == [], "something was left behind"


@pytest.mark.parametrize("name", BUILD)
def test_build_refuses(name: str, trained: Trained, cli_error: CliError) -> None:
    words, needles = BUILD[name](trained.project)
    check_line(cli_error(*words), needles)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_refuses(name: str, trained: Trained, cli_error: CliError) -> None:
    words, needles = RUNS[name](trained)
    before = sorted(trained.run.rglob("*"))
    check_line(cli_error(*words), needles)
    assert sorted(trained.run.rglob("*")) == before, "the run was touched"


def test_the_table_is_as_long_as_promised() -> None:
    assert len(BUILD) + len(RUNS) >= 40


# --- a full disk ----------------------------------------------------------------------------------------------------


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flush to disk fails, as the last step of each write does on a full disk."""

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("command", ["build", "train", "predict"])
def test_a_full_disk_is_told_and_leaves_nothing(command: str, trained: Trained, cli_error: CliError) -> None:
    words = {
        "build": trained.project.build_words(OUT),
        "train": trained.train(),
        "predict": trained.predict(),
    }[command]
    line = cli_error(*words)
    assert "space" in line, line
    left = [path for path in Path().rglob("*") if path.name != NEW or path.is_file()]
    assert left == [], "something was left behind"


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


def test_ctrl_c_in_training_leaves_a_run_that_can_be_resumed(
    trained: Trained, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cisoform.data.loader import IsoformLoader

    epoch = IsoformLoader.epoch
    more = ("--set", "train.epochs=3", "--set", "train.max_steps=null")

    def interrupted(self: IsoformLoader, *args: Any, **options: Any) -> Iterator[Any]:
        if args and args[0] == 1:
            os.kill(os.getpid(), signal.SIGINT)
        yield from epoch(self, *args, **options)

    monkeypatch.setattr(IsoformLoader, "epoch", interrupted)
    result = cli(*trained.train(*more))
    assert result.exit_code == 130, result.stderr
    assert result.stderr.splitlines()[-1].startswith("cisoform: ") and "--resume" in result.stderr
    assert "Traceback" not in result.stderr
    monkeypatch.setattr(IsoformLoader, "epoch", epoch)
    assert cli(*trained.train(*more, "--resume")).exit_code == 0
    assert cli(*trained.train(*more, out="whole")).exit_code == 0
    weights = [Path(run, "model", "model.safetensors").read_bytes() for run in (NEW, "whole")]
    assert weights[0] == weights[1], "a resumed run equals an uninterrupted one"
