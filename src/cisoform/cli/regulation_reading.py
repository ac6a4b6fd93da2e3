"""What the commands of all zero-shot readings share: flags, what they select, and how tables are written.

A reading takes the flags below by their types, puts them into a `Selection`, and opens it:

    def features(model: ModelArgument, data: DataOption = None, ..., out: OutDirOption = None, ...):
        check_out(out, overwrite)                # before long work begins
        chosen = Selection(model=model, data=data, genes=genes, ...)
        opened = open_selection(chosen)          # checks flags, loads, encodes with progress
        ...
        with result_folder(out, overwrite) as folder:
            write_tables(folder, {"scores": table})

The commands repeat the flags because typer reads them from each signature.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cisoform.cli.common import estimate_line, note, progress, resolve_device
from cisoform.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from cisoform.analysis.grouping import Grouping
    from cisoform.analysis.reader import LocusReader, Reader
    from cisoform.features.states import EncodingPlan
    from cisoform.jobs.creformer_model import CREformerModel

ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Run of `regulation fit`, or a converted CREformer.")
]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DATASET", help="Folder of `regulation build-genes`.")
]
LocusTextOption = Annotated[
    Path | None,
    typer.Option(
        "--locus-text", metavar="FILE", help="Instead of data, one gene: three lines a peak, gzip or not."
    ),
]
TssPeakOption = Annotated[
    int | None, typer.Option("--tss-peak", help="Of a locus: index (from 0) of the peak nearest the TSS.")
]
StrandOption = Annotated[
    str | None, typer.Option("--strand", metavar="+|-", help="Of a locus: strand of the gene.")
]
GenesOption = Annotated[
    str | None,
    typer.Option("--genes", metavar="A,B,...|@FILE", help="These genes, by id or name (default: all)."),
]
SplitOption = Annotated[
    str, typer.Option("--split", help="Genes and groups of train, valid or test alone (default: all).")
]
GroupsOption = Annotated[
    str | None, typer.Option("--groups", metavar="A,B,...|@FILE", help="These cells or pools, by name.")
]
CellTypesOption = Annotated[
    str | None, typer.Option("--cell-types", metavar="A,B,...|@FILE", help="Cells or pools of these types.")
]
GroupByOption = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="COLUMN",
        help="Means over the groups with one label (cell_type, or a column of --labels).",
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", metavar="TSV", help="Labels for --group-by; its first column names the groups."),
]
SequenceOnlyOption = Annotated[
    bool,
    typer.Option(
        "--sequence-only",
        help="Show the DNA alone: every signal as not measured (ablation: against measured and 0).",
    ),
]
OutDirOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder for tables and figures.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace a folder at OUT.")]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Features of peak states (default: the user's cache)."),
]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the flags ask for; see the option types for the meaning of each."""

    model: Path
    data: Path | None = None
    locus_text: Path | None = None
    tss_peak: int | None = None
    strand: str | None = None
    genes: str | None = None
    split: str = "all"
    groups: str | None = None
    cell_types: str | None = None
    group_by: str | None = None
    labels: Path | None = None
    sequence_only: bool = False
    cache: Path | None = None
    device: str = "auto"
    seed: int = 0

    def check(self) -> None:
        """Refuse flags that do not go together.

        Raises:
            InputError: With the flags.
        """
        if (self.data is None) == (self.locus_text is None):
            raise InputError("give either --data, or --locus-text with --tss-peak and --strand")
        of_data = {
            "--genes": self.genes,
            "--split": None if self.split == "all" else self.split,
            "--groups": self.groups,
            "--cell-types": self.cell_types,
            "--group-by": self.group_by,
            "--labels": self.labels,
            "--cache": self.cache,
        }
        of_locus = {"--tss-peak": self.tss_peak, "--strand": self.strand}
        other, flag = (of_data, "--locus-text") if self.data is None else (of_locus, "--data")
        used = [name for name, value in other.items() if value is not None]
        if used:
            raise InputError(f"{used[0]} has no effect on {flag}; leave it out")
        if self.data is None and (self.tss_peak is None or self.strand is None):
            raise InputError("--locus-text needs --tss-peak and --strand: the text does not hold them")


@dataclass(frozen=True)
class Opened:
    """What a reading works on.

    Attributes:
        model: The model with its provenance.
        reader: Where `PeakInputs` come from.
        genes: Numbers of the chosen genes.
        grouping: The chosen groups and their labels.
        ids: Ids of a locus' peaks; None for a data set.
    """

    model: CREformerModel
    reader: Reader | LocusReader
    genes: npt.NDArray[np.int64]
    grouping: Grouping
    ids: list[str] | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """What every result stands beside: the model's recipe and seed, hashes of model and data, version."""
        from cisoform import __version__

        about = self.model.about
        kept = {key: about.get(key) for key in ("recipe", "seed", "dataset_hash", "expression", "source")}
        dataset = getattr(self.reader, "dataset", None)
        return {
            "model": {key: value for key, value in kept.items() if value is not None},
            "dataset_hash": None if dataset is None else dataset.hash,
            "cisoform": __version__,
        }


def tell(plan: EncodingPlan) -> None:
    """Say what will be encoded."""
    if plan.n_missing:
        note(
            f"{plan.n_distinct:,} distinct states of peaks, {plan.n_missing:,} to encode, the others are in "
            f"{plan.folder}; {estimate_line(disk_bytes=plan.n_bytes)}"
        )


def open_selection(
    chosen: Selection, check: Callable[[CREformerModel, Grouping], None] | None = None
) -> Opened:
    """Check the flags, open model and data (or locus), and encode what is not cached, with progress.

    Args:
        chosen: What the flags ask for.
        check: Is shown the model and the groups before anything is encoded: for flags that must fit them.

    Raises:
        InputError: A flag, a name or a file that does not fit.
    """
    chosen.check()
    check = check or (lambda model, grouping: None)
    if chosen.locus_text is None:
        return _open_data(chosen, check)
    return _open_locus(chosen, chosen.locus_text, check)


def _open_data(chosen: Selection, check: Callable[[CREformerModel, Grouping], None]) -> Opened:
    from cisoform.data.genes import GenesDataset
    from cisoform.jobs import readings
    from cisoform.jobs.creformer_model import CREformerModel

    assert chosen.data is not None
    names = {
        flag: readings.names_of(text, flag)
        for flag, text in (
            ("--genes", chosen.genes),
            ("--groups", chosen.groups),
            ("--cell-types", chosen.cell_types),
        )
    }
    dataset = GenesDataset.open(chosen.data)
    # A split of the data holds out chromosomes, cell types or both; where it holds out one, the other is free.
    gene_split = chosen.split if len(dataset.gene_rows(chosen.split)) else "all"
    group_split = chosen.split if len(dataset.group_rows(chosen.split)) else "all"
    dataset.part(chosen.split)
    genes = readings.choose_genes(dataset, names["--genes"], gene_split)
    groups = readings.choose_groups(dataset, names["--groups"], names["--cell-types"], group_split)
    grouping = readings.group_by(dataset, groups, chosen.group_by, chosen.labels, seed=chosen.seed)
    resolve_device(chosen.device)
    model = CREformerModel.load(chosen.model, chosen.device)
    check(model, grouping)
    with progress("encoding peaks") as update:
        reader = readings.open_reader(
            model,
            dataset,
            grouping.groups,
            genes,
            sequence_only=chosen.sequence_only,
            cache=chosen.cache,
            planned=tell,
            update=update,
        )
    return Opened(model, reader, genes, grouping)


def _open_locus(chosen: Selection, path: Path, check: Callable[[CREformerModel, Grouping], None]) -> Opened:
    import numpy as np

    from cisoform.analysis.grouping import Grouping
    from cisoform.data.locus_text import read_locus_text
    from cisoform.jobs.creformer_model import CREformerModel
    from cisoform.jobs.readings import open_locus

    assert chosen.tss_peak is not None and chosen.strand is not None
    locus = read_locus_text(path)
    resolve_device(chosen.device)
    model = CREformerModel.load(chosen.model, chosen.device)
    alone = np.zeros(1, dtype=np.int64)
    grouping = Grouping("group", ("",), alone, alone)
    check(model, grouping)
    name = path.name.split(".")[0]
    reader = open_locus(
        model, locus, chosen.tss_peak, chosen.strand, sequence_only=chosen.sequence_only, name=name
    )
    return Opened(model, reader, alone, grouping, list(locus.ids))


@contextlib.contextmanager
def result_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """A folder that takes its final name when the block ends without an exception.

    Raises:
        InputError: If it exists and is not to be replaced, or cannot be written.
    """
    from cisoform.genome.files import atomic_directory

    check_out(out, overwrite)
    with atomic_directory(out, overwrite) as folder:
        yield folder


def check_out(out: Path | None, overwrite: bool) -> None:
    """Refuse an existing result before long work begins.

    Raises:
        InputError: If there is something at OUT and --overwrite was not given.
    """
    if out is not None and out.is_file():
        raise InputError(f"--out {out}: is a file, but a folder is to be written there; choose another name")
    if out is not None and not overwrite and out.is_dir() and any(out.iterdir()):
        raise InputError(f"--out {out}: already exists; give --overwrite to replace it, or another name")


def write_tables(folder: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write each table as NAME.parquet (exact) and NAME.tsv (to look at, seven digits)."""
    import polars as pl

    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
        numbers = [column for column, kind in table.schema.items() if kind in (pl.Float32, pl.Float64)]
        plain = table.with_columns(pl.col(column).round_sig_figs(7).alias(column) for column in numbers)
        plain.write_csv(folder / f"{name}.tsv", separator="\t")
