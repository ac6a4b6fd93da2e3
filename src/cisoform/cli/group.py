"""The root command group: a command's module is imported on use; a user's mistake is one line and exit 2.

Every way in (console script, `python -m`, typer's test runner) passes `CommandGroup.main`, so errors look the
same everywhere. Expected are `InputError`, wrong flags, files that cannot be read or written, a full disk
and Ctrl-C (130). Anything else is a bug: it keeps its traceback behind a line that asks for a report.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from cisoform.errors import InputError

EXIT_INPUT_ERROR = 2
EXIT_INTERRUPTED = 130

# typer.BadParameter < UsageError < ClickException; only the first has a public name in every typer version.
_UsageProblem: type[Exception] = typer.BadParameter.__mro__[2]

_OS_ERRORS = {
    errno.ENOENT: "no such file or directory; check the path",
    errno.EACCES: "permission denied; choose a file or folder that you may use",
    errno.EPERM: "operation not permitted; choose a file or folder that you may use",
    errno.EISDIR: "is a directory, but a file is needed",
    errno.ENOTDIR: "a part of this path is a file, but a folder is needed",
    errno.EEXIST: "already exists; choose another name or remove it",
    errno.ENOTEMPTY: "is a folder that is not empty; choose another name or remove it",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
    errno.ENOSPC: "no space left on the device; free some and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some and run the same command again",
}


@dataclass(frozen=True)
class LazyCommand:
    """Where a command lives and its line in `cisoform --help`.

    `module` holds either `app` (a `typer.Typer`) or a function named as the command.
    """

    module: str
    help: str


class InterruptedByUser(Exception):
    """Ctrl-C, carried past typer as an ordinary exception; its text says how to resume."""


class CommandGroup(TyperGroup):
    """Root group whose commands are imported on use; `lazy` maps a command's name to its place."""

    lazy: Mapping[str, LazyCommand] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that knows the name and the line of help: enough for `--help`, imports nothing."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        return TyperCommand(cmd_name, help=self.lazy[cmd_name].help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command, imported now."""
        name = args[0]
        if name in self.lazy:
            return name, load_command(name, self.lazy[name]), args[1:]
        near = difflib.get_close_matches(name, self.lazy, n=1)
        if near:
            ctx.fail(f"no command named {name!r}; did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C leaves as an exception of ours, before typer takes it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise InterruptedByUser(str(error)) from error

    def main(
        self,
        args: Any = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run and leave through `SystemExit` with the documented exit code."""
        words = [str(word) for word in (sys.argv[1:] if args is None else args)]
        debug = "--debug" in words or os.environ.get("CISOFORM_DEBUG", "") not in ("", "0")
        words = [word for word in words if word != "--debug"]
        try:
            result = super().main(
                words, prog_name, complete_var, standalone_mode=False, windows_expand_args=False, **extra
            )
        except Exception as error:  # noqa: BLE001 - sorted into mistakes of the user and bugs
            _leave(error, debug)
        if standalone_mode:
            sys.exit(result if isinstance(result, int) else 0)
        return result


def load_command(name: str, lazy: LazyCommand) -> Any:
    """Import a command's module and build the command from its `app` or its function `name`."""
    module = importlib.import_module(lazy.module)
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name)(getattr(module, name.replace("-", "_")))
    app._add_completion = False  # completion belongs to the root command alone
    command = typer.main.get_command(app)
    command.name = name
    return command


def describe_error(error: Exception) -> str | None:
    """One line for a mistake the user can mend, None for what can only be a bug."""
    if isinstance(error, (InputError, InterruptedByUser)):
        return " ".join(str(error).split())
    if isinstance(error, _UsageProblem):
        return _describe_usage(error)
    if isinstance(error, MemoryError):
        return "not enough memory; give smaller batches or windows, or use a machine with more"
    if isinstance(error, OSError) and error.errno in _OS_ERRORS:
        names = [
            os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))
        ]
        if names or error.errno in (errno.ENOSPC, errno.EDQUOT):
            return ": ".join([*dict.fromkeys(names), _OS_ERRORS[error.errno]])
    if "No space left on device" in str(error):  # writers in other languages wrap it in their own types
        return f"{' '.join(str(error).split())}; free some space and run the same command again"
    return None


def _describe_usage(error: Any) -> str:
    message = " ".join(str(error.format_message()).split())
    cause = error.__cause__  # typer lets pydantic read the values; only its error knows what was given
    if hasattr(cause, "errors"):
        message += f", got {cause.errors()[0]['input']!r}"
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    return f"{message.rstrip('.')} (see '{context.command_path} --help')"


def _leave(error: Exception, debug: bool) -> NoReturn:
    """Print what went wrong on stderr and exit; a bug is raised on with its traceback."""
    if isinstance(
        error, BrokenPipeError
    ):  # `cisoform ... | head`: the reader has gone, there is no one to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is already on the screen
        sys.exit(EXIT_INPUT_ERROR)
    line = describe_error(error)
    if line is None:
        sys.stderr.write(
            f"cisoform: unexpected error ({type(error).__name__}); please report it with these lines:\n"
        )
        raise error
    if debug:
        traceback.print_exception(error)
    if isinstance(error, InterruptedByUser):
        hint = line or "interrupted; nothing half-written is left, so the same command can be run again"
        sys.stderr.write(f"\ncisoform: {hint}\n")
        sys.exit(EXIT_INTERRUPTED)
    sys.stderr.write(f"cisoform: error: {line}\n")
    sys.exit(EXIT_INPUT_ERROR)
