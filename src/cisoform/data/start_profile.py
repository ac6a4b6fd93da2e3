"""What start scores are learnt from: round one start of a gene, how its starts are used. Training rows alone.

The label of a window is the expression of the gene's own training transcripts at the place where each starts;
places that lie from the shown transcript's CDS on are no candidates. Our choice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cisoform.batches import StartBatch
from cisoform.data.isoform_dataset import IsoformDataset
from cisoform.data.samples import IsoformSamples

NO_CDS = 2**40
"""Distance to the CDS of a transcript that has none."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ProfileWindow:
    """What of the DNA round a start is shown, in bases.

    Attributes:
        before: Candidates before the start; likewise `after`, from it on.
        after: See `before`.
        flank: Bases shown beyond the candidates at either end.
        jitter: All of it moves by up to so many bases.
    """

    before: int
    after: int
    flank: int
    jitter: int


@dataclass(frozen=True)
class StartProfiles:
    """Starts of some genes and how they are used; one entry per transcript, those of a gene side by side.

    Attributes:
        row: Row of the transcript in its data set.
        first: Index of the first transcript of each gene, and the number of all at the end.
        place: Number of the chromosome and strand.
        position: Start along the strand: a larger one lies further downstream.
        to_cds: Bases of the genome from the start to the first base of the CDS, `NO_CDS` without one.
        usage: Linear expression `(transcripts, outputs)`, 0 where it is missing.
    """

    row: IntArray
    first: IntArray
    place: IntArray
    position: IntArray
    to_cds: IntArray
    usage: npt.NDArray[np.float32]

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.first) - 1

    def digest(self) -> str:
        """SHA-256 over all of it."""
        state = hashlib.sha256()
        for values in vars(self).values():
            state.update(np.ascontiguousarray(values).tobytes())
        return state.hexdigest()


def fold_of_family(dataset: IsoformDataset, folds: int) -> IntArray:
    """Fold of each transcript, drawn by a hash of the name of its family."""
    number = {
        name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % folds
        for name in sorted(set(dataset.family))
    }
    return np.array([number[name] for name in dataset.family], dtype=np.int64)


def start_profiles(dataset: IsoformDataset, unseen: npt.NDArray[np.bool_], outputs: int) -> StartProfiles:
    """The training transcripts but for the `unseen` ones; no label of any other row is read.

    Args:
        dataset: Where transcripts and labels are from.
        unseen: Transcripts to leave out.
        outputs: As many as there are transcript-level columns, or 1 for their mean.
    """
    samples = dataset.samples
    rows = np.flatnonzero((dataset.split == "train") & ~unseen & samples.has("dna"))
    genes = np.array(samples.gene_ids)[rows]
    _, gene = np.unique(genes, return_inverse=True)
    rows = rows[np.argsort(gene, kind="stable")]
    first = np.concatenate([[0], np.cumsum(np.bincount(gene))]) if len(rows) else np.zeros(1, dtype=np.int64)
    columns = [index for index, column in enumerate(dataset.columns) if column.level == "transcript"]
    usage = np.nan_to_num(dataset.expression[rows][:, columns]).astype(np.float32)
    table = samples.table[rows]
    sign = np.where(table["strand"].to_numpy() == "-", -1, 1)
    where = [f"{chrom} {strand}" for chrom, strand in zip(table["chrom"], table["strand"], strict=True)]
    return StartProfiles(
        row=rows.astype(np.int64),
        first=first.astype(np.int64),
        place=np.unique(where, return_inverse=True)[1].astype(np.int64),
        position=table["tss"].to_numpy().astype(np.int64) * sign,
        to_cds=_to_cds(*(table[name].to_list() for name in ("cds_start", "exon_starts", "exon_ends"))),
        usage=usage if outputs == usage.shape[1] else usage.mean(axis=1, keepdims=True),
    )


def _to_cds(
    cds_start: Sequence[int], exon_starts: Sequence[Sequence[int]], exon_ends: Sequence[Sequence[int]]
) -> IntArray:
    """Bases of the genome from the start to the CDS, introns included; exons come in the order of the RNA."""
    found = np.full(len(cds_start), NO_CDS, dtype=np.int64)
    for index, (cds, starts, ends) in enumerate(zip(cds_start, exon_starts, exon_ends, strict=True)):
        if cds < 0:
            continue
        left = cds
        for start, end in zip(starts, ends, strict=True):
            if left < end - start:
                # Plus strand: from the first exon's start; minus strand: the same from its end, leftwards.
                forward = starts[0] <= start and ends[0] <= end
                found[index] = start - starts[0] + left if forward else ends[0] - end + left
                break
            left -= end - start
    return found


class StartProfileLoader:
    """Batches of windows round starts, one per gene and epoch; a `Source` for the training loop."""

    def __init__(
        self,
        samples: IsoformSamples,
        profiles: StartProfiles,
        window: ProfileWindow,
        batch_size: int,
        seed: int = 0,
    ) -> None:
        self.samples, self.profiles, self.window = samples, profiles, window
        self.batch_size, self.seed = batch_size, seed

    def n_batches(self, epoch: int = 0) -> int:
        """Number of batches of an epoch."""
        return -(-self.profiles.n_genes // self.batch_size)

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[StartBatch]:
        """Batches of an epoch from batch number `start` on."""
        for number in range(start, self.n_batches(epoch)):
            yield self.batch(epoch, number)

    def batch(self, epoch: int, number: int) -> StartBatch:
        """One batch; depends on nothing but the loader's arguments and these two numbers."""
        profiles, window = self.profiles, self.window
        rng = np.random.default_rng((self.seed, epoch, 0))
        genes = rng.permutation(profiles.n_genes)[number * self.batch_size : (number + 1) * self.batch_size]
        rng = np.random.default_rng((self.seed, epoch, number, 1))
        begin, end = profiles.first[genes], profiles.first[genes + 1]
        shown = rng.integers(begin, end)
        shift = rng.integers(-window.jitter, window.jitter + 1, size=len(shown))
        assert self.samples.dna is not None
        length = window.before + window.after + 2 * window.flank
        upstream = window.before + window.flank
        rows = self.samples.dna_row[profiles.row[shown]]
        ids = self.samples.dna.window(rows, length, shift, upstream)
        usage, allowed = self._labels(shown, begin, end, shift)
        return StartBatch(
            torch.from_numpy(ids.view(np.int8)), torch.from_numpy(usage), torch.from_numpy(allowed)
        )

    def _labels(
        self, shown: IntArray, begin: IntArray, end: IntArray, shift: IntArray
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Usage of each place, by the starts of the same gene on the same strand; and which places are candidates."""
        profiles, window = self.profiles, self.window
        n_places = window.before + window.after
        usage = np.zeros((len(shown), profiles.usage.shape[1], n_places), dtype=np.float32)
        offsets = np.arange(-window.before, window.after) + shift[:, None]
        for index, one in enumerate(shown.tolist()):
            gene = slice(int(begin[index]), int(end[index]))
            at = profiles.position[gene] - profiles.position[one] - offsets[index, 0]
            inside = (at >= 0) & (at < n_places) & (profiles.place[gene] == profiles.place[one])
            np.add.at(usage[index].T, at[inside], profiles.usage[gene][inside])
        return usage, offsets < profiles.to_cds[shown, None]
