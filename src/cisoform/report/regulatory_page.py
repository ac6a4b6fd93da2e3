"""The report of a fitted CREformer: what was run, how it learned, its scores beside baselines, single genes, depth.

Takes results only (an evaluation as `jobs.regulation_predict.evaluate` returns it, drawings, the run's log); no model
and no data set is opened here. Sections are the functions of `SECTIONS`, in order: add one to add a section.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cisoform.report import regulatory_plots as plots
from cisoform.report.compare import Verdict, compare, number, tell
from cisoform.report.marks import score_bars_with_ceiling
from cisoform.report.page import Page
from cisoform.report.run_section import add_learning_curve, add_run
from cisoform.report.style import new_figure

ADVICE = (
    "Where it loses, use the baseline: it is simpler. More cell types, longer pre-training and a longer fit are what "
    "the model gains from."
)
NOT_RIVALS = ("model", "promoter_alone", "model_half", "model_double", "ceiling")
COLUMNS = (
    ("gene_pearson", "per gene"),
    ("type_pearson", "per gene, types"),
    ("pearson", "overall"),
    ("delta_pearson", "delta"),
    ("delta_r2", "delta R²"),
    ("mse", "mean squared error"),
)
MOST_SCATTERS = 5


@dataclass(frozen=True)
class RegulatoryResults:
    """One evaluated run of the second stage.

    Attributes:
        facts: What was run, for the table.
        evaluation: As `jobs.regulation_predict.evaluate` returns it; a part may hold scores of a "ceiling".
        per_gene: By part, by predictor: Pearson of each gene across groups.
        genes: Genes that are drawn; None = none.
        log: Rows of the training log.
        stated: What the data are known to allow (name, value), of simulations.
        warnings: What to say first.
        briefly_trained: Whether its scores count as those of a first look.
        commands: That would do the same by hand.
    """

    facts: Mapping[str, object]
    evaluation: Mapping[str, Any]
    per_gene: Mapping[str, Mapping[str, plots.FloatArray]]
    genes: plots.GenesDrawing | None = None
    log: Sequence[Mapping[str, float | None]] = ()
    stated: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    briefly_trained: bool = False
    commands: Sequence[str] = field(default_factory=tuple)

    @property
    def headline(self) -> str:
        """The part that decides: held-out genes across most groups (see `headline_part`)."""
        return headline_part(list(self.evaluation["parts"]))


def headline_part(names: Sequence[str]) -> str:
    """Unseen chromosomes across all cell types, or the nearest there is to it."""
    order = (
        "unseen chromosomes, all cell types",
        "unseen chromosomes, unseen cell types",
        "unseen chromosomes, seen cell types",
        "seen chromosomes, unseen cell types",
    )
    return next((name for name in order if name in names), names[0])


def add_regulatory_sections(page: Page, results: RegulatoryResults, prefix: str = "") -> None:
    """Append the sections of one run; `prefix` tells several runs of a page apart."""
    for section in SECTIONS:
        section(page, results, prefix)


def what_was_run(page: Page, results: RegulatoryResults, prefix: str) -> None:
    """Facts, commands and the curve of learning."""
    add_run(page, results, f"{prefix}What was run")
    add_learning_curve(
        page,
        results.log,
        "valid_gene_pearson",
        score="per-gene Pearson",
        label="validation Pearson\nper gene across groups",
        caption="Training loss and, on validation genes, the mean over genes of the correlation across groups. The circled "
        "step is the best one. A curve that bends down while the loss still falls is over-fitting: fewer steps, more "
        "dropout, or more groups.",
        alt="Learning curve of the fit: training loss and validation correlation per gene over steps",
    )


def scores(page: Page, results: RegulatoryResults, prefix: str) -> None:
    """Bars of the deciding part, a sentence on who wins, and the table of every part."""
    parts, name = results.evaluation["parts"], results.headline
    part = parts[name]
    page.section(f"{prefix}Expression beside the baselines")
    page.text(
        f"Expression ({results.evaluation['expression']}) of {part['n_genes']:,} genes in {part['n_groups']:,} groups: {name}. "
        "What counts is the correlation of a gene across groups, averaged over genes: does the model know in which cell type a gene is on? "
        "The overall correlation mixes that with the question of which genes are strong at all, which is far easier."
    )
    rows = bar_rows(part)
    ceiling = _ceiling(results)
    figure, (axes,) = new_figure(8.6, 1.3 + 0.36 * len(rows))
    score_bars_with_ceiling(
        axes, rows, "Pearson per gene across groups, mean over genes", ceiling, ours=(plots.label("model"),)
    )
    page.figure(
        figure,
        "Longer is better; lines are 95 % intervals by bootstrap over genes. `gene mean` says the same for every group, so it "
        "has no correlation across them. `window sum` is a line through the summed accessibility of the gene's peaks, `ridge` a regression on "
        "the promoter's accessibility and on sums that decay with distance, `gene mean + ridge` the same on differences to the gene's mean. "
        "`promoter peak only` shows the model nothing but the peak nearest to the start."
        + (
            " The dashed line is what the true expected expression of the simulation reaches: sampling noise allows no more."
            if ceiling
            else ""
        ),
        "Correlation per gene across groups: the model beside its baselines"
        + (" and the attainable ceiling" if ceiling else ""),
    )
    tell(page, list(verdicts(results)), ADVICE)
    if results.stated:
        stated = ", ".join(f"{key} {value:.3f}" for key, value in results.stated.items())
        page.text(f"What the simulator states as attainable over all genes and groups: {stated}.")
    for other in [name, *(part for part in parts if part != name)]:
        found = parts[other]
        words = f"{other[:1].upper()}{other[1:]}: {found['n_genes']:,} genes x {found['n_groups']:,} groups"
        columns = [key for key, _ in COLUMNS if any(key in s for s in found["scores"].values())]
        page.table(
            ["predictor", *(word for key, word in COLUMNS if key in columns)],
            [
                [plots.label(who), *(number(s.get(key)) for key in columns)]
                for who, s in found["scores"].items()
            ],
            f"{words}; {found['expressed_share']:.0%} of the pairs are expressed.",
            emphasise=(0,),
            folded="" if other == name else words,
        )
    page.items(
        [
            "`per gene`: Pearson of a gene across groups, mean over genes; `per gene, types`: of the means of cell types.",
            "`overall`: Pearson over all pairs of gene and group.",
            "`delta`: Pearson of the differences to each gene's own mean, all genes together; `delta R²`: share of their variance explained.",
            "A dash: not defined, because fewer than three groups are in the part, or because the truth does not vary.",
        ]
    )


def bar_rows(part: Mapping[str, Any]) -> list[tuple[str, float, tuple[float, float] | None]]:
    """Name, score and interval of the model, its ablation and the baselines."""
    rows = []
    for name, found in part["scores"].items():
        if name in ("model_half", "model_double", "ceiling"):
            continue
        interval = found.get("gene_pearson_interval")
        value = number(found["gene_pearson"])
        drawn = None if interval is None or None in interval else (float(interval[0]), float(interval[1]))
        rows.append((plots.label(name), value, drawn))
    return rows


def _ceiling(results: RegulatoryResults) -> tuple[str, float] | None:
    found = results.evaluation["parts"][results.headline]["scores"].get("ceiling")
    return None if found is None else (plots.label("ceiling"), number(found["gene_pearson"]))


def verdicts(results: RegulatoryResults) -> Iterator[Verdict]:
    """The comparisons of the deciding part: per gene, in differences, and overall, each with the strongest baseline."""
    name = results.headline
    found = results.evaluation["parts"][name]["scores"]
    rivals = {plots.label(who): s for who, s in found.items() if who not in NOT_RIVALS}
    if not rivals:
        return
    for key, words in (
        ("gene_pearson", f"{name}, per gene across groups"),
        ("delta_pearson", "differences to each gene's mean, all genes together"),
        ("pearson", "overall correlation"),
    ):
        yield compare(words, found["model"].get(key), {who: s.get(key) for who, s in rivals.items()})
    alone = found.get("promoter_alone")
    if alone is not None:
        yield compare(
            "all peaks or the promoter's alone, per gene",
            found["model"].get("gene_pearson"),
            {plots.label("promoter_alone"): alone.get("gene_pearson")},
        )


def distribution(page: Page, results: RegulatoryResults, prefix: str) -> None:
    """How the correlation is spread over genes."""
    per_gene = results.per_gene.get(results.headline, {})
    shown = {
        name: values
        for name, values in per_gene.items()
        if name not in ("model_half", "model_double", "gene_mean")
    }
    if not any(np.isfinite(values).any() for values in shown.values()):
        return
    page.section(f"{prefix}Gene by gene")
    figure, (axes,) = new_figure(8.8, 3.6)
    plots.correlation_curves(axes, shown)
    known = per_gene["model"][np.isfinite(per_gene["model"])]
    page.figure(
        figure,
        f"{results.headline[:1].upper()}{results.headline[1:]}: for each predictor, which share of the genes reaches a correlation of x or more; the higher curve is better. "
        f"Of {len(known):,} genes whose expression varies, the model gets {float((known > 0.5).mean()):.0%} above 0.5 and "
        f"{float((known < 0).mean()):.0%} below 0, the wrong way round.",
        "Distribution over genes of the correlation across groups, by predictor",
    )


def some_genes(page: Page, results: RegulatoryResults, prefix: str) -> None:
    """A few held-out genes: heat maps and scatter."""
    drawing = results.genes
    if drawing is None or not len(drawing.names):
        return
    page.section(f"{prefix}Some held-out genes")
    rivals = [name for name in drawing.predicted if name != "model"][:1]
    predictors = ["model", *rivals]
    wide = max(1.3, 0.26 * len(drawing.groups))
    figure, panels = new_figure(
        1.8 + wide * (1 + len(predictors)), 1.7 + 0.24 * len(drawing.names), columns=1 + len(predictors)
    )
    image = plots.heat_maps(panels, drawing, predictors)
    figure.colorbar(image, ax=panels, shrink=0.8, label=f"difference to the gene's mean,\n{drawing.unit}")
    page.figure(
        figure,
        f"{drawing.part}. The {len(drawing.names)} genes whose observed expression varies most, chosen without looking at any prediction; a "
        "row is a gene, a column a group, red is above and blue below the gene's own mean. A good prediction has the pattern of the left "
        "map; a pale one has the right direction and too little of it."
        + (
            f" `{plots.label(rivals[0])}` is the baseline with the highest correlation per gene."
            if rivals
            else ""
        ),
        "Heat maps of observed and predicted expression of held-out genes across groups",
    )
    count = min(MOST_SCATTERS, len(drawing.names))
    figure, all_axes = new_figure(1.85 * count + 0.4, 2.5, columns=count)
    for gene, axes in enumerate(all_axes):
        plots.gene_scatter(axes, drawing, gene)
    all_axes[0].set_ylabel(f"observed,\n{drawing.unit}")
    page.figure(
        figure,
        f"The first {count} of these genes, a point per group, on one scale per gene ({drawing.unit}). Dashed: equality. Solid: the line "
        "through the points; r is Pearson's correlation. Points that lie on a slope but off the dashed line have the right order "
        "and the wrong level.",
        "Predicted against observed expression of single held-out genes, a point per group",
    )


def depth(page: Page, results: RegulatoryResults, prefix: str) -> None:
    """What doubled and halved signal does to predictions and scores."""
    part = results.evaluation["parts"][results.headline]
    if "depth" not in part:
        return
    page.section(f"{prefix}Sequencing depth")
    page.text(
        "A data set states signal per depth of the group, but depth, peak sets and assays differ, so that the same accessibility may come "
        "out twice as high or half. A model that takes that for biology changes its mind; one that does not gives the same numbers. "
        "Predictions were made again from doubled and from halved signal."
    )
    page.table(
        [
            "signal",
            "correlation with the usual",
            "per gene",
            "mean change",
            "mean absolute change",
            "spread",
            "score per gene",
        ],
        [
            [
                {"half": "halved", "double": "doubled"}.get(name, name),
                number(change["pearson"]),
                number(change["gene_pearson"]),
                number(change["mean_change"]),
                number(change["mean_absolute_change"]),
                number(change["spread"]),
                number(part["scores"].get(f"model_{name}", {}).get("gene_pearson")),
            ]
            for name, change in part["depth"].items()
        ],
        f"{results.headline}. Changes are in units of expression ({results.evaluation['expression']}); `spread` is the standard deviation "
        f"of the usual predictions; the usual score per gene is {number(part['scores']['model']['gene_pearson']):.3f}.",
    )
    page.text(depth_sentence(part["depth"]))


def depth_sentence(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What the depth rows say, from their numbers."""
    worst = max(found, key=lambda name: number(found[name]["mean_absolute_change"]))
    share = number(found[worst]["mean_absolute_change"]) / max(number(found[worst]["spread"]), 1e-9)
    word = {"half": "Halving", "double": "Doubling"}.get(worst, worst)
    grade = "little" if share < 0.1 else "noticeably" if share < 0.5 else "strongly"
    advice = "" if share < 0.1 else " Compare predictions only between samples whose signal was made alike."
    return (
        f"{word} the signal changes predictions {grade}: on average by {share:.0%} of their spread, in the "
        f"direction {number(found[worst]['mean_change']):+.3f}.{advice}"
    )


Section = Callable[[Page, RegulatoryResults, str], None]
SECTIONS: tuple[Section, ...] = (what_was_run, scores, distribution, some_genes, depth)
