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
