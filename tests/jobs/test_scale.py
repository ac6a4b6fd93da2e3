"""Grids of trainings: shares are nested and leave what scores alone; a stopped grid ends as the uninterrupted one."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from cisoform.data.simulate.regulation.config import RULES, RegulationConfig
from cisoform.errors import InputError
from cisoform.jobs.scale import run_scale
from cisoform.jobs.scale_cell import CELL, cells_of, key_of
from cisoform.jobs.scale_data import ScaleData, amounts, check, given, kept, part_of, simulated
from cisoform.jobs.scale_grid import Grid, choose_grid
from cisoform.training.protocols import Interrupted
from tests.jobs.scale_data import write_data

torch.set_num_threads(1)


def small_grid() -> Grid:
    return choose_grid("tiny", widths=(16,), shares=(0.5, 1.0), steps=4, fit_steps=6)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("scale"))


@pytest.fixture(scope="module")
def data(root: Path) -> ScaleData:
    return given(root / "regions", root / "genes", root / "whole")


def run(data: ScaleData, out: Path, update: Callable[[float, float, str], None]) -> dict[str, Any]:
    return run_scale(small_grid(), data, out, 0, "cpu", update, lambda *told: None)


@pytest.fixture(scope="module")
def whole(root: Path, data: ScaleData) -> tuple[Path, dict[str, Any], list[tuple[float, float, str]]]:
    """A grid of two cells without a break, its result, and what it told."""
    told: list[tuple[float, float, str]] = []
    result = run(data, root / "whole", lambda *values: told.append(values))
    return root / "whole", result, told


def stop_by_signal() -> None:
    signal.raise_signal(signal.SIGINT)


def stop_as_killed() -> None:
    raise RuntimeError("killed")


@pytest.mark.parametrize(
    ("at", "stop", "error", "words"),
    [
        ("d16-1-r0 pre-training", stop_by_signal, Interrupted, "cell d16-1-r0, 2 of 2: stopped after step"),
        ("d16-0.5-r0 fitting", stop_as_killed, RuntimeError, "killed"),
    ],
)
def test_a_stopped_grid_ends_as_the_uninterrupted_one(
    data: ScaleData,
    whole: tuple[Path, dict[str, Any], Any],
    tmp_path: Path,
    at: str,
    stop: Callable[[], None],
    error: type[BaseException],
    words: str,
) -> None:
    told: list[str] = []

    def update(done: float, total: float, text: str) -> None:
        told.append(text)
        if told.count(at) == 2:
            stop()

    with pytest.raises(error, match=words):
        run(data, tmp_path, update)
    seen: list[str] = []
    found = run(data, tmp_path, lambda done, total, text: seen.append(text))
    assert ("d16-0.5-r0 fitting" in seen) == (at != "d16-1-r0 pre-training")  # finished cells are kept
    folder, expected, _ = whole
    for one, other in zip(found["cells"], expected["cells"], strict=True):
        assert {**one, "seconds": None} == {**other, "seconds": None}
    for path in sorted(folder.rglob("model.safetensors")):
        assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert {**found, "cells": 0, "seconds": 0} == {**expected, "cells": 0, "seconds": 0}


def test_everything_is_written_and_says_the_same(whole: tuple[Path, dict[str, Any], Any]) -> None:
    folder, result, told = whole
    table = pl.read_csv(folder / "scaling.tsv", separator="\t")
    assert table["name"].to_list() == ["d16-0.5-r0", "d16-1-r0"]
    for row, cell in zip(table.iter_rows(named=True), result["cells"], strict=True):
        assert row["loss"] == pytest.approx(cell["pretraining"]["loss"])
        assert row["loss_before_training"] == pytest.approx(cell["pretraining"]["start_loss"])
        assert row["score"] == pytest.approx(cell["test"]["scores"]["model"]["gene_pearson"])
        rivals = [row[name] for name in ("gene_mean", "window_sum", "ridge", "ridge_delta")]
        assert row["best_baseline_score"] == max(rivals) and row["seed"] == 0
        assert cell["test"]["part"] == "unseen chromosomes, all cell types"
        assert not (folder / "cells" / f"{cell['name']}-{cell['key'][:8]}" / "features").exists()
    assert json.loads((folder / "scaling.json").read_text()) == result
    assert result["regions_hash"] and result["genes_hash"] and "no scaling law" in result["reading"][0]
    page = (folder / "scaling.html").read_text()
    assert all(cell["name"] in page for cell in result["cells"]) and "not enough points" in page
    assert (folder / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "scaling.svg").read_text().startswith("<?xml")
    done = [values[0] for values in told]
    assert done == sorted(done) and done[-1] == told[-1][1]


def test_the_loss_before_training_is_that_of_the_untrained_heads(
    whole: tuple[Path, dict[str, Any], Any],
) -> None:
    half, all_ = (cell["pretraining"]["start_loss"] for cell in whole[1]["cells"])
    # The heads start at the same level frequencies whatever the share; only the 6-mers start elsewhere.
    assert half == pytest.approx(all_, rel=0.02)


def test_shares_are_nested_and_validation_and_test_are_never_cut(data: ScaleData) -> None:
    small, large = kept(17, 0.3, 5, 1), kept(17, 0.7, 5, 1)
    assert small.sum() == 5 and large.sum() == 12 and not (small & ~large).any()
    assert kept(17, 1e-6, 5, 1).sum() == 1 and (kept(17, 0.3, 6, 1) != small).any()
    half, third = part_of(data, 0.6, 0), part_of(data, 0.2, 0)
    for of in ("regions", "genes"):
        one, two, all_ = (
            {
                split: set((p.regions.rows if of == "regions" else p.genes.gene_rows)(split).tolist())
                for split in ("train", "valid", "test")
            }
            for p in (third, half, data)
        )
        assert one["train"] < two["train"] < all_["train"]
        assert one["valid"] == two["valid"] == all_["valid"] and one["test"] == two["test"] == all_["test"]
    assert part_of(data, 1.0, 0) is data
    rows = half.regions.regions[half.regions.rows("train").tolist()]
    by_place = rows.group_by("chrom", "start").len()["len"]
    assert by_place.n_unique() == 1  # a place is kept in every sample or in none
    found = amounts(half)
    assert found["bases"] * len(data.regions.samples) == found["tokens"]
    assert found["pairs"] == found["genes"] * len(data.genes.group_rows("train"))


def test_a_key_holds_all_that_a_cell_depends_on(data: ScaleData) -> None:
    grid = small_grid()
    cell = cells_of(grid, 0)[0]
    keys = [
        key_of(cell, grid, data),
        key_of(cell, replace(grid, steps=5), data),
        key_of(cell, replace(grid, fit_steps=5), data),
        key_of(cell, replace(grid, lr=1.0), data),
        key_of(replace(cell, share=1.0), grid, data),
        key_of(replace(cell, width=32), grid, data),
        key_of(replace(cell, repeat=1), grid, data),
        key_of(cell, grid, replace(data, regions=replace(data.regions, manifest={"hash": "x"}))),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of(cell, replace(grid, repeats=4), data) == keys[0]
    assert [c.own_seed for c in cells_of(replace(grid, repeats=2), 3)] == [3, 3, 4, 4]


def test_a_damaged_result_of_a_cell_is_named(data: ScaleData, tmp_path: Path) -> None:
    grid = small_grid()
    cell = cells_of(grid, 0)[0]
    folder = tmp_path / "cells" / f"{cell.name}-{key_of(cell, grid, data)[:8]}"
    folder.mkdir(parents=True)
    (folder / CELL).write_text('{"name": ')
    with pytest.raises(InputError, match=r"cell\.json"):
        run(data, tmp_path, lambda *values: None)


def test_data_that_would_fail_late_are_refused_at_once(data: ScaleData) -> None:
    regions, genes = data.regions, data.genes
    check(data, 150, "atac")
    with pytest.raises(InputError, match="no track 'dnase'.*atac, h3k4me3.*--track"):
        check(data, 150, "dnase")
    none = replace(regions, regions=regions.regions.with_columns(split=pl.lit("train")))
    with pytest.raises(InputError, match="no validation region.*--valid-chromosomes"):
        check(replace(data, regions=none), 150, "atac")
    none_genes = replace(genes, genes=genes.genes.with_columns(split=pl.lit("train")))
    with pytest.raises(InputError, match="no gene of a held-out chromosome.*--test-chromosomes"):
        check(replace(data, genes=none_genes), 150, "atac")
    two = np.array(["train"] * 2 + ["valid"] * (genes.groups.height - 2))
    few = replace(genes, groups=genes.groups.with_columns(split=pl.Series(two)))
    with pytest.raises(InputError, match="has 2 training cells or pools"):
        check(replace(data, genes=few), 150, "atac")


def test_a_simulation_is_made_once_and_kept_to(tmp_path: Path) -> None:
    said: list[str] = []
    grid = replace(choose_grid("tiny", seed=3), simulation=RegulationConfig(seed=3, n_cells=60, n_variants=0))
    first = simulated(grid, tmp_path / "out", None, said.append)
    assert len(said) == 3 and first.simulated
    noted = json.loads((tmp_path / "out" / "inputs.json").read_text())["simulation"]
    assert noted["seed"] == 3 and noted["rules"] == sorted(RULES)  # a set has another order in every process
    again = simulated(grid, tmp_path / "out", None, said.append)
    assert len(said) == 3 and again.regions.hash == first.regions.hash
    check(again, 150, "atac")
    other = replace(grid, simulation=replace(grid.simulation, seed=4))
    with pytest.raises(InputError, match="holds a grid on other data .simulation differs.*another --out"):
        simulated(other, tmp_path / "out", None, said.append)
    assert amounts(first)["genes"] < 100 and {*first.genes.genes["split"]} == {"train", "valid", "test"}
