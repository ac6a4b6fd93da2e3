"""Tables of tested pairs: what is read, what is noticed, and which columns may not be features."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cisoform.data.pair_columns import refuse_column
from cisoform.data.tested_pairs import codes, read_tested_pairs
from cisoform.errors import InputError
from tests.data.pair_files import some_rows, write_pairs

Rows = list[dict[str, str]]


def test_a_table_is_read_in_its_order(tmp_path: Path) -> None:
    rows = some_rows(12)
    pairs = read_tested_pairs(write_pairs(tmp_path / "t.tsv", rows))
    assert pairs.chrom.tolist() == [row["chrom"] for row in rows]
    assert pairs.line.tolist() == list(range(2, 14))
    np.testing.assert_array_equal(np.abs(pairs.mid - pairs.tss), pairs.distance)
    assert pairs.regulated is not None
    assert pairs.regulated.tolist() == [row["Regulated"] == "TRUE" for row in rows]
    assert pairs.cell_types == ["HCT116", "K562"]
    assert "EffectSize" not in pairs.signals and not pairs.columns
    some = pairs.take(np.array([3, 1]))
    assert some.name(0) == pairs.name(3) and some.signals["DHS.RPM"][1] == pairs.signals["DHS.RPM"][1]


def test_missing_values_are_nan_and_noted(tmp_path: Path) -> None:
    rows = some_rows(10)
    rows[2]["DHS.RPM"] = "NA"
    rows[4]["startTSS"] = "0"
    rows[5]["measuredGeneSymbol"] = "NA"
    pairs = read_tested_pairs(write_pairs(tmp_path / "t.tsv", rows, drop=["measuredGeneUbiquitousExpressed"]))
    assert np.isnan(pairs.signals["DHS.RPM"][2]) and np.isnan(pairs.ubiquitous).all()
    assert pairs.tss[4] == -1 and pairs.distance[4] == int(rows[4]["distanceToTSS"])
    assert pairs.gene[5] == rows[5]["measuredGeneEnsemblId"]
    text = " ".join(pairs.notes)
    assert "1 of 10 pairs have no TSS" in text and "DHS.RPM is missing in 1 of 10" in text
    assert "no column CTCF.RPM" in text


def test_distances_come_from_coordinates_where_the_table_states_none(tmp_path: Path) -> None:
    rows = some_rows(8)
    with_ = read_tested_pairs(write_pairs(tmp_path / "a.tsv", rows))
    without = read_tested_pairs(write_pairs(tmp_path / "b.tsv", rows, drop=["distanceToTSS"]))
    np.testing.assert_array_equal(with_.distance, without.distance)


def test_two_screens_may_test_a_pair_but_one_only_once(tmp_path: Path) -> None:
    rows = [{**row, "Dataset": "A"} for row in some_rows(6)]
    path = write_pairs(tmp_path / "t.tsv", [*rows, {**rows[1], "Dataset": "B"}])
    assert any("1 of 7 pairs were tested by another screen" in note for note in read_tested_pairs(path).notes)
    with pytest.raises(InputError, match="line 8: .* stands already at line 3"):
        read_tested_pairs(write_pairs(path, [*rows, rows[1]]))


def test_codes_tell_combinations_apart() -> None:
    code = codes(np.array(["a", "a", "b", "b"]), np.array([1, 2, 1, 1]))
    assert len(set(code.tolist())) == 3 and code[2] == code[3]


@pytest.mark.parametrize(
    "name",
    [
        *("EffectSize", "effect_size", "Significant", "pValueAdjusted", "pValue", "FDR", "Regulated"),
        *(
            "PowerAtEffectSize10",
            "PowerAtEffectSize50",
            "ValidConnection",
            "Dataset",
            "Reference",
            "CellType",
        ),
        *("direct_vs_indirect_negative", "direct_rate_negative", "indirect_rate_negative"),
        *("imputed_indirect_rate", "measuredGeneSymbol", "chromStart", "startTSS", "name"),
    ],
)
def test_answer_design_and_identity_are_refused_by_name(name: str, tmp_path: Path) -> None:
    assert refuse_column(name) is not None
    rows = [{**row, name: "1"} for row in some_rows(6)]
    with pytest.raises(InputError, match=re.escape(f"column {name!r}") + ".*cannot be a feature"):
        read_tested_pairs(write_pairs(tmp_path / "t.tsv", rows), columns=[name])


@pytest.mark.parametrize("name", ["DHS.RPM", "CTCF.RPM", "H3K27me3_peak_overlap", "DHS.percentile", "score"])
def test_measurements_of_elements_may_be_features(name: str, tmp_path: Path) -> None:
    assert refuse_column(name) is None
    rows = [{**row, name: str(number)} for number, row in enumerate(some_rows(6))]
    pairs = read_tested_pairs(write_pairs(tmp_path / "t.tsv", rows), columns=[name])
    assert pairs.columns[name].tolist() == [0, 1, 2, 3, 4, 5]


def _set(row: int, name: str, value: str) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[row][name] = value

    return change


def _shift(rows: Rows) -> None:
    for row in rows:  # elements of another assembly, genes and distances of the first
        row["chromStart"] = str(int(row["chromStart"]) + 80_000)
        row["chromEnd"] = str(int(row["chromEnd"]) + 80_000)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows.append(dict(rows[3])), "line 14: .* stands already at line 5"),
        (_shift, "distanceToTSS is .* probably of different assemblies"),
        (_set(2, "Regulated", "maybe"), "line 4: Regulated is 'maybe'; TRUE or FALSE"),
        (_set(1, "chromStart", "-5"), "line 3: chromStart is '-5'"),
        (_set(1, "chromEnd", "7"), "line 3: chromEnd is '7'; the element starts at"),
        (_set(0, "DHS.RPM", "high"), "line 2: DHS.RPM is 'high'; a number is needed"),
        (_set(0, "DHS.RPM", "-1"), "line 2: DHS.RPM is '-1'; a number of at least 0"),
        (_set(5, "chrTSS", "chr9"), "line 7: chrTSS is 'chr9'; the element is on"),
        (_set(4, "chrom", ""), "line 6: chrom is missing"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(
    spoil: Callable[[Rows], None], said: str, tmp_path: Path
) -> None:
    rows = some_rows(12)
    spoil(rows)
    with pytest.raises(InputError, match=said):
        read_tested_pairs(write_pairs(tmp_path / "t.tsv", rows))


def test_coordinates_must_fit_the_genome(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "t.tsv", some_rows(9))
    whole = {"1": 10**8, "2": 10**8, "3": 10**8}
    assert any("chr1" in note for note in read_tested_pairs(path, whole).notes)
    with pytest.raises(InputError, match="lies beyond the end of chr2"):
        read_tested_pairs(path, {**whole, "2": 1_000_000})
    with pytest.raises(InputError, match="line 4: chromosome 'chr3' is not in the genome"):
        read_tested_pairs(path, {"1": 10**8, "2": 10**8})


def test_answers_of_one_kind_cannot_be_scored(tmp_path: Path) -> None:
    rows = [{**row, "Regulated": "FALSE"} for row in some_rows(6)]
    with pytest.raises(InputError, match="holds no positive pair"):
        read_tested_pairs(write_pairs(tmp_path / "a.tsv", rows)).truth()
    with pytest.raises(InputError, match="no column 'Regulated'"):
        read_tested_pairs(write_pairs(tmp_path / "b.tsv", rows, drop=["Regulated"])).truth()
