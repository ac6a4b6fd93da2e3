"""Opening, hashing and writing files: a mistake is one clear line, a final name never holds half a file.

Readers turn missing, empty, truncated and undecodable files into `InputError`. Writers write under a
temporary name in the same folder, flush to disk and rename: who sees the final name sees the whole content.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from cisoform.errors import InputError

CACHE_VARIABLE = "CISOFORM_CACHE"
_GZIP_MAGIC = b"\x1f\x8b"
_WRITE_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}

PathLike = str | os.PathLike[str]


def require_file(path: PathLike, what: str) -> Path:
    """The path, after checking that it names a readable file with something in it.

    Args:
        path: File to check.
        what: What the file should be, for the message: "genome FASTA", "annotation".

    Raises:
        InputError: If the file is missing, a directory, empty or unreadable.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory, but a file was expected ({what})")
    try:
        with path.open("rb") as handle:
            first = handle.read(1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file ({what}); check the path") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({what}): {error.strerror or error}") from None
    if not first:
        raise InputError(f"{path}: the file is empty ({what})")
    return path


def is_gzip(path: PathLike) -> bool:
    """Whether the file starts as gzip (bgzip included), whatever its name."""
    with Path(path).open("rb") as handle:
        return handle.read(2) == _GZIP_MAGIC


@contextlib.contextmanager
def open_binary(path: PathLike, what: str = "input") -> Iterator[io.BufferedIOBase]:
    """Read bytes of a file, gzip (recognised by content) or not.

    Raises:
        InputError: If the file is missing, empty, or a truncated or damaged gzip; also during reading.
    """
    path = require_file(path, what)
    compressed = is_gzip(path)
    handle: io.BufferedIOBase = gzip.GzipFile(path, "rb") if compressed else path.open("rb")
    try:
        with handle:
            yield handle
    except EOFError:
        if not compressed:
            raise
        raise InputError(f"{path}: the gzip file is truncated ({what}); copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: the gzip file is damaged ({what}): {error}; copy or download it again"
        ) from None


@contextlib.contextmanager
def open_text(path: PathLike, what: str = "input") -> Iterator[io.TextIOWrapper]:
    """Read UTF-8 text, gzip or not; a byte-order mark is dropped and any line end becomes a newline.

    Raises:
        InputError: As `open_binary`; and if the content is not text.
    """
    with open_binary(path, what) as handle:
        text = io.TextIOWrapper(cast(IO[bytes], handle), encoding="utf-8-sig", newline=None)
        try:
            yield text
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: is not UTF-8 text ({what}): byte 0x{error.object[error.start]:02x}; "
                "is this the right file?"
            ) from None


def sha256_file(path: PathLike) -> str:
    """Hex SHA-256 of the bytes on disk (of the compressed bytes, if it is compressed)."""
    with require_file(path, "input").open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def user_cache_dir(part: str | None = None) -> Path:
    """Folder for files that can be made again: `$CISOFORM_CACHE`, else the XDG cache folder; made if missing.

    Args:
        part: Sub-folder, e.g. "genome"; None for the cache itself.

    Raises:
        InputError: If the folder cannot be made or written to.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        root = Path(named).expanduser()
    else:
        xdg = os.environ.get("XDG_CACHE_HOME")
        root = (Path(xdg) if xdg else Path.home() / ".cache") / "cisoform"
    folder = root / part if part else root
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cache_error(folder, error.strerror) from None
    if not os.access(folder, os.W_OK):
        raise _cache_error(folder, "no permission to write")
    return folder


def _cache_error(folder: Path, reason: str | None) -> InputError:
    return InputError(
        f"{folder}: cannot be used as a cache: {reason}; set {CACHE_VARIABLE} to a folder you can write"
    )


def write_error(path: PathLike, error: OSError) -> InputError:
    """The one-line form of a failed write, with a mend for a full disk."""
    reason = error.strerror or str(error)
    mend = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the folder"
    return InputError(f"{path}: cannot be written: {reason}; {mend} or choose another place")


@contextlib.contextmanager
def atomic_write(path: PathLike, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that takes its final name only when the block ends without an exception.

    Args:
        path: Final name; an existing file is replaced.
        mode: "w" (UTF-8 text, Unix line ends) or "wb".

    Raises:
        InputError: If the folder is missing or not writable, or the disk is full.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode {mode!r} is not 'w' or 'wb'")
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        handle: IO[Any] = (
            temporary.open("wb") if mode == "wb" else temporary.open("w", encoding="utf-8", newline="\n")
        )
    except OSError as error:
        raise write_error(path, error) from None
    try:
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno not in _WRITE_FAILURES:
            raise
        raise write_error(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: PathLike, overwrite: bool = False) -> Iterator[Path]:
    """Fill a folder that takes its final name only when the block ends without an exception.

    Args:
        path: Final name. The block gets `NAME.partial-PID` beside it to write into.
        overwrite: Replace an existing folder; else an existing one (unless empty) is an error.

    Raises:
        InputError: If the folder exists, its parent cannot be written, or the disk is full.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file, but a folder is to be written there; choose another name")
    if path.is_dir() and not overwrite and any(path.iterdir()):
        raise InputError(f"{path}: already exists; remove it or choose another name")
    temporary = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    except OSError as error:
        raise write_error(path, error) from None
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush_to_disk(file)
        _replace_directory(temporary, path)
    except OSError as error:
        if error.errno not in _WRITE_FAILURES:
            raise
        raise write_error(path, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_directory(source: Path, target: Path) -> None:
    """Rename a folder over another one; the old one is moved aside first and removed last."""
    if not target.exists():
        source.replace(target)
        return
    old = target.with_name(f"{target.name}.old-{os.getpid()}")
    target.replace(old)
    try:
        source.replace(target)
    except OSError:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_json(path: PathLike, value: Any) -> None:
    """Write JSON atomically: two-space indent, keys in the order given, NaN refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as handle:
        handle.write(text + "\n")


def read_json(path: PathLike, what: str = "JSON file") -> Any:
    """Read JSON.

    Raises:
        InputError: If the file is missing, empty or not JSON (with line and column).
    """
    with open_text(path, what) as handle:
        try:
            return json.load(handle)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}: line {error.lineno}, column {error.colno}: not JSON ({what}): {error.msg}"
            ) from None
