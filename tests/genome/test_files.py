from __future__ import annotations

import errno
import gzip
import hashlib
import os
from pathlib import Path

import pytest

from cisoform.errors import InputError
from cisoform.genome import files


def test_missing_empty_and_directory_are_told_apart(tmp_path: Path):
    (tmp_path / "empty").touch()
    for name, problem in (("none", "no such file"), ("empty", "is empty"), (".", "is a directory")):
        with pytest.raises(InputError, match=f"{problem}.*genome"):
            files.require_file(tmp_path / name, "genome")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(tmp_path: Path):
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(InputError, match="secret: cannot be read"):
        files.require_file(path, "genome")


def test_gzip_is_recognised_by_content_and_line_ends_become_newlines(tmp_path: Path):
    plain, packed = tmp_path / "a.gz", tmp_path / "b.txt"
    plain.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        with files.open_text(path) as handle:
            assert list(handle) == ["one\n", "two\n"]


def test_a_truncated_gzip_is_named_while_it_is_read(tmp_path: Path):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(os.urandom(10_000))[:-50])
    with (
        pytest.raises(InputError, match="cut.gz: the gzip file is truncated"),
        files.open_binary(path) as handle,
    ):
        handle.read()


def test_a_damaged_gzip_is_named(tmp_path: Path):
    path = tmp_path / "bad.gz"
    raw = bytearray(gzip.compress(b"abc" * 1000))
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)
    with (
        pytest.raises(InputError, match="bad.gz: the gzip file is damaged"),
        files.open_binary(path) as handle,
    ):
        handle.read()


def test_binary_content_is_not_text(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b"abc\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 text.*0xff"), files.open_text(path) as handle:
        handle.read()


def test_sha256_is_of_the_bytes_on_disk(tmp_path: Path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"abc"))
    assert files.sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_cache_follows_its_variable_then_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "mine"))
    assert files.user_cache_dir("genome") == tmp_path / "mine" / "genome"
    monkeypatch.delenv("CISOFORM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert files.user_cache_dir() == tmp_path / "xdg" / "cisoform"
    assert files.user_cache_dir().is_dir()


def test_an_impossible_cache_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set CISOFORM_CACHE"):
        files.user_cache_dir()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_write(path) as handle:
        handle.write("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_succeeds_replaces_the_file(tmp_path: Path):
    path = tmp_path / "out"
    for mode, content in (("w", "é\n"), ("wb", b"\x00")):
        with files.atomic_write(path, mode) as handle:
            handle.write(content)
        assert (path.read_text(encoding="utf-8") if mode == "w" else path.read_bytes()) == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_with_a_mend(tmp_path: Path):
    with (
        pytest.raises(InputError, match="out: cannot be written: No space.*free some space"),
        files.atomic_write(tmp_path / "out"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_one_line(tmp_path: Path):
    with (
        pytest.raises(InputError, match="cannot be written: No such file"),
        files.atomic_write(tmp_path / "no" / "x"),
    ):
        pass


def test_other_errors_of_the_block_pass_unchanged(tmp_path: Path):
    with pytest.raises(FileNotFoundError), files.atomic_write(tmp_path / "out"):
        (tmp_path / "missing").read_text()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "set"
    with pytest.raises(RuntimeError), files.atomic_directory(target) as folder:
        (folder / "a").write_text("1")
        assert not target.exists()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with files.atomic_directory(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("1")
    assert (target / "deep" / "a").read_text() == "1"
    assert list(tmp_path.iterdir()) == [target]


def test_an_existing_folder_is_replaced_only_on_request(tmp_path: Path):
    target = tmp_path / "set"
    target.mkdir()
    (target / "old").write_text("1")
    with pytest.raises(InputError, match="set: already exists"), files.atomic_directory(target):
        pass
    with files.atomic_directory(target, overwrite=True) as folder:
        (folder / "new").write_text("2")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path):
    (tmp_path / "set").write_text("x")
    with pytest.raises(InputError, match="set: is a file"), files.atomic_directory(tmp_path / "set"):
        pass


def test_json_goes_round_and_bad_json_shows_its_place(tmp_path: Path):
    path = tmp_path / "x.json"
    files.write_json(path, {"b": [1, 2.5], "a": "é"})
    assert files.read_json(path) == {"b": [1, 2.5], "a": "é"}
    path.write_text('{"a": 1,\n "b" 2}')
    with pytest.raises(InputError, match="x.json: line 2, column 6: not JSON"):
        files.read_json(path)
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, float("nan"))
