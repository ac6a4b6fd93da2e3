"""Tokens of proteins: our amino-acid codes for encoders trained here, ESM-2 ids for the pre-trained one.

Codes are those of `genome.sequence`: ACDEFGHIKLMNPQRSTVWY 0..19, X 20, U (selenocysteine) 21, stop 22; padding
is 23. A protein over the cap keeps its N-terminus (paper: 1,200 residues).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cisoform.genome.sequence import AMINO_ACID_X, AMINO_ACIDS

UNKNOWN_RESIDUE = AMINO_ACID_X
PROTEIN_PAD = 23
N_PROTEIN_TOKENS = 24

ESM_VOCABULARY: tuple[str, ...] = (
    *("<cls>", "<pad>", "<eos>", "<unk>"),
    *"LAGVSERTIDPKQNFYMHWCXBUZO.-",
    *("<null_1>", "<mask>"),
)
"""The 33 tokens of ESM-2; the position is the id. The 34th of IsoFormer's file, `<bos>`, has no embedding."""
ESM_CLS, ESM_PAD, ESM_EOS, ESM_UNKNOWN, ESM_MASK = 0, 1, 2, 3, 32

_ESM_OF_CODE = np.array(
    [*(ESM_VOCABULARY.index(letter) for letter in AMINO_ACIDS + "XU"), ESM_UNKNOWN], dtype=np.int16
)


def esm_ids(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """ESM-2 ids of one protein between `<cls>` and `<eos>`; a stop inside it becomes `<unk>`."""
    return np.concatenate([[ESM_CLS], _ESM_OF_CODE[codes], [ESM_EOS]]).astype(np.int16)
