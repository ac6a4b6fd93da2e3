from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cisoform.errors import InputError
from cisoform.pack_archives import get_pack, unpack

FILES = {"a.txt": b"one", "sub/b.txt": b"three"}
SUMS = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in FILES.items()).encode()
PACK = {**FILES, "SHA256SUMS": SUMS}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packs"


def tar_of(path: Path, files: dict[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return path


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files_under(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize("enclosing", ["", "top/"])
def test_an_archive_becomes_a_pack(tmp_path: Path, cache: Path, make: object, enclosing: str) -> None:
    archive = make(tmp_path / "pack", {enclosing + name: data for name, data in PACK.items()})  # type: ignore[operator]
    check = get_pack("mine", archive.as_uri(), sha256(archive))
    assert (check.name, check.path, check.n_files) == ("mine", cache / "mine", 2)
    assert files_under(cache) == {f"mine/{name}": data for name, data in PACK.items()}


def test_http_is_streamed_with_progress(tmp_path: Path, cache: Path) -> None:
    archive = tar_of(tmp_path / "pack.tar.gz", PACK)
    steps: list[tuple[float, float | None]] = []
    with serve(tmp_path) as address:
        get_pack(
            "mine",
            f"{address}/pack.tar.gz",
            sha256(archive).upper(),
            update=lambda done, total: steps.append((done, total)),
        )
        with pytest.raises(InputError, match="missing.tar: the server answered 404"):
            get_pack("other", f"{address}/missing.tar", "0" * 64)
    size = archive.stat().st_size
    assert steps[-1] == (size, size)
    assert [path.name for path in cache.iterdir()] == ["mine"]


class serve:
    """A web server for one folder on the loopback address."""

    def __init__(self, folder: Path) -> None:
        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_nothing_is_unpacked_when_the_hash_differs(tmp_path: Path, cache: Path) -> None:
    archive = tar_of(tmp_path / "pack.tar.gz", PACK)
    with pytest.raises(InputError, match=f"sha256 is {sha256(archive)}, expected {'0' * 64}"):
        get_pack("mine", archive.as_uri(), "0" * 64)
    assert list(cache.iterdir()) == []


def test_an_existing_pack_stays_unless_forced(tmp_path: Path, cache: Path) -> None:
    archive = tar_of(tmp_path / "pack.tar.gz", PACK)
    get_pack("mine", str(archive), sha256(archive))
    (cache / "mine" / "own.txt").write_text("mine")
    with pytest.raises(InputError, match="mine: already exists; .* --force"):
        get_pack("mine", str(archive), sha256(archive))
    assert (cache / "mine" / "own.txt").exists()
    get_pack("mine", str(archive), sha256(archive), force=True)
    assert files_under(cache / "mine") == PACK


def test_a_pack_that_fails_its_own_checksums_is_not_kept(tmp_path: Path, cache: Path) -> None:
    archive = tar_of(tmp_path / "pack.tar.gz", {**PACK, "a.txt": b"two"})
    with pytest.raises(InputError, match="mine: a.txt: sha256 is"):
        get_pack("mine", archive.as_uri(), sha256(archive))
    assert list(cache.iterdir()) == []


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd"
    return info


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:\\x"])
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_names_outside_the_pack_are_refused(tmp_path: Path, make: object, name: str) -> None:
    archive = make(tmp_path / "evil", {**PACK, name: b"x"})  # type: ignore[operator]
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(InputError, match="would be written outside the pack"):
        unpack(archive, target, "evil")
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tar_of(tmp_path / "evil.tar", PACK, link("x", kind))
    with pytest.raises(InputError, match="'x' is a link or device"):
        unpack(archive, tmp_path, "evil")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="'x' is a link or device"):
        unpack(tmp_path / "evil.zip", tmp_path, "evil")


def test_sizes_are_counted(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "bomb.tar.gz", {"zeros": bytes(3_000_000)})
    assert archive.stat().st_size < 10_000
    with pytest.raises(InputError, match="larger than a pack may be"):
        unpack(archive, tmp_path / "target", "bomb", max_bytes=1_000_000)


def test_damaged_and_foreign_archives_are_told(tmp_path: Path) -> None:
    noise = hashlib.sha512(b"noise").digest() * 2000
    archive = tar_of(tmp_path / "pack.tar.gz", {"a": noise, "b": hashlib.sha256(b"b").digest() * 900})
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(InputError, match="the archive is damaged"):
        unpack(archive, tmp_path / "one", "pack")
    (tmp_path / "page.html").write_text("<html>not found</html>")
    with pytest.raises(InputError, match="is neither a tar nor a zip archive"):
        unpack(tmp_path / "page.html", tmp_path / "two", "pack")


@pytest.mark.parametrize(
    ("name", "url", "digest", "message"),
    [
        ("../x", "file:///x", "0" * 64, "'../x' cannot name a pack"),
        ("x", "file:///x", "0123", "--sha256 '0123' is not 64 hex digits"),
        ("x", "ftp://example.org/x", "0" * 64, "'ftp://example.org/x' is no http, https or file address"),
        ("x", "file:///no/such.tar", "0" * 64, "file:///no/such.tar: cannot be fetched"),
        ("x", "http://127.0.0.1:9/x.tar", "0" * 64, "127.0.0.1:9/x.tar: cannot be fetched"),
    ],
)
def test_wrong_arguments_are_told(name: str, url: str, digest: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        get_pack(name, url, digest)
