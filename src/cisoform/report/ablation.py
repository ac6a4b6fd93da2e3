"""A table of ablations as Markdown, as TSV, and as a figure: bars with intervals, seeds as dots, the paper beside.

In: the content of TABLE.json of `isoform ablate`. R2 and Spearman are means over the scored columns.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cisoform.benchmark.ablation import MEAN
from cisoform.report.style import CEILING, OBSERVED, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Content = Mapping[str, Any]
TSV_COLUMNS = (
    *("table", "row", "label", "r2", "r2_sd", "r2_low", "r2_high"),
    *("spearman", "spearman_sd", "spearman_low", "spearman_high"),
    *("minus_reference_r2", "minus_reference_r2_low", "minus_reference_r2_high", "within_noise"),
    *("n_parameters", "n_trained", "seconds", "core_seconds", "seeds", "split", "recipe", "dataset_hash"),
    *("paper_table", "paper_r2", "paper_spearman", "paper_remark", "settings"),
)
_ROW_INCHES = 0.36
_LABEL_LETTERS = 46


def tsv_table(content: Content) -> str:
    """One line per row and per baseline; an empty cell where there is nothing."""
    lines = ["\t".join(TSV_COLUMNS)]
    for row in [*content["rows"], *content["baselines"]]:
        cells = flat_row(content, row)
        lines.append("\t".join(_tsv(cells.get(name)) for name in TSV_COLUMNS))
    return "\n".join(lines) + "\n"


def flat_row(content: Content, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row (or baseline) as the cells of `TSV_COLUMNS`; what it lacks is left out."""
    scores = row["scores"][MEAN]
    found = {
        "table": content["table"],
        "row": row["name"],
        "label": row["label"],
        **{
            key: row.get(key)
            for key in ("within_noise", "n_parameters", "n_trained", "seconds", "core_seconds")
        },
        **{key: content[key] for key in ("split", "recipe", "dataset_hash")},
        "settings": " ".join(row.get("settings", ())),
    }
    for metric in ("r2", "spearman"):
        found |= {metric: scores[metric], f"{metric}_sd": scores[f"{metric}_sd"]}
        found[f"{metric}_low"], found[f"{metric}_high"] = scores[f"{metric}_ci"]
    if "minus_reference" in row:
        change = row["minus_reference"][MEAN]["r2"]
        found["minus_reference_r2"] = change["difference"]
        found["minus_reference_r2_low"], found["minus_reference_r2_high"] = change["ci"]
    if "settings" in row:
        found["seeds"] = ",".join(map(str, content["seeds"]))
    paper = row.get("paper")
    if paper:
        found |= {f"paper_{key}": paper[key] for key in ("table", "r2", "spearman", "remark")}
    return found


def _tsv(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def markdown(content: Content) -> str:
    """Heading line, table, baselines in it, and what it says."""
    boot = content["bootstrap"]
    seeds = ", ".join(map(str, content["seeds"]))
    changed = f" with `{' '.join(content['settings'])}`" if content["settings"] else ""
    lines = [
        f"Table `{content['table']}`: recipe `{content['recipe']}`{changed}, seeds {seeds}, split "
        f"`{content['split']}`: {content['n_transcripts']:,} transcripts of {content['n_genes']:,} genes, columns "
        f"{', '.join(content['columns'])}. Data set {content['dataset_hash'][:12]}. Scores are means over seeds and "
        f"columns; brackets are {boot['level']:.0%} intervals over {boot['draws']:,} draws of {boot['n_groups']:,} "
        f"{'families' if boot['unit'] == 'family' else 'genes'} and of seeds; ± is the SD over seeds.",
        "",
        f"| row | R² | Spearman | R² minus `{content['reference']}` | parameters | core seconds a run "
        "| paper on GTEx, R² / Spearman |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in content["rows"]:
        size = f"{row['n_parameters']:,}"
        if row["n_trained"] != row["n_parameters"]:
            size += f" ({row['n_trained']:,} learn)"
        core = "–" if row["core_seconds"] is None else f"{row['core_seconds']:.0f}"
        cells = (row["label"], *_scores(row), size, core, paper_text(row["paper"]))
        lines.append(_line(cells))
    lines += [_line((row["label"], *_scores(row), "", "", "")) for row in content["baselines"]]
    lines += ["", *(f"- {text}" for text in content["notes"])]
    if len(content["keys"]) > 2:
        lines += ["", *_per_key(content)]
    return "\n".join(lines) + "\n"


def paper_text(paper: Mapping[str, Any] | None) -> str:
    """`0.53 / 0.72 (Table 4)`; a cell that has not been seen is a question mark; rows that are not there, a dash."""
    if paper is None:
        return "–"
    remark = f"; {paper['remark']}" if paper["remark"] else ""
    values = " / ".join("?" if paper[key] is None else f"{paper[key]:.2f}" for key in ("r2", "spearman"))
    return f"{values} ({paper['table']}{remark})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _scores(row: Mapping[str, Any]) -> tuple[str, str, str]:
    scores = row["scores"][MEAN]
    texts = [_score(scores[key], scores[f"{key}_sd"], scores[f"{key}_ci"]) for key in ("r2", "spearman")]
    if "minus_reference" not in row:
        return texts[0], texts[1], ""
    change = row["minus_reference"][MEAN]["r2"]
    difference = "–" if change["difference"] is None else f"{change['difference']:+.3f}"
    noise = ", within noise" if row["within_noise"] else ""
    return texts[0], texts[1], f"{difference}{_bounds(change['ci'], '+')}{noise}"


def _score(value: float | None, spread: float | None, bounds: Sequence[float | None]) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if spread is None else f" ± {spread:.3f}") + _bounds(bounds, "")


def _bounds(bounds: Sequence[float | None], sign: str) -> str:
    low, high = bounds
    return "" if low is None or high is None else f" [{low:{sign}.3f}, {high:{sign}.3f}]"


def _per_key(content: Content) -> list[str]:
    """R2 and Spearman of each column and contrast, and the difference to the reference row in R2."""
    keys = [key for key in content["keys"] if key != MEAN]
    lines = [
        "| row | " + " | ".join(f"{key}, R² / Spearman (R² minus reference)" for key in keys) + " |",
        "|---|" + "---|" * len(keys),
    ]
    for row in [*content["rows"], *content["baselines"]]:
        cells = [_cell(row, key) for key in keys]
        lines.append(_line((row["label"], *cells)))
    return lines


def _cell(row: Mapping[str, Any], key: str) -> str:
    """R2, Spearman, and R2 minus the reference's with its interval."""
    scores = row["scores"][key]
    text = " / ".join("–" if scores[name] is None else f"{scores[name]:.3f}" for name in ("r2", "spearman"))
    change = row.get("minus_reference", {}).get(key, {}).get("r2")
    if change is None or change["difference"] is None:
        return text
    return f"{text} ({change['difference']:+.3f}{_bounds(change['ci'], '+')})"


def draw_table(content: Content) -> Figure:
    """Bars of R2 with intervals, dots for seeds, hollow diamonds for the paper's values on its own data."""
    rows, baselines = content["rows"], content["baselines"]
    labels = [textwrap.fill(row["label"], _LABEL_LETTERS) for row in [*rows, *baselines]]
    lines = max(label.count("\n") + 1 for label in labels)
    height = _ROW_INCHES * len(labels) * max(1.0, 0.6 * lines) + 1.3
    figure, (axes,) = new_figure(9.0, height)
    clean(axes, "x")
    for place, row in enumerate([*rows, *baselines]):
        ours = place < len(rows)
        _bar(axes, place, row, OURS if ours else CEILING)
        paper = row.get("paper")
        if paper and paper["r2"] is not None:
            axes.plot(paper["r2"], place, "D", markersize=6, markerfacecolor="none", markeredgecolor=OBSERVED)
    best = rows[[row["name"] for row in rows].index(content["reference"])]["scores"][MEAN]["r2"]
    if best is not None:
        axes.axvline(best, color=OURS, linewidth=0.8, linestyle=":")
    axes.axvline(0, color=OBSERVED, linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("R², mean over columns")
    figure.supxlabel(
        "bar: mean of the seeds (dots), line: interval over families and seeds, dotted: reference row; "
        "hollow diamond: the paper on GTEx, other data and encoders",
        fontsize=7.5,
        color=OBSERVED,
    )
    axes.set_title(f"{content['table']}, split {content['split']}, recipe {content['recipe']}", loc="left")
    return figure


def _bar(axes: Axes, place: int, row: Mapping[str, Any], colour: str) -> None:
    scores = row["scores"][MEAN]
    if scores["r2"] is None:
        return
    axes.barh(place, scores["r2"], height=0.62, color=colour, alpha=0.55)
    low, high = scores["r2_ci"]
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=OBSERVED, linewidth=1.4)
    seeds = [value for value in scores["r2_seeds"] if value is not None]
    if len(seeds) > 1:
        axes.plot(seeds, [place] * len(seeds), "o", markersize=3.2, color=colour, markeredgecolor="white")
