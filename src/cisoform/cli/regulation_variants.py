"""`cisoform regulation variants`: what the alleles of a VCF file do to the expression of the genes in reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli import regulation_reading as reading
from cisoform.cli.common import (
    DeviceOption,
    JsonOption,
    SeedOption,
    note,
    print_json,
    print_table,
    progress,
)
from cisoform.cli.json_tables import json_tables

if TYPE_CHECKING:
    from cisoform.cli.regulation_reading import Opened
    from cisoform.jobs.variants import VariantResult

VcfOption = Annotated[
    Path, typer.Option("--vcf", metavar="FILE", help="Variants, gzip or not; genotypes are not read.")
]
GenomeOption = Annotated[
    Path | None,
    typer.Option(
        "--genome",
        metavar="FASTA",
        help="Genome of the data: the bases that deletions draw into a window (else N), and all of REF.",
    ),
]
ElementaryOption = Annotated[
    Path | None,
    typer.Option(
        "--elementary",
        metavar="RUN",
        help="Also predict accessibility anew: run of `regulation pretrain` that reads both alleles' DNA.",
    ),
]
ControlsOption = Annotated[
    int,
    typer.Option("--controls", min=0, help="Random changes in the same peak beside every allele; 0 = none."),
]
_SHOWN = 20


def add_commands(app: typer.Typer) -> None:
    """Register `variants`."""
    app.command(
        epilog="Examples: cisoform regulation variants run --data genes --vcf variants.vcf.gz --genome genome.fa "
        "--group-by cell_type --out variants; cisoform regulation variants model --locus-text gata1.txt.gz "
        "--tss-peak 20 --strand + --vcf variants.vcf --json"
    )(variants)


def variants(
    model: reading.ModelArgument,
    vcf: VcfOption,
    data: reading.DataOption = None,
    locus_text: reading.LocusTextOption = None,
    tss_peak: reading.TssPeakOption = None,
    strand: reading.StrandOption = None,
    genome: GenomeOption = None,
    elementary: ElementaryOption = None,
    controls: ControlsOption = 5,
    genes: reading.GenesOption = None,
    split: reading.SplitOption = "all",
    groups: reading.GroupsOption = None,
    cell_types: reading.CellTypesOption = None,
    group_by: reading.GroupByOption = None,
    labels: reading.LabelsOption = None,
    out: reading.OutDirOption = None,
    overwrite: reading.OverwriteOption = False,
    cache: reading.CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Predict genes with the reference and with every alternative allele in the windows of their peaks.

    The signal stays as it is measured (accessibility fixed, which hides most of an effect that goes through opening or
    closing); --elementary adds the difference with the signal scaled by what the DNA of both alleles predicts. A
    window with an indel stays centred on the same base. Alleles that cannot be scored are listed with the reason.
    """
    reading.check_out(out, overwrite)
    chosen = reading.Selection(
        model=model,
        data=data,
        locus_text=locus_text,
        tss_peak=tss_peak,
        strand=strand,
        genes=genes,
        split=split,
        groups=groups,
        cell_types=cell_types,
        group_by=group_by,
        labels=labels,
        cache=cache,
        device=device,
        seed=seed,
    )
    opened = reading.open_selection(chosen)
    found = _score(opened, vcf, genome, elementary, controls, seed, device)
    result: dict[str, Any] = {
        "reading": "variants",
        "vcf": vcf.name,
        "alleles": found.counts,
        "n_controls": controls,
        "seed": seed,
        "expression": opened.model.about.get("expression"),
        "accessibility": "fixed" if elementary is None else "fixed, and predicted from DNA",
        **opened.provenance,
    }
    _tell(found)
    if out is not None:
        _write(found, result, out, overwrite, opened.grouping.column)
    if as_json:
        tables = {"rows": found.effects, "variants": found.variants}
        print_json({**result, **json_tables(tables, out, {"rows": "effects.parquet"})})
        return
    _print(found, opened, out)


def _score(
    opened: Opened,
    vcf: Path,
    genome: Path | None,
    elementary: Path | None,
    controls: int,
    seed: int,
    device: str,
) -> VariantResult:
    from cisoform.jobs.predicted_accessibility import accessibility_of
    from cisoform.jobs.variants import score_variants

    expected = None if elementary is None else accessibility_of(elementary, opened.model, device)
    with _stages() as told:
        return score_variants(
            opened.reader,
            opened.grouping,
            opened.genes,
            vcf,
            genome=genome,
            expected=expected,
            n_controls=controls,
            seed=seed,
            told=told,
        )


@contextmanager
def _stages() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Progress of one stage after the other."""
    with ExitStack() as stack:

        def told(what: str) -> Callable[[int, int], None]:
            stack.close()
            return stack.enter_context(progress(what))

        yield told


def _tell(found: VariantResult) -> None:
    """One line for every reason not to score an allele, with the first example."""
    for status, count in found.counts.items():
        if status == "scored":
            continue
        first = found.variants.filter(found.variants["status"] == status).row(0, named=True)
        detail = f": {first['detail']}" if first["detail"] else ""
        plural = "allele" if count == 1 else "alleles"
        note(
            f"{count:,} {plural} not scored, {status}; the first is line {first['line']}, {first['variant']}{detail}"
        )


def _write(found: VariantResult, result: dict[str, Any], out: Path, overwrite: bool, column: str) -> None:
    from cisoform.cli.common import to_plain
    from cisoform.genome.files import write_json
    from cisoform.report.files import save_figure
    from cisoform.report.variant_plots import variants_figure

    with reading.result_folder(out, overwrite) as folder:
        reading.write_tables(folder, {"effects": found.effects, "variants": found.variants})
        write_json(folder / "variants.json", to_plain(result))
        figure = variants_figure(found.effects, column)
        if figure is not None:
            save_figure(figure, folder / "effects")


def _print(found: VariantResult, opened: Opened, out: Path | None) -> None:
    table = found.effects
    order = table.sort(table["difference"].abs(), descending=True).head(_SHOWN)
    columns = ["variant", "gene_name", opened.grouping.column, "distance_bp", "reference", "alternative"]
    columns += [
        "difference",
        *(name for name in table.columns if name.startswith(("difference_", "control_"))),
    ]
    columns += [name for name in ("p",) if name in table.columns]
    print_table(columns, order.select(columns).rows())
    if "p" in table.columns and table.height:
        n = int(str(table["n_controls"].max() or 0))
        typer.echo(
            f"p counts {n} random changes of the peak, so it cannot be below {1 / (1 + n):.3f} (--controls)"
        )
    said = ", ".join(f"{count:,} {status}" for status, count in found.counts.items())
    typer.echo(f"alleles: {said}")
    if out is not None:
        typer.echo(
            f"{out}: {table.height:,} rows in effects.parquet and effects.tsv, alleles in variants.tsv"
        )
    elif table.height > _SHOWN:
        typer.echo(f"the {_SHOWN} largest of {table.height:,}; all of them with --out DIR or --json")
