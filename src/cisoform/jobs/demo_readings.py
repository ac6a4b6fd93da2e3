"""The readings of the demo: every one on the model that it fitted, with the planted truth beside.

`SECTIONS` is the list, in the order of the page. A reading that cannot be done says why and stops no
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cisoform.benchmark.planted import Measure
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.jobs import demo_factors, demo_locus, demo_peaks, demo_states, regulation_benchmark
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.demo_stage import Stage
from cisoform.jobs.planted import Planted
from cisoform.report.page import Page
from cisoform.report.readings_page import add_truth_section
from cisoform.report.truth_section import TruthSection, add_truth_part

SMOKE_FACTORS = 2
Section = Callable[[Planted, Path], list[TruthSection]]
SECTIONS: Mapping[str, Section] = {
    "score, links": lambda planted, folder: demo_peaks.peaks(planted),
    "knockout": lambda planted, folder: demo_factors.knockout(planted),
    "knockin": lambda planted, folder: demo_factors.knockin(planted),
    "grn": lambda planted, folder: demo_factors.network(planted),
    "masters, features": lambda planted, folder: demo_states.masters(planted),
    "transition": lambda planted, folder: demo_states.transition(planted),
    "targets": demo_states.targets,
    "variants": lambda planted, folder: demo_peaks.variants(planted),
    "locus": demo_locus.locus,
}
"""By name, what reads; its folder is for files of its own."""


@dataclass(frozen=True)
class Readings:
    """What the sections show.

    Attributes:
        content: As `benchmark regulation` writes it.
        sections: In the order of the page.
        failed: By name of a reading, why it could not be done.
    """

    content: dict[str, Any]
    sections: tuple[TruthSection, ...]
    failed: dict[str, str]


def read(stage: Stage, folder: Path, seed: int) -> Readings:
    """Read `folder/fitted` on `folder/genes` and hold it against the simulation in `folder/input`.

    Raises:
        InputError: The model or the data cannot be opened.
    """
    planted = Planted.open(
        CREformerModel.load(folder / "fitted", stage.device),
        GenesDataset.open(folder / "genes"),
        folder / "input",
        cache=folder / "cache",
        variants=("ablation", "exact"),
        edits=("around motif, p 1e-5",),
        most_factors=SMOKE_FACTORS if stage.smoke else None,
        n_controls=0,
        seed=seed,
    )
    own = folder / "readings"
    own.mkdir(exist_ok=True)
    sections, failed = [], {}
    for name, section in SECTIONS.items():
        with stage.timed(f"reading: {name}", f"reading {name}, beside the planted truth"):
            try:
                sections += section(planted, own)
            except (InputError, ValueError) as error:
                failed[name] = str(error)
    measures: list[Measure] = [one for section in sections for one in section.measures]
    taken = {name: seconds for name, seconds in stage.seconds.items() if name.startswith("reading: ")}
    return Readings(regulation_benchmark.content_of(planted, measures, taken), tuple(sections), failed)


def add_sections(page: Page, title: str, readings: Readings) -> None:
    """Append the table of all readings, then each by itself."""
    rows = regulation_benchmark.table_rows(readings.content)
    keep = [
        place
        for place, name in enumerate(regulation_benchmark.HEADER)
        if name not in ("rule off", "validation")
    ]
    header = [regulation_benchmark.HEADER[place] for place in keep]
    lost = regulation_benchmark.lost(readings.content)
    add_truth_section(
        page, f"{title}: At a glance", header, [[row[place] for place in keep] for row in rows], lost
    )
    page.text(
        "`masters`, `features` and `transition` ask about factors, not genes, and are read on all chromosomes. "
        "The model was trained for minutes: docs/results/readings.md says what a longer training reaches."
    )
    for name, reason in readings.failed.items():
        page.warning(f"The reading `{name}` could not be done here: {reason}")
    page.text(
        "All of the readings that have one answer for every model, with chosen ways, nulls and goals, in one command:"
    )
    page.code(
        "cisoform benchmark regulation fitted --data genes --simulation sim/regulation --out readings\n"
        "cisoform regulation report fitted --data genes --motifs sim/regulation/motifs.meme --out page"
    )
    for section in readings.sections:
        add_truth_part(page, title, section)
