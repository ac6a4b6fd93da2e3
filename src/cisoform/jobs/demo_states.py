"""Readings of states in the demo: attention feature, masters, transitions and targets, beside what was planted.

Masters and transitions are read on the pseudobulks that the model was fitted to; targets, which need ten cells or pools
of a state, on pools of neighbouring cells.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cisoform.analysis.grouping import Grouping
from cisoform.analysis.masters import MasterConfig
from cisoform.analysis.reader import Reader
from cisoform.benchmark.planted import Measure
from cisoform.data.gene_build import build_genes
from cisoform.data.gene_inputs import GeneBuildConfig, GeneInputs
from cisoform.data.gene_pools import Pooling
from cisoform.data.genes import GenesDataset
from cisoform.genome.motifs import read_motifs
from cisoform.jobs import factors as lists
from cisoform.jobs import features as feature_job
from cisoform.jobs import masters as master_job
from cisoform.jobs import targets as target_job
from cisoform.jobs.demo_factors import MOTIF_P
from cisoform.jobs.planted import Planted
from cisoform.jobs.readings import open_reader
from cisoform.jobs.transition import screen
from cisoform.jobs.transition_setting import (
    Candidates,
    Setting,
    TransitionConfig,
    choose_candidates,
    choose_ends,
    prepare,
)
from cisoform.report.transition_plots import arrow_figure, rank_figure
from cisoform.report.truth_plots import masters_figure
from cisoform.report.truth_section import Drawn, Listing, TruthSection

Ints = npt.NDArray[np.int64]

HEAD = 3
PERMUTATIONS = 20
TOP_GENES = 60
POOLS, POOL_CELLS, MOST_POOLS, TREATED = 240, 20, 20, 3
"""Pools that are built, cells of each, pools of a state that are read, and pools that are perturbed."""
SMOKE_POOLS = 100
MASTER_GOAL = 0.9
SHOWN = 6


def masters(planted: Planted) -> list[TruthSection]:
    """The attention feature, and factors that set the groups apart."""
    reader, grouping = planted.reader("all"), planted.grouping
    question = master_job.MotifQuestion.read(planted.motifs, planted.genes("all"), MOTIF_P)
    names, held = [one["tf"] for one in planted.truth["tfs"]], _held_out(planted)
    factors = lists.choose_factors(planted.dataset, names, False, question.motifs, str(planted.motifs))
    choice = feature_job.FeatureChoice()
    values = master_job.readings(reader, grouping, factors, choice, question, planted.seed)
    place = {name: row for row, name in enumerate(factors.names)}
    known = {
        row: [place[tf] for tf in planted.truth["masters"][label] if tf in place]
        for row, label in enumerate(grouping.labels)
    }
    config = MasterConfig(k=HEAD, n_bootstrap=0, n_permutations=PERMUTATIONS, seed=planted.seed)
    found = master_job.masters(values, grouping, factors, known, config)
    feature = feature_job.compute(reader, grouping, np.unique(factors.genes), choice)
    table = found.table.filter(pl.col("reading") == found.primary)
    return [
        TruthSection(
            title="Master factors and the attention feature (masters, features)",
            asks="Which factors set a cell type apart? Each is read by the motif (what predictions "
            "owe to peaks with its motif, and how open these are), and by the attention feature of "
            "the paper: how like a reference cell's the attention round the factor's own gene "
            "is, times how open that window is.",
            measures=_judged(found, len(grouping.labels)),
            figures=[_masters_drawn(planted, table)],
            listings=[
                _masters_listed(planted, table),
                _feature_listed(feature_job.summary(feature, choice.form)),
            ],
            guidance="`motif_accessibility` and `expression` need no model: where they are as good, "
            "use them. On pools of cells (here every group is one pseudobulk) the command adds the "
            "stability over bootstraps, and a factor that is not stable is no finding.",
            commands=[
                "cisoform regulation features fitted --data genes --out features",
                "cisoform regulation build-genes --genome sim/regulation/genome.fa \\",
                "    --annotation sim/regulation/annotation.gtf --fragments sim/regulation/atac_fragments.tsv.gz \\",
                "    --multiome sim/regulation/filtered_feature_bc_matrix.h5 --cells sim/regulation/cells.tsv \\",
                f"    --cell-types group --pool knn:{POOL_CELLS} --max-groups {POOLS} \\",
                f"    --test-chromosomes {','.join(held['test'])} --valid-chromosomes {','.join(held['valid'])} \\",
                "    --out pools",
                "cisoform regulation masters fitted --data pools --group-by cell_type --tfs "
                "@sim/regulation/tfs.txt \\",
                "    --motifs sim/regulation/motifs.meme --out masters",
            ],
        )
    ]


def _judged(found: master_job.Masters, n_labels: int) -> list[Measure]:
    """Recall and MRR of the joined reading, then of the feature, each beside what needs no model."""
    rivals = {
        master_job.COMBINED: (master_job.DEVIATION, master_job.EXPRESSION, master_job.WINDOW),
        master_job.FEATURE: (master_job.EXPRESSION, master_job.WINDOW),
    }
    measures = []
    for name, simple in rivals.items():
        for key, words in (
            ("recall", f"recall@{HEAD} of planted masters"),
            ("mrr", "mean of 1 / place of the first"),
        ):
            measures.append(
                Measure(
                    reading="masters" if name == master_job.COMBINED else "features",
                    measure=words,
                    value=float(found.judged[name][key]),
                    way=name.replace("_", " "),
                    goal=MASTER_GOAL if (name, key) == (master_job.COMBINED, "recall") else None,
                    baselines={one.replace("_", " "): float(found.judged[one][key]) for one in simple},
                    nulls={"labels permuted": float(found.judged[name][f"permuted_{key}"])},
                    n=f"{n_labels} groups",
                )
            )
    return measures


def _masters_drawn(planted: Planted, table: pl.DataFrame) -> Drawn:
    labels = table["label"].unique(maintain_order=True).to_list()
    truth = planted.truth["masters"]
    wanted = {tf for label in labels for tf in truth[label]} | set(
        table.filter(pl.col("rank") <= HEAD)["tf"].to_list()
    )
    shown = sorted(wanted)
    wide = table.pivot(on="tf", index="label", values="coefficient", maintain_order=True)
    value = wide.select(shown).to_numpy()
    return Drawn(
        masters_figure(value, wide["label"].to_list(), shown, truth),
        "Red: the factor is more of a master in this group than in the others. Rings: the planted masters. Columns: "
        f"planted masters and factors that are read among the first {HEAD} anywhere.",
        "Coefficients of factors in groups with the planted masters ringed",
    )


def _masters_listed(planted: Planted, table: pl.DataFrame) -> Listing:
    rows: list[list[object]] = []
    for (label,), part in table.group_by("label", maintain_order=True):
        truth = planted.truth["masters"][label]
        head = part.sort("rank")["tf"].head(HEAD).to_list()
        rows.append(
            [label, ", ".join(truth), ", ".join(head), f"{len(set(head) & set(truth))} of {len(truth)}"]
        )
    return Listing(
        ["group", "planted masters", f"read as the first {HEAD}", "found"],
        rows,
        "Masters that several groups share are hard: one against the rest asks what is special.",
    )


def _feature_listed(found: dict[str, object]) -> Listing:
    cosine, centred = (dict(found[name]) for name in ("cosine", "centred_cosine"))  # type: ignore[call-overload]
    rows: list[list[object]] = [
        ["cosine to the reference cell, mean and standard deviation", cosine["mean"], cosine["sd"]],
        ["the same, centred", centred["mean"], centred["sd"]],
        ["Spearman with openness alone, median of genes", found["like_window"], None],
    ]
    return Listing(
        ["attention feature of the factors' genes", "value", "sd"],
        rows,
        "A cosine near 1 with a small deviation, or a Spearman near 1, says that the feature is "
        "openness by another name.",
    )


def transition(planted: Planted) -> list[TruthSection]:
    """Which factor moves resting cells to the stimulated state."""
    state, reader, genes = planted.truth["state"], planted.reader("all"), planted.genes("all")
    ends = choose_ends(
        planted.dataset, _states(planted.dataset, planted), [state["source"]], [state["target"]]
    )
    candidates, names = candidates_of(planted, reader, genes), names_of_states(planted)
    config = TransitionConfig(top_genes=TOP_GENES, seed=planted.seed)
    setting = prepare(reader, ends, genes, config)
    found = screen(setting, candidates, config)
    simple = ("accessibility_cosine", "motif_difference")
    measure = _placed(
        found.table,
        state["driver"],
        "cosine",
        simple,
        reading="transition",
        n=f"{found.table.height} factors, {TOP_GENES} genes, {len(setting.cells)} pseudobulks",
    )
    return [
        TruthSection(
            title="Moving cells to another state (transition)",
            asks=f"Which factor, switched on, moves {state['source']} cells towards "
            f"{state['target']}? One factor was planted as the driver; nothing else differs between the two states.",
            measures=[measure],
            figures=[
                Drawn(
                    rank_figure(
                        found.table.filter(pl.col("p").is_not_null()).head(15),
                        found.null["cosine"].to_numpy(),
                        "cosine",
                        f"towards {state['target']} (driver: {state['driver']})",
                    ),
                    "Cosine of the predicted shift with the way from one state to the other; grey: what random peak "
                    "sets of the same sizes reach.",
                    "Cosine of each factor's shift beside random peak sets",
                )
            ],
            listings=[
                _screened(
                    planted,
                    found.table,
                    ("cosine", "p", "projection", "accessibility_cosine", "motif_difference"),
                    ("cosine", "p", "share of the way", "cosine of accessibility", "openness of the motif"),
                    f"The first {SHOWN} and the driver. p: share of random peak sets that go as "
                    "straight. The last two columns need no model.",
                )
            ],
            guidance="A factor is of interest where it lies beyond the random peak sets, and where "
            "accessibility alone does not put it first already. A picture of cells in two "
            "dimensions is never the evidence.",
            commands=[
                f"cisoform regulation transition fitted --data genes --group-by name --source {names['source']} \\",
                f"    --target {names['target']} --motifs sim/regulation/motifs.meme --top-genes "
                f"{TOP_GENES} --out transition",
            ],
        )
    ]


def _states(dataset: GenesDataset, planted: Planted) -> Grouping:
    """Groups of the cell types that come in both states, by state."""
    both = planted.truth["state"]["cell_types"]
    known = {one["name"]: one["state"] for one in planted.truth["groups"] if one["cell_type"] in both}
    values = [known.get(name) for name in dataset.groups["name"].to_list()]
    return Grouping.by_label("state", values, np.arange(len(values)))


def names_of_states(planted: Planted) -> dict[str, str]:
    """Names of the groups of the source and of the target, as a flag takes them."""
    state = planted.truth["state"]
    return {
        end: ",".join(
            one["name"]
            for one in planted.truth["groups"]
            if one["cell_type"] in state["cell_types"] and one["state"] == state[end]
        )
        for end in ("source", "target")
    }


def candidates_of(planted: Planted, reader: Reader, genes: Ints) -> Candidates:
    """All factors with a motif, or those that a short run allows, the driver always among them."""
    names = [one["tf"] for one in planted.truth["tfs"]]
    if planted.most_factors is not None:
        driver = planted.truth["state"]["driver"]
        names = sorted({driver, *names[: 2 * planted.most_factors]})
    return choose_candidates(
        reader, genes, read_motifs(planted.motifs), str(planted.motifs), names, MOTIF_P, strict=False
    )


def _placed(
    table: pl.DataFrame, driver: str, column: str, simple: tuple[str, ...], *, reading: str, n: str
) -> Measure:
    """1 / place of the driver by a score, beside its place by scores without a model."""
    count = table.height
    return Measure(
        reading=reading,
        measure="1 / place of the planted driver",
        value=place_score(table, driver, column),
        way=column.replace("_", " "),
        goal=1.0,
        baselines={
            f"{name.replace('_', ' ')} (no model)": place_score(table, driver, name) for name in simple
        },
        nulls={"factors in random order": float(np.mean(1 / np.arange(1, count + 1)))},
        n=n,
    )


def place_score(table: pl.DataFrame, name: str, column: str) -> float:
    """1 / place of a factor, the highest value first; a tie counts as the mean place; 0 = it is not in the table."""
    own = table.filter(pl.col("tf") == name)[column].to_list()
    if not own or own[0] is None:
        return 0.0
    values = table[column].drop_nulls().to_numpy()
    higher, same = int((values > own[0]).sum()), int((values == own[0]).sum())
    return 1 / (higher + (same + 1) / 2)


def _screened(
    planted: Planted, table: pl.DataFrame, columns: tuple[str, ...], words: tuple[str, ...], caption: str
) -> Listing:
    role = {one["tf"]: one["role"] for one in planted.truth["tfs"]}
    driver = planted.truth["state"]["driver"]
    place = table.with_row_index("place", offset=1)
    shown = place.filter((pl.col("place") <= SHOWN) | (pl.col("tf") == driver))
    rows = [
        [int(row["place"]), row["tf"], role[row["tf"]], *(row[name] for name in columns)]
        for row in shown.iter_rows(named=True)
    ]
    return Listing(["place", "factor", "planted role", *words], rows, caption)


def targets(planted: Planted, folder: Path) -> list[TruthSection]:
    """The way back: stimulated cells as diseased. Pools of cells are built under `folder`."""
    state, names = planted.truth["state"], names_of_states(planted)
    dataset = build_pools(planted, folder)
    genes = dataset.gene_rows("test")
    grouping = Grouping.by_label(
        "state", _state_of_pools(planted, dataset), np.arange(dataset.groups.height), MOST_POOLS, planted.seed
    )
    reader = open_reader(planted.model, dataset, grouping.groups, genes, cache=planted.cache)
    ends = choose_ends(dataset, grouping, [state["target"]], [state["source"]])
    candidates = candidates_of(planted, reader, genes)
    config = TransitionConfig(kind="knockout", cells=TREATED, top_genes=TOP_GENES, seed=planted.seed)
    setting = prepare(reader, ends, genes, config)
    ranking = target_job.gained(
        setting,
        target_job.two_states(ends),
        candidates,
        genes,
        MasterConfig(n_bootstrap=20, n_permutations=0, seed=planted.seed),
    )
    found = target_job.rank_targets(setting, candidates, ranking, config, most=10)
    table, driver = found.table, state["driver"]
    gained = pl.DataFrame({"tf": candidates.names, "gained": ranking.coefficient[target_job.DISEASE]})
    measure = _placed(
        table,
        driver,
        "score",
        ("accessibility_cosine", "motif_difference"),
        reading="targets",
        n=f"{table.height} gained factors of {gained.height}, {len(setting.genes)} genes of unseen chromosomes, "
        f"{len(setting.states.source)} and {len(setting.states.target)} pools",
    )
    best = table["tf"][0]
    return [
        TruthSection(
            title="Targets that lead back (targets)",
            asks=f"Take {state['target']} cells as diseased and {state['source']} cells as normal: "
            "which factor did the disease gain whose loss moves diseased cells to normal, and "
            "leaves normal cells as they are? The answer is the driver again.",
            measures=[measure],
            figures=_target_figures(setting, found, best),
            listings=[
                _screened(
                    planted,
                    table,
                    ("score", "projection", "harm", "gained", "p"),
                    ("score", "way to normal", "harm to normal", "gained", "p"),
                    f"The first {SHOWN} and the driver. Score: share of the way to normal minus the "
                    "harm, which is how far normal cells move, as a share of the same way; "
                    "planted harm of the driver: 0. p as above.",
                )
            ],
            warnings=[]
            if float(table["score"][0]) > 0
            else [
                "No score is above 0: no knock-out moves diseased cells further than it harms normal ones."
            ],
            guidance="A score below 0 harms more than it helps. The peaks of a factor are closed "
            "whole, those too that other factors hold open, so that harm is overstated.",
            commands=[
                "cisoform regulation targets fitted --data pools --group-by cell_type --disease "
                f"{names['target']} \\",
                f"    --normal {names['source']} --split test --motifs sim/regulation/motifs.meme \\",
                f"    --top-genes {TOP_GENES} --cells {TREATED} --most 10 --out targets",
            ],
        )
    ]


def _target_figures(setting: Setting, found: target_job.Targets, best: str) -> list[Drawn]:
    screened = found.screened
    drawn = [
        Drawn(
            rank_figure(
                found.table,
                screened.null["projection"].to_numpy(),
                "projection",
                "share of the way to normal",
            ),
            "Gained factors, the highest score first; grey: what random peak sets reach.",
            "Share of the way to normal of each gained factor beside random peak sets",
        )
    ]
    space = setting.states.space
    if space is not None:
        after = space.transform(screened.states[screened.names.index(best)].astype(np.float64))
        source, target = space.transform(setting.states.source), space.transform(setting.states.target)
        drawn.append(
            Drawn(
                arrow_figure(
                    source, target, source[setting.rows], after, f"{best} knocked out", "principal component"
                ),
                "Predicted states of diseased pools (source) and normal ones (target), and where the "
                "pools that lose the factor go. Components are fitted on unperturbed pools.",
                "Arrows from diseased pools to where they go without the first factor",
            )
        )
    return drawn


def _held_out(planted: Planted) -> dict[str, tuple[str, ...]]:
    """Held-out chromosomes by part."""
    splits = planted.truth["splits"]
    return {part: tuple(name for name, one in splits.items() if one == part) for part in ("test", "valid")}


def _state_of_pools(planted: Planted, dataset: GenesDataset) -> list[str | None]:
    """State of every pool whose centre is of a cell type that comes in both states."""
    both = planted.truth["state"]["cell_types"]
    known = {one["name"]: one["state"] for one in planted.truth["groups"] if one["cell_type"] in both}
    return [known.get(name) for name in dataset.groups["cell_type"].to_list()]


def build_pools(planted: Planted, folder: Path) -> GenesDataset:
    """Pools of neighbouring cells, labelled by the group of their centre; written to `folder`/pools."""
    files, held = planted.files, _held_out(planted)
    build_genes(
        GeneInputs(
            genome=files / "genome.fa",
            annotation=files / "annotation.gtf",
            multiome=files / "filtered_feature_bc_matrix.h5",
            fragments=files / "atac_fragments.tsv.gz",
            cells=files / "cells.tsv",
        ),
        folder / "pools",
        GeneBuildConfig(
            pool=Pooling("knn", k=POOL_CELLS),
            max_groups=POOLS if planted.most_factors is None else SMOKE_POOLS,
            cell_types="group",
            test_chromosomes=held["test"],
            valid_chromosomes=held["valid"],
            seed=planted.seed,
        ),
    )
    return GenesDataset.open(folder / "pools")
