"""What a transition starts from: source and target cells, factors with their peaks, genes, and predicted states."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.perturbation import contact
from cisoform.analysis.reader import Reader
from cisoform.analysis.shifts import Kind, predicted
from cisoform.analysis.transition import LEAST_CELLS, States
from cisoform.data.genes import GenesDataset
from cisoform.errors import InputError
from cisoform.features.states import Update
from cisoform.genome.motifs import Motif, motifs_of
from cisoform.jobs.chosen_peaks import peaks_of_genes, scan_peaks
from cisoform.jobs.readings import choose_genes

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

LEAST_NULL = 200


@dataclass(frozen=True, kw_only=True)
class TransitionConfig:
    """What is screened.

    Attributes:
        kind: Knock-in or knock-out.
        n_null: Random peak sets.
        cells: Source cells that are perturbed, evenly drawn.
        top_genes: Genes that differ most between the predicted states, whose shift is scored.
        pairs: Pairs among so many best single factors; 0 = none.
        seed: Of the draws.
    """

    kind: Kind = "knockin"
    n_null: int = LEAST_NULL
    cells: int = 10
    top_genes: int = 200
    pairs: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_null < LEAST_NULL:
            raise InputError(f"--null {self.n_null}: at least {LEAST_NULL} random peak sets are needed")


@dataclass(frozen=True)
class Ends:
    """Where from and where to.

    Attributes:
        source: Numbers of source groups, ascending.
        target: Numbers of target groups, ascending.
    """

    source: Ints
    target: Ints

    @property
    def groups(self) -> Ints:
        """Both."""
        return np.union1d(self.source, self.target)


def choose_ends(
    dataset: GenesDataset, grouping: Grouping, source: Sequence[str], target: Sequence[str]
) -> Ends:
    """Source and target groups by their labels.

    Args:
        dataset: Whose groups they are.
        grouping: All groups with labels.
        source: Labels of the source.
        target: Labels of the target.

    Raises:
        InputError: An unknown label (near matches), one that is both, or a state of fewer than ten cells.
    """
    both = sorted(set(source) & set(target))
    if both:
        raise InputError(f"{both[0]!r} is both source and target; a transition needs two different states")
    found = []
    for what, names in (("source", source), ("target", target)):
        for name in names:
            if name not in grouping.labels:
                near = difflib.get_close_matches(name, grouping.labels, n=3)
                mean = (
                    f"did you mean {', '.join(near)}?"
                    if near
                    else f"there are {', '.join(grouping.labels[:20])}"
                )
                raise InputError(f"{name!r} ({what}) is no label of {grouping.column}; {mean}")
        groups = np.sort(np.concatenate([grouping.members(name) for name in names]))
        cells = int(dataset.groups["n_cells"].gather(groups.tolist()).sum())
        if cells < LEAST_CELLS:
            raise InputError(
                f"{', '.join(names)} ({what}) has {cells} cells, at least {LEAST_CELLS} are needed; join labels"
            )
        found.append(groups)
    return Ends(*found)


@dataclass(frozen=True)
class Candidates:
    """Peak sets to screen.

    Attributes:
        names: Factor, or factors joined by `+`.
        sets: (sets, peaks of the data set).
    """

    names: tuple[str, ...]
    sets: Flags

    def pairs(self, rows: Sequence[int]) -> Candidates:
        """All pairs of some of them."""
        couples = list(combinations(rows, 2))
        names = tuple(f"{self.names[a]}+{self.names[b]}" for a, b in couples)
        return Candidates(names, np.array([self.sets[a] | self.sets[b] for a, b in couples], dtype=bool))


def choose_candidates(
    reader: Reader,
    genes: Ints,
    motifs: Sequence[Motif],
    where: str,
    names: Sequence[str] | None,
    p_value: float,
    strict: bool = True,
) -> Candidates:
    """Peaks with a motif of each factor, in reach of the genes; factors whose motif is nowhere are left out.

    Args:
        reader: Model and data.
        genes: Whose peaks are scanned.
        motifs: Motifs of the file.
        where: The file, for messages.
        names: Factors; None = all of the file.
        p_value: Of a hit.
        strict: A factor without a motif is an error, not left out.

    Raises:
        InputError: A factor without a motif (near matches); or no motif matches.
    """
    every = list(dict.fromkeys(tf for motif in motifs for tf in motif.tfs))
    groups: dict[str, list[int]] = {}
    for name in every if names is None else names:
        try:
            groups[name] = motifs_of(motifs, name, where)
        except InputError as error:
            if strict:
                raise InputError(f"--tfs {error}") from None
    wanted = sorted({index for group in groups.values() for index in group})
    peaks = peaks_of_genes(reader, genes)
    hits = scan_peaks(reader, peaks, [motifs[index] for index in wanted], p_value) if wanted else None
    found = {}
    for name, group in groups.items():
        has = np.zeros(reader.dataset.n_peaks, dtype=bool)
        if hits is not None:
            own = np.isin(hits.motif, [wanted.index(index) for index in group])
            has[peaks[hits.window[own]]] = True
        if has.any():
            found[name] = has
    if not found:
        raise InputError(
            f"{where}: no motif of the {len(groups):,} factors matches any of the {len(peaks):,} peaks at "
            f"p <= {p_value:g}; raise --motif-p"
        )
    return Candidates(tuple(found), np.stack(list(found.values())))


@dataclass(frozen=True)
class Setting:
    """What perturbations start from.

    Attributes:
        reader: Model and data.
        ends: Source and target.
        genes: Genes whose shift is scored, ascending.
        states: Predicted, unperturbed.
        rows: Source cells that are perturbed (rows of `states.source`).
        activity: Mean target minus mean source of the accessibility round each gene, weighted by contact.
    """

    reader: Reader
    ends: Ends
    genes: Ints
    states: States
    rows: Ints
    activity: Numbers

    @property
    def cells(self) -> Ints:
        """Groups that are perturbed."""
        return np.asarray(self.ends.source[self.rows])


def prepare(
    reader: Reader,
    ends: Ends,
    genes: Ints,
    config: TransitionConfig,
    keep: Ints | None = None,
    update: Update | None = None,
) -> Setting:
    """Predict both states and choose genes and cells.

    Args:
        reader: Model and data.
        ends: Source and target.
        genes: Genes to choose from, ascending.
        config: See `TransitionConfig`.
        keep: Genes that are scored in any case.
        update: Is told how far it is.

    Raises:
        InputError: If the predicted states do not differ.
    """
    values = predicted(reader, ends.groups, genes, update)
    source = values[np.searchsorted(ends.groups, ends.source)]
    target = values[np.searchsorted(ends.groups, ends.target)]
    apart = np.abs(target.mean(axis=0) - source.mean(axis=0))
    if not apart.max() > 1e-6:
        raise InputError(
            "the model predicts the same expression for source and target; there is no way to go"
        )
    top = np.argsort(-apart, kind="stable")[: config.top_genes]
    kept = np.sort(top if keep is None else np.union1d(top, np.searchsorted(genes, keep)))
    rng = np.random.default_rng([config.seed, 3])
    n = min(config.cells, len(source))
    return Setting(
        reader,
        ends,
        genes[kept],
        States.of(source[:, kept], target[:, kept]),
        np.sort(rng.choice(len(source), n, replace=False)),
        gene_activity(reader, ends.target, genes[kept]) - gene_activity(reader, ends.source, genes[kept]),
    )


def gene_activity(reader: Reader, groups: Ints, genes: Ints) -> Numbers:
    """Accessibility of each gene's peaks weighted by contact, mean over groups: a prediction without a model."""
    signal = reader.signal(groups, np.arange(reader.dataset.n_peaks)).mean(axis=0).astype(np.float64)
    index = reader.dataset.index
    found = np.zeros(len(genes))
    for row, gene in enumerate(genes.tolist()):
        peaks = np.arange(index.first[gene], index.first[gene] + index.count[gene])
        found[row] = signal[peaks] @ contact((index.mid[peaks] - index.tss[gene]).astype(np.float64))
    return found


def gene_columns(dataset: GenesDataset, names: Sequence[str], flag: str) -> Ints:
    """Numbers of genes by id or name.

    Raises:
        InputError: An unknown gene, with near matches.
    """
    try:
        return choose_genes(dataset, names)
    except InputError as error:
        raise InputError(str(error).replace("--genes", flag, 1)) from None
