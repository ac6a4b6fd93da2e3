"""The report of an isoform run: what was run, how it learned, how well it does beside its baselines, one gene.

Takes results only (an evaluation as `benchmark.evaluation` returns it, arrays of log1p TPM, the run's log);
no model and no data set is opened here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cisoform.report import isoform_plots as plots
from cisoform.report.page import Page
from cisoform.report.style import new_figure

MAX_SCATTERS = 4
MAX_BASELINES_DRAWN = 6
WITHIN_GENE_RIVALS = ("boosted_trees_all", "ceiling_replicates")


@dataclass(frozen=True)
class IsoformResults:
    """One evaluated run. Arrays are (transcripts, tissues) in log1p TPM; NaN marks a missing label."""

    title: str
    facts: Mapping[str, object]
    evaluation: Mapping[str, Any]
    observed: plots.FloatArray
    predicted: plots.FloatArray
    tissues: Sequence[str]
    log: Sequence[Mapping[str, float | None]] = ()
    gene: tuple[str, Sequence[plots.IsoformDrawing]] | None = None
    truth: Sequence[Sequence[object]] = ()
    warnings: Sequence[str] = ()
    briefly_trained: bool = False
    commands: Sequence[str] = field(default_factory=tuple)


def add_isoform_sections(page: Page, results: IsoformResults, prefix: str = "") -> None:
    """Append the sections of one run; `prefix` tells several runs of a page apart."""
    _what_was_run(page, results, prefix)
    if results.log:
        _learning(page, results, prefix)
    _scores(page, results, prefix)
    _scatter(page, results, prefix)
    _within_gene(page, results, prefix)
    if "calibration" in results.evaluation:
        _calibration(page, results.evaluation["calibration"], prefix)
    if results.gene is not None:
        _gene(page, results, prefix)


def _what_was_run(page: Page, results: IsoformResults, prefix: str) -> None:
    page.section(f"{prefix}What was run")
    if results.briefly_trained:
        page.warning(
            "Briefly trained: this run shows that every step works on these files. Its scores are far from what "
            "the same model reaches with a full recipe; do not quote them."
        )
    for text in results.warnings:
        page.warning(text)
    page.facts(results.facts)
    if results.commands:
        page.code("\n".join(results.commands))


def _learning(page: Page, results: IsoformResults, prefix: str) -> None:
    train = [(row["step"], row["train_loss"]) for row in results.log if row.get("train_loss") is not None]
    valid = [(row["step"], row["valid_r2"]) for row in results.log if row.get("valid_r2") is not None]
    if not train:
        return
    page.section(f"{prefix}How it learned")
    figure, (axes,) = new_figure(7.5, 3.2)
    plots.learning_curve(
        axes,
        [float(step or 0) for step, _ in train],
        [float(loss or 0) for _, loss in train],
        [float(step or 0) for step, _ in valid],
        [float(score or 0) for _, score in valid],
    )
    page.figure(
        figure,
        "Training loss and validation R² over optimiser steps. The circled weights are the ones that were kept. "
        "A validation curve that bends down while the loss still falls is over-fitting: fewer steps, more dropout "
        "or more data.",
        "learning curve",
    )


def _scores(page: Page, results: IsoformResults, prefix: str) -> None:
    evaluation = results.evaluation
    page.section(f"{prefix}Scores beside the baselines")
    page.text(
        f"Split `{evaluation['split']}`: {evaluation['n_transcripts']:,} transcripts of {evaluation['n_genes']:,} genes "
        "that the model never saw, in training or in choosing it. R² is the coefficient of determination on log1p TPM "
        "(0 = no better than the mean of these very transcripts, which a constant cannot beat); intervals are 95 %, "
        "by bootstrap over groups of related genes."
    )
    baselines: Mapping[str, Mapping[str, Mapping[str, Any]]] = evaluation.get("baselines", {})
    tissues = evaluation["tissues"]
    shown = _strongest(evaluation)
    figure, (axes,) = new_figure(8.6, 1.4 + 0.36 * len(tissues))
    plots.tissue_scores(axes, tissues, shown)
    page.figure(
        figure,
        "R² in every tissue: this model, the strongest baselines, and the replicate ceiling where it is known.",
        "scores per tissue",
    )
    names = [*tissues, *evaluation.get("contrasts", {})]
    rows: list[list[object]] = [
        _score_row("this model", {**tissues, **evaluation.get("contrasts", {})}, names, evaluation["mean"])
    ]
    for name, scores in baselines.items():
        rows.append(_score_row(name, scores, names, evaluation["baseline_details"][name]["mean"]))
    shown_names = names if len(names) <= 8 else []
    columns = ["predictor", "mean R²", "mean Spearman", *[f"{name} R²" for name in shown_names]]
    page.table(
        columns,
        [row[: 3 + len(shown_names)] for row in rows],
        "Mean over tissues, then each tissue or contrast. A contrast `A:B` is the log2 fold change of A over B.",
        emphasise=(0,),
    )
    ours = evaluation["mean"].get("r2")
    rivals = {name: value for name, value in _honest(evaluation).items() if not name.startswith("run ")}
    if rivals and ours is not None:
        name, value = max(rivals.items(), key=lambda item: item[1])
        if value >= ours:
            page.warning(
                f"The model loses to `{name}` ({ours:.3f} against {value:.3f} mean R²). Use the baseline, or train longer: "
                "see “How to read a bad number”."
            )
        else:
            page.note(
                f"The strongest baseline is `{name}` with a mean R² of {value:.3f}; the model reaches {ours:.3f}."
            )
    if results.truth:
        page.heading("Planted truth")
        page.text("These data were simulated, so what could be learned at all is known.")
        page.table(["quantity", "attainable", "reached"], list(results.truth))
    page.heading("How to read a bad number")
    page.items(
        [
            "Below the mean-per-tissue row (R² under 0): training failed or the units differ. Check that the expression "
            "table is linear TPM or CPM, and look at the learning curve.",
            "Below the four-lengths row: the network has learned little of the sequence. Too few transcripts, too few steps "
            "or too strong a regularisation.",
            "Good R², poor within-gene ranking: the model tells genes apart but not the isoforms of a gene. Splits by gene are "
            "right, but more isoforms per gene are needed.",
            "Good mean R², tissue-centred R² near 0: it predicts the average level and not what differs between tissues.",
            "Close to the ceiling row: two replicates do not agree better. More training cannot help; better data can.",
        ]
    )


def _strongest(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The baselines to draw: those with the highest mean R², and every ceiling."""
    baselines = evaluation["baselines"]
    ranked = sorted(_honest(evaluation).items(), key=lambda item: -item[1])
    limits = {name: scores for name, scores in baselines.items() if name.startswith("ceiling")}
    return {name: baselines[name] for name, _ in ranked[:MAX_BASELINES_DRAWN]} | limits


def _honest(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Mean R² of each baseline that is a predictor, not a limit."""
    means = {name: details["mean"].get("r2") for name, details in evaluation["baseline_details"].items()}
    return {
        n: float(value) for n, value in means.items() if value is not None and not n.startswith("ceiling")
    }


def _score_row(
    name: str, scores: Mapping[str, Any], names: Sequence[str], mean: Mapping[str, Any]
) -> list[object]:
    each = [scores.get(n, {}).get("r2") for n in names]
    return [name, _number(mean.get("r2")), _number(mean.get("spearman")), *[_number(value) for value in each]]


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _scatter(page: Page, results: IsoformResults, prefix: str) -> None:
    page.section(f"{prefix}Predicted against observed")
    count = min(len(results.tissues), MAX_SCATTERS)
    figure, all_axes = new_figure(3.1 * count + 0.6, 3.2, columns=count)
    for column, axes in enumerate(all_axes):
        plots.observed_against_predicted(
            axes, results.observed[:, column], results.predicted[:, column], results.tissues[column]
        )
    more = f" The first {count} of {len(results.tissues)} tissues." if len(results.tissues) > count else ""
    page.figure(
        figure,
        f"One point a transcript of the evaluated split, log1p TPM; the dashed line is equality.{more}",
        "scatter",
    )


def _within_gene(page: Page, results: IsoformResults, prefix: str) -> None:
    within = results.evaluation.get("within_gene") or {}
    page.section(f"{prefix}Isoforms of the same gene")
    details = results.evaluation.get("baseline_details", {})
    rivals = {name: details[name]["within_gene"] for name in WITHIN_GENE_RIVALS if name in details}
    rows: list[tuple[str, float, float | None]] = []
    for label, key in (
        ("pairs in the right order", "pair_accuracy"),
        ("dominant isoform found", "dominant_accuracy"),
    ):
        for name, scores in {"this model": within, **rivals}.items():
            if scores.get(key) is not None:
                chance = scores.get(f"{key}_chance")
                rows.append(
                    (f"{name}: {label}", float(scores[key]), None if chance is None else float(chance))
                )
    if not rows:
        page.text(
            "No gene of this split has two isoforms with expression, so isoforms cannot be ranked within genes."
        )
        return
    figure, (axes,) = new_figure(8.0, 0.9 + 0.42 * len(rows))
    plots.score_bars(axes, rows, "share of cases")
    page.figure(
        figure,
        f"{within.get('n_genes', 0):,} genes with at least two isoforms. The dark tick is what guessing gives.",
        "within-gene ranking",
    )
    page.facts(
        {
            key.replace("_", " "): f"{value:.3f}" if isinstance(value, float) else value
            for key, value in within.items()
            if not isinstance(value, (dict, list))
        }
    )


def _calibration(page: Page, found: Mapping[str, Any], prefix: str) -> None:
    page.section(f"{prefix}How sure it is")
    ways = [way for way in ("claimed", "calibrated", "constant") if way in found]
    rows: list[list[object]] = []
    for way in ways:
        for level in found["levels"]:
            one = found[way][str(level)]
            ends = [_number(one.get(name)) for name in ("coverage_low", "coverage_high")]
            rows.append(
                [
                    way,
                    f"{level:.0%}",
                    _number(one["coverage"]),
                    *ends,
                    _number(one["width"]),
                    _number(one["score"]),
                ]
            )
    page.table(
        ["intervals", "nominal", "coverage", "95 % from", "to", "mean width", "score"],
        rows,
        "Share of labels inside the interval that should hold the nominal share, mean width (log1p) and interval score "
        "(smaller is better). Claimed: by the variance that the models predict and by how they differ. Calibrated: "
        "widened or narrowed on the validation part, as predictions carry it. Constant: one width for all labels of a "
        "tissue, the baseline that calibrated intervals should beat in score.",
        emphasise=[n for n, row in enumerate(rows) if row[0] == "calibrated"],
    )
    if found.get("rank") is not None:
        page.text(
            f"Spearman's correlation of the claimed standard deviation with the size of the error is {found['rank']:.3f}: "
            "at 0 the model cannot tell which of its predictions are bad."
        )


def _gene(page: Page, results: IsoformResults, prefix: str) -> None:
    assert results.gene is not None
    name, isoforms = results.gene
    page.section(f"{prefix}One gene: {name}")
    wide = max(2.2, 0.42 * len(results.tissues))
    figure, (left, right) = new_figure(6.0 + wide, 1.5 + 0.62 * len(isoforms), columns=2, ratios=[5.0, wide])
    plots.gene_structure(left, isoforms)
    plots.gene_expression(right, isoforms, results.tissues)
    page.figure(
        figure,
        "Left: exons (boxes; the coding part is tall and dark), introns (lines) and the direction of transcription. "
        "Right: expression of each isoform, observed and predicted, log1p TPM, on one common scale.",
        f"isoforms of {name}",
    )
