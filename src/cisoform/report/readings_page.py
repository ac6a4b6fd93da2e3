"""Sections on what a fitted CREformer says about peaks and factors, for somebody who sees such readings the first time.

Takes results only. `add_report_sections` makes the page of `regulation report`; `add_truth_section` the table of
readings beside planted answers, which the demo and `benchmark regulation` share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cisoform.report.compare import number
from cisoform.report.page import Page
from cisoform.report.regulatory_page import RegulatoryResults, distribution, scores, verdicts
from cisoform.report.score_plots import LocusScores, locus_figure
from cisoform.report.style import CEILING, OURS, clean, new_figure

Values = npt.NDArray[np.floating[Any]]
GUIDANCE = (
    "A score of a peak says what the prediction of this model rests on. It is no proof that the peak acts in a cell.",
    "Read how expression is predicted first. Where the model does not beat the baselines, no reading of it means more than theirs.",
    "`ablation` is how far the prediction falls when the peak is closed: positive = the open peak raises the gene.",
    "Compare peaks within a gene. Scores of two genes have no common scale.",
    "A difference is of interest where it is larger than that of matched control peaks and of the same direction in "
    "related groups.",
    "Test a few: `links --evaluate` takes any table of tested pairs, `score --compare` tracks and ChIP peaks.",
)
SCORE_ADVICE = (
    "A correlation with accessibility near 1 means that the score says no more than the track itself; near 0 that the "
    "sequence and the place of a peak count as well. `deletion` is how much more the prediction moves when peaks are "
    "closed from the highest score down than in random order: above 0 with an interval that excludes 0, the order "
    "means something to the model. Accessibility and nearness to the TSS give orders too: a score says more than they do "
    "where its deletion is above theirs."
)


@dataclass(frozen=True)
class KnockoutRow:
    """A factor's knock-out, over all genes and groups that were looked at.

    Attributes:
        factor: Its name.
        n_peaks: Peaks with its motif.
        change: Mean absolute difference of the genes.
        control: The same for matched controls; NaN = there are none.
        mean: Mean difference: negative = the factor raises.
        most: Gene, group and difference that moved most.
    """

    factor: str
    n_peaks: int
    change: float
    control: float
    mean: float
    most: tuple[str, str, float]


@dataclass(frozen=True)
class ReportResults:
    """What the page of `regulation report` is made from.

    Attributes:
        facts: Of model and data.
        warnings: What to say first.
        coverage: Name, number and meaning of each figure of the data.
        expression: An evaluation on held-out genes; None = nothing is held out.
        agreement: As `jobs.score.agree` returns it.
        locus: A gene to draw.
        peaks: Highest scores: gene, group, peak, distance in kb, accessibility, score.
        links: Strongest links over groups: gene, peak, distance in kb, score, groups in which it is open.
        knockout: Of each factor, the strongest first; None = no motifs were given.
        commands: That would do the same by hand.
    """

    facts: Mapping[str, object]
    warnings: Sequence[str]
    coverage: Sequence[tuple[str, object, str]]
    expression: RegulatoryResults | None
    agreement: Mapping[str, Any]
    locus: LocusScores
    peaks: Sequence[Sequence[object]]
    links: Sequence[Sequence[object]]
    knockout: Sequence[KnockoutRow] | None = None
    commands: Sequence[str] = field(default_factory=tuple)


def add_report_sections(page: Page, results: ReportResults) -> None:
    """Append all sections, in the order in which they are to be read."""
    _first(page, results)
    _coverage(page, results)
    if results.expression is not None:
        scores(page, results.expression, "")
        distribution(page, results.expression, "")
    _score(page, results)
    _links(page, results)
    _knockout(page, results)
    page.section("By hand")
    page.text("Each section comes from a command with more options, tables and files for genome browsers.")
    page.code("\n".join(results.commands))


def warnings_of(results: RegulatoryResults | None) -> list[str]:
    """What a reader of any reading must know of the evaluation."""
    if results is None:
        return [
            "The data hold out no chromosomes or cell types, so nothing says whether this model knows unseen genes."
        ]
    lost = [one for one in verdicts(results) if one.decided and not one.won]
    return [
        f"The model loses to a baseline: {one.text}. Its readings may say less than that baseline."
        for one in lost
    ]


def _first(page: Page, results: ReportResults) -> None:
    page.section("How to read this page")
    for text in results.warnings:
        page.warning(text)
    if not results.warnings:
        page.note("No warning: coverage, scores and baselines are as they should be.")
    page.items(GUIDANCE)
    page.facts(results.facts)


def _coverage(page: Page, results: ReportResults) -> None:
    page.section("Coverage")
    page.text(
        "A peak without a single read looks closed to the model. Where few reads fall into peaks, closed and unseen are "
        "the same, and every reading follows the depth of the group: pool more cells (`build-genes --pool knn:50`)."
    )
    page.table(["what", "value", "meaning"], [list(row) for row in results.coverage])


def _score(page: Page, results: ReportResults) -> None:
    page.section("Scores of peaks")
    found = results.agreement
    page.text(SCORE_ADVICE)
    rows = []
    deletion = found.get("faithfulness", {}).get("deletion", {})
    simple: dict[str, dict[str, Any]] = {
        name: {} for name in ("accessibility", "nearness") if name in deletion
    }
    for name, by in {**found["with"], **simple}.items():
        row = deletion.get(name)
        rows.append(
            [
                f"{name} (baseline)" if name in simple else name,
                *(number(by.get(key, {}).get("spearman")) for key in ("accessibility", "nearness")),
                number(by.get("accessibility", {}).get("partial_spearman")),
                number(None if row is None else row["above_random"]),
                "" if row is None or not row["interval"] else _interval(row["interval"]),
            ]
        )
    head = [
        "score",
        "with accessibility",
        "with nearness",
        "accessibility, distance held",
        "deletion",
        "interval",
    ]
    page.table(
        head, rows, "Spearman correlation within genes; deletion with its 95 % interval.", emphasise=(0,)
    )
    page.figure(
        locus_figure(results.locus),
        "The gene with the highest score. Hollow: peaks that are closed in this group, whose ablation is 0 by definition.",
        "Accessibility and scores of the peaks round one gene",
    )
    head = ["gene", "group", "peak", "distance, kb", "accessibility", "ablation"]
    page.table(head, results.peaks, "Highest scores, either sign.", folded="The highest scores as a table")


def _interval(values: Sequence[float]) -> str:
    return f"{values[0]:+.3g} to {values[1]:+.3g}"


def _links(page: Page, results: ReportResults) -> None:
    page.section("Links")
    page.text(
        "A peak and a gene, by the largest absolute score over the groups. The sign says whether the open peak raises or "
        "lowers the gene in the model. `accessibility x contact` is the simple rival, as a rank among the peaks of the "
        "gene: where the model's first is not its first, the sequence made the difference."
    )
    head = ["gene", "peak", "distance, kb", "score", "in group", "rank by accessibility x contact"]
    page.table(head, results.links, "Strongest links of each gene.")


def _knockout(page: Page, results: ReportResults) -> None:
    page.section("Knock-outs of factors")
    if results.knockout is None:
        page.note(
            "No motifs were given: `--motifs FILE` (MEME, JASPAR or HOCOMOCO) adds a knock-out of each factor."
        )
        return
    page.text(
        "The signal within 75 bp of each motif of a factor is taken away and the genes are predicted again. The controls "
        "do the same at peaks of the gene that are near in accessibility and distance. Factors with one motif (a "
        "family) cannot be told apart. Only direct effects are read: the factor's own targets do not change theirs."
    )
    rows = list(results.knockout)
    figure, (axes,) = new_figure(8.0, 1.2 + 0.3 * len(rows))
    place = np.arange(len(rows))[::-1]
    axes.barh(place + 0.18, [row.change for row in rows], height=0.36, color=OURS, label="motif peaks")
    axes.barh(
        place - 0.18,
        [number(row.control) for row in rows],
        height=0.36,
        color=CEILING,
        label="matched controls",
    )
    axes.set_yticks(place, [row.factor for row in rows])
    axes.set_xlabel("mean absolute change of the prediction")
    axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    clean(axes, "x")
    page.figure(
        figure,
        "A factor matters to the model where its bar is clearly longer than that of the controls.",
        "Mean absolute change of predictions by factor, beside matched controls",
    )
    page.table(
        ["factor", "peaks", "mean change", "mean absolute change", "controls", "most changed", "by"],
        [
            [
                row.factor,
                row.n_peaks,
                row.mean,
                row.change,
                row.control,
                " in ".join(row.most[:2]),
                row.most[2],
            ]
            for row in rows
        ],
        "Over the genes of this page. A negative change: the gene falls without the factor, so the factor raises it.",
    )


def add_truth_section(
    page: Page, title: str, header: Sequence[str], rows: Sequence[Sequence[object]], lost: Sequence[str]
) -> None:
    """Append the table of readings beside planted answers.

    Args:
        page: The page.
        title: Of the section.
        header: Of the table.
        rows: Its rows.
        lost: In words, where a reading loses to a baseline or misses its goal.
    """
    page.section(title)
    page.text(
        "The simulation knows which peak acts on which gene, and what taking away a factor does. Each reading is scored "
        "on chromosomes that training did not see; how it is taken was chosen on the validation chromosome. `strongest "
        "baseline` is the best simple predictor, `chance` what dealing the answers anew leaves."
    )
    page.table(header, rows, emphasise=tuple(range(len(rows))))
    if lost:
        page.warning("Where it falls short:", list(lost))
    else:
        page.note("Every goal is reached, and every simple baseline beaten.")
