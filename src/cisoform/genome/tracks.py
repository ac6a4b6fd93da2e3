"""Signal tracks as values per base: bigWig or bedGraph(.gz) files, told apart by their content, and their table.

A base without a value (a gap, or NaN) counts as 0 and is counted, as in the released code; NaN never leaves here.
A transform turns what the file stores back into the unit that the signal levels are cut in (-log10 p of the
published edges: `sinh` for files that hold arcsinh of it). Negative and infinite signal is refused with its place.
"""

from __future__ import annotations

import difflib
import math
import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, is_gzip, open_text, require_file
from cisoform.genome.names import map_chromosomes

FloatArray = npt.NDArray[np.float64]

TRANSFORMS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "none": lambda values: values,
    "sinh": np.sinh,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "square": np.square,
}
"""From stored to used values; every one maps 0 to 0, so that a gap stays 0."""

_BIGWIG, _BIGBED = 0x888FFC26, 0x8789F2EB
_NAME = re.compile(r"^[A-Za-z0-9_+-]+$")
_COLUMNS = ("sample", "track", "path")


@dataclass(frozen=True)
class TrackRow:
    """One line of a table of tracks: which file holds which signal of which sample."""

    sample: str
    track: str
    path: Path
    transform: str = "none"


def read_track_table(path: PathLike) -> list[TrackRow]:
    """Read a TSV with the columns sample, track, path and perhaps transform; paths are relative to the TSV.

    Raises:
        InputError: With the line, for a missing column or file, an unknown transform, a name that is not made of
            letters, digits, `_`, `+` and `-`, or a track listed twice for a sample.
    """
    path = Path(path)
    rows: list[TrackRow] = []
    seen: dict[tuple[str, str], int] = {}
    header: list[str] | None = None
    with open_text(path, "table of tracks") as handle:
        for number, line in enumerate(handle, 1):
            fields = [field.strip() for field in line.rstrip("\n").split("\t")]
            if not any(fields) or line.startswith("#"):
                continue
            if header is None:
                header = _read_header(path, number, fields)
                continue
            row = _read_row(path, number, header, fields)
            before = seen.setdefault((row.sample, row.track), number)
            if before != number:
                raise InputError(
                    f"{path}: line {number}: track {row.track!r} of sample {row.sample!r} is already on line "
                    f"{before}; list every track of a sample once"
                )
            rows.append(row)
    if not rows:
        raise InputError(f"{path}: lists no track; write a header 'sample track path' and a line per file")
    return rows


def _read_header(path: Path, number: int, fields: list[str]) -> list[str]:
    missing = [name for name in _COLUMNS if name not in fields]
    unknown = [name for name in fields if name not in (*_COLUMNS, "transform")]
    if missing or unknown or len(set(fields)) < len(fields):
        said = f"lacks the column {missing[0]!r}" if missing else f"has the columns {', '.join(fields)}"
        raise InputError(
            f"{path}: line {number}: the header {said}; it must be sample, track, path[, transform], "
            "separated by tabs"
        )
    return fields


def _read_row(path: Path, number: int, header: list[str], fields: list[str]) -> TrackRow:
    where = f"{path}: line {number}"
    if len(fields) != len(header):
        raise InputError(f"{where}: has {len(fields)} fields, but the header has {len(header)}")
    values = dict(zip(header, fields, strict=True))
    for key in ("sample", "track"):
        if not _NAME.match(values[key]):
            raise InputError(
                f"{where}: {key} {values[key]!r} may hold only letters, digits, '_', '+' and '-'"
            )
    transform = values.get("transform") or "none"
    if transform not in TRANSFORMS:
        near = difflib.get_close_matches(transform, TRANSFORMS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(TRANSFORMS)}"
        raise InputError(f"{where}: transform {transform!r} is unknown; {hint}")
    if not values["path"]:
        raise InputError(f"{where}: the path is empty")
    file = path.parent / values["path"]
    try:
        require_file(file, f"track {values['track']} of {values['sample']}")
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return TrackRow(values["sample"], values["track"], file, transform)


class SignalTrack:
    """One track, read by spans of a genome's chromosomes. Open it in the process that reads it.

    Attributes:
        path: The file.
        transform: Name of the transform applied to its values.
        chromosomes: Name in the file of every chromosome of the genome that the file has.
        text: How the names were matched.
    """

    def __init__(self, path: PathLike, genome: Mapping[str, int | None], transform: str = "none") -> None:
        """Open a track against a genome.

        Args:
            path: bigWig, or bedGraph, gzip or not. A bedGraph is read whole: 16 bytes of memory an interval.
            genome: Length of every chromosome; None where it is not known, and then not checked.
            transform: One of `TRANSFORMS`.

        Raises:
            InputError: If the file is damaged, is neither form, shares no chromosome with the genome, or is of
                another assembly (a length differs, or it reaches past a chromosome's end).
        """
        self.path = require_file(path, "signal track")
        self.transform = transform
        self._function = TRANSFORMS[transform]
        self._reader: _BigWig | _BedGraph = _open(self.path)
        try:
            found = map_chromosomes(self._reader.lengths, genome)
        except InputError as error:
            text = str(error).replace("chromosome of the annotation", "chromosome of the track")
            raise InputError(f"{self.path}: {text}") from None
        self.text = found.text
        self.chromosomes = {name: file_name for file_name, name in found.names.items()}
        for name, file_name in self.chromosomes.items():
            expected = genome[name]
            if expected is not None:
                self._check_length(name, expected, self._reader.lengths[file_name])

    def length(self, chrom: str) -> int | None:
        """Length of a chromosome as the file says; None for a bedGraph, which does not say."""
        return self._reader.lengths[self.chromosomes[chrom]] if isinstance(self._reader, _BigWig) else None

    def _check_length(self, name: str, expected: int, length: int) -> None:
        exact = isinstance(self._reader, _BigWig)
        if length > expected or (exact and length != expected):
            verb = "has" if exact else "reaches to"
            raise InputError(
                f"{self.path}: {name} {verb} {length:,} bases, but {expected:,} in the genome; "
                "the track and the genome are of different assemblies"
            )

    def read(self, chrom: str, start: int, end: int) -> tuple[FloatArray, int]:
        """Signal of bases [start, end) of a chromosome, and how many of them have no value in the file (0 here).

        Raises:
            InputError: If a value is negative or infinite, before or after the transform.
        """
        values = self._reader.values(self.chromosomes[chrom], start, end)
        empty = np.isnan(values)
        n_empty = int(np.count_nonzero(empty))
        if n_empty:
            values[empty] = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            used = self._function(values)
        wrong = ~((used >= 0) & np.isfinite(used))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise InputError(
                f"{self.path}: signal at {chrom}:{start + at + 1} is {values[at]:g}"
                + ("" if self.transform == "none" else f" ({self.transform}: {used[at]:g})")
                + "; levels need finite values of at least 0: give another track or transform"
            )
        return used, n_empty


def _open(path: Path) -> _BigWig | _BedGraph:
    with path.open("rb") as handle:
        head = handle.read(4)
    magic = {int.from_bytes(head, "little"), int.from_bytes(head, "big")}
    if _BIGBED in magic:
        raise InputError(f"{path}: is a bigBed file; give the signal as bigWig or bedGraph")
    if _BIGWIG in magic:
        return _BigWig(path)
    if not is_gzip(path) and b"\0" in head:
        raise InputError(f"{path}: is neither bigWig nor bedGraph; convert the track to one of them")
    return _BedGraph(path)


class _BigWig:
    def __init__(self, path: Path) -> None:
        import pybigtools

        self.path = path
        try:
            self._file = pybigtools.open(str(path))
            self.lengths: dict[str, int] = dict(self._file.chroms())
        except (pybigtools.BBIReadError, OSError, ValueError) as error:
            raise self._damaged(error) from None

    def values(self, name: str, start: int, end: int) -> FloatArray:
        import pybigtools

        try:
            # Filled with NaN, so that what has no value can be counted before it becomes 0.
            found = self._file.values(name, start, end, fillna=math.nan)
        except (pybigtools.BBIReadError, OSError, ValueError) as error:
            raise self._damaged(error) from None
        return np.array(found, dtype=np.float64)

    def _damaged(self, error: Exception) -> InputError:
        return InputError(f"{self.path}: the bigWig cannot be read ({error}); copy or download it again")


class _BedGraph:
    """Intervals in memory; columns chrom, start, end, value; 0-based half-open; sorted within a chromosome."""

    def __init__(self, path: Path) -> None:
        self.path = path
        columns: dict[str, tuple[array[int], array[int], array[float]]] = {}
        with open_text(path, "bedGraph") as handle:
            for number, line in enumerate(handle, 1):
                fields = line.split()
                if not fields or fields[0].startswith("#") or fields[0] in ("track", "browser"):
                    continue
                start, end, value = self._parse(number, fields)
                starts, ends, values = columns.setdefault(fields[0], (array("q"), array("q"), array("f")))
                if ends and start < ends[-1]:
                    raise InputError(
                        f"{path}: line {number}: {fields[0]}:{start}-{end} begins before {ends[-1]}, the end of the "
                        "interval before it; sort the file (sort -k1,1 -k2,2n) and merge overlaps"
                    )
                starts.append(start)
                ends.append(end)
                values.append(value)
        if not columns:
            raise InputError(f"{path}: holds no interval; is it a bedGraph (chrom, start, end, value)?")
        self._columns: dict[str, tuple[Any, Any, Any]] = {
            name: (np.asarray(starts), np.asarray(ends), np.asarray(values))
            for name, (starts, ends, values) in columns.items()
        }
        self.lengths = {name: int(ends[-1]) for name, (_, ends, _) in self._columns.items()}

    def _parse(self, number: int, fields: list[str]) -> tuple[int, int, float]:
        try:
            if len(fields) != 4:
                raise ValueError
            start, end, value = int(fields[1]), int(fields[2]), float(fields[3])
        except ValueError:
            shown = " ".join(fields)[:60]
            raise InputError(
                f"{self.path}: line {number}: {shown!r} is not chrom, start, end, value of a bedGraph"
            ) from None
        if not 0 <= start < end:
            raise InputError(f"{self.path}: line {number}: {start}-{end} is not a span of 0-based bases")
        return start, end, value

    def values(self, name: str, start: int, end: int) -> FloatArray:
        starts, ends, values = self._columns[name]
        first, last = np.searchsorted(ends, start, side="right"), np.searchsorted(starts, end, side="left")
        left = np.clip(starts[first:last], start, end) - start
        right = np.clip(ends[first:last], start, end) - start
        step = np.zeros(end - start + 1, dtype=np.int64)
        np.add.at(step, left, 1)
        np.add.at(step, right, -1)
        covered = np.cumsum(step[:-1]) > 0
        out = np.full(end - start, np.nan)
        out[covered] = np.repeat(values[first:last].astype(np.float64), right - left)
        return out


def read_bed(path: PathLike, what: str = "BED") -> dict[str, npt.NDArray[np.int64]]:
    """Spans (n, 2) of each chromosome, sorted by start; further columns are ignored.

    Raises:
        InputError: With the line, if a line is not chrom, start, end.
    """
    spans: dict[str, list[tuple[int, int]]] = {}
    with open_text(path, what) as handle:
        for number, line in enumerate(handle, 1):
            fields = line.split()
            if not fields or fields[0].startswith("#") or fields[0] in ("track", "browser"):
                continue
            try:
                start, end = int(fields[1]), int(fields[2])
            except (IndexError, ValueError):
                raise InputError(
                    f"{path}: line {number}: {line.strip()[:60]!r} is not chrom, start, end ({what})"
                ) from None
            if not 0 <= start <= end:
                raise InputError(f"{path}: line {number}: {start}-{end} is not a span of 0-based bases")
            spans.setdefault(fields[0], []).append((start, end))
    return {name: np.array(sorted(found), dtype=np.int64) for name, found in spans.items()}
