"""`cisoform regulation features`: the attention feature of genes in cells, as tables and as a layer of AnnData."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli import regulation_reading as reading
from cisoform.cli.common import DeviceOption, JsonOption, SeedOption, note, print_json, progress
from cisoform.cli.json_tables import json_tables
from cisoform.errors import InputError

if TYPE_CHECKING:
    from cisoform.jobs.features import FeatureChoice

VariantOption = Annotated[
    str,
    typer.Option(
        "--variant",
        metavar="NAME",
        help="Score of the peaks: exact, ablation, rollout, gradient or released.",
    ),
]
FormOption = Annotated[
    str,
    typer.Option(
        "--form",
        metavar="cosine|centred|window",
        help="Window sum times cosine, times centred cosine, or alone.",
    ),
]
ReferenceOption = Annotated[
    str,
    typer.Option(
        "--reference",
        metavar="cell|label",
        help="Compare scores with the cell with the largest window sum, or with the mean of that label.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for tables and figures.")]


def add_commands(app: typer.Typer) -> None:
    """Register `features`."""
    app.command(
        epilog="Example: cisoform regulation features run --data genes --genes @tfs.txt --form centred "
        "--adata rna.h5ad --out features"
    )(features)


def features(
    model: reading.ModelArgument,
    data: Annotated[
        Path, typer.Option("--data", metavar="DATASET", help="Folder of `regulation build-genes`.")
    ],
    out: OutOption,
    variant: VariantOption = "exact",
    form: FormOption = "cosine",
    reference: ReferenceOption = "cell",
    adata: Annotated[
        Path | None,
        typer.Option(
            "--adata",
            metavar="FILE",
            help="Also write a copy of this .h5ad or .h5mu with the feature as a layer.",
        ),
    ] = None,
    genes: reading.GenesOption = None,
    split: reading.SplitOption = "all",
    groups: reading.GroupsOption = None,
    cell_types: reading.CellTypesOption = None,
    group_by: reading.GroupByOption = None,
    labels: reading.LabelsOption = None,
    overwrite: reading.OverwriteOption = False,
    cache: reading.CacheOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Attention feature of genes in cells: likeness of the scores of a gene's peaks to a reference, times openness.

    The table holds the window sum, both cosines and the feature of every gene and cell; labels.tsv their means over the
    labels of --group-by; references.tsv which cell or label each gene was compared with; features.json how much the
    feature says beyond the window sum.
    """
    choice = choose_feature(variant, form, reference, group_by)
    reading.check_out(out, overwrite)
    from cisoform.jobs import features as job

    if adata is not None:
        job.check_adata(adata)
    chosen = reading.Selection(
        model=model,
        data=data,
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
    reader = opened.reader
    from cisoform.analysis.reader import Reader

    assert isinstance(reader, Reader)
    with progress("scoring") as update:
        found = job.compute(reader, opened.grouping, opened.genes, choice, update)
    result = {
        "variant": variant,
        "form": form,
        "reference": reference,
        "n_genes": len(found.genes),
        "n_groups": len(found.groups),
        "group_by": group_by,
        **job.summary(found, choice.form),
        "seed": seed,
        **opened.provenance,
    }
    for text in result["warnings"]:
        note(f"warning: {text}")
    with reading.result_folder(out, overwrite) as folder:
        if adata is not None:
            about = {key: result[key] for key in ("variant", "form", "reference", "model", "dataset_hash")}
            target = folder / adata.name
            result["adata"] = job.write_into(adata, target, found, reader, choice.form, about)
        tables = {
            "features": job.feature_table(found, reader, choice.form),
            "references": job.reference_table(found, reader, opened.grouping),
        }
        if group_by is not None:
            tables["labels"] = job.label_table(found, reader, opened.grouping, choice.form)
        reading.write_tables(folder, tables)
        write_result(folder / "features.json", result)
    if as_json:
        print_json({**result, **json_tables(tables, out)})
        return
    typer.echo(
        f"{out}: {len(found.genes):,} genes in {len(found.groups):,} groups, score {variant}, form {form}, seed {seed}"
    )
    cosine, like = result["cosine"], result["like_window"]
    typer.echo(
        f"cosine with the reference {cosine['mean']:.3f} (sd {cosine['sd']:.3f}); correlation of the feature with the "
        f"accessibility of the window alone {'none' if like is None else format(like, '.3f')} (Spearman across groups, "
        "median of genes)"
    )
    if adata is not None:
        typer.echo(f"{out / adata.name}: layer attention_feature of {result['adata']['cells']:,} cells")


def choose_feature(variant: str, form: str, reference: str, group_by: str | None) -> FeatureChoice:
    """The attention feature that the flags ask for.

    Raises:
        InputError: A value that is none, or a reference without labels.
    """
    from cisoform.analysis.attention_feature import FORMS, REFERENCES
    from cisoform.analysis.scores import VARIANTS
    from cisoform.jobs.features import FeatureChoice

    for flag, value, known in (
        ("--variant", variant, VARIANTS),
        ("--form", form, FORMS),
        ("--reference", reference, REFERENCES),
    ):
        if value not in known:
            raise InputError(f"{flag} {value!r} is none of {', '.join(known)}")
    if reference == "label" and group_by is None:
        raise InputError("--reference label needs --group-by COLUMN: the labels to choose from")
    return FeatureChoice(variant=variant, form=form, reference=reference)  # type: ignore[arg-type]


def write_result(path: Path, value: dict[str, Any]) -> None:
    """Write a result as JSON."""
    from cisoform.cli.common import to_plain
    from cisoform.genome.files import write_json

    write_json(path, to_plain(value))
