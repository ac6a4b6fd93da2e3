"""Public Enformer and Borzoi weights inside IsoFormer: what learns, what is cached, and windows that are too short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.features import sequences as cached
from cisoform.jobs.isoform_encoders import has_tables
from cisoform.jobs.isoform_model import IsoformModel, predict
from cisoform.jobs.isoform_train import choose_recipe, encode_once, prepare, train
from cisoform.models.encoders.trunk import TrunkEncoder
from cisoform.models.isoformer import IsoFormer
from cisoform.weights.trunks import TrunkKind, read_trunk
from tests.cli.mini import mini_dataset
from tests.weights.public_trunks import write_trunk

KINDS: list[TrunkKind] = ["enformer", "borzoi"]
SHORT = ("train.epochs=1", "train.max_steps=2", "model.rna=null", "model.aggregator.heads=2")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IsoformDataset:
    return mini_dataset(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("public")
    return {kind: write_trunk(root / kind, kind) for kind in KINDS}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))


def settings(kind: str, weights: dict[str, Path] | None, *more: str) -> tuple[str, ...]:
    place = () if weights is None else (f"model.dna.weights={weights[kind]}", "model.dna.bins=0")
    return (
        *SHORT,
        f"model.dna.kind={kind}",
        *place,
        "loader.dna_window=256",
        "loader.dna_upstream=128",
        *more,
    )


def encoder_of(model: IsoFormer) -> TrunkEncoder:
    found = model.encoders["dna"]
    assert isinstance(found, TrunkEncoder)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_trunk_keeps_the_public_weights_and_encodes_once(
    dataset: IsoformDataset,
    weights: dict[str, Path],
    kind: TrunkKind,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = prepare(dataset, choose_recipe("tiny", settings(kind, weights)), "tiny")
    assert run.reading is not None and f"dna by {kind} (2 layers of width" in run.reading
    assert "frozen: sequences are encoded once" in run.reading
    train(run, tmp_path / "run", device="cpu")
    model = IsoformModel.load(tmp_path / "run")
    public = read_trunk(weights[kind], kind)
    state = encoder_of(model.model).network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in public.body.items())
    assert model.about["encoders"]["dna"]["sha256"] == public.about["sha256"]
    # What was cached in training is what the encoder gives, and a second run computes nothing.
    plain = predict([model], dataset.samples)[0]
    assert np.isfinite(plain).all() and plain.std() > 0
    monkeypatch.setattr(cached, "_encode", None)
    again = prepare(dataset, choose_recipe("tiny", settings(kind, weights), seed=1), "tiny")
    encode_once(again, "cpu")
    assert has_tables(again.task.model, again.source.config)  # type: ignore[arg-type]
    assert isinstance(again.task.model, IsoFormer)
    table = encoder_of(again.task.model)
    shown = next(again.source.epoch()).dna
    assert shown is not None and table.table is not None
    looked_up = table(shown.tokens)
    computed = table.eval().encode(shown.tokens)
    assert torch.equal(looked_up.mask, computed.mask)
    torch.testing.assert_close(looked_up.states, computed.states, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["full", "lora", "last"])
def test_what_learns_moves_and_what_does_not_stays(
    dataset: IsoformDataset, weights: dict[str, Path], kind: TrunkKind, mode: str, tmp_path: Path
) -> None:
    # A head of zeros gives the encoder no gradient in the first step, so a few more are taken.
    more = ("train.max_steps=6", "train.epochs=6", f"model.dna.learn={mode}")
    more += ("model.dna.last_layers=1", "model.dna.lora_rank=2")
    run = prepare(dataset, choose_recipe("tiny", settings(kind, weights, *more)), "tiny")
    train(run, tmp_path / "run", device="cpu")
    model = IsoformModel.load(tmp_path / "run")
    public = read_trunk(weights[kind], kind).body
    assert isinstance(
        run.task.model, IsoFormer
    )  # with the last weights; those saved may be of the first epoch
    state = encoder_of(run.task.model).network.state_dict()
    plain = {name.replace(".base.", "."): value for name, value in state.items()}
    moved = {name for name, value in public.items() if not torch.equal(plain[name], value)}
    assert not any(name.endswith((".mean", ".variance")) for name in moved), "running statistics stand still"
    if mode == "lora":
        assert not moved and any(value.any() for name, value in state.items() if name.endswith(".up"))
    elif mode == "last":
        assert moved and all(name.startswith(("layers.1.", "last.")) for name in moved)
    else:
        assert {"last.conv.weight", "layers.0.ffn_in.weight", "tower.0.conv.weight"} <= {
            name.replace("first.", "") for name in moved
        }
    values = predict([model], dataset.samples)[0]
    assert np.isfinite(values).all() and values.std() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_trunks_train_from_nothing_and_their_statistics_are_saved(
    dataset: IsoformDataset, kind: TrunkKind, tmp_path: Path
) -> None:
    run = prepare(dataset, choose_recipe("tiny", settings(kind, None)), "tiny")
    train(run, tmp_path / "run", device="cpu")
    model = IsoformModel.load(tmp_path / "run")
    means = [v for n, v in encoder_of(model.model).network.state_dict().items() if n.endswith("norm.mean")]
    assert means and all(bool(mean.any()) for mean in means)
    assert np.isfinite(predict([model], dataset.samples)[0]).all()


def test_a_window_that_a_checkpoint_cannot_read_is_refused(
    dataset: IsoformDataset, weights: dict[str, Path]
) -> None:
    recipe = choose_recipe("tiny", settings("enformer", weights, "model.dna.bins=null"))
    with pytest.raises(
        InputError, match=r"loader.dna_window=256 has 2 bins of 128 bp, but 6 round the middle"
    ):
        prepare(dataset, recipe, "tiny")
    with pytest.raises(InputError, match=r"size=published: the weights .* have width 96"):
        prepare(
            dataset, choose_recipe("tiny", settings("enformer", weights, "model.dna.size=published")), "tiny"
        )
    with pytest.raises(InputError, match=r"dna_window=256 has 2 bins of 128 bp, but 896"):
        choose_recipe("tiny", settings("enformer", None, "model.dna.size=published"))
    with pytest.raises(InputError, match=r"model.dna.learn=lora needs weights"):
        prepare(dataset, choose_recipe("tiny", settings("borzoi", None, "model.dna.learn=lora")), "tiny")
