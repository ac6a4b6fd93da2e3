"""Tracks and ChIP peaks measured at peaks, and how a score of peaks goes with them: the first figure of the paper.

The paper shows the score beside the ChIP of three TFs at one locus. Accessibility and nearness to the TSS explain much
of such agreement, so that every figure stands here raw and after both are held constant, beside what they reach alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.within import auroc_within, block_ranks, partial_within, spearman_within, usable
from cisoform.errors import InputError
from cisoform.genome.names import map_chromosomes
from cisoform.genome.tracks import SignalTrack, read_bed

TRACK_SUFFIXES = (".bw", ".bigwig", ".bedgraph", ".bdg", ".bg")
PEAK_SUFFIXES = (".bed", ".narrowpeak", ".broadpeak")
TOP_SHARE = 0.25
"""Of a track, the peaks of a gene with the highest signal count as true for the AUROC: this share."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """A track or ChIP peaks at the peaks of a reader.

    Attributes:
        name: Of the file, without its suffixes.
        kind: "track" (mean signal over the peak) or "peaks" (1 where one overlaps, else 0).
        values: One a peak; NaN on chromosomes that a track lacks.
        label: The one label of groups that it is compared with; None = all.
    """

    name: str
    kind: Literal["track", "peaks"]
    values: Floats
    label: str | None = None


def kind_of(path: Path) -> Literal["track", "peaks"]:
    """Whether a file holds a signal or intervals, by its name.

    Raises:
        InputError: If the name says neither.
    """
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(TRACK_SUFFIXES):
        return "track"
    if name.endswith(PEAK_SUFFIXES):
        return "peaks"
    raise InputError(
        f"--compare {path}: the name must end in {', '.join(TRACK_SUFFIXES)} (signal) or "
        f"{', '.join(PEAK_SUFFIXES)} (ChIP peaks), perhaps with .gz"
    )


def measure(path: Path, peaks: pl.DataFrame, wanted: Ints, label: str | None = None) -> Measured:
    """A file at peaks.

    Args:
        path: bigWig, bedGraph, BED, narrowPeak or broadPeak.
        peaks: Table chrom, start, end.
        wanted: Numbers of the peaks to measure; the others get NaN.
        label: See `Measured`.

    Raises:
        InputError: If the peaks have no coordinates, the file cannot be read, shares no chromosome with the peaks, or
            ends before a peak (another assembly).
    """
    kind = kind_of(path)
    if peaks["start"].null_count():
        raise InputError(f"--compare {path}: the ids of the locus' peaks hold no coordinates (chr_start_end)")
    some = peaks[wanted.tolist()]
    found = np.full(peaks.height, np.nan)
    found[wanted] = _signal(path, some) if kind == "track" else _overlaps(path, some)
    name = path.name.removesuffix(".gz")
    return Measured(name.rsplit(".", 1)[0], kind, found, label)


def _signal(path: Path, peaks: pl.DataFrame) -> Floats:
    track = SignalTrack(path, dict.fromkeys(peaks["chrom"].unique(maintain_order=True).to_list()))
    found = np.full(peaks.height, np.nan)
    for row, (chrom, start, end) in enumerate(peaks.select("chrom", "start", "end").iter_rows()):
        if chrom not in track.chromosomes:
            continue
        length = track.length(chrom)
        if length is not None and end > length:
            raise InputError(
                f"{path}: {chrom} has {length:,} bases, but a peak ends at {end:,}; the track and the peaks are of "
                "different assemblies"
            )
        found[row] = track.read(chrom, start, end)[0].mean()
    return found


def _overlaps(path: Path, peaks: pl.DataFrame) -> Floats:
    spans = read_bed(path, "ChIP peaks BED")
    if not spans:
        raise InputError(f"{path}: holds no peak; expected lines of chrom, start, end")
    chroms = peaks["chrom"].unique(maintain_order=True).to_list()
    try:
        names = map_chromosomes(spans, dict.fromkeys(chroms)).names
    except InputError as error:
        text = (
            str(error)
            .replace("of the annotation", "of the ChIP peaks")
            .replace("in the genome", "in the data")
        )
        raise InputError(f"{path}: {text}") from None
    of = {chrom: spans[name] for name, chrom in names.items()}
    found = np.zeros(peaks.height)
    for row, (chrom, start, end) in enumerate(peaks.select("chrom", "start", "end").iter_rows()):
        if chrom in of:
            near = of[chrom]
            before = int(np.searchsorted(near[:, 0], end, side="left"))
            found[row] = bool((near[:before, 1] > start).any())
    return found


@dataclass(frozen=True)
class PeakRows:
    """Columns of a table of scores, as `compare` and `agreement` need them.

    Attributes:
        block: Number of the gene in its group of cells.
        accessibility: Mean signal; likewise `nearness`: minus the distance to the TSS in bp.
        nearness: See `accessibility`; NaN where there are no coordinates.
        scores: By variant.
    """

    block: Ints
    accessibility: Floats
    nearness: Floats
    scores: dict[str, Floats]

    def take(self, rows: npt.NDArray[np.bool_]) -> PeakRows:
        """Some rows; blocks are numbered anew."""
        _, block = np.unique(self.block[rows], return_inverse=True)
        scores = {name: values[rows] for name, values in self.scores.items()}
        return PeakRows(block.astype(np.int64), self.accessibility[rows], self.nearness[rows], scores)

    @property
    def controls(self) -> dict[str, Floats]:
        """Accessibility, and nearness where it is known."""
        known = {"accessibility": self.accessibility}
        return known if np.isnan(self.nearness).any() else {**known, "nearness": self.nearness}


def compare(rows: PeakRows, measured: Floats, kind: Literal["track", "peaks"]) -> dict[str, Any]:
    """Spearman correlation and AUROC within genes of every score with a measurement, raw and controlled.

    Args:
        rows: The scores.
        measured: Value at every row.
        kind: Of "track", the top quarter of each gene counts as true for the AUROC.

    Returns:
        For every variant and both baselines: `spearman`, `auroc`, and for variants `partial_spearman` and
        `partial_auroc` with the baselines held constant. Null where there is nothing to compare.
    """
    use = usable(rows.block, measured)
    truth = measured > 0
    if kind == "track":
        truth = np.zeros(len(measured), dtype=bool)
        truth[use] = block_ranks(measured[use], rows.block[use]) > 0.5 - TOP_SHARE
    controls = list(rows.controls.values())
    held = np.where(use, 0.0, np.nan)  # what is not measured takes no part
    found: dict[str, Any] = {
        "n_peaks": int(use.sum()),
        "n_genes_in_groups": len(np.unique(rows.block[use])),
        "true_share": float(truth[use].mean()) if use.any() else None,
        "controlled_for": list(rows.controls),
        "scores": {},
    }
    for name, values in {**rows.scores, **rows.controls}.items():
        row = {
            "spearman": _number(spearman_within(values, measured, rows.block)),
            "auroc": _number(auroc_within(values + held, truth, rows.block)),
        }
        if name in rows.scores:
            row["partial_spearman"] = _number(partial_within(values, measured, controls, rows.block))
            row["partial_auroc"] = _number(auroc_within(values + held, truth, rows.block, controls))
        found["scores"][name] = row
    return found


def agreement(rows: PeakRows) -> dict[str, Any]:
    """How the variants go with one another, and with accessibility and nearness, within genes.

    Returns:
        `between`: Spearman correlation of every pair of variants; `with`: of every variant with accessibility and
        nearness, raw and with the other held constant.
    """
    names = list(rows.scores)
    between = {
        first: {
            second: _number(spearman_within(rows.scores[first], rows.scores[second], rows.block))
            for second in names
        }
        for first in names
    }
    found: dict[str, Any] = {"between": between, "with": {}}
    for name, values in rows.scores.items():
        found["with"][name] = {}
        for what, control in rows.controls.items():
            others = [other for key, other in rows.controls.items() if key != what]
            found["with"][name][what] = {
                "spearman": _number(spearman_within(values, control, rows.block)),
                "partial_spearman": _number(partial_within(values, control, others, rows.block)),
            }
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
