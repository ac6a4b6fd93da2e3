"""The page of a gene network: what was found, how sure it is, and how it compares with baselines and other networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cisoform.report.compare import compare, tell
from cisoform.report.grn_plots import DrawnEdge, factor_figure, network_figure, precision_figure
from cisoform.report.page import Page

Rows = Sequence[Mapping[str, Any]]
_LEAD = "Which transcription factor acts through which peak on which gene, read from a fitted CREformer."
_TF_COLUMNS = ("tf", "acts", "sign", "n_peaks", "z", "z_score", "z_response", "q", "stability", "n_targets")
_EDGE_COLUMNS = ("factor", "gene", "sign", "score", "stability", "peak", "distance, kb", "q of the site")
_SCORES = ("auprc", "auprc_ratio", "early_precision", "early_precision_ratio")
_SHOWN = 30


def write_page(
    path: Path, result: Mapping[str, Any], factors: Rows, edges: Rows, drawn: Sequence[DrawnEdge]
) -> None:
    """Write the page.

    Args:
        path: Where to.
        result: What grn.json holds.
        factors: Rows of the table of factors, surest first.
        edges: Rows of the table of edges, strongest first.
        drawn: Edges of the figure.
    """
    page = Page("Gene regulatory network", _LEAD)
    _summary(page, result)
    page.section("Network")
    if drawn:
        page.figure(
            network_figure(drawn, f"the {min(len(drawn), 80)} strongest edges"),
            "The thicker, the higher the score. Black: factors; grey: target genes.",
            "network of the strongest edges",
        )
    page.table(*_edge_table(edges))
    page.section("Factors")
    page.text(
        "A factor acts when the peaks with its sites shift the prediction one way, and follow its expression, more than "
        "other peaks of like GC content and length do. `stability` is the share of bags of cells in which it acts."
    )
    known = [row for row in factors if row["z"] is not None]
    if known:
        page.figure(
            factor_figure(
                [row["tf"] for row in known], [row["z"] for row in known], [row["acts"] for row in known]
            ),
            "Evidence by factor.",
            "z-scores of factors",
        )
    page.table(_TF_COLUMNS, [[row[name] for name in _TF_COLUMNS] for row in factors], folded="All factors")
    for evaluated in result.get("evaluation", []):
        _evaluation(page, evaluated)
    if result.get("compare"):
        _compared(page, result["compare"])
    page.section("Provenance")
    kept = ("model", "dataset_hash", "motifs", "settings", "seed", "cisoform")
    page.facts({key: _said(result.get(key)) for key in kept})
    page.write(path)


def _said(value: Any) -> Any:
    """A fact as words: a mapping as `name value, name value`."""
    if not isinstance(value, Mapping):
        return value
    return ", ".join(f"{name} {'none' if one is None else one}" for name, one in value.items())


def _edge_table(edges: Rows) -> tuple[list[str], list[list[object]], str]:
    """Header, rows and caption of the strongest edges; without knock-outs no column of them."""
    knocked = any(row["knockout"] is not None for row in edges)
    rows: list[list[object]] = []
    for row in edges[:_SHOWN]:
        distance = None if row["distance_bp"] is None else row["distance_bp"] / 1000
        shown = [row["tf"], row["gene_name"] or row["gene_id"], row["sign"], row["score"], row["stability"]]
        rows.append([*shown, row["peak"], distance, row["site_q"], *([row["knockout"]] if knocked else [])])
    said = " `knockout` is the change of the gene when all peaks of the factor close." if knocked else ""
    head = [*_EDGE_COLUMNS, *(["knockout"] if knocked else [])]
    return head, rows, f"The strongest of {len(edges):,} edges.{said}"


def _summary(page: Page, result: Mapping[str, Any]) -> None:
    page.section("Summary")
    page.facts({key.replace("_", " "): value for key, value in result["counts"].items()})
    if result["warnings"]:
        page.warning("Read this first.", result["warnings"])
    rows = [
        f"{one['kind']}: {one['n_called']} factors called, {one['n_edges']:,} edges"
        for one in result["nulls"]
    ]
    if rows:
        page.note("Networks that should be empty, built the same way:", rows)


def _evaluation(page: Page, evaluated: Mapping[str, Any]) -> None:
    page.section(f"Against {evaluated['list']}")
    parts = [name for name in ("all factors", "listed factors") if name in evaluated]
    verdicts = []
    for part in parts:
        scores = evaluated[part]
        rivals = {
            name: row["auprc"]
            for name, row in scores.items()
            if name != "model" and not name.startswith("null")
        }
        verdicts.append(compare(f"area under precision-recall, {part}", scores["model"]["auprc"], rivals))
    tell(page, verdicts, "Where the factors are known, use the stronger baseline.")
    for part in parts:
        scores = evaluated[part]
        first = scores["model"]
        page.table(
            ("", "AUPRC", "over chance", "early precision", "over chance"),
            [[name, *(row[key] for key in _SCORES)] for name, row in scores.items()],
            f"{part}: {first['n_edges']:,} listed edges of {first['n_factors']:,} factors and {first['n_genes']:,} genes; "
            f"chance {first['chance']:.3f}"
            if first["chance"] is not None
            else part,
            emphasise=(0,),
        )
    chance = evaluated["all factors"]["model"]["chance"]
    if chance is not None:
        page.figure(precision_figure(evaluated["curves"], chance), "All factors.", "precision over recall")
    page.text(
        "`all factors` is fair where the list is whole (planted truth); `listed factors` where it is not. Nulls keep how "
        "many sites a factor has and how strong the peaks of a gene are, so with every factor kept they lie above chance."
    )
    found = evaluated["sign"]["factor"]
    if found["balanced_accuracy"] is not None:
        knocked = evaluated["sign"]["knockout"]["balanced_accuracy"]
        page.text(
            f"Sign of {found['n']:,} edges: balanced accuracy {found['balanced_accuracy']:.3f} by the factor, "
            + (
                f"{knocked:.3f} by the knock-out of all its peaks."
                if knocked is not None
                else "no knock-outs."
            )
        )


def _compared(page: Page, compared: Rows) -> None:
    page.section("Overlap with other networks")
    columns = ("network", "n_ours", "n_theirs", "n_shared", "expected", "fold", "p", "jaccard")
    more = ("sign_agreement", "spearman_of_strength")
    page.table(
        (*columns, *more),
        [[row[name] for name in columns] + [row.get(name) for name in more] for row in compared],
        "Over the factors that both have and the target genes. `expected` is the number shared by chance.",
    )
