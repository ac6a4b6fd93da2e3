"""A folder built step by step that can be continued after a kill: arrays that only grow, and a log of what stands.

Work goes on in `NAME.partial` beside the final name. After each block of work a line of the log records how long every
array is and the SHA-256 of what was added; resuming checks those, cuts off what came after the last line and goes on.
The final name appears only when everything is there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import mmap
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, write_error

_LOG, _LOCK = "progress.jsonl", "lock"
_HEADER_BYTES = 128
WORK = "work"
"""Sub-folder of what is removed in the end."""


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Header of a `.npy` file (version 1.0), always 128 bytes, so that it can be written last."""
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    text = repr(about).encode("latin1")
    padding = _HEADER_BYTES - 11 - len(text)
    body = text + b" " * padding + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


def release(*arrays: npt.NDArray[Any]) -> None:
    """Let go of the pages of memory-mapped arrays: what was read stays in the file, not in this process."""
    for array in arrays:
        base: Any = array
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None) if not isinstance(base, memoryview) else base.obj
        if base is not None and hasattr(base, "madvise"):
            base.madvise(mmap.MADV_DONTNEED)


class GrowingArray:
    """A one-dimensional `.npy` file to append to; readable with `np.load` once `finish` was called."""

    def __init__(self, path: Path, dtype: npt.DTypeLike, kept_bytes: int) -> None:
        """Open the file and cut it to its first `kept_bytes` of data."""
        self.path = path
        self.dtype = np.dtype(dtype)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(npy_header(self.dtype, (0,)))
        self._handle = path.open("r+b")
        self._handle.truncate(_HEADER_BYTES + kept_bytes)
        self._handle.seek(0, os.SEEK_END)
        self.n_bytes = kept_bytes
        self._added = hashlib.sha256()
        self._changed = False

    def __len__(self) -> int:
        return self.n_bytes // self.dtype.itemsize

    def append(self, values: npt.NDArray[Any]) -> None:
        """Add values at the end."""
        data = np.ascontiguousarray(values, dtype=self.dtype)
        if data.size:
            view = data.reshape(-1).view(np.uint8).data
            self._handle.write(view)
            self._added.update(view)
            self._changed = True
            self.n_bytes += data.nbytes

    def settle(self) -> tuple[int, str, str]:
        """Put on disk what was added since the last time; its end, its hash and the type, for the log."""
        self._handle.flush()
        if self._changed:
            os.fsync(self._handle.fileno())
            self._changed = False
        entry = (self.n_bytes, self._added.hexdigest(), self.dtype.str)
        self._added = hashlib.sha256()
        return entry

    def finish(self) -> None:
        """Write the header and close."""
        self._handle.seek(0)
        self._handle.write(npy_header(self.dtype, (len(self),)))
        self._handle.close()

    def close(self) -> None:
        """Close as it is, to be continued."""
        self._handle.close()


class PartialFolder:
    """The folder under its partial name, locked for this process.

    Attributes:
        path: `NAME.partial`.
        final: `NAME`.
        resumed: Whether there is work of an earlier process in it.
    """

    def __init__(self, path: Path, final: Path, lock: IO[bytes], log: list[dict[str, Any]]) -> None:
        self.path, self.final = path, final
        self.resumed = len(log) > 1
        self._lock, self._entries = lock, log
        self._growing: list[GrowingArray] = []

    def done(self, stage: str) -> int:
        """Steps of a stage that are finished: where to go on."""
        return max((entry["next"] for entry in self._entries if entry.get("stage") == stage), default=0)

    def finished(self, stage: str) -> bool:
        """Whether a stage was ended."""
        return any(entry.get("stage") == stage and entry["last"] for entry in self._entries)

    def value(self, stage: str) -> Any:
        """What the last entry of a finished stage noted."""
        return [entry for entry in self._entries if entry.get("stage") == stage][-1]["value"]

    def arrays(self, stage: str, names: Sequence[tuple[str, npt.DTypeLike]]) -> dict[str, GrowingArray]:
        """The growing arrays of a stage at the length that the log vouches for."""
        kept: dict[str, int] = {}
        for entry in self._entries:
            if entry.get("stage") == stage:
                kept |= {name: end for name, (end, _, _) in entry["arrays"].items()}
        arrays = {
            name: GrowingArray(self.path / f"{name}.npy", dtype, kept.get(name, 0)) for name, dtype in names
        }
        self._growing.extend(arrays.values())
        return arrays

    def settle(
        self,
        stage: str,
        step: int,
        arrays: dict[str, GrowingArray],
        last: bool = False,
        value: Any = None,
    ) -> None:
        """Log that steps before number `step` of a stage are on disk."""
        ends = {name: array.settle() for name, array in arrays.items()}
        entry = {"stage": stage, "next": step, "last": last, "arrays": ends, "value": value}
        self._write(entry)
        if last:
            for array in arrays.values():
                array.finish()

    def _write(self, entry: dict[str, Any]) -> None:
        with (self.path / _LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")
            log.flush()
            os.fsync(log.fileno())
        self._entries.append(entry)

    def publish(self, overwrite: bool) -> None:
        """Remove the traces of the work and give the folder its final name."""
        shutil.rmtree(self.path / WORK, ignore_errors=True)
        for file in self.path.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        (self.path / _LOG).unlink()
        (self.path / _LOCK).unlink()
        self._lock.close()
        if self.final.is_dir() and not overwrite:
            self.final.rmdir()
        old = self.final.with_name(f"{self.final.name}.old-{os.getpid()}")
        if self.final.exists():
            self.final.replace(old)
        self.path.replace(self.final)
        shutil.rmtree(old, ignore_errors=True)

    def discard(self) -> None:
        """Remove everything."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Leave it as it is, to be continued."""
        for array in self._growing:
            array.close()
        self._lock.close()


@contextlib.contextmanager
def partial_folder(
    final: PathLike, settings: dict[str, Any], resume: bool = False, overwrite: bool = False
) -> Iterator[PartialFolder]:
    """Work in `FINAL.partial`; the block calls `publish` at its end.

    A mistake in the input (`InputError`) removes the partial folder, anything else (a kill, Ctrl-C, a full disk)
    keeps it: the same call goes on where it stopped.

    Args:
        final: Final name.
        settings: What the result depends on; work of an earlier process counts only if it had the same.
        resume: Insist on going on with what an earlier process left, if it left anything: with other settings that is
            an error instead of a new beginning.
        overwrite: Replace an existing folder in the end.

    Raises:
        InputError: If the final name is taken, another process is at work, or resuming is not possible.
    """
    final = Path(final)
    if final.exists() and not final.is_dir():
        raise InputError(f"{final}: is a file, but a folder is to be written there; choose another name")
    if final.is_dir() and not overwrite and any(final.iterdir()):
        raise InputError(f"{final}: already exists; remove it or choose another name")
    path = final.with_name(f"{final.name}.partial")
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / _LOCK).open("ab")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise InputError(
            f"{path}: another process is building {final.name}; wait for it or stop it"
        ) from None
    except OSError as error:
        raise write_error(path, error) from None
    text = json.dumps(settings, sort_keys=True)
    log = _read_log(path)
    if log and log[0].get("settings") != text and not resume:
        log = []
    if log and log[0].get("settings") != text:
        lock.close()
        changed = _difference(json.loads(log[0]["settings"]), settings)
        raise InputError(
            f"{path}: was begun with other inputs or settings ({changed}); run without --resume to begin anew"
        )
    folder = PartialFolder(path, final, lock, log)
    if not log:
        for item in path.iterdir():
            if item.name != _LOCK:
                shutil.rmtree(item) if item.is_dir() else item.unlink()
        folder._write({"settings": text})
    try:
        yield folder
    except InputError as error:
        # A full disk is no mistake of the input.
        if getattr(error.__context__, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
            folder.discard()
        raise
    finally:
        folder.close()


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            return f"{key}: {str(old.get(key))[:60]} then, {str(new.get(key))[:60]} now"
    return "unknown"


def _read_log(path: Path) -> list[dict[str, Any]]:
    """Entries whose data are on disk as they say; a half-written line and what follows it is dropped."""
    if not (path / _LOG).is_file():
        return []
    entries: list[dict[str, Any]] = []
    begun: dict[str, int] = {}
    for line in (path / _LOG).read_text(encoding="utf-8").split("\n"):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            break
        if not all(
            _stands(path / f"{name}.npy", begun.get(name, 0), *end)
            for name, end in entry.get("arrays", {}).items()
        ):
            break
        begun |= {name: end for name, (end, _, _) in entry.get("arrays", {}).items()}
        entries.append(entry)
    _cut_off(path, entries)
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (path / _LOG).write_text(text, encoding="utf-8")
    return entries


def _cut_off(path: Path, entries: list[dict[str, Any]]) -> None:
    """Cut arrays of finished stages to what the log says and write their header: the kill may have come before."""
    for entry in entries:
        for name, (end, _, dtype) in entry.get("arrays", {}).items():
            with (path / f"{name}.npy").open("r+b") as handle:
                if entry["last"]:
                    kind = np.dtype(dtype)
                    handle.write(npy_header(kind, (end // kind.itemsize,)))
                    handle.truncate(_HEADER_BYTES + end)


def _stands(path: Path, start: int, end: int, digest: str, dtype: str) -> bool:
    if not path.is_file() or path.stat().st_size < _HEADER_BYTES + end:
        return False
    found = hashlib.sha256()
    with path.open("rb") as handle:
        handle.seek(_HEADER_BYTES + start)
        left = end - start
        while left and (piece := handle.read(min(left, 8 << 20))):
            found.update(piece)
            left -= len(piece)
    return not left and found.hexdigest() == digest
