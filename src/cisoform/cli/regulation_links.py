"""`cisoform regulation links`: which element acts on which gene, scored on pairs that CRISPR has tested."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli.common import JsonOption, SeedOption, note, print_json, print_table
from cisoform.cli.regulation_reading import (
    OutDirOption,
    OverwriteOption,
    check_out,
    result_folder,
    write_tables,
)
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.data.tested_pairs import TestedPairs


def add_commands(app: typer.Typer) -> None:
    """Register `links`."""
    app.command(
        epilog="Example: cisoform regulation links --baselines-only --evaluate training_K562.GRCh38.tsv.gz"
    )(links)


def links(
    baselines_only: Annotated[
        bool,
        typer.Option("--baselines-only", help="Score the simple baselines on the table; needs no MODEL."),
    ] = False,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            "--evaluate",
            metavar="CRISPR_TSV",
            help="Tested pairs in the columns of the CRISPR benchmark (EngreitzLab/CRISPR_comparison).",
        ),
    ] = None,
    genome: Annotated[
        Path | None,
        typer.Option(
            "--genome", metavar="FASTA", help="Genome of the table, to check that coordinates fit it."
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", min=0, help="Bootstrap draws of whole genes; 0 = no intervals.")
    ] = 1000,
    out: OutDirOption = None,
    overwrite: OverwriteOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Score links of elements and genes on tested pairs, beside distance, accessibility and the ABC numerator.

    Figures are areas under the curve (ties step at once), precision at 70 % recall and the rank of the true element
    within its gene, over all pairs and over those within 150 kb, which is all that the window of a model can see;
    intervals resample whole genes.
    """
    from cisoform.jobs.links import open_pairs

    if not baselines_only:
        raise InputError("give --baselines-only")
    if evaluate is None:
        raise InputError("--baselines-only needs --evaluate CRISPR_TSV, the pairs to score them on")
    check_out(out, overwrite)
    pairs = open_pairs(evaluate, genome)
    _evaluate(pairs, {}, draws, seed, out, overwrite, as_json)


def _evaluate(
    pairs: TestedPairs,
    predictors: dict[str, Any],
    draws: int,
    seed: int,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    from cisoform.benchmark.links import score_table
    from cisoform.cli.common import to_plain
    from cisoform.genome.files import write_json
    from cisoform.jobs.links import SUMMARY, evaluated, summary_rows

    result = evaluated(pairs, predictors, n_draws=draws, seed=seed)
    for text in pairs.notes:
        note(text)
    if out is not None:
        with result_folder(out, overwrite) as folder:
            write_tables(folder, {"scores": score_table(result)})
            write_json(folder / "links.json", to_plain(result))
    if as_json:
        print_json(result)
        return
    counts, window = result["counts"], result["window"]
    typer.echo(
        f"{counts['pairs']:,} pairs, {counts['positives']:,} regulated (prevalence {counts['prevalence']:.3f}); "
        f"{window['positives']:,} of these within {window['bp'] // 1000} kb"
    )
    print_table(SUMMARY, summary_rows(result))
