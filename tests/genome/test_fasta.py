from __future__ import annotations

import gzip
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pysam
import pytest

from cisoform.errors import InputError
from cisoform.genome.fasta import Genome, read_fasta_records
from cisoform.genome.interval import Interval
from cisoform.genome.sequence import decode_dna
from tests.genome import toy

CHROMS = {"chr1": "ACGTNacgtnRYTTGCA" * 3, "chr2": "GGGTTTAAACCC"}


def forms(tmp_path: Path) -> list[Path]:
    """The same genome as plain text, as bgzip and as plain gzip."""
    plain = toy.write_fasta(tmp_path / "plain.fa", CHROMS)
    packed = tmp_path / "packed.fa.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    blocked = tmp_path / "blocked.fa.gz"
    pysam.tabix_compress(str(plain), str(blocked))
    return [plain, blocked, packed]


def expected(chrom: str, start: int, end: int, strand: str) -> str:
    """Letter by letter, N off the ends."""
    text = CHROMS[chrom].upper().replace("R", "N").replace("Y", "N")
    letters = "".join(text[p] if 0 <= p < len(text) else "N" for p in range(start, end))
    return letters if strand == "+" else toy.reverse_complement(letters)


def test_every_form_gives_the_same_bases_on_both_strands_and_off_the_ends(tmp_path: Path):
    for path in forms(tmp_path):
        genome = Genome.open(path, cache_dir=tmp_path / "cache")
        assert genome.chroms == {"chr1": 51, "chr2": 12}
        for chrom in CHROMS:
            for start in (-7, -2, 0, 3, 9, 11, 40, 60):
                for length in (0, 1, 5, 11, 80):
                    for strand in "+-":
                        codes = genome.fetch(Interval(chrom, start, start + length, strand))
                        assert decode_dna(codes) == expected(chrom, start, start + length, strand)
        assert decode_dna(genome.chromosome("chr2")) == "GGGTTTAAACCC"


def test_the_folder_of_the_genome_is_not_written_to(tmp_path: Path):
    for path in forms(tmp_path):
        folder = tmp_path / f"only-{path.name}"
        folder.mkdir()
        shutil.copy(path, folder)
        Genome.open(folder / path.name)
        assert [file.name for file in folder.iterdir()] == [path.name]


def test_what_is_in_the_cache_is_used_again(tmp_path: Path):
    cache = tmp_path / "cache"
    path = forms(tmp_path)[2]
    Genome.open(path, cache_dir=cache)
    before = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    Genome.open(path, cache_dir=cache)
    assert before == {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert len(before) == 2


def test_an_index_older_than_its_file_is_not_believed(tmp_path: Path):
    path = toy.write_fasta(tmp_path / "g.fa", {"a": "ACGT"})
    pysam.faidx(str(path))
    toy.write_fasta(path, {"a": "ACGTACGT", "b": "TT"})
    os.utime(f"{path}.fai", (1, 1))
    assert Genome.open(path).chroms == {"a": 8, "b": 2}


def test_a_genome_can_be_pickled(tmp_path: Path):
    genome = Genome.open(forms(tmp_path)[1])
    genome.chromosome("chr2")
    again = pickle.loads(pickle.dumps(genome))
    assert (again.chromosome("chr2") == genome.chromosome("chr2")).all()
    genome.close()
    assert len(genome.chromosome("chr2")) == 12


def test_fetching_in_pieces_is_seamless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    genome = Genome.open(forms(tmp_path)[0])
    whole = genome.chromosome("chr1")
    monkeypatch.setattr("cisoform.genome.fasta._CHUNK_BASES", 7)
    assert (genome.chromosome("chr1") == whole).all()


def test_an_unknown_chromosome_is_named_with_some_known_ones(tmp_path: Path):
    genome = Genome.open(forms(tmp_path)[0])
    assert "chr1" in genome and "1" not in genome
    with pytest.raises(InputError, match="no chromosome '1'; it has chr1, chr2"):
        genome.fetch(Interval("1", 0, 5))


def test_a_letter_that_is_no_base_is_placed(tmp_path: Path):
    genome = Genome.open(toy.write_fasta(tmp_path / "g.fa", {"a": "ACGTACJT"}))
    with pytest.raises(InputError, match="g.fa: a, from base 3: letter 'J' at position 5"):
        genome.fetch(Interval("a", 2, 8))


BAD_FASTA = {
    "text": ("hello\nACGT\n", "line 1: expected '>name', found 'hello'"),
    "short line inside": (">a\nACGT\nAC\nACGT\n", "line 3: a line of 'a' is shorter"),
    "long line": (">a\nACGT\nACGTA\n", "line 3: a line of 'a' is longer"),
    "no name": (">\nACGT\n", "line 1: a record has no name"),
    "twice": (">a\nACGT\n>b\nA\n>a\nACGT\n", "line 5: sequence 'a' stands already at line 1"),
    "nothing after the name": (">a\nACGT\n>b\n", "the last sequence, 'b', has no bases"),
    "blank": ("\n\n", "no FASTA record|cannot be indexed"),
}


@pytest.mark.parametrize("case", BAD_FASTA)
def test_a_fasta_that_cannot_be_indexed_says_where(
    tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]
):
    content, message = BAD_FASTA[case]
    path = tmp_path / "bad.fa"
    path.write_text(content)
    with pytest.raises(InputError, match=f"bad.fa: .*({message})"):
        Genome.open(path)
    assert capfd.readouterr().err == ""
    assert not [file for file in tmp_path.iterdir() if file != path]


def test_a_truncated_bgzip_is_found_before_it_is_indexed(tmp_path: Path):
    rng = np.random.default_rng(0)
    plain = toy.write_fasta(tmp_path / "p.fa", {"a": "".join(rng.choice(list("ACGT"), 200_000))}, width=60)
    whole = tmp_path / "w.fa.gz"
    pysam.tabix_compress(str(plain), str(whole))
    raw = whole.read_bytes()
    for n_bytes in (len(raw) - 28, len(raw) // 2):
        path = tmp_path / f"cut{n_bytes}.fa.gz"
        path.write_bytes(raw[:n_bytes])
        with pytest.raises(InputError, match="truncated"):
            Genome.open(path)


def test_records_keep_name_description_and_letters(tmp_path: Path):
    path = tmp_path / "r.fa.gz"
    path.write_bytes(gzip.compress(b">t1 gene=g1 x\nAC\nGT\n\n>t2\nA\n>t3\n"))
    assert [tuple(record) for record in read_fasta_records(path)] == [
        ("t1", "gene=g1 x", "ACGT"),
        ("t2", "", "A"),
        ("t3", "", ""),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (">a\nA\n>a\nA\n", "line 3: record 'a' appears twice"),
        ("A\n", "line 1: expected '>name'"),
        (">\nA\n", "no name"),
    ],
)
def test_bad_records_are_placed(tmp_path: Path, content: str, message: str):
    path = tmp_path / "r.fa"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        list(read_fasta_records(path))
