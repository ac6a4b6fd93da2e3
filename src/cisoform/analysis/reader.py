"""Readers: a CREformer, what it reads, and the vectors of its peaks; every reading takes its `PeakInputs` from one.

`Reader` reads genes of a data set in its groups, `LocusReader` one gene from the authors' text form; both are a
`PeakReader`, so that a reading need not know which it has. Elementary's part is done when a reader is made (a table
of vectors of all states in use, all-zero ones included); `encode` runs it for windows that a perturbation edits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cisoform.analysis.inputs import PeakInputs
from cisoform.data.gene_loader import GeneLoaderConfig, GeneSource
from cisoform.data.genes import GenesDataset
from cisoform.data.locus_text import Locus, place_of
from cisoform.errors import InputError
from cisoform.features.cache import DTYPES, make_keys
from cisoform.features.states import FeatureConfig, FeatureTable, encode_windows, open_cache
from cisoform.models.creformer import CREformer, rank_positions
from cisoform.models.creformer.frozen import tuned_part
from cisoform.tokens.peaks import SIGNAL_ABSENT, SIGNAL_ZERO, signal_tokens

SLOTS_AT_ONCE = 65_536

Codes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Signal = npt.NDArray[np.float32]


@runtime_checkable
class PeakReader(Protocol):
    """What a reading needs to know.

    Attributes:
        model: In evaluation mode.
        link: How its output becomes expression.
        genes: Table gene_id, gene_name, chrom, strand, tss; a row is a gene number.
        groups: Table name, cell_type and more; a row is a group number.
        peaks: Table chrom, start, end; a row is a peak number.
    """

    model: CREformer
    link: str

    @property
    def genes(self) -> pl.DataFrame:
        """See the class."""
        ...

    @property
    def groups(self) -> pl.DataFrame:
        """See the class."""
        ...

    @property
    def peaks(self) -> pl.DataFrame:
        """See the class."""
        ...

    def batches(self, groups: Ints, genes: Ints, slots_at_once: int = SLOTS_AT_ONCE) -> Iterator[PeakInputs]:
        """Every gene in every group, once."""
        ...

    def closed(self, inputs: PeakInputs) -> Float[Tensor, "batch slots dim"]:
        """Vectors of the same peaks with a signal of zero all over; anything at padding."""
        ...

    def windows(self, inputs: PeakInputs, where: Bool[Tensor, "batch slots"]) -> Codes:
        """Base codes (n, 1029) of the windows of the peaks at some slots, in the order of `where.nonzero()`."""
        ...

    def base_signal(self, inputs: PeakInputs, where: Bool[Tensor, "batch slots"]) -> Signal:
        """Signal (n, 1029) that the peaks at some slots show, in the order of `where.nonzero()`."""
        ...

    def tokens(self, signal: Signal) -> Codes:
        """Signal tokens (n, 1024) of per-base signal (n, 1029)."""
        ...

    def encode(self, windows: Codes, tokens: Codes, keep: bool = True) -> Float[Tensor, "windows dim"]:
        """Pooled vectors of edited windows; each distinct one is computed once."""
        ...


@dataclass(frozen=True)
class Reader:
    """A model and genes of a data set.

    Attributes:
        model: In evaluation mode; likewise `link`: how its output becomes expression.
        link: See `model`.
        dataset: Genes in groups.
        features: How the model's features are made.
        table: Pooled vectors of the states in use (`features.states_in_use`, and not-measured ones where wanted).
        cache: Folder of feature caches; None = the user's.
        sequence_only: Show every peak as not measured: sequence alone.
    """

    model: CREformer
    link: str
    dataset: GenesDataset
    features: FeatureConfig
    table: FeatureTable
    cache: Path | None = None
    sequence_only: bool = False

    @property
    def genes(self) -> pl.DataFrame:
        """Genes of the data set, in the order of their numbers."""
        return self.dataset.genes

    @property
    def groups(self) -> pl.DataFrame:
        """Groups of the data set, in the order of their numbers."""
        return self.dataset.groups

    @property
    def peaks(self) -> pl.DataFrame:
        """Peaks of the data set, in the order of their numbers."""
        return self.dataset.peaks

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @cached_property
    def _source(self) -> GeneSource:
        every = np.arange(self.dataset.genes.height), np.arange(self.dataset.groups.height)
        return GeneSource(self.dataset, *every, GeneLoaderConfig(), training=False)

    def inputs(self, gene: Ints, group: Ints) -> PeakInputs:
        """Samples by their gene and group numbers, in the order given (all at once: mind the memory)."""
        batch = self._source.assemble(np.asarray(group), np.asarray(gene))
        mask = batch.mask.numpy()
        first = np.asarray(self.dataset.index.first)[gene]
        peak = np.where(mask, first[:, None] + np.arange(mask.shape[1]), -1)
        observed = batch.state.numpy()
        signal = np.zeros(mask.shape, dtype=np.float32)
        signal[mask] = self.dataset.state_signal(observed[mask])
        shown = peak + self.dataset.n_peaks if self.sequence_only else observed
        state = torch.from_numpy(np.where(mask, shown, -1).astype(np.int64))
        found = PeakInputs(
            vectors=self.vectors(state.clamp(min=0), batch.mask),
            mask=batch.mask,
            distance_bp=batch.distance,
            rank=batch.rank.to(torch.int64),
            tss_peak=batch.tss_peak,
            peak=torch.from_numpy(peak.astype(np.int64)),
            accessibility=torch.from_numpy(signal),
            state=state,
            gene=batch.gene,
            group=batch.group,
        )
        return found.to(self.device).padded(self.model.config)

    def batches(self, groups: Ints, genes: Ints, slots_at_once: int = SLOTS_AT_ONCE) -> Iterator[PeakInputs]:
        """Every gene in every group, once, genes with few peaks first; all groups of a gene come in a row.

        Args:
            groups: Numbers of groups.
            genes: Numbers of genes.
            slots_at_once: Most slots of a batch (padding included), so that memory is bounded.
        """
        groups, genes = np.asarray(groups), np.asarray(genes)
        count = np.asarray(self.dataset.index.count)[genes]
        order = genes[np.argsort(count, kind="stable")]
        pads = self.model.config.head == "flat" or not self.model.config.mask_padding
        widest = self.model.config.max_peaks if pads else int(count.max(initial=1))
        size = max(1, slots_at_once // widest)
        for first in range(0, len(order) * len(groups), size):
            sample = np.arange(first, min(first + size, len(order) * len(groups)))
            yield self.inputs(order[sample // len(groups)], groups[sample % len(groups)])

    def vectors(
        self, states: Int[Tensor, "batch slots"], mask: Bool[Tensor, "batch slots"]
    ) -> Float[Tensor, "batch slots dim"]:
        """Vectors of states of the data set; those of the first real one at padding.

        Raises:
            KeyError: If a state is not in the reader's table.
        """
        rows = self.table.row.to(states.device)[torch.where(mask, states, states[mask][0])].to(torch.int64)
        if bool((rows < 0).any()):
            raise KeyError("a state is not in the reader's table: it was opened for other groups or genes")
        flat = self.table.values.index_select(0, rows.reshape(-1).to(self.table.values.device))
        return flat.to(torch.float32).reshape(*states.shape, -1)

    def closed(self, inputs: PeakInputs) -> Float[Tensor, "batch slots dim"]:
        """Vectors of the same peaks with a signal of zero all over; anything at padding."""
        return self.vectors(inputs.peak.clamp(min=0).cpu(), inputs.mask.cpu()).to(inputs.vectors.device)

    def signal(self, groups: Ints, peaks: Ints) -> Signal:
        """Mean measured signal (groups, peaks) of the peaks' windows."""
        found = np.empty((len(groups), len(peaks)), dtype=np.float32)
        for row, group in enumerate(np.asarray(groups).tolist()):
            found[row] = self.dataset.state_signal(self.dataset.group_states(group)[peaks])
        return found

    def windows(self, inputs: PeakInputs, where: Bool[Tensor, "batch slots"]) -> Codes:
        """Base codes (n, 1029) of the windows of the peaks at some slots, in the order of `where.nonzero()`."""
        return self.dataset.windows(inputs.peak[where].cpu().numpy())

    def base_signal(self, inputs: PeakInputs, where: Bool[Tensor, "batch slots"]) -> Signal:
        """Signal (n, 1029) that the peaks at some slots show; 0 where it is not measured."""
        states = inputs.state[where].cpu().numpy()
        found = np.zeros((len(states), self.windows(inputs, where).shape[1]), dtype=np.float32)
        seen = np.flatnonzero(states >= 2 * self.dataset.n_peaks)
        found[seen] = self.dataset.observed.signal(states[seen] - 2 * self.dataset.n_peaks)
        return found

    def tokens(self, signal: Signal) -> Codes:
        """Signal tokens (n, 1024) of per-base signal (n, 1029), cut at the data set's edges."""
        if self.sequence_only:
            return np.full((len(signal), signal.shape[1] - 5), SIGNAL_ABSENT, dtype=np.uint8)
        return signal_tokens(signal, self.dataset.edges)

    def encode(self, windows: Codes, tokens: Codes, keep: bool = True) -> Float[Tensor, "windows dim"]:
        """Pooled vectors of edited windows: from the cache where it has them, each distinct one computed once.

        Args:
            windows: Base codes (n, 1029).
            tokens: Signal tokens (n, 1024).
            keep: Add what is computed to the cache, so that a screen that is run again or goes on after a stop
                finds it.

        Raises:
            InputError: If the cache cannot be used.
        """
        found = torch.empty(len(windows), self.model.elementary.dim)
        size = self.features.shard_entries
        for first in range(0, len(windows), size):
            part = slice(first, first + size)
            found[part] = self._encode(windows[part], tokens[part], keep).cpu()
        return found.to(self.device)

    @cached_property
    def _store(self) -> Any:
        return open_cache(self.model, self.features, self.cache)

    @torch.no_grad()
    def _encode(self, windows: Codes, tokens: Codes, keep: bool) -> Tensor:
        store = self._store
        prefixes = [row.tobytes() for row in windows]
        keys = make_keys(prefixes, np.arange(len(windows)), tokens)
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        missing = np.flatnonzero(np.isin(distinct, store.missing(distinct)))
        values = torch.empty(len(distinct), *store.shape, dtype=DTYPES[store.precision])
        known = np.setdiff1d(np.arange(len(distinct)), missing)
        if len(known):
            read, damaged = store.read(distinct[known])
            values[known] = read
            missing = np.union1d(missing, known[np.isin(distinct[known], damaged)])
        if len(missing):
            rows = first[missing]
            made = encode_windows(self.model, windows[rows], tokens[rows], self.features)
            values[missing] = made.to(values.dtype)
            if keep:
                store.add(distinct[missing], made)
        return self._pooled(values)[torch.from_numpy(inverse.reshape(-1)).to(self.device)]

    def _pooled(self, values: Tensor) -> Tensor:
        values = values.to(self.device, torch.float32)
        if values.ndim == 2:
            return values
        out: Tensor = self.model.pool(tuned_part(self.model.elementary, values, self.features.tuned_layers))
        return out


@dataclass(frozen=True)
class LocusReader:
    """A model and one gene from the authors' text form.

    Attributes:
        model: In evaluation mode; likewise `link`: how its output becomes expression.
        link: See `model`.
        locus: Peaks in genomic order.
        tss_peak: Index of the peak nearest the TSS.
        strand: '+' or '-'.
        features: Track that the signal is read as, precision.
        edges: Edges of the signal's levels.
        released_edge_bugs: Also write positions where the released code does at the first and last peak.
        sequence_only: Show every peak as not measured.
        name: What the gene is called in tables.
    """

    model: CREformer
    link: str
    locus: Locus
    tss_peak: int
    strand: str
    features: FeatureConfig
    edges: tuple[float, ...]
    released_edge_bugs: bool = False
    sequence_only: bool = False
    name: str = "locus"
    _encoded: dict[bytes, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        count, config = len(self.locus.ids), self.model.config
        if count > config.max_peaks:
            raise InputError(
                f"the locus has {count} peaks, the model reads at most {config.max_peaks}; keep the nearest"
            )
        if not 0 <= self.tss_peak < count:
            raise InputError(
                f"--tss-peak {self.tss_peak}: the locus has {count} peaks, numbered 0 to {count - 1}"
            )
        if self.strand not in ("+", "-"):
            raise InputError(f"--strand {self.strand!r} is not + or -")
        if config.positions == "distance" and self._places is None:
            raise InputError(
                f"this model places peaks by distance, but peak {self._unplaced!r} of the text has no coordinates "
                "(chr_start_end); use a data set (--data), or a model with rank positions"
            )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def genes(self) -> pl.DataFrame:
        """One gene; its TSS is taken to be the midpoint of the TSS peak (the text does not hold it)."""
        chrom, start, end = self.peaks.row(self.tss_peak)
        tss = None if start is None else (start + end) // 2
        return pl.DataFrame(
            {
                "gene_id": [self.name],
                "gene_name": [self.name],
                "chrom": [chrom],
                "strand": [self.strand],
                "tss": pl.Series([tss], dtype=pl.Int64),
            }
        )

    @property
    def groups(self) -> pl.DataFrame:
        """One group without a name."""
        return pl.DataFrame({"name": [""], "cell_type": [""]})

    @cached_property
    def peaks(self) -> pl.DataFrame:
        """Coordinates read from the ids (`chr_start_end`); null where an id is something else."""
        unknown: list[Any] = [(None, None, None)] * len(self.locus.ids)
        rows: list[Any] = list(self._places or unknown)
        schema = {"chrom": pl.String, "start": pl.Int64, "end": pl.Int64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    @cached_property
    def _places(self) -> list[tuple[str, int, int]] | None:
        found = [place for place in map(place_of, self.locus.ids) if place is not None]
        return found if len(found) == len(self.locus.ids) else None

    @property
    def _unplaced(self) -> str:
        return next(name for name in self.locus.ids if place_of(name) is None)

    def inputs(self) -> PeakInputs:
        """The locus as one sample."""
        count = len(self.locus.ids)
        vectors = self.encode(self.locus.dna, self.tokens(self.locus.signal.astype(np.float32)))
        rank = rank_positions(count, self.tss_peak, self.strand, count)
        signal = np.nan_to_num(self.locus.signal).mean(axis=1)
        found = PeakInputs(
            vectors=vectors[None].cpu(),
            mask=torch.ones(1, count, dtype=torch.bool),
            distance_bp=torch.from_numpy(self._distance())[None],
            rank=rank[None],
            tss_peak=torch.tensor([self.tss_peak]),
            peak=torch.arange(count)[None],
            accessibility=torch.from_numpy(signal.astype(np.float32))[None],
            state=torch.full((1, count), -1),
            gene=torch.zeros(1, dtype=torch.int64),
            group=torch.zeros(1, dtype=torch.int64),
        )
        found = found.to(self.device).padded(self.model.config)
        if self.released_edge_bugs:
            ids = rank_positions(count, self.tss_peak, self.strand, found.n_slots, released_edges=True)
            found.rank[0] = ids.to(self.device)
        return found

    def _distance(self) -> Signal:
        if self._places is None:
            return np.full(len(self.locus.ids), np.nan, dtype=np.float32)
        mid = np.array([(start + end) // 2 for _, start, end in self._places])
        sign = 1 if self.strand == "+" else -1
        return np.asarray((mid - mid[self.tss_peak]) * sign, dtype=np.float32)

    def batches(self, groups: Ints, genes: Ints, slots_at_once: int = SLOTS_AT_ONCE) -> Iterator[PeakInputs]:
        """The locus, once."""
        yield self.inputs()

    def closed(self, inputs: PeakInputs) -> Float[Tensor, "batch slots dim"]:
        """Vectors of the same peaks with a signal of zero all over; anything at padding."""
        dna = self.locus.dna
        zero = np.full((len(dna), dna.shape[1] - 5), SIGNAL_ZERO, dtype=np.uint8)
        vectors = self.encode(dna, zero)
        return vectors[inputs.peak.clamp(min=0)]

    def windows(self, inputs: PeakInputs, where: Bool[Tensor, "batch slots"]) -> Codes:
        """Base codes (n, 1029) of the peaks at some slots, in the order of `where.nonzero()`."""
        return np.asarray(self.locus.dna[inputs.peak[where].cpu().numpy()])

    def base_signal(self, inputs: PeakInputs, where: Bool[Tensor, "batch slots"]) -> Signal:
        """Signal (n, 1029) of the peaks at some slots."""
        return np.asarray(self.locus.signal[inputs.peak[where].cpu().numpy()], dtype=np.float32)

    def tokens(self, signal: Signal) -> Codes:
        """Signal tokens (n, 1024) of per-base signal (n, 1029), cut at the model's edges."""
        if self.sequence_only:
            return np.full((len(signal), signal.shape[1] - 5), SIGNAL_ABSENT, dtype=np.uint8)
        return signal_tokens(signal, self.edges)

    def encode(self, windows: Codes, tokens: Codes, keep: bool = True) -> Float[Tensor, "windows dim"]:
        """Pooled vectors of edited windows; `keep` remembers them as long as the reader lives."""
        which = np.arange(len(windows))
        keys = make_keys([row.tobytes() for row in windows], which, tokens)
        distinct, first = np.unique(keys, return_index=True)
        rows = first[[bytes(key) not in self._encoded for key in distinct]]
        known = dict(self._encoded)
        if len(rows):
            made = encode_windows(self.model, windows[rows], tokens[rows], self.features)
            if made.ndim == 3:
                bins = made.to(self.device)
                with torch.no_grad():
                    made = self.model.pool(
                        tuned_part(self.model.elementary, bins, self.features.tuned_layers)
                    )
            known |= {bytes(keys[row]): vector for row, vector in zip(rows, made.cpu(), strict=True)}
        if keep:
            self._encoded.update(known)
        return torch.stack([known[bytes(key)] for key in keys]).to(self.device)
