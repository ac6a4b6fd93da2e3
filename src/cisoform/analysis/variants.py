"""What variants do to the expression of genes: the DNA of peak windows changes, and the model predicts again.

Reference 7.10. Of every peak window that an allele touches, Elementary reads the alternative bases with the signal of
the group as it is, base position by base position (accessibility fixed), or with the signal multiplied by what
another model makes of the DNA, bin by bin (accessibility predicted anew); the peak transformer then reads the gene
with these vectors in place of the reference's. Elementary runs once for every distinct (allele, peak, signal).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.inputs import PeakInputs, predict, predict_edits
from cisoform.analysis.reader import SLOTS_AT_ONCE, LocusReader, Reader
from cisoform.analysis.variant_windows import PeakWindows, PlacedAlleles
from cisoform.genome.peaks import PEAK_WINDOW

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.float64]
Signal = npt.NDArray[np.float32]
AnyReader = Reader | LocusReader
Progress = Callable[[int, int], None]

EDITS_AT_ONCE = 4_096
"""Edited samples whose vectors are held at a time."""
_BIN_BP = 128


Expected = Callable[[Codes], Numbers]
"""Predicted signal (n, 8) of the 128-bp bins of windows (n, 1029), as inverse hyperbolic sine."""


def signal_factors(windows: PeakWindows, placed: PlacedAlleles, expected: Expected) -> Numbers:
    """Per edited window and bin (n, 8), what the alternative bases multiply the signal by.

    exp(asinh(alternative) - asinh(reference)): the ratio of large signals, near 1 where both are small.
    """
    row_of = {int(number): row for row, number in enumerate(windows.number.tolist())}
    used, inverse = np.unique(placed.peak, return_inverse=True)
    reference = expected(windows.bases[[row_of[int(peak)] for peak in used.tolist()]])
    found: Numbers = np.exp(expected(placed.windows) - reference[inverse])
    return found


def by_base(factors: Numbers) -> Signal:
    """Factors of bins (n, 8) for every base (n, 1029) of the windows; the last five bases take the last bin's."""
    bins = np.minimum(np.arange(PEAK_WINDOW) // _BIN_BP, factors.shape[1] - 1)
    return factors[:, bins].astype(np.float32)


def touched_genes(reader: AnyReader, genes: Ints, placed: PlacedAlleles) -> Ints:
    """Genes with an edited peak in reach, ascending."""
    if isinstance(reader, LocusReader):
        return genes if len(placed) else genes[:0]
    index = reader.dataset.index
    first = np.asarray(index.first)[genes]
    last = first + np.asarray(index.count)[genes]
    near = np.searchsorted(placed.peak, last) > np.searchsorted(placed.peak, first)
    return np.sort(genes[near])


def variant_effects(
    reader: AnyReader,
    grouping: Grouping,
    genes: Ints,
    placed: PlacedAlleles,
    factors: Numbers | None = None,
    update: Progress | None = None,
) -> pl.DataFrame:
    """Predictions with the reference and with every allele, for each gene in its reach and each group (or label).

    Args:
        reader: Model and data.
        grouping: Groups that take part.
        genes: Genes; those without a touched peak are left out.
        placed: The alleles.
        factors: Of the signal of each edited window (n, 8); None = accessibility fixed.
        update: Is told how many of how many samples are done.

    Returns:
        Columns allele, gene, label, n, before, after (means over the groups of a label) and square, the mean of the
        squared differences.
    """
    genes = touched_genes(reader, genes, placed)
    parts: list[pl.DataFrame] = []
    done, total = 0, len(genes) * len(grouping.groups)
    for inputs in reader.batches(grouping.groups, genes, SLOTS_AT_ONCE // 2) if len(genes) else ():
        parts += [_sums(part) for part in _batch(reader, grouping, inputs, placed, factors)]
        done += len(inputs)
        if update is not None:
            update(done, total)
    if not parts:
        return pl.DataFrame(schema=_SCHEMA)
    keys = ("allele", "gene", "label")
    table = pl.concat(parts).group_by(keys).sum().sort(keys)
    return table.with_columns(pl.col("before", "after", "square") / pl.col("n")).select(list(_SCHEMA))


_SCHEMA = {
    **dict.fromkeys(("allele", "gene", "label", "n"), pl.Int64),
    **dict.fromkeys(("before", "after", "square"), pl.Float64),
}


def _sums(part: pl.DataFrame) -> pl.DataFrame:
    change = (pl.col("after") - pl.col("before")) ** 2
    return part.group_by("allele", "gene", "label").agg(
        pl.len().cast(pl.Int64).alias("n"),
        pl.col("before").sum(),
        pl.col("after").sum(),
        change.sum().alias("square"),
    )


@torch.no_grad()
def _batch(
    reader: AnyReader,
    grouping: Grouping,
    inputs: PeakInputs,
    placed: PlacedAlleles,
    factors: Numbers | None,
) -> list[pl.DataFrame]:
    """One row for every sample of a batch and allele that touches it, in parts."""
    before = predict(reader.model, reader.link, inputs)
    row, slot, edit = _touched(inputs, placed)
    order = np.lexsort((slot, row, placed.allele[edit]))
    row, slot, edit = row[order], slot[order], edit[order]
    begins = np.flatnonzero(np.diff(placed.allele[edit], prepend=-1) | np.diff(row, prepend=-1))
    ends = np.append(begins[1:], len(row))
    parts = []
    for first in range(0, len(begins), EDITS_AT_ONCE):
        part = slice(begins[first], ends[min(first + EDITS_AT_ONCE, len(begins)) - 1])
        vectors = _vectors(reader, inputs, row[part], slot[part], edit[part], placed, factors)
        heads = begins[first : first + EDITS_AT_ONCE]
        at = np.searchsorted(heads, np.arange(part.start, part.stop), side="right") - 1
        where = torch.zeros(len(heads), inputs.n_slots, dtype=torch.bool, device=inputs.mask.device)
        where[torch.from_numpy(at), torch.from_numpy(slot[part])] = True
        sample = torch.from_numpy(row[heads]).to(inputs.mask.device)
        after = predict_edits(reader.model, reader.link, inputs, sample, where, vectors)
        parts.append(
            pl.DataFrame(
                {
                    "allele": placed.allele[edit[heads]],
                    "gene": inputs.gene[sample].cpu().numpy(),
                    "label": grouping.of(inputs.group[sample].cpu().numpy()),
                    "before": before[sample].cpu().numpy().astype(np.float64),
                    "after": after.cpu().numpy().astype(np.float64),
                }
            )
        )
    return parts


def _touched(inputs: PeakInputs, placed: PlacedAlleles) -> tuple[Ints, Ints, Ints]:
    """Sample, slot and edited window of every slot that an allele changes."""
    shown = np.where(inputs.mask.cpu().numpy(), inputs.peak.cpu().numpy(), -1)
    low, high = np.searchsorted(placed.peak, shown, "left"), np.searchsorted(placed.peak, shown, "right")
    count = high - low
    row, slot = np.nonzero(count)
    n = count[row, slot]
    within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return np.repeat(row, n), np.repeat(slot, n), np.repeat(low[row, slot], n) + within


def _vectors(
    reader: AnyReader,
    inputs: PeakInputs,
    row: Ints,
    slot: Ints,
    edit: Ints,
    placed: PlacedAlleles,
    factors: Numbers | None,
) -> torch.Tensor:
    """Vectors of edited windows, each distinct (edit, state) encoded once."""
    state = inputs.state.cpu().numpy()[row, slot]
    _, first, inverse = np.unique(np.stack([edit, state]), axis=1, return_index=True, return_inverse=True)
    signal = _signal(reader, inputs, row[first], slot[first])
    if factors is not None:
        signal = signal * by_base(factors[edit[first]])
    vectors = reader.encode(placed.windows[edit[first]], reader.tokens(signal))
    return vectors[torch.from_numpy(inverse.reshape(-1)).to(vectors.device)]


def _signal(reader: AnyReader, inputs: PeakInputs, row: Ints, slot: Ints) -> Signal:
    """Signal of slots that may stand several times."""
    flat, inverse = np.unique(row * inputs.n_slots + slot, return_inverse=True)
    where = torch.zeros_like(inputs.mask)
    where.view(-1)[torch.from_numpy(flat)] = True
    found: Signal = reader.base_signal(inputs, where)[inverse.reshape(-1)]
    return found
