"""Baselines on tested pairs (the published figures of the pack), and predictions brought to pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cisoform.analysis.links import contact
from cisoform.benchmark.links import baselines, evaluate_links, score_pairs, score_table
from cisoform.data.tested_pairs import read_tested_pairs
from cisoform.errors import InputError
from tests.data.pair_files import some_rows, write_pairs

TRAINING = "human_regulation/crispri/training_K562.GRCh38.tsv.gz"


@pytest.mark.pack
def test_the_public_table_gives_the_known_figures(packs_dir: Path) -> None:
    path = packs_dir / TRAINING
    if not path.is_file():
        pytest.skip(f"no {TRAINING}")
    found = evaluate_links({}, read_tested_pairs(path), n_draws=0)
    auprc = {name: round(value["auprc"], 3) for name, value in found["baselines"].items()}
    assert auprc["distance"] == 0.438
    assert auprc["accessibility_powerlaw"] == 0.473
    assert auprc["abc_numerator"] == 0.504
    near = {name: round(value["within_150kb"]["auprc"], 3) for name, value in found["baselines"].items()}
    assert (near["distance"], near["accessibility_powerlaw"], near["abc_numerator"]) == (0.489, 0.534, 0.565)
    assert found["counts"]["positives"] == 471 and found["window"]["positives"] == 410


def test_contact_is_flat_below_the_floor() -> None:
    found = contact(np.array([0, 5000, 10_000]))
    assert found[0] == found[1]
    assert found[2] / found[1] == pytest.approx(2**-0.87)


def test_a_pair_without_its_signal_ranks_last(tmp_path: Path) -> None:
    rows = some_rows(10)
    rows[3]["H3K27ac.RPM.expandedRegion"] = "NA"
    found = baselines(read_tested_pairs(write_pairs(tmp_path / "t.tsv", rows)))
    assert np.argmin(found["abc_numerator"]) == 3 and np.isfinite(found["abc_numerator"]).all()
    without = write_pairs(tmp_path / "u.tsv", rows, drop=["DHS.RPM"])
    assert list(baselines(read_tested_pairs(without))) == ["distance"]


def test_predictions_reach_pairs_by_overlap_and_gene(tmp_path: Path) -> None:
    pairs = read_tested_pairs(write_pairs(tmp_path / "t.tsv", some_rows(6)))
    start, end = int(pairs.start[1]), int(pairs.end[1])
    rows = [
        (pairs.chrom[1], start - 50, start + 1, pairs.gene[1], 2.0),  # one base
        (pairs.chrom[1], end - 1, end + 9, pairs.gene_id[1], 9.0),  # by id: not looked at, the symbol matches
        (pairs.chrom[1], start + 5, start + 9, pairs.gene[1], 3.0),
        (pairs.chrom[1], end, end + 100, pairs.gene[1], 7.0),  # touches, does not overlap
        (pairs.chrom[2], pairs.start[2], pairs.end[2], "other", 8.0),
        (pairs.chrom[3], pairs.start[3], pairs.end[3], pairs.gene_id[3], 4.0),
    ]
    table = pl.DataFrame(
        [tuple(v.item() if isinstance(v, np.generic) else v for v in row) for row in rows],
        schema=["chrom", "start", "end", "gene", "score"],
        orient="row",
    )
    found = score_pairs(table, pairs)
    assert found.covered.tolist() == [False, True, False, True, False, False]
    assert found.score[1] == 3.0 and found.score[3] == 4.0
    assert (found.score[~found.covered] < 3.0).all()
    assert score_pairs(table, pairs, "sum").score[1] == 5.0
    typed = table.with_columns(cell_type=pl.lit("no such type"))
    assert not score_pairs(typed, pairs).covered.any()


def test_an_oracle_beats_the_baselines_and_the_null_is_chance(tmp_path: Path) -> None:
    pairs = read_tested_pairs(write_pairs(tmp_path / "t.tsv", some_rows(140, seed=2)))
    truth = pairs.truth()
    found = evaluate_links({"oracle": truth.astype(float)}, pairs, n_draws=50)
    oracle = found["predictors"]["oracle"]
    assert oracle["auprc"] == 1.0 and oracle["minus_baselines"]["distance"]["low"] > 0
    assert oracle["permuted"]["low"] <= truth.mean() + 0.02 <= oracle["permuted"]["high"] + 0.05
    assert set(found["cell_types"]) == {"HCT116", "K562"}
    low, high = found["baselines"]["distance"]["intervals"]["auprc"]
    assert low < found["baselines"]["distance"]["auprc"] < high
    table = score_table(found)
    assert table.height == 3 * 2 * 5 and table.filter(pl.col("predictor") == "oracle").height == 6
    counts = table.filter((pl.col("range") == "150kb") & (pl.col("cell_type") == "all"))["n_pairs"]
    assert set(counts) == {int((pairs.distance <= 150_000).sum())}


def test_a_table_without_answers_cannot_be_scored(tmp_path: Path) -> None:
    pairs = read_tested_pairs(write_pairs(tmp_path / "t.tsv", some_rows(6), drop=["Regulated"]))
    with pytest.raises(InputError, match="no column 'Regulated'"):
        evaluate_links({}, pairs)
