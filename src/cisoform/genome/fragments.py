"""Tn5 cut sites of cells from a `fragments.tsv.gz` (10x, SnapATAC2, ArchR): both ends of every fragment.

The file is read once from front to back, so it needs neither an index nor an order; line ends may be of any kind.
A fragment is chrom, start, end (0-based half-open, already shifted to the cuts), barcode and a number of duplicates
that is not used: PCR copies are one fragment. Its cuts are at `start` and `end - 1`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, is_gzip, open_binary, require_file
from cisoform.genome.multiome import BARCODE_RULES, MIN_OVERLAP
from cisoform.genome.names import map_chromosomes

WHAT = "fragments"
_BLOCK_BYTES = 16 << 20
_COLUMNS = ("chrom", "start", "end", "barcode")
_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@dataclass(frozen=True)
class Cuts:
    """Cut sites of wanted cells, in file order: two per fragment.

    Attributes:
        cell: Number of the cell.
        chrom: Number of the chromosome in the genome.
        position: Base of the cut.
    """

    cell: npt.NDArray[np.int32]
    chrom: npt.NDArray[np.int32]
    position: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.position)


class FragmentScan:
    """One pass over a fragments file for some cells. Read `blocks` to the end, then `check`.

    Attributes:
        n_fragments: Fragments read so far.
        n_kept: Those of wanted cells on chromosomes of the genome.
        per_cell: Their number in each cell.
        unknown_chroms: Chromosomes that the genome lacks, and their fragments.
    """

    def __init__(self, path: PathLike, cells: Sequence[str], chroms: Mapping[str, int]) -> None:
        """Prepare the pass.

        Args:
            path: The file, gzip or not.
            cells: Barcodes of the wanted cells.
            chroms: Length of every chromosome of the genome, in order.

        Raises:
            InputError: If the file is missing or empty, or a bgzip file without its end.
        """
        self.path = require_file(path, WHAT)
        _require_end(self.path)
        self.cells = list(cells)
        self.n_fragments = self.n_kept = 0
        self.per_cell = np.zeros(len(cells), dtype=np.int64)
        self.unknown_chroms: dict[str, int] = {}
        self._chroms = dict(chroms)
        self._lengths = np.array([*chroms.values(), 0], dtype=np.int64)
        self._order = {name: index for index, name in enumerate(chroms)}
        self._chrom_of: dict[str, int] = {}
        self._cell_of: dict[str, int] = {}
        self._rule: tuple[str, Callable[[str], str], dict[str, int]] | None = None

    def blocks(self) -> Iterator[Cuts]:
        """The cuts, a block of lines at a time.

        Raises:
            InputError: At a line that is no fragment, or one beyond the end of its chromosome (with the line); if
                the file is truncated.
        """
        line = 1
        with open_binary(self.path, WHAT) as handle:
            rest = b""
            while True:
                chunk = handle.read(_BLOCK_BYTES)
                text = rest + chunk
                cut = len(text) if not chunk else text.rfind(b"\n") + 1
                block, rest = text[:cut], text[cut:]
                if block:
                    yield self._block(block, line)
                    line += block.count(b"\n")
                if not chunk:
                    return

    def _block(self, block: bytes, line: int) -> Cuts:
        table = _parse(block, line, self.path)
        self.n_fragments += table.height
        chrom = self._codes(table["chrom"], self._chrom_of, self._new_chrom)
        start, end = table["start"].to_numpy(), table["end"].to_numpy()
        wrong = (start < 0) | (end <= start) | ((chrom >= 0) & (end > self._lengths[chrom]))
        if wrong.any():
            self._refuse(block, line, int(np.flatnonzero(wrong)[0]), table)
        barcodes = table["barcode"]
        if self._rule is None:
            self._rule = _choose_rule(barcodes.unique(maintain_order=True).to_list(), self.cells)
        cell = self._codes(barcodes, self._cell_of, self._new_barcode)
        for name, count in table["chrom"].filter(pl.Series(chrom < 0)).value_counts().iter_rows():
            self.unknown_chroms[name] = self.unknown_chroms.get(name, 0) + count
        keep = (cell >= 0) & (chrom >= 0)
        cell, chrom, start, end = cell[keep], chrom[keep], start[keep], end[keep]
        self.n_kept += len(cell)
        self.per_cell += np.bincount(cell, minlength=len(self.cells))
        return Cuts(
            np.repeat(cell, 2).astype(np.int32),
            np.repeat(chrom, 2).astype(np.int32),
            np.stack([start, end - 1], axis=1).ravel(),
        )

    def _codes(
        self, names: pl.Series, known: dict[str, int], new: Callable[[str], int]
    ) -> npt.NDArray[np.int64]:
        """Number of each name; names that are met first are looked up once."""
        distinct = names.unique(maintain_order=True).to_list()
        for name in distinct:
            if name not in known:
                known[name] = new(name)
        codes = pl.DataFrame({"name": distinct, "code": [known[name] for name in distinct]})
        joined = pl.DataFrame({"name": names}).join(codes, on="name", how="left", maintain_order="left")
        return joined["code"].to_numpy().astype(np.int64)

    def _new_chrom(self, name: str) -> int:
        try:
            return self._order[map_chromosomes([name], self._chroms).names[name]]
        except InputError:
            return -1

    def _new_barcode(self, name: str) -> int:
        assert self._rule is not None
        return self._rule[2].get(self._rule[1](name), -1)

    def _refuse(self, block: bytes, line: int, row: int, table: pl.DataFrame) -> None:
        chrom, start, end = table.select("chrom", "start", "end").row(row)
        at = f"{self.path}: line {line + _line_of_row(block, row)}: fragment {chrom}:{start}-{end}"
        if start < 0 or end <= start:
            raise InputError(
                f"{at} ends before it starts; is this a fragments file (chrom, start, end, barcode)?"
            )
        length = self._lengths[self._chrom_of[chrom]]
        raise InputError(
            f"{at} lies beyond the end of its chromosome ({length:,} bases); fragments and genome are of different "
            "assemblies"
        )

    def check(self, least: float = MIN_OVERLAP) -> str:
        """State what was found, after the last block.

        Args:
            least: Smallest share of the cells (or of the file's barcodes, if those are fewer) that must be found.

        Raises:
            InputError: If no chromosome is the genome's, or too few cells have fragments.
        """
        if not self.n_fragments:
            raise InputError(f"{self.path}: holds no fragment")
        if all(code < 0 for code in self._chrom_of.values()):
            found, known = list(self._chrom_of)[:3], list(self._chroms)[:3]
            raise InputError(
                f"{self.path}: no chromosome of the fragments ({', '.join(found)}) is in the genome "
                f"({', '.join(known)})"
            )
        n_found = len({code for code in self._cell_of.values() if code >= 0})
        share = n_found / max(1, min(len(self.cells), len(self._cell_of)))
        if share < least:
            raise InputError(
                f"{self.path}: only {share:.0%} of the barcodes agree with the cells; fragments have "
                f"{', '.join(list(self._cell_of)[:3])}, cells are {', '.join(self.cells[:3])}; are the files "
                "of the same cells?"
            )
        rule = self._rule[0] if self._rule else ""
        text = f"{self.n_kept:,} of {self.n_fragments:,} fragments are of {n_found:,} of {len(self.cells):,} cells"
        text += f", barcodes taken {rule}"
        if self.unknown_chroms:
            lost = sum(self.unknown_chroms.values())
            text += (
                f"; {lost:,} on chromosomes not in the genome ({', '.join(list(self.unknown_chroms)[:3])})"
            )
        return text


def _choose_rule(
    barcodes: Sequence[str], cells: Sequence[str]
) -> tuple[str, Callable[[str], str], dict[str, int]]:
    """The rule under which most of the first barcodes are cells, the plainest of equals."""
    best: tuple[str, Callable[[str], str], dict[str, int]] | None = None
    most = -1
    for name, rule in BARCODE_RULES:
        place = {rule(cell): index for index, cell in enumerate(cells)}
        # A rule under which barcodes of the file fall together would join different cells.
        if len(place) < len(cells) or len({rule(barcode) for barcode in barcodes}) < len(barcodes):
            continue
        hits = sum(rule(barcode) in place for barcode in barcodes)
        if hits > most:
            best, most = (name, rule, place), hits
    assert best is not None  # the plain rule always stands: barcodes have no repeats
    return best


def _parse(block: bytes, line: int, path: Path) -> pl.DataFrame:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    first = next((row for row in block.split(b"\n", 1000) if row and not row.startswith(b"#")), b"")
    n_columns = first.count(b"\t") + 1
    names = [*_COLUMNS, *(f"column_{number}" for number in range(5, n_columns + 1))]
    schema = {name: pl.Int64 if name in ("start", "end") else pl.String for name in names}
    try:
        table = pl.read_csv(
            io.BytesIO(block),
            separator="\t",
            has_header=False,
            comment_prefix="#",
            quote_char=None,
            schema=schema,
            truncate_ragged_lines=True,
        ).select(_COLUMNS)
    except (pl.exceptions.PolarsError, ValueError):
        raise _bad_line(block, line, path) from None
    if sum(table.null_count().row(0)):
        raise _bad_line(block, line, path)
    return table


def _bad_line(block: bytes, line: int, path: Path) -> InputError:
    """The first line that is no fragment."""
    for number, row in enumerate(block.decode(errors="replace").split("\n"), line):
        if row.startswith("#") or not row:
            if not row.strip() and number < line + block.count(b"\n"):
                return InputError(f"{path}: line {number}: is empty; remove it")
            continue
        fields = row.split("\t")
        if len(fields) < len(_COLUMNS):
            return InputError(
                f"{path}: line {number}: {row[:40]!r} has {len(fields)} tab-separated columns; expected chrom, start, "
                "end, barcode (is the file truncated?)"
            )
        for value in fields[1:3]:
            if not value.lstrip("-").isdigit():
                return InputError(
                    f"{path}: line {number}: position {value!r} is not a whole number; is this a fragments file?"
                )
        if not fields[3]:
            return InputError(f"{path}: line {number}: has no barcode")
    return InputError(
        f"{path}: lines from {line} on cannot be read as fragments (chrom, start, end, barcode)"
    )


def _line_of_row(block: bytes, row: int) -> int:
    """Lines before a row of the table, comments counted."""
    done = -1
    for number, text in enumerate(block.split(b"\n")):
        done += not text.startswith(b"#")
        if done == row:
            return number
    return row


def _require_end(path: Path) -> None:
    """A bgzip file ends with an empty block; without it whole blocks may have been cut off."""
    if not is_gzip(path):
        return
    with path.open("rb") as handle:
        head = handle.read(18)
        if len(head) < 18 or not head[3] & 4 or head[12:14] != b"BC":
            return
        handle.seek(-min(len(_BGZIP_END), path.stat().st_size), io.SEEK_END)
        if handle.read() != _BGZIP_END:
            raise InputError(f"{path}: the bgzip end marker is missing; the file is truncated, copy it again")
