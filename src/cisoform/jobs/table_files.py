"""Tables that are written in parts, so that they never are in memory whole; the final name holds the whole table."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from cisoform.errors import InputError
from cisoform.genome.files import atomic_write, write_error

SUFFIXES = (".tsv", ".parquet")


def check_table_path(option: str, path: Path, overwrite: bool) -> None:
    """Refuse, before any work, a table that could not be written.

    Raises:
        InputError: For an unknown ending, a missing folder, or a file that is there.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{option} {path}: ends in {path.suffix!r}; use one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: its folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise InputError(f"{option} {path}: is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise InputError(f"{option} {path}: exists already; give another name or --overwrite")


@contextlib.contextmanager
def table_parts(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yields `append(part)`; all parts have the same columns. .parquet, else TSV with six decimals.

    Raises:
        InputError: If the table cannot be written.
    """
    write = _parquet_parts if path.suffix == ".parquet" else _tsv_parts
    with write(path) as append:
        yield append


@contextlib.contextmanager
def _tsv_parts(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    with atomic_write(path, "wb") as handle:
        first = True

        def append(part: pl.DataFrame) -> None:
            nonlocal first
            part.write_csv(
                handle, separator="\t", float_precision=6, include_header=first, quote_style="never"
            )
            first = False

        yield append


@contextlib.contextmanager
def _parquet_parts(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    try:
        scratch = tempfile.TemporaryDirectory(prefix=f".{path.name}.parts-", dir=path.parent)
    except OSError as error:
        raise write_error(path, error) from None
    with scratch as folder:
        parts: list[Path] = []

        def append(part: pl.DataFrame) -> None:
            parts.append(Path(folder) / f"{len(parts)}.parquet")
            part.write_parquet(parts[-1])

        yield append
        whole = Path(folder) / "whole.parquet"
        pl.scan_parquet(parts).sink_parquet(whole)
        whole.replace(path)
