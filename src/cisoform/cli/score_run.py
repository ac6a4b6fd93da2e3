"""What `score` does once its flags are read: score, compare, write tables and figures, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cisoform.cli.common import note, print_json, print_table, progress
from cisoform.cli.json_tables import json_tables
from cisoform.cli.regulation_reading import Opened, Selection, result_folder, write_tables
from cisoform.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from cisoform.analysis.epigenome import Measured
    from cisoform.jobs.score import ScoreConfig

_MANY_ROWS = 20_000_000


def run_score(
    opened: Opened,
    chosen: Selection,
    config: ScoreConfig,
    files: list[tuple[Path, str | None]],
    plot: str | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Score peaks, compare them with measured tracks, write and print.

    Args:
        opened: Model, data and groups.
        chosen: What the flags ask for.
        config: Variants and checks.
        files: To compare with, each for all groups or for one label.
        plot: Gene of the figure; None = that of the highest score.
        out: Folder; None = nothing is written.
        overwrite: Replace it.
        as_json: Print JSON in place of tables.

    Raises:
        InputError: A gene or file that does not fit.
    """
    from cisoform.jobs import score as job
    from cisoform.jobs import score_checks as checks
    from cisoform.jobs.readings import choose_genes

    reader, grouping = opened.reader, opened.grouping
    shown = None
    if plot is not None and chosen.data is not None:
        from cisoform.data.genes import GenesDataset

        shown = int(choose_genes(GenesDataset.open(chosen.data), [plot])[0])
        if shown not in opened.genes:
            raise InputError(f"--plot {plot}: is not among the chosen genes; add it to --genes")
    measured = checks.measure_all(files, reader, opened.genes)
    _say_size(opened)
    with progress("scoring") as update:
        table = job.score_peaks(reader, grouping, opened.genes, config, update)
    found = checks.agree(table, reader, grouping, opened.genes, config)
    compared = checks.compare_all(table, measured, grouping, config)
    names = job.named(table, reader, grouping, opened.ids)
    result = {
        "variant": _plain(config.variants),
        "layer": config.layer,
        "queries": config.queries,
        "sequence_only": chosen.sequence_only,
        "group_by": grouping.column,
        "n_genes": len(opened.genes),
        "n_rows": names.height,
        "seed": config.seed,
        **opened.provenance,
    }
    for text in found["warnings"]:
        note(f"warning: {text}")
    if out is not None:
        _write(
            out,
            overwrite,
            opened,
            table,
            names,
            measured,
            config,
            {**result, "compare": compared},
            found,
            shown,
        )
    if as_json:
        print_json(_json(opened, table, names, config, result, found, compared, out))
        return
    typer.echo(f"{out}: {names.height:,} scores of peaks of {len(opened.genes):,} genes")
    _print(found, compared)


def _plain(variants: tuple[str, ...]) -> str | list[str]:
    return variants[0] if len(variants) == 1 else list(variants)


def _say_size(opened: Opened) -> None:
    from cisoform.analysis.reader import LocusReader
    from cisoform.cli.common import bytes_text

    if isinstance(opened.reader, LocusReader):
        return
    n = int(opened.reader.dataset.index.count[opened.genes].sum()) * len(opened.grouping.labels)
    if n > _MANY_ROWS:
        note(
            f"the table will have {n:,} rows and take about {bytes_text(200 * n)} of memory; --group-by COLUMN or "
            "--genes make it smaller"
        )


def _json(
    opened: Opened,
    table: pl.DataFrame,
    names: pl.DataFrame,
    config: ScoreConfig,
    result: dict[str, Any],
    found: dict[str, Any],
    compared: list[dict[str, Any]],
    out: Path | None,
) -> dict[str, Any]:
    """Of a locus `variant`, `peaks` and `score` first; then the summary and the rows (`json_tables`)."""
    rest = {
        "agreement": found,
        "compare": compared,
        **json_tables({"rows": names}, out, {"rows": "scores.parquet"}),
    }
    if opened.ids is None:
        return {**result, **rest}
    scores = {name: table[f"score_{name}"].to_list() for name in config.variants}
    one = scores[config.variants[0]] if len(scores) == 1 else scores
    return {"variant": result["variant"], "peaks": opened.ids, "score": one, **{**result, **rest}}


def _write(
    out: Path,
    overwrite: bool,
    opened: Opened,
    table: pl.DataFrame,
    names: pl.DataFrame,
    measured: list[Measured],
    config: ScoreConfig,
    result: dict[str, Any],
    found: dict[str, Any],
    shown: int | None,
) -> None:
    from cisoform.cli.common import to_plain
    from cisoform.genome.files import write_json
    from cisoform.jobs.score_checks import draw_locus
    from cisoform.jobs.score_tracks import write_browser_tracks

    with result_folder(out, overwrite) as folder:
        write_tables(folder, {"scores": names})
        write_json(folder / "agreement.json", to_plain(found))
        write_json(folder / "score.json", to_plain(result))
        write_browser_tracks(folder, names, f"score_{config.variants[0]}")
        draw_locus(folder, table, names, opened.reader, measured, config, shown)


def _print(found: dict[str, Any], compared: list[dict[str, Any]]) -> None:
    print_table(
        ("within genes", "with accessibility", "with nearness", "deletion > random", "insertion > random"),
        _order_rows(found),
    )
    if found.get("faithfulness"):
        typer.echo(
            "deletion, insertion: how much more than in random order the prediction moves when peaks are closed, or "
            "opened, from the highest score down; a score that does not exceed accessibility and nearness orders peaks "
            "no better than these do without a model"
        )
    for part in compared:
        where = "" if part["group"] is None else f" in {part['group']}"
        typer.echo(f"{part['name']} ({part['kind']}{where}), {part['n_peaks']:,} peaks")
        keys = ("spearman", "partial_spearman", "auroc", "partial_auroc")
        print_table(
            ("", *(key.replace("_", " ") for key in keys)),
            [[name, *(_number(by.get(key)) for key in keys)] for name, by in part["scores"].items()],
        )


def _order_rows(found: dict[str, Any]) -> list[list[Any]]:
    """A row for every score, then accessibility and nearness as orders of their own."""
    followed = found.get("faithfulness", {})
    baselines = [name for name in ("accessibility", "nearness") if name in followed.get("deletion", {})]
    rows: list[list[Any]] = []
    for name in (*found["with"], *baselines):
        alike = [found["with"].get(name, {}).get(key, {}) for key in ("accessibility", "nearness")]
        moved = [followed.get(key, {}).get(name, {}) for key in ("deletion", "insertion")]
        rows.append(
            [
                name if name in found["with"] else f"{name} (baseline)",
                *(_number(one.get("spearman")) for one in alike),
                *(_number(one.get("above_random")) for one in moved),
            ]
        )
    return rows


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
