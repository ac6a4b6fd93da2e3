"""Elementary's losses by hand, laws of its heads, a planted rule learnt, and a killed run that ends the same."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cisoform.batches import Places, RegionBatch
from cisoform.data.region_build import build_regions
from cisoform.data.region_plan import RegionBuildConfig
from cisoform.data.regions import RegionDataset
from cisoform.errors import InputError
from cisoform.jobs.elementary import choose_recipe, evaluate, is_elementary, load, prepare, pretrain
from cisoform.models.creformer.elementary import ElementaryConfig
from cisoform.models.creformer.pretraining import ElementaryPretraining
from cisoform.recipes_regulation import ELEMENTARY_RECIPES, elementary_recipe
from cisoform.training.elementary import (
    ElementaryLossConfig,
    ElementaryTask,
    class_weights,
    expected_level,
    first_base,
    posterior,
    predicted_base,
    ranked_probability_score,
    start_biases,
)
from cisoform.weights.store import save_model
from tests.data import region_files as files

torch.set_num_threads(1)
SIZES = ElementaryConfig(dim=24, heads=3, ffn=40, bin_layers=1, window_layers=1, tracks=("atac", "ctcf"))
COUNTS = {
    name: {"tokens": [0, 90, 9, *[1] * 34, 0], "bins": [0, 10, 20, *[2] * 34, 0]} for name in SIZES.tracks
}


def a_batch(seed: int = 0, rows: int = 3, tokens: int = 256) -> RegionBatch:
    rng = torch.Generator().manual_seed(seed)
    dna = torch.randint(4, 4100, (rows, tokens), generator=rng, dtype=torch.int16)
    where = torch.randperm(rows * tokens, generator=rng)[:17].sort().values
    target = dna.reshape(-1)[where].long()
    dna.reshape(-1)[where] = 3
    atac = torch.randint(1, 37, (rows, tokens), generator=rng, dtype=torch.uint8)
    places = Places(where[:5], atac.reshape(-1)[where[:5]].long())
    bins = Places(
        torch.arange(rows * tokens // 128), torch.randint(1, 37, (rows * tokens // 128,), generator=rng)
    )
    index = torch.arange(rows)
    return RegionBatch(
        dna, {"atac": atac}, Places(where, target), {"atac": places}, {"ctcf": bins}, index, index * 0
    )


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elementary")
    files.write_genome(folder)
    files.write_tracks(folder)
    config = RegionBuildConfig(window=512, test_chromosomes=("c3",), test_samples=("skin",))
    build_regions(folder / "genome.fa", folder / "tracks.tsv", folder / "regions", config)
    return folder / "regions"


def test_weights_of_levels_by_hand() -> None:
    weights = class_weights([0, 75, 25, 0], cap=10.0)
    # 1 / sqrt(0.75), 1 / sqrt(0.25), and the cap for what never occurs.
    np.testing.assert_allclose(weights.tolist(), [10, 1 / math.sqrt(0.75), 2, 10], rtol=1e-6)
    assert class_weights([1, 1_000_000], cap=1.0).tolist() == [1, 1]


def test_dividing_the_weights_out_gives_back_the_frequencies() -> None:
    counts = [0, 800, 150, *[1] * 34, 0]
    weights = class_weights(counts, cap=10.0)
    # The best constant answer under the weighted loss is the start bias; its posterior is the plain frequency.
    share = posterior(start_biases(counts, weights)[None], weights)[0]
    np.testing.assert_allclose(share[:2], [800 / 984, 150 / 984], rtol=1e-3)
    level = expected_level(start_biases(counts, weights)[None], weights)
    np.testing.assert_allclose(float(level), np.dot(range(1, 37), counts[1:37]) / 984, rtol=1e-2)


def test_first_bases_of_kmers() -> None:
    # ids 4 AAAAAA, 4 + 4**5 CAAAAA, 4099 TTTTTT.
    assert first_base(torch.tensor([4, 4 + 4**5, 4099])).tolist() == [0, 1, 3]
    logits = torch.full((1, 4100), -5.0)
    logits[0, 4 + 2 * 1024 : 4 + 3 * 1024] = -2.0  # many 6-mers that begin with G against one likely T
    logits[0, 4099] = 1.0
    assert predicted_base(logits).tolist() == [2]


def test_the_loss_is_the_sum_of_three_means() -> None:
    torch.manual_seed(0)
    model = ElementaryPretraining(SIZES)
    batch = a_batch()
    with torch.no_grad():
        logits = model(batch)
    task = ElementaryTask(model, COUNTS, loss=ElementaryLossConfig(bins=0.5))
    weights = class_weights(COUNTS["atac"]["tokens"], 10.0)

    def mean(values: torch.Tensor, target: torch.Tensor, w: torch.Tensor) -> float:
        each = [-float(row.log_softmax(0)[t]) * float(w[t]) for row, t in zip(values, target, strict=True)]
        return sum(each) / float(w[target].sum())

    expected = mean(logits.dna, batch.hidden_dna.target, torch.ones(4100))
    expected += mean(logits.tracks["atac"], batch.hidden_tracks["atac"].target, weights)
    bins = class_weights(COUNTS["ctcf"]["bins"], 10.0)
    expected += 0.5 * mean(logits.bins["ctcf"], batch.preserved["ctcf"].target, bins)
    with torch.no_grad():
        loss = task.loss(batch)
    assert float(loss.weight) == 3 and float(loss.total) / 3 == pytest.approx(expected, rel=1e-5)


def test_ranked_probability_score_by_hand() -> None:
    # Probabilities 1/2, 1/4, 1/4: cumulated .5, .75, 1. Truth level 1: 0, 1, 1. Squares .25, .0625, 0.
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log()
    assert ranked_probability_score(logits, torch.tensor([1])).tolist() == pytest.approx([0.3125])
    sure = torch.tensor([[50.0, 0.0, 0.0, 0.0]]).expand(4, 4)
    # All on level 0: the score is the distance of the truth in levels.
    assert ranked_probability_score(sure, torch.arange(4)).tolist() == pytest.approx([0, 1, 2, 3], abs=1e-6)


def test_the_ordinal_part_of_the_loss_adds_to_the_levels_alone() -> None:
    torch.manual_seed(0)
    model, batch = ElementaryPretraining(SIZES), a_batch()
    parts = {}
    for weight in (0.0, 2.0):
        task = ElementaryTask(model, COUNTS, loss=ElementaryLossConfig(ordinal=weight, tracks=0.0, dna=0.0))
        with torch.no_grad():
            parts[weight] = float(task.loss(batch).total) / 3
            values, target = model(batch).bins["ctcf"], batch.preserved["ctcf"].target
    w = class_weights(COUNTS["ctcf"]["bins"], 10.0)[target]
    score = float((w * ranked_probability_score(values, target)).sum() / w.sum())
    assert parts[2.0] == pytest.approx(parts[0.0] + 2 * score, rel=1e-5)


def test_heads_read_only_hidden_places() -> None:
    model = ElementaryPretraining(SIZES).eval()
    batch = a_batch()
    logits = model(batch)
    assert logits.dna.shape == (17, 4100) and logits.tracks["atac"].shape == (5, 38)
    assert set(logits.tracks) == {"atac"} and set(logits.bins) == {"ctcf"}
    one = replace(batch, hidden_dna=Places(batch.hidden_dna.index[3:4], batch.hidden_dna.target[3:4]))
    torch.testing.assert_close(model(one).dna, logits.dna[3:4], atol=1e-5, rtol=1e-5)


def test_hidden_targets_cannot_change_the_answer_and_every_parameter_learns() -> None:
    torch.manual_seed(1)
    model = ElementaryPretraining(SIZES)
    batch = a_batch()
    other = replace(batch, hidden_dna=Places(batch.hidden_dna.index, batch.hidden_dna.target * 0 + 4))
    torch.testing.assert_close(model(batch).dna, model(other).dna, atol=0, rtol=0)
    task = ElementaryTask(model, COUNTS)
    both = replace(
        batch,
        tracks={**batch.tracks, "ctcf": batch.tracks["atac"]},
        hidden_tracks={**batch.hidden_tracks, "ctcf": batch.hidden_tracks["atac"]},
        preserved={"atac": batch.preserved["ctcf"], "ctcf": batch.preserved["ctcf"]},
    )
    task.loss(both).total.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert silent == []


def test_a_batch_without_labels_has_no_loss() -> None:
    empty = Places(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    batch = replace(a_batch(), hidden_dna=empty, hidden_tracks={}, preserved={})
    assert ElementaryTask(ElementaryPretraining(SIZES), COUNTS).loss(batch).total.item() == 0
    with pytest.raises(InputError, match="no window"):
        ElementaryTask(ElementaryPretraining(SIZES), COUNTS).validate([])


@pytest.mark.parametrize("name", ELEMENTARY_RECIPES)
def test_recipes_are_whole(name: str) -> None:
    recipe = elementary_recipe(name)
    assert max(recipe.loader.lengths) <= recipe.model.max_bins * recipe.model.bin_size


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(InputError, match="recipe 'smal' is unknown; did you mean 'small'"):
        elementary_recipe("smal")


def test_a_planted_rule_is_learnt(tmp_path: Path) -> None:
    """`copy` equals `atac`: a preserved `copy` must be read off `atac`, on chromosomes that training never saw."""
    files.write_genome(tmp_path)
    (tmp_path / "bw").mkdir()
    # Four levels, one to a tile of 256 + 5 bases.
    rng = np.random.default_rng(0)
    chroms = {
        c: np.repeat(rng.choice([0.0, 0.3, 2.5, 30.0], 25), 261)[: files.CHROMS[c]].astype(np.float32)
        for c in ("c1", "c2", "c3")
    }
    lines = ["sample\ttrack\tpath"]
    for track in ("atac", "copy"):
        files.write_bigwig(tmp_path / f"bw/{track}.bw", chroms)
        lines.append(f"liver\t{track}\tbw/{track}.bw")
    (tmp_path / "t.tsv").write_text("\n".join(lines) + "\n")
    config = RegionBuildConfig(window=256, test_chromosomes=("c3",))
    build_regions(tmp_path / "genome.fa", tmp_path / "t.tsv", tmp_path / "regions", config)
    data = RegionDataset.open(tmp_path / "regions")
    settings = ["train.epochs=null", "train.max_steps=120", "loader.anchor_alone=0.6", "loss.dna=0", "train.lr=0.003",
                "loader.lengths=[256]", "loader.batch_tokens=2048"]  # fmt: skip
    run = prepare(data, choose_recipe("tiny", settings), "tiny")
    pretrain(run, tmp_path / "run", device="cpu")
    scores = evaluate(load(tmp_path / "run"), data, "test")["parts"]
    assert scores["seen chromosome, unseen sample"] is None
    part = scores["unseen chromosome, seen sample"]["preserved"]["copy"]
    assert part["other_tracks"]["pearson"]["model"] > 0.8
    assert part["other_tracks"]["pearson"]["model"] > (part["dna_alone"]["pearson"]["model"] or 0) + 0.3


def test_a_killed_run_ends_with_the_weights_of_the_uninterrupted_one(regions: Path, tmp_path: Path) -> None:
    settings = [
        "train.epochs=null",
        "train.max_steps=24",
        "train.checkpoint_every=2",
        "train.validate_every=8",
    ]
    data = RegionDataset.open(regions)
    pretrain(prepare(data, choose_recipe("tiny", settings)), tmp_path / "whole", device="cpu")
    code = f"""
import time, torch
torch.set_num_threads(1)
from cisoform.data.regions import RegionDataset
from cisoform.jobs import elementary as job
run = job.prepare(RegionDataset.open({str(regions)!r}), job.choose_recipe("tiny", {settings!r}))
batch = run.source.batch
def slow(epoch, number):
    time.sleep(0.2)
    return batch(epoch, number)
run.source.batch = slow
job.pretrain(run, {str(tmp_path / "killed")!r}, device="cpu")
"""
    child = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 120
    while not list((tmp_path / "killed" / "last").glob("*.json")) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    run = prepare(data, choose_recipe("tiny", settings))
    result = pretrain(run, tmp_path / "killed", device="cpu", resume=True)
    assert result.step == 24
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_models_of_another_kind_and_data_that_do_not_fit(regions: Path, tmp_path: Path) -> None:
    data = RegionDataset.open(regions)
    run = prepare(data, choose_recipe("tiny", ["train.epochs=null", "train.max_steps=1"]), "tiny")
    pretrain(run, tmp_path / "run", device="cpu")
    assert is_elementary(tmp_path / "run")
    model = load(tmp_path / "run")
    assert model.tracks == files.TRACKS and model.elementary.dim == 32 and model.edges == data.edges
    save_model(tmp_path / "other", {"w": torch.ones(1)}, {}, {"about.json": {"kind": "isoformer"}})
    assert not is_elementary(tmp_path / "other")
    with pytest.raises(InputError, match="is not a pre-trained Elementary but 'isoformer'"):
        load(tmp_path / "other")
    strange = replace(data, tracks=("atac", "dnase"))
    with pytest.raises(
        InputError, match=r"has the track 'dnase' that the run does not know \(it has atac, h3k4me3\)"
    ):
        evaluate(model, strange)
    cut = replace(data, edges={**data.edges, "atac": tuple(map(float, range(1, 35)))})
    with pytest.raises(InputError, match="'atac' are cut at other edges"):
        evaluate(model, cut)
    other = evaluate(model, replace(data, manifest={**data.manifest, "hash": "0"}), "valid")
    assert "another data set" in other["warnings"][0] and set(other["parts"]) == {"valid"}
    with pytest.raises(InputError, match="model.max_bins=2"):
        prepare(data, choose_recipe("tiny", ["model.max_bins=2"]))
