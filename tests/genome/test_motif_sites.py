"""Sites in peaks, their false discovery rates, HOCOMOCO files, and tables of edges from elsewhere."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cisoform.errors import InputError
from cisoform.genome.edge_table import read_edges
from cisoform.genome.motif_sites import find_sites, inner_part, p_values, q_values, shuffled
from cisoform.genome.motifs import Motif, read_motifs
from cisoform.genome.sequence import encode_dna, reverse_complement

WORD = "GATTACAGCTA"


def exact(word: str) -> Motif:
    return Motif("m", "TF", np.eye(4)[encode_dna(word)], 1000.0)


def planted() -> np.ndarray:
    """Eight windows of 90; window 2 holds the word twice (both strands), 5 once at its edge."""
    windows = np.random.default_rng(3).integers(0, 4, (8, 90)).astype(np.uint8)
    windows[2, 20:31] = encode_dna(WORD)
    windows[2, 50:61] = reverse_complement(encode_dna(WORD))
    windows[5, 0:11] = encode_dna(WORD)
    return windows


def test_sites_are_counted_in_the_part_that_is_looked_at() -> None:
    windows, peaks = planted(), np.arange(8)
    first, last = np.zeros(8, np.int64), np.full(8, 90)
    found = find_sites([exact(WORD)], lambda rows: windows[rows], peaks, first, last, fdr=0.01)
    assert found.peak.tolist() == [2, 5] and found.count.tolist() == [2, 1]
    # The best word is as likely as 4^-11, three hits over 2 x 8 x 90 places.
    assert found.p == pytest.approx([0.25**11] * 2, rel=0.05)
    assert found.q == pytest.approx([0.25**11 * 1440 / 3] * 2, rel=0.05)
    assert found.limit.tolist() == pytest.approx([0.25**11], rel=0.05)
    inner = find_sites([exact(WORD)], lambda rows: windows[rows], peaks, first + 10, last, p_value=1e-5)
    assert inner.peak.tolist() == [2]
    some = find_sites([exact(WORD)], lambda rows: windows[rows], peaks[4:], first[4:], last[4:], p_value=1e-5)
    assert some.peak.tolist() == [5]
    with pytest.raises(ValueError, match="p_value or fdr"):
        find_sites([exact(WORD)], lambda rows: windows[rows], peaks, first, last)


@pytest.mark.parametrize("n_sites", [20.0, 1000.0])
def test_p_values_are_those_of_all_words(n_sites: float) -> None:
    motif = Motif(
        "m", "TF", np.array([[0.7, 0.1, 0.1, 0.1], [0, 1, 0, 0], [0, 0, 0.5, 0.5], [1, 0, 0, 0]]), n_sites
    )
    every = np.array(np.meshgrid(*[range(4)] * 4)).reshape(4, -1).T
    scores = motif.log_odds()[np.arange(4), every].sum(axis=1)
    exact_p = np.array([(scores >= score - 1e-9).mean() for score in scores])
    near = np.array([(scores >= score - 0.05).mean() for score in scores])  # what rounding may merge
    found = p_values(motif, scores)
    assert (found >= exact_p - 1e-12).all() and (found <= near + 1e-12).all()
    assert p_values(motif, np.array([-1e6, 1e6])).tolist() == [1.0, pytest.approx(2 / 256)]  # two best words


def test_a_limit_for_each_motif_and_a_shuffled_one() -> None:
    windows, peaks = planted(), np.arange(8)
    first, last = np.zeros(8, np.int64), np.full(8, 90)
    both = [exact(WORD), exact(WORD)]
    limit = np.array([1e-5, 1e-12])
    found = find_sites(both, lambda rows: windows[rows], peaks, first, last, p_value=limit)
    assert found.motif.tolist() == [0, 0]
    other = shuffled(exact(WORD), np.random.default_rng(0))
    assert sorted(other.probability.argmax(1)) == sorted(exact(WORD).probability.argmax(1))
    assert not len(find_sites([other], lambda rows: windows[rows], peaks, first, last, fdr=0.05))


def test_false_discovery_rates_of_the_smallest() -> None:
    # 100 tests: 0.001 x 100 / 1, 0.002 x 100 / 2, 0.02 x 100 / 3, in the order given.
    np.testing.assert_allclose(q_values(np.array([0.02, 0.001, 0.002]), 100), [2 / 3, 0.1, 0.1])


def test_the_called_peak_within_its_window() -> None:
    first, last = inner_part(np.array([1000, 100]), np.array([1101, 5000]), 1029, False)
    # Midpoint 1050, window from 536; a peak longer than its window is looked at whole.
    assert first.tolist() == [464, 0] and last.tolist() == [565, 1029]
    assert [part.tolist() for part in inner_part(np.array([7]), np.array([9]), 50, True)] == [[0], [50]]


def test_hocomoco_counts_and_frequencies(tmp_path: Path) -> None:
    path = tmp_path / "m.pcm.gz"
    path.write_bytes(
        gzip.compress(
            b">GATA1.H12CORE.0.P.B\n1\t1\t8\t0\n10 0 0 0\n0 0 0 10\n>TAL1_HUMAN.H11MO.0.A\n1 0 0 0\n"
        )
    )
    first, second = read_motifs(path)
    assert (first.tf, first.n_sites, first.width) == ("GATA1", 10.0, 3)
    np.testing.assert_allclose(first.probability[0], [0.1, 0.1, 0.8, 0.0])
    assert (second.tf, second.n_sites, second.width) == ("TAL1", 20.0, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">A\n1 1 8 0\n-1 2 3 4\n0 0 0 1\n", "line 3: motif 'A': -1 is negative"),
        (">A\n1 1 8 0\n1 2 3 x\n0 0 0 1\n", "line 3: motif 'A': '1 2 3 x' is not a row of 4"),
        (">A\n1 1 8 0\n1 2 3 4\n0 0 0 0\n", "line 4: motif 'A': a position without counts"),
        (">A\n1 1 8 0\n1 2 3 4\n0 0 1 0\n>B\n", "line 5: motif 'B' has no rows"),
        (">A\n1 1 8 0\n1 2 3 4\n0 0 1 0\n>A\n1 1 1 1\n", "'A' stands twice"),
    ],
)
def test_damaged_hocomoco_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.pcm"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_motifs(path)


def test_tables_of_edges_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "collectri.csv").write_text("source,target,weight\nGATA1,KLF1,1\nTAL1,HBB,-1\n")
    found = read_edges(tmp_path / "collectri.csv")
    assert found.factor == ("GATA1", "TAL1") and found.gene == ("KLF1", "HBB")
    assert found.sign is not None and found.sign.tolist() == [1, -1] and found.region is None
    (tmp_path / "weights.csv").write_text("source,target,weight\nA,B,0.5\n")
    plain = read_edges(tmp_path / "weights.csv")
    assert plain.sign is None and plain.strength is not None and plain.strength.tolist() == [0.5]
    (tmp_path / "e.tsv").write_text(
        "Region\tGene\tTF\tregulation\timportance_x_abs_rho\nchr1:5-9\tKLF1\tGATA1\t-1\t0.25\n"
    )
    regulon = read_edges(tmp_path / "e.tsv")
    assert regulon.region == (("chr1", 5, 9),) and regulon.strength is not None
    assert regulon.sign is not None and (regulon.sign[0], regulon.strength[0]) == (-1, 0.25)
    (tmp_path / "c.tsv").write_text(
        "\tsource\ttarget\tcoef_mean\tcoef_abs\tp\t-logp\n0\tA\tB\t-0.1\t0.1\t0.5\t0.3\n"
    )
    links = read_edges(tmp_path / "c.tsv")
    assert links.sign is not None and links.sign.tolist() == [-1]
    rows = [{"tf": "A", "peak": "chr1:1-2", "gene_id": "G", "sign": -1}]
    (tmp_path / "truth.json").write_text(json.dumps({"tf_enhancer_gene": rows}))
    assert read_edges(tmp_path / "truth.json").gene == ("G",)
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    assert read_edges(tmp_path / "t.parquet").region == (("chr1", 1, 2),)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.tsv",
            "factor\tgene\nA\tB\n",
            "no column of the factor .tf, source, regulator. among factor, gene",
        ),
        ("a.tsv", "tf\tgenes\nA\tB\n", "no column of the gene"),
        ("a.tsv", "tf\tgene\n", "holds no edge"),
        ("a.tsv", "tf\tgene\nA\tB\n\tC\n", "row 3: tf is empty"),
        ("a.tsv", "tf\tgene\tsign\nA\tB\tup\n", "row 2: sign is 'up', not a number"),
        ("a.tsv", "tf\tgene\tregion\nA\tB\tchr1-5-9\n", "row 2: region 'chr1-5-9' is not chrom:start-end"),
        ("a.tsv", "tf\tgene\tpeak\nA\tB\tchr1:9-9\n", "row 2: region 'chr1:9-9'"),
        ("a.parquet", "tf\tgene\n", "is not a parquet file"),
        ("a.json", "{}", "no edges under 'tf_enhancer_gene'"),
        ("a.tsv", "", "empty"),
    ],
)
def test_wrong_tables_of_edges(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_edges(tmp_path / name)
