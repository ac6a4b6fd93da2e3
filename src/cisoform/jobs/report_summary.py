"""The page of `regulation report` as numbers: what `--json` prints and `report.json` holds."""

from __future__ import annotations

from typing import Any

from cisoform.report.readings_page import ReportResults
from cisoform.report.regulatory_page import RegulatoryResults, verdicts

PEAK_COLUMNS = ("gene", "group", "peak", "distance_kb", "accessibility", "ablation")
LINK_COLUMNS = ("gene", "peak", "distance_kb", "ablation", "group", "rank_by_accessibility_x_contact")
"""Of the rows of `peaks` and `links`."""


def summary(results: ReportResults) -> dict[str, Any]:
    """What `--json` prints: the numbers of every section of the page, in its order."""
    expression = results.expression
    return {
        "warnings": list(results.warnings),
        "facts": dict(results.facts),
        "coverage": {name: value for name, value, _ in results.coverage},
        "expression": None if expression is None else _of_expression(expression),
        "agreement": dict(results.agreement),
        "peaks": [dict(zip(PEAK_COLUMNS, row, strict=True)) for row in results.peaks],
        "links": [dict(zip(LINK_COLUMNS, row, strict=True)) for row in results.links],
        "knockout": None if results.knockout is None else [vars(row) for row in results.knockout],
        "commands": list(results.commands),
    }


def _of_expression(results: RegulatoryResults) -> dict[str, Any]:
    """The evaluation, with the part that decides and what the page says of each baseline."""
    said = [{"text": one.text, "won": one.won, "decided": one.decided} for one in verdicts(results)]
    return {"headline": results.headline, "verdicts": said, **results.evaluation}
