"""The part of `isoform build` that reads tracks: levels along the window of every distinct start, streamed to disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cisoform.data.isoform_dataset import SIGNAL_FILE, Chromosome, genome_windows, save_in_pieces
from cisoform.data.signal import Edges, Levels, PromoterSignal, open_tracks
from cisoform.errors import InputError
from cisoform.genome.files import PathLike, sha256_file
from cisoform.genome.tracks import TrackRow, read_track_table
from cisoform.tokens.peaks import RELEASED_EDGES

WINDOW_STEP = 128
"""Windows with tracks are a multiple of it: the bases of a bin of Elementary."""
_PIECE_ROWS = 64


@dataclass(frozen=True)
class TrackTable:
    """A table of tracks as asked for.

    Attributes:
        path: The TSV.
        rows: Its files.
        edges: Edges of each of its tracks.
    """

    path: PathLike
    rows: list[TrackRow]
    edges: Edges

    def fingerprints(self) -> dict[str, Any]:
        """Name and hash of the table and of every file of it."""
        files = [
            {"sample": row.sample, "track": row.track, "name": row.path.name, "transform": row.transform}
            | {"sha256": sha256_file(row.path)}
            for row in self.rows
        ]
        table = {"name": Path(self.path).name, "sha256": sha256_file(self.path)}
        return {"tracks": table, "signals": files}


def read_table(path: PathLike, edges: Edges | None = None, source: str = "--edges") -> TrackTable:
    """Read a table of tracks.

    Args:
        path: TSV (`genome.tracks.read_track_table`).
        edges: Edges by track; None = the published ones for all.
        source: Where `edges` are from, for messages.

    Raises:
        InputError: If the table is damaged, a file is missing, or `edges` lack a track.
    """
    rows = read_track_table(path)
    names = list(dict.fromkeys(row.track for row in rows))
    if edges is None:
        return TrackTable(path, rows, dict.fromkeys(names, RELEASED_EDGES))
    unknown = [name for name in names if name not in edges]
    if unknown:
        raise InputError(
            f"{path}: track {unknown[0]!r} is none of {source} (it has {', '.join(edges) or 'none'}); leave it out, or "
            "pre-train on it too"
        )
    return TrackTable(path, rows, {name: tuple(edges[name]) for name in names})


def check_window(window: int) -> None:
    """Refuse a window that Elementary could not read.

    Raises:
        InputError: Unless it is a multiple of 128.
    """
    if window % WINDOW_STEP:
        raise InputError(
            f"--window {window}: with --tracks it must be a multiple of {WINDOW_STEP} bases, such as "
            f"{-(-window // WINDOW_STEP) * WINDOW_STEP}"
        )


def table_signal(
    asked: TrackTable,
    transcripts: pl.DataFrame,
    chromosomes: Sequence[Chromosome],
    genome: Mapping[str, int],
    columns: Sequence[str],
) -> tuple[PromoterSignal, list[str]]:
    """Signal round the distinct starts of a table of transcripts, and what is to be said about it."""
    windows, _ = genome_windows(np.empty(0, dtype=np.uint8), chromosomes, transcripts)
    names = {chromosome.start: chromosome.name for chromosome in chromosomes}
    return open_tracks(Path(asked.path), asked.rows, windows, names, genome, columns, asked.edges)


def write_signal(
    folder: Path, signal: PromoterSignal, window: int, update: Callable[[float], None]
) -> dict[str, Any]:
    """Write `signal.npy` in pieces of some starts; returns what the manifest says of it.

    Args:
        folder: Folder of the data set.
        signal: What `table_signal` gave.
        window: Bases of the stored windows.
        update: Called with the share done.
    """
    n_starts = len(signal.source)
    shape = (n_starts, len(signal.samples), len(signal.tracks), window)
    save_in_pieces(folder / SIGNAL_FILE, np.uint8, shape, _pieces(signal, window, n_starts, update))
    edges = {name: list(values) for name, values in signal.edges.items()}
    return {"samples": list(signal.samples), "edges": edges}


def _pieces(
    signal: PromoterSignal, window: int, n_starts: int, update: Callable[[float], None]
) -> Iterator[Levels]:
    for first in range(0, n_starts, _PIECE_ROWS):
        rows = np.arange(first, min(first + _PIECE_ROWS, n_starts))
        yield np.ascontiguousarray(signal.source.levels(rows, window))
        update((first + len(rows)) / n_starts)
