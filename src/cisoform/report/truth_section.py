"""One reading beside its planted answer: what it asks, figures, predictors in a table, the verdict, how to read it.

Takes results only. The verdict is made from the numbers: it says where a reading loses to a simple predictor, is no
better than chance, or misses its goal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cisoform.benchmark.planted import Measure
from cisoform.report.page import Page

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawn:
    """A figure, what it shows, and the same for those who do not see it."""

    figure: Figure
    caption: str
    alt: str


@dataclass(frozen=True)
class Listing:
    """A table of single predictions beside what was planted."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str


@dataclass(frozen=True, kw_only=True)
class TruthSection:
    """What a section shows.

    Attributes:
        title: Name of the reading.
        asks: What it asks, in a sentence.
        guidance: How to read it on data without an answer.
        measures: Scores beside baselines and chance.
        figures: In order.
        listings: In order.
        warnings: What to say first.
        commands: That do the same by hand.
    """

    title: str
    asks: str
    guidance: str
    measures: Sequence[Measure] = ()
    figures: Sequence[Drawn] = ()
    listings: Sequence[Listing] = ()
    warnings: Sequence[str] = ()
    commands: Sequence[str] = field(default_factory=tuple)


def add_truth_part(page: Page, prefix: str, section: TruthSection) -> None:
    """Append one reading."""
    page.section(f"{prefix}: {section.title}")
    page.text(section.asks)
    for text in section.warnings:
        page.warning(text)
    for drawn in section.figures:
        page.figure(drawn.figure, drawn.caption, drawn.alt)
    for measures in grouped(section.measures):
        header, rows = score_table(measures)
        page.table(header, rows, caption(measures), emphasise=(0,))
    for listing in section.listings:
        page.table(listing.header, listing.rows, listing.caption)
    if section.measures:
        _tell(page, section.measures)
    page.text(f"How to read it: {section.guidance}")
    if section.commands:
        page.code("\n".join(section.commands))


def grouped(measures: Sequence[Measure]) -> list[list[Measure]]:
    """Neighbours that stand beside the same baselines and nulls, and were read the same way."""
    found: list[list[Measure]] = []
    for one in measures:
        last = found[-1][-1] if found else None
        if last is not None and _beside(last) == _beside(one):
            found[-1].append(one)
        else:
            found.append([one])
    return found


def _beside(one: Measure) -> tuple[object, ...]:
    return one.way, frozenset(one.baselines), frozenset(one.nulls)


def score_table(measures: Sequence[Measure]) -> tuple[list[str], list[list[object]]]:
    """Predictors as rows (the reading, baselines from the strongest, what chance gives), measures as columns."""
    first = measures[0]
    way = f" ({first.way})" if first.way else ""
    rows: list[list[object]] = [[f"{first.reading}{way}", *(_number(one.value) for one in measures)]]
    order = sorted(first.baselines, key=lambda name: -_or_least(first.baselines[name]))
    rows += [[f"baseline: {name}", *(_number(one.baselines[name]) for one in measures)] for name in order]
    rows += [
        [f"chance: {name.removeprefix('null: ')}", *(_number(one.nulls[name]) for one in measures)]
        for name in first.nulls
    ]
    return ["", *(one.measure for one in measures)], rows


def _number(value: float) -> float | None:
    return float(value) if value == value else None


def _or_least(value: float) -> float:
    return value if value == value else -float("inf")


def caption(measures: Sequence[Measure]) -> str:
    """What was scored, and what was aimed at; more is better in all of them."""
    counts = list(dict.fromkeys(one.n for one in measures if one.n))
    goals = [f"{one.measure} {one.goal:g}" for one in measures if one.goal is not None]
    texts = [
        f"Scored: {'; '.join(counts)}." if counts else "",
        f"Goal: {'; '.join(goals)}." if goals else "",
        "More is better.",
    ]
    return " ".join(text for text in texts if text)


WORKED, SHORT, LOST = "worked", "short", "lost"


def verdict(one: Measure) -> tuple[str, str]:
    """Whether a measure is above every baseline and chance (`SHORT`) and reaches its goal too (`WORKED`), and words."""
    if one.value != one.value:
        return LOST, f"{one.measure}: nothing could be scored here"
    clauses, good = [], True
    best = one.best_baseline
    if best is not None:
        good = bool(one.wins)
        clauses.append(f"{'beats' if good else 'loses to'} `{best[0]}` ({best[1]:.3f})")
    nulls: Mapping[str, float] = {name: value for name, value in one.nulls.items() if value == value}
    if nulls:
        chance = max(nulls.values())
        above = one.value > chance
        good &= above
        clauses.append(f"is {'above' if above else 'no better than'} chance ({chance:.3f})")
    if one.goal is not None:
        clauses.append(f"{'reaches' if one.reached else 'misses'} the goal of {one.goal:g}")
    joined = ", ".join(clauses[:-1]) + (" and " if len(clauses) > 1 else "") + clauses[-1] if clauses else ""
    kind = LOST if not good else SHORT if one.reached is False else WORKED
    return kind, f"{one.measure}: {one.value:.3f} {joined}".rstrip()


def _tell(page: Page, measures: Sequence[Measure]) -> None:
    told = [verdict(one) for one in measures]
    kinds, rows = {kind for kind, _ in told}, [text for _, text in told]
    if kinds == {WORKED}:
        page.note("It worked.", rows)
    elif LOST not in kinds:
        page.warning("It worked, but misses its goal.", rows)
    elif kinds != {LOST}:
        page.warning("It worked in part.", rows)
    else:
        page.warning("It did not work here: a simple predictor or chance does as well.", rows)
