"""`benchmark regulation` without the command line: readings against planted answers as one table, with controls."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from cisoform import __version__
from cisoform.benchmark.planted import Measure
from cisoform.jobs.planted import Planted
from cisoform.jobs.planted_readings import Reading

HEADER = (
    "reading",
    "measure",
    "way, chosen on validation",
    "validation",
    "test",
    "goal",
    "goal reached",
    "strongest baseline",
    "above it",
    "chance",
    "rule off",
)


def run_readings(planted: Planted, readings: Mapping[str, Reading]) -> tuple[list[Measure], dict[str, float]]:
    """Measures of every reading, and the seconds that each took."""
    found, seconds = [], {}
    for name, reading in readings.items():
        begun = time.monotonic()
        found += reading(planted)
        seconds[name] = time.monotonic() - begun
    return found, seconds


def content_of(
    planted: Planted,
    measures: Sequence[Measure],
    seconds: Mapping[str, float],
    control: Sequence[Measure] | None = None,
) -> dict[str, Any]:
    """All that the command writes.

    Args:
        planted: What was scored.
        measures: Of `run_readings`.
        seconds: Likewise.
        control: The same of the rule-off control; None = there is none.
    """
    off = {(one.reading, one.measure): one for one in control or ()}
    rows = []
    for one in measures:
        row = one.plain()
        if control is not None:
            other = off.get((one.reading, one.measure))
            row["rule_off"] = None if other is None else other.value
        rows.append(row)
    about = planted.model.about
    return {
        "rows": rows,
        "seconds": dict(seconds),
        "seed": planted.seed,
        "model": {key: about.get(key) for key in ("recipe", "seed", "dataset_hash", "elementary")},
        "dataset_hash": planted.dataset.hash,
        "simulation": planted.truth["config"],
        "attainable": planted.truth["attainable"],
        "cisoform": __version__,
    }


def table_rows(content: Mapping[str, Any]) -> list[list[Any]]:
    """Rows under `HEADER`."""
    return [_row(row) for row in content["rows"]]


def _row(row: Mapping[str, Any]) -> list[Any]:
    known = {name: value for name, value in row["baselines"].items() if value == value}
    best = max(known, key=lambda name: known[name]) if known else None
    nulls = [value for value in row["nulls"].values() if value == value]
    return [
        row["reading"],
        row["measure"],
        row["way"],
        row["valid"],
        row["value"],
        row["goal"],
        _word(row["reached"], "reached", "missed"),
        "" if best is None else f"{best} {known[best]:.3f}",
        _word(row["wins"], "yes", "no"),
        max(nulls) if nulls else None,
        row.get("rule_off"),
    ]


def _word(value: bool | None, yes: str, no: str) -> str:
    return "" if value is None else yes if value else no


def lost(content: Mapping[str, Any]) -> list[str]:
    """In words, where a reading does not beat a simple baseline, or misses its goal."""
    said = []
    for row in content["rows"]:
        of = f"{row['reading']}, {row['measure']}"
        if row["wins"] is False:
            name, value = max(row["baselines"].items(), key=lambda item: item[1])
            said.append(f"{of}: {row['value']:.3f} does not beat `{name}` ({value:.3f})")
        if row["reached"] is False:
            said.append(f"{of}: {row['value']:.3f}, the goal of {row['goal']:g} is missed")
    return said


def markdown(content: Mapping[str, Any]) -> str:
    """The table with what was run above it, and under it every baseline and null."""
    config = content["simulation"]
    lines = [
        f"Simulation of {config['n_genes']} genes, seed {config['seed']}; model recipe {content['model']['recipe']}, "
        f"seed {content['model']['seed']}; data {content['dataset_hash'][:12]}; cisoform {content['cisoform']}.",
        "",
        *_table(HEADER, table_rows(content)),
        "",
    ]
    for row in content["rows"]:
        for what in ("baselines", "nulls"):
            if row[what]:
                each = "; ".join(f"{name} {_text(value)}" for name, value in row[what].items())
                lines.append(f"- {row['reading']}, {row['measure']} ({row['n']}), {what}: {each}")
    return "\n".join([*lines, "", *(f"- **{text}**" for text in lost(content))]).rstrip() + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[_text(value) for value in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(header), ["---"] * len(header), *cells]]


def _text(value: Any) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
