"""A data set of transcripts on disk: a folder of plain arrays, one table and a manifest with their hashes.

`manifest.json`, `transcripts.parquet`, `genome.npy` (uint8 codes of the chromosomes that carry a transcript, end
to end), `rna`, `junctions` and `protein` (`.npy` and `_offsets.npy`), `expression.npy` (float32, linear) and, if
the table had columns that are no targets, `expression_extra.npy`; `signal.npy` (uint8: starts x samples x tracks x
bases of the window) if tracks were given. Large arrays are read through memory maps.
There is no time in it: the same inputs give the same bytes.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.data.samples import IsoformSamples
from cisoform.data.signal import PromoterSignal, StoredLevels
from cisoform.data.splits import SPLITS, SplitArray
from cisoform.data.windows import GenomeWindows
from cisoform.errors import InputError
from cisoform.genome.files import PathLike, read_json, sha256_file, write_json
from cisoform.genome.ragged import Ragged
from cisoform.tokens.peaks import check_edges

FORMAT = "cisoform isoform dataset"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_TABLE = "transcripts.parquet"
SIGNAL_FILE = "signal.npy"
_RAGGED = ("rna", "junctions", "protein")
_HASHED_UP_TO = 1 << 26
"""Files up to 64 MiB are hashed when a data set is opened; of larger ones the size alone is checked."""


@dataclass(frozen=True)
class Column:
    """One column of labels.

    Attributes:
        name: As in the expression table.
        level: "transcript", or "gene" where every transcript of a gene carries the gene's label.
        unit: Unit of the linear scale.
    """

    name: str
    level: Literal["transcript", "gene"] = "transcript"
    unit: str = "tpm"


@dataclass(frozen=True)
class Chromosome:
    """Where a chromosome lies in the array of all of them."""

    name: str
    start: int
    length: int


@dataclass(frozen=True)
class IsoformDataset:
    """Samples with labels and split.

    Attributes:
        path: The folder.
        samples: The transcripts.
        expression: Linear expression `(n, columns)`, NaN = missing.
        columns: What the columns of `expression` are: the targets.
        extra_expression: Columns of the table that are no targets (replicates), `(n, extra_columns)`.
        extra_columns: What they are.
        split: "train", "valid" or "test" of each transcript.
        family: Family of each transcript; its gene id where no families are known.
        chromosomes: Where each chromosome lies in the genome array.
        window: DNA window the data set was built for, bases; any other can be cut too.
        manifest: The manifest as read.
        hash: SHA-256 over all content.
    """

    path: Path
    samples: IsoformSamples
    expression: npt.NDArray[np.float32]
    columns: list[Column]
    extra_expression: npt.NDArray[np.float32]
    extra_columns: list[Column]
    split: SplitArray
    family: list[str]
    chromosomes: list[Chromosome]
    window: int
    manifest: dict[str, Any]
    hash: str

    @classmethod
    def open(cls, path: PathLike) -> IsoformDataset:
        """Open a data set for reading.

        Raises:
            InputError: If it is no data set, of another format version, or a file is missing or changed.
        """
        return _open(Path(path))

    def rows(self, split: str) -> npt.NDArray[np.int64]:
        """Rows of "train", "valid", "test" or "all", in the order of the data set.

        Raises:
            InputError: If the name is none of these.
        """
        if split == "all":
            return np.arange(self.samples.n)
        if split not in SPLITS:
            raise InputError(f"split {split!r} is none of {', '.join(SPLITS)}, all")
        return np.flatnonzero(self.split == split)

    def column_index(self, name: str) -> int:
        """Position of a column in `expression`.

        Raises:
            InputError: If there is none of this name, with the near ones.
        """
        return find_column(name, [column.name for column in self.columns], f"data set {self.path}")


def find_column(name: str, names: Sequence[str], where: str) -> int:
    """Position of a tissue (column) by name.

    Raises:
        InputError: If there is none, with near or available names.
    """
    if name in names:
        return list(names).index(name)
    near = difflib.get_close_matches(name, names, n=3) or list(names)[:10]
    raise InputError(f"{where} has no tissue (column) {name!r}; perhaps {', '.join(near)}?")


def genome_windows(
    codes: npt.NDArray[np.uint8], chromosomes: Iterable[Chromosome], table: pl.DataFrame
) -> tuple[GenomeWindows, npt.NDArray[np.int32]]:
    """Distinct starts of a table's transcripts as a source of windows, and the row of each transcript in it.

    Args:
        codes: All chromosomes end to end.
        chromosomes: Where each lies.
        table: Columns `chrom`, `strand` and `tss` (0-based position of the first transcribed base).
    """
    placed = {chromosome.name: chromosome for chromosome in chromosomes}
    names = table["chrom"].to_list()
    start = np.array([placed[name].start for name in names], dtype=np.int64)
    length = np.array([placed[name].length for name in names], dtype=np.int64)
    minus = (table["strand"] == "-").to_numpy()
    key = 2 * (start + table["tss"].to_numpy()) + minus
    distinct, first, row = np.unique(key, return_index=True, return_inverse=True)
    windows = GenomeWindows(codes, distinct // 2, distinct % 2 == 1, start[first], (start + length)[first])
    return windows, row.astype(np.int32)


def write_dataset(
    folder: Path,
    samples: IsoformSamples,
    expression: npt.NDArray[np.float32],
    columns: Sequence[Column],
    extra_expression: npt.NDArray[np.float32],
    extra_columns: Sequence[Column],
    chromosomes: Sequence[Chromosome],
    window: int,
    provenance: dict[str, Any],
    signal: dict[str, Any] | None = None,
) -> str:
    """Fill a folder in which `genome.npy` stands already, and `signal.npy` if there are tracks; the manifest last.

    Args:
        folder: An existing folder, not yet under its final name.
        samples: The transcripts; their table holds `split` and `family_id`.
        expression: Targets.
        columns: What they are.
        extra_expression: Columns that are no targets.
        extra_columns: What they are.
        chromosomes: What lies where in `genome.npy`.
        window: Default DNA window, bases.
        provenance: Inputs and settings, written to the manifest as they are.
        signal: Samples, tracks and edges of `signal.npy`; None = there is none.

    Returns:
        The hash of the content.
    """
    table = samples.table.with_columns(
        pl.Series("protein_row", samples.protein_row), pl.Series("cds_phase", samples.cds_phase)
    )
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    _write_bytes(folder / _TABLE, [buffer.getbuffer()])
    for name in _RAGGED:
        ragged: Ragged | None = getattr(samples, name)
        if ragged is None:
            ragged = Ragged(np.empty(0, np.uint8), np.zeros(1, np.int64))
        _save(folder / f"{name}.npy", ragged.data)
        _save(folder / f"{name}_offsets.npy", ragged.offsets)
    _save(folder / "expression.npy", expression.astype(np.float32))
    if extra_columns:
        _save(folder / "expression_extra.npy", extra_expression.astype(np.float32))
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "window": window,
        "n_transcripts": samples.n,
        "columns": [asdict(column) for column in columns],
        "extra_columns": [asdict(column) for column in extra_columns],
        "chromosomes": [asdict(chromosome) for chromosome in chromosomes],
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
            for file in sorted(folder.iterdir())
            if file.name != MANIFEST
        },
    }
    if signal is not None:
        content["signal"] = signal
    digest = _content_hash(content)
    write_json(folder / MANIFEST, {**content, "hash": digest, **provenance})
    return digest


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    """As `numpy.save`, which loses the reason (a full disk) when a write fails."""
    save_in_pieces(path, array.dtype, array.shape, [np.ascontiguousarray(array)])


def save_in_pieces(
    path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], pieces: Iterable[npt.NDArray[Any]]
) -> None:
    """Write a `.npy` file whose content comes in pieces, so that the whole is never in memory.

    Args:
        path: File to write.
        dtype: Type of the array.
        shape: Shape of the array.
        pieces: Its content in C order.
    """
    header = io.BytesIO()
    description = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(
        header, {"descr": description, "fortran_order": False, "shape": shape}
    )
    _write_bytes(
        path, itertools.chain([header.getbuffer()], (piece.data.cast("B") for piece in pieces if piece.size))
    )


def _write_bytes(path: Path, pieces: Iterable[memoryview]) -> None:
    with path.open("wb") as handle:
        for piece in pieces:
            handle.write(piece)


_HASHED_KEYS = (
    *("format", "format_version", "window", "n_transcripts"),
    *("columns", "extra_columns", "chromosomes", "files"),
)


def _content_hash(manifest: dict[str, Any]) -> str:
    content = {key: manifest[key] for key in (*_HASHED_KEYS, "signal") if key in manifest}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(path: PathLike) -> dict[str, Any]:
    """The manifest of a data set folder, after checking that this package can read it.

    Raises:
        InputError: If the folder is no data set, or of another format version, or the manifest was edited.
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        what = "is not a data set (no manifest.json)" if folder.exists() else "no such data set"
        raise InputError(f"{folder}: {what}; make one with `cisoform isoform build`")
    manifest = read_json(folder / MANIFEST, "data set manifest")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise InputError(f"{folder}: manifest.json has format {found!r}, expected {FORMAT!r}")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{folder}: data set format {manifest.get('format_version')!r} was written by another version of "
            f"cisoform; this one reads format {FORMAT_VERSION}: build the data set again"
        )
    missing = [key for key in (*_HASHED_KEYS, "hash") if key not in manifest]
    if missing:
        raise InputError(f"{folder}: manifest.json lacks {missing[0]!r}; build the data set again")
    if _content_hash(manifest) != manifest["hash"]:
        raise InputError(f"{folder}: manifest.json does not fit its own hash; build the data set again")
    return manifest


def _check_files(folder: Path, manifest: dict[str, Any]) -> None:
    for name, expected in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise InputError(f"{file}: missing from the data set; build the data set again")
        size = file.stat().st_size
        if size != expected["bytes"]:
            raise InputError(
                f"{file}: {size} bytes where the manifest says {expected['bytes']}; build the data set again"
            )
        if size <= _HASHED_UP_TO and sha256_file(file) != expected["sha256"]:
            raise InputError(f"{file}: changed since it was written (SHA-256); build the data set again")


def _open(folder: Path) -> IsoformDataset:
    manifest = read_manifest(folder)
    _check_files(folder, manifest)
    table = pl.read_parquet(folder / _TABLE)
    chromosomes = [Chromosome(**entry) for entry in manifest["chromosomes"]]
    ragged = {
        name: Ragged(_map(folder / f"{name}.npy"), np.load(folder / f"{name}_offsets.npy"))
        for name in _RAGGED
    }
    dna, dna_row = genome_windows(_map(folder / "genome.npy"), chromosomes, table)
    samples = IsoformSamples(
        transcript_ids=table["transcript_id"].to_list(),
        gene_ids=table["gene_id"].to_list(),
        table=table.drop("protein_row", "cds_phase"),
        dna=dna,
        dna_row=dna_row,
        rna=ragged["rna"],
        rna_row=np.arange(len(table), dtype=np.int32),
        junctions=ragged["junctions"],
        cds_start=table["cds_start"].to_numpy(),
        cds_end=table["cds_end"].to_numpy(),
        cds_phase=table["cds_phase"].to_numpy(),
        protein=ragged["protein"],
        protein_row=table["protein_row"].to_numpy(),
        signal=_signal(folder, manifest, len(dna)),
    )
    extra_columns = [Column(**entry) for entry in manifest["extra_columns"]]
    return IsoformDataset(
        path=folder,
        samples=samples,
        expression=_map(folder / "expression.npy"),
        columns=[Column(**entry) for entry in manifest["columns"]],
        extra_expression=_map(folder / "expression_extra.npy")
        if extra_columns
        else np.empty((len(table), 0), dtype=np.float32),
        extra_columns=extra_columns,
        split=table["split"].to_numpy().astype("U5"),
        family=table["family_id"].to_list(),
        chromosomes=chromosomes,
        window=manifest["window"],
        manifest=manifest,
        hash=manifest["hash"],
    )


def _signal(folder: Path, manifest: dict[str, Any], n_starts: int) -> PromoterSignal | None:
    about = manifest.get("signal")
    if about is None:
        return None
    values = _map(folder / SIGNAL_FILE)
    samples, edges = tuple(about["samples"]), {name: check_edges(cut) for name, cut in about["edges"].items()}
    if values.ndim != 4 or values.shape[:3] != (n_starts, len(samples), len(edges)):
        raise InputError(
            f"{folder / SIGNAL_FILE}: holds {values.shape}, but there are {n_starts} starts, {len(samples)} samples "
            f"and {len(edges)} tracks; build the data set again"
        )
    return PromoterSignal(StoredLevels(values), samples, tuple(edges), edges)


def _map(path: Path) -> npt.NDArray[Any]:
    """A read-only memory map, as a plain array (slices of `np.memmap` are slow); empty files are read."""
    if path.stat().st_size < 4096:
        return np.asarray(np.load(path, allow_pickle=False))
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
