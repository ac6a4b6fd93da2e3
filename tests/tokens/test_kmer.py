import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cisoform.genome.sequence import encode_dna
from cisoform.tokens import kmer
from cisoform.tokens.kmer import kmer_ids, token_starts, vocabulary


@pytest.mark.golden
def test_the_vocabulary_is_that_of_the_authors(golden_dir):
    assert vocabulary() == (golden_dir / "nucleotide_transformer_vocab.txt").read_text().split()


def test_special_ids_and_sizes_agree_with_the_vocabulary():
    words = vocabulary()
    assert len(words) == kmer.N_KMER_TOKENS == 4107
    assert [words[i] for i in (kmer.UNKNOWN, kmer.PAD, kmer.MASK, kmer.CLS, kmer.EOS, kmer.BOS)] == [
        *("<unk>", "<pad>", "<mask>", "<cls>", "<eos>", "<bos>")
    ]
    assert words[kmer.FIRST_KMER] == "AAAAAA" and words[kmer.FIRST_BASE - 1] == "GGGGGG"


# From the released tokenizer (reference, section 2).
@pytest.mark.parametrize(
    ("sequence", "ids"),
    [
        ("ATTCCGGTTTTCA", [3, 369, 3420, 4102]),
        ("ATTCCGNTTTTCAG", [3, 369, 4106, 1374, 4105]),
        ("AUUCCGGUUUUCA", [3, 369, 3420, 4102]),
        ("AAAAAT", [3, 7]),
        ("NN", [3, 4106, 4106]),
        ("NAAAAAAN", [3, 4106, 6, 4106]),
        ("", [3]),
    ],
)
def test_tokens_of_hand_worked_sequences(sequence, ids):
    assert kmer_ids(encode_dna(sequence)).tolist() == ids
    assert kmer_ids(encode_dna(sequence), cls=False).tolist() == ids[1:]


@given(st.text(alphabet="ACGTN", max_size=60))
def test_tokens_spell_the_sequence_and_know_where_they_start(sequence):
    words = vocabulary()
    ids = kmer_ids(encode_dna(sequence))
    tokens = [words[i] for i in ids[1:]]
    assert "".join(tokens) == sequence
    starts = token_starts(ids)[1:].tolist()
    assert all(sequence[start:].startswith(token) for start, token in zip(starts, tokens, strict=True))


@given(st.text(alphabet="ACGTUNRYacgtun", max_size=60))
def test_no_special_token_but_cls_is_ever_given(sequence):
    ids = kmer_ids(encode_dna(sequence))
    assert ids[0] == kmer.CLS and (ids[1:] >= kmer.FIRST_KMER).all() and ids.max() < kmer.N_KMER_TOKENS
    assert kmer_ids(encode_dna(sequence.upper().replace("U", "T"))).tolist() == ids.tolist()


@given(st.text(alphabet="ACGT", max_size=60), st.text(alphabet="ACGT", max_size=60))
def test_n_restarts_the_cut(left, right):
    def n_tokens(bases):
        return bases // 6 + bases % 6

    ids = kmer_ids(encode_dna(f"{left}N{right}"), cls=False)
    assert len(ids) == n_tokens(len(left)) + 1 + n_tokens(len(right))
    assert ids[n_tokens(len(left))] == 4106


def test_ids_are_small_integers():
    assert kmer_ids(np.array([0, 1, 2, 3, 0, 1], dtype=np.uint8)).dtype == np.int16
