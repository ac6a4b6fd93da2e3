"""Random access to a genome FASTA (plain, bgzip or plain gzip), and reading of small FASTA files whole.

An index beside the file is used if it is not older than the file. Otherwise the index, and the plain text of
a plain-gzip FASTA (the form GENCODE and Ensembl offer), are made once in the user cache: the folder of the
genome is never written to.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from cisoform.errors import InputError
from cisoform.genome.files import (
    PathLike,
    atomic_write,
    is_gzip,
    open_binary,
    open_text,
    require_file,
    sha256_file,
    user_cache_dir,
)
from cisoform.genome.interval import Interval
from cisoform.genome.sequence import BASE_N, encode_dna, reverse_complement

_WHAT = "genome FASTA"
_CHUNK_BASES = 16 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_log = logging.getLogger(__name__)


class Genome:
    """The chromosomes of a FASTA file, read on demand as base codes (see `sequence`).

    Handles are opened on first use in each process, so a genome may be pickled and used after a fork.

    Attributes:
        path: The file as given.
        chroms: Length in bases of every sequence, in file order.
    """

    def __init__(self, path: Path, fasta: Path, index: Path, gzi: Path | None) -> None:
        self.path = path
        self._fasta, self._index, self._gzi = fasta, index, gzi
        self.chroms: dict[str, int] = _read_index(index, path)
        self._handle: Any = None
        self._pid = -1

    @classmethod
    def open(cls, path: PathLike, cache_dir: PathLike | None = None) -> Genome:
        """Open a FASTA file: plain, bgzip, or plain gzip (unpacked into the cache on first use).

        Args:
            path: The file.
            cache_dir: Where to keep an index or unpacked text that has to be made; None for the user cache.

        Raises:
            InputError: If the file is missing, empty, damaged or not FASTA (with the line).
        """
        path = require_file(path, _WHAT)
        cache = Path(cache_dir) if cache_dir is not None else None
        compressed = is_gzip(path)
        blocked = compressed and _is_bgzip(path)
        fasta = path
        if compressed and not blocked:
            fasta = _cached(path, cache, "fa")
            if not fasta.exists():
                _unpack(path, fasta)
        index, gzi = _beside(fasta, blocked)
        if not _fresh(fasta, index, gzi):
            index = _cached(path, cache, "fai")
            gzi = _cached(path, cache, "gzi") if blocked else None
            if not _fresh(fasta, index, gzi):
                _build_index(path, fasta, index, gzi)
        return cls(path, fasta, index, gzi)

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the file as given."""
        return sha256_file(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_pid": -1}

    def __contains__(self, chrom: object) -> bool:
        return chrom in self.chroms

    def close(self) -> None:
        """Close the file; it opens again by itself when needed."""
        if self._handle is not None and self._pid == os.getpid():
            self._handle.close()
        self._handle = None

    def chrom_length(self, chrom: str) -> int:
        """Number of bases of a chromosome.

        Raises:
            InputError: If the genome has no such chromosome; the message shows some that it has.
        """
        if chrom not in self.chroms:
            shown = ", ".join(list(self.chroms)[:5])
            raise InputError(
                f"{self.path}: has no chromosome {chrom!r}; it has {shown} ({len(self.chroms)} in all)"
            )
        return self.chroms[chrom]

    def fetch(self, interval: Interval) -> UInt8[np.ndarray, " bases"]:
        """Base codes of an interval as read on its strand; positions off the chromosome are N.

        Raises:
            InputError: If the chromosome is unknown, or holds a letter that is not a base.
        """
        inside = interval.clip(self.chrom_length(interval.chrom))
        codes = np.full(interval.length, BASE_N, dtype=np.uint8)
        for start in range(inside.start, inside.end, _CHUNK_BASES):
            end = min(start + _CHUNK_BASES, inside.end)
            codes[start - interval.start : end - interval.start] = self._read(interval.chrom, start, end)
        return codes if interval.strand == "+" else reverse_complement(codes)

    def chromosome(self, chrom: str) -> UInt8[np.ndarray, " bases"]:
        """Base codes of a whole chromosome, forward strand."""
        return self.fetch(Interval(chrom, 0, self.chrom_length(chrom)))

    def _read(self, chrom: str, start: int, end: int) -> UInt8[np.ndarray, " bases"]:
        try:
            letters: str = self._open().fetch(chrom, start, end)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: cannot read {chrom}:{start + 1}-{end}: {error}; is it damaged?"
            ) from None
        if len(letters) != end - start:
            raise InputError(
                f"{self.path}: {chrom} ends at {start + len(letters)}, before {end}; is it truncated?"
            )
        try:
            return encode_dna(letters)
        except InputError as error:
            raise InputError(f"{self.path}: {chrom}, from base {start + 1}: {error}") from None

    def _open(self) -> Any:
        if self._handle is None or self._pid != os.getpid():
            import pysam

            previous = pysam.set_verbosity(0)
            try:
                self._handle = pysam.FastaFile(
                    str(self._fasta),
                    filepath_index=str(self._index),
                    filepath_index_compressed=None if self._gzi is None else str(self._gzi),
                )
            finally:
                pysam.set_verbosity(previous)
            self._pid = os.getpid()
        return self._handle


def _is_bgzip(path: Path) -> bool:
    """Whether a gzip file carries the BC extra field of blocked gzip (SAM specification, section 4.1)."""
    with path.open("rb") as handle:
        head = handle.read(18)
    return len(head) == 18 and bool(head[3] & 4) and head[12:14] == b"BC"


def _beside(fasta: Path, blocked: bool) -> tuple[Path, Path | None]:
    return Path(f"{fasta}.fai"), Path(f"{fasta}.gzi") if blocked else None


def _fresh(fasta: Path, *indexes: Path | None) -> bool:
    written = fasta.stat().st_mtime_ns
    return all(
        index is None or (index.is_file() and index.stat().st_mtime_ns >= written) for index in indexes
    )


def _cached(path: Path, cache: Path | None, suffix: str) -> Path:
    """Cache name of something made from `path`; it changes when the file does (place, size or time)."""
    status = path.stat()
    key = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    folder = user_cache_dir("genome") if cache is None else cache
    folder.mkdir(parents=True, exist_ok=True)
    stem = path.name.split(".")[0]
    return folder / f"{stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.{suffix}"


def _unpack(path: Path, target: Path) -> None:
    _log.info("unpacking %s into %s", path, target)
    with open_binary(path, _WHAT) as source, atomic_write(target, "wb") as out:
        shutil.copyfileobj(source, out, 4 << 20)


def _build_index(path: Path, fasta: Path, index: Path, gzi: Path | None) -> None:
    import pysam
    from pysam.utils import SamtoolsError

    _log.info("indexing %s", path)
    if gzi is not None:
        _require_end_marker(fasta)
    n_records = _count_records(fasta)
    partial = index.with_name(f".{index.name}.partial-{os.getpid()}")
    partial_gzi = index.with_name(f".{index.name}.gzi-partial-{os.getpid()}")
    flags = ["--fai-idx", str(partial)] + ([] if gzi is None else ["--gzi-idx", str(partial_gzi)])
    previous = pysam.set_verbosity(0)
    try:
        pysam.faidx(str(fasta), *flags)
        found = _read_index(partial, path)
        if len(found) < n_records or "" in found:
            raise _layout_error(path)
        if gzi is not None:
            partial_gzi.replace(gzi)
        partial.replace(index)
    except SamtoolsError:
        raise _layout_error(path) from None
    finally:
        pysam.set_verbosity(previous)
        partial.unlink(missing_ok=True)
        partial_gzi.unlink(missing_ok=True)


def _read_index(index: Path, path: Path) -> dict[str, int]:
    chroms: dict[str, int] = {}
    with open_text(index, "FASTA index") as handle:
        for number, line in enumerate(handle, 1):
            fields = line.rstrip("\n").split("\t")
            if len(fields) < 5 or not fields[1].isdigit():
                raise InputError(f"{index}: line {number} is not a line of a FASTA index; remove the file")
            chroms[fields[0]] = int(fields[1])
    return chroms or _no_records(path)


def _no_records(path: Path) -> dict[str, int]:
    raise InputError(f"{path}: holds no FASTA record ('>name' followed by lines of sequence)")


def _require_end_marker(fasta: Path) -> None:
    """A bgzip file ends with an empty block of 28 bytes; without it, whole blocks may have been cut off."""
    with fasta.open("rb") as handle:
        handle.seek(-min(28, fasta.stat().st_size), os.SEEK_END)
        if not handle.read().startswith(_GZIP_MAGIC):
            raise InputError(
                f"{fasta}: the bgzip end marker is missing; the file is truncated, copy it again"
            )


def _count_records(fasta: Path) -> int:
    """Number of lines that start with '>'; reading it all finds a truncated file before it is indexed."""
    count, last = 0, b"\n"
    with open_binary(fasta, _WHAT) as handle:
        while chunk := handle.read(8 << 20):
            count += (last + chunk).count(b"\n>")
            last = chunk[-1:]
    return count


def _layout_error(path: Path) -> InputError:
    """What keeps a FASTA from being indexed, found by reading it line by line."""
    mend = "rewrite the file with lines of equal length, e.g. with `seqkit seq -w 60`"
    width, short_at, name = 0, 0, ""
    first_line: dict[str, int] = {}
    with open_text(path, _WHAT) as handle:
        for number, line in enumerate(handle, 1):
            bases = len(line.rstrip("\r\n"))
            if line.startswith(">"):
                name = (line[1:].split() or [""])[0]
                width, short_at = 0, 0
                if not name:
                    return InputError(f"{path}: line {number}: a record has no name after '>'")
                if name in first_line:
                    where = f"line {number}: sequence {name!r} stands already at line {first_line[name]}"
                    return InputError(f"{path}: {where}; remove or rename one of them")
                first_line[name] = number
            elif not name:
                if bases:
                    return InputError(
                        f"{path}: line {number}: expected '>name', found {line.strip()[:30]!r}; not FASTA?"
                    )
            elif bases and short_at:
                return InputError(
                    f"{path}: line {short_at}: a line of {name!r} is shorter than the next; {mend}"
                )
            elif width and bases > width:
                return InputError(
                    f"{path}: line {number}: a line of {name!r} is longer than those before; {mend}"
                )
            else:
                short_at = number if width and bases < width else 0
                width = width or bases
    if name and not width:
        return InputError(
            f"{path}: the last sequence, {name!r}, has no bases; remove it, or is the file truncated?"
        )
    return InputError(f"{path}: cannot be indexed as FASTA")


class FastaRecord(NamedTuple):
    """One record: the first word after '>', the rest of that line, and the letters without line ends."""

    name: str
    description: str
    sequence: str


def read_fasta_records(path: PathLike, what: str = "FASTA") -> Iterator[FastaRecord]:
    """Records of a FASTA file (gzip or not), one after the other; letters are not checked.

    Raises:
        InputError: If the file is missing, empty or damaged, does not start with '>', or repeats a name.
    """
    seen: set[str] = set()
    name, description = "", ""
    parts: list[str] = []
    with open_text(path, what) as handle:
        for number, line in enumerate(handle, 1):
            line = line.strip()
            if line.startswith(">"):
                if name:
                    yield FastaRecord(name, description, "".join(parts))
                name, _, description = line[1:].partition(" ")
                parts = []
                if not name:
                    raise InputError(f"{path}: line {number}: a record has no name after '>' ({what})")
                if name in seen:
                    raise InputError(f"{path}: line {number}: record {name!r} appears twice ({what})")
                seen.add(name)
            elif line and not name:
                raise InputError(f"{path}: line {number}: expected '>name', found {line[:30]!r} ({what})")
            else:
                parts.append(line)
        if not name:
            raise InputError(f"{path}: holds no FASTA record ({what})")
        yield FastaRecord(name, description, "".join(parts))
