"""`cisoform regulation knockout` and `knockin`: expression before and after the signal of chosen peaks changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cisoform.cli import regulation_reading as reading
from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    SeedOption,
    split_list,
)
from cisoform.cli.perturb_run import all_rounds, run_insert, run_perturbation, run_screen
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


def add_commands(app: typer.Typer) -> None:
    """Register `knockout` and `knockin`."""
    app.command(
        epilog="Examples: cisoform regulation knockout run --data genes --tf GATA1 --motifs jaspar.meme "
        "--group-by cell_type --out knockout; cisoform regulation knockout model --locus-text gata1.txt.gz "
        "--tss-peak 20 --strand + --intervals enhancer.bed --json"
    )(knockout)
    app.command(
        epilog="Examples: cisoform regulation knockin run --data genes --tf GATA1,TAL1 --motifs jaspar.meme "
        "--dose 0.5 --cell-types HSC --out knockin; cisoform regulation knockin model --locus-text gata1.txt.gz "
        "--tss-peak 20 --strand + --insert enhancers.txt --json"
    )(knockin)


def knockout(
    model: reading.ModelArgument,
    data: reading.DataOption = None,
    locus_text: reading.LocusTextOption = None,
    tss_peak: reading.TssPeakOption = None,
    strand: reading.StrandOption = None,
    tf: TfOption = None,
    motifs: MotifsOption = None,
    motif_p: MotifPOption = 1e-4,
    intervals: IntervalsOption = None,
    peaks_of: PeaksOfOption = None,
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            metavar="zero|scale=F|raise=V[@motif]",
            help="Signal to 0, times F, or at least V, in the whole window; with @motif within 75 bp of a motif "
            "(around-motif = zero@motif).",
        ),
    ] = "zero",
    each: Annotated[bool, typer.Option("--each", help="Every chosen peak by itself: a screen.")] = False,
    controls: ControlsOption = 20,
    rounds: RoundsOption = 1,
    genes: reading.GenesOption = None,
    split: reading.SplitOption = "all",
    groups: reading.GroupsOption = None,
    cell_types: reading.CellTypesOption = None,
    group_by: reading.GroupByOption = None,
    labels: reading.LabelsOption = None,
    out: reading.OutDirOption = None,
    overwrite: reading.OverwriteOption = False,
    cache: reading.CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Take away the signal of peaks (their DNA stays) and predict again: by motif, interval or gene.

    Every gene's difference stands beside matched controls (as many other peaks of the gene, near in accessibility and
    distance), the change of accessibility weighted by distance, and the mean shift of all genes of the group. p is the
    share of draws of as many like peaks, the edited ones among them, that move the gene at least as far.
    """
    factor, least, around = read_mode(mode)
    _check_choice(tf, motifs, intervals, peaks_of, motif_p, free=each and locus_text is not None)
    _check_rounds(rounds, tf, data, each)
    if around and tf is None:
        raise InputError(f"--mode {mode} needs --tf and --motifs: it edits the bases round a motif")
    reading.check_out(out, overwrite)
    chosen = reading.Selection(
        model=model,
        data=data,
        locus_text=locus_text,
        tss_peak=tss_peak,
        strand=strand,
        genes=genes,
        split=split,
        groups=groups,
        cell_types=cell_types,
        group_by=group_by,
        labels=labels,
        cache=cache,
        device=device,
        seed=seed,
    )
    opened = reading.open_selection(chosen)
    peaks = _choose(opened, tf, motifs, motif_p, intervals, peaks_of)
    from cisoform.analysis.perturbation import SignalEdit

    edit = SignalEdit(peaks.peaks, factor, least, peaks.near if around else None)
    what = {"perturbation": "knockout", "tf": split_list(tf, "--tf"), "mode": mode, "rounds": rounds}
    if each:
        run_screen(opened, edit, peaks, what, out, overwrite, as_json)
    else:
        run_perturbation(
            *(opened, edit, peaks, what, controls, seed, out, overwrite, as_json),
            rounds=all_rounds(opened, edit, rounds, tf, motifs, motif_p),
        )


def knockin(
    model: reading.ModelArgument,
    data: reading.DataOption = None,
    locus_text: reading.LocusTextOption = None,
    tss_peak: reading.TssPeakOption = None,
    strand: reading.StrandOption = None,
    tf: TfOption = None,
    motifs: MotifsOption = None,
    motif_p: MotifPOption = 1e-4,
    intervals: IntervalsOption = None,
    peaks_of: PeaksOfOption = None,
    insert: Annotated[
        Path | None,
        typer.Option(
            "--insert", metavar="FILE", help="Of a locus: peaks to add, in its text form, three lines a peak."
        ),
    ] = None,
    dose: Annotated[
        float, typer.Option("--dose", help="Share of the chosen peaks that open, by chance.")
    ] = 1.0,
    controls: ControlsOption = 20,
    rounds: RoundsOption = 1,
    genes: reading.GenesOption = None,
    split: reading.SplitOption = "all",
    groups: reading.GroupsOption = None,
    cell_types: reading.CellTypesOption = None,
    group_by: reading.GroupByOption = None,
    labels: reading.LabelsOption = None,
    out: reading.OutDirOption = None,
    overwrite: reading.OverwriteOption = False,
    cache: reading.CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Open closed peaks and predict again: those with a factor's motif, in intervals, of a gene, or new ones.

    A peak that is closed in a group (below a quarter of its open signal) takes the mean profile that it has where it is
    open, else the mean profile of open peaks; open peaks stay as they are. Controls open other peaks of the gene.
    """
    if not 0 < dose <= 1:
        raise InputError(f"--dose {dose:g} is no share of the sites; it must be above 0 and at most 1")
    reading.check_out(out, overwrite)
    chosen = reading.Selection(
        model=model,
        data=data,
        locus_text=locus_text,
        tss_peak=tss_peak,
        strand=strand,
        genes=genes,
        split=split,
        groups=groups,
        cell_types=cell_types,
        group_by=group_by,
        labels=labels,
        cache=cache,
        device=device,
        seed=seed,
    )
    if insert is not None:
        if locus_text is None or (tf, motifs, intervals, peaks_of) != (None, None, None, None) or dose != 1:
            raise InputError(
                "--insert goes with --locus-text alone, without --tf, --intervals, --peaks-of or --dose"
            )
        run_insert(reading.open_selection(chosen), insert, out, overwrite, as_json)
        return
    _check_choice(tf, motifs, intervals, peaks_of, motif_p)
    _check_rounds(rounds, tf, data, each=False)
    opened = reading.open_selection(chosen)
    from cisoform.analysis.knockin import dosed, open_profiles
    from cisoform.analysis.perturbation import SignalEdit

    peaks = _choose(opened, tf, motifs, motif_p, intervals, peaks_of).subset(lambda n: dosed(n, dose, seed))
    edit = SignalEdit(peaks.peaks, opened=open_profiles(opened.reader))
    what = {"perturbation": "knockin", "tf": split_list(tf, "--tf"), "dose": dose, "rounds": rounds}
    run_perturbation(
        *(opened, edit, peaks, what, controls, seed, out, overwrite, as_json),
        rounds=all_rounds(opened, edit, rounds, tf, motifs, motif_p),
    )


def _check_rounds(rounds: int, tf: str | None, data: Path | None, each: bool) -> None:
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


def _check_choice(
    tf: str | None,
    motifs: Path | None,
    intervals: Path | None,
    peaks_of: str | None,
    motif_p: float,
    free: bool = False,
) -> None:
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


def _choose(
    opened: Opened,
    tf: str | None,
    motifs: Path | None,
    motif_p: float,
    intervals: Path | None,
    peaks_of: str | None,
) -> ChosenPeaks:
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
