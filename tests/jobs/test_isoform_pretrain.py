"""Masked pre-training: planted structure is learnt beyond the baselines, runs resume, IsoFormers start from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cisoform.benchmark.masked import MODEL, UNIGRAM, token_letters
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.masked_tokens import VOCABULARIES
from cisoform.genome.ragged import Ragged
from cisoform.jobs.isoform_pretrain import choose_recipe, prepare, pretrain, score, start_at_letters
from cisoform.models.encoders.rotary import RotaryNetwork, nt_v2_network
from cisoform.tokens.kmer import vocabulary as kmer_vocabulary
from cisoform.weights.rotary import read_rotary
from tests.cli.mini import mini_dataset

SHORT = ("train.epochs=1", "train.max_steps=2")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> IsoformDataset:
    return mini_dataset(tmp_path_factory.mktemp("mini"))


def with_proteins(
    dataset: IsoformDataset, n: int, make: Callable[[np.random.Generator], np.ndarray]
) -> IsoformDataset:
    """So many transcripts with proteins of their own, each a family; the last 50 are held out."""
    rng, place = np.random.default_rng(5), np.arange(n)
    samples = dataset.samples.take(np.resize(np.arange(dataset.samples.n), n))
    proteins = Ragged.from_rows([make(rng).astype(np.uint8) for _ in range(n)], np.uint8)
    return replace(
        dataset,
        samples=replace(samples, protein=proteins, protein_row=place.astype(np.int32)),
        split=np.where(place < n - 50, "train", "valid").astype("U5"),
        family=[str(number) for number in range(n)],
    )


def far_copies(rng: np.random.Generator) -> np.ndarray:
    """Residues at random, each the same as the one 4 places before: no chain of two neighbours can know that."""
    return np.tile(rng.integers(0, 20, 4), 6)


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["predictor"]: row for row in result["rows"]}


def learnt(dataset: IsoformDataset, out: Path, *settings: str) -> dict[str, Any]:
    modality, recipe = choose_recipe(
        "tiny", "protein", ("train.lr=0.01", "masking.limits.batch_size=32", *settings)
    )
    run = prepare(dataset, modality, recipe)
    pretrain(run, out, device="cpu")
    return score(run, out, draws=50)


def test_structure_that_no_chain_sees_is_learnt(dataset: IsoformDataset, tmp_path: Path) -> None:
    planted = with_proteins(dataset, 450, far_copies)
    result = learnt(
        planted, tmp_path / "run", "network.heads=2", "train.epochs=10", "train.validate_every=50"
    )
    rows = by_name(result)
    chain = next(row for name, row in rows.items() if name.startswith("Markov"))
    # By chance 1 in 20; five other copies stand in sight.
    assert rows[MODEL]["accuracy"] > 0.4
    assert rows[UNIGRAM]["accuracy"] < 0.15 and chain["accuracy"] < 0.15
    assert rows[MODEL]["perplexity"] < 0.5 * min(chain["perplexity"], rows[UNIGRAM]["perplexity"])
    assert chain["gain_ci"][0] > 0 and result["loses_to"] == []
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["rows"][0]["predictor"] == MODEL


def test_nothing_to_learn_is_reported_as_such(dataset: IsoformDataset, tmp_path: Path) -> None:
    """Letters at random teach nothing: the network comes out no better than the frequencies, and that is said."""
    noise = with_proteins(dataset, 150, lambda rng: rng.integers(0, 20, 24))
    result = learnt(noise, tmp_path / "run", "train.epochs=3")
    rows = by_name(result)
    assert rows[MODEL]["perplexity"] > 19 and rows[MODEL]["accuracy"] < 0.15
    assert UNIGRAM in result["loses_to"]


def test_an_isoformer_starts_from_it(dataset: IsoformDataset, tmp_path: Path) -> None:
    from cisoform.jobs.isoform_train import choose_recipe as isoform_recipe
    from cisoform.jobs.isoform_train import prepare as prepare_isoformer

    for modality, kind in (("rna", "nt_v2"), ("protein", "esm2"), ("dna", "nt_v2")):
        chosen, recipe = choose_recipe("tiny", modality, SHORT, seed=2)
        out = tmp_path / modality
        pretrain(prepare(dataset, chosen, recipe, "tiny"), out, device="cpu")
        found = read_rotary(out)
        assert (found.kind, found.head, found.about["modality"]) == (kind, True, modality)
        settings = (
            f"model.{modality}.kind={kind}",
            f"model.{modality}.weights={out}",
            f"model.{modality}.learn=full",
        )
        run = prepare_isoformer(dataset, isoform_recipe("tiny", settings), "tiny")
        encoder = run.task.model.encoders[modality]
        for name, value in found.body.items():
            torch.testing.assert_close(encoder.network.state_dict()[name], value, rtol=0, atol=0)
        assert run.encoders[modality]["dataset_hash"] == dataset.hash


def test_an_encoder_from_another_data_set_is_told_of(dataset: IsoformDataset, tmp_path: Path) -> None:
    from cisoform.benchmark.evaluation import EvaluationConfig
    from cisoform.jobs.isoform_evaluate import evaluate
    from cisoform.jobs.isoform_model import IsoformModel
    from cisoform.jobs.isoform_train import choose_recipe as isoform_recipe
    from cisoform.jobs.isoform_train import prepare as prepare_isoformer
    from cisoform.jobs.isoform_train import train

    chosen, recipe = choose_recipe("tiny", "rna", SHORT)
    pretrain(prepare(dataset, chosen, recipe), tmp_path / "rna", device="cpu")
    settings = (
        "model.rna.kind=nt_v2",
        f"model.rna.weights={tmp_path / 'rna'}",
        "model.rna.learn=full",
        *SHORT,
    )
    train(prepare_isoformer(dataset, isoform_recipe("tiny", settings)), tmp_path / "run", device="cpu")
    model = IsoformModel.load(tmp_path / "run")
    config = EvaluationConfig(baselines=None, n_draws=0)
    assert evaluate([model], dataset, "test", config).result["warnings"] == []
    other = {"rna": {**model.about["encoders"]["rna"], "dataset_hash": "another"}}
    (said,) = evaluate(
        [replace(model, about={**model.about, "encoders": other})], dataset, "test", config
    ).result["warnings"]
    assert "the rna encoder was pre-trained on another data set" in said


def test_a_resumed_run_ends_with_the_same_bytes(dataset: IsoformDataset, tmp_path: Path) -> None:
    settings = ("train.epochs=3", "train.checkpoint_every=2", "masking.limits.batch_size=4")

    def run_to(out: Path, minutes: str, resume: bool) -> None:
        modality, recipe = choose_recipe("tiny", "rna", (*settings, f"train.max_minutes={minutes}"))
        pretrain(prepare(dataset, modality, recipe, "tiny"), out, resume=resume, device="cpu")

    run_to(tmp_path / "whole", "null", False)
    run_to(tmp_path / "cut", "0.000001", False)
    assert not (tmp_path / "cut" / "model").exists() or len(
        (tmp_path / "cut" / "log.csv").read_text().split()
    ) < len((tmp_path / "whole" / "log.csv").read_text().split())
    run_to(tmp_path / "cut", "null", True)
    for name in ("model.safetensors", "config.json"):
        whole, cut = (tmp_path / run / "model" / name for run in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes()


def test_the_seed_governs_the_weights(dataset: IsoformDataset) -> None:
    def weights(seed: int) -> torch.Tensor:
        modality, recipe = choose_recipe("tiny", "rna", (), seed)
        return prepare(dataset, modality, recipe).task.network.embedding.weight.detach()

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_six_mers_start_as_sums_over_their_letters() -> None:
    torch.manual_seed(0)
    network = RotaryNetwork(nt_v2_network(64, 1, 4), head=True)
    rna = VOCABULARIES["rna"]
    before = network.embedding.weight.detach().clone()
    start_at_letters(network, rna.first, rna.letters, rna.alphabet)
    after = network.embedding.weight.detach()
    assert torch.equal(before[: rna.first], after[: rna.first]) and torch.equal(
        before[rna.last :], after[rna.last :]
    )
    ids = {token: number for number, token in enumerate(kmer_vocabulary())}

    def alike(one: str, two: str) -> float:
        return float(torch.cosine_similarity(after[ids[one]], after[ids[two]], dim=0))

    # Five letters of six in common: 5/6 of the sum, less the noise.
    assert alike("ACGTAC", "ACGTAG") > 0.6 > 0.3 > abs(alike("ACGTAC", "CATGCT"))
    assert 0.8 < float(after[rna.first : rna.last].std() / before[rna.first : rna.last].std()) < 1.3


def test_tokens_spell_their_letters() -> None:
    rna, protein = VOCABULARIES["rna"], VOCABULARIES["protein"]
    # <cls> ATTCCG <mask> N A, in the vocabulary's order A T C G.
    ids = np.array([3, 369, 2, 4106, 4102])
    assert token_letters(ids, rna).tolist() == [-1, *(0, 1, 1, 2, 2, 3), *([-1] * 6), -1, 0]
    assert token_letters(np.array([0, 4, 32, 23, 24, 2]), protein).tolist() == [-1, 0, -1, 19, -1, -1]


# ----------------------------------------------------------------------------------------------- the command line


def test_the_command_prints_scores_beside_baselines(
    cli: Callable[..., Any], dataset: IsoformDataset, tmp_path: Path
) -> None:
    words = [
        "isoform",
        "pretrain",
        str(dataset.path),
        "--modality",
        "protein",
        "--recipe",
        "tiny",
        "--device",
        "cpu",
    ]
    words += ["--set", "train.epochs=1", "--draws", "10", "--out", str(tmp_path / "run")]
    result = cli(*words, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [row["predictor"] for row in found["rows"]][:2] == [MODEL, UNIGRAM]
    assert found["dataset_hash"] == dataset.hash and found["n_training_sequences"] > 0
    again = cli(*words, "--resume")
    assert again.exit_code == 0 and "Markov chain of order" in again.stdout


BAD: dict[str, tuple[list[str], list[str]]] = {
    "no modality of that name": (["--modality", "RNA"], ["--modality 'RNA'", "dna, rna, protein"]),
    "recipe misspelt": (["--recipe", "smal"], ["'smal'", "did you mean 'small'"]),
    "setting misspelt": (["--set", "masking.shar=0.2"], ["shar", "share"]),
    "share above a half": (["--set", "masking.share=0.9"], ["share=0.9"]),
    "heads that do not divide": (["--set", "network.heads=5"], ["dim=32", "heads=5"]),
    "another vocabulary": (["--set", "network.vocabulary=40"], ["network.vocabulary=40", "esm2 has 33"]),
    "another form": (["--set", "network.gated=true"], ["network.gated=True", "esm2 has False"]),
    "rows too short": (["--set", "masking.max_tokens=3"], ["max_tokens=3"]),
    "negative rate": (["--set", "train.lr=-1"], ["lr=-1"]),
    "no such device": (["--device", "tpu"], ["tpu"]),
    "nothing to resume": (["--resume"], ["holds no run to resume", "--resume"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line(
    cli: Callable[..., Any],
    dataset: IsoformDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    more, said = BAD[name]
    words = [
        "isoform",
        "pretrain",
        str(dataset.path),
        "--modality",
        "protein",
        "--recipe",
        "tiny",
        "--out",
        "new",
    ]
    check_refused(cli(*words, "--device", "cpu", *more), said)
    assert not Path("new").exists()


def check_refused(result: Any, said: list[str]) -> None:
    assert result.exit_code == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if "error" in line]
    assert len(lines) == 1 and all(text in lines[0] for text in said), result.stderr
    assert "Traceback" not in result.stderr


def test_mistakes_with_folders(cli: Callable[..., Any], dataset: IsoformDataset, tmp_path: Path) -> None:
    def words(data: Path, out: Path, *more: str) -> list[str]:
        start = ["isoform", "pretrain", str(data), "--recipe", "tiny", "--device", "cpu", "--out", str(out)]
        return [*start, "--draws", "5", *(f"--set={one}" for one in SHORT), *more]

    check_refused(cli(*words(tmp_path / "nowhere", tmp_path / "a", "--modality", "rna")), ["nowhere"])
    check_refused(cli(*words(tmp_path, tmp_path / "a", "--modality", "rna")), ["no manifest.json"])
    done = cli(*words(dataset.path, tmp_path / "run", "--modality", "rna"))
    assert done.exit_code == 0, done.stderr
    kept = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    check_refused(
        cli(*words(dataset.path, tmp_path / "run", "--modality", "rna")), ["already holds a run", "--resume"]
    )
    check_refused(
        cli(*words(dataset.path, tmp_path / "run", "--modality", "dna", "--resume")),
        ["modality", '"dna" now'],
    )
    assert kept == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    # An encoder of RNA as one of proteins, and the run of something else as weights.
    train = ["isoform", "train", str(dataset.path), "--recipe", "tiny", "--out", str(tmp_path / "x")]
    wrong = ["--set", "model.protein.kind=esm2", "--set", f"model.protein.weights={tmp_path / 'run'}"]
    check_refused(
        cli(*train, "--device", "cpu", *wrong), ["is Nucleotide Transformer v2", "ESM-2 is asked for"]
    )
