"""Who wins, in words: sentences about a score and its rivals, made from the numbers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cisoform.report.page import Page


@dataclass(frozen=True)
class Verdict:
    """How a model compares with its strongest rival in one score, where more is better.

    Attributes:
        what: The score.
        ours: The model's; NaN = it has none.
        rival: Name of the strongest rival; None = there is none with a score.
        theirs: Its score.
    """

    what: str
    ours: float
    rival: str | None
    theirs: float

    @property
    def decided(self) -> bool:
        """Whether both sides have a score."""
        return self.rival is not None and not math.isnan(self.ours)

    @property
    def won(self) -> bool:
        """Whether the model is strictly better."""
        return self.decided and self.ours > self.theirs

    @property
    def text(self) -> str:
        """One clause: who leads, and both numbers."""
        if not self.decided:
            return f"{self.what}: nothing to compare"
        verb = "beats" if self.won else "loses to"
        return f"{self.what}: the model {verb} `{self.rival}` ({self.ours:.3f} against {self.theirs:.3f})"


def compare(what: str, ours: float | None, rivals: Mapping[str, float | None]) -> Verdict:
    """The model beside the strongest of its rivals; rivals without a score take no part."""
    known = {name: value for name, value in rivals.items() if number(value) == number(value)}
    mine = number(ours)
    if not known:
        return Verdict(what, mine, None, float("nan"))
    name = max(known, key=lambda key: number(known[key]))
    return Verdict(what, mine, name, number(known[name]))


def number(value: Any) -> float:
    """A score as a float; NaN where it is missing."""
    return float("nan") if value is None else float(value)


def tell(page: Page, verdicts: list[Verdict], advice: str = "") -> None:
    """A box that lists the comparisons: a warning as soon as one is lost, and then with advice."""
    decided = [verdict for verdict in verdicts if verdict.decided]
    lost = [verdict for verdict in decided if not verdict.won]
    if not decided:
        page.note("No baseline has a score here, so nothing can be compared.")
        return
    won = [verdict for verdict in decided if verdict.won]
    rows = [_sentence(verdict.text) for verdict in [*lost, *won]]
    count = f"{len(decided)} comparison{'s' if len(decided) > 1 else ''}"
    if lost:
        page.warning(f"The model loses {len(lost)} of {count}. {advice}".strip(), rows)
    else:
        page.note(f"The model wins {'all ' if len(decided) > 1 else 'the '}{count}.", rows)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
