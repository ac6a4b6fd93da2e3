"""A fitted model, its data set and the simulation they are of: what every reading with a planted answer works on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.reader import Reader
from cisoform.analysis.scores import VARIANTS, Variant
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.genome.files import require_file
from cisoform.jobs.creformer_model import CREformerModel
from cisoform.jobs.readings import open_reader

Ints = npt.NDArray[np.int64]
Say = Callable[[str], None]
PARTS = ("valid", "test")
EDITS: dict[str, tuple[bool, float]] = {
    "whole window, p 1e-5": (False, 1e-5),
    "around motif, p 1e-4": (True, 1e-4),
    "around motif, p 1e-5": (True, 1e-5),
}
"""Ways to knock out: whether only the bases near the motif change, and the p-value of a motif."""


def silent(text: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What readings are scored on.

    Attributes:
        model: Fitted.
        dataset: Genes in pseudobulks of the simulation's groups.
        files: Folder of the simulation that holds the answers (`truth/`, motifs, tracks).
        truth: Content of its truth.json.
        cache: Folder of feature caches; None = the user's.
        variants: Scores of peaks that links may be read from.
        edits: Ways to knock out that are tried (of `EDITS`).
        most_factors: Most factors that are knocked out; None = all.
        n_controls: Matched controls of every knock-out on the test chromosomes.
        seed: Of what is drawn.
        say: Is told what begins.
        kept: Tables of the test chromosomes that readings leave for figures.
    """

    model: CREformerModel
    dataset: GenesDataset
    files: Path
    truth: dict[str, Any]
    cache: Path | None = None
    variants: tuple[Variant, ...] = VARIANTS
    edits: tuple[str, ...] = tuple(EDITS)
    most_factors: int | None = None
    n_controls: int = 1
    seed: int = 0
    say: Say = silent
    kept: dict[str, pl.DataFrame] = field(default_factory=dict, repr=False, compare=False)
    _readers: dict[str, Reader] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, model: CREformerModel, dataset: GenesDataset, files: Path, **more: Any) -> Planted:
        """Check that the data set is of the simulation.

        Raises:
            InputError: No simulation of regulation is there, the data set holds other genes or groups, or it holds out
                no chromosomes to choose or to score on.
        """
        inside = files / "regulation"
        files = inside if not (files / "truth.json").is_file() and inside.is_dir() else files
        path = files / "truth.json"
        require_file(path, "truth of `cisoform simulate --what regulation`")
        truth = json.loads(path.read_text(encoding="utf-8"))
        if "enhancer_gene" not in truth:
            raise InputError(f"{path}: is no truth of a simulated regulation; give its folder `regulation`")
        _check(dataset, files, truth)
        return cls(model=model, dataset=dataset, files=files, truth=truth, **more)

    def table(self, name: str) -> pl.DataFrame:
        """A table of the truth."""
        return pl.read_parquet(self.files / "truth" / f"{name}.parquet")

    @property
    def motifs(self) -> Path:
        """Motifs of all factors, decoys included."""
        return self.files / "motifs.meme"

    @property
    def groups(self) -> Ints:
        """All groups: readings are judged on chromosomes that training did not see, across all cell types."""
        return np.arange(self.dataset.groups.height)

    @property
    def grouping(self) -> Grouping:
        """Every group by itself."""
        return Grouping.by_itself(self.dataset.groups, self.groups)

    def genes(self, part: str) -> Ints:
        """Genes of a held-out part."""
        return self.dataset.gene_rows(part)

    def reader(self, part: str) -> Reader:
        """A reader of these genes in all groups; what it encodes is kept."""
        if part not in self._readers:
            self._readers[part] = open_reader(
                self.model, self.dataset, self.groups, self.genes(part), cache=self.cache
            )
        return self._readers[part]

    def peak_ids(self) -> pl.Series:
        """`chrom:start-end` of every peak, as the tables of the truth call them."""
        return self.dataset.peaks.select(pl.format("{}:{}-{}", "chrom", "start", "end")).to_series()


def _check(dataset: GenesDataset, files: Path, truth: dict[str, Any]) -> None:
    known = {group["name"] for group in truth["groups"]}
    for name in dataset.groups["name"].to_list():
        if name not in known:
            raise InputError(
                f"{dataset.path}: group {name!r} is no group of the simulation {files}; build the data set from it "
                "with --pool pseudobulk:group"
            )
    genes = set(pl.read_parquet(files / "truth" / "genes.parquet")["gene_id"].to_list())
    for name in dataset.genes["gene_id"].to_list():
        if name not in genes:
            raise InputError(f"{dataset.path}: gene {name!r} is not in the simulation {files}; give its own")
    for part in PARTS:
        if not len(dataset.gene_rows(part)):
            raise InputError(
                f"{dataset.path}: holds out no {part} chromosomes; readings are chosen on validation and scored on "
                "test chromosomes, so build it with --valid-chromosomes and --test-chromosomes"
            )
