"""Pre-trained encoders of an IsoFormer: the weights they start from, and what a frozen one makes of the data.

The model of a run holds all weights of its encoders: the checkpoint that they started from may be moved or removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cisoform.data.loader import IsoformLoader, LoaderConfig
from cisoform.data.samples import MODALITIES, IsoformSamples
from cisoform.errors import InputError
from cisoform.features.promoters import Update, state_hash
from cisoform.features.sequences import sequence_table
from cisoform.models.encoders import PretrainedConfig, PretrainedEncoder
from cisoform.models.encoders.pretrained import SequenceTable
from cisoform.models.isoformer import IsoFormer
from cisoform.recipes import IsoformRecipe
from cisoform.weights.pretrained import read_pretrained

SharedTables = dict[tuple[object, ...], SequenceTable]


@dataclass(frozen=True)
class PretrainedParts:
    """Encoders made ready.

    Attributes:
        recipe: With the sizes of the checkpoints, and no checkpoints.
        states: Weights to start from, by modality.
        about: What is saved about where they are from, by modality.
    """

    recipe: IsoformRecipe
    states: dict[str, Mapping[str, Tensor]]
    about: dict[str, Any]


def pretrained_parts(recipe: IsoformRecipe) -> PretrainedParts:
    """Read the checkpoints that a recipe names.

    Raises:
        InputError: If one is not there, damaged or of another kind, or `learn` needs one and there is none.
    """
    states: dict[str, Mapping[str, Tensor]] = {}
    about: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    for name in MODALITIES:
        config = getattr(recipe.model, name)
        if not isinstance(config, PretrainedConfig):
            continue
        where = f"model.{name}"
        if config.weights is None:
            if config.mode != "full":
                raise InputError(
                    f"{where}.learn={config.learn} needs weights to start from: give {where}.weights, or learn=full"
                )
            parts[name] = replace(config, learn="full")
            continue
        found = read_pretrained(config.kind, config.weights)
        try:
            parts[name] = config.fitted(found.config)
        except ValueError as error:
            raise InputError(f"{where}.{error}") from None
        if name == "dna":
            _check_window(parts[name], recipe.loader)
        states[name] = found.body
        about[name] = {"kind": config.kind, "learn": config.mode, **found.about}
    model = replace(recipe.model, **parts)
    return PretrainedParts(replace(recipe, model=model), states, {"encoders": about} if about else {})


def _check_window(config: PretrainedConfig, loader: LoaderConfig) -> None:
    """How much DNA a network needs is known only when its checkpoint is read."""
    try:
        config.check_window(loader.dna_window)
    except ValueError as error:
        raise InputError(f"loader.{error}") from None


def load_states(parts: PretrainedParts, model: IsoFormer) -> None:
    """Put the checkpoints' weights into a model that was built from the parts' recipe.

    Raises:
        InputError: If corrections of the rank that is asked for do not fit.
    """
    for name, state in parts.states.items():
        encoder = model.encoders[name]
        assert isinstance(encoder, PretrainedEncoder)
        encoder.load_pretrained(state)


def fixed_modalities(model: IsoFormer, loader: LoaderConfig) -> list[str]:
    """Modalities whose encoder makes the same of a sequence in every epoch."""
    change = loader.augmentation
    changed = {"dna": change.changes_dna, "rna": change.hide_rna > 0, "protein": change.hide_protein > 0}
    return [
        name
        for name in loader.modalities
        if name in model.encoders
        and isinstance(encoder := model.encoders[name], PretrainedEncoder)
        and encoder.config.mode == "frozen"
        and not changed[name]
    ]


def has_tables(model: IsoFormer, loader: LoaderConfig) -> bool:
    """Whether the frozen encoders look sequences up already."""
    found = [model.encoders[name] for name in fixed_modalities(model, loader)]
    return all(isinstance(encoder, PretrainedEncoder) and encoder.table is not None for encoder in found)


def use_tables(
    model: IsoFormer,
    samples: IsoformSamples,
    rows: npt.NDArray[np.integer],
    loader: LoaderConfig,
    root: str | Path | None = None,
    update: Update | None = None,
    shared: SharedTables | None = None,
) -> None:
    """Encode the sequences of some transcripts, or find them in the cache, for every frozen encoder of this kind.

    Args:
        model: On the device on which it is to encode.
        samples: Transcripts.
        rows: Which of them.
        loader: How they are shown.
        root: Folder of caches; None = the user's.
        update: Is told how many of how many sequences of a modality are done.
        shared: Tables of other models for the same transcripts, which are used where weights and sequences are the
            same; those made here are added.
    """
    shared = {} if shared is None else shared
    for name in fixed_modalities(model, loader):
        encoder = model.encoders[name]
        assert isinstance(encoder, PretrainedEncoder)
        key = _table_key(encoder, loader, name)
        if key not in shared:
            shown = _sequences(samples, rows, loader, name)
            shared[key] = sequence_table(encoder, shown, root, encoder.config.cache_precision, update)
        encoder.use_table(shared[key])


def _table_key(encoder: PretrainedEncoder, loader: LoaderConfig, name: str) -> tuple[object, ...]:
    """What decides what an encoder makes of given transcripts."""
    config = encoder.config
    form = config.kind, config.network, config.cache_precision
    shown = (loader.dna_window, loader.dna_upstream) if name == "dna" else getattr(loader, f"{name}_max")
    return name, form, shown, getattr(loader, f"{name}_tokens"), state_hash(encoder.network.state_dict())


def _sequences(
    samples: IsoformSamples, rows: npt.NDArray[np.integer], loader: LoaderConfig, name: str
) -> Iterator[npt.NDArray[np.integer]]:
    """Token ids of one modality of each transcript that has it, as they are shown; shared ones once a batch."""
    config = replace(loader.for_evaluation(), modalities=(name,))
    having = rows[samples.has(name)[rows]]
    for batch in IsoformLoader(samples, having, config, shuffle=False).epoch():
        modality = getattr(batch, name)
        ids, mask = modality.tokens.ids.numpy(), modality.tokens.mask.numpy()
        for one, real in zip(ids, mask, strict=True):
            yield one[real]
