"""Named presets: functions that return configs. Numbers of a preset stand here and nowhere else.

Those of the regulatory system are in `recipes_regulation`; its released architecture is reachable from here too.

`model.tissues` is 1 in a preset and is set to the number of columns of the data set when a model is built.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from cisoform.data.loader import Augmentation, LoaderConfig
from cisoform.data.sampling import BatchLimits
from cisoform.errors import InputError
from cisoform.models.aggregation import CrossAttentionConfig
from cisoform.models.encoders import (
    ConvConfig,
    ElementaryDnaConfig,
    LandmarkDnaConfig,
    LandmarkProteinConfig,
    LandmarkRnaConfig,
    PretrainedConfig,
    TinyConfig,
)
from cisoform.models.isoformer import IsoFormerConfig
from cisoform.models.kernel import KernelConfig
from cisoform.models.start_score import StartScoreConfig
from cisoform.recipes_regulation import creformer_paper as creformer_paper
from cisoform.training.config import TrainConfig
from cisoform.training.isoform import IsoformLossConfig

# Codes of real tokens, as `tokens` defines them: ACGTN; region ids; 20 amino acids, X, U and stop.
DNA_IDS, RNA_IDS, RNA_CHANNELS, PROTEIN_IDS = 5, 5, 16, 23
UNSET = 1
DROP_TRACKS, ELEMENTARY_LR = 0.05, 2e-3
TOKENS_OF_KIND = {"elementary": "sixmers", "nt_v2": "kmers", "esm2": "esm"}
"""What encoders with a vocabulary of their own read: `loader.MODALITY_tokens`; the others read bases and residues."""


@dataclass(frozen=True, kw_only=True)
class IsoformRecipe:
    """All that defines how an IsoFormer is built and trained; `model.tissues` is set from the data set.

    Attributes:
        model: Parts and sizes.
        loader: How transcripts are shown.
        train: Optimiser, schedule and length.
        loss: Loss of one label.
        monitor: Validation metric that chooses the weights.
    """

    model: IsoFormerConfig
    loader: LoaderConfig
    train: TrainConfig
    loss: IsoformLossConfig = field(default_factory=IsoformLossConfig)
    monitor: Literal["r2", "spearman", "loss"] = "r2"

    def __post_init__(self) -> None:
        starts = self.start_scores
        if starts is not None:
            starts.check_window(self.loader.dna_window)
        dna = self.model.dna
        for name in ("dna", "rna", "protein"):
            self._check_tokens(name)
        if isinstance(dna, (ElementaryDnaConfig, PretrainedConfig)):
            dna.check_window(self.loader.dna_window)
        half, upstream = self.loader.dna_window // 2, self.loader.dna_upstream
        if isinstance(dna, LandmarkDnaConfig) and upstream not in (None, half):
            raise ValueError(
                f"model.dna.kind={dna.kind} reads windows with the start in their middle: leave out "
                f"loader.dna_upstream={upstream} or make it {half}"
            )

    def _check_tokens(self, modality: str) -> None:
        """Refuse tokens that an encoder does not know."""
        part, tokens = getattr(self.model, modality), getattr(self.loader, f"{modality}_tokens")
        if part is None:
            return
        wanted = TOKENS_OF_KIND.get(part.kind)
        if wanted is None and tokens in ("sixmers", "esm"):
            wanted = "bases" if modality != "protein" else "residues"
        if wanted not in (None, tokens):
            raise ValueError(
                f"model.{modality}.kind={part.kind} reads loader.{modality}_tokens={wanted}, not {tokens}"
            )

    @property
    def start_scores(self) -> StartScoreConfig | None:
        """The start scores that the model reads; None if it reads none, or no DNA."""
        dna = self.model.dna
        shown = "dna" in self.loader.modalities
        return dna.starts if shown and isinstance(dna, LandmarkDnaConfig) else None


def with_elementary(recipe: IsoformRecipe, run: str | None = None) -> IsoformRecipe:
    """The recipe with CREformer's Elementary as its encoder of DNA, on windows that are whole bins.

    Tracks of a start are left out now and then, so that a tissue can be predicted without them too. The learning rate
    is at most 2e-3 (our choice; `docs/joining.md` has that of `tiny` beside it, which does no worse).

    Args:
        recipe: Any recipe.
        run: Run of `regulation pretrain` to start from; None = from nothing.
    """
    dna = ElementaryDnaConfig(run=run)
    size = dna.elementary.bin_size
    loader = recipe.loader
    augmentation = replace(loader.augmentation, drop_tracks=DROP_TRACKS)
    return replace(
        recipe,
        model=replace(recipe.model, dna=dna),
        loader=replace(
            loader,
            dna_tokens="sixmers",
            dna_window=-(-loader.dna_window // size) * size,
            augmentation=augmentation,
        ),
        train=replace(recipe.train, lr=min(recipe.train.lr, ELEMENTARY_LR)),
    )


def tiny() -> IsoformRecipe:
    """For tests and demos: a step in milliseconds, planted rules learnt in a minute on one core.

    Chosen on the simulation `tiny`: a kernel shorter than its 10-bp motifs, or much sequence beyond the promoter,
    leaves the promoter rule unlearnt.
    """
    return IsoformRecipe(
        model=IsoFormerConfig(
            tissues=UNSET,
            dna=TinyConfig(ids=DNA_IDS, kernel=11, bin=16),
            rna=TinyConfig(ids=RNA_IDS, channels=RNA_CHANNELS, kernel=11, bin=16),
            protein=TinyConfig(ids=PROTEIN_IDS),
            aggregator=CrossAttentionConfig(aggregate="all", heads=4),
        ),
        loader=LoaderConfig(
            dna_window=320,
            dna_upstream=256,
            rna_max=4_000,
            protein_max=800,
            limits=BatchLimits(batch_size=32),
            augmentation=Augmentation(drop_dna=0.05, drop_rna=0.05, drop_protein=0.05),
        ),
        train=TrainConfig(lr=5e-3, epochs=16, patience=10),
    )


def small() -> IsoformRecipe:
    """For some thousand transcripts (a yeast, a fungus, one chromosome), minutes on two CPU cores.

    Reads sequences by their landmarks, because on so little data convolutions over whole sequences overfit; the
    strong dropout of inputs matters most. Base by base it reads scores of where transcription starts, which are learnt
    first (half of the time of a first run; kept for the next ones). Every number was chosen on the validation part of
    the yeast pack.
    """
    dim = 64
    return IsoformRecipe(
        model=IsoFormerConfig(
            tissues=UNSET,
            dna=LandmarkDnaConfig(dim=dim, dropout=0.6, starts=StartScoreConfig()),
            rna=LandmarkRnaConfig(dim=dim, dropout=0.5),
            protein=LandmarkProteinConfig(dim=dim, dropout=0.5),
            aggregator=CrossAttentionConfig(aggregate="all", heads=4),
            head_hidden=256,
            head_dropout=0.6,
        ),
        loader=LoaderConfig(
            dna_window=1_024,
            limits=BatchLimits(batch_size=128, pool_batches=1),
            augmentation=Augmentation(drop_dna=0.1, drop_rna=0.1, drop_protein=0.1),
            gene_column_weight=0.1,
        ),
        train=TrainConfig(
            lr=2e-3,
            betas=(0.9, 0.98),
            weight_decay=0.3,
            warmup_fraction=0.1,
            epochs=16,
            ema_decay=0.98,
        ),
        loss=IsoformLossConfig(specificity=1.0),
    )


def yeast_best() -> IsoformRecipe:
    """The best found for the yeast pack, and a start for other counts of 5' ends; meant for `--ensemble 6`.

    `small` that also reads base composition by distance, of the DNA round the start and of the RNA behind its 5' end,
    and counts upstream AUGs; half of every output is kernel regression on what the encoders read. Chosen on the
    training part (cross-validated over families) and the validation part of the yeast pack (`docs/results/yeast.md`).
    """
    recipe = small()
    dna = replace(cast(LandmarkDnaConfig, recipe.model.dna), stretches=tuple(range(-500, 501, 50)))
    rna = replace(
        cast(LandmarkRnaConfig, recipe.model.rna),
        stretches=(0, 25, 50, 100, 200, 400, 800),
        upstream_starts=True,
    )
    return replace(recipe, model=replace(recipe.model, dna=dna, rna=rna, kernel=KernelConfig()))


def ablate() -> IsoformRecipe:
    """For tables of ablations on some thousand transcripts: 40 s of one core a run; with other encoders up to 3 min.

    `small` without start scores, which take most of its time and belong to one encoder alone, and shorter. Fixed before
    any row of a table was scored on a test part.
    """
    recipe = small()
    model = replace(recipe.model, dna=LandmarkDnaConfig(dim=64, dropout=0.6))
    return replace(recipe, model=model, train=replace(recipe.train, epochs=10))


def base() -> IsoformRecipe:
    """For a mammalian transcriptome (some ten thousand transcripts and more) on one GPU.

    Convolutions and transformers over 16 kb of DNA, the RNA and the protein. Sizes are our choice and have not
    been tuned on human data.
    """
    dim, heads, layers = 256, 8, 4
    return IsoformRecipe(
        model=IsoFormerConfig(
            tissues=UNSET,
            dna=_conv(DNA_IDS, widths=(64, 128, dim), bins=(8, 4, 2), heads=heads, layers=layers),
            rna=_conv(
                RNA_IDS, RNA_CHANNELS, widths=(64, 128, dim), bins=(4, 2, 2), heads=heads, layers=layers
            ),
            protein=_conv(PROTEIN_IDS, widths=(128, dim), bins=(2, 2), heads=heads, layers=layers),
            aggregator=CrossAttentionConfig(aggregate="all", heads=heads),
            head_dropout=0.2,
            group_tokens=2**20,
        ),
        loader=LoaderConfig(
            dna_window=16_384,
            limits=BatchLimits(batch_size=64, token_budget=2**20),
            augmentation=Augmentation(tss_jitter=64, drop_dna=0.05, drop_rna=0.05, drop_protein=0.05),
        ),
        train=TrainConfig(
            lr=3e-4,
            weight_decay=0.05,
            epochs=20,
            patience=4,
            ema_decay=0.999,
            bf16=True,
            warmup_fraction=0.05,
        ),
    )


def paper() -> IsoformRecipe:
    """IsoFormer's published recipe (reference: sections 1 and 4) with encoders trained from scratch.

    As published: windows of 196,608 bp of DNA, 12,000 nt of RNA with the 3' end kept, 1,200 residues; one
    DNA-centred branch of cross-attention with 8 heads, mean over positions, linear outputs; Adam at 3e-5, batches
    of 64, mean squared error, the best of the validation part kept (split off 5 % for it when building). Schedule
    and length of training are not published; constant and up to 20 epochs are our choice. The pre-trained
    encoders (Enformer, NT-v2, ESM-2) are not part of it: convolutional encoders of the same resolution (128 bp, 6
    nt, 1 residue) stand in for them, so do not expect the published scores. With published weights at hand,
    `model.dna.kind=enformer model.dna.weights=FOLDER model.dna.learn=full` and so on put them in their place.
    """
    dna = _conv(
        DNA_IDS,
        widths=(96, 128, 192, 256, 384, 512, 768),
        bins=(2,) * 7,
        heads=8,
        layers=6,
        kernel=5,
    )
    rna = _conv(RNA_IDS, RNA_CHANNELS, widths=(256, 768), bins=(3, 2), heads=12, layers=6)
    protein = _conv(PROTEIN_IDS, widths=(640,), bins=(1,), heads=10, layers=6)
    return IsoformRecipe(
        model=IsoFormerConfig(
            tissues=UNSET,
            dna=dna,
            rna=rna,
            protein=protein,
            aggregator=CrossAttentionConfig(),
            group_tokens=2**20,
        ),
        loader=LoaderConfig(
            dna_window=196_608,
            rna_max=12_000,
            protein_max=1_200,
            limits=BatchLimits(batch_size=4),
            use_gene_columns=False,
        ),
        train=TrainConfig(
            optimiser="adam",
            lr=3e-5,
            weight_decay=0.0,
            schedule="constant",
            warmup_fraction=0.0,
            epochs=20,
            patience=3,
            accumulate=16,  # 16 batches of 4: the published 64
            bf16=True,
        ),
    )


def _conv(
    ids: int,
    channels: int = 0,
    *,
    widths: tuple[int, ...],
    bins: tuple[int, ...],
    heads: int,
    layers: int,
    kernel: int = 5,
) -> ConvConfig:
    return ConvConfig(
        ids=ids,
        channels=channels,
        widths=widths,
        bins=bins,
        heads=heads,
        transformer_layers=layers,
        kernel=kernel,
    )


ISOFORM_RECIPES: dict[str, Callable[[], IsoformRecipe]] = {
    "tiny": tiny,
    "small": small,
    "yeast-best": yeast_best,
    "ablate": ablate,
    "base": base,
    "paper": paper,
}


def isoform_recipe(name: str) -> IsoformRecipe:
    """The recipe of that name.

    Raises:
        InputError: If there is none; the near ones are named.
    """
    if name not in ISOFORM_RECIPES:
        near = difflib.get_close_matches(name, ISOFORM_RECIPES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ISOFORM_RECIPES)}"
        raise InputError(f"recipe {name!r} is unknown; {hint}")
    return ISOFORM_RECIPES[name]()
