"""Fetch a data pack: download, check its SHA-256, unpack with care, check it, move it into the user cache.

The archive is a tar (plain, gz, bz2, xz) or a zip whose files lie at its root or in one folder. It is hashed
before anything is unpacked, and unpacking refuses what could write outside the pack: absolute names, `..`,
links, devices. A pack takes its final name only when all checks have passed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import io
import lzma
import re
import stat
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import cast

from cisoform.errors import InputError
from cisoform.genome.files import atomic_directory, user_cache_dir
from cisoform.packs import CHECKSUMS, PackCheck, check_pack

MAX_UNPACKED_BYTES = 50_000_000_000
MAX_FILES = 100_000
_TIMEOUT_SECONDS = 60
_CHUNK = 1 << 20
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)

Update = Callable[[float, float | None], None]


@dataclasses.dataclass(frozen=True)
class Member:
    """A file of an archive: its name there, and how to open it."""

    name: str
    open: Callable[[], io.BufferedIOBase]


def get_pack(
    name: str, url: str, sha256: str, *, force: bool = False, update: Update | None = None
) -> PackCheck:
    """Fetch an archive and install it as the pack `name` in the user cache.

    Args:
        name: Letters, digits, `.`, `_`, `-`.
        url: http, https or file; a path to an existing file will do.
        sha256: Of the archive, 64 hex digits.
        force: Replace a pack of that name.
        update: Called with bytes done and bytes in all (None = unknown) while downloading.

    Raises:
        InputError: a wrong argument, no answer, another hash, an archive or a pack that is not sound.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(f"{name!r} cannot name a pack; use letters, digits, '.', '_' and '-'")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(f"--sha256 {sha256!r} is not 64 hex digits; copy it from where the URL came from")
    address = _address(url)
    place = user_cache_dir("packs")
    target = place / name
    if target.exists() and not force:
        raise InputError(f"{target}: already exists; use it, or give --force to replace it")
    with tempfile.TemporaryDirectory(prefix=".download-", dir=place) as folder:
        archive = Path(folder) / "archive"
        found = _download(address, archive, update)
        if found != sha256.lower():
            raise InputError(f"{url}: sha256 is {found}, expected {sha256.lower()}; check both")
        with atomic_directory(target, overwrite=force) as building:
            unpack(archive, building, url)
            check = check_pack(building, name=name)
    return dataclasses.replace(check, path=target)


def unpack(archive: Path, folder: Path, label: str, max_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Write the files of a tar or zip into an existing empty folder; one enclosing folder is left out.

    Args:
        archive: File to read.
        folder: Where its files go.
        label: What to call the archive in messages.
        max_bytes: Most bytes the files may have together, counted while they are written.

    Raises:
        InputError: neither tar nor zip, damaged, too large, or with a name or kind of member that is refused.
    """
    try:
        with _members(archive, label) as members:
            names = [_safe_name(member.name, label) for member in members]
            if len(names) > MAX_FILES:
                raise InputError(f"{label}: {len(names)} files are more than the {MAX_FILES} a pack may hold")
            if len(set(names)) < len(names):
                raise InputError(f"{label}: holds two files of one name; make the archive again")
            skip = _enclosing_folders(names)
            room = max_bytes
            for member, name in zip(members, names, strict=True):
                room -= _copy(member, folder.joinpath(*name.parts[skip:]), room, label)
    except _DAMAGED as error:
        raise InputError(f"{label}: the archive is damaged ({error}); fetch it again") from None


def _address(url: str) -> str:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme in ("http", "https", "file"):
        return url
    if Path(url).is_file():
        return Path(url).resolve().as_uri()
    raise InputError(f"--url {url!r} is no http, https or file address and no file; check it")


def _download(address: str, target: Path, update: Update | None) -> str:
    """Stream to a file and return the hex SHA-256."""
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as answer, target.open("wb") as out:
            length = answer.headers.get("Content-Length")
            done = 0
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
                done += len(chunk)
                if update is not None:
                    update(done, int(length) if length else None)
    except urllib.error.HTTPError as error:
        raise InputError(f"{address}: the server answered {error.code} {error.reason}; check --url") from None
    except urllib.error.URLError as error:
        raise InputError(f"{address}: cannot be fetched: {error.reason}; check --url") from None
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise InputError(
            f"{address}: the download broke off ({error or type(error).__name__}); try again"
        ) from None
    return digest.hexdigest()


@contextlib.contextmanager
def _members(archive: Path, label: str) -> Iterator[list[Member]]:
    """The regular files of an archive; any other member but a folder is refused."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as handle:
            yield _zip_members(handle, label)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield _tar_members(tar, label)
    else:
        raise InputError(f"{label}: is neither a tar nor a zip archive; check --url")


def _zip_members(handle: zipfile.ZipFile, label: str) -> list[Member]:
    members = []
    for info in handle.infolist():
        mode = info.external_attr >> 16
        if info.is_dir():
            _safe_name(info.filename, label)
            continue
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise InputError(f"{label}: {info.filename!r} is a link or device; a pack holds plain files only")
        if info.flag_bits & 0x1:
            raise InputError(f"{label}: {info.filename!r} is encrypted; a pack holds plain files only")
        members.append(Member(info.filename, partial(_zip_file, handle, info)))
    return members


def _tar_members(tar: tarfile.TarFile, label: str) -> list[Member]:
    members = []
    for info in tar:
        if info.isdir():
            _safe_name(info.name, label)
            continue
        if not info.isreg():
            raise InputError(f"{label}: {info.name!r} is a link or device; a pack holds plain files only")
        members.append(Member(info.name, partial(_tar_file, tar, info)))
    return members


def _zip_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> io.BufferedIOBase:
    return cast(io.BufferedIOBase, archive.open(info))


def _tar_file(tar: tarfile.TarFile, info: tarfile.TarInfo) -> io.BufferedIOBase:
    return cast(io.BufferedIOBase, tar.extractfile(info))


def _safe_name(name: str, label: str) -> PurePosixPath:
    path = PurePosixPath(name)
    wrong = path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in path.parts[:1]
    if wrong or not path.parts:
        raise InputError(f"{label}: {name!r} would be written outside the pack; do not trust this archive")
    return path


def _enclosing_folders(names: list[PurePosixPath]) -> int:
    """1 when all files lie in one folder that holds SHA256SUMS, else 0."""
    tops = {name.parts[0] for name in names}
    inside = len(tops) == 1 and PurePosixPath(*tops, CHECKSUMS) in names
    return 1 if inside else 0


def _copy(member: Member, target: Path, room: int, label: str) -> int:
    """Write one file and return its size; sizes are counted, not believed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as source, target.open("xb") as out:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > room:
                raise InputError(f"{label}: its files are larger than a pack may be; check --url")
            out.write(chunk)
    return written
