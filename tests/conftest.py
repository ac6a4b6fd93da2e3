"""Fixtures of the whole suite: data packs, golden vectors, the command line in process, a private cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch or polars are imported: one thread per test worker, whoever starts pytest.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PLACES = {"pack": "CISOFORM_PACKS", "golden": "CISOFORM_GOLDEN"}


def must_not_skip() -> bool:
    """In CI, with the shared data beside the checkout, a test that lacks its data is a failure."""
    return os.environ.get("CI") == "true" and (REPOSITORY.parent / "shared").is_dir()


def place(kind: str) -> Path | None:
    value = os.environ.get(PLACES[kind], "")
    return Path(value) if value and Path(value).is_dir() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for kind, variable in PLACES.items():
            if item.get_closest_marker(kind) and place(kind) is None:
                item.add_marker(pytest.mark.skip(reason=f"${variable} names no folder (`make test` sets it)"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    needs_data = any(item.get_closest_marker(kind) for kind in PLACES)
    if report.skipped and needs_data and not hasattr(report, "wasxfail") and must_not_skip():
        report.outcome = "failed"
        report.longrepr = f"skipped although shared data lie beside the checkout: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing a test does reaches the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("CISOFORM_CACHE")
    os.environ["CISOFORM_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["CISOFORM_CACHE"]
    else:
        os.environ["CISOFORM_CACHE"] = before


@pytest.fixture(scope="session")
def packs_dir() -> Path:
    """Folder that holds the real data packs; mark the test `pack`."""
    return _required("pack")


@pytest.fixture(scope="session")
def yeast_pack(packs_dir: Path) -> Path:
    if not (packs_dir / "yeast").is_dir():
        pytest.skip(f"no pack named yeast in {packs_dir}")
    return packs_dir / "yeast"


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Folder that holds the golden vectors; mark the test `golden`."""
    return _required("golden")


def _required(kind: str) -> Path:
    folder = place(kind)
    if folder is None:
        pytest.skip(f"${PLACES[kind]} names no folder (`make test` sets it)")
    return folder


@pytest.fixture(scope="session")
def cli() -> Callable[..., Any]:
    """`cli("pack", "list")`: the command line in process, with the error handling of the console script.

    The result has `exit_code`, `stdout` and `stderr`. An exception that the command line would show with a
    traceback is raised here.
    """
    from typer.testing import CliRunner

    from cisoform.cli.main import app

    def run(*words: object, env: dict[str, str | None] | None = None) -> Any:
        result = CliRunner().invoke(app, [str(word) for word in words], env=env, prog_name="cisoform")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def cli_error(cli: Callable[..., Any]) -> Callable[..., str]:
    """`cli_error("pack", "check", "x")`: the text of the one-line error of a command that must exit with 2."""

    def run(*words: object, env: dict[str, str | None] | None = None) -> str:
        result = cli(*words, env=env)
        assert result.exit_code == 2, f"exit code {result.exit_code}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr
        errors = [line for line in result.stderr.splitlines() if line.startswith("cisoform: error: ")]
        assert len(errors) == 1, result.stderr
        assert result.stderr.rstrip("\n").endswith(errors[0]), f"text after the error:\n{result.stderr}"
        return errors[0].removeprefix("cisoform: error: ")

    return run
