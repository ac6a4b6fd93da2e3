"""Start scores are learnt once from training rows, kept, and used by training and prediction as they should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cisoform.data.build import build_isoform_dataset
from cisoform.data.isoform_dataset import Column, IsoformDataset
from cisoform.data.start_profile import fold_of_family
from cisoform.errors import InputError
from cisoform.jobs.isoform_model import IsoformModel, predict
from cisoform.jobs.isoform_train import prepare, train
from cisoform.jobs.start_scores import CACHE_PART, config_for, fit_start_scores
from cisoform.models.encoders import LandmarkDnaConfig
from cisoform.models.start_score import StartScoreConfig
from cisoform.recipes import IsoformRecipe, isoform_recipe
from tests.cli.mini import write_mini_project

STARTS = StartScoreConfig(
    channels=4, kernel=5, dilations=(2,), folds=2, before=20, after=20, jitter=3, epochs=2, batch_size=4
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IsoformDataset:
    project = write_mini_project(tmp_path_factory.mktemp("mini"))
    out = tmp_path_factory.mktemp("built") / "data"
    build_isoform_dataset(
        project.genome, project.annotation, project.expression, splits=project.splits, window=128, out=out
    )
    return IsoformDataset.open(out)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / CACHE_PART


def recipe() -> IsoformRecipe:
    small = isoform_recipe("small")
    dna = LandmarkDnaConfig(dim=8, core=(6, 3), spans=((-9, 0, 2),), starts=STARTS)
    model = replace(small.model, dna=dna, rna=None, protein=None, head_hidden=0)
    loader = replace(small.loader, dna_window=STARTS.window)
    return replace(small, model=model, loader=loader, train=replace(small.train, epochs=3), monitor="loss")


def fitted(dataset: IsoformDataset) -> tuple[list[dict[str, torch.Tensor]], list[str]]:
    said: list[str] = []
    states = fit_start_scores(dataset, config_for(dataset, STARTS), "cpu", say=said.append)
    return states, said


def same(left: list[dict[str, torch.Tensor]], right: list[dict[str, torch.Tensor]]) -> bool:
    return all(torch.equal(a[name], b[name]) for a, b in zip(left, right, strict=True) for name in a)


def test_scores_are_learnt_once_and_kept(dataset: IsoformDataset, cache: Path) -> None:
    states, said = fitted(dataset)
    assert len(states) == len(said) == 2 and "part 2 of 2" in said[1]
    assert not same(states[:1], states[1:])
    again, nothing = fitted(dataset)
    assert not nothing and same(states, again)
    folders = sorted(path for path in cache.iterdir() if path.is_dir())
    assert len(folders) == 2, "what training left beside the scorers"
    weights = folders[0] / "model.safetensors"
    damaged = weights.read_bytes()[:-1] + b"?"
    weights.unlink()  # the tensors above may be maps of the file
    weights.write_bytes(damaged)
    repaired, said = fitted(dataset)
    assert len(said) == 1 and same(states, repaired)


def test_labels_of_held_out_rows_change_nothing(dataset: IsoformDataset, cache: Path) -> None:
    states, _ = fitted(dataset)
    expression = np.array(dataset.expression)
    expression[dataset.split != "train"] = 1e5
    other, said = fitted(replace(dataset, expression=expression, hash="another"))
    assert len(said) == 2 and same(states, other)
    expression[dataset.rows("train")[::2]] = 0
    assert not same(states, fitted(replace(dataset, expression=expression, hash="a third"))[0])


def test_a_split_has_scores_of_its_own(dataset: IsoformDataset) -> None:
    fitted(dataset)
    split = dataset.split.copy()
    split[np.array(dataset.samples.gene_ids) == dataset.samples.gene_ids[dataset.rows("train")[0]]] = "test"
    # The same hash on purpose: the labels themselves are part of the name in the cache.
    assert fitted(replace(dataset, split=split))[1]


def test_training_reads_the_blind_scorer_and_prediction_all(dataset: IsoformDataset, tmp_path: Path) -> None:
    run = prepare(dataset, recipe(), device="cpu")
    batch = run.source.batch(0, 0)
    assert batch.dna is not None and batch.dna.tokens.fold is not None
    wanted = fold_of_family(dataset, 2)[batch.index.numpy()]
    present = batch.dna.present.numpy()
    assert (batch.dna.tokens.fold.numpy()[batch.dna.row.numpy()][present] == wanted[present]).all()
    valid = run.valid_source.batch(0, 0)
    assert valid.dna is not None and valid.dna.tokens.fold is None
    before = {name: value.clone() for name, value in run.task.model.state_dict().items() if "scorers" in name}
    train(run, tmp_path / "run", device="cpu")
    model = IsoformModel.load(tmp_path / "run")
    after = model.model.state_dict()
    assert before and all(torch.equal(value, after[name]) for name, value in before.items())
    # A function of the DNA window: company, ids and other transcripts of the gene do not matter.
    every = predict([model], dataset.samples)[0]
    row = np.array([3])
    alone = replace(dataset.samples.take(row), transcript_ids=["x"], gene_ids=["y"])
    np.testing.assert_allclose(predict([model], alone)[0], every[row], atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_with_a_cold_and_a_warm_cache(
    dataset: IsoformDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, cache in (("cold", "a"), ("warm", "a"), ("other", "b")):
        monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / cache))
        train(prepare(dataset, recipe(), device="cpu"), tmp_path / name, device="cpu")
    cold, warm, other = (
        (tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("cold", "warm", "other")
    )
    assert cold == warm == other


def test_what_cannot_be_learnt_is_refused(dataset: IsoformDataset) -> None:
    columns = [Column(column.name, "gene") for column in dataset.columns]
    with pytest.raises(InputError, match="no column is of transcripts.*starts=null"):
        prepare(replace(dataset, columns=columns), recipe(), device="cpu")
    with pytest.raises(InputError, match="no training gene is outside fold .*starts=null"):
        prepare(replace(dataset, family=["one"] * dataset.samples.n), recipe(), device="cpu")
