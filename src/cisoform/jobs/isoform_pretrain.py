"""Pre-train an encoder of an IsoFormer by masked modelling on the training sequences of a data set.

The run's model is in the form of a converted NT-v2 (DNA, RNA) or ESM-2 (protein) checkpoint:
`--set model.rna.kind=nt_v2 --set model.rna.weights=RUN` starts an IsoFormer's encoder from it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import torch

from cisoform import __version__
from cisoform.benchmark.masked import Update, score_masked
from cisoform.configs import config_to_json, override
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.masked_tokens import VOCABULARIES, MaskedSource
from cisoform.data.pretraining import ModalityName, PretrainingPools, pretraining_pools
from cisoform.errors import InputError
from cisoform.genome.files import write_json
from cisoform.models.encoders.rotary import RotaryNetwork
from cisoform.recipes_pretraining import PretrainingRecipe, pretraining_recipe
from cisoform.training.device import resolve_device
from cisoform.training.loop import fit
from cisoform.training.masked import MaskedTask
from cisoform.training.protocols import FitResult, Progress
from cisoform.weights.rotary import ABOUT_FILE, read_rotary

SOURCE = "cisoform isoform pretrain"
SCORES_FILE = "scores.json"
_LETTER_NOISE = 0.3


def choose_recipe(
    name: str, modality: str, settings: Sequence[str] = (), seed: int = 0
) -> tuple[ModalityName, PretrainingRecipe]:
    """The named recipe for a modality with `key=value` overrides; the seed governs weights, order and hiding.

    Raises:
        InputError: For an unknown modality, recipe, key or value; near names are given.
    """
    if modality not in get_args(ModalityName):
        raise InputError(f"--modality {modality!r} is none of {', '.join(get_args(ModalityName))}")
    chosen = cast(ModalityName, modality)
    fresh = pretraining_recipe(name, chosen)
    recipe = override(fresh, settings)
    for key in ("vocabulary", "mask_token", "gated", "ffn_bias", "token_dropout", "norm_before"):
        value, needed = getattr(recipe.network, key), getattr(fresh.network, key)
        if value != needed:
            raise InputError(
                f"network.{key}={value}: the form of {VOCABULARIES[chosen].kind} has {needed}; leave it as it is"
            )
    return chosen, replace(recipe, train=replace(recipe.train, seed=seed))


@dataclass(frozen=True)
class PreparedEncoder:
    """A recipe made ready for a data set, for a look before it starts.

    Attributes:
        recipe: Sizes and settings.
        name: Name of the recipe, for the record.
        modality: What is learnt from.
        dataset: Where the sequences are from.
        pools: Which sequences.
        task: The untrained network and its loss.
        source: Training batches.
        valid_source: Batches that choose the weights, and that are scored.
    """

    recipe: PretrainingRecipe
    name: str
    modality: ModalityName
    dataset: IsoformDataset
    pools: PretrainingPools
    task: MaskedTask
    source: MaskedSource
    valid_source: MaskedSource

    @property
    def n_parameters(self) -> int:
        """Trainable numbers, head included."""
        return sum(value.numel() for value in self.task.model.parameters())


def prepare(
    dataset: IsoformDataset, modality: ModalityName, recipe: PretrainingRecipe, name: str = "custom"
) -> PreparedEncoder:
    """Choose the sequences and build the network.

    Raises:
        InputError: If the training or validation part has no sequence of the modality, or the sizes do not fit.
    """
    vocabulary, seed = VOCABULARIES[modality], recipe.train.seed
    cap = vocabulary.cap(recipe.masking.max_tokens)
    pools = pretraining_pools(dataset, modality, cap, recipe.masking.valid_sequences)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RotaryNetwork(recipe.network, head=True)
        if recipe.shared_letters and vocabulary.letters > 1:
            start_at_letters(network, vocabulary.first, vocabulary.letters, vocabulary.alphabet)
    about = {
        "kind": vocabulary.kind,
        "source": SOURCE,
        "modality": modality,
        "recipe": name,
        "seed": seed,
        "dataset_hash": dataset.hash,
        "n_sequences": len(pools.train),
    }
    task = MaskedTask(
        network,
        vocabulary.first,
        vocabulary.last,
        config=asdict(recipe.network),
        files={ABOUT_FILE: about},
    )
    source = MaskedSource(pools.train, recipe.masking, seed)
    valid = MaskedSource(pools.valid, recipe.masking, seed, fixed=True)
    return PreparedEncoder(recipe, name, modality, dataset, pools, task, source, valid)


def start_at_letters(network: RotaryNetwork, first: int, letters: int, alphabet: int) -> None:
    """Start the vectors of words as sums over their letters by place, with noise of their own (our choice)."""
    assert network.head is not None
    words = torch.arange(alphabet**letters)
    rows = slice(first, first + len(words))
    for table in (network.embedding.weight, network.head.decoder.weight):
        dim, scale = table.shape[1], float(table[rows].detach().std())
        by_letter = torch.randn(letters, alphabet, dim) / letters**0.5
        start = sum(by_letter[i, words // alphabet ** (letters - 1 - i) % alphabet] for i in range(letters))
        with torch.no_grad():
            table[rows] = scale * (start + _LETTER_NOISE * torch.randn(len(words), dim))


def pretrain(
    run: PreparedEncoder,
    out: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> FitResult:
    """Train in the folder `out`; see `training.loop.fit`."""
    description: dict[str, Any] = {
        "kind": "masked modelling",
        "modality": run.modality,
        "recipe": run.name,
        "settings": json.loads(config_to_json(run.recipe)),
        "dataset_hash": run.dataset.hash,
        "seed": run.recipe.train.seed,
    }
    return fit(
        run.task,
        run.source,
        run.valid_source,
        run.recipe.train,
        out,
        resume=resume,
        description=description,
        device=device,
        progress=progress,
    )


def score(
    run: PreparedEncoder,
    out: str | Path,
    *,
    draws: int = 1000,
    device: str = "auto",
    update: Update | None = None,
) -> dict[str, Any]:
    """Score the kept weights of a run on its validation sequences beside baselines; written to `out/scores.json`.

    Raises:
        InputError: If the run has no model, or it is damaged.
    """
    network = read_rotary(Path(out)).network().to(resolve_device(device))
    task = MaskedTask(network, run.task.first, run.task.last)
    seed = run.recipe.train.seed
    found = score_masked(
        task, run.pools.train, run.valid_source, run.dataset.family, draws=draws, seed=seed, update=update
    )
    ours, *baselines = found["rows"]
    loses_to = [row["predictor"] for row in baselines if row["perplexity"] <= ours["perplexity"]]
    result = {
        **found,
        "n_training_sequences": len(run.pools.train),
        "left_out": run.pools.left_out,
        "loses_to": loses_to,
        "recipe": run.name,
        "seed": seed,
        "n_parameters": run.n_parameters,
        "dataset_hash": run.dataset.hash,
        "cisoform": __version__,
    }
    write_json(Path(out) / SCORES_FILE, result)
    return result
