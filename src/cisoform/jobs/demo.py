"""The demo: genomes with planted rules from files to trained, scored and explained models, and one page on them.

It has two halves, of isoforms and of regulation. Each writes its files under `out` with the same functions as the
commands, and the page shows the commands that would do it by hand. A half that fails does not stop the other.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cisoform.errors import InputError
from cisoform.jobs.demo_isoform import run_isoform
from cisoform.jobs.demo_regulation import run_regulation
from cisoform.jobs.demo_stage import Say, Stage, silent
from cisoform.report.page import Page
from cisoform.training.protocols import Progress

MARK = ".cisoform-demo"
HALVES = ("isoform", "regulation")
TITLES = {"isoform": "Isoforms", "regulation": "Regulation"}
LEADS = {
    "isoform": "From a genome, an annotation and an expression table to a trained IsoFormer, scored beside simple "
    "baselines: first on a simulated genome whose rules are known, then on real yeast.",
    "regulation": "From bigWigs and a multiome of a simulated genome whose rules are known to a CREformer in two "
    "stages, pre-trained on DNA and tracks and fitted to the expression of genes in cell types, each scored beside "
    "simple baselines.",
}


def run_demo(
    out: Path,
    yeast: Path | None,
    smoke: bool = False,
    device: str = "auto",
    say: Say | None = None,
    progress: Callable[[], Progress] | None = None,
    half: str = "both",
) -> dict[str, Any]:
    """Run the demo and write `out/report.html`, with what there is even if a half fails.

    Args:
        out: Folder for everything; one that an earlier demo wrote is replaced, any other must be empty.
        yeast: The yeast pack, or None to leave it out.
        smoke: Train for seconds only, to show that every step works.
        device: As `resolve_device` takes it.
        say: Called with a line before each step.
        progress: Makes what shows a training run.
        half: "isoform", "regulation" or "both".

    Returns:
        Scores and seconds of each part, where the page is, and in `failed` the message of each half that did not
        come to its end.

    Raises:
        InputError: If `out` holds something else, or there is no such half.
    """
    wanted = HALVES if half == "both" else (half,)
    unknown = [name for name in wanted if name not in HALVES]
    if unknown:
        raise InputError(f"--half {unknown[0]!r} is unknown; choose from {', '.join((*HALVES, 'both'))}")
    _empty(out)
    page = Page("cisoform demo", " ".join(LEADS[name] for name in wanted))
    stage = Stage(out, page, smoke, device, say or silent, progress)
    summary: dict[str, Any] = {"report": str(out / "report.html"), "smoke": smoke, "failed": {}}
    begun = time.monotonic()
    try:
        for name in wanted:
            try:
                summary |= run_isoform(stage, yeast) if name == "isoform" else run_regulation(stage)
            except (InputError, OSError) as error:
                summary["failed"][name] = str(error)
                _tell_failure(page, name, error)
    finally:
        page.write(out / "report.html")
    summary["seconds"] = time.monotonic() - begun
    return summary


def _tell_failure(page: Page, name: str, error: Exception) -> None:
    page.section(f"{TITLES[name]}: this half failed")
    page.warning(
        f"It stopped with: {error}. What is above was written before; nothing below is missing from the other half. "
        f"When the cause is mended, `cisoform demo --half {name}` runs this half alone."
    )


def _empty(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        if not (out / MARK).exists():
            raise InputError(f"{out}: is not empty and was not written by the demo; give another --out")
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MARK).write_text("written by cisoform demo; replaced by the next one\n")
    except FileExistsError:
        raise InputError(f"{out}: is a file; give the name of a folder with --out") from None
