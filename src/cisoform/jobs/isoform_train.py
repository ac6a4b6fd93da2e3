"""Train an IsoFormer on a data set: recipe, loaders, task, loop. All settings are in the recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from cisoform.configs import config_to_json, override
from cisoform.data.isoform_dataset import Column, IsoformDataset
from cisoform.data.loader import IsoformLoader, fit_normaliser
from cisoform.data.start_profile import fold_of_family
from cisoform.data.targets import TargetNormaliser
from cisoform.errors import InputError
from cisoform.features.promoters import Update
from cisoform.jobs.isoform_encoders import (
    SharedTables,
    fixed_modalities,
    has_tables,
    load_states,
    pretrained_parts,
    use_tables,
)
from cisoform.jobs.isoform_model import export_of, parsed
from cisoform.jobs.isoform_promoters import has_table, load_weights, promoter_part, use_table
from cisoform.jobs.start_scores import config_for, fit_start_scores
from cisoform.models.encoders import PretrainedEncoder
from cisoform.models.encoders.landmark import LandmarkDnaConfig, LandmarkDnaEncoder
from cisoform.models.isoformer import IsoFormer, IsoFormerConfig
from cisoform.recipes import TOKENS_OF_KIND, IsoformRecipe, isoform_recipe, with_elementary
from cisoform.training.device import resolve_device
from cisoform.training.isoform import IsoformTask
from cisoform.training.loop import fit
from cisoform.training.protocols import FitResult, Progress
from cisoform.training.specificity import Specificity

ELEMENTARY_SETTING = "model.dna.kind=elementary"


def choose_recipe(
    name: str, settings: Sequence[str] = (), seed: int = 0, elementary: str | Path | None = None
) -> IsoformRecipe:
    """The named recipe with `key=value` overrides; the seed governs weights, order and augmentation.

    With `elementary`, a run of `regulation pretrain`, or the setting `model.dna.kind=elementary`, the recipe is first
    changed to read its DNA by an Elementary (`recipes.with_elementary`); the other settings apply to that. An encoder
    with a vocabulary of its own (`model.rna.kind=nt_v2`) brings its tokens, and the data set's tokens follow.

    Raises:
        InputError: For an unknown recipe, key or value; near names are given.
    """
    recipe = isoform_recipe(name)
    if elementary is not None or ELEMENTARY_SETTING in settings:
        recipe = with_elementary(recipe, None if elementary is None else str(elementary))
    recipe = override(recipe, [*_token_settings(settings), *settings])
    return replace(recipe, train=replace(recipe.train, seed=seed))


def _token_settings(settings: Sequence[str]) -> list[str]:
    """The tokens that go with the kinds of encoders that are set."""
    found = []
    for setting in settings:
        key, _, kind = setting.partition("=")
        parts = key.strip().split(".")
        if len(parts) == 3 and (parts[0], parts[2]) == ("model", "kind") and kind.strip() in TOKENS_OF_KIND:
            found.append(f"loader.{parts[1]}_tokens={TOKENS_OF_KIND[kind.strip()]}")
    return found


@dataclass(frozen=True)
class PreparedRun:
    """A recipe made ready for a data set: what `train` will do, for a look before it starts.

    Attributes:
        recipe: With the data set's number of columns.
        name: Name of the recipe, for the record.
        dataset: What it learns from.
        task: The untrained model and its loss.
        source: Training batches.
        valid_source: Batches that choose the weights.
        columns: What the model learns.
        cropped: Training and validation sequences over a cap, by modality.
        by_state: Whether starts are encoded once, before training, as a frozen Elementary allows.
        elementary: SHA-256 of the weights of the Elementary that it starts from; None = from nothing, or none.
        encoders: Where other pre-trained encoders are from, by modality.
    """

    recipe: IsoformRecipe
    name: str
    dataset: IsoformDataset
    task: IsoformTask
    source: IsoformLoader
    valid_source: IsoformLoader
    columns: list[Column]
    cropped: dict[str, int]
    by_state: bool = False
    elementary: str | None = None
    encoders: dict[str, Any] = field(default_factory=dict)

    @property
    def n_parameters(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.task.model.parameters() if p.requires_grad)

    @property
    def reading(self) -> str | None:
        """What pre-trained encoders read and how, for a line; None if there are none."""
        views, said = self.source.views, []
        if views is not None:
            with_tracks = sum(view > 0 for view in views.of_column)
            tracks = f"tracks {', '.join(views.tracks)} by {with_tracks} of {len(views.of_column)} columns"
            what = tracks if with_tracks else "no tracks"
            how = "frozen: starts are encoded once" if self.by_state else "encoding every batch"
            said.append(f"Elementary, {how}; {what}")
        model = cast(IsoFormer, self.task.model)
        once = fixed_modalities(model, self.source.config)
        for name, encoder in model.encoders.items():
            if isinstance(encoder, PretrainedEncoder):
                sizes = f"{encoder.config.n_layers} layers of width {encoder.dim}"
                how = "sequences are encoded once" if name in once else "encoding every batch"
                said.append(f"{name} by {encoder.config.kind} ({sizes}), {encoder.config.mode}: {how}")
        return "; ".join(said) or None


def prepare(
    dataset: IsoformDataset,
    recipe: IsoformRecipe,
    name: str = "custom",
    *,
    device: str = "auto",
    progress: Callable[[], Progress] | None = None,
    say: Callable[[str], None] | None = None,
) -> PreparedRun:
    """Build model, task and loaders; only train rows fit the normaliser, valid rows choose the weights.

    Takes long only if the model reads start scores and those of the data set are not in the cache yet.

    Args:
        dataset: What to learn from.
        recipe: How; the data set's number of columns is put in.
        name: Name of the recipe, for the record.
        device: Where start scores are learnt.
        progress: Makes what shows the learning of a start scorer.
        say: Called with a line before each of them is learnt, and before kernel regression is fitted.

    Raises:
        InputError: If the data set has no train or valid rows, or no column to learn; if the Elementary to start
            from does not fit the recipe or the data.
    """
    promoters = promoter_part(dataset, recipe)
    recipe = recipe if promoters is None else promoters.recipe
    fixed = promoters is not None and promoters.fixed
    pretrained = pretrained_parts(recipe)
    recipe = pretrained.recipe
    rows = {part: dataset.rows(part) for part in ("train", "valid")}
    for part, found in rows.items():
        if not len(found):
            raise InputError(
                f"{dataset.path}: no transcript is in split {part!r}; build it with another split"
            )
    seed, loader = recipe.train.seed, recipe.loader
    normaliser = fit_normaliser(dataset, rows["train"], loader)
    columns = [dataset.columns[dataset.column_index(name)] for name in normaliser.columns]
    gaussian = recipe.loss.kind == "gaussian"
    config = replace(recipe.model, tissues=len(columns) * (2 if gaussian else 1))
    try:
        config = _with_kernel(config, len(rows["train"]), gaussian)
    except ValueError as error:
        raise InputError(str(error)) from None
    starts, folds = recipe.start_scores, None
    if starts is not None:
        starts = config_for(dataset, starts)
        folds = fold_of_family(dataset, starts.folds)
        config = replace(config, dna=replace(cast(LandmarkDnaConfig, config.dna), starts=starts))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = IsoFormer(config)
    except ValueError as error:
        raise InputError(f"the model of recipe {name!r} cannot be built: {error}") from None
    if promoters is not None:
        load_weights(promoters, model)
    load_states(pretrained, model)
    if starts is not None:
        # Behind everything that may refuse the recipe, because it takes minutes.
        states = fit_start_scores(dataset, starts, device, progress, say)
        cast(LandmarkDnaEncoder, model.encoders["dna"]).load_start_scores(states)
    bare = loader.for_evaluation()
    shown = IsoformLoader(dataset, rows["train"], bare, None, seed, shuffle=False, folds=folds)
    model.fit_inputs(shown.epoch())
    if model.kernel is not None and say is not None:
        say(f"fitting kernel regression to {len(rows['train']):,} transcripts")
    model.fit_kernel(
        IsoformLoader(dataset, rows["train"], bare, normaliser, seed, shuffle=False, folds=folds).epoch()
    )
    about = {"recipe": name, "seed": seed, "dataset_hash": dataset.hash, "monitor": recipe.monitor}
    about |= pretrained.about
    if promoters is not None:
        about |= promoters.about
    export = export_of(config, loader, normaliser, columns, about, promoters.files if promoters else {})
    source = IsoformLoader(dataset, rows["train"], loader, normaliser, seed, folds=folds, by_state=fixed)
    valid = IsoformLoader(dataset, rows["valid"], bare, normaliser, seed, shuffle=False, by_state=fixed)
    transcript_level = [i for i, column in enumerate(columns) if column.level == "transcript"]
    task = IsoformTask(
        model,
        config=export.config,
        files=export.files,
        loss=recipe.loss,
        columns=transcript_level or None,
        monitor=recipe.monitor,
        specificity=_specificity(dataset, rows["train"], normaliser, transcript_level),
    )
    cropped = {key: source.cropped[key] + valid.cropped[key] for key in source.cropped}
    begun = None if promoters is None else promoters.about.get("elementary", {}).get("sha256")
    done = replace(recipe, model=config)
    encoders = pretrained.about.get("encoders", {})
    return PreparedRun(done, name, dataset, task, source, valid, columns, cropped, fixed, begun, encoders)


def _with_kernel(config: IsoFormerConfig, rows: int, gaussian: bool) -> IsoFormerConfig:
    """The config with room for the training rows in its kernel regression, if it has one.

    Raises:
        ValueError: If there are too many rows, or outputs that a regression of labels cannot give.
    """
    if config.kernel is None:
        return config
    if gaussian:
        raise ValueError("model.kernel predicts no variance; set model.kernel=null or loss.kind=mse")
    return replace(config, kernel=replace(config.kernel, rows=rows))


def _specificity(
    dataset: IsoformDataset,
    train_rows: npt.NDArray[np.int64],
    normaliser: TargetNormaliser,
    columns: Sequence[int],
) -> Specificity | None:
    index = [dataset.column_index(name) for name in normaliser.columns]
    labels = np.log1p(dataset.expression[train_rows][:, index])
    return Specificity.fit(labels, normaliser.std.tolist(), columns)


def encode_once(
    run: PreparedRun, device: str = "auto", update: Update | None = None, shared: SharedTables | None = None
) -> None:
    """Encode once what frozen encoders will be shown in training; nothing to do for any other model.

    Args:
        run: Of `prepare`.
        device: As everywhere.
        update: Is told how many starts, each alone and with every sample's tracks, or other sequences are encoded.
        shared: As in `isoform_encoders.use_tables`, of other runs on the same data set.
    """
    model, source = cast(IsoFormer, run.task.model), run.source
    if run.by_state and not has_table(model):
        use_table(model.to(resolve_device(device)), run.dataset, source, run.valid_source, update)
    if fixed_modalities(model, source.config) and not has_tables(model, source.config):
        rows = np.union1d(source.rows, run.valid_source.rows)
        use_tables(
            model.to(resolve_device(device)), run.dataset.samples, rows, source.config, None, update, shared
        )


def train(
    run: PreparedRun,
    out: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> FitResult:
    """Train in the folder `out`; see `training.loop.fit`."""
    encode_once(run, device)
    description: dict[str, Any] = {
        "recipe": run.name,
        "settings": parsed(config_to_json(run.recipe)),
        "dataset_hash": run.dataset.hash,
        "seed": run.recipe.train.seed,
        **({} if run.elementary is None else {"elementary": run.elementary}),
        **({"encoders": run.encoders} if run.encoders else {}),
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
