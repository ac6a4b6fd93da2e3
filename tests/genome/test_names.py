from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cisoform.errors import InputError
from cisoform.genome.names import map_chromosomes, match_ids, strip_version


@pytest.mark.parametrize(
    ("annotation", "genome"),
    [
        ("1", "chr1"),
        ("chr1", "1"),
        ("IV", "chrIV"),
        ("MT", "chrM"),
        ("chrM", "MT"),
        ("M", "chrM"),
        ("chrMT", "MT"),
        ("Mito", "chrM"),
        ("NC_000001.11", "chr1"),
        ("NC_000023.11", "X"),
        ("chr1", "NC_000001.11"),
        ("MT", "NC_012920.1"),
        ("NC_000067.7", "1"),
        ("IV", "NC_001136.10"),
        ("GL000194.1", "GL000194.1"),
    ],
)
def test_one_chromosome_under_two_names(annotation: str, genome: str):
    found = map_chromosomes([annotation], {"other": 9, genome: 5})
    assert found.names == {annotation: genome}
    assert found.missing == ()


def test_the_same_name_wins_over_another_spelling():
    found = map_chromosomes(["1", "chr1"], {"chr1": 5, "1": 6})
    assert found.names == {"1": "1", "chr1": "chr1"}


def test_the_mapping_is_stated():
    found = map_chromosomes(["1", "2", "MT", "KI27"], {"chr1": 5, "chr2": 6, "chrM": 7})
    assert found.text == (
        "3 of 3 chromosomes are named differently in the genome: 1->chr1, 2->chr2, MT->chrM; 1 not in the genome: KI27"
    )
    assert found.missing == ("KI27",)
    assert "named alike" in map_chromosomes(["1"], {"1": 5}).text


def test_no_chromosome_in_common_shows_three_of_each_side():
    with pytest.raises(InputError, match=r"\(a, b, c, \.\.\.\) is in the genome \(x, y\)"):
        map_chromosomes(["a", "b", "c", "d"], {"x": 1, "y": 2})


def test_two_names_for_one_chromosome_are_refused():
    with pytest.raises(InputError, match="'1' and 'chr1' of the annotation are both 'chr1'"):
        map_chromosomes(["1", "chr1"], {"chr1": 5})


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("ENST00000373020.8", "ENST00000373020"),
        ("ENSMUSG00000000001.4", "ENSMUSG00000000001"),
        ("ENST00000381192.10_PAR_Y", "ENST00000381192_PAR_Y"),
        ("ENST00000373020", "ENST00000373020"),
        ("YAL062W.tea7edb", "YAL062W.tea7edb"),
        ("NM_000546.6", "NM_000546.6"),
        ("AT1G01010.1", "AT1G01010.1"),
        ("ENST123.4", "ENST123.4"),
    ],
)
def test_versions_are_stripped_from_ens_ids_only(name: str, stem: str):
    assert strip_version(name) == stem


def test_exact_matches_come_first_and_par_y_stays_apart():
    left = ["ENST00000000001.2", "ENST00000000001.2_PAR_Y", "ENST00000000002.7", "AT1.1"]
    right = ["AT1.2", "ENST00000000002.9", "ENST00000000001.2_PAR_Y", "ENST00000000001.2"]
    match = match_ids(left, right)
    assert list(zip(match.left.tolist(), match.right.tolist(), strict=True)) == [(0, 3), (1, 2), (2, 1)]
    assert (match.n_exact, match.n_unversioned) == (2, 1)
    assert "3 of 4 ids" in match.text and "1 of them without the version" in match.text


def test_a_stem_that_two_ids_share_is_left_alone():
    # .1 matches exactly; .2 must not take a partner by its stem, on either side.
    assert len(match_ids(["ENST00000000001.1", "ENST00000000001.2"], ["ENST00000000001.1"])) == 1
    assert len(match_ids(["ENST00000000001.1", "X"], ["ENST00000000001.2", "ENST00000000001.3", "X"])) == 1


@given(st.permutations(range(5)), st.permutations(range(5)))
def test_matching_does_not_depend_on_order(left_order: list[int], right_order: list[int]):
    left = ["ENST00000000001.1", "ENST00000000002.1", "a", "b", "ENST00000000003.2"]
    right = ["ENST00000000001.5", "ENST00000000002.1", "a", "c", "ENST00000000004"]
    expected = {(left[0], right[0]), (left[1], right[1]), ("a", "a")}
    left, right = [left[i] for i in left_order], [right[i] for i in right_order]
    match = match_ids(left, right)
    assert {(left[i], right[j]) for i, j in zip(match.left, match.right, strict=True)} == expected


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        (["ENST00000000001"], ["ENSG00000000001"], "transcript ids and the other gene ids"),
        (["ENSG00000000001"], ["ENST00000000001"], "gene ids and the other transcript ids"),
        (["yal1w"], ["YAL1W"], "upper and lower case"),
        (["transcript:x1"], ["x1"], "removing a prefix"),
        (["NM_1.2"], ["NM_1.3"], "removing '.'"),
        (["YAL1_mRNA"], ["YAL1"], "removing a suffix"),
        (["a"], ["b"], "different annotations or organisms"),
        (["a"], [], "no ids at all"),
    ],
)
def test_no_id_in_common_shows_three_of_each_and_the_likely_rule(
    left: list[str], right: list[str], reason: str
):
    with pytest.raises(InputError, match=rf"no id of this \({left[0]}\) is in that .*{reason}"):
        match_ids(left, right, "this", "that")
    with pytest.raises(InputError, match=r"\(a, b, c, \.\.\.\).*\(x, y, z, \.\.\.\)"):
        match_ids(list("abcd"), list("xyzw"))
