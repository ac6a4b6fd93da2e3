"""`cisoform regulation predict`: one gene from the authors' text form, no data set needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cisoform.cli.common import DeviceOption, JsonOption, print_json, resolve_device


def add_commands(app: typer.Typer) -> None:
    """Put `predict` into the app of `cisoform regulation`."""
    app.command(
        "predict",
        epilog="Example: cisoform regulation predict model --locus-text gata1.txt.gz --tss-peak 20 --strand +",
    )(predict)


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Converted or fitted CREformer.")],
    locus_text: Annotated[
        Path,
        typer.Option(
            "--locus-text", metavar="FILE", help="Three lines a peak: >id, bases, signal; gzip or not."
        ),
    ],
    tss_peak: Annotated[int, typer.Option("--tss-peak", help="Index (from 0) of the peak nearest the TSS.")],
    strand: Annotated[str, typer.Option("--strand", metavar="+|-", help="Strand of the gene.")],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Predict the expression of one gene from its peaks."""
    from cisoform.data.locus_text import read_locus_text
    from cisoform.jobs.creformer_model import CREformerModel, predict_locus

    locus = read_locus_text(locus_text)
    resolve_device(device)
    found = predict_locus(CREformerModel.load(model, device), locus, tss_peak, strand)
    if as_json:
        print_json({"expression": found.expression, "peaks": found.peaks, "tss_peak": found.tss_peak})
        return
    typer.echo(
        f"expression {found.expression:.6f} from {len(found.peaks)} peaks, TSS at {found.peaks[tss_peak]}"
    )
