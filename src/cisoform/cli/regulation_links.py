"""`cisoform regulation links`: which element acts on which gene, scored on pairs that CRISPR has tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli.common import JsonOption, SeedOption, note, print_json, print_table, split_list
from cisoform.cli.regulation_reading import (
    OutDirOption,
    OverwriteOption,
    check_out,
    result_folder,
    write_tables,
)
from cisoform.errors import InputError

if TYPE_CHECKING:
    import polars as pl


def add_commands(app: typer.Typer) -> None:
    """Register `links`."""
    app.command(
        epilog="Example: cisoform regulation links --baselines-only --evaluate training_K562.GRCh38.tsv.gz; "
        "or cisoform regulation links --combine --evaluate pairs.tsv --out scored"
    )(links)


def links(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]",
            help="With --combine the folder of a --train (default: the model that comes with the package).",
        ),
    ] = None,
    baselines_only: Annotated[
        bool,
        typer.Option("--baselines-only", help="Score the simple baselines on the table; needs no MODEL."),
    ] = False,
    combine: Annotated[
        bool,
        typer.Option(
            "--combine",
            help="Score a small calibrated model over the table's own columns: signals, distance, neighbours.",
        ),
    ] = False,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            "--evaluate",
            metavar="CRISPR_TSV",
            help="Tested pairs in the columns of the CRISPR benchmark (EngreitzLab/CRISPR_comparison).",
        ),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            "--train",
            metavar="CRISPR_TSV",
            help="With --combine: fit the model anew on this table, by chromosome cross-validation, into OUT.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="A,B,...",
            help="With --train: further columns of numbers to use as features.",
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
    intervals resample whole genes. Of a table without the column Regulated, --combine writes the chances alone.
    """
    check_out(out, overwrite)
    shown = _Shown(out, overwrite, draws, seed, as_json)
    if train is None and columns is not None:
        raise InputError(f"--columns {columns}: is of use with --train alone; leave it out")
    if baselines_only == combine:
        raise InputError("give one of --baselines-only and --combine")
    if baselines_only:
        if model is not None or train is not None:
            raise InputError("--baselines-only takes neither MODEL nor --train; leave them out")
        _baselines(_needed(evaluate, "--baselines-only"), genome, shown)
    elif train is not None:
        if model is not None or evaluate is not None:
            raise InputError("--train takes neither MODEL nor --evaluate: it scores left-out chromosomes")
        _train(train, genome, split_list(columns) or [], shown)
    else:
        _combine(model, _needed(evaluate, "--combine"), genome, shown)


@dataclass(frozen=True)
class _Shown:
    """Where results go, and how often genes are resampled."""

    out: Path | None
    overwrite: bool
    draws: int
    seed: int
    as_json: bool


def _needed(path: Path | None, flag: str) -> Path:
    if path is None:
        raise InputError(f"{flag} needs --evaluate CRISPR_TSV, the pairs to score")
    return path


def _baselines(path: Path, genome: Path | None, shown: _Shown) -> None:
    from cisoform.jobs.links import evaluated, open_pairs

    result = evaluated(open_pairs(path, genome), {}, n_draws=shown.draws, seed=shown.seed)
    _show(result, None, shown)


def _train(path: Path, genome: Path | None, columns: list[str], shown: _Shown) -> None:
    from cisoform.jobs.links import open_pairs, train_combined

    if shown.out is None:
        raise InputError("--train needs --out DIR, where the model goes")
    pairs = open_pairs(path, genome, columns)
    with result_folder(shown.out, shown.overwrite) as folder:
        result = train_combined(pairs, columns, folder, n_draws=shown.draws, seed=shown.seed)
        _write(folder, result, None)
    _print(result, shown.as_json)


def _combine(model: Path | None, path: Path, genome: Path | None, shown: _Shown) -> None:
    from cisoform.jobs.links import combine, open_combined, open_pairs

    combined = open_combined(model)
    pairs = open_pairs(path, genome, combined.columns)
    if pairs.regulated is None and shown.out is None and not shown.as_json:
        raise InputError(
            f"{path}: has no column 'Regulated' to score; give --out DIR (or --json) for the chances"
        )
    found = combine(pairs, combined, n_draws=shown.draws, seed=shown.seed)
    extra: dict[str, Any] = {"combined_model": found.about}
    if found.result is None:
        extra |= {"n_rows": found.links.height, "notes": [*pairs.notes, *found.notes]}
        rows = {"rows": found.links.to_dicts()} if shown.as_json and shown.out is None else {}
        _show({**extra, **rows}, found.links, shown)
        return
    result = {**found.result, **extra, "notes": [*found.result["notes"], *found.notes]}
    _show(result, found.links, shown)


def _show(result: dict[str, Any], table: pl.DataFrame | None, shown: _Shown) -> None:
    """Files into OUT, then the result on stdout."""
    if shown.out is not None:
        with result_folder(shown.out, shown.overwrite) as folder:
            _write(folder, result, table)
    _print(result, shown.as_json)


def _write(folder: Path, result: Mapping[str, Any], table: pl.DataFrame | None) -> None:
    from cisoform.benchmark.links import score_table
    from cisoform.cli.common import to_plain
    from cisoform.genome.files import write_json
    from cisoform.jobs.link_files import write_links

    if "baselines" in result:
        write_tables(folder, {"scores": score_table(result)})
    if table is not None:
        write_tables(folder, {"links": table})
        write_links(folder, table)
    write_json(folder / "links.json", to_plain(result))


def _print(result: Mapping[str, Any], as_json: bool) -> None:
    from cisoform.jobs.links import SUMMARY, summary_rows

    for text in result["notes"]:
        note(text)
    if as_json:
        print_json(result)
        return
    if "baselines" not in result:
        typer.echo(f"{result['n_rows']:,} links; no column 'Regulated', so nothing is scored")
        return
    for name, part in {"": result, **result.get("cell_types", {})}.items():
        counts, window = part["counts"], part["window"]
        typer.echo(
            f"{name + ': ' if name else ''}{counts['pairs']:,} pairs, {counts['positives']:,} regulated (prevalence "
            f"{counts['prevalence']:.3f}); {window['positives']:,} of these within {window['bp'] // 1000} kb"
        )
        print_table(SUMMARY, summary_rows(part))
