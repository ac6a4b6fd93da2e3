"""Motif files and scans."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from cisoform.errors import InputError
from cisoform.genome.motifs import Motif, motifs_of, read_motifs, scan
from cisoform.genome.sequence import encode_dna, reverse_complement

MEME = """MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies
A 0.3 C 0.2 G 0.2 T 0.3

MOTIF M1 GATA1
letter-probability matrix: alength= 4 w= 3 nsites= 40 E= 0
0 0 1 0
1 0 0 0
0 0 0 1

MOTIF TAL1.H12CORE.0.P.B
letter-probability matrix: alength= 4 w= 2
0.5 0.5 0 0
0.25 0.25 0.25 0.25
URL http://example.org
"""
JASPAR = """>MA0035.1\tGATA1::TAL1
A  [ 1 10 0 ]
C  [ 1  0 0 ]
G  [ 8  0 0 ]
T  [ 0  0 10 ]
"""


def exact(word: str) -> Motif:
    return Motif("m", "TF", np.eye(4)[encode_dna(word)], 1000.0)


def random_windows(seed: int, n: int, length: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (n, length)).astype(np.uint8)


def test_meme_names_background_and_pseudocounts(tmp_path: Path) -> None:
    path = tmp_path / "m.meme.gz"
    path.write_bytes(gzip.compress(MEME.encode()))
    first, second = read_motifs(path)
    assert (first.name, first.tf, first.width, first.n_sites) == ("M1", "GATA1", 3, 40)
    assert (second.tf, second.n_sites) == ("TAL1", 20)
    assert first.background == pytest.approx((0.3, 0.2, 0.2, 0.3))
    # The certain G: (40 + 0.1 * 0.2) / 40.1 over a background of 0.2.
    assert first.log_odds()[0, 2] == pytest.approx(np.log2(40.02 / 40.1 / 0.2))


def test_jaspar_counts_and_dimers(tmp_path: Path) -> None:
    path = tmp_path / "m.jaspar"
    path.write_text(JASPAR + ">MA2\n1 2\n1 2\n1 2\n1 2\n")
    dimer, plain = read_motifs(path)
    np.testing.assert_allclose(dimer.probability[0], [0.1, 0.1, 0.8, 0.0])
    assert dimer.tfs == ("GATA1", "TAL1") and plain.width == 2 and plain.tf == "MA2"
    assert motifs_of([dimer, plain], "TAL1", "x") == [0] == motifs_of([dimer, plain], "MA0035.1", "x")


def test_hits_on_both_strands_within_windows_alone() -> None:
    word = "GATTACAGC"
    windows = np.zeros((3, 40), dtype=np.uint8)
    windows[0, 5:14] = encode_dna(word)
    windows[1, 20:29] = reverse_complement(encode_dna(word))
    # Half at the end of one window and half at the start of the next is no match; nor is one with an N.
    windows[1, 36:], windows[2, :5] = encode_dna(word[:4]), encode_dna(word[4:])
    windows[2, 10:19] = encode_dna(word)
    windows[2, 12] = 4
    hits = scan([exact(word)], windows)
    assert list(zip(hits.window, hits.start, hits.end, hits.strand, strict=True)) == [
        (0, 5, 14, 1),
        (1, 20, 29, -1),
    ]
    assert hits.score == pytest.approx(exact(word).log_odds().max(axis=1).sum() * np.ones(2))


def test_chance_hits_are_as_many_as_the_p_value_says() -> None:
    rng = np.random.default_rng(3)
    motif = Motif("m", "TF", rng.dirichlet([0.5] * 4, 10), 1000.0)
    windows = random_windows(1, 400, 1029)
    places = 2 * 400 * (1029 - 9)
    for p in (1e-3, 1e-4):
        assert len(scan([motif], windows, p)) == pytest.approx(places * p, rel=0.35)
    assert len(scan([motif], windows[:0])) == 0


def test_the_reverse_strand_is_the_reverse_complement() -> None:
    motif = Motif("m", "TF", np.random.default_rng(5).dirichlet([0.5] * 4, 8), 1000.0)
    windows = random_windows(2, 20, 300)
    there = scan([motif], windows, 1e-3)
    back = scan([motif], reverse_complement(windows), 1e-3)
    want = {(w, 300 - e, -s) for w, e, s in zip(there.window, there.end, there.strand, strict=True)}
    assert want == set(zip(back.window, back.start, back.strand, strict=True)) and len(there)


def test_bases_near_hits() -> None:
    windows = np.zeros((4, 30), dtype=np.uint8)
    windows[2, 10:15] = encode_dna("GGACT")
    hits = scan([exact("GGACT")], windows, 1e-3)
    near = hits.near(np.array([1, 2]), 30, 3)
    assert not near[0].any() and np.flatnonzero(near[1]).tolist() == list(range(9, 16))


def test_unknown_factor_names_near_ones() -> None:
    motifs = [Motif("M1", "GATA1", np.eye(4)), Motif("M2", "GATA2", np.eye(4))]
    with pytest.raises(InputError, match=r"'gata1' has no motif in f \(2 motifs\); did you mean GATA1\?"):
        motifs_of(motifs, "gata1", "f")
    with pytest.raises(InputError, match="'ZZZZ' has no motif.*another --motifs file"):
        motifs_of(motifs, "ZZZZ", "f")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("# nothing\n", "holds no motif"),
        ("chr1\t1\t2\n", "line 1: 'chr1.*neither a MEME file"),
        (MEME.replace("1 0 0 0\n", ""), "line 15: motif 'M1': 'MOTIF TAL1.H12CORE.0.P.B' is not a row of 4"),
        (MEME.replace("0 0 0 1\n", "0 0 0 x\n"), "line 14: 'x' is not a number"),
        (MEME.replace("0 0 0 1\n", "0 0 0 0.5\n"), "line 14: motif 'M1': probabilities sum to 0.5, not to 1"),
        (MEME.replace("w= 3", "w= ?"), "line 11: '\\?' is not a number"),
        (MEME.replace("ALPHABET= ACGT", "ALPHABET= ACDEFG"), "line 3.*not of DNA"),
        (MEME.replace("A 0.3 C", "A 0 C"), "line 8.*does not give positive frequencies"),
        (MEME.replace("TAL1.H12CORE.0.P.B", "M1"), "motif 'M1' stands twice"),
        (MEME[: MEME.rindex("letter")], "'TAL1.H12CORE.0.P.B' has no letter-probability matrix"),
        (MEME.replace("MOTIF M1 GATA1\n", ""), "line 10: a matrix without a MOTIF line"),
        (JASPAR.replace("T  [ 0  0 10 ]\n", ""), "line 1: motif 'MA0035.1' has 3 rows of counts"),
        (JASPAR.replace("[ 8  0 0 ]", "[ 8 0 ]"), "line 4: motif 'MA0035.1': 2 counts, the row of A has 3"),
        (JASPAR.replace("C  [", "G  ["), "line 3.*row of 'G', expected C"),
        (JASPAR.replace("10 ]", "-9 ]"), "line 1.*a position without positive counts"),
    ],
)
def test_damaged_files_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "motifs"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_motifs(path)
