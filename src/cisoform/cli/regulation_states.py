"""What `transition` and `targets` share: flags, the question they ask, and what is opened for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cisoform.cli import regulation_reading as reading
from cisoform.cli.common import note, split_list
from cisoform.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from cisoform.analysis.reader import Reader
    from cisoform.cli.regulation_reading import Opened
    from cisoform.genome.motifs import Motif
    from cisoform.jobs.transition_setting import Candidates, Ends, Setting, TransitionConfig

    Ints = npt.NDArray[np.int64]

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DATASET", help="Folder of `regulation build-genes`.")
]
GroupByOption = Annotated[
    str, typer.Option("--group-by", metavar="COLUMN", help="Column of the states: cell_type, or of --labels.")
]
MotifsOption = Annotated[
    Path, typer.Option("--motifs", metavar="FILE", help="Motifs of the factors: MEME or JASPAR, gzip or not.")
]
TfsOption = Annotated[
    str | None,
    typer.Option("--tfs", metavar="A,B,...|@FILE", help="These factors (default: all of the motif file)."),
]
MotifPOption = Annotated[
    float, typer.Option("--motif-p", help="Chance of a hit at one place of random sequence.")
]
NullOption = Annotated[
    int,
    typer.Option(
        "--null",
        help="Random peak sets of the same sizes, at least 200. With N of them and K factors p is at least 1 / (N + 1) "
        "and q of a lone driver K / (N + 1).",
    ),
]
DEFAULT_NULL, GAINED_NULL = 1_000, 400
"""So that one driver among up to 50 factors, or among the 20 gained ones of `targets`, can have q <= 0.05."""
LEVEL = 0.05
"""q up to here is called significant."""
CellsOption = Annotated[
    int, typer.Option("--cells", min=1, help="Cells that are perturbed, drawn; all are predicted.")
]
TopGenesOption = Annotated[
    int,
    typer.Option(
        "--top-genes", min=2, help="Score the shift of the genes that differ most between the states."
    ),
]
UpOption = Annotated[
    str | None,
    typer.Option("--up", metavar="A,B,...|@FILE", help="Genes that are too high in the first state."),
]
DownOption = Annotated[
    str | None, typer.Option("--down", metavar="A,B,...|@FILE", help="Genes that are too low in it.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for tables and figures.")]


def make_config(kind: str, null: int, cells: int, top_genes: int, pairs: int, seed: int) -> TransitionConfig:
    """Settings of a screen.

    Raises:
        InputError: With the flag.
    """
    from cisoform.jobs.transition_setting import TransitionConfig

    if kind not in ("knockin", "knockout"):
        raise InputError(f"--perturbation {kind!r} is neither knockin nor knockout")
    return TransitionConfig(
        kind=kind,  # type: ignore[arg-type]
        n_null=null,
        cells=cells,
        top_genes=top_genes,
        pairs=pairs,
        seed=seed,
    )


def about_line(setting: Setting, first: str, second: str, config: TransitionConfig) -> str:
    """What was screened, for the printed result."""
    states = setting.states
    return (
        f"{len(states.source):,} {first} and {len(states.target):,} {second} cells or pools, {len(setting.rows):,} "
        f"{first} ones perturbed ({config.kind}), {len(setting.genes):,} genes, seed {config.seed}"
    )


def null_summary(null: pl.DataFrame, column: str) -> dict[str, float | int | str]:
    """Number, mean and middle 95 % of a score of the random peak sets."""
    import numpy as np

    values = null[column].to_numpy()
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return {"score": column, "n": len(values), "mean": float(values.mean()), "low": low, "high": high}


def least_p(n_factors: int, n_null: int) -> dict[str, float]:
    """How low p can get against so many random sets, and q of a single factor that stands out among so many."""
    return {"p": 1 / (1 + n_null), "q": min(1.0, n_factors / (1 + n_null))}


def least_line(least: dict[str, float], n_factors: int, n_null: int) -> str:
    """The same as a sentence."""
    more = "" if least["q"] <= LEVEL else "; a higher --null lets it fall"
    return (
        f"with {n_null:,} random sets p cannot be below {least['p']:.4f}, nor q of one factor that alone stands out "
        f"among {n_factors:,} below {least['q']:.3f}{more}"
    )


def null_line(null: pl.DataFrame, column: str) -> str:
    """The same as a sentence."""
    of = null_summary(null, column)
    return (
        f"{of['n']:,} random peak sets of the same sizes: {column} {of['mean']:.3f} (95 % from {of['low']:.3f} to "
        f"{of['high']:.3f}); p compares with them at the same number of edited peaks"
    )


@dataclass(frozen=True)
class Posed:
    """A question with what it is about."""

    opened: Opened
    reader: Reader
    ends: Ends
    motifs: list[Motif]
    question: Question

    def candidates(self) -> Candidates:
        """Factors with a motif in some peak."""
        from cisoform.jobs.readings import names_of
        from cisoform.jobs.transition_setting import choose_candidates

        asked = self.question
        names = names_of(asked.tfs, "--tfs")
        strict = asked.tfs is not None and not asked.tfs.startswith("@")
        found = choose_candidates(
            self.reader, self.opened.genes, self.motifs, str(asked.motifs), names, asked.motif_p, strict
        )
        missing = [name for name in names or [] if name not in found.names]
        if missing:
            note(
                f"--tfs: {len(missing):,} factors are left out (no motif, or it matches nowhere), as {missing[0]}"
            )
        return found

    def differing(self, up: str | None, down: str | None) -> Lists:
        """Genes of `--up` and `--down`.

        Raises:
            InputError: An unknown gene, one that is not among the chosen ones, or one in both.
        """
        import numpy as np

        from cisoform.jobs.readings import names_of
        from cisoform.jobs.transition_setting import gene_columns

        found = []
        for flag, text in (("--up", up), ("--down", down)):
            names = names_of(text, flag)
            rows = gene_columns(self.reader.dataset, names, flag) if names else np.empty(0, dtype=np.int64)
            if not np.isin(rows, self.opened.genes).all():
                raise InputError(f"{flag}: some of its genes are not among --genes; add them there")
            found.append(rows)
        both = np.intersect1d(found[0], found[1])
        if len(both):
            name = self.reader.genes["gene_name"][int(both[0])] or self.reader.genes["gene_id"][int(both[0])]
            raise InputError(f"{name!r} is in --up and in --down; a gene is too high or too low")
        return Lists(found[0], found[1])


@dataclass(frozen=True)
class Lists:
    """Numbers of the genes that are too high and too low in the first state; empty = not given."""

    up: Ints
    down: Ints

    @property
    def keep(self) -> Ints | None:
        """Both, ascending; None where there are none."""
        import numpy as np

        return np.union1d(self.up, self.down) if len(self.up) + len(self.down) else None

    def columns(self, genes: Ints) -> tuple[Ints, Ints] | None:
        """Their places among the scored genes; None where there are none."""
        import numpy as np

        return (
            None
            if self.keep is None
            else (np.searchsorted(genes, self.up), np.searchsorted(genes, self.down))
        )


def some_genes(genes: Ints, most: int, seed: int) -> Ints:
    """All genes, or so many of them drawn, ascending."""
    import numpy as np

    if len(genes) <= most:
        return genes
    return np.sort(np.random.default_rng(seed).choice(genes, most, replace=False))


@dataclass(frozen=True)
class Question:
    """What the flags of `transition` and `targets` share."""

    model: Path
    data: Path
    group_by: str
    labels: Path | None
    source: str
    target: str
    motifs: Path
    tfs: str | None
    motif_p: float
    genes: str | None
    split: str
    groups: str | None
    cell_types: str | None
    cache: Path | None

    def check(self, out: Path, overwrite: bool) -> None:
        """Refuse what can be refused before anything is opened.

        Raises:
            InputError: With the flag.
        """
        if not 0 < self.motif_p < 1:
            raise InputError(f"--motif-p {self.motif_p:g} must lie between 0 and 1")
        reading.check_out(out, overwrite)

    def open(self, device: str, seed: int, ten_groups: bool = False) -> Posed:
        """Model and data, opened for the cells of both states alone.

        Args:
            device: As everywhere.
            seed: Of the draw of cells.
            ten_groups: Refuse states with fewer than ten cells or pools.

        Raises:
            InputError: As everywhere.
        """
        from cisoform.analysis.reader import Reader
        from cisoform.data.genes import GenesDataset
        from cisoform.genome.motifs import read_motifs
        from cisoform.jobs import readings
        from cisoform.jobs.targets import two_states
        from cisoform.jobs.transition_setting import choose_ends

        motifs = read_motifs(self.motifs)
        dataset = GenesDataset.open(self.data)
        chosen = readings.choose_groups(
            dataset,
            readings.names_of(self.groups, "--groups"),
            readings.names_of(self.cell_types, "--cell-types"),
            self.split if len(dataset.group_rows(self.split)) else "all",
        )
        grouping = readings.group_by(dataset, chosen, self.group_by, self.labels, seed=seed)
        ends = choose_ends(dataset, grouping, split_list(self.source) or [], split_list(self.target) or [])
        if ten_groups:
            two_states(ends)
        opened = reading.open_selection(
            reading.Selection(
                model=self.model,
                data=self.data,
                genes=self.genes,
                split=self.split,
                groups=",".join(dataset.groups["name"].gather(ends.groups.tolist()).to_list()),
                cache=self.cache,
                device=device,
                seed=seed,
            )
        )
        assert isinstance(opened.reader, Reader)
        return Posed(opened, opened.reader, ends, motifs, self)
