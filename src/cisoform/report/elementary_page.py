"""The report of a pre-trained Elementary: what was run, how it learned, what it restores beside baselines, one locus.

Takes results only (an evaluation as `jobs.elementary.evaluate` returns it, drawings, the run's log); no model and no
data set is opened here. Sections are the functions of `SECTIONS`, in order: add one to add a section.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cisoform.report import elementary_plots as plots
from cisoform.report.compare import Verdict, compare, number, tell
from cisoform.report.marks import common_limits, legend_below
from cisoform.report.page import Page
from cisoform.report.run_section import add_learning_curve, add_run
from cisoform.report.style import new_figure, new_rows

ADVICE = "Where it loses, use the baseline, or pre-train longer or on more samples."
HIDDEN_ROWS = (("macro_f1", "macro F1"), ("correlation", "correlation of level"), ("accuracy", "share right"))


@dataclass(frozen=True)
class ElementaryResults:
    """One evaluated run of the first stage.

    Attributes:
        facts: What was run, for the table.
        evaluation: As `jobs.elementary.evaluate` returns it.
        log: Rows of the training log.
        locus: What is drawn along the genome; None = nothing.
        warnings: What to say first.
        briefly_trained: Whether its scores count as those of a first look.
        commands: That would do the same by hand.
    """

    facts: Mapping[str, object]
    evaluation: Mapping[str, Any]
    log: Sequence[Mapping[str, float | None]] = ()
    locus: plots.LocusDrawing | None = None
    warnings: Sequence[str] = ()
    briefly_trained: bool = False
    commands: Sequence[str] = field(default_factory=tuple)

    @property
    def parts(self) -> dict[str, Mapping[str, Any]]:
        """Parts that have regions, by name."""
        return {name: part for name, part in self.evaluation["parts"].items() if part is not None}

    @property
    def headline(self) -> tuple[str, Mapping[str, Any]]:
        """The hardest part: the last one, which is unseen chromosomes and samples where both are held out."""
        return list(self.parts.items())[-1]


def add_elementary_sections(page: Page, results: ElementaryResults, prefix: str = "") -> None:
    """Append the sections of one run; `prefix` tells several runs of a page apart."""
    for section in SECTIONS:
        section(page, results, prefix)


def what_was_run(page: Page, results: ElementaryResults, prefix: str) -> None:
    """Facts, commands and the curve of learning."""
    add_run(page, results, f"{prefix}What was run")
    add_learning_curve(
        page,
        results.log,
        "valid_bin_correlation",
        score="bin correlation",
        label="validation correlation\nof preserved bins",
        caption="Training loss (the sum of three cross-entropies: hidden 6-mers, hidden signal levels, bins of preserved tracks) "
        "and, on validation regions, the correlation of preserved bins. The circled step has the lowest validation loss; "
        "its weights were kept.",
        alt="Learning curve of pre-training: training loss and validation correlation over steps",
        lowest_loss=True,
    )


def hidden(page: Page, results: ElementaryResults, prefix: str) -> None:
    """Hidden bases and levels beside neighbour lookup and the commonest class."""
    page.section(f"{prefix}Hidden bases and signal")
    page.text(
        "Contiguous spans of bases and of signal were hidden and the model asked for what stood there. Two predictors need no "
        "model. `majority` always says the commonest class of the training regions. `neighbour` looks at the nearest visible "
        "neighbours: for signal it repeats their level, for bases it says what follows those three bases most often in training."
    )
    parts = results.parts
    tracks = list(dict.fromkeys(name for part in parts.values() for name in part["hidden"]["tracks"]))
    rows = ["bases: share right", *(f"{name}: correlation" for name in tracks)]
    figure, panels = new_figure(*_panel_size(len(parts), len(rows)), columns=len(parts))
    marks = [plots.hidden_marks(part, tracks) for part in parts.values()]
    plots.score_panels(panels, [_title(name) for name in parts], rows, marks)
    common_limits(panels)
    legend_below(panels)
    page.figure(
        figure,
        "Further right is better. Bases: share of hidden bases that were right (a random guess gets about 0.25). Tracks: "
        "correlation of the expected with the true signal level at hidden places; `majority` is constant and has none. The "
        "large dot has to lie to the right of the small ones for the model to have learned something that a look-up does not know.",
        "Share of hidden bases right and correlation of hidden signal: the model beside neighbour lookup and majority, one panel a part",
    )
    tell(page, list(hidden_verdicts(results)), ADVICE)
    page.table(
        ["part", "hidden", "score", "model", "neighbour", "majority"],
        [row for name, part in parts.items() for row in hidden_rows(name, part)],
        "Macro F1 is the mean over signal levels, so that the zeros, which are most of a genome, do not decide it.",
        folded="All scores of what was hidden, as a table",
    )


def hidden_verdicts(results: ElementaryResults) -> Iterator[Verdict]:
    """The comparisons of the hardest part: bases, and each track's level."""
    name, part = results.headline
    bases = dict(part["hidden"]["bases"]["accuracy"])
    yield compare(f"{name}, hidden bases", bases.pop("model"), bases)
    for track, scores in part["hidden"]["tracks"].items():
        found = dict(scores["correlation"])
        yield compare(f"hidden {track}", found.pop("model"), found)


def hidden_rows(name: str, part: Mapping[str, Any]) -> Iterator[list[object]]:
    """Rows of the table of one part."""
    order = ("model", "neighbour", "majority")
    bases = part["hidden"]["bases"]
    yield [
        name,
        f"bases ({bases['n']:,})",
        "share right",
        *(number(bases["accuracy"].get(key)) for key in order),
    ]
    for track, scores in part["hidden"]["tracks"].items():
        for key, label in HIDDEN_ROWS:
            yield [
                name,
                f"{track} ({scores['n']:,})",
                label,
                *(number(scores[key].get(who)) for who in order),
            ]


def preserved(page: Page, results: ElementaryResults, prefix: str) -> None:
    """Bins of tracks that were not shown, beside the mean of the training samples."""
    tracks = [name for name, by in results.headline[1]["preserved"].items() if by]
    if not tracks:
        return
    page.section(f"{prefix}Tracks that were not shown")
    anchor = results.evaluation.get("anchor")
    page.text(
        "A track was left out of the input altogether and the model asked for its mean in every bin of 128 bp. "
        + (
            f"`{anchor}` alone stands for a sample of which only accessibility was measured. "
            if anchor
            else ""
        )
        + "The baseline is the mean of the training samples at the same place: it knows where the track usually is, and nothing "
        "of the sample. On chromosomes the model never saw it is a hard one, since the model has to work from the input alone."
    )
    parts = results.parts
    figure, panels = new_figure(*_panel_size(len(parts), len(tracks)), columns=len(parts))
    marks = [plots.preserved_marks(part, tracks) for part in parts.values()]
    plots.score_panels(panels, [_title(name) for name in parts], tracks, marks)
    common_limits(panels)
    legend_below(panels)
    page.figure(
        figure,
        "Correlation of predicted with true bins; further right is better. Panels are the combinations of chromosomes and samples "
        "that training saw or did not see; the last one is what a new sample on a new chromosome would give.",
        "Correlation of preserved tracks' bins: the model by what it was shown, beside the mean of the training samples, one panel a part",
    )
    tell(page, list(preserved_verdicts(results)), ADVICE)
    page.table(
        ["part", "track", "shown to the model", "bins", "model", "training mean", "beyond the mean"],
        [row for name, part in parts.items() for row in preserved_rows(name, part)],
        "`beyond the mean` is the partial correlation of prediction and truth given the training mean: above 0 the model knows "
        "something of this sample that the mean does not.",
        folded="All scores of tracks that were not shown, as a table",
    )


def preserved_verdicts(results: ElementaryResults) -> Iterator[Verdict]:
    """The comparisons of the hardest part: every track from accessibility alone, or from the other tracks."""
    name, part = results.headline
    for track, by in part["preserved"].items():
        given = next((key for key in ("anchor_alone", "other_tracks", "dna_alone") if key in by), None)
        if given is not None:
            ours, mean = plots.bin_score(by[given])
            words = plots.GIVEN[given].removeprefix("model, ")
            yield compare(f"{name}, {track} {words}", ours, {"training mean": mean})


def preserved_rows(name: str, part: Mapping[str, Any]) -> Iterator[list[object]]:
    """Rows of the table of one part."""
    for track, by in part["preserved"].items():
        for given, found in by.items():
            ours, mean = plots.bin_score(found)
            words = plots.GIVEN[given].removeprefix("model, from ")
            beyond = number(found["partial_given_mean"])
            yield [name, track, words, int(found["n_bins"]), ours, mean, beyond]


def locus(page: Page, results: ElementaryResults, prefix: str) -> None:
    """Tracks seen and predicted along one stretch."""
    drawing = results.locus
    if drawing is None:
        return
    page.section(f"{prefix}Along a locus")
    figure, rows = new_rows(9.4, plots.locus_heights(drawing))
    plots.locus(rows, drawing)
    shown = [track.name for track in drawing.tracks if track.predicted is None]
    means = any(track.training_mean is not None for track in drawing.tracks)
    page.figure(
        figure,
        f"{drawing.chrom}:{drawing.start:,}-{drawing.end:,} of sample {drawing.sample} ({drawing.part}), chosen by its observed "
        f"signal alone. Means of bins of {drawing.bin_bp} bp on an inverse-hyperbolic-sine scale with the track's units. Dark grey: what "
        f"the model was shown ({', '.join(shown) or 'no track, DNA alone'}). Light grey: what was measured and it was not shown; the line in "
        "blue is its prediction"
        + (", the thin orange line the mean of the training samples" if means else "")
        + ". Look for peaks of the light grey that the blue line has and the orange one lacks: these are the ones it read from the input. "
        + ("Genes (arrow: start and direction) " if drawing.genes else "")
        + ("and " if drawing.genes and drawing.peaks is not None else "")
        + ("called peaks " if drawing.peaks is not None else "")
        + ("are drawn beneath." if drawing.genes or drawing.peaks is not None else ""),
        f"Observed and predicted tracks along {drawing.chrom}:{drawing.start}-{drawing.end} of {drawing.sample}",
    )


def _panel_size(columns: int, rows: int) -> tuple[float, float]:
    return 2.2 + 1.85 * max(columns, 2), 1.5 + 0.34 * rows


def _title(part: str) -> str:
    return part.replace(", ", ",\n")


Section = Callable[[Page, ElementaryResults, str], None]
SECTIONS: tuple[Section, ...] = (what_was_run, hidden, preserved, locus)
