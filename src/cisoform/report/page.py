"""One self-contained HTML page: sections of text, tables and figures, no file or network beside it.

Figures are matplotlib figures written as inline SVG; the same content gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cisoform.genome.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Page:
    """Collects sections in order and writes them as one HTML file."""

    def __init__(self, title: str, lead: str, footer: str = "Written by cisoform.") -> None:
        self.title, self.lead, self.footer = title, lead, footer
        self._sections: list[dict[str, Any]] = []

    def section(self, title: str) -> None:
        """Start a section; what follows is put into it."""
        self._sections.append({"title": title, "parts": []})

    def _add(self, html: str) -> None:
        if not self._sections:
            raise ValueError("start a section before adding to the page")
        self._sections[-1]["parts"].append(html)

    def heading(self, text: str) -> None:
        """A heading inside a section."""
        self._add(f"<h3>{escape(text)}</h3>")

    def text(self, text: str) -> None:
        """A paragraph; `code` in backticks is set as code."""
        self._add(f"<p>{_inline(text)}</p>")

    def note(self, text: str, rows: Sequence[str] = ()) -> None:
        """A boxed remark, with a list under it where there are rows."""
        self._add(f'<div class="note">{_inline(text)}{_listed(rows)}</div>')

    def warning(self, text: str, rows: Sequence[str] = ()) -> None:
        """A boxed warning, with a list under it where there are rows."""
        self._add(f'<div class="warn">{_inline(text)}{_listed(rows)}</div>')

    def code(self, text: str) -> None:
        """A block of commands."""
        self._add(f"<pre><code>{escape(text)}</code></pre>")

    def items(self, rows: Sequence[str]) -> None:
        """A bulleted list."""
        self._add(_listed(rows))

    def figure(self, figure: Figure, caption: str, alt: str) -> None:
        """A matplotlib figure as inline SVG; the figure is closed."""
        svg = figure_to_svg(figure, prefix=f"f{sum(len(s['parts']) for s in self._sections)}")
        below = f"<figcaption>{_inline(caption)}</figcaption>"
        self._add(f'<figure role="img" aria-label="{escape(alt)}">{svg}{below}</figure>')

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        caption: str = "",
        emphasise: Sequence[int] = (),
        folded: str = "",
    ) -> None:
        """A table; numbers are right-aligned with three decimals, rows in `emphasise` are marked as ours.

        A long one may be folded away under a line of text that opens it.
        """
        numeric = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(columns))]
        head = "".join(
            f'<th class="n">{escape(name)}</th>' if number else f"<th>{escape(name)}</th>"
            for name, number in zip(columns, numeric, strict=True)
        )
        body = []
        for index, row in enumerate(rows):
            cells = "".join(
                f'<td class="n">{format_value(value)}</td>' if number else f"<td>{_inline(str(value))}</td>"
                for value, number in zip(row, numeric, strict=True)
            )
            body.append(f'<tr class="ours">{cells}</tr>' if index in emphasise else f"<tr>{cells}</tr>")
        below = f"<caption>{_inline(caption)}</caption>" if caption else ""
        table = (
            f'<div class="tablewrap"><table>{below}<thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(body)}</tbody></table></div>"
        )
        self._add(f"<details><summary>{_inline(folded)}</summary>{table}</details>" if folded else table)

    def facts(self, facts: Mapping[str, object]) -> None:
        """Name and value pairs."""
        self.table(["what", "value"], [[name, str(value)] for name, value in facts.items()])

    def write(self, path: Path) -> None:
        """Write the page under its final name only when it is whole."""
        from jinja2 import Environment

        template = resources.files("cisoform.report").joinpath("page.html.j2").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        html = environment.from_string(template).render(
            title=self.title,
            lead=self.lead,
            footer=self.footer,
            sections=self._sections,
            navigation=navigation([section["title"] for section in self._sections]),
        )
        with atomic_write(path, "w") as handle:
            handle.write(html)


def escape(text: object) -> str:
    """HTML-safe text."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _listed(rows: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_inline(row)}</li>" for row in rows) + "</ul>" if rows else ""


def navigation(titles: Sequence[str]) -> list[tuple[str, list[tuple[int, str]]]]:
    """Numbers (from 1) and names of sections in groups: those that share the words before ": " with the one before.

    A page whose sections share no such words is one group without a name.
    """
    groups: list[tuple[str, list[tuple[int, str]]]] = []
    for place, title in enumerate(titles, start=1):
        group, found, rest = title.partition(": ")
        if not found:
            group, rest = "", title
        if not groups or groups[-1][0] != group:
            groups.append((group, []))
        groups[-1][1].append((place, rest))
    if all(len(links) == 1 or not group for group, links in groups):
        return [("", list(enumerate(titles, start=1)))]
    return groups


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def format_value(value: object) -> str:
    """Numbers for a table: integers whole, others with three decimals, missing as a dash."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return escape(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def figure_to_svg(figure: Figure, prefix: str) -> str:
    """Inline SVG without dates or random ids; ids get `prefix` so that figures of a page do not collide."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": prefix, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(id=")', rf"\1{prefix}-", svg)
    return re.sub(r'(url\(#|xlink:href="#)', rf"\1{prefix}-", svg)
