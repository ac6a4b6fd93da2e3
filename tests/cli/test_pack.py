from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.test_packs import write_pack

Cli = Callable[..., Any]
CliError = Callable[..., str]


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CISOFORM_PACKS", str(tmp_path / "packs"))
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    return write_pack(tmp_path / "packs" / "small", {"a.txt": "one", "README.md": "Licence: CC0\n"})


def test_list_shows_what_is_found(cli: Cli, pack: Path) -> None:
    # Columns: name, files, size, where, licence.
    assert cli("pack", "list").stdout.splitlines()[1].split() == ["small", "1", "3", "B", str(pack), "CC0"]
    (found,) = json.loads(cli("pack", "list", "--json").stdout)
    assert found == {"name": "small", "path": str(pack), "n_files": 1, "n_bytes": 3, "licence": "CC0"}


def test_list_without_packs_says_where_it_looked(cli: Cli, tmp_path: Path) -> None:
    env = {"CISOFORM_PACKS": str(tmp_path), "CISOFORM_CACHE": str(tmp_path / "cache")}
    result = cli("pack", "list", env=env)
    assert result.exit_code == 0 and result.stdout == ""
    assert f"no data pack in {tmp_path}" in result.stderr
    assert cli("pack", "list", "--json", env=env).stdout == "[]\n"


@pytest.mark.parametrize("by", ["name", "folder"])
def test_check_by_name_or_folder(cli: Cli, pack: Path, by: str) -> None:
    target = "small" if by == "name" else str(pack)
    assert f"{pack}: sound (1 files, 3 B; checksums only)" in cli("pack", "check", target).stdout
    assert json.loads(cli("pack", "check", target, "--json").stdout)["schema"] is None


def test_check_errors_are_one_line_even_with_json(cli_error: CliError, pack: Path) -> None:
    (pack / "a.txt").write_text("two")
    assert "a.txt: sha256 is" in cli_error("pack", "check", "small", "--json")
    assert "no data pack 'smal'" in cli_error("pack", "check", "smal")


def test_get_installs_a_pack_that_is_found_by_name(
    cli: Cli, cli_error: CliError, pack: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(pack, "small")
    digest = sha256(archive.read_bytes()).hexdigest()
    words = ["pack", "get", "copy", "--url", archive.as_uri(), "--sha256", digest]
    assert json.loads(cli(*words, "--json").stdout)["path"] == str(tmp_path / "cache" / "packs" / "copy")
    assert cli("pack", "check", "copy").exit_code == 0
    assert "copy: already exists" in cli_error(*words)
    assert cli(*words, "--force").exit_code == 0
