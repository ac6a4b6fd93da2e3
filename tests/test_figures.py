"""The figures of the documentation are what their script draws, and are well-formed."""

from __future__ import annotations

import runpy
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.documents import REPOSITORY

FOLDER = REPOSITORY / "docs" / "figures"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", ["isoformer.svg", "dataflow.svg"])
def test_a_figure_is_what_its_script_draws(name: str) -> None:
    figures: dict[str, Any] = runpy.run_path(str(FOLDER / "draw.py"))["FIGURES"]
    assert set(figures) == {path.name for path in FOLDER.glob("*.svg")}
    drawn = figures[name]().svg()
    assert (FOLDER / name).read_text(encoding="utf-8") == drawn
    root = ElementTree.fromstring(drawn)
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    texts = root.findall(f"{SVG}text")
    assert len(texts) > 15 and root.find(f"{SVG}title") is not None
    for text in texts:
        # About half of the font size for a letter.
        reach = 0.5 * int(text.attrib["font-size"]) * len(text.text or "")
        left = float(text.attrib["x"]) - (reach / 2 if text.attrib["text-anchor"] == "middle" else 0)
        assert left >= 0 and left + reach <= width, text.text
        assert 0 < float(text.attrib["y"]) < height, text.text


def test_the_documents_show_the_figures() -> None:
    for document, prefix in (("README.md", "docs/figures"), ("docs/index.md", "figures")):
        shown = (REPOSITORY / document).read_text(encoding="utf-8")
        assert all(f"({prefix}/{name})" in shown for name in ("isoformer.svg", "dataflow.svg")), document
