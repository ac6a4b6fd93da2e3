"""What `cisoform regulation links` does in each of its ways, and how results are written and printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cisoform.cli.common import note, print_json, print_table, progress
from cisoform.cli.json_tables import json_tables
from cisoform.cli.regulation_reading import Selection, open_selection, result_folder, write_tables
from cisoform.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from cisoform.jobs.link_reading import LinkConfig


@dataclass(frozen=True)
class Shown:
    """Where results go, and how often genes are resampled."""

    out: Path | None
    overwrite: bool
    draws: int
    seed: int
    as_json: bool

    def needs_place(self, what: str) -> None:
        """Refuse to compute what goes nowhere.

        Raises:
            InputError: Neither --out nor --json was given.
        """
        if self.out is None and not self.as_json:
            raise InputError(f"{what}; give --out DIR (or --json)")


def run_baselines(path: Path, genome: Path | None, shown: Shown) -> None:
    """`--baselines-only`."""
    from cisoform.jobs.links import evaluated, open_pairs

    _show(evaluated(open_pairs(path, genome), {}, n_draws=shown.draws, seed=shown.seed), None, shown)


def run_train(path: Path, genome: Path | None, columns: list[str], shown: Shown) -> None:
    """`--combine --train`."""
    from cisoform.jobs.links import open_pairs, train_combined

    if shown.out is None:
        raise InputError("--train needs --out DIR, where the model goes")
    pairs = open_pairs(path, genome, columns)
    with result_folder(shown.out, shown.overwrite) as folder:
        result = train_combined(pairs, columns, folder, n_draws=shown.draws, seed=shown.seed)
        _write(folder, result, None)
    _print(result, shown.as_json)


def run_combine(model: Path | None, path: Path, genome: Path | None, shown: Shown) -> None:
    """`--combine`."""
    from cisoform.jobs.links import combine, open_combined, open_pairs

    combined = open_combined(model)
    pairs = open_pairs(path, genome, combined.columns)
    if pairs.regulated is None:
        shown.needs_place(f"{path}: has no column 'Regulated' to score")
    found = combine(pairs, combined, n_draws=shown.draws, seed=shown.seed)
    result: dict[str, Any] = {"combined_model": found.about, "n_rows": found.links.height}
    result |= found.result or {"notes": list(pairs.notes)}
    result["notes"] = [*result["notes"], *found.notes]
    _show(result, found.links, shown)


def run_reading(
    chosen: Selection, config: LinkConfig, path: Path | None, genome: Path | None, shown: Shown
) -> None:
    """Links from the scores of a model, on tested pairs if there are any."""
    from cisoform.benchmark.links import score_pairs
    from cisoform.jobs.link_reading import predictions_of, read_links, tested_here
    from cisoform.jobs.links import evaluated, open_pairs

    if path is None:
        shown.needs_place("links are a table")
    pairs = None if path is None else open_pairs(path, genome)
    if pairs is not None:
        pairs.truth()
    opened = open_selection(chosen)
    with progress("scoring") as update:
        table = read_links(opened.reader, opened.grouping, opened.genes, config, update)
    result: dict[str, Any] = {
        "variant": list(config.variants),
        "normalise": config.normalise,
        "adjust": config.adjust,
        "n_genes": len(opened.genes),
        "n_rows": table.height,
        "notes": [],
        **opened.provenance,
    }
    tested: dict[str, Any] = {}
    if pairs is not None:
        some, left, notes = tested_here(pairs, table, str(chosen.data or chosen.locus_text))
        predictions = predictions_of(table, config, some)
        result |= evaluated(some, predictions, n_draws=shown.draws, seed=shown.seed)
        result |= {"left_out": left, "notes": [*result["notes"], *notes]}
        tested = {
            "pairs": some,
            "scores": {name: score_pairs(part, some) for name, part in predictions.items()},
        }
    _show(result, table, shown, tested)


def _show(
    result: dict[str, Any],
    table: pl.DataFrame | None,
    shown: Shown,
    tested: Mapping[str, Any] | None = None,
) -> None:
    """Files into OUT, then the result on stdout; rows of links are in the JSON (`json_tables`)."""
    from cisoform.jobs.link_files import write_scored_pairs

    if shown.out is not None:
        with result_folder(shown.out, shown.overwrite) as folder:
            _write(folder, result, table)
            if tested:
                write_scored_pairs(folder, tested["pairs"], tested["scores"])
    if table is not None and shown.as_json:
        result = {**result, **json_tables({"rows": table}, shown.out, {"rows": "links.parquet"})}
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
    for text in result["notes"]:
        note(text)
    if as_json:
        print_json(result)
        return
    if "baselines" not in result:
        typer.echo(f"{result['n_rows']:,} links; nothing to score them on")
        return
    for name, part in {"": result, **result.get("cell_types", {})}.items():
        _print_part(name, part)
    if result["draws"]:
        _print_nulls(result)


def _print_part(name: str, part: Mapping[str, Any]) -> None:
    from cisoform.jobs.links import summary_header, summary_rows

    counts, window = part["counts"], part["window"]
    typer.echo(
        f"{name + ': ' if name else ''}{counts['pairs']:,} pairs, {counts['positives']:,} regulated (prevalence "
        f"{counts['prevalence']:.3f}); {window['positives']:,} of these within {window['bp'] // 1000} kb"
    )
    if "covered" in part:
        covered = part["covered"]
        typer.echo(
            f"a score for {covered['pairs']:,} pairs, {covered['positives']:,} of them regulated: the most that can be "
            f"recalled is {covered['share_of_positives']:.2f}; pairs without one rank last"
        )
    print_table(summary_header(part), summary_rows(part))


def _print_nulls(result: Mapping[str, Any]) -> None:
    """What permuted answers give: chance, and what a gene's number of positives alone is worth."""
    for name, found in result["predictors"].items():
        texts = [
            f"{found[key]['auprc']:.3f} [{found[key]['low']:.3f}, {found[key]['high']:.3f}]"
            for key in ("permuted", "permuted_within_genes")
        ]
        typer.echo(f"{name} with permuted answers: AUPRC {texts[0]}; permuted within genes {texts[1]}")
    typer.echo(f"low and high: 95 % over {result['draws']:,} draws of whole genes, seed {result['seed']}")
