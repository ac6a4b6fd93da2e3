"""`cisoform regulation knockout` and `knockin`: expression before and after the signal of chosen peaks changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cisoform.cli import regulation_reading as reading
from cisoform.cli.common import DeviceOption, JsonOption, SeedOption, split_list
from cisoform.cli.perturb_choice import (
    ControlsOption,
    IntervalsOption,
    MotifPOption,
    MotifsOption,
    PeaksOfOption,
    RoundsOption,
    TfOption,
    check_choice,
    check_rounds,
    choose,
    read_mode,
)
from cisoform.cli.perturb_run import all_rounds, run_insert, run_perturbation, run_screen
from cisoform.errors import InputError


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
    share of draws of as many like peaks, the edited ones among them, that move the gene at least as far. Where a gene
    rests on few strong peaks many draws hold these too, so p stays high (weak, never too low): trust the difference and
    its controls there.
    """
    factor, least, around = read_mode(mode)
    check_choice(tf, motifs, intervals, peaks_of, motif_p, free=each and locus_text is not None)
    check_rounds(rounds, tf, data, each)
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
    peaks = choose(opened, tf, motifs, motif_p, intervals, peaks_of)
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
    check_choice(tf, motifs, intervals, peaks_of, motif_p)
    check_rounds(rounds, tf, data, each=False)
    opened = reading.open_selection(chosen)
    from cisoform.analysis.knockin import dosed, open_profiles
    from cisoform.analysis.perturbation import SignalEdit

    peaks = choose(opened, tf, motifs, motif_p, intervals, peaks_of).subset(lambda n: dosed(n, dose, seed))
    edit = SignalEdit(peaks.peaks, opened=open_profiles(opened.reader))
    what = {"perturbation": "knockin", "tf": split_list(tf, "--tf"), "dose": dose, "rounds": rounds}
    run_perturbation(
        *(opened, edit, peaks, what, controls, seed, out, overwrite, as_json),
        rounds=all_rounds(opened, edit, rounds, tf, motifs, motif_p),
    )
