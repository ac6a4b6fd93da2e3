"""Batches of transcripts for a model: padded small-integer tokens, each distinct sequence once.

A batch is a pure function of (seed, epoch, batch number): order, start jitter and everything else that is drawn
comes from a generator seeded with these, so a resumed epoch continues exactly where it was cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from cisoform.batches import IsoformBatch, Modality, Tokens, Views
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.promoter_views import PromoterViews
from cisoform.data.samples import MODALITIES, IsoformSamples
from cisoform.data.sampling import BatchLimits, SampleLengths, plan_batches
from cisoform.data.targets import TargetNormaliser
from cisoform.genome.sequence import reverse_complement
from cisoform.tokens import kmer
from cisoform.tokens.dna import UNKNOWN_BASE
from cisoform.tokens.padding import pad_rows
from cisoform.tokens.peaks import DNA_MASK, SIGNAL_ABSENT
from cisoform.tokens.protein import ESM_MASK, ESM_PAD, PROTEIN_PAD, UNKNOWN_RESIDUE, esm_ids
from cisoform.tokens.rna import REGION_PAD, RNA_PAD, first_base_kept

Array = npt.NDArray[Any]
BaseTokens = Literal["bases", "kmers"]
DnaTokens = Literal["bases", "kmers", "sixmers"]
ProteinTokens = Literal["residues", "esm"]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of the training samples. All are off by default and in evaluation.

    Attributes:
        tss_jitter: Each DNA window moves by up to so many bases either way.
        reverse_complement: Chance that a DNA window is read on the other strand.
        drop_dna: Chance that a transcript is shown without its DNA; likewise the next two. A transcript that
            would be left with nothing keeps everything.
        drop_rna: See `drop_dna`.
        drop_protein: See `drop_dna`.
        drop_tracks: Chance that a start is shown without the tracks of a sample.
        hide_dna: Share of the bases that are shown as N, in spans of `hide_span`; likewise the next two.
        hide_rna: See `hide_dna`; the region ids stay.
        hide_protein: See `hide_dna`; residues become X.
        hide_span: Tokens of one hidden span.
    """

    tss_jitter: int = 0
    reverse_complement: float = 0.0
    drop_dna: float = 0.0
    drop_rna: float = 0.0
    drop_protein: float = 0.0
    drop_tracks: float = 0.0
    hide_dna: float = 0.0
    hide_rna: float = 0.0
    hide_protein: float = 0.0
    hide_span: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name not in ("tss_jitter", "hide_span") and not 0 <= value <= 1:
                raise ValueError(f"{name}={value} is not between 0 and 1")
        if self.tss_jitter < 0 or self.hide_span < 1:
            raise ValueError(
                f"tss_jitter={self.tss_jitter} or hide_span={self.hide_span} is too small (0 and 1 at least)"
            )

    @property
    def changes_dna(self) -> bool:
        """Whether a start may show other bases from one epoch to the next."""
        return bool(self.tss_jitter or self.reverse_complement or self.hide_dna)


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """What of each transcript is shown, in which tokens, in which batches.

    Attributes:
        modalities: Which of dna, rna and protein are shown at all.
        dna_window: Bases of the DNA window.
        dna_upstream: Bases of it before the first transcribed base; None = half.
        rna_max: Longest RNA; a longer one keeps its 3' end (paper, section 4.2: 12,000).
        protein_max: Longest protein; a longer one keeps its N-terminus (paper: 1,200).
        dna_tokens: Single bases, Nucleotide Transformer 6-mers, or a 6-mer at every base ("sixmers", CREformer's).
        rna_tokens: Single bases, or Nucleotide Transformer 6-mers.
        protein_tokens: Our amino-acid codes, or ESM-2 ids with `<cls>` and `<eos>`.
        tracks: Tracks shown beside sixmers, in the order of the model; None = all that the data have.
        limits: Size of a batch.
        augmentation: Random changes while training.
        use_gene_columns: Learn gene-level columns beside the transcript-level ones.
        gene_column_weight: Weight of a gene-level label in the loss; a transcript-level one has 1.
    """

    modalities: tuple[str, ...] = MODALITIES
    dna_window: int = 2048
    dna_upstream: int | None = None
    rna_max: int = 12_000
    protein_max: int = 1_200
    dna_tokens: DnaTokens = "bases"
    rna_tokens: BaseTokens = "bases"
    protein_tokens: ProteinTokens = "residues"
    tracks: tuple[str, ...] | None = None
    limits: BatchLimits = field(default_factory=BatchLimits)
    augmentation: Augmentation = field(default_factory=Augmentation)
    use_gene_columns: bool = True
    gene_column_weight: float = 1.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.modalities if name not in MODALITIES]
        if unknown or not self.modalities:
            raise ValueError(f"modalities={self.modalities} are not some of {', '.join(MODALITIES)}")
        for name in ("dna_window", "rna_max", "protein_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is below 1")
        if self.tracks is not None and len(set(self.tracks)) < len(self.tracks):
            raise ValueError(f"tracks={self.tracks}: a track is named twice")
        if self.dna_upstream is not None and not 0 <= self.dna_upstream <= self.dna_window:
            raise ValueError(f"dna_upstream={self.dna_upstream} is outside the window of {self.dna_window}")

    def for_evaluation(self, tss_jitter: int = 0) -> LoaderConfig:
        """The same without augmentation; with `tss_jitter`, windows alone move (for averaged predictions)."""
        return replace(self, augmentation=Augmentation(tss_jitter=tss_jitter))


def fit_normaliser(
    dataset: IsoformDataset, rows: npt.NDArray[np.integer], config: LoaderConfig
) -> TargetNormaliser:
    """The normaliser of the columns that `config` learns, from the given (training) rows alone."""
    wanted = [
        index
        for index, column in enumerate(dataset.columns)
        if config.use_gene_columns or column.level == "transcript"
    ]
    names = [dataset.columns[index].name for index in wanted]
    values = dataset.expression[np.asarray(rows)][:, wanted]
    return TargetNormaliser.fit(values, np.arange(len(values)), names)


class IsoformLoader:
    """Batches of some rows of a data set or of samples; a `Source` for the training loop."""

    def __init__(
        self,
        data: IsoformDataset | IsoformSamples,
        rows: npt.NDArray[np.integer] | None,
        config: LoaderConfig,
        normaliser: TargetNormaliser | None = None,
        seed: int = 0,
        shuffle: bool = True,
        folds: npt.NDArray[np.integer] | None = None,
        columns: Sequence[str] | None = None,
        by_state: bool = False,
    ) -> None:
        """Prepare lengths and targets of the rows; no other row's label is read.

        Args:
            data: Where the sequences (and labels) are from.
            rows: Which transcripts; None = all.
            config: What is shown of them.
            normaliser: Gives each batch targets, for its columns in its order; a column that the data set lacks
                is NaN. None = no targets.
            seed: Seed of order and augmentation.
            shuffle: False = a fixed order by length, for evaluation.
            folds: Cross-fitting fold of every transcript of `data` (`Tokens.fold` of its DNA), for training rows;
                None = no folds, as everywhere else.
            columns: Label columns of the model, each of which reads the tracks of the sample of its name; None =
                those of the normaliser.
            by_state: Show sixmers by the numbers of their states alone (`data.promoter_views`), for an encoder that
                has computed what it makes of them.
        """
        self.samples = data if isinstance(data, IsoformSamples) else data.samples
        self.config = config
        self.seed = seed
        self.shuffle = shuffle
        self.rows = np.arange(self.samples.n) if rows is None else np.asarray(rows, dtype=np.int64)
        self.folds = folds
        self._by_state = by_state
        self.views = self._promoter_views(columns or (normaliser.columns if normaliser is not None else ()))
        self._lengths = self._count_tokens()
        self._targets: npt.NDArray[np.float32] | None = None
        self._weights: npt.NDArray[np.float32] | None = None
        if normaliser is not None and isinstance(data, IsoformDataset):
            self._targets, self._weights = _labels(data, self.rows, normaliser, config)
        self._plan: tuple[int, list[npt.NDArray[np.int64]]] | None = None

    def _count_tokens(self) -> SampleLengths:
        samples, config = self.samples, self.config
        shown = {name: samples.has(name)[self.rows] & (name in config.modalities) for name in MODALITIES}
        rna = np.minimum(samples.lengths("rna")[self.rows], config.rna_max)
        protein = np.minimum(samples.lengths("protein")[self.rows], config.protein_max)
        dna_tokens = config.dna_window if config.dna_tokens == "bases" else config.dna_window // kmer.K + 1
        if self.views is not None:
            dna_tokens = config.dna_window * self.views.n_views
        if config.rna_tokens == "kmers":
            rna = rna // kmer.K + 1
        return SampleLengths(
            dna=np.where(shown["dna"], dna_tokens, 0).astype(np.int64),
            rna=np.where(shown["rna"], rna, 0).astype(np.int64),
            protein=np.where(shown["protein"], protein, 0).astype(np.int64),
            start=np.where(shown["dna"], samples.dna_row[self.rows], -1).astype(np.int64),
        )

    @property
    def cropped(self) -> dict[str, int]:
        """How many of the rows' sequences are longer than the cap and get cut, by modality."""
        caps = {"rna": self.config.rna_max, "protein": self.config.protein_max}
        return {name: int((self.samples.lengths(name)[self.rows] > cap).sum()) for name, cap in caps.items()}

    def _batches(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        if self._plan is None or (self._plan[0] != epoch and self.shuffle):
            plan = plan_batches(self._lengths, self.config.limits, self.seed, epoch, self.shuffle)
            self._plan = (epoch, plan)
        return self._plan[1]

    def n_batches(self, epoch: int = 0) -> int:
        """Number of batches of an epoch."""
        return len(self._batches(epoch))

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[IsoformBatch]:
        """Batches of an epoch from batch number `start` on."""
        for number in range(start, self.n_batches(epoch)):
            yield self.batch(epoch, number)

    def batch(self, epoch: int, number: int) -> IsoformBatch:
        """One batch; depends on nothing but the loader's arguments and these two numbers."""
        picked = self._batches(epoch)[number]
        rng = np.random.default_rng((self.seed, epoch, number, 1))
        rows = self.rows[picked]
        shown = self._shown(rows, rng)
        dna, views = self._dna(rows, shown["dna"], rng)
        return IsoformBatch(
            dna=dna,
            rna=self._rna(rows, shown["rna"], rng),
            protein=self._protein(rows, shown["protein"], rng),
            index=torch.from_numpy(rows.astype(np.int64)),
            targets=None if self._targets is None else torch.from_numpy(self._targets[picked]),
            weights=None if self._weights is None else torch.from_numpy(self._weights).expand(len(rows), -1),
            views=views,
        )

    def _shown(self, rows: Array, rng: np.random.Generator) -> dict[str, npt.NDArray[np.bool_]]:
        """Which modalities each sample is shown with, after modality dropout."""
        augmentation = self.config.augmentation
        chances = np.array([augmentation.drop_dna, augmentation.drop_rna, augmentation.drop_protein])
        has = np.stack(
            [self.samples.has(name)[rows] & (name in self.config.modalities) for name in MODALITIES]
        )
        kept = has & (rng.random((3, len(rows))) >= chances[:, None])
        kept = np.where(kept.any(axis=0), kept, has)
        return dict(zip(MODALITIES, kept, strict=True))

    def _promoter_views(self, columns: Sequence[str]) -> PromoterViews | None:
        config, dna = self.config, self.samples.dna
        if config.dna_tokens != "sixmers" or dna is None:
            return None
        return PromoterViews.of(
            dna, self.samples.signal, config.dna_window, config.dna_upstream, config.tracks, columns
        )

    def _dna(
        self, rows: Array, shown: Array, rng: np.random.Generator
    ) -> tuple[Modality | None, Views | None]:
        if not shown.any() or self.samples.dna is None:
            return None, None
        if self.views is None:
            return self._window(rows, shown, rng), None
        distinct, row = _distinct_rows(self.samples.dna_row[rows].astype(np.int64), shown)
        tokens = self._sixmers(self.views, distinct, rng)
        modality = Modality(tokens, torch.from_numpy(np.where(shown, row, 0)), torch.from_numpy(shown.copy()))
        if self.views.n_views == 1:
            return modality, None
        first = torch.arange(self.views.n_views) * len(distinct)
        return modality, Views(modality.row[:, None] + first, self.views.of_column)

    def _sixmers(self, views: PromoterViews, rows: Array, rng: np.random.Generator) -> Tokens:
        """Rows of view 0, then of view 1, and so on."""
        change, shape = self.config.augmentation, (views.n_views, len(rows))
        shift = rng.integers(-change.tss_jitter, change.tss_jitter + 1, size=len(rows))
        flipped = rng.random(len(rows)) < change.reverse_complement
        dropped = rng.random(shape) < change.drop_tracks
        if self._by_state:
            view = np.where(dropped, 0, np.arange(views.n_views)[:, None])
            state = torch.from_numpy(views.states(rows, view).ravel())
            one = torch.zeros(len(state), 1, dtype=torch.int8)
            return Tokens(one, one == 0, state=state)
        ids = views.sequence(rows, shift, flipped)
        _hide(ids, np.ones(ids.shape, dtype=bool), change.hide_dna, change.hide_span, DNA_MASK, rng)
        tiled = torch.from_numpy(np.tile(ids, (views.n_views, 1)))
        mask = torch.ones(tiled.shape, dtype=torch.bool)
        if views.n_views == 1:
            return Tokens(tiled, mask)
        levels = views.levels(rows, shift, flipped)
        levels[dropped] = SIGNAL_ABSENT
        return Tokens(tiled, mask, signal=torch.from_numpy(levels).flatten(0, 1))

    def _window(self, rows: Array, shown: Array, rng: np.random.Generator) -> Modality:
        config, change = self.config, self.config.augmentation
        assert self.samples.dna is not None
        distinct, row, fold = self._distinct_dna(rows, shown)
        shift = rng.integers(-change.tss_jitter, change.tss_jitter + 1, size=len(distinct))
        windows = self.samples.dna.window(distinct, config.dna_window, shift, config.dna_upstream)
        flipped = rng.random(len(distinct)) < change.reverse_complement
        windows[flipped] = reverse_complement(windows[flipped])
        if config.dna_tokens == "kmers":
            ids, mask = _kmer_rows(list(windows), change.hide_dna, change.hide_span, rng)
            return _modality(ids, mask, None, row, shown, fold)
        mask = np.ones(windows.shape, dtype=bool)
        _hide(windows, mask, change.hide_dna, change.hide_span, UNKNOWN_BASE, rng)
        return _modality(windows.view(np.int8), mask, None, row, shown, fold)

    def _distinct_dna(self, rows: Array, shown: Array) -> tuple[Array, Array, Array | None]:
        """Distinct windows in use, which each sample uses, and their folds; a window of two folds counts twice."""
        source = self.samples.dna_row[rows].astype(np.int64)
        if self.folds is None:
            return *_distinct_rows(source, shown), None
        n_folds = int(self.folds.max()) + 1
        distinct, row = _distinct_rows(source * n_folds + self.folds[rows], shown)
        return distinct // n_folds, row, distinct % n_folds

    def _rna(self, rows: Array, shown: Array, rng: np.random.Generator) -> Modality | None:
        config, change = self.config, self.config.augmentation
        if not shown.any() or self.samples.rna is None:
            return None
        # One row per transcript: the same bases may have another CDS in another transcript.
        used = rows[shown]
        sequences = [self.samples.rna[row] for row in self.samples.rna_row[used].tolist()]
        starts = [first_base_kept(len(one), config.rna_max) for one in sequences]
        sequences = [one[start:] for one, start in zip(sequences, starts, strict=True)]
        row = np.cumsum(shown) - 1
        if config.rna_tokens == "kmers":
            ids, mask = _kmer_rows(sequences, change.hide_rna, change.hide_span, rng)
            return _modality(ids, mask, None, row, shown)
        codes, mask = pad_rows(sequences, RNA_PAD, np.uint8)
        _hide(codes, mask, change.hide_rna, change.hide_span, UNKNOWN_BASE, rng)
        regions = [
            self.samples.regions(sample, start) for sample, start in zip(used.tolist(), starts, strict=True)
        ]
        channels, _ = pad_rows(regions, REGION_PAD, np.int8, width=codes.shape[1])
        return _modality(codes.view(np.int8), mask, channels, row, shown)

    def _protein(self, rows: Array, shown: Array, rng: np.random.Generator) -> Modality | None:
        config, change = self.config, self.config.augmentation
        if not shown.any() or self.samples.protein is None:
            return None
        distinct, row = _distinct_rows(self.samples.protein_row[rows], shown)
        sequences = [self.samples.protein[index][: config.protein_max] for index in distinct.tolist()]
        if config.protein_tokens == "esm":
            ids, mask = pad_rows([esm_ids(one) for one in sequences], ESM_PAD, np.int16)
            inner = mask.copy()
            inner[:, 0] = False
            inner[np.arange(len(ids)), mask.sum(axis=1) - 1] = False
            _hide(ids, inner, change.hide_protein, change.hide_span, ESM_MASK, rng)
            return _modality(ids, mask, None, row, shown)
        codes, mask = pad_rows(sequences, PROTEIN_PAD, np.uint8)
        _hide(codes, mask, change.hide_protein, change.hide_span, UNKNOWN_RESIDUE, rng)
        return _modality(codes.view(np.int8), mask, None, row, shown)


def _distinct_rows(source_rows: Array, shown: Array) -> tuple[Array, Array]:
    """Distinct source rows in use, and which of them each sample uses (0 where it uses none)."""
    distinct, inverse = np.unique(source_rows[shown], return_inverse=True)
    row = np.zeros(len(source_rows), dtype=np.int64)
    row[shown] = inverse
    return distinct, row


def _modality(
    ids: Array, mask: Array, channels: Array | None, row: Array, shown: Array, fold: Array | None = None
) -> Modality:
    tokens = Tokens(
        torch.from_numpy(ids),
        torch.from_numpy(mask),
        None if channels is None else torch.from_numpy(channels),
        None if fold is None else torch.from_numpy(fold.astype(np.int64)),
    )
    used = np.where(shown, row, 0).astype(np.int64)
    return Modality(tokens, torch.from_numpy(used), torch.from_numpy(shown.copy()))


def _kmer_rows(
    sequences: list[Array], share: float, span: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Padded 6-mer ids and their mask; hidden tokens are `<mask>`, `<cls>` is never hidden."""
    ids, mask = pad_rows([kmer.kmer_ids(one) for one in sequences], kmer.PAD, np.int16)
    _hide(ids, mask & (ids != kmer.CLS), share, span, kmer.MASK, rng)
    return ids, mask


def _hide(ids: Array, mask: Array, share: float, span: int, hidden: int, rng: np.random.Generator) -> None:
    """Overwrite about `share` of the real tokens with `hidden`, in place, in spans that start anywhere."""
    if share <= 0:
        return
    # A position stays visible if none of the `span` starts that would cover it was drawn.
    drawn = rng.random(ids.shape) < 1 - (1 - share) ** (1 / span)
    covered = drawn.copy()
    for offset in range(1, span):
        covered[:, offset:] |= drawn[:, :-offset]
    ids[covered & mask] = hidden


def _labels(
    dataset: IsoformDataset, rows: Array, normaliser: TargetNormaliser, config: LoaderConfig
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Standardised targets of the rows and, unless all are 1, the weight of each column."""
    index = {column.name: number for number, column in enumerate(dataset.columns)}
    values = np.full((len(rows), len(normaliser.columns)), np.nan, dtype=np.float32)
    weights = np.ones(len(normaliser.columns), dtype=np.float32)
    labels = dataset.expression[rows]
    for place, name in enumerate(normaliser.columns):
        if name in index:
            values[:, place] = labels[:, index[name]]
            if dataset.columns[index[name]].level == "gene":
                weights[place] = config.gene_column_weight
    return normaliser.transform(values), None if (weights == 1).all() else weights
