"""Nucleotide Transformer v2 tokens: non-overlapping 6-mers from the left, single bases where 6 do not fit.

Bases are cut greedily from the left into 6-mers; a rest shorter than 6 becomes single bases, and N is a token
of its own that restarts the cut. Ids follow the authors' vocabulary: 6 special tokens, the 4,096 6-mers in the
alphabet order A, T, C, G, then A T C G N.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

K = 6
UNKNOWN, PAD, MASK, CLS, EOS, BOS = range(6)
FIRST_KMER = 6
FIRST_BASE = FIRST_KMER + 4**K
N_KMER_TOKENS = FIRST_BASE + 5

_ALPHABET = "ATCG"
_DIGIT_OF_CODE = np.array([0, 2, 3, 1, 4], dtype=np.int16)
"""Our codes A C G T N as digits of the authors' alphabet A T C G (and N)."""
_WEIGHTS = 4 ** np.arange(K - 1, -1, -1, dtype=np.int16)


def vocabulary() -> list[str]:
    """All 4,107 tokens; the position is the id."""
    kmers = ("".join(letters) for letters in itertools.product(_ALPHABET, repeat=K))
    return ["<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>", *kmers, *_ALPHABET, "N"]


def kmer_ids(codes: npt.NDArray[np.uint8], cls: bool = True) -> npt.NDArray[np.int16]:
    """Ids of one sequence of base codes (A 0, C 1, G 2, T 3, N 4).

    Args:
        codes: The sequence; U is already T.
        cls: Begin with `<cls>`, as the released model expects. No `<eos>` is added (released tokenizer).
    """
    digits = _DIGIT_OF_CODE[codes]
    parts = [np.array([CLS], dtype=np.int16)] if cls else []
    start = 0
    for position in (*np.flatnonzero(digits == 4), len(digits)):
        parts.append(_ids_of_known_bases(digits[start:position]))
        if position < len(digits):
            parts.append(np.array([FIRST_BASE + 4], dtype=np.int16))
        start = int(position) + 1
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int16)


def _ids_of_known_bases(digits: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    n_kmers = len(digits) // K
    kmers = digits[: n_kmers * K].reshape(n_kmers, K) @ _WEIGHTS + FIRST_KMER
    return np.concatenate([kmers, digits[n_kmers * K :] + FIRST_BASE]).astype(np.int16)


def token_starts(ids: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    """First base that each token of one sequence covers, 0-based; a special token covers none."""
    widths = np.where(ids >= FIRST_BASE, 1, np.where(ids >= FIRST_KMER, K, 0))
    starts: npt.NDArray[np.int64] = np.cumsum(widths) - widths
    return starts
