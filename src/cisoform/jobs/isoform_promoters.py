"""Elementary as the DNA encoder of an IsoFormer: the run it starts from, the tracks it reads, what it makes of them.

The model of a run of `isoform train` holds all weights of its Elementary and the edges of its tracks: the run that it
started from may be moved or removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.loader import IsoformLoader, LoaderConfig
from cisoform.data.signal import PromoterSignal, ReadTracks
from cisoform.errors import InputError
from cisoform.features.promoters import Update, promoter_table, state_hash
from cisoform.jobs.isoform_model import TRACKS_FILE
from cisoform.jobs.regulation_fit import load_first_stage
from cisoform.models.encoders import ElementaryDnaConfig, ElementaryDnaEncoder
from cisoform.models.isoformer import IsoFormer
from cisoform.recipes import IsoformRecipe


@dataclass(frozen=True)
class PromoterPart:
    """An Elementary made ready for a data set.

    Attributes:
        recipe: With the sizes of the run, the tracks that are read, and no run.
        state: Weights of the run's Elementary for these tracks; None = from nothing.
        about: What is saved about where it is from.
        files: Further files of the model.
    """

    recipe: IsoformRecipe
    state: Mapping[str, Tensor] | None
    about: dict[str, Any]
    files: dict[str, Any]

    @property
    def fixed(self) -> bool:
        """Whether Elementary makes the same of a start in every epoch."""
        dna = self.recipe.model.dna
        assert isinstance(dna, ElementaryDnaConfig)
        return dna.frozen and not self.recipe.loader.augmentation.changes_dna


def promoter_part(dataset: IsoformDataset, recipe: IsoformRecipe) -> PromoterPart | None:
    """Read the run and choose the tracks; None if the recipe's DNA encoder is another one, or shows no DNA.

    Raises:
        InputError: If there is no such run, or recipe, run and data do not fit each other.
    """
    dna = recipe.model.dna
    if not isinstance(dna, ElementaryDnaConfig) or "dna" not in recipe.loader.modalities:
        return None
    if dna.run is None and dna.learn == "frozen":
        raise InputError(
            "model.dna.learn=frozen needs a run to start from: give --elementary RUN, or learn=full"
        )
    signal = dataset.samples.signal
    tracks = _tracks(dataset, recipe.loader)
    learn: Literal["frozen", "full"] = "frozen" if dna.frozen else "full"
    if dna.run is None:
        sizes, state, about = dna.elementary, None, {}
    else:
        first = load_first_stage(dna.run)
        sizes, state = first.elementary.config, first.elementary.state_dict()
        _check_run(dataset, dna.run, first.edges, signal, tracks)
        about = {key: first.about.get(key) for key in ("recipe", "seed", "dataset_hash", "source")}
        about |= {"learn": learn, "sha256": state_hash(state)}
    _check_window(dataset, recipe.loader, bool(tracks))
    config = replace(dna, elementary=replace(sizes, tracks=tracks), run=None, learn=learn)
    try:
        config.check_window(recipe.loader.dna_window)
    except ValueError as error:
        raise InputError(str(error)) from None
    if state is not None:
        wanted = {f"tracks.{name}.weight" for name in tracks}
        state = {k: v for k, v in state.items() if not k.startswith("tracks.") or k in wanted}
    files = {}
    if tracks and signal is not None:
        files[TRACKS_FILE] = ReadTracks(
            {name: tuple(signal.edges[name]) for name in tracks}, signal.samples
        ).to_json()
    return PromoterPart(
        replace(
            recipe, model=replace(recipe.model, dna=config), loader=replace(recipe.loader, tracks=tracks)
        ),
        state,
        {"elementary": about} if about else {},
        files,
    )


def _tracks(dataset: IsoformDataset, loader: LoaderConfig) -> tuple[str, ...]:
    """Tracks that are read: those asked for, else all of the data set."""
    signal = dataset.samples.signal
    known = () if signal is None else signal.tracks
    for name in loader.tracks or ():
        if name not in known:
            raise InputError(
                f"{dataset.path}: has no track {name!r} (loader.tracks); it has {', '.join(known) or 'none'}: build it "
                "with --tracks"
            )
    return known if loader.tracks is None else loader.tracks


def _check_window(dataset: IsoformDataset, loader: LoaderConfig, reads_tracks: bool) -> None:
    """Refuse windows that reach further than the tracks that were stored."""
    half, stored = loader.dna_window // 2, dataset.window // 2
    before = half if loader.dna_upstream is None else loader.dna_upstream
    if reads_tracks and max(before, loader.dna_window - before) > stored:
        raise InputError(
            f"{dataset.path}: holds tracks for {stored:,} bases on either side of a start, but loader.dna_window="
            f"{loader.dna_window} reaches {max(before, loader.dna_window - before):,}; build it with a larger --window"
        )


def _check_run(
    dataset: IsoformDataset,
    run: str | Path,
    edges: Mapping[str, tuple[float, ...]],
    signal: PromoterSignal | None,
    tracks: tuple[str, ...],
) -> None:
    """Refuse tracks that the run would misread."""
    for name in tracks:
        if name not in edges:
            raise InputError(
                f"{run}: does not know the track {name!r} of {dataset.path} (it knows {', '.join(edges) or 'none'}); "
                "pre-train on it, or name the tracks to read: --set 'loader.tracks=[\"NAME\"]'"
            )
        if signal is not None and tuple(signal.edges[name]) != tuple(edges[name]):
            raise InputError(
                f"{dataset.path}: the levels of {name!r} are cut at other edges than those of {run}; build it with "
                f"--edges {run}"
            )


def load_weights(part: PromoterPart, model: IsoFormer) -> None:
    """Put the run's weights into a model that was built from the part's recipe."""
    if part.state is not None:
        _encoder(model).elementary.load_state_dict(dict(part.state))


def use_table(
    model: IsoFormer,
    dataset: IsoformDataset,
    source: IsoformLoader,
    others: IsoformLoader,
    update: Update | None = None,
) -> None:
    """Encode all starts of both loaders, or find them in the cache, for an Elementary that makes the same of them."""
    views = source.views
    assert views is not None
    used = np.union1d(*(dataset.samples.dna_row[loader.rows] for loader in (source, others)))
    encoder = _encoder(model)
    encoder.use_table(*promoter_table(encoder.elementary, views, used[used >= 0], update=update))


def has_table(model: IsoFormer) -> bool:
    """Whether the starts are encoded already."""
    return _encoder(model).table is not None


def _encoder(model: IsoFormer) -> ElementaryDnaEncoder:
    encoder = model.encoders["dna"]
    assert isinstance(encoder, ElementaryDnaEncoder)
    return encoder
