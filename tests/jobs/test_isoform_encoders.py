"""Public ESM-2 and NT-v2 weights inside IsoFormer: what learns, what is cached and shared, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cisoform.batches import Tokens
from cisoform.benchmark.evaluation import EvaluationConfig
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.errors import InputError
from cisoform.features import cache as feature_cache
from cisoform.features import sequences as cached
from cisoform.features.sequences import sequence_table
from cisoform.jobs.isoform_encoders import SharedTables, has_tables, use_tables
from cisoform.jobs.isoform_evaluate import evaluate
from cisoform.jobs.isoform_model import IsoformModel, predict
from cisoform.jobs.isoform_train import choose_recipe, encode_once, prepare, train
from cisoform.models.encoders.pretrained import SequenceTable, sequence_key
from cisoform.models.encoders.rotary import (
    Esm2Config,
    RotaryEncoder,
    esm2_network,
)
from cisoform.models.isoformer import IsoFormer
from cisoform.weights.rotary import read_rotary
from tests.cli.mini import mini_dataset
from tests.weights.public_rotary import esm2_config, nt_config, write

SHORT = ("train.epochs=2", "model.dna=null", "model.aggregator.aggregate=all", "model.aggregator.heads=2")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IsoformDataset:
    return mini_dataset(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("public")
    return {
        "esm2": write(root / "esm2", esm2_config()),
        "nt_v2": write(root / "nt", nt_config(), pickled=True),
    }


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CISOFORM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def settings(weights: dict[str, Path], *more: str) -> tuple[str, ...]:
    kinds = ("model.rna.kind=nt_v2", "model.protein.kind=esm2")
    places = (f"model.rna.weights={weights['nt_v2']}", f"model.protein.weights={weights['esm2']}")
    return (*SHORT, *kinds, *places, *more)


def encoder_of(model: IsoFormer, name: str) -> RotaryEncoder:
    found = model.encoders[name]
    assert isinstance(found, RotaryEncoder)
    return found


def test_frozen_encoders_keep_the_public_weights_and_encode_once(
    dataset: IsoformDataset,
    weights: dict[str, Path],
    own_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = choose_recipe("tiny", settings(weights))
    assert (recipe.loader.rna_tokens, recipe.loader.protein_tokens) == ("kmers", "esm")
    run = prepare(dataset, recipe, "tiny")
    assert (
        run.reading is not None
        and "rna by nt_v2 (2 layers of width 12), frozen: sequences are encoded once" in (run.reading)
    )
    assert not has_tables(run.task.model, run.source.config)  # type: ignore[arg-type]
    train(run, tmp_path / "run", device="cpu")
    model = IsoformModel.load(tmp_path / "run")
    for name, kind in (("rna", "nt_v2"), ("protein", "esm2")):
        public = read_rotary(weights[kind])
        state = encoder_of(model.model, name).network.state_dict()
        assert all(torch.equal(state[key], value) for key, value in public.body.items())
        assert model.about["encoders"][name]["sha256"] == public.about["sha256"]
    assert not any(
        "public" in json.dumps(entry) and "/" in entry["source"] for entry in model.about["encoders"].values()
    )
    # The checkpoints may go; an evaluation finds what training has encoded, and encodes no more than the test part.
    rows = dataset.rows("test")
    plain = predict([model], dataset.samples, rows)[0]
    found = evaluate([model], dataset, "test", EvaluationConfig(baselines=None, n_draws=0))
    assert has_tables(model.model, model.loader)
    np.testing.assert_allclose(predict([model], dataset.samples, rows)[0], plain, atol=1e-5)
    assert found.result["n_transcripts"] == len(rows)
    # A second run of the same weights computes nothing.
    monkeypatch.setattr(cached, "_encode", None)
    again = prepare(dataset, choose_recipe("tiny", settings(weights), seed=1), "tiny")
    encode_once(again, "cpu")
    assert has_tables(again.task.model, again.source.config)  # type: ignore[arg-type]


def test_models_of_the_same_weights_share_one_table(
    dataset: IsoformDataset, weights: dict[str, Path], own_cache: Path
) -> None:
    shared: SharedTables = {}
    runs = []
    for seed, more in ((0, ()), (1, ()), (2, ("loader.rna_max=100",))):
        runs.append(prepare(dataset, choose_recipe("tiny", settings(weights, *more), seed), "tiny"))
        encode_once(runs[-1], "cpu", shared=shared)
    models = [run.task.model for run in runs]
    tables = [[encoder_of(model, name).table for name in ("rna", "protein")] for model in models]  # type: ignore[arg-type]
    assert tables[0][0] is tables[1][0] and tables[0][1] is tables[1][1] is tables[2][1]
    assert tables[2][0] is not tables[0][0] and len(shared) == 3
    with torch.no_grad():
        encoder_of(runs[0].task.model, "rna").network.norm.bias += 1  # type: ignore[arg-type]
    use_tables(runs[0].task.model, dataset.samples, runs[0].source.rows, runs[0].source.config, shared=shared)  # type: ignore[arg-type]
    assert len(shared) == 4


@pytest.mark.parametrize("mode", ["full", "lora", "last"])
def test_what_learns_moves_and_what_does_not_stays(
    dataset: IsoformDataset, weights: dict[str, Path], own_cache: Path, mode: str, tmp_path: Path
) -> None:
    more = ("train.epochs=6", f"model.rna.learn={mode}", "model.rna.last_layers=1", "model.rna.lora_rank=2")
    run = prepare(dataset, choose_recipe("tiny", settings(weights, *more)), "tiny")
    train(run, tmp_path / "run", device="cpu")
    model = IsoformModel.load(tmp_path / "run")
    public = read_rotary(weights["nt_v2"]).body
    state = encoder_of(model.model, "rna").network.state_dict()
    plain = {name.replace(".base.", "."): value for name, value in state.items()}
    moved = {name for name, value in public.items() if not torch.equal(plain[name], value)}
    if mode == "lora":
        assert not moved and any(value.any() for name, value in state.items() if name.endswith(".up"))
    elif mode == "last":
        assert moved and all(name.startswith(("layers.1.", "norm.")) for name in moved)
    else:
        assert {"embedding.weight", "layers.0.ffn_in.weight", "norm.bias"} <= moved
    values = predict([model], dataset.samples)[0]
    assert np.isfinite(values).all() and values.std() > 0


def test_encoders_of_the_kinds_train_from_nothing_and_read_dna(
    dataset: IsoformDataset, tmp_path: Path
) -> None:
    chosen = ("train.epochs=1", "model.dna.kind=nt_v2", "model.rna=null", "model.protein.kind=esm2")
    run = prepare(
        dataset, choose_recipe("tiny", (*chosen, "loader.dna_window=128", "loader.dna_upstream=null")), "tiny"
    )
    assert encoder_of(run.task.model, "dna").config.mode == "full"  # type: ignore[arg-type]
    train(run, tmp_path / "run", device="cpu")
    assert np.isfinite(predict([IsoformModel.load(tmp_path / "run")], dataset.samples)[0]).all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("model.rna.size=50M",), "model.rna.size=50M: the weights .* have width 12 and 2 layers"),
        (
            ("model.rna.learn=last", "model.rna.last_layers=3"),
            "last_layers=3: .*2 layers",
        ),
        (("model.rna.learn=frozen", "model.rna.weights=null"), "model.rna.learn=frozen needs weights"),
        (("model.rna.learn=lora", "model.rna.lora_rank=13"), "rank=13"),
        (("model.protein.weights=PUBLIC",), "is 33|vocab_size"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    dataset: IsoformDataset, weights: dict[str, Path], more: tuple[str, ...], said: str
) -> None:
    more = tuple(one.replace("PUBLIC", str(weights["nt_v2"])) for one in more)
    with pytest.raises(InputError, match=said):
        prepare(dataset, choose_recipe("tiny", settings(weights, *more)), "tiny")


def test_tokens_that_an_encoder_does_not_know_are_refused(weights: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="model.rna.kind=nt_v2 reads loader.rna_tokens=kmers, not bases"):
        choose_recipe("tiny", settings(weights, "loader.rna_tokens=bases"))
    with pytest.raises(
        InputError, match="model.protein.kind=tiny reads loader.protein_tokens=residues, not esm"
    ):
        choose_recipe("tiny", ("loader.protein_tokens=esm",))


def rows_of_ids(count: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.integers(4, 30, size=length, dtype=np.int16) for length in rng.integers(1, 200, size=count)]


def small_encoder() -> RotaryEncoder:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return RotaryEncoder(Esm2Config(network=esm2_network(8, 1, 2), learn="frozen"))


def check(encoder: RotaryEncoder, rows: list[np.ndarray[Any, Any]], values: Any, first: Any) -> None:
    for ids in rows:
        expected = encoder.network(torch.from_numpy(ids[None]), torch.ones(1, len(ids), dtype=torch.bool))[0]
        start = first[sequence_key(ids)]
        found = values[start : start + -(-len(ids) // cached.CHUNK_POSITIONS)].flatten(0, 1)
        torch.testing.assert_close(found[: len(ids)], expected.detach(), atol=1e-5, rtol=1e-5)
        assert not found[len(ids) :].any()


def test_an_interrupted_cache_keeps_what_was_whole_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, rows = small_encoder(), rows_of_ids(40)
    monkeypatch.setattr(cached, "_GROUP_TOKENS", 600)
    monkeypatch.setattr(cached, "_SHARD_BYTES", 1)
    encode: Callable[..., Any] = cached._encode
    seen: list[int] = []

    def until_killed(encoder: RotaryEncoder, sequences: list[Any]) -> Any:
        seen.append(len(sequences))
        if sum(seen) > 20:
            raise KeyboardInterrupt
        return encode(encoder, sequences)

    monkeypatch.setattr(cached, "_encode", until_killed)
    with pytest.raises(KeyboardInterrupt):
        sequence_table(encoder, rows, tmp_path)
    done, seen = sum(seen[:-1]), []
    assert 0 < done <= 20
    monkeypatch.setattr(cached, "_encode", lambda *given: seen.append(len(given[1])) or encode(*given))
    told: list[tuple[int, int]] = []
    table = sequence_table(encoder, [*rows, rows[0]], tmp_path, update=lambda *pair: told.append(pair))
    assert sum(seen) == len(rows) - done and told[-1] == (len(rows), len(rows))
    check(encoder, rows, table.values, table.first)
    half = sequence_table(encoder, rows[:5], tmp_path / "half", "bf16")
    assert half.values.dtype == torch.bfloat16


def fill_shared(root: Path) -> SequenceTable:
    """Fill a cache in shards of a few sequences, as a run does."""
    encoder = small_encoder()
    before = cached._GROUP_TOKENS, cached._SHARD_BYTES
    cached._GROUP_TOKENS, cached._SHARD_BYTES = 600, 1
    try:
        table = sequence_table(encoder, rows_of_ids(60), root)
    finally:
        cached._GROUP_TOKENS, cached._SHARD_BYTES = before
    check(encoder, rows_of_ids(60), table.values, table.first)
    return table


def fill_until_killed(root: Path) -> None:
    """Fill a cache, and die by SIGKILL when the fifth shard is written but not yet in its place."""
    renames: list[Path] = []
    rename = feature_cache._rename

    def die(source: Path, target: Path) -> None:
        renames.append(source)
        if len(renames) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    feature_cache._rename = die
    fill_shared(root)


def test_a_process_that_is_killed_while_it_writes_harms_nobody(tmp_path: Path) -> None:
    program = "import sys, pathlib; from tests.jobs.test_isoform_encoders import fill_until_killed; fill_until_killed(pathlib.Path(sys.argv[1]))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("*/shard-*"))) == 4 + 1 and len(list(tmp_path.glob("*/*.partial-*"))) == 1
    before = {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("*/shard-*") if "partial" not in path.name
    }
    fill_shared(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before, (
        "what was whole is used, not written again"
    )


def test_two_processes_fill_one_cache_at_a_time(tmp_path: Path) -> None:
    program = "import sys, pathlib; from tests.jobs.test_isoform_encoders import fill_shared; fill_shared(pathlib.Path(sys.argv[1]))"
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=root) as other:
        while other.poll() is None and not list(tmp_path.glob("*/about.json")):
            time.sleep(0.01)
        table = fill_shared(tmp_path)
        assert other.wait() == 0
    assert torch.equal(fill_shared(tmp_path).values, table.values)
    assert not list(tmp_path.glob("*/*.partial-*"))


def test_other_weights_other_folder_and_a_damaged_entry_is_computed_again(tmp_path: Path) -> None:
    encoder, rows = small_encoder(), rows_of_ids(7)
    sequence_table(encoder, rows, tmp_path)
    shard = next(tmp_path.glob("*/shard-*"))
    content = bytearray((shard / "values.npy").read_bytes())
    content[-1] ^= 1
    (shard / "values.npy").write_bytes(content)
    table = sequence_table(encoder, rows, tmp_path)
    check(encoder, rows, table.values, table.first)
    with torch.no_grad():
        encoder.network.norm.bias += 1
    other = sequence_table(encoder, rows, tmp_path)
    check(encoder, rows, other.values, other.first)
    assert len(list(tmp_path.glob("*/about.json"))) == 2


def test_a_table_of_no_sequence_leaves_rows_without_any_to_the_encoder(tmp_path: Path) -> None:
    encoder = small_encoder().eval()
    empty = Tokens(torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.bool))
    expected = encoder(empty)
    encoder.use_table(sequence_table(encoder, [], tmp_path))
    found = encoder(empty)
    torch.testing.assert_close(found.states, expected.states)
    assert torch.equal(found.mask, expected.mask) and not found.mask.any()
