"""`cisoform regulation predict --locus-text`: one gene from the authors' text form, no data set needed."""

from __future__ import annotations

from pathlib import Path

import typer

from cisoform.cli.common import print_json, resolve_device


def predict_locus_text(
    model: Path, locus_text: Path, tss_peak: int, strand: str, *, device: str, as_json: bool
) -> None:
    """Predict one gene and print it.

    Args:
        model: Folder of a CREformer.
        locus_text: Peaks in the authors' form.
        tss_peak: Index of the peak nearest the TSS.
        strand: '+' or '-'.
        device: As everywhere.
        as_json: Print JSON.
    """
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
