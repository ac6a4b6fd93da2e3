"""`regulation score` through the command line: laws of its tables, files for browsers, comparisons and the null."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from cisoform.analysis.scores import VARIANTS
from cisoform.jobs import score_checks
from tests.cli.test_regulation_perturb import write_locus
from tests.data.gene_sets import build_small, save_creformer

torch.set_num_threads(1)
Cli = Callable[..., Any]
CliError = Callable[..., str]
FAR_APART = "SYM3,SYM20"
"""Two genes that have no peak in common."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve cells of four types, a model of two layers with masked padding and one that reads its padding."""
    folder = tmp_path_factory.mktemp("score")
    build_small(folder, n_cells=12)
    save_creformer(folder / "model", layers=2)
    released = {"positions": "rank", "max_peaks": 6, "mask_padding": False}
    save_creformer(folder / "released", layers=2, **released)
    write_locus(folder / "locus.txt", 1000, 3000, 6000, 9000)
    return folder


def words(root: Path, *more: object) -> list[object]:
    base = ["regulation", "score", root / "model", "--data", root / "genes", "--cache", root / "cache"]
    return [*base, "--device", "cpu", *more]


def locus(
    root: Path, cli: Cli, *more: object, model: str = "released", text: str = "locus.txt"
) -> dict[str, Any]:
    base = ["regulation", "score", root / model, "--locus-text", root / text, "--tss-peak", 2]
    result = cli(*base, "--strand", "+", "--device", "cpu", "--json", *more)
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def rows(result: Any) -> pl.DataFrame:
    assert result.exit_code == 0, result.stderr
    return pl.DataFrame(json.loads(result.stdout)["rows"])


def test_a_locus_as_json(root: Path, cli: Cli) -> None:
    found = locus(root, cli, "--variant", "exact")
    assert list(found)[:3] == ["variant", "peaks", "score"] and found["variant"] == "exact"
    assert found["peaks"] == [f"chr1_{mid - 100}_{mid + 100}" for mid in (1000, 3000, 6000, 9000)]
    layers = [locus(root, cli, "--variant", "exact", "--layer", layer)["score"] for layer in (0, 1)]
    np.testing.assert_allclose(found["score"], np.mean(layers, axis=0), atol=1e-6)
    assert not np.allclose(layers[0], layers[1], atol=1e-4)
    every = locus(root, cli, "--variant", "all")
    assert set(every["score"]) == set(VARIANTS) and every["score"]["exact"] == found["score"]
    assert every["agreement"]["faithfulness"]["n_genes"] == 1


def test_who_looks_matters_where_padding_is_read(root: Path, cli: Cli) -> None:
    def total(model: str, queries: str) -> float:
        more = ("--variant", "exact", "--queries", queries)
        return float(np.sum(locus(root, cli, *more, model=model)["score"]))

    # Attention of one query sums to 1: all of it falls on the four peaks where padding is masked, else a part.
    assert total("model", "real") == pytest.approx(4, abs=1e-5)
    assert total("model", "all") == pytest.approx(4, abs=1e-5)
    assert total("released", "real") < 4 - 1e-3
    assert total("released", "real") < total("released", "all") < 6


def test_dna_alone_does_not_see_the_signal(root: Path, cli: Cli) -> None:
    lines = (root / "locus.txt").read_text().splitlines()
    other = [" ".join(["3"] * 1029) if at % 3 == 2 else line for at, line in enumerate(lines)]
    (root / "other.txt").write_text("\n".join(other) + "\n")
    more = ("--variant", "all")
    seen_whole = [locus(root, cli, *more, text=text) for text in ("locus.txt", "other.txt")]
    seen = [one["score"] for one in seen_whole]
    alone = [locus(root, cli, *more, "--sequence-only", text=text) for text in ("locus.txt", "other.txt")]
    assert alone[0]["sequence_only"] and alone[0]["score"] == alone[1]["score"]
    said = [
        any("not measured" in text for text in one["agreement"]["warnings"]) for one in (*seen_whole, *alone)
    ]
    assert said == [False, False, True, True]
    for name in VARIANTS:
        assert not np.allclose(seen[0][name], seen[1][name], rtol=1e-3)
        assert not np.allclose(seen[0][name], alone[0]["score"][name], rtol=1e-3)


def test_tables_tracks_and_figures(root: Path, cli: Cli, cli_error: CliError, tmp_path: Path) -> None:
    line = words(root, "--genes", FAR_APART, "--variant", "all", "--group-by", "cell_type", "--samples", 8)
    result = cli(*line, "--plot", "SYM20", "--out", tmp_path / "o")
    assert result.exit_code == 0 and "deletion > random" in result.stdout, result.stderr
    printed = {line.split("  ")[0]: line.split()[-2:] for line in result.stdout.splitlines()}
    agreement = json.loads((tmp_path / "o" / "agreement.json").read_text())
    for name in ("accessibility", "nearness"):
        moved = [agreement["faithfulness"][key][name]["above_random"] for key in ("deletion", "insertion")]
        assert printed[f"{name} (baseline)"] == [f"{value:.3f}" for value in moved]
    assert "already exists" in cli_error(*line, "--out", tmp_path / "o")
    table = pl.read_parquet(tmp_path / "o" / "scores.parquet")
    assert table.columns == pl.read_csv(tmp_path / "o" / "scores.tsv", separator="\t").columns
    assert set(table["group"]) == {"B", "Mono", "NK", "T"} and set(table["n_groups"]) == {3}
    assert set(table["gene_name"]) == set(FAR_APART.split(","))
    within = table.group_by("gene_id", "group").agg(pl.col("z_exact").mean())
    np.testing.assert_allclose(within["z_exact"], 0, atol=1e-9)
    assert (table.filter(pl.col("accessibility") == 0)["score_ablation"] == 0).all()
    bed = pl.read_csv(tmp_path / "o" / "scores.bed", separator="\t", has_header=False)
    assert bed.height == table.height and bed.to_series(4).is_between(0, 1000).all()
    assert {"scores.B.bedgraph", "scores.B.bw", "locus.png", "locus.svg"} <= {
        path.name for path in (tmp_path / "o").iterdir()
    }
    about = json.loads((tmp_path / "o" / "score.json").read_text())
    assert about["dataset_hash"] and about["seed"] == 0 and about["model"]["recipe"] == "none"
    assert agreement["between"]["exact"]["exact"] == pytest.approx(1)
    assert set(agreement["with"]["ablation"]) == {"accessibility", "nearness"}


def test_a_label_is_the_mean_of_its_cells(root: Path, cli: Cli) -> None:
    line = words(root, "--genes", "SYM3", "--variant", "ablation,gradient", "--samples", 0, "--json")
    cells, types = rows(cli(*line)), rows(cli(*line, "--group-by", "cell_type"))
    kinds = pl.read_parquet(root / "genes" / "groups.parquet").select("name", "cell_type")
    mean = (
        cells.join(kinds, left_on="group", right_on="name")
        .group_by("peak", "cell_type")
        .agg(pl.col("score_ablation", "score_gradient", "accessibility").mean())
    )
    joined = types.join(mean, left_on=["peak", "group"], right_on=["peak", "cell_type"])
    assert joined.height == types.height
    for name in ("score_ablation", "score_gradient", "accessibility"):
        np.testing.assert_allclose(joined[name], joined[f"{name}_right"], atol=1e-6)
    part = rows(cli(*line, "--cell-types", "T"))
    same = part.join(cells, on=["group", "peak"])
    assert part["group"].n_unique() == 3 and same.height == part.height
    np.testing.assert_allclose(same["score_ablation"], same["score_ablation_right"], atol=1e-6)


def test_its_own_track_and_its_best_peaks_agree_with_it(root: Path, cli: Cli, tmp_path: Path) -> None:
    line = words(root, "--genes", FAR_APART, "--variant", "exact", "--samples", 0, "--group-by", "cell_type")
    assert cli(*line, "--out", tmp_path / "o").exit_code == 0
    table = pl.read_parquet(tmp_path / "o" / "scores.parquet").filter(pl.col("group") == "T")
    best = table.filter(pl.col("score_exact") == pl.col("score_exact").max().over("gene_id"))
    best.select("chrom", "start", "end").write_csv(
        tmp_path / "best.bed", separator="\t", include_header=False
    )
    own = ("--compare", f"T={tmp_path / 'o' / 'scores.T.bw'}", "--compare", f"T={tmp_path / 'best.bed'}")
    other = ("--compare", tmp_path / "o" / "scores.B.bedgraph")
    result = cli(*line, *own, *other, "--json")
    assert result.exit_code == 0, result.stderr
    track, chip, every = json.loads(result.stdout)["compare"]
    assert (track["kind"], chip["kind"], every["group"]) == ("track", "peaks", None)
    assert track["group"] == "T" and track["n_peaks"] == table.height and every["n_peaks"] == 4 * table.height
    exact = track["scores"]["exact"]
    assert exact["spearman"] == pytest.approx(1) and exact["auroc"] == 1.0
    assert exact["partial_spearman"] == pytest.approx(1)
    assert chip["scores"]["exact"]["auroc"] == 1.0 and chip["true_share"] == best.height / table.height
    assert abs(chip["scores"]["accessibility"]["spearman"]) < 1


def test_shuffled_scores_say_nothing_of_the_prediction(
    root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = words(root, "--variant", "ablation", "--samples", 120, "--json", "--out")

    def followed(out: str) -> tuple[dict[str, Any], list[str]]:
        result = cli(*line, root / out)
        assert result.exit_code == 0, result.stderr
        agreement = json.loads(result.stdout)["agreement"]
        return agreement["faithfulness"]["deletion"], agreement["warnings"]

    real, warnings = followed("real")
    low, high = real["ablation"]["interval"]
    assert 0 < low < high and real["ablation"]["mean_change"] > real["random"]["mean_change"]
    assert not any("random order" in text for text in warnings)
    rng = torch.Generator().manual_seed(3)
    scored = score_checks.score_inputs

    def shuffled(*args: Any) -> dict[str, torch.Tensor]:
        return {
            name: values[:, torch.randperm(values.shape[1], generator=rng)]
            for name, values in scored(*args).items()
        }

    monkeypatch.setattr(score_checks, "score_inputs", shuffled)
    null, warnings = followed("null")
    assert null["ablation"]["interval"][0] <= 0
    assert abs(null["ablation"]["above_random"]) < real["ablation"]["above_random"] / 3
    assert any("random order" in text for text in warnings)
