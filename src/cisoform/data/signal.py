"""Signal levels of epigenome tracks along the DNA windows of transcripts, for every sample (cell type).

Level i of a window belongs to its 6-mer i (`tokens.peaks`), so it reads in the direction of the transcript as the
bases do; ids are those of `tokens.peaks`, 0 where a track has not measured: beyond a chromosome's end, on a
chromosome that its file lacks, in a sample without the track. An expression column reads the sample of its name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from cisoform.data.windows import GenomeWindows
from cisoform.errors import InputError
from cisoform.genome.tracks import SignalTrack, TrackRow
from cisoform.tokens.peaks import SIGNAL_ABSENT, K, check_edges, signal_tokens

GENE_SUFFIX = " (gene)"
"""Added to a gene-level column that has the name of a transcript-level one."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_+-]")

IntArray = npt.NDArray[np.integer[Any]]
Levels = npt.NDArray[np.uint8]
Edges = Mapping[str, tuple[float, ...]]


@runtime_checkable
class LevelSource(Protocol):
    """Levels round distinct starts, in the order of the rows of their DNA."""

    def __len__(self) -> int: ...

    def levels(
        self, rows: IntArray, length: int, shift: IntArray | int = 0, upstream: int | None = None
    ) -> Levels:
        """Levels `(len(rows), samples, tracks, length)`; arguments as `data.windows.DnaSource.window`."""
        ...


@dataclass(frozen=True)
class PromoterSignal:
    """Levels with what their axes are.

    Attributes:
        source: The levels.
        samples: Cell types, the second axis.
        tracks: Assays, the third axis.
        edges: Edges of each track's levels.
    """

    source: LevelSource
    samples: tuple[str, ...]
    tracks: tuple[str, ...]
    edges: Edges

    def views(self, columns: Sequence[str]) -> tuple[int, ...]:
        """View that each expression column reads: 0 = the sequence alone, 1 + i = the tracks of sample i."""
        view = {name: number for number, name in enumerate(self.samples, 1)}
        return tuple(view.get(sample_name(column), 0) for column in columns)

    def take(
        self, tracks: Sequence[str], rows: IntArray, length: int, shift: IntArray | int, upstream: int | None
    ) -> Levels:
        """Levels of the named tracks in their order, 0 for one that is not here."""
        found = self.source.levels(rows, length, shift, upstream)
        if tuple(tracks) == self.tracks:
            return found
        chosen = np.full((*found.shape[:2], len(tracks), length), SIGNAL_ABSENT, dtype=np.uint8)
        for place, name in enumerate(tracks):
            if name in self.tracks:
                chosen[:, :, place] = found[:, :, self.tracks.index(name)]
        return chosen


def sample_name(column: str) -> str:
    """Name that a table of tracks gives a column: letters that it does not allow are `_`, ` (gene)` is left out."""
    return _NOT_IN_NAMES.sub("_", column.removesuffix(GENE_SUFFIX))


def check_samples(path: str | Path, samples: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse a sample that no column reads: it is more likely a slip than meant.

    Raises:
        InputError: With the nearest column's name.
    """
    known = list(dict.fromkeys(sample_name(column) for column in columns))
    for name in samples:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"they are read by {', '.join(known[:8])}"
        raise InputError(
            f"{path}: sample {name!r} is the name of no expression column, so nothing would read its tracks; {hint}"
        )


@dataclass(frozen=True)
class StoredLevels:
    """Levels in one array, for windows of up to its length with the start in the middle.

    Attributes:
        values: `(rows, samples, tracks, length)`, the start at `length // 2`.
    """

    values: Levels

    def __len__(self) -> int:
        return len(self.values)

    def levels(
        self, rows: IntArray, length: int, shift: IntArray | int = 0, upstream: int | None = None
    ) -> Levels:
        """See `LevelSource.levels`; what lies beyond the stored length is 0."""
        stored = self.values.shape[-1]
        upstream = length // 2 if upstream is None else upstream
        first = stored // 2 - upstream + np.broadcast_to(np.asarray(shift), (len(rows),))
        out = np.full((len(rows), *self.values.shape[1:3], length), SIGNAL_ABSENT, dtype=np.uint8)
        for place, (row, start) in enumerate(zip(rows.tolist(), first.tolist(), strict=True)):
            begin, end = max(start, 0), min(start + length, stored)
            if begin < end:
                out[place, :, :, begin - start : end - start] = self.values[row, :, :, begin:end]
        return out


@dataclass(frozen=True)
class TrackLevels:
    """Levels read from track files when they are asked for.

    Attributes:
        windows: The starts.
        chromosomes: Name of each of their chromosomes by its first place in `windows.codes`.
        genome: Length of every chromosome.
        table: File of each sample's tracks.
        samples: Order of the samples.
        edges: Edges of each track, in the order of the tracks.
    """

    windows: GenomeWindows
    chromosomes: Mapping[int, str]
    genome: Mapping[str, int]
    table: Sequence[TrackRow]
    samples: tuple[str, ...]
    edges: Edges

    def __len__(self) -> int:
        return len(self.windows)

    @cached_property
    def files(self) -> list[tuple[int, int, SignalTrack]]:
        """Place of the sample and of the track, and the opened file.

        Raises:
            InputError: If a file is damaged or of another assembly.
        """
        sample = {name: number for number, name in enumerate(self.samples)}
        track = {name: number for number, name in enumerate(self.edges)}
        return [
            (sample[row.sample], track[row.track], SignalTrack(row.path, self.genome, row.transform))
            for row in self.table
        ]

    def levels(
        self, rows: IntArray, length: int, shift: IntArray | int = 0, upstream: int | None = None
    ) -> Levels:
        """See `LevelSource.levels`.

        Raises:
            InputError: If a file cannot be read, or holds negative or infinite signal.
        """
        windows, span = self.windows, length + K - 1
        upstream = length // 2 if upstream is None else upstream
        moved = np.broadcast_to(np.asarray(shift), (len(rows),)) - upstream
        minus = windows.minus[rows]
        first = windows.position[rows] + np.where(minus, -moved - span + 1, moved) - windows.chrom_start[rows]
        size = (windows.chrom_end - windows.chrom_start)[rows]
        edges = list(self.edges.values())
        shape = (len(rows), len(self.samples), len(edges), length)
        out = np.full(shape, SIGNAL_ABSENT, dtype=np.uint8)
        chroms = [self.chromosomes[place] for place in windows.chrom_start[rows].tolist()]
        places = zip(chroms, first.tolist(), size.tolist(), strict=True)
        for number, (chrom, start, chrom_size) in enumerate(places):
            begin, end = max(start, 0), min(start + span, chrom_size)
            if end - begin < K:
                continue
            inside = slice(begin - start, end - start - K + 1)
            for sample, track, file in self.files:
                if chrom in file.chromosomes:
                    values, _ = file.read(chrom, begin, end)
                    out[number, sample, track, inside] = signal_tokens(values, edges[track])
        out[minus] = out[minus][..., ::-1]
        return out

    def lacking(self) -> dict[str, int]:
        """Chromosomes of starts that some file lacks, and how many files lack each."""
        used = [self.chromosomes[place] for place in np.unique(self.windows.chrom_start).tolist()]
        counts = {chrom: sum(chrom not in file.chromosomes for *_, file in self.files) for chrom in used}
        return {chrom: count for chrom, count in counts.items() if count}


@dataclass(frozen=True)
class ReadTracks:
    """What a trained model knows of the tracks it reads.

    Attributes:
        edges: Edges of the levels of each track, in the order in which the model reads them.
        samples: Samples that it was trained with.
    """

    edges: dict[str, tuple[float, ...]]
    samples: tuple[str, ...]

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names of the tracks."""
        return tuple(self.edges)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "edges": {name: list(values) for name, values in self.edges.items()},
            "samples": list(self.samples),
        }

    @classmethod
    def from_json(cls, value: Any, where: str) -> ReadTracks:
        """Read `to_json`'s form.

        Raises:
            InputError: If it is not that.
        """
        try:
            edges = {name: check_edges(values) for name, values in value["edges"].items()}
            return cls(edges, tuple(value["samples"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{where}: not a list of tracks ({error!r}); copy the model again") from None

    def check(self, signal: PromoterSignal | None, where: str | Path) -> list[str]:
        """Refuse signal that the model would misread; otherwise what is to be said about it.

        Raises:
            InputError: If a track's levels are cut at other edges.
        """
        if signal is None:
            return [
                "the model reads tracks and there are none: every column is predicted from the sequence alone"
            ]
        for name in self.tracks:
            if name in signal.edges and tuple(signal.edges[name]) != self.edges[name]:
                raise InputError(
                    f"{where}: the levels of track {name!r} are cut at other edges than the model's; build the data "
                    "with `--edges RUN` of the Elementary that the model started from"
                )
        said = []
        absent = [name for name in self.tracks if name not in signal.tracks]
        if absent:
            said.append(f"track {absent[0]!r} is not given and counts as not measured")
        lost = [name for name in self.samples if name not in signal.samples]
        if lost:
            said.append(
                f"{len(lost)} of {len(self.samples)} cell types of the training have no tracks here (the first: "
                f"{lost[0]}); their columns are predicted from the sequence alone"
            )
        return said


def open_tracks(
    path: str | Path,
    table: Sequence[TrackRow],
    windows: GenomeWindows,
    chromosomes: Mapping[int, str],
    genome: Mapping[str, int],
    columns: Sequence[str],
    edges: Edges,
) -> tuple[PromoterSignal, list[str]]:
    """Levels of the tracks of a table round the given starts, and what is to be said about them.

    Args:
        path: The table's file, for messages.
        table: Its rows.
        windows: Starts.
        chromosomes: As `TrackLevels.chromosomes`.
        genome: Length of every chromosome.
        columns: Expression columns; every sample must be one of them.
        edges: Edges of every track of the table.

    Raises:
        InputError: If a sample is no column, or a file does not fit the genome.
    """
    samples = tuple(dict.fromkeys(row.sample for row in table))
    check_samples(path, samples, columns)
    source = TrackLevels(windows, chromosomes, genome, table, samples, edges)
    said = []
    lacking = source.lacking()
    if lacking:
        chrom, count = next(iter(lacking.items()))
        said.append(
            f"{len(lacking)} chromosomes with transcripts are lacking in some track and count as not measured there "
            f"(the first: {chrom}, lacking in {count} files)"
        )
    pairs = len(samples) * len(edges)
    if len(table) < pairs:
        said.append(f"{pairs - len(table)} of {pairs} pairs of sample and track were not measured")
    return PromoterSignal(source, samples, tuple(edges), edges), said
