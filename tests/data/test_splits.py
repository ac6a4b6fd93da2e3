from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cisoform.data.splits import (
    SplitShares,
    read_splits,
    split_by_filling,
    split_by_hash,
    split_from_file,
)
from cisoform.errors import InputError

GENES = [f"g{number % 40}" for number in range(100)]


@given(st.lists(st.text(min_size=1, max_size=3), min_size=5, max_size=60), st.integers(0, 5))
def test_a_unit_is_never_split(units, seed):
    if len(set(units)) < 3:
        return
    for rule in (split_by_hash, split_by_filling):
        split = rule(units, seed=seed)
        assert len(set(zip(units, split.tolist(), strict=True))) == len(set(units))
        assert set(split) == {"train", "valid", "test"}


def test_the_split_of_a_gene_does_not_depend_on_the_other_genes():
    whole = dict(zip(GENES, split_by_hash(GENES), strict=True))
    some = GENES[:30]
    assert all(whole[gene] == split for gene, split in zip(some, split_by_hash(some), strict=True))


def test_shares_and_seed_matter():
    genes = [f"g{number}" for number in range(3000)]
    counts = Counter(split_by_hash(genes, shares=SplitShares(valid_percent=5, test_percent=30)).tolist())
    # 900 and 150 expected; binomial standard deviations 25 and 12.
    assert abs(counts["test"] - 900) < 100 and abs(counts["valid"] - 150) < 50
    assert (split_by_hash(genes, seed=1) != split_by_hash(genes, seed=2)).mean() > 0.2
    with pytest.raises(ValueError, match="test_percent=95"):
        SplitShares(test_percent=95)


def test_chromosomes_fill_the_parts_by_transcripts():
    chroms = [f"chr{number}" for number in range(20) for _ in range(100 + 10 * number)]
    split = split_by_filling(chroms)
    share = {name: (split == name).mean() for name in ("train", "valid", "test")}
    assert 0.65 < share["train"] < 0.85 and share["valid"] > 0.05 and share["test"] > 0.08


def test_two_units_cannot_make_three_parts():
    with pytest.raises(InputError, match=r"2 units \(a, b\) cannot be split"):
        split_by_filling(["a", "b", "b"])


def write(tmp_path, text):
    path = tmp_path / "splits.tsv"
    path.write_text(text)
    return path


def test_a_split_file_by_gene_with_families(tmp_path):
    path = write(tmp_path, "gene_id\tfamily_id\tsplit\ng1\tF1\ttrain\ng2\tF1\tvalidation\n\n")
    split, family = split_from_file(read_splits(path), ["t1", "t2", "t3"], ["g2", "g1", "g9"])
    assert split.tolist() == ["valid", "train", ""]
    assert family == ["F1", "F1", "g9"]


def test_a_split_file_by_transcript(tmp_path):
    path = write(tmp_path, "transcript_id\tsplit\nt1\ttrain\nt2\ttest\n")
    split, family = split_from_file(read_splits(path), ["t1", "t2"], ["g1", "g2"])
    assert split.tolist() == ["train", "test"] and family is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gene_id\tsplit\ng1\ttrain\ng1\ttest\n", r"line 3: gene 'g1' is in test and, at line 2, in train"),
        (
            "transcript_id\tgene_id\tsplit\nt1\tg1\ttrain\nt2\tg1\tvalid\n",
            r"line 3: gene 'g1' is in valid and, at line 2, in train",
        ),
        ("gene_id\tsplit\ng1\tholdout\n", r"line 2: split 'holdout' is none of train, valid, test"),
        ("gene\tpart\ng1\ttrain\n", r"line 1: columns gene, part; expected tab-separated gene_id"),
        ("gene_id\tsplit\ng1\n", r"line 2: 1 columns where the header has 2"),
        ("gene_id\tsplit\n", r"no row below the header"),
    ],
)
def test_bad_split_files_name_their_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_splits(write(tmp_path, text))


def test_a_transcript_file_may_not_cut_a_gene(tmp_path):
    file = read_splits(write(tmp_path, "transcript_id\tsplit\nt1\ttrain\nt2\ttest\n"))
    with pytest.raises(InputError, match="gene 'g1' has transcripts in train and in test"):
        split_from_file(file, ["t1", "t2"], ["g1", "g1"])


def test_a_split_file_of_other_genes_is_refused(tmp_path):
    file = read_splits(write(tmp_path, "gene_id\tsplit\nx1\ttrain\n"))
    with pytest.raises(InputError, match=r"none of its ids \(x1\) is a gene_id of the data \(g1\)"):
        split_from_file(file, ["t1"], ["g1"])


@pytest.mark.pack
def test_the_split_of_the_yeast_pack_follows_from_its_families(yeast_pack):
    file = read_splits(yeast_pack / "splits.tsv.gz")
    assert file.family is not None
    genes = list(file.split)
    split = split_by_hash([file.family[gene] for gene in genes])
    assert split.tolist() == [file.split[gene] for gene in genes]
    assert np.mean(split == "train") > 0.7
