"""Sequences as small integers: DNA letters, amino acids, reverse complement and translation.

Bases are coded A 0, C 1, G 2, T 3 and N 4 (uint8); RNA is kept in DNA letters. Amino acids are coded 0-19 in
the order of `AMINO_ACIDS`, then X (unknown) 20, U (selenocysteine) 21 and * (stop) 22.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, UInt8

from cisoform.errors import InputError
from cisoform.genome.genetic_codes import CODON_ORDER, CONTEXT_STOPS, GENETIC_CODES

BASES = "ACGT"
BASE_N = 4
IUPAC_AMBIGUITY = "NRYSWKMBDHV"
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
AMINO_ACID_X = 20
AMINO_ACID_U = 21
AMINO_ACID_STOP = 22
_PROTEIN_LETTERS = AMINO_ACIDS + "XU*"
_INVALID = 255
_MET = AMINO_ACIDS.index("M")


def _letter_table(letters: str, also: dict[str, int]) -> bytes:
    """A 256-entry translation of ASCII to codes, in both cases of letters; `_INVALID` elsewhere."""
    table = bytearray([_INVALID]) * 256
    for letter, code in [*((letter, code) for code, letter in enumerate(letters)), *also.items()]:
        table[ord(letter)] = table[ord(letter.lower())] = code
    return bytes(table)


_DNA_TABLE = _letter_table(BASES, {"U": 3} | dict.fromkeys(IUPAC_AMBIGUITY, BASE_N))
# B, J, Z are ambiguous; O is pyrrolysine, which the amino-acid models do not tell apart.
_PROTEIN_TABLE = _letter_table(_PROTEIN_LETTERS, dict.fromkeys("BJZO", AMINO_ACID_X))
_DNA_LETTERS = np.frombuffer((BASES + "N").encode(), dtype=np.uint8)
_AA_LETTERS = np.frombuffer(_PROTEIN_LETTERS.encode(), dtype=np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, 4], dtype=np.uint8)

Letters = str | bytes | npt.NDArray[np.uint8]


def _encode(letters: Letters, table: bytes, kind: str) -> npt.NDArray[np.uint8]:
    if isinstance(letters, str):
        raw = (
            letters.encode("ascii", errors="replace").replace(b"?", b"\x00")
            if not letters.isascii()
            else letters.encode()
        )
    else:
        raw = letters.tobytes() if isinstance(letters, np.ndarray) else letters
    codes = np.frombuffer(bytearray(raw.translate(table)), dtype=np.uint8)
    if len(codes) and codes.max() == _INVALID:
        position = int(np.argmax(codes == _INVALID))
        value = letters[position] if isinstance(letters, str) else chr(raw[position])
        raise InputError(f"letter {value!r} at position {position + 1} is not {kind}")
    return codes


def encode_dna(letters: Letters) -> UInt8[np.ndarray, " bases"]:
    """Codes of DNA or RNA letters, either case: U as T, IUPAC ambiguity letters as N.

    Args:
        letters: Text, bytes, or an array of ASCII values.

    Raises:
        InputError: At any other letter (gaps and blanks included), with its 1-based position.
    """
    return _encode(letters, _DNA_TABLE, "a base (A, C, G, T, U, N or an IUPAC ambiguity letter)")


def decode_dna(codes: UInt8[np.ndarray, " bases"]) -> str:
    """Upper-case DNA letters of codes."""
    letters: npt.NDArray[np.uint8] = _DNA_LETTERS[codes]
    return letters.tobytes().decode("ascii")


def reverse_complement(codes: UInt8[np.ndarray, "*rows bases"]) -> UInt8[np.ndarray, "*rows bases"]:
    """The other strand of each row, read in its own direction; N stays N."""
    complement: npt.NDArray[np.uint8] = _COMPLEMENT[codes[..., ::-1]]
    return complement


def encode_protein(letters: Letters) -> UInt8[np.ndarray, " residues"]:
    """Codes of one-letter amino acids, either case; B, J, Z and O (pyrrolysine) become X.

    Raises:
        InputError: At any other letter, with its 1-based position.
    """
    return _encode(letters, _PROTEIN_TABLE, "an amino acid")


def decode_protein(codes: UInt8[np.ndarray, " residues"]) -> str:
    """One-letter amino acids of codes."""
    letters: npt.NDArray[np.uint8] = _AA_LETTERS[codes]
    return letters.tobytes().decode("ascii")


def _require_table(table: int) -> None:
    if table not in GENETIC_CODES:
        known = ", ".join(map(str, GENETIC_CODES))
        raise InputError(f"genetic code {table} is not an NCBI table known here; choose one of {known}")


@lru_cache(maxsize=len(GENETIC_CODES))
def codon_amino_acids(table: int = 1) -> UInt8[np.ndarray, " codons"]:
    """Amino-acid code of every codon, at index `25 a + 5 b + c` of its base codes (read-only).

    A codon with N gets an amino acid only if every reading of it gives the same one, else X.

    Raises:
        InputError: If there is no such genetic code.
    """
    _require_table(table)
    encoded = encode_protein(GENETIC_CODES[table][1]).reshape(4, 4, 4)
    order = [CODON_ORDER.index(base) for base in BASES]
    plain = encoded[np.ix_(order, order, order)]
    readings = [[base] for base in range(4)] + [[0, 1, 2, 3]]
    lookup = np.empty((5, 5, 5), dtype=np.uint8)
    for a, b, c in np.ndindex(5, 5, 5):
        values = np.unique(plain[np.ix_(readings[a], readings[b], readings[c])])
        lookup[a, b, c] = values[0] if len(values) == 1 else AMINO_ACID_X
    lookup.flags.writeable = False
    return lookup.reshape(125)


def codon_index(codon: str) -> int:
    """Index of a codon in the 125-entry tables."""
    a, b, c = (int(code) for code in encode_dna(codon))
    return 25 * a + 5 * b + c


def _codon_set(codons: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    found = np.zeros(125, dtype=bool)
    found[[codon_index(codon) for codon in codons]] = True
    found.flags.writeable = False
    return found


@lru_cache(maxsize=len(GENETIC_CODES))
def start_codons(table: int = 1) -> Bool[np.ndarray, " codons"]:
    """Which codons NCBI lists as starts of a genetic code; index as in `codon_amino_acids`."""
    _require_table(table)
    return _codon_set(GENETIC_CODES[table][2])


@lru_cache(maxsize=len(GENETIC_CODES))
def final_stop_codons(table: int = 1) -> Bool[np.ndarray, " codons"]:
    """Which codons end a CDS as its last codon: stops, and those that are sense elsewhere (27, 28, 31)."""
    stops: npt.NDArray[np.bool_] = codon_amino_acids(table) == AMINO_ACID_STOP
    return stops | _codon_set(CONTEXT_STOPS.get(table, ()))


def translate(
    codes: UInt8[np.ndarray, " bases"],
    table: int = 1,
    selenocysteine_stops: bool = False,
    start: bool = False,
) -> UInt8[np.ndarray, " residues"]:
    """Amino acids of the codons of a sequence, stops included; one or two bases left at the end are dropped.

    Args:
        codes: Base codes, in frame from the first base.
        table: NCBI genetic code.
        selenocysteine_stops: Read TGA as U (selenocysteine) everywhere but at the last codon.
        start: Read the first codon as M if it is a start codon of the table (the initiator tRNA carries
            methionine whatever the codon).

    Raises:
        InputError: If there is no such genetic code.
    """
    n_codons = len(codes) // 3
    codons = codes[: 3 * n_codons].reshape(n_codons, 3)
    index = codons[:, 0] * np.uint8(25) + codons[:, 1] * np.uint8(5) + codons[:, 2]
    residues: npt.NDArray[np.uint8] = codon_amino_acids(table)[index]
    if n_codons == 0:
        return residues
    if selenocysteine_stops:
        inner = residues[:-1]
        inner[(index[:-1] == codon_index("TGA")) & (inner == AMINO_ACID_STOP)] = AMINO_ACID_U
    if final_stop_codons(table)[index[-1]]:
        residues[-1] = AMINO_ACID_STOP
    if start and start_codons(table)[index[0]]:
        residues[0] = _MET
    return residues
