"""The root command: lazy commands, help, and how each kind of failure leaves."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import cisoform
from cisoform.cli import main as cli_main
from cisoform.cli.group import CommandGroup, LazyCommand, load_command
from cisoform.errors import InputError
from tests.documents import REPOSITORY

Cli = Callable[..., Any]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `cisoform fail` a command that raises what it is given."""

    def install(error: BaseException) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setitem(sys.modules, "a_failing_command", SimpleNamespace(fail=fail))  # type: ignore[arg-type]
        commands = {"fail": LazyCommand("a_failing_command", "Fails.")}
        monkeypatch.setattr(cli_main.RootGroup, "lazy", commands)

    return install


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            InputError("x.fa: line 3: 'Z' is no base;\n  use A, C, G, T or N"),
            "x.fa: line 3: 'Z' is no base; use A, C",
        ),
        (FileNotFoundError(errno.ENOENT, "x", "x.fa"), "x.fa: no such file or directory"),
        (PermissionError(errno.EACCES, "x", "x.fa"), "x.fa: permission denied"),
        (IsADirectoryError(errno.EISDIR, "x", "x.fa"), "x.fa: is a directory, but a file is needed"),
        (NotADirectoryError(errno.ENOTDIR, "x", "x.fa/y"), "x.fa/y: a part of this path is a file"),
        (FileExistsError(errno.EEXIST, "x", "out"), "out: already exists"),
        (OSError(errno.ENOSPC, "x", "out/a.npy"), "out/a.npy: no space left on the device"),
        (OSError(errno.ENOSPC, "x"), "no space left on the device"),
        (
            RuntimeError("io: No space left on device (os error 28)"),
            "No space left on device (os error 28); free",
        ),
        (MemoryError(), "not enough memory"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    failing: Callable[[BaseException], None], cli_error: Callable[..., str], error: Exception, line: str
) -> None:
    failing(error)
    assert line in cli_error("fail")


def test_ctrl_c_says_how_to_go_on_and_leaves_with_130(
    failing: Callable[[BaseException], None], cli: Cli
) -> None:
    failing(KeyboardInterrupt("stopped at step 7; go on with --resume"))
    result = cli("fail")
    assert (result.exit_code, result.stderr.strip()) == (
        130,
        "cisoform: stopped at step 7; go on with --resume",
    )
    failing(KeyboardInterrupt())
    result = cli("fail")
    assert result.exit_code == 130 and "the same command can be run again" in result.stderr


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EIO, "no file name")])
def test_a_bug_keeps_its_traceback(
    failing: Callable[[BaseException], None], cli: Cli, error: Exception
) -> None:
    failing(error)
    with pytest.raises(type(error)):
        cli("fail")


@pytest.mark.parametrize("way", ["flag before", "flag after", "variable"])
def test_debug_shows_the_traceback_before_the_line(
    failing: Callable[[BaseException], None], cli: Cli, way: str
) -> None:
    failing(InputError("x.fa: bad"))
    words = {"flag before": ["--debug", "fail"], "flag after": ["fail", "--debug"]}.get(way, ["fail"])
    result = cli(*words, env={"CISOFORM_DEBUG": "1"} if way == "variable" else None)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr and result.stderr.endswith("cisoform: error: x.fa: bad\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["isofrom"], "no command named 'isofrom'; did you mean 'isoform'? (see 'cisoform --help')"),
        (["zzz"], "No such command 'zzz' (see 'cisoform --help')"),
        (["--nope"], "No such option: --nope"),
        (["pack", "check"], "Missing argument 'DIR|NAME' (see 'cisoform pack check --help')"),
        (["pack", "check", "a", "b"], "Got unexpected extra argument"),
        (["pack", "get", "x"], "Missing option '--url'"),
    ],
)
def test_wrong_words_are_one_line_too(cli_error: Callable[..., str], words: list[str], line: str) -> None:
    assert line in cli_error(*words)


def all_commands() -> list[tuple[str, ...]]:
    """Every command that exists, as its words: ("pack",), ("pack", "list") ..."""
    found: list[tuple[str, ...]] = []
    for name, lazy in cli_main.COMMANDS.items():
        if find_spec(lazy.module) is None:
            continue
        command = load_command(name, lazy)
        found.append((name,))
        found += [(name, sub) for sub in getattr(command, "commands", {})]
    return found


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(cli: Cli, words: tuple[str, ...]) -> None:
    result = cli(*words, "--help")
    assert result.exit_code == 0
    group = hasattr(load_command(words[0], cli_main.COMMANDS[words[0]]), "commands") and len(words) == 1
    if not group:
        assert f"cisoform {' '.join(words)}" in " ".join(result.stdout.split("Example")[-1].split())
        assert "Example" in result.stdout


def test_the_help_line_of_the_table_is_that_of_the_command() -> None:
    for name, lazy in cli_main.COMMANDS.items():
        command = load_command(name, lazy)
        assert (command.help or "").splitlines()[0] == lazy.help, name


def test_every_command_stands_in_the_index() -> None:
    index = (REPOSITORY / "docs" / "index.md").read_text()
    assert [name for name in cli_main.COMMANDS if f"`cisoform {name}" not in index] == []


def test_version_and_lazy_names(cli: Cli) -> None:
    assert cli("--version").stdout == f"cisoform {cisoform.__version__}\n"
    assert cisoform.InputError is InputError
    assert {"IsoFormer", "InputError"} <= set(dir(cisoform))
    with pytest.raises(AttributeError, match="no attribute 'IsoFromer'"):
        _ = cisoform.IsoFromer


def test_the_console_script_behaves_as_in_process() -> None:
    script = [sys.executable, "-m", "cisoform.cli.main", "pack", "check", "no-such-pack"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("cisoform: error: no data pack 'no-such-pack'")


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = "from cisoform.cli.main import main\nmain()"
    command = f"{sys.executable} -c '{program}' --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_the_root_group_is_what_typer_builds() -> None:
    assert isinstance(typer.main.get_command(cli_main.app), CommandGroup)
