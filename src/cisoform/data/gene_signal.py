"""Signal of groups of cells as states, and their expression: the second half of a build, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cisoform.data.gene_counts import bucket_entries, fill_places
from cisoform.data.gene_pools import SparseRows
from cisoform.data.gene_states import (
    BIN_BP,
    N_BINS,
    N_LEVELS,
    level_codes,
    ragged_positions,
    spread_bins,
)
from cisoform.data.partial import WORK, PartialFolder, release
from cisoform.errors import InputError
from cisoform.genome.hdf5 import cut_rows
from cisoform.genome.peaks import PEAK_WINDOW, Peaks
from cisoform.genome.ragged import Ragged
from cisoform.genome.tracks import SignalTrack
from cisoform.tokens.peaks import RELEASED_EDGES, mean_signal, quantile_edges, signal_levels

PER_MILLION = 1e6
PER_CELL_COUNTS = 1e4
_BLOCK_ENTRIES = 4_000_000
_TOKEN_ROWS = 1024
_TRACK_PEAKS = 512
_QUANTILE_VALUES = 1_000_000
_QUANTILE_GROUPS = 200

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Say = Callable[[str, float], None]
Edges = Literal["released", "quantile"] | tuple[float, ...]


def peak_values(
    counts: FloatArray, peak: npt.NDArray[Any], peaks: Peaks, depth: float, normalised: bool
) -> FloatArray:
    """Signal of the bases of peaks with the given counts: cuts per 10 bp and a million of the group's depth.

    The unit is that of per-base coverage in 10-bp bins. Values that are no counts are taken as they are.
    """
    if normalised:
        return counts
    width = (peaks.end - peaks.start)[peak]
    return np.asarray(counts * (BIN_BP * PER_MILLION / depth) / width)


def level_edges(
    edges: Edges,
    counts: SparseRows,
    members: Ragged,
    depth: FloatArray,
    peaks: Peaks,
    train: IntArray,
    normalised: bool,
    peaks_used: npt.NDArray[np.bool_],
) -> tuple[float, ...]:
    """The edges to use; "quantile" ones from up to 200 training groups and, in each, from up to 5,000 of its peaks
    that are `peaks_used` (those of training chromosomes), both evenly spaced.

    Raises:
        InputError: If these have no signal.
    """
    if edges == "released":
        return RELEASED_EDGES
    if isinstance(edges, tuple):
        return edges
    found = []
    for group in train[:: max(1, len(train) // _QUANTILE_GROUPS)].tolist():
        peak, values = counts.sum(members[group])
        used = peaks_used[peak]
        signal = peak_values(values[used], peak[used], peaks, depth[group], normalised)
        found.append(signal[:: -(-len(signal) // (_QUANTILE_VALUES // _QUANTILE_GROUPS)) or 1])
    return _quantile_edges(np.concatenate(found))


def _quantile_edges(values: npt.NDArray[np.floating[Any]]) -> tuple[float, ...]:
    try:
        return quantile_edges(values)
    except ValueError as error:
        raise InputError(
            f"--edges quantile: {error} on the training chromosomes; use released edges"
        ) from None


def write_levels(
    folder: PartialFolder,
    counts: SparseRows,
    members: Ragged,
    depth: FloatArray,
    peaks: Peaks,
    edges: tuple[float, ...],
    normalised: bool,
    say: Say,
) -> None:
    """Write `open_count`, `open_peak` and `open_code` group by group."""
    if folder.finished("signal"):
        return
    arrays = folder.arrays(
        "signal", [(f"{WORK}/open_count", np.int32), ("open_peak", np.int32), ("open_code", np.uint8)]
    )
    held: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]] = []
    n_held = 0
    for group in range(folder.done("signal"), len(members)):
        peak, values = counts.sum(members[group])
        signal = peak_values(values, peak, peaks, depth[group], normalised)
        held.append((peak, level_codes(signal, edges)))
        n_held += len(peak) + 1
        if n_held >= _BLOCK_ENTRIES or group == len(members) - 1:
            arrays[f"{WORK}/open_count"].append(np.array([len(one[0]) for one in held]))
            arrays["open_peak"].append(np.concatenate([one[0] for one in held]))
            arrays["open_code"].append(np.concatenate([one[1] for one in held]))
            held, n_held = [], 0
            folder.settle("signal", group + 1, arrays)
            release(counts.columns, counts.values)
            say("writing signal", (group + 1) / len(members))
    folder.settle("signal", len(members), arrays, last=True)


def level_states(folder: PartialFolder, n_peaks: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Distinct (peak, level) of what `write_levels` wrote, sorted."""
    peak = np.load(folder.path / "open_peak.npy", mmap_mode="r")
    code = np.load(folder.path / "open_code.npy", mmap_mode="r")
    seen = np.zeros(n_peaks * N_LEVELS, dtype=bool)
    for first in range(0, len(peak), _BLOCK_ENTRIES):
        part = slice(first, first + _BLOCK_ENTRIES)
        seen[peak[part].astype(np.int64) * N_LEVELS + code[part]] = True
        release(peak, code)
    found = np.flatnonzero(seen)
    return (found // N_LEVELS).astype(np.int32), (found % N_LEVELS).astype(np.uint8)


def groups_of_cells(members: Ragged, n_cells: int) -> Ragged:
    """The groups that each cell is in."""
    group = np.repeat(np.arange(len(members)), members.lengths)
    order = np.argsort(members.data, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(members.data, minlength=n_cells))]).astype(np.int64)
    return Ragged(group[order], offsets)


Bins = tuple[IntArray, IntArray, IntArray, npt.NDArray[np.float32]]
"""Peak, group, 10-bp bin and value of the bins with signal, sorted by these."""


def fragment_bins(folder: PartialFolder, n_cells: int, members: Ragged, depth: FloatArray) -> Iterator[Bins]:
    """Cuts per 10-bp bin and a million of the group's cuts, bucket by bucket."""
    cell_groups = groups_of_cells(members, n_cells)
    for all_peaks, all_cells, all_bins, all_counts in bucket_entries(folder, n_cells):
        copies = np.cumsum(cell_groups.lengths[all_cells])
        # Cut at the first entries of peaks, where copies for all groups of a cell fill a block.
        begin = np.append(np.flatnonzero(np.diff(all_peaks, prepend=-1)), len(all_peaks))
        before = np.append(0, copies)[begin]
        for low, high in cut_rows(before, 0, _BLOCK_ENTRIES):
            part = slice(int(begin[low]), int(begin[high]))
            peak, group, bins, count = _by_group(
                all_peaks[part], all_cells[part], all_bins[part], all_counts[part], cell_groups, len(members)
            )
            yield peak, group, bins, (count * (PER_MILLION / depth[group])).astype(np.float32)


def track_bins(tracks: Sequence[SignalTrack], peaks: Peaks, lengths: Mapping[str, int]) -> Iterator[Bins]:
    """Mean of bulk tracks in 10-bp bins, a run of peaks at a time; bases off the chromosome have no signal."""
    first_base = np.minimum(np.arange(N_BINS) * BIN_BP, PEAK_WINDOW)
    width = np.diff(np.append(first_base, PEAK_WINDOW))
    for first in range(0, len(peaks), _TRACK_PEAKS):
        rows = range(first, min(first + _TRACK_PEAKS, len(peaks)))
        dense = np.zeros((len(rows), len(tracks), N_BINS), dtype=np.float32)
        for group, track in enumerate(tracks):
            for row in rows:
                chrom, start = peaks.chroms[peaks.chrom[row]], int(peaks.window_start[row])
                values = np.zeros(PEAK_WINDOW)
                if chrom in track.chromosomes:
                    low, high = max(start, 0), min(start + PEAK_WINDOW, lengths[chrom])
                    values[low - start : high - start] = track.read(chrom, low, high)[0]
                dense[row - first, group] = np.add.reduceat(values, first_base) / width
        peak, group_of, bins = np.nonzero(dense)
        yield peak + first, group_of, bins, dense[peak, group_of, bins]


def write_coverage(
    folder: PartialFolder,
    pieces: Callable[[], Iterator[Bins]],
    n_peaks: int,
    n_groups: int,
    edges: Edges,
    train: IntArray,
    peaks_used: npt.NDArray[np.bool_],
    say: Say,
) -> tuple[float, ...]:
    """Write states of per-base signal and, per group, its peaks' states; returns the edges.

    The bins come in pieces, in the order of peaks. Within a peak, groups that show the same tokens share a state; it
    keeps the values of the first of them. Quantile edges are of training groups in `peaks_used`, those of training
    chromosomes.
    """
    if folder.finished("signal"):
        return tuple(folder.value("signal"))
    if not isinstance(edges, tuple):
        edges = (
            RELEASED_EDGES if edges == "released" else _coverage_edges(pieces(), n_groups, train, peaks_used)
        )
    names: list[tuple[str, npt.DTypeLike]] = [
        ("state_peak", np.int32), (f"{WORK}/state_count", np.int32), ("state_bin", np.uint8),
        ("state_value", np.float32), (f"{WORK}/entry_group", np.int32), (f"{WORK}/entry_peak", np.int32),
        (f"{WORK}/entry_state", np.int32),
    ]  # fmt: skip
    done = folder.done("signal")
    arrays = folder.arrays("signal", names)
    n_states = len(arrays["state_peak"])
    unsettled = 0
    for number, (peak, group, bins, values) in enumerate(pieces()):
        if number < done:
            continue
        pair = peak * n_groups + group
        first = (
            np.flatnonzero(np.concatenate([[True], pair[1:] != pair[:-1]]))
            if len(pair)
            else np.empty(0, np.int64)
        )
        size = np.diff(np.append(first, len(pair)))
        own, new = _deduplicate(peak[first], first, size, bins, values, edges)
        arrays[f"{WORK}/entry_group"].append(group[first])
        arrays[f"{WORK}/entry_peak"].append(peak[first])
        arrays[f"{WORK}/entry_state"].append(own + n_states)
        entry = ragged_positions(first[new], size[new])
        arrays["state_peak"].append(peak[first[new]])
        arrays[f"{WORK}/state_count"].append(size[new])
        arrays["state_bin"].append(bins[entry])
        arrays["state_value"].append(values[entry])
        n_states += len(new)
        unsettled += len(pair)
        if unsettled >= _BLOCK_ENTRIES:
            folder.settle("signal", number + 1, arrays)
            unsettled = 0
        say("writing signal", float(peak[-1] + 1) / n_peaks if len(peak) else 0.0)
    folder.settle("signal", 0, arrays, last=True, value=list(edges))
    return edges


def _by_group(
    peak: IntArray, cell: IntArray, bins: IntArray, count: IntArray, cell_groups: Ragged, n_groups: int
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Cuts of cells as cuts of the groups that they are in, sorted by peak, group and bin."""
    copies = cell_groups.lengths[cell]
    group = cell_groups.data[ragged_positions(cell_groups.offsets[cell], copies)]
    keys = (np.repeat(peak, copies) * n_groups + group) * N_BINS + np.repeat(bins, copies)
    distinct, inverse = np.unique(keys, return_inverse=True)
    sums = np.bincount(inverse, weights=np.repeat(count, copies), minlength=len(distinct)).astype(np.int64)
    pair, bin_ = np.divmod(distinct, N_BINS)
    return pair // n_groups, pair % n_groups, bin_, sums


def _deduplicate(
    peak: IntArray,
    first: IntArray,
    size: IntArray,
    bins: IntArray,
    values: npt.NDArray[np.float32],
    edges: tuple[float, ...],
) -> tuple[IntArray, IntArray]:
    """State of each (peak, group) entry by its tokens, and the entry that each new state is taken from."""
    own = np.empty(len(first), dtype=np.int64)
    new: list[int] = []
    known: dict[tuple[int, bytes], int] = {}
    for begin in range(0, len(first), _TOKEN_ROWS):
        rows = slice(begin, begin + _TOKEN_ROWS)
        entry = ragged_positions(first[rows], size[rows])
        of = np.repeat(np.arange(len(size[rows])), size[rows])
        signal = spread_bins(of, bins[entry], values[entry], len(size[rows]))
        tokens = signal_levels(mean_signal(signal), edges)
        for row, (place, levels) in enumerate(zip(peak[rows].tolist(), tokens, strict=True), begin):
            key = (place, hashlib.blake2b(levels.data, digest_size=16).digest())
            state = known.setdefault(key, len(new))
            if state == len(new):
                new.append(row)
            own[row] = state
    return own, np.array(new, dtype=np.int64)


def _coverage_edges(
    pieces: Iterator[Bins], n_groups: int, train: IntArray, peaks_used: npt.NDArray[np.bool_]
) -> tuple[float, ...]:
    """Quantile edges of evenly spaced values: every `step`-th, where `step` doubles as often as they grow too many."""
    wanted = np.zeros(n_groups, dtype=bool)
    wanted[train] = True
    kept = np.empty(0, dtype=np.float32)
    seen, step = 0, 1
    for peak, group, _, values in pieces:
        values = values[wanted[group] & peaks_used[peak]]
        kept = np.concatenate([kept, values[-seen % step :: step]])
        seen += len(values)
        while len(kept) > _QUANTILE_VALUES:
            kept, step = kept[::2], 2 * step
    return _quantile_edges(kept)


def collect_coverage(folder: PartialFolder, n_groups: int) -> None:
    """Turn the entries of all buckets into a CSR over groups: `open_offsets`, `open_peak`, `open_state`."""
    work = folder.path / WORK
    group, peak, state = (
        np.load(work / f"entry_{name}.npy", mmap_mode="r") for name in ("group", "peak", "state")
    )
    held = np.zeros(n_groups, dtype=np.int64)
    for first in range(0, len(group), _BLOCK_ENTRIES):
        held += np.bincount(group[first : first + _BLOCK_ENTRIES], minlength=n_groups)
    offsets = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)
    np.save(folder.path / "open_offsets.npy", offsets)
    peaks_out = np.lib.format.open_memmap(folder.path / "open_peak.npy", "w+", np.int32, (len(group),))
    states_out = np.lib.format.open_memmap(folder.path / "open_state.npy", "w+", np.int32, (len(group),))
    cursor = offsets[:-1].copy()
    for first in range(0, len(group), _BLOCK_ENTRIES):
        part = slice(first, first + _BLOCK_ENTRIES)
        place, order = fill_places(np.asarray(group[part], dtype=np.int64), cursor)
        peaks_out[place], states_out[place] = peak[part][order], state[part][order]
    peaks_out.flush()
    states_out.flush()
    counts = np.load(work / "state_count.npy")
    np.save(folder.path / "state_offsets.npy", np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))


def write_expression(
    folder: PartialFolder,
    counts: SparseRows,
    members: Ragged,
    scaled: Callable[[FloatArray, int], FloatArray],
    say: Say,
) -> None:
    """Write `expressed_count`, `expressed_gene` and `expressed_value`.

    Args:
        folder: Where to.
        counts: Cells x genes.
        members: Cells of each group.
        scaled: Expression from the summed values of a group, and the number of the group.
        say: Told the share done.
    """
    if folder.finished("expression"):
        return
    names = [
        (f"{WORK}/expressed_count", np.int32),
        ("expressed_gene", np.int32),
        ("expressed_value", np.float32),
    ]
    arrays = folder.arrays("expression", names)
    n_count, gene_array, value_array = arrays.values()
    held: list[tuple[npt.NDArray[np.int32], FloatArray]] = []
    n_held = 0
    for group in range(folder.done("expression"), len(members)):
        gene, values = counts.sum(members[group])
        held.append((gene, scaled(values, group)))
        n_held += len(gene) + 1
        if n_held >= _BLOCK_ENTRIES or group == len(members) - 1:
            n_count.append(np.array([len(one[0]) for one in held]))
            gene_array.append(np.concatenate([one[0] for one in held]))
            value_array.append(np.concatenate([one[1] for one in held]))
            held, n_held = [], 0
            folder.settle("expression", group + 1, arrays)
            release(counts.columns, counts.values)
            say("writing expression", (group + 1) / len(members))
    folder.settle("expression", len(members), arrays, last=True)
