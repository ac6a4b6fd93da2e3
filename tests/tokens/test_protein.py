import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from cisoform.genome.sequence import encode_protein
from cisoform.tokens.protein import (
    ESM_CLS,
    ESM_EOS,
    ESM_MASK,
    ESM_PAD,
    ESM_UNKNOWN,
    ESM_VOCABULARY,
    N_PROTEIN_TOKENS,
    PROTEIN_PAD,
    esm_ids,
)


def test_the_vocabulary_has_the_known_landmarks():
    assert len(ESM_VOCABULARY) == 33
    assert [ESM_VOCABULARY[i] for i in (ESM_CLS, ESM_PAD, ESM_EOS, ESM_UNKNOWN, ESM_MASK)] == [
        *("<cls>", "<pad>", "<eos>", "<unk>", "<mask>")
    ]
    assert ESM_VOCABULARY[4] == "L" and ESM_VOCABULARY[20] == "M" and ESM_VOCABULARY[24] == "X"


def test_every_residue_keeps_its_letter():
    letters = "MACDEFGHIKLMNPQRSTVWYXU"
    ids = esm_ids(encode_protein(letters))
    assert "".join(ESM_VOCABULARY[i] for i in ids[1:-1]) == letters
    assert (ids[0], ids[-1]) == (ESM_CLS, ESM_EOS)


def test_a_stop_inside_a_protein_is_unknown_to_esm():
    assert esm_ids(encode_protein("M*A")).tolist() == [0, 20, 3, 5, 2]


def test_padding_is_no_residue():
    assert PROTEIN_PAD == N_PROTEIN_TOKENS - 1 and encode_protein("U*").max() < PROTEIN_PAD


@pytest.mark.golden
def test_ids_are_those_of_the_reference_tokenizer(golden_dir):
    with safe_open(str(golden_dir / "esm2_small.safetensors"), "pt") as file:
        sequences = json.loads(file.metadata()["sequences"])
        ids, mask = file.get_tensor("in.tokens"), file.get_tensor("in.mask")
    plain = [row for row, text in enumerate(sequences) if "<" not in text]
    assert len(plain) >= 3
    # Ambiguous residues (B, Z), which no translation gives, are X among our codes.
    ambiguous = {ESM_VOCABULARY.index(letter): ESM_VOCABULARY.index("X") for letter in "BZ"}
    for row in plain:
        expected = [ambiguous.get(token, token) for token in ids[row][mask[row]].tolist()]
        assert esm_ids(encode_protein(sequences[row])).tolist() == expected


@given(st.lists(st.integers(0, 22), max_size=50))
def test_no_token_of_a_protein_is_beyond_the_33_rows(codes):
    # The file of the released tokenizer has a 34th line, `<bos>`, for which the model has no row.
    ids = esm_ids(np.array(codes, dtype=np.uint8))
    assert len(ids) == len(codes) + 2 and ids.min() >= 0 and ids.max() < len(ESM_VOCABULARY) == 33
    assert not {ESM_PAD, ESM_MASK} & set(ids.tolist())
