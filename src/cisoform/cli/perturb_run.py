"""What `knockout` and `knockin` do once peaks are chosen: predict with progress, write tables, print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cisoform.cli import regulation_reading as reading
from cisoform.cli.common import note, print_json, print_table, progress, split_list
from cisoform.cli.json_tables import json_tables

if TYPE_CHECKING:
    import polars as pl

    from cisoform.analysis.perturbation import SignalEdit
    from cisoform.cli.regulation_reading import Opened
    from cisoform.features.states import Update
    from cisoform.jobs.chosen_peaks import ChosenPeaks

_SHOWN = 20
_FILES = {"rows": "effects.parquet", "rounds_rows": "rounds.parquet"}


def run_insert(opened: Opened, path: Path, out: Path | None, overwrite: bool, as_json: bool) -> None:
    """Add peaks to a locus and predict before and after."""
    from cisoform.analysis.reader import LocusReader
    from cisoform.jobs.chosen_peaks import ChosenPeaks
    from cisoform.jobs.perturbation import insert_into

    assert isinstance(opened.reader, LocusReader)
    table, kept, dropped = insert_into(opened.reader, path)
    if dropped:
        note(
            f"beyond the {opened.model.model.config.max_peaks} peaks that the model reads: {', '.join(dropped)}"
        )
    result = {"perturbation": "insert", "inserted": kept, "dropped": dropped, **opened.provenance}
    peaks = ChosenPeaks.of_ids(kept)
    _write({"effects": table, "peaks": peaks.table}, result, out, overwrite, opened.grouping.column)
    if as_json:
        print_json({**result, **json_tables({"rows": table}, out, _FILES)})
        return
    print_table(table.columns, table.rows())
    _say(table.height, out)


def run_perturbation(
    opened: Opened,
    edit: SignalEdit,
    peaks: ChosenPeaks,
    what: dict[str, Any],
    controls: int,
    seed: int,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
    rounds: Callable[[Update], pl.DataFrame] | None = None,
) -> None:
    """Edit all chosen peaks at once, beside controls."""
    from cisoform.jobs.perturbation import perturb

    with progress("predicting") as update:
        found = perturb(
            opened.reader,
            opened.grouping,
            opened.genes,
            edit,
            n_controls=controls,
            seed=seed,
            update=update,
        )
    result = {
        **what,
        "n_peaks": len(peaks.peaks),
        "n_controls": controls,
        "seed": seed,
        "expression": opened.model.about.get("expression"),
        **opened.provenance,
        "groups": found.groups.to_dicts(),
    }
    for row in result["groups"]:
        if row["genes"] > row["genes_with_controls"] and controls:
            missing = row["genes"] - row["genes_with_controls"]
            note(
                f"{row[opened.grouping.column]}: {missing:,} of {row['genes']:,} genes have fewer other peaks "
                "than edited ones, so no controls"
            )
    tables = {"effects": found.table, "peaks": peaks.table, "groups": found.groups}
    shown = {"rows": found.table}
    if rounds is not None:
        with progress("propagating") as update:
            tables["rounds"] = rounds(update)
        shown["rounds_rows"] = tables["rounds"]
    _write(tables, result, out, overwrite, opened.grouping.column)
    if as_json:
        print_json({**result, **json_tables(shown, out, _FILES)})
        return
    order = found.table.sort(found.table["difference"].abs(), descending=True).head(_SHOWN)
    columns = ["gene_name", opened.grouping.column, "before", "after", "difference", "edited_peaks"]
    columns += ["control_mean", "p", "accessibility_change"]
    print_table(columns, order.select(columns).rows())
    _say(found.table.height, out)


def run_screen(
    opened: Opened,
    edit: SignalEdit,
    peaks: ChosenPeaks,
    what: dict[str, Any],
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Edit every chosen peak by itself; with OUT, a run that was cut off goes on."""
    result = {**what, "each": True, "n_peaks": len(peaks.peaks), **opened.provenance}
    if out is None:
        table = _screened(opened, edit, None)
    else:
        from cisoform.data.partial import WORK, partial_folder
        from cisoform.report.files import save_figure
        from cisoform.report.perturb_plots import screen_figure

        reading.check_out(out, overwrite)
        with partial_folder(out, _settings(opened, edit, result), overwrite=overwrite) as folder:
            table = _screened(opened, edit, folder.path / WORK)
            _write_into(folder.path, {"effects": table, "peaks": peaks.table}, result)
            _draw_tracks(folder.path, table, opened.grouping.column)
            save_figure(screen_figure(table, opened.grouping.column, _title(result)), folder.path / "screen")
            folder.publish(overwrite)
    if as_json:
        print_json({**result, **json_tables({"rows": table}, out, _FILES)})
        return
    order = table.sort(table["difference"].abs(), descending=True).head(_SHOWN)
    columns = ["gene_name", opened.grouping.column, "chrom", "start", "end", "before", "after", "difference"]
    print_table(columns, order.select(columns).rows())
    _say(table.height, out, "screen")


def _draw_tracks(folder: Path, table: pl.DataFrame, column: str) -> None:
    """`screen.bed`, bedGraphs and bigWigs of what every peak gives to a gene: before - after."""
    from cisoform.jobs.score_tracks import write_browser_tracks

    given = table.with_columns(given=-table["difference"]).rename({column: "group"})
    write_browser_tracks(folder, given, "given", "screen")


def _screened(opened: Opened, edit: SignalEdit, keep: Path | None) -> pl.DataFrame:
    from cisoform.jobs.perturbation import screen

    with progress("screening") as update:
        table = screen(opened.reader, opened.grouping, opened.genes, edit, update, keep)
    if opened.ids is None:
        return table
    import polars as pl

    return table.with_columns(pl.Series("peak_id", [opened.ids[row] for row in table["peak"].to_list()]))


def _settings(opened: Opened, edit: SignalEdit, result: dict[str, Any]) -> dict[str, Any]:
    """What the batches of a screen depend on."""
    import hashlib

    from cisoform.cli.common import to_plain

    digest = hashlib.sha256()
    arrays: list[Any] = [edit.peaks, opened.genes, opened.grouping.groups, opened.grouping.label]
    arrays += [value.cpu().numpy() for _, value in sorted(opened.model.model.state_dict().items())]
    arrays += [getattr(getattr(opened.reader, "locus", None), name, None) for name in ("dna", "signal")]
    if edit.bases is not None:
        arrays.append(edit.bases)
    for array in arrays:
        digest.update(b"" if array is None else array.tobytes())
    return {"result": to_plain(result), "numbers": digest.hexdigest()}


def _say(rows: int, out: Path | None, figure: str = "effects") -> None:
    if out is not None:
        typer.echo(f"{out}: {rows:,} rows in effects.parquet and effects.tsv; figure {figure}.png")
    elif rows > _SHOWN:
        typer.echo(f"the {_SHOWN} largest of {rows:,}; all of them with --out DIR or --json")


def _write(
    tables: dict[str, pl.DataFrame], result: dict[str, Any], out: Path | None, overwrite: bool, column: str
) -> None:
    from cisoform.report.files import save_figure
    from cisoform.report.perturb_plots import effects_figure

    if out is not None:
        with reading.result_folder(out, overwrite) as folder:
            _write_into(folder, tables, result)
            save_figure(effects_figure(tables["effects"], column, _title(result)), folder / "effects")


def _title(result: dict[str, Any]) -> str:
    """What was done, in words."""
    of = "+".join(result.get("tf") or []) or f"{result.get('n_peaks', len(result.get('inserted', [])))} peaks"
    mode = "" if result.get("mode", "zero") == "zero" else f" ({result['mode']})"
    return f"{result['perturbation']} of {of}{mode}"


def _write_into(folder: Path, tables: dict[str, pl.DataFrame], result: dict[str, Any]) -> None:
    from cisoform.cli.common import to_plain
    from cisoform.genome.files import write_json

    reading.write_tables(folder, tables)
    write_json(folder / "perturbation.json", to_plain(result))


def all_rounds(
    opened: Opened, edit: SignalEdit, rounds: int, tf: str | None, motifs: Path | None, motif_p: float
) -> Callable[[Update], pl.DataFrame] | None:
    """What predicts all rounds; None where there is one."""
    from cisoform.analysis.reader import Reader

    if rounds == 1 or tf is None or motifs is None or not isinstance(opened.reader, Reader):
        return None
    from cisoform.genome.motifs import motifs_of, read_motifs
    from cisoform.jobs.propagation import Binding, propagate

    reader, known = opened.reader, read_motifs(motifs)
    chosen = {row for name in split_list(tf) or [] for row in motifs_of(known, name, str(motifs))}
    perturbed = {name for row in chosen for name in known[row].tfs}
    binding = Binding.of(reader, opened.genes, known, perturbed, motif_p)
    return lambda update: propagate(reader, opened.grouping, opened.genes, edit, binding, rounds, update)
