"""Flags of `knockout` and `knockin` that choose peaks and say what is done to them, checked and looked up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cisoform.cli.common import split_list
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.cli.regulation_reading import Opened
    from cisoform.jobs.chosen_peaks import ChosenPeaks

TfOption = Annotated[
    str | None, typer.Option("--tf", metavar="NAME[,NAME...]", help="Peaks with a motif of these factors.")
]
MotifsOption = Annotated[
    Path | None, typer.Option("--motifs", metavar="FILE", help="Their motifs: MEME or JASPAR, gzip or not.")
]
MotifPOption = Annotated[
    float, typer.Option("--motif-p", help="Chance of a hit at one place of random sequence.")
]
IntervalsOption = Annotated[
    Path | None, typer.Option("--intervals", metavar="BED", help="Peaks that overlap these intervals.")
]
PeaksOfOption = Annotated[
    str | None,
    typer.Option("--peaks-of", metavar="GENE[,GENE...]", help="All peaks in reach of these genes."),
]
RoundsOption = Annotated[
    int,
    typer.Option(
        "--rounds",
        min=1,
        max=20,
        help="Of --data by --tf: rounds in which factors whose genes change open or close the peaks with their motifs.",
    ),
]
ControlsOption = Annotated[
    int,
    typer.Option("--controls", min=0, help="Matched draws behind every p-value; the least p is 1 / (1 + N)."),
]


def check_rounds(rounds: int, tf: str | None, data: Path | None, each: bool) -> None:
    """Refuse rounds that have nothing to follow.

    Raises:
        InputError: With the flag.
    """
    if rounds > 1 and (tf is None or data is None or each):
        raise InputError(
            f"--rounds {rounds} needs --data and --tf, without --each: it follows factors from gene to peak"
        )


def read_mode(text: str) -> tuple[float, float, bool]:
    """Factor, least signal, and whether only round motifs.

    Raises:
        InputError: If it is none of the modes.
    """
    what, _, where = ("zero@motif" if text == "around-motif" else text).partition("@")
    name, _, value = what.partition("=")
    try:
        number = 0.0 if what == "zero" else float(value)
    except ValueError:
        number = -1.0
    if name not in ("zero", "scale", "raise") or not 0 <= number < float("inf") or where not in ("", "motif"):
        raise InputError(
            f"--mode {text!r} is none of zero, scale=F, raise=V (F and V at least 0, like scale=0.5), each also as "
            "zero@motif, scale=F@motif, raise=V@motif"
        )
    return (1.0, number, bool(where)) if name == "raise" else (number, 0.0, bool(where))


def check_choice(
    tf: str | None,
    motifs: Path | None,
    intervals: Path | None,
    peaks_of: str | None,
    motif_p: float,
    free: bool = False,
) -> None:
    """Refuse no choice of peaks, or several; with `free` none is needed (all peaks of a locus).

    Raises:
        InputError: With the flags.
    """
    given = [
        flag
        for flag, value in (("--tf", tf), ("--intervals", intervals), ("--peaks-of", peaks_of))
        if value is not None
    ]
    if len(given) > 1 or not (given or free):
        raise InputError(
            f"choose peaks by one of --tf (with --motifs), --intervals, --peaks-of; got {', '.join(given) or 'none'}"
        )
    if (tf is None) != (motifs is None):
        raise InputError("--tf and --motifs go together: the names of factors and the file of their motifs")
    if not 0 < motif_p < 1:
        raise InputError(f"--motif-p {motif_p:g} must lie between 0 and 1")


def choose(
    opened: Opened,
    tf: str | None,
    motifs: Path | None,
    motif_p: float,
    intervals: Path | None,
    peaks_of: str | None,
) -> ChosenPeaks:
    """The peaks that the flags name, within reach of the chosen genes.

    Raises:
        InputError: If there are none, or a name or file is wrong.
    """
    from cisoform.jobs import chosen_peaks, readings

    within = chosen_peaks.peaks_of_genes(opened.reader, opened.genes)
    if tf is not None and motifs is not None:
        return chosen_peaks.choose_by_motif(
            opened.reader, split_list(tf, "--tf") or [], motifs, within, motif_p
        )
    if intervals is not None:
        return chosen_peaks.choose_by_intervals(opened.reader, intervals, within)
    dataset = getattr(opened.reader, "dataset", None)
    if peaks_of is None:
        return chosen_peaks.choose_of_gene(opened.reader, opened.genes)
    if dataset is None:
        raise InputError("--peaks-of has no effect on --locus-text; give --intervals")
    try:
        genes = readings.choose_genes(dataset, readings.names_of(peaks_of, "--peaks-of"))
    except InputError as error:
        raise InputError(str(error).replace("--genes", "--peaks-of", 1)) from None
    return chosen_peaks.choose_of_gene(opened.reader, genes)
