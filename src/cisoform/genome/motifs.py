"""Motifs of transcription factors: MEME, JASPAR and HOCOMOCO files in, hits on windows out.

A motif is a matrix of base probabilities. Its score at a place is the sum of log2(probability / background); a hit
scores at least as much as a random sequence does with the probability `p_value` (the exact distribution, by
`lightmotif`). Both strands are scanned; a place with an unknown base (N) is never a hit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.errors import InputError
from cisoform.genome.files import PathLike, open_text
from cisoform.genome.hocomoco import is_hocomoco, read_hocomoco
from cisoform.genome.sequence import decode_dna

UNIFORM: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)
PSEUDOCOUNT = 0.1
"""Counts added to a column, shared by the background: FIMO's default."""
SITES_UNKNOWN = 20.0
"""Sites behind a matrix of a MEME file that does not say (`nsites`): MEME's default."""
P_VALUE = 1e-4

Matrix = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Columns = tuple[npt.NDArray[Any], ...]
Numbered = tuple[int, str]


@dataclass(frozen=True)
class Motif:
    """One motif.

    Attributes:
        name: Its id in the file.
        tf: The factor: the alternate name of the file, else the first part of the id (HOCOMOCO). Of a dimer
            (`A::B`) both names.
        probability: Base probabilities (width, 4), columns A, C, G, T, each row summing to 1.
        n_sites: Sites that they were counted from.
        background: Of the file.
    """

    name: str
    tf: str
    probability: Matrix
    n_sites: float = SITES_UNKNOWN
    background: tuple[float, ...] = UNIFORM

    @property
    def width(self) -> int:
        """Bases."""
        return len(self.probability)

    @property
    def tfs(self) -> tuple[str, ...]:
        """The factor, or the partners of a dimer."""
        return tuple(self.tf.split("::"))

    def log_odds(self) -> Matrix:
        """log2 of probability over background (width, 4), with the pseudocount."""
        background = np.array(self.background)
        counts = self.probability * self.n_sites + PSEUDOCOUNT * background
        found: Matrix = np.log2(counts / (self.n_sites + PSEUDOCOUNT) / background)
        return found


@dataclass(frozen=True)
class MotifHits:
    """Places where motifs match, sorted by window, start, motif and strand; all arrays of one length.

    Attributes:
        window: Row of the window.
        motif: Index of the motif.
        start: First base of the match in the window; it ends at `start + width of the motif`.
        strand: 1 or -1.
        score: Log-odds in bits.
    """

    window: Ints
    motif: Ints
    start: Ints
    strand: npt.NDArray[np.int8]
    score: npt.NDArray[np.float32]
    widths: Ints = field(repr=False)

    def __len__(self) -> int:
        return len(self.window)

    @property
    def end(self) -> Ints:
        """Base behind each match."""
        return np.asarray(self.start + self.widths[self.motif])

    def near(self, windows: Ints, length: int, flank: int) -> npt.NDArray[np.bool_]:
        """Bases (len(windows), length) within `flank` of the middle of a hit.

        Args:
            windows: Distinct rows of windows, ascending.
            length: Bases of a window.
            flank: On either side of the middle base.
        """
        found = np.zeros((len(windows), length), dtype=bool)
        place = np.searchsorted(windows, self.window)
        middle = (self.start + self.end) // 2
        base = np.arange(length)
        for row, window, mid in zip(place.tolist(), self.window.tolist(), middle.tolist(), strict=True):
            if row < len(windows) and windows[row] == window:
                found[row] |= np.abs(base - mid) <= flank
        return found


def read_motifs(path: PathLike) -> list[Motif]:
    """Motifs of a file, gzip or not: MEME (version 4 or later), JASPAR (`>id name` and four rows of counts) or
    HOCOMOCO (`>id` and a row of four counts or frequencies for every position).

    Raises:
        InputError: With the line: no motif format, a matrix that is cut short or holds something else, rows that do
            not sum to 1, an alphabet other than ACGT, an id that stands twice.
    """
    with open_text(path, "motif file") as handle:
        lines = [(number, line.strip()) for number, line in enumerate(handle, 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        raise InputError(f"{path}: holds no motif; expected MEME or JASPAR matrices")
    number, first = lines[0]
    if first.startswith("MEME version"):
        motifs = list(_meme(path, lines[1:]))
    elif first.startswith(">") and is_hocomoco(lines):
        motifs = [
            Motif(name, _factor(name, ""), matrix, sites or SITES_UNKNOWN)
            for name, matrix, sites in read_hocomoco(path, lines)
        ]
    elif first.startswith(">"):
        motifs = list(_jaspar(path, lines))
    else:
        raise InputError(
            f"{path}: line {number}: {first[:40]!r} begins neither a MEME file (`MEME version 4`) nor a JASPAR "
            "matrix (`>id name`)"
        )
    if not motifs:
        raise InputError(f"{path}: holds no motif; it has a header alone")
    seen: set[str] = set()
    for motif in motifs:
        if motif.name in seen:
            raise InputError(f"{path}: motif {motif.name!r} stands twice; remove one of them")
        seen.add(motif.name)
    return motifs


def motifs_of(motifs: Sequence[Motif], tf: str, where: str) -> list[int]:
    """Indices of the motifs of a factor (dimers it is part of included), or the motif of that id.

    Args:
        motifs: To choose from.
        tf: Name of a factor, or id of a motif.
        where: Their file, for the message.

    Raises:
        InputError: If there is none, with near matches.
    """
    found = [index for index, motif in enumerate(motifs) if tf in (motif.name, motif.tf, *motif.tfs)]
    if not found:
        known = sorted({name for motif in motifs for name in (motif.name, motif.tf, *motif.tfs)})
        near = [name for name in known if name.upper() == tf.upper()]
        near = near or difflib.get_close_matches(tf, known, n=3, cutoff=0.6)
        mean = f"; did you mean {', '.join(near)}?" if near else "; give its matrix in another --motifs file"
        raise InputError(f"{tf!r} has no motif in {where} ({len(motifs):,} motifs){mean}")
    return found


def scan(motifs: Sequence[Motif], windows: npt.NDArray[np.uint8], p_value: float = P_VALUE) -> MotifHits:
    """Hits of motifs on both strands of windows.

    Args:
        motifs: What to look for.
        windows: Base codes (n, bases), A0 C1 G2 T3 N4.
        p_value: Chance that one place of random sequence on one strand is a hit.

    Raises:
        ValueError: If the p-value is not between 0 and 1.
    """
    from lightmotif import lib

    if not 0 < p_value < 1:
        raise ValueError(f"p_value={p_value} must be between 0 and 1")
    n, length = windows.shape
    striped = lib.stripe(decode_dna(np.ascontiguousarray(windows).reshape(-1))) if n else None
    found: list[Columns] = []
    for index, motif in enumerate(motifs):
        if striped is None or motif.width > length:
            continue
        odds = motif.log_odds()
        forward = _scoring(odds, motif.background)
        threshold = forward.score(p_value)
        for strand, matrix in ((1, forward), (-1, _scoring(odds[::-1, ::-1], motif.background))):
            hits = [(hit.position, hit.score) for hit in lib.scan(matrix, striped, threshold=threshold)]
            place = np.array([hit[0] for hit in hits], dtype=np.int64)
            score = np.array([hit[1] for hit in hits], dtype=np.float32)
            window, start = place // length, place % length
            # The windows lie end to end: matches over a border, or the end, are none.
            inside = (start + motif.width <= length) & (window < n)
            window, start, score = window[inside], start[inside], score[inside]
            known = ~_unknown(windows, window, start, motif.width)
            window, start, score = window[known], start[known], score[known]
            found.append((window, np.full(len(window), index), start, np.full(len(window), strand), score))
    widths = np.array([motif.width for motif in motifs], dtype=np.int64)
    return _sorted(found, widths)


def _unknown(windows: npt.NDArray[np.uint8], window: Ints, start: Ints, width: int) -> npt.NDArray[np.bool_]:
    """Whether the matches touch a base that is not known."""
    bases = windows[window[:, None], start[:, None] + np.arange(width)]
    found: npt.NDArray[np.bool_] = (bases > 3).any(axis=1)
    return found


def _scoring(odds: Matrix, background: tuple[float, ...]) -> Any:
    from lightmotif import lib

    values = {base: odds[:, column].tolist() for column, base in enumerate("ACGT")}
    return lib.ScoringMatrix(values, dict(zip("ACGT", background, strict=True)))


def _sorted(found: list[Columns], widths: Ints) -> MotifHits:
    columns = [np.concatenate(part) for part in zip(*found, strict=True)] if found else [np.empty(0)] * 5
    window, motif, start, strand, score = columns
    order = np.lexsort((-strand, motif, start, window))
    return MotifHits(
        window=window[order].astype(np.int64),
        motif=motif[order].astype(np.int64),
        start=start[order].astype(np.int64),
        strand=strand[order].astype(np.int8),
        score=score[order].astype(np.float32),
        widths=widths,
    )


def _meme(path: PathLike, lines: Sequence[Numbered]) -> Iterator[Motif]:
    background, name, tf = UNIFORM, None, ""
    rest = iter(lines)
    for number, line in rest:
        where = f"{path}: line {number}"
        if line.upper().startswith("ALPHABET") and line.split("=")[-1].strip().upper() != "ACGT":
            raise InputError(f"{where}: {line!r}: the motifs are not of DNA (ACGT)")
        if line.startswith("Background letter frequencies"):
            background = _background(path, rest, number)
        elif line.startswith("MOTIF"):
            fields = line.split()
            if len(fields) < 2:
                raise InputError(f"{where}: MOTIF without a name; expected `MOTIF id [name]`")
            name = fields[1]
            tf = _factor(name, fields[2] if len(fields) > 2 else "")
        elif line.startswith("letter-probability matrix"):
            if name is None:
                raise InputError(f"{where}: a matrix without a MOTIF line before it")
            yield _meme_matrix(path, rest, (number, line), name, tf, background)
            name = None
    if name is not None:
        raise InputError(f"{path}: motif {name!r} has no letter-probability matrix; the file is cut short")


def _background(path: PathLike, rest: Iterator[Numbered], number: int) -> tuple[float, ...]:
    at, line = next(rest, (number, ""))
    found = re.findall(r"([ACGTacgt])\s+([\d.eE+-]+)", line)
    values = {base.upper(): _number(path, at, text) for base, text in found}
    if sorted(values) != ["A", "C", "G", "T"] or min(values.values()) <= 0:
        raise InputError(
            f"{path}: line {at}: {line[:40]!r} does not give positive frequencies of A, C, G and T"
        )
    total = sum(values.values())
    return tuple(values[base] / total for base in "ACGT")


def _meme_matrix(
    path: PathLike,
    rest: Iterator[Numbered],
    header: Numbered,
    name: str,
    tf: str,
    background: tuple[float, ...],
) -> Motif:
    number, line = header
    about = dict(re.findall(r"(\w+)=\s*(\S+)", line))
    width = int(_number(path, number, about.get("w", "?")))
    sites = _number(path, number, about.get("nsites", str(SITES_UNKNOWN))) or SITES_UNKNOWN
    rows: list[list[float]] = []
    for _ in range(width):
        number, line = next(rest, (number, ""))
        fields = line.split()
        if len(fields) != 4:
            raise InputError(
                f"{path}: line {number}: motif {name!r}: {line[:40]!r} is not a row of 4 probabilities "
                f"(row {len(rows) + 1} of {width})"
            )
        rows.append([_number(path, number, text) for text in fields])
        if min(rows[-1]) < 0:
            raise InputError(
                f"{path}: line {number}: motif {name!r}: probability {min(rows[-1]):g} is below 0"
            )
        if abs(sum(rows[-1]) - 1) > 0.02:
            raise InputError(
                f"{path}: line {number}: motif {name!r}: probabilities sum to {sum(rows[-1]):g}, not to 1"
            )
    if not rows:
        raise InputError(f"{path}: line {number}: motif {name!r} has a width of {width}")
    matrix = np.array(rows)
    return Motif(name, tf, matrix / matrix.sum(axis=1, keepdims=True), sites, background)


def _jaspar(path: PathLike, lines: Sequence[Numbered]) -> Iterator[Motif]:
    starts = [row for row, (_, line) in enumerate(lines) if line.startswith(">")]
    for first, last in zip(starts, [*starts[1:], len(lines)], strict=True):
        number, header = lines[first]
        fields = header[1:].split(maxsplit=1)
        if not fields:
            raise InputError(f"{path}: line {number}: '>' without an id")
        name = fields[0]
        if last - first != 5:
            raise InputError(
                f"{path}: line {number}: motif {name!r} has {last - first - 1} rows of counts, expected 4 (A, C, G, T)"
            )
        counts = np.array(list(_jaspar_rows(path, lines[first + 1 : last], name)))
        total = counts.sum(axis=0)
        if (counts < 0).any() or (total <= 0).any():
            raise InputError(f"{path}: line {number}: motif {name!r} has a position without positive counts")
        tf = _factor(name, fields[1].strip() if len(fields) > 1 else "")
        yield Motif(name, tf, (counts / total).T, float(total.max()))


def _jaspar_rows(path: PathLike, lines: Sequence[Numbered], name: str) -> Iterator[list[float]]:
    width = None
    for (number, line), base in zip(lines, "ACGT", strict=True):
        fields = line.replace("[", " ").replace("]", " ").split()
        if fields and fields[0].isalpha():
            if fields[0].upper() != base:
                raise InputError(
                    f"{path}: line {number}: motif {name!r}: row of {fields[0]!r}, expected {base}"
                )
            fields = fields[1:]
        width = len(fields) if width is None else width
        if len(fields) != width or not width:
            raise InputError(
                f"{path}: line {number}: motif {name!r}: {len(fields)} counts, the row of A has {width}"
            )
        yield [_number(path, number, text) for text in fields]


def _factor(name: str, alternate: str) -> str:
    """Name of the factor; JASPAR's MEME files repeat the id before it, HOCOMOCO's have it in the id alone."""
    if alternate:
        return alternate.removeprefix(f"{name}.")
    return re.split(r"_HUMAN|_MOUSE|\.", name)[0] or name


def _number(path: PathLike, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"{path}: line {line}: {text[:20]!r} is not a number")
    return value
